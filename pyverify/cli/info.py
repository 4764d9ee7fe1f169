"""``info``: what runs here."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib.metadata import version

from pyverify import _libcrypto, _native
from pyverify.algorithms import BANKS
from pyverify.evidence import signatures


def info(args: argparse.Namespace) -> int:
    """Prints versions, and for each bank the variants of its hash, the one in use last."""
    packages = {name: version(name) for name in ("cffi", "numpy", "cryptography", "gmssl", "pyarrow", "sqlalchemy")}
    document = {
        "pyverify": version("pyverify"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": packages,
        "kernels": {bank.name: list(_native.variants(bank.index)) for bank in BANKS},
        "signatures": _engine(packages),
        "limits": {"log_bytes": _native.MAX_LOG_SIZE, "log_events": _native.MAX_EVENTS},
    }
    if args.format == "json":
        json.dump(document, sys.stdout, indent=1)
        print()
        return 0
    print(f"pyverify {document['pyverify']} on Python {document['python']}, {document['machine']}")
    print(f"signatures: {document['signatures']}")
    print("packages:", ", ".join(f"{name} {number}" for name, number in packages.items()))
    for bank in BANKS:
        print(f"  {bank.name:<8} {' < '.join(_native.variants(bank.index))}")
    return 0


def _engine(packages: dict[str, str]) -> str:
    """What verifies signatures here."""
    library = _libcrypto.load()
    if library and signatures.engine() == signatures.LIBCRYPTO:
        return f"libcrypto, {library.version}"
    return f"cryptography {packages['cryptography']} and gmssl {packages['gmssl']}: one by one, without libcrypto"

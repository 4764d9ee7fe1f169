"""All targets by name: those in Python, and those in C with their seeds."""

from __future__ import annotations

import importlib
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from fuzz.target import Target

PYTHON_TARGETS: Final = {
    "logs": ("log_differential",),
    "measured": ("ima_differential",),
    "decoders": ("event_data", "canonical", "dbx", "certificates", "evidence_json"),
    "quotes": ("quote_python", "pcr_text"),
    "files": ("archive", "verdict_files", "references"),
    "stores": ("store",),
    "rules": ("policy", "interchange", "appraisal"),
}
"""Names of the targets in Python by the module that has them."""


def python_target(name: str) -> Target:
    """The target of this name; only its own module is loaded, as instrumenting takes seconds a module."""
    (module,) = (module for module, names in PYTHON_TARGETS.items() if name in names)
    target: Target = importlib.import_module(f"fuzz.{module}").TARGETS[name]
    return target


def python_targets() -> dict[str, Target]:
    """All targets in Python."""
    return {name: python_target(name) for names in PYTHON_TARGETS.values() for name in names}


def _log_seeds() -> Iterator[bytes]:
    from fuzz.logs import log_seeds

    seeds = list(log_seeds())
    yield from seeds
    yield b"PV-NEXT!".join(seeds[:3])


def _hunt_seeds() -> Iterator[bytes]:
    from fuzz.logs import log_seeds

    for number, log in enumerate(log_seeds()):
        texts = b"\4" + b"".join(
            bytes([len(text) - 1, number % 5]) + text for text in (b"EFI", b"quiet", b"Exit", b"\0")
        )
        yield b"\1\x1f" + bytes(16) + texts + b"PV-NEXT!" + log


def _ima_seeds() -> Iterator[bytes]:
    from conftest import DATA

    heads = {"ascii": 1, "binary": 0, "binary_sha256": 4}
    for path in sorted((DATA / "ima").iterdir()):
        if (kind := path.name.split(".")[-1]) in heads:
            yield bytes([heads[kind]]) + path.read_bytes()[:12000]


def _quote_seeds() -> Iterator[bytes]:
    from fuzz.quotes import quote_seeds
    from fuzz.target import split

    for seed in quote_seeds():
        msg, sig, key, values = split(seed, 4)
        yield from (msg, key, msg + b"|PV|" + values, sig + b"|PV|" + key)


def _lane_seeds() -> Iterator[bytes]:
    for what in range(10):
        yield bytes([what, 33, 5, 7, *range(40)]) + b"some bytes that are not all the same" * 4


def _lookup_seeds() -> Iterator[bytes]:
    for number in (0, 3, 17):
        steps = bytes([2] * (number + 1))
        yield b"\1" + (bytes([number, 60]) + steps + bytes(range(30))) * 2 + bytes(200)


def _tar_seeds() -> Iterator[bytes]:
    from source_archives import tar_bytes

    small = {"m1/b1": {"evidence.json": b"{}", "ak.pub": b"key", "quote.msg": b"m" * 600}}
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        yield bytes([1, 8, 0]) + tar_bytes(small, format=form)


C_TARGETS: Final[dict[str, tuple[Callable[[], Iterable[bytes]], int]]] = {
    "eventlog": (_log_seeds, 32768),
    "ima": (_ima_seeds, 16384),
    "quote": (_quote_seeds, 4096),
    "hunt": (_hunt_seeds, 8192),
    "lookup": (_lookup_seeds, 2048),
    "lanes": (_lane_seeds, 2048),
    "tar": (_tar_seeds, 16384),
}
"""Seeds and most bytes by the name of the target: ``tests/c/fuzz_NAME.c``."""


def dictionary(name: str) -> Path | None:
    """libFuzzer's words for a target in C."""
    path = Path(__file__).parent.parent / "c" / f"fuzz_{name}.dict"
    return path if path.exists() else None

"""One Python target under atheris, as a process of its own: ``harness.py TARGET`` and libFuzzer's arguments."""

from __future__ import annotations

import hashlib
import os
import sys
import traceback
from pathlib import Path

import atheris

sys.path[0] = str(Path(__file__).parent.parent)
sys.path.append(str(Path(__file__).parent.parent.parent))  # for bench; after the installed package

FOUND = 77
"""libFuzzer's own exit code for it."""

with atheris.instrument_imports(include=["pyverify", "fuzz"]):
    from fuzz.registry import python_target

    target = python_target(sys.argv[1])
    for seed in target.seeds():  # what is imported where it is used is instrumented too
        target.check(seed)


def _check(data: bytes) -> None:
    """Keeps an input that breaks something itself: where Arrow is loaded, libFuzzer's alarm ends the process before
    libFuzzer has written it."""
    data = bytes(data)
    try:
        target.check(data)
    except Exception:
        traceback.print_exc()
        (prefix,) = [word.partition("=")[2] for word in sys.argv if word.startswith("-artifact_prefix=")] or [""]
        Path(f"{prefix}crash-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
        sys.stderr.flush()
        os._exit(FOUND)


def _mutate(data: bytes, most: int, seed: int) -> bytes:
    assert target.mutate is not None
    return target.mutate(bytes(data), most, seed, atheris.Mutate)


options = {} if target.mutate is None else {"custom_mutator": _mutate}
atheris.Setup([sys.argv[0], *sys.argv[2:]], _check, **options)
atheris.Fuzz()

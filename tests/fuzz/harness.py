"""One Python target under atheris, as a process of its own: ``harness.py TARGET`` and libFuzzer's arguments."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path[0] = str(Path(__file__).parent.parent)
sys.path.append(str(Path(__file__).parent.parent.parent))  # for bench; after the installed package

with atheris.instrument_imports(include=["pyverify", "fuzz"]):
    from fuzz.registry import python_target

    target = python_target(sys.argv[1])
    for seed in target.seeds():  # what is imported where it is used is instrumented too
        target.check(seed)


def _mutate(data: bytes, most: int, seed: int) -> bytes:
    assert target.mutate is not None
    return target.mutate(bytes(data), most, seed, atheris.Mutate)


options = {} if target.mutate is None else {"custom_mutator": _mutate}
atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda data: target.check(bytes(data)), **options)
atheris.Fuzz()

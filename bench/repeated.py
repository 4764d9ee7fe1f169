"""Small batches, extended again and again from C, so that the calls from Python do not count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bench.chains import Chains
from bench.libraries import ffi, library, pointer
from pyverify import _core, _native

_KEY: Final = 0x9E3779B97F4A7C15
_ENOUGH: Final = 50_000


def core(chains: Chains, isa: str | None = None, *, share: bool = True) -> tuple[Callable[[], object], int]:
    """A function that has the core extend the chains many times, and how many extends that is."""
    times, repeat = max(1, _ENOUGH // chains.extends), library("repeat")
    if repeat is None:
        return lambda: [chains.extended(isa, share=share) for _ in range(times)], times * chains.extends
    extend = _core.ffi.cast("uintptr_t", _core.ffi.addressof(_core.lib, "pv_extend"))
    variant = -1 if isa is None else _native.variants(chains.bank).index(isa)
    given = (int(extend), times, chains.bank, variant, _KEY if share else 0)
    return _call(repeat.repeat_core, given, chains, 0), times * chains.extends


def peer(chains: Chains, extend: Any) -> tuple[Callable[[], object], int]:
    """The same for a function of a library that ``bench/c`` made."""
    times, repeat = max(1, _ENOUGH // chains.extends), library("repeat")
    given = (int(ffi.cast("uintptr_t", extend)), times, chains.bank)
    return _call(repeat.repeat_peer, given, chains, 1), times * chains.extends


def _call(function: Callable[..., int], given: tuple[int, ...], chains: Chains, good: int) -> Callable[[], object]:
    values = chains.start()
    digests, chain_at = pointer("uint8_t[]", chains.digests), pointer("uint64_t[]", chains.chain_at)

    def run() -> None:
        if function(*given, digests, chain_at, len(chains), pointer("uint8_t[]", values)) != good:
            raise RuntimeError("a call that worked before failed")

    return run

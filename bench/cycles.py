"""Samples of work on one thread: CPU time, and cycles by a clock that is estimated around each sample.

CPU time leaves out what other programs take from the core, so that medians stand on a machine that is not quiet.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.libraries import library

_ADDS: Final = 64 * 2_000
_LEAST_SECONDS: Final = 0.004
"""Shorter work is repeated within a sample."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Medians of samples; ``cycles`` is not a number where the clock is not known."""

    seconds: float
    cycles: float

    def per(self, units: int) -> Taken:
        """Of one unit of the work."""
        return Taken(self.seconds / units, self.cycles / units)


def clock_hz() -> float:
    """The clock of the core at this moment; not a number without a C compiler."""
    clock = library("clock")
    return math.nan if clock is None else _ADDS / min(_seconds(clock.clock_adds) for _ in range(3))


def adds_per_cycle() -> float:
    """How many of four independent additions the core does in a cycle: near 4 if nobody else is at work on it.

    A virtual machine cannot see who shares its cores otherwise. Not a number without a C compiler.
    """
    clock = library("clock")
    if clock is None:
        return math.nan
    return median(4 * _seconds(clock.clock_adds) / _seconds(clock.clock_four_chains) for _ in range(99))


def _seconds(adds: Callable[[int], int]) -> float:
    start = time.perf_counter()
    adds(_ADDS)
    return time.perf_counter() - start


def sampled(functions: Mapping[str, Callable[[], object]], samples: int) -> dict[str, Taken]:
    """The medians for each function over samples taken A B A B, after one round that does not count."""
    repeats = {name: _repeats(function) for name, function in functions.items()}
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    cycles: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(samples):
        for name, function in functions.items():
            before = clock_hz()
            start = time.thread_time()
            for _ in range(repeats[name]):
                function()
            taken = (time.thread_time() - start) / repeats[name]
            seconds[name].append(taken)
            cycles[name].append(taken * (before + clock_hz()) / 2)
    return {name: Taken(median(seconds[name]), median(cycles[name])) for name in functions}


def _repeats(function: Callable[[], object]) -> int:
    start = time.thread_time()
    function()
    return max(1, math.ceil(_LEAST_SECONDS / max(time.thread_time() - start, 1e-7)))

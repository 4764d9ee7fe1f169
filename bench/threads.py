"""The same work on one thread and on more: CPU time, and time on the wall."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from bench import machine
from bench.results import Line


@dataclass(frozen=True, slots=True)
class Times:
    """Medians in seconds: CPU time of all threads together, and time on the wall."""

    cpu: float
    wall: float


def sampled(
    work: Callable[[int, int], object], count: int, slice_size: int, samples: int, most: int | None = None
) -> dict[int, Times]:
    """Times by number of threads, 1, 2, 4, … up to the cores (or ``most``), taken in turn.

    ``work`` does the units from its first to its second argument.
    """
    numbers = [1]
    while numbers[-1] * 2 <= (most or machine.cores()):
        numbers.append(numbers[-1] * 2)
    taken: dict[int, list[Times]] = {number: [] for number in numbers}
    slices = [(first, min(first + slice_size, count)) for first in range(0, count, slice_size)]
    with ExitStack() as stack:
        pools = {number: stack.enter_context(ThreadPoolExecutor(number)) for number in numbers}
        for sample in range(samples + 1):  # the first warms the threads
            for number, pool in pools.items():
                cpu, wall = time.process_time(), time.perf_counter()
                list(pool.map(lambda bounds: work(*bounds), slices))
                if sample:
                    taken[number].append(Times(time.process_time() - cpu, time.perf_counter() - wall))
    return {
        number: Times(median(one.cpu for one in all_), median(one.wall for one in all_))
        for number, all_ in taken.items()
    }


def lines(bench: str, case: str, isa: str, unit: str, taken: dict[int, Times], units: int) -> Iterator[Line]:
    """CPU and wall time a unit; the peer ``one_thread`` is ourselves on one thread."""
    for number, times in taken.items():
        for kind in ("cpu", "wall"):
            ours, one = getattr(times, kind), getattr(taken[1], kind)
            beside = (None, None) if number == 1 else ("one_thread", one / ours)
            yield Line(bench, case, isa, number, ours * 1e9 / units, f"{kind} ns/{unit}", *beside)

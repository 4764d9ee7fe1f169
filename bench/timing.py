"""Samples taken in turn, so that whatever else the machine does falls on all sides alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def interleaved(functions: Mapping[str, Callable[[], object]], samples: int) -> dict[str, float]:
    """The median time in seconds of each function over samples taken A B A B, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(samples + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: median(taken) for name, taken in times.items()}

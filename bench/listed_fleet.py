"""A fleet whose machines send an IMA list with each boot: files of a distribution, in another order each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, islice
from typing import Final

from bench.fleet import Boot, Fleet
from bench.ima_lists import ENTRIES, KNOWN, entry, files
from pyverify.replay import replay

_KINDS: Final = 16
"""Machines of one kind run the same files, some of which other kinds run too."""
_AGGREGATED: Final = 10  # boot_aggregate is over PCR 0 to 9 (SPEC 7.5)
_AT_ONCE: Final = 256


@dataclass(frozen=True)
class ListedFleet(Fleet):
    """The boots of :class:`bench.fleet.Fleet`, each with a list whose boot_aggregate is of its log."""

    def round(self, number: int) -> Iterator[Boot]:
        """The boots of one round, counted from 1."""
        boots = super().round(number)
        while some := list(islice(boots, _AT_ONCE)):
            yield from _listed(some)


def _listed(boots: list[Boot]) -> Iterator[Boot]:
    values = replay([boot.log for boot in boots], ["sha256"]).values["sha256"]
    for boot, row in zip(boots, values, strict=True):
        machine = int(boot.machine[1:])
        aggregate = entry("boot_aggregate", row[:_AGGREGATED].tobytes())
        yield replace(boot, ima=aggregate + _files_run(machine % _KINDS, machine * 31 + boot.seq * 17))


def _files_run(kind: int, turn: int) -> bytes:
    """The files that one kind of machine runs; which one comes first tells one boot from another."""
    pool, offsets = _pool()
    first, cut = kind * (KNOWN - ENTRIES) // _KINDS, turn % ENTRIES
    start, middle, end = (offsets[first + n] for n in (0, cut, ENTRIES))
    return pool[middle:end] + pool[start:middle]


@cache
def _pool() -> tuple[bytes, list[int]]:
    entries = files(KNOWN)
    return b"".join(entries), [0, *accumulate(map(len, entries))]

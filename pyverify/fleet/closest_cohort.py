"""The cohort that is closest to a boot, and in what the two differ, event by event.

A closest match only suggests: who belongs to which cohort is the operator's decision (DESIGN section 5.8).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from pyverify.baseline.cohorts import NormalBoot
from pyverify.baseline.diff import Change, Kind, diff
from pyverify.evidence.ccel import CCEL_REGISTERS
from pyverify.evidence.data_check import VERIFIED
from pyverify.evidence.event_data import describe
from pyverify.evidence.pcrs import pcr_name
from pyverify.fleet.cohorts import Cohort, Cohorts

CANDIDATES: Final = 1000
"""Cohorts that are compared with, the largest: an archive of nothing but outliers has no closest match anyway."""
_CANDIDATE_BYTES: Final = 64 << 20
"""Bytes of their logs, for what they hold is kept in memory."""

_Counted = Counter[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference of a boot from a cohort. ``event`` is its number in the boot's log, None where it is not there."""

    kind: Kind
    pcr: int
    event: int | None
    words: str
    """Printable; text that its digest does not prove is marked."""


@dataclass(frozen=True, slots=True)
class Match:
    """The closest cohort."""

    cohort: Cohort
    bank: str
    """The bank whose digests were compared."""
    alike: float
    """How much of both is equal: twice the events that they share, of all that they have. 1 where the order differs."""
    differences: tuple[Difference, ...]
    """The first ones, in the order of the boot's log."""
    left_out: int
    """How many more there are."""


class Matcher:
    """Finds the closest cohorts within what :func:`pyverify.fleet.cohorts.group` found."""

    def __init__(self, cohorts: Cohorts) -> None:
        self._cohorts = cohorts
        self._boots: list[tuple[Cohort, NormalBoot]] = []
        self._counted: dict[tuple[int, str], _Counted] = {}
        left = _CANDIDATE_BYTES
        largest = cohorts.cohorts[: -CANDIDATES - 1 : -1]
        for cohort, boot in zip(largest, cohorts.boots([cohort.example for cohort in largest]), strict=True):
            left -= len(boot.log.data)
            if left < 0:
                break
            self._boots.append((cohort, boot))

    def closest(self, variant: int, own: Cohort, *, at_least: int = 1, most: int = 5) -> Match | None:
        """The cohort that has most in common with a boot, of equals the largest.

        None where no other has a bank in common, or anything at all. The most common variant stands for a cohort.

        Args:
            variant: the boot (``Cohorts.variant``, ``Cohort.example``).
            own: its own cohort, which does not count.
            at_least: machines of the cohorts that are compared with.
            most: differences to tell.
        """
        boot = self._cohorts.boot(variant)
        best: tuple[float, Cohort, NormalBoot, str] | None = None
        counted: dict[str, _Counted] = {}
        for cohort, other in self._boots:
            bank = next((name for name in boot.banks if name in other.banks), None)
            if cohort is own or len(cohort.machines) < at_least or other.of_registers != boot.of_registers or not bank:
                continue
            if bank not in counted:
                counted[bank] = _count(boot, bank)
            alike = _alike(counted[bank], self._count_of(cohort, other, bank))
            if alike > (best[0] if best else 0):
                best = alike, cohort, other, bank
        if best is None:
            return None
        alike, cohort, other, bank = best
        told, n = _differences(other, boot, bank, most)
        return Match(cohort, bank, alike, tuple(told), n - len(told))

    def _count_of(self, cohort: Cohort, boot: NormalBoot, bank: str) -> _Counted:
        if (cohort.example, bank) not in self._counted:
            self._counted[cohort.example, bank] = _count(boot, bank)
        return self._counted[cohort.example, bank]


def _count(boot: NormalBoot, bank: str) -> _Counted:
    return Counter((pcr, token) for pcr, tokens in boot.tokens(bank).items() for token in tokens)


def _alike(one: _Counted, other: _Counted) -> float:
    return 2 * (one & other).total() / max(one.total() + other.total(), 1)


def _differences(expected: NormalBoot, actual: NormalBoot, bank: str, most: int) -> tuple[list[Difference], int]:
    """The first differences in the order of the actual log, what is missing from it last; and how many there are."""
    theirs, own = expected.tokens(bank), actual.tokens(bank)
    places: list[tuple[int, int, Change | None]] = []
    for index, (there, here) in enumerate(zip(expected.sequences, actual.sequences, strict=True)):
        if there.start != here.start:
            places.append((0, index, None))
        for change in diff(theirs[here.pcr], own[here.pcr]):
            place = len(actual.log) if change.actual is None else here.numbers[change.actual]
            places.append((place, index, change))
    places.sort(key=lambda place: place[:2])
    return [_difference(expected, actual, index, change) for _, index, change in places[:most]], len(places)


def _difference(expected: NormalBoot, actual: NormalBoot, index: int, change: Change | None) -> Difference:
    there, here = expected.sequences[index], actual.sequences[index]
    name = CCEL_REGISTERS[here.pcr].name if actual.of_registers else pcr_name(here.pcr)
    if change is None:
        return Difference("changed", here.pcr, None, f"{name}: it started with another value")
    was = None if change.expected is None else _quoted(expected, there.numbers[change.expected])
    event = None if change.actual is None else here.numbers[change.actual]
    now = None if event is None else _quoted(actual, event)
    return Difference(change.kind, here.pcr, event, f"{name}: {_in_words(was, now, change)}")


def _quoted(boot: NormalBoot, number: int) -> str:
    event = boot.log[number]
    mark = "" if boot.verified[number] == VERIFIED else " (unproven)"
    return f"{event.type_name} “{describe(event.pcr, event.type_hint, event.data)}”{mark}"


def _in_words(was: str | None, now: str | None, change: Change) -> str:
    if change.kind == "moved":
        return f"{now} is event {change.actual} that counts here, {change.expected} there"
    if change.kind == "changed":
        return f"{now} has other contents there" if was == now else f"{now} here, {was} there"
    return f"{now} is only here" if change.kind == "added" else f"{was} is only there"

"""Changes of what a PCR measures, apart from the machine they were seen on: events that took the place of others.

An edit that was seen on one machine is applied to the sequences of others like a patch: where the events that it
replaces stand once, or once between the same neighbours. Where that is not so it is not applied.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from pyverify.algorithms import BANKS
from pyverify.baseline.diff import Hunk, hunks
from pyverify.baseline.model import EventSequence


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a sequence: what the log said it is, and its digest in each bank, in the order of the banks."""

    type: int
    text: str
    digests: tuple[tuple[str, bytes], ...]

    def is_same(self, other: Event | None, banks: Iterable[str]) -> bool:
        """Whether it has the digests of the other in all of these banks."""
        if other is None:
            return False
        mine, others = dict(self.digests), dict(other.digests)
        return all(mine[bank] == others[bank] for bank in banks)


@dataclass(frozen=True)
class Edit:
    """Events of one PCR that took the place of others; ``before`` and ``after`` stand around them, None at an end."""

    pcr: int
    before: Event | None
    removed: tuple[Event, ...]
    added: tuple[Event, ...]
    after: Event | None

    @cached_property
    def key(self) -> bytes:
        """SHA-256 that names it: the same change of any machine. What is only added is named with its place too."""
        place = () if self.removed else (self.before, self.after)
        events = [self.removed, self.added, place]
        digests = [[None if e is None else [(b, d.hex()) for b, d in e.digests] for e in some] for some in events]
        return hashlib.sha256(json.dumps([self.pcr, digests], separators=(",", ":")).encode()).digest()

    @property
    def banks(self) -> tuple[str, ...]:
        """The banks that it is known in."""
        events = (*self.removed, *self.added)
        return tuple(b.name for b in BANKS if all(b.name in dict(event.digests) for event in events))


def events_of(sequence: EventSequence, banks: Sequence[str]) -> list[Event]:
    """The events of a sequence with their digests in these banks."""
    columns = {bank: sequence.split(bank) for bank in banks}
    return [
        Event(kind, text, tuple((bank, digests[at]) for bank, digests in columns.items()))
        for at, (kind, text) in enumerate(zip(sequence.types, sequence.texts, strict=True))
    ]


def edits(pcr: int, expected: EventSequence, actual: EventSequence) -> list[Edit] | None:
    """What turns one sequence into the other, event by event where as many came as went.

    None where no edit does: they start with other values, share no bank, or have no events to compare.
    """
    banks = _common(expected, actual)
    if expected.start != actual.start or not banks or expected.values or actual.values:
        return None
    old, new = events_of(expected, banks), events_of(actual, banks)
    tokens = [[b"".join(digest for _, digest in event.digests) for event in events] for events in (old, new)]
    return [
        Edit(
            pcr,
            old[one.expected.start - 1] if one.expected.start else None,
            tuple(old[at] for at in one.expected),
            tuple(new[at] for at in one.actual),
            old[one.expected.stop] if one.expected.stop < len(old) else None,
        )
        for hunk in hunks(*tokens)
        for one in _single(hunk)
        if not (len(one.expected) == len(one.actual) == 1 and one.expected.start in expected.varies)
    ]


def _single(hunk: Hunk) -> list[Hunk]:
    if len(hunk.expected) != len(hunk.actual):
        return [hunk]
    return [Hunk(range(e, e + 1), range(a, a + 1)) for e, a in zip(hunk.expected, hunk.actual, strict=True)]


def apply(edit: Edit, sequence: EventSequence) -> EventSequence | None:
    """The sequence with the edit made, in the banks that both know; None where it does not fit, or not in one place."""
    banks = [bank for bank in edit.banks if bank in sequence.digests]
    if not banks:
        return None
    events = events_of(sequence, banks)
    at = _place(edit, events, banks)
    if at is None:
        return None
    end = at + len(edit.removed)
    new = [*events[:at], *edit.added, *events[end:]]
    moved = len(edit.added) - len(edit.removed)
    varies = [v if v < at else v + moved for v in sequence.varies if not at <= v < end]
    digests = {bank: b"".join(dict(event.digests)[bank] for event in new) for bank in banks}
    types, texts = tuple(event.type for event in new), tuple(event.text for event in new)
    return EventSequence(sequence.start, types, texts, digests, tuple(varies))


def edited(sequence: EventSequence, changes: Iterable[Edit]) -> EventSequence:
    """The sequence with those of the edits made that fit, one after the other: itself where none does."""
    for edit in changes:
        sequence = apply(edit, sequence) or sequence
    return sequence


def _place(edit: Edit, events: Sequence[Event], banks: Sequence[str]) -> int | None:
    """Where the edit fits: the one place between its neighbours, else the only one where what it removes stands."""
    n = len(edit.removed)
    fits = [
        at
        for at in range(len(events) - n + 1)
        if all(old.is_same(event, banks) for old, event in zip(edit.removed, events[at : at + n], strict=True))
    ]

    def is_between(at: int) -> bool:
        before, after = events[at - 1] if at else None, events[at + n] if at + n < len(events) else None
        return all(
            mine is None if wanted is None else mine is not None and mine.is_same(wanted, banks)
            for mine, wanted in ((before, edit.before), (after, edit.after))
        )

    exact = [at for at in fits if is_between(at)]
    if len(exact) == 1:
        return exact[0]
    return fits[0] if n and len(fits) == 1 else None


def _common(one: EventSequence, other: EventSequence) -> list[str]:
    return [bank.name for bank in BANKS if bank.name in one.digests and bank.name in other.digests]

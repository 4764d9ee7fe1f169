"""What a PCR may hold, and what may run, after a change was approved: the new replaces the old (DESIGN section 6)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pyverify.baseline.edits import Edit, edited
from pyverify.baseline.model import Allowed, EventSequence, SupersededIma
from pyverify.errors import UsageError
from pyverify.evidence.ima_set import ImaSet, Member

Profile = tuple[tuple[Allowed, ...], ...]
"""What each of 24 PCRs may hold, the oldest first."""

GRACE: Final = datetime.timedelta(days=14)
"""How long a machine may go on with what was replaced, until it has booted what came after it (DESIGN section 6)."""

MAX_ALLOWED: Final = 64
"""Sequences remembered of one PCR, current and superseded: more is no baseline. The oldest superseded ones go."""


@dataclass(frozen=True, slots=True)
class Old:
    """What becomes of what is replaced: allowed until then, with ``keep`` also after a machine has booted the new."""

    until: datetime.datetime
    keep: bool = False


@dataclass(frozen=True, slots=True)
class ImaEdit:
    """A file that may run with this digest: in place of others of its name, or ``is_new``, beside what is known."""

    member: Member
    is_new: bool


def with_edits(profile: Profile, edits: Sequence[Edit], old: Old) -> Profile:
    """The profile after these edits: the same where none of them fits."""
    return tuple(
        _superseded(allowed, [edit for edit in edits if edit.pcr == pcr], old) for pcr, allowed in enumerate(profile)
    )


def with_sequences(profile: Profile, sequences: dict[int, EventSequence], old: Old) -> Profile:
    """The profile where some PCRs hold other sequences from now on, and nothing else that was current."""
    return tuple(
        _current(allowed, [sequences[pcr]], old) if pcr in sequences else allowed for pcr, allowed in enumerate(profile)
    )


def with_variation(profile: Profile, pcr: int, position: int, event: tuple[int, str]) -> Profile:
    """The profile in which one event, of this type and text, may have any digest: wherever it stands at that position.

    The same profile where it stands nowhere.
    """

    def varied(allowed: Allowed) -> Allowed:
        s = allowed.sequence
        if position >= len(s) or (s.types[position], s.texts[position]) != event:
            return allowed
        varies = tuple(sorted({*s.varies, position}))
        sequence = EventSequence(s.start, s.types, s.texts, s.digests, varies, s.values)
        return Allowed(sequence, allowed.until, allowed.keep)

    return (*profile[:pcr], tuple(varied(allowed) for allowed in profile[pcr]), *profile[pcr + 1 :])


def _superseded(allowed: tuple[Allowed, ...], edits: Sequence[Edit], old: Old) -> tuple[Allowed, ...]:
    """Each sequence that an edit fits is followed by the edited one; what was leaving still does, edited or not."""
    if not edits:
        return allowed
    leaving: list[Allowed] = []
    current: list[Allowed] = []
    for one in allowed:
        sequence = edited(one.sequence, edits)
        if sequence is one.sequence:
            (current if one.until is None else leaving).append(one)
        elif one.until is None:
            leaving.append(Allowed(one.sequence, old.until, old.keep))
            current.append(Allowed(sequence))
        else:
            leaving += [one, Allowed(sequence, one.until, one.keep)]
    return _distinct(leaving, current)


def _current(allowed: tuple[Allowed, ...], sequences: Sequence[EventSequence], old: Old) -> tuple[Allowed, ...]:
    keys = {sequence.key for sequence in sequences}
    leaving = [
        one if one.until is not None else Allowed(one.sequence, old.until, old.keep)
        for one in allowed
        if one.sequence.key not in keys
    ]
    return _distinct(leaving, [Allowed(sequence) for sequence in sequences])


def _distinct(leaving: Sequence[Allowed], current: Sequence[Allowed]) -> tuple[Allowed, ...]:
    """Each sequence once: what is current again leaves no more, and of two that leave the later stands."""
    now = {one.sequence.key: one for one in current}
    gone = {one.sequence.key: one for one in leaving if one.sequence.key not in now}
    kept = list(gone.values())[-max(MAX_ALLOWED - len(now), 0) :] if len(now) < MAX_ALLOWED else []
    if len(now) > MAX_ALLOWED:
        raise UsageError(f"more than {MAX_ALLOWED} different sequences for one PCR: that is no cohort")
    return (*kept, *now.values())


def with_ima(
    ima: ImaSet | None, superseded: Sequence[SupersededIma], edits: Sequence[ImaEdit], old: Old, at: datetime.datetime
) -> tuple[ImaSet | None, tuple[SupersededIma, ...]]:
    """What may run after these edits, and what still may for a while; the same where none of them fits.

    A digest takes the place of all others of its name, where the name is known; new names are added.
    """
    if ima is None or not edits:
        return ima, tuple(superseded)
    members = set(ima)
    known = {member.path for member in members}
    fitting = [edit.member for edit in edits if edit.is_new or edit.member.path in known]
    new = set(fitting) - members
    if not new:
        return ima, tuple(superseded)
    names = {member.path for member in fitting}
    gone = {member for member in members if member.path in names} - set(fitting)
    alive = [one for one in superseded if one.until > at]
    if gone and old.until > at:
        alive.append(SupersededIma(ImaSet(gone), old.until))
    return ImaSet((members - gone) | new), tuple(alive)

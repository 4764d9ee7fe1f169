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
    """Each sequence that an edit fits is followed by the edited one; what was leaving still does, edited or not.

    What has what is replaced may not have it for longer than what is current, and neither may what came before it.
    """
    if not edits:
        return allowed
    pairs = [(one, edited(one.sequence, edits)) for one in allowed]
    is_all = all(sequence is not one.sequence for one, sequence in pairs if one.until is None)
    leaving: list[Allowed] = []
    current: list[Allowed] = []
    for one, sequence in pairs:
        if one.until is None and sequence is one.sequence:
            current.append(one)
        elif one.until is None:
            leaving.append(Allowed(one.sequence, old.until, old.keep))
            current.append(Allowed(sequence))
        elif sequence is one.sequence:
            leaving.append(_before(one, old) if is_all else one)
        else:
            leaving += [
                Allowed(one.sequence, min(one.until, old.until), one.keep and old.keep),
                Allowed(sequence, one.until, one.keep),
            ]
    return _distinct(leaving, current)


def _before(one: Allowed, old: Old) -> Allowed:
    """What was leaving already when all that was current is replaced: it leaves no later, unless it was to be kept."""
    return one if one.keep or one.until is None else Allowed(one.sequence, min(one.until, old.until))


def _current(allowed: tuple[Allowed, ...], sequences: Sequence[EventSequence], old: Old) -> tuple[Allowed, ...]:
    keys = {sequence.key for sequence in sequences}
    leaving = [
        _before(one, old) if one.until is not None else Allowed(one.sequence, old.until, old.keep)
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

    A digest takes the place of all others of its name, where the name is known; new names are added. What was replaced
    before is allowed no longer than what is replaced now, where it is of the same name.
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
    alive = [part for one in superseded for part in _parted(one, names, old.until) if part.until > at]
    if gone and old.until > at:
        alive.append(SupersededIma(ImaSet(gone), old.until))
    return ImaSet((members - gone) | new), tuple(alive)


def _parted(one: SupersededIma, names: set[bytes], until: datetime.datetime) -> list[SupersededIma]:
    """What still may run for a while: files of these names not longer than until then."""
    of_names = {member for member in one.ima if member.path in names}
    if not of_names or one.until <= until:
        return [one]
    parts = ((set(one.ima) - of_names, one.until), (of_names, until))
    return [SupersededIma(ImaSet(members), end) for members, end in parts if members]

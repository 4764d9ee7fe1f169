"""Whether a boot that an active baseline trusts measured what that baseline has as current, and nothing else.

A baseline may trust more than it stands for: what is being replaced, for a while, and variations of good sequences.
Made into a baseline, that would be good for ever.
"""

from __future__ import annotations

from dataclasses import replace

from pyverify.algorithms import pcrs_of
from pyverify.baseline.ima_columns import NO_SET
from pyverify.baseline.model import EventSequence
from pyverify.baseline.references import References
from pyverify.evidence.ima_set import ImaSet, Member
from pyverify.evidence.text import escape
from pyverify.findings import Finding, Severity
from pyverify.fleet.measured_boot import MeasuredBoot


class Corroboration:
    """What the baselines of a snapshot have as current, each read once."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._current: dict[tuple[int, int], tuple[EventSequence, ...]] = {}
        self._members: dict[int, frozenset[Member]] = {}

    def speaks_of_programs(self, baseline: int) -> bool:
        """Whether a baseline says what may run: of what it does not speak, it stands for nothing."""
        return int(self._references.ima_set[baseline]) != NO_SET

    def hold(self, boot: MeasuredBoot, baseline: int) -> tuple[MeasuredBoot, tuple[Finding, ...]]:
        """The boot with the events free that the baseline has free, and what in it is not current in the baseline."""
        sequences = list(boot.sequences)
        reasons = []
        for pcr in pcrs_of(boot.compared):
            like = next((s for s in self._current_of(baseline, pcr) if is_alike(boot.sequences[pcr], s)), None)
            if like is None:
                words = f"PCR {pcr} is let pass by the active baseline, but is not what it has as current"
                reasons.append(Finding("baseline.pcr", Severity.HIGH, words, pcr=pcr))
            elif like.varies:
                sequences[pcr] = replace(boot.sequences[pcr], varies=like.varies)
        if (reason := self.beyond(boot.ima, baseline)) is not None:
            reasons.append(reason)
        return replace(boot, sequences=tuple(sequences)), tuple(reasons)

    def beyond(self, ima: ImaSet | None, baseline: int) -> Finding | None:
        """A program that ran and is not current in a baseline that says what may run; None where there is none."""
        if ima is None or not self.speaks_of_programs(baseline):
            return None
        members = self._members_of(baseline)
        more = next((member for member in ima if member not in members), None)
        if more is None:
            return None
        name = escape(more.path.decode("utf-8", "surrogateescape"))
        return Finding("ima.added", Severity.HIGH, f"{name}: is not what the active baseline has as current")

    def _current_of(self, baseline: int, pcr: int) -> tuple[EventSequence, ...]:
        key = (int(self._references.profile[baseline]), pcr)
        if key not in self._current:
            self._current[key] = tuple(a.sequence for a in self._references.allowed(*key) if a.until is None)
        return self._current[key]

    def _members_of(self, baseline: int) -> frozenset[Member]:
        number = int(self._references.ima_set[baseline])
        if number not in self._members:
            self._members[number] = frozenset(self._references.ima.set(number))
        return self._members[number]


def is_alike(own: EventSequence, known: EventSequence) -> bool:
    """Whether two sequences are the same events in every bank that both have, one at least, but those that may vary."""
    banks = own.digests.keys() & known.digests.keys()
    if not banks or own.start != known.start or len(own) != len(known):
        return False
    return all(
        a == b
        for bank in banks
        for position, (a, b) in enumerate(zip(own.split(bank), known.split(bank), strict=True))
        if position not in known.varies
    )

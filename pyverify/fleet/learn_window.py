"""Learning over a window: what may run is the union over the first boots of a machine, and over those of its cohort.

PCRs are from the first boot; a later one adds only what ran in it, and only if nothing else in it is new.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa

from pyverify.appraise.verdict import Outcome
from pyverify.baseline.model import Allowed, Baseline, Origin, State
from pyverify.baseline.references import References
from pyverify.evidence.ima_set import ImaSet, Member
from pyverify.findings import Finding, Severity
from pyverify.fleet.boot_order import BootKey, boot_keys
from pyverify.fleet.corroboration import Corroboration
from pyverify.fleet.measured_boot import BootReader, Judged
from pyverify.fleet.sources import Source

_MAY_BE_NEW: Final = frozenset(("ima.added", "ima.changed"))
"""What a later boot of the window is there to show."""

_KNOWN: Final = 4096
"""Sets, or what is new in one, kept to recognise what other machines ran too."""


def first_boots_of(source: Source, boots: int) -> dict[str, list[BootKey]]:
    """The first boots of each machine of an archive, this many at most, in their order: read for their keys only.

    Of several samples of a boot the first in this order is meant.
    """
    chosen: dict[str, list[BootKey]] = {}
    for batch in source.batches(columns="keys"):
        for item in boot_keys(batch):
            if item is None:
                continue
            machine, key = item
            keys = chosen.setdefault(machine, [])
            if len(keys) == boots and key >= keys[-1]:
                continue
            same = next((known for known in keys if known[2] == key[2]), None)
            if same is not None:
                if same <= key:
                    continue
                keys.remove(same)
            insort(keys, key)
            del keys[boots:]
    return chosen


@dataclass(slots=True)
class Held:
    """A baseline that waits for the rest of its window.

    ``held_against`` is the row in the references of the baseline that corroborates it, None where none does. ``boots``
    is how many boots it is learned from so far, ``left_out`` has the others of the window, by name, with what speaks
    against each, and ``more`` is what ran in later boots, of a machine without a cohort.
    """

    baseline: Baseline
    held_against: int | None
    boots: int = 1
    left_out: list[tuple[str, tuple[Finding, ...]]] = field(default_factory=list)
    more: set[Member] = field(default_factory=set)


class Window:
    """The baselines of a run that are not finished with their machines' first boots.

    What machines have in common is kept once: beside that, one takes a kilobyte.
    """

    def __init__(self, first: BootReader, cohort_of: Mapping[str, str]) -> None:
        """``first`` is what first boots were read with, ``cohort_of`` has the cohorts that share what runs."""
        self._first, self._cohort_of = first, cohort_of
        self._corroboration = Corroboration(first.references)
        self._held: dict[str, Held] = {}
        self._alike: dict[tuple[bytes, ...], tuple[tuple[Allowed, ...], ...]] = {}
        self._sets: dict[bytes, ImaSet] = {}
        self._of_cohort: dict[str, set[Member]] = {}
        self._seen: set[tuple[str, bytes]] = set()
        self._new: dict[tuple[bytes, bytes], frozenset[Member]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, baseline: Baseline) -> None:
        """Takes what was learned from a first boot."""
        key = tuple(one.sequence.key for allowed in baseline.allowed for one in allowed)
        allowed = self._alike.setdefault(key, baseline.allowed)
        ima = None if baseline.ima is None else self._sets.setdefault(baseline.ima.key, baseline.ima)
        held_against = None
        if baseline.origin is Origin.CORROBORATED:
            (held_against,) = self._first.references.find([baseline.id]).tolist()
        self._held[baseline.id] = Held(replace(baseline, allowed=allowed, ima=ima), held_against)
        if ima is not None:
            self._ran(baseline.id, ima)

    def read_later(self, source: Source, later: Mapping[str, list[BootKey]], references: References) -> None:
        """Reads the later boots of the machines that are held.

        Where an active baseline corroborates a machine, that one must trust them; else the machine's own, in
        ``references``, with nothing high against them but what ran.
        """
        wanted = {machine: set(keys) for machine, keys in later.items() if machine in self._held}
        own = self._first.against(references)
        for batch in source.batches():
            rows: dict[bool, list[int]] = {False: [], True: []}
            for row, item in enumerate(boot_keys(batch)):
                if item is not None and item[1] in wanted.get(item[0], ()):
                    wanted[item[0]].remove(item[1])  # of several samples of a boot the first counts
                    rows[self._held[item[0]].held_against is not None].append(row)
            for is_corroborated, chosen in rows.items():
                if chosen:
                    reader = self._first if is_corroborated else own
                    for judged in reader.judge(batch.take(pa.array(chosen))):
                        self._add(self._held[judged.machine], judged)
        gone = Finding("evidence.unreadable", Severity.HIGH, "the archive changed while it was read: this boot is gone")
        for machine, keys in wanted.items():
            self._held[machine].left_out += [(key[2], (gone,)) for key in sorted(keys)]

    def baselines(self) -> list[Baseline]:
        """What is held so far, as active baselines: what later boots are judged by."""
        return [replace(held.baseline, state=State.ACTIVE) for held in self._held.values()]

    def finished(self) -> Iterator[Held]:
        """The baselines with all that the window showed; call it once, at the end."""
        unions: dict[str, ImaSet] = {cohort: ImaSet(members) for cohort, members in self._of_cohort.items()}
        grown: dict[tuple[bytes, frozenset[Member]], ImaSet] = {}
        for held in self._held.values():
            if len(grown) > _KNOWN:
                grown.clear()
            baseline = held.baseline
            cohort = self._cohort_of.get(baseline.id)
            if baseline.ima is not None and cohort is not None:
                held.baseline = replace(baseline, ima=unions[cohort])
            elif baseline.ima is not None and held.more:
                key = (baseline.ima.key, frozenset(held.more))
                if key not in grown:
                    grown[key] = baseline.ima.union(ImaSet(held.more))
                held.baseline = replace(baseline, ima=grown[key])
            yield held

    def _add(self, held: Held, judged: Judged) -> None:
        if (against := self._against(held, judged)) is not None:
            held.left_out.append((judged.boot, against))
            return
        held.boots += 1
        violations = max(held.baseline.ima_violations, judged.ima_violations)
        held.baseline = replace(held.baseline, ima_violations=violations)
        if held.baseline.ima is not None and judged.ima is not None:
            self._ran(held.baseline.id, judged.ima)

    def _against(self, held: Held, judged: Judged) -> tuple[Finding, ...] | None:
        """What speaks against learning from a later boot, None where nothing does."""
        if held.held_against is not None:
            if judged.outcome != Outcome.TRUSTED:
                return judged.high
            beyond = self._corroboration.beyond(judged.ima, held.held_against)
            return None if beyond is None else (beyond,)
        high = {finding.code for finding in judged.high}
        shows_what_ran = judged.outcome == Outcome.UNTRUSTED and bool(high) and high <= _MAY_BE_NEW
        return None if judged.outcome == Outcome.TRUSTED or shows_what_ran else judged.high

    def _ran(self, machine: str, ima: ImaSet) -> None:
        cohort = self._cohort_of.get(machine)
        if cohort is None:
            known = self._held[machine].baseline.ima
            if known is not None and ima.key != known.key:
                self._held[machine].more |= self._new_in(ima, known)
        elif (cohort, ima.key) not in self._seen:
            self._seen.add((cohort, ima.key))
            self._of_cohort.setdefault(cohort, set()).update(ima)

    def _new_in(self, ima: ImaSet, known: ImaSet) -> frozenset[Member]:
        """What is in a set and not in the known one; fleets repeat themselves."""
        pair = (ima.key, known.key)
        if pair not in self._new:
            if len(self._new) > _KNOWN:
                self._new.clear()
            self._new[pair] = frozenset(ima) - frozenset(known)
        return self._new[pair]

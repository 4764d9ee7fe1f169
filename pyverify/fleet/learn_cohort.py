"""The baseline of a cohort, from the first boots of the machines that the operator assigned to it.

A PCR may hold what it held in any of them, and what ran in any of them may run.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pyarrow.compute as pc

from pyverify.algorithms import PCRS, pcrs_of
from pyverify.appraise.policy import Policy
from pyverify.baseline.enrollment import check_machine
from pyverify.baseline.model import Accepted, Allowed, Baseline, EventSequence, State
from pyverify.baseline.references import References
from pyverify.baseline.store import Store
from pyverify.baseline.supersede import MAX_ALLOWED
from pyverify.errors import UsageError
from pyverify.evidence.ima_set import ImaSet, Member
from pyverify.findings import Finding, Severity
from pyverify.fleet.corroboration import Corroboration
from pyverify.fleet.learn import enroll_first_keys, first_boots, read_first
from pyverify.fleet.measured_boot import BootReader, MeasuredBoot, Refused
from pyverify.fleet.sources import Source


@dataclass(frozen=True, slots=True)
class LearnedCohort:
    """What became of a cohort: ``baseline`` is None where none was made, ``is_known`` where it has one already.

    ``machines`` is how many machines it was learned from, ``refused`` are the first boots that were left out, and
    ``absent`` is how many assigned machines the archive has no boot of.
    """

    baseline: Baseline | None
    is_known: bool = False
    machines: int = 0
    refused: tuple[Refused, ...] = ()
    absent: int = 0


def learn_cohort(
    source: Source,
    store: Store,
    cohort: str,
    *,
    policy: Policy,
    activate: bool,
    as_of: datetime.datetime,
    trust_first_key: bool = False,
    accepted: Sequence[Accepted] = (),
) -> LearnedCohort:
    """Learns one baseline for a cohort, if it has none, from the first boot of each machine assigned to it.

    Each is appraised as for a baseline of its own, which this makes none of: a machine that has one must be trusted by
    it. The banks are those that all have in common, ``boot`` and ``evidence_id`` are of the first machine by name.
    Where some sent IMA lists, those that sent none are left out: the baseline will ask for lists.

    Raises:
        UsageError: nobody is assigned to the cohort, or the machines are not one: they have no bank in common, or a PCR
            that is compared differs in too many ways.
        StoreError: the store refuses.
    """
    check_machine(cohort)
    references = store.references()
    assigned = {machine for machine, name in references.machines.cohort_of.items() if name == cohort}
    if not assigned:
        raise UsageError(f"no machine is assigned to cohort {cohort}: `pyverify baseline assign` does that")
    if _has_baseline(references, cohort):
        return LearnedCohort(None, is_known=True)
    first = {machine: key for machine, key in first_boots(source).items() if machine in assigned}
    absent = len(assigned) - len(first)
    if trust_first_key:
        enroll_first_keys(source, store, first, policy, as_of, accepted)
        policy, references = replace(policy, key="first-use"), store.references()
    corroboration = Corroboration(references)
    with_list, without = _Gathered(), _Gathered()
    refused = []
    for measured in read_first(source, first, BootReader(references, policy, as_of, accepted)):
        for boot in measured:
            good = boot if isinstance(boot, Refused) else _current(boot, corroboration)
            if isinstance(good, Refused):
                refused.append(good)
            else:
                (without if good.ima is None else with_list).add(good)
    if with_list.used:
        words = "no IMA list, or one without entries; other machines of the cohort sent theirs"
        reason = Finding("ima.empty", Severity.HIGH, words)
        refused += [Refused(machine, boot, (reason,)) for machine, boot, _ in sorted(without.used)]
    gathered = with_list if with_list.used else without
    if not gathered.used:
        return LearnedCohort(None, refused=tuple(refused), absent=absent)
    baseline = gathered.baseline(cohort, State.ACTIVE if activate else State.PENDING)
    store.add([baseline], action="learn")
    return LearnedCohort(baseline, False, len(gathered.used), tuple(refused), absent)


def _has_baseline(references: References, cohort: str) -> bool:
    columns = references.columns
    is_it = pc.and_(pc.equal(columns.field("scope"), "cohort"), pc.equal(columns.field("id"), cohort))
    return bool(pc.any(is_it).as_py())


def _current(boot: MeasuredBoot, corroboration: Corroboration) -> MeasuredBoot | Refused:
    """The boot, refused where its machine's own baseline lets something of it pass without having it as current."""
    if boot.held_against is None:
        return boot
    held, reasons = corroboration.hold(boot, boot.held_against)
    return Refused(boot.machine, boot.boot, reasons) if reasons else held


@dataclass(slots=True)
class _Gathered:
    """What the machines of a cohort measured, as they come; of one PCR no more sequences than a baseline may hold."""

    used: list[tuple[str, str, bytes]] = field(default_factory=list)
    compared: int = 0
    sequences: list[dict[bytes, EventSequence]] = field(default_factory=lambda: [{} for _ in range(PCRS)])
    ways: list[set[bytes]] = field(default_factory=lambda: [set() for _ in range(PCRS)])
    log_banks: list[tuple[str, ...]] = field(default_factory=list)
    quoted_banks: list[tuple[str, ...]] = field(default_factory=list)
    members: set[Member] = field(default_factory=set)
    sets: set[bytes] = field(default_factory=set)
    violations: int = 0
    accepted: dict[Accepted, None] = field(default_factory=dict)

    def add(self, boot: MeasuredBoot) -> None:
        """Takes what one machine measured."""
        self.used.append((boot.machine, boot.boot, boot.evidence_id))
        self.compared |= boot.compared
        for pcr, sequence in enumerate(boot.sequences):
            self.ways[pcr].add(sequence.key)
            if len(self.sequences[pcr]) < MAX_ALLOWED:
                self.sequences[pcr].setdefault(sequence.key, sequence)
        for banks, known in ((boot.log_banks, self.log_banks), (boot.quoted_banks, self.quoted_banks)):
            if banks not in known:
                known.append(banks)
        if boot.ima is not None and boot.ima.key not in self.sets:
            self.sets.add(boot.ima.key)
            self.members.update(boot.ima)
        self.violations = max(self.violations, boot.ima_violations)
        self.accepted.update(dict.fromkeys(boot.accepted))

    def baseline(self, cohort: str, state: State) -> Baseline:
        """The baseline that all of them keep to."""
        for pcr in pcrs_of(self.compared):
            if len(self.ways[pcr]) > MAX_ALLOWED:
                ways = f"PCR {pcr} differs in {len(self.ways[pcr])} ways among {len(self.used)} machines"
                raise UsageError(f"cohort {cohort}: {ways}, and may in {MAX_ALLOWED}: that is not one cohort")
        _, boot, evidence_id = min(self.used)
        return Baseline(
            scope="cohort",
            id=cohort,
            version=1,
            state=state,
            allowed=tuple(tuple(Allowed(known[key]) for key in sorted(known)) for known in self.sequences),
            log_banks=_common(self.log_banks, f"cohort {cohort}: its machines' logs"),
            quoted_banks=_common(self.quoted_banks, f"cohort {cohort}: its machines' quotes"),
            boot=boot,
            evidence_id=evidence_id,
            ima=ImaSet(self.members) if self.sets else None,
            ima_violations=self.violations,
            accepted=tuple(self.accepted),
        )


def _common(banks: Sequence[tuple[str, ...]], whose: str) -> tuple[str, ...]:
    """The banks that all have, in their order; none is fine where nobody has any."""
    common = tuple(name for name in banks[0] if all(name in one for one in banks))
    if not common and any(banks):
        raise UsageError(f"{whose} have no bank in common: that is not one cohort")
    return common

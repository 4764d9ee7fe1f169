"""Baselines from first boots: what a machine measured when it was first seen is what it should measure from then on."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import pyarrow as pa

from pyverify.appraise.appraisal import Appraisal
from pyverify.appraise.policy import Policy
from pyverify.appraise.verdict import Outcome
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.model import Accepted, Baseline, Origin, State
from pyverify.baseline.references import References
from pyverify.baseline.store import Store
from pyverify.findings import Finding, Severity
from pyverify.fleet.boot_order import BootKey, boot_keys, chosen_boots
from pyverify.fleet.corroboration import Corroboration
from pyverify.fleet.first_keys import enroll_first_key
from pyverify.fleet.learn_window import Held, Window, first_boots_of
from pyverify.fleet.measured_boot import BootReader, MeasuredBoot, Refused
from pyverify.fleet.sources import Source

_CHUNK: Final = 256
"""Baselines of a window that are written in one transaction."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What became of one machine: ``state`` and ``origin`` are those of its new baseline, None where none was made, for
    these reasons.

    ``boots`` is how many boots it was learned from. ``left_out`` are later boots of the window that were not, by name,
    each with what speaks against it; ``missing`` is how many boots of the window the archive does not have.
    """

    machine: str
    boot: str
    state: State | None
    reasons: tuple[Finding, ...] = ()
    origin: Origin | None = None
    boots: int = 1
    left_out: tuple[tuple[str, tuple[Finding, ...]], ...] = ()
    missing: int = 0


def first_boots(source: Source) -> dict[str, BootKey]:
    """The first boot of each machine of an archive: by boot_seq, then collected_at, then the boot's name."""
    return chosen_boots(source, newest=False)


def learn(
    source: Source,
    store: Store,
    *,
    policy: Policy,
    activate: bool,
    as_of: datetime.datetime,
    trust_first_key: bool = False,
    boots: int = 1,
    accepted: Sequence[Accepted] = (),
) -> Iterator[Learned]:
    """Learns the machines of an archive that have no baseline yet, each from its first boot.

    The full appraisal runs on that boot; with any high finding it is refused, and no later boot takes its place. What
    it needs of ``accepted`` is lived with, and stored with its baseline. Baselines are pending unless ``activate`` is
    set. A machine whose cohort has an active baseline is held against that: if it measured the same its own baseline
    is active at once, corroborated, and if it differs it is refused.

    What may run is learned from the first ``boots`` boots of a machine, and of all machines of its cohort that are
    learned in this run; PCRs are from the first boot. A first boot without an IMA list has no set, whatever came later.

    Each batch of machines is one transaction of the store; machines of a window or a cohort are written at the end.
    With ``trust_first_key`` the key that signed a machine's first boot is enrolled where the machine has none and
    nothing but its key speaks against that boot, as what it is: trusted on first use.

    Yields:
        One item a machine that was learned or refused; machines that have a baseline are left alone.
    """
    known = store.machines()
    chosen = {machine: keys for machine, keys in first_boots_of(source, boots).items() if machine not in known}
    first = {machine: keys[0] for machine, keys in chosen.items()}
    if trust_first_key:
        enroll_first_keys(source, store, first, policy, as_of, accepted)
        policy = replace(policy, key="first-use")
    references = store.references()  # for who the machines are: those that are wanted have no baseline in it
    reader = BootReader(references, policy, as_of, accepted)
    cohort_of = references.machines.cohort_of
    state = State.ACTIVE if activate else State.PENDING
    corroboration = Corroboration(references)
    window = Window(reader, cohort_of)
    for measured in read_first(source, first, reader):
        results, baselines = [], []
        for boot in measured:
            found = boot if isinstance(boot, Refused) else _baseline(boot, corroboration, state)
            if isinstance(found, Refused):
                results.append(Learned(found.machine, found.boot, None, found.reasons, boots=0))
            elif boots > 1 or found.id in cohort_of:
                window.hold(found)
            else:
                baselines.append(found)
                results.append(Learned(found.id, found.boot, found.state, origin=found.origin))
        store.add(baselines, action="learn")
        yield from results
    if boots > 1 and len(window):
        later = {machine: keys[1:] for machine, keys in chosen.items()}
        window.read_later(source, later, _with_baselines(references, window.baselines()))
    finished = window.finished()
    while chunk := list(islice(finished, _CHUNK)):
        store.add([held.baseline for held in chunk], action="learn")
        yield from (_learned(held, boots - len(chosen[held.baseline.id])) for held in chunk)


def read_first(source: Source, first: dict[str, BootKey], reader: BootReader) -> Iterator[list[MeasuredBoot | Refused]]:
    """What the first boots of machines measured, batch by batch; ``first`` is used up."""
    for batch in source.batches():
        chosen = []
        for row, item in enumerate(boot_keys(batch)):
            if item is not None and first.get(item[0]) == item[1]:
                del first[item[0]]  # of several samples of a boot the first counts
                chosen.append(row)
        if chosen:
            yield list(reader.read(batch.take(pa.array(chosen))))
    gone = Finding("evidence.unreadable", Severity.HIGH, "the archive changed while it was read: this boot is gone")
    if first:
        yield [Refused(machine, key[2], (gone,)) for machine, key in first.items()]


def enroll_first_keys(
    source: Source,
    store: Store,
    first: dict[str, BootKey],
    policy: Policy,
    as_of: datetime.datetime,
    accepted: Sequence[Accepted],
) -> None:
    """Enrols the key of the first boot of each of these machines that has none."""
    enrollment = Enrollment(store)
    enrolled = enrollment.keys()
    has_key = {key.machine for key in enrolled}
    references = store.references()
    for batch in source.batches():
        for row, item in enumerate(boot_keys(batch)):
            if item is None or first.get(item[0]) != item[1] or item[0] in has_key:
                continue
            boot = batch.slice(row, 1)
            if _differs(boot, item[0], references, policy, as_of, accepted):
                continue
            if enroll_first_key(enrollment, item[0], boot, policy=policy, as_of=as_of, accepted=accepted):
                has_key.add(item[0])


def _differs(
    boot: pa.RecordBatch,
    machine: str,
    references: References,
    policy: Policy,
    as_of: datetime.datetime,
    accepted: Sequence[Accepted],
) -> bool:
    """Whether the log of a boot is not what the machine's active baseline, its own or its cohort's, trusts."""
    (row,) = references.find([machine]).tolist()
    if row < 0 or not references.active[row]:
        return False
    verdicts = Appraisal(boot, references, replace(policy, quote="no"), as_of, accepted).verdicts()
    return bool(verdicts.column("verdict")[0].as_py() != Outcome.TRUSTED)


def _baseline(boot: MeasuredBoot, corroboration: Corroboration, state: State) -> Baseline | Refused:
    """The baseline of a machine from its first boot: active at once where that of its cohort found the same."""
    if boot.held_against is None:
        return boot.baseline(state, Origin.FIRST_SEEN)
    own, reasons = corroboration.hold(boot, boot.held_against)
    if reasons:
        return Refused(boot.machine, boot.boot, reasons)
    if boot.ima is not None and not corroboration.speaks_of_programs(boot.held_against):
        return own.baseline(state, Origin.FIRST_SEEN)  # nobody stands for what ran
    return own.baseline(State.ACTIVE, Origin.CORROBORATED)


def _with_baselines(references: References, baselines: Collection[Baseline]) -> References:
    """References that know these baselines, with the keys and challenges of their machines and all roots."""
    identity = references.identity
    enrolled = [key for baseline in baselines for key in identity.ak_of(baseline.id)]
    challenges = [challenge for key in enrolled for challenge in identity.challenges(key.ak_name)]
    return References.of(list(baselines), enrolled=enrolled, challenges=challenges, roots=identity.roots)


def _learned(held: Held, missing: int) -> Learned:
    baseline = held.baseline
    return Learned(
        baseline.id,
        baseline.boot,
        baseline.state,
        origin=baseline.origin,
        boots=held.boots,
        left_out=tuple(held.left_out),
        missing=missing,
    )

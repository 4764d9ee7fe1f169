"""Baselines from first boots: what a machine measured when it was first seen is what it should measure from then on."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from pyverify.algorithms import banks_of
from pyverify.appraise.appraisal import verify_batches
from pyverify.appraise.policy import Policy
from pyverify.appraise.verdict import Outcome, finding_of
from pyverify.baseline.model import Baseline, EventSequence, State, event_sequences
from pyverify.baseline.references import References
from pyverify.baseline.store import Store
from pyverify.evidence.eventlog import EventLog
from pyverify.findings import Finding, Severity
from pyverify.fleet.sources import Source

_KNOWN: Final = 4096
"""Sequences of events kept to recognise what other machines measured too: some 10 MB."""

_LAST: Final = datetime.datetime.max.replace(tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Learned:
    """What became of one machine: ``state`` is that of its new baseline, None where none was made, for these
    reasons."""

    machine: str
    boot: str
    state: State | None
    reasons: tuple[Finding, ...] = ()


def first_boots(source: Source) -> dict[str, str]:
    """The first boot of each machine of an archive: by boot_seq, then collected_at, then the boot's name.

    Where a boot does not say, it comes after those that do.
    """
    first: dict[str, tuple[int, datetime.datetime, str]] = {}
    for batch in source.batches(columns="keys"):
        names = ("machine", "boot", "boot_seq", "collected_at")
        for machine, boot, boot_seq, collected_at in zip(
            *(batch.column(name).to_pylist() for name in names), strict=True
        ):
            key = (2**63 if boot_seq is None else boot_seq, collected_at or _LAST, boot)
            if machine not in first or key < first[machine]:
                first[machine] = key
    return {machine: boot for machine, (_, _, boot) in first.items()}


def learn(
    source: Source, store: Store, *, policy: Policy, activate: bool, as_of: datetime.datetime
) -> Iterator[Learned]:
    """Learns the machines of an archive that have no baseline yet, each from its first boot.

    The full appraisal runs on that boot; with any high finding it is refused, and no later boot takes its place.
    Baselines are pending unless ``activate`` is set. Each batch of machines is one transaction of the store.

    Yields:
        One item a machine that was learned or refused; machines that have a baseline are left alone.
    """
    known = store.machines()
    wanted = {machine: boot for machine, boot in first_boots(source).items() if machine not in known}
    nothing = References.of([])
    shared: dict[bytes, EventSequence] = {}
    for batch in source.batches():
        chosen = []
        for row, key in enumerate(
            zip(batch.column("machine").to_pylist(), batch.column("boot").to_pylist(), strict=True)
        ):
            if wanted.get(key[0]) == key[1]:
                del wanted[key[0]]  # of several samples of a boot the first counts
                chosen.append(row)
        if not chosen:
            continue
        rows = batch.take(pa.array(chosen))
        (verdicts,) = verify_batches([rows], references=nothing, policy=policy, as_of=as_of)
        results, baselines = [], []
        for row, verdict in enumerate(verdicts.to_pylist()):
            baseline, reasons = _learn_one(rows, row, verdict, State.ACTIVE if activate else State.PENDING, shared)
            if baseline is not None:
                baselines.append(baseline)
            state = None if baseline is None else baseline.state
            results.append(Learned(verdict["machine"], verdict["boot"], state, reasons))
        store.add(baselines, action="learn")
        if len(shared) > _KNOWN:
            shared.clear()
        yield from results


def _learn_one(
    rows: pa.RecordBatch, row: int, verdict: dict[str, Any], state: State, shared: dict[bytes, EventSequence]
) -> tuple[Baseline | None, tuple[Finding, ...]]:
    findings = tuple(finding_of(finding) for finding in verdict["findings"])
    against = tuple(f for f in findings if f.severity is Severity.HIGH or f.code == "log.absent")
    if against or verdict["verdict"] != Outcome.UNMEASURED:
        return None, against
    log = EventLog.parse(rows.column("event_log")[row].as_py())
    banks = banks_of(int(log.row["banks"]) & ~int(log.row["incomplete"]))
    if not banks:
        return None, (Finding("bank.missing", Severity.HIGH, "no bank has a digest in every event of this log"),)
    baseline = Baseline(
        scope="machine",
        id=verdict["machine"],
        version=1,
        state=state,
        allowed=tuple((sequence,) for sequence in event_sequences(log, shared)),
        log_banks=banks,
        quoted_banks=(),
        boot=verdict["boot"],
        evidence_id=verdict["evidence_id"],
    )
    return baseline, ()

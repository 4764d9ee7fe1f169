"""Baselines from first boots: what a machine measured when it was first seen is what it should measure from then on."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pyverify.algorithms import banks_of
from pyverify.appraise.appraisal import verify_batches
from pyverify.appraise.ima_judgement import in_sets
from pyverify.appraise.ima_lists import SentLists
from pyverify.appraise.policy import Policy
from pyverify.appraise.rows import conform
from pyverify.appraise.verdict import Outcome, finding_of
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.model import Allowed, Baseline, EventSequence, State, event_sequences
from pyverify.baseline.store import Store
from pyverify.evidence.eventlog import EventLog
from pyverify.evidence.ima import Flag
from pyverify.evidence.ima_set import ImaSet
from pyverify.evidence.log_kinds import transcode
from pyverify.findings import Finding, Severity
from pyverify.fleet.boot_order import BootKey, boot_keys, chosen_boots
from pyverify.fleet.first_keys import enroll_first_key
from pyverify.fleet.sources import Source

_KNOWN: Final = 4096
"""Sequences of events kept to recognise what other machines measured too: some 10 MB."""

_KNOWN_LISTS: Final = 256
"""IMA sets kept for the same reason: of 400 entries some 40 KB each."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What became of one machine: ``state`` is that of its new baseline, None where none was made, for these
    reasons."""

    machine: str
    boot: str
    state: State | None
    reasons: tuple[Finding, ...] = ()


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
) -> Iterator[Learned]:
    """Learns the machines of an archive that have no baseline yet, each from its first boot.

    The full appraisal runs on that boot; with any high finding it is refused, and no later boot takes its place.
    Baselines are pending unless ``activate`` is set. Each batch of machines is one transaction of the store. With
    ``trust_first_key`` the key that signed a machine's first boot is enrolled where the machine has none and nothing
    but its key speaks against that boot, as what it is: trusted on first use.

    Yields:
        One item a machine that was learned or refused; machines that have a baseline are left alone.
    """
    known = store.machines()
    wanted = {machine: key for machine, key in first_boots(source).items() if machine not in known}
    if trust_first_key:
        _enroll_first_keys(source, store, wanted, policy, as_of)
        policy = replace(policy, key="first-use")
    references = store.references()  # for who the machines are: those that are wanted have no baseline in it
    shared: dict[bytes, EventSequence] = {}
    state = State.ACTIVE if activate else State.PENDING
    lists: dict[bytes, ImaSet] = {}
    for batch in source.batches():
        chosen = []
        for row, item in enumerate(boot_keys(batch)):
            if item is not None and wanted.get(item[0]) == item[1]:
                del wanted[item[0]]  # of several samples of a boot the first counts
                chosen.append(row)
        if not chosen:
            continue
        rows = batch.take(pa.array(chosen))
        (verdicts,) = verify_batches([rows], references=references, policy=policy, as_of=as_of)
        ima = _LearnedLists(rows, policy, lists)
        results, baselines = [], []
        for row, verdict in enumerate(verdicts.to_pylist()):
            baseline, reasons = _learn_one(rows, row, verdict, state, policy, shared, ima)
            if baseline is not None:
                baselines.append(baseline)
            results.append(Learned(verdict["machine"], verdict["boot"], None if baseline is None else state, reasons))
        store.add(baselines, action="learn")
        if len(shared) > _KNOWN:
            shared.clear()
        if len(lists) > _KNOWN_LISTS:
            lists.clear()
        yield from results
    for machine, key in wanted.items():
        gone = Finding("evidence.unreadable", Severity.HIGH, "the archive changed while it was read: this boot is gone")
        yield Learned(machine, key[2], None, (gone,))


def _enroll_first_keys(
    source: Source, store: Store, wanted: dict[str, BootKey], policy: Policy, as_of: datetime.datetime
) -> None:
    """Enrols the key of the first boot of each wanted machine that has none."""
    enrollment = Enrollment(store)
    enrolled = enrollment.keys()
    has_key = {key.machine for key in enrolled}
    for batch in source.batches():
        for row, item in enumerate(boot_keys(batch)):
            if item is None or wanted.get(item[0]) != item[1] or item[0] in has_key:
                continue
            if enroll_first_key(enrollment, item[0], batch.slice(row, 1), policy=policy, as_of=as_of):
                has_key.add(item[0])


def _learn_one(
    rows: pa.RecordBatch,
    row: int,
    verdict: dict[str, Any],
    state: State,
    policy: Policy,
    shared: dict[bytes, EventSequence],
    ima: _LearnedLists,
) -> tuple[Baseline | None, tuple[Finding, ...]]:
    findings = tuple(finding_of(finding) for finding in verdict["findings"])
    against = tuple(f for f in findings if f.severity is Severity.HIGH or f.code == "log.absent")
    if against or verdict["verdict"] != Outcome.UNMEASURED:
        return None, against
    sent = {
        name: rows.column(name)[row].as_py() if name in rows.schema.names else None
        for name in ("event_log_kind", "event_log", "userspace_log")
    }
    log = EventLog.parse(transcode(sent["event_log_kind"], sent["event_log"] or b"", sent["userspace_log"]).log)
    banks = banks_of(int(log.row["banks"]) & ~int(log.row["incomplete"]))
    if not int(log.row["touched"]) & policy.compare_mask:
        return None, (Finding("bank.unextended", Severity.HIGH, "this log extends none of the PCRs that are compared"),)
    if not banks:
        return None, (Finding("bank.missing", Severity.HIGH, "no bank has a digest in every event of this log"),)
    may_run, violations = ima.of(row, _first_unproven(findings))
    baseline = Baseline(
        scope="machine",
        id=verdict["machine"],
        version=1,
        state=state,
        allowed=tuple((Allowed(sequence),) for sequence in event_sequences(log, shared)),
        log_banks=banks,
        quoted_banks=tuple(proof["bank"] for proof in verdict["pcrs_proven"]),
        boot=verdict["boot"],
        evidence_id=verdict["evidence_id"],
        ima=may_run,
        ima_violations=violations,
    )
    return baseline, ()


def _first_unproven(findings: tuple[Finding, ...]) -> int | None:
    """The first entry of the IMA list that no quote proves, where there are quotes: it makes no trust."""
    return min((f.event for f in findings if f.code == "ima.tail-unverified" and f.event is not None), default=None)


class _LearnedLists:
    """What the IMA lists of a batch say that machines may run: the lists that were judged.

    ``known`` has the sets of lists that other machines sent too.
    """

    def __init__(self, rows: pa.RecordBatch, policy: Policy, known: dict[bytes, ImaSet]) -> None:
        self._lists = SentLists.of(conform(rows))
        judged = [] if policy.ima == "no" else self._lists.rows.tolist()
        self._index = {row: index for index, row in enumerate(judged)}
        self._known = known

    def of(self, row: int, end: int | None) -> tuple[ImaSet | None, int]:
        """The set and the number of violations of the entries before ``end``; None where there is no entry."""
        if row not in self._index:
            return None, 0
        columns = self._lists.read(np.array([self._index[row]]))
        if not len(columns.entries):
            return None, 0
        fit = in_sets(columns)
        fit[len(fit) if end is None else end :] = False
        violations = int(np.count_nonzero(columns.entries["flags"][:end] & Flag.VIOLATION))
        key = hashlib.sha256(columns.lists[0]).digest() + len(columns.entries[:end]).to_bytes(4, "big")
        if key not in self._known:
            self._known[key] = ImaSet.of(columns, fit)
        return self._known[key], violations

"""Boots that are to be learned: appraised, and where nothing speaks against them, what they measured."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pyverify.algorithms import banks_of
from pyverify.appraise.appraisal import Appraisal
from pyverify.appraise.comparison import PcrMasks
from pyverify.appraise.ima_judgement import in_sets
from pyverify.appraise.ima_lists import SentLists
from pyverify.appraise.policy import Policy
from pyverify.appraise.rows import conform
from pyverify.appraise.verdict import Outcome, finding_of
from pyverify.baseline.model import Accepted, Allowed, Baseline, EventSequence, Origin, State, event_sequences
from pyverify.baseline.references import References
from pyverify.evidence.cel import Register
from pyverify.evidence.eventlog import EventLog
from pyverify.evidence.ima import Flag
from pyverify.evidence.ima_set import ImaSet
from pyverify.evidence.log_kinds import transcode
from pyverify.findings import Finding, Severity
from pyverify.fleet.accepted import needed

_KNOWN: Final = 4096
"""Sequences of events kept to recognise what other machines measured too: some 10 MB."""

_KNOWN_LISTS: Final = 256
"""IMA sets kept for the same reason: of 400 entries some 40 KB each."""


@dataclass(frozen=True, slots=True)
class MeasuredBoot:
    """What a boot measured against which nothing speaks.

    ``held_against`` is the row in the references of the active baseline that found it trusted, None where there is
    none. ``compared`` are the PCRs that the policy compares, a bit each. ``sequences`` are those of the 24 PCRs,
    ``ima`` is what ran, None where no list was sent, and ``accepted`` are the exceptions that it needs.
    """

    machine: str
    boot: str
    evidence_id: bytes
    held_against: int | None
    compared: int
    sequences: tuple[EventSequence, ...]
    log_banks: tuple[str, ...]
    quoted_banks: tuple[str, ...]
    ima: ImaSet | None
    ima_violations: int
    accepted: tuple[Accepted, ...]

    def baseline(self, state: State, origin: Origin) -> Baseline:
        """The baseline of its machine that is made of it alone."""
        return Baseline(
            scope="machine",
            id=self.machine,
            version=1,
            state=state,
            allowed=tuple((Allowed(sequence),) for sequence in self.sequences),
            log_banks=self.log_banks,
            quoted_banks=self.quoted_banks,
            boot=self.boot,
            evidence_id=self.evidence_id,
            ima=self.ima,
            ima_violations=self.ima_violations,
            origin=origin,
            accepted=self.accepted,
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """A boot that makes no baseline, for these reasons; without any, it cannot be judged."""

    machine: str
    boot: str
    reasons: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """How a boot was appraised: its verdict, and what its IMA list says that may run, with the number of violations."""

    machine: str
    boot: str
    outcome: str
    high: tuple[Finding, ...]
    ima: ImaSet | None
    ima_violations: int


class BootReader:
    """Reads boots of an archive against references; what many machines measured is made once.

    Where a machine has an active baseline in the references, of its own or of its cohort, a boot is good only if that
    baseline trusts it; else if nothing high speaks against it.
    """

    def __init__(
        self, references: References, policy: Policy, as_of: datetime.datetime, accepted: Sequence[Accepted] = ()
    ) -> None:
        self.references, self.policy = references, policy
        self._as_of, self._accepted = as_of, tuple(accepted)
        self._sequences: dict[bytes, EventSequence] = {}
        self._sets: dict[bytes, ImaSet] = {}

    def against(self, references: References) -> BootReader:
        """A reader against other references, without the exceptions: there they are in the baselines."""
        return BootReader(references, self.policy, self._as_of)

    def read(self, rows: pa.RecordBatch) -> Iterator[MeasuredBoot | Refused]:
        """What each row of a batch measured, or why nothing is learned from it."""
        self._bound()
        lists = LearnedLists(rows, self.policy, self._sets)
        verdicts = Appraisal(rows, self.references, self.policy, self._as_of, self._accepted).verdicts().to_pylist()
        held = self.references.find([verdict["machine"] or "" for verdict in verdicts]).tolist()
        for row, (verdict, baseline) in enumerate(zip(verdicts, held, strict=True)):
            yield self._read_one(rows, row, verdict, baseline, lists)

    def judge(self, rows: pa.RecordBatch) -> Iterator[Judged]:
        """How each row of a batch stands against the baseline of its machine, and what ran."""
        self._bound()
        lists = LearnedLists(rows, self.policy, self._sets)
        verdicts = Appraisal(rows, self.references, self.policy, self._as_of, self._accepted).verdicts().to_pylist()
        for row, verdict in enumerate(verdicts):
            findings = tuple(finding_of(finding) for finding in verdict["findings"])
            high = tuple(finding for finding in findings if finding.severity is Severity.HIGH)
            is_judged = verdict["verdict"] in (Outcome.TRUSTED, Outcome.UNTRUSTED)
            ima, violations = lists.of(row, _first_unproven(findings)) if is_judged else (None, 0)
            yield Judged(verdict["machine"], verdict["boot"], verdict["verdict"], high, ima, violations)

    def _bound(self) -> None:
        if len(self._sequences) > _KNOWN:
            self._sequences.clear()
        if len(self._sets) > _KNOWN_LISTS:
            self._sets.clear()

    def _read_one(
        self, rows: pa.RecordBatch, row: int, verdict: dict[str, Any], baseline: int, lists: LearnedLists
    ) -> MeasuredBoot | Refused:
        findings = tuple(finding_of(finding) for finding in verdict["findings"])
        against = tuple(f for f in findings if f.severity is Severity.HIGH or f.code == "log.absent")
        is_held = baseline >= 0 and bool(self.references.active[baseline])
        if against or verdict["verdict"] != (Outcome.TRUSTED if is_held else Outcome.UNMEASURED):
            return Refused(verdict["machine"], verdict["boot"], against)
        sent = {
            name: rows.column(name)[row].as_py() if name in rows.schema.names else None
            for name in ("event_log_kind", "event_log", "userspace_log")
        }
        transcoded = transcode(sent["event_log_kind"], sent["event_log"] or b"", sent["userspace_log"])
        log = EventLog.parse(transcoded.log)
        banks = banks_of(int(log.row["banks"]) & ~int(log.row["incomplete"]))
        if reason := _unusable(log, banks, self.policy):
            return Refused(verdict["machine"], verdict["boot"], (reason,))
        masks = PcrMasks.of(self.policy, np.array([transcoded.registers is Register.MR]))
        ima, violations = lists.of(row, _first_unproven(findings))
        known = self.references.accepted(baseline) if is_held else []
        return MeasuredBoot(
            machine=verdict["machine"],
            boot=verdict["boot"],
            evidence_id=verdict["evidence_id"],
            held_against=baseline if is_held else None,
            compared=int(masks.compare[0]),
            sequences=event_sequences(log, self._sequences),
            log_banks=banks,
            quoted_banks=tuple(proof["bank"] for proof in verdict["pcrs_proven"]),
            ima=ima,
            ima_violations=violations,
            accepted=needed((*self._accepted, *known), findings),
        )


def _unusable(log: EventLog, banks: tuple[str, ...], policy: Policy) -> Finding | None:
    if not int(log.row["touched"]) & policy.compare_mask:
        return Finding("bank.unextended", Severity.HIGH, "this log extends none of the PCRs that are compared")
    if not banks:
        return Finding("bank.missing", Severity.HIGH, "no bank has a digest in every event of this log")
    return None


def _first_unproven(findings: tuple[Finding, ...]) -> int | None:
    """The first entry of the IMA list that no quote proves, where there are quotes: it makes no trust."""
    return min((f.event for f in findings if f.code == "ima.tail-unverified" and f.event is not None), default=None)


class LearnedLists:
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

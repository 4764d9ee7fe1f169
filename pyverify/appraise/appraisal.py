"""The appraisal: rows of evidence, references and a policy in, one verdict row out for every row in.

It is a pure function of its inputs. Whatever is wrong with a row becomes a finding of that row and touches no other.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.algorithms import BANKS, banks_of, mask_of
from pyverify.appraise.attestation import Attestation, SentQuotes, attest, sent_quotes
from pyverify.appraise.booted import BOOTED, booted_facts, reached_in
from pyverify.appraise.boots import Boots
from pyverify.appraise.comparison import Comparison, PcrMasks, PcrValues, StageValues
from pyverify.appraise.coverage import further_banks
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.ima_judgement import ImaJudgement, judge_ima
from pyverify.appraise.ima_start import values_at_start
from pyverify.appraise.judged_logs import JudgedLogs, judged_logs
from pyverify.appraise.log_checks import check_logs
from pyverify.appraise.policy import Policy
from pyverify.appraise.python_rules import held_to
from pyverify.appraise.replay_check import lacking_banks, replay_findings, source_findings
from pyverify.appraise.row_references import RowReferences
from pyverify.appraise.rows import conform, evidence_ids, has_values, log_digests, row_faults
from pyverify.appraise.stages import stage_columns
from pyverify.appraise.structure import fault_findings
from pyverify.appraise.verdict import BASELINE_TYPE, SCHEMA_VERSION, Claim, Verdict
from pyverify.appraise.verdict_table import bank_masks, masks_in, outcomes, verdict_table
from pyverify.baseline.ima_columns import NO_SET
from pyverify.baseline.model import Accepted
from pyverify.baseline.references import References
from pyverify.errors import UsageError
from pyverify.evidence.bundle import Evidence, evidence_batch
from pyverify.evidence.columns import Items, Ragged, items_of
from pyverify.evidence.ima import PCR as IMA_PCR
from pyverify.findings import Finding, Severity
from pyverify.replay import Replayed, replay


def verify_batches(
    batches: Iterable[pa.RecordBatch], *, references: References, policy: Policy, as_of: datetime.datetime
) -> Iterator[pa.RecordBatch]:
    """Appraises evidence batch by batch.

    Args:
        batches: rows of :func:`pyverify.evidence.columns.evidence_schema`; they may also have ``source`` (where a row
        is from)
            and ``fault`` (why it could not be read), which archives add. Optional columns may be missing.
        references: the snapshot to compare with.
        policy: what must hold.
        as_of: the time of the verdicts, with its time zone.

    Yields:
        Batches of :data:`pyverify.appraise.verdict.VERDICT_SCHEMA`, one row out for every row in, in the same order.

    Raises:
        UsageError: ``as_of`` has no time zone, or a batch has no ``machine``, ``boot`` or ``event_log`` column.
    """
    if as_of.tzinfo is None:
        raise UsageError("as_of needs a time zone")
    for batch in batches:
        yield Appraisal(batch, references, policy, as_of).verdicts()


def verify(
    evidence: Evidence, *, references: References, policy: Policy, as_of: datetime.datetime | None = None
) -> Verdict:
    """Appraises the evidence of one boot: the same code as for a fleet, for a batch of one.

    A fresh quote is fresh once. Under a policy that asks for one the verdict is provisional, untrusted, until its nonce
    is spent: :meth:`pyverify.baseline.ledger.Ledger.consume` takes the verdict and gives the one that stands.
    """
    now = as_of or datetime.datetime.now(datetime.UTC)
    appraisal = Appraisal(evidence_batch([evidence]), references, policy, now)
    verdict = Verdict.from_row(appraisal.verdicts().to_pylist()[0])
    boots = appraisal.booted().to_pylist()
    verdict = replace(verdict, reached=tuple(one for boot in boots for one in reached_in(boot, references, now)))
    if policy.quote == "fresh" and verdict.attested == "quote":
        return verdict.until_spent(appraisal.claims(0), policy.age_limit)
    return verdict


@dataclass(frozen=True, slots=True)
class _Quoted:
    """What quotes come to in an appraisal: authentic values, by bank the PCRs of each row that they and the logs prove,
    those that an IMA list is held against, the rows of which all is proven that must be, and the banks, a bit each, in
    which a row is compared although it need not be."""

    pcrs: PcrValues
    proven: Mapping[str, npt.NDArray[np.uint32]]
    for_ima: Mapping[str, npt.NDArray[np.uint32]]
    covered: npt.NDArray[np.bool_]
    further: npt.NDArray[np.uint32] | np.uint32


_NOT_QUOTED: Final = _Quoted(PcrValues({}, {}), {}, {}, np.zeros(0, np.bool_), np.uint32(0))


class Appraisal:
    """The appraisal of one batch, step by step over its columns.

    What :meth:`verdicts` comes by on its way is kept for who looks at single rows: ``judged_as``, ``comparison``,
    ``attestation``, ``boots`` and ``ima``.
    """

    def __init__(
        self,
        batch: pa.RecordBatch,
        references: References,
        policy: Policy,
        as_of: datetime.datetime,
        accepted: Sequence[Accepted] = (),
    ) -> None:
        """``accepted`` is lived with by all rows, beside what their baselines say."""
        self.batch, self.references, self.policy, self.as_of = conform(batch), references, policy, as_of
        self.n = len(batch)
        self.attestation: Attestation | None = None
        self.boots = Boots(self.batch, (), as_of, {})
        self.judged_as: JudgedLogs | None = None
        self.comparison: Comparison | None = None
        self.ima = ImaJudgement.nothing(self.n)
        self.logs = items_of(self.batch.column("event_log"))
        self.digests = log_digests(self.logs)
        self.ids = evidence_ids(self.batch, self.logs.present, self.digests)
        self.machines = [name or "" for name in self.batch.column("machine").to_pylist()]
        self.reference = RowReferences(references, self.machines, self.ids)
        self.baseline, self.known = self.reference.baseline, self.reference.known
        self.findings = FindingColumns(self.n, self.reference.accepted(accepted))

    def verdicts(self) -> pa.RecordBatch:
        """All steps, in the order in which findings read best."""
        unreadable = row_faults(self.batch, self.findings)
        empty = ~unreadable & (self.logs.sizes == 0)
        self.findings.add_to_all(
            np.flatnonzero(empty),
            Finding("log.absent", Severity.INFO, "no event log, or an empty one: nothing says what was booted"),
        )
        judged_as = judged_logs(self.batch, self.logs, self.digests, unreadable | empty, self.findings)
        self.judged_as = judged_as
        # A TPM's quote says nothing of measurement registers, whatever numbers they share with PCRs.
        unquoted = unreadable | judged_as.of_registers
        sent = None if self.policy.quote == "no" else sent_quotes(self.batch, unquoted, self.findings)
        required = self._required_banks(sent)
        replayed = self._replay(judged_as.logs, required if sent is None else required | sent.banks)
        ignored = unreadable | empty | judged_as.broken
        rows = replayed.logs.copy()
        rows[ignored] = 0
        fault_findings(rows, self.findings)
        judgeable = ~ignored & (rows["fault"] == 0)
        self._check_logs(judged_as, judgeable, rows["banks"], required)
        judged = judgeable & self.reference.tell(judgeable, self.findings)
        masks = PcrMasks.of(self.policy, judged_as.of_registers)
        pcrs = led_to = PcrValues(replayed.values, {bank: replayed.has_bank(bank) for bank in replayed.values})
        quoted = _NOT_QUOTED
        if sent is None:
            self._tell_ignored_quotes()
        else:
            quoted = self._hold_against_quotes(sent, replayed, judged_as, judgeable, judged, masks, required)
            judged &= quoted.covered
            self.findings.high |= judgeable & ~quoted.covered
            pcrs = quoted.pcrs
        self.boots = Boots.of(self.batch, self.machines, self.as_of, self.attestation)
        compared_in = required | quoted.further
        self.comparison = comparison = Comparison(
            self.references, masks, self.baseline, judged, compared_in, self.boots
        )
        comparison.compare(pcrs, self.findings)
        stage_values = comparison.explain(judged_as.logs, judged_as.digests, pcrs, self.findings)
        at_start = values_at_start(self.batch, self.logs, judged_as, led_to)
        self.ima = judge_ima(
            self.batch,
            references=self.references,
            baseline=np.where(judged, self.baseline, -1),
            of_cohort=self.references.find_cohorts(self.machines),
            judged=judgeable,
            as_of=self.as_of,
            values=at_start.values,
            usable=at_start.usable,
            quoted=quoted.for_ima,
            authentic=quoted.pcrs.values,
            policy=self.policy,
            findings=self.findings,
        )
        self.reference.tell_ignored(self.as_of, self.findings)
        verdicts = self._table(judged, comparison, masks, quoted.proven, empty, stage_values)
        return held_to(self.policy, self.batch, verdicts) if self.policy.rules else verdicts

    def _hold_against_quotes(
        self,
        sent: SentQuotes,
        replayed: Replayed,
        judged_as: JudgedLogs,
        judgeable: npt.NDArray[np.bool_],
        judged: npt.NDArray[np.bool_],
        masks: PcrMasks,
        required: npt.NDArray[np.uint32],
    ) -> _Quoted:
        """What the quotes prove, and whether the logs lead there; ``judged`` are the rows that have a baseline."""
        self.attestation = attestation = self._attest(sent, replayed, masks, required)
        authentic, proven = attestation.values, attestation.proven
        logged = masks.compare | masks.report
        explained, closed = replay_findings(replayed, proven, authentic, judgeable, logged, self.findings)
        self._tell_sources(judged_as, judgeable, replayed, explained)
        usable = {bank: masks.compare & ~mask == 0 for bank, mask in proven.items()}
        for_ima = {**proven, "sha1": np.where(closed, np.uint32(0), proven["sha1"])}
        covered = self._covered(attestation, masks, required)
        learned = np.zeros(self.n, np.uint32)
        learned[self.known] = self.references.log_banks[self.baseline[self.known]]
        lacking_banks(replayed, learned, proven, judged, self.findings)
        further = further_banks(usable, closed, learned)
        return _Quoted(PcrValues(authentic, usable), explained, for_ima, covered, further)

    def _required_banks(self, sent: SentQuotes | None) -> npt.NDArray[np.uint32]:
        """For each row the banks that it is compared in, of those that the policy allows.

        They are what the policy requires, else what the learning boot had: in its quotes where quotes are judged, and
        where it had none or there is no baseline, those that are quoted now.

        What a baseline has in banks that its learning boot did not quote is only what a log said: where the policy
        requires such a bank, those that were quoted have to be too.
        """
        allowed = np.uint32(mask_of(self.policy.banks_allowed))
        learned = np.zeros(self.n, np.uint32)
        of_baseline = self.references.log_banks if sent is None else self.references.quoted_banks
        learned[self.known] = of_baseline[self.baseline[self.known]]
        if self.policy.banks_required is not None:
            required = np.full(self.n, np.uint32(mask_of(self.policy.banks_required)) & allowed)
            is_proven = (learned == 0) | (required & ~learned == 0)
            return required if sent is None else np.where(is_proven, required, required | learned)
        if sent is not None:
            learned = np.where(learned == 0, sent.banks, learned)
        return learned & allowed

    def _replay(self, logs: Items, banks: npt.NDArray[np.uint32]) -> Replayed:
        """Only banks that some row is compared in or quoted in are replayed; other logs are still read for faults.

        Beside an IMA list a log is replayed too: its boot_aggregate is of these PCRs, and the list may be learned.
        """
        wanted = int(np.bitwise_or.reduce(banks, initial=np.uint32(0)))
        if not self.known.all() and has_values(self.batch, "ima"):
            wanted |= mask_of(self.policy.banks_allowed)
        return replay(logs, banks_of(wanted))

    def _check_logs(
        self,
        judged_as: JudgedLogs,
        judgeable: npt.NDArray[np.bool_],
        log_banks: npt.NDArray[np.uint32],
        required: npt.NDArray[np.uint32],
    ) -> None:
        """Each log by itself, in the banks that it is compared in; where there is no baseline yet, in all."""
        banks = np.where(self.known, required, log_banks & np.uint32(mask_of(self.policy.banks_allowed)))
        rows = np.flatnonzero(judgeable)
        rules = self.policy.secure_boot
        check_logs(judged_as.logs, judged_as.digests, banks, judged_as.of_registers, rows, rules, self.findings)

    def _attest(
        self, sent: SentQuotes, replayed: Replayed, masks: PcrMasks, required: npt.NDArray[np.uint32]
    ) -> Attestation:
        allowed = np.uint32(mask_of(self.policy.banks_allowed))
        weak = Finding("bank.weak", Severity.HIGH, "[banks] allowed: only banks that do not count are quoted")
        self.findings.add_to_all(np.flatnonzero((sent.banks != 0) & (sent.banks & allowed == 0)), weak)
        return attest(
            sent,
            replayed,
            machines=self.machines,
            references=self.references,
            policy=self.policy,
            as_of=self.as_of,
            required_pcrs=masks.compare | np.where(self._has_ima_set(), np.uint32(1 << IMA_PCR), np.uint32(0)),
            required_banks=required,
            findings=self.findings,
        )

    def _has_ima_set(self) -> npt.NDArray[np.bool_]:
        """Rows whose IMA list is held against something, so that PCR 10 must be quoted (DESIGN section 5.9)."""
        has_set = np.full(self.n, self.policy.ima == "runtime-policy")
        if self.policy.ima == "baseline":
            has_set[self.known] = self.references.ima_set[self.baseline[self.known]] != NO_SET
        return has_set

    def _tell_sources(
        self,
        judged_as: JudgedLogs,
        judgeable: npt.NDArray[np.bool_],
        replayed: Replayed,
        proven: Mapping[str, npt.NDArray[np.uint32]],
    ) -> None:
        """Which PCRs it takes a userspace log to explain; few rows have one."""
        rows = np.flatnonzero(judged_as.has_userspace & judgeable)
        if not len(rows) or self.attestation is None:
            return
        firmware = replay(Ragged.of([self.logs[row] for row in rows.tolist()]), tuple(replayed.values))
        source_findings(rows, firmware, replayed, proven, self.attestation.values, self.findings)

    def _covered(
        self, attestation: Attestation, masks: PcrMasks, required: npt.NDArray[np.uint32]
    ) -> npt.NDArray[np.bool_]:
        """Rows whose quotes prove every compared PCR in every required bank, of which there is at least one."""
        covered: npt.NDArray[np.bool_] = required != 0
        for bank in BANKS:
            wanted = required >> np.uint32(bank.index) & np.uint32(1) != 0
            covered &= ~wanted | (masks.compare & ~attestation.proven[bank.name] == 0)
        return covered

    def claims(self, row: int) -> tuple[Claim, ...]:
        """The nonces that the quotes of a row would spend, once :meth:`verdicts` has been asked for."""
        if self.attestation is None:
            return ()
        facts = self.attestation.facts
        columns = zip(facts["row"], facts["ak_name"], facts["nonce"], facts["attest"], strict=True)
        return tuple(Claim(*claim) for of_row, *claim in columns if of_row == row)

    def booted(self) -> pa.RecordBatch:
        """Of the rows whose baseline changed lately what they hold, a batch of ``booted.BOOTED``, once
        :meth:`verdicts` has been asked for."""
        if self.comparison is None:
            return pa.RecordBatch.from_pylist([], schema=BOOTED)
        return booted_facts(self.batch, self.comparison, self.boots)

    def _tell_ignored_quotes(self) -> None:
        if has_values(self.batch, "quotes"):
            counts = pc.fill_null(pc.list_value_length(self.batch.column("quotes")), 0).to_numpy(zero_copy_only=False)
            hint = f'[evidence] quote = "no": policy {self.policy.name} does not judge quotes'
            self.findings.add_to_all(np.flatnonzero(counts), Finding("quote.ignored", Severity.INFO, hint))

    def _table(
        self,
        judged: npt.NDArray[np.bool_],
        comparison: Comparison,
        masks: PcrMasks,
        proven: Mapping[str, npt.NDArray[np.uint32]],
        empty: npt.NDArray[np.bool_],
        shown: StageValues,
    ) -> pa.RecordBatch:
        baselines = [self.references.columns.field(n).take(self.reference.index) for n in ("scope", "id", "version")]
        policy = self.policy
        differs = masks.as_pcrs(comparison.anywhere & masks.compare)
        unproven = {
            bank: mask & ~proven.get(bank, np.zeros_like(mask))
            for bank, mask in masks_in(comparison.banks, masks.compare | masks.report).items()
        }
        columns: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            **{name: self._optional(name) for name in ("machine", "boot", "boot_seq", "collected_at", "source")},
            "as_of": self.as_of,
            "verdict": outcomes(self.findings, judged, empty),
            "attested": "log" if self.attestation is None else self.attestation.attested,
            "key": "none" if self.attestation is None else self.attestation.key,
            "ak_name": None if self.attestation is None else self.attestation.ak_names,
            "nonce": None if self.attestation is None else self.attestation.nonces,
            "evidence_id": self.ids,
            "policy_id": policy.id,
            "references_id": self.references.id,
            "baseline": pa.StructArray.from_arrays(baselines, fields=list(BASELINE_TYPE), mask=pa.array(~self.known)),
            "pcrs_proven": bank_masks(proven, self.n),
            "pcrs_unproven": bank_masks(unproven, self.n),
            "stages": stage_columns(differs, judged, policy.compare_mask, shown, self.ima.judged, self.ima.bad),
            "cohort": self.reference.cohorts(),
            "findings": self.findings.to_arrow(),
        }
        return verdict_table(self.n, columns)

    def _optional(self, name: str) -> Any:
        return self.batch.column(name) if name in self.batch.schema.names else None

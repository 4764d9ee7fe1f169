"""The appraisal: rows of evidence, references and a policy in, one verdict row out for every row in.

It is a pure function of its inputs. Whatever is wrong with a row becomes a finding of that row and touches no other.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.algorithms import banks_of, mask_of
from pyverify.appraise.comparison import Comparison, PcrMasks, PcrValues, StageValues
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.ima_judgement import ImaJudgement, judge_ima
from pyverify.appraise.ima_start import values_at_start
from pyverify.appraise.judged_logs import judged_logs
from pyverify.appraise.log_checks import check_logs
from pyverify.appraise.policy import Policy
from pyverify.appraise.rows import conform, evidence_ids, has_values, log_digests, row_faults
from pyverify.appraise.stages import stage_columns
from pyverify.appraise.structure import fault_findings
from pyverify.appraise.verdict import BASELINE_TYPE, SCHEMA_VERSION, Verdict
from pyverify.appraise.verdict_table import bank_masks, masks_in, outcomes, verdict_table
from pyverify.baseline.references import References
from pyverify.errors import UsageError
from pyverify.evidence.bundle import Evidence, evidence_batch
from pyverify.evidence.columns import Ragged
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
    if policy.quote != "no":
        raise UsageError(f"policy {policy.name!r} requires signed quotes, which cannot be judged yet")
    for batch in batches:
        yield _Appraisal(batch, references, policy, as_of).verdicts()


def verify(
    evidence: Evidence, *, references: References, policy: Policy, as_of: datetime.datetime | None = None
) -> Verdict:
    """Appraises the evidence of one boot: the same code as for a fleet, for a batch of one."""
    now = as_of or datetime.datetime.now(datetime.UTC)
    (verdicts,) = verify_batches([evidence_batch([evidence])], references=references, policy=policy, as_of=now)
    return Verdict.from_row(verdicts.to_pylist()[0])


class _Appraisal:
    """The appraisal of one batch, step by step over its columns."""

    def __init__(self, batch: pa.RecordBatch, references: References, policy: Policy, as_of: datetime.datetime) -> None:
        self.batch, self.references, self.policy, self.as_of = conform(batch), references, policy, as_of
        self.n = len(batch)
        self.findings = FindingColumns(self.n)
        self.logs = Ragged.from_arrow(self.batch.column("event_log"))
        self.digests = log_digests(self.logs)
        self.ids = evidence_ids(self.batch, self.logs.present, self.digests)
        self.baseline = references.find([name or "" for name in self.batch.column("machine").to_pylist()])
        self.known = self.baseline >= 0
        self.baseline_index = pa.array(np.where(self.known, self.baseline, 0), mask=~self.known)

    def verdicts(self) -> pa.RecordBatch:
        """All steps, in the order in which findings read best."""
        unreadable = row_faults(self.batch, self.findings)
        empty = ~unreadable & (np.diff(self.logs.offsets) == 0)
        self.findings.add_to_all(
            np.flatnonzero(empty),
            Finding("log.absent", Severity.INFO, "no event log, or an empty one: nothing says what was booted"),
        )
        judged_as = judged_logs(self.batch, self.logs, self.digests, unreadable | empty, self.findings)
        wanted = self._wanted_banks()
        replayed = self._replay(judged_as.logs, wanted)
        ignored = unreadable | empty | judged_as.broken
        rows = replayed.logs.copy()
        rows[ignored] = 0
        fault_findings(rows, self.findings)
        judgeable = ~ignored & (rows["fault"] == 0)
        own_banks = np.where(self.known, wanted, rows["banks"] & np.uint32(mask_of(self.policy.banks_allowed)))
        check_logs(
            judged_as.logs,
            judged_as.digests,
            own_banks,
            judged_as.of_registers,
            np.flatnonzero(judgeable),
            self.findings,
        )
        judged = judgeable & self._baseline_findings(judgeable)
        pcrs = PcrValues(replayed.values, {bank: replayed.has_bank(bank) for bank in replayed.values})
        masks = PcrMasks.of(self.policy, judged_as.of_registers)
        comparison = Comparison(self.references, masks, self.baseline, judged, wanted)
        comparison.compare(pcrs, self.findings)
        stage_values = comparison.explain(judged_as.logs, pcrs, self.findings)
        at_start = values_at_start(self.batch, self.logs, judged_as, pcrs)
        ima = judge_ima(
            self.batch,
            references=self.references,
            baseline=np.where(judged, self.baseline, -1),
            judged=judgeable,
            values=at_start.values,
            usable=at_start.usable,
            quoted={},
            authentic={},
            policy=self.policy,
            findings=self.findings,
        )
        self._ignored_quotes()
        return self._table(judged, comparison, masks, empty, stage_values, ima)

    def _wanted_banks(self) -> npt.NDArray[np.uint32]:
        """For each row the banks that are compared: those of the learning boot that the policy allows."""
        allowed = np.uint32(mask_of(self.policy.banks_allowed))
        wanted = np.zeros(self.n, np.uint32)
        wanted[self.known] = self.references.log_banks[self.baseline[self.known]] & allowed
        return wanted

    def _replay(self, logs: Ragged, wanted: npt.NDArray[np.uint32]) -> Replayed:
        """Only banks that some row is compared in are replayed; a log without a baseline is still read for faults.

        Beside an IMA list it is replayed too: its boot_aggregate is of these PCRs, and the list may be learned.
        """
        banks = int(np.bitwise_or.reduce(wanted, initial=np.uint32(0)))
        if not self.known.all() and has_values(self.batch, "ima"):
            banks |= mask_of(self.policy.banks_allowed)
        return replay(logs, banks_of(banks))

    def _baseline_findings(self, judgeable: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Rows that have an active baseline; findings for those that have none, and for evidence that got lost."""
        known = self.known
        active = np.zeros(self.n, np.bool_)
        active[known] = self.references.active[self.baseline[known]]
        learned_from = self.references.columns.field("evidence_id").take(self.baseline_index)
        here = np.fromiter((a == b for a, b in zip(learned_from.to_pylist(), self.ids, strict=True)), np.bool_, self.n)
        notes = (
            (
                judgeable & ~known,
                "baseline.absent",
                Severity.INFO,
                "no baseline of this machine: `pyverify learn` makes one",
            ),
            (judgeable & known & ~active, "baseline.pending", Severity.INFO, "its baseline waits to be activated"),
            (
                active & ~judgeable,
                "evidence.lost",
                Severity.HIGH,
                "this machine has a baseline, so its log should be here",
            ),
            (known & here, "baseline.learned-here", Severity.INFO, "this boot is what the baseline was learned from"),
        )
        for rows, code, severity, hint in notes:
            self.findings.add_to_all(np.flatnonzero(rows), Finding(code, severity, hint))
        return active

    def _ignored_quotes(self) -> None:
        if self.policy.quote == "no" and has_values(self.batch, "quotes"):
            counts = pc.fill_null(pc.list_value_length(self.batch.column("quotes")), 0).to_numpy(zero_copy_only=False)
            hint = f"policy {self.policy.name} does not judge quotes"
            self.findings.add_to_all(np.flatnonzero(counts), Finding("quote.ignored", Severity.INFO, hint))

    def _table(
        self,
        judged: npt.NDArray[np.bool_],
        comparison: Comparison,
        masks: PcrMasks,
        empty: npt.NDArray[np.bool_],
        shown: StageValues,
        ima: ImaJudgement,
    ) -> pa.RecordBatch:
        baselines = [self.references.columns.field(n).take(self.baseline_index) for n in ("scope", "id", "version")]
        policy = self.policy
        differs = masks.as_pcrs(comparison.anywhere & masks.compare)
        columns: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            **{name: self._optional(name) for name in ("machine", "boot", "collected_at", "source")},
            "as_of": self.as_of,
            "verdict": outcomes(self.findings, judged, empty),
            "attested": "log",
            "key": "none",
            "evidence_id": self.ids,
            "policy_id": policy.id,
            "references_id": self.references.id,
            "baseline": pa.StructArray.from_arrays(baselines, fields=list(BASELINE_TYPE), mask=pa.array(~self.known)),
            "pcrs_proven": bank_masks({}, self.n),
            "pcrs_unproven": bank_masks(masks_in(comparison.banks, masks.compare | masks.report), self.n),
            "stages": stage_columns(differs, judged, policy.compare_mask, shown, ima.judged, ima.bad),
            "findings": self.findings.to_arrow(),
        }
        return verdict_table(self.n, columns)

    def _optional(self, name: str) -> Any:
        return self.batch.column(name) if name in self.batch.schema.names else None

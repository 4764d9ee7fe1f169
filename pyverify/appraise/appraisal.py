"""The appraisal: rows of evidence, references and a policy in, one verdict row out for every row in.

It is a pure function of its inputs. Whatever is wrong with a row becomes a finding of that row and touches no other.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify import _native
from pyverify.algorithms import BY_NAME, TO_SHOW, banks_of, mask_of
from pyverify.appraise.difference import difference_findings
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.policy import Policy
from pyverify.appraise.stages import STAGES, stage_columns
from pyverify.appraise.structure import log_findings
from pyverify.appraise.verdict import (
    BASELINE_TYPE,
    FAULT_TYPE,
    SCHEMA_VERSION,
    SOURCE_TYPE,
    VERDICT_SCHEMA,
    Outcome,
    Verdict,
)
from pyverify.baseline.references import References
from pyverify.errors import UsageError
from pyverify.evidence.bundle import Evidence, evidence_batch
from pyverify.evidence.columns import NAME_PATTERN, Ragged, evidence_schema
from pyverify.evidence.eventlog import EventLog
from pyverify.findings import CODES, Finding, Severity
from pyverify.replay import Replayed, replay

_TRUSTED, _UNTRUSTED, _UNMEASURED, _ERROR = range(4)
_OUTCOMES: Final = pa.array(
    [str(name) for name in (Outcome.TRUSTED, Outcome.UNTRUSTED, Outcome.UNMEASURED, Outcome.ERROR)]
)
_NO_PROFILE: Final = np.uint32(0xFFFFFFFF)
_EVIDENCE_COLUMNS: Final = ("event_log_kind", "event_log", "userspace_log", "ima", "quotes", "ak_cert", "ek_cert")


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
        yield _Appraisal(batch, references, policy, as_of).verdicts()


def verify(
    evidence: Evidence, *, references: References, policy: Policy, as_of: datetime.datetime | None = None
) -> Verdict:
    """Appraises the evidence of one boot: the same code as for a fleet, for a batch of one."""
    now = as_of or datetime.datetime.now(datetime.UTC)
    (verdicts,) = verify_batches([evidence_batch([evidence])], references=references, policy=policy, as_of=now)
    return Verdict.from_row(verdicts.to_pylist()[0])


def evidence_ids(batch: pa.RecordBatch, logs: Ragged) -> list[bytes]:
    """For each row the SHA-256 over its evidence: equal bytes of equal kinds have equal ids.

    ``logs`` is the batch's column of event logs, which is laid out already.
    What is hashed: for each column of evidence that was sent, its name, how many byte strings it has, and the SHA-256
    of each; for one that is absent in a list, nothing but a mark.
    """
    facts: list[list[bytes]] = [[] for _ in range(len(batch))]
    for name in _EVIDENCE_COLUMNS:
        if name not in batch.schema.names or (column := batch.column(name)).null_count == len(column):
            continue
        tag = name.encode() + b"\0"
        if name == "event_log":
            digests = _native.hash_messages(BY_NAME["sha256"].index, logs.blob, logs.offsets)
            for row in np.flatnonzero(logs.present).tolist():
                facts[row].append(tag + b"\1" + digests[row].tobytes())
        else:
            for fact, value in zip(facts, column.to_pylist(), strict=True):
                if value is not None:
                    fact.append(tag + _digests(value))
    return [hashlib.sha256(b"".join(fact)).digest() for fact in facts]


def _digests(value: Any) -> bytes:
    if isinstance(value, list):
        parts = [part for item in value for part in (item.values() if item is not None else [None])]
        return len(parts).to_bytes(4, "big") + b"".join(b"\0" if part is None else _digests(part) for part in parts)
    return b"\1" + hashlib.sha256(value.encode() if isinstance(value, str) else value).digest()


def _conform(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its columns in the types of the schema; logs stay as they lie, in any binary layout."""
    schema = pa.schema([*evidence_schema(), pa.field("source", SOURCE_TYPE), pa.field("fault", FAULT_TYPE)])
    columns, fields = [], []
    for field in schema:
        if field.name not in batch.schema.names:
            continue
        try:
            column = batch.column(field.name)
            if pa.types.is_large_binary(field.type):
                Ragged.from_arrow(column.slice(0, 0))
            elif column.type != field.type:
                if pa.types.is_dictionary(column.type):
                    column = column.dictionary_decode()
                if pa.types.is_string(field.type) and not _is_text(column.type):
                    raise UsageError(f"column {field.name!r} is of type {column.type}, not text")
                column = column.cast(field.type)
        except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
            raise UsageError(f"column {field.name!r} is not of type {field.type}: {error}") from error
        columns.append(column)
        fields.append(pa.field(field.name, column.type))
    return pa.record_batch(columns, schema=pa.schema(fields))


_TEXTS: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)


def _is_text(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in _TEXTS)


class _Appraisal:
    """The appraisal of one batch, step by step over its columns."""

    def __init__(self, batch: pa.RecordBatch, references: References, policy: Policy, as_of: datetime.datetime) -> None:
        for name in ("machine", "boot", "event_log"):
            if name not in batch.schema.names:
                raise UsageError(f"the evidence has no column {name!r}")
        batch = _conform(batch)
        self.batch, self.references, self.policy, self.as_of = batch, references, policy, as_of
        self.n = len(batch)
        self.findings = FindingColumns(self.n)
        self.logs = Ragged.from_arrow(batch.column("event_log"))
        self.machines = [name or "" for name in batch.column("machine").to_pylist()]
        self.baseline = references.find(self.machines)
        known = self.baseline >= 0
        self.baseline_index = pa.array(np.where(known, self.baseline, 0), mask=~known)
        self.ids = evidence_ids(batch, self.logs)

    def verdicts(self) -> pa.RecordBatch:
        """All steps, in the order in which findings read best."""
        unreadable = self._source_faults()
        empty = ~unreadable & (np.diff(self.logs.offsets) == 0)
        self.findings.add_to_all(
            np.flatnonzero(empty),
            Finding("log.absent", Severity.INFO, "no event log, or an empty one: nothing says what was booted"),
        )
        foreign = self._foreign_kinds() & ~unreadable & ~empty
        replayed = self._replay()
        ignored = unreadable | empty | foreign
        rows = replayed.logs.copy()
        rows[ignored] = 0
        log_findings(rows, self.findings)
        judgeable = ~ignored & (rows["fault"] == 0)
        active = self._baseline_findings(judgeable)
        judged = judgeable & active
        differs, compared = self._compare(replayed, judged)
        stage_values = self._explain(replayed, differs, judged)
        self._ignored_quotes()
        return self._table(judged, differs, compared, empty, stage_values)

    def _source_faults(self) -> npt.NDArray[np.bool_]:
        """Rows that the archive could not read, and names outside their alphabet."""
        unreadable = np.zeros(self.n, np.bool_)
        if "fault" in self.batch.schema.names and self.batch.column("fault").null_count < self.n:
            for row, fault in enumerate(self.batch.column("fault").to_pylist()):
                if fault is not None:
                    unreadable[row] = True
                    code = fault["code"] if fault["code"] in CODES else "evidence.unreadable"
                    self.findings.add(row, Finding(code, Severity.HIGH, fault["hint"] or CODES[code].when))
        for name in ("machine", "boot"):
            valid = pc.fill_null(pc.match_substring_regex(self.batch.column(name), rf"\A{NAME_PATTERN}\z"), False)
            bad = ~np.asarray(valid.to_numpy(zero_copy_only=False), np.bool_) & ~unreadable
            hint = f"{name} names are 1 to 128 characters of A-Z a-z 0-9 . _ -"
            self.findings.add_to_all(np.flatnonzero(bad), Finding("evidence.name", Severity.HIGH, hint))
            unreadable |= bad
        return unreadable

    def _foreign_kinds(self) -> npt.NDArray[np.bool_]:
        foreign = np.zeros(self.n, np.bool_)
        if "event_log_kind" in self.batch.schema.names and self.batch.column("event_log_kind").null_count < self.n:
            for row, kind in enumerate(self.batch.column("event_log_kind").to_pylist()):
                if kind not in (None, "tcg"):
                    foreign[row] = True
                    hint = f"logs of kind {kind!r} cannot be judged yet; TCG logs can"
                    self.findings.add(row, Finding("log.not-a-log", Severity.HIGH, hint))
        return foreign

    def _wanted_banks(self) -> npt.NDArray[np.uint32]:
        """For each row the banks that are compared: those of the learning boot that the policy allows."""
        allowed = np.uint32(mask_of(self.policy.banks_allowed))
        known = self.baseline >= 0
        wanted = np.zeros(self.n, np.uint32)
        wanted[known] = self.references.log_banks[self.baseline[known]] & allowed
        return wanted

    def _replay(self) -> Replayed:
        """Only banks that some row is compared in are replayed; a log without a baseline is still read for faults."""
        banks = int(np.bitwise_or.reduce(self._wanted_banks(), initial=np.uint32(0)))
        return replay(self.logs, banks_of(banks))

    def _baseline_findings(self, judgeable: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Rows that have an active baseline; findings for those that have none, and for evidence that got lost."""
        known = self.baseline >= 0
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

    def _compare(
        self, replayed: Replayed, judged: npt.NDArray[np.bool_]
    ) -> tuple[dict[str, npt.NDArray[np.uint32]], npt.NDArray[np.uint32]]:
        """By bank the PCRs of each row that differ; and for each row the banks in which it was compared."""
        wanted = np.where(judged, self._wanted_banks(), np.uint32(0))
        mask = self.policy.compare_mask | self.policy.report_mask
        profile = np.full(self.n, _NO_PROFILE)
        profile[judged] = self.references.profile[self.baseline[judged]]
        differs: dict[str, npt.NDArray[np.uint32]] = {}
        compared = np.zeros(self.n, np.uint32)
        for bank in replayed.values:
            bit = np.uint32(1 << BY_NAME[bank].index)
            usable = replayed.has_bank(bank)
            rows = (wanted & bit != 0) & usable
            compared[rows] |= bit
            bits = self.references.differs(bank, replayed.values[bank], profile, mask)
            differs[bank] = np.where(rows, bits, np.uint32(0))
            hint = f"the log has no complete {bank} bank, which the learning boot had"
            finding = Finding("bank.missing", Severity.HIGH, hint, bank=bank)
            self.findings.add_to_all(np.flatnonzero((wanted & bit != 0) & ~usable), finding)
        nothing = Finding("bank.missing", Severity.HIGH, "the baseline has no bank that the policy allows")
        self.findings.add_to_all(np.flatnonzero(judged & (wanted == 0)), nothing)
        weak = np.uint32(mask_of(self.policy.banks_weak))
        only_weak = (compared != 0) & (compared & ~weak == 0)
        words = f"only banks below the policy's strength: {', '.join(self.policy.banks_weak)}"
        self.findings.add_to_all(np.flatnonzero(only_weak), Finding("bank.weak", Severity.WARNING, words))
        return differs, compared

    def _anywhere(self, differs: dict[str, npt.NDArray[np.uint32]]) -> npt.NDArray[np.uint32]:
        """For each row the PCRs that differ in some bank."""
        anywhere: npt.NDArray[np.uint32] = np.bitwise_or.reduce([*differs.values(), np.zeros(self.n, np.uint32)])
        return anywhere

    def _explain(
        self, replayed: Replayed, differs: dict[str, npt.NDArray[np.uint32]], judged: npt.NDArray[np.bool_]
    ) -> dict[int, list[tuple[bytes | None, bytes | None]]]:
        """Event findings of the rows that differ, and the values that their stages show."""
        anywhere = self._anywhere(differs)
        # What differs is not trusted, whatever the explanation finds.
        self.findings.high |= judged & (anywhere & np.uint32(self.policy.compare_mask) != 0)
        stage_values = {}
        for row in np.flatnonzero(judged & (anywhere != 0)):
            profile = int(self.references.profile[self.baseline[row]])
            own = {bank: int(bits[row]) for bank, bits in differs.items() if bits[row]}
            log = EventLog.parse(self.logs[int(row)])
            values = {bank: replayed.values[bank][row] for bank in own}
            for finding in difference_findings(log, values, self.references, profile, own, self.policy):
                self.findings.add(int(row), finding)
            stage_values[int(row)] = [self._stage_value(replayed, own, int(row), profile, pcrs) for _, pcrs in STAGES]
        return stage_values

    def _stage_value(
        self, replayed: Replayed, own: dict[str, int], row: int, profile: int, pcrs: tuple[int, ...]
    ) -> tuple[bytes | None, bytes | None]:
        """Expected and actual value of the first compared PCR of a stage that differs."""
        for pcr in pcrs:
            for bank in TO_SHOW:
                if (own.get(bank, 0) & self.policy.compare_mask) >> pcr & 1:
                    expected = self.references.allowed_value(bank, profile, pcr)
                    return expected, replayed.values[bank][row, pcr].tobytes()
        return None, None

    def _ignored_quotes(self) -> None:
        if self.policy.quote == "no" and "quotes" in self.batch.schema.names:
            counts = pc.fill_null(pc.list_value_length(self.batch.column("quotes")), 0).to_numpy(zero_copy_only=False)
            hint = f"policy {self.policy.name} does not judge quotes"
            self.findings.add_to_all(np.flatnonzero(counts), Finding("quote.ignored", Severity.INFO, hint))

    def _outcomes(self, judged: npt.NDArray[np.bool_], empty: npt.NDArray[np.bool_]) -> pa.Array:
        """Trusted is what remains when nothing else applies AND the row was compared."""
        found = self.findings
        outcome = np.where(judged & ~found.unmeasured, _TRUSTED, _UNMEASURED)
        outcome[found.high] = _UNTRUSTED
        outcome[empty] = _UNMEASURED
        outcome[found.error] = _ERROR
        return _OUTCOMES.take(pa.array(outcome))

    def _table(
        self,
        judged: npt.NDArray[np.bool_],
        differs: dict[str, npt.NDArray[np.uint32]],
        compared: npt.NDArray[np.uint32],
        empty: npt.NDArray[np.bool_],
        stage_values: dict[int, list[tuple[bytes | None, bytes | None]]],
    ) -> pa.RecordBatch:
        known = self.baseline >= 0
        baselines = [self.references.columns.field(n).take(self.baseline_index) for n in ("scope", "id", "version")]
        mask = self.policy.compare_mask | self.policy.report_mask
        columns: dict[str, Any] = {
            "schema_version": self._repeated("schema_version", SCHEMA_VERSION),
            "machine": self.batch.column("machine"),
            "boot": self.batch.column("boot"),
            "collected_at": self._optional("collected_at"),
            "as_of": self._repeated("as_of", self.as_of),
            "verdict": self._outcomes(judged, empty),
            "attested": self._repeated("attested", "log"),
            "key": self._repeated("key", "none"),
            "evidence_id": self.ids,
            "policy_id": self._repeated("policy_id", self.policy.id),
            "references_id": self._repeated("references_id", self.references.id),
            "baseline": pa.StructArray.from_arrays(baselines, fields=list(BASELINE_TYPE), mask=pa.array(~known)),
            "pcrs_proven": _bank_masks(np.zeros(self.n, np.uint32), 0),
            "pcrs_unproven": _bank_masks(compared, mask),
            "stages": stage_columns(
                self._anywhere(differs) & np.uint32(self.policy.compare_mask),
                judged,
                self.policy.compare_mask,
                stage_values,
            ),
            "findings": self.findings.to_arrow(),
            "source": self._optional("source"),
        }
        arrays = []
        for field in VERDICT_SCHEMA:
            column = columns.get(field.name)
            if column is None:
                column = pa.nulls(self.n, field.type)
            elif not isinstance(column, (pa.Array, pa.ChunkedArray)):
                column = pa.array(column, field.type)
            arrays.append(column if column.type == field.type else column.cast(field.type))
        return pa.record_batch(arrays, schema=VERDICT_SCHEMA)

    def _repeated(self, name: str, value: Any) -> pa.Array:
        return pa.repeat(pa.scalar(value, VERDICT_SCHEMA.field(name).type), self.n)

    def _optional(self, name: str) -> Any:
        return self.batch.column(name) if name in self.batch.schema.names else None


def _bank_masks(banks: npt.NDArray[np.uint32], mask: int) -> pa.Array:
    """A list of {bank, mask} a row: few rows differ in it, so each distinct list is made once."""
    distinct, inverse = np.unique(banks, return_inverse=True)
    lists = [[{"bank": bank, "mask": mask} for bank in banks_of(int(bits))] for bits in distinct]
    return pa.array(lists, VERDICT_SCHEMA.field("pcrs_unproven").type).take(pa.array(inverse))

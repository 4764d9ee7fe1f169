"""Verdict rows as an Arrow table of :data:`pyverify.appraise.verdict.VERDICT_SCHEMA`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pyverify.algorithms import BANKS
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.verdict import FINDING_TYPE, VERDICT_SCHEMA, Outcome
from pyverify.evidence.gather import distinct_rows
from pyverify.findings import Finding, Severity

_FINDING: Final = [field.name for field in FINDING_TYPE]
_TRUSTED, _UNTRUSTED, _UNMEASURED, _ERROR = range(4)
_OUTCOMES: Final = pa.array(
    [str(name) for name in (Outcome.TRUSTED, Outcome.UNTRUSTED, Outcome.UNMEASURED, Outcome.ERROR)]
)


def outcomes(findings: FindingColumns, judged: npt.NDArray[np.bool_], empty: npt.NDArray[np.bool_]) -> pa.Array:
    """The verdict of each row: trusted is what remains when nothing else applies AND the row was compared."""
    outcome = np.where(judged & ~findings.unmeasured, _TRUSTED, _UNMEASURED)
    outcome[findings.high] = _UNTRUSTED
    outcome[empty] = _UNMEASURED
    outcome[findings.error] = _ERROR
    return _OUTCOMES.take(pa.array(outcome))


def bank_masks(masks: Mapping[str, npt.NDArray[np.uint32]], n: int) -> pa.Array:
    """A list of {bank, mask} a row, of the banks whose mask of PCRs is not 0.

    ``masks`` are by bank uint32 of shape [n]. Few rows differ in them, so each distinct list is made once.
    """
    names = list(masks)
    table = np.stack([masks[name] for name in names], axis=1) if names else np.zeros((n, 0), np.uint32)
    distinct, list_of = distinct_rows(table)
    lists = [
        [{"bank": name, "mask": mask} for name, mask in zip(names, row, strict=True) if mask]
        for row in table[distinct].tolist()
    ]
    return pa.array(lists, VERDICT_SCHEMA.field("pcrs_unproven").type).take(pa.array(list_of))


def masks_in(banks: npt.NDArray[np.uint32], masks: npt.NDArray[np.uint32]) -> dict[str, npt.NDArray[np.uint32]]:
    """By bank the mask of PCRs of each row that has the bank's bit, else 0."""
    return {bank.name: np.where(banks >> np.uint32(bank.index) & 1 != 0, masks, np.uint32(0)) for bank in BANKS}


def verdict_table(n: int, columns: Mapping[str, Any]) -> pa.RecordBatch:
    """The rows of a batch: a column is an Arrow array, a list of n values, or one value for all rows (a scalar)."""
    arrays = []
    for field in VERDICT_SCHEMA:
        column = columns.get(field.name)
        if column is None:
            column = pa.nulls(n, field.type)
        elif isinstance(column, list):
            column = pa.array(column, field.type)
        elif not isinstance(column, (pa.Array, pa.ChunkedArray)):
            column = pa.repeat(pa.scalar(column, field.type), n)
        arrays.append(column if column.type == field.type else column.cast(field.type))
    return pa.record_batch(arrays, schema=VERDICT_SCHEMA)


def lowered(verdicts: pa.RecordBatch, findings: Mapping[int, Sequence[Finding]]) -> pa.RecordBatch:
    """The verdicts with more findings, by the number of their row: they can only make a verdict worse."""
    if not findings:
        return verdicts
    numbers = sorted(findings)
    rows = verdicts.take(pa.array(numbers)).to_pylist()
    for row, number in zip(rows, numbers, strict=True):
        row["findings"] += [{name: getattr(finding, name) for name in _FINDING} for finding in findings[number]]
        if any(finding.severity is Severity.HIGH for finding in findings[number]):
            has_log = all(finding["code"] != "log.absent" for finding in row["findings"])
            if row["verdict"] == Outcome.TRUSTED or (row["verdict"] == Outcome.UNMEASURED and has_log):
                row["verdict"] = str(Outcome.UNTRUSTED)
            for finding in findings[number]:
                if finding.pcr is not None:
                    _turn_red(row["stages"], finding.pcr)
            refused = {f.code for f in findings[number] if f.severity is Severity.HIGH and f.code.startswith("quote.")}
            if row["attested"] == "quote" and refused:
                row["attested"] = "quote-unfresh"
            if refused - {"quote.unfresh"}:  # the quote did not pass, and nothing is said of what it answers
                row["nonce"] = None
    changed = pa.RecordBatch.from_pylist(rows, schema=VERDICT_SCHEMA)
    place = np.arange(len(verdicts))
    place[numbers] = len(verdicts) + np.arange(len(numbers))
    both = pa.Table.from_batches([verdicts, changed]).take(pa.array(place)).combine_chunks()
    return both.to_batches()[0]


def _turn_red(stages: list[dict[str, Any]], pcr: int) -> None:
    """Of stages that all were as they should be, the one with this PCR is not, and nothing is said of what follows."""
    at = next((at for at, stage in enumerate(stages) if stage["pcrs"] >> pcr & 1 and stage["state"] == "green"), None)
    if at is not None:
        stages[at]["state"] = "red"
        for stage in stages[at + 1 :]:
            stage["state"] = "grey"

"""The rows of a batch of evidence: their columns in the types of the schema, their names, and what identifies each."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify import _native
from pyverify.algorithms import BY_NAME
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.verdict import FAULT_TYPE, SOURCE_TYPE
from pyverify.errors import UsageError
from pyverify.evidence.columns import NAME_PATTERN, Items, Ragged, Repeated, evidence_schema, items_of
from pyverify.evidence.gather import row_bytes
from pyverify.evidence.times import NO_TIME, existing_times
from pyverify.findings import CODES, Finding, Severity

_REQUIRED: Final = ("machine", "boot", "event_log")
_EVIDENCE_COLUMNS: Final = ("event_log_kind", "event_log", "userspace_log", "ima", "quotes", "ak_cert", "ek_cert")
_ABSENT: Final = b"\0"
"""Stands for what was not sent, within what an evidence id is over."""
_TEXTS: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)


def conform(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its columns in the types of the schema; logs stay as they lie, in any binary layout.

    Raises:
        UsageError: a required column is missing, or one is of a type that cannot be cast.
    """
    for name in _REQUIRED:
        if name not in batch.schema.names:
            raise UsageError(f"the evidence has no column {name!r}")
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
                if pa.types.is_string(field.type) and not any(is_text(column.type) for is_text in _TEXTS):
                    raise UsageError(f"column {field.name!r} is of type {column.type}, not text")
                column = column.cast(field.type)
        except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
            raise UsageError(f"column {field.name!r} is not of type {field.type}: {error}") from error
        columns.append(column)
        fields.append(pa.field(field.name, column.type))
    return _with_times_that_exist(pa.record_batch(columns, schema=pa.schema(fields)))


def _with_times_that_exist(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without times that are none: their rows have a fault instead."""
    if not has_values(batch, "collected_at"):
        return batch
    times, never = existing_times(batch.column("collected_at"))
    if not never.any():
        return batch
    known = batch.column("fault").to_pylist() if "fault" in batch.schema.names else [None] * len(batch)
    own = {"code": "evidence.unreadable", "hint": NO_TIME}
    faults = [own if bad and fault is None else fault for bad, fault in zip(never.tolist(), known, strict=True)]
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    return pa.record_batch(columns | {"collected_at": times, "fault": pa.array(faults, FAULT_TYPE)})


def has_values(batch: pa.RecordBatch, name: str) -> bool:
    """Whether a column is there and not null in every row."""
    return name in batch.schema.names and batch.column(name).null_count < len(batch)


def row_faults(batch: pa.RecordBatch, findings: FindingColumns) -> npt.NDArray[np.bool_]:
    """Rows that the archive could not read, and those whose names are outside their alphabet."""
    unreadable = np.zeros(len(batch), np.bool_)
    if has_values(batch, "fault"):
        for row, fault in enumerate(batch.column("fault").to_pylist()):
            if fault is not None:
                unreadable[row] = True
                code = fault["code"] if fault["code"] in CODES else "evidence.unreadable"
                findings.add(row, Finding(code, Severity.HIGH, fault["hint"] or CODES[code].when))
    for name in ("machine", "boot"):
        valid = pc.fill_null(pc.match_substring_regex(batch.column(name), rf"\A{NAME_PATTERN}\z"), False)
        bad = ~np.asarray(valid.to_numpy(zero_copy_only=False), np.bool_) & ~unreadable
        hint = f"{name} names are 1 to 128 characters of A-Z a-z 0-9 . _ -"
        findings.add_to_all(np.flatnonzero(bad), Finding("evidence.name", Severity.HIGH, hint))
        unreadable |= bad
    return unreadable


def log_digests(logs: Items) -> npt.NDArray[np.uint8]:
    """SHA-256 of each log: uint8 of shape [n, 32]."""
    if isinstance(logs, Repeated):
        return log_digests(logs.distinct)[logs.item_of]
    return _native.hash_messages(BY_NAME["sha256"].index, logs.blob, logs.offsets)


def evidence_ids(batch: pa.RecordBatch, present: npt.NDArray[np.bool_], digests: npt.NDArray[np.uint8]) -> list[bytes]:
    """For each row the SHA-256 over its evidence: equal bytes of equal kinds have equal ids.

    ``present`` says which rows have an event log, ``digests`` is what :func:`log_digests` says of it.
    What is hashed: for each column of evidence that was sent, its name, how many byte strings it has, and the SHA-256
    of each; for one that is absent in a list, nothing but a mark.
    """
    facts = [b""] * len(batch)
    for name in _EVIDENCE_COLUMNS:
        if not has_values(batch, name):
            continue
        tag = name.encode() + b"\0"
        known = _words(*_marked(present, digests)) if name == "event_log" else _digests(batch.column(name))
        facts = [fact if words == _ABSENT else fact + tag + words for fact, words in zip(facts, known, strict=True)]
    return row_bytes(log_digests(Ragged.of([*facts])))


def ids_of(batch: pa.RecordBatch) -> list[bytes]:
    """:func:`evidence_ids` of a batch of which nothing is known yet."""
    logs = items_of(batch.column("event_log"))
    return evidence_ids(batch, logs.present, log_digests(logs))


def _digests(column: Any) -> list[bytes]:
    """For each value what stands for it: a mark and its SHA-256, or of a list how many parts it has and theirs."""
    if not pa.types.is_list(column.type):
        return _words(*_of_items(column))
    structs = column.flatten()
    is_sent = _valid(structs)
    fields = [_of_items(structs.field(number)) for number in range(structs.type.num_fields)]
    marked, sizes = (np.stack(parts, axis=1) for parts in zip(*fields, strict=True))
    # An item that is null is one part that is absent.
    marked[~is_sent, 0, 0] = 0
    sizes[~is_sent] = np.arange(len(fields)) == 0
    parts = np.where(is_sent, len(fields), 1)
    data = marked[np.arange(marked.shape[2]) < sizes[:, :, None]].tobytes()
    items = np.cumsum([0, *pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)])
    counts, ends = (np.concatenate([[0], np.cumsum(of_item)])[items].tolist() for of_item in (parts, sizes.sum(axis=1)))
    words = [
        (after - before).to_bytes(4, "big") + data[first:last]
        for (before, after), (first, last) in zip(pairwise(counts), pairwise(ends), strict=True)
    ]
    for row in np.flatnonzero(~_valid(column)).tolist():
        words[row] = _ABSENT
    return words


def _of_items(column: Any) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    items = Ragged.from_arrow(column)
    return _marked(items.present, log_digests(items))


def _marked(
    present: npt.NDArray[np.bool_], digests: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """For each item a mark and its digest, or another mark: uint8 of shape [n, 33]; and how many of its bytes count."""
    marked = np.ones((len(digests), 1 + digests.shape[1]), np.uint8)
    marked[:, 1:] = digests
    marked[~present, 0] = 0
    return marked, np.where(present, marked.shape[1], 1)


def _words(marked: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int64]) -> list[bytes]:
    data, width = marked.tobytes(), marked.shape[1]
    return [data[at : at + size] for at, size in zip(range(0, len(data), width), sizes.tolist(), strict=True)]


def _valid(column: Any) -> npt.NDArray[np.bool_]:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)

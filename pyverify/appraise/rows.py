"""The rows of a batch of evidence: their columns in the types of the schema, their names, and what identifies each."""

from __future__ import annotations

import hashlib
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
from pyverify.evidence.columns import NAME_PATTERN, Ragged, evidence_schema
from pyverify.findings import CODES, Finding, Severity

_REQUIRED: Final = ("machine", "boot", "event_log")
_EVIDENCE_COLUMNS: Final = ("event_log_kind", "event_log", "userspace_log", "ima", "quotes", "ak_cert", "ek_cert")
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
    return pa.record_batch(columns, schema=pa.schema(fields))


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


def log_digests(logs: Ragged) -> npt.NDArray[np.uint8]:
    """SHA-256 of each log: uint8 of shape [n, 32]."""
    return _native.hash_messages(BY_NAME["sha256"].index, logs.blob, logs.offsets)


def evidence_ids(batch: pa.RecordBatch, present: npt.NDArray[np.bool_], digests: npt.NDArray[np.uint8]) -> list[bytes]:
    """For each row the SHA-256 over its evidence: equal bytes of equal kinds have equal ids.

    ``present`` says which rows have an event log, ``digests`` is what :func:`log_digests` says of it.
    What is hashed: for each column of evidence that was sent, its name, how many byte strings it has, and the SHA-256
    of each; for one that is absent in a list, nothing but a mark.
    """
    facts: list[list[bytes]] = [[] for _ in range(len(batch))]
    for name in _EVIDENCE_COLUMNS:
        if not has_values(batch, name):
            continue
        tag = name.encode() + b"\0"
        if name == "event_log":
            for row in np.flatnonzero(present).tolist():
                facts[row].append(tag + b"\1" + digests[row].tobytes())
        else:
            for fact, value in zip(facts, batch.column(name).to_pylist(), strict=True):
                if value is not None:
                    fact.append(tag + _digests(value))
    return [hashlib.sha256(b"".join(fact)).digest() for fact in facts]


def _digests(value: Any) -> bytes:
    if isinstance(value, list):
        parts = [part for item in value for part in (item.values() if item is not None else [None])]
        return len(parts).to_bytes(4, "big") + b"".join(b"\0" if part is None else _digests(part) for part in parts)
    return b"\1" + hashlib.sha256(value.encode() if isinstance(value, str) else value).digest()

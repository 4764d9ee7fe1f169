"""Boots laid out as columns: record batches of one schema, whatever they were read from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, Final

import pyarrow as pa

from pyverify.appraise.verdict import FAULT_TYPE, SOURCE_TYPE
from pyverify.errors import ArchiveError, UsageError
from pyverify.evidence.columns import SCHEMA_VERSION, Ragged, evidence_schema
from pyverify.fleet.members import AK_CERT, EK_CERT, EVENT_LOG, EVIDENCE, QUOTE_PARTS, USERSPACE_LOG, Boot, Member

KEYS: Final = "keys"
"""``columns`` of a reading that wants no evidence, only which boots there are."""

FILES: Final = "files"
"""``columns`` of a reading that wants what it takes to write the same files again, beside all else."""

FILES_TYPE: Final = pa.list_(pa.struct([("name", pa.string()), ("data", pa.binary())]))
"""The members of a boot by name; ``data`` of those only that no column holds."""

_KEY_COLUMNS: Final = ("machine", "boot", "boot_seq", "collected_at")


def source_schema(columns: str | None = None) -> Any:
    """The schema of what a source yields: evidence, where it came from, and why it cannot be read (null if it can).

    With ``columns="keys"`` machine, boot, boot_seq, collected_at, source and fault only; with ``columns="files"``
    ``files`` too.
    """
    fields = list(evidence_schema())
    if columns == KEYS:
        fields = [field for field in fields if field.name in _KEY_COLUMNS]
    files = [pa.field("files", FILES_TYPE)] if columns == FILES else []
    return pa.schema([*fields, pa.field("source", SOURCE_TYPE), pa.field("fault", FAULT_TYPE), *files])


def check_arguments(max_rows: int, max_bytes: int, columns: str | None) -> None:
    """Refuse what no batch can be made by.

    Raises:
        UsageError: a size below 1, or columns that are neither None, "keys" nor "files".
    """
    if max_rows < 1 or max_bytes < 1:
        raise UsageError("max_rows and max_bytes must be at least 1")
    if columns not in (None, KEYS, FILES):
        raise UsageError(f"columns must be None, {KEYS!r} or {FILES!r}")


def batched(boots: Iterator[Boot], *, max_rows: int, max_bytes: int, columns: str | None) -> Iterator[Any]:
    """Record batches of the boots, in their order.

    If the boots end in an ArchiveError, those before it are yielded first.
    """
    pending: list[Boot] = []
    size = 0
    broken: ArchiveError | None = None
    while True:
        try:
            boot = next(boots, None)
        except ArchiveError as error:
            broken = error
            break
        if boot is None:
            break
        if pending and (len(pending) >= max_rows or size + boot.size > max_bytes):
            yield _batch(pending, columns)
            pending, size = [], 0
        pending.append(boot)
        size += boot.size
    if pending:
        yield _batch(pending, columns)
    if broken is not None:
        raise broken


def source_column(files: Any, row_groups: Any, rows: Any) -> Any:
    """The ``source`` column of three arrays."""
    return pa.StructArray.from_arrays([files, row_groups, rows], fields=list(SOURCE_TYPE))


def fault_column(codes: list[str | None], hints: list[str | None]) -> Any:
    """The ``fault`` column: null where the code is None."""
    arrays = [pa.array(codes, pa.string()), pa.array(hints, pa.string())]
    mask = pa.array([code is None for code in codes], pa.bool_())
    return pa.StructArray.from_arrays(arrays, fields=list(FAULT_TYPE), mask=mask)


def _batch(boots: list[Boot], columns: str | None) -> Any:
    n = len(boots)
    arrays = {
        "machine": pa.array([boot.machine for boot in boots], pa.string()),
        "boot": pa.array([boot.boot for boot in boots], pa.string()),
        "boot_seq": pa.array([boot.boot_seq for boot in boots], pa.int64()),
        "collected_at": pa.array([boot.collected_at for boot in boots], pa.timestamp("us", tz="UTC")),
        "source": source_column(
            pa.array([boot.file for boot in boots], pa.string()),
            pa.nulls(n, pa.int32()),
            pa.array([boot.row for boot in boots], pa.int64()),
        ),
        "fault": fault_column([boot.code for boot in boots], [boot.hint for boot in boots]),
    }
    schema = source_schema(columns)
    if columns != KEYS:
        arrays |= _evidence(boots)
    if columns == FILES:
        arrays["files"] = _lists([_files_of(boot) for boot in boots], FILES_TYPE)
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _evidence(boots: list[Boot]) -> dict[str, Any]:
    sent = set().union(*[boot.members for boot in boots])
    parts = {member.column for member in sent}

    def column(member: Member, arrow_type: Any) -> Any:
        if member not in sent:
            return pa.nulls(len(boots), arrow_type)
        items = [boot.members.get(member) for boot in boots]
        return _joined(items) if arrow_type == pa.large_binary() else pa.array(items, arrow_type)

    def lists(name: str, of: Callable[[Boot], _Rows]) -> Any:
        arrow_type = schema.field(name).type
        return _lists([of(boot) for boot in boots], arrow_type) if name in parts else pa.nulls(len(boots), arrow_type)

    schema = evidence_schema()
    return {
        "schema_version": pa.array([SCHEMA_VERSION] * len(boots), pa.int32()),
        "event_log": column(EVENT_LOG, pa.large_binary()),
        "event_log_kind": pa.nulls(len(boots), pa.string()),
        "userspace_log": column(USERSPACE_LOG, pa.large_binary()),
        "ima": lists("ima", _ima_of),
        "quotes": lists("quotes", _quotes_of),
        "ak_cert": column(AK_CERT, pa.binary()),
        "ek_cert": column(EK_CERT, pa.binary()),
    }


def _joined(items: list[bytes | None]) -> Any:
    """A large_binary column, laid out at once: Arrow lets it grow, and copies a batch of logs twice for that."""
    ragged = Ragged.of(items)
    present = None if ragged.present.all() else pa.array(ragged.present).buffers()[1]
    buffers = [present, pa.py_buffer(ragged.offsets), pa.py_buffer(ragged.blob)]
    return pa.Array.from_buffers(pa.large_binary(), len(items), buffers)


_Rows = list[tuple[Any, ...]]


def _ima_of(boot: Boot) -> _Rows:
    # Binary lists first: they hold what an ASCII list leaves out.
    lists = [(member.part, data) for member, data in boot.members.items() if member.column == "ima"]
    return sorted(lists, key=lambda item: (not item[0].startswith("binary"), item[0]))


def _quotes_of(boot: Boot) -> _Rows:
    # A key alone is no quote: without any part of one, none was sent.
    found = {member.number for member in boot.members if member.column == "quotes" and member.part != "ak_pub"}
    get: Callable[[Member], bytes | None] = boot.members.get
    return [tuple(get(Member("quotes", part, number)) for part in QUOTE_PARTS) for number in sorted(found)]


def _files_of(boot: Boot) -> _Rows:
    """Names of all members, with the bytes of those that have no column: hints as they were written, keys alone."""
    if boot.code is not None:
        return []
    quoted = {member.number for member in boot.members if member.column == "quotes" and member.part != "ak_pub"}
    alone = {m: data for m, data in boot.members.items() if m.column == "quotes" and m.number not in quoted}
    return [(name, (alone | {EVIDENCE: boot.evidence_json}).get(member)) for member, name in boot.names.items()]


def _lists(rows: list[_Rows], arrow_type: Any) -> Any:
    """A list<struct> column; a row without items is null, for nothing was sent."""
    ends = list(accumulate(map(len, rows), initial=0))
    offsets = [None if not row else start for row, start in zip(rows, ends, strict=False)]
    items = [item for row in rows for item in row]
    fields = list(arrow_type.value_type)
    arrays = [pa.array([item[i] for item in items], field.type) for i, field in enumerate(fields)]
    values = pa.StructArray.from_arrays(arrays, fields=fields)
    return pa.ListArray.from_arrays(pa.array([*offsets, ends[-1]], pa.int32()), values, type=arrow_type)

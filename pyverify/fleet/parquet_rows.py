"""Record batches as Parquet holds them, brought to the source schema and checked row by row.

The logs are not copied: offsets are widened and dictionaries stay what they are. Views are laid out, for Arrow can
take no rows out of them.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.errors import ArchiveError
from pyverify.evidence.columns import NAME_PATTERN, SCHEMA_VERSION, evidence_schema
from pyverify.evidence.times import NO_TIME, existing_times
from pyverify.fleet import limits
from pyverify.fleet.names import NAME_LENGTH, escape_name, escape_path
from pyverify.fleet.rows import FILES, FILES_TYPE, KEYS, fault_column, source_schema

COLUMNS: Final[tuple[str, ...]] = (*evidence_schema().names, "fault", "files")
"""Columns that are looked at; others in the file are ignored."""

READ: Final[dict[str | None, tuple[str, ...]]] = {
    None: COLUMNS[:-1],
    KEYS: ("schema_version", "machine", "boot", "boot_seq", "collected_at", "fault"),
    FILES: COLUMNS,
}
"""Columns that are read, by what is wanted."""

_FAULTS: Final = ("evidence.unreadable", "evidence.duplicate", "evidence.name")
"""Reasons that ``pack`` keeps; any other is taken for the first."""

_HINT: Final = 2000
"""Characters of a reason."""

_SHOWN: Final = re.compile(rf"[ -~]{{0,{NAME_LENGTH}}}")
_LOGS: Final = ("event_log", "userspace_log")
_FORMAT_PATTERN: Final = r"\A[a-z0-9_-]{1,32}\z"
_Mask = npt.NDArray[np.bool_]
_Sizes = npt.NDArray[np.int64]


def trouble_of_type(field: Any, found: Any) -> str | None:
    """Why a column of this type cannot be taken for the field, None if it can."""
    wanted = field.type
    if pa.types.is_struct(wanted):
        if not pa.types.is_struct(found):
            return f"column {field.name} is {found}, must be struct"
        return _trouble_of_struct(field.name, wanted, found)
    if pa.types.is_list(wanted):
        if not (pa.types.is_list(found) or pa.types.is_large_list(found)) or not pa.types.is_struct(found.value_type):
            return f"column {field.name} is {found}, must be list<struct>"
        return _trouble_of_struct(field.name, wanted.value_type, found.value_type)
    return _trouble_of_leaf(field.name, wanted, found)


def _trouble_of_struct(name: str, wanted: Any, found: Any) -> str | None:
    for part in wanted:
        same = found.get_all_field_indices(part.name)
        if len(same) > 1:
            return f"column {name} has {part.name} twice"
        for index in same:
            trouble = _trouble_of_leaf(f"{name}.{part.name}", part.type, found.field(index).type)
            if trouble is not None:
                return trouble
    return None


def _trouble_of_leaf(name: str, wanted: Any, found: Any) -> str | None:
    types = pa.types
    leaf = found.value_type if types.is_dictionary(found) else found
    if types.is_binary(wanted) or types.is_large_binary(wanted):
        good = types.is_binary(leaf) or types.is_large_binary(leaf) or types.is_binary_view(leaf)
        must = "binary, large_binary, binary_view or a dictionary of them"
    elif types.is_string(wanted):
        good = types.is_string(leaf) or types.is_large_string(leaf) or types.is_string_view(leaf)
        must = "string, large_string, string_view or a dictionary of them"
    elif types.is_timestamp(wanted):
        good, must = types.is_timestamp(found) and found.tz is not None, "timestamp with time zone UTC"
    else:
        good, must = types.is_int32(found) or types.is_int64(found), "int32 or int64"
    return None if good else f"column {name} is {found}, must be {must}"


def conform(batch: Any, source: Any, *, file: str, wanted: str | None) -> Any:
    """The batch in the source schema, with a fault for each row that cannot be judged."""
    n = len(batch)
    faults = _Faults(n)
    keys = wanted == KEYS
    schema = source_schema(wanted)
    columns: dict[str, Any] = {"source": source}
    try:
        if "fault" in batch.schema.names:
            _take_recorded(batch.column("fault"), faults)
        recorded = faults.mask.copy()
        for field in (*evidence_schema(), pa.field("files", FILES_TYPE)):
            if field.name in batch.schema.names:
                column = batch.column(field.name)
                if field.name == "collected_at":
                    column, never = existing_times(column)
                    faults.mark(never, "evidence.unreadable", NO_TIME)
                columns[field.name] = _cast(column, field.type, keep=field.name in _LOGS)
            else:
                columns[field.name] = pa.nulls(n, field.type)
        for name in ("machine", "boot"):
            columns[name] = _names(columns[name], name, faults, recorded)
        version = columns["schema_version"]
        other = _true(pc.fill_null(pc.not_equal(version, SCHEMA_VERSION), False))
        faults.mark(other, "evidence.unreadable", f"written under another schema_version than {SCHEMA_VERSION}")
        if not keys:
            _check_limits(columns, faults)
            columns |= _without_evidence(columns, faults.mask)
    except pa.ArrowException as error:
        raise ArchiveError(f"{file}: a value does not fit its column ({error}); write it again") from error
    columns["fault"] = fault_column(faults.codes, faults.hints)
    arrays = [columns[name] for name in schema.names]
    fields = [field.with_type(array.type) for field, array in zip(schema, arrays, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def evidence_sizes(batch: Any) -> _Sizes:
    """Bytes of evidence in each row."""
    sizes = np.zeros(len(batch), np.int64)
    for name in (*_LOGS, "ak_cert", "ek_cert"):
        sizes += _lengths(batch.column(name))
    for name in ("ima", "quotes"):
        sizes += _list_bytes(batch.column(name))
    return sizes


class _Faults:
    """The first reason of each row."""

    def __init__(self, n: int) -> None:
        self.codes: list[str | None] = [None] * n
        self.hints: list[str | None] = [None] * n
        self.mask = np.zeros(n, np.bool_)

    def mark(self, rows: _Mask, code: str, hint: str) -> None:
        for row in np.flatnonzero(rows & ~self.mask):
            self.codes[row], self.hints[row] = code, hint
        self.mask |= rows


def _cast(array: Any, wanted: Any, *, keep: bool) -> Any:
    found = array.type
    if found == wanted:
        return array
    if pa.types.is_list(wanted):
        return _cast_list(array, wanted)
    if keep and pa.types.is_dictionary(found):
        return array
    if pa.types.is_dictionary(found):
        array = array.dictionary_decode()
    if pa.types.is_string(wanted):
        # Through bytes, for text that is not UTF-8 would pass unseen otherwise, or raise for the whole batch.
        return _text(array)
    # Nanoseconds are cut: the hint needs no more than microseconds.
    return array.cast(wanted, safe=not (pa.types.is_timestamp(found) and found.unit == "ns"))


def _text(array: Any) -> Any:
    """Strings without a check of their encoding; whoever takes them checks their alphabet."""
    if pa.types.is_string(array.type):
        return array
    wide = array.cast(pa.large_string()) if pa.types.is_string_view(array.type) else array
    return wide.cast(pa.large_binary()).cast(pa.binary()).cast(pa.string(), safe=False)


def _cast_list(array: Any, wanted: Any) -> Any:
    """A list<struct> column field by field: other orders, missing fields and extra ones are fine."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    missing = array.is_null().to_pylist()
    values = array.flatten()
    struct = values.type
    parts = []
    for field in wanted.value_type:
        if struct.get_field_index(field.name) < 0:
            parts.append(pa.nulls(len(values), field.type))
        else:
            parts.append(_cast(pc.struct_field(values, field.name), field.type, keep=False))
    offsets = [None if null else int(start) for null, start in zip(missing, ends, strict=False)]
    items = pa.StructArray.from_arrays(parts, fields=list(wanted.value_type))
    return pa.ListArray.from_arrays(pa.array([*offsets, int(ends[-1])], pa.int32()), items, type=wanted)


def _take_recorded(column: Any, faults: _Faults) -> None:
    """The reasons that were kept when an archive was packed: what could not be read then cannot be judged now."""
    parts = {}
    for name in ("code", "hint"):
        has = column.type.get_field_index(name) >= 0
        part = _cast(pc.struct_field(column, name), pa.string(), keep=False).cast(pa.binary()) if has else None
        parts[name] = part
    for row in np.flatnonzero(~_true(column.is_null())).tolist():
        code, hint = (
            "" if part is None else (part[row].as_py() or b"").decode("utf-8", "replace") for part in parts.values()
        )
        if not hint.isprintable():
            hint = escape_path(hint)
        one = np.arange(len(column)) == row
        faults.mark(one, code if code in _FAULTS else _FAULTS[0], hint[:_HINT] or "it could not be read when packed")


def _names(column: Any, what: str, faults: _Faults, recorded: _Mask) -> Any:
    """A column of names, with those outside the alphabet escaped; where a reason was recorded they were before."""
    raw = column.cast(pa.binary())
    good = pc.fill_null(pc.match_substring_regex(raw, rf"\A{NAME_PATTERN}\z"), False)
    bad = ~_true(good)
    if not bad.any():
        return column
    faults.mark(bad & _true(column.is_null()), "evidence.name", f"the {what}'s name is missing")
    faults.mark(bad, "evidence.name", f"the {what}'s name must be 1 to 128 of A-Z a-z 0-9 . _ -; rename it")
    names = []
    for name, was_escaped in zip(raw.to_pylist(), recorded.tolist(), strict=True):
        text = None if name is None else name.decode("utf-8", "surrogateescape")
        if text is not None and not (was_escaped and _SHOWN.fullmatch(text)):
            text = escape_name(text)
        names.append(text)
    return pa.array(names, pa.string())


def _check_limits(columns: dict[str, Any], faults: _Faults) -> None:
    total = np.zeros(len(faults.mask), np.int64)
    for name in (*_LOGS, "ak_cert", "ek_cert"):
        sizes = _lengths(columns[name])
        total += sizes
        limit = limits.MEMBER_BYTES[name]
        faults.mark(sizes > limit, "evidence.unreadable", f"{name} is larger than the limit of {limit} bytes")
    for name, count in (("ima", limits.IMA_LISTS), ("quotes", limits.QUOTES)):
        column, limit = columns[name], limits.MEMBER_BYTES[name]
        total += _list_bytes(column)
        many = _true(pc.fill_null(pc.greater(pc.list_value_length(column), count), False))
        faults.mark(many, "evidence.unreadable", f"more than {count} items in {name}")
        items = column.flatten()
        hint = f"an item of {name} is null"
        faults.mark(_rows_of(column, _true(items.is_null())), "evidence.unreadable", hint)
        for field in items.type:
            if not pa.types.is_string(field.type):
                large = _rows_of(column, _lengths(items.field(field.name)) > limit)
                hint = f"{name}.{field.name} is larger than the limit of {limit} bytes"
                faults.mark(large, "evidence.unreadable", hint)
    formats = columns["ima"].flatten().field("format")
    no_format = _rows_of(columns["ima"], ~_plain(formats))
    faults.mark(no_format, "evidence.unreadable", "the format of an IMA list is no name")
    kinds = columns["event_log_kind"]
    bad_kind = ~_plain(kinds) & ~_true(kinds.is_null())
    faults.mark(bad_kind, "evidence.unreadable", "event_log_kind is no name")
    hint = f"all evidence together is larger than {limits.BOOT_BYTES} bytes"
    faults.mark(total > limits.BOOT_BYTES, "evidence.unreadable", hint)


def _plain(texts: Any) -> _Mask:
    return _true(pc.fill_null(pc.match_substring_regex(texts.cast(pa.binary()), _FORMAT_PATTERN), False))


def _without_evidence(columns: dict[str, Any], mask: _Mask) -> dict[str, Any]:
    """The evidence columns with null where the mask is set; the columns as they are where nothing is."""
    if not mask.any():
        return {}
    keep = pa.array(np.arange(len(mask)), pa.int64(), mask=mask)
    names = ("event_log", "event_log_kind", "userspace_log", "ima", "quotes", "ak_cert", "ek_cert", "files")
    return {name: columns[name].take(keep) for name in names}


def _lengths(array: Any) -> _Sizes:
    """Bytes of each value, 0 for null."""
    if pa.types.is_dictionary(array.type):
        of_value = _lengths(array.dictionary)
        indices = pc.fill_null(array.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
        return np.asarray(np.append(of_value, 0)[indices], np.int64)
    lengths = pc.fill_null(pc.binary_length(array), 0).cast(pa.int64())
    return np.asarray(lengths.to_numpy(zero_copy_only=False), np.int64)


def _list_bytes(column: Any) -> _Sizes:
    items = column.flatten()
    sizes = np.zeros(len(items) + 1, np.int64)
    for field in items.type:
        if not pa.types.is_string(field.type):
            sizes[1:] += _lengths(items.field(field.name))
    ends = np.cumsum(sizes)
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    return np.asarray(np.diff(ends[bounds]), np.int64)


def _rows_of(column: Any, items: _Mask) -> _Mask:
    """Rows of a list column that hold one of the marked items."""
    mask = np.zeros(len(column), np.bool_)
    if items.any():
        mask[pc.list_parent_indices(column).to_numpy(zero_copy_only=False)[items]] = True
    return mask


def _true(array: Any) -> _Mask:
    return np.asarray(array.to_numpy(zero_copy_only=False), np.bool_)

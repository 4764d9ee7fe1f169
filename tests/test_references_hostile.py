"""Snapshots of references that Arrow finds well formed, and whose contents are not those of one (found by fuzzing)."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from baselines_by_hand import everything, of_log

from pyverify import References, ReferencesError


@functools.cache
def good_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        References.of([of_log(), everything()]).save(Path(folder) / "r")
        return (Path(folder) / "r").read_bytes()


def good_rows() -> tuple[list[dict[str, Any]], pa.Schema]:
    with pa.ipc.open_file(pa.BufferReader(good_bytes())) as reader:
        return [reader.get_batch(i).to_pylist()[0] for i in range(reader.num_record_batches)], reader.schema


def rewritten(change: Callable[[dict[str, Any]], object]) -> References:
    """A good snapshot whose first row was changed."""
    rows, schema = good_rows()
    merged: dict[str, Any] = {name: [one for row in rows for one in row[name]] for name in schema.names[1:]}
    change(merged)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist([{"version": rows[0]["version"], **merged}], schema=schema))
    return References(sink.getvalue())


def test_what_was_not_changed_is_read():
    assert len(rewritten(lambda tables: None)) == 2


def put(table: str, name: str | None, value: object, row: int = 0) -> Callable[[dict[str, Any]], object]:
    """A change of one value, or of a whole entry."""
    if name is None:
        return lambda tables: tables[table].__setitem__(row, value)
    return lambda tables: tables[table][row].__setitem__(name, value)


NEEDED = ("scope", "id", "version", "state", "profile", "log_banks", "quoted_banks", "boot", "evidence_id", "origin")


@pytest.mark.parametrize(
    "change",
    [
        put("sequences", None, None),
        put("baselines", None, None),
        *(put("baselines", name, None) for name in NEEDED),
        put("baselines", "accepted", [None]),
        put("baselines", "accepted", [{"code": None, "pcr": 1, "reason": "r"}]),
        put("baselines", "ima_superseded", [None]),
        put("baselines", "ima_superseded", [{"set": 0, "until": None}]),
        put("baselines", "state", "activ"),
        put("baselines", "scope", "fleet"),
        put("baselines", "origin", ""),
        *(put("sequences", name, None) for name in ("start", "banks", "types", "texts", "varies")),
        put("sequences", "types", [4]),
        put("sequences", "texts", [None] * 5),
        put("sequences", "varies", [1000]),
        put("sequences", "banks", 0),
        put("sequences", "banks", 1 << 5),
        put("sequences", "digests_sha256", None),
        put("sequences", "digests_sha256", b"\0"),
        put("sequences", "value_sha256", None),
        put("set_at", None, None, 3),
        put("members", None, None),
        put("keep", None, None),
    ],
)
def test_a_snapshot_that_lacks_something_is_refused(change):
    with pytest.raises(ReferencesError):
        rewritten(change)


def test_an_offset_of_no_lists_that_is_past_the_values_is_refused():
    """Arrow finds it valid, as no list begins there, and would end the process where it is looked at."""
    with pa.ipc.open_file(pa.BufferReader(good_bytes())) as reader:
        schema, version = reader.schema, reader.get_batch(0).column("version")
    columns = [version]
    for field in list(schema)[1:]:
        values = pa.array([], field.type.value_type)
        if field.name == "sequences":
            parts = [values.field(part.name) for part in values.type]
            at = next(i for i, part in enumerate(parts) if pa.types.is_list(part.type))
            offsets = pa.py_buffer((1).to_bytes(4, "little"))
            parts[at] = pa.Array.from_buffers(parts[at].type, 0, [None, offsets], children=[parts[at].values])
            values = pa.StructArray.from_arrays(parts, fields=list(values.type))
        whole = pa.array([[]], field.type)
        columns.append(pa.Array.from_buffers(field.type, 1, whole.buffers()[:2], children=[values]))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))
    with pytest.raises(ReferencesError):
        References(sink.getvalue())

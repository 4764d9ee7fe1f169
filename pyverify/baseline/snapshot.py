"""The layout of a references snapshot, and how one is written: columns all the way, equal contents once.

It is one Arrow IPC file of a single row whose lists are the tables (DESIGN section 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, mask_of
from pyverify.baseline.model import ALL_ONES, EventSequence, State

VERSION: Final = 1

_BASELINE: Final = pa.struct(
    [
        ("scope", pa.string()),
        ("id", pa.string()),
        ("version", pa.int32()),
        ("state", pa.string()),
        ("profile", pa.uint32()),
        ("log_banks", pa.uint32()),
        ("quoted_banks", pa.uint32()),
        ("boot", pa.string()),
        ("evidence_id", pa.binary(32)),
    ]
)
_SEQUENCE: Final = pa.struct(
    [
        ("start", pa.uint8()),
        ("banks", pa.uint32()),  # those in which it leads to a value
        ("types", pa.list_(pa.uint32())),
        ("texts", pa.list_(pa.string())),
        *((f"digests_{bank.name}", pa.large_binary()) for bank in BANKS),
        *((f"value_{bank.name}", pa.binary(bank.size)) for bank in BANKS),
    ]
)
SCHEMA: Final = pa.schema(
    [
        ("version", pa.int32()),
        ("baselines", pa.large_list(_BASELINE)),
        # profile p allows PCR c the sequences members[set_at[24 p + c] : set_at[24 p + c + 1]]
        ("set_at", pa.large_list(pa.uint64())),
        ("members", pa.large_list(pa.uint32())),
        ("sequences", pa.large_list(_SEQUENCE)),
    ]
)

_CHUNK: Final = 512
"""Rows that are Python objects at a time: the rest are columns already."""


class Rows:
    """Rows of a struct type that arrive one at a time and leave as an Arrow array."""

    def __init__(self, kind: pa.StructType) -> None:
        self._kind = kind
        self._pending: list[Mapping[str, Any]] = []
        self._chunks: list[pa.Array] = []
        self._flushed = 0

    def __len__(self) -> int:
        return self._flushed + len(self._pending)

    def add(self, row: Mapping[str, Any]) -> int:
        """Takes a row and returns its number."""
        self._pending.append(row)
        if len(self._pending) == _CHUNK:
            self._flush()
        return len(self) - 1

    def _flush(self) -> None:
        self._chunks.append(pa.array(self._pending, self._kind))
        self._flushed += len(self._pending)
        self._pending = []

    def to_arrow(self) -> pa.StructArray:
        """All rows; there are none afterwards."""
        self._flush()
        chunks, self._chunks = self._chunks, []
        return pa.concat_arrays(chunks)


class Snapshot:
    """A snapshot in the making. Numbers that ``add_…`` return are what later rows refer to."""

    def __init__(self) -> None:
        self._sequences = Rows(_SEQUENCE)
        self._baselines = Rows(_BASELINE)
        self._sizes: list[int] = []
        self._members: list[int] = []

    def add_sequence(self, sequence: EventSequence) -> int:
        """One sequence of events; the caller sees to it that equal ones come once."""
        digests = {f"digests_{bank}": data for bank, data in sequence.digests.items()}
        row = {"start": sequence.start, "types": sequence.types, "texts": sequence.texts, **digests}
        return self._sequences.add({**row, "banks": mask_of(list(sequence.digests))})

    def add_profile(self, allowed: Iterable[Sequence[int]]) -> int:
        """For each of the 24 PCRs the numbers of the sequences that it may hold."""
        profile = len(self._sizes) // 24
        for members in allowed:
            self._sizes.append(len(members))
            self._members.extend(members)
        return profile

    def add_baseline(self, *, state: State | str, **row: Any) -> None:
        """One baseline, its fields as in the schema. They come sorted by scope, id and version."""
        self._baselines.add({**row, "state": str(state)})

    def to_buffer(self) -> pa.Buffer:
        """The bytes of the snapshot, with the value that each sequence leads to replayed in every bank."""
        set_at = np.zeros(len(self._sizes) + 1, np.uint64)
        np.cumsum(self._sizes, out=set_at[1:])
        tables = {
            "version": pa.array([VERSION], pa.int32()),
            "baselines": _one(self._baselines.to_arrow(), SCHEMA.field("baselines").type),
            "set_at": _one(pa.array(set_at), SCHEMA.field("set_at").type),
            "members": _one(pa.array(self._members, pa.uint32()), SCHEMA.field("members").type),
            "sequences": _one(_with_values(self._sequences.to_arrow()), SCHEMA.field("sequences").type),
        }
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, SCHEMA) as writer:
            writer.write_batch(pa.record_batch([tables[field.name] for field in SCHEMA], schema=SCHEMA))
        return sink.getvalue()


def _one(table: pa.Array, kind: pa.DataType) -> pa.Array:
    """A table as the one list of a column."""
    return pa.LargeListArray.from_arrays(pa.array([0, len(table)], pa.int64()), table, type=kind)


def _with_values(sequences: pa.StructArray) -> pa.StructArray:
    columns = {field.name: sequences.field(field.name) for field in _SEQUENCE}
    starts = columns["start"].to_numpy()
    for bank in BANKS:
        digests = columns[f"digests_{bank.name}"]
        values = _replayed(bank.name, starts, digests)
        buffers = [None, pa.py_buffer(values)]
        column = pa.Array.from_buffers(pa.binary(bank.size), len(values), buffers)
        absent = pa.nulls(len(values), pa.binary(bank.size))
        columns[f"value_{bank.name}"] = pc.if_else(digests.is_valid(), column, absent)
    return pa.StructArray.from_arrays(list(columns.values()), fields=list(_SEQUENCE))


def _replayed(bank: str, starts: npt.NDArray[np.uint8], digests: pa.LargeBinaryArray) -> npt.NDArray[np.uint8]:
    """The value of each sequence in one bank: uint8 of shape [sequences, size]."""
    size = BY_NAME[bank].size
    values = np.zeros((len(starts), size), np.uint8)
    values[:, -1] = starts
    values[starts == ALL_ONES] = 0xFF
    if len(starts):
        offsets = np.frombuffer(digests.buffers()[1], np.int64, len(starts) + 1, 8 * digests.offset)
        data = digests.buffers()[2]
        chain = np.frombuffer(data, np.uint8)[: offsets[-1]] if data is not None else np.zeros(0, np.uint8)
        at = (offsets // size).astype(np.uint64)
        _native.extend(BY_NAME[bank].index, chain.reshape(-1, size), at, values)
    return values

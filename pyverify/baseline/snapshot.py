"""The layout of a references snapshot, and how one is written: columns all the way, equal contents once.

It is one Arrow IPC file whose columns are lists: a table is what the lists of its column hold, row after row (DESIGN
section 6). Sequences come in chunks, so that a snapshot is written and read without all of it in memory.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, PCRS, mask_of
from pyverify.baseline.model import ALL_ONES, Baseline, EventSequence

VERSION: Final = 4

_TIME: Final = pa.timestamp("us", "UTC")
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
        ("ima_set", pa.uint32()),  # null where the learning boot sent no list
        ("ima_violations", pa.uint32()),
        ("origin", pa.string()),
        ("approval", pa.string()),  # in words; null where nobody approved it
        ("accepted", pa.list_(pa.struct([("code", pa.string()), ("pcr", pa.uint8()), ("reason", pa.string())]))),
        ("ima_superseded", pa.list_(pa.struct([("set", pa.uint32()), ("until", _TIME)]))),
    ]
)
_SEQUENCE: Final = pa.struct(
    [
        ("start", pa.uint8()),
        ("banks", pa.uint32()),  # those in which it leads to a value
        ("types", pa.list_(pa.uint32())),
        ("texts", pa.list_(pa.string())),
        ("varies", pa.list_(pa.uint32())),
        *((f"digests_{bank.name}", pa.large_binary()) for bank in BANKS),
        *((f"value_{bank.name}", pa.binary(bank.size)) for bank in BANKS),
    ]
)
_IMA_MEMBER: Final = pa.struct(
    [
        ("path", pa.uint32()),
        ("kind", pa.uint32()),
        ("digest", pa.binary(_native.IMA_DIGEST_ROOM)),  # zeros after its own bytes
    ]
)
_ENROLLED: Final = pa.struct(
    [
        ("machine", pa.string()),
        ("ak_name", pa.binary()),
        ("since", _TIME),
        ("until", _TIME),
        ("level", pa.string()),
        ("sm2_mode", pa.string()),
    ]
)
_CHALLENGE: Final = pa.struct(
    [
        ("ak_name", pa.binary()),
        ("nonce", pa.binary()),
        ("issued_at", _TIME),
        ("spent_by", pa.binary(32)),  # SHA-256 of the attest that used it first; null where none did
    ]
)
_REACHED: Final = pa.struct(
    [
        ("machine", pa.string()),
        ("pcr", pa.uint8()),
        ("sequence", pa.uint32()),
        ("issued_at", _TIME),
        ("boot_seq", pa.int64()),
        ("collected_at", _TIME),
        ("boot", pa.string()),
        ("since", _TIME),  # when the store came to know it
    ]
)
SCHEMA: Final = pa.schema(
    [
        ("version", pa.int32()),
        ("baselines", pa.large_list(_BASELINE)),
        # profile p allows PCR c the sequences members[set_at[24 p + c] : set_at[24 p + c + 1]]
        ("set_at", pa.large_list(pa.uint64())),
        ("members", pa.large_list(pa.uint32())),
        ("until", pa.large_list(_TIME)),  # of each member; null where it is a current one
        ("keep", pa.large_list(pa.bool_())),
        ("sequences", pa.large_list(_SEQUENCE)),
        ("ima_paths", pa.large_list(pa.large_binary())),  # each once
        ("ima_members", pa.large_list(_IMA_MEMBER)),  # in the order of path, kind, digest
        ("ima_sets", pa.large_list(pa.large_list(pa.uint32()))),  # numbers of members, increasing
        ("cohorts", pa.large_list(pa.struct([("machine", pa.string()), ("cohort", pa.string())]))),
        ("ignored", pa.large_list(pa.struct([("machine", pa.string()), ("until", _TIME), ("reason", pa.string())]))),
        ("reached", pa.large_list(_REACHED)),
        ("enrolled", pa.large_list(_ENROLLED)),  # in the order of ak_name
        ("challenges", pa.large_list(_CHALLENGE)),  # in the order of ak_name, issued_at, nonce
        ("roots", pa.large_list(pa.large_binary())),  # DER
    ]
)

CHUNK: Final = 1024
"""Entries of a table in one row of the file: what is in memory at a time while a snapshot is written."""


BASELINE_FACTS: Final = (
    "scope",
    "id",
    "version",
    "state",
    "log_banks",
    "quoted_banks",
    "boot",
    "evidence_id",
    "ima_violations",
    "origin",
)
"""What a baseline is beside its profile, its IMA sets and what is accepted, in a snapshot and in a store."""


def baseline_facts(baseline: Baseline) -> dict[str, Any]:
    """The facts of a baseline as a row has them: banks as masks."""
    facts = {name: getattr(baseline, name) for name in BASELINE_FACTS}
    masks = {"log_banks": mask_of(baseline.log_banks), "quoted_banks": mask_of(baseline.quoted_banks)}
    return {**facts, **masks, "state": str(baseline.state), "origin": str(baseline.origin)}


Member: TypeAlias = tuple[int, datetime.datetime | None, bool]
"""One of the sequences that a PCR may hold: its number, and ``until`` and ``keep`` of ``model.Allowed``."""


class Snapshot:
    """A snapshot in the making, written as it comes. Numbers that ``add_…`` return are what later rows refer to."""

    def __init__(self, sink: pa.NativeFile) -> None:
        self._writer = pa.ipc.new_file(sink, SCHEMA)
        self._n_sequences = 0
        self._waiting: dict[str, list[Any]] = {}
        self._sizes: list[int] = []
        self._members: list[Member] = []

    def add_sequence(self, sequence: EventSequence) -> int:
        """One sequence of events; the caller sees to it that equal ones come once."""
        digests = {f"digests_{bank}": data for bank, data in sequence.digests.items()}
        values = {f"value_{bank}": value for bank, value in sequence.values.items()}
        facts = {name: getattr(sequence, name) for name in ("start", "types", "texts", "varies")}
        self.add("sequences", {**facts, **digests, **values, "banks": mask_of(list(sequence.digests))})
        self._n_sequences += 1
        return self._n_sequences - 1

    def add_profile(self, allowed: Iterable[Sequence[Member]]) -> int:
        """For each of the 24 PCRs the sequences that it may hold."""
        profile = len(self._sizes) // PCRS
        for members in allowed:
            self._sizes.append(len(members))
            self._members.extend(members)
        return profile

    def add_baseline(self, **facts: Any) -> None:
        """One baseline, all its fields. They come sorted by scope, id and version."""
        self.add("baselines", facts)

    def add_ima_member(self, path: int, kind: int, digest: bytes) -> None:
        """One digest that a name may have; they come sorted."""
        room = digest.ljust(_native.IMA_DIGEST_ROOM, b"\0")
        self.add("ima_members", {"path": path, "kind": kind, "digest": room})

    def add(self, table: str, entry: Any) -> None:
        """One entry of a table of :data:`SCHEMA`, in the order that is said there."""
        entries = self._waiting.setdefault(table, [])
        entries.append(entry)
        if len(entries) == CHUNK:
            self._flush()

    def finish(self) -> None:
        """Writes what is left and ends the file."""
        self._flush()
        set_at = np.zeros(len(self._sizes) + 1, np.uint64)
        np.cumsum(self._sizes, out=set_at[1:])
        numbers, until, keep = ([member[i] for member in self._members] for i in range(3))
        self._write(
            set_at=pa.array(set_at),
            members=pa.array(numbers, pa.uint32()),
            until=pa.array(until, _TIME),
            keep=pa.array(keep, pa.bool_()),
        )
        self._writer.close()

    def _flush(self) -> None:
        tables = {
            name: pa.array(entries, SCHEMA.field(name).type.value_type) for name, entries in self._waiting.items()
        }
        if "sequences" in tables:
            tables["sequences"] = _with_values(tables["sequences"])
        self._write(**tables)
        self._waiting = {}

    def _write(self, **tables: pa.Array) -> None:
        """One row of the file; tables that are not named are empty in it."""
        columns = [pa.array([VERSION], pa.int32())]
        for field in list(SCHEMA)[1:]:
            table = tables.get(field.name, pa.array([], field.type.value_type))
            offsets = pa.array([0, len(table)], pa.int64())
            columns.append(pa.LargeListArray.from_arrays(offsets, table, type=field.type))
        self._writer.write_batch(pa.record_batch(columns, schema=SCHEMA))


def _with_values(sequences: pa.StructArray) -> pa.StructArray:
    """The sequences with the value that each leads to, replayed in every bank; values that were given stay."""
    columns = {field.name: sequences.field(field.name) for field in _SEQUENCE}
    starts = columns["start"].to_numpy()
    for bank in BANKS:
        digests = columns[f"digests_{bank.name}"]
        values = _replayed(bank.name, starts, digests)
        column = pa.Array.from_buffers(pa.binary(bank.size), len(values), [None, pa.py_buffer(values)])
        given = columns[f"value_{bank.name}"]
        columns[f"value_{bank.name}"] = pc.if_else(digests.is_valid(), column, given)
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

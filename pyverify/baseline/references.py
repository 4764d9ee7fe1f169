"""The frozen snapshot that a verification runs against: baselines laid out for comparison by column.

It is one Arrow IPC file of a single row whose lists are the tables (DESIGN section 6): mapped into memory by threads,
shipped once to workers, named by the SHA-256 of its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, PCRS, mask_of
from pyverify.baseline.model import Baseline, BaselineEvent, EventSequence, State
from pyverify.errors import ReferencesError

_VERSION: Final = 1

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
        ("banks", pa.uint32()),
        ("events_at", pa.uint64()),
        *((f"value_{bank.name}", pa.binary(bank.size)) for bank in BANKS),
    ]
)
_EVENT: Final = pa.struct(
    [("type", pa.uint32()), ("text", pa.string()), *((bank.name, pa.binary(bank.size)) for bank in BANKS)]
)
_SCHEMA: Final = pa.schema(
    [
        ("version", pa.int32()),
        ("baselines", pa.large_list(_BASELINE)),
        # profile p allows PCR c the sequences members[set_at[24 p + c] : set_at[24 p + c + 1]]
        ("set_at", pa.large_list(pa.uint64())),
        ("members", pa.large_list(pa.uint32())),
        ("sequences", pa.large_list(_SEQUENCE)),
        ("events", pa.large_list(_EVENT)),
    ]
)


@dataclass(frozen=True, slots=True)
class _Sets:
    """Allowed values of one bank, in the shapes of :func:`pyverify._native.compare`."""

    set_at: npt.NDArray[np.uint64]
    members: npt.NDArray[np.uint32]
    allowed: npt.NDArray[np.uint8]


class References:
    """Baselines ready to be compared with, immutable. Make one from a store, from :meth:`of`, or from a file."""

    def __init__(self, data: pa.Buffer) -> None:
        self._data = data
        try:
            with pa.ipc.open_file(pa.BufferReader(data)) as reader:
                if reader.schema != _SCHEMA or reader.num_record_batches != 1:
                    raise ReferencesError("this is not a references snapshot of this version of pyverify")
                batch = reader.get_batch(0)
            batch.validate(full=True)
            if len(batch) != 1 or batch.column("version")[0].as_py() != _VERSION:
                raise ReferencesError("this is not a references snapshot of this version of pyverify")
        except (pa.ArrowInvalid, OSError) as error:
            raise ReferencesError(f"the references snapshot does not parse: {error}") from error
        self._baselines = batch.column("baselines").values
        self._set_at = batch.column("set_at").values.to_numpy()
        self._members = batch.column("members").values.to_numpy()
        self._sequences = batch.column("sequences").values
        self._events = batch.column("events").values
        self._sets: dict[str, _Sets] = {}
        if not self._is_consistent():
            raise ReferencesError("the references snapshot contradicts itself")

    def _is_consistent(self) -> bool:
        """Indices of one table into the next, which nobody else checks."""
        at, members, events_at = self._set_at, self._members, self._events_at
        profiles = (len(at) - 1) // PCRS
        return bool(
            len(at) == PCRS * profiles + 1
            and at[0] == 0
            and at[-1] == len(members)
            and np.all(at[1:] >= at[:-1])
            and np.all(members < len(self._sequences))
            and np.all(self.profile < profiles)
            and np.all(events_at[1:] >= events_at[:-1])
            and events_at[-1] == len(self._events)
        )

    @cached_property
    def _events_at(self) -> npt.NDArray[np.uint64]:
        at = self._sequences.field("events_at").to_numpy()
        return np.append(at, np.uint64(len(self._events)))

    @classmethod
    def of(cls, baselines: Sequence[Baseline]) -> Self:
        """A snapshot of these baselines, the same bytes whatever their order."""
        return cls(_lay_out(sorted(baselines, key=lambda b: (b.scope, b.id, b.version))))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Maps a snapshot that :meth:`save` wrote.

        Raises:
            ReferencesError: the file is not one.
        """
        try:
            with pa.memory_map(str(path)) as file:
                return cls(file.read_buffer())
        except OSError as error:
            raise ReferencesError(f"{path}: {error.strerror or error}") from error

    def save(self, path: Path) -> None:
        """Writes the snapshot, for workers and for the record."""
        path.write_bytes(memoryview(self._data))

    @cached_property
    def id(self) -> bytes:
        """SHA-256 of the snapshot's bytes."""
        return hashlib.sha256(memoryview(self._data)).digest()

    def __len__(self) -> int:
        return len(self._baselines)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        """The row that counts for each machine: its newest active baseline, else its newest pending one."""
        rows: dict[str, int] = {}
        scopes, names, states = (self._baselines.field(name).to_pylist() for name in ("scope", "id", "state"))
        for wanted in (State.PENDING, State.ACTIVE):  # later entries win, and rows are in the order of versions
            for row, (scope, name, state) in enumerate(zip(scopes, names, states, strict=True)):
                if scope == "machine" and state == wanted:
                    rows[name] = row
        return rows

    def find(self, machines: Sequence[str]) -> npt.NDArray[np.int64]:
        """The baseline row of each machine, -1 where there is none."""
        row_of = self._row_of
        return np.fromiter((row_of.get(machine, -1) for machine in machines), np.int64, len(machines))

    @cached_property
    def active(self) -> npt.NDArray[np.bool_]:
        """Of each baseline row, whether it may be compared with."""
        states = self._baselines.field("state").to_pylist()
        return np.fromiter((state == State.ACTIVE for state in states), np.bool_, len(states))

    @cached_property
    def profile(self) -> npt.NDArray[np.uint32]:
        """Of each baseline row, its profile: baselines that allow the same share one."""
        column: npt.NDArray[np.uint32] = self._baselines.field("profile").to_numpy()
        return column

    @cached_property
    def log_banks(self) -> npt.NDArray[np.uint32]:
        """Of each baseline row, the banks of its learning boot as a mask."""
        column: npt.NDArray[np.uint32] = self._baselines.field("log_banks").to_numpy()
        return column

    @property
    def columns(self) -> pa.StructArray:
        """The baselines as an Arrow struct array, for verdict rows and listings."""
        return self._baselines

    def sequences(self, profile: int, pcr: int) -> list[EventSequence]:
        """The sequences that a profile allows a PCR, with their events."""
        at = self._set_at[PCRS * profile + pcr : PCRS * profile + pcr + 2]
        return [self._sequence(int(member)) for member in self._members[int(at[0]) : int(at[1])]]

    def _sequence(self, index: int) -> EventSequence:
        first, last = (int(at) for at in self._events_at[index : index + 2])
        events = tuple(
            BaselineEvent(
                event["type"], event["text"], {b.name: event[b.name] for b in BANKS if event[b.name] is not None}
            )
            for event in self._events.slice(first, last - first).to_pylist()
        )
        return EventSequence(self._sequences[index]["start"].as_py(), events)

    def differs(
        self, bank: str, values: npt.NDArray[np.uint8], profile: npt.NDArray[np.uint32], mask: int
    ) -> npt.NDArray[np.uint32]:
        """Which PCRs of each row, of those in the mask, hold a value that its profile does not allow in this bank.

        ``values`` is uint8 of shape [n, 24, size], ``profile`` uint32 of shape [n]; numbers that are no profile
        differ everywhere.
        """
        sets = self._sets.get(bank)
        if sets is None:
            sets = self._sets[bank] = self._bank_sets(bank)
        return _native.compare(values, profile, sets.set_at, sets.members, sets.allowed, mask)

    def allowed_value(self, bank: str, profile: int, pcr: int) -> bytes | None:
        """One value that a profile allows a PCR in a bank, or None where it allows none."""
        sets = self._sets.get(bank) or self._bank_sets(bank)
        first, last = sets.set_at[PCRS * profile + pcr : PCRS * profile + pcr + 2]
        return sets.allowed[sets.members[int(first)]].tobytes() if last > first else None

    def _bank_sets(self, bank: str) -> _Sets:
        """Members that lead to a value in this bank, and the values: one a sequence."""
        bit = np.uint32(1 << BY_NAME[bank].index)
        has_bank = (self._sequences.field("banks").to_numpy() & bit) != 0
        usable = has_bank[self._members] if len(self._members) else np.zeros(0, np.bool_)
        kept = np.concatenate([np.zeros(1, np.uint64), np.cumsum(usable, dtype=np.uint64)])
        column = self._sequences.field(f"value_{bank}").fill_null(bytes(BY_NAME[bank].size))
        allowed = np.frombuffer(column.buffers()[1], np.uint8)[: len(column) * BY_NAME[bank].size]
        return _Sets(
            kept[self._set_at.astype(np.int64)],
            np.ascontiguousarray(self._members[usable]),
            np.ascontiguousarray(allowed.reshape(len(column), BY_NAME[bank].size)),
        )


def _lay_out(baselines: list[Baseline]) -> pa.Buffer:
    """The snapshot's bytes: sequences and profiles interned, values replayed in C from the sequences."""
    index_of_key: dict[bytes, int] = {}
    index_of_object: dict[int, int] = {}  # a store hands out one object for equal sequences
    sequences: list[EventSequence] = []

    def intern(sequence: EventSequence) -> int:
        index = index_of_object.get(id(sequence))
        if index is None:
            index = index_of_key.setdefault(sequence.key, len(sequences))
            if index == len(sequences):
                sequences.append(sequence)
            index_of_object[id(sequence)] = index
        return index

    profiles: dict[tuple[tuple[int, ...], ...], int] = {}
    rows = []
    for baseline in baselines:
        allowed = tuple(tuple(intern(sequence) for sequence in allowed) for allowed in baseline.allowed)
        profile = profiles.setdefault(allowed, len(profiles))
        rows.append(
            {
                "scope": baseline.scope,
                "id": baseline.id,
                "version": baseline.version,
                "state": str(baseline.state),
                "profile": profile,
                "log_banks": mask_of(baseline.log_banks),
                "quoted_banks": mask_of(baseline.quoted_banks),
                "boot": baseline.boot,
                "evidence_id": baseline.evidence_id,
            }
        )
    sets = [members for profile in profiles for members in profile]
    set_at = np.concatenate([np.zeros(1, np.uint64), np.cumsum([len(members) for members in sets], dtype=np.uint64)])
    row = {
        "version": [_VERSION],
        "baselines": [rows],
        "set_at": [set_at],
        "members": [np.array([member for members in sets for member in members], np.uint32)],
        "sequences": [_sequence_rows(sequences)],
        "events": [
            [
                {"type": event.type_hint, "text": event.text, **event.digests}
                for sequence in sequences
                for event in sequence.events
            ]
        ],
    }
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_batch(pa.record_batch([pa.array(row[f.name], f.type) for f in _SCHEMA], schema=_SCHEMA))
    return sink.getvalue()


def _sequence_rows(sequences: list[EventSequence]) -> list[dict[str, Any]]:
    events_at = 0
    rows: list[dict[str, Any]] = []
    for sequence in sequences:
        rows.append({"start": sequence.start, "banks": mask_of(list(sequence.banks)), "events_at": events_at})
        events_at += len(sequence.events)
    for bank in BANKS:
        having = [i for i, row in enumerate(rows) if row["banks"] >> bank.index & 1]
        lengths = np.array([len(sequences[i].events) for i in having], np.uint64)
        chain_at = np.concatenate([np.zeros(1, np.uint64), np.cumsum(lengths, dtype=np.uint64)])
        digests = b"".join(event.digests[bank.name] for i in having for event in sequences[i].events)
        starts = b"".join(sequences[i].start_value(bank.name) for i in having)
        values = np.frombuffer(bytearray(starts), np.uint8).reshape(len(having), bank.size)
        _native.extend(bank.index, np.frombuffer(digests, np.uint8).reshape(-1, bank.size), chain_at, values)
        for i, value in zip(having, values, strict=True):
            rows[i][f"value_{bank.name}"] = value.tobytes()
    return rows

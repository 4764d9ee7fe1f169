"""The frozen snapshot that a verification runs against: baselines laid out for comparison by column.

Mapped into memory by threads, shipped once to workers, named by the SHA-256 of its bytes.
"""

from __future__ import annotations

import copy
import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify import _native
from pyverify.algorithms import BANKS, PCRS
from pyverify.baseline.allowed_sets import AllowedSets
from pyverify.baseline.identity import Challenge, EnrolledKey, to_micros
from pyverify.baseline.identity_columns import Identity, challenges_digest
from pyverify.baseline.ima_columns import NO_SET, LearnedIma
from pyverify.baseline.machine_columns import Known, Machines
from pyverify.baseline.model import Accepted, Allowed, Baseline, State
from pyverify.baseline.sequence_columns import Sequences
from pyverify.baseline.snapshot import SCHEMA, VERSION, Snapshot
from pyverify.baseline.snapshot_check import is_snapshot
from pyverify.baseline.values_snapshot import write_values
from pyverify.errors import ReferencesError


@dataclass(frozen=True, slots=True)
class Superseded:
    """A value of a PCR that something came after: ``rank`` is its place among those of the PCR, the oldest being 0;
    ``until`` and ``keep`` are as in ``model.Allowed``; ``values`` are by bank."""

    rank: int
    until: datetime.datetime
    keep: bool
    values: Mapping[str, bytes]


_Allowed: TypeAlias = tuple[npt.NDArray[np.uint32], tuple[LearnedIma, npt.NDArray[np.uint32]]]
"""What may be at a time: :meth:`References.in_grace` and :meth:`References.ima_at`."""


class References:
    """Baselines ready to be compared with, immutable. Make one from a store, from :meth:`of`, or from a file."""

    def __init__(self, data: pa.Buffer, digest: bytes | None = None) -> None:
        self._data = data
        self._digest = digest
        self._is_file = True
        try:
            with pa.ipc.open_file(pa.BufferReader(data)) as reader:
                if reader.schema != SCHEMA:
                    raise ReferencesError("this is not a references snapshot of this version of pyverify")
                rows = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            if not rows or any(len(row) != 1 or row.column("version")[0].as_py() != VERSION for row in rows):
                raise ReferencesError("this is not a references snapshot of this version of pyverify")
            if digest is None and not all(map(is_snapshot, rows)):  # foreign bytes: before anything relies on them
                raise ReferencesError("the references snapshot contradicts itself")
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise ReferencesError(f"the references snapshot does not parse: {error}") from error
        tables = {name: [row.column(name).values for row in rows] for name in SCHEMA.names[1:]}
        self._baselines = pa.concat_arrays(tables["baselines"])
        self._set_at = rows[-1].column("set_at").values.to_numpy()
        self._members = rows[-1].column("members").values.to_numpy()
        self._until, self._keep = (rows[-1].column(name).values for name in ("until", "keep"))
        self._sequences = Sequences(tables["sequences"])
        of_machines = (pa.concat_arrays(tables[name]) for name in ("cohorts", "ignored", "reached"))
        self._machines = Machines(*of_machines, sequences=len(self._sequences))
        self._identity = Identity(*(pa.concat_arrays(tables[name]) for name in ("enrolled", "challenges", "roots")))
        self._ima = LearnedIma(*(pa.concat_arrays(tables[name]) for name in ("ima_paths", "ima_members", "ima_sets")))
        parts = (self._identity, self._ima, self._machines)
        if not self._is_consistent() or not all(part.is_consistent() for part in parts):
            raise ReferencesError("the references snapshot contradicts itself")
        is_current = self._until.is_null().to_numpy(zero_copy_only=False)
        parts_of_sets = (self._set_at, self._members, is_current, self._sequences)
        self._sets = {bank.name: AllowedSets.of(bank.name, *parts_of_sets) for bank in BANKS}
        self._superseded: dict[tuple[int, int], list[Superseded]] = {}
        self._by_epoch: dict[int, _Allowed] = {}

    def _is_consistent(self) -> bool:
        """Indices of one table into the next, which nobody else checks."""
        at, members = self._set_at, self._members
        profiles = (len(at) - 1) // PCRS
        return bool(
            len(at) == PCRS * profiles + 1
            and at[0] == 0
            and at[-1] == len(members) == len(self._until) == len(self._keep)
            and not self._keep.null_count
            and not pc.any(pc.and_(self._keep, self._until.is_null())).as_py()
            and np.all(at[1:] >= at[:-1])
            and np.all(members < len(self._sequences))
            and np.all(self.profile < profiles)
            and not self._baselines.field("ima_violations").null_count
            and np.all((self.ima_set < len(self._ima)) | (self.ima_set == NO_SET))
            and not any(self._baselines.field(name).null_count for name in ("accepted", "ima_superseded"))
            and pc.all(pc.less(self._baselines.field("ima_superseded").flatten().field("set"), len(self._ima))).as_py()
            in (True, None)
        )

    @classmethod
    def of(
        cls,
        baselines: Sequence[Baseline],
        *,
        cohorts: Mapping[str, str] | None = None,
        enrolled: Sequence[EnrolledKey] = (),
        challenges: Sequence[Challenge] = (),
        roots: Sequence[bytes] = (),
    ) -> Self:
        """A snapshot of these baselines, cohorts of machines, keys, challenges and pinned certificates (DER).

        Its bytes are the same whatever their order.

        Raises:
            ReferencesError: they contradict each other, such as one key for two machines, or are none.
        """
        sink = pa.BufferOutputStream()
        try:
            write_values(Snapshot(sink), baselines, cohorts or {}, (enrolled, challenges, roots))
        except (pa.ArrowException, OverflowError, TypeError) as error:
            raise ReferencesError(f"no snapshot can be made of values that cannot be: {error}") from error
        data = sink.getvalue()
        return cls(data, hashlib.sha256(memoryview(data)).digest())

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
        """Writes the snapshot, for workers and for the record.

        Raises:
            ReferencesError: it has challenges that were put into it (:meth:`asking`), so that it is no file.
        """
        if not self._is_file:
            raise ReferencesError("references with challenges that were put into them cannot be saved")
        path.write_bytes(memoryview(self._data))

    def asking(self, challenges: Sequence[Challenge]) -> Self:
        """The same references with these challenges instead of their own; their id is of both.

        Raises:
            ReferencesError: they contradict each other, or are none.
        """
        other = copy.copy(self)
        try:
            other._identity = self._identity.asking(challenges)
            if not other._identity.is_asked_consistently():
                raise ReferencesError("the challenges contradict each other")
            other.id = hashlib.sha256(self.id + challenges_digest(challenges)).digest()
        except (pa.ArrowException, OverflowError, TypeError) as error:
            raise ReferencesError(f"challenges with values that cannot be: {error}") from error
        other._is_file = False
        return other

    @cached_property
    def id(self) -> bytes:
        """SHA-256 of the snapshot's bytes."""
        return self._digest or hashlib.sha256(memoryview(self._data)).digest()

    def __len__(self) -> int:
        return len(self._baselines)

    @cached_property
    def _rows(self) -> dict[tuple[str, str, str], int]:
        """The newest row of each scope, state and id."""
        columns = (self._baselines.field(name).to_pylist() for name in ("scope", "state", "id"))
        # The last wins, and rows are in the order of versions.
        return {key: row for row, key in enumerate(zip(*columns, strict=True))}

    @cached_property
    def _row_of(self) -> dict[str, int]:
        """The row that counts for each machine: its own active baseline, its cohort's, or its own pending one."""
        own = {
            state: {
                name: row
                for (scope, of_state, name), row in self._rows.items()
                if (scope, of_state) == ("machine", state)
            }
            for state in (State.PENDING, State.ACTIVE)
        }
        return own[State.PENDING] | self._cohort_row_of | own[State.ACTIVE]

    @cached_property
    def _cohort_row_of(self) -> dict[str, int]:
        """The row of the active baseline of each machine's cohort."""
        cohorts = {
            name: row for (scope, state, name), row in self._rows.items() if (scope, state) == ("cohort", "active")
        }
        return {machine: cohorts[cohort] for machine, cohort in self.machines.cohort_of.items() if cohort in cohorts}

    def find_cohorts(self, machines: Sequence[str]) -> npt.NDArray[np.int64]:
        """The row of the active baseline of each machine's cohort, -1 where there is none."""
        return _looked_up(self._cohort_row_of, machines)

    def find(self, machines: Sequence[str]) -> npt.NDArray[np.int64]:
        """The baseline row of each machine, its own or its cohort's, -1 where there is none."""
        return _looked_up(self._row_of, machines)

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
    def ima_set(self) -> npt.NDArray[np.uint32]:
        """Of each baseline row, the set of :attr:`ima` that its machine may run, or ``NO_SET``."""
        column: npt.NDArray[np.uint32] = pc.fill_null(self._baselines.field("ima_set"), NO_SET).to_numpy()
        return column

    @cached_property
    def ima_violations(self) -> npt.NDArray[np.uint32]:
        """Of each baseline row, how many violations the IMA list of its learning boot had."""
        column: npt.NDArray[np.uint32] = self._baselines.field("ima_violations").to_numpy()
        return column

    @property
    def machines(self) -> Machines:
        """Cohorts, ignored alerts, and what machines have held."""
        return self._machines

    @property
    def ima(self) -> LearnedIma:
        """The learned IMA sets."""
        return self._ima

    def ima_at(self, as_of: datetime.datetime) -> tuple[LearnedIma, npt.NDArray[np.uint32]]:
        """Sets of what may run, and of each baseline row the set that its machine may at a time, or ``NO_SET``.

        It is what was learned or approved, and what that replaced as long as it is allowed.
        """
        return self._at(as_of)[1]

    def _ima_at(self, as_of: datetime.datetime) -> tuple[LearnedIma, npt.NDArray[np.uint32]]:
        column = self._baselines.field("ima_superseded")
        rows = np.flatnonzero(pc.list_value_length(column).to_numpy() > 0)
        old = zip(rows.tolist(), column.take(pa.array(rows)).to_pylist(), strict=True)
        alive = {row: [one["set"] for one in sets if one["until"] > as_of] for row, sets in old}
        joined = {row: sets for row, sets in alive.items() if sets and self.ima_set[row] != NO_SET}
        if not joined:
            return self._ima, self.ima_set
        learned, numbers = self._ima.with_unions([(int(self.ima_set[row]), *sets) for row, sets in joined.items()])
        set_of = self.ima_set.copy()
        set_of[list(joined)] = numbers
        return learned, set_of

    def _at(self, as_of: datetime.datetime) -> _Allowed:
        """What depends on the time, worked out once between any two times at which something ends."""
        epoch = int(np.searchsorted(self._ends, to_micros(as_of), side="right"))
        if epoch not in self._by_epoch:
            self._by_epoch[epoch] = self._in_grace(as_of), self._ima_at(as_of)
        return self._by_epoch[epoch]

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        """The times at which something that was superseded is allowed no longer, in microseconds since 1970."""
        of_ima = self._baselines.field("ima_superseded").flatten().field("until")
        return np.unique(pa.concat_arrays([self._until, of_ima]).drop_null().cast(pa.int64()).to_numpy())

    @property
    def identity(self) -> Identity:
        """Enrolled keys, challenges and pinned certificates."""
        return self._identity

    @cached_property
    def log_banks(self) -> npt.NDArray[np.uint32]:
        """Of each baseline row, the banks of its learning boot as a mask."""
        column: npt.NDArray[np.uint32] = self._baselines.field("log_banks").to_numpy()
        return column

    @cached_property
    def quoted_banks(self) -> npt.NDArray[np.uint32]:
        """Of each baseline row, the banks that were quoted at its learning boot as a mask; 0 where none were."""
        column: npt.NDArray[np.uint32] = self._baselines.field("quoted_banks").to_numpy()
        return column

    @property
    def columns(self) -> pa.StructArray:
        """The baselines as an Arrow struct array, for verdict rows and listings."""
        return self._baselines

    def allowed(self, profile: int, pcr: int) -> list[Allowed]:
        """What a profile allows a PCR, the oldest first, with its events."""
        first, last = self._range(profile, pcr)
        times = zip(self._until[first:last].to_pylist(), self._keep[first:last].to_pylist(), strict=True)
        members = self._members[first:last].tolist()
        return [Allowed(self._sequences[m], *time) for m, time in zip(members, times, strict=True)]

    def superseded(self, profile: int, pcr: int) -> list[Superseded]:
        """What a profile once had as current values of a PCR, the oldest first."""
        key = (profile, pcr)
        if key not in self._superseded:
            first, last = self._range(profile, pcr)
            times = zip(self._until[first:last].to_pylist(), self._keep[first:last].to_pylist(), strict=True)
            members = enumerate(zip(self._members[first:last].tolist(), times, strict=True))
            self._superseded[key] = [
                Superseded(rank, until, keep, self._sequences.values(member))
                for rank, (member, (until, keep)) in members
                if until is not None
            ]
        return self._superseded[key]

    def in_grace(self, as_of: datetime.datetime) -> npt.NDArray[np.uint32]:
        """Of each profile the PCRs, a bit each, that may still hold what was superseded, unless it was kept."""
        return self._at(as_of)[0]

    def _in_grace(self, as_of: datetime.datetime) -> npt.NDArray[np.uint32]:
        own = pc.fill_null(pc.and_not(pc.greater(self._until, pa.scalar(as_of, self._until.type)), self._keep), False)
        member = np.flatnonzero(own.to_numpy(zero_copy_only=False))
        of_set = np.searchsorted(self._set_at, member.astype(np.uint64), side="right") - 1
        masks = np.zeros((len(self._set_at) - 1) // PCRS, np.uint32)
        np.bitwise_or.at(masks, of_set // PCRS, np.uint32(1) << (of_set % PCRS).astype(np.uint32))
        return masks

    def current_rank(self, profile: int, pcr: int) -> int | None:
        """The rank of the first sequence that a profile has as current for a PCR."""
        first, last = self._range(profile, pcr)
        is_current = self._until[first:last].is_null().to_numpy(zero_copy_only=False)
        return int(is_current.argmax()) if is_current.any() else None

    def key_of(self, profile: int, pcr: int, rank: int) -> bytes:
        """The key of the sequence of that rank among those that a profile allows a PCR."""
        return self._sequences.key(int(self._members[self._range(profile, pcr)[0] + rank]))

    def is_step(self, profile: int, pcr: int, rank: int, as_of: datetime.datetime) -> bool:
        """Whether something older than the sequence of that rank is still allowed, and not after it."""
        return any(one.rank < rank and one.until > as_of and not one.keep for one in self.superseded(profile, pcr))

    def reached(self, machine: str, profile: int, pcr: int) -> list[tuple[int, Known]]:
        """Which values of a profile's PCR a machine is known to have held: their ranks, and in which boot first.

        They are known by their values: a sequence of which an event was let vary since is another, and leads there too.
        """
        first, last = self._range(profile, pcr)
        return [
            (rank, one)
            for one in self.machines.reached.get(machine, ())
            for rank, member in enumerate(self._members[first:last].tolist())
            if one.pcr == pcr and self._sequences.lead_alike(member, one.sequence)
        ]

    def _range(self, profile: int, pcr: int) -> tuple[int, int]:
        first, last = self._set_at[PCRS * profile + pcr : PCRS * profile + pcr + 2].tolist()
        return first, last

    @cached_property
    def has_accepted(self) -> npt.NDArray[np.bool_]:
        """Of each baseline row, whether it lives with any finding."""
        counts: npt.NDArray[np.int32] = pc.list_value_length(self._baselines.field("accepted")).to_numpy()
        return counts > 0

    def accepted(self, row: int) -> list[Accepted]:
        """The findings that a baseline lives with."""
        return [Accepted(**one) for one in self._baselines.field("accepted")[row].as_py()]

    def differs(
        self, bank: str, values: npt.NDArray[np.uint8], profile: npt.NDArray[np.uint32], mask: int
    ) -> npt.NDArray[np.uint32]:
        """Which PCRs of each row, of those in the mask, hold no current value of its profile in this bank.

        ``values`` is uint8 of shape [n, 24, size], ``profile`` uint32 of shape [n]; numbers that are no profile differ
        everywhere.
        """
        sets = self._sets[bank]
        return _native.compare(values, profile, sets.set_at, sets.members, sets.allowed, mask)

    def allowed_value(self, bank: str, profile: int, pcr: int) -> bytes | None:
        """A current value of a profile for a PCR in a bank, None where it has none."""
        sets = self._sets[bank]
        first, last = sets.set_at[PCRS * profile + pcr : PCRS * profile + pcr + 2]
        return sets.allowed[sets.members[int(first)]].tobytes() if last > first else None


def _looked_up(row_of: Mapping[str, int], names: Sequence[str]) -> npt.NDArray[np.int64]:
    """The row of each name, -1 where it has none."""
    return np.fromiter(map(row_of.get, names, repeat(-1)), np.int64, len(names))

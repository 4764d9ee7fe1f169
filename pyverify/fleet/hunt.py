"""Which machines of an archive ever booted something: a digest, what a dbx revokes, a text; when first and last.

A log is taken at its word: what `verify` asks of it (quotes, replay, structure) is not asked here.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa

from pyverify.appraise.rows import conform, has_values
from pyverify.errors import EvidenceError
from pyverify.evidence.cel import Register
from pyverify.evidence.columns import Ragged
from pyverify.evidence.log_kinds import Transcoded, transcode
from pyverify.fleet.hunt_events import EventSearch
from pyverify.fleet.hunt_hits import Column, Hits, Sighting
from pyverify.fleet.hunt_ima import ImaSearch
from pyverify.fleet.job import BATCH_BYTES, BATCH_ROWS, ordered_map
from pyverify.fleet.needles import Needles
from pyverify.fleet.rows import source_schema
from pyverify.fleet.sources import Source

UNSEARCHED_TOLD: Final = 20
"""Boots that could not be searched and are told by name; all are counted."""

_REQUIRED: Final = ("machine", "boot", "event_log")
_OTHERS: Final = ("boot_seq", "collected_at", "event_log_kind", "userspace_log", "ima", "fault")

_TYPES: Final = {field.name: field.type for field in source_schema()}

_LAST: Final = datetime.datetime.max.replace(tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot of a machine, as its evidence names it."""

    name: str
    boot_seq: int | None
    collected_at: datetime.datetime | None

    @property
    def key(self) -> tuple[int, datetime.datetime, str]:
        """Where it stands among those of its machine: boot_seq, collected_at, name; what is not said comes last."""
        return 2**63 if self.boot_seq is None else self.boot_seq, self.collected_at or _LAST, self.name


@dataclass(slots=True)
class Span:
    """How many boots had something, and which were the first and the last of them."""

    boots: int
    first: Boot
    last: Boot

    def add(self, boot: Boot) -> bool:
        """Takes in another boot; whether it is the first now."""
        self.boots += 1
        if self.last.key < boot.key:
            self.last = boot
        if boot.key < self.first.key:
            self.first = boot
            return True
        return False


@dataclass(slots=True)
class MachineHits:
    """A machine that booted what was looked for."""

    machine: str
    span: Span
    spans: dict[int, Span] = field(default_factory=dict)
    """The boots that had each needle, by its number."""
    events: dict[int, Sighting] = field(default_factory=dict)
    """Where the first boot that had it has it first, by the number of the needle."""


@dataclass(frozen=True, slots=True)
class Unsearched:
    """A boot that may be a hit all the same, and why that cannot be told."""

    machine: str
    boot: str
    reason: str


@dataclass(slots=True)
class Hunt:
    """What a hunt has found so far. A row of the archive is a boot: one that was sent twice counts twice."""

    needles: Needles
    machines: dict[str, MachineHits] = field(default_factory=dict)
    """Machines that were hit, by name, in the order of the archive."""
    boots_seen: Counter[str] = field(default_factory=Counter)
    """Boots by machine."""
    unsearched: int = 0
    """Boots that could not be searched, or not all of them."""
    unsearched_examples: list[Unsearched] = field(default_factory=list)
    """The first of these."""

    @property
    def boots(self) -> int:
        """Boots in all."""
        return self.boots_seen.total()

    @property
    def boots_hit(self) -> int:
        """Boots that had any of what was looked for."""
        return sum(hits.span.boots for hits in self.machines.values())

    @property
    def is_clear(self) -> bool:
        """Whether nobody was hit, and nobody can have been: all boots, at least one, were searched for everything."""
        return not (self.machines or self.unsearched or self.needles.not_looked_for) and self.boots > 0


def hunt(source: Source, result: Hunt, *, jobs: int = 1, watch: Callable[[int], None] = lambda rows: None) -> None:
    """Looks for the needles of ``result`` in every boot of an archive, and brings it up to date batch by batch.

    Args:
        source: the archive.
        result: an empty :class:`Hunt`.
        jobs: threads.
        watch: is called with the number of boots that were searched.

    Raises:
        ArchiveError: the archive breaks as a container; ``result`` has what was found before.
    """
    batches = source.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES)
    for found in ordered_map(lambda batch: _Searched(batch, result.needles), batches, jobs):
        found.add_to(result)
        watch(result.boots)


_Search: TypeAlias = EventSearch | ImaSearch


def _needed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The columns that a hunt reads, in the types of the schema; of the others those that hold anything.

    Raises:
        UsageError: as ``conform``, which is not asked where it has nothing to do: it takes a tenth of a search's time.
    """
    names = [name for name in batch.schema.names if name in _REQUIRED or (name in _OTHERS and has_values(batch, name))]
    some = batch.select(names)
    as_it_should_be = all(_TYPES[field.name] == field.type for field in some.schema)
    return some if as_it_should_be and set(_REQUIRED) <= set(names) else conform(some)


class _Searched:
    """One batch, searched."""

    def __init__(self, batch: pa.RecordBatch, needles: Needles) -> None:
        self._batch = batch = _needed(batch)
        self._unsearched: dict[int, str] = {}
        self._hits: list[Hits] = []
        logs = Ragged.from_arrow(batch.column("event_log"))
        self._note_absent(logs)
        other = self._other_kinds()
        is_plain = logs.present.copy()
        is_plain[other] = False
        rows = np.flatnonzero(is_plain)
        plain = logs if len(rows) == len(logs) else Ragged.of([logs[row] for row in rows.tolist()])
        self._take(EventSearch(plain, rows, np.zeros(len(rows), np.bool_), needles))
        if len(other):
            self._take(self._search_others(logs, other, needles))
        if has_values(batch, "ima"):
            self._take(ImaSearch(batch, needles))

    def _take(self, search: _Search) -> None:
        for row, reason in search.unsearched():
            self._unsearched.setdefault(row, reason)
        if (hits := search.hits()) is not None:
            self._hits.append(hits)

    def _note_absent(self, logs: Ragged) -> None:
        if has_values(self._batch, "fault"):
            for row, fault in enumerate(self._batch.column("fault").to_pylist()):
                if fault is not None:
                    self._unsearched[row] = f"{fault['code']} {fault['hint'] or ''}".strip()
        for row in np.flatnonzero(np.diff(logs.offsets) == 0).tolist():
            self._unsearched.setdefault(row, "log.absent no event log was sent")

    def _other_kinds(self) -> Column:
        """Rows whose logs are not a TCG log alone."""
        is_other = np.zeros(len(self._batch), np.bool_)
        if has_values(self._batch, "event_log_kind"):
            kinds = self._batch.column("event_log_kind").to_pylist()
            is_other |= np.fromiter((kind not in (None, "tcg") for kind in kinds), np.bool_, len(kinds))
        if has_values(self._batch, "userspace_log"):
            is_other |= self._batch.column("userspace_log").is_valid().to_numpy(zero_copy_only=False)
        return np.flatnonzero(is_other)

    def _search_others(self, logs: Ragged, rows: Column, needles: Needles) -> EventSearch:
        """The logs of other kinds, and those with a userspace log, as one TCG log each."""
        columns = [self._values(name, rows) for name in ("event_log_kind", "userspace_log")]
        items: list[bytes | None] = []
        of_registers = np.zeros(len(rows), np.bool_)
        for index, (row, kind, userspace) in enumerate(zip(rows.tolist(), *columns, strict=True)):
            read = self._read(row, kind, logs[row], userspace)
            items.append(None if read is None else read.log)
            of_registers[index] = read is not None and read.registers is Register.MR
        return EventSearch(Ragged.of(items), rows, of_registers, needles)

    def _values(self, name: str, rows: Column) -> list[Any]:
        """The values of a column in these rows, None where the batch has no such column."""
        if name not in self._batch.schema.names:
            return [None] * len(rows)
        column = self._batch.column(name)
        return [column[row].as_py() for row in rows.tolist()]

    def _read(self, row: int, kind: str | None, log: bytes, userspace: bytes | None) -> Transcoded | None:
        try:
            return transcode(kind, log, userspace)
        except EvidenceError as error:
            self._unsearched.setdefault(row, str(error))
        # What firmware logged is searched although what came later cannot be read.
        return None if userspace is None else self._read(row, kind, log, None)

    def add_to(self, result: Hunt) -> None:
        """Counts the batch and its hits."""
        names = [name if name is not None else "?" for name in self._batch.column("machine").to_pylist()]
        result.boots_seen.update(names)
        result.unsearched += len(self._unsearched)
        room = UNSEARCHED_TOLD - len(result.unsearched_examples)
        for row in sorted(self._unsearched)[:room]:
            boot = self._batch.column("boot")[row].as_py()
            result.unsearched_examples.append(Unsearched(names[row], boot or "?", self._unsearched[row]))
        boots = self._boots_hit()
        for row, boot in boots.items():
            if names[row] in result.machines:
                result.machines[names[row]].span.add(boot)
            else:
                result.machines[names[row]] = MachineHits(names[row], Span(1, boot, boot))
        self._add_needles(result, names, boots)

    def _add_needles(self, result: Hunt, names: list[str], boots: dict[int, Boot]) -> None:
        pairs: dict[tuple[int, int], tuple[Hits, int]] = {}
        for hits in self._hits:
            for index, pair in enumerate(zip(hits.rows.tolist(), hits.needles.tolist(), strict=True)):
                pairs.setdefault(pair, (hits, index))  # what an event log has, an IMA list may have too
        told: dict[tuple[str, int], tuple[Hits, int]] = {}
        for (row, number), where in pairs.items():
            spans = result.machines[names[row]].spans
            if number not in spans:
                spans[number] = Span(1, boots[row], boots[row])
            elif not spans[number].add(boots[row]):
                continue
            told[names[row], number] = where
        for hits in self._hits:
            own = [(key, index) for key, (of, index) in told.items() if of is hits]
            events = hits.describe(np.array([index for _, index in own], np.int64)) if own else []
            for ((machine, number), _), event in zip(own, events, strict=True):
                result.machines[machine].events[number] = event

    def _boots_hit(self) -> dict[int, Boot]:
        """The boots that were hit, by row."""
        rows = np.unique(np.concatenate([hits.rows for hits in self._hits])) if self._hits else np.zeros(0, np.int64)
        columns = [self._values(name, rows) for name in ("boot", "boot_seq", "collected_at")]
        return {row: Boot(name or "?", seq, time) for row, name, seq, time in zip(rows.tolist(), *columns, strict=True)}

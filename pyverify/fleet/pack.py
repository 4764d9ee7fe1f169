"""Archives of any form written again as Parquet: for years of evidence, and for many readers.

Beside the columns of evidence a row has ``fault``, why its boot could not be read, so that it stays an error for ever,
and ``files``, the names of its members with the bytes of those that no column holds, so that :mod:`unpack` gives the
same files back. Readers that want neither ignore them.

The same archives give the same bytes, with one version of Arrow. A job that was killed goes on where it was: part
files that are finished stay, and each says by digests which rows it holds, so that it is never taken for another's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pyverify.appraise.rows import ids_of
from pyverify.errors import ArchiveError, UsageError
from pyverify.fleet.parquet_rows import evidence_sizes
from pyverify.fleet.partial import discard, finished_file, locked, partial_of, remove_unfinished, sync_folder, writing
from pyverify.fleet.rows import FILES, source_schema
from pyverify.fleet.sources import Archive

_BATCH_ROWS: Final = 1024
_BATCH_BYTES: Final = 16 << 20
_GROUP_ROWS: Final = 4 * _BATCH_ROWS
_GROUP_BYTES: Final = 4 * _BATCH_BYTES
"""A row group: so many batches of a verification, of which each reader holds one."""
_PART_BYTES: Final = 1 << 30
"""Evidence of a part file: some 30 to 100 MB on disk, and what is made again after a kill."""
_HELD_BYTES: Final = 4 * _GROUP_BYTES
"""Evidence that waits for its row group to be full, over all days."""
_OPEN_PARTS: Final = 64
"""Part files being written at a time, one a day at most."""
_PAGE_BYTES: Final = 16 << 20
"""Logs of like machines repeat each other within a page: at 1 MiB a fleet takes half as much again."""
_PAGE_CHECK: Final = 64
"""Values between two looks at a page's size: logs are large."""
_DICTIONARY_BYTES: Final = 1 << 30
"""Never full, for Arrow falls back to plain values at 1 MiB, which a dozen logs have."""

_DIGESTS: Final = b"pyverify.rows"
_REPEATING: Final = (
    ("event_log", "event_log"),
    ("userspace_log", "userspace_log"),
    ("ima", "ima.list.element.data"),
    ("quotes", "quotes.list.element.ak_pub"),
    ("ak_cert", "ak_cert"),
    ("ek_cert", "ek_cert"),
)
"""Columns that are encoded by dictionary where a fleet repeats itself, and what Parquet calls them."""
_NAMES: Final = ("machine", "boot", "event_log_kind", "ima.list.element.format", "files.list.element.name")
"""Columns that always are."""
_NO_DATE: Final = "__HIVE_DEFAULT_PARTITION__"
"""What Hive, Spark and Arrow call the partition of null."""

SCHEMA: Final = pa.schema([item for item in source_schema(FILES) if item.name != "source"])


@dataclass(slots=True)
class Packed:
    """What was packed. ``evidence_bytes`` are those of the logs, lists, quotes and certificates."""

    rows: int = 0
    unreadable: int = 0
    evidence_bytes: int = 0
    files: list[str] = field(default_factory=list)
    packed_bytes: int = 0


def pack(
    sources: Iterable[Archive], output: Path, *, by_date: bool = False, watch: Callable[[int], None] = lambda rows: None
) -> Packed:
    """Writes archives, one after the other, as Parquet.

    Args:
        sources: what to pack.
        output: a folder of part files; one file where its name ends in ``.parquet``. Nothing may be there yet.
        by_date: a folder a day below ``output``, named ``date=YYYY-MM-DD`` by ``collected_at`` (UTC).
        watch: is called with the number of rows that have been packed.

    Raises:
        UsageError: the output is there already, another process writes it, or one file was to be many.
        ArchiveError: an archive breaks off, or is not the one that was packed when this was interrupted. Nothing is
            at ``output``, and part files that are finished wait beside it.
        OutputError: the disk is full, or refuses.
    """
    is_file = output.suffix == ".parquet"
    if is_file and by_date:
        raise UsageError(f"{output}: a folder a day is not one file; name a folder")
    if output.exists() or output.is_symlink():
        raise UsageError(f"{output} is there already; name another place")
    folder = partial_of(output)
    with writing(output), locked(folder):
        remove_unfinished(folder)
        packed = _write(sources, folder, by_date, None if is_file else _PART_BYTES, watch)
        strangers = {str(path.relative_to(folder)) for path in folder.rglob("*.parquet")} - set(packed.files)
        if strangers:
            raise _other_rows(folder / min(strangers))
        packed.packed_bytes = sum((folder / name).stat().st_size for name in packed.files)
        if is_file:
            (folder / packed.files[0]).rename(output)
            discard(folder)
        else:
            folder.rename(output)
        sync_folder(output.parent)
    return packed


def _write(
    sources: Iterable[Archive], folder: Path, by_date: bool, part_bytes: int | None, watch: Callable[[int], None]
) -> Packed:
    packed = Packed()
    with _Writer(folder, part_bytes, packed) as writer:
        for source in sources:
            for batch in source.batches(max_rows=_BATCH_ROWS, max_bytes=_BATCH_BYTES, columns=FILES):
                rows = _plain(batch)
                for partition, some in _by_date(rows) if by_date else [("", rows)]:
                    writer.add(partition, some)
                packed.rows += len(rows)
                packed.unreadable += len(rows) - rows.column("fault").null_count
                watch(packed.rows)
        writer.finish()
    return packed


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch in the schema that is written."""
    columns = [batch.column(item.name) for item in SCHEMA]
    laid_out = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in columns]
    casts = [column.cast(item.type) for column, item in zip(laid_out, SCHEMA, strict=True)]
    return pa.record_batch(casts, schema=SCHEMA)


def _by_date(rows: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The rows of each day, in the order of the days, the rows of a day in their own."""
    days = pc.fill_null(pc.strftime(rows.column("collected_at"), "%Y-%m-%d"), _NO_DATE)
    for day in sorted(set(days.to_pylist())):
        yield f"date={day}", rows.filter(pc.equal(days, day))


class _Writer:
    """Rows on their way into part files, by partition. Where they are cut depends on nothing but the rows."""

    def __init__(self, folder: Path, part_bytes: int | None, packed: Packed) -> None:
        self._folder = folder
        self._part_bytes = part_bytes
        self._packed = packed
        self._held: dict[str, _Held] = {}
        self._parts: dict[str, _Part] = {}
        self._numbers: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._parts.values():
            part.abandon()

    def add(self, partition: str, rows: pa.RecordBatch) -> None:
        """Takes rows; row groups that are full are written."""
        held = self._held.setdefault(partition, _Held())
        for batch in _fitting(rows, held):
            if held.rows and (held.rows + len(batch) > _GROUP_ROWS or held.size + _size(batch) > _GROUP_BYTES):
                self._flush(partition)
            held.add(batch)
        while sum(one.size for one in self._held.values()) > _HELD_BYTES:
            self._flush(max(sorted(self._held), key=lambda name: self._held[name].size))

    def finish(self) -> None:
        """Writes what is left, and at least one file."""
        for partition in sorted(self._held):
            self._flush(partition)
        if not self._numbers:
            self._begin("", SCHEMA.empty_table())
        for partition in list(self._parts):
            self._close(partition)
        self._packed.files.sort()

    def _flush(self, partition: str) -> None:
        held = self._held[partition]
        if not held.rows:
            return
        table = pa.Table.from_batches(held.batches, SCHEMA).combine_chunks()
        self._packed.evidence_bytes += held.size
        part = self._parts.pop(partition, None) or self._begin(partition, table)
        self._parts[partition] = part  # the one written last comes last
        part.write(table, held.size)
        held.clear()
        if self._part_bytes is not None and part.size >= self._part_bytes:
            self._close(partition)
        while len(self._parts) > _OPEN_PARTS:
            self._close(next(iter(self._parts)))

    def _begin(self, partition: str, sample: pa.Table) -> _Part:
        number = self._numbers.get(partition, 0)
        self._numbers[partition] = number + 1
        name = f"{partition}/part-{number:05}.parquet".lstrip("/")
        self._packed.files.append(name)
        self._parts[partition] = part = _Part(self._folder / name, sample)
        return part

    def _close(self, partition: str) -> None:
        self._parts.pop(partition).close()


@dataclass(slots=True)
class _Held:
    """Rows that wait for their row group to be full."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    size: int = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self.batches.append(batch)
        self.rows += len(batch)
        self.size += _size(batch)

    def clear(self) -> None:
        self.batches, self.rows, self.size = [], 0, 0


def _fitting(rows: pa.RecordBatch, held: _Held) -> Iterator[pa.RecordBatch]:
    """The rows, cut where they fill the row group that is held."""
    room = _GROUP_ROWS - held.rows
    if 0 < room < len(rows):
        yield rows.slice(0, room)
        yield rows.slice(room)
    else:
        yield rows


def _size(batch: pa.RecordBatch) -> int:
    return int(evidence_sizes(batch).sum())


class _Part:
    """One part file: written, or held against the rows if it was finished before."""

    def __init__(self, path: Path, sample: pa.Table) -> None:
        self._path = path
        self._finished = _row_groups(path) if path.exists() else None
        self._digests: list[str] = []
        self._open = ExitStack()
        self.size = 0
        """Bytes of evidence in it."""
        if self._finished is None:
            file = self._open.enter_context(finished_file(path))
            writer = pq.ParquetWriter(
                file,
                SCHEMA,
                compression="zstd",
                use_dictionary=[*_NAMES, *_repeating(sample)],
                dictionary_pagesize_limit=_DICTIONARY_BYTES,
                data_page_size=_PAGE_BYTES,
                write_batch_size=_PAGE_CHECK,
            )
            self._writer = self._open.enter_context(writer)

    def write(self, rows: pa.Table, size: int) -> None:
        """Takes one row group."""
        digest = _digest(rows)
        if self._finished is None:
            self._writer.write_table(rows, row_group_size=len(rows))
        elif self._finished[len(self._digests) : len(self._digests) + 1] != [digest]:
            raise _other_rows(self._path)
        self._digests.append(digest)
        self.size += size

    def close(self) -> None:
        """No more rows come: the file takes its name."""
        if self._finished is None:
            self._writer.add_key_value_metadata({_DIGESTS: json.dumps(self._digests).encode()})
        elif len(self._finished) != len(self._digests):
            raise _other_rows(self._path)
        self._open.close()

    def abandon(self) -> None:
        """The job ends early: what was not finished goes."""
        with suppress(InterruptedError), self._open:
            raise InterruptedError


def _other_rows(path: Path) -> ArchiveError:
    return ArchiveError(f"{path}: holds other evidence than is given now; remove what was begun to start anew")


def _row_groups(path: Path) -> list[str]:
    """The digests of the row groups of a part file."""
    try:
        with pq.ParquetFile(path) as file:
            found = json.loads(file.metadata.metadata[_DIGESTS])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise _other_rows(path) from error
    if not isinstance(found, list):
        raise _other_rows(path)
    return found


def _digest(rows: pa.Table) -> str:
    """SHA-256 over all that the rows hold."""
    (batch,) = rows.to_batches()
    total = hashlib.sha256(b"".join(ids_of(batch)))
    rest = ("schema_version", "machine", "boot", "boot_seq", "collected_at", "fault", "files")
    total.update(repr(batch.select(rest).to_pylist()).encode())
    return total.hexdigest()


def _repeating(sample: pa.Table) -> Iterator[str]:
    """Columns of which a value comes twice on average: where a dictionary halves them, and spares readers as much."""
    for name, path in _REPEATING:
        values = sample.column(name).combine_chunks()
        if pa.types.is_list(values.type):
            values = values.flatten().field(path.rpartition(".")[2])
        sent = len(values) - values.null_count
        if sent and 2 * int(pc.count_distinct(values).as_py()) <= sent:
            yield path

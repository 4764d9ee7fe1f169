"""Evidence as Parquet: one file or a folder of them, row group by row group."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pyverify.errors import ArchiveError
from pyverify.fleet import rows
from pyverify.fleet.names import escape_path
from pyverify.fleet.parquet_footer import Footer, FooterError, read_footer
from pyverify.fleet.parquet_rows import COLUMNS, READ, conform, evidence_sizes, trouble_of_type
from pyverify.fleet.places import Place, open_bytes

_EVIDENCE: Final = ("event_log", "userspace_log", "ima", "quotes")
_BUFFER: Final = 1 << 20
_LARGE: Final = ("event_log", "userspace_log")
_DECODED: Final = 1 << 30
"""Bytes that lists of one batch may come to when a file repeats one value for every row."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A reference to evidence: ``number`` of a row group in a file, which had ``rows`` when it was looked at."""

    path: Place
    number: int
    rows: int


@dataclass(frozen=True, slots=True)
class _File:
    path: Place
    n_rows: int


class ParquetSource:
    """A Parquet file or data set."""

    def __init__(self, path: Place, files: Sequence[Place]) -> None:
        self._path = path
        self._files = [_File(file, _checked(file)) for file in files]
        self._total = sum(file.n_rows for file in self._files)
        self._done = 0

    @property
    def total(self) -> int:
        """Rows of all files."""
        return self._total

    @property
    def is_local(self) -> bool:
        """Whether all files are of this machine's file system, which others may share."""
        return all(isinstance(file.path, Path) for file in self._files)

    def progress(self) -> tuple[int, int]:
        """Rows of all files: (read, all)."""
        return min(self._done, self._total), self._total

    def batches(
        self, *, max_rows: int = 256, max_bytes: int = 32 << 20, columns: Literal["keys", "files"] | None = None
    ) -> Iterator[Any]:
        """Record batches in the order of the files' names and rows; none spans two row groups."""
        rows.check_arguments(max_rows, max_bytes, columns)
        return self._batches(max_rows, max_bytes, columns)

    def _batches(self, max_rows: int, max_bytes: int, wanted: str | None) -> Iterator[Any]:
        self._done = 0
        for file in self._files:
            opened = _open(file.path)
            try:
                for group in range(len(opened.footer.nested)):
                    for batch in _of_group(opened, file.path, group, max_rows, max_bytes, wanted):
                        yield batch
                        self._done += len(batch)
            finally:
                opened.reader.close()

    def row_groups(self) -> Iterator[RowGroup]:
        """References to all there is, in the order of :meth:`batches`.

        Raises:
            ArchiveError: a file is broken.
        """
        for file in self._files:
            reader = _open(file.path).reader
            try:
                for group in range(reader.metadata.num_row_groups):
                    yield RowGroup(file.path, group, reader.metadata.row_group(group).num_rows)
            finally:
                reader.close()


def read_row_group(group: RowGroup, *, max_rows: int, max_bytes: int) -> Iterator[Any]:
    """The batches that :meth:`ParquetSource.batches` gives of a row group.

    Raises:
        ArchiveError: the file is broken, or another than the reference was made of.
    """
    opened = _open(group.path)
    reader = opened.reader
    try:
        metadata = reader.metadata
        check_columns(_schema(reader, group.path), str(group.path))
        if not (group.number < metadata.num_row_groups and metadata.row_group(group.number).num_rows == group.rows):
            raise ArchiveError(f"{group.path}: has other row groups than before: it changed while it was read")
        yield from _of_group(opened, group.path, group.number, max_rows, max_bytes, None)
    finally:
        reader.close()


def _of_group(
    opened: _Opened, path: Place, group: int, max_rows: int, max_bytes: int, wanted: str | None
) -> Iterator[Any]:
    at, keys = 0, wanted == rows.KEYS
    batch_rows = max_rows if keys else _rows_within(max_bytes, opened, group, max_rows)
    for raw in _decoded(opened.reader, path, group, batch_rows, READ[wanted]):
        source = _source(path, group, at, len(raw))
        yield from cut(conform(raw, source, file=str(path), wanted=wanted), max_rows, max_bytes, keys)
        at += len(raw)


class _Opened(NamedTuple):
    """A file, and what its footer says of how it is encoded."""

    reader: Any
    footer: Footer


def _open(path: Place) -> _Opened:
    if not path.is_file():  # a link to a device would never end
        raise ArchiveError(f"{path}: is not a regular file; remove it from the data set")
    try:
        with io.BufferedReader(open_bytes(path), _BUFFER) as file:
            footer = read_footer(file)
        # A few bytes of file may say one large value for every row. Read as a dictionary it is in memory once, and the
        # rows are cut into batches by what they really are.
        repeating = [name for name in _LARGE if name in footer.repeating]
        reader = pq.ParquetFile(_file(path), buffer_size=_BUFFER, pre_buffer=False, read_dictionary=repeating)
        if reader.metadata.num_row_groups != len(footer.nested):
            raise FooterError("another number of row groups at a second look")
    except (OSError, pa.ArrowException, FooterError) as error:
        raise _broken(path, error) from error
    return _Opened(reader, footer)


def _file(path: Place) -> Any:
    """What Arrow opens: paths by itself, without the interpreter's lock."""
    return path if isinstance(path, Path) else pa.PythonFile(io.BufferedReader(open_bytes(path), _BUFFER), mode="r")


def _broken(path: Place, error: Exception) -> ArchiveError:
    return ArchiveError(f"{path}: truncated or broken as Parquet ({error}); copy or write it again")


def _checked(path: Place) -> int:
    """Rows of a file whose columns are of the right types."""
    reader = _open(path).reader
    try:
        check_columns(_schema(reader, path), str(path))
        return int(reader.metadata.num_rows)
    finally:
        reader.close()


def _schema(reader: Any, path: Place) -> Any:
    try:
        return reader.schema_arrow
    except (OSError, pa.ArrowException) as error:
        raise _broken(path, error) from error


def check_columns(schema: Any, where: str) -> None:
    """Refuse columns that cannot be evidence, before any row is read.

    Raises:
        ArchiveError: one is missing, there twice, or of a type that it cannot be taken from.
    """
    for name in COLUMNS:
        if schema.names.count(name) > 1:
            raise ArchiveError(f"{where}: column {name} is there twice; write it again with one")
    if not {"machine", "boot"} <= set(schema.names) or not set(_EVIDENCE) & set(schema.names):
        raise ArchiveError(
            f"{where}: no evidence; it must have the columns machine and boot and one of {', '.join(_EVIDENCE)}"
        )
    for field in rows.source_schema(rows.FILES):
        if field.name in schema.names and field.name in COLUMNS:
            trouble = trouble_of_type(field, schema.field(field.name).type)
            if trouble is not None:
                raise ArchiveError(f"{where}: {trouble}; write it again with that type")


def _rows_within(max_bytes: int, opened: _Opened, group: int, max_rows: int) -> int:
    """Rows that make about ``max_bytes``, by what the footer tells of the row group."""
    about = opened.reader.metadata.row_group(group)
    per_row = about.total_byte_size // max(1, about.num_rows)
    # Lists cannot be read as dictionaries: any row of them may hold all that its column chunk does.
    lists = opened.footer.nested[group]
    return int(max(1, min(max_rows, max_bytes // max(1, per_row), _DECODED // max(1, lists))))


def _decoded(reader: Any, path: Place, group: int, batch_rows: int, columns: tuple[str, ...]) -> Iterator[Any]:
    try:
        wanted = [name for name in columns if name in reader.schema_arrow.names]
        yield from reader.iter_batches(batch_size=batch_rows, row_groups=[group], columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise _broken(path, error) from error


def _source(path: Place, group: int, first: int, n: int) -> Any:
    return rows.source_column(
        pa.repeat(pa.scalar(escape_path(str(path))), n),
        pa.repeat(pa.scalar(group, pa.int32()), n),
        pa.array(np.arange(first, first + n, dtype=np.int64)),
    )


def cut(batch: Any, max_rows: int, max_bytes: int, keys: bool = False) -> Iterator[Any]:
    """Slices of a batch that keep to both limits."""
    if keys:
        for first in range(0, len(batch), max_rows):
            yield batch.slice(first, max_rows)
        return
    ends = np.cumsum(evidence_sizes(batch))
    first = 0
    while first < len(batch):
        before = int(ends[first - 1]) if first else 0
        end = int(np.searchsorted(ends, before + max_bytes, side="right"))
        end = min(max(end, first + 1), first + max_rows, len(batch))
        yield batch.slice(first, end - first)
        first = end

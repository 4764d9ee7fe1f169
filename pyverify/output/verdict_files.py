"""Verdict files back in: Parquet, JSON lines or JSON, as ``verify`` writes them, checked as strictly as evidence."""

from __future__ import annotations

import datetime
import io
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pyverify.algorithms import PCRS, pcr_mask
from pyverify.appraise.verdict import SCHEMA_VERSION, VERDICT_SCHEMA, Outcome
from pyverify.errors import ArchiveError
from pyverify.evidence.strict_json import StrictJsonError, decode, elements

BATCH_ROWS: Final = 8192
LINE_BYTES: Final = 16 << 20
"""A verdict row of JSON: a hundred findings are some 100 KB."""

_NEEDED: Final = ("schema_version", "machine", "boot", "verdict", "findings", "stages")
_LISTS: Final = ("pcrs_proven", "pcrs_unproven", "stages", "findings")
_OUTCOMES: Final = pa.array([str(outcome) for outcome in Outcome])
_VALUES: Final = {
    "attested": pa.array(["quote", "quote-unfresh", "pcrs", "log"]),
    "key": pa.array(["certified", "activated", "enrolled", "first-use", "none"]),
}
_SEVERITIES: Final = pa.array(["high", "warning", "info"])


def read_verdicts(path: str) -> Iterator[pa.RecordBatch]:
    """The rows of a verdict file in batches of :data:`pyverify.appraise.verdict.VERDICT_SCHEMA`.

    Columns that the file lacks are null; columns that it has beyond the schema are left out.

    Args:
        path: the file; ``-`` is standard input.

    Raises:
        ArchiveError: it cannot be read, is of no known kind, or a row is none that this version knows.
    """
    try:
        with _opened(path) as file:
            head = file.read(64)
            file.seek(0)
            read = _read_parquet if head[:4] == b"PAR1" else _read_json
            for batch in read(file):
                _check(batch)
                yield batch
    except (pa.ArrowException, StrictJsonError, OverflowError, UnicodeEncodeError, TypeError) as error:
        raise ArchiveError(f"{path}: no verdict file: {error}") from error
    except (OSError, ValueError, KeyError) as error:
        raise ArchiveError(f"{path}: {error}") from error


def _opened(path: str) -> IO[bytes]:
    return io.BytesIO(sys.stdin.buffer.read()) if path == "-" else Path(path).open("rb")


def _check(batch: pa.RecordBatch) -> None:
    """Refuses what this version does not know: a verdict that cannot be read must not pass for any other.

    Raises:
        ValueError: with the reason; also where a text is no UTF-8, which Parquet does not promise.
    """
    batch.validate(full=True)
    versions = batch.column("schema_version")
    if versions.null_count or not pc.all(pc.equal(versions, SCHEMA_VERSION), min_count=0).as_py():
        raise ValueError(f"rows of another schema_version than {SCHEMA_VERSION}")
    _known(batch.column("verdict"), _OUTCOMES, "verdict", nulls=False)
    for name, values in _VALUES.items():
        _known(batch.column(name), values, name, nulls=True)
    _known(_child(batch.column("findings"), "severity"), _SEVERITIES, "severity", nulls=False)
    for name, child in (("findings", "code"), ("stages", "name"), ("stages", "state")):
        if _child(batch.column(name), child).null_count:
            raise ValueError(f"one of the {name} has no {child}")


def _child(lists: pa.ListArray, name: str) -> pa.Array:
    structs = lists.flatten()
    return structs.flatten()[structs.type.get_field_index(name)]


def _known(column: pa.Array, values: pa.Array, name: str, *, nulls: bool) -> None:
    known = pc.is_in(column, value_set=values)
    if nulls:
        known = pc.or_(known, pc.is_null(column))
    if not pc.all(known, min_count=0).as_py():
        unknown = column.filter(pc.invert(known))[0].as_py()
        raise ValueError(f"{name} {unknown!r} is none that this version knows")


def _read_parquet(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    parquet = pq.ParquetFile(file)
    present = set(parquet.schema_arrow.names)
    if lacking := [name for name in _NEEDED if name not in present]:
        raise ValueError(f"no verdict file: it has no column {lacking[0]}")
    wanted = [field.name for field in VERDICT_SCHEMA if field.name in present]
    for batch in parquet.iter_batches(batch_size=BATCH_ROWS, columns=wanted):
        columns = [
            batch.column(field.name).cast(field.type) if field.name in present else pa.nulls(len(batch), field.type)
            for field in VERDICT_SCHEMA
        ]
        yield pa.record_batch(columns, schema=VERDICT_SCHEMA)


def _read_json(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    rows = _array(file) if _first_of(file) == b"[" else _lines(file)
    while chunk := list(itertools.islice(rows, BATCH_ROWS)):
        yield pa.RecordBatch.from_pylist(chunk, schema=VERDICT_SCHEMA)


def _first_of(file: IO[bytes]) -> bytes:
    head = file.read(4096).lstrip()[:1]
    file.seek(0)
    return head


def _array(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    for _, _, value in elements(file.read()):
        yield _row(value)


def _lines(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    for number in itertools.count(1):
        line = file.readline(LINE_BYTES)
        if not line:
            return
        if len(line) == LINE_BYTES:
            raise ValueError(f"line {number} has more than {LINE_BYTES:,} bytes")
        if line.strip():
            try:
                yield _row(decode(line))
            except (StrictJsonError, ValueError) as error:
                raise ValueError(f"line {number}: {error}") from error


def _row(value: Any) -> dict[str, Any]:
    """A verdict row as :func:`pyverify.output.tables.json_rows` writes it, in the types of the schema."""
    if not isinstance(value, dict) or any(name not in value for name in _NEEDED):
        raise ValueError("not a verdict row")
    for name in _LISTS:
        items = value.get(name)
        if items is not None and not (isinstance(items, list) and all(isinstance(item, dict) for item in items)):
            raise ValueError(f"{name} is no list of objects")
    row = {name: _converted(value.get(name), convert) for name, convert in _CONVERT.items()}
    for name in ("stages", "findings", "pcrs_proven", "pcrs_unproven"):
        row[name] = [
            {key: _converted(cell, _INNER.get((name, key), _same)) for key, cell in item.items()}
            for item in value.get(name) or ()
        ]
    return row


def _converted(value: Any, convert: Callable[[Any], Any]) -> Any:
    return None if value is None else convert(value)


def _same(value: Any) -> Any:
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError("bytes are given as hex")
    return bytes.fromhex(value)


def _time(value: Any) -> datetime.datetime:
    if not isinstance(value, str):
        raise ValueError("times are given as RFC 3339")
    return datetime.datetime.fromisoformat(value)


def _mask(value: Any) -> int:
    if not isinstance(value, list) or not all(type(pcr) is int and 0 <= pcr < PCRS for pcr in value):
        raise ValueError("PCRs are given as a list of numbers from 0 to 23")
    return pcr_mask(value)


def _whole(value: Any) -> int:
    if type(value) is not int:  # Arrow would cut 7.5 down to 7
        raise ValueError("versions and boot_seq are given as whole numbers")
    return value


_BY_TYPE: Final = {
    pa.binary(): _bytes,
    pa.timestamp("us", tz="UTC"): _time,
    pa.int32(): _whole,
    pa.int64(): _whole,
}
_CONVERT: Final[dict[str, Callable[[Any], Any]]] = {
    field.name: _BY_TYPE.get(field.type, _same) for field in VERDICT_SCHEMA if field.name not in _LISTS
}
_INNER: Final[dict[tuple[str, str], Callable[[Any], Any]]] = {
    ("stages", "pcrs"): _mask,
    ("stages", "expected"): _bytes,
    ("stages", "actual"): _bytes,
    ("findings", "expected"): _bytes,
    ("findings", "actual"): _bytes,
    ("pcrs_proven", "mask"): _mask,
    ("pcrs_unproven", "mask"): _mask,
}

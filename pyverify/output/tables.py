"""Verdict rows as JSON lines, JSON or Parquet. A file appears only when it is whole."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pyverify.algorithms import pcrs_of
from pyverify.appraise.verdict import VERDICT_SCHEMA
from pyverify.errors import UsageError

Write = Callable[[pa.RecordBatch], None]

FORMATS: Final = ("jsonl", "json", "parquet")


def json_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Verdict rows as JSON objects: bytes as hex, times RFC 3339 UTC, masks as lists of PCR numbers."""
    for row in batch.to_pylist():
        for stage in row["stages"]:
            stage["pcrs"] = list(pcrs_of(stage["pcrs"]))
        for proof in (*row["pcrs_proven"], *row["pcrs_unproven"]):
            proof["mask"] = list(pcrs_of(proof["mask"]))
        yield {name: plain(value) for name, value in row.items()}


def plain(value: Any) -> Any:
    """A value of a row as JSON has it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


@contextlib.contextmanager
def verdict_writer(form: str, path: str | None, folder: Path | None = None) -> Iterator[Write]:
    """A function that takes verdict batches and writes them in one of :data:`FORMATS`.

    Args:
        form: the format.
        path: where to; None or ``-`` is standard output.
        folder: where a file lies until it is whole (default: beside ``path``).

    Raises:
        UsageError: Parquet was to go to a terminal.
    """
    with whole_file(path, folder) as file:
        if form == "parquet":
            if file.isatty():
                raise UsageError("Parquet is no text: name a file with -o, or pipe it on")
            with pq.ParquetWriter(file, VERDICT_SCHEMA, compression="zstd") as writer:
                yield writer.write_batch
        elif form == "jsonl":
            yield lambda batch: _write_lines(file, batch)
        else:
            separator = b"["

            def write(batch: pa.RecordBatch) -> None:
                nonlocal separator
                for row in json_rows(batch):
                    file.write(separator + b"\n" + json.dumps(row).encode())
                    separator = b","

            yield write
            file.write((b"[" if separator == b"[" else b"") + b"\n]\n")


@contextlib.contextmanager
def line_writer(
    path: str | None, lines: Callable[[dict[str, Any]], Iterable[str]], folder: Path | None = None
) -> Iterator[Write]:
    """The same for formats that make lines of each row (of ``batch.to_pylist()``) on its own."""
    with whole_file(path, folder) as file:

        def write(batch: pa.RecordBatch) -> None:
            file.write("".join(f"{line}\n" for row in batch.to_pylist() for line in lines(row)).encode())

        yield write


def _write_lines(file: IO[bytes], batch: pa.RecordBatch) -> None:
    file.write(b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in json_rows(batch)))


@contextlib.contextmanager
def whole_file(path: str | None, folder: Path | None = None) -> Iterator[IO[bytes]]:
    """A file open for writing that takes its name only when all went well; standard output for None and ``-``.

    Until then it lies in ``folder``, which must be on the same disk, else beside ``path``.
    """
    target = regular_file(path)
    if target is None:
        if path in (None, "-"):
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        else:
            with Path(str(path)).open("wb") as file:
                yield file
        return
    temporary = (folder or target.parent) / f".{target.name}.{secrets.token_hex(4)}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def regular_file(path: str | None) -> Path | None:
    """The file that ``path`` names, links followed; None for standard output, a device or a pipe.

    Those have no name to take: they are written to as they are.
    """
    if path in (None, "-"):
        return None
    target = Path(str(path)).resolve()
    return None if target.exists() and not target.is_file() else target

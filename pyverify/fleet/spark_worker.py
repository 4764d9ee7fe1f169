"""What a Spark worker does: references to evidence in, what their appraisal comes to out.

Verdicts and facts travel as Arrow IPC streams in binary columns: Spark has no unsigned numbers and no fixed-size
binary, and nothing may come back as anything else than it was.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from pyverify.appraise.policy import Policy
from pyverify.appraise.verdict import SOURCE_TYPE
from pyverify.baseline.references import References
from pyverify.errors import ArchiveError, ClusterError
from pyverify.fleet.job import BATCH_BYTES, BATCH_ROWS, appraise
from pyverify.fleet.parquet import RowGroup, check_columns, cut, read_row_group
from pyverify.fleet.parquet_rows import conform

TASKS: Final = pa.schema(
    [
        ("number", pa.int64()),
        ("file", pa.binary()),  # path of a Parquet file, and the row group in it that holds so many rows; or
        ("row_group", pa.int32()),
        ("rows", pa.int64()),
        ("evidence", pa.binary()),  # a batch of rows, as an IPC stream
    ]
)
"""One piece of work a row: a reference to evidence, or evidence."""

RESULTS: Final = pa.schema(
    [
        ("number", pa.int64()),  # of the task; null where rows of evidence were the input
        ("verdicts", pa.binary()),
        ("quotes", pa.binary()),
        ("booted", pa.binary()),
        ("lists", pa.binary()),
        ("error", pa.string()),  # why the archive breaks off here; the others are null then
    ]
)
"""What each batch of evidence comes to: the parts of ``job.Appraised``."""

RESULT_COLUMNS: Final = "number bigint, verdicts binary, quotes binary, booted binary, lists binary, error string"
""":data:`RESULTS` in Spark's words."""

_FRAME: Final = "the data frame"
_COMPRESSED: Final = pa.ipc.IpcWriteOptions(compression="zstd")


def packed(batch: pa.RecordBatch) -> bytes:
    """A batch as bytes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_COMPRESSED) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def unpacked(data: pa.Buffer, schema: pa.Schema | None = None) -> pa.RecordBatch:
    """The batch that :func:`packed` made bytes of, which must have this schema where one is given.

    Raises:
        ClusterError: it is something else.
    """
    try:
        with pa.ipc.open_stream(data) as reader:
            if schema is not None and reader.schema != schema:
                raise ClusterError("a worker sent other columns than these; is it of the same version?")
            return reader.read_next_batch()
    except (pa.ArrowException, StopIteration) as error:
        raise ClusterError(f"what a worker sent does not parse: {error}") from error


@dataclass(frozen=True, slots=True)
class Work:
    """All that a worker must know, beside the references, which it has as a file of this name."""

    references: str
    references_id: bytes
    policy: Policy
    as_of: datetime.datetime
    version: str

    @classmethod
    def of(cls, references: str, references_id: bytes, policy: Policy, as_of: datetime.datetime) -> Work:
        """The work of this version of the package."""
        return cls(references, references_id, policy, as_of, version("pyverify"))

    def of_tasks(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """What the evidence of each of :data:`TASKS` comes to, as :data:`RESULTS`."""
        references = self._ready()
        for batch in batches:
            for task in batch.to_pylist():
                try:
                    for evidence in _evidence_of(task):
                        yield self._result(evidence, references, task["number"])
                except ArchiveError as error:
                    yield _broken(error, task["number"])

    def of_rows(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """What rows of evidence come to, held to the same rules as those of a Parquet file."""
        references = self._ready()
        for batch in batches:
            try:
                check_columns(batch.schema, _FRAME)
                rows = conform(batch, pa.nulls(len(batch), SOURCE_TYPE), file=_FRAME, wanted=None)
                for evidence in cut(rows, BATCH_ROWS, BATCH_BYTES):
                    yield self._result(evidence, references, None)
            except ArchiveError as error:
                yield _broken(error, None)

    def _ready(self) -> References:
        here = version("pyverify")
        if here != self.version:
            raise ClusterError(f"this worker has pyverify {here}, the driver {self.version}; install the same")
        return _load(self.references, self.references_id)

    def _result(self, evidence: pa.RecordBatch, references: References, number: int | None) -> pa.RecordBatch:
        parts = map(packed, appraise(evidence, references, self.policy, self.as_of)[1:])
        return _row(number, *parts, None)


def _row(*values: Any) -> pa.RecordBatch:
    columns = [pa.array([value], field.type) for value, field in zip(values, RESULTS, strict=True)]
    return pa.record_batch(columns, schema=RESULTS)


def _broken(error: ArchiveError, number: int | None) -> pa.RecordBatch:
    return _row(number, None, None, None, None, f"{error} (seen by worker {os.uname().nodename})")


def _evidence_of(task: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    if task["evidence"] is not None:
        yield unpacked(pa.py_buffer(task["evidence"]))
        return
    group = RowGroup(Path(os.fsdecode(task["file"])), task["row_group"], task["rows"])
    yield from read_row_group(group, max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES)


@lru_cache(maxsize=1)
def _load(name: str, references_id: bytes) -> References:
    """The references, once a process: mapped into memory, so that processes of a machine share them."""
    from pyspark import SparkFiles

    references = References.load(Path(SparkFiles.get(name)))
    if references.id != references_id:
        raise ClusterError(f"{name}: these are not the references that were sent")
    return references

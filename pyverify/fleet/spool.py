"""Batches put by in a file without a name, to be read again once in the order in which they came."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Self

import pyarrow as pa


class Spool:
    """Use it as a context manager: write all, then read all; the file goes with it."""

    def __init__(self, schema: pa.Schema) -> None:
        self._file = tempfile.TemporaryFile(prefix="pyverify-spool-")  # noqa: SIM115
        self._writer = pa.ipc.new_stream(self._file, schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Puts a batch by."""
        self._writer.write_batch(batch)

    def read(self) -> Iterator[pa.RecordBatch]:
        """The batches."""
        self._writer.close()
        self._file.seek(0)
        with pa.ipc.open_stream(self._file) as reader:
            yield from reader

"""Archives that are in no file: batches that are in memory already, and some that are made while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from pyverify.fleet.rows import source_schema


class MemorySource:
    """Batches as a source, given as they are."""

    def __init__(self, batches: Sequence[Any]) -> None:
        self._batches = batches

    @property
    def total(self) -> int:
        """Rows."""
        return sum(map(len, self._batches))

    def progress(self) -> tuple[int, int]:
        """All is read."""
        return self.total, self.total

    def batches(
        self, *, max_rows: int = 256, max_bytes: int = 32 << 20, columns: Literal["keys"] | None = None
    ) -> Iterator[Any]:
        """The batches."""
        del max_rows, max_bytes, columns
        return iter(self._batches)


@dataclass(frozen=True, slots=True)
class StreamedSource:
    """So many rows, which ``make`` makes while they are read, at most as many a batch as it is given."""

    total: int
    make: Callable[[int], Iterator[pa.RecordBatch]]

    def progress(self) -> tuple[int, int]:
        """Nobody looks."""
        return 0, self.total

    def batches(
        self, *, max_rows: int = 256, max_bytes: int = 32 << 20, columns: Literal["keys", "files"] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The batches, with the columns that who reads them wants: it may pack them."""
        del max_bytes
        schema = source_schema(columns)
        for batch in self.make(max_rows):
            sent = {name: batch.column(name) for name in batch.schema.names}
            arrays = [sent.get(field.name, pa.nulls(len(batch), field.type)) for field in schema]
            yield pa.record_batch(arrays, schema=schema)

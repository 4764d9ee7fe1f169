"""An archive that is in memory already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal


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

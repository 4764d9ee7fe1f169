"""Evidence as a tar of the folder tree: one pass over its members, nothing extracted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pyverify.errors import ArchiveError
from pyverify.fleet import rows
from pyverify.fleet.assembly import Assembly, Item
from pyverify.fleet.places import Place, size_of
from pyverify.fleet.streams import Stream
from pyverify.fleet.tar import BLOCK, TarReader, is_tar_header


class TarSource:
    """A tar of evidence, compressed or not."""

    def __init__(self, path: Place, compression: str | None) -> None:
        self._path = path
        self._compression = compression
        self._total = size_of(path)
        self._stream: Stream | None = None
        self._done = 0
        stream = Stream(path, compression)
        try:
            if not is_tar_header(stream.reader.read(BLOCK)):
                raise ArchiveError(f"{path}: there is no tar inside; pack the folder with tar first")
        finally:
            stream.close()

    @property
    def total(self) -> int:
        """Bytes of the file."""
        return self._total

    def progress(self) -> tuple[int, int]:
        """Bytes of the file: (read, all)."""
        stream = self._stream
        return min(self._total, self._done if stream is None else stream.position), self._total

    def batches(
        self, *, max_rows: int = 256, max_bytes: int = 32 << 20, columns: Literal["keys", "files"] | None = None
    ) -> Iterator[Any]:
        """Record batches of the boots in the order of the members."""
        rows.check_arguments(max_rows, max_bytes, columns)
        boots = Assembly(self._path, columns == rows.KEYS).boots(self._items())
        return rows.batched(boots, max_rows=max_rows, max_bytes=max_bytes, columns=columns)

    def _items(self) -> Iterator[Item]:
        try:
            self._stream = stream = Stream(self._path, self._compression)
        except OSError as error:
            raise ArchiveError(f"{self._path}: cannot be opened ({error.strerror}); check its permissions") from error
        try:
            reader = TarReader(stream.reader, name=str(self._path), can_seek=stream.can_seek)
            read = reader.read
            while (entry := reader.next()) is not None:
                yield (*entry, read)
        finally:
            self._done = stream.position
            self._stream = None
            stream.close()

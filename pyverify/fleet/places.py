"""Where the bytes of an archive lie: a path here, or an object of a file system that fsspec knows."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pyverify.errors import ArchiveError


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of an fsspec file system."""

    system: Any
    path: str
    name: str
    """How it is called in messages and verdicts: without what a URL may hold of credentials."""

    def __str__(self) -> str:
        return self.name

    def is_file(self) -> bool:
        """Object stores have nothing else."""
        return True


Place: TypeAlias = Path | RemoteFile


def open_bytes(place: Place) -> io.RawIOBase:
    """The file, open for reading, unbuffered.

    Raises:
        OSError: it cannot be opened; reading raises nothing else either.
    """
    if isinstance(place, RemoteFile):
        return _Guarded(place)
    return io.FileIO(place)


def size_of(place: Place) -> int:
    """Bytes of the file.

    Raises:
        OSError: it cannot be asked for.
    """
    if isinstance(place, RemoteFile):
        return int(guarded(place.system.size, place.path))
    return place.stat().st_size


def guarded(call: Any, *arguments: Any, **options: Any) -> Any:
    """What a call to a file system returns; whatever it raises becomes an OSError, for each has errors of its own."""
    try:
        return call(*arguments, **options)
    except (OSError, ArchiveError):
        raise
    except Exception as error:
        raise OSError(5, f"{type(error).__name__}: {error}") from error


class _Guarded(io.RawIOBase):
    """A remote file that raises nothing but OSError."""

    def __init__(self, place: RemoteFile) -> None:
        super().__init__()
        self._file = guarded(place.system.open, place.path, "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = guarded(self._file.read, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return int(guarded(self._file.seek, offset, whence))

    def tell(self) -> int:
        return int(guarded(self._file.tell))

    def close(self) -> None:
        if not self.closed:
            guarded(self._file.close)
        super().close()

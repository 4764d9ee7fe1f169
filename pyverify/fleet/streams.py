"""Compressed archives as plain byte streams, with a stop for those that expand without end."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol

import pyarrow as pa

from pyverify.errors import ArchiveError
from pyverify.fleet import limits
from pyverify.fleet.places import Place, open_bytes

_BUFFER: Final = 1 << 20

MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x1f\x8b", "gz"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
)
"""First bytes of the compressions that are read."""


class _Bytes(Protocol):
    def read(self, size: int, /) -> bytes: ...


class CountedFile(io.RawIOBase):
    """A file that knows how far it was read; ``position`` may be asked from any thread."""

    def __init__(self, file: io.RawIOBase) -> None:
        super().__init__()
        self._file = file
        self.position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True: members of a plain tar are passed over by a seek."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer."""
        size = self._file.readinto(buffer) or 0
        self.position += size
        return size

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position."""
        self.position = self._file.seek(offset, whence)
        return self.position

    def tell(self) -> int:
        """The position."""
        return self.position

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class _Xz:
    """An xz file of any number of streams. ``lzma.LZMAFile`` has no way to limit the decoder's memory."""

    def __init__(self, file: _Bytes) -> None:
        self._file = file
        self._decoder = self._new()
        self._rest = b""

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=limits.XZ_MEMORY)

    def read(self, size: int, /) -> bytes:
        while True:
            data = self._rest
            if not data and (self._decoder.eof or self._decoder.needs_input):
                data = self._file.read(_BUFFER)
                if not data:
                    if not self._decoder.eof:
                        raise EOFError("the compressed data ends too early")
                    return b""
            self._rest = b""
            if self._decoder.eof:
                data = data.lstrip(b"\0")  # stream padding
                if not data:
                    continue
                self._decoder = self._new()
            out = self._decoder.decompress(data, size)
            if self._decoder.eof:
                self._rest = self._decoder.unused_data
            if out:
                return out


class _Expanded(io.RawIOBase):
    """What comes out of a decoder, measured against what went in."""

    def __init__(self, decoder: _Bytes, file: CountedFile, path: Place) -> None:
        super().__init__()
        self._decoder = decoder
        self._file = file
        self._path = path
        self._out = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            data = self._decoder.read(len(buffer))
        except (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
            raise ArchiveError(
                f"{self._path}: the compression is broken after {self._file.position} bytes ({error}); "
                "copy the file again"
            ) from error
        buffer[: len(data)] = data
        self._out += len(data)
        if self._out > limits.TOTAL_RATIO_FROM and self._out > limits.TOTAL_RATIO * self._file.position:
            raise ArchiveError(
                f"{self._path}: expands to more than {limits.TOTAL_RATIO} times its size, as a zip bomb does; "
                "if it is yours, unpack it and give the folder"
            )
        return len(data)


class Stream:
    """An archive file as its plain bytes."""

    def __init__(self, path: Place, compression: str | None) -> None:
        self._file = CountedFile(open_bytes(path))
        self.can_seek = compression is None
        """Whether bytes can be passed over without being read."""
        raw: io.RawIOBase = self._file
        if compression is not None:
            raw = _Expanded(_DECODERS[compression](self._file), self._file, path)
        self.reader: io.BufferedReader = io.BufferedReader(raw, _BUFFER)

    @property
    def position(self) -> int:
        """Bytes of the file that were read so far."""
        return self._file.position

    def close(self) -> None:
        """Close the file."""
        self.reader.close()
        self._file.close()


def _gzip(file: CountedFile) -> _Bytes:
    return gzip.GzipFile(fileobj=io.BufferedReader(file, _BUFFER), mode="rb")


def _zstd(file: CountedFile) -> _Bytes:
    decoder: _Bytes = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
    return decoder


_DECODERS: Final[dict[str, Callable[[CountedFile], _Bytes]]] = {"gz": _gzip, "xz": _Xz, "zst": _zstd}

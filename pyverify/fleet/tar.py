"""A strict reader of tar streams: one pass, bounded memory, nothing repaired.

``tarfile`` takes a damaged header in the middle for the end of the archive, reads extended headers of any size, and
keeps every member; here machines would be missing in silence.
"""

from __future__ import annotations

import io
from typing import Final, NamedTuple

import numpy as np

from pyverify import _native
from pyverify.errors import ArchiveError
from pyverify.fleet import limits

BLOCK: Final = 512
_CHUNK: Final = 1 << 20
"""Bytes that are looked at together; a larger member is read by itself."""

# POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
_MORE_AT: Final = 482
"""Of the header of a sparse file: whether blocks follow that say where its holes are."""
_MORE_AT_BLOCK: Final = 504
"""The same, of such a block."""
_FILES: Final = frozenset(b"0\x007")
_EXTENDED: Final = frozenset(b"LKxXg")
_SPARSE: Final = ord("S")
_NO_DATA: Final = {
    ord("1"): "is a hard link",
    ord("2"): "is a symbolic link",
    ord("3"): "is a character device",
    ord("4"): "is a block device",
    ord("5"): "is a folder",
    ord("6"): "is a FIFO",
}
_ZEROS: Final = _native.TAR_FAULTS["zeros"]
_DAMAGED: Final = _native.TAR_FAULTS["damaged"]
_FAULTS: Final = {
    _DAMAGED: "has a damaged header",
    _native.TAR_FAULTS["not_octal"]: "has a number that is not octal",
    _native.TAR_FAULTS["impossible"]: "has a number that no file can have",
}


class TarError(Exception):
    """The stream is no tar from here on."""


TarEntry = tuple[str, int, str | None]
"""A member before its bytes are read: path, bytes of data that follow, and what it is instead of a regular file."""


class _Header(NamedTuple):
    """A header by itself, whatever extended ones say."""

    at: int
    size: int
    kind: int
    fault: int
    path: str


class TarReader:
    """The members of a tar, in order."""

    def __init__(self, stream: io.BufferedReader, *, name: str, can_seek: bool) -> None:
        self._stream = stream
        self._name = name
        self._can_seek = can_seek
        self._bytes = memoryview(bytearray(_CHUNK))
        self._chunk = np.frombuffer(self._bytes, np.uint8)
        self._at = self._end = 0
        """What of the chunk is still to be read."""
        self._plain: dict[int, TarEntry] = {}
        """Members of the chunk by where their headers begin. They count only where the reading comes to one."""
        self._left = 0
        """Bytes until the next header: data not yet read, and padding."""
        self._padding = 0

    def next(self) -> TarEntry | None:
        """The next member, None at the end mark.

        Raises:
            ArchiveError: there is neither a header nor an end mark, or the file cannot be read.
        """
        at = self._at + self._left + self._padding
        entry = self._plain.get(at)
        if entry is None:
            try:
                return self._next()
            except (TarError, OSError) as error:
                raise self._told(error) from error
        self._at = at + BLOCK
        self._left = size = entry[1]
        self._padding = -size % BLOCK
        return entry

    def read(self) -> bytes:
        """The bytes of the member that came last.

        Raises:
            ArchiveError: they are not there, or cannot be read.
        """
        try:
            data = self._exactly(self._left)
        except (TarError, OSError) as error:
            raise self._told(error) from error
        self._left = 0
        return data

    def _told(self, error: TarError | OSError) -> ArchiveError:
        if isinstance(error, OSError):
            return ArchiveError(f"{self._name}: cannot be read ({error.strerror}); copy it again")
        return ArchiveError(f"{self._name}: the tar {error}; copy or pack it again")

    def _next(self) -> TarEntry | None:
        self._skip(self._left + self._padding)
        path: str | None = None
        size: int | None = None
        sparse = False
        while True:
            header = self._header()
            if header.fault == _ZEROS:
                if path is not None:
                    raise TarError("ends after an extended header")
                self._check_tail()
                return None
            if header.kind not in _EXTENDED:
                path = header.path if path is None else path
                return self._entry(header, path, header.size if size is None else size, sparse)
            data = self._data(header.size)
            kind = chr(header.kind)
            if kind == "L":
                path = data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
            elif kind in "xX":
                records = _pax(data)
                path = records.get("path", path)
                size = _pax_size(records)
                sparse = any(key.startswith("GNU.sparse.") for key in records)
            elif kind == "g" and {"path", "size"} & _pax(data).keys():
                raise TarError("has a global header that names all members alike")

    def _header(self) -> _Header:
        """The header that is next; those after it in the chunk are kept for when the reading comes to them."""
        self._fill(BLOCK)
        rows, paths = _native.tar_headers(self._chunk[: self._end], self._at)
        at, sizes, kinds = (rows[name].tolist() for name in ("at", "size", "kind"))
        fault = int(rows["fault"][0])
        if fault in _FAULTS:
            raise TarError(_FAULTS[fault])
        plain = slice(1, None if rows["plain"][-1] else -1)
        entries = zip(paths[plain], sizes[plain], map(_NO_DATA.get, kinds[plain]), strict=True)
        self._plain = dict(zip(at[plain], entries, strict=True))
        self._at += BLOCK
        return _Header(at[0], sizes[0], kinds[0], fault, paths[0])

    def _entry(self, header: _Header, path: str, size: int, sparse: bool) -> TarEntry:
        """The member of a header, with the path and size that it has by those before it."""
        kind = header.kind
        trouble = _NO_DATA.get(kind)
        if trouble is not None:
            size = 0
        elif kind == _SPARSE or sparse:
            trouble = "is a sparse file; pack it without --sparse"
            more = kind == _SPARSE and self._bytes[header.at + _MORE_AT] != 0
            while more:
                more = self._exactly(BLOCK)[_MORE_AT_BLOCK] != 0
        elif kind not in _FILES:
            trouble = "is of a kind that tar does not define"
        elif path.endswith("/"):  # how tar wrote folders before ustar
            trouble, size = "is a folder", 0
        self._left = size
        self._padding = -size % BLOCK
        return path, size, trouble

    def _data(self, size: int) -> bytes:
        if size > limits.TAR_HEADER:
            raise TarError(f"has an extended header of more than {limits.TAR_HEADER} bytes")
        data = self._exactly(size)
        self._skip(-size % BLOCK)
        return data

    def _fill(self, size: int) -> None:
        """Have at least so many bytes in the chunk."""
        rest = self._end - self._at
        if rest < size:
            self._bytes[:rest] = self._bytes[self._at : self._end]
            self._at, self._end = 0, rest + self._stream.readinto(self._bytes[rest:])
            self._plain = {}
            if self._end < size:
                raise TarError("ends too early")

    def _exactly(self, size: int) -> bytes:
        if size > _CHUNK:
            data = bytes(self._bytes[self._at : self._end])
            self._at = self._end
            data += self._stream.read(size - len(data))
            if len(data) != size:
                raise TarError("ends too early")
            return data
        self._fill(size)
        first, self._at = self._at, self._at + size
        return bytes(self._bytes[first : self._at])

    def _skip(self, size: int) -> None:
        self._left = self._padding = 0
        held = self._end - self._at
        if size <= held:
            self._at += size
            return
        size -= held
        self._at = self._end
        # A seek may go past the end; the header that is missing there tells.
        if self._can_seek and size > _CHUNK:
            self._stream.seek(size, io.SEEK_CUR)
            return
        while size:
            part = min(size, _CHUNK)
            self._fill(part)
            self._at += part
            size -= part

    def _check_tail(self) -> None:
        """Only zeros may follow the end mark; a second archive behind it would be read by some tools and not by others.

        Reading to the end also lets the decoder check its checksum.
        """
        while not self._chunk[self._at : self._end].any():
            self._at, self._end = 0, self._stream.readinto(self._bytes)
            if not self._end:
                return
        raise TarError("has data after its end mark")


def is_tar_header(block: bytes) -> bool:
    """Whether a tar may begin with this block."""
    headers, _ = _native.tar_headers(np.frombuffer(block, np.uint8), 0)
    return len(block) == BLOCK and bool(headers["fault"][0] != _DAMAGED)


def _pax(data: bytes) -> dict[str, str]:
    """Records ``"<length> <key>=<value>\\n"``."""
    records: dict[str, str] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 8)
        digits = data[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end <= space + 1 or end > len(data) or data[end - 1 : end] != b"\n" or not equals:
            raise TarError("has a damaged extended header")
        records[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        at = end
    return records


def _pax_size(records: dict[str, str]) -> int | None:
    text = records.get("size")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise TarError("has a damaged extended header")
    return int(text)

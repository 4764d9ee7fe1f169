"""A strict reader of tar streams: one pass, bounded memory, nothing repaired.

``tarfile`` takes a damaged header in the middle for the end of the archive, reads extended headers of any size, and
keeps every member; here machines would be missing in silence.
"""

from __future__ import annotations

import io
from typing import BinaryIO, Final, NamedTuple

from pyverify.fleet import limits

BLOCK: Final = 512
_ZEROS: Final = bytes(BLOCK)
_CHUNK: Final = 1 << 20
_NUMBER_BYTES: Final = 7
"""Bytes of a base-256 number that count: past 64 PiB a seek would overflow."""

# POSIX.1-2017 pax, "ustar Interchange Format", typeflag; GNU tar manual, "Basic Tar Format".
_NO_DATA: Final = {
    b"1": "is a hard link",
    b"2": "is a symbolic link",
    b"3": "is a character device",
    b"4": "is a block device",
    b"5": "is a folder",
    b"6": "is a FIFO",
}


class TarError(Exception):
    """The stream is no tar from here on."""


class TarEntry(NamedTuple):
    """A member, before its bytes are read."""

    path: str
    size: int
    """Bytes of data that follow in the archive."""
    trouble: str | None
    """What it is instead of a regular file."""


class TarReader:
    """The members of a tar, in order."""

    def __init__(self, stream: BinaryIO, *, can_seek: bool) -> None:
        self._stream = stream
        self._can_seek = can_seek
        self._left = 0
        """Bytes until the next header: data not yet read, and padding."""
        self._padding = 0

    def next(self) -> TarEntry | None:
        """The next member, None at the end mark.

        Raises:
            TarError: there is neither a header nor an end mark.
        """
        self._skip(self._left + self._padding)
        path: str | None = None
        size: int | None = None
        sparse = False
        while True:
            header = self._exactly(BLOCK)
            if header == _ZEROS:
                if path is not None:
                    raise TarError("ends after an extended header")
                self._check_tail()
                return None
            kind = header[156:157]
            own_size = _number(_checked(header)[124:136])
            if kind == b"L":
                path = self._data(own_size).partition(b"\0")[0].decode("utf-8", "surrogateescape")
            elif kind == b"K":
                self._data(own_size)
            elif kind in (b"x", b"X"):
                records = _pax(self._data(own_size))
                path = records.get("path", path)
                size = _pax_size(records)
                sparse = any(key.startswith("GNU.sparse.") for key in records)
            elif kind == b"g":
                if {"path", "size"} & _pax(self._data(own_size)).keys():
                    raise TarError("has a global header that names all members alike")
            else:
                return self._entry(header, path, own_size if size is None else size, sparse)

    def read(self) -> bytes:
        """The bytes of the member that came last."""
        data = self._exactly(self._left)
        self._left = 0
        return data

    def _entry(self, header: bytes, path: str | None, size: int, sparse: bool) -> TarEntry:
        kind = header[156:157]
        trouble = _NO_DATA.get(kind)
        path = _path(header) if path is None else path
        if trouble is not None:
            size = 0
        elif kind == b"S" or sparse:
            trouble = "is a sparse file; pack it without --sparse"
            more = kind == b"S" and header[482] != 0
            while more:
                more = self._exactly(BLOCK)[504] != 0
        elif kind not in (b"0", b"\0", b"7"):
            trouble = "is of a kind that tar does not define"
        elif path.endswith("/"):  # how tar wrote folders before ustar
            trouble, size = "is a folder", 0
        self._left = size
        self._padding = -size % BLOCK
        return TarEntry(path, size, trouble)

    def _data(self, size: int) -> bytes:
        if size > limits.TAR_HEADER:
            raise TarError(f"has an extended header of more than {limits.TAR_HEADER} bytes")
        data = self._exactly(size)
        self._skip(-size % BLOCK)
        return data

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != size:
            raise TarError("ends too early")
        return data

    def _skip(self, size: int) -> None:
        self._left = self._padding = 0
        # A seek may go past the end; the header that is missing there tells.
        if self._can_seek and size > _CHUNK:
            self._stream.seek(size, io.SEEK_CUR)
            return
        while size:
            part = self._exactly(min(size, _CHUNK))
            size -= len(part)

    def _check_tail(self) -> None:
        """Only zeros may follow the end mark; a second archive behind it would be read by some tools and not by others.

        Reading to the end also lets the decoder check its checksum.
        """
        while part := self._stream.read(_CHUNK):
            if part.count(0) != len(part):
                raise TarError("has data after its end mark")


def is_tar_header(block: bytes) -> bool:
    """Whether a tar may begin with this block."""
    if len(block) != BLOCK:
        return False
    try:
        return block == _ZEROS or bool(_checked(block))
    except TarError:
        return False


def _checked(header: bytes) -> bytes:
    if sum(header) - sum(header[148:156]) + 8 * ord(" ") != _number(header[148:156]):
        raise TarError("has a damaged header")
    return header


def _number(field: bytes) -> int:
    if field[0] in (0x80, 0xFF):  # GNU: base 256, the first byte marks it and holds the sign
        if field[0] == 0xFF or any(field[1:-_NUMBER_BYTES]):
            raise TarError("has a number that no file can have")
        return int.from_bytes(field[-_NUMBER_BYTES:], "big")
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise TarError("has a number that is not octal")
    return int(digits, 8)


def _path(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    # GNU headers ("ustar  ") keep times where POSIX ones keep the prefix.
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].partition(b"\0")[0]):
        name = prefix + b"/" + name
    return name.decode("utf-8", "surrogateescape")


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

"""Reads the structures in event data, field by field. Every length is compared with what is left before it is used."""

from __future__ import annotations

import struct
from typing import Final

from pyverify.evidence.decoded import Field, Undecodable, Value, bytes_field

_MAX_TEXT_BYTES: Final = 1 << 16


class Reader:
    """Reads the fields of one structure in order. ``base`` is where ``data`` begins within the event's data.

    What is read under a name is kept in ``fields``. What does not fit raises :class:`Undecodable`.
    """

    def __init__(self, data: bytes, what: str, base: int = 0) -> None:
        self.data = data
        self.what = what
        self.base = base
        self.at = 0
        self.fields: list[Field] = []

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self.data) - self.at

    def fault(self, at: int | None = None) -> Undecodable:
        """The exception for the field at this byte of ``data``; without one, for the next field."""
        return Undecodable(self.what, self.base + (self.at if at is None else at))

    def keep(self, name: str, value: Value, start: int, *, provable: bool = True) -> None:
        """Keeps as a field what was read from byte ``start`` of ``data`` up to here."""
        self.fields.append(Field(name, value, self.base + start, self.base + self.at, provable))

    def take(self, size: int, name: str | None = None) -> bytes:
        """The next bytes."""
        if size > self.left:
            raise self.fault()
        self.at += size
        data = self.data[self.at - size : self.at]
        if name:
            self.fields.append(bytes_field(name, data, self.base + self.at - size))
        return data

    def number(self, size: int, name: str | None = None) -> int:
        """The next little-endian number of this many bytes."""
        value = int.from_bytes(self.take(size), "little")
        if name:
            self.keep(name, value, self.at - size)
        return value

    def guid(self, name: str | None = None) -> str:
        """The next GUID."""
        value = guid(self.take(16))
        if name:
            self.keep(name, value, self.at - 16)
        return value

    def short_text(self, name: str | None = None) -> str:
        """A text with its size in one byte before it, without the NULs that fill it up."""
        start = self.at
        text = self.take(self.number(1)).rstrip(b"\0").decode("ascii", "backslashreplace")
        if name:
            self.keep(name, text, start + 1)
        return text

    def utf16z(self) -> str:
        """The next NUL-terminated UTF-16LE text, without its NUL."""
        start = self.at
        units = memoryview(self.data)[start : start + min(self.left, _MAX_TEXT_BYTES) // 2 * 2].cast("H").tolist()
        if 0 not in units:
            raise self.fault()
        text = utf16(self.take(2 * units.index(0)), self.what, self.base + start)
        self.at += 2
        return text

    def end(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise self.fault()


def guid(data: bytes) -> str:
    """The text of a GUID of exactly 16 bytes, in lower case."""
    if len(data) != 16:
        raise Undecodable("GUID", len(data))
    first, second, third, rest = struct.unpack("<IHH8s", data)
    return f"{first:08x}-{second:04x}-{third:04x}-{rest[:2].hex()}-{rest[2:].hex()}"


def utf16(data: bytes, what: str = "UTF-16 text", base: int = 0) -> str:
    """The text of UTF-16LE bytes, all of them: a NUL stays, an odd byte or a lone surrogate raises."""
    try:
        return data.decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise Undecodable(what, base + error.start) from None

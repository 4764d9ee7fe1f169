"""What a Parquet file's footer says of its columns: read here, for Arrow ends the process over a damaged one.

The footer is a FileMetaData of Thrift's compact protocol (Parquet, parquet.thrift; Thrift, compact protocol), at the
end of the file before its length (4 bytes, little-endian) and ``PAR1``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

_MAGIC: Final = b"PAR1"
_TAIL: Final = 8
_MAX_FOOTER: Final = 1 << 28
"""Bytes: of a million row groups of this schema."""
_MAX_DEPTH: Final = 32
_ROW_GROUPS, _COLUMNS, _META_DATA, _PATH, _DECODED_SIZE, _DICTIONARY_PAGE = 4, 1, 3, 3, 6, 11
_ENCRYPTED: Final = {8, 9}
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS: Final = (4, 5, 6)


class FooterError(Exception):
    """A footer that is none; the source says so of its file."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What is asked of a footer: the top columns that have a dictionary page in some row group, and for each row group
    the bytes, decoded, of the nested columns that have one."""

    repeating: frozenset[str]
    nested: tuple[int, ...]


def read_footer(file: BinaryIO) -> Footer:
    """The footer of a file.

    Raises:
        FooterError: it is damaged, or a column of a row group has no metadata.
    """
    repeating, nested = set(), []
    for group in _items(_struct(file), _ROW_GROUPS):
        nested.append(0)
        for column in _items(group, _COLUMNS):
            facts = column.get(_META_DATA) if isinstance(column, dict) else None
            if not isinstance(facts, dict) or _ENCRYPTED & column.keys():
                raise FooterError("a column without metadata")
            path, size = _items(facts, _PATH), facts.get(_DECODED_SIZE)
            if not path or not all(isinstance(part, bytes) for part in path) or type(size) is not int:
                raise FooterError("a column without name or size")
            if _DICTIONARY_PAGE in facts and len(path) == 1:
                repeating.add(path[0].decode("utf-8", "replace"))
            elif _DICTIONARY_PAGE in facts:
                nested[-1] += max(size, 0)
    return Footer(frozenset(repeating), tuple(nested))


def _struct(file: BinaryIO) -> dict[int, Any]:
    size = file.seek(0, io.SEEK_END)
    if size < _TAIL + len(_MAGIC):
        raise FooterError(f"{size} bytes")
    file.seek(size - _TAIL)
    tail = file.read(_TAIL)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > min(size - _TAIL, _MAX_FOOTER):
        raise FooterError("no footer at its end")
    file.seek(size - _TAIL - length)
    return _Reader(file.read(length)).struct(0)


def _items(struct: object, field: int) -> list[Any]:
    items = struct.get(field) if isinstance(struct, dict) else None
    if not isinstance(items, list):
        raise FooterError(f"no list in field {field}")
    return items


class _Reader:
    """Values of the compact protocol, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self, depth: int) -> dict[int, Any]:
        if depth > _MAX_DEPTH:
            raise FooterError("nested too deeply")
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            found[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind in (_BYTE, _TRUE, _FALSE):  # within a list a truth value is a byte
            return self._byte()
        if kind == _DOUBLE:
            return self._take(8)
        if kind == _BINARY:
            return self._take(self._varint())
        if kind in (_LIST, _SET):
            head = self._byte()
            size = self._varint() if head >> 4 == 15 else head >> 4
            return [self._value(head & 15, depth) for _ in self._counted(size)]
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind == _MAP and (size := self._varint()):
            kinds = self._byte()
            return [(self._value(kinds >> 4, depth), self._value(kinds & 15, depth)) for _ in self._counted(size)]
        if kind == _MAP:
            return []
        raise FooterError(f"a value of type {kind}")

    def _counted(self, size: int) -> range:
        if size > len(self._data) - self._at:  # each takes a byte at least
            raise FooterError("a list longer than the footer")
        return range(size)

    def _byte(self) -> int:
        if self._at >= len(self._data):
            raise FooterError("it ends early")
        self._at += 1
        return self._data[self._at - 1]

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise FooterError("it ends early")
        self._at += size
        return self._data[self._at - size : self._at]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise FooterError("a number longer than any")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

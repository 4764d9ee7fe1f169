"""What the data of an event says: its fields, where each was read from, and what was wrong.

A field is no proof by itself: a digest covers some of an event's data, or none of it (SPEC section 3). Where a field
was read from is what tells the proven ones from the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeAlias

from pyverify.evidence.text import escape

Value: TypeAlias = str | int | bool | list[Any] | dict[str, Any]
"""What a field holds: what JSON has, bytes as hexadecimal digits. Text is as the log has it: whoever prints escapes."""

VALUE_BYTES: Final = 1 << 16
"""Bytes of one value that are shown: the text or the digits of a longer one end in ``…``."""


class Undecodable(ValueError):
    """Bytes that are not the structure they should be; ``offset`` is the byte of the event's data at which it shows."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(f"undecodable {what} (at byte {offset})")
        self.offset = offset


class Field(NamedTuple):
    """One thing that an event's data says."""

    name: str
    value: Value
    start: int
    """First byte of the event's data that it was read from."""
    stop: int
    """The byte after the last."""
    provable: bool = True
    """False where no digest covers it whatever its range: the GUIDs that EV_EFI_GPT_EVENT2 hashes as zeros."""


class Decoded:
    """What the data of one event says.

    ``kind`` says what it is (``variable``, ``image``, …); ``text`` is one line of at most 240 printable characters;
    ``fault`` is set where a structure does not fit, and what could be read stays.
    """

    def __init__(self, kind: str, text: str, fields: Iterable[Field] = (), fault: Undecodable | None = None) -> None:
        self.kind = kind
        self.text = escape(text)
        self.fault = fault
        self._fields = fields

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields in the order of the data; read when first asked for."""
        return tuple(self._fields)

    @staticmethod
    def proven(field: Field, part: tuple[int, int] | None) -> bool:
        """Whether the digest of the event vouches for a field.

        ``part`` is the part of the event's data that the digest was found to cover, its first byte and the byte after
        its last; None where it covers none of it or was not checked.
        """
        return part is not None and field.provable and part[0] <= field.start and field.stop <= part[1]


def hex_value(data: bytes) -> str:
    """Bytes as a field's value."""
    return data.hex() if len(data) <= VALUE_BYTES else data[:VALUE_BYTES].hex() + "…"


def bytes_field(name: str, data: bytes, start: int) -> Field:
    """A field of bytes of unknown meaning that begin at byte ``start``."""
    return Field(name, hex_value(data), start, start + len(data))

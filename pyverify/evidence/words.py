"""Words for people out of bytes that may be text: what is legible, how much is not, how many there are."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from pyverify.evidence.decoded import VALUE_BYTES, Decoded, Field, bytes_field

LISTED: Final = 16
"""Items of a list (boot order, tags, tables) that a line names."""

_TEXT_BYTES: Final = 1024  # of a text, that a line needs looked at
_MIN_TEXT: Final = 3  # characters of a text that other bytes follow; fewer are chance
_PREVIEW_BYTES: Final = 16


class Text(NamedTuple):
    """The text that bytes begin with."""

    text: str
    size: int
    """Bytes that it takes, without its NUL."""
    more: int
    """Bytes after its NULs that are not text."""
    after: int
    """Where those begin."""


def text_of(data: bytes, limit: int = _TEXT_BYTES, *, narrow: bool = False) -> Text | None:
    """The text that the data begins with, of which at most ``limit`` bytes are looked at.

    It is in UTF-8, or in UTF-16LE where its first character looks so and is not known to be ``narrow``.
    """
    head = data[:limit]
    wide = not narrow and len(head) >= 2 and head[0] != 0 and head[1] == 0
    size = len(head)
    if wide:
        # systemd-stub once ended its text with a single zero byte (SPEC section 3.5).
        end = size - 1 if size % 2 and not head[-1] else size
        size = next((at for at in range(0, size - 1, 2) if head[at : at + 2] == b"\0\0"), end)
    elif b"\0" in head:
        size = head.index(0)
    final = size < len(head) or len(head) == len(data)  # else the bytes looked at may end within a character
    try:
        text, used = (codecs.utf_16_le_decode if wide else codecs.utf_8_decode)(head[:size], "strict", final)
    except UnicodeDecodeError:
        return None
    if not text or not all(character.isprintable() or character in "\t\n\r" for character in text):
        return None
    after = min(size + 1 + wide, len(data))
    more = len(data) - after if size < len(head) and (any(head[after:]) or len(data) > len(head)) else 0
    return None if more and len(text) < _MIN_TEXT else Text(text, used, more, after)


def text_fields(data: bytes, name: str = "text", start: int = 0, *, narrow: bool = False) -> Iterator[Field]:
    """The text that bytes are, and what follows it; or the bytes, where they are no text."""
    if found := text_of(data, VALUE_BYTES, narrow=narrow):
        yield Field(name, found.text, start, start + found.size)
        if found.more:
            yield bytes_field("rest", data[found.after :], start + found.after)
    else:
        yield bytes_field("data", data, start)


def is_text(data: bytes) -> bool:
    """Whether the data is text and nothing else."""
    found = text_of(data)
    return found is not None and not found.more


def words(data: bytes) -> str | None:
    """The text that the data is or begins with, in words."""
    found = text_of(data)
    return found and found.text + more(found.more)


def size(data: bytes) -> str:
    """What is left to say of bytes of unknown meaning."""
    if not data:
        return "no data"
    preview = data[:_PREVIEW_BYTES].hex()
    return f"{count(len(data), 'byte', 'bytes')} ({preview}{'…' if len(data) > _PREVIEW_BYTES else ''})"


def words_or_size(data: bytes) -> str:
    """The text that the data is, or how long it is."""
    return words(data) or size(data)


def listed(items: Iterable[str], total: int) -> str:
    """The first items of a list, and how many more there are."""
    shown = list(items)
    return ", ".join(shown) + (f" and {total - len(shown)} more" if total > len(shown) else "")


def more(n_bytes: int) -> str:
    """Bytes that are left over."""
    return f" and {count(n_bytes, 'more byte', 'more bytes')}" if n_bytes else ""


def count(number: int, one: str, many: str) -> str:
    """A number of things."""
    return f"{number} {one if number == 1 else many}"


def plain(kind: str) -> Callable[[int, bytes], Decoded]:
    """A decoder of data that is a text or bytes of the vendor's."""

    def decode(_: int, data: bytes) -> Decoded:
        return Decoded(kind, words_or_size(data), text_fields(data))

    return decode


def labelled(kind: str, label: str) -> Callable[[int, bytes], Decoded]:
    """The same, with a label before it."""

    def decode(_: int, data: bytes) -> Decoded:
        text = words(data)
        return Decoded(kind, f"{label}: {text}" if text else f"{label}, {size(data)}", text_fields(data))

    return decode

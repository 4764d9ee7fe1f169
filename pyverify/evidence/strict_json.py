"""JSON as evidence may hold it: one meaning a text, bounds on what it costs to read (SPEC section 10.1 row 24)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

MAX_INTEGER: Final = 20
"""Characters of a whole number: 2^64 - 1 has as many digits."""
MAX_FRACTION: Final = 64
"""Characters of a number with a fraction or an exponent; no field here is one."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")


class StrictJsonError(ValueError):
    """A text that is not strict JSON; ``offset`` is the byte at which it, or the array's element, shows it."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _integer(text: str) -> int:
    if len(text) > MAX_INTEGER:
        raise ValueError(f"a number of more than {MAX_INTEGER} characters")
    return int(text)


def _fraction(text: str) -> float:
    if len(text) > MAX_FRACTION:
        raise ValueError(f"a number of more than {MAX_FRACTION} characters")
    return float(text)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_constant, parse_int=_integer, parse_float=_fraction
)


def decode(data: bytes) -> Any:
    """The value of a whole JSON text.

    Raises:
        StrictJsonError: it is not UTF-8 or not JSON, has a key twice in one object, NaN or Infinity, a number of absurd
            length, or is nested deeper than the interpreter recurses.
    """
    text = _text(data)
    start = _skip_space(text, 0)
    value, end = _value(text, start, 0)
    if (end := _skip_space(text, end)) != len(text):
        raise StrictJsonError("more follows where the JSON text should end", _bytes(text[:end]))
    return value


def elements(data: bytes) -> Iterator[tuple[int, bytes, Any]]:
    """The elements of a JSON array one at a time: the byte where each begins, its own bytes, its value.

    One after the other, so that memory holds one element's objects and a fault has a place.

    Raises:
        StrictJsonError: as :func:`decode`, or it is not an array.
    """
    text = _text(data)
    at = _skip_space(text, 0)
    if text[at : at + 1] != "[":
        raise StrictJsonError("must be an array: [{…}, …]", _bytes(text[:at]))
    counted, byte = 0, 0  # characters whose bytes are counted, and how many bytes they are
    at = _skip_space(text, at + 1)
    closed = text[at : at + 1] == "]"
    while not closed:
        byte += _bytes(text[counted:at])
        counted = at
        value, end = _value(text, at, byte)
        yield byte, text[at:end].encode(), value
        at = _skip_space(text, end)
        separator = text[at : at + 1]
        if separator not in (",", "]") or not separator:
            raise StrictJsonError("the array ends inside, or lacks a comma", byte + _bytes(text[counted:at]))
        closed = separator == "]"
        if not closed:
            at = _skip_space(text, at + 1)
    if (end := _skip_space(text, at + 1)) != len(text):
        raise StrictJsonError("more follows where the array should end", _bytes(text[:end]))


def kind(value: object) -> str:
    """What a value is, for a message that says what it should have been."""
    names = {
        bool: "true or false",
        float: "a fraction",
        str: "a string",
        list: "a list",
        dict: "an object",
        int: "a number",
        type(None): "null",
    }
    return names.get(type(value), "that")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictJsonError(f"not UTF-8 at byte {error.start}", error.start) from None


def _value(text: str, at: int, byte: int) -> tuple[Any, int]:
    """The value that begins at a character, which is that byte, and the character after it."""
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        words = f"not JSON at line {error.lineno} column {error.colno}: {error.msg}"
        raise StrictJsonError(words, byte + _bytes(text[at : error.pos])) from None
    except ValueError as error:
        raise StrictJsonError(str(error), byte) from None
    except RecursionError:
        raise StrictJsonError("nested too deeply", byte) from None


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())

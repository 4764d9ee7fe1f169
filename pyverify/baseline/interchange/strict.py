"""JSON of others, looked at value by value: each has one place, one type and one form, or is refused.

Digests are lower-case hexadecimal digits of the whole length of a named algorithm and nothing else: no upper case, no
``0x``, no stripped zeros, no blanks (SPEC attacks 103 and 104).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pyverify.algorithms import BY_NAME, PCRS
from pyverify.errors import UsageError
from pyverify.evidence.strict_json import StrictJsonError, decode, kind
from pyverify.evidence.text import escape

_SHOWN: Final = 80
"""Characters of a refused value that are shown."""
_HEX: Final = re.compile(r"[0-9a-f]*", re.ASCII)
_PCR: Final = re.compile(r"0|[1-9][0-9]?", re.ASCII)


def load(data: bytes, what: str, limit: int) -> Any:
    """The value of a whole JSON text; ``what`` names it in messages.

    Raises:
        UsageError: it has more bytes than the limit, or is not strict JSON.
    """
    if len(data) > limit:
        raise UsageError(f"{what} has at most {limit} bytes, not {len(data)}")
    try:
        return decode(data)
    except StrictJsonError as error:
        raise UsageError(f"{what} is not strict JSON: at byte {error.offset}: {escape(str(error))}") from error


def wrong(place: str, value: object, allowed: str) -> UsageError:
    """The refusal of a value: where it stands, what it is, what may stand there."""
    shown = f'"{escape(value, _SHOWN)}"' if isinstance(value, str) else escape(repr(value), _SHOWN)
    if isinstance(value, dict | list | bool | type(None)):
        shown = kind(value)
    return UsageError(f"{place} is {shown}; allowed is {allowed}")


def at(place: str, key: str) -> str:
    """The place of a member of an object."""
    return f"{place}.{escape(key, _SHOWN)}"


def members(
    value: object, place: str, required: Mapping[str, type], optional: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """An object that has these keys of exactly these types and no others: true is no number (SPEC attack 30)."""
    known = {**required, **(optional or {})}
    found = mapping(value, place)
    for key, item in found.items():
        if key not in known:
            raise UsageError(f"{place} has an unknown key “{escape(key, _SHOWN)}”; allowed are {', '.join(known)}")
        if known[key] is not object and type(item) is not known[key]:
            raise wrong(at(place, key), item, _TYPE_NAMES[known[key]])
    if missing := [key for key in required if key not in found]:
        raise UsageError(f"{place} lacks {', '.join(missing)}")
    return found


_TYPE_NAMES: Final[dict[type, str]] = {
    bool: "true or false",
    str: "a string",
    list: "a list",
    dict: "an object",
    int: "a whole number",
}


def mapping(value: object, place: str) -> dict[str, Any]:
    """An object, whatever its keys."""
    if not isinstance(value, dict):
        raise wrong(place, value, "an object")
    return value


def items(value: object, place: str, limit: int) -> list[Any]:
    """A list of at most so many items."""
    if not isinstance(value, list):
        raise wrong(place, value, "a list")
    if len(value) > limit:
        raise UsageError(f"{place} has {len(value)} items; allowed are {limit}")
    return value


def line(value: object, place: str, limit: int) -> str:
    """A text of one line that prints as itself (SPEC attack 105)."""
    if not isinstance(value, str) or escape(value, limit) != value:
        raise wrong(place, value, f"a string of at most {limit} characters, all printable")
    return value


def whole(value: object, place: str, low: int, high: int) -> int:
    """A whole number within bounds; neither true nor 7.0 is one."""
    if type(value) is not int or not low <= value <= high:
        raise wrong(place, value, f"a whole number from {low} to {high}")
    return value


def pcr_number(text: str, place: str) -> int:
    """The number of a PCR that is an object's key: decimal, without leading zeros."""
    if not _PCR.fullmatch(text) or int(text) >= PCRS:
        raise UsageError(f"{place} has a key “{escape(text, _SHOWN)}”; allowed is the number of a PCR, 0 to {PCRS - 1}")
    return int(text)


def bank_name(value: object, place: str) -> str:
    """The TCG name of a bank."""
    if not isinstance(value, str) or value not in BY_NAME:
        raise wrong(place, value, f"one of {', '.join(BY_NAME)}")
    return value


def hexadecimal(value: object, place: str, size: int | None, what: str, prefix: str = "") -> bytes:
    """Bytes in lower-case hexadecimal digits: of a size, or any where that is None."""
    digits = value[len(prefix) :] if isinstance(value, str) and value.startswith(prefix) else None
    if digits is None or not _HEX.fullmatch(digits) or len(digits) != (len(digits) & ~1 if size is None else 2 * size):
        count = "an even number of" if size is None else str(2 * size)
        start = f"{prefix} and " if prefix else ""
        raise wrong(place, value, f"{what}: {start}{count} lower-case hexadecimal digits")
    return bytes.fromhex(digits)


def digest(value: object, place: str, bank: str, prefix: str = "") -> bytes:
    """A digest of a bank's algorithm."""
    return hexadecimal(value, place, BY_NAME[bank].size, f"a {bank} digest", prefix)

"""Names in archives: which are legal, and how the others are shown."""

from __future__ import annotations

import re
from typing import Final

from pyverify.evidence.columns import NAME_PATTERN

NAME_LENGTH: Final = 128

_NAME: Final = re.compile(NAME_PATTERN)
_CUT: Final = "\\.."
"""Ends a name that was cut: not in the alphabet, so that a long name never turns into another machine's."""


def is_name(text: str) -> bool:
    """Whether a machine or boot may be called so."""
    return _NAME.fullmatch(text) is not None


def escape_name(text: str) -> str:
    """A machine or boot name fit to show: printable ASCII, at most 128 characters."""
    if is_name(text):
        return text
    escaped = "".join(
        _escaped(char) if char > "~" or char < " " or char == "\\" else char for char in text[:NAME_LENGTH]
    )
    if len(escaped) > NAME_LENGTH or len(text) > NAME_LENGTH:
        return escaped[: NAME_LENGTH - len(_CUT)] + _CUT
    return escaped


def escape_path(text: str) -> str:
    """A path fit to show and to be stored as UTF-8: every character that does not print is escaped."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(char if char.isprintable() and char != "\\" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if char == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as Python's file system encoding keeps it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"

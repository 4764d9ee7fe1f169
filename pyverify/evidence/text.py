"""Text from evidence, made safe to print: nothing a log holds may steer a terminal or hide in a report."""

from __future__ import annotations

import re
from typing import Final

TEXT_LIMIT: Final = 240
"""Characters of a line of text that describes an event."""

# Unicode's Default_Ignorable_Code_Point characters that str.isprintable() lets pass: they show as nothing.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def escape(text: str, limit: int = TEXT_LIMIT) -> str:
    r"""The text with everything that does not print as itself written ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``.

    That is controls, bidirectional and zero-width characters, line and paragraph separators, surrogates, private use
    and unassigned characters. A backslash is left alone. The result has at most ``limit`` characters (at least 1);
    one that had more ends in ``…``, and never within an escape.
    """
    head = text[: limit + 1]
    if head.isprintable() and not _INVISIBLE.search(head):
        return head if len(head) <= limit else head[: limit - 1] + "…"
    pieces: list[str] = []
    size = 0
    fits = 0  # pieces that leave room for the ellipsis
    for character in head:
        piece = _escaped(character)
        size += len(piece)
        pieces.append(piece)
        if size < limit:
            fits = len(pieces)
        elif size > limit:
            return "".join(pieces[:fits]) + "…"
    return "".join(pieces)


def _escaped(character: str) -> str:
    if character.isprintable() and not _INVISIBLE.match(character):
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"

"""A table for a terminal, the last column of which is text that may be long and in parts unproven (dimmed).

Rich would do it, and takes longer to import than a log takes to read.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_MIN_LAST: Final = 40  # columns that the last column has however narrow the terminal


class Words(NamedTuple):
    """A line of printable text and the parts of it that are dim: first character and the one after the last."""

    text: str
    dim: tuple[tuple[int, int], ...] = ()


def print_table(headers: Sequence[str], right: frozenset[int], rows: Sequence[tuple[Sequence[str], Words]]) -> None:
    """Prints rows, each its cells and the words of the last column; ``right`` has the columns that align so.

    All text must be escaped. On a terminal the last column is folded, elsewhere a row is a line without colour.
    """
    widths = [max([len(header), *(len(cells[i]) for cells, _ in rows)]) for i, header in enumerate(headers[:-1])]
    is_terminal = sys.stdout.isatty()
    colour = is_terminal and "NO_COLOR" not in os.environ
    left = sum(widths) + 2 * len(widths)
    room = max(_MIN_LAST, shutil.get_terminal_size().columns - left) if is_terminal else sys.maxsize

    def line(cells: Sequence[str]) -> str:
        columns = enumerate(zip(cells, widths, strict=True))
        return "".join(f"{cell.rjust(width) if i in right else cell.ljust(width)}  " for i, (cell, width) in columns)

    out = [f"{_BOLD if colour else ''}{line(headers[:-1])}{headers[-1]}{_PLAIN if colour else ''}"]
    for cells, words in rows:
        start, lead = 0, line(cells)
        for stop in _folds(words.text, room):
            out.append((lead + (_styled(words, start, stop) if colour else words.text[start:stop])).rstrip())
            start, lead = stop, " " * left
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # text of a log that the terminal has no letters for
    print("\n".join(out))


def _folds(text: str, room: int) -> list[int]:
    """Where the lines end into which a text is folded."""
    if len(text) * 2 <= room:
        return [len(text)]
    ends: list[int] = []
    used = 0
    for at, character in enumerate(text):
        width = 2 if unicodedata.east_asian_width(character) in "FW" else 1
        if used + width > room:
            ends.append(at)
            used = 0
        used += width
    return [*ends, len(text)]


def _styled(words: Words, start: int, stop: int) -> str:
    pieces: list[str] = []
    at = start
    for dim in words.dim:
        first, last = max(dim[0], start), min(dim[1], stop)
        if at <= first < last:
            pieces += (words.text[at:first], _DIM, words.text[first:last], _PLAIN)
            at = last
    return "".join([*pieces, words.text[at:stop]])

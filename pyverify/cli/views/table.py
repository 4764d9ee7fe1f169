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
from typing import Final

from pyverify.cli.views import Table, Words

_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_MIN_LAST: Final = 40  # columns that the last column has however narrow the terminal


def print_tables(title: str, tables: Sequence[Table]) -> None:
    """Prints a line and tables, a blank line between them.

    On a terminal the last columns are folded, elsewhere a row is a line without colour.
    """
    is_terminal = sys.stdout.isatty()
    colour = is_terminal and "NO_COLOR" not in os.environ
    room = shutil.get_terminal_size().columns if is_terminal else sys.maxsize
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # text of a log that the terminal has no letters for
    print(title)
    shown = ["\n".join(lines(table, room, colour=colour)) for table in tables if table.rows]
    print("\n\n".join(shown), end="\n" if shown else "")


def lines(table: Table, room: int = sys.maxsize, *, colour: bool = False) -> list[str]:
    """A table as lines, the last column folded to what is left of ``room`` columns."""
    headers, right, rows = table
    heads = list(headers[:-1]) if headers else [""] * (len(rows[0][0]) if rows else 0)
    widths = [max([len(head), *(len(cells[i]) for cells, _ in rows)]) for i, head in enumerate(heads)]
    left = sum(widths) + 2 * len(widths)

    def lead(cells: Sequence[str]) -> str:
        columns = enumerate(zip(cells, widths, strict=True))
        return "".join(f"{cell.rjust(width) if i in right else cell.ljust(width)}  " for i, (cell, width) in columns)

    out = []
    if headers:
        head = f"{lead(heads)}{headers[-1]}".rstrip()
        out.append(f"{_BOLD}{head}{_PLAIN}" if colour else head)
    for cells, words in rows:
        start, before = 0, lead(cells)
        for stop in _folds(words.text, max(_MIN_LAST, room - left)):
            out.append((before + (_styled(words, start, stop) if colour else words.text[start:stop])).rstrip())
            start, before = stop, " " * left
    return out


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

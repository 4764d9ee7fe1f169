"""SBAT levels: the generation below which shim refuses a component (shim's SBAT.md; SPEC section 3.6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

# shim holds generations in 16 bits. The first row may have a date after its generation: "sbat,1,2025021800".
_ROW: Final = re.compile(r"([!-+\--~]{1,64}),([0-9]{1,5})(?:,[!-~]{0,64})?")
_MAX_LEVEL_BYTES: Final = 1 << 14  # some hundred times the longest in use
_MAX_GENERATION: Final = 0xFFFF


class SbatRow(NamedTuple):
    """One row of a level."""

    component: str
    generation: int


def parse_sbat(level: bytes | str) -> tuple[SbatRow, ...] | None:
    """The rows of a level, or None where it is not one: another form, a component twice, no ``sbat`` row first."""
    try:
        text = level if isinstance(level, str) else level.decode("ascii")
    except UnicodeDecodeError:
        return None
    # shim's own data ends in a newline; some builds measure the NUL after it.
    lines = text.removesuffix("\0").removesuffix("\n").split("\n") if len(text) <= _MAX_LEVEL_BYTES else []
    rows: list[SbatRow] = []
    for line in lines:
        row = _ROW.fullmatch(line)
        if row is None or int(row[2]) > _MAX_GENERATION:
            return None
        rows.append(SbatRow(row[1], int(row[2])))
    components = {row.component for row in rows}
    return tuple(rows) if rows and rows[0].component == "sbat" and len(components) == len(rows) else None


def sbat_at_least(level: str | None, minimum: Mapping[str, int]) -> bool:
    """Whether a level refuses every component below the generation that ``minimum`` gives for it.

    A level that is absent, or is not one, refuses nothing; nor does it refuse a component that it does not name.
    """
    rows = None if level is None else parse_sbat(level)
    generations = dict(rows or ())
    return all(generations.get(component, 0) >= generation for component, generation in minimum.items())

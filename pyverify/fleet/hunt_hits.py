"""What a search of some evidence finds: which needle lies in which event of which row, and what that event says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sighting:
    """An event in which a needle was found, as the log tells it.

    ``source`` is ``event-log`` or ``ima``, ``register`` names what was extended; ``type_hint`` is the event's type or
    the entry's template. ``text`` is one printable line, ``proven`` whether the event's digests cover what is shown, or
    where a text was looked for, that: a quote that matches the log then proves it.
    """

    source: str
    number: int
    pcr: int
    register: str
    type_hint: str
    text: str
    proven: bool


class Hits(Protocol):
    """The hits of a part of a batch, the first event of each pair of row and needle."""

    @property
    def rows(self) -> Column:
        """The row of each hit: int64 of shape [h]."""

    @property
    def needles(self) -> Column:
        """The number of its needle: int64 of shape [h]."""

    def describe(self, which: Column) -> list[Sighting]:
        """What the events of these hits say, by their index."""


def first_of_each(rows: Column, needles: Column, numbers: Column) -> Column:
    """Indices of the hits with the least number of each pair of row and needle."""
    order = np.lexsort((numbers, needles, rows))
    is_first = np.ones(len(order), np.bool_)
    ordered_rows, ordered_needles = rows[order], needles[order]
    is_first[1:] = (ordered_rows[1:] != ordered_rows[:-1]) | (ordered_needles[1:] != ordered_needles[:-1])
    return order[is_first]

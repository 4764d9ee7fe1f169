"""How much a run measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Plan:
    """``boots`` in a fleet, ``samples`` of which the median is taken, and whether the long cases are left out."""

    boots: int
    samples: int
    quick: bool

    @property
    def short_samples(self) -> int:
        """Samples of work that takes milliseconds."""
        return 3 if self.quick else 9

    @classmethod
    def of(cls, *, quick: bool, boots: int | None) -> Self:
        """The usual plan: 10,000 boots, or 1,000 for a quick look."""
        return cls(boots or (1_000 if quick else 10_000), 5, quick)

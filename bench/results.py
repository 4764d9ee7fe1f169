"""What a bench finds: one line a case, as JSON or in a table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One figure. ``ratio`` is the peer's time ÷ ours for the same work: above 1 we are faster."""

    bench: str
    case: str
    isa: str
    threads: int
    value: float
    unit: str
    peer: str | None = None
    ratio: float | None = None

    def to_json(self) -> str:
        """The line of ``--json``."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Note:
    """Something a reader of the figures must know, such as a peer that is not there."""

    bench: str
    text: str


class DifferentResultsError(Exception):
    """A peer and we came to different results, so that their times compare nothing."""

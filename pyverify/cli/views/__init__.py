"""What each kind of evidence looks like to a person and to a script, a module a kind.

A module has one function, ``view(data, asked)``, which gives a :class:`View`. It raises a
:class:`~pyverify.errors.UsageError` for a filter that makes no sense, and nothing for what is wrong with the evidence:
that is in the view, after all of it that can be shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from pyverify.errors import EvidenceError
    from pyverify.findings import Finding

MARKS: Final = {True: "✓", False: "✗", None: ""}
"""By what ``data_verified`` is: whether data is as it was measured; None where that cannot be told."""

DIGEST_DIGITS: Final = 16
"""Of a digest in a table: enough to find it by."""


class Asked(NamedTuple):
    """What the user wants to see."""

    name: str
    """The file's, as given."""
    kind: str
    """One of ``evidence_file.KINDS``."""
    registers: frozenset[str] = frozenset()
    """Words of ``--pcr``; all events where there are none."""
    types: frozenset[str] = frozenset()
    """Words of ``--type``."""


class Words(NamedTuple):
    """A line of printable text and the parts of it that are dim: first character and the one after the last."""

    text: str
    dim: tuple[tuple[int, int], ...] = ()


class Table(NamedTuple):
    """Rows, each its cells and the words of the last column; all text is escaped."""

    headers: Sequence[str]
    """One a column, or none at all."""
    right: frozenset[int]
    """Columns that are aligned to the right."""
    rows: Sequence[tuple[Sequence[str], Words]]


class View(Protocol):
    """One file of evidence."""

    @property
    def title(self) -> str:
        """What the file is and how much is in it: one line, escaped."""

    def document(self) -> dict[str, Any]:
        """What JSON and YAML give."""

    def table(self) -> Table:
        """What a person sees."""

    def findings(self) -> Sequence[Finding]:
        """What it says against itself, for the end of what a person sees; the document has them too."""

    @property
    def fault(self) -> EvidenceError | None:
        """What keeps it from being read to its end; raised once all that can be shown was shown."""


def labelled(facts: Sequence[tuple[str, str]]) -> Table:
    """Facts, each after what it is: a table without headers."""
    return Table((), frozenset(), [((label,), Words(value)) for label, value in facts])

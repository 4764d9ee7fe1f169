"""Findings of the IMA lists of a batch: of whole lists, and of entries, a bounded number a list."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify.appraise.finding_columns import FindingColumns
from pyverify.evidence.ima import PCR
from pyverify.evidence.ima_replay import ImaReplay
from pyverify.evidence.text import escape
from pyverify.findings import Finding, Severity

MAX_FINDINGS: Final = 100
"""Entries of one list that are told of for one reason: more tell a reader nothing, and an attacker writes as many as
fit. The last of them says how many more there are."""

Mask = npt.NDArray[np.bool_]


class ToldLists:
    """Where the findings of some lists go.

    Args:
        replayed: the lists.
        rows: the row of each in the batch, int64 of shape [k].
        findings: those of the batch.
        bad: bool of shape [n], set for each row that gets a high finding here.
    """

    def __init__(self, replayed: ImaReplay, rows: npt.NDArray[np.int64], findings: FindingColumns, bad: Mask) -> None:
        self._columns, self._message_of = replayed.columns, replayed.message_of
        self._rows, self._findings, self._bad = rows, findings, bad

    def all_of(self, lists: Mask, finding: Finding) -> None:
        """The same finding for each list of a mask."""
        rows = self._findings.add_to_all(self._rows[lists], finding)
        if finding.severity is Severity.HIGH:
            self._bad[rows] = True

    def counted(self, counts: npt.NDArray[np.int64], finding: Callable[[list[int]], Finding]) -> None:
        """A finding for each list whose first number is not 0, made once for equal numbers: int64 of shape [k, …]."""
        some = np.flatnonzero(counts[:, 0])
        distinct, inverse = np.unique(counts[some], axis=0, return_inverse=True)
        for number, numbers in enumerate(distinct.tolist()):
            lists = np.zeros(len(counts), np.bool_)
            lists[some[inverse.reshape(-1) == number]] = True
            self.all_of(lists, finding(numbers))

    def one(self, index: int, finding: Finding) -> None:
        """A finding of one list."""
        lists = np.zeros(len(self._rows), np.bool_)
        lists[index] = True
        self.all_of(lists, finding)

    def entries(
        self,
        entries: Mask,
        code: str,
        severity: Severity,
        words: str,
        expected: Callable[[npt.NDArray[np.int64]], list[bytes]] | None = None,
    ) -> None:
        """A finding for each entry of a mask.

        ``words`` has a place for ``{path}``; ``expected`` gives the digests that should have been there.
        """
        which = np.flatnonzero(entries)
        lists = self._columns.list_of[which]
        begins = np.searchsorted(lists, lists)
        rank = np.arange(len(which)) - begins
        told = rank < MAX_FINDINGS
        left_out = {
            int(at): int(np.searchsorted(lists, lists[at], "right") - begins[at]) - MAX_FINDINGS
            for at in np.flatnonzero(rank == MAX_FINDINGS - 1)
        }
        last = {int(np.count_nonzero(told[:at])): more for at, more in left_out.items() if more}
        which, lists = which[told], lists[told]
        hints = self._hints(which, words)
        for at, more in last.items():
            hints[at] += f"; and {more} more entries like it"
        rows = self._findings.add_each(
            self._rows[lists],
            code,
            severity,
            pcr=self._columns.entries["pcr"][which].tolist(),
            event=(which - self._columns.rows["first_entry"][lists].astype(np.int64)).tolist(),
            expected=[None] * len(which) if expected is None else list(expected(which)),
            actual=self._digests(which),
            hint=hints,
        )
        if severity is Severity.HIGH:
            self._bad[rows] = True

    def _hints(self, which: npt.NDArray[np.int64], words: str) -> list[str]:
        """The words of each entry; those of equal data are made once."""
        _, first, inverse = np.unique(self._message_of[which], return_index=True, return_inverse=True)
        texts = [words.format(path=self._path(entry)) for entry in which[first].tolist()]
        return [texts[number] for number in inverse.tolist()]

    def _path(self, entry: int) -> str:
        return escape(self._columns.path(entry).decode("utf-8", "surrogateescape")) or "an entry without a name"

    def _digests(self, which: npt.NDArray[np.int64]) -> list[bytes]:
        pieces = self._columns.pieces(which, "file_digest")
        data = pieces.blob.tobytes()
        return [data[first:last] for first, last in pairwise(pieces.offsets.tolist())]


def of_pcr(code: str, severity: Severity, hint: str, *, event: int | None = None) -> Finding:
    """A finding of the PCR that IMA extends."""
    return Finding(code, severity, hint, pcr=PCR, event=event)

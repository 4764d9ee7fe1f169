"""Needles in the IMA lists of a batch: digests of files and templates, paths, and the text of measured buffers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pyverify import _native
from pyverify.algorithms import BY_NAME
from pyverify.appraise.ima_lists import SentLists
from pyverify.evidence.columns import Ragged
from pyverify.evidence.gather import rows_at
from pyverify.evidence.ima import TEMPLATES, Flag, ImaColumns
from pyverify.evidence.ima_list import fault_words
from pyverify.evidence.ima_replay import ImaReplay
from pyverify.evidence.pcrs import pcr_name
from pyverify.evidence.text import escape
from pyverify.fleet.hunt_hits import Column, Sighting, first_of_each
from pyverify.fleet.needles import Needles

_Found = tuple[Column, Column]
"""Entries and needles."""


@dataclass(frozen=True, slots=True)
class ImaHits:
    """Hits in IMA lists: ``lists`` are indices of those that were sent, ``numbers`` of entries in their list."""

    rows: Column
    needles: Column
    lists: Column
    numbers: Column
    sent: SentLists

    def describe(self, which: Column) -> list[Sighting]:
        """What the entries of these hits say, by their index."""
        lists, place = np.unique(self.lists[which], return_inverse=True)
        columns = self.sent.read(lists)
        differs = ImaReplay(columns).mismatches()
        sightings = []
        for hit, own in zip(which.tolist(), place.tolist(), strict=True):
            number = int(self.numbers[hit])
            entry = columns.first_last(own)[0] + number
            row = columns.entries[entry]
            pcr, is_violation = int(row["pcr"]), bool(row["flags"] & Flag.VIOLATION)
            template = TEMPLATES[int(row["template_id"])] or columns.piece(entry, "name").decode("ascii", "replace")
            proven = not is_violation and not differs[entry]
            text = _text(columns, entry)
            sightings.append(Sighting("ima", number, pcr, pcr_name(pcr), escape(template), text, proven))
        return sightings


def _text(columns: ImaColumns, entry: int) -> str:
    """Path and digest of an entry in words."""
    row = columns.entries[entry]
    path = columns.path(entry).decode("utf-8", "backslashreplace")
    if row["flags"] & Flag.VIOLATION:
        return escape(f"{path} (violation)")
    name = _native.ima_algorithm_name(int(row["algorithm"])) or "unknown"
    return escape(f"{path} {name}:{columns.piece(entry, 'file_digest').hex()}")


class ImaSearch:
    """The search of the lists of a conformed batch, one a row."""

    def __init__(self, batch: pa.RecordBatch, needles: Needles) -> None:
        self._needles = needles
        self._sent = SentLists.of(batch)
        self._tables = [(name, table) for name, table in needles.tables.items() if table.anywhere.any()]
        self._unread: list[tuple[int, str]] = []
        found: list[tuple[Column, Column, Column]] = []
        if self._tables or needles.texts:
            for rows, columns in self._sent.tiles(np.ones(len(batch), np.bool_)):
                self._note_faults(rows, columns)
                lists = np.searchsorted(self._sent.rows, rows)
                for entries, own in self._search(columns):
                    index = columns.list_of[entries]
                    number = entries - columns.rows["first_entry"][index].astype(np.int64)
                    found.append((lists[index], own, number))
        self._found = found

    def unsearched(self) -> Iterator[tuple[int, str]]:
        """Rows whose lists may hold what was not seen, and why."""
        yield from self._unread

    def hits(self) -> ImaHits | None:
        """What was found."""
        if not self._found:
            return None
        lists, needles, numbers = (np.concatenate(columns) for columns in zip(*self._found, strict=True))
        first = first_of_each(lists, needles, numbers)
        lists = lists[first]
        return ImaHits(self._sent.rows[lists], needles[first], lists, numbers[first], self._sent)

    def _note_faults(self, rows: Column, columns: ImaColumns) -> None:
        for index in np.flatnonzero(columns.rows["fault"]).tolist():
            fault, at, entry = (int(columns.rows[name][index]) for name in ("fault", "fault_at", "n_entries"))
            code = str(_native.ima_fault_code(fault))
            self._unread.append((int(rows[index]), f"{code} {fault_words(code, at, entry)}"))

    def _search(self, columns: ImaColumns) -> Iterator[_Found]:
        if not len(columns.entries):
            return
        for name, table in self._tables:
            for entries, digests in self._digests(columns, name):
                item = table.find(digests)
                is_hit = (item >= 0) & table.anywhere[item]
                yield entries[is_hit], table.needles[item[is_hit]]
        entries = np.arange(len(columns.entries))
        buffers = np.flatnonzero(columns.entries["flags"] & Flag.BUFFER)
        for which, name in ((entries, "path"), (buffers, "signature")):
            if self._needles.texts and len(which):
                yield from self._texts(columns.pieces(which, name), which, columns)

    def _digests(self, columns: ImaColumns, bank: str) -> Iterator[tuple[Column, npt.NDArray[np.uint8]]]:
        """Entries and their digests of a hash: of the file, and of the template where the list is of that bank."""
        size, blob = BY_NAME[bank].size, columns.lists.blob
        start = columns.lists.offsets[columns.list_of]
        is_of = columns.entries["algorithm"] == _native.ima_algorithm(bank)
        files = np.flatnonzero(is_of & (columns.entries["file_digest_size"] == size))
        yield files, rows_at(blob, start[files] + columns.entries["file_digest_at"][files], size)
        templates = np.flatnonzero(columns.rows["bank"][columns.list_of] == BY_NAME[bank].index)
        yield templates, rows_at(blob, start[templates] + columns.entries["digest_at"][templates], size)

    def _texts(self, pieces: Ragged, which: Column, columns: ImaColumns) -> Iterator[_Found]:
        """The first entry of each list whose piece has a text, and no other."""
        data, list_of = pieces.blob.tobytes(), columns.list_of[which]
        for text, needle in self._needles.texts:
            entries, at = [], 0
            while (at := data.find(text.bytes, at)) >= 0:
                item = int(np.searchsorted(pieces.offsets, at, side="right")) - 1
                if at + len(text.bytes) > pieces.offsets[item + 1]:
                    at += 1  # it lies in two pieces
                    continue
                entries.append(int(which[item]))
                at = int(pieces.offsets[np.searchsorted(list_of, list_of[item], side="right")])
            yield np.array(entries, np.int64), np.full(len(entries), needle)

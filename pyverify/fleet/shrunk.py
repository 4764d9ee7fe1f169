"""IMA lists of one boot only grow: which samples have fewer entries than one before (SPEC section 10.4, 89 and 90).

Where quotes prove entries, samples go by the clock of the TPM, and they are of one boot where one key signed them under
one resetCount and restartCount, whatever the evidence calls the boot; or where it calls it the same and resetCount does
not say otherwise (restartCount counts suspends too). Other samples are of the boot that they say, and go by
``collected_at``: both are hints, as all is that nobody signed, and a clock that was set back between two samples makes
the honest first of them look shrunk. The two are not held against each other: what is not signed lowers nothing that
is. Samples without a place, and those of one time, have no order; quotes by different keys neither.

A list may come in many formats: they are of the same entries, so that their numbers compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.evidence.ima import PCR
from pyverify.findings import CODES, Finding

Numbers = npt.NDArray[np.int64]

_CODE: Final = "ima.shrunk"


def shrunk_quotes(quotes: pa.Table) -> Iterator[tuple[int, Finding]]:
    """(row, finding) of quotes, of ``quote_facts.QUOTE_FACTS``, that prove fewer entries than one before."""
    known = quotes.filter(quotes.column("ima_entries").is_valid())
    entries = known.column("ima_entries").to_numpy()
    if not np.any(entries):
        return
    rows, clock = (known.column(name).to_numpy() for name in ("row", "clock"))
    keys, boots = (numbered(known.column(name)) for name in ("ak_name", "boot"))
    resets, restarts = (known.column(name).to_numpy() for name in ("reset_count", "restart_count"))
    most = most_before((keys, resets, restarts), clock, entries)
    most = np.maximum(most, np.where(boots >= 0, most_before((keys, resets, boots), clock, entries), -1))
    for at in np.flatnonzero(most > entries).tolist():
        if rows[at] >= 0:
            words = f"{entries[at]} entries are proven; earlier in this boot, by the TPM's clock, {most[at]} were"
            yield int(rows[at]), _finding(words)


def judge_lists(lists: pa.Table) -> Iterator[tuple[int, Finding]]:
    """(row, finding) of samples, of ``list_facts.LIST_FACTS``, that have fewer entries than one before.

    One without a list must also stand behind one that has it in the archive: so no verdict before the first list of a
    job has to wait for it.
    """
    rows, entries = (lists.column(name).to_numpy() for name in ("row", "entries"))
    boot = tuple(numbered(lists.column(name)) for name in ("machine", "boot"))
    time = lists.column("collected_at").cast(pa.int64()).to_numpy()
    most = most_before(boot, time, entries)
    place_from_end = rows.max(initial=0) - rows
    first_list = most_before(boot, time, np.where(entries > 0, place_from_end, -1))
    shrunk = (most > entries) & ((entries > 0) | (first_list > place_from_end))
    for at in np.flatnonzero(shrunk).tolist():
        now = f"{entries[at]} entries" if entries[at] else "no list"
        words = f"{now}; a sample of this boot that was collected earlier, by its own word, has {most[at]} entries"
        yield int(rows[at]), _finding(words)


def most_before(groups: Sequence[npt.NDArray[Any]], order: npt.NDArray[Any], values: Numbers) -> Numbers:
    """For each element the greatest value among those of its group that are before it, or -1 without any.

    Args:
        groups: numbers that are all equal within a group, shape [n] each.
        order: numbers that say which is before which; equal ones are not before each other: shape [n].
        values: int64 of shape [n], -1 or more. Their range times the number of groups must fit in 63 bits.
    """
    n = len(values)
    by = np.lexsort((order, *groups))
    changes = np.zeros(n, np.bool_)
    for group in groups:
        changes[1:] |= group[by][1:] != group[by][:-1]
    later = changes.copy()
    later[1:] |= order[by][1:] != order[by][:-1]
    at = np.arange(n)
    group_begins = np.maximum.accumulate(np.where(changes, at, 0))
    time_begins = np.maximum.accumulate(np.where(later, at, 0))
    # Each group has a range of its own above those before it, so that one running maximum serves all.
    offset = np.cumsum(changes) * (int(values.max(initial=0)) + 2)
    running = np.maximum.accumulate(values[by] + offset)
    found = np.full(n, -1, np.int64)
    has = np.flatnonzero(time_begins > group_begins)
    found[by[has]] = running[time_begins[has] - 1] - offset[has]
    return found


def numbered(column: pa.ChunkedArray) -> Numbers:
    """A number for each distinct value; -1 for null."""
    indices = pc.dictionary_encode(column).combine_chunks().indices
    numbers: Numbers = pc.fill_null(indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return numbers


def _finding(words: str) -> Finding:
    return Finding(_CODE, CODES[_CODE].severity, words, pcr=PCR)

"""The second pass over a job: rules that need other rows (SPEC section 8.5, attacks 62, 79 and 90).

Clocks and counters must not go back from one quote of a key to the next, a nonce must not serve two quotes, and the IMA
lists of a boot must not shrink. Each quote, and each list that none stands behind, is one narrow row. Those of a large
job are spread over files by their key or machine, so that all of one meet, and one file at a time is sorted and judged.
The pass only ever adds findings: it can lower a verdict and never raise one.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import IO, Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.findings import CODES, Finding
from pyverify.fleet.list_facts import LIST_FACTS
from pyverify.fleet.quote_facts import QUOTE_FACTS
from pyverify.fleet.shrunk import judge_lists, numbered, shrunk_quotes

_PARTS: Final = 64
"""Files that rows are spread over: of a hundred million quotes, some 300 MB are in memory at a time."""
_HELD: Final = 1 << 17
"""Rows in memory before they are spread: some 20 MB; a smaller job writes no file."""

_CLOCK: Final = "quote.clock"
_RESET: Final = "resetCount went back: the TPM was cleared or put back, or it is another"
_RESTART: Final = "restartCount went back within one boot: the TPM was put back, or it is another"
_TIME: Final = "the clock went back although it was safe: the TPM was cleared or put back, or it is another"


def judge_sequence(quotes: pa.Table) -> Iterator[tuple[int, Finding]]:
    """Findings of quotes against each other, with the numbers of their rows.

    Quotes of one key are taken in the order in which they were asked for, those without a challenge apart from them
    in the order of their boots. Among equals nothing is said of order.
    """
    rows = quotes.column("row").to_numpy()
    keys = numbered(quotes.column("ak_name"))
    yield from _replayed(quotes, rows, keys)
    yield from shrunk_quotes(quotes)
    columns = {name: quotes.column(name).to_numpy() for name in ("clock", "reset_count", "restart_count")}
    firmware, safe = quotes.column("firmware_version").to_numpy(), quotes.column("safe").to_numpy(zero_copy_only=False)
    asked = quotes.column("issued_at").is_valid().to_numpy()
    place = pc.coalesce(quotes.column("issued_at"), quotes.column("boot_seq"))
    known = place.is_valid().to_numpy()
    place = pc.fill_null(place, 0).to_numpy()
    order = np.lexsort((rows, columns["clock"], place, asked, keys))
    order = order[known[order]]
    before, after = order[:-1], order[1:]
    same = (keys[before] == keys[after]) & (asked[before] == asked[after])
    before, after = before[same], after[same]
    later = place[before] != place[after]

    # A key outside the endorsement hierarchy sees its counters shifted by a constant: only differences mean something.
    resets, restarts = (
        (columns[name][after] - columns[name][before]).astype(np.int32) for name in ("reset_count", "restart_count")
    )
    clock_back = (columns["clock"][after] < columns["clock"][before]) & safe[after]
    faults = ((later & (resets < 0), _RESET), ((resets == 0) & later & (restarts < 0), _RESTART), (clock_back, _TIME))
    told = np.zeros(len(after), np.bool_)
    for mask, words in faults:
        yield from _findings(rows[after[mask & ~told]], _CLOCK, words)
        told |= mask
    changed = firmware[before] != firmware[after]
    yield from _findings(rows[after[changed]], "quote.firmware-changed", "the TPM's firmware is of another version")


def _replayed(quotes: pa.Table, rows: npt.NDArray[Any], keys: npt.NDArray[Any]) -> Iterator[tuple[int, Finding]]:
    """Of the quotes with one nonce of one key, the first row's stands; the same again is a retry."""
    nonces, attests = (numbered(quotes.column(name)) for name in ("nonce", "attest"))
    order = np.lexsort((rows, nonces, keys))
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (keys[order[1:]] != keys[order[:-1]]) | (nonces[order[1:]] != nonces[order[:-1]])
    first = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
    again = order[attests[order] != attests[first]]
    yield from _findings(rows[again], "quote.replayed", "its nonce was used before, with another quote")


def _findings(rows: npt.NDArray[Any], code: str, words: str) -> Iterator[tuple[int, Finding]]:
    for row in rows.tolist():
        if row >= 0:
            yield row, Finding(code, CODES[code].severity, words)


class Sequence:
    """The facts of a job as they come, of which no more than a part is in memory. Use it as a context manager."""

    def __init__(self, schema: pa.Schema, key: str, judge: Callable[[pa.Table], Iterator[tuple[int, Finding]]]) -> None:
        """Rows of ``schema`` that are equal in column ``key`` are judged together."""
        self._schema, self._key, self._judge = schema, key, judge
        self._files = ExitStack()
        self._parts: dict[int, tuple[IO[bytes], pa.RecordBatchStreamWriter]] = {}
        self._held: list[pa.RecordBatch] = []
        self._n_held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, facts: pa.RecordBatch) -> None:
        """Takes some rows."""
        self._held.append(facts)
        self._n_held += len(facts)
        if self._n_held >= _HELD:
            self._spill()

    def _spill(self) -> None:
        facts = self._take()
        names = facts.column(self._key).cast(pa.binary()).to_pylist()
        part_of = np.fromiter((zlib.crc32(name) % _PARTS for name in names), np.int64, len(names))
        for part in np.unique(part_of).tolist():
            if part not in self._parts:
                file = self._files.enter_context(tempfile.TemporaryFile(prefix="pyverify-sequence-"))  # noqa: SIM115
                self._parts[part] = (file, pa.ipc.new_stream(file, self._schema))
            self._parts[part][1].write_table(facts.filter(pa.array(part_of == part)))

    def _take(self) -> pa.Table:
        facts = pa.Table.from_batches(self._held, self._schema)
        self._held, self._n_held = [], 0
        return facts

    def findings(self) -> Iterator[tuple[int, Finding]]:
        """Findings of all that was taken, with the numbers of their rows; call it once, at the end."""
        if not self._parts:
            yield from self._judge(self._take())
            return
        self._spill()
        for file, writer in self._parts.values():
            writer.close()
            file.seek(0)
            with pa.ipc.open_stream(file) as reader:
                yield from self._judge(reader.read_all())


class QuoteSequence(Sequence):
    """Quotes, rows of :data:`QUOTE_FACTS`."""

    def __init__(self) -> None:
        super().__init__(QUOTE_FACTS, "ak_name", judge_sequence)


class ListSequence(Sequence):
    """IMA lists that no quote stands behind, rows of :data:`LIST_FACTS`."""

    def __init__(self) -> None:
        super().__init__(LIST_FACTS, "machine", judge_lists)

"""Event logs read, of which only the events are kept that may be what somebody looks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pyverify._core import ffi, lib
from pyverify._native.core import KEY, Blob, Offsets, check, count, pointer, scratch
from pyverify._native.eventlog import EVENT_DTYPE, LOG_DTYPE
from pyverify.algorithms import BANKS, BY_NAME
from pyverify.errors import UsageError

_TILE: Final = 3 << 20
"""Bytes of logs whose events fit the scratch memory that a thread keeps."""

_FEWEST_BITS: Final = 12
_MOST_BITS: Final = 21  # 256 KB, which the second cache has room for
_BITS_A_DIGEST: Final = 128  # with two of them set one event in some 4,000 is kept for nothing


class Text(NamedTuple):
    """A text that is looked for, and the place in it of a byte that event data hardly ever has."""

    bytes: bytes
    rare: int


class DigestFilters:
    """Digests by bank, reduced to what tells nearly all others from them."""

    def __init__(self, digests: Mapping[str, Blob]) -> None:
        """``digests`` are uint8 of shape [n, digest size] by bank.

        Raises:
            UsageError: a table of another shape.
        """
        most = max((len(table) for table in digests.values()), default=0)
        bits = min(max(_FEWEST_BITS, (_BITS_A_DIGEST * most).bit_length()), _MOST_BITS)
        self._words = {bank: self._filter(bank, table, bits) for bank, table in digests.items() if len(table)}
        self._pointers = {bank: pointer("uint64_t[]", words, np.uint64) for bank, words in self._words.items()}
        banks = [self._pointers.get(bank.name, ffi.NULL) for bank in BANKS]
        self.filters = ffi.new("pv_filters *", {"banks": banks, "key": KEY, "bits": bits})

    @staticmethod
    def _filter(bank: str, table: Blob, bits: int) -> npt.NDArray[np.uint64]:
        if table.ndim != 2 or table.shape[1] != BY_NAME[bank].size:
            raise UsageError(f"a table of {bank} is of shape [n, {BY_NAME[bank].size}]")
        words = np.ascontiguousarray(table[:, :8]).view("<u8")[:, 0] * np.uint64(KEY)
        is_set = np.zeros(1 << bits, np.uint8)
        is_set[words >> np.uint64(64 - bits)] = 1
        is_set[words << np.uint64(bits) >> np.uint64(64 - bits)] = 1
        return np.packbits(is_set, bitorder="little").view(np.uint64)


def hunt(
    blob: Blob, offsets: Offsets, filters: DigestFilters, texts: Sequence[Text], event_type: int | None = None
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Reads logs as :func:`scan` does, and keeps only the events that may be what is looked for.

    An event is kept if a digest of it is one of those looked for, and hardly ever if none is; if its data has one of
    the texts, of which those that share their rare byte are best given side by side; or if it is of ``event_type``.

    Returns:
        Rows of LOG_DTYPE of shape [n]; the numbers of the events that are kept among those of all logs, int64 of shape
        [k], ascending; and these events, EVENT_DTYPE of shape [k].

    Raises:
        UsageError: offsets that do not fit the blob, a place outside a text.
    """
    if any(not 0 <= text.rare < len(text.bytes) for text in texts):
        raise UsageError("the place of its rare byte must be in a text")
    n = count(blob, offsets)
    logs = np.zeros(n, LOG_DTYPE)
    read, numbers, events = 0, [np.zeros(0, np.int64)], [np.zeros(0, EVENT_DTYPE)]
    held = [ffi.from_buffer("uint8_t[]", text.bytes) for text in texts]
    wanted = ffi.new("pv_text[]", [(data, len(text.bytes), text.rare) for data, text in zip(held, texts, strict=True)])
    tile = (offsets[1:] - offsets[0]) // _TILE
    for first, last in pairwise([0, *(np.flatnonzero(np.diff(tile)) + 1).tolist(), n]):
        all_events, is_kept = _tile(blob, offsets, first, last, logs, filters, wanted)
        if event_type is not None:
            is_kept |= all_events["type"] == event_type
        kept = np.flatnonzero(is_kept)
        logs["first_event"][first:last] += np.uint64(read)
        numbers.append(kept + read)
        events.append(all_events[kept])
        read += len(all_events)
    return logs, np.concatenate(numbers), np.concatenate(events)


def _tile(
    blob: Blob,
    offsets: Offsets,
    first: int,
    last: int,
    logs: npt.NDArray[Any],
    filters: DigestFilters,
    texts: Any,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The events of a slice, in memory that the thread's next call uses again, and which of them are kept."""
    offsets_pointer = pointer("int64_t[]", offsets, np.int64)
    capacity = int(lib.pv_scan_capacity(offsets_pointer, first, last))
    room = scratch(capacity * (EVENT_DTYPE.itemsize + 1))
    events = room[: capacity * EVENT_DTYPE.itemsize].view(EVENT_DTYPE)
    marks = room[capacity * EVENT_DTYPE.itemsize :][:capacity]
    written = ffi.new("uint64_t *")
    check(
        lib.pv_hunt(
            pointer("uint8_t[]", blob, np.uint8),
            offsets_pointer,
            first,
            last,
            pointer("pv_log[]", logs, LOG_DTYPE, writable=True),
            pointer("pv_event[]", events, EVENT_DTYPE, writable=True),
            capacity,
            written,
            filters.filters,
            texts,
            len(texts),
            pointer("uint8_t[]", marks, np.uint8, writable=True),
        ),
        "pv_hunt",
    )
    return events[: written[0]], marks[: written[0]].view(np.bool_)

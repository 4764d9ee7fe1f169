"""Event logs read, of which only the events are kept that may be what somebody looks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pyverify._core import ffi, lib
from pyverify._native.core import KEY, Blob, Offsets, check, count, pointer, scratch
from pyverify._native.eventlog import EVENT_DTYPE, LOG_DTYPE
from pyverify.algorithms import BANKS, BY_NAME
from pyverify.errors import UsageError

_FEWEST_BITS: Final = 12
_MOST_BITS: Final = 21  # 256 KB, which the second cache has room for
_BITS_A_DIGEST: Final = 32  # with two of them set one event in some 250 is kept for nothing


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
    offsets_pointer = pointer("int64_t[]", offsets, np.int64)
    capacity = int(lib.pv_scan_capacity(offsets_pointer, 0, n))
    room = scratch(capacity * (EVENT_DTYPE.itemsize + 1))
    events = room[: capacity * EVENT_DTYPE.itemsize].view(EVENT_DTYPE)
    marks = room[capacity * EVENT_DTYPE.itemsize :][:capacity]
    written = ffi.new("uint64_t *")
    held = [ffi.from_buffer("uint8_t[]", text.bytes) for text in texts]
    wanted = [(data, len(text.bytes), text.rare) for data, text in zip(held, texts, strict=True)]
    check(
        lib.pv_hunt(
            pointer("uint8_t[]", blob, np.uint8),
            offsets_pointer,
            0,
            n,
            pointer("pv_log[]", logs, LOG_DTYPE, writable=True),
            pointer("pv_event[]", events, EVENT_DTYPE, writable=True),
            capacity,
            written,
            filters.filters,
            ffi.new("pv_text[]", wanted),
            len(wanted),
            pointer("uint8_t[]", marks, np.uint8, writable=True),
        ),
        "pv_hunt",
    )
    is_kept = marks[: written[0]].view(np.bool_)
    if event_type is not None:
        is_kept |= events["type"][: written[0]] == event_type
    kept = np.flatnonzero(is_kept)
    return logs, kept, events[kept]

"""Event logs read, and those events marked that may be what somebody looks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pyverify._core import ffi, lib
from pyverify._native.core import KEY, Blob, Offsets, check, count, pointer
from pyverify._native.eventlog import EVENT_DTYPE, LOG_DTYPE
from pyverify.algorithms import BANKS, BY_NAME
from pyverify.errors import UsageError

_FEWEST_BITS: Final = 12
_BITS_A_DIGEST: Final = 16  # one event in so many is then marked for nothing


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
        bits = max(_FEWEST_BITS, (_BITS_A_DIGEST * most - 1).bit_length())
        self._words = {bank: self._filter(bank, table, bits) for bank, table in digests.items() if len(table)}
        self._pointers = {bank: pointer("uint64_t[]", words, np.uint64) for bank, words in self._words.items()}
        banks = [self._pointers.get(bank.name, ffi.NULL) for bank in BANKS]
        self.filters = ffi.new("pv_filters *", {"banks": banks, "key": KEY, "bits": bits})

    @staticmethod
    def _filter(bank: str, table: Blob, bits: int) -> npt.NDArray[np.uint64]:
        if table.ndim != 2 or table.shape[1] != BY_NAME[bank].size:
            raise UsageError(f"a table of {bank} is of shape [n, {BY_NAME[bank].size}]")
        words = np.ascontiguousarray(table[:, :8]).view("<u8")[:, 0] * np.uint64(KEY) >> np.uint64(64 - bits)
        is_set = np.zeros(1 << bits, np.uint8)
        is_set[words] = 1
        return np.packbits(is_set, bitorder="little").view(np.uint64)


def hunt(
    blob: Blob, offsets: Offsets, filters: DigestFilters, texts: Sequence[Text]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.int64]]:
    """:func:`scan`, and the numbers of the events that may be what is looked for: int64 of shape [k], ascending.

    An event is among them if a digest of it is one of those looked for, and hardly ever if none is; or if its data has
    one of the texts, which are at best ordered by the byte that is looked for first.

    Raises:
        UsageError: offsets that do not fit the blob, a place outside a text.
    """
    if any(not 0 <= text.rare < len(text.bytes) for text in texts):
        raise UsageError("the place of its rare byte must be in a text")
    n = count(blob, offsets)
    logs = np.zeros(n, LOG_DTYPE)
    offsets_pointer = pointer("int64_t[]", offsets, np.int64)
    events = np.empty(int(lib.pv_scan_capacity(offsets_pointer, 0, n)), EVENT_DTYPE)
    marks = np.empty(len(events), np.uint8)
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
            len(events),
            written,
            filters.filters,
            ffi.new("pv_text[]", wanted),
            len(wanted),
            pointer("uint8_t[]", marks, np.uint8, writable=True),
        ),
        "pv_hunt",
    )
    return logs, events[: written[0]].copy(), np.flatnonzero(marks[: written[0]])

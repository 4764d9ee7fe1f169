"""Exact lookup of byte strings in a table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pyverify._core import lib
from pyverify._native.core import KEY, Blob, Offsets, check, count, pointer


def index(table: Blob, table_at: Offsets) -> npt.NDArray[np.uint64]:
    """The index of a table's items, for :func:`find`; of this process only.

    Raises:
        UsageError: offsets that do not fit the table.
    """
    n = count(table, table_at)
    slots = np.empty(int(lib.pv_index_slots(n)), np.uint64)
    check(
        lib.pv_index(
            pointer("uint8_t[]", table, np.uint8),
            pointer("int64_t[]", table_at, np.int64),
            n,
            KEY,
            pointer("uint64_t[]", slots, np.uint64, writable=True),
            len(slots),
        ),
        "pv_index",
    )
    return slots


def find(
    blob: Blob, offsets: Offsets, table: Blob, table_at: Offsets, slots: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint32]:
    """For each item of a batch the number of an equal item of the table, or NOT_FOUND: uint32 of shape [n].

    Only the bytes decide.

    Raises:
        UsageError: offsets that do not fit the blob or the table.
    """
    n, size = count(blob, offsets), count(table, table_at)
    found = np.empty(n, np.uint32)
    check(
        lib.pv_find(
            pointer("uint8_t[]", blob, np.uint8),
            pointer("int64_t[]", offsets, np.int64),
            0,
            n,
            pointer("uint8_t[]", table, np.uint8),
            pointer("int64_t[]", table_at, np.int64),
            size,
            KEY,
            pointer("uint64_t[]", slots, np.uint64),
            len(slots),
            pointer("uint32_t[]", found, np.uint32, writable=True),
        ),
        "pv_find",
    )
    return found

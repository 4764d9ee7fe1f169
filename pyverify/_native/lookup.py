"""Exact lookup of byte strings in a table, and pieces of a blob side by side."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify._core import lib
from pyverify._native.core import KEY, Blob, Offsets, check, count, pointer
from pyverify.errors import UsageError

NOT_FOUND: Final = int(lib.PV_NOT_FOUND)
"""What :func:`find` says of an item that the table does not have."""


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


def collect(blob: Blob, at: Offsets, sizes: npt.NDArray[np.uint32]) -> tuple[Blob, Offsets]:
    """The pieces ``blob[at[i] : at[i] + sizes[i]]`` as a ragged batch.

    ``at`` is int64, ``sizes`` uint32, both of shape [n].

    Raises:
        UsageError: shapes that do not fit, a piece outside the blob.
    """
    if at.ndim != 1 or sizes.shape != at.shape or np.any(at < 0) or np.any(at > len(blob) - sizes.astype(np.int64)):
        raise UsageError("pieces must be in the blob: at and sizes of shape [n]")
    offsets = np.zeros(len(at) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    collected = np.empty(int(offsets[-1]), np.uint8)
    check(
        lib.pv_collect(
            pointer("uint8_t[]", blob, np.uint8),
            len(blob),
            pointer("int64_t[]", at, np.int64),
            pointer("uint32_t[]", sizes, np.uint32),
            len(at),
            pointer("uint8_t[]", collected, np.uint8, writable=True),
            len(collected),
        ),
        "pv_collect",
    )
    return collected, offsets

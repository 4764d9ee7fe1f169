"""Bytes of a batch picked by place, as rows of one width or slices of any size; and which rows are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.evidence.columns import Ragged

Places = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


def rows_at(blob: Bytes, at: Places, width: int) -> Bytes:
    """The ``width`` bytes at each place, which must lie within the blob: uint8 of shape [len(at), width]."""
    if not len(at):
        return np.empty((0, width), np.uint8)
    rows: Bytes = _windows(blob, width)[at]
    return rows


def _windows(blob: Bytes, width: int) -> Bytes:
    """Every ``width`` bytes of the blob as a row of their own, without a copy."""
    return np.lib.stride_tricks.as_strided(blob, (len(blob) - width + 1, width), (1, 1), writeable=False)


def row_bytes(table: npt.NDArray[Any]) -> list[bytes]:
    """Each row of a table of shape [n, width] as bytes."""
    data, width = table.tobytes(), table.shape[1] * table.itemsize
    return [data[at : at + width] for at in range(0, len(data), width)]


def numbers_at(blob: Bytes, at: Places, dtype: str) -> npt.NDArray[np.uint64]:
    """The number (``<u4``, ``<u8``) at each place: uint64 of shape [len(at)]."""
    width = np.dtype(dtype).itemsize
    return np.ascontiguousarray(rows_at(blob, at, width)).view(dtype)[:, 0].astype(np.uint64)


def slices(blob: Bytes, at: Places, size: Places) -> Ragged:
    """The slices that begin at each place, copied one after the other: fast where many neighbours are of one size."""
    offsets = np.zeros(len(at) + 1, np.int64)
    np.cumsum(size, out=offsets[1:])
    joined = np.empty(int(offsets[-1]), np.uint8)
    begins = np.flatnonzero(np.diff(size, prepend=-1))
    ends = np.append(begins, len(size))[1:]
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        width = int(size[begin])
        if end - begin == 1:
            joined[offsets[begin] : offsets[end]] = blob[at[begin] : at[begin] + width]
        elif width:
            joined[offsets[begin] : offsets[end]].reshape(-1, width)[:] = _windows(blob, width)[at[begin:end]]
    return Ragged(joined, offsets, np.ones(len(at), np.bool_))


def among(values: npt.NDArray[Any], known: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which values are among some known ones, at least one: bool of the shape of ``values``.

    np.isin says the same, and imports numpy.ma to do it, which takes as long as all else that is done with one log.
    """
    known = np.sort(known, axis=None)
    same: npt.NDArray[np.bool_] = known[np.minimum(np.searchsorted(known, values), len(known) - 1)] == values
    return same


def first_equal(items: Ragged) -> Places:
    """For each item an equal one at or before it that is its own: int64 of shape [n]. Not all equal ones are found."""
    same_as = _native.group(items.blob, items.offsets)
    while np.any((further := same_as[same_as]) != same_as):
        same_as = further
    return same_as.astype(np.int64)


def distinct_rows(table: npt.NDArray[Any]) -> tuple[Places, Places]:
    """Numbers of rows of a table of which every row is equal to one, and to which of these: int64 of shape [k] and [n].

    Rows are compared byte for byte; of those that are equal, some may be given more than once.
    """
    n, size = len(table), int(np.prod(table.shape[1:])) * table.itemsize
    if not size:
        return np.zeros(min(n, 1), np.int64), np.zeros(n, np.int64)
    blob = np.ascontiguousarray(table).view(np.uint8).reshape(-1)
    rows = Ragged(blob, np.arange(n + 1, dtype=np.int64) * size, np.ones(n, np.bool_))
    first, row_of = np.unique(first_equal(rows), return_inverse=True)
    return first, row_of

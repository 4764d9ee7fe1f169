"""Bytes of a batch picked by place: rows of one width, and slices of any size laid out one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

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
    ends = np.append(begins[1:], len(size))
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

"""Bytes of a batch picked by place: rows of one width, and slices of any size laid out one after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pyverify.evidence.columns import Ragged

Places = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


def rows_at(blob: Bytes, at: Places, width: int) -> Bytes:
    """The ``width`` bytes at each place, which must lie within the blob: uint8 of shape [len(at), width]."""
    if not len(at):
        return np.empty((0, width), np.uint8)
    rows: Bytes = np.lib.stride_tricks.sliding_window_view(blob, width)[at]
    return rows


def numbers_at(blob: Bytes, at: Places, dtype: str) -> npt.NDArray[np.uint64]:
    """The number (``<u4``, ``<u8``) at each place: uint64 of shape [len(at)]."""
    width = np.dtype(dtype).itemsize
    return np.ascontiguousarray(rows_at(blob, at, width)).view(dtype)[:, 0].astype(np.uint64)


def slices(blob: Bytes, at: Places, size: Places) -> Ragged:
    """The slices that begin at each place, copied one after the other."""
    joined = b"".join(map(blob.data.__getitem__, map(slice, at.tolist(), (at + size).tolist())))
    offsets = np.zeros(len(at) + 1, np.int64)
    np.cumsum(size, out=offsets[1:])
    return Ragged(np.frombuffer(joined, np.uint8), offsets, np.ones(len(at), np.bool_))

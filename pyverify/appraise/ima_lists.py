"""The IMA list of each row of a batch that is judged, read a bounded part of the batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.appraise.rows import has_values
from pyverify.evidence.columns import Ragged
from pyverify.evidence.ima import ImaColumns, scan

TILE: Final = 8 << 20
"""Bytes of lists that are read at a time, unless one alone has more: their columns take half as much again, and entries
that many machines share come often enough in it."""


@dataclass(frozen=True, slots=True)
class SentLists:
    """One list of each row that sent any.

    The lists of a boot have the same entries and differ in the digests that they show: the first binary one is taken,
    or else the first. ``rows`` is int64 of shape [k], ascending; ``formats`` are what the sender calls them.
    """

    rows: npt.NDArray[np.int64]
    formats: tuple[str, ...]
    _data: pa.LargeBinaryArray
    _at: npt.NDArray[np.int64]

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Self:
        """The lists of a conformed batch. What is null was not sent."""
        if not has_values(batch, "ima"):
            return cls(np.zeros(0, np.int64), (), pa.array([], pa.large_binary()), np.zeros(0, np.int64))
        column = batch.column("ima")
        # A null may still own lists, which nobody sent.
        sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        parents = np.repeat(np.arange(len(batch)), sizes)
        items = pc.list_flatten(column)
        formats, data = pc.fill_null(pc.struct_field(items, "format"), ""), pc.struct_field(items, "data")
        sent = data.is_valid().to_numpy(zero_copy_only=False)
        is_text = ~pc.starts_with(formats, "binary").to_numpy(zero_copy_only=False)
        order = np.lexsort((is_text, ~sent, parents))  # stable: else in the order in which they were sent
        first = order[np.flatnonzero(np.diff(parents[order], prepend=-1))]
        at = first[sent[first]]
        return cls(parents[at], tuple(formats.take(pa.array(at)).to_pylist()), data, at)

    def read(self, which: npt.NDArray[np.int64]) -> ImaColumns:
        """The entries of some of these lists, by their index."""
        lists = Ragged.from_arrow(self._data.take(pa.array(self._at[which])))
        return scan(lists, [self.formats[i] for i in which.tolist()])

    def tiles(self, wanted: npt.NDArray[np.bool_]) -> Iterator[tuple[npt.NDArray[np.int64], ImaColumns]]:
        """The rows and entries of the lists of wanted rows (bool of shape [n]), a tile at a time."""
        which = np.flatnonzero(wanted[self.rows])
        sizes = pc.binary_length(self._data).to_numpy(zero_copy_only=False)[self._at[which]]
        tile = np.cumsum(sizes) // TILE
        for part in np.split(which, np.flatnonzero(np.diff(tile)) + 1):
            if len(part):
                yield self.rows[part], self.read(part)

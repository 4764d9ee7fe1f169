"""Values that repeat, each kept once under a number: what makes a page of a hundred thousand machines small."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.evidence.gather import distinct_rows

Codes = npt.NDArray[np.int64]


class Pool:
    """Values by number, in the order in which they came."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self.values)

    def add(self, value: Hashable) -> int:
        """The number of a value."""
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number

    def codes(self, column: pa.Array, convert: Callable[[Any], Hashable]) -> Codes:
        """The numbers of a column's values, each distinct one converted once: int64 of shape [n], -1 for null."""
        local, values = local_codes(column)
        numbers = np.array([self.add(convert(value)) for value in values] + [-1], np.int64)
        return numbers[local]


def local_codes(column: pa.Array) -> tuple[Codes, list[Any]]:
    """A column as numbers of its distinct values, -1 for null, and these values."""
    encoded = column.dictionary_encode()
    places = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return places, encoded.dictionary.to_pylist()


def struct_codes(structs: pa.StructArray) -> tuple[Codes, list[dict[str, Any]]]:
    """The same for a column of structs: int64 of shape [n], and a dictionary for each number."""
    names = [field.name for field in structs.type]
    if not len(structs):
        return np.zeros(0, np.int64), []
    pairs = [local_codes(child) for child in structs.flatten()]
    distinct, code_of = distinct_rows(np.stack([codes for codes, _ in pairs], axis=1))
    picked = [[None if c < 0 else values[c] for c in codes[distinct].tolist()] for codes, values in pairs]
    return code_of, [dict(zip(names, row, strict=True)) for row in zip(*picked, strict=True)]


def list_codes(lists: pa.ListArray) -> tuple[Codes, list[tuple[int, ...]], list[dict[str, Any]]]:
    """A column of lists of structs as numbers of its distinct lists, and what those hold.

    Returns:
        Number of the list of each row, int64 of shape [n]; for each number the numbers of its items; the items. A null
        list is an empty one.
    """
    items, values = struct_codes(lists.flatten())
    sizes = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    ends = np.cumsum(sizes)
    pool = Pool()
    narrow = items.astype(np.int32)
    numbers = [
        pool.add(narrow[begin:end].tobytes()) for begin, end in zip((ends - sizes).tolist(), ends.tolist(), strict=True)
    ]
    return np.array(numbers, np.int64), [tuple(np.frombuffer(key, np.int32).tolist()) for key in pool.values], values

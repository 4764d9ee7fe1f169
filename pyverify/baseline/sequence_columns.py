"""The sequences of events of a references snapshot, by their numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pyverify.algorithms import BANKS, BY_NAME
from pyverify.baseline.model import EventSequence


class Sequences:
    """The table ``sequences`` of a snapshot, as it is in the rows of the file."""

    def __init__(self, tables: list[pa.StructArray]) -> None:
        self._tables = [table for table in tables if len(table)]
        self._starts = np.cumsum([0, *map(len, self._tables)])
        self._keys: dict[int, bytes] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, number: int) -> EventSequence:
        row = self._row(number)
        digests = {bank.name: row[f"digests_{bank.name}"] for bank in BANKS if row["banks"] >> bank.index & 1}
        given = {bank.name: row[f"value_{bank.name}"] for bank in BANKS if not row["banks"]}
        values = {bank: value for bank, value in given.items() if value is not None}
        types, texts, varies = (tuple(row[name]) for name in ("types", "texts", "varies"))
        return EventSequence(row["start"], types, texts, digests, varies, values)

    def key(self, number: int) -> bytes:
        """The key of a sequence."""
        if number not in self._keys:
            self._keys[number] = self[number].key
        return self._keys[number]

    def values(self, number: int) -> dict[str, bytes]:
        """The value that a sequence leads to, by bank."""
        row = self._row(number)
        return {bank.name: value for bank in BANKS if (value := row[f"value_{bank.name}"]) is not None}

    def lead_alike(self, one: int, other: int) -> bool:
        """Whether two sequences lead to the same value in every bank that both are known in, one at least."""
        values, others = self.values(one), self.values(other)
        banks = values.keys() & others.keys()
        return bool(banks) and all(values[bank] == others[bank] for bank in banks)

    def values_in(self, bank: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """The values of all sequences in a bank, uint8 of shape [n, size], and which of them have one, bool [n]."""
        size = BY_NAME[bank].size
        columns = [table.field(f"value_{bank}") for table in self._tables]
        values = [np.frombuffer(c.buffers()[1], np.uint8)[size * c.offset :][: size * len(c)] for c in columns]
        valid = [c.is_valid().to_numpy(zero_copy_only=False) for c in columns]
        flat = np.concatenate([np.zeros(0, np.uint8), *values])
        return flat.reshape(-1, size), np.concatenate([np.zeros(0, np.bool_), *valid])

    def _row(self, number: int) -> dict[str, Any]:
        table = int(np.searchsorted(self._starts, number, side="right")) - 1
        row: dict[str, Any] = self._tables[table][number - int(self._starts[table])].as_py()
        return row

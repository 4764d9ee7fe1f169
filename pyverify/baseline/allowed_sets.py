"""The values that profiles allow in one bank, laid out for the comparison in C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pyverify.algorithms import BY_NAME


@dataclass(frozen=True, slots=True)
class AllowedSets:
    """Current values of one bank, in the shapes of :func:`pyverify._native.compare`."""

    set_at: npt.NDArray[np.uint64]
    members: npt.NDArray[np.uint32]
    allowed: npt.NDArray[np.uint8]

    @classmethod
    def of(
        cls,
        bank: str,
        set_at: npt.NDArray[np.uint64],
        members: npt.NDArray[np.uint32],
        is_current: npt.NDArray[np.bool_],
        sequences: Sequence[pa.StructArray],
    ) -> Self:
        """Those of the members of a snapshot that are current and lead to a value in this bank; a value a sequence."""
        size = BY_NAME[bank].size
        columns = [table.field(f"value_{bank}") for table in sequences]
        values = [np.frombuffer(c.buffers()[1], np.uint8)[size * c.offset :][: size * len(c)] for c in columns]
        allowed = np.concatenate([np.zeros(0, np.uint8), *values]).reshape(-1, size)
        valid = np.concatenate([np.zeros(0, np.bool_), *(c.is_valid().to_numpy(zero_copy_only=False) for c in columns)])
        usable = valid[members] & is_current
        if usable.all():
            return cls(set_at, members, allowed)
        kept = np.concatenate([np.zeros(1, np.uint64), np.cumsum(usable, dtype=np.uint64)])
        return cls(kept[set_at.astype(np.int64)], members[usable], allowed)

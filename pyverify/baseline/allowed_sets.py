"""The values that profiles allow in one bank, laid out for the comparison in C."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from pyverify.baseline.sequence_columns import Sequences


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
        sequences: Sequences,
    ) -> Self:
        """Those of the members of a snapshot that are current and lead to a value in this bank; a value a sequence."""
        allowed, valid = sequences.values_in(bank)
        usable = valid[members] & is_current
        if usable.all():
            return cls(set_at, members, allowed)
        kept = np.concatenate([np.zeros(1, np.uint64), np.cumsum(usable, dtype=np.uint64)])
        return cls(kept[set_at.astype(np.int64)], members[usable], allowed)

"""Event logs of many machines to PCR values, all banks in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BY_NAME, mask_of
from pyverify.errors import UsageError
from pyverify.evidence.columns import Items, Ragged, Repeated


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a batch of logs leads to.

    ``logs`` has one row of ``_native.LOG_DTYPE`` a log: look at ``fault`` and ``banks`` before you use a value.
    ``values`` are by bank uint8 of shape [n_logs, 24, digest size]; all zero where the log has a fault or lacks the
    bank.
    """

    logs: npt.NDArray[Any]
    values: dict[str, npt.NDArray[np.uint8]]

    def has_bank(self, bank: str) -> npt.NDArray[np.bool_]:
        """Which logs can be judged in this bank: readable, listing it, with its digest in every event that extends."""
        bit = np.uint32(1 << BY_NAME[bank].index)
        usable: npt.NDArray[np.bool_] = (
            (self.logs["fault"] == 0) & (self.logs["banks"] & bit != 0) & (self.logs["incomplete"] & bit == 0)
        )
        return usable


def replay(logs: Items | Sequence[bytes] | Any, banks: Sequence[str] | None = None, isa: str | None = None) -> Replayed:
    """Replays a batch of logs: a list of bytes, a :class:`Ragged`, or a pyarrow array of any binary layout.

    Of a :class:`Repeated` batch each of what is distinct is replayed once.

    Args:
        logs: the logs, one an item.
        banks: TCG names of the banks to replay; all of them by default.
        isa: name of a variant of the hash kernels to force; the fastest by default.

    Raises:
        UsageError: an unknown bank or variant.
    """
    if isinstance(logs, Repeated):
        of_each = replay(logs.distinct, banks, isa)
        return Replayed(of_each.logs[logs.item_of], {bank: of[logs.item_of] for bank, of in of_each.values.items()})
    if not isinstance(logs, Ragged):
        try:
            logs = Ragged.of(list(logs)) if isinstance(logs, (list, tuple)) else Ragged.from_arrow(logs)
        except (TypeError, ValueError, AttributeError, NotImplementedError) as error:  # Arrow's own derive from these
            raise UsageError(f"logs are a list of bytes or an Arrow array of a binary type: {error}") from error
    names = tuple(BY_NAME if banks is None else banks)
    if unknown := [name for name in names if name not in BY_NAME]:
        raise UsageError(f"unknown bank {unknown[0]!r}; there is {', '.join(BY_NAME)}")
    rows, values = _native.replay(logs.blob, logs.offsets, mask_of(names), isa)
    return Replayed(rows, values)

"""Which prefix of a chain of extends leads to a value, and all values on the way."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify._core import lib
from pyverify._native.core import check, pointer, variant
from pyverify.algorithms import BANKS
from pyverify.errors import UsageError

NO_PREFIX: Final = (1 << 64) - 1
"""What :func:`seek` says of a chain that never comes to its target."""


def seek(
    bank: int,
    digests: npt.NDArray[np.uint8],
    chain_at: npt.NDArray[np.uint64],
    values: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.uint8],
    isa: str | None = None,
) -> npt.NDArray[np.uint64]:
    """Extends chains in place as :func:`extend` does, each until its value is its target.

    ``targets`` is uint8 of the shape of ``values``.

    Returns:
        The smallest number of digests after which each is there, or NO_PREFIX: uint64 of shape [chains]. ``values``
        are where they stopped.

    Raises:
        UsageError: shapes that do not fit, an unknown variant.
    """
    size, chains = BANKS[bank].size, len(chain_at) - 1
    if digests.ndim != 2 or digests.shape[1] != size or values.shape != (chains, size) or chain_at.ndim != 1:
        raise UsageError("digests must have shape [total, size], values [chains, size] and chain_at [chains + 1]")
    if int(chain_at[-1]) > len(digests) or np.any(chain_at[1:] < chain_at[:-1]):
        raise UsageError("chain_at must not decrease and must stay inside the digests")
    if targets.shape != values.shape:
        raise UsageError(f"targets must have shape {values.shape}, not {targets.shape}")
    found = np.zeros(chains, np.uint64)
    check(
        lib.pv_seek(
            bank,
            variant(bank, isa),
            pointer("uint8_t[]", digests, np.uint8),
            pointer("uint64_t[]", chain_at, np.uint64),
            0,
            chains,
            pointer("uint8_t[]", values, np.uint8, writable=True),
            pointer("uint8_t[]", targets, np.uint8),
            pointer("uint64_t[]", found, np.uint64, writable=True),
        ),
        "pv_seek",
    )
    return found


def trace(
    bank: int, digests: npt.NDArray[np.uint8], start: npt.NDArray[np.uint8], isa: str | None = None
) -> npt.NDArray[np.uint8]:
    """The values of one chain before its first digest and after each: uint8 of shape [digests + 1, size].

    ``digests`` is uint8 of shape [n, size], ``start`` of shape [size].

    Raises:
        UsageError: shapes that do not fit, an unknown variant.
    """
    size = BANKS[bank].size
    if digests.ndim != 2 or digests.shape[1] != size or start.shape != (size,):
        raise UsageError("digests must have shape [n, size], start [size]")
    values = np.empty((len(digests) + 1, size), np.uint8)
    values[0] = start
    check(
        lib.pv_trace(
            bank,
            variant(bank, isa),
            pointer("uint8_t[]", digests, np.uint8),
            len(digests),
            pointer("uint8_t[]", values, np.uint8, writable=True),
        ),
        "pv_trace",
    )
    return values

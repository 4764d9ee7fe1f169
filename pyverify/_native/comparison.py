"""PCR values against sets of allowed ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pyverify._core import lib
from pyverify._native.core import check, pointer
from pyverify.algorithms import PCRS
from pyverify.errors import UsageError


def compare(
    values: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.uint32],
    set_at: npt.NDArray[np.uint64],
    members: npt.NDArray[np.uint32],
    allowed: npt.NDArray[np.uint8],
    mask: int,
) -> npt.NDArray[np.uint32]:
    """Which PCRs of each row hold a value that its reference does not allow, as a bit mask a row.

    ``values`` is uint8 of shape [n, 24, size]; ``reference`` uint32 of shape [n], numbers past the last reference
    differ in every PCR of the mask; the set of reference r and PCR p is ``allowed[members[set_at[24r + p]:set_at[24r
    + p + 1]]]``.

    Raises:
        UsageError: shapes that do not fit.
    """
    n, size = len(values), values.shape[-1]
    references = (len(set_at) - 1) // PCRS
    if (
        values.shape != (n, PCRS, size)
        or reference.shape != (n,)
        or len(set_at) != references * PCRS + 1
        or allowed.ndim != 2
        or allowed.shape[1] != size
    ):
        raise UsageError("shapes do not fit: values [n, 24, size], reference [n], set_at [24 r + 1], allowed [k, size]")
    differs = np.empty(n, np.uint32)
    check(
        lib.pv_compare(
            pointer("uint8_t[]", values, np.uint8),
            size,
            pointer("uint32_t[]", reference, np.uint32),
            0,
            n,
            pointer("uint64_t[]", set_at, np.uint64),
            references,
            pointer("uint32_t[]", members, np.uint32),
            len(members),
            pointer("uint8_t[]", allowed, np.uint8),
            len(allowed),
            mask,
            pointer("uint32_t[]", differs, np.uint32, writable=True),
        ),
        "pv_compare",
    )
    return differs

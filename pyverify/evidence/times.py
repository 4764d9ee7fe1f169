"""Times that evidence says: 64 bits say many that are none, and whoever made one of them would stop a whole fleet."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

NO_TIME: Final = "collected_at is no time of the years 1 to 9999"

_FIRST, _END = -62_135_596_800, 253_402_300_800  # seconds since 1970: the year 1, and what follows the year 9999
_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_INT64: Final = np.iinfo(np.int64)


def existing_times(times: Any) -> tuple[Any, npt.NDArray[np.bool_]]:
    """Timestamps with null where one is none that there is, and which those are: bool of shape [n]."""
    per_second = _PER_SECOND[times.type.unit]
    numbers = times.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    never = (numbers < max(_FIRST * per_second, _INT64.min)) | (numbers > min(_END * per_second - 1, _INT64.max))
    if never.any():
        times = times.take(pa.array(np.arange(len(times)), pa.int64(), mask=never))
    return times, never

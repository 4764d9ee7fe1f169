"""A boot as six stages, like a row of lamps: which was the first that is not as it should be."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pyverify.algorithms import pcr_mask
from pyverify.appraise.verdict import STAGE_TYPE

STAGES: Final[tuple[tuple[str, tuple[int, ...]], ...]] = (
    ("firmware", (0, 2)),
    ("firmware settings", (1, 3)),
    ("secure boot policy", (7, 14)),
    ("boot loader", (4, 5)),
    ("kernel and command line", (8, 9, 11, 12)),
    ("applications", (10,)),
)

_APPLICATIONS: Final = 5
_NAMES: Final = pa.array([name for name, _ in STAGES])
_MASKS: Final = np.array([pcr_mask(pcrs) for _, pcrs in STAGES], np.uint32)
_STATES: Final = pa.array(["green", "red", "grey"])
_GREEN, _RED, _GREY = range(3)


def stage_columns(
    differs: npt.NDArray[np.uint32],
    judged: npt.NDArray[np.bool_],
    compared: int,
    values: dict[int, list[tuple[bytes | None, bytes | None]]],
    ima_judged: npt.NDArray[np.bool_],
    ima_bad: npt.NDArray[np.bool_],
) -> pa.ListArray:
    """The ``stages`` column.

    Args:
        differs: for each row the compared PCRs that differ, a bit each.
        judged: for each row whether it was compared at all; where not, every stage is grey.
        compared: the PCRs that the policy compares; a stage without any is grey.
        values: for each row that differs, (expected, actual) of each stage in which a PCR differs, else (None, None).
        ima_judged: for each row whether its IMA list was held against what may run: PCR 10 is never compared.
        ima_bad: for each row whether anything high is against its IMA list.
    """
    n, width = len(differs), len(STAGES)
    red = (differs[:, None] & _MASKS) != 0
    red[:, _APPLICATIONS] |= ima_bad
    after_red = np.cumsum(red, axis=1) - red > 0
    measured = judged[:, None] & ((_MASKS & np.uint32(compared)) != 0)
    measured[:, _APPLICATIONS] |= judged & (ima_judged | ima_bad)
    state = np.where(measured & ~after_red, np.where(red, _RED, _GREEN), _GREY)
    shown = pa.nulls(n * width, pa.binary()), pa.nulls(n * width, pa.binary())
    if values:
        pairs = [pair for row in range(n) for pair in values.get(row, [(None, None)] * width)]
        shown = tuple(pa.array(column, pa.binary()) for column in zip(*pairs, strict=True))
    columns = [
        _NAMES.take(pa.array(np.tile(np.arange(width), n))),
        _STATES.take(pa.array(state.reshape(-1))),
        pa.array(np.tile(_MASKS, n)),
        *shown,
    ]
    offsets = pa.array(np.arange(0, n * width + 1, width, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(columns, fields=list(STAGE_TYPE)))

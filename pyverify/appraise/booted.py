"""What boots held while something older was still allowed them, as facts for rules that need other boots."""

from __future__ import annotations

import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pyverify.algorithms import pcrs_of
from pyverify.appraise.boots import Boots
from pyverify.appraise.comparison import Comparison
from pyverify.baseline.place import Place, Reached
from pyverify.baseline.references import References

_TIME: Final = pa.timestamp("us", "UTC")
_LEAVING: Final = pa.list_(pa.struct([("pcr", pa.uint32()), ("rank", pa.uint32()), ("keep", pa.bool_())]))
BOOTED: Final = pa.schema(
    [
        ("row", pa.int64()),  # number of the verdict row
        ("machine", pa.string()),
        ("profile", pa.uint32()),
        ("current", pa.uint32()),  # PCRs that hold a current value while an older one is still allowed
        ("leaving", _LEAVING),  # PCRs that hold such an older one, and which: see ``references.Superseded``
        ("issued_at", _TIME),
        ("boot_seq", pa.int64()),
        ("collected_at", _TIME),
        ("boot", pa.string()),
    ]
)
"""What is kept of each boot of a machine whose baseline has changed lately."""


def booted_facts(batch: pa.RecordBatch, comparison: Comparison, boots: Boots) -> pa.RecordBatch:
    """The facts of a batch that was compared, rows being counted from its first."""
    leaving = comparison.leaving
    rows = np.flatnonzero((comparison.current != 0) | (np.bincount(leaving["row"], minlength=len(batch)) != 0))
    if not len(rows):
        return pa.RecordBatch.from_pylist([], schema=BOOTED)
    some = pa.array(rows)
    own: dict[str, Any] = {
        "row": some,
        "profile": pa.array(comparison.profile[rows]),
        "current": pa.array(comparison.current[rows]),
        "leaving": _lists(leaving, rows),
        "issued_at": pa.array([boots.issued_at.get(row) for row in rows.tolist()], _TIME),
    }
    sent = {name: batch.column(name).take(some) for name in BOOTED.names if name in batch.schema.names}
    columns = sent | own
    return pa.record_batch([columns.get(f.name, pa.nulls(len(rows), f.type)).cast(f.type) for f in BOOTED], BOOTED)


def _lists(leaving: npt.NDArray[Any], rows: npt.NDArray[np.int64]) -> pa.ListArray:
    ordered = leaving[np.argsort(leaving["row"], kind="stable")]
    offsets = np.searchsorted(ordered["row"], np.append(rows, np.iinfo(np.int64).max)).astype(np.int32)
    fields = list(_LEAVING.value_type)
    columns = [pa.array(np.ascontiguousarray(ordered[field.name]), field.type) for field in fields]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(columns, fields=fields))


def ranks_in(boot: dict[str, Any], references: References) -> dict[int, int]:
    """By PCR of a boot, a row of :data:`BOOTED`, the rank of what it holds: that of the oldest it may hold is 0."""
    current = ((pcr, references.current_rank(boot["profile"], pcr)) for pcr in pcrs_of(boot["current"]))
    held = {pcr: rank for pcr, rank in current if rank is not None}
    return held | {one["pcr"]: one["rank"] for one in boot["leaving"]}


def reached_in(boot: dict[str, Any], references: References, as_of: datetime.datetime) -> list[Reached]:
    """What a boot, a row of :data:`BOOTED`, holds that something older is still allowed beside."""
    return [
        Reached(boot["machine"], pcr, references.key_of(boot["profile"], pcr, rank), place_of(boot))
        for pcr, rank in ranks_in(boot, references).items()
        if references.is_step(boot["profile"], pcr, rank, as_of)
    ]


def place_of(boot: dict[str, Any]) -> Place:
    """Where a boot, a row of :data:`BOOTED`, stands among those of its machine."""
    return Place(boot["issued_at"], boot["boot_seq"], boot["collected_at"], boot["boot"])

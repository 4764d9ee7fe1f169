"""What boots held while something older was still allowed them, as facts for rules that need other boots."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from pyverify.algorithms import pcrs_of
from pyverify.appraise.boots import Boots
from pyverify.appraise.comparison import Comparison
from pyverify.baseline.place import Place, Reached
from pyverify.baseline.references import References

_TIME: Final = pa.timestamp("us", "UTC")
BOOTED: Final = pa.schema(
    [
        ("row", pa.int64()),  # number of the verdict row
        ("machine", pa.string()),
        ("profile", pa.uint32()),
        ("current", pa.uint32()),  # PCRs that hold a current value while an older one is still allowed
        ("leaving", pa.uint32()),  # PCRs that hold such an older one
        ("issued_at", _TIME),
        ("boot_seq", pa.int64()),
        ("collected_at", _TIME),
        ("boot", pa.string()),
    ]
)
"""What is kept of each boot of a machine whose baseline has changed lately."""


def booted_facts(batch: pa.RecordBatch, comparison: Comparison, boots: Boots) -> pa.RecordBatch:
    """The facts of a batch that was compared, rows being counted from its first."""
    rows = np.flatnonzero(comparison.current | comparison.leaving)
    if not len(rows):
        return pa.RecordBatch.from_pylist([], schema=BOOTED)
    some = pa.array(rows)
    own: dict[str, Any] = {
        "row": some,
        "profile": pa.array(comparison.profile[rows]),
        "current": pa.array(comparison.current[rows]),
        "leaving": pa.array(comparison.leaving[rows]),
        "issued_at": pa.array([boots.issued_at.get(row) for row in rows.tolist()], _TIME),
    }
    sent = {name: batch.column(name).take(some) for name in BOOTED.names if name in batch.schema.names}
    columns = sent | own
    return pa.record_batch([columns.get(f.name, pa.nulls(len(rows), f.type)).cast(f.type) for f in BOOTED], BOOTED)


def reached_in(boot: dict[str, Any], references: References) -> list[Reached]:
    """What a boot, a row of :data:`BOOTED`, holds that is current."""
    held = ((pcr, references.current(boot["profile"], pcr)) for pcr in pcrs_of(boot["current"]))
    return [Reached(boot["machine"], pcr, key, place_of(boot)) for pcr, key in held if key is not None]


def place_of(boot: dict[str, Any]) -> Place:
    """Where a boot, a row of :data:`BOOTED`, stands among those of its machine."""
    return Place(boot["issued_at"], boot["boot_seq"], boot["collected_at"], boot["boot"])

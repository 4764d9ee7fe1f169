"""Which boot of a machine came first, and which last: by boot_seq, then collected_at, then name (DESIGN section 10)."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Final, TypeAlias

import pyarrow as pa

from pyverify.fleet.sources import Source

BootKey: TypeAlias = tuple[int, datetime.datetime, str]
"""Where a boot stands among those of its machine: boot_seq, collected_at, name; what is not said comes last."""

_LAST: Final = datetime.datetime.max.replace(tzinfo=datetime.UTC)


def boot_keys(batch: pa.RecordBatch) -> Iterator[tuple[str, BootKey] | None]:
    """Machine and key of each row, None where the row has no name to know it by."""
    names = ("machine", "boot", "boot_seq", "collected_at")
    for machine, boot, boot_seq, collected_at in zip(*(batch.column(name).to_pylist() for name in names), strict=True):
        key = (2**63 if boot_seq is None else boot_seq, collected_at or _LAST, boot)
        yield None if machine is None or boot is None else (machine, key)


def chosen_boots(source: Source, *, newest: bool) -> dict[str, BootKey]:
    """The first or the newest boot of each machine of an archive, read for its keys only."""
    chosen: dict[str, BootKey] = {}
    for batch in source.batches(columns="keys"):
        for item in boot_keys(batch):
            if item is None:
                continue
            machine, key = item
            if machine not in chosen or (key > chosen[machine] if newest else key < chosen[machine]):
                chosen[machine] = key
    return chosen

"""Whether foreign bytes that are a snapshot by their layout are one by their contents, before anything relies on it."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.algorithms import BANKS
from pyverify.baseline.model import Origin, State

_MAY_BE_NULL: Final = frozenset(
    {
        "baselines.ima_set",
        "baselines.approval",
        "baselines.accepted.pcr",
        "until",
        *(f"sequences.{part}_{bank.name}" for part in ("digests", "value") for bank in BANKS),
        "ignored.reason",
        *(f"reached.{name}" for name in ("issued_at", "boot_seq", "collected_at")),
        "enrolled.until",
        "challenges.spent_by",
    }
)


def is_snapshot(row: pa.RecordBatch) -> bool:
    """Whether a row of a snapshot has all that it must have, in values that there are.

    Raises:
        pyarrow.ArrowInvalid: it is not what its layout says: offsets past the end, text that is none.
    """
    row.validate(full=True)
    if any(column.null_count for column in row.columns):
        return False
    tables = {name: row.column(name).values for name in row.schema.names[1:]}
    return (
        not any(_has_nulls(name, table) for name, table in tables.items())
        and _are_baselines(tables["baselines"])
        and _are_sequences(tables["sequences"])
    )


def _has_nulls(name: str, array: pa.Array) -> bool:
    """Whether there is nothing where there must be something: a null, or values that lists speak of."""
    if array.null_count and name not in _MAY_BE_NULL:
        return True
    if pa.types.is_struct(array.type):
        return any(_has_nulls(f"{name}.{field.name}", array.field(field.name)) for field in array.type)
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        return not _ends_within(array) or _has_nulls(name, array.flatten())
    return False


def _ends_within(lists: pa.Array) -> bool:
    """Whether lists end where there are values: of no lists Arrow does not check it, and ends the process there."""
    offsets = lists.buffers()[1]
    return offsets is not None and offsets.size > 0 and lists.offsets[-1].as_py() <= len(lists.values)


def _are_baselines(table: pa.StructArray) -> bool:
    """Whether a table of baselines has only scopes, states and origins that there are."""
    known = {"scope": {"machine", "cohort"}, "state": set(map(str, State)), "origin": set(map(str, Origin))}
    return all(set(pc.unique(table.field(name)).to_pylist()) <= values for name, values in known.items())


def _are_sequences(table: pa.StructArray) -> bool:
    """Whether each sequence of a table has a text an event, a digest an event in each of its banks, and a value there;
    those without a bank have no events. Positions that may vary are positions of events."""
    events = pc.list_value_length(table.field("types")).to_numpy()
    banks = table.field("banks").to_numpy()
    varies = table.field("varies")
    if (
        np.any(events != pc.list_value_length(table.field("texts")).to_numpy())
        or np.any(banks >> len(BANKS))
        or np.any(events[banks == 0])
        or np.any(varies.flatten().to_numpy() >= events[pc.list_parent_indices(varies).to_numpy()])
    ):
        return False
    for bank in BANKS:
        has = (banks >> bank.index & 1).astype(np.bool_)
        sizes = pc.fill_null(pc.binary_length(table.field(f"digests_{bank.name}")), -1).to_numpy(zero_copy_only=False)
        valued = table.field(f"value_{bank.name}").is_valid().to_numpy(zero_copy_only=False)
        if np.any(sizes[has] != bank.size * events[has]) or not np.all(valued[has]):
            return False
    return True

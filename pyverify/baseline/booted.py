"""What machines have booted while something older was still allowed them: from then on the older is a step back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from pyverify.baseline import schema
from pyverify.baseline.database import chunks
from pyverify.baseline.identity import to_micros
from pyverify.baseline.place import Place, Reached
from pyverify.baseline.store import Store


def remember(store: Store, reached: Sequence[Reached]) -> None:
    """Keeps what machines have booted; what is known already stands.

    Raises:
        StoreError: the store refuses.
    """
    if not reached:
        return
    table = schema.reached
    with store.changing("booted") as (connection, number):
        ids = _sequence_ids(connection, {one.sequence for one in reached})
        rows = {(one.machine, one.pcr, ids[one.sequence]): one for one in reached if one.sequence in ids}
        known = _known(connection, sorted({machine for machine, _, _ in rows}))
        new = [
            {"machine": machine, "pcr": pcr, "sequence": sequence, "change": number, **_place(one.place)}
            for (machine, pcr, sequence), one in rows.items()
            if (machine, pcr, sequence) not in known
        ]
        if new:
            connection.execute(table.insert(), new)


def _place(place: Place) -> dict[str, Any]:
    times = {"issued_at": place.issued_at, "collected_at": place.collected_at}
    micros = {name: None if time is None else to_micros(time) for name, time in times.items()}
    return {**micros, "boot_seq": place.boot_seq, "boot": place.boot}


def _sequence_ids(connection: sa.Connection, keys: set[bytes]) -> dict[bytes, int]:
    table = schema.sequence
    found: dict[bytes, int] = {}
    for part in chunks(sorted(keys)):
        query = sa.select(table.c.key, table.c.id).where(table.c.key.in_(part))
        found |= {bytes(row.key): row.id for row in connection.execute(query)}
    return found


def _known(connection: sa.Connection, machines: Sequence[str]) -> set[tuple[str, int, int]]:
    table = schema.reached
    found: set[tuple[str, int, int]] = set()
    for part in chunks(machines):
        query = sa.select(table.c.machine, table.c.pcr, table.c.sequence).where(table.c.machine.in_(part))
        found |= {tuple(row) for row in connection.execute(query)}
    return found

"""Stores of older versions, which had no heads: their rows are moved to the tables of now, and signed as they are.

Changes keep their order. What older versions kept without the number of a change belongs to a last one, ``migrate``.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa

from pyverify.baseline import heads, schema
from pyverify.baseline.identity import to_micros
from pyverify.baseline.signing import Signer

OLDER: Final = ("1", "2")
OLDER_NAMES: Final = ("answered_at",)
"""Of columns that are no more."""

_DEFAULTS: Final[dict[str, Any]] = {
    "varies": "[]",
    "pcr_values": "{}",
    "ima_violations": 0,
    "origin": "first-seen",
    "accepted": "[]",
    "ima_superseded": "[]",
}
"""Of columns that older stores do not have and that may not be empty."""
_KEY_STATE: Final = ("ak_name", "until", "level", "sm2_mode", "ek_certificates")

_Row = dict[str, Any]


def bring_up_to_date(connection: sa.Connection, signer: Signer, *, at: datetime.datetime) -> None:
    """Moves a store of one of :data:`OLDER` to the version of now, within the transaction of the one who writes."""
    version = schema.version_of(connection)
    old = sa.MetaData()
    old.reflect(connection)
    names = [name for name in old.tables if name in {table.name for table in (schema.about, *schema.COVERED)}]
    rows = {name: [row._asdict() for row in connection.exec_driver_sql(f'SELECT * FROM "{name}"')] for name in names}  # noqa: S608
    old.drop_all(connection, [old.tables[name] for name in names])
    schema.create(connection)
    last = heads.About.new(connection, signer.public_key).start
    changes, reason = sorted(rows["change"], key=lambda row: int(row["number"])), f"from version {version}"
    new = _moved(rows, {row["number"]: number for number, row in enumerate(changes, 1)})
    if any(row["change"] > len(changes) for _, row in new):
        changes.append({"at": at, "action": "migrate", "reason": reason})
    for number, row in enumerate(changes, 1):
        values = {"who": None, **row, "number": number, "at": to_micros(_time(row["at"]))}
        connection.execute(schema.change.insert().values(values))
    for table, row in new:
        connection.execute(table.insert().values(row))
    for _ in changes:
        last = heads.append(connection, last, signer)


def _moved(rows: dict[str, list[_Row]], number_of: dict[int, int]) -> list[tuple[sa.Table, _Row]]:
    """The rows of the tables of now, those that are referred to first."""
    last = len(number_of) + 1
    moved: dict[str, list[_Row]] = {}
    for name, table, row in _split(rows):
        full = {column.name: row.get(column.name, _DEFAULTS.get(column.name)) for column in table.c}
        change = row.get("change")
        moved.setdefault(name, []).append({**full, "change": last if change is None else number_of[change]})
    in_order = (table for table in schema.about.metadata.sorted_tables if table.name in moved)
    return [(table, row) for table in in_order for row in moved[table.name]]


def _split(rows: dict[str, list[_Row]]) -> Iterator[tuple[str, sa.Table, _Row]]:
    """The rows with their tables; what became of keys and secrets in rows of its own."""
    for table in schema.COVERED:
        if table is schema.change:
            continue
        for row in rows.get(table.name, []):
            if table is schema.activation:
                row = {**row, "certified": int(row["certified"])}  # noqa: PLW2901
            yield table.name, table, row
    for row in rows.get("enrolled", []):
        state = {name: row[name] for name in (*_KEY_STATE, "change")}
        yield schema.key_state.name, schema.key_state, state
    for row in rows.get("activation", []):
        if row["answered_at"] is not None:
            answer = {"secret": row["secret"], "at": row["answered_at"]}
            yield schema.activated.name, schema.activated, answer


def _time(value: Any) -> datetime.datetime:
    """A time as older stores kept it: UTC, in SQLite as text without a zone."""
    time = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)

"""Which baselines a change is for, and the queries that find them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pyverify.baseline import schema
from pyverify.baseline.database import chunks
from pyverify.baseline.model import State
from pyverify.errors import UsageError

Condition = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Selection:
    """Baselines by the names of their machines, by a cohort (its own and its machines'), or all there are."""

    machines: tuple[str, ...] = ()
    cohort: str | None = None
    everyone: bool = False

    def __post_init__(self) -> None:
        if (bool(self.machines) + (self.cohort is not None) + self.everyone) != 1:
            raise UsageError("say which baselines: some machines, a cohort, or all")

    def parts(self, connection: sa.Connection) -> Iterator[Condition]:
        """Conditions on ``schema.baseline`` that together choose what is selected, each baseline once."""
        table = schema.baseline
        if self.everyone:
            yield sa.true()
            return
        names: Sequence[str] = sorted(set(self.machines))
        if self.cohort is not None:
            yield sa.and_(table.c.scope == "cohort", table.c.id == self.cohort)
            names = members_of(connection, self.cohort)
        for part in chunks(names):
            yield sa.and_(table.c.scope == "machine", table.c.id.in_(part))


def members_of(connection: sa.Connection, cohort: str) -> list[str]:
    """The machines that are assigned to a cohort now, by name."""
    table = schema.cohort_member
    newest = (
        sa.select(table.c.machine, sa.func.max(table.c.change).label("change")).group_by(table.c.machine).subquery()
    )
    is_newest = sa.and_(table.c.machine == newest.c.machine, table.c.change == newest.c.change)
    query = sa.select(table.c.machine).join(newest, is_newest).where(table.c.cohort == cohort)
    return list(connection.scalars(query.order_by(table.c.machine)))


def _with_states() -> sa.Subquery:
    """``schema.baseline`` with the state that each version is in by its own transitions, whatever came after it."""
    table, moved = schema.baseline, schema.transition
    key = [moved.c.scope, moved.c.id, moved.c.version]
    last = sa.select(*key, sa.func.max(moved.c.change).label("change")).group_by(*key).subquery()
    is_last = sa.and_(*(moved.c[name] == last.c[name] for name in ("scope", "id", "version", "change")))
    states = sa.select(*key, moved.c.state).join(last, is_last).subquery()
    is_same = sa.and_(*(table.c[name] == states.c[name] for name in ("scope", "id", "version")))
    columns = [column for column in table.columns if column.name != "state"]
    state = sa.func.coalesce(states.c.state, table.c.state).label("state")
    return sa.select(*columns, state).select_from(table.outerjoin(states, is_same)).subquery()


def active(chosen: Condition) -> sa.Select[Any]:
    """The versions that count: of each chosen baseline the newest that is not pending, if it is active.

    ``newest`` is the number of its newest version, pending or not.
    """
    table = schema.baseline
    keys = (
        sa.select(table.c.scope, table.c.id, sa.func.max(table.c.version).label("newest"))
        .where(chosen)
        .group_by(table.c.scope, table.c.id)
        .subquery()
    )
    own = _with_states()
    ranked = (
        sa.select(
            own,
            keys.c.newest,
            sa.func.row_number()
            .over(partition_by=[own.c.scope, own.c.id], order_by=own.c.version.desc())
            .label("rank"),
        )
        .join(keys, sa.and_(own.c.scope == keys.c.scope, own.c.id == keys.c.id))
        .where(own.c.state != State.PENDING)
        .subquery()
    )
    return sa.select(ranked).where(ranked.c.rank == 1, ranked.c.state == State.ACTIVE)


def pending(chosen: Condition) -> sa.Select[Any]:
    """Scope, id and version of the chosen baselines whose newest version is pending."""
    table, own = schema.baseline, _with_states()
    newest = (
        sa.select(table.c.scope, table.c.id, sa.func.max(table.c.version).label("version"))
        .where(chosen)
        .group_by(table.c.scope, table.c.id)
        .subquery()
    )
    is_newest = sa.and_(*(own.c[name] == newest.c[name] for name in ("scope", "id", "version")))
    query = sa.select(own.c.scope, own.c.id, own.c.version).join(newest, is_newest)
    return query.where(own.c.state == State.PENDING)


def versions_of(scope: str, name: str) -> sa.Select[Any]:
    """All versions of one baseline, each with the state that its own transitions brought it to."""
    own = _with_states()
    return sa.select(own).where(own.c.scope == scope, own.c.id == name).order_by(own.c.version)

"""What became of baselines, for people: their versions, and every change that concerned them."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pyverify.baseline import schema
from pyverify.baseline.contents import Reader
from pyverify.baseline.frozen import counting, states, stream, with_states
from pyverify.baseline.identity import from_micros
from pyverify.baseline.model import Baseline, State
from pyverify.baseline.store import Store
from pyverify.errors import UsageError


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the store: what was done, by whom and why."""

    number: int
    at: datetime.datetime
    action: str
    who: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a baseline, the state that it is in, and the change that added it."""

    scope: str
    id: str
    version: int
    state: State
    origin: str
    boot: str
    evidence_id: bytes
    has_ima: bool
    change: Change


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to a baseline or its machine, in words."""

    change: Change
    words: str


def versions(store: Store, scope: str | None = None, name: str | None = None) -> list[Version]:
    """The versions of all baselines, or of those of a scope and name, by scope, name and number.

    Raises:
        StoreError: the store cannot be read, or does not verify.
    """
    table = schema.baseline
    query = sa.select(table).order_by(table.c.scope, table.c.id, table.c.version)
    query = query if scope is None else query.where(table.c.scope == scope)
    query = query if name is None else query.where(table.c.id == name)
    with store.reading() as connection:
        changes = _changes(connection)
        return [
            Version(
                row.scope,
                row.id,
                row.version,
                state,
                row.origin,
                row.boot,
                bytes(row.evidence_id),
                row.ima_set is not None,
                changes[row.change],
            )
            for row, state in with_states(stream(connection, query), states(connection))
        ]


def load(store: Store, scope: str, name: str, version: int | None = None) -> Baseline:
    """One version of a baseline as a whole: that of a number, or the newest that is active, or else the newest.

    Raises:
        UsageError: there is none.
        StoreError: the store cannot be read, or does not verify.
    """
    table = schema.baseline
    is_it = sa.and_(table.c.scope == scope, table.c.id == name)
    with store.reading() as connection:
        rows = connection.execute(sa.select(table).where(is_it).order_by(table.c.version))
        found = [(row, state) for row, state in with_states(rows, states(connection))]
        chosen = [(row, state) for row, state in found if version in (None, row.version)]
        if not chosen:
            known = ", ".join(str(row.version) for row, _ in found)
            has = f"it has versions {known}" if known else "there is none of that name"
            raise UsageError(
                f"no such baseline: {scope} {name}{'' if version is None else f' version {version}'}: {has}"
            )
        active = [one for one in chosen if one[1] == State.ACTIVE]
        row, state = (active or chosen)[-1]
        return Reader(connection).baseline(row, state)


def load_counting(store: Store, scope: str, names: Collection[str] = ()) -> list[Baseline]:
    """Of each baseline of a scope, or of those of these names, the version that counts: active or pending.

    Raises:
        UsageError: there is none, or not one of every name.
        StoreError: the store cannot be read, or does not verify.
    """
    table = schema.baseline
    query = sa.select(table).where(table.c.scope == scope).order_by(table.c.id, table.c.version)
    with store.reading() as connection:
        reader = Reader(connection)
        rows = counting(stream(connection, query), states(connection))
        found = [reader.baseline(row, state) for row, state in rows if not names or row.id in names]
    if missing := sorted(set(names) - {one.id for one in found}) or (["…"] if not found else []):
        raise UsageError(f"the store has no baseline that counts of {scope} {', '.join(missing)}")
    return found


def history(store: Store, scope: str, name: str) -> list[Step]:
    """Every change that concerned a baseline, its cohort or its alerts, the oldest first.

    Raises:
        UsageError: nothing is known of it.
        StoreError: the store cannot be read, or does not verify.
    """
    with store.reading() as connection:
        changes = _changes(connection)
        steps = [Step(changes[number], words) for number, words in sorted(_steps(connection, scope, name))]
    if not steps:
        raise UsageError(f"nothing is known of a {scope} {name}")
    return steps


def _steps(connection: sa.Connection, scope: str, name: str) -> Iterator[tuple[int, str]]:
    table, moved = schema.baseline, schema.transition
    for row in connection.execute(sa.select(table).where(table.c.scope == scope, table.c.id == name)):
        yield row.change, f"version {row.version}, {row.state} ({row.origin}), of boot {row.boot}"
    for row in connection.execute(sa.select(moved).where(moved.c.scope == scope, moved.c.id == name)):
        yield row.change, f"version {row.version} is {row.state}"
    if scope == "machine":
        member, ignored, booted = schema.cohort_member, schema.ignored, schema.reached
        for row in connection.execute(sa.select(member).where(member.c.machine == name)):
            yield row.change, "out of its cohort" if row.cohort is None else f"in cohort {row.cohort}"
        for row in connection.execute(sa.select(ignored).where(ignored.c.machine == name)):
            yield row.change, f"alerts ignored until {from_micros(row.until):%Y-%m-%d %H:%M} UTC"
        held: dict[tuple[int, str], list[int]] = {}
        for row in connection.execute(sa.select(booted).where(booted.c.machine == name)):
            held.setdefault((row.change, row.boot), []).append(row.pcr)
        for (number, boot), pcrs in held.items():
            yield number, f"boot {boot} has what is new in PCR {', '.join(map(str, sorted(pcrs)))}"


def _changes(connection: sa.Connection) -> dict[int, Change]:
    rows: Any = stream(connection, sa.select(schema.change))
    return {row.number: Change(row.number, from_micros(row.at), row.action, row.who, row.reason) for row in rows}

"""A store as a snapshot: its rows to columns of a file, never all of them in memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from pyverify.algorithms import BANKS
from pyverify.baseline import schema
from pyverify.baseline.identity import from_micros
from pyverify.baseline.ima_rows import write_sets
from pyverify.baseline.model import Origin, State
from pyverify.baseline.rows import parse_accepted, parse_profile, parse_sequence, parse_superseded
from pyverify.baseline.snapshot import Snapshot
from pyverify.errors import StoreError

_CHUNK = 500
"""Rows fetched at a time."""


def write_snapshot(connection: sa.Connection, snapshot: Snapshot) -> None:
    """Writes all that a verification asks of a store.

    Raises:
        StoreError: rows that contradict each other.
    """
    numbers = _write_baselines(connection, snapshot)
    _write_machines(connection, snapshot, numbers)
    _write_identity(connection, snapshot)
    snapshot.finish()


def stream(connection: sa.Connection, query: sa.Select[Any]) -> sa.Result[Any]:
    """The rows of a query, some at a time."""
    return connection.execute(query, execution_options={"yield_per": _CHUNK})


def states(connection: sa.Connection) -> dict[tuple[str, str, int], State]:
    """Versions of baselines that are no longer in the state that they were added in, by scope, id and version."""
    table = schema.transition
    query = sa.select(table).order_by(table.c.change)
    return {(row.scope, row.id, row.version): State(row.state) for row in stream(connection, query)}


def with_states(rows: sa.Result[Any], changed: dict[tuple[str, str, int], State]) -> Iterator[tuple[Any, State]]:
    """Rows of ``schema.baseline`` in the order of scope, id and version, each with the state that it is in now.

    An active version is superseded by any newer one that is or was active.
    """
    for _, group in groupby(rows, lambda row: (row.scope, row.id)):
        versions = list(group)
        own = [changed.get((row.scope, row.id, row.version), State(row.state)) for row in versions]
        newest = max((at for at, state in enumerate(own) if state != State.PENDING), default=-1)
        for at, (row, state) in enumerate(zip(versions, own, strict=True)):
            yield row, State.SUPERSEDED if state == State.ACTIVE and at < newest else state


def counting(rows: sa.Result[Any], changed: dict[tuple[str, str, int], State]) -> Iterator[tuple[Any, State]]:
    """Of each baseline the version that counts: the newest but for pending ones if it is active, or a pending one."""
    for _, group in groupby(with_states(rows, changed), lambda one: (one[0].scope, one[0].id)):
        versions = list(group)
        decided = [one for one in versions if one[1] != State.PENDING]
        if decided and decided[-1][1] == State.ACTIVE:
            yield decided[-1]
        elif versions[-1][1] == State.PENDING:
            yield versions[-1]


def _write_baselines(connection: sa.Connection, snapshot: Snapshot) -> dict[int, int]:
    """Writes baselines with all that they refer to; the numbers of sequences by their ids."""
    table = schema.baseline
    numbers = {
        row.id: snapshot.add_sequence(parse_sequence(row)) for row in stream(connection, sa.select(schema.sequence))
    }
    profiles = {
        row.id: snapshot.add_profile(parse_profile(row.body, numbers))
        for row in stream(connection, sa.select(schema.profile))
    }
    sets = write_sets(snapshot, partial(stream, connection))
    rows = stream(connection, sa.select(table).order_by(table.c.scope, table.c.id, table.c.version))
    approvals = _approvals(connection)
    try:
        shared: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row, state in counting(rows, states(connection)):
            key = tuple(getattr(row, name) for name in _SHARED)
            if key not in shared:
                shared[key] = _shared(row, profiles, sets)
            approval = approvals.get(row.change) if row.origin in _APPROVED else None
            own = {"scope": row.scope, "id": row.id, "version": row.version, "state": str(state)}
            evidence = {"boot": row.boot, "evidence_id": row.evidence_id, "approval": approval}
            snapshot.add_baseline(**shared[key], **own, **evidence)
    except ValueError as error:
        raise StoreError(f"the store contradicts itself: {error}") from error
    return numbers


_APPROVED = (Origin.APPROVED, Origin.IMPORTED)


def _approvals(connection: sa.Connection) -> dict[int, str]:
    """Changes in words, by their numbers."""
    table = schema.change
    words = {}
    for row in stream(connection, sa.select(table).where(table.c.action.not_in(_OF_MACHINES))):
        who, why = f" by {row.who}" if row.who else "", f": {row.reason}" if row.reason else ""
        words[row.number] = f"{row.action} of {from_micros(row.at):%Y-%m-%d}{who}{why}"
    return words


_OF_MACHINES = ("learn", "enroll", "challenge", "spend", "booted")
"""Changes that approve nothing; there are many."""


_SHARED = (
    "profile",
    "log_banks",
    "quoted_banks",
    "ima_set",
    "ima_violations",
    "origin",
    "accepted",
    "ima_superseded",
)
"""What many baselines have in common, and is looked at once."""


def _shared(row: Any, profiles: dict[int, int], sets: dict[int, int]) -> dict[str, Any]:
    superseded = parse_superseded(row.ima_superseded)
    has_sets = {row.ima_set, *(number for number, _ in superseded)} - {None} <= sets.keys()
    banks_are_masks = all(0 <= mask < 1 << len(BANKS) for mask in (row.log_banks, row.quoted_banks))
    if row.profile not in profiles or not banks_are_masks or not has_sets or row.origin not in list(Origin):
        raise StoreError(f"the store contradicts itself: the baseline of {row.id!r} is damaged")
    return {
        **{name: getattr(row, name) for name in ("log_banks", "quoted_banks", "ima_violations", "origin")},
        "profile": profiles[row.profile],
        "ima_set": None if row.ima_set is None else sets[row.ima_set],
        "accepted": [{"code": a.code, "pcr": a.pcr, "reason": a.reason} for a in parse_accepted(row.accepted)],
        "ima_superseded": [{"set": sets[number], "until": until} for number, until in superseded],
    }


def _write_machines(connection: sa.Connection, snapshot: Snapshot, numbers: dict[int, int]) -> None:
    """What is known of machines beside their baselines: cohorts, alerts that are ignored, what they have booted."""
    member, ignored, reached, change = schema.cohort_member, schema.ignored, schema.reached, schema.change
    for row in _newest(connection, member):
        if row.cohort is not None:
            snapshot.add("cohorts", {"machine": row.machine, "cohort": row.cohort})
    reasons = {
        row.number: row.reason for row in stream(connection, sa.select(change).where(change.c.action == "ignore"))
    }
    for row in _newest(connection, ignored):
        until, reason = from_micros(row.until), reasons.get(row.change)
        snapshot.add("ignored", {"machine": row.machine, "until": until, "reason": reason})
    held = sa.select(reached, change.c.at).join(change, reached.c.change == change.c.number)
    for row in stream(connection, held.order_by(reached.c.machine, reached.c.pcr, reached.c.sequence)):
        if row.sequence not in numbers:
            raise StoreError(f"the store contradicts itself: {row.machine!r} booted what is not there")
        times = {name: None if (at := getattr(row, name)) is None else from_micros(at) for name in _TIMES}
        facts = {name: getattr(row, name) for name in ("machine", "pcr", "boot_seq", "boot")}
        known = {"sequence": numbers[row.sequence], "since": from_micros(row.at)}
        snapshot.add("reached", {**facts, **times, **known})


_TIMES = ("issued_at", "collected_at")
_KEY_FACTS = ("machine", "ak_name", "since", "until", "level", "sm2_mode")


def enrolled_keys() -> sa.Select[Any]:
    """The enrolled keys in the order of their Names, each with what is known of it now: columns of both tables."""
    key, state, newer = schema.enrolled, schema.key_state, schema.key_state.alias()
    newest = sa.select(sa.func.max(newer.c.change)).where(newer.c.ak_name == key.c.ak_name).scalar_subquery()
    now = [column for column in state.c if column.name not in ("ak_name", "change")]
    is_now = sa.and_(state.c.ak_name == key.c.ak_name, state.c.change == newest)
    return sa.select(key, *now).select_from(key.join(state, is_now)).order_by(key.c.ak_name)


def _newest(connection: sa.Connection, table: sa.Table) -> Iterator[Any]:
    """The newest row of each machine."""
    rows = stream(connection, sa.select(table).order_by(table.c.machine, table.c.change))
    for _, group in groupby(rows, lambda row: row.machine):
        *_, last = group
        yield last


def _write_identity(connection: sa.Connection, snapshot: Snapshot) -> None:
    for row in stream(connection, enrolled_keys()):
        snapshot.add("enrolled", {name: getattr(row, name) for name in _KEY_FACTS})
    asked = schema.challenge.c
    for row in stream(connection, schema.challenges().order_by(asked.ak_name, asked.issued_at, asked.nonce)):
        snapshot.add("challenges", row._asdict())
    for der in connection.scalars(sa.select(schema.root.c.certificate).order_by(schema.root.c.key)):
        snapshot.add("roots", der)

"""The life of baselines: approved, varied, activated, rolled back; machines assigned to cohorts, alerts ignored.

Every call is one change of the store. Nothing is overwritten: a change adds a version to each baseline that it
concerns. Work is done once for all baselines that allow the same, so that a change of a whole fleet takes seconds.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from pyverify.algorithms import banks_of
from pyverify.baseline import schema
from pyverify.baseline.contents import Contents, Reader
from pyverify.baseline.edits import Edit
from pyverify.baseline.enrollment import check_machine
from pyverify.baseline.identity import to_micros
from pyverify.baseline.ima_rows import intern_sets
from pyverify.baseline.model import Allowed, EventSequence, Origin, State
from pyverify.baseline.rows import profile_key, to_json
from pyverify.baseline.selection import Selection, active, pending, versions_of
from pyverify.baseline.store import Store, intern, intern_profiles
from pyverify.baseline.supersede import ImaEdit, Old, with_edits, with_ima, with_sequences, with_variation
from pyverify.errors import UsageError


@dataclass(frozen=True, slots=True)
class Done:
    """A change that was made: its number, and how many baselines or machines it concerned."""

    number: int
    concerned: int


class Lifecycle:
    """The changes of a store's baselines. ``who`` and ``reason`` are kept with each."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def approve(
        self,
        which: Selection,
        edits: Sequence[Edit],
        files: Sequence[ImaEdit] = (),
        *,
        at: datetime.datetime,
        old: Old,
        who: str | None,
        reason: str | None,
    ) -> Done:
        """Lets these edits and files replace what they differ from, in each chosen baseline that they fit.

        An edit fits only where it is known in all banks that are quoted.

        Raises:
            UsageError: nothing of it fits any of them, or they would hold more sequences than one PCR may, or a time
                has no zone.
            StoreError: the store refuses.
        """
        to_micros(at)

        def change(contents: Contents, quoted_banks: tuple[str, ...]) -> Contents:
            ima, superseded = with_ima(contents.ima, contents.superseded, files, old, at)
            known = [edit for edit in edits if set(quoted_banks) <= set(edit.banks)]
            return Contents(with_edits(contents.profile, known, old), ima, superseded)

        return self._change(which, change, "approve", who, reason)

    def approve_boot(
        self,
        machine: str,
        sequences: dict[int, EventSequence],
        files: Sequence[ImaEdit] = (),
        *,
        at: datetime.datetime,
        old: Old,
        who: str | None,
        reason: str | None,
    ) -> Done:
        """Lets what one boot of a machine measured, PCR by PCR, replace what its own baseline allows.

        Raises:
            UsageError: the machine has no active baseline of its own, or a time has no zone.
            StoreError: the store refuses.
        """
        to_micros(at)

        def change(contents: Contents, _: tuple[str, ...]) -> Contents:
            ima, superseded = with_ima(contents.ima, contents.superseded, files, old, at)
            return Contents(with_sequences(contents.profile, sequences, old), ima, superseded)

        return self._change(Selection(machines=(machine,)), change, "approve", who, reason)

    def vary(
        self,
        which: Selection,
        pcr: int,
        position: int,
        event: tuple[int, str],
        *,
        who: str | None,
        reason: str | None,
    ) -> Done:
        """Lets one event of a PCR, of this type and text, have any digest at its position.

        Raises:
            UsageError: no chosen baseline has it there, or it may vary already.
            StoreError: the store refuses.
        """

        def change(contents: Contents, _: tuple[str, ...]) -> Contents:
            profile = with_variation(contents.profile, pcr, position, event)
            return Contents(profile, contents.ima, contents.superseded)

        return self._change(which, change, "vary", who, reason)

    def activate(self, which: Selection, *, who: str | None, reason: str | None) -> Done:
        """Makes pending baselines active.

        Raises:
            StoreError: the store refuses.
        """
        with self._store.changing("activate", reason, who) as (connection, number):
            rows = [
                {**key, "change": number, "state": str(State.ACTIVE)}
                for names in which.parts(connection)
                for key in (row._asdict() for row in connection.execute(pending(names)))
            ]
            if not rows:
                raise UsageError("none of these baselines is pending")
            _insert(connection, schema.transition, rows)
        return Done(number, len(rows))

    def rollback(
        self, scope: str, name: str, version: int, *, at: datetime.datetime, who: str | None, reason: str | None
    ) -> Done:
        """Returns to an earlier version: what came after it is revoked, and no longer allowed from now on.

        Raises:
            UsageError: there is no such version, or it is the one that counts.
            StoreError: the store refuses.
        """
        with self._store.changing("rollback", reason, who) as (connection, number):
            rows = {row.version: row for row in connection.execute(versions_of(scope, name))}
            newest = max((v for v, row in rows.items() if row.state != State.PENDING), default=0)
            if version not in rows or version >= newest or rows[version].state == State.PENDING:
                known = ", ".join(str(v) for v in sorted(rows) if v < newest) or "none"
                raise UsageError(f"{scope} {name} cannot go back to version {version}; earlier ones: {known}")
            contents = Reader(connection)
            back, now = contents.of(rows[version]), contents.of(rows[newest])
            profile = tuple(_returned(b, n, Old(at)) for b, n in zip(back.profile, now.profile, strict=True))
            gone = [v for v, row in rows.items() if v > version and row.state == State.ACTIVE]
            _revoke(connection, number, scope, name, gone)
            contents_then = Contents(profile, back.ima, ())
            _Writer(connection, number).add([rows[version]], max(rows) + 1, contents_then, Origin.APPROVED)
        return Done(number, 1)

    def assign(self, cohort: str | None, machines: Sequence[str], *, who: str | None, reason: str | None) -> Done:
        """Assigns machines to a cohort, or takes them out of theirs.

        Raises:
            UsageError: a name that cannot be.
            StoreError: the store refuses.
        """
        for name in (*machines, *([] if cohort is None else [cohort])):
            check_machine(name)
        with self._store.changing("assign", reason, who) as (connection, number):
            rows = [{"machine": machine, "change": number, "cohort": cohort} for machine in sorted(set(machines))]
            _insert(connection, schema.cohort_member, rows)
        return Done(number, len(rows))

    def ignore(self, machines: Sequence[str], *, until: datetime.datetime, who: str | None, reason: str | None) -> Done:
        """Silences the alerts of machines until then; they stay untrusted.

        Raises:
            UsageError: a name that cannot be.
            StoreError: the store refuses.
        """
        for name in machines:
            check_machine(name)
        with self._store.changing("ignore", reason, who) as (connection, number):
            end = to_micros(until)
            rows = [{"machine": machine, "change": number, "until": end} for machine in sorted(set(machines))]
            _insert(connection, schema.ignored, rows)
        return Done(number, len(rows))

    def _change(
        self,
        which: Selection,
        change: Callable[[Contents, tuple[str, ...]], Contents],
        action: str,
        who: str | None,
        reason: str | None,
    ) -> Done:
        """Adds a version to each chosen active baseline whose contents the change alters: one at least."""
        concerned = 0
        with self._store.changing(action, reason, who) as (connection, number):
            contents, writer = Reader(connection), _Writer(connection, number)
            altered: dict[Any, Contents | None] = {}
            for names in which.parts(connection):
                groups: dict[Any, list[Any]] = {}
                for row in connection.execute(active(names)):
                    key = (row.profile, row.ima_set, row.ima_superseded, row.quoted_banks)
                    groups.setdefault(key, []).append(row)
                for key, rows in groups.items():
                    if key not in altered:
                        before = contents.of(rows[0])
                        after = change(before, banks_of(rows[0].quoted_banks))
                        altered[key] = None if after == before else after
                    if (new := altered[key]) is not None:
                        writer.add(rows, None, new, Origin.APPROVED)
                        concerned += len(rows)
            if not concerned:
                raise UsageError(
                    "nothing of this changes any of the chosen baselines: no active one has what it replaces"
                )
        return Done(number, concerned)


class _Writer:
    """New versions of baselines within a change."""

    def __init__(self, connection: sa.Connection, change: int) -> None:
        self._connection, self._change = connection, change

    def add(self, rows: Sequence[Any], version: int | None, contents: Contents, origin: Origin) -> None:
        """Adds a version with these contents to each baseline: the one after its newest unless ``version`` says so."""
        profile = intern_profiles(self._connection, self._change, [contents.profile])[profile_key(contents.profile)]
        own = [] if contents.ima is None else [contents.ima]
        sets = intern_sets(
            partial(intern, self._connection, self._change), [*own, *(old.ima for old in contents.superseded)]
        )
        old = [[sets[one.ima.key], to_micros(one.until)] for one in contents.superseded]
        new = {
            "state": str(State.ACTIVE),
            "profile": profile,
            "ima_set": None if contents.ima is None else sets[contents.ima.key],
            "ima_superseded": to_json(old),
            "origin": str(origin),
            "change": self._change,
        }
        kept = [column.name for column in schema.baseline.columns if column.name not in (*new, "version")]
        _insert(
            self._connection,
            schema.baseline,
            [
                {**{name: getattr(row, name) for name in kept}, **new, "version": version or row.newest + 1}
                for row in rows
            ],
        )


def _returned(back: tuple[Allowed, ...], now: tuple[Allowed, ...], old: Old) -> tuple[Allowed, ...]:
    """What was current then is again; all else that is known of is no longer allowed."""
    current = [Allowed(one.sequence) for one in back if one.until is None]
    keys = {one.sequence.key for one in current}
    gone = [
        one if one.until is not None and one.until <= old.until else Allowed(one.sequence, old.until)
        for one in now
        if one.sequence.key not in keys
    ]
    return (*gone, *current)


def _revoke(connection: sa.Connection, change: int, scope: str, name: str, versions: Iterable[int]) -> None:
    key = {"change": change, "scope": scope, "id": name, "state": str(State.REVOKED)}
    _insert(connection, schema.transition, [{**key, "version": version} for version in versions])


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(table.insert(), rows)

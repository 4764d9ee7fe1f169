"""Where baselines, keys and challenges are kept: a SQLite file by default, or what SQLAlchemy Core reaches by URL.

Rows are only ever added or change their state; contents are interned: a sequence of events is one row for all machines
that measured it, and a profile (what each of 24 PCRs may hold) is one row for all machines that boot alike. So is a set
of what IMA lists may hold.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa
import sqlalchemy as sa

from pyverify.baseline import schema
from pyverify.baseline.frozen import write_snapshot
from pyverify.baseline.identity import to_micros
from pyverify.baseline.ima_rows import intern_sets
from pyverify.baseline.model import Allowed, Baseline
from pyverify.baseline.references import References
from pyverify.baseline.rows import accepted_json, profile_body, profile_key, sequence_row, to_json
from pyverify.baseline.snapshot import Snapshot, baseline_facts
from pyverify.errors import ReferencesError, StoreError

_CHUNK: Final = 500
"""Keys looked up in one statement: SQLite allows 999 parameters in its oldest builds still about."""


class Store:
    """An open store. Use it as a context manager."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, where: str, *, create: bool = False) -> Self:
        """Opens the store at a path or database URL.

        Args:
            where: a file's path (SQLite), or a URL as SQLAlchemy takes them.
            create: make it where it does not exist yet.

        Raises:
            StoreError: it does not exist, cannot be opened, or is of another version.
        """
        url = where if "://" in where else f"sqlite:///{where}"
        if "://" not in where and not create and not Path(where).is_file():
            raise StoreError(
                f"no store at {where}: run `pyverify learn ARCHIVE` or `pyverify enroll …` first, or name it by --store"
            )
        try:
            engine = sa.create_engine(url)
            with engine.begin() as connection:
                if create:
                    schema.create(connection)
                version = schema.up_to_date(connection)
                if version != schema.VERSION:
                    raise StoreError(
                        f"{where}: a store of version {version}; this pyverify reads version {schema.VERSION}"
                    )
        except (sa.exc.SQLAlchemyError, ImportError, ValueError) as error:
            raise StoreError(f"{where}: not a baseline store, or it cannot be opened: {_reason(error)}") from error
        return cls(engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def machines(self) -> set[str]:
        """Names of the machines that have a baseline, whatever its state."""
        with self.reading() as connection:
            query = sa.select(schema.baseline.c.id).where(schema.baseline.c.scope == "machine").distinct()
            return set(connection.scalars(query))

    def add(self, baselines: Sequence[Baseline], *, action: str, reason: str | None = None) -> None:
        """Adds baselines in one transaction.

        Raises:
            StoreError: one of them is there already, or the database refuses.
        """
        if not baselines:
            return
        with self.changing(action, reason) as (connection, number):
            insert_baselines(connection, number, baselines)

    def references(self) -> References:
        """The snapshot to verify against: rows of the store to columns of a file, never all of them in memory.

        The file has no name any more when this returns: it goes with the references.
        """
        with tempfile.NamedTemporaryFile(prefix="pyverify-references-") as file:
            try:
                with pa.OSFile(file.name, "wb") as sink, self.reading() as connection:
                    write_snapshot(connection, Snapshot(sink))
            except (pa.ArrowException, ValueError, TypeError, OverflowError, RecursionError) as error:
                raise StoreError(f"the store holds values that cannot be: {error}") from error
            digest = hashlib.file_digest(file, "sha256").digest()
            try:
                with pa.memory_map(file.name) as mapped:
                    return References(mapped.read_buffer(), digest)
            except ReferencesError as error:
                raise StoreError(f"the store contradicts itself: {error}") from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection to read with; what the database refuses becomes a StoreError."""
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"the store cannot be read: {_reason(error)}") from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection within one transaction; what the database refuses becomes a StoreError."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"the store refuses the change: {_reason(error)}") from error

    @contextlib.contextmanager
    def changing(
        self, action: str, reason: str | None = None, who: str | None = None
    ) -> Iterator[tuple[sa.Connection, int]]:
        """One change with who made it and why: its transaction, and its number for the rows that come with it."""
        with self.writing() as connection:
            now = datetime.datetime.now(datetime.UTC)
            row = schema.change.insert().values(at=now, action=action, reason=reason, who=who)
            number: int = connection.execute(row.returning(schema.change.c.number)).scalar_one()
            yield connection, number


def insert_baselines(connection: sa.Connection, number: int, baselines: Sequence[Baseline]) -> None:
    """Adds baselines within a change; what they refer to is added where it is not there yet.

    Raises:
        StoreError: one of them is there already.
    """
    profiles = intern_profiles(connection, [baseline.allowed for baseline in baselines])
    sets = intern_sets(partial(intern, connection), [one for baseline in baselines for one in baseline.ima_sets])
    rows = [
        {
            **baseline_facts(b),
            "profile": profiles[profile_key(b.allowed)],
            "ima_set": None if b.ima is None else sets[b.ima.key],
            "accepted": accepted_json(b.accepted),
            "ima_superseded": to_json([[sets[old.ima.key], to_micros(old.until)] for old in b.ima_superseded]),
            "change": number,
        }
        for b in baselines
    ]
    try:
        connection.execute(schema.baseline.insert(), rows)
    except sa.exc.IntegrityError as error:
        raise StoreError(f"a baseline that was to be added exists already: {_reason(error)}") from error


def intern_profiles(connection: sa.Connection, profiles: Sequence[Sequence[Sequence[Allowed]]]) -> dict[bytes, int]:
    """Ids of profiles by their keys; what is not in the store yet is added."""
    sequences = {a.sequence.key: a.sequence for profile in profiles for members in profile for a in members}
    ids = intern(connection, schema.sequence, {key: sequence_row(s) for key, s in sequences.items()})
    bodies = {}
    for profile in profiles:
        if (key := profile_key(profile)) not in bodies:
            bodies[key] = {"body": profile_body(profile, ids)}
    return intern(connection, schema.profile, bodies)


def intern(connection: sa.Connection, table: sa.Table, rows: dict[bytes, dict[str, Any]]) -> dict[bytes, int]:
    """Ids of the rows with these keys; those that are not there yet are added."""
    ids = _look_up(connection, table, list(rows))
    missing = [key for key in rows if key not in ids]
    if missing:
        connection.execute(table.insert(), [{"key": key, **rows[key]} for key in missing])
        ids |= _look_up(connection, table, missing)
    return ids


def _look_up(connection: sa.Connection, table: sa.Table, keys: list[bytes]) -> dict[bytes, int]:
    ids: dict[bytes, int] = {}
    for at in range(0, len(keys), _CHUNK):
        query = sa.select(table.c.key, table.c.id).where(table.c.key.in_(keys[at : at + _CHUNK]))
        ids |= {bytes(row.key): row.id for row in connection.execute(query)}
    return ids


def _reason(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]

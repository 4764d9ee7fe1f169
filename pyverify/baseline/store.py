"""Where baselines, keys and challenges are kept: a SQLite file by default, or a PostgreSQL database by URL.

Rows are only ever added, each by a change that has a signed head (:mod:`pyverify.baseline.heads`). Contents are
interned: a sequence of events is one row for all machines that measured it, and a profile (what each of 24 PCRs may
hold) is one row for all machines that boot alike. So is a set of what IMA lists may hold.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import sqlalchemy as sa

from pyverify.baseline import anchor, database, heads, schema
from pyverify.baseline.database import chunks, reason
from pyverify.baseline.frozen import write_snapshot
from pyverify.baseline.heads import Head
from pyverify.baseline.identity import to_micros
from pyverify.baseline.ima_rows import intern_sets
from pyverify.baseline.model import Allowed, Baseline
from pyverify.baseline.opening import KeyPlace, is_ready, make_ready
from pyverify.baseline.references import References
from pyverify.baseline.rows import accepted_json, profile_body, profile_key, sequence_row, to_json
from pyverify.baseline.signing import PublicKey, Signer
from pyverify.baseline.snapshot import Snapshot, baseline_facts
from pyverify.errors import ReferencesError, StoreError


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of the whole store found: where its history stands, and whose signatures those are.

    Without ``is_pinned`` the key was taken from the store itself, which whoever replaced all of it could name.
    """

    head: Head
    key: PublicKey
    is_pinned: bool


class Store:
    """An open store. Use it as a context manager.

    Whatever is read is checked: the first time all of the history against all rows, and from then on what was added
    since. :meth:`references` and :meth:`verify` always check all of it.
    """

    def __init__(self, engine: sa.Engine, keys: KeyPlace, anchor_file: Path | None) -> None:
        self._engine = engine
        self._keys = keys
        self._anchor_file = anchor_file
        self._anchor = None if anchor_file is None else anchor.load(anchor_file)
        self._checked: Head | None = None

    @classmethod
    def open(
        cls,
        where: str,
        *,
        create: bool = False,
        signer: Signer | PublicKey | None = None,
        key_file: str | Path | None = None,
        anchor_file: str | Path | None = None,
    ) -> Self:
        """Opens the store at a path or database URL.

        Args:
            where: a file's path (SQLite), or a URL as SQLAlchemy takes them (SQLite, PostgreSQL).
            create: make it where it does not exist yet.
            signer: what signs changes; with a public key alone the store can only be read.
            key_file: PEM file of that key (default: ``<store>.key`` beside a SQLite file, else ``pyverify.key`` here).
                It is made with a new store. Where the default one is not there, the store can only be read, and its
                heads are checked with the key that the store itself names.
            anchor_file: keeps the last head apart: the store must contain that one, and when it is closed after all
                went well, the newest is kept. It is made where it is not there yet.

        Raises:
            StoreError: it does not exist, cannot be opened, is of another version or has another key;
                ``store.rolled-back`` or ``store.tampered`` where it is not what the anchor remembers.
        """
        if "://" not in where and not create and not Path(where).is_file():
            raise StoreError(
                f"no store at {where}: run `pyverify learn ARCHIVE` or `pyverify enroll …` first, or name it by --store"
            )
        engine = database.connect(where)
        try:
            keys = KeyPlace.of(engine, signer, None if key_file is None else Path(key_file))
            with database.reader(engine) as connection:
                ready = is_ready(connection, where, create=create)
            if not ready:
                with database.writer(engine) as connection:
                    make_ready(connection, keys)
            store = cls(engine, keys.loaded(), None if anchor_file is None else Path(anchor_file))
            with database.reader(engine) as connection:
                store._require_known(connection, heads.About.read(connection))
        except BaseException:
            engine.dispose()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._engine.dispose()
        if kind is None and self._anchor_file is not None and self._checked is not None:
            anchor.save(self._anchor_file, self._checked)

    @property
    def head(self) -> Head:
        """The head that the store had when it was last read or written here."""
        if self._checked is None:
            with self.reading():
                pass
        assert self._checked is not None  # noqa: S101
        return self._checked

    def verify(self, head: bytes | None = None) -> Verification:
        """Checks all there is: every row, every head, every signature, the anchor.

        Args:
            head: the beginning of the digest of a head that was seen before, 8 bytes at least.

        Raises:
            StoreError: ``store.tampered`` or ``store.rolled-back``, and why.
        """
        with database.reader(self._engine) as connection:
            found = self._check(connection, whole=True, every_signature=True)
            about = heads.About.read(connection)
            if head is not None:
                heads.require_beginning(connection, about, head)
        return Verification(found, about.key, self._keys.is_pinned)

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

        All of the history is checked, within the transaction that the rows are read in.

        The file has no name any more when this returns: it goes with the references.
        """
        with tempfile.NamedTemporaryFile(prefix="pyverify-references-") as file:
            with pa.OSFile(file.name, "wb") as sink, database.reader(self._engine) as connection, _values_that_can_be():
                self._check(connection, whole=True)
                write_snapshot(connection, Snapshot(sink))
            digest = hashlib.file_digest(file, "sha256").digest()
            try:
                with pa.memory_map(file.name) as mapped:
                    return References(mapped.read_buffer(), digest)
            except ReferencesError as error:
                raise StoreError(f"the store contradicts itself: {error}") from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the store, which was checked; what is refused becomes a StoreError."""
        with database.reader(self._engine) as connection, _values_that_can_be():
            self._check(connection)
            yield connection

    @contextlib.contextmanager
    def changing(
        self, action: str, reason: str | None = None, who: str | None = None
    ) -> Iterator[tuple[sa.Connection, int]]:
        """One change with who made it and why: its transaction, and its number for the rows that come with it.

        All rows that are added must have that number as their ``change``: its head covers them. A change that adds
        none leaves no trace.

        Raises:
            StoreError: the store cannot be written, or its history does not verify.
        """
        signer = self._keys.signer()
        with database.writer(self._engine) as connection, _values_that_can_be():
            last = self._check(connection)
            number = last.number + 1
            now = to_micros(datetime.datetime.now(datetime.UTC))
            row = {"number": number, "at": now, "action": action, "reason": reason, "who": who}
            connection.execute(schema.change.insert().values(row))
            yield connection, number
            if heads.has_rows(connection, number):
                last = heads.append(connection, last, signer)
            elif (transaction := connection.get_transaction()) is not None:
                transaction.rollback()
        self._checked = last

    def _check(self, connection: sa.Connection, *, whole: bool = False, every_signature: bool = False) -> Head:
        about = heads.About.read(connection)
        self._require_known(connection, about)
        since = None if whole else self._checked
        self._checked = heads.check(connection, about, since, every_signature=every_signature)
        return self._checked

    def _require_known(self, connection: sa.Connection, about: heads.About) -> None:
        """The store must have the key that is ours, and contain the head that the anchor keeps."""
        self._keys.require(about.key)
        if self._anchor is not None:
            heads.require(connection, about, self._anchor)


@contextlib.contextmanager
def _values_that_can_be() -> Iterator[None]:
    """What was signed need not make sense: no time that there is, no state, the id of nothing."""
    try:
        yield
    except (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise StoreError(f"the store holds values that cannot be: {error}") from error


def insert_baselines(connection: sa.Connection, number: int, baselines: Sequence[Baseline]) -> None:
    """Adds baselines within a change; what they refer to is added where it is not there yet.

    Raises:
        StoreError: one of them is there already.
    """
    profiles = intern_profiles(connection, number, [baseline.allowed for baseline in baselines])
    sets = intern_sets(
        partial(intern, connection, number), [one for baseline in baselines for one in baseline.ima_sets]
    )
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
        raise StoreError(f"a baseline that was to be added exists already: {reason(error)}") from error


def intern_profiles(
    connection: sa.Connection, number: int, profiles: Sequence[Sequence[Sequence[Allowed]]]
) -> dict[bytes, int]:
    """Ids of profiles by their keys; what is not in the store yet is added by the change of this number."""
    sequences = {a.sequence.key: a.sequence for profile in profiles for members in profile for a in members}
    ids = intern(connection, number, schema.sequence, {key: sequence_row(s) for key, s in sequences.items()})
    bodies = {}
    for profile in profiles:
        if (key := profile_key(profile)) not in bodies:
            bodies[key] = {"body": profile_body(profile, ids)}
    return intern(connection, number, schema.profile, bodies)


def intern(
    connection: sa.Connection, number: int, table: sa.Table, rows: dict[bytes, dict[str, Any]]
) -> dict[bytes, int]:
    """Ids of the rows with these keys; those that are not there yet are added by the change of this number."""
    ids = _look_up(connection, table, list(rows))
    missing = [key for key in rows if key not in ids]
    if missing:
        # Who changes a store is alone with it.
        first = 1 + (connection.scalar(sa.select(sa.func.max(table.c.id))) or 0)
        new = {key: first + at for at, key in enumerate(missing)}
        common = {"change": number}
        connection.execute(table.insert(), [{"key": k, "id": at, **rows[k], **common} for k, at in new.items()])
        ids |= new
    return ids


def _look_up(connection: sa.Connection, table: sa.Table, keys: list[bytes]) -> dict[bytes, int]:
    ids: dict[bytes, int] = {}
    for part in chunks(keys):
        query = sa.select(table.c.key, table.c.id).where(table.c.key.in_(part))
        ids |= {bytes(row.key): row.id for row in connection.execute(query)}
    return ids

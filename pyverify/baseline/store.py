"""Where baselines, keys and challenges are kept: a SQLite file by default, or what SQLAlchemy Core reaches by URL.

Rows are only ever added or change their state; contents are interned: a sequence of events is one row for all machines
that measured it, and a profile (what each of 24 PCRs may hold) is one row for all machines that boot alike. So is a set
of what IMA lists may hold.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa
import sqlalchemy as sa

from pyverify.algorithms import BANKS, BY_NAME, PCRS, banks_of, mask_of
from pyverify.baseline import schema
from pyverify.baseline.ima_rows import intern_sets, write_sets
from pyverify.baseline.model import Baseline, EventSequence, State
from pyverify.baseline.references import References
from pyverify.baseline.snapshot import BASELINE_FACTS, Snapshot, baseline_facts
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
            profiles = self._intern_profiles(connection, baselines)
            ima_sets = intern_sets(partial(_intern, connection), [b.ima for b in baselines if b.ima is not None])
            rows = [
                {
                    **baseline_facts(b),
                    "profile": profiles[_profile_key(b)],
                    "ima_set": None if b.ima is None else ima_sets[b.ima.key],
                    "change": number,
                }
                for b in baselines
            ]
            try:
                connection.execute(schema.baseline.insert(), rows)
            except sa.exc.IntegrityError as error:
                raise StoreError(f"a baseline that was to be added exists already: {_reason(error)}") from error

    def _intern_profiles(self, connection: sa.Connection, baselines: Sequence[Baseline]) -> dict[bytes, int]:
        sequences = {s.key: s for baseline in baselines for allowed in baseline.allowed for s in allowed}
        sequence_id = _intern(connection, schema.sequence, {key: _sequence_row(s) for key, s in sequences.items()})
        bodies = {}
        for baseline in baselines:
            if (key := _profile_key(baseline)) not in bodies:
                ids = [[sequence_id[s.key] for s in allowed] for allowed in baseline.allowed]
                bodies[key] = {"body": json.dumps(ids, separators=(",", ":"))}
        return _intern(connection, schema.profile, bodies)

    def references(self) -> References:
        """The snapshot to verify against: rows of the store to columns of a file, never all of them in memory.

        The file has no name any more when this returns: it goes with the references.
        """
        with tempfile.NamedTemporaryFile(prefix="pyverify-references-") as file:
            try:
                with pa.OSFile(file.name, "wb") as sink:
                    self._write(Snapshot(sink))
            except (pa.ArrowException, ValueError, TypeError, OverflowError, RecursionError) as error:
                raise StoreError(f"the store holds values that cannot be: {error}") from error
            digest = hashlib.file_digest(file, "sha256").digest()
            try:
                with pa.memory_map(file.name) as mapped:
                    return References(mapped.read_buffer(), digest)
            except ReferencesError as error:
                raise StoreError(f"the store contradicts itself: {error}") from error

    def _write(self, snapshot: Snapshot) -> None:
        with self.reading() as connection:
            _write_baselines(connection, snapshot)
            _write_identity(connection, snapshot)
        snapshot.finish()

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


def _write_baselines(connection: sa.Connection, snapshot: Snapshot) -> None:
    table = schema.baseline
    numbers = {
        row.id: snapshot.add_sequence(_parse_sequence(row)) for row in _stream(connection, sa.select(schema.sequence))
    }
    profiles = {
        row.id: snapshot.add_profile(_parse_profile(row.body, numbers))
        for row in _stream(connection, sa.select(schema.profile))
    }
    ima_sets = write_sets(snapshot, partial(_stream, connection))
    for row in _stream(connection, sa.select(table).order_by(table.c.scope, table.c.id, table.c.version)):
        has_set = row.ima_set is None or row.ima_set in ima_sets
        banks_are_masks = all(0 <= mask < 1 << len(BANKS) for mask in (row.log_banks, row.quoted_banks))
        if row.profile not in profiles or row.state not in list(State) or not banks_are_masks or not has_set:
            raise StoreError(f"the store contradicts itself: the baseline of {row.id!r} is damaged")
        facts = {name: getattr(row, name) for name in BASELINE_FACTS}
        snapshot.add_baseline(profile=profiles[row.profile], ima_set=ima_sets.get(row.ima_set), **facts)


def _write_identity(connection: sa.Connection, snapshot: Snapshot) -> None:
    key, asked, spent = schema.enrolled, schema.challenge, schema.spent
    columns = (key.c.machine, key.c.ak_name, key.c.since, key.c.until, key.c.level, key.c.sm2_mode)
    for row in _stream(connection, sa.select(*columns).order_by(key.c.ak_name)):
        snapshot.add("enrolled", row._asdict())
    is_same = sa.and_(asked.c.ak_name == spent.c.ak_name, asked.c.nonce == spent.c.nonce)
    challenges = sa.select(asked.c.ak_name, asked.c.nonce, asked.c.issued_at, spent.c.attest.label("spent_by"))
    order = (asked.c.ak_name, asked.c.issued_at, asked.c.nonce)
    for row in _stream(connection, challenges.select_from(asked.outerjoin(spent, is_same)).order_by(*order)):
        snapshot.add("challenges", row._asdict())
    for der in connection.scalars(sa.select(schema.root.c.certificate).order_by(schema.root.c.key)):
        snapshot.add("roots", der)


def _profile_key(baseline: Baseline) -> bytes:
    """SHA-256 over the keys of the sequences, PCR by PCR with their counts."""
    parts: Iterable[bytes] = (
        len(allowed).to_bytes(4, "big") + b"".join(s.key for s in allowed) for allowed in baseline.allowed
    )
    return hashlib.sha256(b"".join(parts)).digest()


def _intern(connection: sa.Connection, table: sa.Table, rows: dict[bytes, dict[str, Any]]) -> dict[bytes, int]:
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


def _stream(connection: sa.Connection, query: sa.Select[Any]) -> sa.Result[Any]:
    return connection.execution_options(yield_per=_CHUNK).execute(query)


def _sequence_row(sequence: EventSequence) -> dict[str, Any]:
    return {
        "start": sequence.start,
        "banks": mask_of(list(sequence.digests)),
        "events": json.dumps(list(zip(sequence.types, sequence.texts, strict=True)), separators=(",", ":")),
        "digests": b"".join(sequence.digests[bank.name] for bank in BANKS if bank.name in sequence.digests),
    }


def _parse_sequence(row: Any) -> EventSequence:
    try:
        types, texts = zip(*json.loads(row.events), strict=True) if row.events != "[]" else ((), ())
        digests, at = {}, 0
        for bank in banks_of(row.banks):
            size = len(types) * BY_NAME[bank].size
            digests[bank] = row.digests[at : at + size]
            at += size
        if at != len(row.digests) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{len(row.digests)} bytes of digests instead of {at}")
    except (ValueError, TypeError) as error:
        raise StoreError(f"sequence {row.id} of the store does not parse: {error}") from error
    return EventSequence(row.start, types, texts, digests)


def _parse_profile(body: str, numbers: dict[int, int]) -> list[list[int]]:
    try:
        profile = [[numbers[i] for i in allowed] for allowed in json.loads(body)]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"a profile of the store does not parse: {error!r}") from error
    if len(profile) != PCRS:
        raise StoreError(f"a profile of the store has {len(profile)} PCRs instead of {PCRS}")
    return profile


def _reason(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]

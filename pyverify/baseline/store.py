"""Where baselines are kept: one SQLite file by default, any database that SQLAlchemy Core reaches by URL.

Rows are only ever added or change their state; contents are interned: a sequence of events is one row for all machines
that measured it, and a profile (what each of 24 PCRs may hold) is one row for all machines that boot alike.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa

from pyverify.algorithms import PCRS, banks_of, mask_of
from pyverify.baseline.model import Baseline, EventSequence, State
from pyverify.baseline.references import References
from pyverify.errors import StoreError

_VERSION: Final = "1"
_CHUNK: Final = 500
"""Keys looked up in one statement: SQLite allows 999 parameters in its oldest builds still about."""

_metadata: Final = sa.MetaData()
_about: Final = sa.Table(
    "about", _metadata, sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.String)
)
_sequence: Final = sa.Table(
    "sequence",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
_profile: Final = sa.Table(
    "profile",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.LargeBinary(32), nullable=False, unique=True),
    # JSON: for each of 24 PCRs the ids of the sequences it may hold
    sa.Column("body", sa.String, nullable=False),
)
_change: Final = sa.Table(
    "change",
    _metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("reason", sa.String),
)
_baseline: Final = sa.Table(
    "baseline",
    _metadata,
    sa.Column("scope", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("profile", sa.ForeignKey("profile.id"), nullable=False),
    sa.Column("log_banks", sa.Integer, nullable=False),
    sa.Column("quoted_banks", sa.Integer, nullable=False),
    sa.Column("boot", sa.String, nullable=False),
    sa.Column("evidence_id", sa.LargeBinary(32), nullable=False),
    sa.Column("change", sa.ForeignKey("change.number"), nullable=False),
)


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
                f"no baseline store at {where}: run `pyverify learn ARCHIVE` first, or name one with --store"
            )
        try:
            engine = sa.create_engine(url)
            with engine.begin() as connection:
                if create:
                    _metadata.create_all(connection)
                version = connection.scalar(sa.select(_about.c.value).where(_about.c.key == "version"))
                if version is None and create:
                    connection.execute(_about.insert().values(key="version", value=_VERSION))
                elif version != _VERSION:
                    raise StoreError(f"{where}: a store of version {version}; this pyverify reads version {_VERSION}")
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise StoreError(f"{where}: not a baseline store, or it cannot be opened: {_reason(error)}") from error
        return cls(engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def machines(self) -> set[str]:
        """Names of the machines that have a baseline, whatever its state."""
        with self._reading() as connection:
            query = sa.select(_baseline.c.id).where(_baseline.c.scope == "machine").distinct()
            return set(connection.scalars(query))

    def add(self, baselines: Sequence[Baseline], *, action: str, reason: str | None = None) -> None:
        """Adds baselines in one transaction.

        Raises:
            StoreError: one of them is there already, or the database refuses.
        """
        if not baselines:
            return
        try:
            with self._engine.begin() as connection:
                now = datetime.datetime.now(datetime.UTC)
                change = connection.execute(_change.insert().values(at=now, action=action, reason=reason))
                number = change.inserted_primary_key[0] if change.inserted_primary_key else None
                profiles = self._intern_profiles(connection, baselines)
                connection.execute(
                    _baseline.insert(),
                    [
                        {
                            "scope": baseline.scope,
                            "id": baseline.id,
                            "version": baseline.version,
                            "state": str(baseline.state),
                            "profile": profiles[_profile_key(baseline)],
                            "log_banks": mask_of(baseline.log_banks),
                            "quoted_banks": mask_of(baseline.quoted_banks),
                            "boot": baseline.boot,
                            "evidence_id": baseline.evidence_id,
                            "change": number,
                        }
                        for baseline in baselines
                    ],
                )
        except sa.exc.IntegrityError as error:
            raise StoreError(f"a baseline that was to be added exists already: {_reason(error)}") from error
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"the store refuses the change: {_reason(error)}") from error

    def _intern_profiles(self, connection: sa.Connection, baselines: Sequence[Baseline]) -> dict[bytes, int]:
        sequences = {s.key: s for baseline in baselines for allowed in baseline.allowed for s in allowed}
        sequence_id = _intern(connection, _sequence, {key: sequence.to_bytes() for key, sequence in sequences.items()})
        bodies = {
            _profile_key(baseline): json.dumps([[sequence_id[s.key] for s in allowed] for allowed in baseline.allowed])
            for baseline in baselines
        }
        return _intern(connection, _profile, bodies)

    def baselines(self) -> list[Baseline]:
        """All baselines, equal sequences and profiles being one object."""
        with self._reading() as connection:
            sequences = {row.id: EventSequence.from_bytes(row.body) for row in connection.execute(sa.select(_sequence))}
            profiles = {row.id: _parse_profile(row.body, sequences) for row in connection.execute(sa.select(_profile))}
            rows = connection.execute(sa.select(_baseline))
            try:
                return [
                    Baseline(
                        scope=row.scope,
                        id=row.id,
                        version=row.version,
                        state=State(row.state),
                        allowed=profiles[row.profile],
                        log_banks=banks_of(row.log_banks),
                        quoted_banks=banks_of(row.quoted_banks),
                        boot=row.boot,
                        evidence_id=row.evidence_id,
                    )
                    for row in rows
                ]
            except (KeyError, ValueError) as error:
                raise StoreError(
                    f"the store contradicts itself: a baseline names {error}, which is not there"
                ) from error

    def references(self) -> References:
        """The snapshot to verify against."""
        return References.of(self.baselines())

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"the store cannot be read: {_reason(error)}") from error


def _profile_key(baseline: Baseline) -> bytes:
    """SHA-256 over the keys of the sequences, PCR by PCR with their counts."""
    parts: Iterable[bytes] = (
        len(allowed).to_bytes(4, "big") + b"".join(s.key for s in allowed) for allowed in baseline.allowed
    )
    return hashlib.sha256(b"".join(parts)).digest()


def _intern(connection: sa.Connection, table: sa.Table, bodies: dict[bytes, Any]) -> dict[bytes, int]:
    """Ids of the rows with these keys; those that are not there yet are added."""
    ids = _look_up(connection, table, list(bodies))
    missing = [key for key in bodies if key not in ids]
    if missing:
        connection.execute(table.insert(), [{"key": key, "body": bodies[key]} for key in missing])
        ids |= _look_up(connection, table, missing)
    return ids


def _look_up(connection: sa.Connection, table: sa.Table, keys: list[bytes]) -> dict[bytes, int]:
    ids: dict[bytes, int] = {}
    for at in range(0, len(keys), _CHUNK):
        query = sa.select(table.c.key, table.c.id).where(table.c.key.in_(keys[at : at + _CHUNK]))
        ids |= {bytes(row.key): row.id for row in connection.execute(query)}
    return ids


def _parse_profile(body: str, sequences: dict[int, EventSequence]) -> tuple[tuple[EventSequence, ...], ...]:
    try:
        profile = tuple(tuple(sequences[i] for i in allowed) for allowed in json.loads(body))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"a profile of the store does not parse: {error}") from error
    if len(profile) != PCRS:
        raise StoreError(f"a profile of the store has {len(profile)} PCRs instead of {PCRS}")
    return profile


def _reason(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]

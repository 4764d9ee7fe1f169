"""Transactions of a store: one snapshot for who reads, one at a time for who writes, in SQLite and in PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from pyverify.errors import StoreError

_PATIENCE: Final = 60
"""Seconds that a SQLite transaction waits for others."""
_LOCK: Final = int.from_bytes(b"pyverify")
"""The advisory lock that writers to a PostgreSQL database take: any number, as long as all take the same."""
_STEPS: Final = 1_000_000
"""Of SQLite's machine: some tenths of a second; the tables of a store take a few thousand to find and read."""
_BEGIN: Final = "begin"
_CHUNK: Final = 500
"""Values that one statement may name: SQLite allows 999 parameters in its oldest builds still about."""
_T = TypeVar("_T")


def connect(where: str) -> sa.Engine:
    """The engine of a store: a file's path (SQLite), or a URL as SQLAlchemy takes them.

    Raises:
        StoreError: there is no such database or driver, or none that this store can be kept in.
    """
    try:
        url = sa.make_url(where) if "://" in where else sa.URL.create("sqlite", database=where)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        name = url.get_backend_name()
        if name not in ("sqlite", "postgresql"):
            raise StoreError(f"no store can be kept in {name}: use SQLite or PostgreSQL")
        if name == "postgresql":
            return sa.create_engine(url)
        engine = sa.create_engine(url, connect_args={"timeout": _PATIENCE})
    except (sa.exc.SQLAlchemyError, ImportError, ValueError) as error:
        raise StoreError(f"{where.partition('://')[0]}: no such database: {reason(error)}") from error
    sa.event.listen(engine, "connect", _on_connect)
    sa.event.listen(engine, "begin", _on_begin)
    return engine


def shown(where: str) -> str:
    """Where a store is, as it may be printed: without a password."""
    return sa.make_url(where).render_as_string() if "://" in where else where


def is_file(engine: sa.Engine) -> bool:
    """Whether the store is a SQLite file, whose bytes others may write to."""
    return engine.dialect.name == "sqlite"


@contextlib.contextmanager
def reader(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that sees one state of the database, whatever others write.

    Raises:
        StoreError: the database refuses.
    """
    options: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with _transaction(engine, {_BEGIN: "BEGIN"} if is_file(engine) else options, "read") as connection:
        yield connection


@contextlib.contextmanager
def writer(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection within one transaction that has the right to write from its start on, alone.

    Raises:
        StoreError: the database refuses.
    """
    # In PostgreSQL each statement must see what was committed while this one waited for the lock.
    options = {_BEGIN: "BEGIN IMMEDIATE"} if is_file(engine) else {"isolation_level": "READ COMMITTED"}
    with _transaction(engine, options, "written") as connection:
        if not is_file(engine):
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        yield connection


@contextlib.contextmanager
def bounded(connection: sa.Connection) -> Iterator[None]:
    """What is read within must be little: pages of a hostile SQLite file may refer to each other without an end, those
    that say which tables there are too, and nothing has checked them yet."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.dbapi_connection
    driver.set_progress_handler(lambda: 1, _STEPS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


@contextlib.contextmanager
def _transaction(engine: sa.Engine, options: dict[str, Any], done: str) -> Iterator[sa.Connection]:
    try:
        with engine.connect() as connection:
            connection.execution_options(**options)
            with connection.begin():
                yield connection
    except sa.exc.SQLAlchemyError as error:
        raise StoreError(f"the store cannot be {done}: {reason(error)}") from error
    except (UnicodeDecodeError, MemoryError) as error:
        # What the driver makes of names and sizes in a damaged file.
        raise StoreError(f"the store cannot be {done}: it is damaged ({reason(error)})") from error
    except UnicodeEncodeError as error:
        raise StoreError(f"the store takes no text that is not Unicode: {error.object!a}") from error


def reason(error: BaseException) -> str:
    """What a database said, in one line."""
    return (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]


def _on_connect(connection: Any, _: object) -> None:
    connection.isolation_level = None  # the driver begins no transactions of its own
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")


def _on_begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


def chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Pieces that one statement may name."""
    for at in range(0, len(items), _CHUNK):
        yield items[at : at + _CHUNK]

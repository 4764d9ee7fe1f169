"""Signed heads: one a change, over all rows that it added and the head before it, so that no edit goes unseen.

What is hashed, all of it SHA-256:

* *rows* of a change: a line of JSON for each table that has some, in the order of names: ``[table,[columns],[rows]]``,
  rows in the order of their primary keys. Bytes are ``["hex"]``, text is ASCII with escapes, no blanks.
* *digest* of a head: store id, number of the change, digest of the head before (for the first one that of what the
  store is), rows.
* *signature*: by the store's key, over the digest.

A digest binds all that came before it: one signature over the last head makes all of them authentic. That a store was
put back to an older copy can only be seen from outside (:mod:`pyverify.baseline.anchor`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Self

import sqlalchemy as sa

from pyverify.baseline import schema
from pyverify.baseline.signing import PublicKey, Signer
from pyverify.errors import StoreError, UsageError

_ABOUT: Final = b"pyverify store 1\0"
_ROWS: Final = b"pyverify store rows 1\0"
_HEAD: Final = b"pyverify store head 1\0"
_SIGNED: Final = b"pyverify store signature 1\0"

STORE_ID_SIZE: Final = 16
_FETCH: Final = 2000
"""Rows fetched at a time."""

_Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """Where the history of a store stands: its id, the number of its last change (0: none yet), and the digest."""

    store_id: bytes
    number: int
    digest: bytes

    def __str__(self) -> str:
        return f"{self.number}:{self.digest.hex()}"


@dataclass(frozen=True, slots=True)
class About:
    """What a store is, for good: the first head binds it.

    ``layout`` is what the tables of a SQLite file were made by (:func:`layout_of`).
    """

    store_id: bytes
    key: PublicKey
    layout: bytes

    @classmethod
    def new(cls, connection: sa.Connection, key: PublicKey) -> Self:
        """Of a store whose tables were just made; written down, with its version."""
        about = cls(secrets.token_bytes(STORE_ID_SIZE), key, layout_of(connection))
        facts = {"version": schema.VERSION, **about._facts()}
        connection.execute(schema.about.insert(), [{"key": name, "value": value} for name, value in facts.items()])
        return about

    @classmethod
    def read(cls, connection: sa.Connection) -> Self:
        """Of a store that is there.

        Raises:
            StoreError: it does not say, or what cannot be.
        """
        try:
            facts = schema.facts(connection)
            store_id, data, layout = (bytes.fromhex(facts[name]) for name in ("store_id", "public_key", "layout"))
            about = cls(store_id, PublicKey(facts["algorithm"], data), layout)
            if len(store_id) != STORE_ID_SIZE or facts.keys() != {"version", *about._facts()}:
                raise ValueError
        except (KeyError, ValueError, TypeError) as error:
            raise tampered("what the store says of itself does not parse") from error
        return about

    def _facts(self) -> dict[str, str]:
        return {
            "store_id": self.store_id.hex(),
            "algorithm": self.key.algorithm,
            "public_key": self.key.data.hex(),
            "layout": self.layout.hex(),
        }

    @property
    def start(self) -> Head:
        """The head before the first change."""
        return Head(self.store_id, 0, hashlib.sha256(_ABOUT + _line(list(self._facts().items())).encode()).digest())


def tampered(what: str) -> StoreError:
    """The error for a history that does not verify."""
    return StoreError(
        f"store.tampered: {what}; do not rely on this store: find out who could write to it, and put back a copy that "
        "`pyverify baseline verify-store --anchor FILE` finds good"
    )


def rolled_back(what: str) -> StoreError:
    """The error for a history that is older than one that was seen before."""
    return StoreError(
        f"store.rolled-back: {what}; an older copy was put in the store's place: put the newest one back, or remove "
        "the anchor if that is what you meant to do"
    )


def append(connection: sa.Connection, last: Head, signer: Signer) -> Head:
    """Signs the change after the last head: the rows that were added with its number in this transaction."""
    number = last.number + 1
    found = [(table, _rows_of(connection, table, number)) for table in _touched(connection, last.number)]
    rows = _digest_of([(table, rows) for table, rows in found if rows])
    head = _next(last, rows)
    signature = signer.sign(_SIGNED + head.digest)
    values = {"change": number, "rows": rows, "digest": head.digest, "signature": signature}
    connection.execute(schema.head.insert().values(values))
    return head


def check(connection: sa.Connection, about: About, since: Head | None = None, *, every_signature: bool = False) -> Head:
    """Checks the history of a store against its rows, and gives its last head.

    Every row must belong to a change with a head, numbers must go up from 1 without a gap, and every head must be that
    of its rows and of the head before. The signature of the last one is checked, which stands for all.

    Args:
        connection: within a transaction that sees one state.
        about: what the store is, read within the same transaction.
        since: a head up to which all was checked before: only what came later is looked at.
        every_signature: check that of each head.

    Raises:
        StoreError: ``store.tampered``, or ``store.rolled-back`` where ``since`` is no longer there.
    """
    try:
        if since is None and connection.dialect.name == "sqlite":
            _check_file(connection, about)
        return _check(connection, about, since, every_signature)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise tampered(f"it holds values that cannot be ({error})") from error


def require(connection: sa.Connection, about: About, known: Head) -> None:
    """Raises StoreError where a store does not contain a head that was seen before."""
    if known.store_id != about.store_id:
        raise tampered("another store is in its place")
    found: Any = about.start.digest
    if known.number:
        found = connection.scalar(sa.select(schema.head.c.digest).where(schema.head.c.change == known.number))
    if found is None:
        raise rolled_back(f"change {known.number:,} is no longer in it")
    if found != known.digest:
        raise tampered(f"the head of change {known.number:,} is another than it was")


def require_beginning(connection: sa.Connection, about: About, beginning: bytes) -> None:
    """Raises StoreError where no head of a store begins with these bytes, of which there must be 8."""
    if len(beginning) < 8:
        raise UsageError(f"{beginning.hex()} is too short: 16 hex digits of a head tell it from others")
    digests = connection.scalars(sa.select(schema.head.c.digest))
    if not any(bytes(digest).startswith(beginning) for digest in (about.start.digest, *digests)):
        raise rolled_back(f"it has no head {beginning.hex()}")


def has_rows(connection: sa.Connection, number: int) -> bool:
    """Whether the last change added anything beside itself."""
    return any(table is not schema.change for table in _touched(connection, number - 1))


def _touched(connection: sa.Connection, after: int) -> list[sa.Table]:
    """The tables that have rows of changes after this one, by a single question."""
    names = set(connection.scalars(_TOUCHED, {"after": after}))
    return [table for table in schema.COVERED if table.name in names]


_TOUCHED: Final = sa.union_all(
    *(
        sa.select(sa.literal(table.name)).where(sa.exists().where(schema.change_of(table) > sa.bindparam("after")))
        for table in schema.COVERED
    )
)


def _check(connection: sa.Connection, about: About, since: Head | None, every_signature: bool) -> Head:
    head = about.start if since is None else since
    if since is not None and since.number:
        require(connection, about, since)
    with contextlib.closing(_Changes(connection, head.number)) as changes:
        return _follow(connection, about, head, changes, every_signature)


def _follow(connection: sa.Connection, about: About, head: Head, changes: _Changes, every_signature: bool) -> Head:
    """The heads after one that holds, each compared with what its rows make of it."""
    table, start, signature = schema.head, head, b""
    query = sa.select(table).where(table.c.change > head.number) if head.number else sa.select(table)
    with contextlib.closing(_raw(connection, table, query.order_by(table.c.change))) as signed:
        for number, rows, digest, signature in signed:
            if number != head.number + 1:
                raise tampered(f"the head of change {head.number + 1:,} is missing")
            head = _next(head, changes.take(number))
            if head.digest != digest or rows != changes.digest:
                raise tampered(
                    f"the rows of change {number:,} are not those that were signed: of {', '.join(changes.tables)} one "
                    "was edited, added or deleted"
                )
            changes.check_types()
            if every_signature:
                _check_signature(about, head, signature)
    changes.finish()
    if not every_signature and head != start:
        _check_signature(about, head, signature)
    return head


def _check_signature(about: About, head: Head, signature: bytes) -> None:
    if not about.key.verifies(signature, _SIGNED + head.digest):
        raise tampered(f"the signature of change {head.number:,} is not by the store's key")


def _next(last: Head, rows: bytes) -> Head:
    number = last.number + 1
    data = _HEAD + last.store_id + number.to_bytes(8) + last.digest + rows
    return Head(last.store_id, number, hashlib.sha256(data).digest())


class _Changes:
    """The rows of all tables after a change, handed out change by change."""

    def __init__(self, connection: sa.Connection, after: int) -> None:
        tables = _touched(connection, after) if after else schema.COVERED
        self._open = [_after(connection, table, after) for table in tables]
        self._groups = [
            (table, groupby(rows, itemgetter(_at(table, [schema.change_of(table)])[0])))
            for table, rows in zip(tables, self._open, strict=True)
        ]
        try:
            self._next = [next(groups, None) for _, groups in self._groups]
        except BaseException:
            self.close()
            raise
        self._found: list[tuple[sa.Table, list[_Row]]] = []
        self.digest = b""

    def take(self, number: int) -> bytes:
        """The digest of the rows of the next change."""
        found = []
        for at, (table, groups) in enumerate(self._groups):
            waiting = self._next[at]
            if waiting is not None and waiting[0] == number:
                found.append((table, list(waiting[1])))
                self._next[at] = next(groups, None)
        self._found = found
        self.digest = _digest_of(found)
        return self.digest

    @property
    def tables(self) -> list[str]:
        """The names of the tables that have rows of the change that was taken last."""
        return [table.name for table, _ in self._found]

    def check_types(self) -> None:
        """Raises TypeError where a value of that change is not of its column's type: SQLite takes any for any column,
        and who has the key could sign it, while all others rely on what it must be."""
        for table, rows in self._found:
            for at, column in enumerate(table.c):
                may_be = {column.type.python_type, type(None)} if column.nullable else {column.type.python_type}
                if not may_be.issuperset(map(type, map(itemgetter(at), rows))):
                    raise TypeError(f"{column.name} of {table.name}")

    def close(self) -> None:
        """Ends what is still being fetched."""
        for rows in self._open:
            rows.close()

    def finish(self) -> None:
        """Raises StoreError where rows are left over."""
        for (table, _), waiting in zip(self._groups, self._next, strict=True):
            if waiting is not None:
                raise tampered(f"a row of {table.name} belongs to change {waiting[0]!a}, which has no head")


def _rows_of(connection: sa.Connection, table: sa.Table, number: int) -> list[_Row]:
    return list(_raw(connection, table, sa.select(table).where(schema.change_of(table) == number)))


def _after(connection: sa.Connection, table: sa.Table, after: int) -> Generator[_Row, None, None]:
    """The rows of a table after a change in the order of changes; from the start on also such as belong to none."""
    change = schema.change_of(table)
    query = sa.select(table).where(change > after) if after else sa.select(table)
    return _raw(connection, table, query.order_by(change))


def _raw(connection: sa.Connection, table: sa.Table, query: sa.Select[Any]) -> Generator[_Row, None, None]:
    """Rows as the driver gives them: a value of another type than its column's must not become one of that type."""
    columns = [sa.type_coerce(column, sa.types.NULLTYPE).label(column.name) for column in table.c]
    plain: Any = query.with_only_columns(*columns, maintain_column_froms=True)
    with connection.execute(plain, execution_options={"yield_per": _FETCH}) as result:
        for rows in result.partitions():
            yield from map(tuple, rows)


def _digest_of(tables: list[tuple[sa.Table, list[_Row]]]) -> bytes:
    text = hashlib.sha256(_ROWS)
    for table, rows in tables:
        rows.sort(key=itemgetter(*_at(table, table.primary_key)))
        text.update(f"{_line([table.name, table.c.keys(), rows])}\n".encode("ascii"))
    return text.digest()


def _at(table: sa.Table, columns: Iterable[sa.Column[Any]]) -> list[int]:
    """The positions of columns in a row."""
    names = table.c.keys()
    return [names.index(column.name) for column in columns]


def _hex(value: object) -> list[str]:
    if isinstance(value, bytes):
        return [value.hex()]
    raise TypeError(f"a {type(value).__name__} is nothing that a row has")


_line: Final = json.JSONEncoder(separators=(",", ":"), default=_hex).encode


def layout_of(connection: sa.Connection) -> bytes:
    """SHA-256 over what made the tables of a SQLite file and their indices; nothing for a server, which has no file."""
    if connection.dialect.name != "sqlite":
        return b""
    # What ANALYZE leaves is no part of it.
    statistics = "type = 'table' AND name IN ('sqlite_stat1', 'sqlite_stat4')"
    query = f"SELECT type, name, tbl_name, sql FROM sqlite_master WHERE NOT ({statistics})"  # noqa: S608
    rows = sorted(_line(tuple(row)) for row in connection.exec_driver_sql(query))
    return hashlib.sha256("\n".join(rows).encode("ascii")).digest()


def _check_file(connection: sa.Connection, about: About) -> None:
    """A SQLite file has most rows twice, in their table and in indices, and answers from either: they must agree.

    So must what says where they are, or a table could be a view that answers as it likes.
    """
    if layout_of(connection) != about.layout:
        raise tampered("its tables are not as they were made")
    require_undamaged(connection)


def require_undamaged(connection: sa.Connection) -> None:
    """Raises StoreError where a SQLite file contradicts itself."""
    found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
    if found != "ok":
        raise tampered(f"the file is damaged ({found!a})")

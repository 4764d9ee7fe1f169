"""Edits of a store behind its back: values, rows, its schema, and bytes of its pages."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from fuzz import json_trees
from fuzz.store_seed import PAGE, sign

MOST_STEPS: Final = 200_000
"""Of SQLite's machine, in which a statement must be done: it is the store that is to run into what has no end."""


def hostile(data: bytes, edits: list[list[Any]], *, signed: bool, loose: bool) -> bytes:
    """The bytes of a store after these edits; those that do not work are left out.

    ``signed`` by the store's own key; with ``loose`` its tables take nulls from then on.
    """
    rows = sqlite3.connect(":memory:", isolation_level=None)
    rows.deserialize(data)
    rows.set_progress_handler(lambda: 1, MOST_STEPS)
    tables = _let_nulls_in(rows)
    rows.deserialize(rows.serialize())  # the schema is read again
    rows.execute("PRAGMA writable_schema = ON")
    later = []
    for edit in edits[:64]:
        kind, *arguments = edit
        if kind in OF_BYTES:
            later.append((OF_BYTES[kind], arguments))
            continue
        with contextlib.suppress(sqlite3.Error, TypeError, ValueError, OverflowError, UnicodeError):
            EDITS[kind](rows, *arguments)
    if not loose:
        rows.executemany("UPDATE sqlite_master SET sql = ? WHERE sql = ?", tables)
    with contextlib.suppress(sqlite3.Error, TypeError, ValueError, KeyError, OverflowError, UnicodeError):
        if signed:
            sign(rows)
    written = bytearray(rows.serialize())
    rows.close()
    for change, arguments in later:
        with contextlib.suppress(TypeError, ValueError, ArithmeticError):  # of a file of no bytes
            change(written, *arguments)
    return bytes(written)


def _let_nulls_in(rows: sqlite3.Connection) -> list[tuple[str, str]]:
    """What made each table, before and after."""
    rows.execute("PRAGMA writable_schema = ON")
    sqls = [sql for (sql,) in rows.execute("SELECT sql FROM sqlite_master WHERE type = 'table'").fetchall()]
    tables = [(sql, sql.replace(" NOT NULL", "")) for sql in sqls]
    rows.executemany("UPDATE sqlite_master SET sql = ? WHERE sql = ?", [(after, sql) for sql, after in tables])
    return tables


def _set(rows: sqlite3.Connection, table: str, row: int, column: str, value: Any) -> None:
    given, bound = _bound(value)
    rows.execute(f"UPDATE {_q(table)} SET {_q(column)} = {given} WHERE {_row(table)}", (bound, row))


def _add(rows: sqlite3.Connection, table: str, row: int, column: str, number: int) -> None:
    rows.execute(f"UPDATE {_q(table)} SET {_q(column)} = {_q(column)} + ? WHERE {_row(table)}", (number, row))


def _flip(rows: sqlite3.Connection, table: str, row: int, column: str, at: int, bit: int) -> None:
    """One bit of text or of a blob, whose type stays."""
    found = rows.execute(
        f"SELECT typeof({_q(column)}), CAST({_q(column)} AS BLOB) FROM {_q(table)} WHERE {_row(table)}", (row,)
    )
    kind, old = found.fetchone()
    new = bytearray(old)
    new[at % len(new)] ^= bit
    _set(rows, table, row, column, {"text_hex" if kind == "text" else "hex": new.hex()})


def _tree(rows: sqlite3.Connection, table: str, row: int, column: str, seed: int) -> None:
    """A value that is JSON, mutated as a tree."""
    (old,) = rows.execute(f"SELECT {_q(column)} FROM {_q(table)} WHERE {_row(table)}", (row,)).fetchone()
    new = json_trees.mutate_json(old.encode(), 1 << 16, seed & ~1, lambda data, most: data[::-1][:most])
    with contextlib.suppress(ValueError):
        new = json.dumps(json.loads(new), separators=(",", ":")).encode()
    _set(rows, table, row, column, {"text_hex": new.hex()})


def _delete(rows: sqlite3.Connection, table: str, row: int) -> None:
    rows.execute(f"DELETE FROM {_q(table)} WHERE {_row(table)}", (row,))


def _copy(rows: sqlite3.Connection, table: str, row: int) -> None:
    rows.execute(f"INSERT OR IGNORE INTO {_q(table)} SELECT * FROM {_q(table)} WHERE {_row(table)}", (row,))


def _swap(rows: sqlite3.Connection, table: str, row: int, other: int, column: str) -> None:
    """A value of one row for that of another, both ways where they may be the same for a moment."""
    query = f"SELECT {_q(column)} FROM {_q(table)} WHERE {_row(table)}"
    (one,), (two,) = (rows.execute(query, (at,)).fetchone() for at in (row, other))
    update = f"UPDATE OR IGNORE {_q(table)} SET {_q(column)} = ? WHERE {_row(table)}"
    rows.execute(update, (two, row))
    rows.execute(update, (one, other))


def _reverse(rows: sqlite3.Connection, table: str, _: int) -> None:
    """The rows in another order in the file."""
    rows.execute(f"UPDATE {_q(table)} SET rowid = -rowid")


def _bare(rows: sqlite3.Connection, table: str, _: int = 0) -> None:
    """The same table without keys and indices."""
    columns = rows.execute(f"PRAGMA table_info({_q(table)})").fetchall()
    body = ", ".join(f"{_q(name)} {kind}" for _, name, kind, *_ in columns)
    rows.execute(f"CREATE TABLE bare ({body})")
    rows.execute(f"INSERT INTO bare SELECT * FROM {_q(table)}")
    rows.execute(f"DROP TABLE {_q(table)}")
    rows.execute(f"CREATE TABLE {_q(table)} ({body})")
    rows.execute(f"INSERT INTO {_q(table)} SELECT * FROM bare")
    rows.execute("DROP TABLE bare")


def _sql(rows: sqlite3.Connection, number: int, table: str) -> None:
    for statement in HOSTILE[number % len(HOSTILE)].split(";"):
        rows.execute(statement.replace("TABLE_NAME", _q(table)))


def _schema(rows: sqlite3.Connection, name: str, column: str, value: Any) -> None:
    """What the file says that it holds, and where."""
    given, bound = _bound(value)
    rows.execute(f"UPDATE sqlite_master SET {_q(column)} = {given} WHERE name = ?", (bound, name))


EDITS: Final[dict[str, Callable[..., None]]] = {
    "set": _set,
    "add": _add,
    "flip": _flip,
    "tree": _tree,
    "delete": _delete,
    "copy": _copy,
    "swap": _swap,
    "reverse": _reverse,
    "bare": _bare,
    "sql": _sql,
    "schema": _schema,
}
"""Edits of what SQLite sees, by their names."""

ENDLESS: Final = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
HOSTILE: Final = (
    "DROP TABLE TABLE_NAME",
    "ALTER TABLE TABLE_NAME RENAME TO other",
    "ALTER TABLE TABLE_NAME ADD COLUMN more INTEGER",
    "ALTER TABLE TABLE_NAME ADD COLUMN more VARCHAR DEFAULT 'x'",
    "ALTER TABLE TABLE_NAME RENAME TO kept; CREATE VIEW TABLE_NAME AS SELECT * FROM kept",
    f"DROP TABLE TABLE_NAME; CREATE VIEW TABLE_NAME AS {ENDLESS} SELECT i AS key, i AS value, i AS change FROM n",
    "ALTER TABLE TABLE_NAME RENAME TO kept; CREATE VIEW TABLE_NAME AS SELECT kept.* FROM kept, kept, kept, kept, kept",
    "CREATE TABLE more (a, b AS (randomblob(100000)))",
    "DROP TABLE about; CREATE TABLE about (key, value AS (printf('%.*c', 100000000, 'x')))",
    "CREATE TABLE more (a CHECK (like('%a%a%a%a%a%a%a%a%b', a))); INSERT INTO more VALUES (hex(zeroblob(500)))",
    "CREATE VIRTUAL TABLE more USING fts5(a)",
    "CREATE VIRTUAL TABLE more USING rtree(a, b, c)",
    "CREATE TRIGGER t AFTER INSERT ON TABLE_NAME BEGIN DELETE FROM about; END",
    "CREATE TRIGGER t AFTER INSERT ON TABLE_NAME BEGIN INSERT INTO TABLE_NAME SELECT * FROM TABLE_NAME; END",
    f"CREATE TRIGGER t AFTER INSERT ON change BEGIN {ENDLESS} DELETE FROM head WHERE change IN (SELECT i FROM n); END",
    "CREATE INDEX more ON TABLE_NAME (length(rowid))",
    "CREATE UNIQUE INDEX more ON change (abs(number)) WHERE number > 3",
    "DROP INDEX ix_baseline_change",
    "ANALYZE; UPDATE sqlite_stat1 SET stat = '1 1 1 1 1 1'",
    "ANALYZE; UPDATE sqlite_stat1 SET stat = hex(zeroblob(5000)), tbl = 'change'",
    "CREATE TABLE more AS SELECT * FROM TABLE_NAME",
    "PRAGMA user_version = -1",
    "PRAGMA application_id = 7",
    "PRAGMA auto_vacuum = FULL; VACUUM",
    "PRAGMA encoding = 'UTF-16le'; VACUUM",
)
"""Statements for a table."""


def _byte(data: bytearray, at: int, bit: int) -> None:
    data[at % len(data)] ^= bit & 0xFF


def _page(data: bytearray, one: int, other: int) -> None:
    """A page over another."""
    n = len(data) // PAGE
    one, other = one % n * PAGE, other % n * PAGE
    data[one : one + PAGE] = data[other : other + PAGE]


def _cut(data: bytearray, size: int) -> None:
    del data[size % (len(data) + 1) :]


OF_BYTES: Final[dict[str, Callable[..., None]]] = {"byte": _byte, "page": _page, "cut": _cut}


def _row(table: str) -> str:
    """The condition for one row, counted around."""
    return f"rowid = (SELECT rowid FROM {_q(table)} LIMIT 1 OFFSET abs(?) % (SELECT count(*) FROM {_q(table)}))"


def _q(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _bound(value: Any) -> tuple[str, Any]:
    """How SQLite is given a value of JSON: numbers and null as they are, text and blobs named so."""
    match value:
        case {"text": str(text)}:
            return "?", text
        case {"hex": str(text)}:
            return "?", bytes.fromhex(text)
        case {"zeros": int(size)}:
            return "?", bytes(min(size, 1 << 20))
        case {"text_hex": str(text)}:  # which need not be Unicode
            return "CAST(? AS TEXT)", bytes.fromhex(text)
        case _:
            return "?", value

"""Stores in SQLite files that compute, or hold what cannot be, by the hand of who has the key or of nobody's (found by
fuzzing): refused, and before anything of them runs."""

from __future__ import annotations

import argparse
import gc
import sqlite3
import struct
import time
from pathlib import Path

import pytest
from baselines_by_hand import of_log
from conftest import small_log
from store_tools import damage, damage_and_sign, old_store
from test_enrollment import AK
from test_ledger import NOW

from pyverify import Store, StoreError
from pyverify.baseline import database, heads
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.history import history, load, versions
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.cli.baseline import list_

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


@pytest.fixture
def path(tmp_path) -> Path:
    """A store of three changes."""
    path = tmp_path / "s.db"
    with Store.open(str(path), create=True) as store:
        store.add([of_log(name="a"), of_log(small_log(["sha256"]), "b")], action="learn")
        Enrollment(store).enroll("a", AK, at=NOW)
        Lifecycle(store).ignore(["b"], until=NOW, who=None, reason=None)
    return path


COMPUTES = [
    pytest.param(f"DROP TABLE about; CREATE VIEW about AS {ENDLESS} SELECT i AS key, 2 AS value FROM n", id="view"),
    pytest.param("CREATE VIEW more AS SELECT 1", id="another view"),
    pytest.param("CREATE TRIGGER t AFTER INSERT ON spent BEGIN DELETE FROM spent; END", id="trigger"),
    pytest.param("CREATE TABLE more (a, b AS (printf('%.*c', 900000000, 'x')))", id="generated column"),
    pytest.param("CREATE TABLE more (a CHECK (like('%a%a%a%a%a%b', a)))", id="check"),
    pytest.param("CREATE TABLE more (a DEFAULT 'x')", id="default"),
    pytest.param("CREATE INDEX more ON change (abs(number))", id="index over an expression"),
    pytest.param("CREATE INDEX more ON change (number) WHERE number", id="index of some rows"),
    pytest.param("CREATE VIRTUAL TABLE more USING fts5(a)", id="virtual table"),
]


@pytest.mark.parametrize("statement", COMPUTES)
def test_a_file_that_computes_is_refused_before_any_of_it_runs(path, statement):
    damage(path, statement)
    with pytest.raises(StoreError, match=r"^store\.tampered: it holds more than tables"):
        Store.open(str(path))


@pytest.mark.parametrize("statement", COMPUTES)
def test_an_older_store_that_computes_is_not_brought_up_to_date(tmp_path, statement):
    old_store(tmp_path / "s.db", 2)
    damage(tmp_path / "s.db", statement)
    with pytest.raises(StoreError, match=r"^store\.tampered: it holds more than tables"):
        Store.open(str(tmp_path / "s.db"))
    assert not (tmp_path / "s.db.key").exists()


def test_no_store_is_made_beside_what_computes(tmp_path):
    damage(tmp_path / "s.db", "CREATE VIEW more AS SELECT 1")
    with pytest.raises(StoreError, match="not a baseline store"):
        Store.open(str(tmp_path / "s.db"))
    with pytest.raises(StoreError, match="more than tables"):
        Store.open(str(tmp_path / "s.db"), create=True)


def test_statistics_are_no_harm(path):
    damage(path, "ANALYZE")
    with Store.open(str(path)) as store:
        assert store.verify().head.number == 3


def test_what_a_store_says_of_itself_has_an_end(path):
    rows = sqlite3.connect(path)
    rows.executemany("INSERT INTO about VALUES (?, 'x')", [(f"more {n}",) for n in range(100_000)])
    rows.commit()
    rows.close()
    with pytest.raises(StoreError, match=r"^store\.tampered: what the store says of itself does not parse"):
        Store.open(str(path))


def let_nulls_in(path: Path, table: str) -> None:
    stripped = "replace(sql, ' NOT NULL', '')"
    damage(path, "PRAGMA writable_schema = ON", f"UPDATE sqlite_master SET sql = {stripped} WHERE name = '{table}'")


def as_if_made_so(path: Path) -> None:
    """The store says that its tables were made as they are now."""
    engine = database.connect(str(path))
    with database.reader(engine) as connection:
        layout = heads.layout_of(connection).hex()
    engine.dispose()
    damage(path, f"UPDATE about SET value = '{layout}' WHERE key = 'layout'")


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("baseline", "boot", "NULL"),
        ("baseline", "boot", "x'37'"),
        ("baseline", "evidence_id", "'text'"),
        ("baseline", "evidence_id", "100000000000"),  # bytes(100000000000) is as many zeros
        ("change", "at", "'yesterday'"),
        ("change", "at", "0.5"),
        ("change", "action", "x'00'"),
        ("sequence", "digests", "NULL"),
        ("enrolled", "since", "'x'"),
        ("ignored", "until", "x'00'"),
    ],
)
def test_values_of_another_type_are_refused_whoever_signed_them(path, table, column, value):
    let_nulls_in(path, table)
    as_if_made_so(path)
    damage_and_sign(path, f"UPDATE {table} SET {column} = {value}")
    with Store.open(str(path)) as store:
        for use in (store.verify, store.references, lambda: versions(store), Enrollment(store).keys):
            with pytest.raises(StoreError, match=rf"^store\.tampered: .*cannot be \({column} of {table}\)"):
                use()
    with pytest.raises(StoreError):
        list_(argparse.Namespace(store=str(path), store_key=None, anchor=None, format="table", all=True))


@pytest.mark.parametrize(
    ("statement", "use"),
    [
        ("UPDATE change SET at = 1 << 62", versions),
        ("UPDATE change SET at = 1 << 62", lambda store: history(store, "machine", "a")),
        ("UPDATE ignored SET until = 1 << 62", lambda store: history(store, "machine", "b")),
        ("UPDATE baseline SET state = 'perhaps'", versions),
        ("UPDATE baseline SET profile = 99", lambda store: load(store, "machine", "a")),
        ("UPDATE baseline SET ima_set = 99", lambda store: load(store, "machine", "a")),
        ("UPDATE profile SET body = replace(body, '[1]', '[99]')", lambda store: load(store, "machine", "a")),
        ("UPDATE baseline SET origin = 'heaven'", lambda store: load(store, "machine", "a")),
    ],
)
def test_values_that_cannot_be_are_refused_where_they_are_read(path, statement, use):
    damage_and_sign(path, statement)
    with Store.open(str(path)) as store, pytest.raises(StoreError):
        use(store)


@pytest.mark.parametrize("value", ["'text'", "100000000000", "NULL"])
def test_a_head_of_another_type_is_not_the_one_that_the_anchor_knows(path, tmp_path, value):
    anchor = tmp_path / "anchor"
    with Store.open(str(path), anchor_file=anchor) as store:
        store.verify()
    let_nulls_in(path, "head")
    damage(path, f"UPDATE head SET digest = {value}")
    with pytest.raises(StoreError, match=r"^store\.(tampered|rolled-back): "):
        Store.open(str(path), anchor_file=anchor)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE change SET at = 'yesterday'",
        "UPDATE change SET at = x'00'",
        "UPDATE baseline SET change = 99",
        "DROP TABLE change",
        "ALTER TABLE challenge DROP COLUMN machine; ALTER TABLE enrolled DROP COLUMN until",
    ],
)
def test_an_older_store_of_values_that_cannot_be_is_refused(tmp_path, statement):
    old_store(tmp_path / "s.db", 2)
    damage(tmp_path / "s.db", "PRAGMA foreign_keys = OFF", statement)
    with pytest.raises(StoreError):
        Store.open(str(tmp_path / "s.db"))


def test_text_that_is_none_is_told_once(path, caplog):
    damage(path, "UPDATE sequence SET events = CAST(x'ff' AS TEXT)")
    with Store.open(str(path)) as store, pytest.raises(StoreError):
        store.references()
    gc.collect()
    assert not caplog.records  # no cursor that is left open is complained of


def page(kind: int, cells: list[bytes], right: int | None = None, head: bytes = b"") -> bytes:
    """A page of a SQLite file: 13 is a leaf of a table, 5 one that only refers to others, 10 a leaf of an index."""
    out, at, pointers = bytearray(4096), 4096, b""
    for cell in cells:
        at -= len(cell)
        out[at : at + len(cell)] = cell
        pointers += struct.pack(">H", at)
    header = struct.pack(">BHHHB", kind, 0, len(cells), at, 0) + (b"" if right is None else struct.pack(">I", right))
    out[: len(head + header + pointers)] = head + header + pointers
    return bytes(out)


def record(rowid: int, *values: str | int | None) -> bytes:
    """A row in a leaf."""
    kinds = [0 if value is None else 1 if isinstance(value, int) else 13 + 2 * len(value) for value in values]
    types = b"".join(bytes([0x80 | kind >> 7, kind & 0x7F]) if kind > 127 else bytes([kind]) for kind in kinds)
    body = b"".join(bytes([one]) if isinstance(one, int) else (one or "").encode() for one in values)
    payload = bytes([len(types) + 1]) + types + body
    size = bytes([0x80 | len(payload) >> 7, len(payload) & 0x7F]) if len(payload) > 127 else bytes([len(payload)])
    return size + bytes([rowid]) + payload


def test_a_file_whose_pages_refer_to_each_other_without_end_is_given_up_soon(tmp_path):
    """Six pages, each of which refers 501 times to the next, and the last has 60 rows that say the same of an index."""
    empty = sqlite3.connect(":memory:")
    empty.execute("CREATE TABLE x (a)")
    head = bytearray(empty.serialize()[:100])
    head[28:32] = (11).to_bytes(4)
    about = "CREATE TABLE about (key VARCHAR, value VARCHAR, UNIQUE (key))"
    pages = [
        page(5, [struct.pack(">IB", 2, 1)], right=3, head=bytes(head)),
        page(13, [record(1, "table", "about", "about", 10, about)]),
        *(page(5, [struct.pack(">IB", number + 1, 9)] * 500, right=number + 1) for number in range(3, 9)),
        page(13, [record(2, "index", "sqlite_autoindex_about_1", "about", 11, None)] * 60),
        page(13, []),
        page(10, []),
    ]
    (tmp_path / "s.db").write_bytes(b"".join(pages))
    started = time.process_time()
    with pytest.raises(StoreError):
        Store.open(str(tmp_path / "s.db"))
    assert time.process_time() - started < 10  # it would take ages

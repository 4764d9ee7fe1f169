"""One store in two databases: what goes in comes out, what is edited is seen, many writers lose nothing."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import postgres
import pytest
import sqlalchemy as sa
from baselines_by_hand import BANKS, baseline
from conftest import ROOT, small_log
from store_tools import damage
from test_enrollment import AK as AK_AREA
from test_ima_baseline import SETS, sets_of
from test_ledger import AK, NEW, NOW, OLD, QUOTE

from pyverify import Store, StoreError
from pyverify.baseline import database, heads, schema
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.freshness import Freshness
from pyverify.baseline.identity import Challenge, KeyLevel
from pyverify.baseline.ledger import Ledger
from pyverify.baseline.model import State
from pyverify.errors import UsageError

HOUR = datetime.timedelta(hours=1)
_numbers = itertools.count()


@dataclass(frozen=True)
class Place:
    """Where a store is, and the file of its key."""

    where: str
    key_file: Path

    def open(self, **options) -> Store:
        return Store.open(self.where, **({"key_file": self.key_file} | options))

    @contextlib.contextmanager
    def raw(self):
        """A connection past the store."""
        engine = database.connect(self.where)
        with engine.begin() as connection:
            yield connection
        engine.dispose()


@pytest.fixture(scope="session")
def postgres_server():
    with postgres.server() as url:
        yield url


KINDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def filled_once(request, tmp_path_factory):
    """A store with something in it of each kind, which is made once and copied from."""
    made: dict[str, Place] = {}

    def get(kind: str) -> Place:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            made[kind] = Place(str(folder / "s.db"), folder / "s.key")
            if kind == "postgresql":
                server = request.getfixturevalue("postgres_server")
                made[kind] = Place(postgres.new_database(server, "filled"), folder / "s.key")
            fill(made[kind])
        return made[kind]

    return get


@pytest.fixture(params=KINDS)
def filled(request, filled_once, tmp_path) -> Place:
    """A store of eight changes in each kind of database."""
    original = filled_once(request.param)
    shutil.copy(original.key_file, tmp_path / "s.key")
    if request.param == "sqlite":
        shutil.copy(original.where, tmp_path / "s.db")
        return Place(str(tmp_path / "s.db"), tmp_path / "s.key")
    server, name = request.getfixturevalue("postgres_server"), f"copy{next(_numbers)}"
    return Place(postgres.new_database(server, name, template="filled"), tmp_path / "s.key")


@pytest.fixture(params=KINDS)
def place(request, tmp_path) -> Place:
    """A new, empty store in each kind of database."""
    where = str(tmp_path / "s.db")
    if request.param == "postgresql":
        where = postgres.new_database(request.getfixturevalue("postgres_server"), f"new{next(_numbers)}")
    found = Place(where, tmp_path / "s.key")
    found.open(create=True).__exit__(None)
    return found


def fill(place: Place) -> None:
    """Something in most tables, by eight changes."""
    with place.open(create=True) as store:
        items = [baseline("a"), baseline("b", small_log(BANKS, command_line=b"x"), state=State.PENDING)]
        store.add(items, action="learn")
        store.add([baseline("c", ima=SETS["c"]), baseline("d", ima=SETS["a"])], action="learn", reason="später ✓")
        enrollment, ledger = Enrollment(store), Ledger(store)
        enrollment.pin([b"der"], who="root")
        key = enrollment.enroll("a", AK_AREA, at=NOW).key
        enrollment.enroll("a", AK_AREA, at=NOW, until=NOW + HOUR)
        ledger.add([Challenge(key.ak_name, nonce, NOW, "a") for nonce in (OLD, NEW)])
        ledger.spend(key.ak_name, OLD, QUOTE, at=NOW)
        with store.changing("assign", "by hand", "somebody") as (connection, number):
            connection.execute(schema.cohort_member.insert().values(machine="a", cohort="x", change=number))
            transition = {"scope": "machine", "id": "b", "version": 1, "state": "active", "change": number}
            connection.execute(schema.transition.insert().values(transition))


def test_what_goes_in_comes_out(filled):
    with filled.open() as store:
        references = store.references()
        assert references.columns.field("id").to_pylist() == ["a", "b", "c", "d"]
        assert references.columns.field("state").to_pylist() == ["active"] * 4
        assert sets_of(references) == {"a": None, "b": None, "c": SETS["c"], "d": SETS["a"]}
        (key,) = Enrollment(store).keys()
        assert (key.machine, key.until, key.level) == ("a", NOW + HOUR, KeyLevel.ENROLLED)
        assert references.identity.key(key.ak_name) == key
        assert references.identity.roots == [b"der"]
        assert {c.nonce: c.spent_by for c in references.identity.challenges(key.ak_name)} == {OLD: QUOTE, NEW: None}
        assert references.machines.cohort_of == {"a": "x"}
        assert store.head.number == 8
        assert store.verify().head == store.head
    with filled.open() as store:
        assert store.references().id == references.id


def test_both_databases_hash_the_same_rows_alike(filled):
    """What a row is does not depend on the database: types come back as they went in."""
    with filled.open() as store, store.reading() as connection:
        for table in schema.COVERED:
            for row in heads._raw(connection, table, sa.select(table)):
                for column, value in zip(table.c, row, strict=True):
                    wanted = bytes if isinstance(column.type, sa.LargeBinary) else column.type.python_type
                    assert value is None or type(value) is wanted, (table.name, column.name, value)


def test_a_change_that_adds_nothing_leaves_no_trace(filled):
    with filled.open() as store:
        before = store.verify().head
        with store.changing("look"):
            pass
        assert store.verify().head == before
        assert Ledger(store).spend(AK, OLD, QUOTE, at=NOW) is Freshness.UNFRESH_NO_ENTRY
        assert store.verify().head == before


def test_a_change_that_fails_leaves_no_trace(filled):
    with filled.open() as store:
        before = store.verify().head
        with pytest.raises(ZeroDivisionError), store.changing("fail") as (connection, number):
            connection.execute(schema.root.insert().values(key=bytes(32), certificate=b"", change=number))
            raise ZeroDivisionError
        with pytest.raises(StoreError, match="cannot be written"), store.changing("fail") as (connection, number):
            connection.execute(schema.root.insert().values(key=bytes(32), certificate=None, change=number))
        assert store.verify().head == before
        with store.changing("succeed") as (connection, number):
            connection.execute(schema.root.insert().values(key=bytes(32), certificate=b"", change=number))
        assert store.verify().head.number == before.number + 1


def test_a_reader_sees_one_state_whatever_is_written(filled):
    with filled.open() as store:
        count = sa.select(sa.func.count()).select_from(schema.baseline)
        with store.reading() as connection:
            before = connection.scalar(count)
            if filled.where.startswith("postgresql"):  # in SQLite the writer waits until the reader is done
                with filled.open() as other:
                    other.add([baseline("new")], action="learn")
            assert connection.scalar(count) == before == 4


_WRITER = """
import datetime, hashlib, sys
from baselines_by_hand import baseline
from pyverify import Store
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.identity import Challenge
from pyverify.baseline.ledger import Ledger
from pyverify.errors import UsageError
where, key_file, name, rounds = sys.argv[1:]
now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
ak = bytes.fromhex("000b") + bytes(32)
with Store.open(where, key_file=key_file) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for i in range(int(rounds)):
        store.add([baseline(f"{name}{i}")], action="learn")
        own = hashlib.sha256(f"{name}{i}".encode()).digest()
        Ledger(store).add([Challenge(ak, own, now), Challenge(ak, bytes([i]) * 32, now)])
        print(Ledger(store).spend(ak, bytes([i]) * 32, own, at=now).name, flush=True)
    store.references()
"""


def writers(filled: Place, names: str, rounds: int) -> list[subprocess.Popen]:
    """Processes that write to one store from the same moment on."""
    command = [sys.executable, "-c", _WRITER, filled.where, str(filled.key_file)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([*command, name, str(rounds)], cwd=ROOT / "tests", **pipes) for name in names]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    return started


def test_writers_at_the_same_moment_lose_nothing(place):
    rounds = 6
    said = [process.communicate(timeout=120)[0].split() for process in writers(place, "xyz", rounds)]
    assert all(len(lines) == rounds for lines in said)
    for codes in zip(*said, strict=True):  # of three that spend one nonce, one is first
        assert sorted(codes) == ["FRESH", "REPLAYED", "REPLAYED"]
    with place.open() as store:
        references = store.references()
        assert sorted(references.columns.field("id").to_pylist()) == sorted(
            f"{name}{i}" for name in "xyz" for i in range(rounds)
        )
        ak = bytes.fromhex("000b") + bytes(32)
        challenges = references.identity.challenges(ak)
        assert len(challenges) == 4 * rounds  # each one's own, and those that all added
        assert sum(one.spent_by is not None for one in challenges) == rounds
        assert store.verify().head.number == 3 * rounds + 3 * rounds + rounds


def test_a_writer_that_is_killed_leaves_a_whole_store(filled):
    for delay in (0.02, 0.05, 0.11):
        (process,) = writers(filled, "k", 200)
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        with filled.open() as store:
            known = store.verify().head.number
            store.add([baseline(f"after{known}-{delay}")], action="learn")
            assert store.verify().head.number == known + 1
        with filled.raw() as connection:  # so that the next writer begins anew
            learned = connection.scalar(sa.select(sa.func.count()).where(schema.baseline.c.id.like("k%")))
        if learned:
            break


def test_a_key_is_enrolled_once_by_whoever_comes_first(place):
    with place.open() as store:
        Enrollment(store).enroll("m", AK_AREA, at=NOW)
        with pytest.raises(UsageError, match=r"key\.shared"):
            Enrollment(store).enroll("n", AK_AREA, at=NOW)
        assert [key.machine for key in Enrollment(store).keys(None)] == ["m"]


EDITS = [
    "UPDATE baseline SET state = 'active' WHERE id = 'b'",
    "UPDATE baseline SET id = 'z' WHERE id = 'a'",
    "UPDATE change SET who = 'nobody' WHERE number = 3",
    "UPDATE change SET at = at + 1 WHERE number = 3",
    "UPDATE key_state SET until = NULL",
    "UPDATE challenge SET issued_at = issued_at + 1",
    "DELETE FROM spent",
    "DELETE FROM transition",
    "DELETE FROM key_state WHERE change = (SELECT max(change) FROM key_state)",
    "UPDATE cohort_member SET cohort = 'y'",
    "UPDATE cohort_member SET cohort = NULL",
    "UPDATE cohort_member SET change = 1",
    "UPDATE root SET certificate = 'x'",
    "INSERT INTO ignored VALUES ('a', 1, 4102444800000000)",
    "INSERT INTO cohort_member (machine, change, cohort) VALUES ('b', 8, 'x')",
    "DELETE FROM head WHERE change = 8",
    "DELETE FROM head WHERE change = 4",
    "DELETE FROM head",
    "UPDATE head SET signature = 'x' WHERE change = 8",
    "UPDATE head SET digest = rows WHERE change = 2",
    "UPDATE about SET value = '00000000000000000000000000000000' WHERE key = 'store_id'",
    "UPDATE about SET value = 'sm2' WHERE key = 'algorithm'",
    "DELETE FROM about WHERE key = 'public_key'",
    "INSERT INTO about VALUES ('more', 'x')",
]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_by_whoever_has_the_database_is_seen(filled, edit):
    """Attack 100, in both databases."""
    with filled.raw() as connection:
        if not filled.where.startswith("postgresql"):
            connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.exec_driver_sql(edit)
    with pytest.raises(StoreError, match=r"^store\.tampered: "), filled.open() as store:
        store.references()


@pytest.mark.parametrize(
    "use",
    [
        Store.machines,
        Store.verify,
        lambda store: store.head,
        lambda store: Enrollment(store).keys(),
        lambda store: store.add([baseline("new")], action="learn"),
        lambda store: Ledger(store).issue("a", [AK], at=NOW),
    ],
)
def test_whatever_reads_or_writes_a_store_looks_at_it_first(filled, use):
    with filled.raw() as connection:
        connection.exec_driver_sql("UPDATE root SET certificate = 'x'")
    with filled.open() as store, pytest.raises(StoreError, match=r"^store\.tampered: the rows of change 3 .* root "):
        use(store)


def test_rows_put_there_for_the_next_change_are_not_signed_with_it(filled):
    """Who can write to the database but not sign waits for somebody who signs."""
    with filled.open() as store:
        assert store.head.number == 8
        with filled.raw() as connection:
            if filled.where.startswith("postgresql"):
                connection.exec_driver_sql("ALTER TABLE ignored DROP CONSTRAINT ignored_change_fkey")
                connection.exec_driver_sql("INSERT INTO ignored VALUES ('a', 9, 4102444800000000)")
        if not filled.where.startswith("postgresql"):
            damage(Path(filled.where), "INSERT INTO ignored VALUES ('a', 9, 4102444800000000)")
        with pytest.raises(StoreError, match=r"^store\.tampered: a row of ignored belongs to change 9"):
            store.add([baseline("new")], action="learn")


def test_a_password_is_never_shown(postgres_server):
    where = postgres.new_database(postgres_server, f"new{next(_numbers)}").replace("@", ":secret@")
    with pytest.raises(StoreError, match="not a baseline store") as error:
        Store.open(where)
    assert "secret" not in str(error.value) and "127.0.0.1" in str(error.value)
    with pytest.raises(StoreError) as error:
        Store.open("postgresql://pyverify:secret@127.0.0.1:1/x")
    assert "secret" not in str(error.value)


def test_hash_is_sha256_of_lines_of_json(place):
    """The definition in heads.py, by hand."""
    with place.open() as store:
        Enrollment(store).pin([b"der"], who="root", reason="why ✓")
        with store.reading() as connection:
            about = heads.About.read(connection)
            (row,) = connection.execute(schema.head.select()).all()
            at = connection.scalar(sa.select(schema.change.c.at))
    key = hashlib.sha256(b"der").hexdigest()
    text = (
        f'["change",["number","at","action","reason","who"],[[1,{at},"pin root","why \\u2713","root"]]]\n'
        f'["root",["key","certificate","change"],[[["{key}"],["646572"],1]]]\n'
    )
    rows = hashlib.sha256(b"pyverify store rows 1\0" + text.encode()).digest()
    digest = hashlib.sha256(
        b"pyverify store head 1\0" + about.store_id + (1).to_bytes(8, "big") + about.start.digest + rows
    ).digest()
    assert (row.rows, row.digest) == (rows, digest)
    assert about.key.verifies(row.signature, b"pyverify store signature 1\0" + digest)

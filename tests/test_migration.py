"""Stores that older versions wrote: brought up to date as a whole, once, with a head for each change."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from store_tools import damage, old_store
from test_ima_baseline import SETS, sets_of

from pyverify import Store, StoreError
from pyverify.baseline import database, schema
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.freshness import Freshness
from pyverify.baseline.identity import KeyLevel
from pyverify.baseline.ledger import Ledger

MACHINES = {1: ["a", "b", "c"], 2: ["a", "b", "c", "d"]}
STATES = {"a": "active", "b": "pending", "c": "active", "d": "active"}
# What is in the dump of version 2 (data/README.md).
END = datetime.datetime(2026, 11, 10, 12, tzinfo=datetime.UTC)


def changes(path: Path) -> list[tuple[int, str, str | None]]:
    engine = database.connect(str(path))
    with database.reader(engine) as connection:
        rows = connection.execute(schema.change.select().order_by(schema.change.c.number)).all()
    engine.dispose()
    return [(row.number, row.action, row.reason) for row in rows]


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_store_is_brought_up_to_date_with_a_head_for_each_change(tmp_path, version):
    path = tmp_path / "old.db"
    old_store(path, version)
    for _ in range(2):
        with Store.open(str(path)) as store:
            references = store.references()
            names = references.columns.field("id").to_pylist()
            assert names == MACHINES[version]
            assert references.columns.field("state").to_pylist() == [STATES[name] for name in names]
            assert store.verify().is_pinned
    found = changes(path)
    assert [number for number, _, _ in found] == list(range(1, len(found) + 1))
    assert found[:2] == [(1, "learn", None), (2, "learn", "later")]
    assert found[-1][1:] == ("migrate", f"from version {version}")
    with Store.open(str(path)) as store, store.changing("test") as (connection, number):
        connection.execute(schema.root.insert().values(key=bytes(32), certificate=b"", change=number))
        assert number == len(found) + 1


def test_keys_challenges_and_sets_of_an_old_store_are_as_they_were(tmp_path):
    path = tmp_path / "old.db"
    old_store(path, 2)
    with Store.open(str(path)) as store:
        (key,) = Enrollment(store).keys()
        assert (key.machine, key.level) == ("a", KeyLevel.ENROLLED)
        assert key.until is not None and key.until > key.since
        challenges = store.references().identity.challenges(key.ak_name)
        assert [one.nonce[0] for one in challenges] == [1, 2]
        assert [one.spent_by is None for one in challenges] == [True, False]
        again = Ledger(store).spend(key.ak_name, bytes([2]) * 16, bytes(32), at=challenges[1].issued_at)
        assert again is Freshness.REPLAYED
        assert sets_of(store.references()) == {"a": None, "b": None, "c": None, "d": SETS["c"]}
        with store.reading() as connection:
            answered = connection.execute(schema.activated.select()).all()
        assert [(row.secret, row.at) for row in answered] == [(b"\1" * 32, 1_700_000_001_000_000)]


def test_of_many_that_bring_a_store_up_to_date_at_once_all_find_one_good_store(tmp_path):
    path = tmp_path / "old.db"
    old_store(path, 2)
    code = (
        "import sys; from pyverify import Store\n"
        "with Store.open(sys.argv[1]) as store: print(store.head, len(store.references()))"
    )
    command = [sys.executable, "-c", code, str(path)]
    running = [subprocess.Popen(command, cwd=ROOT / "tests", stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=60)[0] for process in running]
    assert {process.returncode for process in running} == {0}
    assert len(set(said)) == 1 and said[0].endswith(" 4\n")
    assert [action for _, action, _ in changes(path)].count("migrate") == 1


def test_a_signed_store_that_is_made_to_look_old_is_not_signed_anew(tmp_path):
    """Attack 100: without this, who strips the heads gets what he wrote signed by the key of the store."""
    path = tmp_path / "s.db"
    old_store(path, 2)
    Store.open(str(path)).__exit__(None)
    path.unlink()
    old_store(path, 2)
    damage(path, "update baseline set state = 'active'")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"^store\.tampered: it is of version 2, without heads, but there is a key"):
        Store.open(str(path))
    assert path.read_bytes() == before

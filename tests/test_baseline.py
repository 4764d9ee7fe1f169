"""Store and references: what goes in comes out, equal contents are one row, foreign bytes are refused."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from baselines_by_hand import BANKS, baseline
from conftest import entry, hash_of, small_log
from store_tools import damage_and_sign

from pyverify import EventLog, References, ReferencesError, Store, StoreError
from pyverify.baseline.model import Allowed, State, event_sequences
from pyverify.replay import replay


def test_equal_sequences_have_one_key_and_others_another():
    log = EventLog.parse(small_log(BANKS))
    sequences = event_sequences(log)
    assert [s.key for s in sequences] == [s.key for s in event_sequences(log)]
    assert sequences[2] == sequences[3]  # a separator each
    assert len({sequences[pcr].key for pcr in (0, 2, 4, 5, 8, 9, 17)}) == 7
    assert [len(sequence) for sequence in sequences[:10]] == [2, 1, 1, 1, 2, 3, 1, 1, 1, 0]
    assert sequences[8].split("sha256") == [log[-3].digests["sha256"]]


def test_store_gives_back_what_was_added(tmp_path):
    path = str(tmp_path / "s.db")
    items = [baseline("a"), baseline("b"), baseline("c", small_log(BANKS, command_line=b"x"), state=State.PENDING)]
    with Store.open(path, create=True) as store:
        store.add(items, action="learn")
    with Store.open(path) as store:
        assert store.machines() == {"a", "b", "c"}
        references = store.references()
    direct = References.of(items)
    assert references.columns.drop_null().field("id").to_pylist() == ["a", "b", "c"]
    for row, item in enumerate(items):
        facts = references.columns[row].as_py()
        assert (facts["state"], facts["evidence_id"]) == (item.state, item.evidence_id)
        for pcr in range(24):
            assert tuple(references.allowed(facts["profile"], pcr)) == item.allowed[pcr]
            for bank in BANKS:
                other = direct.allowed_value(bank, int(direct.profile[row]), pcr)
                assert references.allowed_value(bank, facts["profile"], pcr) == other


def test_equal_contents_are_one_row(tmp_path):
    path = tmp_path / "s.db"
    with Store.open(str(path), create=True) as store:
        store.add([baseline(f"m{i}") for i in range(1200)], action="learn")
        store.add([baseline("other", small_log(BANKS, command_line=b"x"))], action="learn")
    rows = sqlite3.connect(path)
    assert rows.execute("select count(*) from profile").fetchone() == (2,)
    distinct = {
        s.key
        for log in (small_log(BANKS), small_log(BANKS, command_line=b"x"))
        for s in event_sequences(EventLog.parse(log))
    }
    assert rows.execute("select count(*) from sequence").fetchone() == (len(distinct),)
    rows.close()


def test_a_baseline_is_never_overwritten(tmp_path):
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        store.add([baseline("a")], action="learn")
        with pytest.raises(StoreError, match="exists already"):
            store.add([baseline("z"), baseline("a", small_log(BANKS, command_line=b"evil"))], action="learn")
        references = store.references()
    assert references.columns.field("id").to_pylist() == ["a"]  # all or nothing
    assert tuple(references.allowed(0, 8)) == baseline("a").allowed[8]


def test_stores_that_are_none(tmp_path):
    with pytest.raises(StoreError, match="run `pyverify learn"):
        Store.open(str(tmp_path / "absent.db"))
    assert not (tmp_path / "absent.db").exists()
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(StoreError):
        Store.open(str(tmp_path / "text.db"))
    sqlite3.connect(tmp_path / "other.db").execute("create table x (y)").connection.close()
    with pytest.raises(StoreError):
        Store.open(str(tmp_path / "other.db"))
    with pytest.raises(StoreError):
        Store.open("nosuchdatabase://x")
    with Store.open(str(tmp_path / "new.db"), create=True):
        pass
    with sqlite3.connect(tmp_path / "new.db") as rows:
        rows.execute("update about set value = '99' where key = 'version'")
    rows.close()
    with pytest.raises(StoreError, match="version 99"):
        Store.open(str(tmp_path / "new.db"))


@pytest.mark.parametrize(
    "damage",
    [
        "update profile set body = '[]'",
        "update profile set body = 'x'",
        "update sequence set start = 300",
        "update sequence set start = 'x'",
        "update sequence set events = '[[-1,\"x\"]]'",
        "update baseline set log_banks = -1",
        "update baseline set version = 'x'",
        "update baseline set evidence_id = x'00'",
        "update sequence set digests = x'00'",
        "update sequence set events = '[[1]]'",
        "update sequence set events = '[[1,2]]'",
        "delete from profile",
        "update baseline set state = 'blessed'",
        "delete from sequence",
    ],
)
def test_a_damaged_store_is_an_error_not_a_crash(tmp_path, damage):
    path = tmp_path / "s.db"
    with Store.open(str(path), create=True) as store:
        store.add([baseline("a")], action="learn")
    damage_and_sign(path, damage)
    with Store.open(str(path)) as store, pytest.raises(StoreError):
        store.references()


def test_references_are_named_by_their_bytes(tmp_path):
    items = [baseline("a"), baseline("b", small_log(BANKS, command_line=b"x"))]
    references = References.of(items)
    assert References.of(items[::-1]).id == references.id
    assert References.of(items[:1]).id != references.id
    references.save(tmp_path / "r.arrow")
    loaded = References.load(tmp_path / "r.arrow")
    assert loaded.id == references.id == hash_of("sha256", (tmp_path / "r.arrow").read_bytes())
    assert list(loaded.find(["b", "x", "a"])) == [1, -1, 0]


def test_values_of_references_are_those_of_the_log():
    log = small_log(BANKS)
    references = References.of([baseline("a", log)])
    assert len(references) == 1
    for bank, values in EventLog.parse(log).replay().items():
        for pcr in range(24):
            assert references.allowed_value(bank, 0, pcr) == values[pcr].tobytes()
    assert references.allowed_value("sm3_256", 0, 8) is None  # no digests in that bank: nothing is allowed
    assert references.allowed(0, 8)[0].sequence == event_sequences(EventLog.parse(log))[8]


def test_comparison_fails_closed():
    log = small_log(BANKS)
    references = References.of([baseline("a", log)])
    values = replay([log, small_log(BANKS, command_line=b"x")], BANKS).values["sha256"]
    mask = 0xFFFFFF
    zero, none = np.zeros(2, np.uint32), np.full(2, 0xFFFFFFFF, np.uint32)
    assert list(references.differs("sha256", values, zero, mask)) == [0, 1 << 8]
    assert list(references.differs("sha256", values, none, mask)) == [mask, mask]
    untouched = np.zeros((2, 24, 32), np.uint8)
    assert references.differs("sm3_256", untouched, zero, mask)[0] >> 8 & 1
    assert list(References.of([]).differs("sha256", values, zero, mask)) == [mask, mask]


def test_a_bank_is_never_taken_for_another():
    """SM3 and SHA-256 values have one length."""
    log = small_log(["sha256", "sm3_256"])
    references = References.of([baseline("a", log)])
    swapped = replay([log]).values["sm3_256"]
    touched = references.differs("sha256", swapped, np.zeros(1, np.uint32), 0x1FF)
    assert touched[0] == 0x1FF


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_foreign_bytes_are_no_references(tmp_path, damage):
    path = tmp_path / "r.arrow"
    References.of([baseline("a")]).save(path)
    data = path.read_bytes()
    path.write_bytes({"cut": data[: len(data) // 2], "text": b"hello" * 100, "empty": b""}[damage])
    with pytest.raises(ReferencesError):
        References.load(path)
    with pytest.raises(ReferencesError):
        References.load(tmp_path / "absent.arrow")


def test_more_than_one_allowed_value():
    """A cohort has more than one: each of them is allowed, and no mixture of their PCRs is refused or missed."""
    one, two = small_log(BANKS), small_log(BANKS, command_line=b"x")
    first, second = (event_sequences(EventLog.parse(log)) for log in (one, two))
    both = tuple((Allowed(a),) if a == b else (Allowed(a), Allowed(b)) for a, b in zip(first, second, strict=True))
    references = References.of([baseline("a", allowed=both)])
    logs = [one, two, small_log(BANKS, extra=entry(8, 0xD, b"more", BANKS))]
    values = replay(logs, BANKS).values["sha256"]
    assert list(references.differs("sha256", values, np.zeros(3, np.uint32), 0xFFFFFF)) == [0, 0, 1 << 8]

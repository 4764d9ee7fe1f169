"""Challenges: fresh once, for one quote, for a day (attacks 61, 62, 74, 111); the ledger and the snapshot agree."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import threading

import numpy as np
import pyarrow as pa
import pytest
from baselines_by_hand import baseline
from store_tools import damage_and_sign

from pyverify import References, ReferencesError, Store, StoreError
from pyverify.baseline import schema
from pyverify.baseline.freshness import FINDINGS, Freshness, freshness
from pyverify.baseline.identity import Challenge, EnrolledKey, KeyLevel, from_micros, to_micros
from pyverify.baseline.ledger import Ledger
from pyverify.baseline.snapshot import Snapshot
from pyverify.errors import UsageError
from pyverify.evidence.sm2 import Sm2Mode
from pyverify.findings import CODES

NOW = datetime.datetime(2026, 11, 1, 12, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
AK, OTHER = (b"\x00\x0b" + hashlib.sha256(name).digest() for name in (b"ak", b"other"))
OLD, NEW, FOREIGN = bytes([1]) * 20, bytes([2]) * 20, bytes([3]) * 20
QUOTE, FORGED = hashlib.sha256(b"quote").digest(), hashlib.sha256(b"another").digest()

ISSUED = [
    Challenge(AK, OLD, NOW - 2 * HOUR, "m"),
    Challenge(AK, NEW, NOW - HOUR, "m"),
    Challenge(OTHER, FOREIGN, NOW - HOUR, "n"),
]


@pytest.fixture
def store(tmp_path):
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        yield store


@pytest.fixture
def ledger(store):
    ledger = Ledger(store)
    assert ledger.add(ISSUED) == 3
    return ledger


CASES = [
    (AK, NEW, NOW, Freshness.FRESH),
    (AK, NEW, NOW + 23 * HOUR, Freshness.FRESH),
    (AK, NEW, NOW + 23 * HOUR + datetime.timedelta(microseconds=1), Freshness.UNFRESH_TOO_OLD),
    (AK, OLD, NOW, Freshness.UNFRESH_NOT_NEWEST),
    (AK, OLD, NOW - 1.5 * HOUR, Freshness.FRESH),  # the newest there was at that time
    (AK, NEW, NOW - 1.5 * HOUR, Freshness.UNFRESH_NOT_YET),
    (AK, FOREIGN, NOW, Freshness.WRONG_NONCE),  # a real nonce, but of another key
    (AK, NEW[:-1], NOW, Freshness.WRONG_NONCE),
    (AK, NEW + b"\0", NOW, Freshness.WRONG_NONCE),
    (AK, NEW.hex().encode(), NOW, Freshness.WRONG_NONCE),
    (AK, b"", NOW, Freshness.WRONG_NONCE),
    (b"\x00\x0b" + bytes(32), NEW, NOW, Freshness.UNFRESH_NO_ENTRY),
    (b"\x00\x0b" + bytes(32), b"", NOW, Freshness.UNFRESH_NO_ENTRY),
    (OTHER, FOREIGN, NOW, Freshness.FRESH),
]


@pytest.mark.parametrize(("ak_name", "nonce", "at", "expected"), CASES)
def test_what_is_fresh_in_the_ledger_and_in_the_snapshot(store, ledger, ak_name, nonce, at, expected):
    snapshots = [store.references(), References.of([], challenges=ISSUED)]
    for references in snapshots:
        assert list(freshness(references.identity, [ak_name], [nonce], [QUOTE], as_of=at)) == [expected]
    assert ledger.spend(ak_name, nonce, QUOTE, at=at) is expected


def test_a_batch_is_judged_row_by_row():
    identity = References.of([], challenges=ISSUED).identity
    known = [case for case in CASES if case[2] == NOW]
    names, nonces, _, expected = zip(*known, strict=True)
    codes = freshness(identity, names, nonces, [QUOTE] * len(known), as_of=NOW)
    assert codes.dtype == np.uint8
    assert list(codes) == list(expected)
    assert len(freshness(identity, [], [], [], as_of=NOW)) == 0
    strict = freshness(identity, [AK], [NEW], [QUOTE], as_of=NOW, max_age=HOUR / 2)
    assert list(strict) == [Freshness.UNFRESH_TOO_OLD]


def test_a_nonce_is_used_once_and_the_first_use_stands(store, ledger):
    """Attacks 62 and 74: the attest spends the nonce; its signature, of which there may be two, has no part in it."""
    assert ledger.spend(AK, NEW, QUOTE, at=NOW) is Freshness.FRESH
    assert ledger.spend(AK, NEW, FORGED, at=NOW) is Freshness.REPLAYED
    assert ledger.spend(AK, NEW, QUOTE, at=NOW + HOUR) is Freshness.FRESH  # a retry
    assert ledger.spend(OTHER, NEW, QUOTE, at=NOW) is Freshness.WRONG_NONCE
    identity = store.references().identity
    codes = freshness(identity, [AK, AK], [NEW, NEW], [QUOTE, FORGED], as_of=NOW + 48 * HOUR)
    assert list(codes) == [Freshness.UNFRESH_TOO_OLD, Freshness.REPLAYED]
    assert identity.challenges(AK)[1].spent_by == QUOTE


def test_of_many_quotes_with_one_nonce_the_first_counts(ledger):
    quotes = [(OTHER, FOREIGN, QUOTE), (AK, NEW, QUOTE), (AK, NEW, FORGED), (AK, NEW, QUOTE), (AK, OLD, FORGED)]
    names = ["FRESH", "FRESH", "REPLAYED", "FRESH", "UNFRESH_NOT_NEWEST"]
    assert [code.name for code in ledger.consume_all(quotes, at=NOW)] == names


def test_a_nonce_of_the_past_is_not_spent_by_being_wrong(ledger):
    assert ledger.spend(AK, FOREIGN, FORGED, at=NOW) is Freshness.WRONG_NONCE
    assert ledger.spend(OTHER, FOREIGN, QUOTE, at=NOW) is Freshness.FRESH


def test_of_two_that_spend_a_nonce_at_once_one_wins(tmp_path):
    where = str(tmp_path / "s.db")
    with Store.open(where, create=True) as store:
        nonces = [bytes([i]) * 16 for i in range(20)]
        Ledger(store).add([Challenge(AK, nonce, NOW, "m") for nonce in nonces])
    results, start = {}, threading.Barrier(4)

    def spend(who):
        with Store.open(where) as own:
            start.wait()
            attest = hashlib.sha256(bytes([who])).digest()
            results[who] = [Ledger(own).spend(AK, nonce, attest, at=NOW) for nonce in nonces]

    threads = [threading.Thread(target=spend, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for codes in zip(*results.values(), strict=True):
        assert sorted(codes) == [Freshness.FRESH] + [Freshness.REPLAYED] * 3


def test_new_challenges_are_random_and_remembered(store, ledger):
    first, second = (ledger.issue("m", [AK], at=NOW)[0] for _ in range(2))
    assert len(first.nonce) >= 16
    assert first.nonce != second.nonce
    known = {challenge.nonce for challenge in store.references().identity.challenges(AK)}
    assert known == {OLD, NEW, first.nonce, second.nonce}


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": bytes(15)},
        {"nonce": b""},
        {"nonce": bytes(65)},
        {"ak_name": b""},
        {"ak_name": AK[:-1]},
        {"ak_name": b"\x00\x04" + bytes(20)},
        {"issued_at": NOW.replace(tzinfo=None)},
        {"issued_at": NOW.replace(year=1969)},
    ],
)
def test_challenges_that_cannot_be(ledger, store, change):
    facts = {"ak_name": AK, "nonce": bytes(16), "issued_at": NOW}
    with pytest.raises(UsageError):
        ledger.add([Challenge(AK, bytes(32), NOW), Challenge(**(facts | change))])
    assert len(store.references().identity.challenges(AK)) == 2  # all or nothing


def test_adding_again_changes_nothing_and_a_nonce_is_never_issued_twice(ledger):
    assert ledger.add(ISSUED) == 0
    with pytest.raises(UsageError, match="issued to this key before"):
        ledger.add([Challenge(AK, bytes(16), NOW), Challenge(AK, OLD, NOW, "m")])
    assert ledger.spend(AK, bytes(16), QUOTE, at=NOW) is Freshness.WRONG_NONCE


def test_every_way_of_not_being_fresh_has_its_finding():
    assert set(FINDINGS) == set(Freshness) - {Freshness.FRESH}
    assert {code for code, _ in FINDINGS.values()} <= set(CODES)
    assert FINDINGS[Freshness.REPLAYED][0] == "quote.replayed"
    assert FINDINGS[Freshness.WRONG_NONCE][0] == "quote.nonce"


def test_times_are_exact():
    for time in (NOW, NOW + datetime.timedelta(microseconds=1), datetime.datetime.max.replace(tzinfo=datetime.UTC)):
        assert from_micros(to_micros(time)) == time
    assert to_micros(NOW.astimezone(datetime.timezone(9 * HOUR))) == to_micros(NOW)
    with pytest.raises(UsageError, match="time zone"):
        to_micros(NOW.replace(tzinfo=None))


# ---- the snapshot

KEY = EnrolledKey(AK, "m", NOW, None, KeyLevel.ACTIVATED, Sm2Mode.ZA)
LATER = EnrolledKey(OTHER, "n", NOW, NOW + HOUR)


def test_keys_challenges_and_roots_go_through_a_snapshot(tmp_path):
    spent = Challenge(AK, OLD, NOW, None, QUOTE)
    facts = {"enrolled": [LATER, KEY], "challenges": [spent, *ISSUED[1:]], "roots": [b"b", b"a", b"b"]}
    references = References.of([baseline("a")], **facts)
    reversed_facts = {"enrolled": [KEY, LATER], "challenges": facts["challenges"][::-1], "roots": [b"a", b"b"]}
    again = References.of([baseline("a")], **reversed_facts)
    assert references.id == again.id
    assert references.id != References.of([baseline("a")]).id
    references.save(tmp_path / "r.arrow")
    loaded = References.load(tmp_path / "r.arrow").identity
    rows = {AK: int(AK > OTHER), OTHER: int(OTHER > AK)}  # in the order of their Names
    found = loaded.find(["n", "n", "m", "m"], [OTHER, None, AK, b"x"], as_of=NOW)
    assert list(found) == [rows[OTHER], -1, rows[AK], -1]
    assert (loaded.key(AK), loaded.key(OTHER), loaded.key(b"x")) == (KEY, LATER, None)
    assert (loaded.ak_of("m"), loaded.ak_of("x")) == ([KEY], [])
    assert (loaded.machine_of(OTHER), loaded.machine_of(b"")) == ("n", None)
    assert [c.nonce for c in loaded.challenges(AK)] == [NEW, OLD]
    assert loaded.challenges(AK)[1].spent_by == QUOTE
    assert loaded.challenges(b"x") == []
    assert loaded.roots == [b"a", b"b"]


def test_a_key_counts_for_its_own_machine_and_time_only():
    """Attack 81: a healthy machine's key signs for another one."""
    identity = References.of([], enrolled=[KEY, LATER]).identity
    cases = [
        ("m", AK, 0),
        ("n", AK, 0),
        (None, AK, 0),
        ("n", OTHER, 0),
        ("n", OTHER, 1),
        ("n", OTHER, -1),
        ("m", b"", 0),
    ]
    found = [identity.find([m], [name], as_of=NOW + hours * HOUR)[0] >= 0 for m, name, hours in cases]
    assert found == [True, False, False, True, False, False, False]
    assert list(identity.find([], [], as_of=NOW)) == []


def test_a_key_is_its_machines_for_a_time():
    assert not LATER.holds_at(NOW - HOUR)
    assert LATER.holds_at(NOW)
    assert not LATER.holds_at(NOW + HOUR)
    assert KEY.holds_at(NOW + 10000 * HOUR)


@pytest.mark.parametrize(
    "facts",
    [
        {"enrolled": [KEY, EnrolledKey(AK, "n", NOW)]},  # attack 107
        {"enrolled": [EnrolledKey(b"x", "m", NOW)]},
        {"enrolled": [EnrolledKey(AK, None, NOW)]},
        {"enrolled": [EnrolledKey(AK, "m", NOW, level="blessed")]},
        {"enrolled": [EnrolledKey(AK, "m", NOW, sm2_mode="auto")]},
        {"challenges": [ISSUED[0], Challenge(AK, OLD, NOW)]},
        {"challenges": [Challenge(b"", OLD, NOW)]},
    ],
)
def test_a_snapshot_that_contradicts_itself_is_refused(facts):
    with pytest.raises(ReferencesError, match="contradicts itself"):
        References.of([], **facts)


def test_a_snapshot_out_of_order_is_refused():
    """Its look-ups rely on the order: a challenge that stands elsewhere must not make an older one the newest."""
    newest, oldest = ({"ak_name": c.ak_name, "nonce": c.nonce, "issued_at": c.issued_at} for c in ISSUED[1::-1])
    for entries, is_good in (([oldest, newest], True), ([newest, oldest], False)):
        sink = pa.BufferOutputStream()
        snapshot = Snapshot(sink)
        for entry in entries:
            snapshot.add("challenges", entry)
        snapshot.finish()
        with contextlib.nullcontext() if is_good else pytest.raises(ReferencesError, match="contradicts"):
            References(sink.getvalue())


@pytest.mark.parametrize(
    "damage",
    [
        "update key_state set level = 'blessed'",
        "update key_state set sm2_mode = 'x'",
        "update enrolled set since = 'x'",
        "update enrolled set since = -1",
        "update key_state set until = 9000000000000000000",
        "update enrolled set ak_name = x'00'; update key_state set ak_name = x'00'",
        "update challenge set issued_at = 9000000000000000000",
        "update challenge set ak_name = x'0004'",
        "update spent set attest = x'00'",
    ],
)
def test_a_damaged_store_is_an_error_not_a_crash(tmp_path, damage):
    path = tmp_path / "s.db"
    with Store.open(str(path), create=True) as store:
        Ledger(store).add(ISSUED)
        Ledger(store).spend(AK, OLD, QUOTE, at=NOW)
        with store.changing("enroll") as (connection, number):
            key = {"ak_name": AK, "machine": "m", "since": 0, "public": b"", "change": number}
            connection.execute(schema.enrolled.insert().values(key))
            state = {"ak_name": AK, "level": "enrolled", "sm2_mode": "digest", "change": number}
            connection.execute(schema.key_state.insert().values(state))
    damage_and_sign(path, damage)
    with Store.open(str(path)) as store, pytest.raises((StoreError, ReferencesError)):
        store.references()

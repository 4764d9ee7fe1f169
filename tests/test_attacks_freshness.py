"""Attacks on freshness (SPEC section 10.3, 61 and 62): wrong nonces, and one nonce for two quotes.

Every forged attest is signed by a key that would do, and every key is enrolled, so that it is the check in question
which refuses. That holds for all files of this name; 83 is in ``test_weak_generators``.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from attested_machine import (
    ARCHIVE,
    DEFAULT,
    HOUR,
    NOW,
    POLICIES,
    Machine,
    codes,
    honest,
    job,
    references_of,
    refused,
    stands,
    store_of,
    trusted,
)

from pyverify import Store
from pyverify.baseline.ledger import Ledger

WRONG_NONCES = {
    "another": hashlib.sha256(b"guessed").digest(),
    "empty": b"",
    "prefix": lambda nonce: nonce[:-1],
    "longer": lambda nonce: nonce + b"\0",
    "zeros": lambda nonce: bytes(len(nonce)),
    "one bit": lambda nonce: nonce[:-1] + bytes([nonce[-1] ^ 1]),
    "in hex": lambda nonce: nonce.hex().encode(),
    "reversed": lambda nonce: nonce[::-1],
    "short": lambda nonce: nonce[:8],
}


@POLICIES
@pytest.mark.parametrize("wrong", WRONG_NONCES.values(), ids=WRONG_NONCES.keys())
def test_061_a_wrong_nonce(wrong, policy):
    machine = honest()
    nonce = wrong(machine.nonce) if callable(wrong) else wrong
    verdict = machine.judge(machine.quote(nonce=nonce[:64]), policy=policy)
    assert refused(verdict, "quote.nonce") and verdict.attested == "log" and not stands(verdict).trusted


def test_061_a_nonce_of_another_keys_challenge():
    machine, other = honest(), Machine("other", nonce=hashlib.sha256(b"other").digest())
    references = references_of(machine, other)
    assert trusted(machine.judge(references=references)) and trusted(other.judge(references=references))
    assert refused(machine.judge(machine.quote(nonce=other.nonce), references=references), "quote.nonce")


def test_062_one_nonce_for_two_quotes(tmp_path):
    """The first use stands, the same attest again is a retry, and any other is a replay, within a job and later."""
    machine = honest()
    first = machine.evidence(boot="1")
    machine.tpm.clock += 5_000
    second = machine.evidence(boot="2")
    with store_of(tmp_path / "s", machine) as store:
        rows = job(store, first, second, replace(first, boot="3"))
        assert [row["verdict"] for row in rows] == ["trusted", "untrusted", "trusted"]
        assert codes(rows[1], "high") == {"quote.replayed"} and rows[1]["attested"] == "quote-unfresh"
        again = job(store, second, first)  # as of a store that knows what was spent
        assert [row["verdict"] for row in again] == ["untrusted", "trusted"]
        assert refused(again[0], "quote.replayed")
        (row,) = job(store, second, policy=ARCHIVE)
        assert refused(row, "quote.replayed") and (row["attested"], row["pcrs_proven"]) == ("log", [])


def test_062_in_a_job_of_small_batches(tmp_path):
    machine = honest()
    first = machine.evidence(boot="1")
    machine.tpm.clock += 1
    with store_of(tmp_path / "s", machine) as store:
        rows = job(store, first, machine.evidence(boot="2"), first, size=1)
        assert [row["verdict"] for row in rows] == ["trusted", "untrusted", "trusted"]


def test_062_another_job_that_was_faster(tmp_path):
    """The nonce was spent after this job took its references: the ledger has the last word."""
    machine = honest()
    first = machine.evidence()
    machine.tpm.clock += 1
    second = machine.evidence()
    with store_of(tmp_path / "s", machine) as store:
        before = store.references()
        assert job(store, first)[0]["verdict"] == "trusted"
        (row,) = job(store, second, references=before)
        assert refused(row, "quote.replayed") and row["attested"] == "quote-unfresh"
        assert job(store, first, references=before)[0]["verdict"] == "trusted"


def test_062_only_fresh_quotes_of_a_policy_that_asks_for_them_spend(tmp_path):
    machine = honest()
    first = machine.evidence()
    machine.tpm.clock += 1
    second = machine.evidence()
    with store_of(tmp_path / "s", machine) as store:
        assert job(store, first, policy=ARCHIVE)[0]["verdict"] == "trusted"
        late = job(store, first, at=NOW + 30 * HOUR)[0]["findings"]
        assert [finding["code"] for finding in late] == ["quote.unfresh"]
        assert job(store, second)[0]["verdict"] == "trusted"


def test_062_under_a_policy_with_a_wide_limit_of_age(tmp_path):
    """A challenge that is good for a year is still good once."""
    machine, policy = honest(), replace(DEFAULT, max_age=9_001 * HOUR)
    first = machine.evidence()
    machine.tpm.clock += 1
    with store_of(tmp_path / "s", machine) as store:
        assert job(store, first, policy=policy, at=NOW + 9_000 * HOUR)[0]["verdict"] == "trusted"
        assert refused(job(store, machine.evidence(), policy=policy, at=NOW + 9_000 * HOUR)[0], "quote.replayed")
        assert job(store, first, policy=policy)[0]["verdict"] == "trusted"


def test_062_a_service_that_consumes(tmp_path):
    machine = honest()
    one = machine.judge()
    machine.tpm.clock += 1
    two = machine.judge()
    assert not one.trusted and not two.trusted and one.claims and two.claims
    with store_of(tmp_path / "s", machine) as store:
        ledger = Ledger(store)
        assert ledger.consume(one, at=NOW).trusted
        assert refused(ledger.consume(two, at=NOW), "quote.replayed")
        assert ledger.consume(one, at=NOW).trusted  # a retry
        assert refused(ledger.consume(one, at=NOW + 25 * HOUR), "quote.unfresh")
    with Store.open(str(tmp_path / "empty"), create=True) as store:
        assert refused(Ledger(store).consume(one, at=NOW), "quote.unfresh")  # it was never asked there


@pytest.mark.parametrize(("hours", "trusted"), [(1, False), (3, True)])
def test_062_a_service_consumes_within_the_age_of_its_policy(tmp_path, hours, trusted):
    machine = honest()
    verdict = machine.judge(policy=replace(DEFAULT, max_age=hours * HOUR))
    assert verdict.claims
    with store_of(tmp_path / "s", machine) as store:
        assert Ledger(store).consume(verdict, at=NOW + 2 * HOUR).trusted is trusted


def test_062_a_copy_in_another_machines_evidence_spends_nothing(tmp_path):
    """A machine cannot have another's answer refused by sending a part of it first (DESIGN section 5.8)."""
    thief, victim = Machine("a"), Machine("b", nonce=hashlib.sha256(b"b").digest())
    low, high = victim.quote([("sha256", range(12))]), victim.quote([("sha256", range(12, 24))])
    honest = victim.evidence(low, high)
    with store_of(tmp_path / "honest", thief, victim) as store:
        assert [row["verdict"] for row in job(store, thief.evidence(), honest)] == ["trusted"] * 2
    with store_of(tmp_path / "s", thief, victim) as store:
        stolen, own = job(store, thief.evidence(thief.quote(), low), honest)
        assert (stolen["verdict"], codes(stolen)) == ("untrusted", {"key.unknown"})
        assert (own["verdict"], own["attested"], codes(own)) == ("trusted", "quote", set())


def test_062_what_the_machine_did_not_sign_spends_nothing(tmp_path):
    """Evidence under its own name, with its public key and its nonce, from somebody who has not got the key."""
    machine = honest()
    own = machine.evidence(boot="2", boot_seq=2)
    machine.tpm.clock, machine.tpm.reset_count = 90_000, 90
    forged = machine.evidence(replace(machine.quote(), sig=machine.quote(nonce=bytes(32)).sig), boot="1", boot_seq=1)
    for policy in (DEFAULT, ARCHIVE):
        with store_of(tmp_path / policy.name, machine) as store:
            rows = job(store, forged, own, policy=policy)
            assert refused(rows[0], "quote.signature")
            assert (rows[1]["verdict"], codes(rows[1])) == ("trusted", set())

"""Keys and several quotes: how well founded a key must be, and what counts where quotes differ."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from attested_machine import (
    ALL_PCRS,
    ARCHIVE,
    HOUR,
    NONCE,
    NOW,
    POLICIES,
    Machine,
    codes,
    job,
    refused,
    stands,
    store_of,
    trusted,
)
from conftest import small_log
from tpm_in_python import Tpm, key

from pyverify.appraise.attestation import MAX_QUOTES
from pyverify.appraise.policy import KEY_LEVELS
from pyverify.baseline.identity import Challenge, EnrolledKey, KeyLevel
from pyverify.evidence.bundle import Quote

SPLITS = {
    "by PCR": [[("sha256", range(8))], [("sha256", range(8, 24))]],
    "overlapping": [[("sha256", range(12))], [("sha256", range(6, 24))]],
    "one at a time": [[("sha256", (pcr,))] for pcr in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14)],
    "one of them whole": [[("sha256", (0,))], [("sha256", range(24))]],
    "the same twice": [[("sha256", range(24))], [("sha256", range(24))]],
}


@POLICIES
@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())
def test_several_quotes_over_one_nonce_are_one_answer(split, policy, tmp_path):
    machine = Machine()
    quotes = [machine.quote(selection) for selection in split]
    assert trusted(machine.judge(*quotes, policy=policy))
    assert trusted(machine.judge(*quotes[::-1], policy=policy))
    for left_out in range(len(split)):
        rest = quotes[:left_out] + quotes[left_out + 1 :]
        if split not in (SPLITS["one of them whole"], SPLITS["the same twice"]) and left_out not in (1, 5, 6):
            assert refused(machine.judge(*rest, policy=policy), "quote.selection")
    with store_of(tmp_path / "s", machine) as store:
        evidence = machine.evidence(*quotes)
        for _ in range(2):
            assert [row["verdict"] for row in job(store, evidence, evidence, policy=policy)] == ["trusted"] * 2
        again = [machine.evidence(*quotes[::-1]), machine.evidence(*quotes, quotes[0])]  # in any order, and repeated
        assert [row["verdict"] for row in job(store, *again, policy=policy)] == ["trusted"] * 2


LEVELS = list(KeyLevel)


@POLICIES
@pytest.mark.parametrize(("wanted", "level"), list(itertools.product(LEVELS, LEVELS)))
def test_a_key_must_be_as_well_founded_as_the_policy_asks(wanted, level, policy):
    machine = Machine(level=level)
    verdict = machine.judge(policy=replace(policy, key=str(wanted)))
    assert verdict.key == level
    if level.rank >= wanted.rank:
        assert trusted(verdict)
        assert codes(stands(verdict)) == ({"key.first-use"} if level is KeyLevel.FIRST_USE else set())
    else:
        assert refused(verdict, "key.first-use" if level is KeyLevel.FIRST_USE else "policy.rule")


def test_the_weakest_key_and_quote_count():
    """Of two keys the group that proves most is relied on, and the other still has to be known and fresh."""
    machine = Machine(kind="ecdsa_p256")
    other = key("rsassa", "m")
    known = [machine.enrolled(), EnrolledKey(other.name, "m", machine.enrolled().since, None, KeyLevel.CERTIFIED)]
    asked = [*machine.challenges, Challenge(other.name, NONCE, NOW - HOUR, "m")]
    references = machine.references(enrolled=known, challenges=asked)
    low, high = machine.quote([("sha256", range(8))]), machine.quote([("sha256", range(8, 24))], kind=other)
    assert refused(machine.judge(low, high, references=references), "quote.selection")
    whole = machine.judge(low, machine.quote(kind=other), references=references)
    assert trusted(whole) and (whole.key, whole.ak_name) == ("certified", other.name)
    whole = machine.judge(machine.quote(), high, references=references)
    assert trusted(whole) and (whole.key, whole.ak_name) == ("enrolled", machine.key.name)
    assert len(whole.claims) == 2
    partly = machine.references(enrolled=known)
    assert refused(machine.judge(machine.quote(), high, references=partly), "quote.unfresh")
    stale = machine.judge(low, machine.quote(kind=other), references=partly, policy=ARCHIVE)
    assert trusted(stale, "quote-unfresh")


def test_a_key_whose_counters_are_shifted_is_one_session_by_itself():
    """Keys outside the endorsement hierarchy see resetCount with an offset (SPEC 8.5): no reason to refuse both."""
    machine = Machine()
    other = key("rsassa", "m")
    known = [machine.enrolled(), EnrolledKey(other.name, "m", machine.enrolled().since)]
    asked = [*machine.challenges, Challenge(other.name, NONCE, NOW - HOUR, "m")]
    first = machine.quote()
    machine.tpm.reset_count += 1_000
    second = machine.quote(kind=other)
    assert trusted(machine.judge(first, second, references=machine.references(enrolled=known, challenges=asked)))


def test_a_pcr_that_moves_between_two_quotes_has_its_last_value():
    machine = Machine()
    low = machine.quote([("sha256", ALL_PCRS)])
    machine.tpm.clock += 1
    machine.tpm.extend(12, b"late")
    late = machine.quote([("sha256", ALL_PCRS)])
    for quotes in ([low, late], [late, low]):
        assert refused(machine.judge(*quotes), "replay.unexplained")


def test_of_quotes_of_two_boots_that_prove_as_much_the_later_counts():
    """Keeping the quote of an earlier boot at hand does not help: what the machine is now is what it says last."""
    machine = Machine()
    before, references = machine.quote(), machine.references()
    machine.tpm = Tpm.booted(small_log(["sha256"], command_line=b"evil"), clock=2_000, reset_count=8)
    assert trusted(machine.judge(before, references=references))
    for quotes in ([before, machine.quote()], [machine.quote(), before]):
        assert refused(machine.judge(*quotes, references=references), "replay.mismatch")


def test_more_quotes_than_anybody_sends():
    machine = Machine()
    many = [machine.quote()] * MAX_QUOTES
    assert trusted(machine.judge(*many))
    assert refused(machine.judge(*many, machine.quote()), "quote.format")
    assert refused(machine.judge(*many, Quote(b"", b""), policy=ARCHIVE), "quote.format")


def test_one_bad_quote_beside_a_good_one_is_not_passed_over():
    machine = Machine()
    good = machine.quote()
    bad = {
        "quote.signature": replace(good, sig=good.sig[:-1] + bytes([good.sig[-1] ^ 1])),
        "quote.digest": replace(machine.quote(digest=bytes(32)), pcrs=None),
        "quote.nonce": machine.quote(nonce=bytes(32)),
        "key.unknown": machine.quote(kind=key("ecdsa_p256", "other")),
        "quote.format": replace(good, msg=good.msg + b"\0"),
        "quote.type": replace(good, msg=b"\0" + good.msg[1:]),
    }
    for code, one in bad.items():
        for quotes in ([good, one], [one, good]):
            assert refused(machine.judge(*quotes), code)
            assert refused(machine.judge(*quotes, policy=ARCHIVE), code)


def test_levels_are_in_one_order():
    assert ("none", *map(str, LEVELS)) == KEY_LEVELS

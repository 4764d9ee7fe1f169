"""What a verdict row says of the nonce that it answers, and of the boot that the evidence says it is (SPEC 10.112)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from attested_machine import ARCHIVE, DEFAULT, HOUR, LOG_ONLY, NONCE, NOW, Machine, codes, job, rows_of, store_of
from tpm_in_python import Tpm

from pyverify.baseline.identity import Challenge
from pyverify.baseline.ledger import Ledger

OTHER = bytes(range(32))
BOTH = {"banks": ("sha256", "sm3_256")}


def row_of(evidence, references, policy=DEFAULT) -> dict:
    return rows_of([evidence], references, policy)[0]


def asked_twice() -> Machine:
    """A machine that was asked with both nonces."""
    machine = Machine(**BOTH)
    machine.challenges = [Challenge(machine.key.name, nonce, NOW - HOUR, "m") for nonce in (NONCE, OTHER)]
    return machine


def test_the_nonce_is_that_of_the_quote_that_passed():
    machine = Machine()
    row = row_of(machine.evidence(), machine.references())
    assert (row["verdict"], row["attested"], row["nonce"]) == ("trusted", "quote", NONCE)


@pytest.mark.parametrize("nonce", [b"", b"short", bytes(32), bytes(64)])
def test_an_unfresh_quote_passes_with_whatever_it_answers(nonce):
    machine = Machine()
    row = row_of(machine.evidence(machine.quote(nonce=nonce)), machine.references(challenges=[]), ARCHIVE)
    assert (row["verdict"], row["attested"], row["nonce"]) == ("trusted", "quote-unfresh", nonce)


def test_a_quote_that_did_not_pass_has_no_nonce():
    machine, stranger = Machine(), Machine("stranger")
    known, quote = machine.references(), machine.quote()
    evil = Tpm.booted(machine.log, owner="m")
    evil.pcrs["sha256"][4] = bytes(32)
    bad = {
        "quote.signature": replace(quote, sig=machine.quote(nonce=OTHER).sig),
        "quote.nonce": machine.quote(nonce=OTHER),
        "key.unknown": stranger.quote(),
        "quote.digest": evil.quote(machine.selection, NONCE, machine.key, beside=False),
        "quote.format": replace(quote, msg=quote.msg[:-1]),
    }
    for code, sent in bad.items():
        for policy in (DEFAULT, ARCHIVE):
            row = row_of(machine.evidence(sent), known, policy)
            assert code in codes(row, "high")
            assert (row["verdict"] in ("untrusted", "error"), row["nonce"]) == (True, None), code


def test_without_quotes_that_are_judged_there_is_no_nonce():
    machine = Machine()
    assert row_of(machine.evidence(), machine.references(), LOG_ONLY)["nonce"] is None
    assert row_of(machine.evidence(quotes=None), machine.references())["nonce"] is None


def test_a_bad_quote_beside_a_good_one_lends_it_no_nonce():
    machine, stranger = Machine(), Machine("stranger")
    for order in (1, -1):
        sent = [machine.quote(), stranger.quote(nonce=OTHER)][::order]
        assert row_of(machine.evidence(*sent), machine.references())["nonce"] == NONCE


def test_quotes_that_answer_one_challenge_have_its_nonce_and_those_of_several_have_none():
    machine = asked_twice()
    banks = [[(bank, range(24))] for bank in machine.banks]
    one = [machine.quote(bank) for bank in banks]
    two = [machine.quote(bank, nonce) for bank, nonce in zip(banks, (NONCE, OTHER), strict=True)]
    for sent, nonce in ((one, NONCE), (two, None), (two[::-1], None), ([*two, two[0]], None)):
        row = row_of(machine.evidence(*sent), machine.references())
        assert (row["verdict"], row["attested"], row["nonce"]) == ("trusted", "quote", nonce)


def test_the_second_pass_takes_the_nonce_of_a_replay_away(tmp_path):
    machine = Machine()
    first = machine.evidence(boot="b1")
    machine.tpm.clock += 1
    again = machine.evidence(boot="b2")
    with store_of(tmp_path / "s", machine) as store:
        stands, replayed = job(store, first, again)
    assert (stands["verdict"], stands["nonce"]) == ("trusted", NONCE)
    assert (replayed["attested"], replayed["nonce"]) == ("quote-unfresh", None)
    assert "quote.replayed" in codes(replayed)


def test_a_quote_that_is_only_too_old_once_it_is_spent_keeps_its_nonce(tmp_path):
    machine = Machine()
    with store_of(tmp_path / "s", machine) as store:
        references = machine.references()
        newer = Challenge(machine.key.name, OTHER, NOW - HOUR / 2, "m")
        Ledger(store).add([newer])
        (row,) = job(store, machine.evidence(), references=references)
    assert codes(row, "high") == {"quote.unfresh"}
    assert (row["verdict"], row["attested"], row["nonce"]) == ("untrusted", "quote-unfresh", NONCE)


@pytest.mark.parametrize("boot_seq", [None, 0, 7, 2**63 - 1])
def test_boot_seq_is_as_it_was_sent(boot_seq):
    machine = Machine()
    for policy in (DEFAULT, LOG_ONLY):
        assert row_of(machine.evidence(boot_seq=boot_seq), machine.references(), policy)["boot_seq"] == boot_seq

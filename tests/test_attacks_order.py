"""Attacks across boots and machines (SPEC section 10.3, 79-81): clocks that go back, parts not of one boot."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from attested_machine import (
    ARCHIVE,
    HOUR,
    NOW,
    POLICIES,
    Machine,
    booted_evil,
    codes,
    honest,
    job,
    references_of,
    refused,
    store_of,
    trusted,
)
from tpm_in_python import Tpm

from pyverify.baseline.identity import Challenge


def test_079_a_copy_in_another_machines_evidence_sets_no_clock(tmp_path):
    """Nor have its clock look as if it went back, by saying that a later quote of it is of an early boot."""
    thief, victim = Machine("a"), Machine("b")
    thief.challenges, victim.challenges = [], []
    first = victim.quote()
    victim.tpm.clock, victim.tpm.reset_count = 2_000, 8
    second = victim.quote(nonce=bytes(32))
    honest = [victim.evidence(first, boot="1", boot_seq=1), victim.evidence(second, boot="2", boot_seq=2)]
    with store_of(tmp_path / "s", thief, victim) as store:
        assert [row["verdict"] for row in job(store, *honest, policy=ARCHIVE)] == ["trusted"] * 2
        stolen, *own = job(store, thief.evidence(second, boot_seq=0), *honest, policy=ARCHIVE)
        assert (stolen["verdict"], codes(stolen)) == ("untrusted", {"key.unknown"})
        assert [row["verdict"] for row in own] == ["trusted"] * 2


def in_turn(machine, *changes):
    """Evidence of boots that were asked for one after the other, the TPM's facts changed as given."""
    machine.challenges, evidence = [], []
    for number, facts in enumerate(changes):
        for name, value in facts.items():
            setattr(machine.tpm, name, value)
        nonce = hashlib.sha256(bytes([number])).digest()
        machine.challenges.append(
            Challenge(machine.key.name, nonce, NOW - HOUR * (len(changes) - number), machine.name)
        )
        evidence.append(machine.evidence(machine.quote(nonce=nonce), boot=str(number), boot_seq=number))
    return evidence


START = {"clock": 5_000, "reset_count": 7, "restart_count": 3, "safe": 1}
BACKWARDS = {
    "the clock": {"clock": 4_999},
    "the clock, in a later boot": {"clock": 4_999, "reset_count": 8},
    "resetCount": {"reset_count": 6, "clock": 9_000},
    "all, as after a clear": {"clock": 10, "reset_count": 0, "restart_count": 0},
    "restartCount within a boot": {"restart_count": 2, "clock": 9_000},
    "resetCount, the clock not safe": {"reset_count": 6, "clock": 9_000, "safe": 0},
}


@pytest.mark.parametrize("changes", BACKWARDS.values(), ids=BACKWARDS.keys())
def test_079_clocks_and_counters_that_go_back(changes, tmp_path):
    machine = honest()
    evidence = in_turn(machine, START, changes, {"clock": 10_000, "reset_count": 9, "restart_count": 0, "safe": 1})
    with store_of(tmp_path / "s", machine) as store:
        first, second, third = job(store, *evidence, policy=ARCHIVE)
        assert (first["verdict"], third["verdict"]) == ("trusted", "trusted")
        assert refused(second, "quote.clock") and codes(second, "high") == {"quote.clock"}
        backwards = job(store, *evidence[::-1], policy=ARCHIVE, size=1)
        assert [row["verdict"] for row in backwards] == ["trusted", "untrusted", "trusted"]
        assert refused(job(store, *evidence[:2])[1])
    fresh = in_turn(machine, START, changes)
    with store_of(tmp_path / "fresh", machine) as store:
        assert job(store, fresh[1])[0]["verdict"] == "trusted"  # nothing to compare it with
        assert refused(job(store, *fresh)[1], "quote.clock")


def test_079_what_goes_on_is_no_finding(tmp_path):
    machine = honest()
    later = {"clock": 6_000, "reset_count": 20, "restart_count": 0}
    unclean = {"clock": 1, "safe": 0, "reset_count": 21}
    with store_of(tmp_path / "s", machine) as store:
        assert not job(store)
    evidence = in_turn(machine, START, {"restart_count": 4}, later, unclean)
    with store_of(tmp_path / "t", machine) as store:
        rows = job(store, *evidence, policy=ARCHIVE)
        assert [row["verdict"] for row in rows] == ["trusted"] * 4
        assert all(codes(row) <= {"quote.unfresh"} for row in rows)


@POLICIES
@pytest.mark.parametrize("which", ["log", "quote"])
def test_080_the_quote_of_one_boot_and_the_log_of_another(which, policy):
    """The firmware is the same, so PCR 0-7 are equal; what came after it is not. (IMA lists: attacks 85-99.)"""
    machine = honest()
    log, references = booted_evil(machine)
    golden = Tpm.booted(machine.log)
    assert all(golden.pcrs["sha256"][pcr] == machine.tpm.pcrs["sha256"][pcr] for pcr in range(8))
    quote = machine.quote() if which == "log" else golden.quote(machine.selection, machine.nonce, machine.key)
    sent = machine.log if which == "log" else log
    verdict = machine.judge(quote, references=references, policy=policy, event_log=sent)
    assert refused(verdict, "replay.mismatch")
    assert {f.pcr for f in verdict.findings if f.code == "replay.mismatch"} == {8}
    assert trusted(machine.judge(golden.quote(machine.selection, machine.nonce, machine.key), references=references))


@POLICIES
def test_080_quotes_of_two_boots_do_not_add_up(policy):
    """Half of the PCRs from a boot before, half from this one: the counters differ."""
    machine = honest()
    low, high = ([("sha256", pcrs)] for pcrs in (range(8), range(8, 24)))
    assert trusted(machine.judge(machine.quote(low), machine.quote(high), policy=policy), "quote")
    before = machine.quote(high)
    log, references = booted_evil(machine)
    for counter in ("reset_count", "restart_count"):
        machine.tpm.reset_count, machine.tpm.restart_count = 7, 0
        setattr(machine.tpm, counter, 8)
        for sent in (machine.log, log):
            verdict = machine.judge(machine.quote(low), before, references=references, policy=policy, event_log=sent)
            assert refused(verdict, "quote.selection")


@POLICIES
def test_081_another_healthy_machines_tpm_answers(policy):
    """A relay: the nonce is right, and the key is enrolled, for another machine.

    A TPM that is carried to this machine, or asked over a wire under its own machine's name, cannot be told from here.
    """
    sick, healthy = honest(), Machine("healthy")
    assert trusted(healthy.judge())
    references = references_of(sick, healthy)
    for nonce in (sick.nonce, healthy.nonce, bytes(32)):
        relayed = healthy.quote(nonce=nonce)
        verdict = sick.judge(relayed, references=references, policy=policy)
        assert refused(verdict, "key.unknown") and (verdict.attested, verdict.key) == ("log", "none")
        assert not verdict.claims
    both = sick.judge(sick.quote(), healthy.quote(), references=references, policy=policy)
    assert refused(both, "key.unknown")
    dated = [replace(sick.enrolled(), until=NOW)]
    assert refused(sick.judge(policy=policy, references=sick.references(enrolled=dated)), "key.unknown")
    not_yet = [replace(sick.enrolled(), since=NOW + HOUR)]
    assert refused(sick.judge(policy=policy, references=sick.references(enrolled=not_yet)), "key.unknown")

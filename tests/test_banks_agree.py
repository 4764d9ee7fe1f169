"""A bank that is quoted and known must not contradict the baseline, whether it is required or not (SPEC 4.4, 4.6)."""

from __future__ import annotations

import pytest
from attested_machine import ALL_PCRS, ARCHIVE, DEFAULT, Machine, codes, refused, trusted
from conftest import hash_of, small_log
from log_editor import Log
from tpm_in_python import Tpm

from pyverify.baseline.model import State

BOTH = ("sha1", "sha256")
IMAGE = 0x80000003
POLICIES = pytest.mark.parametrize("policy", [DEFAULT, ARCHIVE], ids=lambda policy: policy.name)


def two_boots(machine: Machine):
    """The machine with another boot loader in SHA-1 than in SHA-256, the log of that, and references as before."""
    references, log = machine.references(), Log.parse(machine.log)
    place = log.find(4, IMAGE)
    log[place] = log[place].with_digest("sha1", hash_of("sha1", b"another loader"))
    machine.tpm = Tpm.booted(log.bytes())
    return log.bytes(), references


@POLICIES
@pytest.mark.parametrize("quoted", [BOTH, ("sha256",)], ids=["quoted when learned", "not quoted when learned"])
def test_a_weak_bank_that_tells_of_another_boot(quoted, policy):
    machine = Machine(banks=BOTH, quoted_banks=quoted)
    assert trusted(machine.judge(policy=policy))
    log, references = two_boots(machine)
    both = machine.quote([(bank, ALL_PCRS) for bank in BOTH])
    verdict = machine.judge(both, references=references, policy=policy, event_log=log)
    assert refused(verdict, "baseline.event-changed")
    assert [f.bank for f in verdict.findings if f.code == "baseline.event-changed"] == ["sha1"]


@POLICIES
def test_a_bank_that_the_baseline_does_not_know_is_nothing_against_it(policy):
    learned = Machine(banks=("sha256",))
    machine = Machine(banks=BOTH, quoted_banks=BOTH)
    verdict = machine.judge(references=learned.references(), policy=policy)
    assert trusted(verdict) and codes(verdict) <= {"quote.unfresh"}


@POLICIES
def test_a_weak_bank_that_is_quoted_in_part_is_not_compared(policy):
    machine = Machine(banks=BOTH, quoted_banks=("sha256",))
    part = machine.quote([("sha1", range(8)), ("sha256", ALL_PCRS)])
    assert trusted(machine.judge(part, policy=policy))


@POLICIES
def test_a_bank_that_windows_has_closed_is_not_compared(policy):
    """It holds H(value || zeros) in all that it closed (SPEC 0.2)."""
    machine = Machine(banks=BOTH)
    for pcr in range(15):
        value = machine.tpm.pcrs["sha1"][pcr]
        machine.tpm.pcrs["sha1"][pcr] = hash_of("sha1", value + bytes(20))
    verdict = machine.judge(policy=policy)
    assert trusted(verdict) and "bank.capped" in codes(verdict)


def without(machine: Machine, bank: str) -> list[bytes]:
    """The log as one that never had the bank, and as one in which an event has no digest in it."""
    log = Log.parse(machine.log)
    del log[-1].digests[bank]
    return [small_log([one for one in machine.banks if one != bank]), log.bytes()]


@POLICIES
@pytest.mark.parametrize("bank", ["sha1", "sha384"])
def test_attack_33_a_log_that_lost_a_bank_it_was_learned_with_though_that_is_not_quoted(bank, policy):
    machine = Machine(banks=("sha256", bank), quoted_banks=("sha256",))
    assert trusted(machine.judge(policy=policy))
    for log in without(machine, bank):
        verdict = machine.judge(policy=policy, event_log=log)
        assert refused(verdict, "bank.missing")
        assert [f.bank for f in verdict.findings if f.code == "bank.missing"] == [bank]


def test_a_lost_bank_that_is_quoted_is_told_once():
    machine = Machine(banks=("sha256", "sha384"))
    for log in without(machine, "sha384"):
        found = [f.code for f in machine.judge(event_log=log).findings]
        assert found.count("bank.missing") == 1


def test_a_lost_bank_is_nothing_against_a_machine_that_has_no_active_baseline():
    machine = Machine(banks=("sha256", "sha384"), quoted_banks=("sha256",))
    references = machine.references(baselines=[machine.baseline(state=State.PENDING)])
    verdict = machine.judge(references=references, event_log=without(machine, "sha384")[0])
    assert "bank.missing" not in codes(verdict)

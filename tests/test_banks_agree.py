"""A bank that is quoted and known must not contradict the baseline, whether it is required or not (SPEC 4.4, 4.6)."""

from __future__ import annotations

import pytest
from attested_machine import ALL_PCRS, ARCHIVE, DEFAULT, Machine, codes, refused, trusted
from conftest import hash_of
from log_editor import Log
from tpm_in_python import Tpm

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

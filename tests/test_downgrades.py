"""Evidence that is weaker than the policy asks for, whatever it calls itself, is not trusted (DESIGN section 5.6)."""

from __future__ import annotations

import struct

import pytest
from attested_machine import ALL_PCRS, ARCHIVE, DEFAULT, Machine, refused, trusted
from conftest import entry, small_log, spec_id
from tpm_in_python import Tpm

BOTH = ("sha256", "sha384")
EVIL = b"init=/bin/sh"


def separators(*registers):
    return b"".join(entry(register, 4, bytes(4), list(BOTH)) for register in registers)


@pytest.mark.parametrize("policy", [DEFAULT, ARCHIVE], ids=lambda p: p.name)
def test_a_log_that_calls_itself_one_of_measurement_registers_does_not_hide_pcrs(policy):
    """A TPM's quote proves PCRs. Registers 1 to 3 stand for other things, though they share numbers with PCR 1 to 3:
    a machine that booted another kernel must not have those three compared and no other."""
    machine = Machine(banks=BOTH)
    assert trusted(machine.judge(policy=policy), "quote")
    references = machine.references()
    evil = small_log(list(BOTH), command_line=EVIL)
    machine.tpm = Tpm.booted(evil)
    assert refused(machine.judge(references=references, policy=policy, event_log=evil), "baseline.event-changed")
    registers = struct.pack("<I", 1) + spec_id(list(BOTH))[4:] + separators(1, 2, 3)
    for banks in (BOTH, BOTH[:1], BOTH[1:]):
        quote = machine.quote([(bank, ALL_PCRS) for bank in banks])
        verdict = machine.judge(quote, references=references, policy=policy, event_log=registers, event_log_kind="ccel")
        assert refused(verdict, "quote.missing") and verdict.attested == "log"

"""Attacks on what a quote says (SPEC section 10.3, 63-66, 77, 78): selections, values, attests that are no quotes."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from attested_machine import ALL_PCRS, POLICIES, booted_evil, codes, honest, refused, text_of, trusted
from conftest import DATA, hash_of
from quote_data import selections, sized
from tpm_in_python import marshalled

from pyverify.appraise.verdict import Outcome


@POLICIES
@pytest.mark.parametrize("left_out", [0, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14])
def test_063_a_pcr_that_no_quote_selects(left_out, policy):
    """Values of it beside the quote, in whatever form, fill no gap (CVE-2022-0317)."""
    machine = honest()
    fewer = [("sha256", [pcr for pcr in ALL_PCRS if pcr != left_out])]
    whole = machine.quote().pcrs
    everything = text_of({"sha256": machine.tpm.pcrs["sha256"]})
    for beside in (None, whole, everything, machine.quote(fewer).pcrs):
        verdict = machine.judge(replace(machine.quote(fewer), pcrs=beside), policy=policy)
        assert refused(verdict, "quote.selection")
        assert any(str(left_out) in finding.hint for finding in verdict.findings)


def test_063_pcrs_that_are_not_compared_need_not_be_quoted():
    machine = honest()
    assert trusted(machine.judge(machine.quote([("sha256", (0, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14))])))


@POLICIES
@pytest.mark.parametrize("chosen", [[], [("sha256", ())], [("sha512", ()), ("sha256", ())]])
def test_063_a_quote_over_no_pcr(chosen, policy):
    """A TPM clears what it has not got from the selection: the signature is then good, over the hash of nothing."""
    machine = honest()
    parts = {"listed": marshalled(chosen), "digest": hash_of("sha256", b"")}
    for beside in (machine.quote().pcrs, text_of({"sha256": machine.tpm.pcrs["sha256"]}), None):
        assert refused(machine.judge(replace(machine.quote(**parts), pcrs=beside), policy=policy), "quote.selection")


@POLICIES
def test_064_resettable_pcrs_with_golden_values_under_other_numbers(policy):
    """PCR 16 and 23 extended to what PCR 4 and 8 should hold, and labelled so beside the quote (CVE-2024-29039)."""
    machine = honest()
    golden = dict(machine.tpm.pcrs["sha256"])
    log, references = booted_evil(machine)
    machine.tpm.pcrs["sha256"][16], machine.tpm.pcrs["sha256"][23] = golden[4], golden[8]
    moved = [("sha256", [pcr for pcr in ALL_PCRS if pcr not in (4, 8)])]
    quote = machine.quote(moved)
    labelled = text_of({"sha256": golden})
    for sent in (log, machine.log):
        for beside in (labelled, quote.pcrs, None):
            verdict = machine.judge(replace(quote, pcrs=beside), references=references, policy=policy, event_log=sent)
            assert refused(verdict)
            assert {"quote.selection", "quote.digest"} & codes(verdict)
    # a selection of the resettable ones alone, whose values stand where those of PCR 4 and 8 would
    two = machine.quote([("sha256", (16, 23))])
    assert refused(machine.judge(two, references=references, policy=policy), "quote.selection")


@POLICIES
def test_065_values_of_another_bank_of_the_same_size(policy):
    """SM3 values under the name of SHA-256; the bank is what was signed."""
    machine = honest(banks=("sha256", "sm3_256"), quoted_banks=("sha256",))
    for pcrs in (machine.tpm.pcrs["sm3_256"], machine.tpm.pcrs["sha256"]):
        for named in ("sha256", "sm3_256"):
            quote = replace(machine.quote([("sm3_256", ALL_PCRS)]), pcrs=text_of({named: pcrs}))
            assert refused(machine.judge(quote, policy=policy), "bank.missing")
    # the machine's PCRs of SHA-256 as if they were those of SM3, relabelled after the TPM signed
    message = machine.quote().msg.replace(marshalled([("sha256", ALL_PCRS)]), marshalled([("sm3_256", ALL_PCRS)]))
    assert message != machine.quote().msg
    assert refused(machine.judge(replace(machine.quote(), msg=message), policy=policy), "quote.signature")


@POLICIES
@pytest.mark.parametrize(
    "parts",
    [{"kind": number} for number in (0x8014, 0x8016, 0x8017, 0x8019, 0x801A, 0x801C, 0, 0xFFFF)]
    + [{"magic": magic} for magic in (0, 0xFF544348, 0x474354FF, 0xFF54434D)],
)
def test_066_an_attest_that_is_no_quote(parts, policy):
    """CVE-2024-29038, CVE-2024-29040: the signature of a restricted key is good, of another attest or none."""
    machine = honest()
    message = machine.tpm.attest(machine.selection, machine.nonce, machine.key, **parts)
    forged = replace(machine.quote(), msg=message, sig=machine.key.sign(message))
    verdict = machine.judge(forged, policy=policy)
    assert refused(verdict) and {"quote.type", "quote.format"} & codes(verdict)
    assert verdict.attested == "log"


@pytest.mark.parametrize("name", ["certify", "creation", "gettime", "nv"])
def test_066_attests_of_other_types_that_a_tpm_made(name):
    machine = honest()
    folder = DATA / "quotes" / "other_types"
    message = (folder / f"{name}.msg").read_bytes()
    as_sent = replace(machine.quote(), msg=message, sig=(folder / f"{name}.sig").read_bytes())
    assert refused(machine.judge(as_sent), "quote.type")
    assert refused(machine.judge(replace(as_sent, sig=machine.key.sign(message))), "quote.type")


MALFORMED = {
    "trailing byte": {"tail": b"\0"},
    "trailing quote": {"tail": bytes(64)},
    "sizeofSelect 0": {"listed": selections((0xB, b""))},
    "sizeofSelect 255": {"listed": struct.pack(">IHB", 1, 0xB, 255) + b"\xff\xff\xff"},
    "sizeofSelect 5": {"listed": selections((0xB, b"\xff\xff\xff\0\0"))},
    "count of 2^32 - 1": {"listed": selections((0xB, b"\xff\xff\xff"), count=2**32 - 1)},
    "count of 17": {"listed": selections(*[(0xB, b"\0\0\0")] * 16, (0xB, b"\xff\xff\xff"))},
    "count of 0": {"listed": selections((0xB, b"\xff\xff\xff"), count=0)},
    "digest too short": {"digest": bytes(31)},
    "no digest": {"digest": b""},
    "digest too long": {"digest": bytes(65)},
}


@POLICIES
@pytest.mark.parametrize("parts", MALFORMED.values(), ids=MALFORMED.keys())
def test_077_an_attest_that_is_not_exactly_consumed(parts, policy):
    machine = honest()
    verdict = machine.judge(machine.quote(**parts), policy=policy)
    assert verdict.outcome is Outcome.ERROR and refused(verdict, "quote.format")


def test_077_a_size_before_the_attest_that_is_not_its_own():
    machine = honest()
    quote = machine.quote()
    assert trusted(machine.judge(replace(quote, msg=sized(quote.msg))))
    for size in (0, len(quote.msg) - 1, len(quote.msg) + 1, 0xFFFF):
        verdict = machine.judge(replace(quote, msg=struct.pack(">H", size) + quote.msg))
        assert refused(verdict) and {"quote.format", "quote.type"} & codes(verdict)
    # the size is not signed: a nonce is spent by the attest, with it or without
    assert machine.judge(replace(quote, msg=sized(quote.msg))).claims == machine.judge(quote).claims


@POLICIES
def test_078_a_bank_twice(policy):
    """The TPM allows it, and hashes in the order of the list; a reader that keeps the last would compare other PCRs."""
    machine = honest()
    for first, second in (
        (ALL_PCRS, ALL_PCRS),
        (ALL_PCRS, (8,)),
        ((0, 2, 3, 4, 7), (8, 9, 11, 12, 13, 14)),
        ((), ALL_PCRS),
    ):
        twice = machine.quote([("sha256", first), ("sha256", second)])
        assert refused(machine.judge(twice, policy=policy), "quote.format")

"""Evidence that is weaker than the policy asks for, whatever it calls itself, is not trusted (DESIGN section 5.6)."""

from __future__ import annotations

import struct
from dataclasses import replace

import pyarrow as pa
import pytest
from attested_machine import (
    ALL_PCRS,
    ARCHIVE,
    DEFAULT,
    HOUR,
    LOG_ONLY,
    NOW,
    Machine,
    booted_evil,
    codes,
    job,
    references_of,
    refused,
    rows_of,
    store_of,
    trusted,
)
from baselines_by_hand import baseline
from cel_writers import pcclient, tlv_record
from conftest import entry, hash_of, small_log, spec_id
from quote_data import serialized
from tpm_in_python import Tpm, key

from pyverify import References, UsageError, evidence_batch, verify_batches
from pyverify.baseline.identity import Challenge
from pyverify.baseline.ledger import Ledger
from pyverify.evidence.bundle import Quote

BOTH = ("sha256", "sha384")
EVIL = b"init=/bin/sh"
POLICIES = pytest.mark.parametrize("policy", [DEFAULT, ARCHIVE], ids=lambda policy: policy.name)


def separators(*registers):
    return b"".join(entry(register, 4, bytes(4), list(BOTH)) for register in registers)


def canonical(*registers):
    """The same in TLV: field 108 is a measurement register (SPEC 9.1)."""
    digests = {bank: hash_of(bank, bytes(4)) for bank in BOTH}
    return b"".join(
        tlv_record(number, register, digests, pcclient(4, bytes(4)), register=108)
        for number, register in enumerate(registers)
    )


@POLICIES
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
        for log, kind in ((registers, "ccel"), (canonical(1, 2, 3), "cel-tlv")):
            verdict = machine.judge(quote, references=references, policy=policy, event_log=log, event_log_kind=kind)
            assert refused(verdict, "quote.missing") and verdict.attested == "log"
    for only in (None, ()):
        sent = {"quotes": only, "event_log": registers, "event_log_kind": "ccel"}
        assert refused(machine.judge(references=references, policy=policy, **sent), "quote.missing")


def test_bare_registers_are_not_held_against_a_baseline_of_pcrs():
    """PCR 1 to 3 hold separators alone: three events that anybody can write would do for a whole boot."""
    machine = Machine(banks=BOTH)
    assert trusted(machine.judge(policy=LOG_ONLY), "log")
    registers = struct.pack("<I", 1) + spec_id(list(BOTH))[4:] + separators(1, 2, 3)
    for log, kind in ((registers, "ccel"), (canonical(1, 2, 3), "cel-tlv")):
        verdict = machine.judge(policy=LOG_ONLY, event_log=log, event_log_kind=kind)
        assert refused(verdict, "baseline.pcr")
    header_of_pcrs = b"\0\0\0\0" + registers[4:]
    own = References.of([baseline("m", header_of_pcrs)])
    assert trusted(machine.judge(policy=LOG_ONLY, references=own, event_log=registers, event_log_kind="ccel"), "log")


@POLICIES
@pytest.mark.parametrize(
    "quotes",
    [None, [], [Quote(b"", b"")], [Quote(b"", b"", None, None)] * 3, [None]],
    ids=["null", "none", "empty", "three", "a null"],
)
def test_a_quote_that_was_taken_away(quotes, policy):
    machine = Machine()
    assert trusted(machine.judge(policy=policy))
    assert trusted(machine.judge(policy=LOG_ONLY, quotes=None), "log")
    if quotes == [None]:
        batch = evidence_batch([machine.evidence(quotes=[])])
        column = pa.array([[None]], batch.schema.field("quotes").type)
        batch = batch.set_column(batch.schema.get_field_index("quotes"), batch.schema.field("quotes"), column)
        (rows,) = verify_batches([batch], references=machine.references(), policy=policy, as_of=NOW)
        (row,) = rows.to_pylist()
    else:
        (row,) = rows_of([machine.evidence(quotes=quotes)], machine.references(), policy)
    assert refused(row, "quote.format" if quotes else "quote.missing")
    assert (row["attested"], row["key"], row["ak_name"]) == ("log", "none", None)


@POLICIES
@pytest.mark.parametrize("part", ["msg", "sig", "ak_pub", "pcrs"])
def test_a_part_of_a_quote_that_was_taken_away(part, policy):
    machine = Machine()
    machine.tpm.extend(16, b"so that the values are needed")
    assert trusted(machine.judge(policy=policy))
    for nothing in (None, b""):
        (row,) = rows_of([machine.evidence(replace(machine.quote(), **{part: nothing}))], machine.references(), policy)
        assert refused(row)


@POLICIES
def test_no_column_of_quotes_at_all(policy):
    machine = Machine()
    batch = evidence_batch([machine.evidence()]).select(["machine", "boot", "event_log"])
    (rows,) = verify_batches([batch], references=machine.references(), policy=policy, as_of=NOW)
    assert refused(rows.to_pylist()[0], "quote.missing")


def test_a_ledger_that_knows_nothing():
    machine = Machine()
    assert trusted(machine.judge())
    assert refused(machine.judge(references=machine.references(challenges=[])), "quote.unfresh")
    other = Challenge(key("sm2", "x").name, machine.nonce, NOW - HOUR, "m")
    assert refused(machine.judge(references=machine.references(challenges=[other])), "quote.unfresh")
    asked_since = [Challenge(machine.key.name, bytes(32), NOW - HOUR, "m")]
    assert refused(machine.judge(references=machine.references(challenges=asked_since)), "quote.nonce")
    assert refused(machine.judge(references=machine.references(challenges=asked_since), policy=ARCHIVE), "quote.nonce")


def test_a_quote_over_no_nonce():
    """What was asked with nothing answers nothing, whatever the ledger says: it cannot hold an empty nonce."""
    machine = Machine()
    quote = machine.quote(nonce=b"")
    assert refused(machine.judge(quote), "quote.nonce")
    assert refused(machine.judge(quote, policy=ARCHIVE), "quote.nonce")
    assert refused(machine.judge(quote, references=machine.references(challenges=[])), "quote.unfresh")
    assert trusted(machine.judge(quote, references=machine.references(challenges=[]), policy=ARCHIVE), "quote-unfresh")


def test_last_months_evidence_again(tmp_path):
    machine = Machine()
    evidence, month = machine.evidence(), 30 * 24 * HOUR
    with store_of(tmp_path / "s", machine) as store:
        assert job(store, evidence)[0]["verdict"] == "trusted"
        assert refused(job(store, evidence, at=NOW + month)[0], "quote.unfresh")
        Ledger(store).add([Challenge(machine.key.name, bytes(32), NOW + month - HOUR, "m")])
        assert refused(job(store, evidence, at=NOW + month)[0], "quote.unfresh")
        machine.tpm.clock, machine.tpm.reset_count = 9_000, 9
        now = machine.evidence(machine.quote(nonce=bytes(32)), boot="b3")
        rows = job(store, evidence, now, at=NOW + month)
        assert [row["verdict"] for row in rows] == ["untrusted", "trusted"]
        assert job(store, evidence, policy=ARCHIVE, at=NOW + month)[0]["attested"] == "quote-unfresh"


def test_the_same_row_twice_is_the_same_verdict_twice(tmp_path):
    machine = Machine()
    evidence = machine.evidence()
    with store_of(tmp_path / "s", machine) as store:
        for size in (1, 512):
            rows = job(store, evidence, evidence, evidence, size=size)
            assert [row["verdict"] for row in rows] == ["trusted"] * 3
            assert rows[0] == rows[1] == rows[2]
        assert job(store, evidence)[0]["verdict"] == "trusted"


@POLICIES
def test_the_log_of_an_older_boot_beside_a_newer_quote(policy):
    """The golden log does not explain what was booted since, and the newer log shows it."""
    machine = Machine()
    golden = machine.log
    log, references = booted_evil(machine, b"quiet kernel=new")
    verdict = machine.judge(references=references, policy=policy, event_log=golden)
    assert refused(verdict, "replay.mismatch", "baseline.pcr")
    assert refused(machine.judge(references=references, policy=policy, event_log=log), "baseline.event-changed")


@POLICIES
def test_values_that_stand_under_another_bank(policy):
    """The values beside a quote of two banks, those of each in the place of the other's."""
    machine = Machine(banks=("sha256", "sm3_256"))
    machine.tpm.extend(23, b"so that the values are needed")
    assert trusted(machine.judge(policy=policy))
    own, other = (machine.tpm.values([(bank, ALL_PCRS)]) for bank in machine.banks)
    for values in (other + own, own + own, other + other, own[:12] + other, own):
        quote = replace(machine.quote(), pcrs=serialized(values))
        assert refused(machine.judge(quote, policy=policy), "quote.digest")
    turned = machine.quote([("sm3_256", ALL_PCRS), ("sha256", ALL_PCRS)])
    assert trusted(machine.judge(turned, policy=policy))
    assert refused(machine.judge(replace(turned, pcrs=machine.quote().pcrs), policy=policy), "quote.digest")


@POLICIES
@pytest.mark.parametrize("bank", ["sha1", "sha384"])
def test_another_bank_than_the_learned_one(bank, policy):
    machine = Machine(banks=("sha256", bank), quoted_banks=("sha256",))
    assert trusted(machine.judge(policy=policy))
    assert refused(machine.judge(machine.quote([(bank, ALL_PCRS)]), policy=policy), "bank.missing")
    required = replace(policy, banks_required=("sha256", "sha512"))
    assert refused(machine.judge(policy=required), "bank.missing")
    assert trusted(machine.judge(policy=replace(policy, banks_required=("sha256",))))
    with pytest.raises(UsageError, match="required"):  # no bank is asked for: such a policy cannot be
        replace(policy, banks_required=())


def test_a_quote_of_one_bank_does_not_vouch_for_the_digests_of_another():
    """The log's SHA-256 digests are the evil boot's, as quoted; those of SHA-384 are golden and were never quoted."""
    machine = Machine(banks=BOTH)
    references = machine.references()
    evil = small_log(list(BOTH), command_line=EVIL)
    quoted, golden = (hash_of("sha384", text) for text in (EVIL, b"quiet"))
    mixed = evil.replace(quoted, golden)
    assert mixed != evil
    machine.tpm = Tpm.booted(evil)
    for bank in BOTH:
        one = machine.judge(machine.quote([(bank, ALL_PCRS)]), references=references, event_log=mixed)
        assert refused(one, "bank.missing")
    assert refused(machine.judge(references=references, event_log=mixed), "replay.mismatch", "baseline.event-changed")


@POLICIES
def test_nothing_in_the_evidence_chooses_the_policy(policy):
    """Columns that nobody knows, names that sound like policies, kinds of log: the policy stays the caller's."""
    machine = Machine("log-only")
    evidence = replace(machine.evidence(quotes=None), boot="archive")
    references = machine.references()
    batch = evidence_batch([evidence])
    for name, value in (("policy", "log-only"), ("quote", "no"), ("as_of", "2020-01-01"), ("trusted", "true")):
        batch = batch.append_column(name, pa.array([value]))
    (rows,) = verify_batches([batch], references=references, policy=policy, as_of=NOW)
    (row,) = rows.to_pylist()
    assert refused(row, "quote.missing")
    assert (row["policy_id"], row["references_id"], row["as_of"]) == (policy.id, references.id, NOW)
    (row,) = rows_of([machine.evidence(ak_cert=b"x", ek_cert=b"x", boot_seq=0)], references, policy)
    assert (row["verdict"], row["policy_id"]) == ("trusted", policy.id)


def test_log_only_judges_no_quote_and_says_so():
    """Good or bad, a quote changes nothing there, neither for the better."""
    machine = Machine()
    references = machine.references(enrolled=[], challenges=[])
    good = machine.quote()
    for quotes in ([good], [good, good], [replace(good, sig=b"")], [machine.quote(nonce=b"")]):
        (row,) = rows_of([machine.evidence(*quotes)], references, LOG_ONLY)
        assert (row["verdict"], row["attested"], row["key"], row["ak_name"]) == ("trusted", "log", "none", None)
        assert [(f["code"], f["severity"]) for f in row["findings"]] == [("quote.ignored", "info")]
        assert row["pcrs_proven"] == []
    machine.tpm.extend(4, b"rootkit")
    assert machine.judge(policy=LOG_ONLY, references=references).trusted  # which is why it must be named
    log, references = booted_evil(machine)
    assert refused(machine.judge(good, policy=LOG_ONLY, references=references, event_log=log), "baseline.event-changed")


def test_a_policy_that_was_learned_under_log_only_asks_for_what_it_asks_for(tmp_path):
    """Its baselines know no quoted bank: the banks are then those of the quote, and the policy's rules stay."""
    machine = Machine(banks=BOTH)
    references = machine.references(baselines=[machine.baseline(quoted_banks=())])
    for banks in (BOTH[:1], BOTH[1:], BOTH):
        assert trusted(machine.judge(machine.quote([(bank, ALL_PCRS) for bank in banks]), references=references))
    assert refused(machine.judge(references=references, quotes=None), "quote.missing")
    fewer = machine.quote([("sha256", ALL_PCRS), ("sha384", range(8))])
    assert refused(machine.judge(fewer, references=references), "quote.selection")


@POLICIES
def test_evidence_of_one_machine_under_the_name_of_another(policy):
    one, two = Machine("one"), Machine("two", nonce=bytes(32))
    references = references_of(one, two)
    assert trusted(one.judge(references=references, policy=policy))
    verdict = one.judge(references=references, policy=policy, machine="two")
    assert refused(verdict, "key.unknown") and verdict.attested == "log"
    assert codes(verdict, "high") == {"key.unknown"}

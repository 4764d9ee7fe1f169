"""Honest quotes: what they come to under each policy, what they prove, and logs that do not fit them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from attested_machine import (
    ALL_PCRS,
    ARCHIVE,
    DEFAULT,
    HOUR,
    NONCE,
    NOW,
    POLICIES,
    Machine,
    codes,
    references_of,
    refused,
    rows_of,
    stands,
    store_of,
    trusted,
)
from conftest import entry, hash_of, small_log
from tpm_in_python import KINDS, Tpm

from pyverify import EventLog, UsageError
from pyverify.appraise.verdict import Outcome
from pyverify.baseline.identity import Challenge
from pyverify.baseline.ledger import Ledger
from pyverify.findings import Severity

BOTH = ("sha256", "sm3_256")
COMPARED_OR_TOLD = sum(1 << pcr for pcr in (*range(10), 11, 12, 13, 14))


def masks(row, name):
    return {item["bank"]: item["mask"] for item in row[name]}


@pytest.mark.parametrize("kind", KINDS)
@POLICIES
def test_an_honest_quote_of_each_kind_is_trusted(kind, policy):
    machine = Machine(kind=kind, banks=("sha1", "sha256", "sha384", "sm3_256"), quoted_banks=BOTH)
    (row,) = rows_of([machine.evidence()], machine.references(), policy)
    assert (row["verdict"], row["attested"], row["key"]) == ("trusted", "quote", "enrolled")
    assert row["ak_name"] == machine.key.name and row["findings"] == []
    assert masks(row, "pcrs_proven") == {"sha256": COMPARED_OR_TOLD, "sm3_256": COMPARED_OR_TOLD}
    assert masks(row, "pcrs_unproven") == {}
    assert [stage["state"] for stage in row["stages"]] == ["green"] * 5 + ["grey"]


def test_one_verdict_is_provisional_until_its_nonce_is_spent(tmp_path):
    machine = Machine()
    verdict = machine.judge()
    assert (verdict.outcome, verdict.attested) == (Outcome.UNTRUSTED, "quote-unfresh")
    assert codes(verdict) == {"quote.unfresh"}
    assert verdict.claims == ((machine.key.name, NONCE, hashlib.sha256(machine.quote().msg).digest()),)
    assert verdict.if_spent is not None and verdict.if_spent.trusted and verdict.if_spent.attested == "quote"
    with store_of(tmp_path / "s", machine) as store:
        final = Ledger(store).consume(verdict, at=NOW)
    assert (final.outcome, final.attested, final.findings, final.claims) == (Outcome.TRUSTED, "quote", (), ())


def test_a_verdict_that_waits_for_nothing_is_what_it_is(tmp_path):
    """Under ``archive`` no nonce is spent, and a verdict without a fresh quote has none to spend."""
    machine = Machine()
    for verdict in (machine.judge(policy=ARCHIVE), machine.judge(at=NOW + 30 * HOUR)):
        assert verdict.claims == () and verdict.if_spent is None
        with store_of(tmp_path / str(verdict.outcome), machine) as store:
            assert Ledger(store).consume(verdict, at=NOW) == verdict


UNFRESH = {
    "no challenge": ([], NOW),
    "too old": ([(NONCE, -24 * HOUR - HOUR / 3600)], NOW),
    "not yet asked": ([(NONCE, HOUR)], NOW),
    "not the newest": ([(NONCE, -2 * HOUR), (bytes(32), -HOUR)], NOW),
}


@pytest.mark.parametrize(("asked", "at"), UNFRESH.values(), ids=UNFRESH.keys())
def test_an_unfresh_quote_will_do_for_an_archive_only(asked, at):
    machine = Machine()
    challenges = [Challenge(machine.key.name, nonce, NOW + offset, "m") for nonce, offset in asked]
    references = machine.references(challenges=challenges)
    verdict = machine.judge(references=references, at=at)
    assert refused(verdict, "quote.unfresh") and verdict.attested == "quote-unfresh" and not verdict.claims
    lenient = machine.judge(references=references, at=at, policy=ARCHIVE)
    told = UNFRESH["too old"][0] != asked  # an archive has no limit of age
    assert trusted(lenient, "quote-unfresh" if told else "quote")
    assert [(f.code, f.severity) for f in lenient.findings] == [("quote.unfresh", Severity.INFO)] * told


def test_a_challenge_is_good_for_as_long_as_the_policy_says():
    machine = Machine()
    machine.challenges = [Challenge(machine.key.name, NONCE, NOW - 24 * HOUR, "m")]
    assert trusted(machine.judge())
    assert refused(machine.judge(policy=replace(DEFAULT, max_age=23 * HOUR)), "quote.unfresh")
    assert trusted(machine.judge(policy=replace(DEFAULT, max_age=48 * HOUR), at=NOW + 23 * HOUR))
    assert refused(machine.judge(policy=replace(DEFAULT, max_age=HOUR / 3600)), "quote.unfresh")


@POLICIES
def test_values_beside_are_not_needed_where_the_log_explains_all(policy):
    machine = Machine()
    assert trusted(machine.judge(machine.quote(beside=False), policy=policy))
    machine.tpm.extend(23, b"an application")
    assert trusted(machine.judge(policy=policy))
    assert refused(machine.judge(machine.quote(beside=False), policy=policy), "quote.digest")
    few = machine.quote([("sha256", range(16))], beside=False)
    assert trusted(machine.judge(few, policy=policy))


@POLICIES
def test_values_beside_that_are_wrong_are_never_relied_on(policy):
    """They are not signed: where the replay fits the signed digest they change nothing, where it does not all falls."""
    machine = Machine()
    others = Tpm.booted(small_log(["sha256"], command_line=b"other")).quote(machine.selection, NONCE).pcrs
    for beside in (others, b"", b"\0" * 700, b"sha256:\n  0: 0x00", machine.quote([("sha256", (0,))]).pcrs):
        (row,) = rows_of([machine.evidence(replace(machine.quote(), pcrs=beside))], machine.references(), policy)
        assert row["verdict"] == "trusted" and masks(row, "pcrs_proven") == {"sha256": COMPARED_OR_TOLD}
    machine.tpm.extend(16, b"debug")
    assert trusted(machine.judge(policy=policy))
    assert refused(machine.judge(replace(machine.quote(), pcrs=others), policy=policy), "quote.digest")


@POLICIES
def test_banks_may_be_quoted_together_or_apart(policy):
    machine = Machine(banks=BOTH)
    together = machine.quote([(bank, ALL_PCRS) for bank in BOTH])
    apart = [machine.quote([(bank, ALL_PCRS)]) for bank in BOTH]
    turned = machine.quote([(bank, ALL_PCRS) for bank in BOTH[::-1]])
    for quotes in ([together], apart, apart[::-1], [turned], [together, *apart]):
        (row,) = rows_of([machine.evidence(*quotes)], machine.references(), policy)
        assert row["verdict"] == "trusted" and row["findings"] == []
        assert masks(row, "pcrs_proven") == dict.fromkeys(BOTH, COMPARED_OR_TOLD)
    for only in apart:
        assert refused(machine.judge(only, policy=policy), "bank.missing")


@POLICIES
def test_a_bank_more_than_required_must_replay_too(policy):
    machine = Machine(banks=BOTH, quoted_banks=("sha256",))
    both = [("sha256", ALL_PCRS), ("sm3_256", ALL_PCRS)]
    assert trusted(machine.judge(machine.quote(both), policy=policy))
    machine.tpm.pcrs["sm3_256"][4] = hash_of("sm3_256", b"something else")
    assert trusted(machine.judge(policy=policy))
    for quotes in ([machine.quote(both)], [machine.quote(both[:1]), machine.quote(both[1:])]):
        verdict = machine.judge(*quotes, policy=policy)
        assert refused(verdict, "replay.mismatch")
        assert [(f.bank, f.pcr) for f in verdict.findings if f.code == "replay.mismatch"] == [("sm3_256", 4)]


@POLICIES
@pytest.mark.parametrize("pcr", [*range(10), 11, 12, 13, 14])
def test_a_pcr_that_the_log_does_not_lead_to(pcr, policy):
    """Something was extended that no log tells of: a mismatch where the log has events of the PCR, else unexplained."""
    machine = Machine()
    assert trusted(machine.judge(policy=policy))
    machine.tpm.extend(pcr, b"rootkit")
    evidence = machine.evidence()
    (row,) = rows_of([evidence], machine.references(), policy)
    code = "replay.mismatch" if pcr < 9 else "replay.unexplained"
    assert refused(row, code)
    (found,) = [finding for finding in row["findings"] if finding["code"] == code]
    quoted, led = machine.tpm.pcrs["sha256"][pcr], Tpm.booted(machine.log).pcrs["sha256"][pcr]
    assert (found["pcr"], found["bank"], found["expected"], found["actual"]) == (pcr, "sha256", quoted, led)
    assert masks(row, "pcrs_proven") == {"sha256": COMPARED_OR_TOLD & ~(1 << pcr)}
    assert masks(row, "pcrs_unproven") == {"sha256": 1 << pcr}
    assert (row["attested"], row["key"]) == ("quote", "enrolled")


@POLICIES
@pytest.mark.parametrize("pcr", [15, 16, 23])
def test_pcrs_that_are_ignored_may_hold_anything(pcr, policy):
    machine = Machine()
    machine.tpm.extend(pcr, b"an application")
    assert trusted(machine.judge(policy=policy))


@POLICIES
def test_a_log_that_tells_more_or_less_than_the_pcrs(policy):
    machine = Machine()
    references = machine.references()
    more = small_log(["sha256"], extra=entry(9, 0xD, b"initrd", ["sha256"]))
    verdict = machine.judge(references=references, policy=policy, event_log=more)
    assert refused(verdict, "replay.mismatch")
    machine.tpm = Tpm.booted(more)
    assert refused(machine.judge(references=references, policy=policy), "replay.unexplained", "baseline.pcr")
    assert refused(machine.judge(references=references, policy=policy, event_log=more), "baseline.event-added")
    learned = machine.references(baselines=[Machine(log=more).baseline()])
    assert trusted(machine.judge(references=learned, policy=policy, event_log=more))


@POLICIES
def test_a_log_without_a_bank_that_is_quoted(policy):
    machine = Machine(banks=BOTH)
    bare = small_log(["sha256"])
    assert refused(machine.judge(policy=policy, event_log=bare), "bank.missing")
    only = machine.quote([("sha256", ALL_PCRS)])
    assert refused(machine.judge(only, policy=policy, event_log=bare), "bank.missing")
    extra = Machine(banks=BOTH, quoted_banks=("sha256",))
    both = extra.quote([("sha256", ALL_PCRS), ("sm3_256", ALL_PCRS)])
    assert trusted(extra.judge(both, policy=policy))
    verdict = stands(extra.judge(both, policy=policy, event_log=bare))
    assert refused(verdict, "bank.missing") and codes(verdict) == {
        "bank.missing"
    }  # what is not there differs in nothing


@POLICIES
def test_a_closed_sha1_bank_is_told_and_is_no_tampering(policy):
    """Windows extends PCR 12-14 of SHA-1 with zeros (SPEC section 0)."""
    machine = Machine(banks=("sha1", "sha256"), quoted_banks=("sha1", "sha256"))
    assert trusted(machine.judge(policy=policy))
    closed = dict(machine.tpm.pcrs["sha1"])
    for pcr in range(24):
        closed[pcr] = hash_of("sha1", closed[pcr] + bytes(20))
    open_values = machine.tpm.pcrs["sha1"]
    machine.tpm.pcrs["sha1"] = closed
    verdict = stands(machine.judge(policy=policy))
    assert verdict.trusted and codes(verdict) == {"bank.capped"}
    assert [str(f.severity) for f in verdict.findings] == ["warning"]
    machine.tpm.pcrs["sha1"] = open_values | {pcr: closed[pcr] for pcr in (12, 13, 14)}
    assert codes(machine.judge(policy=policy)) >= {"bank.capped"}
    machine.tpm.pcrs["sha1"] = closed | {4: hash_of("sha1", b"evil")}
    assert refused(machine.judge(policy=policy), "replay.mismatch")
    # what is known of SHA-1 is no excuse for another bank
    machine.tpm.pcrs["sha1"] = open_values
    machine.tpm.pcrs["sha256"] = {p: hash_of("sha256", v + bytes(32)) for p, v in machine.tpm.pcrs["sha256"].items()}
    assert refused(machine.judge(policy=policy), "replay.mismatch")


EXIT = [b"Exit Boot Services Invocation", b"Exit Boot Services Returned with Success"]
FAILED_FIRST = [EXIT[0], b"Exit Boot Services Returned with Failure", EXIT[1]]


@POLICIES
@pytest.mark.parametrize("texts", [EXIT, FAILED_FIRST], ids=["success", "failure, then success"])
def test_events_that_a_kernel_leaves_out_of_its_log_are_known_by_the_quoted_value(texts, policy):
    """Kernels that do not append the final events table end their log at ExitBootServices (SPEC sections 0.4, 2.4)."""
    whole = Machine()
    log = whole.log[: int(EventLog.parse(whole.log).columns["at"][-2])]
    machine = Machine(log=log)
    for text in texts:
        machine.tpm.extend(5, text)
    verdict = stands(machine.judge(policy=policy))
    assert verdict.trusted and codes(verdict) == {"replay.prefix", "baseline.reported"}
    machine.tpm.extend(5, texts[-1])
    assert refused(machine.judge(policy=policy), "replay.mismatch")


@POLICIES
@pytest.mark.parametrize("log", [None, b""])
def test_a_quote_without_a_log_is_unmeasured(log, policy):
    machine = Machine()
    (row,) = rows_of([machine.evidence(event_log=log)], machine.references(), policy)
    assert row["verdict"] == "unmeasured" and {"log.absent", "evidence.lost"} <= codes(row)
    (row,) = rows_of([machine.evidence(event_log=b"\1" * 100)], machine.references(), policy)
    assert row["verdict"] == "error" and "evidence.lost" in codes(row)


@POLICIES
def test_rows_of_a_batch_do_not_touch_each_other(policy):
    """Good and bad rows of several machines and kinds in any order: each is what it is alone."""
    machines = [Machine(f"m{i}", kind=kind, nonce=bytes([i]) * 32) for i, kind in enumerate(KINDS)]
    references = references_of(*machines)
    evidence, expected = [], []
    for machine in machines:
        good = machine.quote()
        evil = Tpm.booted(small_log(["sha256"], command_line=b"evil"), owner=machine.name)
        for sent, verdict in (
            (machine.evidence(), "trusted"),
            (machine.evidence(quotes=None), "untrusted"),
            (machine.evidence(quotes=[]), "untrusted"),
            (machine.evidence(evil.quote(machine.selection, machine.nonce, machine.key)), "untrusted"),
            (machine.evidence(replace(good, sig=b"")), "error"),
            (machine.evidence(machine="nobody"), "untrusted"),
            (machine.evidence(event_log=None), "unmeasured"),
            (machine.evidence(machine="no name"), "error"),
        ):
            evidence.append(sent)
            expected.append(verdict)
    for order in (range(len(evidence)), range(len(evidence))[::-1], range(len(evidence))[::3]):
        rows = rows_of([evidence[i] for i in order], references, policy)
        assert [row["verdict"] for row in rows] == [expected[i] for i in order]
        for i, row in zip(order, rows, strict=True):
            alone = rows_of([evidence[i]], references, policy)[0]
            assert row == alone
    assert rows_of([], references, policy) == []


def test_a_time_without_a_zone_is_refused():
    machine = Machine()
    with pytest.raises(UsageError):
        machine.judge(at=NOW.replace(tzinfo=None))

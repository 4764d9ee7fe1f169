"""Honest quotes: what they come to under each policy, what they prove, and logs that do not fit them."""

from __future__ import annotations

import hashlib
import itertools
import json
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
    Rows,
    codes,
    job,
    references_of,
    refused,
    rows_of,
    stands,
    store_of,
    trusted,
)
from conftest import entry, hash_of, shared, small_log
from tpm_in_python import KINDS, Tpm, key

from pyverify import EventLog, Evidence, Store, UsageError, verify
from pyverify.appraise.attestation import MAX_QUOTES
from pyverify.appraise.policy import KEY_LEVELS
from pyverify.appraise.verdict import Outcome
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.identity import Challenge, EnrolledKey, KeyLevel
from pyverify.baseline.ledger import Ledger
from pyverify.evidence.bundle import ImaList, Quote
from pyverify.findings import Severity
from pyverify.fleet.learn import learn

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


@POLICIES
@pytest.mark.parametrize("state", ["pending", "absent"])
def test_without_a_baseline_an_honest_quote_is_unmeasured(state, policy):
    machine = Machine()
    known = [] if state == "absent" else [machine.baseline(state=state)]
    references = machine.references(baselines=known)
    (row,) = rows_of([machine.evidence()], references, policy)
    assert (row["verdict"], row["attested"]) == ("unmeasured", "quote")
    assert codes(row) == {f"baseline.{state}"}
    assert masks(row, "pcrs_proven") == {"sha256": COMPARED_OR_TOLD}
    (row,) = rows_of([machine.evidence(machine.quote(nonce=bytes(32)))], references, policy)
    assert refused(row, "quote.nonce", f"baseline.{state}")
    machine.tpm.extend(4, b"rootkit")
    (row,) = rows_of([machine.evidence()], references, policy)
    assert refused(row, "replay.mismatch")


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


def test_what_learning_remembers_of_quotes_is_required_afterwards(tmp_path):
    machine = Machine(banks=("sha1", "sha256", "sha384"), quoted_banks=("sha256", "sha384"))
    with Store.open(str(tmp_path / "s"), create=True) as store:
        Enrollment(store).enroll("m", machine.key.public, at=NOW)
        Ledger(store).add(machine.challenges)
        first = machine.evidence(boot="b1", boot_seq=1)
        (learned,) = learn(Rows([first]), store, policy=DEFAULT, activate=True, as_of=NOW)
        assert (learned.state, learned.reasons) == ("active", ())
        (facts,) = store.references().columns.to_pylist()
        assert (facts["quoted_banks"], facts["log_banks"]) == (0b00110, 0b00111)
        (row,) = job(store, first)
        assert (row["verdict"], codes(row)) == ("trusted", {"baseline.learned-here"})
        for number, bank in enumerate(("sha256", "sha384"), 1):
            nonce = bytes([number]) * 32
            Ledger(store).add([Challenge(machine.key.name, nonce, NOW - HOUR / 2, "m")])
            fewer = machine.evidence(machine.quote([(bank, ALL_PCRS)], nonce))
            for policy in (ARCHIVE, DEFAULT):
                assert codes(job(store, fewer, policy=policy)[0], "high") == {"bank.missing"}


REFUSED_TO_LEARN = {
    "no quote": (lambda machine: machine.evidence(quotes=None), "quote.missing"),
    "unknown key": (lambda machine: machine.evidence(machine.quote(kind=key("sm2", "x"))), "key.unknown"),
    "wrong nonce": (lambda machine: machine.evidence(machine.quote(nonce=bytes(32))), "quote.nonce"),
    "fewer PCRs": (lambda machine: machine.evidence(machine.quote([("sha256", range(8))])), "quote.selection"),
    "another log": (
        lambda machine: machine.evidence(event_log=small_log(["sha256"], command_line=b"x")),
        "replay.mismatch",
    ),
}


@POLICIES
@pytest.mark.parametrize(("send", "code"), REFUSED_TO_LEARN.values(), ids=REFUSED_TO_LEARN.keys())
def test_a_boot_that_is_not_well_attested_is_not_learned(send, code, policy, tmp_path):
    machine = Machine()
    with Store.open(str(tmp_path / "s"), create=True) as store:
        Enrollment(store).enroll("m", machine.key.public, at=NOW)
        Ledger(store).add(machine.challenges)
        (learned,) = learn(Rows([send(machine)]), store, policy=policy, activate=True, as_of=NOW)
        assert learned.state is None and code in {reason.code for reason in learned.reasons}
        assert store.machines() == set()


def test_levels_are_in_one_order():
    assert ("none", *map(str, LEVELS)) == KEY_LEVELS


def test_a_time_without_a_zone_is_refused():
    machine = Machine()
    with pytest.raises(UsageError):
        machine.judge(at=NOW.replace(tzinfo=None))


# Recordings: TPMs that this project did not write


def recorded_evidence(boot, quotes, handle):
    folder = shared("recordings", boot)
    ak_pub = (folder / "ak" / f"ak_{handle}.tpm2b").read_bytes()
    sent = [
        Quote(*((folder / "quotes" / f"{name}.{part}").read_bytes() for part in ("msg", "sig")), ak_pub,
              (folder / "quotes" / f"{name}.pcrs").read_bytes())
        for name in quotes
    ]  # fmt: skip
    machine = json.loads((folder / "scenario.json").read_text())
    ima = [ImaList("binary", (folder / "ima" / "binary_runtime_measurements").read_bytes())]
    evidence = Evidence("m", boot, (folder / "binary_bios_measurements").read_bytes(), quotes=sent, ima=ima)
    return evidence, bytes.fromhex(machine["nonce"]), (folder / "ak" / f"ak_{handle}.name").read_bytes()


RECORDED = [
    ("01_m1_first_boot", "02_m1_reboot", ["rsa_sha256_0-23"], "rsa"),
    ("60_sb_first_boot", "61_sb_reboot", ["rsa_sha256_0-23"], "rsa"),
    ("80_sm3_all_banks", "81_sm3_all_banks_reboot", ["rsa_sha256_0-23"], "rsa"),
]


@pytest.mark.parametrize(("first", "second", "quotes", "handle"), RECORDED)
def test_a_recorded_reboot_is_trusted_by_what_the_first_boot_was(first, second, quotes, handle, tmp_path):
    one, nonce, name = recorded_evidence(first, quotes, handle)
    two, next_nonce, same = recorded_evidence(second, quotes, handle)
    assert name == same
    with Store.open(str(tmp_path / "s"), create=True) as store:
        Enrollment(store).enroll("m", one.quotes[0].ak_pub, at=NOW)
        Ledger(store).add([Challenge(name, nonce, NOW - HOUR, "m"), Challenge(name, next_nonce, NOW, "m")])
        (learned,) = learn(Rows([one]), store, policy=ARCHIVE, activate=True, as_of=NOW)
        assert learned.state == "active"
        (row,) = job(store, two)
        assert (row["verdict"], row["attested"], codes(row, "high")) == ("trusted", "quote", set())
        references = store.references()
        assert trusted(verify(two, references=references, policy=DEFAULT, as_of=NOW))
        assert refused(verify(one, references=references, policy=DEFAULT, as_of=NOW), "quote.unfresh")

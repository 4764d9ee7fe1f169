"""IMA lists in an appraisal: the honest one is fine, and so is no other (SPEC 7.5, 7.6, 10.4)."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from baselines_by_hand import baseline
from conftest import hash_of, small_log
from ima_by_hand import a_digest, data_of, entry, legacy, walk
from ima_evidence import (
    AGGREGATE,
    ATTACKS,
    FAULTS,
    FILES,
    HONEST,
    LOG,
    PCRS,
    POLICY,
    VIOLATION,
    judge,
    lamp,
    references,
    set_of,
    told,
)

from pyverify import Outcome, References
from pyverify.appraise import ima_lists
from pyverify.appraise.ima_told import MAX_FINDINGS
from pyverify.evidence.bundle import ImaList
from pyverify.evidence.columns import evidence_schema


def test_the_honest_list_is_trusted_and_its_lamp_is_green():
    verdict = judge(HONEST)
    assert (verdict.outcome, told(verdict), lamp(verdict)) == (Outcome.TRUSTED, [], "green")


def test_missing_and_reordered_entries_are_nothing_against_a_boot():
    for files in (FILES[::-1], FILES[:1], [], [FILES[2], FILES[0]]):
        verdict = judge(AGGREGATE + b"".join(files))
        assert (verdict.outcome, told(verdict), lamp(verdict)) == (Outcome.TRUSTED, [], "green")


AGGREGATE_SHA1 = hash_of("sha1", b"".join(PCRS["sha1"][pcr] for pcr in range(8)))
AGGREGATE_0_7 = hash_of("sha256", b"".join(PCRS["sha256"][pcr] for pcr in range(8)))


@pytest.mark.parametrize(
    "first",
    [
        entry(data_of("boot_aggregate", AGGREGATE_SHA1, algorithm="sha1")),
        entry(data_of("boot_aggregate", AGGREGATE_0_7)),
        legacy(b"boot_aggregate", AGGREGATE_SHA1),
        entry(data_of("boot_aggregate", a_digest(1, "sha384"), algorithm="sha384")),
    ],
    ids=["SHA-1", "PCR 0 to 7", "legacy", "of a bank that is not there"],
)
def test_every_way_in_which_kernels_make_a_boot_aggregate_is_fine(first):
    verdict = judge(first + b"".join(FILES))
    assert verdict.outcome is Outcome.TRUSTED
    assert "ima.boot-aggregate" not in [code for code, _ in told(verdict)]


@pytest.mark.parametrize(("data", "expected"), ATTACKS.values(), ids=ATTACKS)
def test_what_is_wrong_with_a_list_is_untrusted_and_named(data, expected):
    verdict = judge(data)
    assert told(verdict) == expected
    assert (verdict.outcome, lamp(verdict)) == (Outcome.UNTRUSTED, "red")


@pytest.mark.parametrize(("sent", "code"), FAULTS.values(), ids=FAULTS)
def test_a_list_that_cannot_be_read_is_an_error_and_nothing_else_is_said_of_it(sent, code):
    verdict = judge(sent)
    assert told(verdict) == [(code, "high")]
    assert verdict.outcome is Outcome.ERROR


def test_names_and_digests_are_told():
    (changed,) = judge(AGGREGATE + entry(data_of("/bin/a", a_digest(2)))).findings
    assert (changed.pcr, changed.event, changed.expected, changed.actual) == (10, 1, a_digest(1), a_digest(2))
    assert "/bin/a" in changed.hint
    hostile = "/tmp/{x}\x1b[31m\u202e\n".encode() + b"\xff"
    (added,) = judge(HONEST + entry(data_of(hostile, a_digest(2)))).findings
    assert added.hint.startswith("/tmp/{x}\\x1b[31m\\u202e\\x0a\\udcff: ")
    assert added.expected is None


def test_findings_of_a_list_have_a_bound():
    many = [entry(data_of(f"/tmp/{i}", a_digest(i))) for i in range(3 * MAX_FINDINGS)]
    found = judge(HONEST + b"".join(many)).findings
    assert len(found) == MAX_FINDINGS
    assert [finding.event for finding in found] == list(range(4, 4 + MAX_FINDINGS))
    assert found[-1].hint.endswith(f"and {2 * MAX_FINDINGS} more entries like it")
    exactly = judge(HONEST + b"".join(many[:MAX_FINDINGS])).findings
    assert (len(exactly), exactly[-1].hint) == (MAX_FINDINGS, "/tmp/99: was not learned")


def test_violations_are_counted():
    learned = references(HONEST + VIOLATION, violations=1)
    assert told(judge(HONEST + VIOLATION, known=learned)) == [("ima.violation", "warning")]
    assert judge(HONEST + VIOLATION, known=learned).outcome is Outcome.TRUSTED
    assert told(judge(HONEST, known=learned)) == []
    assert told(judge(HONEST + 2 * VIOLATION, known=learned)) == [("ima.violation", "high")]


def test_where_no_list_was_learned_nothing_is_added_or_lost():
    nothing = references(None)
    assert told(judge(None, known=nothing)) == []
    verdict = judge(HONEST, known=nothing)
    assert (verdict.outcome, told(verdict), lamp(verdict)) == (Outcome.TRUSTED, [], "grey")
    verdict = judge(AGGREGATE + entry(b"", "ima-ng"), known=nothing)
    assert verdict.outcome is Outcome.ERROR
    verdict = judge(ATTACKS["85: data altered, the shown digest kept"][0], known=nothing)
    assert (verdict.outcome, lamp(verdict)) == (Outcome.UNTRUSTED, "red")


def test_a_set_of_nothing_allows_nothing():
    """A kernel without an IMA policy measures its boot_aggregate alone (recording 15)."""
    nothing = references(AGGREGATE)
    assert judge(AGGREGATE, known=nothing).outcome is Outcome.TRUSTED
    assert told(judge(HONEST, known=nothing)) == [("ima.added", "high")] * 3
    assert told(judge(None, known=nothing)) == [("ima.empty", "high")]


def test_each_machine_is_held_against_its_own_set():
    """What another machine may run is nothing to this one, though all names are in one table."""
    other = AGGREGATE + entry(data_of("/bin/a", a_digest(7))) + entry(data_of("/bin/z", a_digest(8)))
    known = References.of(
        [baseline("m", LOG, ima=set_of(HONEST)), baseline("n", LOG, ima=set_of(other)), baseline("o", LOG)]
    )
    assert told(judge(other, known=known)) == [("ima.changed", "high"), ("ima.added", "high")]
    assert judge(other, known=known).findings[0].expected == a_digest(1)
    assert told(judge(HONEST, known=known)) == []


def test_a_pending_baseline_is_not_held_against_a_list():
    pending = References.of([baseline("m", LOG, ima=set_of(AGGREGATE), state="pending")])
    assert told(judge(HONEST, known=pending)) == [("baseline.pending", "info")]


def test_one_list_of_a_boot_is_judged_the_binary_one_first():
    text = b"".join(
        b"10 %s ima-ng sha256:%s %s\n" % (hash_of("sha1", data).hex().encode(), digest.hex().encode(), name)
        for data, digest, name in [
            (data_of(name.decode(), digest), digest, name)
            for name, digest in [
                (b"boot_aggregate", hash_of("sha256", b"".join(PCRS["sha256"][pcr] for pcr in range(10)))),
                (b"/bin/a", a_digest(1)),
            ]
        ]
    )
    evil = HONEST + entry(data_of("/bin/d", a_digest(1)))
    of_bank = b"".join(
        entry(data, "ima-ng", bank="sha256") for _, _, template, data in walk(HONEST) if template == "ima-ng"
    )
    for lists, expected in (
        ([ImaList("ascii", text)], []),
        ([ImaList("ascii", b"nonsense"), ImaList("binary", HONEST)], []),
        ([ImaList("ascii", text), ImaList("binary", evil)], [("ima.added", "high")]),
        ([ImaList("binary_sha256", of_bank), ImaList("binary", evil)], []),
        ([ImaList("binary", evil), ImaList("binary_sha256", of_bank)], [("ima.added", "high")]),
    ):
        assert told(judge(*lists, known=references())) == expected


def test_what_is_null_was_not_sent():
    kind = evidence_schema().field("ima").type
    for sent in (None, [], [None], [{"format": "binary", "data": None}], [{"format": None, "data": None}]):
        batch = pa.record_batch({"ima": pa.array([[{"format": "binary", "data": HONEST}], sent, None], kind)})
        for part, rows in ((batch, [0]), (batch.slice(1), []), (batch.slice(0, 1), [0])):
            assert ima_lists.SentLists.of(part).rows.tolist() == rows


def test_a_policy_may_not_look_at_lists_or_allow_a_kexec():
    assert told(judge(b"nonsense", policy=replace(POLICY, ima="no"))) == []
    allowed = replace(POLICY, kexec=True)
    kexec = HONEST + entry(data_of("kexec_load", hash_of("sha256", b"x"), b"x"), "ima-buf")
    assert told(judge(kexec, policy=allowed)) == [("ima.kexec", "info")]
    assert told(judge(HONEST + AGGREGATE, policy=allowed)) == [("ima.kexec", "info")]
    for name in ("kexec_load", "boot_aggregate"):
        for digest, algorithm in ((a_digest(1), "sha256"), (a_digest(1, "sha512"), "sha512")):
            only_called_so = HONEST + entry(data_of(name, digest, algorithm=algorithm))
            assert ("ima.added", "high") in told(judge(only_called_so, policy=allowed))


def test_zeros_are_what_a_kernel_without_a_usable_bank_writes():
    log = small_log(["sha384"])
    zeros = entry(data_of("boot_aggregate", bytes(32))) + b"".join(FILES)
    known = References.of([baseline("m", log, ima=set_of(HONEST))])
    verdict = judge(zeros, known=known, log=log)
    assert (verdict.outcome, told(verdict)) == (Outcome.TRUSTED, [("ima.boot-aggregate", "info")])
    own = entry(data_of("boot_aggregate", bytes(48), algorithm="sha384")) + b"".join(FILES)
    assert told(judge(own, known=known, log=log)) == [("ima.boot-aggregate", "high")]


def test_lists_are_judged_beside_a_log_without_a_baseline():
    """What is learned is judged first: in every bank that the policy allows."""
    nothing = References.of([])
    assert told(judge(HONEST, known=nothing)) == [("baseline.absent", "info")]
    other = entry(data_of("boot_aggregate", a_digest(1))) + FILES[0]
    assert told(judge(other, known=nothing)) == [("baseline.absent", "info"), ("ima.boot-aggregate", "high")]
    assert told(judge(HONEST + VIOLATION, known=nothing))[1:] == [("ima.violation", "warning")]

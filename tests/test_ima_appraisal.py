"""IMA lists in an appraisal: the honest one is fine, and so is no other (SPEC 7.5, 7.6, 10.4)."""

from __future__ import annotations

import datetime
import resource
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from conftest import ALGORITHMS, hash_of, replay_by_hand, shared, small_log
from hypothesis import given, settings
from hypothesis import strategies as st
from ima_by_hand import a_digest, data_of, entry, legacy, replay, walk
from test_baseline import baseline

from pyverify import Evidence, Outcome, Policy, References, evidence_batch, verify
from pyverify.algorithms import BY_NAME
from pyverify.algorithms import bank as bank_of
from pyverify.appraise import ima_lists
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.ima_judgement import judge_ima
from pyverify.appraise.ima_told import MAX_FINDINGS
from pyverify.evidence.bundle import ImaList
from pyverify.evidence.columns import Ragged, evidence_schema
from pyverify.evidence.ima import scan
from pyverify.evidence.ima_set import ImaSet
from pyverify.replay import replay as replay_logs

BANKS = ["sha1", "sha256"]
LOG = small_log(BANKS)
PCRS = replay_by_hand(LOG)
POLICY = Policy.preset("log-only")
NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)

AGGREGATE = entry(data_of("boot_aggregate", hash_of("sha256", b"".join(PCRS["sha256"][pcr] for pcr in range(10)))))
FILES = [
    entry(data_of("/bin/a", a_digest(1))),
    entry(data_of("/bin/b", a_digest(2), b"\3\2signature"), "ima-sig"),
    entry(data_of("/bin/c", a_digest(3))),
]
HONEST = AGGREGATE + b"".join(FILES)
VIOLATION = entry(data_of("/var/log/x", bytes(32)), shown=bytes(20))
COMMAND_LINE = b"quiet"
BUFFER = entry(data_of("kexec-cmdline", hash_of("sha256", COMMAND_LINE), COMMAND_LINE), "ima-buf")


def set_of(data: bytes) -> ImaSet:
    return ImaSet.of(scan(Ragged.of([data]), ["binary"]))


def references(known: bytes | None = HONEST, violations: int = 0) -> References:
    return References.of([baseline("m", LOG, ima=None if known is None else set_of(known), ima_violations=violations)])


def judge(*lists: bytes | ImaList | None, known: References | None = None, log: bytes = LOG, policy: Policy = POLICY):
    """The verdict over the lists of a boot, binary ones where nothing else is said; None: no list was sent."""
    sent = None if lists == (None,) else [one if isinstance(one, ImaList) else ImaList("binary", one) for one in lists]
    evidence = Evidence(machine="m", boot="2", event_log=log, ima=sent)
    return verify(evidence, references=references() if known is None else known, policy=policy, as_of=NOW)


def told(verdict):
    return [(finding.code, finding.severity.value) for finding in verdict.findings]


def lamp(verdict):
    return dict(verdict.stages)["applications"]


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


ATTACKS = {
    "85: data altered, the shown digest kept": (
        AGGREGATE + entry(data_of("/bin/a", a_digest(1)), shown=hash_of("sha1", b"x")),
        [("ima.template-mismatch", "high")],
    ),
    "85: the file's digest altered, the shown digest kept": (
        AGGREGATE + FILES[0].replace(a_digest(1), a_digest(9)),
        [("ima.template-mismatch", "high"), ("ima.changed", "high")],
    ),
    "86: an entry that claims to be a violation": (
        AGGREGATE + entry(data_of("/bin/evil", a_digest(9)), shown=bytes(20)),
        [("ima.violation", "high")],
    ),
    "87: a file with a signature read as a buffer": (
        HONEST + FILES[1].replace(b"ima-sig", b"ima-buf"),
        [("ima.relabelled", "high"), ("ima.changed", "high")],
    ),
    "87: a buffer read as a file with a signature": (
        HONEST + BUFFER.replace(b"ima-buf", b"ima-sig"),
        [("ima.relabelled", "high"), ("ima.added", "high")],
    ),
    "91: no entries": (b"", [("ima.empty", "high")]),
    "91: no list": (None, [("ima.empty", "high")]),
    "94: a file called boot_aggregate": (
        HONEST + entry(data_of("boot_aggregate", a_digest(1))),
        [("ima.kexec", "high")],
    ),
    "95: no boot_aggregate": (b"".join(FILES), [("ima.boot-aggregate", "high")]),
    "95: boot_aggregate is not first": (
        FILES[0] + AGGREGATE,
        [("ima.boot-aggregate", "high"), ("ima.kexec", "high")],
    ),
    "95: the boot_aggregate of another boot": (
        entry(data_of("boot_aggregate", a_digest(1))) + b"".join(FILES),
        [("ima.boot-aggregate", "high")],
    ),
    "95: a boot_aggregate of zeros": (
        entry(data_of("boot_aggregate", bytes(32))) + b"".join(FILES),
        [("ima.boot-aggregate", "high")],
    ),
    "95: a boot_aggregate that is a violation": (
        entry(data_of("boot_aggregate", bytes(32)), shown=bytes(20)) + b"".join(FILES),
        [("ima.boot-aggregate", "high"), ("ima.violation", "high")],
    ),
    "96: a digest of 20 bytes by SHA-256": (
        AGGREGATE + entry(data_of("/bin/a", a_digest(1)[:20])),
        [("ima.weak-hash", "warning"), ("ima.changed", "high")],
    ),
    "96: SHA-1": (
        AGGREGATE + entry(data_of("/bin/a", a_digest(1, "sha1"), algorithm="sha1")),
        [("ima.weak-hash", "warning"), ("ima.changed", "high")],
    ),
    "98: a kexec by its buffers": (
        HONEST + entry(data_of("kexec_load", hash_of("sha256", b"x"), b"x"), "ima-buf"),
        [("ima.kexec", "high")],
    ),
    "103: the same bytes by SM3": (
        AGGREGATE + entry(data_of("/bin/a", a_digest(1), algorithm="sm3")),
        [("ima.changed", "high")],
    ),
    "a program that changed": (
        AGGREGATE + entry(data_of("/bin/a", a_digest(2))),
        [("ima.changed", "high")],
    ),
    "a program that is new": (HONEST + entry(data_of("/bin/d", a_digest(1))), [("ima.added", "high")]),
    "more violations than were learned": (HONEST + VIOLATION, [("ima.violation", "high")]),
}


@pytest.mark.parametrize(("data", "expected"), ATTACKS.values(), ids=ATTACKS)
def test_what_is_wrong_with_a_list_is_untrusted_and_named(data, expected):
    verdict = judge(data)
    assert told(verdict) == expected
    assert (verdict.outcome, lamp(verdict)) == (Outcome.UNTRUSTED, "red")


FAULTS = {
    "25: cut": (ImaList("binary", HONEST[:-1]), "ima.truncated"),
    "26: big-endian": (ImaList("binary", b"\0\0\0\x0a" + HONEST[4:24] + b"\0\0\0\6ima-ng"), "ima.endianness"),
    "an unknown template": (ImaList("binary", HONEST.replace(b"ima-sig", b"ima-xyz")), "ima.template"),
    "93: a line break in a name": (ImaList("ascii", b"10 " + b"0" * 40 + b" ima-ng sha256:00 /a\nb\n"), "ima.format"),
    "an unknown format": (ImaList("binary_md5", HONEST), "ima.format"),
    "no format": (ImaList("", HONEST), "ima.format"),
}


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
    only_called_so = HONEST + entry(data_of("kexec_load", a_digest(1)))
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


# What quotes prove.


def proven(data: bytes | None, *, pcr10: dict[str, bytes] | None = None, masks: int | None = 0xFFFFFF, **changed):
    """Codes and severities of a list where quotes are judged; ``pcr10`` are by bank the values that they prove."""
    values = {bank: replay(data or b"", bank) for bank in BANKS} if pcr10 is None else pcr10
    n = 1
    authentic = {bank: np.zeros((n, 24, BY_NAME[bank].size), np.uint8) for bank in values}
    for bank, value in values.items():
        authentic[bank][0, 10] = np.frombuffer(value, np.uint8)
    for (bank, pcr), value in changed.get("others", {}).items():
        authentic[bank][0, pcr] = np.frombuffer(value, np.uint8)
    quoted = {bank: np.full(n, masks, np.uint32) for bank in values}
    replayed = replay_logs([LOG])
    findings = FindingColumns(n)
    judge_ima(
        evidence_batch([Evidence("m", "2", ima=None if data is None else [ImaList("binary", data)])]),
        references=changed.get("known", references()),
        baseline=np.zeros(n, np.int64),
        of_cohort=np.full(n, -1),
        judged=np.ones(n, np.bool_),
        as_of=NOW,
        values=replayed.values,
        usable={bank: replayed.has_bank(bank) for bank in replayed.values},
        quoted=quoted,
        authentic=authentic,
        policy=POLICY,
        findings=findings,
    )
    return [(f["code"], f["severity"], f["event"]) for f in findings.to_arrow().to_pylist()[0]]


def test_a_list_that_leads_to_the_quoted_values_is_proven():
    assert proven(HONEST) == []


def test_what_follows_the_quoted_prefix_is_judged_and_makes_no_trust():
    values = {bank: replay(HONEST, bank) for bank in BANKS}
    tail = HONEST + entry(data_of("/bin/a", a_digest(1), b""), "ima-sig")
    assert proven(tail, pcr10=values) == [("ima.tail-unverified", "info", 4)]
    evil = HONEST + entry(data_of("/bin/d", a_digest(1)))
    assert proven(evil, pcr10=values) == [("ima.tail-unverified", "info", 4), ("ima.added", "high", 4)]


QUOTED = {bank: replay(HONEST, bank) for bank in BANKS}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (HONEST[: -len(FILES[2])], ["replay.mismatch"]),
        (AGGREGATE + FILES[1] + FILES[2], ["replay.mismatch"]),
        (HONEST.replace(b"/bin/a", b"/bin/x"), ["replay.mismatch", "ima.added", "ima.template-mismatch"]),
        (AGGREGATE + FILES[1] + FILES[0] + FILES[2], ["replay.mismatch"]),
        (None, ["ima.empty", "replay.unexplained"]),
        (b"", ["ima.empty", "replay.unexplained"]),
        (HONEST.replace(FILES[0], FILES[0][4:24].join([bytes(4), b""])), ["ima.truncated"]),
        (
            AGGREGATE + entry(data_of("/bin/a", a_digest(1)), shown=bytes(20)) + FILES[1] + FILES[2],
            ["replay.mismatch", "ima.violation"],
        ),
    ],
    ids=["cut", "89: cut within", "85: a name", "order", "none", "empty", "broken", "86: claims a violation"],
)
def test_attacks_85_to_91_no_other_list_leads_to_the_quoted_values(data, expected):
    codes = {code for code, _, _ in proven(data, pcr10=QUOTED)}
    if expected == ["ima.truncated"]:
        assert codes & {"ima.truncated", "ima.format", "ima.template"}
    else:
        assert codes == set(expected)


def test_attack_88_entries_for_a_pcr_that_is_not_quoted():
    moved = entry(data_of("/bin/d", a_digest(1)), pcr=11)
    without = ~(1 << 11) & 0xFFFFFF
    assert proven(HONEST + moved, pcr10=QUOTED, masks=without)[0] == ("ima.pcr", "high", None)
    assert [code for code, *_ in proven(HONEST + moved, pcr10=QUOTED)] == ["replay.mismatch", "ima.added"]
    own = {(bank, 11): replay(moved, bank, pcr=11) for bank in BANKS}
    assert [code for code, *_ in proven(HONEST + moved, pcr10=QUOTED, others=own)] == ["ima.added"]
    everything = b"".join(entry(data, template, pcr=11) for _, _, template, data in walk(HONEST))
    found = {code for code, *_ in proven(everything, pcr10=QUOTED, masks=without)}
    assert found == {"ima.pcr", "replay.mismatch"}


def test_a_list_without_a_quote_of_pcr_10_is_not_proven():
    for masks in (0, ~(1 << 10) & 0xFFFFFF):
        assert proven(HONEST, masks=masks) == [("ima.pcr", "high", None)]


def test_attack_91_an_empty_prefix_proves_nothing():
    nothing = {bank: bytes(ALGORITHMS[bank][1]) for bank in BANKS}
    assert proven(HONEST, pcr10=nothing) == [("ima.empty", "high", None)]
    assert proven(None, pcr10=nothing) == [("ima.empty", "high", None)]
    assert proven(None, pcr10=nothing, known=references(None)) == []
    assert [code for code, *_ in proven(None, pcr10=QUOTED, known=references(None))] == ["replay.unexplained"]


def test_every_quoted_bank_must_be_explained_by_the_same_prefix():
    shorter = HONEST[: -len(FILES[2])]
    mixed = {"sha1": replay(HONEST, "sha1"), "sha256": replay(shorter, "sha256")}
    assert [code for code, *_ in proven(HONEST, pcr10=mixed)] == ["replay.mismatch"]


def test_attack_97_a_padded_bank_is_told():
    padded = {"sha1": replay(HONEST, "sha1"), "sha256": replay(HONEST, "sha256", padded=True)}
    assert proven(HONEST, pcr10=padded) == [("ima.padded", "warning", None)]


def test_recorded_quotes_prove_recorded_lists():
    """The oracle is the TPM: its PCR values when it was quoted, in every bank, of every recording with a list."""
    folders = [path for path in sorted(shared("recordings").glob("[0-9]*")) if (path / "ima").is_dir()]
    assert len(folders) > 60
    n = len(folders)
    authentic = {bank: np.zeros((n, 24, size), np.uint8) for bank, (_, size) in ALGORITHMS.items()}
    quoted = {bank: np.zeros(n, np.uint32) for bank in ALGORITHMS}
    for row, path in enumerate(folders):
        for line in (path / "pcrs_after_quotes.txt").read_text().splitlines():
            name, pcr, value = line.split()
            authentic[bank_of(name).name][row, int(pcr)] = np.frombuffer(bytes.fromhex(value), np.uint8)
            quoted[bank_of(name).name][row] |= 1 << int(pcr)
    lists = [ImaList("binary", (path / "ima" / "binary_runtime_measurements").read_bytes()) for path in folders]
    replayed = replay_logs([(path / "binary_bios_measurements").read_bytes() for path in folders])
    findings = FindingColumns(n)
    judge_ima(
        evidence_batch([Evidence("m", str(row), ima=[one]) for row, one in enumerate(lists)]),
        references=References.of([]),
        baseline=np.full(n, -1),
        of_cohort=np.full(n, -1),
        judged=np.ones(n, np.bool_),
        as_of=NOW,
        values=replayed.values,
        usable={bank: replayed.has_bank(bank) for bank in replayed.values},
        quoted=quoted,
        authentic=authentic,
        policy=POLICY,
        findings=findings,
    )
    assert not (findings.high | findings.error).any()
    rows = dict(zip((path.name[:2] for path in folders), findings.to_arrow().to_pylist(), strict=True))
    codes = {number: {(f["code"], f["bank"]) for f in found} for number, found in rows.items()}
    assert codes["01"] == {("ima.padded", "sha384"), ("ima.padded", "sha512")}
    assert codes["27"] - codes["01"] == {("ima.tail-unverified", None)}
    assert next(f["event"] for f in rows["27"] if f["code"] == "ima.tail-unverified") == 57
    assert codes["49"] == {("ima.boot-aggregate", None), ("ima.padded", "sha384")}
    assert codes["87"] == {("ima.padded", "sm3_256")}
    assert codes["12"] == codes["48"] == codes["88"] == codes["82"] == set()
    assert codes["26"] - codes["01"] == {("ima.violation", None)}
    assert codes["31"] - codes["01"] == {("ima.weak-hash", None)}


# A fleet.


def many(n: int, lists: list[bytes], sets: list[ImaSet]):
    """Batch, references and what judging them finds: row i has list and set i, over and over."""
    known = References.of([replace(BASE, id=f"m{i:05}", ima=sets[i % len(sets)]) for i in range(n)])
    sent = [[{"format": "binary", "data": lists[i % len(lists)]}] for i in range(n)]
    batch = pa.record_batch({"ima": pa.array(sent, evidence_schema().field("ima").type)})
    rows = known.find([f"m{i:05}" for i in range(n)])

    def run():
        findings = FindingColumns(n)
        judge_ima(
            batch,
            references=known,
            baseline=rows,
            of_cohort=np.full(n, -1),
            judged=np.ones(n, np.bool_),
            as_of=NOW,
            values={},
            usable={},
            quoted={},
            authentic={},
            policy=POLICY,
            findings=findings,
        )
        return findings

    return run


BASE = baseline("m", LOG)


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_splitting_lists_into_tiles_changes_nothing(data):
    pool = [HONEST, AGGREGATE, b"", HONEST[:-1], HONEST + VIOLATION, *(value for value, _ in ATTACKS.values() if value)]
    lists = data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=12))
    sets = [set_of(HONEST), set_of(AGGREGATE), ImaSet()]
    run = many(len(lists), lists, sets)
    whole = run().to_arrow()
    usual = ima_lists.TILE
    try:
        ima_lists.TILE = data.draw(st.integers(1, 600))
        assert run().to_arrow() == whole
    finally:
        ima_lists.TILE = usual


def test_ten_thousand_machines_are_judged_fast_within_a_bounded_memory():
    """Some 400 entries each, equal ones in many lists; 8 s is several times what a quiet machine takes."""
    files = [entry(data_of(f"/usr/lib/x86_64-linux-gnu/lib{i}.so", a_digest(i))) for i in range(600)]
    lists = [AGGREGATE + b"".join(files[i : i + 400]) for i in range(100)]
    run = many(10_000, lists, [set_of(data) for data in lists])
    run()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    findings = run()
    assert time.process_time() - begin < 8
    assert not (findings.high | findings.error).any()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB; the lists are 500 MB
    other = many(10_000, lists, [set_of(data) for data in lists[1:]])
    assert np.count_nonzero(other().high) > 9_000

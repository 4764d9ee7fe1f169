"""What quotes prove of IMA lists (SPEC section 10.4, 85-97): prefixes that lead to PCR 10, in every quoted bank."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import ALGORITHMS, hash_of, replay_by_hand, shared
from ima_by_hand import a_digest, data_of, entry, replay, walk
from ima_evidence import AGGREGATE, BANKS, FILES, HONEST, LOG, NOW, POLICY, references

from pyverify import Evidence, References, evidence_batch
from pyverify.algorithms import BY_NAME
from pyverify.algorithms import bank as bank_of
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.ima_judgement import judge_ima
from pyverify.evidence.bundle import ImaList
from pyverify.replay import replay as replay_logs


def judged(evidence: list[Evidence], logs: list[bytes], quoted, authentic, **known) -> FindingColumns:
    """What is found of lists beside these logs, where quotes prove these PCRs to hold these values."""
    n = len(evidence)
    replayed = replay_logs(logs)
    findings = FindingColumns(n)
    judge_ima(
        evidence_batch(evidence),
        of_cohort=np.full(n, -1),
        judged=np.ones(n, np.bool_),
        as_of=NOW,
        values=replayed.values,
        usable={bank: replayed.has_bank(bank) for bank in replayed.values},
        quoted=quoted,
        authentic=authentic,
        findings=findings,
        **known,
    )
    return findings


def proven(data: bytes | None, *, pcr10: dict[str, bytes] | None = None, masks: int | None = 0xFFFFFF, **changed):
    """Codes and severities of a list where quotes are judged; ``pcr10`` are by bank the values that they prove."""
    values = {bank: replay(data or b"", bank) for bank in BANKS} if pcr10 is None else pcr10
    n = 1
    authentic = {bank: np.zeros((n, 24, BY_NAME[bank].size), np.uint8) for bank in values}
    for bank, value in values.items():
        authentic[bank][0, 10] = np.frombuffer(value, np.uint8)
    for (bank, pcr), value in changed.get("others", {}).items():
        authentic[bank][0, pcr] = np.frombuffer(value, np.uint8)
    findings = judged(
        [Evidence("m", "2", ima=None if data is None else [ImaList("binary", data)])],
        [LOG],
        {bank: np.full(n, masks, np.uint32) for bank in values},
        authentic,
        references=changed.get("known", references()),
        baseline=np.zeros(n, np.int64),
        policy=changed.get("policy", POLICY),
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


@pytest.mark.parametrize("pcr", [15, 16, 23])
@pytest.mark.parametrize("known", [HONEST, None], ids=["learned", "not learned"])
def test_attack_91_entries_of_another_pcr_do_not_stand_for_those_of_pcr_10(pcr, known):
    """PCR 16 and 23 can be reset, and nothing compares them and PCR 15: whoever runs there extends them at will."""
    nothing = {bank: bytes(ALGORITHMS[bank][1]) for bank in BANKS}
    moved = b"".join(entry(data, template, pcr=pcr) for _, _, template, data in walk(HONEST))
    led = {(bank, pcr): replay(moved, bank, pcr=pcr) for bank in BANKS}
    assert proven(moved, pcr10=nothing, others=led, known=references(known)) == [("ima.empty", "high", None)]


def test_attack_94_a_kexec_that_is_allowed_leaves_the_aggregate_of_the_pcrs_of_then():
    """User space had extended PCR 9 since: the values are those that are quoted. A file may only be called like it."""
    allowed = replace(POLICY, kexec=True)
    pcrs = replay_by_hand(LOG)
    for bank in BANKS:
        pcrs[bank][9] = hash_of(bank, pcrs[bank][9] + hash_of(bank, b"nvpcr-init"))
    others = {(bank, pcr): pcrs[bank][pcr] for bank in BANKS for pcr in range(10)}
    of_then = hash_of("sha256", b"".join(pcrs["sha256"][pcr] for pcr in range(10)))
    for digest, expected in ((of_then, ["ima.kexec"]), (a_digest(1), ["ima.kexec", "ima.added"])):
        data = HONEST + entry(data_of("boot_aggregate", digest))
        assert [code for code, *_ in proven(data, others=others, policy=allowed)] == expected


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
    findings = judged(
        [Evidence("m", str(row), ima=[one]) for row, one in enumerate(lists)],
        [(path / "binary_bios_measurements").read_bytes() for path in folders],
        quoted,
        authentic,
        references=References.of([]),
        baseline=np.full(n, -1),
        policy=POLICY,
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

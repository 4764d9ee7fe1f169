"""IMA lists held against a runtime policy in verdicts: what it has passes, whatever was learned (SPEC 9.4, 10.4)."""

from __future__ import annotations

import datetime
import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from attested_machine import ALL_PCRS, BANKS, Machine, codes, trusted
from baselines_by_hand import baseline
from conftest import DATA, hash_of, replay_by_hand, shared
from ima_by_hand import a_digest, data_of, entry, walk
from ima_evidence import AGGREGATE, ATTACKS, FAULTS, FILES, HONEST, LOG, VIOLATION, judge, lamp, references, told

from pyverify import Evidence, Outcome, Policy, References, Store, UsageError, evidence_batch, verify, verify_batches
from pyverify.appraise.policy_difference import differences
from pyverify.evidence.bundle import ImaList
from pyverify.fleet.learn import learn
from pyverify.fleet.sources import open_source

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
Digests = dict[str, list[str]]


def keylime(digests: Digests, **more) -> bytes:
    return json.dumps({"meta": {"version": 1}, "digests": digests, **more}).encode()


def plain(digests: Digests) -> bytes:
    return "".join(f"{digest}  {path}\n" for path, some in digests.items() for digest in some).encode()


def digests_of(data: bytes, *, algorithms: bool = True) -> Digests:
    """What the files of a binary list are, read by hand, with the algorithms of their digests or without."""
    found: Digests = {}
    for _, shown, template, message in walk(data):
        assert template != "ima"
        (size,) = struct.unpack_from("<I", message)
        algorithm, _, digest = message[4 : 4 + size].partition(b":\0")
        (length,) = struct.unpack_from("<I", message, 4 + size)
        path = message[8 + size :][:length].rstrip(b"\0").decode()
        if path != "boot_aggregate" and any(shown):
            found.setdefault(path, []).append(f"{algorithm.decode()}:" * algorithms + digest.hex())
    return found


def policy_by(folder: Path, runtime_policy: bytes, rules: str = "", quote: str = "no", name: str = "list") -> Policy:
    """A policy read from a file, with a runtime policy beside it."""
    (folder / name).write_bytes(runtime_policy)
    text = f'[policy]\nname = "site"\n[evidence]\nquote = "{quote}"\n[ima]\njudge = "runtime-policy"\n'
    (folder / "site.toml").write_text(f"{text}runtime_policy = '{name}'\n{rules}")
    return Policy.read(folder / "site.toml")


OWN = digests_of(HONEST)
WRITERS = pytest.mark.parametrize("written", [keylime, plain])
LEARNED = {
    "the same": references(),
    "no list": references(None),
    "nothing but boot_aggregate": references(AGGREGATE),
    "other contents": references(AGGREGATE + entry(data_of("/bin/a", a_digest(7)))),
}
WHATEVER_WAS_LEARNED = pytest.mark.parametrize("known", LEARNED.values(), ids=LEARNED)


# ---- What passes


@WRITERS
@WHATEVER_WAS_LEARNED
def test_the_honest_list_is_trusted_by_a_policy_of_its_own_entries(tmp_path, written, known):
    verdict = judge(HONEST, known=known, policy=policy_by(tmp_path, written(OWN)))
    assert (verdict.outcome, told(verdict), lamp(verdict)) == (Outcome.TRUSTED, [], "green")


@WRITERS
def test_a_recorded_boot_is_trusted_by_its_own_list_of_sm3_digests(tmp_path, written):
    """Attack 103 beside it: the same bytes without the algorithm's name are SHA-256, and no file is as it should be."""
    log = (DATA / "logs" / "80_sm3_all_banks.bin").read_bytes()
    data = (DATA / "ima" / "sm3.binary").read_bytes()
    known = References.of([baseline("m", log)])
    verdict = judge(data, known=known, log=log, policy=policy_by(tmp_path, written(digests_of(data))))
    assert (verdict.outcome, codes(verdict, "high"), lamp(verdict)) == (Outcome.TRUSTED, set(), "green")
    unnamed = digests_of(data, algorithms=False)
    assert all(len(digest) == 64 for some in unnamed.values() for digest in some) and len(unnamed) > 20
    verdict = judge(data, known=known, log=log, policy=policy_by(tmp_path, written(unnamed)))
    assert (codes(verdict, "high"), lamp(verdict)) == ({"ima.changed"}, "red")


@WRITERS
def test_attack_103_equal_bytes_of_sm3_and_sha_256_never_match(tmp_path, written):
    same = AGGREGATE + entry(data_of("/bin/a", a_digest(1), algorithm="sm3"))
    for names in (True, False):
        policy = policy_by(tmp_path, written(digests_of(AGGREGATE + FILES[0], algorithms=names)))
        assert told(judge(AGGREGATE + FILES[0], policy=policy)) == []
        assert told(judge(same, policy=policy)) == [("ima.changed", "high")]
    policy = policy_by(tmp_path, written(digests_of(same)))
    assert told(judge(same, policy=policy)) == []
    assert told(judge(AGGREGATE + FILES[0], policy=policy)) == [("ima.changed", "high")]


# ---- What does not


@WRITERS
@WHATEVER_WAS_LEARNED
def test_a_program_with_another_digest_and_one_that_is_not_listed_are_named(tmp_path, written, known):
    policy = policy_by(tmp_path, written(OWN))
    verdict = judge(HONEST + entry(data_of("/bin/a", a_digest(7))), known=known, policy=policy)
    (changed,) = verdict.findings
    assert (changed.code, changed.severity, changed.pcr, changed.event) == ("ima.changed", "high", 10, 4)
    assert (changed.hint, changed.actual) == ("/bin/a: not as the runtime policy has it", a_digest(7))
    assert (verdict.outcome, lamp(verdict)) == (Outcome.UNTRUSTED, "red")
    verdict = judge(HONEST + entry(data_of("/bin/d", a_digest(1))), known=known, policy=policy)
    (added,) = verdict.findings
    assert (added.code, added.severity, added.hint) == ("ima.added", "high", "/bin/d: not in the runtime policy")
    assert (verdict.outcome, lamp(verdict)) == (Outcome.UNTRUSTED, "red")


def test_what_was_learned_does_not_pass_by_that(tmp_path):
    policy = policy_by(tmp_path, plain({"/bin/a": [a_digest(7).hex()]}))
    assert told(judge(HONEST, policy=policy)) == [("ima.changed", "high"), ("ima.added", "high"), ("ima.added", "high")]


def test_the_severity_of_what_is_not_listed_is_the_policy_s(tmp_path):
    policy = policy_by(tmp_path, plain(OWN), "added = 'info'")
    verdict = judge(HONEST + entry(data_of("/bin/d", a_digest(1))), policy=policy)
    assert (verdict.outcome, told(verdict)) == (Outcome.TRUSTED, [("ima.added", "info")])
    assert verdict.findings[0].hint == "/bin/d: not in the runtime policy ([ima] added)"
    assert told(judge(HONEST + entry(data_of("/bin/a", a_digest(7))), policy=policy)) == [("ima.changed", "high")]


def test_what_is_excluded_is_not_judged(tmp_path):
    pytest.importorskip("re2")
    policy = policy_by(tmp_path, keylime(OWN, excludes=["/tmp/.*", "/bin/b"]))
    named = [entry(data_of(name, a_digest(9))) for name in ("/tmp/x", "/bin/b", "/var/tmp/x")]
    verdict = judge(HONEST + b"".join(named), policy=policy)
    assert [(f.code, f.event) for f in verdict.findings] == [("ima.added", 6)]
    lie = entry(data_of("/tmp/x", a_digest(9)), shown=hash_of("sha1", b"x"))
    assert told(judge(HONEST + lie, policy=policy)) == [("ima.template-mismatch", "high")]


@pytest.mark.parametrize("nothing", [keylime({}), b"", b"\n"], ids=["Keylime's", "no byte", "no line"])
@WHATEVER_WAS_LEARNED
def test_a_policy_of_nothing_allows_nothing(tmp_path, nothing, known):
    policy = policy_by(tmp_path, nothing)
    assert told(judge(HONEST, known=known, policy=policy)) == [("ima.added", "high")] * 3


@pytest.mark.parametrize("sent", [None, b""], ids=["no list", "no entries"])
@WHATEVER_WAS_LEARNED
def test_a_boot_without_a_list_is_untrusted(tmp_path, sent, known):
    verdict = judge(sent, known=known, policy=policy_by(tmp_path, plain(OWN)))
    assert told(verdict) == [("ima.empty", "high")]
    assert "runtime policy" in verdict.findings[0].hint
    assert (verdict.outcome, lamp(verdict)) == (Outcome.UNTRUSTED, "red")


SAME_AS_LEARNED = {name: attack for name, attack in ATTACKS.items() if attack[0]}


@pytest.mark.parametrize(("data", "expected"), SAME_AS_LEARNED.values(), ids=SAME_AS_LEARNED)
def test_what_is_wrong_with_a_list_is_so_under_a_runtime_policy_too(tmp_path, data, expected):
    verdict = judge(data, policy=policy_by(tmp_path, keylime(OWN)))
    assert (verdict.outcome, told(verdict), lamp(verdict)) == (Outcome.UNTRUSTED, expected, "red")


@pytest.mark.parametrize(("sent", "code"), FAULTS.values(), ids=FAULTS)
def test_a_list_that_cannot_be_read_is_an_error(tmp_path, sent, code):
    verdict = judge(sent, policy=policy_by(tmp_path, keylime(OWN)))
    assert (verdict.outcome, told(verdict)) == (Outcome.ERROR, [(code, "high")])


def test_violations_and_kexec_are_as_before(tmp_path):
    known = references(HONEST + VIOLATION, violations=1)
    policy = policy_by(tmp_path, plain(OWN))
    assert told(judge(HONEST + VIOLATION, known=known, policy=policy)) == [("ima.violation", "warning")]
    strict = policy_by(tmp_path, plain(OWN), "violations = 'high'\nkexec = true")
    assert told(judge(HONEST + VIOLATION, known=known, policy=strict)) == [("ima.violation", "high")]
    kexec = HONEST + entry(data_of("kexec_load", hash_of("sha256", b"x"), b"x"), "ima-buf")
    assert told(judge(kexec, policy=strict)) == [("ima.kexec", "info")]


def test_each_list_of_a_batch_is_judged_by_itself(tmp_path):
    """Broken and missing lists between others move no finding to another row or entry."""
    evil = HONEST + entry(data_of("/bin/d", a_digest(1)))
    lists = [HONEST[:-1], evil, None, HONEST, b"", evil, HONEST[:-1]]
    rows = [
        Evidence("m", str(i), event_log=LOG, ima=None if one is None else [ImaList("binary", one)])
        for i, one in enumerate(lists)
    ]
    policy = policy_by(tmp_path, plain(OWN))
    batches = verify_batches([evidence_batch(rows)], references=references(None), policy=policy, as_of=NOW)
    (verdicts,) = batches
    found = [[(f["code"], f["event"]) for f in row["findings"]] for row in verdicts.to_pylist()]
    cut, added, empty = [("ima.truncated", 3)], [("ima.added", 4)], [("ima.empty", None)]
    assert found == [cut, added, empty, [], empty, added, cut]


# ---- Quotes


@pytest.mark.parametrize("in_policy", [True, False])
def test_pcr_10_must_be_quoted_and_lead_to_the_list(tmp_path, in_policy):
    """A machine that was learned without a list: without a runtime policy its PCR 10 need not be quoted."""
    machine = Machine()
    pcrs = replay_by_hand(machine.log)["sha256"]
    own = entry(data_of("boot_aggregate", hash_of("sha256", b"".join(pcrs[pcr] for pcr in range(10)))))
    data = own + b"".join(FILES)
    for _, _, _, message in walk(data):
        machine.tpm.extend(10, message)
    sent = {"ima": [ImaList("binary", data)]}
    policy = policy_by(tmp_path, plain(OWN), quote="any")
    policy = policy if in_policy else replace(policy, ima="baseline", ima_runtime_policy=None)
    assert trusted(machine.judge(policy=policy, **sent))
    without = machine.quote([(bank, [pcr for pcr in ALL_PCRS if pcr != 10]) for bank in BANKS])
    bare = machine.judge(without, policy=policy)
    assert trusted(bare) is not in_policy
    assert codes(bare, "high") == ({"quote.selection", "ima.empty"} if in_policy else set())
    machine.tpm.extend(10, b"what no list says")
    assert "replay.mismatch" in codes(machine.judge(policy=policy, **sent), "high")


# ---- Learning


def test_learning_under_a_runtime_policy_stores_what_ran_and_refuses_what_is_not_listed(tmp_path):
    place = tmp_path / "archive" / "m" / "1"
    place.mkdir(parents=True)
    (place / "binary_bios_measurements").write_bytes(LOG)
    (place / "binary_runtime_measurements").write_bytes(HONEST)
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        facts = {"activate": True, "as_of": NOW}
        only_a = policy_by(tmp_path, plain({"/bin/a": OWN["/bin/a"]}))
        (result,) = learn(open_source(tmp_path / "archive"), store, policy=only_a, **facts)
        assert [finding.code for finding in result.reasons] == ["ima.added"] * 2
        policy = policy_by(tmp_path, plain(OWN))
        (result,) = learn(open_source(tmp_path / "archive"), store, policy=policy, **facts)
        assert not result.reasons
        known = store.references()
    # By what was learned:
    assert told(judge(AGGREGATE + FILES[2], known=known)) == []
    assert told(judge(AGGREGATE + entry(data_of("/bin/d", a_digest(1))), known=known)) == [("ima.added", "high")]


# ---- Policies


def test_the_id_is_of_the_contents_of_the_file(tmp_path):
    policy = policy_by(tmp_path, plain(OWN))
    again = policy_by(tmp_path, plain(OWN), name="other")
    assert (again.id, again) == (policy.id, policy)
    changed = policy_by(tmp_path, plain(OWN | {"/bin/d": [a_digest(4).hex()]}))
    assert changed.id != policy.id and changed != policy
    assert policy.id != replace(policy, ima="baseline", ima_runtime_policy=None).id
    (tmp_path / "again.toml").write_text(changed.to_toml())
    assert Policy.read(tmp_path / "again.toml") == changed


def test_the_file_is_read_once(tmp_path):
    policy = policy_by(tmp_path, plain(OWN))
    (tmp_path / "list").unlink()
    assert told(judge(HONEST, policy=policy)) == []


REFUSED = {
    "no file": ("runtime_policy = 'none'", "cannot be read"),
    "a device": ("runtime_policy = '/dev/zero'", "no regular file"),
    "a number": ("runtime_policy = 1", "allowed is the name of a file of a Keylime runtime policy"),
    "no list": ("runtime_policy = 'notes'", "line 2 of the list is not HASH  PATH"),
    "no Keylime policy": ("runtime_policy = 'site.toml'", "the runtime policy is not strict JSON"),
    "none named": ("", '[ima] judge = "runtime-policy" and [ima] runtime_policy = "FILE": one needs the other'),
}


@pytest.mark.parametrize(("line", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_runtime_policy_is_refused_with_its_key(tmp_path, line, words):
    (tmp_path / "site.toml").write_text(f'[policy]\nname = "site"\n[ima]\njudge = "runtime-policy"\n{line}')
    (tmp_path / "notes").write_bytes(plain(OWN).replace(b"  /bin/b", b"  \n/bin/b"))
    with pytest.raises(UsageError, match=r"site\.toml: \[ima\] ") as refused:
        Policy.read(tmp_path / "site.toml")
    assert words in str(refused.value)


@pytest.mark.parametrize("judge_by", ["baseline", "no"])
def test_a_runtime_policy_that_nothing_is_held_against_is_refused(tmp_path, judge_by):
    given = policy_by(tmp_path, plain(OWN))
    (tmp_path / "site.toml").write_text(given.to_toml().replace('"runtime-policy"\n', f'"{judge_by}"\n'))
    with pytest.raises(UsageError, match=r"\[ima\] runtime_policy: it has no effect with \[ima\] judge = "):
        Policy.read(tmp_path / "site.toml")
    with pytest.raises(UsageError, match=r"runtime_policy"):
        replace(given, ima=judge_by)


def test_show_and_check_tell_of_it(run, tmp_path):
    policy = policy_by(tmp_path, keylime(OWN), "added = 'info'")
    code, out, _ = run("policy", "show", str(tmp_path / "site.toml"))
    assert code == 0
    assert 'judge = "runtime-policy"\n' in out and 'runtime_policy = "list"\n' in out
    assert f"(now 3, SHA-256 {hash_of('sha256', keylime(OWN)).hex()})" in out
    shown = json.loads(run("policy", "show", str(tmp_path / "site.toml"), "--format", "json")[1])
    assert (shown["id"], shown["ima"]["runtime_policy"]) == (policy.id.hex(), "list")
    code, out, _ = run("policy", "check", str(tmp_path / "site.toml"))
    assert code == 0
    assert "weaker    [ima] judge: IMA lists are held against 3 digests that are given, with 0 exceptions" in out
    assert "weaker    [ima] added: " in out


def test_one_runtime_policy_is_weaker_than_another_where_more_may_pass(tmp_path):
    less = {"/bin/a": OWN["/bin/a"]}
    both = {"/bin/a": [*OWN["/bin/a"], a_digest(7).hex()]}
    ring = {"ima": {"ignored_keyrings": ["*"]}}

    def weaker(mine: bytes, others: bytes, rules: str = "") -> list[bool]:
        given = policy_by(tmp_path, mine, rules), policy_by(tmp_path, others, rules)
        found = differences(*given)
        assert {one.rule for one in found} <= {"[ima] runtime_policy"}
        return [one.weaker for one in found]

    assert weaker(keylime(OWN), keylime(OWN)) == []
    assert (weaker(keylime(less), keylime(OWN)), weaker(keylime(OWN), keylime(less))) == ([False], [True])
    assert (weaker(keylime(both), keylime(less)), weaker(keylime(less), keylime(both))) == ([True], [False])
    assert (weaker(keylime(OWN, **ring), keylime(OWN)), weaker(keylime(OWN), keylime(OWN, **ring))) == ([True], [False])
    # A name that is gone is added, which here is less than changed.
    assert weaker(keylime(less), keylime(OWN), "added = 'info'") == [True]
    pytest.importorskip("re2")
    assert weaker(keylime(OWN, excludes=["/tmp/.*"]), keylime(OWN)) == [True]


# ---- Recordings


def test_recorded_boots_are_held_against_the_list_of_one_of_them(tmp_path):
    """The oracle is the kernel's own text of the list: a plain list is made from it."""
    folders = {number: next(shared("recordings").glob(f"{number}_*")) for number in ("01", "02", "23", "24", "25")}
    lines = (folders["23"] / "ima" / "ascii_runtime_measurements").read_text().splitlines()
    text = "".join(f"{line.split()[3]}  {line.split()[4]}\n" for line in lines)
    policy = policy_by(tmp_path, text.encode())
    known = References.of([baseline("m", (folders["01"] / "binary_bios_measurements").read_bytes())])
    found = {}
    for number, folder in folders.items():
        sent = [ImaList("binary", (folder / "ima" / "binary_runtime_measurements").read_bytes())]
        evidence = Evidence("m", number, event_log=(folder / "binary_bios_measurements").read_bytes(), ima=sent)
        verdict = verify(evidence, references=known, policy=policy, as_of=NOW)
        found[number] = [(f.code, f.hint.split(": ")[0]) for f in verdict.findings if f.severity == "high"]
    changed, added = ("ima.changed", "/usr/bin/setfattr"), ("ima.added", "/usr/bin/dropper")
    assert found == {"01": [], "02": [], "23": [], "24": [changed], "25": [added]}

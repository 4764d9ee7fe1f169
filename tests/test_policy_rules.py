"""Rules of policies in verdicts, and the commands that show and take policies."""

from __future__ import annotations

import datetime
import json

import pytest
from baselines_by_hand import baseline
from conftest import DATA, entry, small_log, spec_id
from ima_by_hand import a_digest, data_of
from ima_by_hand import entry as ima_entry
from ima_evidence import HONEST, VIOLATION
from ima_evidence import judge as judge_ima
from ima_evidence import references as ima_references
from secure_boot_logs import DRIVER_CONFIG, EFI_ACTION, GLOBAL, SECURE_BOOT_LOG, Editor, hashes, variable
from test_appraised_kinds import ccel
from test_policy import site, with_dbx

from pyverify import Evidence, Outcome, Policy, References, verify
from pyverify.appraise.policy import PRESETS
from pyverify.appraise.policy_keys import KEYS
from pyverify.appraise.secure_boot_rules import PRESET_RULES
from pyverify.cli.main import main

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
OFF = (DATA / "logs" / "01_m1_first_boot.bin").read_bytes()
BARE = '[policy]\nname = "site"\n[evidence]\nquote = "no"\n'


def judge(log: bytes, policy: Policy | str, learned: bytes | None = None, **fields):
    """The verdict over a log that is as it was learned, or as another."""
    policy = Policy.read(BARE + policy) if isinstance(policy, str) else policy
    known = References.of([baseline("m", log if learned is None else learned)])
    evidence = Evidence(machine="m", boot="2", event_log=log, **fields)
    return verify(evidence, references=known, policy=policy, as_of=NOW)


def told(verdict, severity="high"):
    return [(f.code, f.hint) for f in verdict.findings if f.severity == severity]


def high(verdict):
    return {code for code, _ in told(verdict)}


def test_secure_boot_that_is_off_is_high_only_where_it_is_required():
    verdict = judge(OFF, "")
    assert verdict.outcome is Outcome.TRUSTED
    assert "secureboot.disabled" in {code for code, _ in told(verdict, "info")}
    verdict = judge(OFF, "[secure_boot]\nrequired = true")
    assert verdict.outcome is Outcome.UNTRUSTED
    ((code, hint),) = told(verdict)
    assert code == "secureboot.disabled"
    assert "[secure_boot] required" in hint
    verdict = judge(OFF, "")  # not what was kept under the other policy
    assert verdict.outcome is Outcome.TRUSTED


def test_secure_boot_that_is_on_is_enough():
    verdict = judge(SECURE_BOOT_LOG, "[secure_boot]\nrequired = true")
    assert (verdict.outcome, told(verdict)) == (Outcome.TRUSTED, [])


BANKS = ["sha1", "sha256"]
SILENT = spec_id(BANKS) + entry(0, 8, b"1\0", BANKS)
TWICE = Editor(SECURE_BOOT_LOG)
TWICE = TWICE.insert(TWICE.find("dbx") + 1, DRIVER_CONFIG, variable(GLOBAL, "SecureBoot", b"\1")).build()


@pytest.mark.parametrize("log", [small_log(BANKS), SILENT, TWICE], ids=["a BIOS", "nothing in PCR 7", "said twice"])
def test_secure_boot_that_is_not_proven_to_be_on_breaks_the_rule(log):
    assert "policy.rule" not in high(judge(log, ""))
    verdict = judge(log, "[secure_boot]\nrequired = true")
    assert verdict.outcome is Outcome.UNTRUSTED
    (hint,) = (hint for code, hint in told(verdict) if code == "policy.rule")
    assert hint.startswith("[secure_boot] required: ")


def test_a_log_of_measurement_registers_proves_no_rule_of_secure_boot():
    learned = ccel(header=0)
    assert judge(ccel(), "", learned, event_log_kind="ccel").outcome is Outcome.TRUSTED
    rules = '[secure_boot]\nrequired = true\nminimum_sbat = "shim,4"'
    verdict = judge(ccel(), rules, learned, event_log_kind="ccel")
    assert verdict.outcome is Outcome.UNTRUSTED
    assert [hint.split(":")[0] for _, hint in told(verdict)] == [
        "[secure_boot] required",
        "[secure_boot] minimum_sbat",
    ]


@pytest.mark.parametrize(
    ("log", "minimum", "good"),
    [
        (SECURE_BOOT_LOG, '"shim,4"', True),
        (SECURE_BOOT_LOG, '["shim,4", "grub,5"]', True),
        (SECURE_BOOT_LOG, '"shim,3"', True),
        (SECURE_BOOT_LOG, '"shim,5"', False),
        (SECURE_BOOT_LOG, '["shim,4", "grub,6"]', False),
        (SECURE_BOOT_LOG, '"grub.debian,1"', False),
        (OFF, '"shim,4"', False),
        (small_log(BANKS), '"shim,1"', False),
        (SILENT, '"shim,1"', False),
    ],
)
def test_an_sbat_level_below_the_minimum_is_old(log, minimum, good):
    assert not high(judge(log, "")) & {"secureboot.revocations-old"}
    old = [hint for code, hint in told(judge(log, f"[secure_boot]\nminimum_sbat = {minimum}")) if "old" in code]
    assert len(old) == (not good)
    assert all(hint.startswith("[secure_boot] minimum_sbat wants ") for hint in old)


def test_the_event_of_an_old_sbat_level_is_named():
    verdict = judge(SECURE_BOOT_LOG, '[secure_boot]\nminimum_sbat = "shim,5"')
    (finding,) = (finding for finding in verdict.findings if finding.severity == "high")
    assert finding.hint == "[secure_boot] minimum_sbat wants shim,5: shim's SbatLevel is older"
    assert b"S\0b\0a\0t\0L\0e\0v\0e\0l\0" in Editor(SECURE_BOOT_LOG).entries[finding.event - 1].data


def test_a_dbx_without_what_it_must_have_is_old(tmp_path):
    editor = Editor(SECURE_BOOT_LOG)
    dbx = editor.entries[editor.find("dbx")].variable[2]
    assert judge(SECURE_BOOT_LOG, with_dbx(tmp_path, data=dbx)).outcome is Outcome.TRUSTED
    more = with_dbx(tmp_path, data=dbx + hashes(b"\7" * 32))
    verdict = judge(SECURE_BOOT_LOG, more)
    assert verdict.outcome is Outcome.UNTRUSTED
    assert told(verdict) == [
        ("secureboot.revocations-old", "[secure_boot] minimum_dbx: dbx lacks entries that it must have")
    ]
    assert judge(SECURE_BOOT_LOG, "").outcome is Outcome.TRUSTED
    updated = Editor(SECURE_BOOT_LOG).content("dbx", hashes(b"\7" * 32) + dbx).build()
    assert judge(updated, more).outcome is Outcome.TRUSTED
    for log in (OFF, small_log(BANKS), SILENT):
        assert "secureboot.revocations-old" in high(judge(log, more))


def test_an_empty_dbx_passes_only_where_it_is_allowed():
    log = Editor(SECURE_BOOT_LOG).content("dbx", b"").build()
    assert judge(log, "").outcome is Outcome.TRUSTED
    verdict = judge(log, "[secure_boot]\nallow_empty_dbx = false")
    assert ("secureboot.ambiguous", "SecureBoot is on without dbx") in told(verdict)
    assert judge(log, "[secure_boot]\nallow_empty_dbx = true\nrequired = true").outcome is Outcome.TRUSTED


def test_one_log_is_looked_at_under_the_rules_of_the_preset():
    assert Policy.preset("default").secure_boot == PRESET_RULES


def test_dma_protection_may_be_off_only_where_that_is_allowed():
    editor = Editor(SECURE_BOOT_LOG)
    log = editor.insert(editor.find("SecureBoot"), EFI_ACTION, b"DMA Protection Disabled").build()
    for text, good in (("", False), ("allow_dma_protection_off = true\nrequired = true", True), ("", False)):
        verdict = judge(log, f"[secure_boot]\n{text}")
        assert (verdict.outcome is Outcome.TRUSTED) is good
        assert ("secureboot.debug" in high(verdict)) is not good


def test_a_pcr_is_compared_reported_or_left_alone_as_the_policy_says():
    learned, log = small_log(BANKS), small_log(BANKS, command_line=b"other")
    reported = "[pcrs]\ncompare = [0, 7]\nreport = [8]"
    for rules, outcome, codes in (
        ("", Outcome.UNTRUSTED, ["baseline.event-changed"]),
        (reported, Outcome.TRUSTED, ["baseline.reported"]),
        ("[pcrs]\ncompare = [0, 7]", Outcome.TRUSTED, []),
        ("[pcrs]\ncompare = [8]\nreport = []", Outcome.UNTRUSTED, ["baseline.event-changed"]),
    ):
        verdict = judge(log, rules, learned)
        assert (verdict.outcome, [finding.code for finding in verdict.findings]) == (outcome, codes)


def test_banks_count_and_must_be_there_as_the_policy_says():
    log = small_log(BANKS)
    weak = judge(log, '[banks]\nallowed = ["sha1"]')
    assert [(code, hint.split(":")[0]) for code, hint in told(weak, "warning")] == [("bank.weak", "[banks] allowed")]
    assert judge(log, '[banks]\nrequired = ["sha256"]').outcome is Outcome.TRUSTED
    assert high(judge(log, '[banks]\nrequired = ["sha256", "sha384"]')) == {"bank.missing"}
    assert told(judge(log, '[banks]\nallowed = ["sm3_256"]')) == [
        ("bank.missing", "[banks] allowed: the baseline has no bank that counts")
    ]


def test_bare_logs_do_not_pass_where_a_quote_is_asked_for():
    log = small_log(BANKS)
    for quote in ("any", "fresh"):
        assert high(judge(log, Policy.read(site(quote=quote)))) == {"quote.missing"}
    assert judge(log, Policy.read(site(quote="no"))).outcome is Outcome.TRUSTED


@pytest.mark.parametrize(
    ("rules", "sent", "outcome", "severity"),
    [
        ("", HONEST + VIOLATION, Outcome.UNTRUSTED, "high"),
        ('violations = "high"', HONEST + VIOLATION, Outcome.UNTRUSTED, "high"),
        ('violations = "warning"', HONEST + VIOLATION, Outcome.TRUSTED, "warning"),
        ('judge = "no"', HONEST + VIOLATION, Outcome.TRUSTED, None),
    ],
)
def test_violations_weigh_what_the_policy_says(rules, sent, outcome, severity):
    verdict = judge_ima(sent, policy=Policy.read(BARE + "[ima]\n" + rules))
    assert verdict.outcome is outcome
    assert [f.severity for f in verdict.findings if f.code == "ima.violation"] == [severity] * (severity is not None)


@pytest.mark.parametrize(("added", "outcome"), [("high", "untrusted"), ("warning", "trusted"), ("info", "trusted")])
def test_a_path_that_was_not_learned_weighs_what_the_policy_says(added, outcome):
    sent = HONEST + ima_entry(data_of("/bin/x", a_digest(9)))
    verdict = judge_ima(sent, policy=Policy.read(f'{BARE}[ima]\nadded = "{added}"'))
    (finding,) = (finding for finding in verdict.findings if finding.code == "ima.added")
    assert (verdict.outcome, finding.severity, finding.hint[:6]) == (outcome, added, "/bin/x")
    assert ("[ima] added" in finding.hint) is (added != "high")


def test_as_learned_and_high_differ_where_the_learning_boot_had_violations():
    known = ima_references(violations=1)
    for rules, outcome in (("as-learned", Outcome.TRUSTED), ("high", Outcome.UNTRUSTED)):
        policy = Policy.read(f'{BARE}[ima]\nviolations = "{rules}"')
        assert judge_ima(HONEST + VIOLATION, known=known, policy=policy).outcome is outcome


# ---- The command


@pytest.fixture
def run(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*args):
        code = main([str(arg) for arg in args])
        return code, *capfd.readouterr()

    return call


@pytest.mark.parametrize("name", PRESETS)
def test_show_prints_a_policy_that_reads_as_itself(run, tmp_path, name):
    code, out, _ = run("policy", "show", name)
    assert code == 0
    assert Policy.read(out) == Policy.preset(name)
    assert Policy.preset(name).id.hex() in out
    (tmp_path / "copy.toml").write_text(out)
    assert run("policy", "show", "copy.toml") == (0, out, "")
    facts = json.loads(run("policy", "show", name, "--format", "json")[1])
    assert facts.pop("id") == Policy.preset(name).id.hex()
    assert facts["policy"] == {"name": name}
    assert set(facts) == {key.section for key in KEYS}


def test_show_without_a_name_is_the_default(run):
    assert run("policy", "show") == run("policy", "show", "default")


def test_check_says_what_is_weaker_and_what_is_stricter(run, tmp_path):
    text = """
    [policy]
    name = "site"
    [evidence]
    quote = "any"
    key = "certified"
    [banks]
    allowed = ["sha1", "sha256", "sha384", "sha512", "sm3_256"]
    [pcrs]
    compare = [0, 1, 2, 3, 4, 7, 9, 11, 12, 13]
    report = [5, 8]
    [secure_boot]
    required = true
    allow_empty_dbx = false
    allow_dma_protection_off = true
    minimum_sbat = "shim,4"
    [ima]
    added = "info"
    violations = "high"
    kexec = true
    """
    (tmp_path / "site.toml").write_text(text)
    code, out, err = run("policy", "check", "site.toml")
    lines = [line.split(None, 1) for line in out.splitlines()[1:]]
    weaker = [words.split(":")[0] for kind, words in lines if kind == "weaker"]
    stricter = [words.split(":")[0] for kind, words in lines if kind == "stricter"]
    assert code == 0
    assert weaker == [
        "[evidence] quote",
        "[banks] allowed",
        "[pcrs] compare",
        "[pcrs] compare",
        "[pcrs] report",
        "[secure_boot] allow_dma_protection_off",
        "[ima] added",
        "[ima] kexec",
    ]
    assert stricter == [
        "[evidence] key",
        "[pcrs] compare",
        "[secure_boot] required",
        "[secure_boot] minimum_sbat",
        "[secure_boot] allow_empty_dbx",
        "[ima] violations",
    ]
    assert "PCR 14 may differ, and nothing says so" in out
    assert "PCR 8 may differ, and is reported only" in out
    assert "14 differences from default, 8 of them weaker" in err


def test_check_of_what_is_no_policy_is_usage(run, tmp_path):
    (tmp_path / "site.toml").write_text(site("[pcrs]\ncompare = [10]"))
    code, out, err = run("policy", "check", "site.toml")
    assert (code, out) == (2, "")
    assert "site.toml: [pcrs] compare: PCR 10" in err
    assert run("policy", "check", "none.toml")[0] == 2
    assert run("policy", "show", "none")[0] == 2
    (tmp_path / "same.toml").write_text(site())
    assert "the same as default" in run("policy", "check", "same.toml")[1]


def test_the_main_commands_take_a_file_by_its_path(run, tmp_path):
    place = tmp_path / "archive" / "m" / "1"
    place.mkdir(parents=True)
    (place / "binary_bios_measurements").write_bytes(OFF)
    for name, rules in (("lax.toml", ""), ("strict.toml", "[secure_boot]\nrequired = true")):
        (tmp_path / name).write_text(BARE + rules)
    assert run("learn", "archive", "--policy", "strict.toml")[1].endswith("wants it on\n")
    assert run("learn", "archive", "--policy", "lax.toml", "--activate")[0] == 0
    for command in ("verify", "explain"):
        assert run(command, "archive", "--policy", "lax.toml")[0] == 0
        code, out, _ = run(command, "archive", "--policy", "./strict.toml")
        assert code == 1
        assert "[secure_boot] required" in out
    row = json.loads(run("verify", "archive", "--policy", "./strict.toml", "--format", "jsonl")[1])
    assert row["policy_id"] == Policy.read(tmp_path / "strict.toml").id.hex()
    code, _, err = run("verify", "archive", "--policy", "strict")
    assert code == 2
    assert "there is default, archive, log-only; a file is named with a /" in err

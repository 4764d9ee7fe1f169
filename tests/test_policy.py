"""Policies as text: strict, whole, never weaker for what is missing; and each rule seen in verdicts."""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DATA, entry, small_log, spec_id
from hypothesis import given
from hypothesis import strategies as st
from secure_boot_logs import DRIVER_CONFIG, EFI_ACTION, GLOBAL, SECURE_BOOT_LOG, Editor, hashes, variable
from test_appraised_kinds import ccel
from test_baseline import baseline
from test_ima_appraisal import HONEST, VIOLATION
from test_ima_appraisal import judge as judge_ima
from test_ima_appraisal import references as ima_references

from pyverify import Evidence, Outcome, Policy, References, UsageError, verify
from pyverify.appraise import policy_file
from pyverify.appraise.policy import PRESETS
from pyverify.appraise.policy_difference import differences
from pyverify.appraise.policy_keys import KEYS
from pyverify.cli.main import main

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
OFF = (DATA / "logs" / "01_m1_first_boot.bin").read_bytes()
DEFAULT = Policy.preset("default")
BARE = '[policy]\nname = "site"\n[evidence]\nquote = "no"\n'


def site(sections: str = "", quote: str | None = None) -> str:
    """A text of a policy with these sections."""
    return '[policy]\nname = "site"\n' + (f'[evidence]\nquote = "{quote}"\n' if quote else "") + sections


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


# ---- Texts


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_goes_through_its_text_and_leaves_nothing_out(name):
    preset = Policy.preset(name)
    text = (Path(policy_file.__file__).parent / "presets" / f"{name}.toml").read_text()
    assert preset.name == name
    assert preset.to_toml() == text
    again = Policy.read(text)
    assert again == preset
    assert again.id == preset.id
    assert again.to_toml() == text
    for key in KEYS:
        assert f"{key.name} = " in text or f"# {key.name}" in text


def test_the_default_is_that_of_the_design():
    """DESIGN section 11, in its own words: what it leaves out, or comments out, changes nothing."""
    text = """
    [policy]
    name = "default"
    [evidence]
    quote = "fresh"            # fresh | any | no
    key = "enrolled"           # certified | activated | enrolled | first-use
    max_age = "24h"            # from the challenge's issue to as_of
    [banks]
    allowed = ["sha256", "sha384", "sha512", "sm3_256"]
    required = "baseline"      # the banks quoted when the baseline was learned, or a list
    [pcrs]
    compare = [0, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14]
    report = [1, 5, 6]
    [secure_boot]
    required = false           # a change of it shows in PCR 7 anyway
    # minimum_dbx = "file", minimum_sbat = "shim,4"
    [ima]
    judge = "baseline"         # baseline | runtime-policy | no
    added = "high"
    violations = "as-learned"  # as many kinds as the learning boots had are a warning, others high
    kexec = false
    # signature_keys = ["file"]
    """
    assert Policy.read(text) == DEFAULT
    assert Policy.preset("archive") == replace(DEFAULT, name="archive", quote="any", max_age=None)
    sha1_too = ("sha1", *DEFAULT.banks_allowed)
    bare = replace(DEFAULT, name="log-only", quote="no", key="none", max_age=None, banks_allowed=sha1_too)
    assert Policy.preset("log-only") == bare


def test_what_a_text_leaves_out_is_as_in_default():
    policy = Policy.read('[policy]\nname = "site"')
    assert policy == replace(DEFAULT, name="site")
    assert policy.id != DEFAULT.id  # a verdict says by whose rules
    assert not differences(policy, DEFAULT)


def test_an_id_is_of_what_a_policy_says_however_it_is_written():
    ids = {Policy.preset(name).id for name in PRESETS}
    assert len(ids) == 3
    one = site('[banks]\nallowed = ["sha256", "sha384"]\n[pcrs]\ncompare = [7, 0]\n[secure_boot]\nrequired = true')
    other = "[secure_boot]\nrequired=true\n[pcrs]\ncompare=[0,7] # words\n" + site(
        '[banks]\nallowed=["sha384","sha256"]'
    )
    assert Policy.read(one).id == Policy.read(other).id
    assert Policy.read(site('max_age = "24h"', quote="fresh")).id == Policy.read(site('max_age = "1440m"', "fresh")).id
    assert DEFAULT.id.hex() == "b541f2829ff0fd8a4a0f034025657315f67718d648aa72983438829156785859"


CHANGED = {
    "name": '[policy]\nname = "other"',
    "quote": site(quote="any"),
    "key": site('[evidence]\nkey = "certified"'),
    "age": site('[evidence]\nmax_age = "30m"'),
    "allowed": site('[banks]\nallowed = ["sha256"]'),
    "required": site('[banks]\nrequired = ["sha256"]'),
    "compare": site("[pcrs]\ncompare = [7]"),
    "report": site("[pcrs]\nreport = [1]"),
    "secure boot": site("[secure_boot]\nrequired = true"),
    "sbat": site('[secure_boot]\nminimum_sbat = "shim,4"'),
    "later sbat": site('[secure_boot]\nminimum_sbat = "shim,5"'),
    "two sbat": site('[secure_boot]\nminimum_sbat = ["shim,4", "grub,5"]'),
    "empty dbx": site("[secure_boot]\nallow_empty_dbx = false"),
    "dma": site("[secure_boot]\nallow_dma_protection_off = true"),
    "judge": site('[ima]\njudge = "no"'),
    "added": site('[ima]\nadded = "info"'),
    "violations": site('[ima]\nviolations = "high"'),
    "kexec": site("[ima]\nkexec = true"),
}


def test_every_rule_is_in_the_id_and_in_the_text():
    policies = [Policy.read(text) for text in CHANGED.values()]
    assert len({policy.id for policy in policies} | {DEFAULT.id, Policy.read(site()).id}) == len(CHANGED) + 2
    for policy in policies:
        assert Policy.read(policy.to_toml()) == policy


@pytest.mark.parametrize("name", set(CHANGED) - {"name"})
def test_every_rule_is_told_of_as_a_difference(name):
    assert differences(Policy.read(CHANGED[name]), DEFAULT)


BAD = {
    "no name": ("", "[policy] name is missing"),
    "a name of its own kind": ('[policy]\nname = "a b"', '[policy] name = "a b"'),
    "another preset's name": ('[policy]\nname = "log-only"', "that is a preset"),
    "unknown section": (site("[secureboot]\nrequired = true"), "[secureboot]; there is [policy], [evidence], [banks]"),
    "unknown key": (site("[secure_boot]\nrequire = true"), "[secure_boot] require; there is required, minimum_dbx"),
    "key outside its section": ("quote = 'no'\n" + site(), "unknown section [quote]"),
    "no section": ("policy = 'site'", "[policy] is a section of its own"),
    "sections as a list": ('[[policy]]\nname = "site"', "[policy] is a section of its own"),
    "signature keys": (site("[ima]\nsignature_keys = ['k']"), "signatures of IMA entries are not judged"),
    "no TOML": ("[policy\n", "line 1"),
    "a key twice": (site('[ima]\nkexec = false\nkexec = false\njudge = "no"'), "line 5"),
    "a section twice": (site("[ima]\n[pcrs]\n[ima]\n"), "line 5"),
    "a quote that is none": (site('[evidence]\nquote = "stale"'), '"fresh", "any" or "no"'),
    "a quote of another type": (site("[evidence]\nquote = true"), "[evidence] quote = true: allowed is"),
    "a key of no level": (site('[evidence]\nkey = "none"'), '"certified", "activated", "enrolled" or "first-use"'),
    "an age without unit": (site("[evidence]\nmax_age = 24"), 'such as "30m"'),
    "an age of nothing": (site('[evidence]\nmax_age = "0h"'), 'max_age = "0h"'),
    "an age beyond all": (site('[evidence]\nmax_age = "9999999d"'), "max_age"),
    "an age in words": (site('[evidence]\nmax_age = "24 h"'), "max_age"),
    "an age in other digits": (site('[evidence]\nmax_age = "٣h"'), "max_age"),
    "an age that nothing looks at": (
        site('[evidence]\nquote = "any"\nmax_age = "24h"'),
        "[evidence] max_age: it has no",
    ),
    "a key that nothing looks at": (site('[evidence]\nquote = "no"\nkey = "enrolled"'), "[evidence] key: it has no"),
    "no banks": (site("[banks]\nallowed = []"), "[banks] allowed: without any bank"),
    "unknown bank": (site('[banks]\nallowed = ["sha256", "md5"]'), '"md5" is no bank'),
    "a bank by another name": (site('[banks]\nallowed = ["SHA256"]'), '"SHA256" is no bank'),
    "a bank twice": (site('[banks]\nallowed = ["sha256", "sha256"]'), '"sha256" stands twice'),
    "a bank alone": (site('[banks]\nallowed = "sha256"'), "a list of banks"),
    "nothing required": (site("[banks]\nrequired = []"), "[banks] required: an empty list"),
    "required and not allowed": (site('[banks]\nrequired = ["sha1"]'), "sha1 is required and not among the allowed"),
    "required in other words": (site('[banks]\nrequired = "all"'), '"baseline", or a list'),
    "no PCR": (site("[pcrs]\ncompare = []"), "[pcrs] compare: without any PCR"),
    "PCR 24": (site("[pcrs]\ncompare = [0, 24]"), "there is no PCR 24"),
    "PCR -1": (site("[pcrs]\nreport = [-1]"), "there is no PCR -1"),
    "PCR 10": (site("[pcrs]\ncompare = [10]"), "its entries are judged"),
    "PCR 10 reported": (site("[pcrs]\nreport = [10]"), "its entries are judged"),
    "PCR 15": (site("[pcrs]\ncompare = [15]"), "after the boot"),
    "PCR 23": (site("[pcrs]\ncompare = [23]"), "after the boot"),
    "PCR in words": (site('[pcrs]\ncompare = ["7"]'), "a list of PCR numbers"),
    "PCR true": (site("[pcrs]\ncompare = [true]"), "a list of PCR numbers"),
    "PCR 7.0": (site("[pcrs]\ncompare = [7.0]"), "a list of PCR numbers"),
    "a PCR twice": (site("[pcrs]\ncompare = [7, 7]"), "7 stands twice"),
    "a PCR in both": (site("[pcrs]\ncompare = [0, 1]\nreport = [1]"), "PCR 1 is compared too"),
    "a PCR in both by what is left out": (site("[pcrs]\ncompare = [0, 1]"), "left out, report is as in default"),
    "a switch in words": (site('[secure_boot]\nrequired = "true"'), "true or false"),
    "a switch as a number": (site("[secure_boot]\nallow_empty_dbx = 1"), "true or false"),
    "DMA in words": (site('[secure_boot]\nallow_dma_protection_off = "no"'), "true or false"),
    "a dbx from a text": (site('[secure_boot]\nminimum_dbx = "dbx.esl"'), "only a policy that is a file"),
    "a dbx of no name": (site("[secure_boot]\nminimum_dbx = 1"), "a file of EFI signature lists"),
    "SBAT without generation": (site('[secure_boot]\nminimum_sbat = "shim"'), 'such as "shim,4"'),
    "SBAT of generation 0": (site('[secure_boot]\nminimum_sbat = "shim,0"'), 'such as "shim,4"'),
    "SBAT past 16 bits": (site('[secure_boot]\nminimum_sbat = "shim,65536"'), 'such as "shim,4"'),
    "SBAT in other digits": (site('[secure_boot]\nminimum_sbat = "shim,٤"'), 'such as "shim,4"'),
    "SBAT as a number": (site("[secure_boot]\nminimum_sbat = 4"), 'such as "shim,4"'),
    "a component twice": (site('[secure_boot]\nminimum_sbat = ["shim,4", "shim,5"]'), "one component"),
    "no component": (site("[secure_boot]\nminimum_sbat = []"), "asks for nothing"),
    "runtime policies": (site('[ima]\njudge = "runtime-policy"'), "runtime policies are not judged by this version"),
    "IMA in other words": (site('[ima]\njudge = "yes"'), '"baseline" or "no"'),
    "added in other words": (site('[ima]\nadded = "low"'), "[ima] added"),
    "violations in other words": (site('[ima]\nviolations = "info"'), "[ima] violations"),
    "kexec in words": (site('[ima]\nkexec = "no"'), "[ima] kexec"),
    "added where nothing is judged": (site('[ima]\njudge = "no"\nadded = "high"'), "[ima] added: it has no effect"),
    "kexec where nothing is judged": (site('[ima]\njudge = "no"\nkexec = true'), "[ima] kexec: it has no effect"),
}


@pytest.mark.parametrize(("text", "words"), BAD.values(), ids=BAD)
def test_what_is_no_policy_is_refused_with_its_key_and_what_is_allowed(text, words):
    with pytest.raises(UsageError) as refused:
        Policy.read(text)
    assert words in str(refused.value)
    assert str(refused.value).startswith("the policy's text: ")


HOSTILE = {
    "a megabyte": "#" * (1 << 20),
    "a megabyte of another script": "#" + "ж" * 40_000,
    "nested lists": site("[pcrs]\ncompare = " + "[" * 30_000),
    "nested and closed": site("[pcrs]\ncompare = " + "[" * 300 + "]" * 300),
    "nested tables": site("[pcrs]\ncompare = " + "{a=" * 10_000),
    "a deep key": "[policy]\nname" + ".a" * 5_000 + " = 1",
    "a deep section": "[a" + ".a" * 5_000 + "]",
    "a long number": site("[pcrs]\ncompare = [" + "9" * 60_000 + "]"),
    "a large number": site("[pcrs]\ncompare = [" + "9" * 4_000 + "]"),
    "many numbers": site("[pcrs]\ncompare = [" + "7," * 30_000 + "]"),
    "a long text": site('[ima]\njudge = "' + "x" * 60_000 + '"'),
    "a date that cannot be": site("[ima]\njudge = 2026-13-45"),
    "a date": site("[ima]\njudge = 2026-11-01"),
    "infinity": site("[pcrs]\ncompare = [inf, nan]"),
    "a steering terminal": site('[ima]\n"\\u001b[31m" = 1'),
    "a NUL": "\0",
    "a lone surrogate": site("[ima]\njudge = '\ud800'"),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_are_refused_soon_and_in_few_printable_words(text):
    start = time.monotonic()
    with pytest.raises(UsageError) as refused:
        Policy.read(text)
    assert time.monotonic() - start < 5
    assert len(str(refused.value)) < 600
    assert str(refused.value).isprintable()


@given(st.text(max_size=200) | st.sampled_from([DEFAULT.to_toml()]).flatmap(
    lambda text: st.tuples(st.integers(0, len(text)), st.integers(0, 30), st.text('"[]=,0aé\n', max_size=5)).map(
        lambda edit: text[: edit[0]] + edit[2] + text[edit[0] + edit[1] :])))  # fmt: skip
def test_nothing_but_our_error_leaves_an_edited_text(text):
    try:
        policy = Policy.read(text)
    except UsageError:
        return
    assert Policy.read(policy.to_toml()) == policy


@pytest.mark.parametrize(
    "change",
    [
        {"max_age": None},
        {"max_age": datetime.timedelta(0)},
        {"quote": "maybe"},
        {"key": "good"},
        {"banks_allowed": ()},
        {"banks_allowed": ("md5",)},
        {"banks_required": ()},
        {"banks_required": ("sha1",)},
        {"pcrs_compare": ()},
        {"pcrs_compare": (10,)},
        {"pcrs_compare": (0, 24)},
        {"pcrs_report": (0,)},
        {"ima_added": "low"},
        {"ima_violations": "none"},
    ],
    ids=str,
)
def test_a_policy_made_by_hand_may_not_contradict_itself_either(change):
    with pytest.raises(UsageError):
        replace(DEFAULT, **change)


# ---- Files


@pytest.fixture
def policy_with_dbx(tmp_path):
    """Reads a policy from a file beside a dbx of these digests."""

    def read(*digests: bytes, name: str = "dbx.esl", data: bytes | None = None) -> Policy:
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / name).write_bytes(hashes(*digests) if data is None else data)
        path = tmp_path / "files" / "site.toml"
        path.write_text(site(f"[secure_boot]\nminimum_dbx = '{name}'", quote="no"))
        return Policy.read(path)

    return read


def test_files_beside_a_policy_count_by_their_contents(policy_with_dbx, tmp_path):
    one, two = b"\1" * 32, b"\2" * 32
    policy = policy_with_dbx(one, two)
    assert len(policy.secure_boot.minimum_dbx.entries) == 2
    assert policy_with_dbx(two, one, name="other.esl").id == policy.id
    assert policy_with_dbx(two, one, name="other.esl") == policy
    assert policy_with_dbx(one).id != policy.id
    assert 'minimum_dbx = "dbx.esl"' in policy.to_toml()
    again = tmp_path / "files" / "again.toml"
    again.write_text(policy.to_toml())
    (tmp_path / "files" / "dbx.esl").write_bytes(hashes(one, two))
    assert Policy.read(again) == policy


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it revokes nothing"),
        (hashes(b"\1" * 32)[:-1], "undecodable"),
        (b"\7\0\0\0" + hashes(b"\1" * 32), "efivarfs"),
        (hashes(b"\1" * 32, header=b"\0" * 8), "header of its own"),
        (bytes((1 << 20) + 1), "larger than"),
    ],
    ids=["empty", "cut", "as efivarfs has it", "with a header", "too large"],
)
def test_a_file_that_is_no_dbx_is_refused(policy_with_dbx, data, words):
    with pytest.raises(UsageError, match=r"site\.toml: \[secure_boot\] minimum_dbx") as refused:
        policy_with_dbx(data=data)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (None, "cannot be read"),
        ("folder", "no regular file"),
        (b"\xff\xfe", "not UTF-8 (at byte 0)"),
        (b"#" * ((1 << 16) + 1), "larger than 65,536 bytes"),
        (site("[secure_boot]\nminimum_dbx = 'none.esl'").encode(), "cannot be read"),
        (site("[secure_boot]\nminimum_dbx = '/dev/zero'").encode(), "no regular file"),
        (site("[secure_boot]\nminimum_dbx = '.'").encode(), "no regular file"),
        (site('[secure_boot]\nminimum_dbx = "a\\u0000b"').encode(), "allowed is the name of a file"),
    ],
    ids=["absent", "folder", "UTF-16", "large", "absent dbx", "device", "folder as dbx", "NUL"],
)
def test_a_file_that_is_no_policy_is_refused_by_its_name(tmp_path, made, words):
    path = tmp_path / "site.toml"
    if made == "folder":
        path.mkdir()
    elif made is not None:
        path.write_bytes(made)
    with pytest.raises(UsageError) as refused:
        Policy.read(path)
    assert str(refused.value).startswith(f"policy {path}: ")
    assert words in str(refused.value)


def test_no_file_is_read_but_those_that_are_named(tmp_path, monkeypatch):
    path = tmp_path / "site.toml"
    (tmp_path / "dbx.esl").write_bytes(hashes(b"\1" * 32))
    path.write_text(site("[secure_boot]\nminimum_dbx = 'dbx.esl'"))
    Policy.preset("default")
    opened = []
    monkeypatch.setattr(Path, "open", lambda self, *args, real=Path.open: (opened.append(self), real(self, *args))[1])
    Policy.read(path)
    assert opened == [path, tmp_path / "dbx.esl"]
    opened.clear()
    Policy.read(site())
    assert not opened


# ---- Rules in verdicts


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


def test_a_dbx_without_what_it_must_have_is_old(policy_with_dbx):
    editor = Editor(SECURE_BOOT_LOG)
    dbx = editor.entries[editor.find("dbx")].variable[2]
    assert judge(SECURE_BOOT_LOG, policy_with_dbx(data=dbx)).outcome is Outcome.TRUSTED
    more = policy_with_dbx(data=dbx + hashes(b"\7" * 32))
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


NEW = HONEST.replace(b"/bin/b", b"/bin/x")


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

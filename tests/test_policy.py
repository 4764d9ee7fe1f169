"""Policies as text: strict, whole, never weaker for what is missing."""

from __future__ import annotations

import datetime
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DATA
from hypothesis import given
from hypothesis import strategies as st
from secure_boot_logs import hashes

from pyverify import Policy, UsageError
from pyverify.appraise import policy_file
from pyverify.appraise.policy import PRESETS
from pyverify.appraise.policy_difference import differences
from pyverify.appraise.policy_keys import KEYS

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
OFF = (DATA / "logs" / "01_m1_first_boot.bin").read_bytes()
DEFAULT = Policy.preset("default")
BARE = '[policy]\nname = "site"\n[evidence]\nquote = "no"\n'


def site(sections: str = "", quote: str | None = None) -> str:
    """A text of a policy with these sections."""
    return '[policy]\nname = "site"\n' + (f'[evidence]\nquote = "{quote}"\n' if quote else "") + sections


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


@pytest.mark.parametrize("name", sorted(set(CHANGED) - {"name"}))
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
    "Secure Boot without its PCR": (
        site("[pcrs]\ncompare = [0]\nreport = [7]\n[secure_boot]\nrequired = true"),
        "nothing would prove what the log says of PCR 7",
    ),
    "SBAT without its PCR": (site('[pcrs]\ncompare = [0]\n[secure_boot]\nminimum_sbat = "shim,4"'), "of PCR 7"),
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
    "no runtime policy": (
        site('[ima]\njudge = "runtime-policy"'),
        '[ima] runtime_policy = "FILE": one needs the other',
    ),
    "a runtime policy that is not asked for": (site("[ima]\nruntime_policy = 'a'"), '[ima] judge = "baseline"; leave'),
    "a runtime policy from a text": (
        site("[ima]\njudge = 'runtime-policy'\nruntime_policy = 'a'"),
        "only a policy that is a file can name another",
    ),
    "IMA in other words": (site('[ima]\njudge = "yes"'), '"baseline", "runtime-policy" or "no"'),
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
    "a number beyond decimals": site("[pcrs]\ncompare = [0x" + "f" * 60_000 + "]"),
    "a duration beyond decimals": site("[evidence]\nmax_age = 0x" + "f" * 60_000),
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
        {"ima": "runtime-policy"},
        {"ima_added": "low"},
        {"ima_violations": "none"},
    ],
    ids=str,
)
def test_a_policy_made_by_hand_may_not_contradict_itself_either(change):
    with pytest.raises(UsageError):
        replace(DEFAULT, **change)


# ---- Files


def with_dbx(folder: Path, *digests: bytes, name: str = "dbx.esl", data: bytes | None = None) -> Policy:
    """A policy from a file, beside a dbx of these digests or of this data."""
    (folder / "files").mkdir(exist_ok=True)
    (folder / "files" / name).write_bytes(hashes(*digests) if data is None else data)
    path = folder / "files" / "site.toml"
    path.write_text(site(f"[secure_boot]\nminimum_dbx = '{name}'", quote="no"))
    return Policy.read(path)


def test_files_beside_a_policy_count_by_their_contents(tmp_path):
    one, two = b"\1" * 32, b"\2" * 32
    policy = with_dbx(tmp_path, one, two)
    assert len(policy.secure_boot.minimum_dbx.entries) == 2
    assert with_dbx(tmp_path, two, one, name="other.esl").id == policy.id
    assert with_dbx(tmp_path, two, one, name="other.esl") == policy
    assert with_dbx(tmp_path, one).id != policy.id
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
def test_a_file_that_is_no_dbx_is_refused(tmp_path, data, words):
    with pytest.raises(UsageError, match=r"site\.toml: \[secure_boot\] minimum_dbx") as refused:
        with_dbx(tmp_path, data=data)
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

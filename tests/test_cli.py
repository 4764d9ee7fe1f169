"""The command line: shapes that scripts rely on, exit codes, errors in words, nothing half written."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import DATA, ROOT, small_log
from test_learn import lay_out

from pyverify import EventLog
from pyverify.appraise.verdict import VERDICT_SCHEMA
from pyverify.cli.arguments import build_parser
from pyverify.cli.demo import EXPECTED, SAMPLE

BANKS = ["sha1", "sha256"]
LOG = small_log(BANKS)
KAT = DATA / "kat_log.bin"


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lay_out(
        tmp_path / "archive",
        {
            ("good", "1"): (LOG, {"boot_seq": 1}),
            ("good", "2"): (LOG, {"boot_seq": 2}),
            ("bad", "1"): (LOG, {"boot_seq": 1}),
            ("bad", "2"): (small_log(BANKS, command_line=b"init=/bin/sh"), {"boot_seq": 2}),
        },
    )
    return tmp_path / "archive"


COMMON = ("--policy", "log-only")


def test_inspect_json(run):
    code, out, err = run("inspect", KAT, "--format", "json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["kind"] == "tcg"
    assert document["banks"] == ["sha256", "sm3_256"]
    # A short log made by hand: what it lacks is told of, nothing of what it has.
    assert {f["code"] for f in document["findings"]} == {"separator.missing", "secureboot.ambiguous"}
    event = document["events"][3]
    assert set(event) == {"number", "pcr", "type_hint", "digests", "data", "data_verified", "decoded"}
    assert (event["number"], event["pcr"], event["type_hint"]) == (3, 7, "EV_EFI_VARIABLE_DRIVER_CONFIG")
    assert bytes.fromhex(event["data"]) == EventLog.parse(KAT.read_bytes())[3].data
    assert yaml.safe_load(run("inspect", KAT, "--format", "yaml")[1]) == document


def test_inspect_table_is_escaped(run, tmp_path):
    (tmp_path / "log").write_bytes(small_log(BANKS, command_line=b"a[red]b\x1b[31m"))
    code, out, _ = run("inspect", tmp_path / "log")
    assert code == 0
    assert "\x1b" not in out
    assert "SecureBoot" in run("inspect", KAT)[1]


def test_inspect_says_where_a_log_breaks(run, tmp_path):
    (tmp_path / "cut").write_bytes(LOG[:-1])
    for form in ("table", "json", "yaml"):
        code, _, err = run("inspect", tmp_path / "cut", "--format", form)
        assert code == 3
        assert "log.truncated" in err
        assert f"byte {EventLog.read(LOG[:-1]).fault.offset}" in err
    document = json.loads(run("inspect", tmp_path / "cut", "--format", "json")[1])
    assert document["findings"][0]["code"] == "log.truncated"
    assert len(document["events"]) == len(EventLog.parse(LOG)) - 1


@pytest.mark.parametrize(
    ("content", "code"), [(None, "No such file"), (b"", "log.absent"), (b"text" * 50, "log.not-a-log")]
)
def test_unreadable_input_is_3(run, tmp_path, content, code):
    if content is not None:
        (tmp_path / "f").write_bytes(content)
    for command in ("inspect", "replay"):
        status, _, err = run(command, tmp_path / "f")
        assert status == 3
        assert code in err
        assert str(tmp_path / "f") in err
    assert run("inspect", tmp_path)[0] == 3


def test_replay_json(run, tmp_path):
    (tmp_path / "cut").write_bytes(LOG[:-1])
    code, out, _ = run("replay", KAT, tmp_path / "cut", "--format", "json")
    assert code == 3
    document = json.loads(out)
    assert document[str(KAT)]["fault"] is None
    assert set(document[str(KAT)]["banks"]) == {"sha256", "sm3_256"}
    assert set(document[str(KAT)]["banks"]["sha256"]) == {str(pcr) for pcr in range(24)}
    cut = document[str(tmp_path / "cut")]
    assert cut["fault"] == {"code": "log.truncated", "offset": EventLog.read(LOG[:-1]).fault.offset}
    assert cut["banks"] == {}


def test_replay_table_and_forced_variant(run):
    code, out, _ = run("replay", KAT)
    assert code == 0
    assert "6ef88caea18efa1870d184b77fcacdda9e3e48f4e6138baf167c9c9091aea5e1" in out
    assert run("replay", KAT, "--isa", "portable")[1] == out
    status, _, err = run("replay", KAT, "--isa", "mmx")
    assert status == 2
    assert "portable" in err


def _pcr_lines(values):
    return "".join(
        f"{bank} {pcr} {v.tobytes().hex().upper()}\n" for bank, rows in values.items() for pcr, v in enumerate(rows)
    )


def _pcrread(values):
    lines = []
    for bank, rows in values.items():
        lines += [f"  {bank}:", *(f"    {pcr:<2}: 0x{v.tobytes().hex().upper()}" for pcr, v in enumerate(rows))]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("form", [_pcr_lines, _pcrread], ids=["lines", "tpm2_pcrread"])
def test_replay_compares_with_pcrs(run, tmp_path, form):
    values = EventLog.parse(KAT.read_bytes()).replay()
    file = tmp_path / "pcrs"
    file.write_text(form(values))
    assert run("replay", KAT, "--pcrs", file)[0] == 0
    values["sm3_256"][10, 0] ^= 1  # IMA's: others extend it
    file.write_text(form(values))
    code, _, err = run("replay", KAT, "--pcrs", file)
    assert code == 0
    assert "PCR 10" in err
    values["sha256"][7, 0] ^= 1
    file.write_text(form(values))
    code, _, err = run("replay", KAT, "--pcrs", file)
    assert code == 1
    assert "sha256 PCR 7 (secure-boot-policy)" in err
    file.write_text(form({"sha1": values["sha256"][:, :20]}))
    assert run("replay", KAT, "--pcrs", file)[0] == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "sha256 0 00",
        "sha256 24 " + "00" * 32,
        "md5 0 " + "00" * 16,
        "sha256 0 " + "00" * 32 + "\nsha256 0 " + "00" * 32,
        "{",
        '{"sha256": 1}',
        "{" * 5000,
        "0: " + "00" * 32,
        "\xff",
    ],
)
def test_pcr_files_that_are_none(run, tmp_path, text):
    (tmp_path / "pcrs").write_bytes(text.encode("latin-1"))
    code, _, err = run("replay", KAT, "--pcrs", tmp_path / "pcrs")
    assert code == 3
    assert str(tmp_path / "pcrs") in err


def test_learn_verify_explain(run, fleet):
    code, _, err = run("learn", fleet, *COMMON)
    assert code == 0
    assert "2 baselines learned (pending" in err
    code, _, err = run("verify", fleet, *COMMON)
    assert code == 3
    assert "4 unmeasured" in err
    (fleet.parent / "pyverify.db").unlink()
    run("learn", fleet, *COMMON, "--activate")
    code, out, err = run("verify", fleet, *COMMON)
    assert code == 1
    assert "3 trusted, 1 untrusted" in err
    assert "policy log-only" in err
    (line,) = (line for line in out.splitlines() if line.startswith("bad   2"))
    assert "untrusted" in line
    assert "init=/bin/sh" in line
    assert "✖" in line
    code, out, _ = run("explain", fleet, *COMMON)
    assert code == 1
    assert "init=/bin/sh" in out
    assert "good" not in out
    assert "expected" in out
    assert run("explain", fleet, "good", *COMMON)[1].count("trusted") == 2
    assert run("explain", fleet, "nobody", *COMMON)[0] == 2


def test_verify_formats(run, fleet):
    run("learn", fleet, *COMMON, "--activate")
    code, out, _ = run("verify", fleet, *COMMON, "--format", "jsonl", "--as-of", "2026-11-01T08:00:00+01:00")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [(r["machine"], r["boot"], r["verdict"]) for r in rows] == [
        ("bad", "1", "trusted"),
        ("bad", "2", "untrusted"),
        ("good", "1", "trusted"),
        ("good", "2", "trusted"),
    ]
    assert set(rows[0]) == set(VERDICT_SCHEMA.names)
    bad = rows[1]
    assert bad["as_of"] == "2026-11-01T07:00:00Z"
    assert len(bad["evidence_id"]) == 64
    assert bad["pcrs_unproven"][0] == {"bank": "sha1", "mask": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14]}
    assert bad["stages"][4]["pcrs"] == [8, 9, 11, 12]
    assert bytes.fromhex(bad["findings"][0]["actual"])
    assert bad["source"]["row"] is not None
    as_of = ("--as-of", "2026-11-01T07:00:00")
    assert json.loads(run("verify", fleet, *COMMON, "--format", "json", *as_of)[1]) == rows
    code, out, _ = run("verify", fleet, *COMMON, "--format", "parquet", "-o", "v.parquet", *as_of)
    assert (code, out) == (1, "")
    table = pq.read_table("v.parquet")
    assert table.schema == VERDICT_SCHEMA
    assert table.column("verdict").to_pylist() == [row["verdict"] for row in rows]
    run("verify", fleet, *COMMON, "-o", "table.txt", "--jobs", "2")
    assert "untrusted" in (fleet.parent / "table.txt").read_text()


def test_without_a_named_policy_quotes_are_wanted(run, fleet):
    code, out, err = run("learn", fleet)
    assert code == 0
    assert "quote.missing" in out
    assert "0 baselines learned" in err
    run("learn", fleet, *COMMON, "--activate")
    code, out, err = run("verify", fleet)
    assert code == 1
    assert "policy default" in err
    assert "trusted" not in out.replace("untrusted", "")
    assert "--policy log-only" in run("explain", fleet)[1]
    code, _, err = run("verify", fleet, "--policy", "nonsense")
    assert code == 2
    assert "default, archive, log-only" in err


def test_verify_errors_are_4(run, fleet, tmp_path):
    code, _, err = run("verify", fleet, *COMMON)
    assert code == 4
    assert "pyverify learn" in err
    run("learn", fleet, *COMMON)
    code, _, err = run("verify", tmp_path / "nowhere", *COMMON)
    assert code == 4
    assert "nowhere" in err
    (tmp_path / "text").write_text("no archive")
    assert run("verify", tmp_path / "text", *COMMON)[0] == 4
    code, _, err = run("verify", fleet, *COMMON, "--format", "jsonl", "-o", tmp_path / "no" / "folder" / "x")
    assert code == 4


def test_an_output_file_appears_only_when_whole(run, fleet, tmp_path, monkeypatch):
    run("learn", fleet, *COMMON)
    (tmp_path / "v.jsonl").write_text("before")
    monkeypatch.setattr("pyverify.output.tables.json_rows", lambda batch: 1 / 0)
    code, _, err = run("verify", fleet, *COMMON, "--format", "jsonl", "-o", tmp_path / "v.jsonl")
    assert code == 4  # not 1, which would say that a machine is untrusted
    assert "internal error" in err
    assert (tmp_path / "v.jsonl").read_text() == "before"
    assert not list(tmp_path.glob(".v.jsonl*"))


def test_output_to_what_is_no_file_goes_there(run, fleet, tmp_path):
    """A pipe, a device or a link is written to, never replaced."""
    run("learn", fleet, *COMMON)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        run("verify", fleet, *COMMON, "--format", "jsonl", "-o", tmp_path / "pipe")
        assert reader.stdout.read().count(b"\n") == 4
    run("verify", fleet, *COMMON, "--format", "json", "-o", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert len(json.loads((tmp_path / "real").read_text())) == 4
    assert run("verify", fleet, *COMMON, "--format", "jsonl", "-o", "/dev/full")[0] == 4


def test_pcrs_of_our_own_replay_compare(run, tmp_path):
    replayed = run("replay", KAT, "--format", "json")[1]
    (tmp_path / "own").write_text(replayed)
    assert run("replay", KAT, "--pcrs", tmp_path / "own")[0] == 0
    assert run("replay", KAT, "--pcrs", tmp_path / "own")[2].count("agrees") == 1
    for bad in ('{"sha256": {"-1": "%s"}}' % ("00" * 32), '{"sha256": {"0": "00", "0": "00"}}'):
        (tmp_path / "bad").write_text(bad)
        assert run("replay", KAT, "--pcrs", tmp_path / "bad")[0] == 3


def test_a_bank_that_the_log_lacks_and_the_machine_extended_is_no_agreement(run, tmp_path):
    lines = _pcr_lines({"sha256": EventLog.parse(KAT.read_bytes()).replay()["sha256"]})
    (tmp_path / "pcrs").write_text(lines + f"sha512 0 {'ab' * 64}\n")
    code, _, err = run("replay", KAT, "--pcrs", tmp_path / "pcrs")
    assert code == 1
    assert "no bank sha512" in err
    (tmp_path / "pcrs").write_text(lines + f"sha512 0 {'00' * 64}\n")
    assert run("replay", KAT, "--pcrs", tmp_path / "pcrs")[0] == 0


def test_usage_errors_are_2(run):
    assert run("verify", "x", "--as-of", "0001-01-01T00:00:00+14:00")[0] == 2
    assert run()[0] == 2
    assert run("verify")[0] == 2
    assert run("nonsense")[0] == 2
    assert run("verify", "x", "--jobs", "0")[0] == 2
    assert run("verify", "x", "--as-of", "yesterday")[0] == 2


def test_info(run):
    code, out, _ = run("info")
    assert code == 0
    assert "sm3_256" in out
    assert "portable" in json.loads(run("info", "--format", "json")[1])["kernels"]["sha256"]


def test_demo(run, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    code, out, _ = run("demo")
    assert code == 0
    assert "Every outcome is the expected one." in out
    assert "$ pyverify learn" in out
    assert "$ pyverify verify" in out
    for (machine, boot), (verdict, _, story) in EXPECTED.items():
        assert any(line.split()[:3] == [machine, boot, verdict] for line in out.splitlines()), machine
        assert story in out


def test_demo_notices_what_is_not_as_expected(run, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setitem(EXPECTED, ("web-1", "boot-2"), ("untrusted", None, "a lie"))
    code, out, _ = run("demo")
    assert code == 1
    assert "NOT AS EXPECTED: web-1 boot-2" in out


def test_the_sample_is_small():
    assert SAMPLE.stat().st_size < 100_000


def test_every_command_is_in_the_readme():
    commands = next(a for a in build_parser()._actions if a.dest == "run" or getattr(a, "choices", None)).choices
    readme = (ROOT / "README.md").read_text()
    for name, parser in commands.items():
        assert f"pyverify {name}" in readme, name
        assert parser.description


def test_an_archive_without_boots_is_not_all_trusted(run, fleet, tmp_path):
    run("learn", fleet, *COMMON)
    (tmp_path / "empty").mkdir()
    code, _, err = run("verify", tmp_path / "empty", *COMMON)
    assert code == 3
    assert "holds no boots" in err


def test_what_the_readme_shows_is_what_is_printed(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run("demo")
    store = next(tmp_path.glob("pyverify-demo-*")) / "demo.db"
    common = (SAMPLE, "--policy", "archive", "--store", store)
    printed = run("verify", *common)[1].splitlines() + run("explain", *common)[1].splitlines()
    readme = (ROOT / "README.md").read_text()
    shown = [line for block in readme.split("```text\n")[1:3] for line in block.split("```")[0].splitlines()]
    assert len(shown) > 15
    for line in shown:
        assert line in printed, line


def test_the_readme_s_library_example_runs(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path / "archive", {("web-1", "1"): (LOG, None)})
    run("learn", tmp_path / "archive", *COMMON, "--activate")
    (tmp_path / "binary_bios_measurements").write_bytes(LOG)
    code = (ROOT / "README.md").read_text().split("```python\n")[1].split("```")[0]
    code = code.replace('open("binary_bios_measurements", "rb").read()', "LOG")  # it leaves the file to the collector
    exec(code, {"LOG": LOG})


def test_a_closed_pipe_is_no_traceback(tmp_path):
    command = f"{sys.executable} -m pyverify inspect {KAT} --format yaml | head -1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert result.stdout == "kind: tcg\n"
    assert "Traceback" not in result.stderr


def test_names_may_follow_options(run):
    """`explain ARCHIVE --store S MACHINE` is what people type."""
    code, _, err = run("explain", "nowhere", "--store", "nowhere.db", "web-1", "web-2")
    assert (code, "unrecognized" in err) == (4, False)
    code, _, err = run("explain", "nowhere", "--store", "nowhere.db", "web-1", "--nonsense")
    assert (code, "unrecognized" in err) == (2, True)
    code, _, err = run("info", "web-1")
    assert (code, "unrecognized" in err) == (2, True)

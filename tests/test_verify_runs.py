"""What schedulers ask of a run: exit codes that can be relaxed, a summary for machines, machines that must be there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import small_log
from source_archives import make_folder

BANKS = ["sha256"]
LOG = "binary_bios_measurements"
GOOD, EVIL = small_log(BANKS), small_log(BANKS, command_line=b"init=/bin/sh")
AS_OF = ("--as-of", "2026-11-01T08:00:00Z")
COMMON = ("--policy", "log-only", *AS_OF)


@pytest.fixture
def place(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that knows the machines a, b and c."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYVERIFY_STORE", raising=False)
    make_folder(tmp_path / "first", {f"{machine}/1": {LOG: GOOD} for machine in "abc"})
    assert run("learn", "first", *COMMON, "--activate")[0] == 0
    return tmp_path


ARCHIVES = {
    "trusted": {"a/2": {LOG: GOOD}},
    "untrusted": {"a/2": {LOG: EVIL}, "new/1": {LOG: GOOD}},
    "unmeasured": {"a/2": {LOG: GOOD}, "new/1": {LOG: GOOD}},
    "error": {"a/2": {LOG: b"no log"}, "b/2": {LOG: GOOD}},
    "empty": {},
}


@pytest.mark.parametrize(
    ("archive", "strict", "untrusted"),
    [("trusted", 0, 0), ("untrusted", 1, 1), ("unmeasured", 3, 0), ("error", 3, 0), ("empty", 3, 3)],
)
def test_exit_codes_can_be_relaxed(run: Any, place: Path, archive: str, strict: int, untrusted: int) -> None:
    (place / "archive").mkdir()
    make_folder(place / "archive", ARCHIVES[archive])
    assert run("verify", "archive", *COMMON)[0] == strict
    assert run("verify", "archive", *COMMON, "--fail-on", "unmeasured")[0] == strict
    assert run("verify", "archive", *COMMON, "--fail-on", "untrusted")[0] == untrusted
    assert run("verify", "archive", *COMMON, "--fail-on", "never")[0] == 0
    assert run("verify", "archive", *COMMON, "--fail-on", "nothing")[0] == 2


def test_what_cannot_be_read_is_never_relaxed(run: Any, place: Path) -> None:
    assert run("verify", "nowhere", *COMMON, "--fail-on", "never")[0] == 4
    (place / "t").write_bytes(b"\x28\xb5\x2f\xfd" + b"x" * 100)
    assert run("verify", "t", *COMMON, "--fail-on", "never")[0] == 4


def test_the_summary_is_for_machines(run: Any, place: Path) -> None:
    make_folder(place / "archive", ARCHIVES["untrusted"])
    code, out, _ = run("verify", "archive", *COMMON, "--summary", "s.json", "--format", "jsonl")
    found = json.loads((place / "s.json").read_text())
    row = json.loads(out.splitlines()[0])
    assert found["outcomes"] == {"trusted": 0, "untrusted": 1, "unmeasured": 1, "error": 0}
    assert (found["rows"], found["exit_code"], code) == (2, 1, 1)
    assert {name: found[name] for name in ("policy_id", "references_id", "as_of")} == {
        name: row[name] for name in ("policy_id", "references_id", "as_of")
    }
    assert found["seconds"] > 0
    assert found["rows_per_second"] == pytest.approx(2 / found["seconds"], rel=0.2)
    assert {"pyverify", "python", "pyarrow", "numpy"} == set(found["versions"])
    run("verify", "archive", *COMMON, "--summary", "s.json", "--fail-on", "never")
    assert json.loads((place / "s.json").read_text())["exit_code"] == 0


def test_the_summary_of_an_archive_that_breaks_off_says_so(run: Any, place: Path) -> None:
    from source_archives import tar_bytes

    (place / "t").write_bytes(tar_bytes({"a/2": {LOG: GOOD}, "b/2": {LOG: GOOD}})[:3000])
    assert run("verify", "t", *COMMON, "--summary", "s.json", "-o", "v.jsonl", "--format", "jsonl")[0] == 4
    assert json.loads((place / "s.json").read_text())["exit_code"] == 4
    assert not (place / "v.jsonl").exists()


def silent(out: str) -> dict[str, dict[str, Any]]:
    return {row["machine"]: row for row in map(json.loads, out.splitlines()) if row["boot"] is None}


@pytest.mark.parametrize("policy", ["log-only", "default"])
def test_a_machine_that_is_silent_has_a_verdict(run: Any, place: Path, policy: str) -> None:
    make_folder(place / "archive", ARCHIVES["trusted"])
    (place / "expected").write_text("# the rack\n a \nb\n\nz-9\n")
    arguments = ("--policy", policy, *AS_OF, "--format", "jsonl")
    for expect, machines in (("store", {"b", "c"}), ("expected", {"b", "z-9"})):
        code, out, err = run("verify", "archive", *arguments, "--expect", expect)
        found = silent(out)
        assert set(found) == machines
        assert {row["verdict"] for row in found.values()} == {"unmeasured"}
        for machine, row in found.items():
            codes = {finding["code"]: finding["severity"] for finding in row["findings"]}
            assert codes.pop("evidence.absent") == "info"
            assert codes == ({"evidence.lost": "high"} if machine != "z-9" else {})
            assert (row["evidence_id"], row["source"]) == (None, None)
            assert (row["baseline"] is None) == (machine == "z-9")
        assert code == (3 if policy == "log-only" else 1)
        assert "3 boots" in err
    assert "b  ?  unmeasured" in run("verify", "archive", *COMMON, "--expect", "store")[1]


def test_a_machine_whose_evidence_is_broken_is_not_silent(run: Any, place: Path) -> None:
    make_folder(place / "archive", {"a/2": {LOG: b"no log"}, "b/2": {"evidence.json": b"{"}, "c/1": {"ak.crt": b""}})
    _, out, _ = run("verify", "archive", *COMMON, "--format", "jsonl", "--expect", "store")
    assert not silent(out)
    assert {json.loads(line)["verdict"] for line in out.splitlines()} == {"error", "unmeasured"}


def test_nobody_expected_is_missing_from_an_empty_archive(run: Any, place: Path) -> None:
    (place / "archive").mkdir()
    code, out, _ = run("verify", "archive", *COMMON, "--format", "jsonl", "--expect", "store")
    assert (code, set(silent(out))) == (3, {"a", "b", "c"})


@pytest.mark.parametrize("lines", ["", "# nobody\n", "../x\n", "a b\n", "a\x00\n"])
def test_a_list_that_names_nobody_is_refused(run: Any, place: Path, lines: str) -> None:
    make_folder(place / "archive", ARCHIVES["trusted"])
    (place / "expected").write_text(lines)
    assert run("verify", "archive", *COMMON, "--expect", "expected")[0] == 2
    assert run("verify", "archive", *COMMON, "--expect", "nowhere")[0] == 2


def test_enrolled_machines_are_expected_too(run: Any, place: Path) -> None:
    from attested_machine import Machine

    (place / "ak.pub").write_bytes(Machine("q").key.public)
    (place / "old.pub").write_bytes(Machine("gone").key.public)
    assert run("enroll", "q", "ak.pub", *AS_OF)[0] == 0
    assert run("enroll", "gone", "old.pub", *AS_OF, "--until", "2026-10-01T00:00:00Z")[0] == 0
    make_folder(place / "archive", ARCHIVES["trusted"])
    _, out, _ = run("verify", "archive", *COMMON, "--format", "jsonl", "--expect", "store")
    assert set(silent(out)) == {"b", "c", "q"}

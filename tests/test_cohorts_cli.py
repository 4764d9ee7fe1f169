"""``pyverify cohorts``: what it prints, of whom, and its exit codes."""

from __future__ import annotations

import json

import pytest
from conftest import DATA, small_log
from log_editor import Log
from test_cohorts import archive, rows
from test_cohorts_normal import ONE, with_text

from pyverify.cli import cohorts as module

BANKS = ["sha1", "sha256"]
EVIL = b"init=/bin/sh \x1b[2J\xe2\x80\xae"


@pytest.fixture
def fleet(tmp_path):
    machines = {f"web-{number}": small_log(BANKS) for number in range(8)}
    machines["odd"] = small_log(BANKS, command_line=EVIL)
    machines["cut"] = small_log(BANKS)[:-1]
    archive(tmp_path / "fleet", rows(machines))
    return tmp_path / "fleet"


def test_outliers_come_first_and_the_whole_before_them(run, fleet):
    code, out, err = run("cohorts", fleet)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].startswith("9 machines, 2 cohorts; biggest: ")
    assert lines[0].endswith("1 boot in none")
    assert "8 (88.8%)" in lines[0]
    odd = next(n for n, line in enumerate(lines) if line.endswith(": odd"))
    many = next(n for n, line in enumerate(lines) if "web-0, web-1, web-2, web-3, web-4 and 3 more" in line)
    assert odd < many
    closest = next(line for line in lines if line.startswith("  closest: "))
    assert lines.index(closest) < many
    assert "(8 machines), 87.5% of the events alike" in closest
    assert "“kernel_cmdline: quiet” there" in lines[lines.index(closest) + 1]
    assert r"command line \x1b[2J\u202e" in out
    assert "in no cohort, log.truncated: 1 boot" in out
    assert out.index("in no cohort") > out.index("web-0")
    assert "only suggests" in out


def test_nothing_that_is_printed_steers_a_terminal(run, fleet):
    for arguments in ([], ["odd"], ["web-1"], ["--format", "json"], ["odd", "--format", "json"]):
        code, out, _ = run("cohorts", fleet, *arguments)
        assert code == 0
        assert all(line.isprintable() for line in out.splitlines()), arguments


def test_a_named_machine_is_told_its_closest_cohort(run, fleet):
    code, out, _ = run("cohorts", fleet, "odd", "web-3")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "odd is of cohort"
    assert "closest: " in out
    assert "there" in out
    assert sum("a closest match only suggests" in line for line in lines) == 2
    assert "web-3 is of cohort" in lines
    document = json.loads(run("cohorts", fleet, "odd", "--format", "json")[1])
    (asked,) = document["asked"]
    assert asked["machine"] == "odd"
    assert asked["cohort"] != asked["closest"]["cohort"] == document["cohorts"][1]["id"]


def test_json_has_every_machine_of_every_cohort(run, fleet):
    code, out, _ = run("cohorts", fleet, "--format", "json")
    document = json.loads(out)
    assert code == 0
    assert set(document) == {"machines", "variants", "cohorts", "left_out"}
    assert (document["machines"], document["variants"]) == (9, 2)
    odd, many = document["cohorts"]
    assert set(odd) == {"id", "bank", "variants", "machines", "boot", "closest"}
    assert odd["machines"] == ["odd"]
    assert many["machines"] == [f"web-{number}" for number in range(8)]
    assert many["closest"] is None
    assert odd["closest"]["cohort"] == many["id"]
    assert odd["closest"]["alike"] == 7 / 8
    (difference,) = odd["closest"]["differences"]
    assert (difference["kind"], difference["pcr"]) == ("changed", 8)
    assert odd["boot"]["command_lines"][0]["proven"] is True
    assert document["left_out"][0]["machine"] == "cut"
    assert document["left_out"][0]["code"] == "log.truncated"


def test_exit_codes(run, fleet, tmp_path):
    assert run("cohorts", tmp_path / "nothing")[0] == 3
    (tmp_path / "text").write_text("hello")
    code, _, err = run("cohorts", tmp_path / "text")
    assert (code, "is of no known kind" in err) == (3, True)
    code, _, err = run("cohorts", fleet, "nobody\x1b[2J")
    assert code == 2
    assert "not in this archive" in err
    assert "\x1b" not in err
    code, _, err = run("cohorts", fleet, "cut")
    assert (code, "log.truncated" in err) == (2, True)
    assert run("cohorts")[0] == 2
    assert run("cohorts", fleet, "--jobs", "0")[0] == 2


def test_an_archive_without_boots_says_so(run, tmp_path):
    archive(tmp_path / "empty", [])
    code, out, err = run("cohorts", tmp_path / "empty")
    assert (code, out.strip()) == (0, "0 machines, 0 cohorts")
    assert "no boot that can be grouped" in err


def test_a_table_shows_a_bounded_number(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SHOWN", 5)
    monkeypatch.setattr(module, "_MATCHED", 2)
    machines = {f"m{n:02}": small_log(BANKS, command_line=str(n).encode()) for n in range(12)}
    machines |= {f"big{n}-{k}": small_log(BANKS, command_line=b"big" * (k + 1)) for k in range(3) for n in range(k + 2)}
    archive(tmp_path / "fleet", rows(machines))
    code, out, _ = run("cohorts", tmp_path / "fleet")
    assert code == 0
    assert "7 more cohorts, neither small nor big" in out
    assert out.count("  closest: ") == 2
    assert out.count(", sha256: ") == 5 + 3
    assert "big0-2, big1-2, big2-2, big3-2" in out
    document = json.loads(run("cohorts", tmp_path / "fleet", "--format", "json")[1])
    assert len(document["cohorts"]) == 15


def test_a_fleet_with_identifiers_of_its_own_is_one_line(run, tmp_path):
    grub = Log.parse((DATA / "logs" / "60_sb_first_boot.bin").read_bytes())
    machines = {f"m{n}": with_text(grub, f"root=UUID={n:08x}{ONE[8:]}").bytes() for n in range(30)}
    archive(tmp_path / "fleet", rows(machines))
    _, out, _ = run("cohorts", tmp_path / "fleet")
    assert "30 machines (100%), 30 variants" in out
    assert "Secure Boot on" in out

"""The benches run, and the fleet that they measure is what it claims to be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, replay_by_hand

from bench.archives import WRITERS
from bench.fleet import Fleet
from bench.peers import python_replay, python_scan
from pyverify import _native
from pyverify.evidence.columns import Ragged
from pyverify.fleet.sources import open_source
from pyverify.replay import replay

KEYS = ["bench", "case", "isa", "threads", "value", "unit", "peer", "ratio"]


def bench(*arguments: str) -> str:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_list_names_the_benches() -> None:
    assert {"verify_memory", "verify_parquet"} <= set(bench("--list").split())


@pytest.mark.parametrize(("name", "peer_case"), [("verify_memory", "appraisal"), ("verify_parquet", "parquet")])
def test_lines_are_well_formed(name: str, peer_case: str) -> None:
    about, *lines = map(json.loads, bench("--quick", "--only", name, "--json", "--boots", "8").splitlines())
    assert about["bench"] == "machine"
    assert about["case"] and about["isa"] and about["threads"] >= 1 and about["python"]
    for line in lines:
        assert list(line) == KEYS
        assert line["bench"] == name
        assert line["case"].split("-")[0] in (*about["kernels"], "all")
        assert line["value"] >= 0
        assert (line["peer"] is None) == (line["ratio"] is None)
    assert any(line["peer"] == "python" and peer_case in line["case"] for line in lines)


def test_generated_logs_replay_alike() -> None:
    fleet = Fleet(150, rounds=2)
    logs = [boot.log for boot in fleet.boots()]
    ours = replay(logs)
    batch = Ragged.of(list(logs))
    counts = _native.scan(batch.blob, batch.offsets)[0]["n_events"].tolist()
    assert not ours.logs["fault"].any() and not ours.logs["notes"].any() and not ours.logs["incomplete"].any()
    for row, log in enumerate(logs):
        values = python_replay(log)
        assert python_scan(log) == counts[row]
        assert values.keys() == {bank for bank in ours.values if ours.has_bank(bank)[row]}
        for bank, chain in values.items():
            assert ours.values[bank][row].tobytes() == b"".join(chain)


def test_the_sample_will_do_without_recordings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.templates._RECORDINGS", tmp_path)
    fleet = Fleet(20)
    assert len(fleet.sources) > 5
    assert not replay([boot.log for boot in fleet.round(1)]).logs["fault"].any()


def test_the_peer_is_right() -> None:
    for log in (boot.log for boot in Fleet(60).round(1)):
        by_hand = replay_by_hand(log)
        values = python_replay(log)
        assert values == {bank: [chain[pcr] for pcr in range(24)] for bank, chain in by_hand.items()}
        assert python_replay(log, frozenset(["sha256"])) == {b: v for b, v in values.items() if b == "sha256"}


def test_machines_differ_and_boots_do_not() -> None:
    fleet = Fleet(202, rounds=3)
    first, second, last = ([boot.log for boot in fleet.round(number)] for number in (1, 2, 3))
    assert len(set(first)) == len(first)
    assert first == second
    changed = [machine for machine in range(202) if second[machine] != last[machine]]
    assert changed == [1, 101, 201]
    before, after = replay(second).values["sha256"], replay(last).values["sha256"]
    pcrs = [{int(pcr) for pcr in (before[m] != after[m]).any(axis=1).nonzero()[0]} for m in changed]
    assert all(found <= {4, 8} for found in pcrs)
    assert Fleet(5, seed=1).log(3, 1) == Fleet(5, seed=1).log(3, 1) != Fleet(5, seed=2).log(3, 1)


@pytest.mark.parametrize("kind", list(WRITERS))
def test_archives_hold_the_fleet(kind: str, tmp_path: Path) -> None:
    fleet = Fleet(5, rounds=2)
    WRITERS[kind](fleet.boots(), tmp_path / "archive")
    found = {}
    for batch in open_source(tmp_path / "archive").batches():
        assert batch.column("fault").null_count == len(batch)
        names = ("machine", "boot", "boot_seq", "collected_at", "event_log")
        for *key, seq, when, log in zip(*(batch.column(name).to_pylist() for name in names), strict=True):
            found[tuple(key)] = seq, when, log
    assert found == {(b.machine, b.name): (b.seq, b.collected_at, b.log) for b in fleet.boots()}

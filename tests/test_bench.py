"""The benches run, and the fleet that they measure is what it claims to be."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from conftest import ROOT, replay_by_hand

from bench.archives import WRITERS
from bench.bars import held
from bench.baselines import AS_OF
from bench.chains import Chains, chain_lengths
from bench.extend_peers import Peer, peers_of
from bench.fleet import Fleet
from bench.hashing import Messages
from bench.peers import python_replay, python_scan
from bench.quoted_fleet import QuotedFleet
from bench.results import DifferentResultsError, Line
from bench.signers import KINDS, Kind
from bench.stopwatch import Stopwatch
from bench.svg import line_chart
from bench.templates import hash_name
from pyverify import _native
from pyverify.algorithms import BY_NAME
from pyverify.appraise.appraisal import verify_batches
from pyverify.appraise.policy import Policy
from pyverify.baseline.store import Store
from pyverify.evidence import event_types
from pyverify.evidence.columns import Ragged
from pyverify.evidence.eventlog import EventLog
from pyverify.fleet.sources import open_source
from pyverify.replay import replay

KEYS = ["bench", "case", "isa", "threads", "value", "unit", "peer", "ratio"]


def bench(*arguments: str) -> str:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_list_names_the_benches() -> None:
    names = {"extend", "hash", "scan", "hunt", "ima", "inspect", "quotes", "service", "verify_memory", "verify_parquet"}
    assert names <= set(bench("--list").split())


@pytest.mark.parametrize(
    ("name", "peer_case"),
    [("scan", "scan+replay+compare"), ("ima", "fleet"), ("verify_memory", "appraisal"), ("verify_parquet", "parquet")],
)
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


def test_a_hunt_is_timed_beside_the_scan_alone() -> None:
    _, *lines = map(json.loads, bench("--quick", "--only", "hunt", "--json", "--boots", "8").splitlines())
    timed = [line for line in lines if line["peer"] == "scan"]
    assert [line["case"] for line in timed] == [
        f"sha256-distinct-8-{name}" for name in ("digest-1", "digest-400", "event")
    ]
    assert all(line["value"] > 0 and line["ratio"] > 0 for line in timed)


def test_a_service_is_timed_with_and_without_quotes() -> None:
    _, *lines = map(json.loads, bench("--quick", "--only", "service", "--json", "--boots", "8").splitlines())
    cases = {line["case"]: line["value"] for line in lines}
    for kind in KINDS:
        for name in ("log", "quote", "quote-spent"):
            case = f"{kind.hash_name}-{kind.name}-{name}"
            assert 0 < cases[f"{case}-p50"] <= cases[f"{case}-p99"]
    assert all(list(line) == KEYS and line["unit"] == "ms" for line in lines)


def test_looking_at_one_log_is_timed_beside_loading_numpy() -> None:
    _, *lines = map(json.loads, bench("--quick", "--only", "inspect", "--json").splitlines())
    shown = [line["case"].split("-")[1] for line in lines if line["peer"] == "numpy"]
    assert shown == ["table", "json", "summary"]
    assert all(line["value"] > 0 and line["unit"] == "ms" and line["ratio"] > 0 for line in lines if line["peer"])


@pytest.mark.parametrize(("name", "units"), [("extend", {"ns/extend", "lane use"}), ("hash", {"ns/block"})])
def test_lines_of_the_kernels_are_well_formed(name: str, units: set[str]) -> None:
    about, *lines = map(json.loads, bench("--quick", "--only", name, "--json", "--boots", "8").splitlines())
    assert {"clock_ghz", "adds_per_cycle"} <= about.keys()
    assert units <= {line["unit"] for line in lines}
    assert {line["case"].split("-")[0] for line in lines} == set(about["kernels"])
    for line in lines:
        assert list(line) == KEYS
        assert line["bench"] == name and line["isa"] and line["value"] > 0
        assert (line["peer"] is None) == (line["ratio"] is None)
    assert any(line["peer"] == "hashlib" and line["ratio"] > 0 for line in lines)


def test_lines_of_quotes_are_well_formed() -> None:
    _, *lines = map(json.loads, bench("--quick", "--only", "quotes", "--json", "--boots", "8").splitlines())
    assert {line["case"].split("-")[0] for line in lines} == {"sha256", "sha384", "sm3_256"}
    assert {line["unit"] for line in lines} == {"verifies/s", "quotes/s", "logs/s", "share"}
    assert all(list(line) == KEYS and line["value"] > 0 for line in lines)
    assert {"cryptography", "gmssl"} <= {line["peer"] for line in lines}
    jobs = {line["case"] for line in lines if line["peer"] == "signatures+log_only" and line["ratio"] > 0}
    cases = [f"{kind.hash_name}-{kind.name}" for kind in KINDS]
    assert jobs == {f"{case}-{size}-job" for case in cases for size in ("distinct-8", "repeated-2x4")}
    for case in cases:
        shares = [line["value"] for line in lines if line["case"].startswith(f"{case}-distinct-8-share-")]
        assert len(shares) > 10 and sum(shares) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_quoted_boots_are_trusted_and_forged_ones_are_not(kind: Kind, tmp_path: Path) -> None:
    fleet, path = QuotedFleet(kind, 6, 2), tmp_path / "store.db"
    fleet.enroll(path)
    with Store.open(str(path)) as store:
        references = store.references()
    ((quoted, bare),) = fleet.batches()

    def verdicts(batch: pa.RecordBatch, name: str) -> list[tuple[str, str]]:
        (found,) = verify_batches([batch], references=references, policy=Policy.preset(name), as_of=AS_OF)
        return list(zip(found.column("verdict").to_pylist(), found.column("attested").to_pylist(), strict=True))

    unfresh, fresh = [("trusted", "quote-unfresh")] * 6, [("trusted", "quote")] * 6
    assert verdicts(quoted, "archive") == unfresh + fresh
    assert verdicts(bare, "log-only") == [("trusted", "log")] * 12
    assert verdicts(bare, "archive") == [("untrusted", "log")] * 12
    others = quoted.column("quotes").take(pa.array([*range(1, 12), 0]))
    swapped = quoted.set_column(quoted.schema.get_field_index("quotes"), "quotes", others)
    assert {verdict for verdict, _ in verdicts(swapped, "archive")} == {"untrusted"}


def test_a_stopwatch_takes_the_time_of_inner_stages_from_the_outer() -> None:
    class Work:
        @staticmethod
        def spin(seconds: float) -> None:
            start = time.thread_time()
            while time.thread_time() - start < seconds:
                pass

        def outer(self) -> None:
            self.spin(0.02)
            self.inner()

        def inner(self) -> None:
            self.spin(0.04)

    before = Work.outer, Work.inner
    watch = Stopwatch("rest")
    with watch.watching({"outer": [(Work, "outer")], "inner": [(Work, "inner")]}):
        Work().outer()
    assert 0.02 <= watch.seconds["outer"] < 0.04 <= watch.seconds["inner"] < 0.06
    assert watch.seconds["rest"] < 0.02
    assert (Work.outer, Work.inner) == before


@pytest.mark.parametrize("bank", list(BY_NAME))
@pytest.mark.parametrize("kind", ["equal", "spread", "duplicated", "recorded"])
def test_peers_extend_as_we_do(bank: str, kind: str) -> None:
    recorded = [boot.log for boot in Fleet(3, rounds=1).round(1)]
    chains = {
        "equal": lambda: Chains.equal(bank, 150, 5),
        "spread": lambda: Chains.spread(bank, 150, 0, 9),
        "duplicated": lambda: Chains.duplicated(bank, 7, 40, 3),
        "recorded": lambda: Chains.of_lengths(bank, chain_lengths(recorded)),
    }[kind]()
    for peer in peers_of(chains):  # raises where a peer differs
        assert peer.chains.extends <= chains.extends
    by_hand = []
    for chain in chains.as_bytes:
        value = bytes(chains.size)
        for digest in chain:
            value = hashlib.new(hash_name(bank), value + digest).digest()
        by_hand.append(value)
    assert chains.extended().tobytes() == chains.extended(share=False).tobytes() == b"".join(by_hand)


def test_a_wrong_peer_is_found() -> None:
    chains = Chains.equal("sha256", 4, 2)
    with pytest.raises(DifferentResultsError, match="mine comes to other values"):
        Peer("mine", chains, chains.start).check()


def test_chain_lengths_are_those_of_the_log() -> None:
    log = Fleet(1, rounds=1).log(0, 1)
    events = [event.pcr for event in EventLog.read(log) if event.type_hint != event_types.EV_NO_ACTION]
    assert chain_lengths([log]).tolist() == [events.count(pcr) for pcr in range(24)]


@pytest.mark.parametrize("bank", list(BY_NAME))
@pytest.mark.parametrize("blocks", [1, 2, 64])
def test_messages_take_so_many_blocks(bank: str, blocks: int) -> None:
    messages = Messages.random(bank, blocks)
    assert messages.blocks == len(messages.batch) * blocks
    usage = _native.Usage(BY_NAME[bank].index)
    _native.hash_messages(messages.bank, messages.batch.blob, messages.batch.offsets, None, usage)
    assert sum(usage.counts.filled) == messages.blocks
    assert messages.ours().tobytes() == messages.hashlib().tobytes()


def test_plots_are_well_formed(tmp_path: Path) -> None:
    paths = bench("--quick", "--plots", str(tmp_path / "plots")).split()
    assert len(paths) == 4
    for path in paths:
        root = ElementTree.parse(path).getroot()
        assert root.tag.endswith("svg")
        assert len(root.findall(".//{*}polyline")) >= 2
        text = "".join(root.itertext())
        assert "pyverify" in text or "SHA-256" in text
        assert "nan" not in Path(path).read_text().replace("nanosecond", "")


def test_charts_escape_their_text() -> None:
    chart = line_chart("a < b & c", "x", "y", {"<series>": [(1, 1.5), (1024, 300)]}, x_base=2, y_base=10)
    text = list(ElementTree.fromstring(chart).itertext())
    assert "a < b & c" in text and "<series>" in text and "1024" in text


def test_bars_stand_beside_figures() -> None:
    case = "sha256-distinct-4096x64"
    lines = [
        Line("extend", case, "avx512", 1, 94.0, "cycles/extend", "limit", 83 / 94),
        Line("extend", case, "avx512", 1, 25.0, "ns/extend", "hashlib", 12.0),
        Line("extend", case, "avx2", 1, 999.0, "cycles/extend"),
    ]
    found = {(one.bar.what.split(",")[0], one.figure): one.is_met for one in held(lines)}
    assert found == {("cycles", 94.0): True, ("times hashlib", 12.0): False, ("avx2 forced: cycles", 999.0): False}


def test_markdown_is_a_table() -> None:
    text = bench("--quick", "--only", "scan", "--markdown", "--boots", "8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 6 and any("scan+replay+compare" in row and "python" in row for row in rows)


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

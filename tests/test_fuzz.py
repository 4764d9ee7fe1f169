"""The fuzz targets of tests/fuzz on their seeds and a few damaged forms of them, and that they find what they look for.

Runs without atheris: ``python tests/fuzz`` does the fuzzing.
"""

from __future__ import annotations

import dataclasses
import importlib
import random

import pytest
from conftest import ROOT, small_log
from fuzz import files, json_trees, logs, measured, rules
from fuzz.reader import Log, Measured, read_ima, read_log, replay, trace_ima
from fuzz.registry import C_TARGETS, PYTHON_TARGETS, python_targets
from fuzz.target import damaged, join, mutate_one_part, split

from pyverify.evidence.eventlog import EventLog

TARGETS = python_targets()


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_their_damaged_forms_break_nothing(name):
    seeds = list(TARGETS[name].seeds())
    assert seeds
    for seed in seeds:
        for data in (seed, *damaged(seed)):
            TARGETS[name].check(data)


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.mutate])
def test_mutations_stay_within_their_room_and_break_nothing(name):
    target, choose = TARGETS[name], random.Random(name)

    def own(data: bytes, most: int) -> bytes:
        return (data[: len(data) // 2] + choose.randbytes(3) + data[len(data) // 2 :])[:most]

    data = next(iter(target.seeds()))
    changed = 0
    for _ in range(60):
        mutated = target.mutate(data, target.max_len, choose.getrandbits(31), own)
        assert len(mutated) <= target.max_len
        target.check(mutated)
        changed += mutated != data
    assert changed > 40


def test_every_target_is_named_under_its_module():
    for module, names in PYTHON_TARGETS.items():
        assert tuple(importlib.import_module(f"fuzz.{module}").TARGETS) == names


def test_every_target_in_c_is_built_and_has_seeds():
    cmake = (ROOT / "tests" / "c" / "tests.cmake").read_text()
    (built,) = (line for line in cmake.splitlines() if "foreach(name eventlog" in line)
    assert built.strip() == f"foreach(name {' '.join(C_TARGETS)})"
    for name, (seeds, most) in C_TARGETS.items():
        assert (ROOT / "tests" / "c" / f"fuzz_{name}.c").exists()
        assert any(0 < len(seed) <= most for seed in seeds())


@pytest.mark.parametrize("what", ["events", "padding", "fault", "value", "bank"])
def test_a_reader_that_differs_is_found(monkeypatch, what):
    def other(data: bytes) -> Log:
        log = read_log(data)
        match what:
            case "events":
                log.entries.pop()
            case "padding":
                log.padding += 1
            case "fault":
                log.fault = True
            case "value":
                log.entries[3].digests["sha256"] = bytes(32)
            case "bank":
                log.algorithms = {4: 20, **log.algorithms}
        return log

    logs.check_log(small_log(["sha256"]))
    monkeypatch.setattr(logs, "read_log", other)
    with pytest.raises((AssertionError, ValueError)):
        logs.check_log(small_log(["sha256"]))


def test_an_ima_list_that_is_read_otherwise_is_found(monkeypatch):
    seed = next(measured.ima_seeds())
    monkeypatch.setattr(measured, "read_ima", lambda data, size: (read_ima(data, size)[0][1:], False))
    with pytest.raises(AssertionError):
        measured.check_ima(seed)


@pytest.mark.parametrize("what", ["hashed", "shown", "pcr", "value"])
def test_an_ima_list_that_is_hashed_or_replayed_otherwise_is_found(monkeypatch, what):
    def other(data: bytes, size: int) -> tuple[list[Measured], bool]:
        entries, broken = read_ima(data, size)
        change = {"hashed": {"hashed": b"x"}, "shown": {"shown": bytes(20)}, "pcr": {"pcr": 11}, "value": {}}[what]
        return [*entries[:1], *(dataclasses.replace(one, **change) for one in entries[1:])], broken

    seed = next(measured.ima_seeds())
    measured.check_ima(seed)
    monkeypatch.setattr(measured, "read_ima", other)
    if what == "value":
        monkeypatch.setattr(measured, "trace_ima", lambda *args, **more: trace_ima(*args, **more)[::-1])
    with pytest.raises(AssertionError):
        measured.check_ima(seed)


def test_mutated_lists_keep_their_framing():
    seed, whole, choose = next(measured.ima_seeds()), 0, random.Random(1)
    for _ in range(200):
        mutated = measured.mutate_list(seed, 8192, choose.getrandbits(31) | 1, lambda data, most: data)
        whole += not read_ima(mutated[1:], 20)[1]
    assert whole > 180


def test_another_boot_that_is_trusted_is_found(monkeypatch):
    evil = small_log(["sha256"], command_line=b"evil")
    rules.check_appraisal(evil)
    monkeypatch.setattr(rules, "KNOWN", rules.References.of([rules.of_log(evil, banks=("sha256",))]))
    with pytest.raises(AssertionError, match="another boot"):
        rules.check_appraisal(evil)


def test_mutated_logs_keep_their_framing():
    log, whole, choose = small_log(["sha1", "sha256"]), 0, random.Random(1)
    for _ in range(200):
        mutated = logs.mutate_entries(log, 8192, choose.getrandbits(31) & ~1, lambda data, most: data)
        whole += EventLog.read(mutated).fault is None
    assert whole > 150


def test_mutated_tars_keep_their_checksums():
    tar, choose, rows = next(files.archive_seeds()), random.Random(1), 0
    for _ in range(100):
        mutated = files.mutate_archive(tar, 32768, choose.getrandbits(31) | 1, lambda data, most: data)
        block = mutated[:512]
        rows += (
            int(block[148:154], 8) == sum(block[:148]) + 8 * 32 + sum(block[156:]) if block[257:262] == b"ustar" else 0
        )
    assert rows > 50


def test_parts_are_found_where_they_were_joined():
    assert split(join(b"a", b"", b"c" * 300), 3) == [b"a", b"", b"c" * 300]
    grown = mutate_one_part(2)(join(b"a", b"b"), 100, 8, lambda data, most: data + b"!")
    assert split(grown, 2) in ([b"a!", b"b"], [b"a", b"b!"])
    assert json_trees.mutate_json(b"{", 10, 0, lambda data, most: b"own") == b"own"


def test_the_reader_replays_as_the_recordings_say():
    log = read_log(small_log(["sha256"]))
    assert not log.fault and len(log.entries) == len(EventLog.parse(small_log(["sha256"])))
    assert any(replay(log, "sha256")[7])

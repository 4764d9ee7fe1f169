"""The suite under pytest-benchmark, small: ``pytest bench --benchmark-enable``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.archives import record_batches
from bench.baselines import AS_OF, POLICY, learn_into
from bench.chains import Chains
from bench.fleet import Fleet
from bench.hashing import Messages
from bench.ima import replayed
from bench.ima_lists import fleet
from pyverify import _native
from pyverify.algorithms import BY_NAME
from pyverify.appraise.appraisal import verify_batches
from pyverify.baseline.store import Store
from pyverify.evidence.columns import Ragged
from pyverify.replay import replay

Benchmark = Callable[..., Any]

_BOOTS = 200


def _logs() -> Ragged:
    return Ragged.of([boot.log for boot in Fleet(_BOOTS, rounds=1).round(1)])


@pytest.mark.parametrize("bank", list(BY_NAME))
def test_extend(benchmark: Benchmark, bank: str) -> None:
    chains = Chains.equal(bank, 1024, 16)
    benchmark(chains.extended)


def test_extend_unequal(benchmark: Benchmark) -> None:
    chains = Chains.spread("sha256", 1024, 1, 40)
    benchmark(chains.extended)


def test_extend_duplicates(benchmark: Benchmark) -> None:
    chains = Chains.duplicated("sha256", 64, 1024, 16)
    benchmark(chains.extended)


@pytest.mark.parametrize("bank", list(BY_NAME))
def test_hash(benchmark: Benchmark, bank: str) -> None:
    messages = Messages.random(bank, 16)
    benchmark(messages.ours)


def test_scan(benchmark: Benchmark) -> None:
    logs = _logs()
    rows, _ = benchmark(_native.scan, logs.blob, logs.offsets)
    assert not rows["fault"].any()


@pytest.mark.parametrize("banks", [["sha256"], None], ids=["sha256", "all"])
def test_replay(benchmark: Benchmark, banks: list[str] | None) -> None:
    assert not benchmark(replay, _logs(), banks).logs["fault"].any()


def test_ima(benchmark: Benchmark) -> None:
    lists = Ragged.of(list(fleet(_BOOTS, 150, 2_000)))
    assert benchmark(replayed, lists, "sha256").any(axis=1).all()


def test_appraisal(benchmark: Benchmark, tmp_path: Path) -> None:
    fleet, path = Fleet(_BOOTS, rounds=2), tmp_path / "store.db"
    learn_into(path, fleet)
    with Store.open(str(path)) as store:
        references = store.references()
    batches = list(record_batches(fleet.round(2), _BOOTS))

    def appraise() -> list[str]:
        (verdicts,) = verify_batches(batches, references=references, policy=POLICY, as_of=AS_OF)
        outcomes: list[str] = verdicts.column("verdict").to_pylist()
        return outcomes

    assert set(benchmark(appraise)) == {"trusted", "untrusted"}

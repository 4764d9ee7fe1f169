"""Bench ``million``: a hundred boots of each machine of a fleet streamed through the whole job, and what that takes.

Boots are made while they are read, so that no disk is in it; making them is told apart, as the share of reading.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench import machine
from bench.baselines import AS_OF, POLICY, learn_into
from bench.fleet import Fleet
from bench.memory_source import FleetSource
from bench.plan import Plan
from bench.results import DifferentResultsError, Line
from bench.stages import stage_seconds
from bench.worker import peak_mb
from pyverify.algorithms import BY_NAME
from pyverify.baseline.store import Store
from pyverify.fleet.job import BATCH_BYTES, BATCH_ROWS, Summary, run

_BENCH: Final = "million"
_ROUNDS: Final = 100
MEMORY_BAR_MB: Final = 1_000


def million(plan: Plan) -> Iterator[Line]:
    """Boots a second, peak memory and the share of each stage; a million boots unless the plan has another fleet."""
    machines, rounds = (plan.boots // 10, _ROUNDS // 5) if plan.quick else (plan.boots, _ROUNDS)
    fleet = Fleet(machines, rounds)
    isa = machine.isa(tuple(BY_NAME))
    with tempfile.TemporaryDirectory() as name:
        store = Path(name, "store.db")
        learn_into(store, fleet)
        done = _in_own_process(store, fleet, machine.cores())
    changed = sum(fleet.is_changed(one, rounds) for one in range(machines))
    if done["outcomes"] != {"trusted": len(fleet) - changed, "untrusted": changed}:
        raise DifferentResultsError(f"{done['outcomes']} of {len(fleet)} boots, {changed} of which went wrong")
    case = f"all-{len(fleet)}-boots-of-{machines}-machines"
    yield Line(_BENCH, f"{case}-job", isa, machine.cores(), len(fleet) / done["seconds"], "logs/s")
    yield Line(_BENCH, f"{case}-peak", isa, machine.cores(), done["peak_mb"], "MB")
    for stage, seconds in done["stages"].items():
        share = seconds / sum(done["stages"].values())
        yield Line(_BENCH, f"{case}-share-{stage}", isa, 1, share, "share")


def _in_own_process(store: Path, fleet: Fleet, jobs: int) -> dict[str, Any]:
    task = json.dumps([str(store), fleet.machines, fleet.rounds, jobs])
    command = [sys.executable, "-m", "bench.million", task]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parent.parent)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _work(store: str, machines: int, rounds: int, jobs: int) -> dict[str, Any]:
    with Store.open(store) as opened:
        references = opened.references()
    summary = Summary(POLICY.name, references.id, AS_OF)
    start = time.perf_counter()
    source = FleetSource(Fleet(machines, rounds))
    for _ in run(source, references=references, policy=POLICY, as_of=AS_OF, jobs=jobs, summary=summary):
        pass
    seconds = time.perf_counter() - start
    peak = peak_mb()
    few = FleetSource(Fleet(machines, min(rounds, 4)))
    stages = stage_seconds(few.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES), references)
    return {"seconds": seconds, "peak_mb": peak, "outcomes": dict(summary.outcomes), "stages": stages}


if __name__ == "__main__":
    print(json.dumps(_work(*json.loads(sys.argv[1]))))

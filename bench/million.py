"""Bench ``million``: a hundred boots of each machine of a fleet streamed through the whole job, and what that takes.

Boots are made while they are read, so that no disk is in it; making them is told apart, as the share of reading.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench import machine
from bench.archives import record_batches
from bench.baselines import AS_OF, POLICY, learn_into
from bench.fleet import Fleet
from bench.listed_fleet import ListedFleet
from bench.memory_source import StreamedSource
from bench.plan import Plan
from bench.quoted_fleet import QuotedFleet
from bench.results import DifferentResultsError, Line
from bench.signers import KINDS
from bench.stages import stage_seconds
from bench.worker import peak_mb
from pyverify.algorithms import BY_NAME
from pyverify.appraise.policy import Policy
from pyverify.baseline.store import Store
from pyverify.fleet.job import BATCH_BYTES, BATCH_ROWS, Summary, run

_BENCH: Final = "million"
_ROUNDS: Final = 100
_STAGE_ROUNDS: Final = 4
MEMORY_BAR_MB: Final = 1_000


@dataclass(frozen=True)
class Sent:
    """What machines send, the policy it is held against, how many boots went wrong, how baselines are learned."""

    source: StreamedSource
    policy: Policy
    changed: int
    learn: Callable[[Path], None]

    @classmethod
    def of(cls, case: str, machines: int, rounds: int) -> Sent:
        """A case by its name."""
        if case == "quotes":
            ecdsa = next(kind for kind in KINDS if kind.name == "ecdsa_p256")
            signing = QuotedFleet(ecdsa, machines, rounds)
            source = StreamedSource(len(signing), lambda rows: (quoted for quoted, _ in signing.batches(rows)))
            return cls(source, Policy.preset("archive"), 0, partial(signing.enroll, challenged=False))
        fleet = (ListedFleet if case == "ima" else Fleet)(machines, rounds)
        source = StreamedSource(len(fleet), lambda rows: record_batches(fleet.boots(), rows))
        changed = sum(fleet.is_changed(one, rounds) for one in range(machines))
        return cls(source, POLICY, changed, partial(learn_into, fleet=fleet))


CASES: Final = ("logs", "ima", "quotes")


def million(plan: Plan) -> Iterator[Line]:
    """Boots a second, peak memory and the share of each stage; a million boots unless the plan has another fleet."""
    machines, rounds = (plan.boots // 10, _ROUNDS // 5) if plan.quick else (plan.boots, _ROUNDS)
    for case in CASES:
        yield from _of_case(case, machines, rounds)


def _of_case(case: str, machines: int, rounds: int) -> Iterator[Line]:
    isa, cores = machine.isa(tuple(BY_NAME)), machine.cores()
    sent = Sent.of(case, machines, rounds)
    with tempfile.TemporaryDirectory() as name:
        store = Path(name, "store.db")
        sent.learn(store)
        done = _in_own_process(store, case, machines, rounds, cores)
    boots = sent.source.total
    if done["outcomes"] != {"trusted": boots - sent.changed} | ({"untrusted": sent.changed} if sent.changed else {}):
        raise DifferentResultsError(f"{case}: {done['outcomes']} of {boots} boots, {sent.changed} of which went wrong")
    name = f"all-{case}-{boots}-boots-of-{machines}-machines"
    yield Line(_BENCH, f"{name}-job", isa, cores, boots / done["seconds"], "boots/s")
    yield Line(_BENCH, f"{name}-peak", isa, cores, done["peak_mb"], "MB")
    for stage, seconds in done["stages"].items():
        yield Line(_BENCH, f"{name}-share-{stage}", isa, 1, seconds / sum(done["stages"].values()), "share")


def _in_own_process(store: Path, *task: Any) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.million", json.dumps([str(store), *task])]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parent.parent)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _work(store: str, case: str, machines: int, rounds: int, jobs: int) -> dict[str, Any]:
    sent = Sent.of(case, machines, rounds)
    with Store.open(store) as opened:
        references = opened.references()
    summary = Summary(sent.policy.name, references.id, AS_OF)
    start = time.perf_counter()
    for _ in run(sent.source, references=references, policy=sent.policy, as_of=AS_OF, jobs=jobs, summary=summary):
        pass
    seconds = time.perf_counter() - start
    peak = peak_mb()
    few = Sent.of(case, machines, min(rounds, _STAGE_ROUNDS)).source
    stages = stage_seconds(few.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES), references, sent.policy)
    return {"seconds": seconds, "peak_mb": peak, "outcomes": dict(summary.outcomes), "stages": stages}


if __name__ == "__main__":
    print(json.dumps(_work(*json.loads(sys.argv[1]))))

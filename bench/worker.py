"""One job in a process of its own, whose peak memory is its own: ``python -m bench.worker TASK``, a JSON object."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.baselines import AS_OF, POLICY
from bench.memory_source import MemorySource
from bench.stages import stage_seconds
from pyverify.baseline.store import Store
from pyverify.fleet.job import BATCH_BYTES, BATCH_ROWS, Summary, run
from pyverify.fleet.sources import Source, open_source


@dataclass(frozen=True, slots=True)
class Task:
    """What to do: the whole job, or with ``stages`` step by step; with ``hold`` all is read before it starts."""

    archive: str
    store: str
    jobs: int = 1
    hold: bool = False
    stages: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What it took. ``ready_mb`` is the peak before the job began: interpreter, libraries and references."""

    rows: int
    seconds: float
    references_seconds: float
    ready_mb: float
    peak_mb: float
    outcomes: dict[str, int]
    stages: dict[str, float] = field(default_factory=dict)


def in_own_process(task: Task) -> Done:
    """Runs a task in a fresh interpreter."""
    command = [sys.executable, "-m", "bench.worker", json.dumps(asdict(task))]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parent.parent)
    return Done(**json.loads(done.stdout))


def work(task: Task) -> Done:
    """Runs a task here."""
    start = time.perf_counter()
    with Store.open(task.store) as store:
        references = store.references()
    references.find([])  # lays out what the first look-up needs
    references_seconds = time.perf_counter() - start
    ready = peak_mb()
    source: Source = open_source(task.archive)
    held = source
    if task.hold:
        held = MemorySource(list(source.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES)))
    start = time.perf_counter()
    summary = Summary(POLICY.name, references.id, AS_OF)
    stages = {}
    if task.stages:
        stages = stage_seconds(held.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES), references)
    else:
        for _ in run(held, references=references, policy=POLICY, as_of=AS_OF, jobs=task.jobs, summary=summary):
            pass
    seconds = time.perf_counter() - start
    return Done(summary.rows, seconds, references_seconds, ready, peak_mb(), dict(summary.outcomes), stages)


def peak_mb() -> float:
    """The most memory this process ever had resident, in MB.

    Not ``ru_maxrss``: Linux starts that of a child at the parent's peak, when it was made by vfork.
    """
    found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


if __name__ == "__main__":
    print(json.dumps(asdict(work(Task(**json.loads(sys.argv[1]))))))

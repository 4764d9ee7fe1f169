"""Bench ``verify_parquet``: the whole job from an archive on disk, in each of its forms."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from bench import machine, peers
from bench.archives import WRITERS, write_parquet
from bench.baselines import POLICY, learn_into
from bench.fleet import Fleet
from bench.packed import packed
from bench.plan import Plan
from bench.results import DifferentResultsError, Line, Note
from bench.worker import Done, Task, in_own_process
from pyverify.algorithms import BY_NAME

_BENCH: Final = "verify_parquet"
_ROUNDS: Final = 4
_SAMPLES: Final = 3
"""Each is a process that also loads the references."""
MEMORY_BAR_MB: Final = 400
"""Whatever the archive's size."""


def verify_parquet(plan: Plan) -> Iterator[Line | Note]:
    """All figures of this bench."""
    fleet = Fleet(max(1, plan.boots // _ROUNDS), _ROUNDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = folder / "store.db"
        learn_into(store, fleet)
        expected = {boot.machine: peers.python_replay(boot.log) for boot in fleet.round(1)}
        for kind, write in WRITERS.items():
            archive = folder / kind
            write(fleet.boots(), archive)
            yield from _archive(plan, fleet, kind, archive, store, expected)
            if archive.is_dir():
                shutil.rmtree(archive)
            else:
                archive.unlink()
        yield from packed(plan, folder)
        if not plan.quick:
            yield from _bounded(plan, folder, store)


def _line(case: str, threads: int, value: float, unit: str) -> Line:
    return Line(_BENCH, case, machine.isa(tuple(BY_NAME)), threads, value, unit)


def _archive(
    plan: Plan, fleet: Fleet, kind: str, archive: Path, store: Path, expected: dict[str, peers.Values]
) -> Iterator[Line]:
    threads = list(dict.fromkeys((1, machine.cores())))
    done: dict[int, list[Done]] = {jobs: [] for jobs in threads}
    python: list[float] = []
    for _ in range(1 if plan.quick else _SAMPLES):
        for jobs in threads:
            done[jobs].append(_checked(fleet, Task(str(archive), str(store), jobs)))
        start = perf_counter()
        trusted = peers.python_job(archive, kind, expected, POLICY.pcrs_compare)
        python.append(perf_counter() - start)
        if trusted != done[1][0].outcomes["trusted"]:
            raise DifferentResultsError("plain Python trusts other boots")
    isa = machine.isa(tuple(BY_NAME))
    for jobs in threads:
        seconds = median(run.seconds for run in done[jobs])
        case, ratio = f"all-{kind}-{len(fleet)}-job", median(python) / seconds
        yield Line(_BENCH, case, isa, jobs, len(fleet) / seconds, "logs/s", "python", ratio)
        yield _line(case, jobs, seconds * 1e6 / (len(fleet) * fleet.mean_events()), "us/event")
        yield _line(f"all-{kind}-{len(fleet)}-peak", jobs, max(run.peak_mb for run in done[jobs]), "MB")
    stages = in_own_process(Task(str(archive), str(store), stages=True)).stages
    for name, seconds in stages.items():
        yield _line(f"all-{kind}-{len(fleet)}-share-{name}", 1, seconds / sum(stages.values()), "share")


def _checked(fleet: Fleet, task: Task) -> Done:
    """A run whose verdicts are as many as the boots, and bad where the fleet is."""
    done = in_own_process(task)
    changed = sum(fleet.is_changed(machine, fleet.rounds) for machine in range(fleet.machines))
    wanted = {"trusted": len(fleet) - changed, "untrusted": changed}
    if done.rows != len(fleet) or any(done.outcomes.get(name, 0) != count for name, count in wanted.items()):
        raise DifferentResultsError(f"{done.rows} verdicts of {len(fleet)} boots: {done.outcomes}, expected {wanted}")
    return done


def _bounded(plan: Plan, folder: Path, store: Path) -> Iterator[Line | Note]:
    """Peak memory by archive size: so many boots, four times as many, and four times as many machines too."""
    machines = plan.boots // _ROUNDS
    more = folder / "more.db"
    for count, rounds, baselines in (
        (machines, _ROUNDS, store),
        (machines, 4 * _ROUNDS, store),
        (4 * machines, _ROUNDS, more),
    ):
        fleet = Fleet(count, rounds)
        if not baselines.exists():
            learn_into(baselines, fleet)
        archive = folder / "memory.parquet"
        write_parquet(fleet.boots(), archive)
        done = _checked(fleet, Task(str(archive), str(baselines), machine.cores()))
        archive.unlink()
        case = f"all-parquet-{len(fleet)}-of-{count}-machines"
        yield _line(f"{case}-ready", machine.cores(), done.ready_mb, "MB")
        yield _line(f"{case}-peak", machine.cores(), done.peak_mb, "MB")
        yield _line(f"{case}-references", 1, done.references_seconds, "s")
        if done.peak_mb > MEMORY_BAR_MB:
            yield Note(_BENCH, f"{case}: {done.peak_mb:.0f} MB is above the bar of {MEMORY_BAR_MB} MB")

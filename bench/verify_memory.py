"""Bench ``verify_memory``: logs that are in memory already, as Arrow record batches, all distinct."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from bench import machine, peers
from bench.archives import record_batches, write_parquet
from bench.baselines import AS_OF, POLICY, learn_into
from bench.fleet import Fleet
from bench.plan import Plan
from bench.results import DifferentResultsError, Line, Note
from bench.stages import stage_seconds
from bench.timing import interleaved
from bench.worker import Task, in_own_process
from pyverify import _native
from pyverify.algorithms import BY_NAME
from pyverify.appraise.appraisal import verify_batches
from pyverify.appraise.log_checks import forget
from pyverify.baseline.references import References
from pyverify.baseline.store import Store
from pyverify.evidence.columns import Ragged
from pyverify.fleet.job import BATCH_ROWS, ordered_map
from pyverify.replay import replay

_BENCH: Final = "verify_memory"
_ALL: Final = tuple(BY_NAME)
_TPM2_LOGS: Final = 20


def verify_memory(plan: Plan) -> Iterator[Line | Note]:
    """All figures of this bench."""
    fleet = Fleet(plan.boots, rounds=2)
    with tempfile.TemporaryDirectory() as folder:
        store_path, archive = Path(folder, "store.db"), Path(folder, "second.parquet")
        learn_into(store_path, fleet)
        with Store.open(str(store_path)) as store:
            references = store.references()
        batches = list(record_batches(fleet.round(2), BATCH_ROWS))
        logs = [boot.log for boot in fleet.round(2)]
        _check(fleet, logs, batches, references)
        yield from _times(plan, fleet, logs, batches, references)
        stages = stage_seconds(batches, references)
        whole = sum(stages.values()) - stages["reading"]
        for name in list(stages)[1:]:
            yield _line(plan, f"share-{name}", 1, stages[name] / whole, "share")
        write_parquet(fleet.round(2), archive)
        done = in_own_process(Task(str(archive), str(store_path), hold=True))
        yield _line(plan, "peak-with-references", 1, done.ready_mb, "MB")
        yield _line(plan, "peak", 1, done.peak_mb, "MB")


def _case(plan: Plan, name: str, banks: str = "all") -> str:
    return f"{banks}-distinct-{plan.boots}-{name}"


def _line(plan: Plan, name: str, threads: int, value: float, unit: str) -> Line:
    return Line(_BENCH, _case(plan, name), machine.isa(_ALL), threads, value, unit)


def _check(fleet: Fleet, logs: Sequence[bytes], batches: list[Any], references: References) -> None:
    """That equal questions got equal answers, before anything is timed."""
    ours = replay(logs)
    for row, log in enumerate(logs):
        for bank, chain in peers.python_replay(log).items():
            if ours.values[bank][row].tobytes() != b"".join(chain):
                raise DifferentResultsError(f"log {row} leads to other {bank} PCRs in plain Python")
    verdicts = list(verify_batches(batches, references=references, policy=POLICY, as_of=AS_OF))
    outcomes = [outcome for batch in verdicts for outcome in batch.column("verdict").to_pylist()]
    wanted = ["untrusted" if fleet.is_changed(row, 2) else "trusted" for row in range(len(logs))]
    if outcomes != wanted:
        raise DifferentResultsError("the verdicts are not those that the fleet was made for")


def _times(
    plan: Plan, fleet: Fleet, logs: Sequence[bytes], batches: list[Any], references: References
) -> Iterator[Line | Note]:
    ragged = [Ragged.from_arrow(batch.column("event_log")) for batch in batches]
    expected = [peers.python_replay(boot.log) for boot in fleet.round(1)]
    pcrs = POLICY.pcrs_compare
    sha256 = frozenset(["sha256"])

    def appraise(batch: Any) -> Any:
        return next(verify_batches([batch], references=references, policy=POLICY, as_of=AS_OF))

    def again(threads: int) -> Callable[[], object]:
        return lambda: [len(verdicts) for verdicts in ordered_map(appraise, batches, threads)]

    def anew(threads: int) -> Callable[[], object]:
        def run() -> object:
            forget()
            return again(threads)()

        return run

    def python_appraisal() -> object:
        return [peers.python_appraise(*pair, pcrs) for pair in zip(logs, expected, strict=True)]

    cases: tuple[tuple[str, str, dict[int, Callable[[], object]], Callable[[], object]], ...] = (
        (
            "all",
            "scan",
            {1: lambda: [_native.scan(r.blob, r.offsets) for r in ragged]},
            lambda: [peers.python_scan(log) for log in logs],
        ),
        (
            "sha256",
            "scan+replay",
            {1: lambda: [replay(r, ["sha256"]) for r in ragged]},
            lambda: [peers.python_replay(log, sha256) for log in logs],
        ),
        (
            "all",
            "scan+replay",
            {1: lambda: [replay(r) for r in ragged]},
            lambda: [peers.python_replay(log) for log in logs],
        ),
        (
            "all",
            "appraisal",
            {threads: anew(threads) for threads in (1, machine.cores())},
            python_appraisal,
        ),
        ("all", "appraisal-again", {1: again(1)}, python_appraisal),
    )
    tpm2 = _tpm2_eventlog(logs)
    for banks, name, ours, theirs in cases:
        taken = interleaved({**{str(threads): run for threads, run in ours.items()}, "python": theirs}, plan.samples)
        case, isa = _case(plan, name, banks), machine.isa(_ALL if banks == "all" else (banks,))
        for threads in ours:
            seconds = taken[str(threads)]
            rate = len(logs) / seconds
            yield Line(_BENCH, case, isa, threads, rate, "logs/s", "python", taken["python"] / seconds)
            if tpm2 is not None and name != "scan" and banks == "all":
                yield Line(_BENCH, case, isa, threads, rate, "logs/s", "tpm2_eventlog", tpm2 * rate)
            per_event = seconds * 1e6 / (len(logs) * fleet.mean_events())
            yield Line(_BENCH, case, isa, threads, per_event, "us/event")
    if tpm2 is None:
        yield Note(_BENCH, "tpm2_eventlog is not installed: left out")


def _tpm2_eventlog(logs: Sequence[bytes]) -> float | None:
    """Seconds a log of the tool, once it agrees. PCR 0 is left out: version 5.4 ignores StartupLocality (SPEC 0.7)."""
    if not peers.tpm2_eventlog_is_here():
        return None
    sample = list(islice(logs, _TPM2_LOGS))
    seconds, printed = peers.tpm2_eventlog(sample)
    ours = replay(sample, ["sha256"])
    for row, values in enumerate(printed):
        if any(value != ours.values["sha256"][row, pcr].tobytes() for pcr, value in values.items() if pcr != 0):
            raise DifferentResultsError(f"log {row} leads to other PCRs in tpm2_eventlog")
    if not any(printed):
        raise DifferentResultsError("tpm2_eventlog printed no PCR")
    return seconds

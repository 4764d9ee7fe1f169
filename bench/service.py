"""Bench ``service``: evidence appraised one boot at a time, as it comes to a service, with and without its quote."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from bench import machine
from bench.baselines import AS_OF
from bench.plan import Plan
from bench.quoted_fleet import QuotedFleet
from bench.results import DifferentResultsError, Line, Note
from bench.signers import KINDS
from pyverify import Evidence, Policy, Store, Verdict, verify
from pyverify.appraise.log_checks import forget
from pyverify.baseline.ledger import Ledger
from pyverify.baseline.live import LiveReferences
from pyverify.baseline.references import References
from pyverify.evidence.bundle import Quote

_BENCH: Final = "service"
_BOOTS: Final = 200


def service(plan: Plan) -> Iterator[Line | Note]:
    """Latencies for each kind of key: every boot is of another machine and was never seen before."""
    for kind in KINDS:
        fleet = QuotedFleet(kind, min(plan.boots, _BOOTS))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "store.db")
            fleet.enroll(path)
            with Store.open(str(path)) as store:
                yield from _of_fleet(plan, fleet, store)


def _of_fleet(plan: Plan, fleet: QuotedFleet, store: Store) -> Iterator[Line]:
    references, ledger = store.references(), Ledger(store)
    quoted, bare = ([one for pair in fleet.batches() for one in _evidence(pair[side])] for side in (0, 1))
    log_only = replace(Policy.preset("log-only"), banks_required=(fleet.bank,))

    live = LiveReferences(store)

    def fresh(evidence: Evidence) -> Verdict:
        verdict = _verify(evidence, live.of(evidence.machine), Policy.preset("default"))
        standing: Verdict = ledger.consume(verdict, at=AS_OF)
        return standing

    cases: dict[str, tuple[Sequence[Evidence], Callable[[Evidence], Verdict]]] = {
        "log": (bare, lambda one: _verify(one, references, log_only)),
        "quote": (quoted, lambda one: _verify(one, references, Policy.preset("archive"))),
        "quote-spent": (quoted, fresh),
    }
    prefix = f"{fleet.kind.hash_name}-{fleet.kind.name}"
    for name, (evidence, appraise) in cases.items():
        yield from _lines(f"{prefix}-{name}", fleet.bank, _latencies(evidence, appraise))
    rereads = [_seconds(store.references) for _ in range(plan.short_samples)]
    yield _line(f"{prefix}-references-of-{len(fleet)}-p50", fleet.bank, float(np.median(rereads)))


def _evidence(batch: pa.RecordBatch) -> Iterator[Evidence]:
    for row in batch.select(["machine", "boot", "event_log", "boot_seq", "quotes"]).to_pylist():
        quotes = None if row["quotes"] is None else [Quote(**quote) for quote in row["quotes"]]
        yield Evidence(**{**row, "quotes": quotes})


def _verify(evidence: Evidence, references: References, policy: Policy) -> Verdict:
    return verify(evidence, references=references, policy=policy, as_of=AS_OF)


def _latencies(evidence: Sequence[Evidence], appraise: Callable[[Evidence], Verdict]) -> list[float]:
    """Seconds of each, after one that does not count."""
    appraise(evidence[0])
    forget()
    taken = []
    for one in evidence:
        start = time.perf_counter()
        verdict = appraise(one)
        taken.append(time.perf_counter() - start)
        if not verdict.trusted:
            raise DifferentResultsError(f"{one.machine} is {verdict.outcome}: {verdict.findings}")
    return taken


def _seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _lines(case: str, bank: str, taken: list[float]) -> Iterator[Line]:
    for percent in (50, 99):
        yield _line(f"{case}-p{percent}", bank, float(np.percentile(taken, percent)))


def _line(case: str, bank: str, seconds: float) -> Line:
    return Line(_BENCH, case, machine.isa((bank,)), 1, seconds * 1e3, "ms")

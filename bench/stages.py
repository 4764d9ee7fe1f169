"""Where the time of an appraisal goes, by calling its steps one by one besides the whole."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from bench.baselines import AS_OF, POLICY
from pyverify.algorithms import banks_of
from pyverify.appraise.appraisal import verify_batches
from pyverify.appraise.rows import evidence_ids, log_digests
from pyverify.baseline.references import References
from pyverify.evidence.columns import Ragged
from pyverify.replay import replay

STAGES: Final = ("reading", "scan+replay", "compare", "ids", "findings+columns")
"""The last is what remains of the whole."""


def stage_seconds(batches: Iterable[Any], references: References) -> dict[str, float]:
    """Seconds of each stage on one thread, in one pass over the batches."""
    taken = dict.fromkeys(STAGES, 0.0)
    waiting = iter(batches)
    while True:
        with _timed(taken, "reading"):
            batch = next(waiting, None)
        if batch is None:
            break
        rows = references.find(batch.column("machine").to_pylist())
        banks = int(np.bitwise_or.reduce(references.log_banks[rows[rows >= 0]], initial=np.uint32(0)))
        profile = references.profile[rows]
        with _timed(taken, "findings+columns"):
            next(verify_batches([batch], references=references, policy=POLICY, as_of=AS_OF))
        with _timed(taken, "scan+replay"):
            replayed = replay(batch.column("event_log"), banks_of(banks))
        with _timed(taken, "compare"):
            for bank, values in replayed.values.items():
                references.differs(bank, values, profile, POLICY.compare_mask | POLICY.report_mask)
        with _timed(taken, "ids"):
            logs = Ragged.from_arrow(batch.column("event_log"))
            evidence_ids(batch, logs.present, log_digests(logs))
    steps = sum(taken[name] for name in ("scan+replay", "compare", "ids"))
    taken["findings+columns"] = max(0.0, taken["findings+columns"] - steps)
    return taken


@contextmanager
def _timed(taken: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        taken[name] += time.perf_counter() - start

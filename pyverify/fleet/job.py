"""The batch job: an archive in, verdict rows out, reading and appraisal overlapping, memory bounded."""

from __future__ import annotations

import datetime
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from pyverify.appraise.appraisal import verify_batches
from pyverify.appraise.policy import Policy
from pyverify.appraise.verdict import Outcome
from pyverify.baseline.references import References
from pyverify.fleet.sources import Source

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

BATCH_ROWS: Final = 512
"""Boots a batch: at 30 KB a log some 15 MB, in which a few tiles of work and the cost of a call both vanish."""
BATCH_BYTES: Final = 16 << 20
"""Evidence a batch, which with the batches in flight bounds a job's memory."""


@dataclass(slots=True)
class Summary:
    """What a job did. ``outcomes`` counts verdict rows by outcome."""

    policy: str
    references_id: bytes
    as_of: datetime.datetime
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """Verdict rows in all."""
        return self.outcomes.total()

    @property
    def exit_code(self) -> int:
        """0 all trusted, 1 something untrusted, 3 nothing untrusted but not all trusted (DESIGN section 9).

        An archive without any boot is not all trusted: whoever named the wrong folder must not be told that all is
        well.
        """
        if self.outcomes[Outcome.UNTRUSTED]:
            return 1
        return 0 if 0 < self.rows == self.outcomes[Outcome.TRUSTED] else 3


def default_jobs() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def run(
    source: Source, *, references: References, policy: Policy, as_of: datetime.datetime, jobs: int, summary: Summary
) -> Iterator[pa.RecordBatch]:
    """Verdict batches of an archive, in its order; ``summary`` is brought up to date as they come.

    Raises:
        ArchiveError: the archive breaks as a container; the verdicts of all that was read before have been yielded.
    """

    def appraise(batch: pa.RecordBatch) -> pa.RecordBatch:
        return next(verify_batches([batch], references=references, policy=policy, as_of=as_of))

    batches = source.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES)
    for verdicts in ordered_map(appraise, batches, jobs):
        for count in pc.value_counts(verdicts.column("verdict")).to_pylist():
            summary.outcomes[count["values"]] += count["counts"]
        yield verdicts


def ordered_map(function: Callable[[_Item], _Result], items: Iterable[_Item], jobs: int) -> Iterator[_Result]:
    """``map`` over threads, in order, with at most ``jobs`` + 1 items in flight: a slow consumer slows the reader."""
    if jobs == 1:
        yield from map(function, items)
        return
    source = iter(items)
    failure: Exception | None = None
    with ThreadPoolExecutor(jobs, thread_name_prefix="appraise") as pool:
        pending: deque[Future[_Result]] = deque()
        while True:
            while failure is None and len(pending) <= jobs:
                try:
                    pending.append(pool.submit(function, next(source)))
                except StopIteration:
                    break
                except Exception as error:
                    failure = error
            if not pending:
                break
            yield pending.popleft().result()
    if failure is not None:
        raise failure

"""The batch job: an archive in, verdict rows out, reading and appraisal overlapping, memory bounded."""

from __future__ import annotations

import datetime
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar, runtime_checkable

import pyarrow as pa
import pyarrow.compute as pc

from pyverify.appraise.appraisal import Appraisal
from pyverify.appraise.policy import Policy
from pyverify.appraise.verdict import VERDICT_SCHEMA, Outcome
from pyverify.appraise.verdict_table import lowered
from pyverify.baseline.ledger import Ledger
from pyverify.baseline.place import Reached
from pyverify.baseline.references import References
from pyverify.errors import ArchiveError
from pyverify.findings import Finding
from pyverify.fleet.booted import BootedSequence
from pyverify.fleet.quote_facts import QUOTE_FACTS, quote_facts, spent, with_rows_from
from pyverify.fleet.sequence import QuoteSequence
from pyverify.fleet.sources import Source
from pyverify.fleet.spool import Spool

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

BATCH_ROWS: Final = 1024
"""Boots a batch: some 11 MB of logs, in which the cost of a thousand calls of NumPy and Arrow nearly vanishes."""
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


Appraised = tuple[pa.RecordBatch, pa.RecordBatch, pa.RecordBatch]
"""Verdicts of a batch, and the facts of its quotes and boots for the second pass."""


@runtime_checkable
class Elsewhere(Protocol):
    """An archive whose rows are appraised by others, such as the workers of a cluster."""

    def appraised(self, references: References, policy: Policy, as_of: datetime.datetime) -> Iterator[Appraised]:
        """What :func:`appraise` gives for each batch of the archive, in its order."""


def appraise(batch: pa.RecordBatch, references: References, policy: Policy, as_of: datetime.datetime) -> Appraised:
    """The first pass over a batch of evidence, wherever it runs."""
    appraisal = Appraisal(batch, references, policy, as_of)
    return appraisal.verdicts(), quote_facts(appraisal.attestation, batch), appraisal.booted()


def default_jobs() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def run(
    source: Source | Elsewhere,
    *,
    references: References,
    policy: Policy,
    as_of: datetime.datetime,
    jobs: int,
    summary: Summary,
    ledger: Ledger | None = None,
    remember: Callable[[Sequence[Reached]], None] = lambda reached: None,
    watch: Callable[[int], None] = lambda rows: None,
) -> Iterator[pa.RecordBatch]:
    """Verdict batches of an archive, in its order; ``summary`` is brought up to date as they come.

    Where quotes are judged, or something that was superseded is still allowed, there are two passes: rules that need
    other rows (one nonce for two quotes, clocks that go back, a machine that goes back) can only be looked at when all
    rows have been seen, and only then are nonces spent. Until then verdicts wait in a file without a name.

    Args:
        source: the archive, or one that others appraise.
        references: what to compare with.
        policy: what must hold.
        as_of: the time of the verdicts.
        jobs: threads here.
        summary: what becomes of it.
        ledger: where the nonces of fresh quotes are spent; None spends none.
        remember: gets what machines have booted, of what is to be known in later jobs.
        watch: is called with the number of rows that have been appraised.

    Raises:
        ArchiveError: the archive breaks as a container; the verdicts of all that was read before have been yielded.
        StoreError: the ledger cannot be written to.
    """

    if isinstance(source, Elsewhere):
        first_pass = source.appraised(references, policy, as_of)
    else:
        batches = source.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES)
        first_pass = ordered_map(lambda batch: appraise(batch, references, policy, as_of), batches, jobs)
    appraised = _watched(first_pass, watch)
    if policy.quote == "no" and not references.in_grace(as_of).any():
        verdicts: Iterator[pa.RecordBatch] = (batch for batch, _, _ in appraised)
    else:
        pass_ = _SecondPass(references, ledger if policy.quote == "fresh" else None, as_of, policy.age_limit)
        verdicts = pass_.verdicts(appraised, remember)
    for batch in verdicts:
        for count in pc.value_counts(batch.column("verdict")).to_pylist():
            summary.outcomes[count["values"]] += count["counts"]
        yield batch


def _watched(appraised: Iterator[Appraised], watch: Callable[[int], None]) -> Iterator[Appraised]:
    rows = 0
    for verdicts, *facts in appraised:
        rows += len(verdicts)
        watch(rows)
        yield verdicts, facts[0], facts[1]


@dataclass(frozen=True, slots=True)
class _SecondPass:
    """What is known only when all rows have been seen."""

    references: References
    ledger: Ledger | None
    as_of: datetime.datetime
    max_age: datetime.timedelta

    def verdicts(
        self, appraised: Iterator[Appraised], remember: Callable[[Sequence[Reached]], None]
    ) -> Iterator[pa.RecordBatch]:
        """The verdicts, lowered by what boots and quotes say of each other, and by nonces that others have spent."""
        broken: ArchiveError | None = None
        booted = BootedSequence(self.references)
        with QuoteSequence() as sequence, Spool(VERDICT_SCHEMA) as verdicts, Spool(QUOTE_FACTS) as quotes:
            rows = 0
            try:
                for verdict_batch, quote_batch, boot_batch in appraised:
                    numbered = with_rows_from(quote_batch, rows)
                    sequence.add(numbered)
                    verdicts.write(verdict_batch)
                    quotes.write(numbered)
                    booted.add(boot_batch, rows)
                    rows += len(verdict_batch)
            except ArchiveError as error:
                broken = error
            against: dict[int, list[Finding]] = {}
            went_back, reached = booted.judge()
            for row, finding in (*went_back, *sequence.findings()):
                against.setdefault(row, []).append(finding)
            remember(reached)
            yield from self._lowered(verdicts, quotes, against)
        if broken is not None:
            raise broken

    def _lowered(self, verdicts: Spool, quotes: Spool, against: dict[int, list[Finding]]) -> Iterator[pa.RecordBatch]:
        first = 0
        for batch, own in zip(verdicts.read(), quotes.read(), strict=True):
            if self.ledger is not None:
                attested = batch.column("attested")
                for row, finding in spent(self.ledger, own, attested, first, self.as_of, self.max_age):
                    against.setdefault(row, []).append(finding)
            here = {row - first: against[row] for row in range(first, first + len(batch)) if row in against}
            yield lowered(batch, here)
            first += len(batch)


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

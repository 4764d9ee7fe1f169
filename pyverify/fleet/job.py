"""The batch job: an archive in, verdict rows out, reading and appraisal overlapping, memory bounded."""

from __future__ import annotations

import datetime
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat
from typing import Final, Literal, Protocol, TypeVar, runtime_checkable

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
from pyverify.fleet.expected import absent_verdicts
from pyverify.fleet.journal import Appraised, Journal, rows_digest
from pyverify.fleet.list_facts import facts_without_list, list_facts
from pyverify.fleet.quote_facts import QUOTE_FACTS, quote_facts, spent, with_rows_from
from pyverify.fleet.sequence import ListSequence, QuoteSequence
from pyverify.fleet.sources import Source
from pyverify.fleet.spool import Spool

FailOn = Literal["untrusted", "unmeasured", "never"]
"""What makes a run fail: something untrusted, that or anything else that is not trusted, or nothing."""

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
    so_far: Counter[str] = field(default_factory=Counter)
    """Of rows that were appraised, before what is known only when all are."""
    kept: int = 0
    """Rows whose verdicts were kept of a run that was interrupted."""

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
        return self.exit_code_if("unmeasured")

    def exit_code_if(self, fail_on: FailOn) -> int:
        """The same where less is a failure: only ``untrusted``, or nothing (``never``).

        An archive without any boot fails all the same, unless nothing does.
        """
        if fail_on == "never":
            return 0
        if self.outcomes[Outcome.UNTRUSTED]:
            return 1
        is_good = self.rows == self.outcomes[Outcome.TRUSTED] or fail_on == "untrusted"
        return 0 if self.rows and is_good else 3


@runtime_checkable
class Elsewhere(Protocol):
    """An archive whose rows are appraised by others, such as the workers of a cluster."""

    def appraised(self, references: References, policy: Policy, as_of: datetime.datetime) -> Iterator[Appraised]:
        """What :func:`appraise` gives for each batch of the archive, in its order."""


def appraise(
    batch: pa.RecordBatch, references: References, policy: Policy, as_of: datetime.datetime, *, digested: bool = False
) -> Appraised:
    """The first pass over a batch of evidence, wherever it runs; ``digested``: with the digest of its rows."""
    appraisal = Appraisal(batch, references, policy, as_of)
    verdicts = appraisal.verdicts()
    digest = rows_digest(batch, appraisal.ids) if digested else b""
    quotes = quote_facts(appraisal.attestation, batch, appraisal.ima.proven)
    return Appraised(digest, verdicts, quotes, appraisal.booted(), list_facts(verdicts, appraisal.ima.entries))


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
    journal: Journal | None = None,
    expected: Iterable[str] = (),
) -> Iterator[pa.RecordBatch]:
    """Verdict batches of an archive, in its order; ``summary`` is brought up to date as they come.

    Where quotes are judged, or something that was superseded is still allowed, there are two passes: rules that need
    other rows (one nonce for two quotes, clocks that go back, a machine that goes back) can only be looked at when all
    rows have been seen, and only then are nonces spent. Until then verdicts wait in a file without a name. Where
    neither is so, they wait from the first IMA list on only: those of a boot must not shrink.

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
        journal: keeps what is appraised, and has what was kept before; it is bound to these references, policy and
            time.
        expected: machines of which something should be there; those that sent nothing come last, as ``unmeasured``.

    Raises:
        ArchiveError: the archive breaks as a container; the verdicts of all that was read before have been yielded.
        StoreError: the ledger cannot be written to.
        OutputError: the journal cannot be read or written.
    """
    if isinstance(source, Elsewhere):
        appraised = _watched(((one, False) for one in source.appraised(references, policy, as_of)), summary, watch)
    else:
        batches = source.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES)
        kept = iter(()) if journal is None else journal.finished()
        items = zip(batches, chain(kept, repeat(None)), strict=False)
        first = partial(_appraise, references, policy, as_of, journal is not None)
        appraised = _watched(ordered_map(first, items, jobs), summary, watch)
        appraised = appraised if journal is None else journal.recorded(appraised)
    pass_ = _SecondPass(references, ledger if policy.quote == "fresh" else None, as_of, policy.age_limit)
    if has_second_pass(references, policy, as_of):
        verdicts = pass_.verdicts(appraised, remember)
    else:
        verdicts = pass_.verdicts_from_first_list(appraised, remember)
    missing = set(expected)
    for batch in chain(verdicts, _absent(missing, references, policy, as_of)):
        missing.difference_update(batch.column("machine").to_pylist() if missing else ())
        _count(batch, summary.outcomes)
        yield batch


def _appraise(
    references: References,
    policy: Policy,
    as_of: datetime.datetime,
    is_kept: bool,
    item: tuple[pa.RecordBatch, Appraised | None],
) -> tuple[Appraised, bool]:
    """A batch appraised, or what was kept of it if its rows are still the same; and which of the two."""
    batch, before = item
    if before is not None and before.digest == rows_digest(batch):
        return before, True
    return appraise(batch, references, policy, as_of, digested=is_kept), False


def has_second_pass(references: References, policy: Policy, as_of: datetime.datetime) -> bool:
    """Whether some rules need all rows for certain, so that the store may be written to once they have been seen."""
    return policy.quote != "no" or bool(references.in_grace(as_of).any())


def _absent(
    missing: set[str], references: References, policy: Policy, as_of: datetime.datetime
) -> Iterator[pa.RecordBatch]:
    """Verdicts on those machines that are still missing when this is asked for."""
    yield from absent_verdicts(sorted(missing), references, policy, as_of)


def _watched(
    appraised: Iterator[tuple[Appraised, bool]], summary: Summary, watch: Callable[[int], None]
) -> Iterator[Appraised]:
    for batch, was_kept in appraised:
        _count(batch.verdicts, summary.so_far)
        summary.kept += len(batch.verdicts) if was_kept else 0
        watch(summary.so_far.total())
        yield batch


def _count(verdicts: pa.RecordBatch, outcomes: Counter[str]) -> None:
    for count in pc.value_counts(verdicts.column("verdict")).to_pylist():
        outcomes[count["values"]] += count["counts"]


class _Lists(ListSequence):
    """The IMA lists of a job; rows without one count, and cost, nothing until there is one."""

    def __init__(self) -> None:
        super().__init__()
        self._is_any = False

    def add_of(self, batch: Appraised, first: int) -> None:
        """Takes those of a batch whose first row is row ``first``."""
        self._is_any = self._is_any or len(batch.lists) > 0
        if self._is_any:
            for facts in (batch.lists, facts_without_list(batch.verdicts, batch.lists)):
                self.add(with_rows_from(facts, first))


@dataclass(frozen=True, slots=True)
class _SecondPass:
    """What is known only when all rows have been seen."""

    references: References
    ledger: Ledger | None
    as_of: datetime.datetime
    max_age: datetime.timedelta

    def verdicts_from_first_list(
        self, appraised: Iterator[Appraised], remember: Callable[[Sequence[Reached]], None]
    ) -> Iterator[pa.RecordBatch]:
        """The same where only IMA lists can say anything of each other: verdicts before the first do not wait."""
        for batch in appraised:
            if len(batch.lists):
                yield from self.verdicts(chain((batch,), appraised), remember)
                return
            yield batch.verdicts

    def verdicts(
        self, appraised: Iterator[Appraised], remember: Callable[[Sequence[Reached]], None]
    ) -> Iterator[pa.RecordBatch]:
        """The verdicts, lowered by what boots, quotes and lists say of each other, and by nonces that others spent."""
        broken: ArchiveError | None = None
        booted = BootedSequence(self.references, self.as_of)
        with (
            QuoteSequence() as sequence,
            _Lists() as lists,
            Spool(VERDICT_SCHEMA) as verdicts,
            Spool(QUOTE_FACTS) as quotes,
        ):
            rows = 0
            try:
                for batch in appraised:
                    numbered = with_rows_from(batch.quotes, rows)
                    sequence.add(numbered)
                    verdicts.write(batch.verdicts)
                    quotes.write(numbered)
                    booted.add(batch.booted, rows)
                    lists.add_of(batch, rows)
                    rows += len(batch.verdicts)
            except ArchiveError as error:
                broken = error
            against: dict[int, list[Finding]] = {}
            went_back, reached = booted.judge()
            for row, finding in chain(went_back, sequence.findings(), lists.findings()):
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

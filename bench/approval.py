"""Bench ``approval``: one change approved across a fleet, and what it costs to compare with many baselines."""

from __future__ import annotations

import datetime
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa

from bench import machine
from bench.baselines import POLICY
from bench.plan import Plan
from bench.results import DifferentResultsError, Line
from bench.templates import templates
from bench.timing import interleaved
from pyverify.appraise.appraisal import verify_batches
from pyverify.baseline.edits import Edit, Event, events_of
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.baseline.model import Allowed, Baseline, EventSequence, State, event_sequences
from pyverify.baseline.references import References
from pyverify.baseline.selection import Selection
from pyverify.baseline.store import Store
from pyverify.baseline.supersede import GRACE, Old
from pyverify.evidence.bundle import Evidence, evidence_batch
from pyverify.evidence.eventlog import EventLog

_BENCH: Final = "approval"
_AT: Final = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
_LOADER: Final = 4
_DISTINCT: Final = (1, 100, 10_000)
"""Different baselines of as many boots as are compared."""


def approval(plan: Plan) -> Iterator[Line]:
    """Seconds of one approval for all machines of a fleet, by how many of them have a baseline of their own; and the
    time of a boot against one of few or of many different baselines."""
    machines = 10_000 if plan.quick else 100_000
    for distinct in (1, machines // 100):
        yield from _approve(machines, distinct)
    yield from _compare(plan)


def _baseline(name: str, allowed: tuple[EventSequence, ...]) -> Baseline:
    return Baseline(
        scope="machine",
        id=name,
        version=1,
        state=State.ACTIVE,
        allowed=tuple((Allowed(sequence),) for sequence in allowed),
        log_banks=("sha256",),
        quoted_banks=(),
        boot="boot-1",
        evidence_id=bytes(32),
    )


def _own(sequences: tuple[EventSequence, ...], number: int) -> tuple[EventSequence, ...]:
    """The sequences of a machine that has something of its own in PCR 14."""
    digest = number.to_bytes(32)
    own = EventSequence(0, (0xD,), ("own",), {"sha256": digest})
    return (*sequences[:14], own, *sequences[15:])


def _approve(machines: int, distinct: int) -> Iterator[Line]:
    sequences = event_sequences(EventLog.parse(templates()[0].log))
    kinds = [_own(sequences, number) for number in range(distinct)]
    old = events_of(sequences[_LOADER], ("sha256",))
    new = Event(old[-1].type, old[-1].text, (("sha256", b"\1" * 32),))
    edit = Edit(_LOADER, old[-2], (old[-1],), (new,), None)
    with tempfile.TemporaryDirectory() as folder, Store.open(str(Path(folder, "s.db")), create=True) as store:
        store.add([_baseline(f"m{n:07}", kinds[n % distinct]) for n in range(machines)], action="learn")
        start = time.perf_counter()
        done = Lifecycle(store).approve(
            Selection(everyone=True), [edit], at=_AT, old=Old(_AT + GRACE), who="bench", reason="new loader"
        )
        approved = time.perf_counter() - start
        start = time.perf_counter()
        references = store.references()
        frozen = time.perf_counter() - start
        if done.concerned != machines or len(references) != machines:
            raise DifferentResultsError(f"{done.concerned} of {machines} baselines have a new version")
    case = f"sha256-{machines}-machines-{distinct}-kinds"
    isa = machine.isa(("sha256",))
    yield Line(_BENCH, f"{case}-approve", isa, 1, approved, "s")
    yield Line(_BENCH, f"{case}-references", isa, 1, frozen, "s")


def _compare(plan: Plan) -> Iterator[Line]:
    """Boots that are as their baselines say, of which there are few or many; the peer is the fleet with one."""
    log = templates()[0].log
    sequences = event_sequences(EventLog.parse(log))
    boots = min(_DISTINCT[-1], plan.boots)
    batches = [
        evidence_batch([Evidence(f"m{n:07}", "2", event_log=log) for n in range(first, min(first + 1024, boots))])
        for first in range(0, boots, 1024)
    ]
    functions = {}
    for distinct in _DISTINCT:
        known = min(distinct, boots)
        # What a machine has of its own is in a PCR that is not compared, so that one log fits all.
        own = (EventSequence(0, (0xD,), ("own",), {"sha256": number.to_bytes(32)}) for number in range(known))
        kinds = [(*sequences[:16], one, *sequences[17:]) for one in own]
        baselines = [_baseline(f"m{n:07}", kinds[n % known]) for n in range(boots)]
        functions[distinct] = _verifier(batches, References.of(baselines))
    seconds = interleaved({str(distinct): function for distinct, function in functions.items()}, plan.short_samples)
    for distinct in _DISTINCT:
        ratio = seconds[str(_DISTINCT[0])] / seconds[str(distinct)]
        case = f"sha256-{boots}-boots-of-{distinct}-baselines"
        value = seconds[str(distinct)] / boots * 1e6
        yield Line(_BENCH, case, machine.isa(("sha256",)), 1, value, "us/boot", "one baseline", ratio)


def _verifier(batches: list[pa.RecordBatch], references: References) -> Callable[[], None]:
    def run() -> None:
        for verdicts in verify_batches(batches, references=references, policy=POLICY, as_of=_AT):
            if set(verdicts.column("verdict").to_pylist()) != {"trusted"}:
                raise DifferentResultsError("a boot that is as its baseline says is not trusted")

    return run

"""Bench ``scan``: logs that lie in memory, read, replayed in one bank, compared, their data checked; no verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bench import machine, peers, threads
from bench.chains import Bytes
from bench.cycles import sampled
from bench.event_data import event_data
from bench.fleet import Fleet
from bench.plan import Plan
from bench.results import DifferentResultsError, Line, Note
from bench.templates import templates
from pyverify import _native
from pyverify.algorithms import BY_NAME, PCRS
from pyverify.evidence.columns import Ragged

_BENCH: Final = "scan"
_MOST_LOGS: Final = 2_000
_BATCH: Final = 128
_BANK: Final = "sha256"
_ALL_PCRS: Final = (1 << PCRS) - 1
_TPM2_LOGS: Final = 10
_ONE_BANK: Final = frozenset([_BANK])


@dataclass(frozen=True)
class Batch:
    """Logs, and what each is expected to lead to."""

    logs: Ragged
    set_at: npt.NDArray[np.uint64]
    members: npt.NDArray[np.uint32]
    allowed: Bytes

    @classmethod
    def of(cls, logs: Sequence[bytes], expected: Sequence[peers.Values]) -> Batch:
        """Each log is held against values of its own: 24 sets of one."""
        count = len(logs) * PCRS
        values = b"".join(value for one in expected for value in one[_BANK])
        return cls(
            Ragged.of(list(logs)),
            np.arange(count + 1, dtype=np.uint64),
            np.arange(count, dtype=np.uint32),
            np.frombuffer(values, np.uint8).reshape(count, -1),
        )

    def scan(self) -> Any:
        """Reads the logs."""
        return _native.scan(self.logs.blob, self.logs.offsets)

    def differs(self) -> npt.NDArray[np.uint32]:
        """Reads, replays and compares: the PCRs of each log that are not as expected."""
        values = _native.replay(self.logs.blob, self.logs.offsets, 1 << BY_NAME[_BANK].index)[1][_BANK]
        rows = np.arange(len(self.logs), dtype=np.uint32)
        return _native.compare(values, rows, self.set_at, self.members, self.allowed, _ALL_PCRS)


def scan(plan: Plan) -> Iterator[Line | Note]:
    """All figures of this bench."""
    sources = tuple(one for one in templates() if _BANK in peers.python_replay(one.log, _ONE_BANK))
    fleet = Fleet(min(plan.boots, _MOST_LOGS), rounds=1, sources=sources)
    logs = [boot.log for boot in fleet.round(1)]
    expected = [peers.python_replay(log, _ONE_BANK) for log in logs]
    batches = [Batch.of(logs[i : i + _BATCH], expected[i : i + _BATCH]) for i in range(0, len(logs), _BATCH)]
    counts = [count for batch in batches for count in batch.scan()[0]["n_events"].tolist()]
    _check(logs, batches, counts)

    def compare() -> None:
        for log, values in zip(logs, expected, strict=True):
            if peers.python_replay(log, _ONE_BANK)[_BANK] != values[_BANK]:
                raise DifferentResultsError("plain Python comes to other values than before")

    tpm2 = _tpm2_eventlog(logs)
    sizes = sum(counts), sum(map(len, logs))
    all_ = f"distinct-{len(logs)}"
    yield from _measured(
        plan,
        f"all-{all_}-scan",
        lambda: [batch.scan() for batch in batches],
        lambda: [peers.python_scan(log) for log in logs],
        sizes,
        None,
    )
    case = f"{_BANK}-{all_}-scan+replay+compare"
    yield from _measured(plan, case, lambda: [batch.differs() for batch in batches], compare, sizes, tpm2)
    taken = threads.sampled(
        lambda first, last: [batch.differs() for batch in batches[first:last]], len(batches), 1, plan.short_samples
    )
    yield from threads.lines(_BENCH, f"{case}-threads", machine.isa((_BANK,)), "event", taken, sizes[0])
    yield from event_data(plan, logs)
    if tpm2 is None:
        yield Note(_BENCH, "tpm2_eventlog is not installed: left out")


def _measured(
    plan: Plan,
    case: str,
    ours: Callable[[], object],
    python: Callable[[], object],
    sizes: tuple[int, int],
    tpm2: float | None,
) -> Iterator[Line]:
    """The lines of a case; sizes are events and bytes, ``tpm2`` seconds an event."""
    events, size = sizes
    isa = machine.isa((_BANK,))
    taken = sampled({"": ours, "python": python}, plan.short_samples)
    seconds = taken[""].seconds
    per_event = seconds * 1e6 / events
    yield Line(_BENCH, case, isa, 1, per_event, "us/event", "python", taken["python"].seconds / seconds)
    if tpm2 is not None:
        yield Line(_BENCH, case, isa, 1, per_event, "us/event", "tpm2_eventlog", tpm2 * 1e6 / per_event)
    yield Line(_BENCH, case, isa, 1, size / seconds / 1e9, "GB/s")


def _check(logs: Sequence[bytes], batches: Sequence[Batch], counts: Sequence[int]) -> None:
    if [peers.python_scan(log) for log in logs] != counts:
        raise DifferentResultsError("plain Python counts other events")
    if any(batch.differs().any() for batch in batches):
        raise DifferentResultsError("the PCRs are not those that plain Python comes to")


def _tpm2_eventlog(logs: Sequence[bytes]) -> float | None:
    """Seconds an event of the tool, once it agrees."""
    if not peers.tpm2_eventlog_is_here():
        return None
    some = list(islice(logs, _TPM2_LOGS))
    seconds, printed = peers.tpm2_eventlog(some)
    wanted = [peers.python_replay(log, _ONE_BANK)[_BANK] for log in some]
    for values, expected in zip(printed, wanted, strict=True):
        # Version 5.4 ignores StartupLocality, which PCR 0 begins with.
        if not values or any(value != expected[pcr] for pcr, value in values.items() if pcr != 0):
            raise DifferentResultsError("tpm2_eventlog comes to other values")
    return seconds / (sum(map(peers.python_scan, some)) / len(some))

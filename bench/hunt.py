"""Bench ``hunt``: digests and a text looked for in logs that lie in memory as an archive does, beside reading them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from bench.archives import record_batches
from bench.cycles import sampled
from bench.fleet import Fleet
from bench.memory_source import MemorySource
from bench.plan import Plan
from bench.results import DifferentResultsError, Line, Note
from bench.templates import templates
from pyverify import _native
from pyverify.algorithms import BY_NAME
from pyverify.evidence.columns import Ragged
from pyverify.evidence.eventlog import EventLog
from pyverify.fleet.hunt import Hunt, hunt
from pyverify.fleet.job import BATCH_ROWS
from pyverify.fleet.needles import Needles

_BENCH: Final = "hunt"
_BANK: Final = "sha256"
_MANY: Final = 400  # hashes of a dbx
_TEXT: Final = "init=/bin/sh"


def hunt_(plan: Plan) -> Iterator[Line | Note]:
    """All figures of this bench."""
    sources = tuple(one for one in templates() if _BANK in EventLog.parse(one.log).banks)
    fleet = Fleet(plan.boots, rounds=2, sources=sources)
    batches = list(record_batches(fleet.round(2), BATCH_ROWS))
    logs = [boot.log for boot in fleet.round(2)]
    source = MemorySource(batches)

    def scan() -> int:
        events = 0
        for batch in batches:
            column = Ragged.from_arrow(batch.column("event_log"))
            events += len(_native.scan(column.blob, column.offsets)[1])
        return events

    def search(needles: Needles) -> Hunt:
        found = Hunt(needles)
        hunt(source, found)
        return found

    booted = _loader(logs[1])  # of a machine that boots another one this time
    others = [os.urandom(BY_NAME[_BANK].size) for _ in range(_MANY - 1)]
    cases = {
        "digest-1": (Needles([f"{_BANK}:{booted.hex()}"]), booted),
        f"digest-{_MANY}": (Needles([f"{_BANK}:{one.hex()}" for one in (booted, *others)]), booted),
        "event": (Needles(texts=[_TEXT]), _TEXT.encode()),
    }
    events = scan()
    for name, (needles, wanted) in cases.items():
        if search(needles).boots_hit != sum(wanted in log for log in logs):
            raise DifferentResultsError(f"{name}: other logs have it than plain Python says")
        taken = sampled({"": lambda own=needles: search(own), "scan": scan}, plan.short_samples)  # type: ignore[misc]
        seconds, case = taken[""].seconds, f"{_BANK}-distinct-{len(logs)}-{name}"
        yield Line(_BENCH, case, "any", 1, seconds * 1e9 / events, "ns/event", "scan", taken["scan"].seconds / seconds)
        yield Line(_BENCH, case, "any", 1, len(logs) / seconds, "logs/s")


def _loader(log: bytes) -> bytes:
    """The digest of the last image that a log has in PCR 4."""
    return [event.digests[_BANK] for event in EventLog.parse(log) if event.pcr == 4 and event.extended][-1]

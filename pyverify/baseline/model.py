"""Baselines: the ordered events that each PCR of a machine may hold, what they are in words, and what may run."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

import numpy as np

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, PCRS
from pyverify.evidence import event_types
from pyverify.evidence.event_data import describe
from pyverify.evidence.eventlog import EventLog
from pyverify.evidence.ima_set import ImaSet

ALL_ONES: Final = 255
"""``EventSequence.start`` of PCRs 17-22 without a D-RTM launch (SPEC 4.2)."""
_DRTM: Final = range(17, 23)


class State(StrEnum):
    """Where a version of a baseline is in its life. Only an active one is compared with."""

    PENDING = "pending"
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"


class Origin(StrEnum):
    """How a version of a baseline came to be: what was merely seen first is not what somebody stands for."""

    FIRST_SEEN = "first-seen"
    CORROBORATED = "corroborated"
    """First seen, and equal to what was approved for the machine's cohort."""
    APPROVED = "approved"
    IMPORTED = "imported"


@dataclass(frozen=True)
class EventSequence:
    """What one PCR was extended with, in order: columns over its events.

    ``start`` is the last byte of its start value, the others being zero; :data:`ALL_ONES` where all bytes are 0xFF.
    ``types`` and ``texts`` are what the log said the events are (unproven). ``digests`` has, for each bank in which
    every event has a digest, all of them one after the other. ``varies`` are the positions of events that may have any
    digest. ``values`` is for a PCR of which only values are known, by bank: then there are no events.
    """

    start: int
    types: tuple[int, ...]
    texts: tuple[str, ...]
    digests: Mapping[str, bytes]
    varies: tuple[int, ...] = ()
    values: Mapping[str, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.types)

    def split(self, bank: str) -> list[bytes]:
        """The digests of a bank, one an event."""
        size, digests = BY_NAME[bank].size, self.digests[bank]
        return [digests[at : at + size] for at in range(0, len(digests), size)]

    @cached_property
    def key(self) -> bytes:
        """SHA-256 that names the sequence: equal sequences have one key."""
        facts = [self.start, self.types, self.texts, {bank: self.digests[bank].hex() for bank in sorted(self.digests)}]
        if self.varies or self.values:
            facts += [self.varies, {bank: self.values[bank].hex() for bank in sorted(self.values)}]
        return hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).digest()


@dataclass(frozen=True, slots=True)
class Allowed:
    """A sequence that a PCR may hold, and for how long: ``until`` is None for a current one.

    A superseded one is allowed before ``until`` as long as the machine has not held one that came after it; with
    ``keep`` even then.
    """

    sequence: EventSequence
    until: datetime.datetime | None = None
    keep: bool = False

    def __post_init__(self) -> None:
        if self.keep and self.until is None:
            raise ValueError("what is kept is kept until some time")


@dataclass(frozen=True, slots=True)
class SupersededIma:
    """What machines ran before a change, and may until then."""

    ima: ImaSet
    until: datetime.datetime


@dataclass(frozen=True, slots=True)
class Accepted:
    """A finding that was there when the baseline was learned and is lived with, for this reason."""

    code: str
    pcr: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """The reference values of a machine or a cohort.

    ``allowed[pcr]`` are the sequences that PCR may hold, the oldest first: a PCR that the learning boot did not touch
    has the empty sequence, so that a new event shows. ``log_banks`` and ``quoted_banks`` are those of the learning
    boot. ``ima`` is what it ran, None where it sent no IMA list; ``ima_violations`` is how many violations that list
    had.
    """

    scope: str
    id: str
    version: int
    state: State
    allowed: tuple[tuple[Allowed, ...], ...]
    log_banks: tuple[str, ...]
    quoted_banks: tuple[str, ...]
    boot: str
    evidence_id: bytes
    ima: ImaSet | None = None
    ima_violations: int = 0
    origin: Origin = Origin.FIRST_SEEN
    accepted: tuple[Accepted, ...] = ()
    ima_superseded: tuple[SupersededIma, ...] = ()
    approval: str | None = None
    """Who approved this version, when and why, in words; None where nobody did."""

    @property
    def ima_sets(self) -> list[ImaSet]:
        """The sets of what may run, superseded ones too."""
        return [*([] if self.ima is None else [self.ima]), *(old.ima for old in self.ima_superseded)]


def event_sequences(log: EventLog, known: dict[bytes, EventSequence] | None = None) -> tuple[EventSequence, ...]:
    """What a log extended each of the 24 PCRs with.

    ``known`` is for a caller that learns many machines: sequences of equal bytes are made once and kept in it.
    """
    columns = log.columns
    pcrs = np.where(columns["type"] == event_types.EV_NO_ACTION, PCRS, columns["pcr"])
    order = np.argsort(pcrs, kind="stable")
    ends = np.searchsorted(pcrs[order], np.arange(PCRS + 1))
    known = {} if known is None else known
    return tuple(_shared(log, order[ends[pcr] : ends[pcr + 1]], pcr, known) for pcr in range(PCRS))


def _shared(log: EventLog, numbers: Any, pcr: int, known: dict[bytes, EventSequence]) -> EventSequence:
    start = start_of(log.row, pcr)
    rows = log.columns[numbers]
    at, ends = rows["at"], rows["data_at"] + rows["data_size"]
    # Equal bytes are equal events only where the headers cut them alike.
    cuts = (rows["digest_at"] - at[:, None]).tobytes() + (rows["data_at"] - at).tobytes()
    entries = [log.data[first:last] for first, last in zip(at.tolist(), ends.tolist(), strict=True)]
    key = hashlib.sha256(b"".join([bytes([start, pcr]), len(rows).to_bytes(4, "big"), cuts, *entries])).digest()
    if key not in known:
        known[key] = _sequence(log, rows, pcr, start)
    return known[key]


def _sequence(log: EventLog, rows: Any, pcr: int, start: int) -> EventSequence:
    digests = {}
    for bank in BANKS:
        at = rows["digest_at"][:, bank.index]
        if not np.any(at == _native.NO_DIGEST):
            digests[bank.name] = b"".join(log.data[first : first + bank.size] for first in at.tolist())
    places = zip(rows["type"].tolist(), rows["data_at"].tolist(), rows["data_size"].tolist(), strict=True)
    texts = tuple(describe(pcr, kind, log.data[at : at + size]) for kind, at, size in places)
    return EventSequence(start, tuple(rows["type"].tolist()), texts, digests)


def start_of(row: Any, pcr: int) -> int:
    """How a PCR of a log starts, as :attr:`EventSequence.start` says it; ``row`` is of ``_native.LOG_DTYPE``."""
    if pcr == 0:
        return int(row["locality"])
    launched = int(row["touched"]) >> 17 & 1
    return ALL_ONES if pcr in _DRTM and not launched else 0

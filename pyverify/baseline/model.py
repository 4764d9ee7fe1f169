"""Baselines: the ordered events that each PCR of a machine may hold, and what they are in words."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Self

from pyverify.algorithms import BY_NAME, PCRS
from pyverify.errors import StoreError
from pyverify.evidence.event_data import describe
from pyverify.evidence.eventlog import EventLog

ALL_ONES: Final = 255
"""``EventSequence.start`` of PCRs 17-22 without a D-RTM launch (SPEC 4.2)."""
_DRTM: Final = range(17, 23)


class State(StrEnum):
    """Where a baseline is in its life. Only an active one is compared with."""

    PENDING = "pending"
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class BaselineEvent:
    """One event that a PCR was extended with: its digests by bank, and what the log said it is (unproven)."""

    type_hint: int
    text: str
    digests: dict[str, bytes]


@dataclass(frozen=True)
class EventSequence:
    """What one PCR was extended with, in order.

    ``start`` is the last byte of its start value, the others being zero; :data:`ALL_ONES` where all bytes are 0xFF.
    """

    start: int
    events: tuple[BaselineEvent, ...]

    @property
    def banks(self) -> frozenset[str]:
        """Banks in which the sequence leads to a value: those that every event has a digest for."""
        banks = frozenset(BY_NAME)
        return banks.intersection(*(event.digests for event in self.events))

    def start_value(self, bank: str) -> bytes:
        """The PCR's value before the first event."""
        size = BY_NAME[bank].size
        return b"\xff" * size if self.start == ALL_ONES else bytes(size - 1) + bytes([self.start])

    def _canonical(self) -> bytes:
        events = [
            [event.type_hint, event.text, {bank: digest.hex() for bank, digest in sorted(event.digests.items())}]
            for event in self.events
        ]
        return json.dumps([self.start, events], separators=(",", ":")).encode()

    def to_bytes(self) -> bytes:
        """The form in which it is stored."""
        return zlib.compress(self._canonical())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Reads what :meth:`to_bytes` wrote.

        Raises:
            StoreError: the bytes are something else.
        """
        try:
            start, events = json.loads(zlib.decompress(data))
            return cls(
                int(start),
                tuple(
                    BaselineEvent(
                        int(kind), str(text), {BY_NAME[bank].name: bytes.fromhex(d) for bank, d in digests.items()}
                    )
                    for kind, text, digests in events
                ),
            )
        except (zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"an event sequence of the store does not parse: {error}") from error

    @cached_property
    def key(self) -> bytes:
        """SHA-256 that names the sequence: equal sequences share one row."""
        return hashlib.sha256(self._canonical()).digest()


@dataclass(frozen=True, slots=True)
class Baseline:
    """The reference values of a machine or a cohort.

    ``allowed[pcr]`` are the sequences that PCR may hold: a PCR that the learning boot did not touch has the empty
    sequence, so that a new event shows. ``log_banks`` and ``quoted_banks`` are those of the learning boot.
    """

    scope: str
    id: str
    version: int
    state: State
    allowed: tuple[tuple[EventSequence, ...], ...]
    log_banks: tuple[str, ...]
    quoted_banks: tuple[str, ...]
    boot: str
    evidence_id: bytes


def event_sequences(log: EventLog) -> tuple[EventSequence, ...]:
    """What a log extended each of the 24 PCRs with."""
    events: list[list[BaselineEvent]] = [[] for _ in range(PCRS)]
    for event in log:
        if event.extended:
            text = describe(event.pcr, event.type_hint, event.data)
            events[event.pcr].append(BaselineEvent(event.type_hint, text, event.digests))
    return tuple(EventSequence(_start(log.row, pcr), tuple(events[pcr])) for pcr in range(PCRS))


def _start(row: Any, pcr: int) -> int:
    if pcr == 0:
        return int(row["locality"])
    launched = int(row["touched"]) >> 17 & 1
    return ALL_ONES if pcr in _DRTM and not launched else 0

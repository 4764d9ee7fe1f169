"""What one log extended one PCR with: looked at event by event, only for machines that differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BY_NAME
from pyverify.baseline.model import start_of
from pyverify.evidence import event_types
from pyverify.evidence.eventlog import EventLog


@dataclass(frozen=True)
class LoggedPcr:
    """A PCR of a log without faults (or a measurement register), and the events that extended it, in order."""

    log: EventLog
    pcr: int

    def __len__(self) -> int:
        return len(self._events)

    @property
    def start(self) -> int:
        """How it started, as :attr:`pyverify.baseline.model.EventSequence.start` says it."""
        return start_of(self.log.row, self.pcr)

    @property
    def types(self) -> list[int]:
        """What the log says that the events are."""
        types: list[int] = self._events["type"].tolist()
        return types

    def data(self, position: int) -> bytes:
        """What the log says of the event at a position."""
        event = self._events[position]
        at = int(event["data_at"])
        return self.log.data[at : at + int(event["data_size"])]

    def numbers(self, bank: str) -> npt.NDArray[np.int64]:
        """Numbers in the log of the events that have a digest in a bank."""
        numbers: npt.NDArray[np.int64] = self._numbers[self._digest_at(bank) != _native.NO_DIGEST]
        return numbers

    def digests(self, bank: str) -> list[bytes]:
        """These digests; where the bank is complete, one an event."""
        at, size = self._digest_at(bank), BY_NAME[bank].size
        return [self.log.data[first : first + size] for first in at[at != _native.NO_DIGEST].tolist()]

    def _digest_at(self, bank: str) -> Any:
        return self._events["digest_at"][:, BY_NAME[bank].index]

    @cached_property
    def _numbers(self) -> npt.NDArray[np.int64]:
        columns = self.log.columns
        return np.flatnonzero((columns["pcr"] == self.pcr) & (columns["type"] != event_types.EV_NO_ACTION))

    @cached_property
    def _events(self) -> Any:
        return self.log.columns[self._numbers]

"""The events of many logs as columns, for checks that look at every event of a batch at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.evidence.columns import Ragged


@dataclass(frozen=True, slots=True)
class ScannedLogs:
    """A batch of logs and all their events.

    ``rows`` are ``_native.LOG_DTYPE`` of shape [n]; ``events`` are ``_native.EVENT_DTYPE`` of shape [m], those of log i
    being ``rows["n_events"][i]`` from ``rows["first_event"][i]``; a log with a fault has those before it. ``log_of`` is
    int64 of shape [m], the log of each event. Offsets of events are from the start of their log.
    """

    logs: Ragged
    rows: npt.NDArray[Any]
    events: npt.NDArray[Any]
    log_of: npt.NDArray[np.int64]

    @classmethod
    def of(cls, logs: Ragged) -> Self:
        """Reads the logs."""
        rows, events = _native.scan(logs.blob, logs.offsets)
        return cls(logs, rows, events, np.repeat(np.arange(len(rows)), rows["n_events"]))

    @property
    def data_at(self) -> npt.NDArray[np.int64]:
        """Where the data of each event begins in ``logs.blob``: int64 of shape [m]."""
        at: npt.NDArray[np.int64] = self.logs.offsets[self.log_of] + self.events["data_at"]
        return at

    def data(self, event: int) -> bytes:
        """The data of one event."""
        at = int(self.logs.offsets[self.log_of[event]]) + int(self.events["data_at"][event])
        return self.logs.blob[at : at + int(self.events["data_size"][event])].tobytes()

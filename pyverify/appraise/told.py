"""Findings of single events of a batch, a bounded number a log: a hostile log may hold as many reasons as events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify.evidence import event_types as types
from pyverify.evidence.scanned import ScannedLogs
from pyverify.findings import Finding

MOST_TOLD: Final = 16
"""Events of one log that are told of one by one for one reason; the last of them says how many more there are."""

MORE: Final = "more events of this log are like it"
"""How that last one ends: it stands for events of any PCR."""


def judged_logs(scanned: ScannedLogs, banks: int) -> npt.NDArray[np.bool_]:
    """Logs that list one of the banks and have no fault, bool of shape [n]: one with a fault is an error anyway."""
    judged: npt.NDArray[np.bool_] = (scanned.rows["fault"] == 0) & (scanned.rows["banks"] & np.uint32(banks) != 0)
    return judged


def extended(scanned: ScannedLogs, logs: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Events of these logs that change a PCR, bool of shape [m]."""
    changes: npt.NDArray[np.bool_] = logs[scanned.log_of] & (scanned.events["type"] != types.EV_NO_ACTION)
    return changes


def first_of_each_log(scanned: ScannedLogs, events: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Of the events of a mask the first one of each log."""
    rows = np.flatnonzero(events)
    first = np.zeros(len(events), np.bool_)
    first[rows[np.unique(scanned.log_of[rows], return_index=True)[1]]] = True
    return first


def tell(
    scanned: ScannedLogs, events: npt.NDArray[np.bool_], finding: Finding | Callable[[int], Finding]
) -> Iterator[tuple[int, Finding]]:
    """Log index and finding for the events of a mask; PCR and event number are filled in.

    ``finding`` is the same for all, or makes one from the index of an event in ``scanned.events``.
    """
    rows = np.flatnonzero(events)
    logs = scanned.log_of[rows]
    first = np.searchsorted(logs, logs)
    rank = np.arange(len(rows)) - first
    for row, log, at, begin in zip(*(x[rank < MOST_TOLD].tolist() for x in (rows, logs, rank, first)), strict=True):
        found = finding if isinstance(finding, Finding) else finding(row)
        if at == MOST_TOLD - 1 and (more := int(np.searchsorted(logs, log, "right")) - begin - MOST_TOLD):
            found = replace(found, hint=f"{found.hint}; {more} {MORE}")
        number = row - int(scanned.rows["first_event"][log])
        yield log, replace(found, pcr=int(scanned.events["pcr"][row]), event=number)

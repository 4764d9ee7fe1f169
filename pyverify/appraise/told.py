"""Findings of single events of a batch, a bounded number a PCR: a hostile log may hold as many reasons as events."""

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
"""Events of one PCR of a log that are told of one by one for one reason; the last of them says how many more there are.
None stands for those of another PCR: what is accepted in the one is not in the other."""


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
    place = scanned.log_of[rows].astype(np.int64) << 32 | scanned.events["pcr"][rows].astype(np.int64)
    order = np.argsort(place, kind="stable")
    rank = np.empty(len(rows), np.int64)
    rank[order] = np.arange(len(rows)) - np.searchsorted(place[order], place[order])
    in_all = dict(zip(*(part.tolist() for part in np.unique(place, return_counts=True)), strict=True))
    told = rank < MOST_TOLD
    for row, at, key in zip(*(x[told].tolist() for x in (rows, rank, place)), strict=True):
        found = finding if isinstance(finding, Finding) else finding(row)
        if at == MOST_TOLD - 1 and (more := in_all[key] - MOST_TOLD):
            found = replace(found, hint=f"{found.hint}; {more} more events of this PCR are like it")
        log, pcr = divmod(key, 1 << 32)
        yield log, replace(found, pcr=pcr, event=row - int(scanned.rows["first_event"][log]))

"""Events whose data is not the structure that their type says it is (SPEC section 10.1, 15-22).

Fleets repeat themselves: equal data is found in columns and decided once, and what was decided is kept for the next
batch. A fault is a finding of its event and stops nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.evidence import event_types
from pyverify.evidence.event_data import STRUCTURED, decode
from pyverify.evidence.gather import among
from pyverify.evidence.pcrs import pcr_name
from pyverify.evidence.scanned import ScannedLogs
from pyverify.findings import Finding, Severity

MAX_FINDINGS: Final = 20
"""Findings of one log: more tell a reader nothing, and an attacker writes as many as fit."""

_SECURE_BOOT_PCR: Final = 7
_TYPES: Final = np.array(sorted(STRUCTURED), np.uint32)

# Data's meaning depends on the PCR only so far: 0 to 23 by number, NV indices, Windows' 0xFFFFFFFF (SPEC 2.3, 0.1).
_NV_INDEX: Final = 24
_WINDOWS: Final = 25


def undecodable_findings(scanned: ScannedLogs) -> Iterator[tuple[int, Finding]]:
    """The findings of a batch of distinct logs, each with the number of its log, in the order of logs and events.

    A log has at most ``MAX_FINDINGS`` and one that says how many more there are, of the same code.
    """
    events = scanned.events
    structured = np.flatnonzero(among(events["type"], _TYPES))
    if not len(structured):
        return
    leaders, kind_of = _distinct(scanned, structured)
    faults = [_fault_of(scanned, int(event)) for event in structured[leaders]]
    faulty = np.fromiter((fault is not None for fault in faults), np.bool_, len(faults))[kind_of]
    if not faulty.any():
        return
    at = np.flatnonzero(faulty)
    logs = scanned.log_of[structured[at]]
    first = np.flatnonzero(np.diff(logs, prepend=-1))
    for start, stop in zip(first.tolist(), [*first[1:].tolist(), len(at)], strict=True):
        log = int(logs[start])
        first_event = int(scanned.rows["first_event"][log])
        for item in at[start : min(stop, start + MAX_FINDINGS)].tolist():
            event = int(structured[item])
            words = faults[int(kind_of[item])]
            yield log, _finding(events[event], event - first_event, str(words))
        if (left_out := stop - start - MAX_FINDINGS) > 0:
            yield log, _left_out(events[structured[at[start + MAX_FINDINGS : stop]]], left_out)


def _distinct(
    scanned: ScannedLogs, structured: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which of the events decide for all: those of each PCR, type and data, and which of them each event is like."""
    events = scanned.events[structured]
    # What lies between the data of one event and the next is an item too, so that nothing is copied.
    offsets = np.empty(2 * len(structured) + 1, np.int64)
    offsets[0:-1:2] = scanned.data_at[structured]
    offsets[1::2] = offsets[0:-1:2] + events["data_size"]
    offsets[-1] = offsets[-2]
    same_as = _native.group(scanned.logs.blob, offsets)[::2].astype(np.int64)
    pcr = np.where(events["pcr"] < _NV_INDEX, events["pcr"], _NV_INDEX)
    pcr = np.where(events["pcr"] == np.uint32(0xFFFFFFFF), _WINDOWS, pcr)
    code = (same_as << 16) | (np.searchsorted(_TYPES, events["type"]) << 8) | pcr
    _, leaders, kind_of = np.unique(code, return_index=True, return_inverse=True)
    return leaders, kind_of


_Key = tuple[int, int, bytes]
_MAX_KEPT: Final = 16 << 20  # bytes of data: a thousand machines with their own keys and boot entries
_MAX_ITEM: Final = 64 << 10
_ITEM_COST: Final = 200  # bytes that an entry takes beside its data


class _Decided:
    """What was decided of data, exactly, as much of it as there is room for."""

    def __init__(self) -> None:
        self._faults: dict[_Key, str | None] = {}
        self._size = 0
        self._lock = threading.Lock()

    def fault(self, key: _Key) -> str | None:
        try:
            return self._faults[key]
        except KeyError:
            pcr, event_type, data = key
            found = decode(pcr, event_type, data).fault
            words = None if found is None else str(found)
            if len(data) <= _MAX_ITEM:
                self._keep(key, words)
            return words

    def _keep(self, key: _Key, words: str | None) -> None:
        with self._lock:
            if key not in self._faults:
                self._size += len(key[2]) + _ITEM_COST
                self._faults[key] = words
            while self._size > _MAX_KEPT:
                oldest = next(iter(self._faults))
                del self._faults[oldest]
                self._size -= len(oldest[2]) + _ITEM_COST


_decided: Final = _Decided()


def _fault_of(scanned: ScannedLogs, event: int) -> str | None:
    row = scanned.events[event]
    pcr = int(row["pcr"])
    # All NV indices are alike here; that of SPEC section 2.3 stands for them.
    nv = 0x01C40200
    return _decided.fault((nv if _NV_INDEX <= pcr < 0xFFFFFFFF else pcr, int(row["type"]), scanned.data(event)))


def _finding(row: Any, number: int, fault: str) -> Finding:
    pcr = int(row["pcr"])
    where = pcr_name(pcr) if pcr < _NV_INDEX else "no PCR"
    severity = Severity.HIGH if pcr == _SECURE_BOOT_PCR else Severity.WARNING
    hint = f"{where}: {event_types.name(int(row['type']))}: {fault}"
    return Finding("event.undecodable", severity, hint, pcr if pcr < _NV_INDEX else None, event=number)


def _left_out(rows: npt.NDArray[Any], number: int) -> Finding:
    """What the limit leaves out weighs as much as the weightiest of it."""
    severity = Severity.HIGH if np.any(rows["pcr"] == _SECURE_BOOT_PCR) else Severity.WARNING
    return Finding("event.undecodable", severity, f"and {number} more events whose data does not fit their type")

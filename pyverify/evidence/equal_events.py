"""Which events of a batch are equal: the same entry, byte for byte, read in the same way."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS
from pyverify.evidence.scanned import ScannedLogs


def first_equal(scanned: ScannedLogs) -> npt.NDArray[np.int64]:
    """For each event the number of an equal one at or before it, itself where there is none: int64 of shape [m].

    Equal events have equal PCR, type, digests and data. Not all that are equal are found (``_native.group``).
    """
    events, rows = scanned.events, scanned.rows
    m, n = len(events), len(rows)
    if not m:
        return np.zeros(0, np.int64)
    # Items are the entries where they lie, and after those of each log what is left of it.
    item = np.arange(m) + scanned.log_of
    rest = np.cumsum(rows["n_events"], dtype=np.int64) + np.arange(n)
    starts = scanned.logs.offsets[:-1].copy()
    last = np.cumsum(rows["n_events"], dtype=np.int64) - 1
    has_events = rows["n_events"] > 0
    ends = scanned.data_at + events["data_size"]
    starts[has_events] = ends[last[has_events]]
    offsets = np.empty(m + n + 1, np.int64)
    offsets[item] = scanned.logs.offsets[scanned.log_of] + events["at"]
    offsets[rest] = starts
    offsets[-1] = scanned.logs.offsets[-1]
    event_of = np.full(m + n, -1, np.int64)
    event_of[item] = np.arange(m)
    same = event_of[_native.group(scanned.logs.blob, offsets)[item].astype(np.int64)]
    same = np.where(same >= 0, same, np.arange(m))
    same = np.where(_read_alike(scanned, same), same, np.arange(m))
    while np.any((further := same[same]) != same):
        same = further
    return same


def _read_alike(scanned: ScannedLogs, same: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether the entries have their fields at the same places: headers decide, and a hostile one may differ."""
    events = scanned.events
    alike = np.ones(len(events), np.bool_)
    for field in ("pcr", "type", "data_size"):
        alike &= events[field] == events[field][same]
    listed = int(np.bitwise_or.reduce(scanned.rows["banks"]))
    for bank in BANKS:
        if listed >> bank.index & 1:
            at = events["digest_at"][:, bank.index]
            place = np.where(at == _native.NO_DIGEST, at, at - events["at"])
            alike &= place == place[same]
    return alike

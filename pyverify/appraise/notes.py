"""Which events are behind a log's notes: how PCR 0 starts, and EV_NO_ACTION that is more than it should be.

The scan notes that a log has such an event (``_native.NOTES``); here, for the few that do, it is found (SPEC 3.2, 4.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS
from pyverify.appraise.told import first_of_each_log, tell
from pyverify.evidence import event_types as types
from pyverify.evidence.gather import rows_at
from pyverify.evidence.scanned import ScannedLogs
from pyverify.findings import Finding, Severity

Mask = npt.NDArray[np.bool_]

NOTES: Final[dict[str, tuple[str, Severity, str]]] = {
    "start_duplicate": ("replay.start", Severity.HIGH, "more than one StartupLocality or H-CRTM event"),
    "start_late": ("replay.start", Severity.HIGH, "StartupLocality or H-CRTM event after PCR 0 was extended"),
    "start_pcr": ("replay.start", Severity.HIGH, "StartupLocality or H-CRTM event in another PCR than 0"),
    "start_value": ("replay.start", Severity.HIGH, "StartupLocality event with an illegal size or locality"),
    "start_contradiction": ("replay.start", Severity.HIGH, "startup locality and H-CRTM event contradict each other"),
    "duplicate_header": ("event.duplicate-header", Severity.WARNING, "a second Spec ID event; the first one counts"),
    "no_action_digest": ("event.no-action-digest", Severity.WARNING, "an EV_NO_ACTION event carries a digest"),
}
"""By note of the scan: code, severity and words."""

_LOCALITIES: Final = (0, 3, 4)


def note_findings(scanned: ScannedLogs) -> Iterator[tuple[int, Finding]]:
    """Log index and finding for each event behind a note."""
    bits = np.uint32(sum(_native.NOTES[name] for name in NOTES))
    noted = (scanned.rows["fault"] == 0) & (scanned.rows["notes"] & bits != 0)
    if not noted.any():
        return
    inside = noted[scanned.log_of]
    for name, events in (*_starts(scanned, inside), *_no_actions(scanned, inside)):
        code, severity, hint = NOTES[name]
        yield from tell(scanned, events, Finding(code, severity, hint))


def _begins(scanned: ScannedLogs, events: Mask, signature: bytes) -> Mask:
    """Those of the events whose data begins so."""
    rows = np.flatnonzero(events & (scanned.events["data_size"] >= len(signature)))
    heads = rows_at(scanned.logs.blob, scanned.data_at[rows], len(signature))
    begins = np.zeros(len(events), np.bool_)
    begins[rows[np.all(heads == np.frombuffer(signature, np.uint8), axis=1)]] = True
    return begins


def _starts(scanned: ScannedLogs, inside: Mask) -> Iterator[tuple[str, Mask]]:
    """Events that say how PCR 0 starts and should not, as csrc/eventlog.c reads them."""
    pcr, kind = scanned.events["pcr"], scanned.events["type"]
    index = np.arange(len(inside))
    locality = _begins(scanned, inside & (kind == types.EV_NO_ACTION), b"StartupLocality\0")
    hcrtm = inside & (kind == types.EV_EFI_HCRTM_EVENT)
    first_extend = np.full(len(scanned.rows), len(inside), np.int64)
    extends = np.flatnonzero(first_of_each_log(scanned, inside & (pcr == 0) & (kind != types.EV_NO_ACTION)))
    first_extend[scanned.log_of[extends]] = extends
    in_time = index <= first_extend[scanned.log_of]
    yield "start_pcr", (locality | hcrtm) & (pcr != 0)
    illegal = locality & (pcr == 0)
    rows = np.flatnonzero(illegal & (scanned.events["data_size"] == 17))
    illegal[rows] = ~np.isin(scanned.logs.blob[scanned.data_at[rows] + 16], _LOCALITIES)
    yield "start_value", illegal
    for events in (locality & ~illegal, hcrtm):
        legal = events & (pcr == 0)
        counts = first_of_each_log(scanned, legal & in_time)
        has_one = np.bincount(scanned.log_of[counts], minlength=len(scanned.rows)) > 0
        after = legal & ~counts
        yield "start_duplicate", after & has_one[scanned.log_of]
        yield "start_late", after & ~has_one[scanned.log_of]
    contradicts = scanned.rows["notes"] & np.uint32(_native.NOTES["start_contradiction"]) != 0
    yield "start_contradiction", first_of_each_log(scanned, locality & contradicts[scanned.log_of])


def _no_actions(scanned: ScannedLogs, inside: Mask) -> Iterator[tuple[str, Mask]]:
    events = scanned.events
    no_action = inside & (events["type"] == types.EV_NO_ACTION)
    later = np.arange(len(inside)) != scanned.rows["first_event"].astype(np.int64)[scanned.log_of]
    yield "duplicate_header", _begins(scanned, no_action & later, b"Spec ID Event0")
    digested = np.zeros(len(inside), np.bool_)
    for bank in BANKS:
        at = events["digest_at"][:, bank.index]
        # Above PCR 23 are records of NV indices, which do have digests (SPEC section 2.3).
        rows = np.flatnonzero(no_action & (events["pcr"] < 24) & (at != _native.NO_DIGEST))
        places = scanned.logs.offsets[scanned.log_of[rows]] + at[rows]
        digested[rows] |= np.any(rows_at(scanned.logs.blob, places, bank.size), axis=1)
    yield "no_action_digest", digested

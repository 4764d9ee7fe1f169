"""What a log's own rows tell against it or are worth telling, before anything is compared."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.evidence.eventlog import fault_words
from pyverify.findings import Finding, Severity

_NOTES: Final[dict[str, tuple[str, Severity, str]]] = {
    "start_duplicate": ("replay.start", Severity.HIGH, "more than one StartupLocality or H-CRTM event"),
    "start_late": ("replay.start", Severity.HIGH, "StartupLocality or H-CRTM event after PCR 0 was extended"),
    "start_pcr": ("replay.start", Severity.HIGH, "StartupLocality or H-CRTM event in another PCR than 0"),
    "start_value": ("replay.start", Severity.HIGH, "StartupLocality event with an illegal size or locality"),
    "start_contradiction": ("replay.start", Severity.HIGH, "startup locality and H-CRTM event contradict each other"),
    "duplicate_header": ("event.duplicate-header", Severity.WARNING, "a second Spec ID event; the first one counts"),
    "no_action_digest": ("event.no-action-digest", Severity.WARNING, "an EV_NO_ACTION event carries a digest"),
}


def log_findings(logs: npt.NDArray[Any], findings: FindingColumns) -> None:
    """Adds the faults and the notes of each log: ``logs`` has one row of ``_native.LOG_DTYPE`` a row of the batch."""
    for row in np.flatnonzero(logs["fault"]):
        log = logs[row]
        code = _native.fault_code(int(log["fault"])) or "log.not-a-log"
        event = int(log["n_events"])
        hint = fault_words(code, int(log["fault_at"]), event)
        findings.add(int(row), Finding(code, Severity.HIGH, hint, event=event))
    readable = logs["fault"] == 0
    for name, (code, severity, hint) in _NOTES.items():
        bit = np.uint32(_native.NOTES[name])
        findings.add_to_all(np.flatnonzero(readable & (logs["notes"] & bit != 0)), Finding(code, severity, hint))
    padded = readable & (logs["notes"] & np.uint32(_native.NOTES["padding"]) != 0)
    for row in np.flatnonzero(padded):
        hint = f"{int(logs[row]['padding'])} bytes of padding after the last event"
        findings.add(int(row), Finding("log.padding", Severity.INFO, hint))

"""What a log's own rows and events tell against it or are worth telling, before anything is compared (SPEC 4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.appraise.boot_end import late_findings
from pyverify.appraise.known_digests import KnownDigests
from pyverify.appraise.notes import note_findings
from pyverify.appraise.pcr_usage import usage_findings
from pyverify.appraise.separators import bank_findings, separator_findings, unextended_banks
from pyverify.evidence.data_check import Banks, bank_mask
from pyverify.evidence.eventlog import fault_words
from pyverify.evidence.scanned import ScannedLogs
from pyverify.findings import Finding, Severity

if TYPE_CHECKING:
    from pyverify.appraise.finding_columns import FindingColumns


def structure_findings(scanned: ScannedLogs, banks: Banks) -> Iterator[tuple[int, Finding]]:
    """Log index and finding for each rule of structure that a log breaks, in these banks (those of them that it has).

    Logs with a fault are passed over, and all but their notes of logs that have none of the banks: others tell of that.
    """
    known = KnownDigests.of(scanned, bank_mask(banks))
    unextended = unextended_banks(scanned, known)
    yield from bank_findings(known, unextended)
    known = known.without(unextended[:, scanned.log_of])
    yield from separator_findings(scanned, known)
    yield from usage_findings(scanned, known)
    yield from late_findings(scanned, known)
    yield from note_findings(scanned)


def fault_findings(logs: npt.NDArray[Any], findings: FindingColumns) -> None:
    """Adds the fault of each log, or the padding after it: ``logs`` has one row of ``_native.LOG_DTYPE`` a row."""
    for row in np.flatnonzero(logs["fault"]):
        log = logs[row]
        code = _native.fault_code(int(log["fault"])) or "log.not-a-log"
        event = int(log["n_events"])
        hint = fault_words(code, int(log["fault_at"]), event)
        findings.add(int(row), Finding(code, Severity.HIGH, hint, event=event))
    padded = (logs["fault"] == 0) & (logs["notes"] & np.uint32(_native.NOTES["padding"]) != 0)
    for row in np.flatnonzero(padded):
        hint = f"{int(logs[row]['padding'])} bytes of padding after the last event"
        findings.add(int(row), Finding("log.padding", Severity.INFO, hint))

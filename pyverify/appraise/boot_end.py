"""The end of the firmware's rule: what PCR 0-7 may still get after ExitBootServices (SPEC section 4.7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from pyverify.appraise.known_digests import INVOCATION, RESULTS, KnownDigests
from pyverify.appraise.separators import FIRMWARE_PCRS
from pyverify.appraise.told import extended, first_of_each_log, judged_logs, tell
from pyverify.evidence.scanned import ScannedLogs
from pyverify.findings import Finding, Severity

_RESULT_PCR: Final = 5


def late_findings(scanned: ScannedLogs, known: KnownDigests) -> Iterator[tuple[int, Finding]]:
    """Events of PCR 0-7 behind the first "Exit Boot Services Invocation" of their log, but its results and retries.

    Within PCR 5 that order is authenticated. Across PCRs it is what the log says: an event that was moved before the
    invocation is not seen here, but nothing honest stands behind it.
    """
    events = extended(scanned, judged_logs(scanned, known.mask))
    own = scanned.events["pcr"] == _RESULT_PCR
    ends = np.flatnonzero(first_of_each_log(scanned, events & own & known.anywhere(INVOCATION)))
    end = np.full(len(scanned.rows), len(scanned.events), np.int64)
    end[scanned.log_of[ends]] = ends
    late = events & (scanned.events["pcr"] < FIRMWARE_PCRS) & (np.arange(len(events)) > end[scanned.log_of])
    late &= ~(own & known.everywhere(INVOCATION, *RESULTS))
    hint = "measured after ExitBootServices: by the system or whoever runs there, not by firmware"
    yield from tell(scanned, late, Finding("event.after-exit-boot-services", Severity.HIGH, hint))

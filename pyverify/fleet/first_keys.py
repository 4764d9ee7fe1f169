"""Trust on first use, where it is asked for: the key that signed a machine's first boot becomes the machine's."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from pyverify.appraise.appraisal import Appraisal
from pyverify.appraise.policy import Policy
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.identity import ALWAYS, EnrolledKey, KeyLevel
from pyverify.baseline.model import Accepted
from pyverify.baseline.references import References
from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence import public_area
from pyverify.findings import Severity


def enroll_first_key(
    enrollment: Enrollment,
    machine: str,
    boot: pa.RecordBatch,
    *,
    policy: Policy,
    as_of: datetime.datetime,
    accepted: Sequence[Accepted] = (),
) -> bool:
    """Enrols the key of a machine's first boot, a batch of one row, and says whether there was one that will do.

    Anybody can send a key, and another machine's quote beside it. So the boot has to hold under the policy as if the
    key were the machine's already, with what is ``accepted``; how fresh its quote is, the caller's own appraisal asks.
    """
    as_if = replace(policy, quote="any", key=str(KeyLevel.FIRST_USE))
    for quote in boot.column("quotes")[0].as_py() or []:
        with contextlib.suppress(EvidenceError, UsageError):
            public = quote["ak_pub"] or b""
            key = EnrolledKey(public_area.parse(public).name, machine, ALWAYS, level=KeyLevel.FIRST_USE)
            alone = References.of([], enrolled=[key])
            (verdict,) = Appraisal(boot, alone, as_if, as_of, accepted).verdicts().to_pylist()
            is_good = not any(finding["severity"] == Severity.HIGH for finding in verdict["findings"])
            if is_good and verdict["key"] == key.level and verdict["ak_name"] == key.ak_name:
                enrollment.enroll(machine, public, at=as_of, level=key.level)
                return True
    return False

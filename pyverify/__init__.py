"""Did each machine of the fleet boot what it should have booted?

The public API. Names are loaded when they are first used, so that looking at one log does not load pyarrow. The batch
replay is :func:`pyverify.replay.replay`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyverify.errors import (
    ArchiveError,
    EvidenceError,
    PyverifyError,
    ReferencesError,
    StoreError,
    UsageError,
)
from pyverify.findings import Finding, Severity

if TYPE_CHECKING:
    from pyverify.appraise.appraisal import verify as verify
    from pyverify.appraise.appraisal import verify_batches as verify_batches
    from pyverify.appraise.policy import Policy as Policy
    from pyverify.appraise.verdict import Outcome as Outcome
    from pyverify.appraise.verdict import Verdict as Verdict
    from pyverify.baseline.model import Baseline as Baseline
    from pyverify.baseline.references import References as References
    from pyverify.baseline.store import Store as Store
    from pyverify.evidence.bundle import Evidence as Evidence
    from pyverify.evidence.bundle import evidence_batch as evidence_batch
    from pyverify.evidence.columns import Ragged as Ragged
    from pyverify.evidence.eventlog import Event as Event
    from pyverify.evidence.eventlog import EventLog as EventLog

_HOME = {
    "verify": "appraise.appraisal",
    "verify_batches": "appraise.appraisal",
    "Policy": "appraise.policy",
    "Outcome": "appraise.verdict",
    "Verdict": "appraise.verdict",
    "Baseline": "baseline.model",
    "References": "baseline.references",
    "Store": "baseline.store",
    "Evidence": "evidence.bundle",
    "evidence_batch": "evidence.bundle",
    "Ragged": "evidence.columns",
    "Event": "evidence.eventlog",
    "EventLog": "evidence.eventlog",
}

__all__ = [
    "ArchiveError",
    "Baseline",
    "Event",
    "EventLog",
    "Evidence",
    "EvidenceError",
    "Finding",
    "Outcome",
    "Policy",
    "PyverifyError",
    "Ragged",
    "References",
    "ReferencesError",
    "Severity",
    "Store",
    "StoreError",
    "UsageError",
    "Verdict",
    "evidence_batch",
    "verify",
    "verify_batches",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'pyverify' has no attribute {name!r}")
    value = getattr(import_module(f"pyverify.{_HOME[name]}"), name)
    globals()[name] = value
    return value

"""Findings as ``inspect`` shows them: the weightiest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pyverify.cli.views import Table, Words
from pyverify.errors import EvidenceError
from pyverify.evidence.text import escape
from pyverify.findings import WEIGHTS, Finding, Severity

_HINT_LIMIT = 1000


def by_weight(findings: Iterable[Finding]) -> list[Finding]:
    """Findings as a reader wants them: the weightiest first, else by event."""
    return sorted(findings, key=lambda found: (WEIGHTS[found.severity], -1 if found.event is None else found.event))


def documents(findings: Iterable[Finding], fault: EvidenceError | None = None) -> list[dict[str, Any]]:
    """Findings for JSON; the fault first, which alone has a byte."""
    first = [] if fault is None else [Finding(fault.code, Severity.HIGH, str(fault), event=fault.event)]
    rest = [_document(found, None) for found in findings]
    return [_document(found, fault.offset) for found in first if fault is not None] + rest


def _document(found: Finding, offset: int | None) -> dict[str, Any]:
    return {
        "code": found.code,
        "severity": str(found.severity),
        "pcr": found.pcr,
        "bank": found.bank,
        "event": found.event,
        "offset": offset,
        "expected": None if found.expected is None else found.expected.hex(),
        "actual": None if found.actual is None else found.actual.hex(),
        "hint": found.hint,
    }


def table(findings: Sequence[Finding]) -> Table:
    """Findings for a person."""
    rows = [
        (
            (str(found.severity), found.code, _number(found.pcr), _number(found.event)),
            Words(escape(found.hint, _HINT_LIMIT)),
        )
        for found in findings
    ]
    return Table(("finding", "", "PCR", "#", ""), frozenset([2, 3]), rows)


def _number(number: int | None) -> str:
    return "" if number is None else str(number)

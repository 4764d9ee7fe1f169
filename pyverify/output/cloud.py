"""Verdict rows in the shape of the integrity reports that clouds give of their own machines.

Verdict rows hold values of PCRs that differ only, so these reports list no others. Values are hex.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from pyverify.appraise.stages import STAGES
from pyverify.appraise.verdict import Outcome
from pyverify.evidence.text import escape
from pyverify.findings import Severity
from pyverify.output.tables import plain

_EVENT: Final = "type.googleapis.com/cloud_integrity.IntegrityEvent"
_EARLY: Final = frozenset((*range(8), 14))
"""PCRs that are extended until the boot loader runs, and shim's; all others are of a late boot."""
_PCRS: Final = dict(STAGES)


class Measurement(NamedTuple):
    """A PCR that differs, with its values in hex, or None."""

    pcr: int
    bank: str
    expected: str | None
    actual: str | None


def shielded_vm(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The two integrity events of a verdict row, early and late boot, each in a log entry that names the machine."""
    measured = list(_measurements(row))
    # As protobuf has 64-bit numbers in JSON: a string. It is what the evidence says of itself, as boot_seq.
    counted = {} if row["boot_seq"] is None else {"bootCounter": str(row["boot_seq"])}
    entries = []
    for report, early in (("earlyBootReportEvent", True), ("lateBootReportEvent", False)):
        part = [one for one in measured if (one.pcr in _EARLY) == early]
        event = {
            "policyEvaluationPassed": _passed(row, early),
            "policyMeasurements": [{"pcrNum": f"PCR_{m.pcr}", "value": m.expected} for m in part if m.expected],
            "actualMeasurements": [{"pcrNum": f"PCR_{m.pcr}", "value": m.actual} for m in part if m.actual],
        }
        entries.append(
            {
                "timestamp": plain(row["as_of"]),
                "labels": _named(row),
                "jsonPayload": {"@type": _EVENT, **counted, report: event},
            }
        )
    return entries


def oci(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The measured boot report of a verdict row."""
    sides: dict[str, list[dict[str, Any]]] = {"policy": [], "actual": []}
    for one in _measurements(row):
        for side, value in (("policy", one.expected), ("actual", one.actual)):
            if value:
                sides[side].append({"pcrIndex": str(one.pcr), "value": value, "hashAlgorithm": one.bank.upper()})
    passed = row["verdict"] == Outcome.TRUSTED
    return [_named(row) | {"isPolicyVerificationSuccessful": passed, "measurements": sides}]


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "machine": escape(row["machine"] or "?"),
        "boot": escape(row["boot"] or "?"),
        "verdict": row["verdict"],
        "attested": row["attested"],
    }


def _passed(row: dict[str, Any], early: bool) -> bool:
    """Whether nothing speaks against this part of a boot: a reason without a PCR speaks against both."""
    if row["verdict"] != Outcome.UNTRUSTED:
        return bool(row["verdict"] == Outcome.TRUSTED)
    high = [finding for finding in row["findings"] if finding["severity"] == Severity.HIGH]
    return bool(high) and all(finding["pcr"] is not None and (finding["pcr"] in _EARLY) != early for finding in high)


def _measurements(row: dict[str, Any]) -> Iterator[Measurement]:
    """What stages show: the first compared PCR of each that differs, which a finding of the baseline names."""
    differing = {
        finding["pcr"]: finding["bank"]
        for finding in row["findings"]
        if finding["code"].startswith("baseline.")
        and finding["severity"] == Severity.HIGH
        and finding["bank"] is not None
    }
    for stage in row["stages"]:
        pcr = next((pcr for pcr in _PCRS.get(stage["name"], ()) if pcr in differing), None)
        if pcr is not None and stage["actual"] is not None:
            yield Measurement(pcr, differing[pcr], plain(stage["expected"]), plain(stage["actual"]))

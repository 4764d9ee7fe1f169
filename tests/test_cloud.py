"""Verdicts in the shape of clouds' integrity reports."""

from __future__ import annotations

import json

import pytest
from verdict_rows import digest, finding, pending_machine, stages, verdict_row

from pyverify.output.cloud import oci, shielded_vm

BOOT_LOADER = finding("baseline.event-changed", pcr=4, bank="sha256")
KERNEL = finding("baseline.event-changed", pcr=9, bank="sm3_256")


def passed(row) -> tuple[bool, bool]:
    early, late = (entry["jsonPayload"] for entry in shielded_vm(row))
    return early["earlyBootReportEvent"]["policyEvaluationPassed"], late["lateBootReportEvent"][
        "policyEvaluationPassed"
    ]


@pytest.mark.parametrize(
    ("verdict", "findings", "expected"),
    [
        ("trusted", [], (True, True)),
        ("trusted", [finding("quote.unfresh", "info")], (True, True)),
        ("untrusted", [BOOT_LOADER], (False, True)),
        ("untrusted", [KERNEL], (True, False)),
        ("untrusted", [BOOT_LOADER, KERNEL], (False, False)),
        ("untrusted", [KERNEL, finding("key.unknown")], (False, False)),
        ("untrusted", [], (False, False)),
        ("unmeasured", [KERNEL], (False, False)),
        ("error", [], (False, False)),
    ],
)
def test_a_part_of_a_boot_passes_only_if_nothing_speaks_against_it(verdict, findings, expected):
    row = verdict_row("m", verdict, *findings)
    assert passed(row) == expected
    (report,) = oci(row)
    assert report["isPolicyVerificationSuccessful"] is (verdict == "trusted")


def test_an_integrity_event_names_machine_and_time_and_the_pcr_that_differs():
    early, late = shielded_vm(verdict_row("m", "untrusted", BOOT_LOADER, stages=stages(3)))
    assert early == {
        "timestamp": "2026-11-24T08:00:00Z",
        "labels": {"machine": "m", "boot": "boot-1", "verdict": "untrusted", "attested": "quote"},
        "jsonPayload": {
            "@type": "type.googleapis.com/cloud_integrity.IntegrityEvent",
            "bootCounter": "7",
            "earlyBootReportEvent": {
                "policyEvaluationPassed": False,
                "policyMeasurements": [{"pcrNum": "PCR_4", "value": digest("expected").hex()}],
                "actualMeasurements": [{"pcrNum": "PCR_4", "value": digest("actual").hex()}],
            },
        },
    }
    assert late["jsonPayload"]["lateBootReportEvent"]["actualMeasurements"] == []


def test_boots_are_counted_only_where_the_evidence_counts_them():
    for entry in shielded_vm(verdict_row("m", boot_seq=None)):
        assert "bootCounter" not in entry["jsonPayload"]
    for entry in shielded_vm(verdict_row("m", boot_seq=2**63 - 1)):  # protobuf's 64-bit numbers are strings in JSON
        assert entry["jsonPayload"]["bootCounter"] == "9223372036854775807"


def test_a_measured_boot_report_has_index_value_and_algorithm():
    (report,) = oci(verdict_row("m", "untrusted", KERNEL, stages=stages(4)))
    assert report["measurements"] == {
        "policy": [{"pcrIndex": "9", "value": digest("expected").hex(), "hashAlgorithm": "SM3_256"}],
        "actual": [{"pcrIndex": "9", "value": digest("actual").hex(), "hashAlgorithm": "SM3_256"}],
    }


@pytest.mark.parametrize(("form", "lines"), [("shielded-vm", 2), ("oci", 1)])
def test_verify_writes_them(tmp_path, run, form, lines):
    code, out, _ = run("verify", *pending_machine(tmp_path), "--format", form)
    assert code == 3
    assert len([json.loads(line) for line in out.splitlines()]) == lines
    assert '"unmeasured"' in out

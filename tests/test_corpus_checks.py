"""Honest logs: recorded boots have no finding at all, other people's only those that their makers or owners caused."""

from __future__ import annotations

import json

import pytest
from conftest import shared

from pyverify.appraise.data_findings import data_findings
from pyverify.appraise.structure import structure_findings
from pyverify.evidence.columns import Ragged
from pyverify.evidence.data_check import check_data
from pyverify.evidence.scanned import ScannedLogs

ALL = 31

MADE_UP = {("bank.unextended", "high"), ("separator.missing", "high")}
FILTERED = {("separator.missing", "high")}
DELL = {("event.data-known-deviation", "warning")}
EXPECTED = {
    # tpm2-tss' samples of single events: no firmware, so no separators (manifest: "test-made").
    "tpm2-software__tpm2-tools/event-uefiaction.bin": MADE_UP,
    "tpm2-software__tpm2-tools/event-uefiservices.bin": MADE_UP,
    "tpm2-software__tpm2-tools/event-uefivar.bin": MADE_UP,
    "tpm2-software__tpm2-tools/event.bin": MADE_UP,
    # Logs of virtual machines of which only some PCRs were kept (manifest: "no EV_SEPARATOR in PCR 0,1,2,3,4,5,6").
    "google__go-attestation/sb_cert_eventlog": FILTERED,
    "google__go-attestation/windows_gcp_shielded_vm.eventlog.bin": FILTERED,
    # Dell servers hash something else than their S-CRTM version (manifest: facts.digest_mismatch; SPEC section 0.5).
    "immune-gmbh__guard-oss/IMN-DELL-WBCL-BootCtrs.evidence.eventlog.bin": DELL,
    "immune-gmbh__guard-oss/IMN-DELL.evidence.eventlog.bin": DELL,
    "immune-gmbh__guard-oss/r340.evidence.eventlog.bin": DELL,
    # A TPM 1.2 whose firmware hashed the data of Secure Boot's variables without their names: the names are not
    # proven, and in PCR 7 nothing excuses that (FINDINGS.md). SHA-1 alone is below the presets anyway.
    "google__go-eventlog/linux_tpm12.eventlog.bin": {("event.data-mismatch", "high")},
    # A vendor's event in PCR 2 (manifest: "event types not in the profile: 0x8401").
    "keylime__rust-keylime/uefi_log.bin": {("event.type-unexpected", "warning")},
}


def _findings(logs):
    scanned = ScannedLogs.of(Ragged.of(logs))
    assert not scanned.rows["fault"].any()
    checks = check_data(scanned, ALL)
    found = [set() for _ in logs]
    for row, finding in [*data_findings(scanned, checks), *structure_findings(scanned, ALL)]:
        found[row].add((finding.code, finding.severity.value))
    return scanned, checks, found


def test_recorded_boots_have_no_finding():
    paths = [path for path in sorted(shared("recordings").glob("*/binary_bios_measurements")) if path.stat().st_size]
    assert len(paths) > 60
    _, checks, found = _findings([path.read_bytes() for path in paths])
    assert {path.parent.name: codes for path, codes in zip(paths, found, strict=True) if codes} == {}
    assert not (checks.verified == 0).any() and (checks.verified == 1).sum() > 2000


def _records():
    corpus = shared("corpus")
    records = [r for r in json.loads((corpus / "manifest.json").read_text()) if r["kind"] in ("tcg1", "tcg2")]
    return records, [(corpus / r["file"]).read_bytes() for r in records]


def test_other_peoples_logs_have_only_the_findings_of_their_makers():
    records, logs = _records()
    _, _, found = _findings(logs)
    names = [record["file"].removeprefix("files/") for record in records]
    assert {name: codes for name, codes in zip(names, found, strict=True) if codes} == EXPECTED


def test_mismatches_of_data_are_those_that_the_corpus_reader_sees():
    """An independent reader counted events of class A whose data does not hash to their digest in their best bank.

    Where it and the columns differ, a rule says what the digest does cover: old shims left a byte too many, which it
    does not know of; what an H-CRTM event measures is not in the log.
    """
    records, logs = _records()
    scanned, checks, _ = _findings(logs)
    compared = 0
    for row, record in enumerate(records):
        counted = record["census"].get("digest_mismatch") or record["facts"].get("digest_mismatch") or {}
        theirs = sum(n for name, n in counted.items() if name != "EV_EFI_HCRTM_EVENT")
        own = scanned.log_of == row
        excused = own & (checks.rule == 9)
        assert (own & (checks.verified == 0)).sum() + excused.sum() == theirs, record["file"]
        compared += theirs
    assert compared > 20


@pytest.mark.parametrize("bank", ["sha1", "sha256", "sm3_256"])
def test_one_bank_is_as_clean_as_all(bank):
    """What is judged in one bank needs nothing of the others; a log without it is passed over."""
    _, logs = _records()
    scanned = ScannedLogs.of(Ragged.of(logs))
    _, _, everywhere = _findings(logs)
    checks = check_data(scanned, [bank])
    for row, finding in [*data_findings(scanned, checks), *structure_findings(scanned, [bank])]:
        assert (finding.code, finding.severity.value) in everywhere[row]
        assert finding.bank in (None, bank)

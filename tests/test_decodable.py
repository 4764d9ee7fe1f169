"""event.undecodable: which events, how weighty, where; equal data decided once and never a wrong answer for it."""

from __future__ import annotations

import json
import struct

import pytest
from conftest import entry, no_action, shared, spec_id
from test_event_data import IMAGE_SECURITY, variable

from pyverify.appraise import decodable
from pyverify.appraise.decodable import MAX_FINDINGS, undecodable_findings
from pyverify.evidence import event_types as types
from pyverify.evidence.columns import Ragged
from pyverify.evidence.event_data import STRUCTURED, decode
from pyverify.evidence.eventlog import EventLog
from pyverify.evidence.scanned import ScannedLogs
from pyverify.findings import CODES, Severity

BANKS = ["sha256"]
GOOD = variable("SecureBoot", b"\1")
BAD = GOOD[:-2]


def sound_log(extra: bytes = b"") -> bytes:
    """A short log in which every structure fits."""
    log = spec_id(BANKS) + entry(7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, variable("SecureBoot", b"\0"), BANKS)
    return log + extra + entry(5, types.EV_EFI_ACTION, b"Exit Boot Services Invocation", BANKS)


def found(*logs: bytes):
    return list(undecodable_findings(ScannedLogs.of(Ragged.of(list(logs)))))


def log_with(*events: tuple[int, int, bytes]) -> bytes:
    return sound_log(b"".join(entry(*event, BANKS) for event in events))


def fresh(monkeypatch):
    monkeypatch.setattr(decodable, "_decided", decodable._Decided())


def test_a_fault_is_a_warning_with_its_event_and_byte_and_high_in_pcr_7():
    log = log_with((1, types.EV_EFI_VARIABLE_BOOT, BAD), (7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, BAD))
    (row, first), (_, second) = found(log)
    numbers = [e.number for e in EventLog.parse(log) if e.data == BAD]
    assert row == 0
    assert (first.code, first.severity, first.pcr, first.event) == (
        "event.undecodable",
        Severity.WARNING,
        1,
        numbers[0],
    )
    assert (second.severity, second.pcr, second.event) == (Severity.HIGH, 7, numbers[1])
    assert "at byte 16" in first.hint
    assert "EV_EFI_VARIABLE_BOOT" in first.hint
    assert first.code in CODES


@pytest.mark.parametrize(
    ("pcr", "kind", "data"),
    [
        (7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, GOOD),
        (7, 0x2, BAD),  # a type without a name: another check's business
        (7, 0x8000_0FFF, BAD),
        (8, types.EV_IPL, b"\xff\xfe\xfd"),
        (0, types.EV_S_CRTM_VERSION, b"\0\1\2"),
    ],
)
def test_what_fits_and_what_has_no_structure_is_no_finding(pcr, kind, data):
    assert found(log_with((pcr, kind, data))) == []


@pytest.mark.parametrize(
    ("pcr", "kind", "data"),
    [
        (7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, bytes(16) + struct.pack("<QQ", 1 << 63, (1 << 64) - 1)),  # SPEC 16
        (7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, variable("dbx", bytes(24) + bytes(4) + bytes(48), IMAGE_SECURITY)),
        (2, types.EV_EFI_BOOT_SERVICES_DRIVER, struct.pack("<QQQQ", 0, 0, 0, 8) + b"\x01\x01\x03\0\0\0\0\0"),
        (5, types.EV_EFI_GPT_EVENT, b"EFI PART" + bytes(76) + b"\x80\0\0\0" + bytes(4) + struct.pack("<Q", 1 << 57)),
        (0, types.EV_EFI_PLATFORM_FIRMWARE_BLOB, bytes(15)),
    ],
)
def test_structures_of_the_catalogue_are_found(pcr, kind, data):
    ((_, finding),) = found(log_with((pcr, kind, data)))
    assert finding.severity is (Severity.HIGH if pcr == 7 else Severity.WARNING)


def test_a_signature_header_is_a_fault():
    """SPEC 10.1, 18: bytes of a header that no type has were once read as hashes."""
    header = b"\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28"
    content = header + struct.pack("<III", 28 + 4 + 48, 4, 48) + b"head" + bytes(48)
    ((_, finding),) = found(
        log_with((7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, variable("dbx", content, IMAGE_SECURITY)))
    )
    assert "it has a header" in finding.hint
    assert finding.severity is Severity.HIGH


def test_events_that_are_not_extended_are_looked_at_too():
    log = sound_log(no_action(0, b"H-CRTM CompMeas\0\xffab", BANKS))
    ((_, finding),) = found(log)
    assert (finding.pcr, finding.severity) == (0, Severity.WARNING)
    record = struct.pack("<II", 0xC0010004, 8) + b"short"
    windows = sound_log(no_action(0xFFFFFFFF, record, BANKS))
    ((_, finding),) = found(windows)
    assert finding.pcr is None


def test_the_pcr_decides_where_it_must():
    """The same bytes are Windows records in PCR 12 and a tagged event in PCR 5: equal data alone decides nothing."""
    nested = struct.pack("<II", 0x40010001, 3) + b"abc"
    log = log_with((5, types.EV_EVENT_TAG, nested), (12, types.EV_EVENT_TAG, nested))
    ((_, finding),) = found(log)
    assert finding.pcr == 12


def test_equal_data_is_decided_once_and_remembered(monkeypatch):
    fresh(monkeypatch)
    asked = []

    def counting(pcr, kind, data):
        asked.append((pcr, kind, data))
        return decode(pcr, kind, data)

    monkeypatch.setattr(decodable, "decode", counting)
    logs = [
        log_with((1, types.EV_EFI_VARIABLE_BOOT, BAD), (2, types.EV_EFI_PLATFORM_FIRMWARE_BLOB, bytes([i]) * 16))
        for i in range(200)
    ]
    assert [row for row, _ in found(*logs)] == list(range(200))
    assert sum(data == BAD for _, _, data in asked) == 1
    n = len(asked)
    assert len(found(*logs)) == 200
    assert len(asked) == n


def test_what_is_remembered_is_bounded_and_still_right(monkeypatch):
    fresh(monkeypatch)
    monkeypatch.setattr(decodable, "_MAX_KEPT", 1000)
    logs = [log_with((1, types.EV_EFI_VARIABLE_BOOT, BAD + bytes([i])[:1] * (i % 2))) for i in range(50)]
    assert [row for row, _ in found(*logs)] == [row for row, _ in found(*logs)] != []
    assert decodable._decided._size <= 1000


def test_a_log_full_of_them_has_few_findings_and_the_weight_of_all():
    many = [(1, types.EV_EFI_VARIABLE_BOOT, BAD)] * (MAX_FINDINGS + 5)
    log = log_with(*many, (7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, BAD))
    findings = [finding for _, finding in found(sound_log(), log, log_with(many[0]))]
    assert len(findings) == MAX_FINDINGS + 2
    assert findings[MAX_FINDINGS].severity is Severity.HIGH
    assert findings[MAX_FINDINGS].hint.startswith("and 6 more")


def test_a_log_with_a_fault_of_its_own_is_looked_at_as_far_as_it_goes():
    log = log_with((1, types.EV_EFI_VARIABLE_BOOT, BAD))
    assert [row for row, _ in found(log[:-3], b"no log", log)] == [0, 2]
    assert found() == []


def test_batches_agree_with_logs_one_by_one_on_every_real_log(monkeypatch):
    fresh(monkeypatch)
    corpus, recordings = shared("corpus"), shared("recordings")
    paths = [
        corpus / record["file"]
        for record in json.loads((corpus / "manifest.json").read_text())
        if record["kind"] in ("tcg1", "tcg2")
    ]
    paths += sorted(recordings.glob("*/binary_bios_measurements"))
    logs = [path.read_bytes() for path in paths]
    batched = [(row, f.event, f.hint) for row, f in found(*logs)]
    alone = [
        (row, event.number)
        for row, log in enumerate(logs)
        for event in EventLog.read(log)
        if event.type_hint in STRUCTURED and decode(event.pcr, event.type_hint, event.data).fault
    ]
    assert [(row, event) for row, event, _ in batched] == alone
    # Two logs of TPM 1.2 hold many variables in one event, one of Windows a record that was cut.
    assert {paths[row].name for row, _ in alone} == {
        "option_rom_eventlog",
        "binary_bios_measurements_tpm12_bios",
        "binary_bios_measurements_tpm12_efi",
    }


def test_only_structures_can_be_faulty():
    """Types left out of STRUCTURED never have a fault, or the check would miss it."""
    for kind in set(types.NAMES) - STRUCTURED:
        for data in (b"", b"\xff" * 16, b"\x05" + bytes(21), bytes(17), b"\0\0\xff", GOOD, BAD):
            for pcr in (0, 7, 9, 12, 14):
                assert decode(pcr, kind, data).fault is None, types.name(kind)

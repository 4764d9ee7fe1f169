"""Deviations that are known by name, what SHA-1 logs may have, and what structure rules leave alone."""

from __future__ import annotations

import hashlib
import struct
import uuid

import pytest
from conftest import entry, hash_of, small_log, spec_id
from log_editor import Entry, Log, new

from pyverify.appraise.data_findings import data_findings
from pyverify.appraise.known_digests import KnownDigests
from pyverify.appraise.pcr_usage import usage_findings
from pyverify.appraise.structure import structure_findings
from pyverify.evidence import event_types as types
from pyverify.evidence import uefi
from pyverify.evidence.columns import Ragged
from pyverify.evidence.data_check import check_data
from pyverify.evidence.scanned import ScannedLogs

BANKS = ["sha1", "sha256"]
ALL = 31
DEVIATION = ("event.data-known-deviation", "warning")
MISMATCH = ("event.data-mismatch", "high")


def told(log: bytes, banks=ALL):
    scanned = ScannedLogs.of(Ragged.of([log]))
    assert scanned.rows["fault"][0] == 0
    found = [*data_findings(scanned, check_data(scanned, banks)), *structure_findings(scanned, banks)]
    return {(finding.code, finding.severity.value) for _, finding in found}


def _log() -> Log:
    return Log.parse(small_log(BANKS))


def _variable(name: str, data: bytes, guid: str = uefi.GLOBAL_VARIABLE) -> bytes:
    return uuid.UUID(guid).bytes_le + struct.pack("<QQ", len(name), len(data)) + name.encode("utf-16-le") + data


def test_a_short_honest_log_has_no_finding():
    assert told(small_log(BANKS)) == set()


DELL = _variable("PK", b"...Dell Inc. Platform Key...")
OTHERS = {
    "no platform key": None,
    "another maker's": _variable("PK", b"Lenovo Ltd."),
    "another variable": _variable("KEK", b"Dell Inc."),
    "another GUID": _variable("PK", b"Dell Inc.", "d719b2cb-3d3a-4596-a3bc-dad00e67656f"),
    "no variable": b"PK of Dell Inc.",
}


def _version(key: bytes | None, pcr: int = 0) -> Log:
    """A log with an S-CRTM version that does not hash to its digest, on a machine with this platform key."""
    log = _log()
    digests = {bank: hash_of(bank, b"what Dell hashes") for bank in BANKS}
    log.insert(0, Entry(pcr, types.EV_S_CRTM_VERSION, digests, "2.5.1\0".encode("utf-16-le")))
    if key is not None:
        log.insert(1, new(log, 7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, key))
    return log


def test_dells_versions_are_known_by_their_platform_key():
    assert told(_version(DELL).bytes()) == {DEVIATION}


@pytest.mark.parametrize("key", OTHERS.values(), ids=OTHERS)
def test_versions_of_others_are_not_excused(key):
    assert told(_version(key).bytes()) == {MISMATCH}


def test_a_platform_key_that_is_not_proven_excuses_nothing():
    log = _version(_variable("PK", b"...Lenovo Ltd. Platform Key."))
    log[1].data = DELL
    assert told(log.bytes()) == {MISMATCH}


def test_a_version_in_pcr_7_is_not_excused():
    assert MISMATCH in told(_version(DELL, pcr=7).bytes())


def _component(pcr: int, kind: int = types.EV_ACTION) -> Log:
    """OpenPOWER: each bank gets the first bytes of the SHA-512 of a component, the log its name."""
    log = _log()
    digest = hashlib.sha512(b"kernel").digest()
    log.insert(1, Entry(pcr, kind, {"sha1": digest[:20], "sha256": digest[:32]}, b"BOOTKERNEL"))
    return log


def test_actions_of_openpower_are_known_by_their_digests():
    assert told(_component(6).bytes()) == {DEVIATION}
    assert told(_component(4).bytes()) == {DEVIATION, ("event.type-unexpected", "warning")}
    assert MISMATCH in told(_component(7).bytes())
    assert MISMATCH in told(_component(4, types.EV_EFI_ACTION).bytes())
    log = _component(4)
    log[1] = log[1].with_digest("sha256", hash_of("sha256", b"kernel"))
    assert MISMATCH in told(log.bytes())


@pytest.mark.parametrize(("pcr", "code"), [(3, DEVIATION), (7, MISMATCH)])
def test_separators_of_openpower_are_known_by_their_digest(pcr, code):
    log = _log()
    place = log.find(pcr, types.EV_SEPARATOR)
    log[place] = log[place].rehashed(b"\xff" * 4)
    log[place].data = b"\xff" * 4 + b"\0"
    assert told(log.bytes()) == {code}


def _legacy(*events: tuple[int, int, bytes]) -> bytes:
    """A SHA-1 log of a BIOS: separators, then these events."""
    log = b""
    for pcr, kind, data in (*((pcr, types.EV_SEPARATOR, b"\xff" * 4) for pcr in range(8)), *events):
        log += struct.pack("<II", pcr, kind) + hashlib.sha1(data).digest() + struct.pack("<I", len(data)) + data
    return log


@pytest.mark.parametrize(
    ("pcr", "kind"),
    [(4, types.EV_ACTION), (4, types.EV_IPL), (5, types.EV_IPL_PARTITION_DATA), (0, types.EV_EFI_HANDOFF_TABLES)],
)
def test_a_bios_measures_what_uefi_does_not(pcr, kind):
    assert told(_legacy((pcr, kind, b"Calling INT 19h"))) == set()
    log = _log()
    log.insert(1, new(log, pcr, kind, b"Calling INT 19h"))
    assert told(log.bytes()) == {("event.type-unexpected", "warning")}


@pytest.mark.parametrize("kind", [0x02, types.EV_IPL, 0x8401, 0x80000004, 0x80010000])
def test_pcr_7_of_a_sha1_log_is_as_strict(kind):
    assert told(_legacy((7, kind, b"x"))) == {("event.type-unexpected", "high")}


VENDORS = (0x8000, 0x8401, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80010000, 0xFFFFFFFF)
RESERVED = (0x02, 0x14, 0x7FFF, 0x80000000, 0x8000FFFF)


@pytest.mark.parametrize("pcr", range(24))
def test_types_of_vendors_belong_into_pcrs_0_and_6(pcr):
    log = _log()
    log[1:1] = [new(log, pcr, kind, b"x") for kind in (*VENDORS, *RESERVED)]
    scanned = ScannedLogs.of(Ragged.of([log.bytes()]))
    found = {finding.event - 2 for _, finding in usage_findings(scanned, KnownDigests.of(scanned, ALL))}
    usual = range(len(VENDORS), len(VENDORS) + len(RESERVED))
    expected = set() if pcr > 7 else set(usual) if pcr in (0, 6) else {*range(len(VENDORS)), *usual}
    assert found == expected


@pytest.mark.parametrize("banks", [0, ["sm3_256"], ["sha512"]])
def test_a_log_without_the_judged_banks_is_left_to_others(banks):
    log = Log(_log().header, [one for one in _log() if one.type != types.EV_SEPARATOR])
    log.append(new(log, 7, types.EV_IPL, b"x"))
    assert told(log.bytes(), banks) == set()
    assert told(log.bytes(), ["sha1"]) >= {("separator.missing", "high"), ("event.type-unexpected", "high")}


@pytest.mark.parametrize("data", [b"", b"text" * 20, small_log(BANKS)[:-1], spec_id(BANKS)[:40]])
def test_a_log_with_a_fault_or_none_has_only_that(data):
    scanned = ScannedLogs.of(Ragged.of([data]))
    assert [*structure_findings(scanned, ALL), *data_findings(scanned, check_data(scanned, ALL))] == []


def test_counters_of_windows_are_no_separators():
    """EV_COMPACT_HASH of four zero bytes in PCR 11; in PCR 6 it would be one in disguise, and so is a file in PCR 9."""
    extra = entry(11, types.EV_COMPACT_HASH, bytes(4), BANKS)
    assert told(small_log(BANKS, extra=extra)) == set()
    for pcr, kind in ((6, types.EV_COMPACT_HASH), (9, types.EV_IPL), (11, types.EV_EVENT_TAG)):
        assert ("separator.disguised", "high") in told(small_log(BANKS, extra=entry(pcr, kind, bytes(4), BANKS)))
    wbcl = b"".join(entry(pcr, types.EV_SEPARATOR, b"WBCL", BANKS) for pcr in (12, 13, 14))
    assert told(small_log(BANKS, extra=wbcl)) == set()

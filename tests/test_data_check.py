"""Which part of an event's data its digest covers: each rule with its near misses, hashlib as the oracle."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from conftest import DATA, entry, hash_of, small_log, spec_id
from hypothesis import given, settings
from hypothesis import strategies as st

from pyverify import EventLog
from pyverify.evidence import event_types as types
from pyverify.evidence.columns import Ragged
from pyverify.evidence.data_check import MISMATCH, RULES, UNKNOWN, VERIFIED, Rule, check_data
from pyverify.evidence.equal_events import first_equal
from pyverify.evidence.scanned import ScannedLogs

BANKS = ["sha256", "sm3_256"]
ALL = 31

GUID = bytes(range(16))


def variable(name: str, data: bytes, excess: bytes = b"") -> bytes:
    encoded = name.encode("utf-16-le")
    return GUID + struct.pack("<QQ", len(encoded) // 2, len(data)) + encoded + data + excess


def gpt(partitions: int, fill: bytes = b"\xaa", entry_size: int = 128) -> bytes:
    header = b"EFI PART" + bytes(48) + 16 * fill + bytes(12) + struct.pack("<I", entry_size) + bytes(4)
    one = bytes(16) + 16 * fill + bytes(range(96)) + bytes(entry_size - 128)
    assert len(header) == 92
    return header + struct.pack("<Q", partitions) + partitions * one


def wide(text: str) -> bytes:
    return text.encode("utf-16-le")


def checked(*events: tuple[int, int, bytes, bytes], banks=ALL):
    """The columns of events, each given as PCR, type, data, and what its digests are the hash of."""
    log = spec_id(BANKS)
    for pcr, kind, data, hashed in events:
        log += entry(pcr, kind, data, BANKS, {bank: hash_of(bank, hashed) for bank in BANKS})
    scanned = ScannedLogs.of(Ragged.of([log]))
    assert scanned.rows["fault"][0] == 0 and len(scanned.events) == 1 + len(events)
    return check_data(scanned, banks)


def outcome(pcr: int, kind: int, data: bytes, hashed: bytes):
    checks = checked((pcr, kind, data, hashed))
    assert checks.verified[0] == UNKNOWN and checks.rule[0] == Rule.NONE  # the header
    return checks.verified[1], checks.rule[1], (checks.part_at[1], checks.part_size[1]), checks.mismatched_banks[1]


BOTH = 0b10010  # the bits of BANKS
SETTING = types.EV_EFI_VARIABLE_DRIVER_CONFIG
BOOT = types.EV_EFI_VARIABLE_BOOT
AUTHORITY = types.EV_EFI_VARIABLE_AUTHORITY
IPL = types.EV_IPL
ORDER = variable("BootOrder", b"\1\0\2\0")
KEY = variable("Shim", b"certificate")
SHIM_6 = variable("Shim", b"certificate", b"\xaf" * 6)
SHIM_1 = variable("Shim", b"certificate", b"\xaf")

# PCR, type, data, what is hashed; verified, rule, covered part. Sources: SPEC sections 3.1 and 3.3 to 3.6.
CASES = {
    "action": (4, types.EV_EFI_ACTION, b"Calling", b"Calling", VERIFIED, Rule.WHOLE, (0, 7)),
    "action with a NUL": (4, types.EV_EFI_ACTION, b"Calling\0", b"Calling\0", VERIFIED, Rule.WHOLE, (0, 8)),
    "action, NUL not hashed": (4, types.EV_EFI_ACTION, b"Calling\0", b"Calling", MISMATCH, Rule.NONE, (0, 0)),
    "empty action": (4, types.EV_EFI_ACTION, b"", b"", VERIFIED, Rule.WHOLE, (0, 0)),
    "version": (0, types.EV_S_CRTM_VERSION, wide("1\0"), wide("1\0"), VERIFIED, Rule.WHOLE, (0, 4)),
    "version of others": (0, types.EV_S_CRTM_VERSION, wide("1\0"), b"?", MISMATCH, Rule.NONE, (0, 0)),
    "omitted": (4, types.EV_OMIT_BOOT_DEVICE_EVENTS, b"BOOT ATTEMPTS", b"", MISMATCH, Rule.NONE, (0, 0)),
    "setting": (7, SETTING, KEY, KEY, VERIFIED, Rule.WHOLE, (0, len(KEY))),
    "setting by its data": (7, SETTING, KEY, b"certificate", MISMATCH, Rule.VARIABLE_DATA, (40, 11)),
    "empty setting by its data": (7, SETTING, variable("dbx", b""), b"", MISMATCH, Rule.VARIABLE_DATA, (38, 0)),
    "boot variable": (1, BOOT, ORDER, b"\1\0\2\0", VERIFIED, Rule.VARIABLE_DATA, (50, 4)),
    "boot variable, whole": (1, BOOT, ORDER, ORDER, VERIFIED, Rule.WHOLE, (0, 54)),
    "boot variable, empty": (1, BOOT, variable("Boot0001", b""), b"", VERIFIED, Rule.VARIABLE_DATA, (48, 0)),
    "boot variable, part": (1, BOOT, ORDER, b"\1\0\2", MISMATCH, Rule.NONE, (0, 0)),
    "boot variable with more after it": (1, BOOT, ORDER + b"!", b"\1\0\2\0", MISMATCH, Rule.NONE, (0, 0)),
    "boot variable 2": (1, types.EV_EFI_VARIABLE_BOOT2, ORDER, b"\1\0\2\0", MISMATCH, Rule.VARIABLE_DATA, (50, 4)),
    "authority": (7, AUTHORITY, KEY, KEY, VERIFIED, Rule.WHOLE, (0, len(KEY))),
    "old shim": (7, AUTHORITY, SHIM_6, SHIM_6[:-1], VERIFIED, Rule.WITHOUT_LAST_BYTE, (0, len(SHIM_6) - 1)),
    "old shim, packed": (7, AUTHORITY, SHIM_1, SHIM_1[:-1], VERIFIED, Rule.WITHOUT_LAST_BYTE, (0, len(SHIM_1) - 1)),
    "authority less its last byte": (7, AUTHORITY, KEY, KEY[:-1], MISMATCH, Rule.NONE, (0, 0)),
    "shim with 7 bytes more": (7, AUTHORITY, SHIM_6 + b"!", SHIM_6, MISMATCH, Rule.NONE, (0, 0)),
    "authority by its data": (7, AUTHORITY, KEY, b"certificate", MISMATCH, Rule.VARIABLE_DATA, (40, 11)),
    "GPT": (5, types.EV_EFI_GPT_EVENT, gpt(2), gpt(2), VERIFIED, Rule.WHOLE, (0, 356)),
    "GPT, zeroed": (5, types.EV_EFI_GPT_EVENT, gpt(2), gpt(2, b"\0"), MISMATCH, Rule.NONE, (0, 0)),
    "GPT 2": (5, types.EV_EFI_GPT_EVENT2, gpt(2), gpt(2, b"\0"), VERIFIED, Rule.GUIDS_ZEROED, (0, 0)),
    "GPT 2, none": (5, types.EV_EFI_GPT_EVENT2, gpt(0), gpt(0, b"\0"), VERIFIED, Rule.GUIDS_ZEROED, (0, 0)),
    "GPT 2, wide": (
        *(5, types.EV_EFI_GPT_EVENT2, gpt(3, entry_size=256), gpt(3, b"\0", 256)),
        *(VERIFIED, Rule.GUIDS_ZEROED, (0, 0)),
    ),
    "GPT 2 as it stands": (5, types.EV_EFI_GPT_EVENT2, gpt(1), gpt(1), VERIFIED, Rule.WHOLE, (0, 228)),
    "GPT 2 that lies": (5, types.EV_EFI_GPT_EVENT2, gpt(2)[:-1], gpt(2, b"\0")[:-1], MISMATCH, Rule.NONE, (0, 0)),
    "SPDM": (2, types.EV_EFI_SPDM_FIRMWARE_BLOB, b"SPDM Device Sec2", b"?", MISMATCH, Rule.NONE, (0, 0)),
    "SPDM policy": (7, types.EV_EFI_SPDM_DEVICE_POLICY, KEY, KEY, VERIFIED, Rule.WHOLE, (0, len(KEY))),
    "separator": (0, types.EV_SEPARATOR, bytes(4), bytes(4), VERIFIED, Rule.WHOLE, (0, 4)),
    "error separator": (0, types.EV_SEPARATOR, b"\1\0\0\0", b"\1\0\0\0", VERIFIED, Rule.WHOLE, (0, 4)),
    "error in words": (0, types.EV_SEPARATOR, b"fan", b"\1\0\0\0", UNKNOWN, Rule.ERROR_SEPARATOR, (0, 0)),
    "separator of others": (0, types.EV_SEPARATOR, bytes(4), b"payload", MISMATCH, Rule.NONE, (0, 0)),
    "GRUB": (8, IPL, b"grub_cmd: boot\0", b"boot", VERIFIED, Rule.TEXT, (10, 4)),
    "GRUB without NUL": (8, IPL, b"grub_cmd: boot", b"boot", VERIFIED, Rule.TEXT, (10, 4)),
    "GRUB, NUL hashed": (8, IPL, b"kernel_cmdline: a b\0", b"a b\0", VERIFIED, Rule.TEXT_AND_NUL, (16, 4)),
    "GRUB of Fedora": (8, IPL, b"grub_kernel_cmdline /v\0", b"/v\0", VERIFIED, Rule.TEXT_AND_NUL, (20, 3)),
    "GRUB, nothing": (8, IPL, b"module_cmdline: ", b"", VERIFIED, Rule.TEXT, (16, 0)),
    "GRUB, a NUL": (8, IPL, b"grub_cmd \0", b"", VERIFIED, Rule.TEXT, (9, 0)),
    "GRUB with its prefix": (8, IPL, b"grub_cmd: boot\0", b"grub_cmd: boot\0", VERIFIED, Rule.WHOLE, (0, 15)),
    "GRUB, another text": (8, IPL, b"grub_cmd: boot\0", b"toob", MISMATCH, Rule.NONE, (0, 0)),
    "GRUB, another PCR": (9, IPL, b"grub_cmd: boot\0", b"file", UNKNOWN, Rule.NONE, (0, 0)),
    "unknown prefix": (8, IPL, b"grub_file: boot\0", b"boot", UNKNOWN, Rule.NONE, (0, 0)),
    "file": (9, IPL, b"(hd0)/vmlinuz\0", b"ELF", UNKNOWN, Rule.NONE, (0, 0)),
    "MokList": (14, IPL, b"MokList\0", b"list", UNKNOWN, Rule.NONE, (0, 0)),
    "stub": (12, IPL, wide("a b\0"), wide("a b\0"), VERIFIED, Rule.WHOLE, (0, 8)),
    "stub without NUL": (12, IPL, wide("a b\0"), wide("a b"), VERIFIED, Rule.TEXT_16_WITHOUT_NUL, (0, 6)),
    "old stub": (8, IPL, wide("a b") + b"\0", wide("a b\0"), VERIFIED, Rule.TEXT_16_COMPLETED, (0, 7)),
    "section": (11, IPL, wide(".linux\0"), b".linux\0", VERIFIED, Rule.SECTION_NAME, (0, 0)),
    "section, contents": (11, IPL, wide(".linux\0"), b"ELF", UNKNOWN, Rule.NONE, (0, 0)),
    "section, another PCR": (12, IPL, wide(".linux\0"), b".linux\0", UNKNOWN, Rule.NONE, (0, 0)),
    "initrd": (9, types.EV_EVENT_TAG, b"\xec\x22\x3b\x8f\2\0\0\0a\0", b"cpio", UNKNOWN, Rule.NONE, (0, 0)),
    "tag": (1, types.EV_EVENT_TAG, b"\1\0\0\0\0\0\0\0", b"\1\0\0\0\0\0\0\0", VERIFIED, Rule.WHOLE, (0, 8)),
    "flags": (1, types.EV_PLATFORM_CONFIG_FLAGS, b"ACPI DATA", b"tables", UNKNOWN, Rule.NONE, (0, 0)),
    "vendor": (6, 0x8401, b"v", b"v", VERIFIED, Rule.WHOLE, (0, 1)),
    "image": (4, types.EV_EFI_BOOT_SERVICES_APPLICATION, b"path", b"path", UNKNOWN, Rule.NONE, (0, 0)),
    "blob": (0, types.EV_EFI_PLATFORM_FIRMWARE_BLOB, bytes(16), b"volume", UNKNOWN, Rule.NONE, (0, 0)),
    "no action": (0, types.EV_NO_ACTION, b"x", b"x", UNKNOWN, Rule.NONE, (0, 0)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_a_digest_covers(case):
    *event, verified, rule, part = case
    assert outcome(*event) == (verified, rule, part, BOTH if verified == MISMATCH else 0)


def test_each_rule_is_in_a_case_and_in_words():
    assert {case[5] for case in CASES.values()} == set(Rule) == set(RULES)


@pytest.mark.parametrize("kind", [SETTING, BOOT, AUTHORITY])
@pytest.mark.parametrize("name_units", [0, 8, 9, 10, 1 << 31, 1 << 62, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("data_size", [0, 3, 4, 5, 1 << 32, (1 << 64) - 4, (1 << 64) - 1])
def test_lengths_of_a_variable_are_lies_until_checked(kind, name_units, data_size):
    """Only 9 and 4 fit this structure; 10 and 2, 8 and 6 would too."""
    data = ORDER[:16] + struct.pack("<QQ", name_units, data_size) + ORDER[32:]
    fits = (name_units, data_size) == (9, 4)
    verified, rule, _, _ = outcome(1, kind, data, b"\1\0\2\0")
    assert rule == (Rule.VARIABLE_DATA if fits else Rule.NONE)
    assert verified == (VERIFIED if fits and kind == BOOT else MISMATCH)


@pytest.mark.parametrize("size", range(33))
def test_a_variable_cut_anywhere_in_its_header(size):
    for kind in (SETTING, BOOT, AUTHORITY):
        assert outcome(1, kind, ORDER[:size], b"x")[:2] == (MISMATCH, Rule.NONE)


def test_a_partition_table_that_lies_is_not_zeroed():
    table = gpt(2)
    for at, value in ((92, 3), (92, 1), (92, 1 << 63), (84, 0), (84, 64), (84, 127), (84, 256), (84, 0xFFFFFFFF)):
        size = 8 if at == 92 else 4
        lie = table[:at] + value.to_bytes(size, "little") + table[at + size :]
        assert outcome(5, types.EV_EFI_GPT_EVENT2, lie, gpt(2, b"\0"))[:2] == (MISMATCH, Rule.NONE)


def test_a_bank_that_does_not_fit_is_named_and_no_rule_explains_the_rest():
    good = {bank: hash_of(bank, b"boot") for bank in BANKS}
    for bank, mask in (("sha256", 0b10), ("sm3_256", 0b10000)):
        bad = good | {bank: hash_of(bank, b"boot\0")}  # each alone has a rule; the two together have none
        log = spec_id(BANKS) + entry(8, IPL, b"grub_cmd: boot\0", BANKS, bad)
        scanned = ScannedLogs.of(Ragged.of([log]))
        checks = check_data(scanned, ALL)
        assert (checks.verified[1], checks.rule[1]) == (MISMATCH, Rule.TEXT)
        assert checks.mismatched_banks[1] == mask
        assert check_data(scanned, [bank]).verified[1] == VERIFIED
        other = good | {bank: hash_of(bank, b"?")}
        log = spec_id(BANKS) + entry(8, IPL, b"grub_cmd: boot\0", BANKS, other)
        checks = check_data(ScannedLogs.of(Ragged.of([log])), ALL)
        assert (checks.verified[1], checks.mismatched_banks[1]) == (MISMATCH, mask)


def test_data_of_class_d_that_fits_in_one_bank_only_is_a_mismatch():
    digests = {"sha256": hash_of("sha256", b"flags"), "sm3_256": hash_of("sm3_256", b"tables")}
    log = spec_id(BANKS) + entry(1, types.EV_PLATFORM_CONFIG_FLAGS, b"flags", BANKS, digests)
    checks = check_data(ScannedLogs.of(Ragged.of([log])), ALL)
    assert (checks.verified[1], checks.rule[1], checks.mismatched_banks[1]) == (MISMATCH, Rule.WHOLE, 0b10000)


@pytest.mark.parametrize("bank", BANKS)
def test_an_error_separator_in_one_bank_only_is_a_mismatch(bank):
    digests = {one: hash_of(one, b"\1\0\0\0" if one == bank else b"x") for one in BANKS}
    checks = check_data(ScannedLogs.of(Ragged.of([spec_id(BANKS) + entry(0, 4, b"fan", BANKS, digests)])), ALL)
    assert (checks.verified[1], checks.rule[1]) == (MISMATCH, Rule.ERROR_SEPARATOR)
    assert checks.mismatched_banks[1] == BOTH & ~(0b10 if bank == "sha256" else 0b10000)


def test_only_banks_that_are_asked_for_and_there_are_checked():
    log = spec_id(BANKS)
    log += entry(4, types.EV_EFI_ACTION, b"a", BANKS, {"sm3_256": hash_of("sm3_256", b"b")})
    scanned = ScannedLogs.of(Ragged.of([log, b"", small_log(["sha1"])]))
    assert check_data(scanned, ["sm3_256"]).verified[1] == MISMATCH
    for banks in (0, [], ["sha256"], ["sha512"]):
        assert check_data(scanned, banks).verified[1] == UNKNOWN
    assert (check_data(scanned, ["sha256"]).verified[2:] == UNKNOWN).all()
    assert (check_data(scanned, ["sha1"]).verified[2:] == VERIFIED).sum() > 8


def test_no_logs_and_no_events():
    for logs in ([], [b""], [None, b"text" * 9]):
        scanned = ScannedLogs.of(Ragged.of(logs))
        assert len(check_data(scanned, ALL).verified) == 0
        assert len(first_equal(scanned)) == 0


NAMES = {"sha1": "sha1", "sha256": "sha256", "sha384": "sha384", "sha512": "sha512", "sm3_256": "sm3"}


@pytest.mark.parametrize("path", sorted((DATA / "logs").glob("*.bin")), ids=lambda path: path.stem)
def test_covered_parts_of_recorded_logs_hash_to_their_digests(path):
    data = path.read_bytes()
    scanned = ScannedLogs.of(Ragged.of([data]))
    checks = check_data(scanned, ALL)
    proven = 0
    for number, event in enumerate(EventLog.parse(data)):
        at, size = int(checks.part_at[number]), int(checks.part_size[number])
        assert at + size <= len(event.data)
        if checks.verified[number] == VERIFIED and checks.rule[number] != Rule.SECTION_NAME:
            proven += 1
            for bank, digest in event.digests.items():
                assert hashlib.new(NAMES[bank], event.data[at : at + size]).digest() == digest
    assert proven > 20


def test_equal_events_are_checked_once_and_answered_everywhere():
    """Repeats of good and forged logs, broken ones among them: each event is what it is in its log alone."""
    kinds = [path.read_bytes() for path in sorted((DATA / "logs").glob("*.bin"))]
    kinds += [kinds[0].replace(b"Calling EFI", b"calling EFI"), kinds[1][:-1], b"", kinds[2] + b"\xff" * 99]
    order = [i * 5 % len(kinds) for i in range(400)]
    scanned = ScannedLogs.of(Ragged.of([kinds[i] for i in order]))
    same = first_equal(scanned)
    assert (same <= np.arange(len(same))).all() and (same[same] == same).all()
    assert len(np.unique(same)) < len(same) // 20
    together = check_data(scanned, ALL)
    alone = [check_data(ScannedLogs.of(Ragged.of([kind])), ALL) for kind in kinds]
    for name in ("verified", "rule", "part_at", "part_size", "mismatched_banks"):
        expected = np.concatenate([getattr(alone[i], name) for i in order])
        assert (getattr(together, name) == expected).all(), name


def test_equal_bytes_that_are_read_differently_are_not_equal_events():
    """A SHA-1 entry and a crypto-agile one may have the same bytes: the same PCR and type, other digests and data."""
    tail = b"t" * 30
    agile = struct.pack("<III", 4, types.EV_EFI_ACTION, 1) + struct.pack("<H", 4)
    digest = bytearray(hashlib.sha1(tail).digest())
    digest[14:18] = struct.pack("<I", len(tail) + 6)  # where the other form has the size of its data
    agile += bytes(digest) + struct.pack("<I", len(tail)) + tail
    pair = [agile, spec_id(["sha1"]) + agile]
    logs = pair * 200  # of a few items none are compared
    scanned = ScannedLogs.of(Ragged.of(logs))
    assert not scanned.rows["fault"].any() and scanned.rows["format"].tolist() == [1, 2] * 200
    assert scanned.events["data_size"].tolist()[::3] == [36] * 200
    assert scanned.events["data_size"].tolist()[2::3] == [30] * 200
    assert (first_equal(scanned) % 3 == np.arange(600) % 3).all()
    assert len(np.unique(first_equal(scanned))) < 300


_DATA = st.one_of(
    st.binary(max_size=80),
    st.builds(variable, st.text("ab", max_size=3), st.binary(max_size=6), st.binary(max_size=7)),
    st.builds(
        lambda prefix, text: prefix + text, st.sampled_from([b"grub_cmd: ", b"grub_cmd "]), st.binary(max_size=6)
    ),
    st.text("ab\0", max_size=6).map(wide),
    st.builds(gpt, st.integers(0, 2)),
)
_CUT = st.tuples(st.integers(0, 60), st.integers(0, 80))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 14), st.sampled_from(sorted(types.NAMES)), _DATA, st.none() | _CUT), max_size=8)
)
def test_nothing_is_verified_that_its_part_does_not_hash_to(drawn):
    """Any type over any data, with digests over any slice of it: a verified part hashes to them, or was made anew."""
    events = [(pcr, kind, data, data if cut is None else data[cut[0] : cut[1]]) for pcr, kind, data, cut in drawn]
    checks = checked(*events)
    made = (Rule.SECTION_NAME, Rule.GUIDS_ZEROED, Rule.TEXT_16_COMPLETED, Rule.ERROR_SEPARATOR)
    for number, (_, _, data, hashed) in enumerate(events, 1):
        at, size, rule = (int(column[number]) for column in (checks.part_at, checks.part_size, checks.rule))
        if checks.verified[number] == VERIFIED and rule not in made:
            assert data[at : at + size] == hashed
        if rule == Rule.WHOLE:
            assert data == hashed
        assert (checks.verified[number] == MISMATCH) == (checks.mismatched_banks[number] != 0)

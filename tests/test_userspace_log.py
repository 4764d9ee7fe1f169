"""systemd's userspace log behind the firmware's: PCR values as hashlib has them, and nothing lax (SPEC 9.1)."""

from __future__ import annotations

import json
import struct

import pytest
from cel_writers import json_digests, systemd_record
from conftest import DATA, entry, hash_of, replay_by_hand, small_log
from hypothesis import given
from hypothesis import strategies as st

from pyverify import EventLog, EvidenceError
from pyverify.algorithms import BY_NAME
from pyverify.evidence.cel import MAX_JSON_SIZE
from pyverify.evidence.log_kinds import transcode, with_userspace

UKI = (DATA / "logs" / "70_uki.bin").read_bytes()
BANKS = list(EventLog.parse(UKI).banks)
PHASES = ["enter-initrd", "leave-initrd", "sysinit", "ready"]
MACHINE_ID = "machine-id:" + "5f" * 16
LOG = b"".join(systemd_record(11, phase, BANKS) for phase in PHASES) + systemd_record(15, MACHINE_ID, BANKS)


def fault_of(userspace: bytes, log: bytes = UKI) -> tuple[str, int | None]:
    with pytest.raises(EvidenceError) as caught:
        with_userspace(log, userspace)
    return caught.value.code, caught.value.offset


def test_phases_and_identity_extend_what_the_firmware_left():
    log = EventLog.parse(with_userspace(UKI, LOG))
    values, before = log.replay(), replay_by_hand(UKI)
    for bank in BANKS:
        expected = dict(before[bank])
        for phase in PHASES:
            expected[11] = hash_of(bank, expected[11] + hash_of(bank, phase.encode()))
        expected[15] = hash_of(bank, bytes(BY_NAME[bank].size) + hash_of(bank, MACHINE_ID.encode()))
        assert {pcr: value.tobytes() for pcr, value in enumerate(values[bank])} == expected
    assert len(BANKS) > 1


def test_the_firmwares_events_stay_the_first_and_the_others_say_what_was_measured():
    firmware, log = EventLog.parse(UKI), EventLog.parse(with_userspace(UKI, LOG))
    assert list(log)[: len(firmware)] == list(firmware)
    added = list(log)[len(firmware) :]
    assert [event.data.decode() for event in added] == [*PHASES, MACHINE_ID]
    assert {event.type_name for event in added} == {"EV_IPL"}


@pytest.mark.parametrize("padding", [b"", bytes(4096), b"\xff" * 100])
def test_padding_of_the_firmwares_log_is_left_out(padding):
    assert with_userspace(UKI + padding, LOG) == with_userspace(UKI, LOG)


def test_an_empty_userspace_log_changes_nothing():
    assert with_userspace(UKI, b"") == UKI


def test_only_banks_that_the_firmware_lists_are_taken():
    log = small_log(["sm3_256"])
    added = EventLog.parse(with_userspace(log, systemd_record(11, "ready", ["sha1", "sm3_256", "sha512"])))
    assert added[-1].digests == {"sm3_256": hash_of("sm3_256", b"ready")}
    assert not added.row["incomplete"]


def test_a_bank_that_a_record_lacks_is_incomplete():
    log = small_log(["sha256", "sha384"])
    added = EventLog.parse(with_userspace(log, systemd_record(11, "ready", ["sha256"])))
    assert added.row["incomplete"] == 1 << BY_NAME["sha384"].index
    none = EventLog.parse(with_userspace(log, systemd_record(11, "ready", ["sha1"])))
    assert none.row["incomplete"] == none.row["banks"]


def legacy(pcr: int, text: bytes) -> bytes:
    return struct.pack("<II20sI", pcr, 8, hash_of("sha1", text), len(text)) + text


def test_a_log_in_the_sha1_form_stays_in_it():
    log = EventLog.parse(with_userspace(legacy(0, b"1.0"), systemd_record(11, "ready", ["sha256", "sha1"])))
    assert (log.format, log.banks, log[1].data) == ("tcg1", ("sha1",), b"ready")
    assert log.replay()["sha1"][11].tobytes() == hash_of("sha1", bytes(20) + hash_of("sha1", b"ready"))


def test_a_log_in_the_sha1_form_needs_sha1():
    userspace = systemd_record(11, "sysinit", ["sha1"]) + systemd_record(11, "ready", ["sha256"])
    assert fault_of(userspace, legacy(0, b"1.0")) == ("cel.format", len(systemd_record(11, "sysinit", ["sha1"])))


def test_a_record_of_an_nv_index_is_kept_and_not_extended():
    record = {"nv_index": 0x01D10200, "digests": json_digests({"sha256": b"\1" * 32}), "content_type": "systemd"}
    userspace = b"\x1e" + json.dumps(record | {"content": {"string": "hardware"}}).encode() + b"\n"
    log = EventLog.parse(with_userspace(small_log(["sha256"]), userspace))
    assert (log[-1].pcr, log[-1].extended, log[-1].data) == (0x01D10200, False, b"hardware")


def test_a_record_without_content_or_text_is_read():
    for extra in ({}, {"content_type": "systemd", "content": {"bootId": "0"}}):
        record = {"pcr": 15, "digests": json_digests({"sha256": b"\1" * 32})} | extra
        log = EventLog.parse(with_userspace(small_log(["sha256"]), b"\x1e" + json.dumps(record).encode() + b"\n"))
        assert (log[-1].pcr, log[-1].data) == (15, b"")


ONE = systemd_record(11, "ready", BANKS)
FAULTS = {
    "no separator": (ONE[1:], 0),
    "rubbish before": (b" " + ONE, 0),
    "two separators": (b"\x1e" + ONE, 0),
    "a separator alone": (ONE + b"\x1e", len(ONE)),
    "without the line feed": (ONE + ONE[:-1], len(ONE)),
    "no JSON": (ONE + b"\x1e{nonsense}\n", len(ONE) + 2),
    "two texts in one record": (ONE[:-1] + ONE[1:], len(ONE) - 1),
    "a list": (b"\x1e[]\n", 0),
    "a key twice": (ONE.replace(b'"pcr"', b'"pcr": 11, "pcr"'), 1),
    "a depth bomb": (b"\x1e" + b"[" * 100_000 + b"\n", 1),
    "UTF-16": (ONE[:1] + ONE[1:].decode().encode("utf-16"), 0),
    "pcr true": (systemd_record(11, "x", BANKS, pcr=True), 0),
    "pcr 24": (systemd_record(24, "x", BANKS), 0),
    "no digests": (systemd_record(11, "x", []), 0),
    "string as a number": (systemd_record(11, "x", BANKS, content={"string": 7}), 0),
    "the firmware's content": (
        systemd_record(0, "x", BANKS, content_type="pcclient_std", content={"event_type": 8, "event_data": ""}),
        0,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_userspace_log_that_is_not_strict_is_refused(name):
    data, at = FAULTS[name]
    assert fault_of(data) == ("cel.format", at)


def test_a_userspace_log_cannot_say_how_pcr_0_began():
    """An EV_NO_ACTION from user space would, where the firmware's log has no event in PCR 0."""
    log = small_log(["sha256"])
    content = {"event_type": "EV_NO_ACTION", "event_data": (b"StartupLocality\0\3").hex()}
    userspace = systemd_record(0, "x", ["sha256"], content_type="pcclient_std", content=content)
    assert fault_of(userspace, log) == ("cel.format", 0)


def test_a_cut_userspace_log_is_refused_or_was_cut_between_records():
    read = 0
    for size in range(len(LOG)):
        try:
            log = with_userspace(UKI, LOG[:size])
        except EvidenceError as error:
            assert error.code == "cel.format"
            continue
        read += 1
        assert size == 0 or LOG[:size].endswith(b"}\n")
        assert with_userspace(UKI, LOG).startswith(log)
    assert read == 5


def test_a_fault_of_the_firmwares_log_is_told_as_its_own():
    assert fault_of(LOG, UKI[:-1])[0] == "log.truncated"
    assert fault_of(LOG, b"")[0] == "log.absent"


def test_more_of_it_than_any_boot_writes_is_refused_unread():
    assert fault_of(b"\x1e" * (MAX_JSON_SIZE + 1)) == ("log.too-large", MAX_JSON_SIZE)


def test_more_records_than_any_log_has_events_are_refused(monkeypatch):
    monkeypatch.setattr("pyverify.evidence.userspace_log.MAX_RECORDS", 1)
    assert with_userspace(UKI, ONE)
    assert fault_of(ONE + ONE) == ("log.too-large", len(ONE))


def test_a_userspace_log_goes_behind_any_log_of_pcrs_and_no_other():
    assert transcode(None, UKI, LOG).log == transcode("tcg", UKI, LOG).log == with_userspace(UKI, LOG)
    ccel = struct.pack("<I", 1) + small_log(["sha384"])[4 : 33 + 32] + entry(1, 5, b"x", ["sha384"])
    assert transcode("ccel", ccel).log
    with pytest.raises(EvidenceError) as caught:
        transcode("ccel", ccel, LOG)
    assert caught.value.code == "cel.format"


@given(at=st.integers(0, len(ONE)), cut=st.integers(0, 40), put=st.binary(max_size=8))
def test_nothing_but_our_error_leaves_a_spliced_log(at, cut, put):
    try:
        log = with_userspace(UKI, ONE[:at] + put + ONE[at + cut :])
    except EvidenceError as error:
        assert error.code == "cel.format"
        return
    assert EventLog.read(log).fault is None

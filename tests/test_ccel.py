"""Confidential-computing logs: their registers are what a TD says, and they are never taken for a TPM's (SPEC 2.5)."""

from __future__ import annotations

import json
import struct

import pytest
from cel_writers import fault_of
from conftest import entry, no_action, shared, small_log, spec_id
from hypothesis import given
from hypothesis import strategies as st

from pyverify import EventLog, EvidenceError, UsageError
from pyverify.algorithms import pcr_mask
from pyverify.evidence.ccel import CCEL_REGISTERS, mr_mask
from pyverify.evidence.cel import Register
from pyverify.evidence.log_kinds import as_tcg_log, transcode
from pyverify.replay import replay


def ccel(*entries: bytes, index: int = 1) -> bytes:
    return struct.pack("<I", index) + spec_id(["sha384"])[4:] + b"".join(entries)


def event(register: int, data: bytes = b"x") -> bytes:
    return entry(register, 5, data, ["sha384"])


def test_every_log_of_the_corpus_leads_to_the_registers_that_its_td_says():
    corpus = shared("corpus")
    records = [r for r in json.loads((corpus / "manifest.json").read_text()) if r["kind"] == "ccel" and r["banks"]]
    logs = [as_tcg_log("ccel", (corpus / record["file"]).read_bytes()) for record in records]
    assert len(logs) == 7
    replayed = replay(logs)
    assert replayed.has_bank("sha384").all()
    stated = computed = 0
    for row, record in enumerate(records):
        assert replayed.logs["n_events"][row] == record["n_events"], record["file"]
        expected = (record["expected_pcrs"] or {"values": {"sha384": {}}})["values"]["sha384"]
        for register, value in (record["computed_pcrs"]["sha384"] | expected).items():
            assert replayed.values["sha384"][row, int(register)].tobytes().hex() == value, (record["file"], register)
            computed += 1
        stated += len(expected)
    assert (stated, computed > stated) == (18, True)


def test_only_the_index_of_the_header_is_another():
    log = ccel(event(1), event(3)) + b"\xff" * 100
    assert as_tcg_log("ccel", log) == bytes(4) + log[4:]
    assert transcode("ccel", log).registers is Register.MR


def test_a_log_that_is_never_extended_may_name_mrtd():
    log = as_tcg_log("ccel", ccel(no_action(0, b"note", ["sha384"]), event(1)))
    assert EventLog.parse(log).row["touched"] == 2


FAULTS = {
    "a TPM's log": (small_log(["sha384"]), "log.pcr-index"),
    "a TPM 1.2's log": (struct.pack("<II20sI", 0, 8, bytes(20), 0), "log.not-a-log"),
    "MRTD extended": (ccel(event(1), event(0)), "log.pcr-index"),
    "register 5": (ccel(event(5)), "log.pcr-index"),
    "register 24": (ccel(event(24)), "log.pcr-index"),
    "header index 2": (ccel(event(1), index=2), "log.header"),
    "the ACPI table": (b"CCEL" + bytes(52), "log.not-a-log"),
    "a cut log": (ccel(event(1))[:-1], "log.truncated"),
    "three bytes": (b"\1\0\0", "log.header"),
    "an empty area": (bytes(4096), "log.not-a-log"),
    "an area of ones": (b"\xff" * 4096, "log.header"),
    "rubbish after padding": (ccel(event(1)) + b"\xff" * 64 + b"x", "log.trailing"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_no_such_log_is_refused(name):
    data, code = FAULTS[name]
    assert fault_of("ccel", data)[0] == code


def test_the_event_that_extends_a_wrong_register_is_named():
    log = ccel(event(1), event(7))
    assert fault_of("ccel", log) == ("log.pcr-index", len(ccel(event(1))))


def test_such_a_log_given_as_another_kind_is_refused():
    log = ccel(event(1))
    fault = EventLog.read(as_tcg_log("tcg", log)).fault
    assert fault is not None
    assert fault.code == "log.not-a-log"
    assert fault_of("cel-tlv", log)[0] == "cel.format"
    assert fault_of("cel-json", log)[0] == "cel.format"


def test_the_tables_of_acpi_in_the_corpus_are_told_from_logs():
    for name in ("CCEL.bin", "cos-113-intel-tdx.table.bin"):
        data = (shared("corpus") / "files/google__go-eventlog" / name).read_bytes()
        assert fault_of("ccel", data) == ("log.not-a-log", 0)


GOOD = ccel(event(1), event(2), event(4))


@given(at=st.integers(0, len(GOOD)), cut=st.integers(0, 40), put=st.binary(max_size=8))
def test_nothing_but_our_error_leaves_a_spliced_log(at, cut, put):
    try:
        log = as_tcg_log("ccel", GOOD[:at] + put + GOOD[at + cut :])
    except EvidenceError as error:
        assert error.code.startswith("log.")
        return
    read = EventLog.read(log)
    assert read.fault is None
    assert int(read.row["touched"]) & ~0b11110 == 0


def test_registers_stand_for_the_pcrs_of_the_specification():
    # EDK2's mapping: PCR 0 to MRTD, 1 and 7 to RTMR0, 2-6 to RTMR1, 8-15 to RTMR2.
    expected = {0: "MRTD", 1: "RTMR0", 7: "RTMR0"} | dict.fromkeys(range(2, 7), "RTMR1")
    expected |= dict.fromkeys(range(8, 16), "RTMR2")
    assert {pcr: register.name for register in CCEL_REGISTERS for pcr in register.pcrs} == expected
    assert CCEL_REGISTERS[4] == ("RTMR3", ())


@pytest.mark.parametrize(
    ("pcrs", "registers"),
    [([], []), ([0], [0]), ([7], [1]), ([1, 7], [1]), ([2, 6], [2]), ([8, 15], [3]), ([0, 4, 7, 11], [0, 1, 2, 3])],
)
def test_a_mask_of_pcrs_becomes_one_of_registers(pcrs, registers):
    assert mr_mask(pcr_mask(pcrs)) == sum(1 << register for register in registers)


def test_a_pcr_that_no_register_stands_for_is_refused():
    with pytest.raises(UsageError, match="16"):
        mr_mask(pcr_mask([1, 16]))

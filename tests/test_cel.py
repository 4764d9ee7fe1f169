"""Canonical event logs: what they lead to is what the TPM says, and what becomes of each kind of record (SPEC 9.1)."""

from __future__ import annotations

import hashlib
import json

import pytest
from cel_writers import NO_ACTION, cel_json, cel_tlv, fault_of, field, json_digests, pcclient, tlv_record
from conftest import ALGORITHMS, DATA, hash_of, replay_by_hand, shared
from log_editor import events_of

from pyverify import EventLog
from pyverify.algorithms import bank as bank_of
from pyverify.evidence.cel import Register
from pyverify.evidence.log_kinds import as_tcg_log, transcode

WRITERS = {
    "tlv-8-1": lambda events: ("cel-tlv", cel_tlv(events)),
    "tlv-4-4-per-register": lambda events: (
        "cel-tlv",
        cel_tlv(events, width=4, register_width=4, per_register=True),
    ),
    "tlv-2-from-1": lambda events: ("cel-tlv", cel_tlv(events, width=2, register_width=2, first=1)),
    "json-numbers": lambda events: ("cel-json", cel_json(events, first=0)),
    "json-names": lambda events: ("cel-json", cel_json(events, names=True, indent=2)),
}
RECORDINGS = [
    "01_m1_first_boot",
    "60_sb_first_boot",
    "70_uki",
    "80_sm3_all_banks",
    "82_sm3_only",
    "49_bank_sha384_only",
]


def values_of(kind: str, data: bytes) -> dict[str, dict[int, bytes]]:
    log = EventLog.parse(as_tcg_log(kind, data))
    assert not log.row["incomplete"]
    return {bank: {pcr: v.tobytes() for pcr, v in enumerate(values)} for bank, values in log.replay().items()}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recorded_log_written_as_a_canonical_one_leads_to_what_its_tpm_says(name, writer):
    folder = shared("recordings", name)
    events = events_of((folder / "binary_bios_measurements").read_bytes())
    values = values_of(*WRITERS[writer](events))
    compared = 0
    for line in (folder / "pcrs_after_logs.txt").read_text().splitlines():
        bank, pcr, value = line.split()
        if int(pcr) != 10:
            assert values[bank_of(bank).name][int(pcr)] == bytes.fromhex(value), (bank, pcr)
            compared += 1
    assert compared == 23 * len(values)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("path", sorted((DATA / "logs").glob("*.bin")), ids=lambda path: path.stem)
def test_a_second_reader_agrees_with_and_without_the_spec_id_event(path, writer):
    log = path.read_bytes()
    events = events_of(log)
    assert values_of(*WRITERS[writer](events)) == replay_by_hand(log)
    assert values_of(*WRITERS[writer](events[1:])) == replay_by_hand(log)


def test_a_log_with_its_own_spec_id_event_comes_back_byte_for_byte():
    log = (DATA / "logs" / "80_sm3_all_banks.bin").read_bytes()
    assert as_tcg_log("cel-tlv", cel_tlv(events_of(log))) == log
    assert as_tcg_log("cel-json", cel_json(events_of(log))) == log


def test_the_made_spec_id_event_lists_the_banks_that_are_extended_and_no_other():
    digests = {"sm3_256": bytes(32), "sha384": bytes(48)}
    data = cel_tlv([(0, NO_ACTION, {"sha1": bytes(20)}, b"note"), (0, 8, digests, b"1.0")])
    log = EventLog.parse(as_tcg_log("cel-tlv", data))
    assert log.banks == ("sha384", "sm3_256")
    assert [(event.pcr, event.digests) for event in log][1:] == [(0, {}), (0, digests)]


def test_a_bank_that_one_record_lacks_is_incomplete():
    events = [(0, 8, {"sha1": bytes(20), "sha256": bytes(32)}, b""), (0, 4, {"sha256": bytes(32)}, bytes(4))]
    log = EventLog.parse(as_tcg_log("cel-json", cel_json(events)))
    assert log.row["incomplete"] == 1 << bank_of("sha1").index


def test_kinds_that_are_a_tcg_log_already_are_given_back_as_they_are():
    for kind in (None, "tcg"):
        assert as_tcg_log(kind, b"anything") == b"anything"


def test_a_kind_that_nobody_knows_is_refused():
    assert fault_of("cel-cbor\x1b", b"") == ("log.not-a-log", 0)


@pytest.mark.parametrize(
    ("kind", "data"), [("cel-tlv", b""), ("cel-json", b"[]"), ("cel-json", b" [ \n] "), ("ccel", b"")]
)
def test_a_canonical_log_without_records_is_an_empty_log(kind, data):
    assert as_tcg_log(kind, data) == b""


# What is extended, and what is not


def one(content: bytes, digests=None, index=4, **more) -> EventLog:
    """A log of one record, after one that makes it a log."""
    start = tlv_record(0, 0, {"sha256": bytes(32)}, pcclient(8, b""))
    return EventLog.parse(as_tcg_log("cel-tlv", start + tlv_record(1, index, digests or {}, content, **more)))


def test_an_event_that_is_no_action_is_not_extended_whatever_digest_it_has():
    log = one(pcclient(NO_ACTION, b"SP800-155"), {"sha256": b"\1" * 32})
    assert not log.replay()["sha256"][4].any()
    assert log[2].type_name == "EV_NO_ACTION"


def test_a_startup_locality_decides_how_pcr_0_begins():
    events = [(0, NO_ACTION, {}, b"StartupLocality\0\3"), (0, 8, {"sha256": b"\1" * 32}, b"")]
    assert values_of("cel-tlv", cel_tlv(events))["sha256"][0] == hash_of("sha256", bytes(31) + b"\3" + b"\1" * 32)


def test_a_record_for_an_nv_index_is_kept_and_not_extended():
    log = one(pcclient(0x80000008, b"blob"), {"sha256": b"\1" * 32}, register=2, index=0x01C40200)
    assert (log[2].pcr, log[2].extended, log[2].data) == (0x01C40200, False, b"blob")
    assert log.row["touched"] == 1


def test_only_the_registers_that_firmware_writes_a_spec_id_event_for_can_have_one():
    spec_id = events_of((DATA / "kat_log.bin").read_bytes())[0][3]
    data = tlv_record(0, 0x01C40200, {"sha256": b"\1" * 32}, pcclient(NO_ACTION, spec_id), register=2)
    log = EventLog.parse(as_tcg_log("cel-tlv", data + tlv_record(1, 0, {"sha256": bytes(32)}, pcclient(8, b""))))
    assert [event.pcr for event in log] == [0, 0x01C40200, 0]
    assert log.banks == ("sha256",)


def test_an_ima_template_keeps_its_name_and_data():
    log = one(field(7, field(0, b"ima-ng") + field(1, b"template data")), {"sha256": b"\1" * 32})
    assert (log[2].type_name, log[2].data) == ("EV_IPL", b"ima-ng\0template data")
    assert log.replay()["sha256"][4].tobytes() == hash_of("sha256", bytes(32) + b"\1" * 32)


def test_a_management_record_extends_only_where_it_has_a_digest():
    firmware_end = field(4, field(2, b""))
    assert not one(firmware_end)[2].extended
    assert one(firmware_end, {"sha256": b"\1" * 32})[2].extended


def test_a_management_record_in_json_needs_no_digest():
    records = json.loads(cel_json([(0, 8, {"sha256": bytes(32)}, b"")]))
    records.append({"recnum": 2, "pcr": 0, "digests": [], "content_type": "cel", "content": {"type": "firmware_end"}})
    log = EventLog.parse(as_tcg_log("cel-json", json.dumps(records).encode()))
    assert [event.extended for event in log] == [False, True, False]


def test_content_of_an_unknown_type_stays_as_it_stands():
    content = field(80, field(0, b"image"))
    assert one(content, {"sha256": hash_of("sha256", content)})[2].data == content


def test_json_content_without_a_tcg_form_stays_as_it_stands():
    record = {"recnum": 0, "pcr": 13, "digests": json_digests({"sha256": bytes(32)})}
    for extra in ({}, {"content_type": "cos", "content": [1.5, {"ä": None}]}, {"content_type": "cel", "content": {}}):
        text = json.dumps(record | extra, ensure_ascii=False).encode()
        log = EventLog.parse(as_tcg_log("cel-json", b" [" + text + b" , " + text.replace(b": 0", b": 1", 1) + b"]"))
        assert [event.data for event in log][1:2] == ([text] if extra else [b""])
        assert len(log) == 3


def test_json_of_other_contents_gives_their_text():
    base = {"pcr": 11, "digests": json_digests({"sm3_256": bytes(32)})}
    records = [
        base | {"recnum": 1, "content_type": "systemd", "content": {"string": "sysinit"}},
        base
        | {"recnum": 2, "content_type": "ima_template", "content": {"template_name": "ima", "template_data": "00"}},
    ]
    log = EventLog.parse(as_tcg_log("cel-json", json.dumps(records).encode()))
    assert [event.data for event in log][1:] == [b"sysinit", b"ima\0\0"]


@pytest.mark.parametrize("name", ["sm3_256", "SM3", "sm3-256", "sha1", "SHA256"])
def test_json_takes_the_names_that_algorithms_go_by(name):
    bank = bank_of(name)
    record = {"recnum": 0, "pcr": 0, "digests": [{"hashAlg": name, "digest": "AB" * bank.size}]}
    assert EventLog.parse(as_tcg_log("cel-json", json.dumps([record]).encode())).banks == (bank.name,)


# Numbers of records


def notes_of(numbers, registers=None):
    registers = registers or [1] * len(numbers)
    records = [
        tlv_record(n, r, {"sha256": bytes(32)}, pcclient(8, b"")) for n, r in zip(numbers, registers, strict=True)
    ]
    return [(note.code, note.event) for note in transcode("cel-tlv", b"".join(records)).notes]


@pytest.mark.parametrize(
    ("numbers", "registers"),
    [
        ([0, 1, 2], None),
        ([1, 2, 3], None),
        ([0, 1, 2], [1, 2, 1]),
        ([0, 0, 1], [1, 2, 1]),
        ([1, 1, 2, 2], [1, 2, 1, 2]),
    ],
)
def test_records_that_are_counted_through_are_no_finding(numbers, registers):
    assert notes_of(numbers, registers) == []


@pytest.mark.parametrize(
    ("numbers", "registers", "event"),
    [
        ([0, 1, 1], None, 3),
        ([0, 2, 1], None, 3),
        ([0, 1, 3], None, None),
        ([2, 3, 4], None, None),
        ([0, 0, 2], [1, 2, 1], None),
        ([0, 1, 0], [1, 2, 1], 3),
    ],
)
def test_records_that_repeat_go_back_or_are_missing_are_told(numbers, registers, event):
    assert notes_of(numbers, registers) == [("cel.numbering", event)]


def test_the_event_of_such_a_finding_is_that_of_the_log():
    header = events_of((DATA / "kat_log.bin").read_bytes())[0]
    digests = {"sha256": bytes(32)}
    again = cel_tlv([header, (0, 8, digests, b"")]) + tlv_record(1, 0, digests, pcclient(8, b"again"))
    result = transcode("cel-tlv", again)
    assert [(note.code, note.event) for note in result.notes] == [("cel.numbering", 2)]
    assert EventLog.parse(result.log)[2].data == b"again"


def test_the_code_of_that_finding_is_in_the_table():
    from pyverify.findings import CODES, Severity

    assert CODES["cel.numbering"].severity is Severity.WARNING


# The corpus


def test_a_confidential_space_log_is_of_a_measurement_register_and_its_digests_cover_its_content():
    data = (shared("corpus") / "files/google__go-tpm-tools/cel.bin").read_bytes()
    result = transcode("cel-tlv", data)
    log = EventLog.parse(result.log)
    assert (result.registers, result.notes, log.banks, len(log)) == (Register.MR, (), ("sha384",), 19)
    rtmr3 = bytes(48)
    for event in list(log)[1:]:
        assert event.pcr == 4
        assert event.digests["sha384"] == hashlib.sha384(event.data).digest()
        rtmr3 = hashlib.sha384(rtmr3 + event.digests["sha384"]).digest()
    assert log.replay()["sha384"][4].tobytes() == rtmr3
    assert fault_of("cel-tlv", data) == ("cel.format", 0)  # as a log of PCRs it is refused


def test_every_bank_has_a_digest_type_of_its_own():
    assert len({number & 0xFF for number, _ in ALGORITHMS.values()}) == len(ALGORITHMS)

"""Hostile canonical event logs: what is not strict is refused where it shows (SPEC 10.1 rows 23, 24, 30)."""

from __future__ import annotations

import contextlib
import json
import struct

import pytest
from cel_writers import (
    NO_ACTION,
    cel_json,
    cel_tlv,
    fault_of,
    field,
    pcclient,
    systemd_record,
    tlv_record,
)
from conftest import DATA, small_log
from hypothesis import given
from hypothesis import strategies as st
from log_editor import events_of

from pyverify import EventLog, EvidenceError
from pyverify._native import MAX_LOG_SIZE
from pyverify.evidence.cel import MAX_JSON_SIZE, Register
from pyverify.evidence.log_kinds import as_tcg_log, transcode

FIRST = (0, 8, {"sha256": b"\1" * 32}, b"1.0")
GOOD = cel_tlv([FIRST, (0, 4, {"sha256": b"\2" * 32}, bytes(4))])
RECORD = len(cel_tlv([FIRST]))
SHA256 = {"sha256": bytes(32)}
BAD_TLV = {
    "length past the end": (b"\0\xff\xff\xff\xff" + GOOD[5:], 1),
    "recnum of no bytes": (field(0, b"") + GOOD[13:], 0),
    "recnum of nine bytes": (field(0, bytes(9)) + GOOD[13:], 0),
    "no recnum": (GOOD[13:], 0),
    "no register": (GOOD[:13] + GOOD[19:], 13),
    "two registers": (GOOD[:19] + GOOD[13:], 19),
    "digest longer than its parent": (GOOD[:25] + struct.pack(">I", 33) + GOOD[29:], 25),
    "digests longer than the log": (GOOD[:20] + b"\xff\xff\xff\xff" + GOOD[24:], 20),
    "digest of the wrong size": (tlv_record(0, 0, {"sha256": bytes(20)}), 25),
    "digest under an unknown algorithm": (GOOD[:24] + b"\x27" + GOOD[25:], 24),
    "digest twice": (field(0, b"\0") + field(1, b"\0") + field(3, field(0xB, bytes(32)) * 2), 54),
    "no digest": (tlv_record(0, 0, {}, pcclient(8, b"")), 0),
    "only events that extend nothing": (tlv_record(0, 0, {}, pcclient(3, b"")), 0),
    "pcr 24": (tlv_record(0, 24, SHA256, pcclient(8, b"")), 0),
    "pcr 24 that is not extended": (tlv_record(0, 24, SHA256, pcclient(3, b"")), 0),
    "pcr of five bytes": (tlv_record(0, 1 << 32, SHA256, pcclient(8, b"")), 18),
    "NV index as a pcr that is extended": (tlv_record(0, 0x01C40200, SHA256, pcclient(8, b"")), 0),
    "NV record of a pcr": (tlv_record(0, 7, SHA256, pcclient(8, b""), register=2), 0),
    "second content": (GOOD[:RECORD] + pcclient(8, b"") + GOOD[RECORD:], RECORD),
    "second digests as content": (tlv_record(0, 0, SHA256, field(3, b"")), 61),
    "event without data": (tlv_record(0, 0, SHA256, field(5, field(0, bytes(4)))), 61),
    "event with data first": (tlv_record(0, 0, SHA256, field(5, field(1, b"") + field(0, bytes(4)))), 61),
    "event type too large": (tlv_record(0, 0, SHA256, field(5, field(0, b"\1" * 5) + field(1, b""))), 71),
    "template with a third field": (tlv_record(0, 0, SHA256, field(7, field(0, b"") + field(1, b"") * 2)), 61),
    "management of a million fields": (tlv_record(0, 0, SHA256, field(4, field(2, b"") * 1_000_000)), 66 + 16 * 5),
    "digests of a million fields": (tlv_record(0, 0, {})[:-5] + field(3, field(0xB, b"") * 1_000_000), 24 + 16 * 5),
    "management that does not frame": (tlv_record(0, 0, SHA256, field(4, b"\2\0\0")), 66),
    "registers of two sorts": (GOOD + tlv_record(2, 1, SHA256, pcclient(8, b""), register=108), len(GOOD)),
    "a TCG log": (small_log(["sha256"]), None),
}


@pytest.mark.parametrize("name", BAD_TLV)
def test_tlv_that_is_not_strict_is_refused_where_it_shows(name):
    data, at = BAD_TLV[name]
    code, offset = fault_of("cel-tlv", data)
    assert code == "cel.format"
    assert at is None or offset == at


@pytest.mark.parametrize(("register", "read"), [(0, False), (1, True), (4, True), (5, False)])
def test_measurement_registers_are_rtmr0_to_rtmr3(register, read):
    first = tlv_record(0, 1, SHA256, pcclient(8, b""), register=108)
    data = first + tlv_record(1, register, SHA256, pcclient(8, b""), register=108)
    if read:
        assert transcode("cel-tlv", data).registers is Register.MR
        return
    with pytest.raises(EvidenceError) as caught:
        transcode("cel-tlv", data)
    assert (caught.value.code, caught.value.offset) == ("cel.format", len(first))


def test_a_tlv_log_past_the_size_of_any_is_refused_unread():
    assert fault_of("cel-tlv", bytes(MAX_LOG_SIZE + 1)) == ("log.too-large", MAX_LOG_SIZE)


@pytest.mark.parametrize("kind", ["cel-tlv", "cel-json"])
def test_more_records_than_any_log_has_events_are_refused(kind, monkeypatch):
    monkeypatch.setattr(f"pyverify.evidence.{kind.replace('-', '_')}.MAX_RECORDS", 1)
    events = [FIRST, (0, 4, {"sha256": bytes(32)}, b"")]
    write = {"cel-tlv": cel_tlv, "cel-json": cel_json}[kind]
    assert as_tcg_log(kind, write(events[:1]))
    assert fault_of(kind, write(events))[0] == "log.too-large"


def test_a_cut_tlv_log_is_refused_or_was_cut_between_records():
    whole = cel_tlv(events_of((DATA / "kat_log.bin").read_bytes()))
    events = list(EventLog.parse(as_tcg_log("cel-tlv", whole)))
    ends = set()
    for size in range(len(whole)):
        try:
            log = EventLog.read(as_tcg_log("cel-tlv", whole[:size]))
        except EvidenceError as error:
            assert error.code == "cel.format"
            continue
        ends.add(size)
        assert list(log) == events[: len(log)] or len(log) <= 2
    record_ends = {len(cel_tlv(events_of((DATA / "kat_log.bin").read_bytes())[:n])) for n in range(8)}
    assert ends - record_ends <= {
        13 + 6 + 5 + 25
    }  # the first record alone, its content cut: it was a log without content
    assert record_ends <= ends


def test_a_log_without_any_content_is_read():
    data = tlv_record(0, 0, SHA256) + tlv_record(1, 1, SHA256)
    assert len(EventLog.parse(as_tcg_log("cel-tlv", data))) == 3


def test_a_log_whose_last_record_alone_lacks_content_was_cut():
    assert fault_of("cel-tlv", GOOD + tlv_record(2, 1, SHA256)) == ("cel.format", len(GOOD))


# The log's own Spec ID event


def spec_id_record(data: bytes, pcr: int = 0, digest: bytes = bytes(20)):
    return (pcr, NO_ACTION, {"sha1": digest}, data)


SPEC_ID = events_of(small_log(["sha256"]))[0][3]
BAD_SPEC_ID = {
    "of measurement registers": (spec_id_record(SPEC_ID, pcr=1), "cel.format"),
    "with a digest": (spec_id_record(SPEC_ID, digest=b"\1" * 20), "cel.format"),
    "cut": (spec_id_record(SPEC_ID[:-1]), "log.algorithms"),
    "with a byte too many": (spec_id_record(SPEC_ID + b"x"), "log.header"),
    "without algorithms": (spec_id_record(SPEC_ID[:24] + bytes(4) + SPEC_ID[28:]), "log.algorithms"),
    "of another bank than the records": (spec_id_record(SPEC_ID.replace(b"\x0b\0\x20", b"\x12\0\x20")), "cel.format"),
}


@pytest.mark.parametrize("name", BAD_SPEC_ID)
def test_a_spec_id_event_that_is_wrong_is_refused(name):
    record, code = BAD_SPEC_ID[name]
    events = [record, (0, 8, {"sha256": bytes(32)}, b"")]
    assert fault_of("cel-tlv", cel_tlv(events))[0] == code
    assert fault_of("cel-json", cel_json(events))[0] == code


# JSON

GOOD_RECORD = json.loads(cel_json([(0, 8, {"sha256": b"\1" * 32}, b"1.0")]))[0]


def changed(**members) -> bytes:
    return json.dumps([GOOD_RECORD | members]).encode()


def without(name: str) -> bytes:
    return json.dumps([{key: value for key, value in GOOD_RECORD.items() if key != name}]).encode()


def digest(value, name="sha256") -> bytes:
    return changed(digests=[{"hashAlg": name, "digest": value}])


def content(**members) -> bytes:
    return changed(content=GOOD_RECORD["content"] | members)


BAD_JSON = {
    "pcr true": changed(pcr=True),
    "pcr 7.0": changed(pcr=7.0),
    "pcr as a string": changed(pcr="07"),
    "pcr -1": changed(pcr=-1),
    "pcr 24": changed(pcr=24),
    "pcr null": changed(pcr=None),
    "no pcr": without("pcr"),
    "pcr and nv_index": changed(nv_index=0x01C40200),
    "two spellings of nv_index": changed(nv_index=1 << 24, nvindex=1 << 24),
    "nv_index that is none": without("pcr")[:-2] + b', "nv_index": 7}]',
    "no recnum": without("recnum"),
    "recnum true": changed(recnum=True),
    "recnum past 64 bits": changed(recnum=1 << 64),
    "recnum of 10,000 digits": changed().replace(b'"recnum": 1', b'"recnum": ' + b"1" * 10_000),
    "no digests": without("digests"),
    "empty digests": changed(digests=[]),
    "digests as an object": changed(digests={"sha256": "11" * 32}),
    "digest of the wrong length": digest("11" * 31),
    "digest of an odd length": digest("1" * 65),
    "digest with spaces": digest("11 " * 32),
    "digest with 0x": digest("0x" + "11" * 32),
    "digest of other digits": digest("\u0661" * 64),
    "digest that is no string": digest(11),
    "algorithm unknown": digest("11" * 32, "sha3_256"),
    "algorithm with a space": digest("11" * 32, " sha256"),
    "algorithm as a number": digest("11" * 32, 11),
    "digest twice": changed(digests=GOOD_RECORD["digests"] * 2),
    "digest twice under two names": changed(
        digests=[{"hashAlg": name, "digest": "11" * 32} for name in ("sm3", "sm3_256")]
    ),
    "event_type true": content(event_type=True),
    "event_type unknown": content(event_type="EV_NONSENSE"),
    "event_type in octal": content(event_type="010"),
    "event_type past 32 bits": content(event_type="4294967296"),
    "event_type missing": changed(content={"event_data": ""}),
    "event_data odd": content(event_data="000"),
    "event_data missing": changed(content={"event_type": 8}),
    "content without its type": without("content_type"),
    "content_type without content": without("content"),
    "content_type as a number": changed(content_type=5),
    "content as a list": changed(content=[]),
    "half of a surrogate pair": changed(content_type="systemd", content={"string": "\ud800"}),
    "a key twice": b'[{"pcr": 0, ' + changed()[2:],
    "a key twice deep inside": changed(content_type="x", content=1).replace(b": 1}", b': [{"a": {"b": 1, "b": 1}}]}'),
    "a number of 21 digits": changed(content_type="x", content=10**20),
    "NaN": changed(content_type="x", content=float("nan")),
    "Infinity": changed(content_type="x", content=float("inf")),
    "a fraction of 10,000 digits": changed(content_type="x", content=7).replace(
        b": 7}", b": 0." + b"1" * 10_000 + b"}"
    ),
    "depth bomb": b"[" * 100_000,
    "depth bomb in content": changed(content_type="x", content=7).replace(b": 7}", b": " + b"[" * 100_000),
    "depth bomb of objects": b'[{"a":' + b'{"a":' * 100_000,
    "an object": changed()[1:-1],
    "nothing": b"",
    "a record that is a list": b"[[]]",
    "a comma too many": changed()[:-1] + b",]",
    "a semicolon": changed()[:-1] + b";" + changed()[1:],
    "no comma": changed()[:-1] + b" " + changed()[1:],
    "more behind": changed() + b"[]",
    "a comment": changed() + b"// x",
    "byte order mark": b"\xef\xbb\xbf" + changed(),
    "UTF-16": changed().decode().encode("utf-16"),
    "Latin-1": b'[{"\xe4": 1}]',
    "a line feed in a string": changed(note="x").replace(b'"x"', b'"\n"'),
    "systemd's own form": systemd_record(11, "sysinit", ["sha256"]),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_json_that_is_not_strict_is_refused(name):
    code, offset = fault_of("cel-json", BAD_JSON[name])
    assert code == "cel.format"
    assert 0 <= offset <= len(BAD_JSON[name])


def test_json_faults_are_told_by_their_byte_not_their_character():
    first = json.dumps(GOOD_RECORD | {"note": "größer"}, ensure_ascii=False).encode()
    data = b"[" + first + b", " + changed(pcr=24, recnum=2)[1:]
    assert fault_of("cel-json", data) == ("cel.format", 1 + len(first) + 2)
    data = b"[" + first + b", {nonsense}]"
    assert fault_of("cel-json", data) == ("cel.format", 1 + len(first) + 3)


def test_a_cut_json_log_is_always_refused():
    data = cel_json(events_of((DATA / "kat_log.bin").read_bytes()))
    for size in range(len(data)):
        assert fault_of("cel-json", data[:size])[0] == "cel.format"


def test_more_json_than_any_log_is_refused_unread():
    assert fault_of("cel-json", b"[" + b" " * MAX_JSON_SIZE) == ("log.too-large", MAX_JSON_SIZE)


@pytest.mark.parametrize("kind", ["cel-tlv", "cel-json", "ccel"])
@given(data=st.binary(max_size=200))
def test_nothing_but_our_error_leaves_noise(kind, data):
    with contextlib.suppress(EvidenceError):
        as_tcg_log(kind, data)


@given(at=st.integers(0, len(GOOD) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_in_tlv_never_passes_for_the_same_log(at, bit):
    flipped = bytearray(GOOD)
    flipped[at] ^= 1 << bit
    try:
        log = as_tcg_log("cel-tlv", bytes(flipped))
    except EvidenceError:
        return
    assert EventLog.read(log).fault is None
    numbers = set(range(5, 13)) | set(range(RECORD + 5, RECORD + 13))  # record numbers are no part of a TCG log
    assert at in numbers or log != as_tcg_log("cel-tlv", GOOD)


ODD = [None, True, -1, 0, 1.5, 7.0, 24, 1 << 24, 1 << 65, float("inf"), "", "0", "00", "07", "\ud800", "sha256"]
JSON_VALUES = st.recursive(
    st.sampled_from(ODD),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["digest", "hashAlg", "string"]), inner)
    ),
    max_leaves=4,
)


@given(members=st.dictionaries(st.sampled_from(list(GOOD_RECORD)), JSON_VALUES, max_size=3))
def test_nothing_but_our_error_leaves_json_of_any_types(members):
    try:
        log = EventLog.read(as_tcg_log("cel-json", json.dumps([GOOD_RECORD | members]).encode()))
    except EvidenceError:
        return
    assert log.fault is None
    assert len(log) == 2


@given(at=st.integers(0, len(GOOD)), cut=st.integers(0, 60), put=st.binary(max_size=12))
def test_nothing_but_our_error_leaves_spliced_tlv(at, cut, put):
    try:
        log = as_tcg_log("cel-tlv", GOOD[:at] + put + GOOD[at + cut :])
    except EvidenceError as error:
        assert error.code == "cel.format"
        return
    assert EventLog.read(log).fault is None

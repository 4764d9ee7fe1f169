"""16 to 26 and 30: data of events, canonical logs and IMA lists whose lengths, depths and types lie."""

from __future__ import annotations

import struct
import time

from attested_machine import LOG_ONLY, Machine
from cel_writers import cel_json, cel_tlv, field, tlv_record
from conftest import entry as event
from conftest import hash_of, no_action, small_log
from ima_by_hand import a_digest, data_of
from ima_by_hand import entry as ima_entry
from learning import ran_in
from log_editor import Log, events_of, new
from secure_boot_logs import GLOBAL, SECURE_BOOT_LOG, SHA256_LIST, Editor, hashes
from test_decode import locators, nested
from test_event_data import gpt, image

from catalogue.archives import archive, in_archive
from catalogue.scenarios import booted, entry, judged
from pyverify import Evidence
from pyverify.evidence.bundle import ImaList

B = ["sha256"]
EFI_IMAGE, EFI_GPT, EVENT_TAG, VARIABLE_BOOT = 0x80000003, 0x80000006, 6, 0x80000002


@entry(16)
def variable_sizes():
    machine = Machine(log=SECURE_BOOT_LOG)
    sizes = [(1 << 63, (1 << 64) - 1), ((1 << 64) - 1, 1), (1, 1 << 63), (1 << 62, 0), (2, (1 << 64) - 4)]
    forged = [GLOBAL + struct.pack("<QQ", *pair) + bytes(8) for pair in sizes]
    in_pcr_7 = [
        booted(machine, Editor(SECURE_BOOT_LOG).set(Editor(SECURE_BOOT_LOG).find("dbx"), d).build()) for d in forged
    ]
    in_pcr_1 = Log.parse(SECURE_BOOT_LOG)
    in_pcr_1.insert(2, new(in_pcr_1, 1, VARIABLE_BOOT, forged[0]))
    yield from judged(machine, *in_pcr_7, booted(machine, in_pcr_1.bytes()))


@entry(17)
def signature_lists():
    machine = Machine(log=SECURE_BOOT_LOG)
    lists = [
        SHA256_LIST + struct.pack("<III", size, 0, each) + bytes(48)
        for size, each in ((76, 0), (76, 15), (76, 0xFFFFFFFF), (0, 48), (27, 48), (0xFFFFFFFF, 48), (75, 48))
    ]
    yield from judged(machine, *(booted(machine, Editor(SECURE_BOOT_LOG).content("db", one).build()) for one in lists))


@entry(18)
def signature_header():
    machine = Machine(log=SECURE_BOOT_LOG)
    db = Editor(SECURE_BOOT_LOG).entries[Editor(SECURE_BOOT_LOG).find("db")].variable[2]
    headed = [
        hashes(bytes(32), header=bytes(48)),
        db + hashes(bytes(32), header=hash_of("sha256", b"evil") + bytes(16)),
    ]
    yield from judged(machine, *(booted(machine, Editor(SECURE_BOOT_LOG).content("db", one).build()) for one in headed))


@entry(19)
def device_paths():
    machine = Machine()
    end = b"\x7f\xff\4\0"
    paths = [struct.pack("<BBH", 4, 4, n) + bytes(20) for n in (0, 1, 2, 3, 0xFFFF)]
    paths += [b"\1\x63\4\0" * 8, b"\1\x63\4\0" * 1_000_000 + end, b"\1\x63\4\0" * 1_000_000]
    logs = []
    for path in paths:
        log = Log.parse(machine.log)
        log[log.find(4, EFI_IMAGE)].data = image(path)
        logs.append(log.bytes())
    start = time.process_time()
    yield from judged(machine, *(machine.evidence(event_log=log) for log in logs))
    assert time.process_time() - start < 5


@entry(20)
def nested_records():
    machine = Machine(log=small_log(B, extra=event(12, EVENT_TAG, nested(6), B)))
    deep = [nested(9), nested(5_000), nested(100_000)]
    measured = [booted(machine, small_log(B, extra=event(12, EVENT_TAG, data, B))) for data in deep]
    noted = machine.log + no_action(0xFFFFFFFF, nested(20_000), B)
    yield from judged(machine, *measured, machine.evidence(event_log=noted))


@entry(21)
def partition_table():
    machine = Machine(log=small_log(B, extra=event(5, EFI_GPT, gpt(4, 4), B)))
    forged = []
    for count, size in ((0x80000001, 128), (1 << 60, 16), ((1 << 64) - 1, 0xFFFFFFFF), (4, 0), (5, 128)):
        data = bytearray(gpt(4, count))
        data[84:88] = struct.pack("<I", size)
        forged.append(booted(machine, small_log(B, extra=event(5, EFI_GPT, bytes(data), B))))
    yield from judged(machine, *forged)


@entry(22)
def inner_lengths():
    machine = Machine()
    manifest = locators((1, b"https://example.com/rim\0"), (0, b""))
    at = manifest.index(b"https") - 4
    lies = [
        manifest[:at] + struct.pack("<I", 0xFFFFFFFF) + manifest[at + 4 :],
        manifest[:36] + b"\xff" + manifest[37:],
        b"H-CRTM CompMeas\0" + b"\xff" + b"x\0\1\0\0",
        b"H-CRTM CompMeas\0" + b"\2x\0\0\xff\xff",
    ]
    yield from judged(machine, *(machine.evidence(event_log=machine.log + no_action(0, lie, B)) for lie in lies))


def canonical(machine: Machine, kind: str, *logs: bytes) -> list[Evidence]:
    return [machine.evidence(event_log=log, event_log_kind=kind) for log in logs]


@entry(23)
def tlv_lengths():
    machine = Machine()
    good = cel_tlv(events_of(machine.log))
    one = {"sha256": bytes(32)}
    lies = [
        b"\0\xff\xff\xff\xff" + good[5:],
        good[:20] + b"\xff\xff\xff\xff" + good[24:],
        good[:25] + struct.pack(">I", 0xFFFFFFFF) + good[29:],
        good[:25] + struct.pack(">I", 33) + good[29:],
        good + tlv_record(99, 0, one)[:-1],
        good + tlv_record(99, 0, {})[:-5] + field(3, field(0xB, bytes(31))),
        good[:-1],
    ]
    yield from judged(machine, *canonical(machine, "cel-tlv", *lies), honest=canonical(machine, "cel-tlv", good))


@entry(24)
def json_that_is_not_strict():
    machine = Machine()
    good = cel_json(events_of(machine.log), first=0)
    bombs = [
        b"[" * 100_000,
        b'[{"a":' * 50_000,
        good.replace(b'"recnum": 1,', b'"recnum": ' + b"9" * 10_000_000 + b",", 1),
        good.replace(b'"pcr": 8,', b'"pcr": 8, "pcr": 9,', 1),
        good.replace(b'"recnum": 1,', b'"recnum": NaN,', 1),
        good.replace(b'"recnum": 1,', b'"recnum": Infinity,', 1),
        good.replace(b'"recnum": 1,', b'"recnum": 1e400,', 1),
        good + b"x",
        b"\xef\xbb\xbf" + good,
    ]
    assert all(bomb != good for bomb in bombs)
    start = time.process_time()
    yield from judged(machine, *canonical(machine, "cel-json", *bombs), honest=canonical(machine, "cel-json", good))
    assert time.process_time() - start < 10


TYPES = {
    b'"pcr": 8,': (b'"pcr": true,', b'"pcr": 8.0,', b'"pcr": "08",', b'"pcr": null,', b'"pcr": [8],'),
    b'"recnum": 2,': (b'"recnum": true,', b'"recnum": 2.0,', b'"recnum": "2",'),
    b'"event_type": 4,': (b'"event_type": true,', b'"event_type": 4.0,', b'"event_type": [4],'),
}


@entry(30)
def json_types(tmp_path):
    machine = Machine()
    good = cel_json(events_of(machine.log), first=0)
    forged = [good.replace(old, new, 1) for old, others in TYPES.items() for new in others]
    assert all(one != good for one in forged)
    yield from judged(machine, *canonical(machine, "cel-json", *forged), honest=canonical(machine, "cel-json", good))
    values = (b"true", b"7.0", b'"7"', b"-1", b"[7]", b"1e1")
    boots = {f"b{i}": {"evidence.json": b'{"boot_seq": ' + value + b"}"} for i, value in enumerate(values)}
    yield from in_archive(archive(tmp_path / "a", machine, boots), machine)


def lists(machine: Machine, *sent: bytes) -> list[Evidence]:
    return [machine.evidence(quotes=None, ima=[ImaList("binary", data)]) for data in sent]


def ima_list(log: bytes) -> list[bytes]:
    """The entries of an IMA list after this log."""
    files = [ima_entry(data_of(path, a_digest(i))) for i, path in enumerate(("/bin/a", "/bin/b"))]
    return [ran_in(log), *files]


@entry(25)
def ima_lengths():
    machine = Machine()
    first, second, third = ima_list(machine.log)
    forged = []
    assert second[28:34] == b"ima-ng"
    for place in (24, 34, 38, 82):  # sizes of the template's name, its data, the digest's field and the path's
        (size,) = struct.unpack_from("<I", second, place)
        for other in (0, size - 1, size + 1, 0xFFFFFFFF, 0x80000000):
            forged.append(first + second[:place] + struct.pack("<I", other) + second[place + 4 :] + third)
    good = first + second + third
    forged += [good[:-1], good + b"\n", good[: len(first) + 10]]
    yield from judged(machine, *lists(machine, *forged), policy=LOG_ONLY, honest=lists(machine, good))


def other_way_round(one: bytes) -> bytes:
    """An entry of template ima-ng as a big-endian kernel writes it."""
    (size,) = struct.unpack_from("<I", one, 38)
    digest, path = one[42 : 42 + size], one[46 + size :]
    data = struct.pack(">I", size) + digest + struct.pack(">I", len(path)) + path
    return struct.pack(">I", 10) + one[4:24] + struct.pack(">I", 6) + one[28:34] + struct.pack(">I", len(data)) + data


@entry(26)
def other_byte_order():
    machine = Machine()
    good = ima_list(machine.log)
    assert int.from_bytes(good[0][:4], "little") == 10
    whole = b"".join(map(other_way_round, good))
    yield from judged(
        machine,
        *lists(machine, whole, other_way_round(good[0])),
        policy=LOG_ONLY,
        honest=lists(machine, b"".join(good)),
    )

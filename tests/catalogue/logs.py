"""1 to 15: framing of event logs. Nothing of a log that does not parse to its end is judged."""

from __future__ import annotations

import struct
import time
import tracemalloc

from attested_machine import LOG_ONLY, Machine
from conftest import entry as event
from conftest import hash_of, no_action, small_log, spec_id
from log_editor import Log
from secure_boot_logs import AUTHORITY, SECURE_BOOT_LOG

from catalogue.scenarios import booted, entry, judged

B = ["sha256"]
LOG = small_log(B)
FIRST = len(spec_id(B))
"""Where the first event behind the header is."""


def put(data: bytes, at: int, value: bytes) -> bytes:
    """The data with some bytes in the place of others."""
    return data[:at] + value + data[at + len(value) :]


def sent(machine: Machine, *logs: bytes):
    """Evidence with the honest quote and each of these logs in the place of the honest one."""
    return [machine.evidence(event_log=log) for log in logs]


def sha1_log() -> bytes:
    """The log of a TPM 1.2."""
    parts = []
    for one in Log.parse(small_log(["sha1"])):
        parts.append(struct.pack("<II", one.pcr, one.type) + one.digests["sha1"])
        parts.append(struct.pack("<I", len(one.data)) + one.data)
    return b"".join(parts)


def bare(log: bytes) -> Machine:
    """A machine that sends a log and nothing else."""
    machine = Machine(log=small_log(["sha1"]), banks=("sha1",))
    machine.log = log
    return machine


@entry(1)
def event_size():
    machine = Machine()
    at = len(LOG) - len("Exit Boot Services Returned with Success") - 4
    sizes = [struct.pack("<I", size) for size in (0xFFFFFFFF, 0x80000000, 0xFFFFFFFF - at)]
    tracemalloc.start()
    yield from judged(machine, *sent(machine, *(put(LOG, at, size) for size in sizes)))
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
    old = bare(sha1_log())
    forged = old.evidence(event_log=put(old.log, 28, sizes[0]), quotes=None)
    honest = [old.evidence(quotes=None)]
    yield from judged(old, forged, policy=LOG_ONLY, honest=honest)


@entry(2)
def digest_count():
    machine = Machine()
    yield from judged(
        machine, *sent(machine, *(put(LOG, FIRST + 8, struct.pack("<I", n)) for n in (0xFFFFFFFF, 2, 1 << 31)))
    )


@entry(3)
def number_of_algorithms():
    machine = Machine()
    yield from judged(
        machine, *sent(machine, *(put(LOG, 56, struct.pack("<I", n)) for n in (0, 0xFFFFFFFF, 2, 1 << 30)))
    )


@entry(4)
def digest_size():
    machine = Machine()
    yield from judged(machine, *sent(machine, *(put(LOG, 62, struct.pack("<H", n)) for n in (0, 20, 31, 33, 65535))))


def with_foreign_bank(size: int) -> bytes:
    """A log that has, beside SHA-256, a bank of SHA3-256 (0x27), of digests of this size."""
    header = bytearray(spec_id(["sha256", "sm3_256"]))
    header[64:68] = struct.pack("<HH", 0x27, size)
    parts = [bytes(header)]
    for one in Log.parse(LOG):
        foreign = struct.pack("<H", 0x27) + hash_of("sha3_256", one.data)[:size]
        parts.append(struct.pack("<IIIH", one.pcr, one.type, 2, 0xB) + one.digests["sha256"] + foreign)
        parts.append(struct.pack("<I", len(one.data)) + one.data)
    return b"".join(parts)


@entry(5)
def unknown_algorithm():
    machine = Machine()
    yield from judged(machine, *sent(machine, with_foreign_bank(0), with_foreign_bank(32)))


@entry(6)
def algorithm_twice():
    machine = Machine(banks=("sha1", "sha256"))
    log = machine.log
    twice = put(log, 64, log[60:64]), put(log, 60, log[64:68])
    one = Log.parse(log)[0]
    digests = struct.pack("<H", 0xB) + one.digests["sha256"]
    head = struct.pack("<III", one.pcr, one.type, 2)
    at = len(spec_id(["sha1", "sha256"]))
    size = len(event(one.pcr, one.type, one.data, ["sha1", "sha256"]))
    body = head + digests + digests + struct.pack("<I", len(one.data)) + one.data
    yield from judged(machine, *sent(machine, *twice, log[:at] + body + log[at + size :]))


@entry(7)
def vendor_info():
    machine = Machine(log=spec_id(B, b"vendor") + LOG[FIRST:])
    log, at = machine.log, FIRST - 1
    longer = put(log, 28, struct.pack("<I", struct.unpack_from("<I", log, 28)[0] + 2))
    extra = longer[: at + 7] + b"xx" + longer[at + 7 :]
    yield from judged(machine, *sent(machine, put(log, at, b"\xff"), put(log, at, b"\7"), put(log, at, b"\5"), extra))


@entry(8)
def second_header():
    machine = Machine()
    again = no_action(0, spec_id(["sha1", "sha512"])[32:], B)
    inside = LOG[:FIRST] + again + LOG[FIRST:]
    yield from judged(machine, *sent(machine, inside, LOG + again, LOG + LOG))


@entry(9)
def header_entry():
    machine = Machine()
    of_pcr_1, digest = struct.pack("<I", 1), bytes(19) + b"\1"
    yield from judged(machine, *sent(machine, put(LOG, 0, of_pcr_1), put(LOG, 8, digest), put(LOG, 0, b"\xff" * 4)))


@entry(10)
def truncated():
    """A cut between two entries is a log of fewer: without the last of PCR 5, which is not compared, it is a prefix."""
    machine = Machine()
    ends = [FIRST]
    for one in Log.parse(LOG):
        ends.append(ends[-1] + len(event(one.pcr, one.type, one.data, B)))
    cuts = [size for size in range(1, len(LOG)) if size < FIRST or size not in ends]
    yield from judged(machine, *sent(machine, *(LOG[:cut] for cut in cuts), *(LOG[:end] for end in ends[:-1])))


@entry(11)
def padding():
    machine = Machine()
    good = [LOG + b"\xff" * 64, LOG + bytes(64), LOG + b"\xff" * 4096]
    mixed = [LOG + bytes(32) + b"\xff" * 32, LOG + b"\xff" * 33 + bytes(31)]
    yield from judged(machine, *sent(machine, *good, *mixed))


@entry(12)
def behind_padding():
    machine = Machine()
    hidden = event(8, 0xD, b"init=/bin/sh", B)
    yield from judged(
        machine, *sent(machine, *(LOG + pad + hidden for pad in (bytes(64), b"\xff" * 64)), LOG + bytes(64) + b"x")
    )


@entry(13)
def millions_of_events():
    machine = Machine()
    empty = event(1, 5, b"", B)
    start = time.process_time()
    yield from judged(machine, *sent(machine, LOG + empty * ((64 << 20) // len(empty) - 100), LOG + empty * (2 << 20)))
    assert time.process_time() - start < 20


@entry(14)
def pcr_index():
    machine = Machine()
    logs = [LOG + event(pcr, 5, b"x", B) for pcr in (24, 31, 32, 255, 1 << 31, 0xFFFFFFFE)]
    yield from judged(machine, *sent(machine, *logs))


@entry(15)
def unknown_event_type():
    machine = Machine(log=SECURE_BOOT_LOG)
    log = Log.parse(SECURE_BOOT_LOG)
    renamed = []
    for place in (log.find(7, AUTHORITY), log.find(4, 0x80000003)):
        one = log.copy()
        one[place].type = 0x7777
        renamed.append(one.bytes())
    measured = log.copy()
    measured.insert(log.find(4, 4), log[log.find(4, 0x80000003)].rehashed(b"unknown"))
    measured[log.find(4, 4)].type = 0x7777
    yield from judged(machine, *sent(machine, *renamed), booted(machine, measured.bytes()))

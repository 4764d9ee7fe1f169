"""Event data, canonical logs, signature databases, certificates: what Python reads of evidence."""

from __future__ import annotations

import contextlib
import datetime
import json
import struct
from collections.abc import Callable, Iterator
from functools import partial

import cel_writers
from conftest import DATA, SHARED, small_log

from fuzz.json_trees import after_head
from fuzz.logs import log_seeds
from fuzz.mutators import mutate_der, mutate_signature_lists
from fuzz.reader import read_log
from fuzz.target import Target, join, mutate_one_part, split
from pyverify import EvidenceError, UsageError
from pyverify.evidence import cel, cel_json, cel_tlv, detect, log_kinds, sbat, signature_updates, userspace_log
from pyverify.evidence.certificate import certificate_words, common_name, to_be_signed
from pyverify.evidence.certificates import check_chain, model_of, public_key_of, read_certificates
from pyverify.evidence.decoded import Undecodable
from pyverify.evidence.event_data import decode, describe
from pyverify.evidence.eventlog import EventLog
from pyverify.fleet.evidence_json import parse_evidence_json

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)


def check_event_data(data: bytes) -> None:
    """PCR, type, data."""
    if len(data) < 5:
        return
    pcr, kind, data = data[0] % 25, int.from_bytes(data[1:5], "little"), data[5:]
    decoded = decode(pcr, kind, data)
    text = describe(pcr, kind, data)
    assert text == decoded.text and len(text) <= 240 and text.isprintable(), ascii(text)
    for field in decoded.fields:
        assert 0 <= field.start <= field.stop <= len(data), field
    assert len(json.dumps({field.name: field.value for field in decoded.fields})) <= 2000 + 40 * len(data)
    assert decoded.fault is None or 0 <= decoded.fault.offset <= len(data)


def event_seeds() -> Iterator[bytes]:
    seen = set()
    for log in log_seeds():
        for entry in read_log(log).entries:
            key = (entry.pcr, entry.type, len(entry.data) // 16, entry.data[:8])
            if key not in seen and len(entry.data) < 3000:
                seen.add(key)
                yield bytes([entry.pcr % 25]) + struct.pack("<I", entry.type) + entry.data


KINDS = ("ccel", "cel-tlv", "cel-json")


def check_canonical(data: bytes) -> None:
    """Kind, log. What comes out is a log of the same number of records, which reads without a fault."""
    if not data:
        return
    which, data = data[0] % 4, data[1:]
    if which == 3:
        with contextlib.suppress(EvidenceError):
            records = userspace_log.read_records(data)
            firmware = small_log(["sha256"])
            both = EventLog.parse(log_kinds.with_userspace(firmware, data))
            assert len(both) == len(EventLog.parse(firmware)) + len(records)
        return
    try:
        log = log_kinds.transcode(KINDS[which], data).log
    except EvidenceError as error:
        assert error.offset is None or 0 <= error.offset <= len(data), error
        return
    if not log:
        return
    parsed = EventLog.parse(log)
    if which:
        records = (cel_tlv, cel_json)[which - 1].read_records(data)
        assert len(parsed) - len(records) in (0, 1)  # the header, which may be one of them
        again, _ = cel.tcg_log(records)
        assert again == log


def canonical_seeds() -> Iterator[bytes]:
    for log in (small_log(["sha256"]), small_log(["sha1", "sha384"]), (DATA / "kat_log.bin").read_bytes()):
        entries = read_log(log).entries
        events = [(e.pcr, e.type, e.digests, e.data) for e in entries[1:] if e.digests]
        yield b"\1" + cel_writers.cel_tlv(events)
        yield b"\2" + cel_writers.cel_json(events)
        yield b"\2" + cel_writers.cel_json(events, names=True, indent=1)
    yield b"\0" + struct.pack("<I", 1) + small_log(["sha384"])[4:]
    for path in sorted(SHARED.glob("recordings/*/*tpm2-measure.log"))[:4]:
        yield b"\3" + path.read_bytes()[:4000]
    record = '\x1e{"pcr":11,"digests":[{"hashAlg":"sha256","digest":"%s"}],"content_type":"systemd","content":%s}\n'
    content = '{"eventType":"phase","string":"enter-initrd"}'
    yield b"\3" + (record % ("ab" * 32, content)).encode()


def check_dbx(data: bytes) -> None:
    with contextlib.suppress(UsageError):
        assert signature_updates.read_update(data, "dbx")
    with contextlib.suppress(Undecodable):
        signature_updates.authority_certificate(data)
    sbat.parse_sbat(data)
    detect.detect_kind(data)


def dbx_seeds() -> Iterator[bytes]:
    from hunt_fleet import SHA256_LIST, X509_LIST, authenticated, signature_list

    hashes = signature_list(SHA256_LIST, bytes(range(32)), bytes(32))
    both = hashes + signature_list(X509_LIST, b"0\x03\x02\x01\x01")
    yield from (hashes, both, authenticated(both), b"\x27\0\0\0" + both, b"sbat,1,2022052400\ngrub,2\n")
    for seed in event_seeds():
        if seed[1:5] in (b"\x01\0\0\x80", b"\xe0\0\0\x80"):
            yield seed[5:]


def check_certificates(data: bytes) -> None:
    """A leaf, then a file of authorities."""
    leaf, rest = split(data, 2)
    words, name, signed = certificate_words(leaf), common_name(leaf), to_be_signed(leaf)
    assert all(text is None or isinstance(text, str) for text in (words, name)) and (signed is None or signed in leaf)
    model_of(leaf)
    key = public_key_of(leaf)
    try:
        authorities = read_certificates(rest)
    except (EvidenceError, UsageError):
        authorities = []
    if key is not None:
        for purpose in ("ek", "ak"):
            faults = check_chain(leaf, authorities, [], at=NOW, purpose=purpose, key=key)
            assert faults, "held without a pinned root"
            check_chain(leaf, authorities, authorities[:1], at=NOW, purpose=purpose, key=key)


def certificate_seeds() -> Iterator[bytes]:
    import test_certificates as made

    leaf, middle, root = made.leaf(made.MIDDLE), made.MIDDLE, made.ROOT
    yield join(leaf.der, middle.der + root.der)
    yield join(leaf.der, made.pem(middle, root))
    for path in sorted(SHARED.glob("recordings/*/**/ek*.crt"))[:3]:
        yield join(path.read_bytes(), leaf.der)


def mutate_certificates(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
    """One of the two, mostly as DER that stays DER."""
    return mutate_one_part(2)(data, most, seed // 3, own if seed % 3 == 0 else partial(_as_der, seed, own))


def _as_der(seed: int, own: Callable[[bytes, int], bytes], data: bytes, most: int) -> bytes:
    return mutate_der(data, most, seed, own)


def check_evidence_json(data: bytes) -> None:
    try:
        seq, at = parse_evidence_json(data)
    except ValueError:  # what its only caller takes for a fault of the boot
        return
    assert seq is None or 0 <= seq < 1 << 63
    assert at is None or at.tzinfo is not None


def evidence_json_seeds() -> Iterator[bytes]:
    yield b'{"boot_seq": 7, "collected_at": "2026-11-01T10:00:00+02:00", "other": [1.5, {"a": null}]}'


TARGETS = {
    "event_data": Target(check_event_data, event_seeds, 4096),
    "canonical": Target(check_canonical, canonical_seeds, 8192, after_head(1)),
    "dbx": Target(check_dbx, dbx_seeds, 4096, mutate_signature_lists),
    "certificates": Target(check_certificates, certificate_seeds, 8192, mutate_certificates),
    "evidence_json": Target(check_evidence_json, evidence_json_seeds, 2048, after_head(0)),
}

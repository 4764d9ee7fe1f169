"""Rows of evidence for hunts, and an independent search of them: a plain walk of a log that shares no code."""

from __future__ import annotations

import datetime
import struct

import pyarrow as pa
from log_editor import events_of

from bench.memory_source import MemorySource
from pyverify.evidence.columns import evidence_schema
from pyverify.fleet.hunt import Hunt, hunt
from pyverify.fleet.needles import Needles

IMAGE = 0x80000003
AUTHORITY = 0x800000E0
SHA256_LIST = bytes.fromhex("2616c4c14c509240aca941f936934328")
SHA384_LIST = bytes.fromhex("07533effd09fc94885f18ad56c701e01")
X509_LIST = bytes.fromhex("a159c0a5e494a74a87b5ab155c2bf072")
X509_SHA256_LIST = bytes.fromhex("92a4d23bc0967940b420fcf98ef103ed")
RSA2048_LIST = bytes.fromhex("e866573c9c26344eaa14ed776e85b3b6")


def row(machine: str, boot: str, log: bytes | None, **more) -> dict:
    return {"machine": machine, "boot": boot, "event_log": log, **more}


def source(*rows: dict, batch: int = 1000) -> MemorySource:
    """The rows, so many a batch."""
    table = pa.Table.from_pylist(list(rows), schema=evidence_schema())
    return MemorySource(table.to_batches(max_chunksize=batch))


def hunted(rows: list[dict], digests=(), dbx=(), texts=(), *, batch: int = 1000, jobs: int = 1) -> Hunt:
    result = Hunt(Needles(digests, dbx, texts))
    hunt(source(*rows, batch=batch), result, jobs=jobs)
    return result


def at(day: int) -> datetime.datetime:
    return datetime.datetime(2026, 11, day, tzinfo=datetime.UTC)


def has_digest(log: bytes, bank: str, digest: bytes, pcrs: set[int] | None = None) -> list[int]:
    """Numbers of the events of a good crypto-agile log with this digest, by a plain walk."""
    return [
        number
        for number, (pcr, _, digests, _) in enumerate(events_of(log))
        if digests.get(bank) == digest and (pcrs is None or pcr in pcrs)
    ]


def has_text(log: bytes, text: str) -> list[int]:
    """Numbers of the events whose data has a text."""
    forms = text.encode(), text.encode("utf-16-le")
    return [number for number, event in enumerate(events_of(log)) if any(form in event[3] for form in forms)]


def signature_list(kind: bytes, *entries: bytes) -> bytes:
    """One EFI_SIGNATURE_LIST; all entries are of one size."""
    size = 16 + len(entries[0])
    body = b"".join(bytes(16) + one for one in entries)
    return kind + struct.pack("<III", 28 + len(body), 0, size) + body


def authenticated(lists: bytes, signature: bytes = b"\x30\x03abc") -> bytes:
    """The lists behind the header that updates are published with: a time, and a PKCS #7 signature by GUID."""
    pkcs7 = struct.pack("<IHH", 0x4AAFD29D, 0x68DF, 0x49EE) + bytes.fromhex("8aa9347d375665a7")
    certificate = struct.pack("<IHH", 24 + len(signature), 0x0200, 0x0EF1) + pkcs7 + signature
    return struct.pack("<HBBBBBBIhBB", 2026, 11, 1, 0, 0, 0, 0, 0, 0, 0, 0) + certificate + lists


def hits(result) -> dict[str, list[tuple[str, int, int]]]:
    """By machine: needle, boots that had it, number of the event that is told."""
    return {
        name: sorted((str(result.needles.all[n]), span.boots, one.events[n].number) for n, span in one.spans.items())
        for name, one in result.machines.items()
    }


def only(result, machine: str = "m"):
    """The one event that is told of a machine."""
    (event,) = result.machines[machine].events.values()
    return event

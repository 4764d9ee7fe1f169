"""Crypto-agile logs as lists of entries that a test may change, sharing no code with the package."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from conftest import ALGORITHMS, hash_of

NAMES = {number: name for name, (number, _) in ALGORITHMS.items()}


@dataclass
class Entry:
    """One entry of a log."""

    pcr: int
    type: int
    digests: dict[str, bytes]
    data: bytes

    def rehashed(self, data: bytes | None = None) -> Entry:
        """The entry with these data, or its own, and the digests of them: what an attacker who extends can have."""
        data = self.data if data is None else data
        return replace(self, data=data, digests={bank: hash_of(bank, data) for bank in self.digests})

    def with_digest(self, bank: str, digest: bytes) -> Entry:
        """The entry with another digest in one bank."""
        return replace(self, digests={**self.digests, bank: digest})


class Log(list):
    """The entries behind the header, which is kept as bytes."""

    def __init__(self, header: bytes, entries=()) -> None:
        super().__init__(entries)
        self.header = header

    @classmethod
    def parse(cls, log: bytes) -> Log:
        """Reads a log that is known to be good, up to what it may be padded with."""
        at = 32 + struct.unpack_from("<I", log, 28)[0]
        entries = cls(log[:at])
        while at < len(log) and log[at : at + 8] not in (b"\xff" * 8, bytes(8)):
            pcr, kind, count = struct.unpack_from("<III", log, at)
            at += 12
            digests = {}
            for _ in range(count):
                name = NAMES[struct.unpack_from("<H", log, at)[0]]
                size = ALGORITHMS[name][1]
                digests[name] = log[at + 2 : at + 2 + size]
                at += 2 + size
            size = struct.unpack_from("<I", log, at)[0]
            entries.append(Entry(pcr, kind, digests, log[at + 4 : at + 4 + size]))
            at += 4 + size
        return entries

    def bytes(self) -> bytes:
        """The log as bytes."""
        parts = [self.header]
        for one in self:
            parts.append(struct.pack("<III", one.pcr, one.type, len(one.digests)))
            parts += [struct.pack("<H", ALGORITHMS[bank][0]) + digest for bank, digest in one.digests.items()]
            parts.append(struct.pack("<I", len(one.data)) + one.data)
        return b"".join(parts)

    def copy(self) -> Log:
        """A log that may be changed on its own."""
        return Log(self.header, [replace(one, digests=dict(one.digests)) for one in self])

    def find(self, pcr: int | None = None, type: int | None = None, data: bytes = b"") -> int:
        """The place of the first entry of this PCR and type whose data holds these bytes."""
        for place, one in enumerate(self):
            if pcr in (None, one.pcr) and type in (None, one.type) and data in one.data:
                return place
        raise LookupError((pcr, type, data))


def events_of(log: bytes) -> list[tuple[int, int, dict[str, bytes], bytes]]:
    """PCR, type, digests and data of every entry of a crypto-agile log, the Spec ID event first."""
    parsed = Log.parse(log)
    return [(0, 3, {"sha1": bytes(20)}, parsed.header[32:]), *((e.pcr, e.type, e.digests, e.data) for e in parsed)]


def new(log: Log, pcr: int, type: int, data: bytes) -> Entry:
    """An entry that hashes its data in the banks of the log."""
    return Entry(pcr, type, {bank: hash_of(bank, data) for bank in log[-1].digests}, data)

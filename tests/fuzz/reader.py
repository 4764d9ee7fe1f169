"""A second reader of event logs and binary IMA lists, strict as SPEC sections 2 and 7 are, that shares nothing with the
package: bytes in, entries and whether something is wrong out."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from conftest import ALGORITHMS, hash_of

NAMES = {number: name for name, (number, _) in ALGORITHMS.items()}
NO_ACTION, HCRTM = 3, 0x80000010
PADDING = (0, 0xFFFFFFFF)


class FaultError(Exception):
    """The rest cannot be read."""


@dataclass
class Entry:
    pcr: int
    type: int
    digests: dict[str, bytes]
    data: bytes


@dataclass
class Log:
    entries: list[Entry] = field(default_factory=list)
    algorithms: dict[int, int] | None = None  # None: all entries are in the SHA-1 form
    fault: bool = False
    padding: int = 0

    @property
    def banks(self) -> list[str]:
        return ["sha1"] if self.algorithms is None else [NAMES[a] for a in self.algorithms if a in NAMES]


class Walk:
    """The bytes of a log or list, and where it is read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    @property
    def rest(self) -> bytes:
        return self.data[self.at :]

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise FaultError
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, form: str = "<I") -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]


def read_log(data: bytes) -> Log:
    """A log as far as it can be read."""
    log, walk = Log(), Walk(data)
    try:
        if data:
            _read_first(log, walk)
        while walk.rest and not _is_padding(log, walk.rest):
            log.entries.append(_read_entry(log, walk))
    except FaultError:
        log.fault = True
    return log


def _read_first(log: Log, walk: Walk) -> None:
    if _is_padding(log, walk.rest) or _is_canonical(walk.data):
        raise FaultError
    first = _legacy(walk)
    if first.data[:16] == b"Spec ID Event03\0":
        if first.pcr or first.type != NO_ACTION or any(first.digests["sha1"]):
            raise FaultError
        log.algorithms = _algorithms(first.data)
        first.digests = {}
    log.entries.append(first)


def _is_canonical(data: bytes) -> bool:
    """TLVs of a record number and a register of at most 8 bytes each: another form (SPEC 9.1)."""
    walk = Walk(data)
    try:
        for kinds in ((0,), (1, 2)):
            kind, size = walk.number("B"), walk.number(">I")
            if kind not in kinds or not 1 <= size <= 8:
                return False
            walk.at += size
    except FaultError:
        return False
    return True


def _algorithms(data: bytes) -> dict[int, int]:
    if len(data) < 29:
        raise FaultError
    minor, major, n = data[20], data[21], int.from_bytes(data[24:28], "little")
    if (
        (major, minor) != (2, 0)
        or not 1 <= n <= 16
        or len(data) < 29 + 4 * n
        or len(data) != 29 + 4 * n + data[28 + 4 * n]
    ):
        raise FaultError
    pairs = [struct.unpack_from("<HH", data, 28 + 4 * i) for i in range(n)]
    if len({number for number, _ in pairs}) != n:
        raise FaultError
    for number, size in pairs:
        if not 1 <= size <= 64 or (number in NAMES and size != ALGORITHMS[NAMES[number]][1]):
            raise FaultError
    return dict(pairs)


def _read_entry(log: Log, walk: Walk) -> Entry:
    return _legacy(walk) if log.algorithms is None else _agile(walk, log.algorithms)


def _check_pcr(pcr: int, kind: int) -> None:
    """Above 23 only what is never extended: an NV index, or the 0xFFFFFFFF of Windows (SPEC 0.1, 2.3)."""
    if pcr > 23 and not (kind == NO_ACTION and (pcr >> 24 == 1 or pcr == 0xFFFFFFFF)):
        raise FaultError


def _legacy(walk: Walk) -> Entry:
    pcr, kind, digest = walk.number(), walk.number(), walk.take(20)
    data = walk.take(walk.number())
    _check_pcr(pcr, kind)
    return Entry(pcr, kind, {"sha1": digest}, data)


def _agile(walk: Walk, algorithms: dict[int, int]) -> Entry:
    pcr, kind, count = walk.number(), walk.number(), walk.number()
    _check_pcr(pcr, kind)
    if count > len(algorithms):
        raise FaultError
    digests = {}
    for _ in range(count):
        number = walk.number("<H")
        if number not in algorithms or number in digests:
            raise FaultError
        digests[number] = walk.take(algorithms[number])
    return Entry(pcr, kind, {NAMES[n]: d for n, d in digests.items() if n in NAMES}, walk.take(walk.number()))


def _is_padding(log: Log, rest: bytes) -> bool:
    """Whether the rest is padding (SPEC 2.4): 8 bytes and more of one kind. An entry of zeros alone is none; one of
    PCR 0 and type 0 that has digests or data is."""
    if len(rest) < 8 or rest[:8] not in (bytes(8), b"\xff" * 8):
        return False
    empty = 32 if log.algorithms is None else 16
    if rest[0] == 0 and any(rest[:empty]):
        return False
    if rest.count(rest[:1]) != len(rest):
        raise FaultError
    log.padding = len(rest)
    return True


def locality(log: Log) -> int:
    """How PCR 0 starts: by the first StartupLocality in it before it is extended, else 4 where an H-CRTM event comes
    first (SPEC 3.2, 4.2)."""
    by_event = by_hcrtm = None
    for entry in log.entries:
        if entry.pcr == 0 and entry.type == NO_ACTION and entry.data[:16] == b"StartupLocality\0":
            if by_event is None and len(entry.data) == 17 and entry.data[16] in (0, 3, 4):
                by_event = entry.data[16]
        elif entry.pcr == 0 and entry.type == HCRTM:
            by_hcrtm = 4
        if entry.pcr == 0 and entry.type != NO_ACTION:
            break
    return next((value for value in (by_event, by_hcrtm) if value is not None), 0)


def replay(log: Log, bank: str) -> list[bytes]:
    """What the entries lead to in a bank, by hashlib. PCRs 17-22 are all ones, but zeros after a D-RTM launch, which
    extends PCR 17 (SPEC 1.3, 4.2)."""
    size = ALGORITHMS[bank][1]
    launched = any(entry.pcr == 17 and entry.type != NO_ACTION for entry in log.entries)
    values = [(b"\xff" if 17 <= pcr <= 22 and not launched else b"\0") * size for pcr in range(24)]
    values[0] = values[0][:-1] + bytes([locality(log)])
    for entry in log.entries:
        if entry.type != NO_ACTION and bank in entry.digests:
            values[entry.pcr] = hash_of(bank, values[entry.pcr] + entry.digests[bank])
    return values


@dataclass
class Measured:
    """An entry of an IMA list. ``hashed`` is what its template digest is over; what lies in the list's bytes from
    ``start`` to ``stop`` is all of it."""

    pcr: int
    shown: bytes
    template: bytes
    data: bytes
    hashed: bytes
    start: int = 0
    stop: int = 0

    @property
    def is_violation(self) -> bool:
        return not any(self.shown)

    def extends(self, bank: str, *, digests: str, violation: int) -> bytes:
        """What a bank's PCR was extended with: a digest by ``digests``, which is sha1 where the kernel lacks the bank's
        own hash; for a violation that many bytes of ones. Zeros fill both up (SPEC 7.4)."""
        size = ALGORITHMS[bank][1]
        own = b"\xff" * violation if self.is_violation else hash_of(digests, self.hashed)
        return own.ljust(size, b"\0")

    def shows_another(self, bank: str) -> bool:
        """Whether the list of a bank has another digest of it: neither the bank's own nor SHA-1's, zeros after it."""
        digests = [hash_of(name, self.hashed).ljust(len(self.shown), b"\0") for name in (bank, "sha1")]
        return not self.is_violation and self.shown not in digests


def read_ima(data: bytes, digest_size: int) -> tuple[list[Measured], bool]:
    """The entries of a binary list, and whether their framing breaks; what a template holds is not looked at."""
    entries: list[Measured] = []
    walk = Walk(data)
    try:
        while walk.rest:
            start, pcr, shown = walk.at, walk.number(), walk.take(digest_size)
            template = walk.take(walk.number())
            if template == b"ima":
                digest, name = walk.take(20), walk.take(walk.number())
                own = digest + struct.pack("<I", len(name)) + name
                hashed = digest + name.ljust(256, b"\0")
            else:
                own = hashed = walk.take(walk.number())
            entries.append(Measured(pcr, shown, template, own, hashed, start, walk.at))
    except FaultError:
        return entries, True
    return entries, False


def trace_ima(
    entries: list[Measured], pcr: int, bank: str, *, digests: str | None = None, violation: int | None = None
) -> list[bytes]:
    """The values of a PCR, from zeros on, after each entry of it; by default by the bank's own hash."""
    size = ALGORITHMS[bank][1]
    values = [bytes(size)]
    for one in entries:
        if one.pcr == pcr:
            extends = one.extends(bank, digests=digests or bank, violation=violation or size)
            values.append(hash_of(bank, values[-1] + extends))
    return values

"""Windows' boot records (WBCL): SIPA events, which hold one another, in EV_EVENT_TAG and EV_NO_ACTION.

Types are of the Windows SDK's wbcl.h, as go-attestation's win_events.go gives them. The kind of a type is its bits 16
to 19; containers hold records, to a depth of eight here (SPEC section 10.1, 20: deeper ones once overflowed stacks).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from pyverify.evidence.decoded import VALUE_BYTES, Decoded, Field, Undecodable, hex_value
from pyverify.evidence.reading import Reader
from pyverify.evidence.words import count, size

_MAX_DEPTH: Final = 8
_MAX_BYTES: Final = 1 << 20
_MAX_RECORDS: Final = 1 << 14  # the longest event of the corpus, 36 KB of drivers, has some 900

_SHOWN: Final = 16  # records and modules that a line names

_KIND_MASK: Final = 0x000F0000
_CONTAINER: Final = 0x00010000
_MODULE: Final = 0x40010003
_BOUNDARY: Final = 0x40010001  # holds all that is measured between two separators
_PATH: Final = 0x00070001

_NAMES: Final[dict[int, str]] = {
    0x40010001: "trust boundary",
    0x40010002: "ELAM",
    0x40010003: "module",
    0xC0010004: "trust point",
    0x40010005: "KSR",
    0x40010006: "KSR signed measurement",
    0x00020001: "information",
    0x00020002: "boot counter",
    0x00020003: "transfer control",
    0x00020004: "application return",
    0x00020005: "BitLocker unlock",
    0x00020006: "event counter",
    0x00020007: "counter id",
    0x00020008: "MOR bit not cancelable",
    0x00020009: "application SVN",
    0x0002000A: "SVN chain status",
    0x0002000B: "MOR bit API status",
    0x00040001: "boot debugging",
    0x00040002: "boot revocation list",
    0x00050001: "kernel debugging",
    0x00050002: "code integrity",
    0x00050003: "test signing",
    0x00050004: "data execution prevention",
    0x00050005: "safe mode",
    0x00050006: "WinPE",
    0x00050007: "physical address extension",
    0x00050008: "OS device",
    0x00050009: "system root",
    0x0005000A: "hypervisor launch type",
    0x0005000B: "hypervisor path",
    0x0005000C: "hypervisor IOMMU policy",
    0x0005000D: "hypervisor debugging",
    0x0005000E: "driver load policy",
    0x0005000F: "SI policy",
    0x00050010: "hypervisor MMIO NX policy",
    0x00050011: "hypervisor MSR filter policy",
    0x00050012: "VSM launch type",
    0x00050013: "OS revocation list",
    0x00050020: "VSM IDK",
    0x00050021: "flight signing",
    0x00050022: "pagefile encryption",
    0x00050023: "VSM IDKS",
    0x00050024: "hibernation disabled",
    0x00050025: "dumps disabled",
    0x00050026: "dump encryption",
    0x00050027: "dump encryption key digest",
    0x00050028: "LSA isolation",
    0x00060001: "no authority",
    0x00060002: "authority public key",
    0x00070001: "file path",
    0x00070002: "image size",
    0x00070003: "hash algorithm",
    0x00070004: "Authenticode hash",
    0x00070005: "authority issuer",
    0x00070006: "authority serial",
    0x00070007: "image base",
    0x00070008: "authority publisher",
    0x00070009: "authority SHA-1 thumbprint",
    0x0007000A: "image validated",
    0x0007000B: "module SVN",
    0x80080001: "quote",
    0x80080002: "quote signature",
    0x80080003: "AIK name",
    0x80080004: "AIK public key digest",
    0x00090001: "ELAM key name",
    0x00090002: "ELAM configuration",
    0x00090003: "ELAM policy",
    0x00090004: "ELAM measured",
    0x000A0001: "VBS: VSM required",
    0x000A0002: "VBS: Secure Boot required",
    0x000A0003: "VBS: IOMMU required",
    0x000A0004: "VBS: NX required",
    0x000A0005: "VBS: MSR filtering required",
    0x000A0006: "VBS: mandatory enforcement",
    0x000A0007: "VBS: HVCI policy",
    0x000A0008: "VBS: Microsoft boot chain required",
    0x000B0001: "KSR signature",
}

_TEXTS: Final = frozenset([0x00050009, 0x0005000B, 0x00070001, 0x00070005, 0x00070008, 0x80080003, 0x00090001])
_BYTES: Final = frozenset([0x00060002, 0x00070004, 0x00070006, 0x00070009, 0x80080004])
_SWITCHES: Final = frozenset(
    [0x00040001, 0x00050001, 0x00050002, 0x00050003, 0x00050005, 0x00050006, 0x0005000D, 0x00050021, 0x0007000A]
)


class Record(NamedTuple):
    """One SIPA event."""

    type: int
    data: bytes
    records: list[Record] | None
    """What it holds, where it is a container."""

    @property
    def name(self) -> str:
        """The name of its type, or its number."""
        return _NAMES.get(self.type) or f"0x{self.type:08x}"

    @property
    def value(self) -> str | int | bool:
        """Its data: a number, a switch, a text, or bytes as hexadecimal digits."""
        if self.type in _TEXTS:
            try:
                return self.data[:VALUE_BYTES].decode("utf-16-le").rstrip("\0")
            except UnicodeDecodeError:
                return hex_value(self.data)
        if self.type in _BYTES or len(self.data) not in (1, 2, 4, 8):
            return hex_value(self.data)
        number = int.from_bytes(self.data, "little")
        return bool(number) if self.type in _SWITCHES and len(self.data) == 1 and number <= 1 else number


def records_of(data: bytes) -> list[Record]:
    """The records that an event's data is.

    Raises:
        Undecodable: a record ends past its container, they lie too deep, or there is too much of them.
    """
    left = [_MAX_RECORDS]

    def read(reader: Reader, depth: int) -> list[Record]:
        found: list[Record] = []
        while reader.left:
            start = reader.at
            kind, n_bytes = reader.number(4), reader.number(4)
            if n_bytes > reader.left:
                raise reader.fault(reader.at - 4)
            if not left[0]:
                raise reader.fault(start)
            left[0] -= 1
            content = reader.take(n_bytes)
            inner = None
            if kind & _KIND_MASK == _CONTAINER:
                if depth == _MAX_DEPTH:
                    raise reader.fault(start)
                inner = read(Reader(content, reader.what, reader.base + reader.at - n_bytes), depth + 1)
            found.append(Record(kind, content, inner))
        return found

    reader = Reader(data, "Windows boot record")
    if len(data) > _MAX_BYTES:
        raise reader.fault(_MAX_BYTES)
    return read(reader, 1)


def windows(data: bytes) -> Decoded:
    """The records of an event, in words."""
    try:
        records = records_of(data)
    except Undecodable as fault:
        return Decoded("windows", str(fault), [Field("data", hex_value(data), 0, len(data))], fault)
    return Decoded("windows", f"Windows: {_words(records)}", _fields(records, len(data)))


def _fields(records: list[Record], n_bytes: int) -> Iterator[Field]:
    yield Field("records", [_plain(record) for record in records], 0, n_bytes)


def _plain(record: Record) -> dict[str, Any]:
    item: dict[str, Any] = {"type": f"0x{record.type:08x}", "name": record.name}
    if record.records is None:
        item["value"] = record.value
    else:
        item["records"] = [_plain(inner) for inner in record.records]
    return item


def _words(records: list[Record]) -> str:
    """What the records say; modules, of which there are many, are named by their files after all else."""
    said: list[str] = []
    files: list[str] = []
    _gather(records, said, files)
    if files:
        said.append(f"{count(len(files), 'module', 'modules')} {', '.join(files[:_SHOWN])}")
    return ", ".join(said) or "no records"


def _gather(records: list[Record], said: list[str], files: list[str]) -> None:
    for record in records:
        if record.type == _MODULE and record.records is not None:
            path = next((str(inner.value) for inner in record.records if inner.type == _PATH), "without a path")
            files.append(path.rsplit("\\", 1)[-1])
        elif record.records is not None:
            if record.type != _BOUNDARY:
                said.append(f"{record.name} of {count(len(record.records), 'record', 'records')}")
            _gather(record.records, said, files)
        elif len(said) < _SHOWN:
            said.append(f"{record.name} {_short(record)}")


def _short(record: Record) -> str:
    value = record.value
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if isinstance(value, int) or record.type in _TEXTS else size(record.data)

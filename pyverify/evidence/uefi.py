"""Strict readers of the UEFI structures that event data holds (SPEC sections 3.4, 5.3 and 6).

Every length is compared with what is left before it is used. What does not fit raises :class:`Undecodable` and nothing
else; what is tolerated (bytes in excess, a device path that breaks off) is a field of the result.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

GLOBAL_VARIABLE: Final = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
IMAGE_SECURITY_DATABASE: Final = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
SHIM_LOCK: Final = "605dab50-e046-4300-abb6-3dd810dd8b23"

GUID_NAMES: Final[dict[str, str]] = {
    GLOBAL_VARIABLE: "global variable",
    IMAGE_SECURITY_DATABASE: "image security database",
    SHIM_LOCK: "shim lock",
    "77fa9abd-0359-4d32-bd60-28f4e78f784b": "Microsoft",
    "eb9d2d31-2d88-11d3-9a16-0090273fc14d": "SMBIOS",
    "f2fd1544-9794-4a2c-992e-e5bbcf20e394": "SMBIOS 3",
    "8868e871-e4f1-11d3-bc22-0080c73c8881": "ACPI 2.0",
}

X509: Final = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072"
# Signature types that hold the hash of an image or of a certificate, and the size of their data (SPEC section 5.3).
HASH_SIZES: Final[dict[str, int]] = {
    "c1c41626-504c-4092-aca9-41f936934328": 32,
    "826ca512-cf10-4ac9-b187-be01496631bd": 20,
    "0b6e5233-a65c-44c9-9407-d9ab83bfc8bd": 28,
    "ff3e5307-9fd0-48c9-85f1-8ad56c701e01": 48,
    "093e0fae-a6c4-4f50-9f1b-d41e2b89c19a": 64,
    "3bd2a492-96c0-4079-b420-fcf98ef103ed": 48,
    "7076876e-80c2-4ee6-aad2-28b349a6865b": 64,
    "446dbf63-2502-4cda-bcfa-2465d2b0fe9d": 80,
}

_MAX_NAME_UNITS: Final = 2048  # go-attestation's caps on a variable (SPEC section 3.4)
_MAX_VARIABLE_BYTES: Final = 1 << 20
_MAX_SIGNATURE_LISTS: Final = 1024  # a dbx of 32 KB with a list for each hash has some 430 (SPEC section 0.9)
_MAX_PATH_NODES: Final = 256  # SPEC section 6, both
_MAX_PATH_BYTES: Final = 1 << 16


class Undecodable(ValueError):
    """Bytes that are not the structure they should be; ``offset`` is the byte of the event's data at which it shows."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(f"undecodable {what} (at byte {offset})")
        self.offset = offset


class Reader:
    """Reads the fields of one structure in order. ``base`` is where ``data`` begins within the event's data."""

    def __init__(self, data: bytes, what: str, base: int = 0) -> None:
        self.data = data
        self.what = what
        self.base = base
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self.data) - self.at

    def fault(self, at: int | None = None) -> Undecodable:
        """The exception for the field at this byte of ``data``; without one, for the next field."""
        return Undecodable(self.what, self.base + (self.at if at is None else at))

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if size > self.left:
            raise self.fault()
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        """The next little-endian number of this many bytes."""
        return int.from_bytes(self.take(size), "little")

    def guid(self) -> str:
        """The next GUID."""
        return guid(self.take(16))

    def end(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise self.fault()


def guid(data: bytes) -> str:
    """The text of a GUID of exactly 16 bytes, in lower case."""
    if len(data) != 16:
        raise Undecodable("GUID", len(data))
    first, second, third, rest = struct.unpack("<IHH8s", data)
    return f"{first:08x}-{second:04x}-{third:04x}-{rest[:2].hex()}-{rest[2:].hex()}"


def utf16(data: bytes, what: str = "UTF-16 text", base: int = 0) -> str:
    """The text of UTF-16LE bytes, all of them: a NUL stays, an odd byte or a lone surrogate raises."""
    try:
        return data.decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise Undecodable(what, base + error.start) from None


def _utf16z(reader: Reader) -> str:
    """The next NUL-terminated UTF-16LE text, without its NUL."""
    start = reader.at
    units = memoryview(reader.data)[start : start + min(reader.left, _MAX_PATH_BYTES) // 2 * 2].cast("H").tolist()
    if 0 not in units:
        raise reader.fault()
    text = utf16(reader.take(2 * units.index(0)), reader.what, reader.base + start)
    reader.at += 2
    return text


@dataclass(frozen=True, slots=True)
class Variable:
    """UEFI_VARIABLE_DATA."""

    guid: str
    name: str
    data: bytes
    data_at: int
    """Where ``data`` begins within the event's data."""
    excess: int
    """Bytes after the structure: 0, or as many as old shims add."""


def variable(data: bytes) -> Variable:
    """The variable of an event."""
    reader = Reader(data, "EFI variable")
    owner = reader.guid()
    name_units = reader.number(8)
    data_size = reader.number(8)
    if name_units > min(reader.left // 2, _MAX_NAME_UNITS):
        raise reader.fault(16)
    name = utf16(reader.take(2 * name_units), reader.what, 32)
    if data_size > min(reader.left, _MAX_VARIABLE_BYTES):
        raise reader.fault(24)
    data_at = reader.at
    content = reader.take(data_size)
    # Old shims took the size of the C structure, padded (6 bytes more) or packed (1 more: SPEC section 3.6).
    if reader.left not in (0, 1, 6):
        raise reader.fault()
    return Variable(owner, name, content, data_at, reader.left)


@dataclass(frozen=True, slots=True)
class DevicePath:
    """A device path as text."""

    text: str
    excess: int
    """Bytes after the path's end."""
    fault: Undecodable | None
    """Why the text ends where it does, if not at the path's end."""


@dataclass(frozen=True, slots=True)
class ImageLoad:
    """UEFI_IMAGE_LOAD_EVENT."""

    location: int
    length: int
    path: DevicePath
    excess: int
    """Bytes after the structure or its device path."""


def image_load(data: bytes) -> ImageLoad:
    """The image that an event says was loaded."""
    reader = Reader(data, "image load event")
    location, length, _, path_size = (reader.number(8) for _ in range(4))
    if path_size > reader.left:
        raise reader.fault(24)
    path = device_path(reader.take(path_size), 32)
    return ImageLoad(location, length, path, path.excess + reader.left)


@dataclass(frozen=True, slots=True)
class LoadOption:
    """EFI_LOAD_OPTION: the content of Boot#### and its like."""

    description: str
    path: DevicePath
    """The first of the option's paths: firmware may keep its own after it."""


def load_option(data: bytes, base: int = 0) -> LoadOption:
    """The load option that a variable holds."""
    reader = Reader(data, "load option", base)
    reader.take(4)
    path_size = reader.number(2)
    description = _utf16z(reader)
    if path_size > reader.left:
        raise reader.fault(4)
    path_at = base + reader.at
    return LoadOption(description, device_path(reader.take(path_size), path_at))


@dataclass(frozen=True, slots=True)
class Gpt:
    """UEFI_GPT_DATA, summarised."""

    disk: str
    partitions: int


def gpt(data: bytes) -> Gpt:
    """The partition table that an event holds."""
    reader = Reader(data, "GPT")
    header = reader.take(92)
    if not header.startswith(b"EFI PART"):
        raise reader.fault(0)
    entry_size = int.from_bytes(header[84:88], "little")
    if entry_size < 128:
        raise reader.fault(84)
    partitions = reader.number(8)
    if partitions > reader.left // entry_size:
        raise reader.fault(92)
    reader.at += partitions * entry_size
    reader.end()
    return Gpt(guid(header[56:72]), partitions)


@dataclass(frozen=True, slots=True)
class SignatureList:
    """One EFI_SIGNATURE_LIST."""

    type: str
    header_size: int
    """Zero for every known type: anything else deserves a finding."""
    signature_size: int
    signatures: bytes
    """All EFI_SIGNATURE_DATA, ``signature_size`` bytes each: the owner's GUID and the data."""

    @property
    def count(self) -> int:
        """Signatures in the list."""
        return len(self.signatures) // self.signature_size


def signature_lists(data: bytes, base: int = 0) -> list[SignatureList]:
    """The lists that a signature database (PK, KEK, db, dbx, MokList) holds, none of it left over."""
    reader = Reader(data, "signature list", base)
    lists: list[SignatureList] = []
    while reader.left:
        start = reader.at
        kind = reader.guid()
        list_size, header_size, signature_size = (reader.number(4) for _ in range(3))
        if not 28 <= list_size <= len(data) - start or len(lists) == _MAX_SIGNATURE_LISTS:
            raise reader.fault(start + 16)
        if header_size > list_size - 28:
            raise reader.fault(start + 20)
        size = list_size - 28 - header_size
        data_size = signature_size - 16
        if data_size < 1 or size % signature_size or data_size != HASH_SIZES.get(kind, data_size):
            raise reader.fault(start + 24)
        reader.at += header_size
        lists.append(SignatureList(kind, header_size, signature_size, reader.take(size)))
    return lists


def device_path(data: bytes, base: int = 0) -> DevicePath:
    """The text of a device path, as far as it can be read."""
    reader = Reader(data, "device path", base)
    parts: list[str] = []
    for _ in range(_MAX_PATH_NODES):
        start = reader.at
        if reader.left < 4 or start > _MAX_PATH_BYTES:
            break
        kind, subtype, size = struct.unpack("<BBH", reader.take(4))
        if size < 4 or size - 4 > reader.left:
            reader.at = start
            break
        if (kind, subtype) == (0x7F, 0xFF):
            return DevicePath("".join(parts), reader.left, None if size == 4 else reader.fault(start + 2))
        body = reader.take(size - 4)
        if (kind, subtype) == (0x7F, 0x01):
            parts.append(",")
        else:
            parts.append(("/" if parts and parts[-1] != "," else "") + _node(kind, subtype, body))
    return DevicePath("".join(parts), 0, reader.fault() if data else None)


def _node(kind: int, subtype: int, body: bytes) -> str:
    """The text of one node. A body that is not what its kind says is shown raw."""
    try:
        if node := _FIXED_NODES.get((kind, subtype)):
            return node[1](*node[0].unpack(body))
        if node := _OPEN_NODES.get((kind, subtype)):
            layout, text = node
            return text(*layout.unpack_from(body), body[layout.size :])
    except (struct.error, Undecodable):
        pass  # shown raw
    return f"Path({kind},{subtype},{body.hex()})"


def _ascii(data: bytes) -> str:
    return data.decode("ascii", "backslashreplace")


def _eisa(number: int) -> str:
    letters = "".join(chr(64 + (number >> shift & 31)) for shift in (10, 5, 0))
    return f"{letters}{number >> 16:04X}" if letters.isalpha() else f"0x{number:08x}"


def _acpi(hid: int, uid: int) -> str:
    root = {"PNP0A03": "PciRoot", "PNP0A08": "PcieRoot"}.get(_eisa(hid))
    return f"{root}({uid:#x})" if root else f"Acpi({_eisa(hid)},{uid:#x})"


def _acpi_extended(hid: int, uid: int, cid: int, tail: bytes) -> str:
    strings = tail.split(b"\0")
    if len(strings) != 4 or strings[3]:
        raise Undecodable("ACPI node", 12)
    return f"AcpiEx({_eisa(hid)},{_eisa(cid)},{uid:#x},{','.join(_ascii(text) for text in strings[:3])})"


def _hard_drive(fields: tuple[int, int, int, bytes, int, int]) -> str:
    part, start, size, signature, table, signature_type = fields
    disk = {0: "0", 1: f"0x{int.from_bytes(signature[:4], 'little'):08x}", 2: guid(signature)}
    kind = {1: "MBR", 2: "GPT"}.get(table, f"{table:#x}")
    return f"HD({part},{kind},{disk.get(signature_type, signature.hex())},{start:#x},{size:#x})"


def _ip(fields: tuple[bytes, bytes, int, int, int, int, bytes], tail_size: int) -> str:
    local, remote = (".".join(map(str, ip)) if len(ip) == 4 else f"[{ip.hex(':', 2)}]" for ip in fields[:2])
    local_port, remote_port, protocol, origin, tail = fields[2:]
    # The nodes of UEFI before 2.3 end with the address's origin.
    if len(tail) not in (0, tail_size):
        raise Undecodable("IP node", 0)
    return f"({remote}:{remote_port},{protocol:#x},{origin:#x},{local}:{local_port})"


def _usb_wwid(interface: int, vendor: int, product: int, tail: bytes) -> str:
    return f'UsbWwid({vendor:#x},{product:#x},{interface:#x},"{utf16(tail)}")'


def _bbs(kind: int, flags: int, tail: bytes) -> str:
    return f"BBS({kind:#x},{_ascii(tail.removesuffix(bytes(1)))},{flags:#x})"


def _file_path(tail: bytes) -> str:
    reader = Reader(tail, "file path node")
    text = _utf16z(reader)
    reader.end()
    return text


_Node = tuple[struct.Struct, Callable[..., str]]


def _numbers(layout: str, prefix: str) -> _Node:
    """A node that is written as its numbers, in order."""
    return struct.Struct(layout), lambda *values: f"{prefix}({','.join(f'{value:#x}' for value in values)})"


def _vendor(prefix: str) -> _Node:
    return struct.Struct("<16s"), lambda name, tail: f"{prefix}({guid(name)}{',' if tail else ''}{tail.hex()})"


# By type and subtype (SPEC section 6); 1/3 is UEFI 2.10 section 10.3.2.3.
_FIXED_NODES: Final[dict[tuple[int, int], _Node]] = {
    (1, 1): (struct.Struct("<BB"), lambda function, device: f"Pci({device:#x},{function:#x})"),
    (1, 3): _numbers("<IQQ", "MemoryMapped"),
    (2, 1): (struct.Struct("<II"), _acpi),
    (3, 1): _numbers("<BBH", "Ata"),
    (3, 2): _numbers("<HH", "Scsi"),
    (3, 5): _numbers("<BB", "USB"),
    (3, 11): (struct.Struct("<32sB"), lambda mac, kind: f"MacAddr({(mac[:6] if kind <= 1 else mac).hex()},{kind:#x})"),
    (3, 15): _numbers("<HHBBB", "UsbClass"),
    (3, 17): _numbers("<B", "Unit"),
    (3, 18): _numbers("<HHH", "Sata"),
    (3, 23): (struct.Struct("<I8s"), lambda namespace, eui: f"NVMe({namespace:#x},{eui.hex('-')})"),
    (4, 1): (struct.Struct("<IQQ16sBB"), lambda *fields: _hard_drive(fields)),
    (4, 2): _numbers("<IQQ", "CDROM"),
    (4, 6): (struct.Struct("<16s"), lambda name: f"FvFile({guid(name)})"),
    (4, 7): (struct.Struct("<16s"), lambda name: f"Fv({guid(name)})"),
    (4, 8): (struct.Struct("<IQQ"), lambda _, start, end: f"Offset({start:#x},{end:#x})"),
}
# Their bodies go on after the fields; the rest is the last argument.
_OPEN_NODES: Final[dict[tuple[int, int], _Node]] = {
    (1, 4): _vendor("VenHw"),
    (2, 2): (struct.Struct("<III"), _acpi_extended),
    (3, 10): _vendor("VenMsg"),
    (3, 12): (struct.Struct("<4s4sHHHB"), lambda *fields: "IPv4" + _ip(fields, 8)),
    (3, 13): (struct.Struct("<16s16sHHHB"), lambda *fields: "IPv6" + _ip(fields, 17)),
    (3, 16): (struct.Struct("<HHH"), _usb_wwid),
    (3, 24): (struct.Struct(""), lambda tail: f"Uri({_ascii(tail)})"),
    (4, 3): _vendor("VenMedia"),
    (4, 4): (struct.Struct(""), _file_path),
    (5, 1): (struct.Struct("<HH"), _bbs),
}

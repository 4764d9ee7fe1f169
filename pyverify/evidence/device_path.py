"""Device paths as text (SPEC section 6)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pyverify.evidence.decoded import Undecodable
from pyverify.evidence.reading import Reader, guid, utf16

_MAX_PATH_NODES: Final = 256  # SPEC section 6, both
_MAX_PATH_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class DevicePath:
    """A device path as text."""

    text: str
    excess: int
    """Bytes after the path's end."""
    fault: Undecodable | None
    """Why the text ends where it does, if not at the path's end."""


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


_BBS_DEVICES: Final = {1: "Floppy", 2: "HD", 3: "CDROM", 4: "PCMCIA", 5: "USB", 6: "Network"}  # UEFI 2.10 section 10.6


def _bbs(kind: int, flags: int, tail: bytes) -> str:
    device = _BBS_DEVICES.get(kind, f"{kind:#x}")
    return f"BBS({device},{_ascii(tail.removesuffix(bytes(1)))},{flags:#x})"


def _file_path(tail: bytes) -> str:
    reader = Reader(tail, "file path node")
    text = reader.utf16z()
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

"""What firmware measured of a device over SPDM: TCG_DEVICE_SECURITY_EVENT_DATA, versions 1 and 2.

Layouts are of the PC Client firmware profile 1.06 as EDK2 writes them (SpdmSecurityLib, UefiTcgPlatform.h).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pyverify.evidence.decoded import Decoded, Undecodable, hex_value
from pyverify.evidence.device_path import DevicePath, device_path
from pyverify.evidence.reading import Reader
from pyverify.evidence.uefi_events import path_text
from pyverify.evidence.words import count, labelled

_VERSION_1: Final = b"SPDM Device Sec\0"
_VERSION_2: Final = b"SPDM Device Sec2"

_PCI: Final = 1
_DEVICES: Final = {0: "device", _PCI: "PCI device", 2: "USB device"}
_AUTHENTICATED: Final = {
    0: "authenticated",
    1: "not authenticated",
    2: "without a binding",
    3: "failed without a signature",
    4: "failed with an invalid signature",
    0xFF: "without SPDM",
}
_MAX_BLOCKS: Final = 255  # their count is one byte


def spdm(kind: str, label: str) -> Callable[[int, bytes], Decoded]:
    """A decoder of EV_EFI_SPDM_FIRMWARE_BLOB and EV_EFI_SPDM_FIRMWARE_CONFIG."""
    read_label = labelled(kind, label)

    def decode(pcr: int, data: bytes) -> Decoded:
        if not data.startswith((_VERSION_1, _VERSION_2)):
            return read_label(pcr, data)
        reader = Reader(data, "SPDM event")
        text, fault = device_security(reader)
        return Decoded(kind, f"{label}: {text}", reader.fields, fault)

    return decode


def device_security(reader: Reader) -> tuple[str, Undecodable | None]:
    """Reads the structure that begins here, to the end; its text, and what is wrong with the device's path."""
    signature = reader.take(16)
    return (_version_2 if signature == _VERSION_2 else _version_1)(reader)


def _version_1(reader: Reader) -> tuple[str, Undecodable | None]:
    reader.number(2, "version")
    reader.number(2, "length")
    reader.number(4, "hash_algorithm")
    device = reader.number(4, "device_type")
    blocks = _blocks(reader, 1)
    path = _path(reader)
    _context(reader, device)
    return _words(device, blocks, path), path.fault


def _version_2(reader: Reader) -> tuple[str, Undecodable | None]:
    reader.number(2, "version")
    state = reader.number(1, "authentication")
    reader.take(1)
    reader.number(4, "length")
    device = reader.number(4, "device_type")
    header_type = reader.number(4, "sub_header_type")
    header_at = reader.at
    header_size = reader.number(4)
    reader.number(8, "device_uid")
    path = _path(reader)
    if header_size > reader.left:
        raise reader.fault(header_at)
    header = Reader(reader.take(header_size), reader.what, reader.base + reader.at - header_size)
    what = _sub_header(header, header_type)
    reader.fields += header.fields
    _context(reader, device)
    return f"{_words(device, what, path)}, {_AUTHENTICATED.get(state, 'of unknown state')}", path.fault


def _sub_header(reader: Reader, header_type: int) -> str:
    if header_type > 1:
        reader.take(reader.left, "sub_header")
        return "unknown measurement"
    reader.number(2, "spdm_version")
    number = reader.number(1, "slot" if header_type else "block_count")
    reader.take(1)
    reader.number(4, "hash_algorithm")
    if header_type:
        size = reader.left
        reader.take(size, "certificate_chain")
        return f"certificate chain of {count(size, 'byte', 'bytes')}"
    what = _blocks(reader, number)
    reader.end()
    return what


def _blocks(reader: Reader, number: int) -> str:
    """Reads SPDM_MEASUREMENT_BLOCK (DMTF DSP0274), as many as there should be."""
    start = reader.at
    blocks: list[Any] = []
    for _ in range(min(number, _MAX_BLOCKS)):
        index, specification, size = reader.number(1), reader.number(1), reader.number(2)
        blocks.append({"index": index, "specification": specification, "data": hex_value(reader.take(size))})
    reader.keep("measurements", blocks, start)
    return f"measurement {', '.join(str(block['index']) for block in blocks) or 'of nothing'}"


def _path(reader: Reader) -> DevicePath:
    size = reader.number(8)
    if size > reader.left:
        raise reader.fault(reader.at - 8)
    path = device_path(reader.take(size), reader.base + reader.at - size)
    reader.keep("path", path.text, reader.at - size)
    return path


def _context(reader: Reader, device: int) -> None:
    """What the bus says of the device."""
    if device == _PCI and reader.left == 16:
        reader.take(4)
        for name in ("vendor_id", "device_id"):
            reader.number(2, name)
        reader.number(1, "revision")
        reader.take(3, "class_code")
        for name in ("subsystem_vendor_id", "subsystem_id"):
            reader.number(2, name)
    elif reader.left:
        reader.take(reader.left, "context")


def _words(device: int, what: str, path: DevicePath) -> str:
    return f"{what} of {_DEVICES.get(device, 'unknown device')} {path_text(path)}".rstrip()

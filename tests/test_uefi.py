"""The readers of UEFI structures: what fits is read, what does not raises Undecodable and nothing else."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyverify.evidence import uefi
from pyverify.evidence.uefi import Undecodable

END = b"\x7f\xff\x04\x00"
SHA256 = "c1c41626-504c-4092-aca9-41f936934328"


def guid_bytes(text: str) -> bytes:
    return uuid.UUID(text).bytes_le


def node(kind: int, subtype: int, body: bytes) -> bytes:
    return struct.pack("<BBH", kind, subtype, 4 + len(body)) + body


def file_node(path: str) -> bytes:
    return node(4, 4, (path + "\0").encode("utf-16-le"))


def variable(name: str, data: bytes, owner: str = uefi.GLOBAL_VARIABLE) -> bytes:
    return guid_bytes(owner) + struct.pack("<QQ", len(name), len(data)) + name.encode("utf-16-le") + data


def signature_list(kind: str, *signatures: bytes, header: bytes = b"") -> bytes:
    """Signatures of one size, each with an owner of zeros."""
    size = 16 + len(signatures[0])
    total = 28 + len(header) + size * len(signatures)
    content = b"".join(bytes(16) + signature for signature in signatures)
    return guid_bytes(kind) + struct.pack("<III", total, len(header), size) + header + content


def image_load(path: bytes, path_size: int | None = None) -> bytes:
    return struct.pack("<QQQQ", 0x1000, 0x2000, 0, len(path) if path_size is None else path_size) + path


def gpt(n_partitions: int, *, entry_size: int = 128, counted: int | None = None) -> bytes:
    header = bytearray(92)
    header[:8] = b"EFI PART"
    header[56:72] = guid_bytes("5d1b2c3e-0a4f-4c0e-9a51-7661726d7265")
    header[84:88] = struct.pack("<I", entry_size)
    number = n_partitions if counted is None else counted
    return bytes(header) + struct.pack("<Q", number) + bytes(entry_size * n_partitions)


def load_option(description: str, path: bytes, path_size: int | None = None) -> bytes:
    head = struct.pack("<IH", 1, len(path) if path_size is None else path_size)
    return head + (description + "\0").encode("utf-16-le") + path


def undecodable_at(read: Callable[..., Any], data: bytes) -> int:
    with pytest.raises(Undecodable) as fault:
        read(data)
    assert str(fault.value).startswith("undecodable ")
    return fault.value.offset


def test_guid_is_mixed_endian() -> None:
    data = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
    assert uefi.guid(data) == uefi.GLOBAL_VARIABLE
    assert undecodable_at(uefi.guid, data[:15]) == 15


def test_utf16_is_never_repaired() -> None:
    assert uefi.utf16("a\0\N{GRINNING FACE}".encode("utf-16-le")) == "a\0\N{GRINNING FACE}"
    assert undecodable_at(uefi.utf16, b"a\0b") == 2
    assert undecodable_at(uefi.utf16, b"a\0\x00\xd8") == 2
    assert undecodable_at(uefi.utf16, b"\x00\xdc") == 0


def test_variable() -> None:
    found = uefi.variable(variable("SecureBoot", b"\1"))
    assert (found.guid, found.name, found.data, found.data_at, found.excess) == (
        uefi.GLOBAL_VARIABLE,
        "SecureBoot",
        b"\1",
        52,
        0,
    )


@pytest.mark.parametrize("excess", [1, 6])
def test_variable_with_the_excess_of_old_shims(excess: int) -> None:
    found = uefi.variable(variable("Shim", b"abc") + bytes(excess))
    assert (found.data, found.excess) == (b"abc", excess)


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"", 0),
        (bytes(31), 24),
        (bytes(16) + struct.pack("<QQ", 1 << 63, 0), 16),  # twice it is 0 in 64 bits
        (bytes(16) + struct.pack("<QQ", 1, 0) + b"a", 16),
        (bytes(16) + struct.pack("<QQ", 2049, 0) + bytes(4098), 16),
        (bytes(16) + struct.pack("<QQ", 1, (1 << 64) - 2) + b"a\0", 24),
        (bytes(16) + struct.pack("<QQ", 0, (1 << 20) + 1) + bytes((1 << 20) + 1), 24),
        (bytes(16) + struct.pack("<QQ", 1, 0) + b"\x00\xd8", 32),
        (variable("db", b"") + bytes(2), 36),
    ],
)
def test_variable_that_lies(data: bytes, offset: int) -> None:
    assert undecodable_at(uefi.variable, data) == offset


IPV4 = bytes([10, 0, 0, 1, 10, 0, 0, 2]) + struct.pack("<HHHB", 1, 2, 6, 0)
IPV6 = bytes(15) + b"\1" + bytes(15) + b"\2" + struct.pack("<HHHB", 0, 80, 6, 1)
GUID_TEXT = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
GUID = guid_bytes(GUID_TEXT)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (node(1, 1, b"\x01\x02"), "Pci(0x2,0x1)"),
        (node(1, 3, struct.pack("<IQQ", 11, 0x1000, 0x2000)), "MemoryMapped(0xb,0x1000,0x2000)"),
        (node(1, 4, GUID), f"VenHw({GUID_TEXT})"),
        (node(3, 10, GUID + b"\xab\xcd"), f"VenMsg({GUID_TEXT},abcd)"),
        (node(4, 3, GUID), f"VenMedia({GUID_TEXT})"),
        (node(2, 1, struct.pack("<II", 0x0A0341D0, 0)), "PciRoot(0x0)"),
        (node(2, 1, struct.pack("<II", 0x0A0841D0, 1)), "PcieRoot(0x1)"),
        (node(2, 1, struct.pack("<II", 0x060441D0, 2)), "Acpi(PNP0604,0x2)"),
        (node(2, 1, struct.pack("<II", 0x00010000, 0)), "Acpi(0x00010000,0x0)"),
        (node(2, 2, struct.pack("<III", 0x0A0341D0, 1, 0) + b"A\0\0C\0"), "AcpiEx(PNP0A03,0x00000000,0x1,A,,C)"),
        (node(3, 1, b"\0\1\2\0"), "Ata(0x0,0x1,0x2)"),
        (node(3, 2, b"\1\0\2\0"), "Scsi(0x1,0x2)"),
        (node(3, 5, b"\3\0"), "USB(0x3,0x0)"),
        (node(3, 11, bytes(range(6)) + bytes(26) + b"\1"), "MacAddr(000102030405,0x1)"),
        (node(3, 11, bytes(32) + b"\x20"), f"MacAddr({'00' * 32},0x20)"),
        (node(3, 12, IPV4), "IPv4(10.0.0.2:2,0x6,0x0,10.0.0.1:1)"),
        (node(3, 12, IPV4 + bytes(8)), "IPv4(10.0.0.2:2,0x6,0x0,10.0.0.1:1)"),
        (
            node(3, 13, IPV6 + bytes(17)),
            f"IPv6([{'0000:' * 7}0002]:80,0x6,0x1,[{'0000:' * 7}0001]:0)",
        ),
        (node(3, 15, struct.pack("<HHBBB", 1, 2, 3, 4, 5)), "UsbClass(0x1,0x2,0x3,0x4,0x5)"),
        (node(3, 16, struct.pack("<HHH", 1, 2, 3) + b"s\0"), 'UsbWwid(0x2,0x3,0x1,"s")'),
        (node(3, 17, b"\1"), "Unit(0x1)"),
        (node(3, 18, struct.pack("<HHH", 1, 0xFFFF, 0)), "Sata(0x1,0xffff,0x0)"),
        (node(3, 23, b"\1\0\0\0\x00\x25\x38\x53\x91\xb3\x1a\xb0"), "NVMe(0x1,00-25-38-53-91-b3-1a-b0)"),
        (node(3, 24, b"http://h/\xff"), "Uri(http://h/\\xff)"),
        (
            node(4, 1, struct.pack("<IQQ16sBB", 1, 0x800, 0x3000, GUID, 2, 2)),
            f"HD(1,GPT,{GUID_TEXT},0x800,0x3000)",
        ),
        (node(4, 1, struct.pack("<IQQ16sBB", 2, 1, 2, b"\x44\x19\x8a\x04", 1, 1)), "HD(2,MBR,0x048a1944,0x1,0x2)"),
        (node(4, 2, struct.pack("<IQQ", 1, 2, 3)), "CDROM(0x1,0x2,0x3)"),
        (file_node("\\EFI\\BOOT\\BOOTX64.EFI"), "\\EFI\\BOOT\\BOOTX64.EFI"),
        (node(4, 6, GUID), f"FvFile({GUID_TEXT})"),
        (node(4, 7, GUID), f"Fv({GUID_TEXT})"),
        (node(4, 8, struct.pack("<IQQ", 0, 0x10, 0x20)), "Offset(0x10,0x20)"),
        (node(5, 1, struct.pack("<HH", 1, 0) + b"Floppy\0"), "BBS(Floppy,Floppy,0x0)"),
        (node(5, 1, struct.pack("<HH", 0xFF, 1) + b"x\0"), "BBS(0xff,x,0x1)"),
        (node(3, 99, b"\xab"), "Path(3,99,ab)"),
        # Bodies that are not what their kind says are shown raw.
        (node(1, 1, b"\1"), "Path(1,1,01)"),
        (node(1, 4, GUID[:15]), f"Path(1,4,{GUID[:15].hex()})"),
        (node(4, 4, b"a\0b\0"), "Path(4,4,61006200)"),
        (node(4, 4, b"a\0\0\0b\0"), "Path(4,4,610000006200)"),
        (node(3, 12, IPV4 + b"\0"), f"Path(3,12,{IPV4.hex()}00)"),
        (node(2, 2, bytes(12) + b"no NULs"), f"Path(2,2,{'00' * 12}{b'no NULs'.hex()})"),
    ],
)
def test_device_path_node(data: bytes, text: str) -> None:
    path = uefi.device_path(data + END)
    assert (path.text, path.excess, path.fault) == (text, 0, None)


def test_device_path_of_several_nodes_and_instances() -> None:
    data = node(1, 1, b"\0\1") + file_node("\\a") + b"\x7f\x01\x04\x00" + file_node("\\b") + END + b"xy"
    path = uefi.device_path(data)
    assert (path.text, path.excess, path.fault) == ("Pci(0x1,0x0)/\\a,\\b", 2, None)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 5, 0xFFFF])
def test_device_path_stops_at_a_node_of_impossible_length(length: int) -> None:
    good = node(1, 1, b"\0\1")
    path = uefi.device_path(good + struct.pack("<BBH", 1, 1, length), 100)
    assert path.text == "Pci(0x1,0x0)"
    assert path.fault is not None
    assert path.fault.offset == 106


def test_device_path_without_an_end_is_flagged() -> None:
    path = uefi.device_path(file_node("\\a"))
    assert path.text == "\\a"
    assert path.fault is not None
    assert uefi.device_path(b"").fault is None


@pytest.mark.parametrize("body", [b"", bytes(0xFFFB - 4)])
def test_device_path_is_capped(body: bytes) -> None:
    path = uefi.device_path(node(1, 99, body) * 300 + END)
    assert path.fault is not None
    assert path.text.count("Path(") in (2, 256)


def test_image_load() -> None:
    image = uefi.image_load(image_load(file_node("\\a") + END + b"x") + b"yz")
    assert (image.location, image.length, image.path.text, image.excess) == (0x1000, 0x2000, "\\a", 3)
    assert undecodable_at(uefi.image_load, image_load(END, 5)) == 24
    assert undecodable_at(uefi.image_load, image_load(END, 1 << 63)) == 24
    assert undecodable_at(uefi.image_load, bytes(31)) == 24


def test_load_option() -> None:
    option = uefi.load_option(load_option("debian", file_node("\\a") + END) + b"optional data")
    assert (option.description, option.path.text) == ("debian", "\\a")
    assert undecodable_at(uefi.load_option, load_option("debian", END, 5)) == 4
    assert undecodable_at(uefi.load_option, b"\1\0\0\0\0\0a\0b\0") == 6
    assert undecodable_at(uefi.load_option, b"\1\0\0\0\0\0\x00\xdc\0\0") == 6


def test_gpt() -> None:
    table = uefi.gpt(gpt(3))
    assert (table.disk, table.partitions) == ("5d1b2c3e-0a4f-4c0e-9a51-7661726d7265", 3)
    assert uefi.gpt(gpt(2, entry_size=256)).partitions == 2


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (bytes(100), 0),
        (gpt(0)[:91], 0),
        (gpt(0)[:99], 92),
        (gpt(1, counted=2), 92),
        (gpt(1, counted=1 << 57), 92),  # times 128 it is 0 in 64 bits
        (gpt(2, counted=1), 228),
        (gpt(1, entry_size=127), 84),
        (gpt(1, entry_size=0), 84),
    ],
)
def test_gpt_that_lies(data: bytes, offset: int) -> None:
    assert undecodable_at(uefi.gpt, data) == offset


def test_signature_lists() -> None:
    data = signature_list(SHA256, bytes(32), bytes(32), header=b"head") + signature_list(uefi.X509, b"certificate")
    hashes, certificates = uefi.signature_lists(data)
    assert (hashes.type, hashes.count, hashes.header_size, hashes.signatures) == (SHA256, 2, 4, bytes(96))
    assert (certificates.type, certificates.count, certificates.signatures[16:]) == (uefi.X509, 1, b"certificate")
    assert uefi.signature_lists(b"") == []


def list_header(kind: str, total: int, header: int, size: int) -> bytes:
    return guid_bytes(kind) + struct.pack("<III", total, header, size)


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (signature_list(SHA256, bytes(32)) + b"\0", 76),
        (list_header(SHA256, 0, 0, 48) + bytes(48), 16),
        (list_header(SHA256, 27, 0, 48) + bytes(48), 16),
        (list_header(SHA256, 77, 0, 48) + bytes(48), 16),
        (list_header(SHA256, 0xFFFFFFFF, 0, 48) + bytes(48), 16),
        (list_header(SHA256, 76, 49, 48) + bytes(48), 20),
        (list_header(SHA256, 76, 0xFFFFFFFF, 48) + bytes(48), 20),
        (list_header(uefi.X509, 76, 0, 0) + bytes(48), 24),
        (list_header(uefi.X509, 76, 0, 15) + bytes(48), 24),
        (list_header(uefi.X509, 76, 0, 16) + bytes(48), 24),
        (list_header(uefi.X509, 76, 0, 0xFFFFFFFF) + bytes(48), 24),
        (list_header(uefi.X509, 76, 0, 47) + bytes(48), 24),
        (list_header(SHA256, 76, 0, 24) + bytes(48), 24),  # no hash of SHA-256 has 8 bytes
        (signature_list(uefi.X509, b"x") * 1025, 1024 * 45 + 16),
    ],
)
def test_signature_list_that_lies(data: bytes, offset: int) -> None:
    assert undecodable_at(uefi.signature_lists, data) == offset


READERS = (uefi.guid, uefi.utf16, uefi.variable, uefi.image_load, uefi.load_option, uefi.gpt, uefi.signature_lists)


@given(st.sampled_from(READERS), st.binary(max_size=300))
def test_only_undecodable_is_raised(read: Callable[[bytes], Any], data: bytes) -> None:
    try:
        read(data)
    except Undecodable as fault:
        assert 0 <= fault.offset <= len(data)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 25), st.binary(max_size=60)), max_size=8), st.integers(0))
def test_device_path_never_raises(nodes: list[tuple[int, int, bytes]], cut: int) -> None:
    data = b"".join(node(*each) for each in nodes) + END
    path = uefi.device_path(data)
    assert (path.excess, path.fault) == (0, None)
    cut %= len(data)
    assert cut == 0 or uefi.device_path(data[:cut]).fault is not None

"""What describe() says: right words for sound data, "undecodable" for lies, one clean line for anything."""

from __future__ import annotations

import struct
import unicodedata
import uuid

import pytest
from conftest import SHARED
from hypothesis import example, given
from hypothesis import strategies as st
from log_editor import events_of

from pyverify.evidence import event_types as types
from pyverify.evidence import uefi
from pyverify.evidence.event_data import describe
from pyverify.evidence.text import escape

RECORDINGS = SHARED / "recordings"

END = b"\x7f\xff\x04\x00"
FILE = b"\x04\x04\x08\x00\\\0a\0"  # without its NUL: shown raw
SHIM_PATH = "\\EFI\\debian\\shimx64.efi"
MICROSOFT = "77fa9abd-0359-4d32-bd60-28f4e78f784b"
SHA256 = "c1c41626-504c-4092-aca9-41f936934328"
DER = b"\x30\x82\x01\x00" + bytes(256)
IMAGE_SECURITY = uefi.IMAGE_SECURITY_DATABASE


def guid_bytes(text: str) -> bytes:
    return uuid.UUID(text).bytes_le


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le")


def file_path(path: str) -> bytes:
    body = utf16(path + "\0")
    return struct.pack("<BBH", 4, 4, 4 + len(body)) + body + END


def variable(name: str, data: bytes, owner: str = uefi.GLOBAL_VARIABLE) -> bytes:
    return guid_bytes(owner) + struct.pack("<QQ", len(name), len(data)) + utf16(name) + data


def signatures(kind: str, *datas: bytes) -> bytes:
    size = 16 + len(datas[0])
    head = guid_bytes(kind) + struct.pack("<III", 28 + size * len(datas), 0, size)
    return head + b"".join(bytes(16) + data for data in datas)


def boot_option(description: str, path: bytes) -> bytes:
    return struct.pack("<IH", 1, len(path)) + utf16(description + "\0") + path


def image(path: bytes) -> bytes:
    return struct.pack("<QQQQ", 0x1000, 512, 0, len(path)) + path


def gpt(n_partitions: int, counted: int) -> bytes:
    header = b"EFI PART" + bytes(48) + guid_bytes(MICROSOFT) + bytes(12) + struct.pack("<I", 128) + bytes(4)
    return header + struct.pack("<Q", counted) + bytes(128 * n_partitions)


def spec_id(*algorithms: tuple[int, int], vendor: bytes = b"") -> bytes:
    listed = b"".join(struct.pack("<HH", *algorithm) for algorithm in algorithms)
    head = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 105, 2, len(algorithms))
    return head + listed + bytes([len(vendor)]) + vendor


NAMES = b"\5Acme\0\4One\0\1\0\5Acme\0\1\0\0\0\x042.7\0"
DBX = signatures(SHA256, *[bytes(32)] * 271) + signatures(SHA256, bytes(32)) + signatures(uefi.X509, DER)
OTHER = "3c5766e8-269c-4e34-aa14-ed776e85b3b6"
AUTHORITY = types.EV_EFI_VARIABLE_AUTHORITY
CONFIG = types.EV_EFI_VARIABLE_DRIVER_CONFIG


@pytest.mark.parametrize(
    ("event_type", "data", "text"),
    [
        (CONFIG, variable("SecureBoot", b"\1"), "SecureBoot = on"),
        (CONFIG, variable("SecureBoot", b"\0"), "SecureBoot = off"),
        (CONFIG, variable("SecureBoot", b""), "SecureBoot: empty"),
        (CONFIG, variable("SecureBoot", b"\2"), "SecureBoot: unknown value, 1 byte (02)"),
        # The name alone makes no Secure Boot variable.
        (CONFIG, variable("SecureBoot", b"\1", MICROSOFT), "variable SecureBoot of Microsoft, 1 byte (01)"),
        (CONFIG, variable("dbx", DBX, IMAGE_SECURITY), "dbx: 3 lists, 272 hashes, 1 certificate"),
        (CONFIG, variable("PK", signatures(uefi.X509, DER)), "PK: 1 list, 1 certificate"),
        (CONFIG, variable("db", signatures(OTHER, bytes(256)), IMAGE_SECURITY), "db: 1 list, 1 other signature"),
        (CONFIG, variable("db", b"", IMAGE_SECURITY), "db: empty"),
        (CONFIG, variable("Lang", b"eng"), "variable Lang, 3 bytes (656e67)"),
        (types.EV_EFI_VARIABLE_BOOT, variable("BootOrder", b"\3\0\x0a\0"), "BootOrder = 0003, 000A"),
        (
            types.EV_EFI_VARIABLE_BOOT2,
            variable("Boot0001", boot_option("debian", file_path(SHIM_PATH))),
            f'variable Boot0001 "debian" {SHIM_PATH}',
        ),
        (types.EV_EFI_BOOT_SERVICES_APPLICATION, image(file_path(SHIM_PATH)), f"image {SHIM_PATH}"),
        (
            types.EV_EFI_BOOT_SERVICES_APPLICATION,
            image(file_path(SHIM_PATH) + b"xy"),
            f"image {SHIM_PATH} and 2 more bytes",
        ),
        (types.EV_EFI_BOOT_SERVICES_DRIVER, image(FILE + END), "image Path(4,4,5c006100)"),
        (types.EV_EFI_RUNTIME_SERVICES_DRIVER, image(b""), "image at 0x1000, 512 bytes"),
        (types.EV_EFI_GPT_EVENT, gpt(3, 3), f"GPT, 3 partitions, disk {MICROSOFT}"),
        (types.EV_EFI_GPT_EVENT2, gpt(1, 1), f"GPT, 1 partition, disk {MICROSOFT}"),
        (types.EV_SEPARATOR, bytes(4), "separator"),
        (types.EV_SEPARATOR, b"\xff" * 4, "separator (ffffffff)"),
        (types.EV_SEPARATOR, b"\1\0\0\0", "error separator"),
        (types.EV_SEPARATOR, b"WBCL", "separator: WBCL"),
        (types.EV_SEPARATOR, bytes(3), "separator: 3 bytes (000000)"),
        (types.EV_EFI_ACTION, b"Calling EFI Application from Boot Option", "Calling EFI Application from Boot Option"),
        (types.EV_ACTION, b"DMA Protection Disabled\0", "DMA Protection Disabled"),
        (types.EV_IPL, b"grub_cmd: set root=hd0\0", "grub_cmd: set root=hd0"),
        (types.EV_IPL, b"grub_cmd: a {\n  b\n}\0", "grub_cmd: a {\\x0a  b\\x0a}"),
        (types.EV_IPL, utf16(".linux\0"), ".linux"),
        (types.EV_IPL, utf16("root=/dev/vda2") + b"\0", "root=/dev/vda2"),  # old systemd-stub: one zero byte
        (types.EV_IPL, b"MokList\0\xaf", "MokList and 1 more byte"),
        (types.EV_IPL, b"a\0\xaf", "3 bytes (6100af)"),
        (types.EV_IPL, b"", "no data"),
        (types.EV_IPL, b"\x1b[2Jcleared", "11 bytes (1b5b324a636c6561726564)"),
        (types.EV_EVENT_TAG, struct.pack("<II", 0x8F3B22EC, 2) + b"hi", "tagged event Linux initrd, 10 bytes"),
        (types.EV_EVENT_TAG, struct.pack("<II", 0x40010001, 0), "tagged event 0x40010001, 8 bytes"),
        (
            types.EV_EVENT_TAG,
            struct.pack("<IIII", 0x8F3B22ED, 0, 0xF5BC582A, 0),
            "tagged event Linux load options, systemd loader.conf, 16 bytes",
        ),
        (types.EV_S_CRTM_VERSION, utf16("1.0\0"), "S-CRTM version: 1.0"),
        (types.EV_S_CRTM_VERSION, utf16("1.2.3.4\0"), "S-CRTM version: 1.2.3.4"),  # as long as a GUID
        (types.EV_S_CRTM_VERSION, guid_bytes(IMAGE_SECURITY), f"S-CRTM version {IMAGE_SECURITY}"),
        (types.EV_S_CRTM_VERSION, b"G5B1a", "S-CRTM version: G5B1a"),
        (types.EV_S_CRTM_VERSION, bytes(2), "S-CRTM version, empty"),
        (types.EV_S_CRTM_CONTENTS, b"Boot Guard Measured S-CRTM\0", "S-CRTM contents: Boot Guard Measured S-CRTM"),
        (types.EV_POST_CODE, b"ACPI DATA", "POST code: ACPI DATA"),
        (
            types.EV_POST_CODE,
            struct.pack("<QQ", 0xFF120000, 4096),
            "POST code: firmware blob at 0xff120000, 4096 bytes",
        ),
        (types.EV_POST_CODE2, b"\3BB\0" + struct.pack("<QQ", 16, 32), "POST code: firmware blob BB at 0x10, 32 bytes"),
        (types.EV_EVENT_TAG, b"", "tagged event without a tag, 0 bytes"),
        (types.EV_EFI_PLATFORM_FIRMWARE_BLOB, struct.pack("<QQ", 0x820000, 9), "firmware blob at 0x820000, 9 bytes"),
        (
            types.EV_EFI_PLATFORM_FIRMWARE_BLOB2,
            b"\4Main" + struct.pack("<QQ", 0x820000, 1),
            "firmware blob Main at 0x820000, 1 byte",
        ),
        (
            types.EV_EFI_HANDOFF_TABLES,
            struct.pack("<Q", 1) + guid_bytes("f2fd1544-9794-4a2c-992e-e5bbcf20e394") + bytes(8),
            "handoff tables SMBIOS 3",
        ),
        (
            types.EV_EFI_HANDOFF_TABLES2,
            b"\2T\0" + struct.pack("<Q", 17) + bytes(24 * 17),
            f"handoff tables T {', '.join([str(uuid.UUID(int=0))] * 16)}"[:239] + "…",
        ),
        (types.EV_EFI_HCRTM_EVENT, b"HCRTM", "H-CRTM: HCRTM"),
        (types.EV_CPU_MICROCODE, b"\xff\0\xff", "CPU microcode, 3 bytes (ff00ff)"),
        (types.EV_PLATFORM_CONFIG_FLAGS, b"etc/acpi/rsdp" + bytes(43), "platform configuration: etc/acpi/rsdp"),
        (types.EV_EFI_SPDM_FIRMWARE_BLOB, b"vendor's own\0", "SPDM device firmware: vendor's own"),
        (
            types.EV_EFI_SPDM_DEVICE_POLICY,
            variable("devdb", signatures(uefi.X509, DER)),
            "devdb: 1 list, 1 certificate",
        ),
        (
            AUTHORITY,
            variable("db", guid_bytes(MICROSOFT) + DER, IMAGE_SECURITY),
            "authority db: X.509 certificate of 260 bytes, owner Microsoft",
        ),
        (
            AUTHORITY,
            variable("Shim", DER, uefi.SHIM_LOCK) + bytes(6),
            "authority Shim of shim lock: X.509 certificate of 260 bytes and 6 more bytes",
        ),
        (
            AUTHORITY,
            variable("SbatLevel", b"sbat,1,2025021800\nshim,4\ngrub,5\n", uefi.SHIM_LOCK),
            "SbatLevel: sbat,1,2025021800; shim,4; grub,5",
        ),
        (AUTHORITY, variable("MokSBState", b"\1", uefi.SHIM_LOCK), "MokSBState = 01 (shim validation disabled)"),
        (AUTHORITY, variable("MokSBState", b"\0", uefi.SHIM_LOCK), "MokSBState = 00"),
        (AUTHORITY, variable("MokListTrusted", b"\1", uefi.SHIM_LOCK), "MokListTrusted = 01"),
        (0xDEAD0000, bytes(range(32)), "32 bytes (000102030405060708090a0b0c0d0e0f…)"),
        (0xDEAD0000, b"Dell Configuration Information 1\0", "Dell Configuration Information 1"),
    ],
)
def test_describe(event_type: int, data: bytes, text: str) -> None:
    assert describe(0, event_type, data) == text


@pytest.mark.parametrize(
    ("pcr", "data", "text"),
    [
        (0, spec_id((4, 20), (0xB, 32), (0x12, 32)), "log header 2.0 errata 105: sha1, sha256, sm3_256"),
        (0, spec_id((0x27, 32), vendor=b"td-shim"), "log header 2.0 errata 105: 0x0027"),
        (0, b"Spec ID Event02\0" + bytes(14), "header of a SHA-1 log"),
        (0, b"StartupLocality\0\3", "StartupLocality 3"),
        (0, b"H-CRTM CompMeas\0\4CRTM\0\2\0ab", "H-CRTM component: CRTM"),
        (
            0,
            b"SP800-155 Event\0\1\0\0\0" + guid_bytes(MICROSOFT),
            f"SP800-155 reference manifest {MICROSOFT} of vendor 1",
        ),
        (
            0,
            b"SP800-155 Event3\1\0\0\0" + guid_bytes(MICROSOFT) + NAMES + bytes(16),
            f"SP800-155 reference manifest {MICROSOFT} of vendor 1, Acme, One, Acme, 2.7",
        ),
        (0x01C40200, b"NvIndexInstance\0" + bytes(8), "record of NV index 0x01c40200, 24 bytes"),
        (0xFFFFFFFF, struct.pack("<II", 0xC0010004, 0), "Windows: trust point of 0 records"),
        (3, b"anything\0", "no action: anything"),
    ],
)
def test_describe_no_action(pcr: int, data: bytes, text: str) -> None:
    assert describe(pcr, types.EV_NO_ACTION, data) == text


NAME_LIE = bytes(16) + struct.pack("<QQ", 1 << 63, 0) + bytes(8)


@pytest.mark.parametrize(
    ("event_type", "data", "text"),
    [
        (CONFIG, NAME_LIE, "undecodable EFI variable (at byte 16)"),
        (AUTHORITY, NAME_LIE, "undecodable EFI variable (at byte 16)"),
        (types.EV_EFI_SPDM_DEVICE_POLICY, NAME_LIE, "undecodable EFI variable (at byte 16)"),
        (
            types.EV_EFI_BOOT_SERVICES_APPLICATION,
            image(b"")[:-8] + b"\xff" * 8,
            "undecodable image load event (at byte 24)",
        ),
        (types.EV_EFI_GPT_EVENT, gpt(1, 1 << 57), "undecodable GPT (at byte 92)"),
        (types.EV_EFI_PLATFORM_FIRMWARE_BLOB, bytes(17), "undecodable firmware blob (at byte 16)"),
        (types.EV_EFI_PLATFORM_FIRMWARE_BLOB2, b"\xffab", "undecodable firmware blob (at byte 1)"),
        (types.EV_EFI_HANDOFF_TABLES, b"\xff" * 8, "undecodable handoff tables (at byte 0)"),
        (types.EV_EVENT_TAG, struct.pack("<II", 1, 0xFFFFFFFF), "undecodable tagged event (at byte 4)"),
        (types.EV_EVENT_TAG, b"abc", "undecodable tagged event (at byte 0)"),
        (types.EV_NO_ACTION, spec_id((4, 20))[:-1], "undecodable Spec ID header (at byte 32)"),
        (types.EV_NO_ACTION, spec_id()[:24] + b"\xff" * 4, "undecodable Spec ID header (at byte 24)"),
        (types.EV_NO_ACTION, b"StartupLocality\0", "undecodable startup locality (at byte 16)"),
        (types.EV_NO_ACTION, b"StartupLocality\0\3\3", "undecodable startup locality (at byte 17)"),
        (types.EV_NO_ACTION, b"SP800-155 Event3\1", "undecodable SP800-155 event (at byte 16)"),
    ],
)
def test_describe_data_that_lies(event_type: int, data: bytes, text: str) -> None:
    assert describe(0, event_type, data) == text


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_describe_device_path_node_of_impossible_length(length: int) -> None:
    data = image(file_path("\\a")[:-4] + struct.pack("<BBH", 4, 4, length))
    assert describe(4, types.EV_EFI_BOOT_SERVICES_APPLICATION, data) == "image \\a undecodable device path (at byte 42)"


@pytest.mark.parametrize(
    ("total", "size", "offset"), [(0, 48, 54), (76, 0, 62), (76, 15, 62), (76, 0xFFFFFFFF, 62), (0xFFFFFFFF, 48, 54)]
)
def test_describe_signature_list_that_lies(total: int, size: int, offset: int) -> None:
    content = guid_bytes(uefi.X509) + struct.pack("<III", total, 0, size) + bytes(48)
    data = variable("dbx", content, IMAGE_SECURITY)
    assert describe(7, CONFIG, data) == f"dbx: undecodable signature list (at byte {offset})"


def is_clean(text: str) -> bool:
    return len(text) <= 240 and all(
        character == " " or unicodedata.category(character)[0] not in "CZ" for character in text
    )


ANY_TYPE = st.sampled_from(sorted(types.NAMES)) | st.integers(0, 0xFFFFFFFF)
ANY_PCR = st.integers(0, 24) | st.just(0xFFFFFFFF)
SOUND = (
    *(variable(name, DBX, owner) for name, owner in (("db", IMAGE_SECURITY), ("MokList", uefi.SHIM_LOCK))),
    variable("Boot0001", boot_option("debian", file_path(SHIM_PATH))),
    variable("SbatLevel", b"sbat,1\n", uefi.SHIM_LOCK),
    image(file_path(SHIM_PATH)),
    gpt(2, 2),
    spec_id((4, 20), (0xB, 32)),
    b"SP800-155 Event3\1\0\0\0" + bytes(16) + NAMES + bytes(16),
    struct.pack("<II", 0x8F3B22EC, 2) + b"hi",
    utf16("root=/dev/vda2\0"),
    b"\2T\0" + struct.pack("<Q", 1) + bytes(24),
)


@given(ANY_PCR, ANY_TYPE, st.binary(max_size=400))
@example(0, types.EV_IPL, b"x" * 5000)
@example(0, types.EV_IPL, "€".encode() * 5000)  # 1024 bytes end within a character
@example(0, types.EV_IPL, utf16("\U0001f600") * 5000)
def test_describe_any_bytes(pcr: int, event_type: int, data: bytes) -> None:
    assert is_clean(describe(pcr, event_type, data))


@given(ANY_PCR, ANY_TYPE, st.sampled_from(SOUND), st.integers(0), st.binary(max_size=12), st.booleans())
def test_describe_damaged_data(pcr: int, event_type: int, data: bytes, at: int, patch: bytes, cut: bool) -> None:
    at %= len(data)
    damaged = data[:at] + patch + (b"" if cut else data[at + len(patch) :])
    assert is_clean(describe(pcr, event_type, damaged))


@given(ANY_TYPE, st.text(max_size=300))
def test_describe_hostile_text(event_type: int, text: str) -> None:
    wide = text.encode("utf-16-le", "surrogatepass")
    for data in (
        text.encode("utf-8", "surrogatepass"),
        wide,
        guid_bytes(MICROSOFT) + struct.pack("<QQ", len(wide) // 2, 0) + wide,
    ):
        assert is_clean(describe(8, event_type, data))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain \\x41 café 启动", "plain \\x41 café 启动"),
        ("a\x1b[31m\x7f\x9b\0", "a\\x1b[31m\\x7f\\x9b\\x00"),
        ("\u202e\u2066\u200b\u2028\ufeff\xad\xa0", "\\u202e\\u2066\\u200b\\u2028\\ufeff\\xad\\xa0"),
        ("\ue000\ud800\U000e0001\U0010ffff", "\\ue000\\ud800\\U000e0001\\U0010ffff"),
        ("\u3164\u115f\ufe0f\U000e0100", "\\u3164\\u115f\\ufe0f\\U000e0100"),
        ("x" * 240, "x" * 240),
        ("x" * 241, "x" * 239 + "…"),
        ("x" * 236 + "\n", "x" * 236 + "\\x0a"),
        ("x" * 237 + "\n", "x" * 237 + "…"),
        ("x" * 236 + "\n" + "y", "x" * 236 + "…"),
        ("", ""),
    ],
)
def test_escape(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@given(st.text(alphabet=st.characters(exclude_categories=[]), max_size=40), st.integers(1, 40))
def test_escape_is_clean_and_short(text: str, limit: int) -> None:
    escaped = escape(text, limit)
    assert is_clean(escaped)
    assert len(escaped) <= limit
    assert escaped.count("…") <= text.count("…") + 1


def test_event_type_names() -> None:
    assert types.name(0x80000001) == "EV_EFI_VARIABLE_DRIVER_CONFIG"
    assert types.name(types.EV_PREBOOT_CERT) == "EV_PREBOOT_CERT"
    assert types.name(0x8401) == "0x00008401"
    assert len(types.NAMES) == 38


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recorded logs are not here")
def test_describe_recorded_logs() -> None:
    lines: dict[str, list[str]] = {}
    for path in sorted(RECORDINGS.glob("*/binary_bios_measurements")):
        log = path.read_bytes()
        lines[path.parent.name] = found = []
        for pcr, event_type, _, data in events_of(log) if log else ():
            line = describe(pcr, event_type, data)
            assert is_clean(line)
            assert event_type in types.NAMES
            assert "undecodable" not in line, (path, pcr, types.name(event_type))
            found.append(line)
    assert len(lines) > 50
    first, secure, sm3, uki = (
        lines[name] for name in ("01_m1_first_boot", "60_sb_first_boot", "80_sm3_all_banks", "70_uki")
    )
    assert "log header 2.0 errata 0: sha1, sha256, sha384, sha512" in first
    assert "SecureBoot = off" in first
    assert "image \\EFI\\debian\\grubx64.efi" in first
    assert any(line.startswith("kernel_cmdline: /vmlinuz") for line in first)
    assert "SecureBoot = on" in secure
    assert "PK: 1 list, 1 certificate" in secure
    assert (
        "authority db: X.509 certificate of 1556 bytes (Microsoft Corporation UEFI CA 2011), owner Microsoft" in secure
    )
    assert "SbatLevel: sbat,1,2025021800; shim,4; grub,5" in secure
    assert any(line.startswith('variable Boot0003 "debian" HD(1,GPT,') for line in secure)
    assert "log header 2.0 errata 0: sha1, sha256, sha384, sha512, sm3_256" in sm3
    assert ".linux" in uki
    assert "tagged event Linux initrd, 21 bytes" in uki
    assert lines["22_no_event_log"] == []

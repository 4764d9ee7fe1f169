"""decode(): every field is what its range of the data holds, faults stay local, nothing hostile is slow or large."""

from __future__ import annotations

import json
import struct
import uuid

import pytest
from conftest import shared
from hypothesis import given
from hypothesis import strategies as st
from test_event_data import (
    DER,
    FILE,
    IMAGE_SECURITY,
    MICROSOFT,
    boot_option,
    file_path,
    guid_bytes,
    image,
    utf16,
    variable,
)

from pyverify.evidence import event_types as types
from pyverify.evidence import sipa, uefi
from pyverify.evidence.certificate import certificate_words, common_name
from pyverify.evidence.decoded import Field
from pyverify.evidence.event_data import decode
from pyverify.evidence.eventlog import EventLog

CONFIG = types.EV_EFI_VARIABLE_DRIVER_CONFIG


def values(pcr: int, event_type: int, data: bytes) -> dict:
    return {field.name: field.value for field in decode(pcr, event_type, data).fields}


def real_events():
    corpus = shared("corpus")
    records = json.loads((corpus / "manifest.json").read_text())
    paths = [corpus / record["file"] for record in records if record["kind"] in ("tcg1", "tcg2")]
    for path in paths + sorted(shared("recordings").glob("*/binary_bios_measurements")):
        yield from EventLog.read(path.read_bytes())


# Names that scripts hang on: one more is fine, another for the same thing is not.
KINDS = {
    "action",
    "authority",
    "blob",
    "bytes",
    "command-line",
    "configuration",
    "file",
    "gce-non-host-info",
    "gpt",
    "grub",
    "h-crtm",
    "image",
    "microcode",
    "non-host",
    "post-code",
    "reference-manifest",
    "s-crtm-contents",
    "s-crtm-version",
    "section",
    "separator",
    "shim-variable",
    "spec-id",
    "startup-locality",
    "tables",
    "tagged",
    "text",
    "undecodable",
    "variable",
    "windows",
}


# Each field again, from its range alone and by other means.


def reread(field: Field, data: bytes) -> bool:
    """Whether a field is what its range of the data holds: a number, a GUID, a text or bytes."""
    part = data[field.start : field.stop]
    if isinstance(field.value, bool):
        return part == bytes([field.value])
    if isinstance(field.value, int):
        return int.from_bytes(part, "little") == field.value
    assert isinstance(field.value, str)
    if field.value.lower() == part.hex():
        return True
    if len(part) == 16 and str(uuid.UUID(bytes_le=part)) == field.value:
        return True
    texts = [part.rstrip(b"\0").decode(code, "replace") for code in ("utf-8", "utf-16-le")]
    texts += [part.decode("utf-16-le", "replace").rstrip("\0"), texts[0].rstrip(": ")]
    return field.value in texts


def test_every_field_of_every_real_event_is_what_its_range_holds():
    seen: dict[tuple[str, str], int] = {}
    for event in real_events():
        decoded = decode(event.pcr, event.type_hint, event.data)
        for field in decoded.fields:
            assert 0 <= field.start <= field.stop <= len(event.data)
            seen[decoded.kind, field.name] = seen.get((decoded.kind, field.name), 0) + 1
            if isinstance(field.value, list | dict) or field.name == "path":
                continue  # held against tpm2_eventlog
            assert reread(field, event.data), (decoded.kind, field, event.type_name)
    assert len(seen) > 60
    assert {kind for kind, _ in seen} == KINDS


def test_names_of_fields_are_unique_in_an_event():
    for event in real_events():
        names = [field.name for field in decode(event.pcr, event.type_hint, event.data).fields]
        assert len(names) == len(set(names)), (event.type_name, names)


@pytest.mark.parametrize("folder", ["60_sb_first_boot", "63_sb_dbx_updated", "65_sb_mok_added", "74_sb_own_keys_uki"])
def test_measured_variables_are_those_of_efivarfs(folder):
    """The operating system shows the same variables as the log; efivarfs puts four bytes of attributes before each."""
    path = shared("recordings") / folder
    found = 0
    for event in EventLog.parse((path / "binary_bios_measurements").read_bytes()):
        decoded = decode(event.pcr, event.type_hint, event.data)
        if decoded.kind != "variable":
            continue
        fields = {field.name: field for field in decoded.fields}
        file = path / "efivars" / f"{fields['name'].value}-{fields['guid'].value}"
        if not file.exists():
            continue
        content = file.read_bytes()[4:]
        at = fields["name"].stop
        assert event.data[at:] == content, file.name
        assert decode(1, CONFIG, variable(str(fields["name"].value), content, str(fields["guid"].value))).text in (
            decoded.text
        )
        found += 1
    assert found >= 6


# What is in the structures, written down by hand.


@pytest.mark.parametrize(
    ("pcr", "kind", "data", "expected"),
    [
        (8, types.EV_IPL, b"kernel_cmdline: a b\0", [("label", "kernel_cmdline", 0, 16), ("text", "a b", 16, 19)]),
        (8, types.EV_IPL, b"module_cmdline: x\0", [("label", "module_cmdline", 0, 16), ("text", "x", 16, 17)]),
        (8, types.EV_IPL, b"grub_cmd: \0", [("label", "grub_cmd", 0, 10), ("text", "", 10, 10)]),
        (8, types.EV_IPL, b"grub_cmd ls\0", [("label", "grub_cmd", 0, 9), ("text", "ls", 9, 11)]),
        (
            8,
            types.EV_IPL,
            b"grub_kernel_cmdline /vmlinuz ro\0",
            [("label", "grub_kernel_cmdline", 0, 20), ("text", "/vmlinuz ro", 20, 31)],
        ),
        (9, types.EV_IPL, b"(hd0)/k\0", [("name", "(hd0)/k", 0, 7)]),
        (14, types.EV_IPL, b"MokList\0", [("name", "MokList", 0, 7)]),
        (11, types.EV_IPL, utf16(".linux\0"), [("name", ".linux", 0, 12)]),
        (12, types.EV_IPL, utf16("root=/a") + b"\0", [("text", "root=/a", 0, 14)]),
        (12, types.EV_IPL, utf16("Credentials initrd\0"), [("name", "Credentials initrd", 0, 36)]),
        (0, types.EV_SEPARATOR, bytes(4), [("value", "00000000", 0, 4)]),
        (0, types.EV_NO_ACTION, b"StartupLocality\0\3", [("locality", 3, 16, 17)]),
        (
            0,
            types.EV_NO_ACTION,
            b"H-CRTM CompMeas\0\4CRTM\x80\2\0ab",
            [("description", "CRTM", 17, 21), ("format", 0x80, 21, 22), ("measurement", "6162", 24, 26)],
        ),
        (
            0x01C40201,
            types.EV_NO_ACTION,
            b"NvIndexDynamic \0" + struct.pack("<HHIQ", 1, 0, 0, 7) + b"\x0f\0SPDM CHALLENGE\0\2\0\xab\xcd",
            [
                ("signature", "NvIndexDynamic ", 0, 16),
                ("version", 1, 16, 18),
                ("device_uid", 7, 24, 32),
                ("description", "SPDM CHALLENGE", 34, 49),
                ("data", "abcd", 51, 53),
            ],
        ),
        (
            1,
            CONFIG,
            variable("Boot0001", boot_option("x", file_path("\\a")) + b"opt"),
            [
                ("guid", uefi.GLOBAL_VARIABLE, 0, 16),
                ("name", "Boot0001", 32, 48),
                ("attributes", 1, 48, 52),
                ("description", "x", 54, 56),
                ("path", "\\a", 58, 72),
                ("optional_data", "6f7074", 72, 75),
            ],
        ),
    ],
)
def test_fields_and_where_they_are(pcr, kind, data, expected):
    assert [field[:4] for field in decode(pcr, kind, data).fields] == expected


def locators(*parts: tuple[int, bytes]) -> bytes:
    head = b"SP800-155 Event3\x79\x2b\0\0" + guid_bytes(MICROSOFT) + b"\2A\0\2B\0\2C\0\2D\0\1\0\0\0\2E\0"
    return head + b"".join(struct.pack("<II", kind, len(content)) + content for kind, content in parts)


def test_reference_manifests_say_where_they_are_and_nobody_goes_there():
    uri = b"https://example.com/rim\0"
    held = values(0, types.EV_NO_ACTION, locators((1, uri), (3, guid_bytes(IMAGE_SECURITY) + utf16("Rim\0"))))
    assert held["manifest_locator"] == {"type": "uri", "uri": "https://example.com/rim"}
    assert held["certificate_locator"] == {"type": "variable", "guid": IMAGE_SECURITY, "name": "Rim"}
    assert (held["vendor_id"], held["firmware_manufacturer_id"], held["firmware_version"]) == (0x2B79, 1, "E")
    held = values(0, types.EV_NO_ACTION, locators((2, file_path("\\r")), (0, b"\xff")))
    assert held["manifest_locator"] == {"type": "device-path", "path": "\\r"}
    assert held["certificate_locator"] == {"type": "raw", "data": "ff"}
    assert decode(0, types.EV_NO_ACTION, locators((0, b""), (0, b"")) + bytes(7)).fault is None
    for bad in (locators((0, b"")), locators((0, b""), (0, b"")) + bytes(8), locators((0, b""), (0, b"")) + b"\1"):
        assert decode(0, types.EV_NO_ACTION, bad).fault is not None


def spdm_1(blocks: bytes = b"\1\1\4\0abcd") -> bytes:
    path = file_path("\\d")
    head = b"SPDM Device Sec\0" + struct.pack("<HHII", 1, 0, 2, 1)
    context = struct.pack("<HHHHB3sHH", 0, 16, 0x8086, 0x1234, 5, b"\0\0\2", 0x8086, 1)
    return head + blocks + struct.pack("<Q", len(path)) + path + context


def spdm_2(header_type: int, header: bytes, state: int = 0) -> bytes:
    path = file_path("\\d")
    head = b"SPDM Device Sec2" + struct.pack("<HBBIIIIQ", 2, state, 0, 0, 0, header_type, len(header), 99)
    return head + struct.pack("<Q", len(path)) + path + header


def test_spdm_of_both_versions():
    kind = types.EV_EFI_SPDM_FIRMWARE_BLOB
    first = decode(2, kind, spdm_1())
    assert first.text == "SPDM device firmware: measurement 1 of PCI device \\d"
    held = {field.name: field.value for field in first.fields}
    assert (held["vendor_id"], held["device_id"], held["class_code"]) == (0x8086, 0x1234, "000002")
    assert held["measurements"] == [{"index": 1, "specification": 1, "data": "61626364"}]
    blocks = struct.pack("<HBBI", 0x11, 2, 0, 2) + b"\1\1\1\0a" + b"\2\1\1\0b"
    second = decode(2, kind, spdm_2(0, blocks, 1))
    assert second.text == "SPDM device firmware: measurement 1, 2 of device \\d, not authenticated"
    chain = spdm_2(1, struct.pack("<HBBI", 0x11, 0, 0, 2) + b"chain")
    third = decode(3, types.EV_EFI_SPDM_FIRMWARE_CONFIG, chain)
    assert third.text == "SPDM device configuration: certificate chain of 5 bytes of device \\d, authenticated"
    record = decode(0x01C40200, types.EV_NO_ACTION, b"NvIndexInstance\0" + b"\1\0" + bytes(6) + chain)
    assert "certificate chain of 5 bytes" in record.text
    assert record.fault is None
    for bad in (spdm_1()[:40], spdm_1(b"\1\1\xff\xff"), spdm_2(0, blocks + b"x"), spdm_2(0, blocks)[:-1]):
        assert decode(2, kind, bad).fault is not None


def record(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data


def nested(depth: int) -> bytes:
    data = record(0x00050001, b"\1")
    for _ in range(depth):
        data = record(0x40010001, data)
    return data


def test_windows_records():
    module = record(0x40010003, record(0x00070001, utf16("\\Windows\\a.sys\0")) + record(0x00070004, b"\xaa" * 32))
    data = record(0x40010001, record(0x00020002, struct.pack("<Q", 7)) + record(0x00050001, b"\0") + module)
    for pcr, kind in ((12, types.EV_EVENT_TAG), (0xFFFFFFFF, types.EV_NO_ACTION)):
        decoded = decode(pcr, kind, data)
        assert (decoded.kind, decoded.fault) == ("windows", None)
        assert decoded.text == "Windows: boot counter 7, kernel debugging off, 1 module a.sys"
        (outer,) = decoded.fields[0].value
        assert (outer["type"], outer["name"]) == ("0x40010001", "trust boundary")
        assert [inner.get("value") for inner in outer["records"]] == [7, False, None]
    assert decode(1, types.EV_EVENT_TAG, data).kind == "tagged"  # elsewhere it is somebody else's tag


def test_windows_records_lie_eight_deep_and_no_deeper():
    """SPEC 10.1, 20: deeper ones once overflowed the stacks of verifiers."""
    assert decode(13, types.EV_EVENT_TAG, nested(7)).fault is None
    fault = decode(13, types.EV_EVENT_TAG, nested(8)).fault
    assert fault is not None
    assert fault.offset == 56
    assert decode(13, types.EV_EVENT_TAG, nested(20000)).fault is not None


def test_windows_records_that_do_not_fit():
    for data in (b"abc", record(0x40010001, b"abc"), struct.pack("<II", 0x40010001, 0xFFFFFFFF), nested(2) + b"\0"):
        assert decode(12, types.EV_EVENT_TAG, data).fault is not None
    assert decode(12, types.EV_EVENT_TAG, record(0x00050001, b"") * (sipa._MAX_RECORDS + 1)).fault is not None
    assert decode(12, types.EV_EVENT_TAG, record(0x00050001, bytes(1 << 20))).fault is not None
    assert decode(12, types.EV_EVENT_TAG, record(0x00070001, b"\0\xd8")).fields[0].value[0]["value"] == "00d8"


def test_a_fault_within_leaves_what_is_around_it():
    bad = decode(7, CONFIG, variable("dbx", bytes(28), IMAGE_SECURITY))
    assert [field.name for field in bad.fields] == ["guid", "name", "data"]
    assert bad.fault is not None
    assert (bad.kind, bad.fault.offset) == ("variable", 54)
    option = decode(1, types.EV_EFI_VARIABLE_BOOT, variable("Boot0001", boot_option("x", FILE)))
    assert option.fault is not None
    picture = decode(4, types.EV_EFI_BOOT_SERVICES_APPLICATION, image(file_path("\\a")[:-4]))
    assert picture.fault is not None
    assert picture.fields[3].value == "\\a"
    odd = decode(1, CONFIG, variable("BootOrder", b"\1\0\2"))
    assert odd.fault is not None
    signature = decode(7, types.EV_EFI_VARIABLE_AUTHORITY, variable("db", b"short", IMAGE_SECURITY))
    assert signature.fault is not None


def test_names_of_certificates_are_read_and_never_believed():
    log = EventLog.parse((shared("recordings") / "60_sb_first_boot" / "binary_bios_measurements").read_bytes())
    x509 = pytest.importorskip("cryptography.x509")
    seen = 0
    for event in log:
        for field in decode(event.pcr, event.type_hint, event.data).fields:
            for item in field.value if field.name == "signature_lists" else ():
                for signature in item["signatures"] if item["type"] == uefi.X509 else ():
                    data = bytes.fromhex(signature["data"])
                    name = x509.load_der_x509_certificate(data).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
                    assert common_name(data) == name[0].value
                    seen += 1
    assert seen >= 4
    assert certificate_words(b"\x30\x82\0\0") == "X.509 certificate of 4 bytes"
    assert certificate_words(b"\x30\x82\0\1") is None


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_certificate_is_harmless(data, at):
    for damaged in (data, DER[:at] + data + DER[at:], b"\x30\x82" + struct.pack(">H", len(data)) + data):
        assert common_name(damaged) is None or isinstance(common_name(damaged), str)

"""Events of the firmware's own code and tables: blobs, post codes, S-CRTM, handoff tables, separators (SPEC 3.1, 3.3).

Most of their digests cover what the data only names, so the data is a hint at best.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pyverify.evidence import uefi
from pyverify.evidence.decoded import Decoded, Field, bytes_field
from pyverify.evidence.reading import Reader, guid
from pyverify.evidence.words import (
    LISTED,
    count,
    is_text,
    labelled,
    listed,
    plain,
    text_fields,
    words_or_size,
)

_MAX_TABLES: Final = 1024  # a firmware hands over some ten

_SEPARATORS: Final = {
    bytes(4): "separator",
    b"\xff\xff\xff\xff": "separator (ffffffff)",
    b"\1\0\0\0": "error separator",
}

# What protects a guest on Google's cloud, by the byte after the event's name (go-eventlog, see SPEC section 3.1).
_GCE_NAME: Final = b"GCE NonHostInfo\0"
_GCE_TECHNOLOGIES: Final = {0: "none", 1: "AMD SEV", 2: "AMD SEV-ES", 3: "Intel TDX", 4: "AMD SEV-SNP"}


def separator(_: int, data: bytes) -> Decoded:
    """EV_SEPARATOR."""
    if known := _SEPARATORS.get(data[:5]):
        return Decoded("separator", known, [bytes_field("value", data, 0)])
    return Decoded("separator", f"separator: {words_or_size(data)}", text_fields(data))


def crtm_version(pcr: int, data: bytes) -> Decoded:
    """EV_S_CRTM_VERSION: a text or a GUID."""
    # 16 bytes are a GUID, or seven characters and their NUL: text is tried first.
    if len(data) == 16 and not is_text(data):
        version = guid(data)
        return Decoded("s-crtm-version", f"S-CRTM version {version}", [Field("guid", version, 0, 16)])
    if data == bytes(2):
        return Decoded("s-crtm-version", "S-CRTM version, empty", [Field("text", "", 0, 0)])
    return labelled("s-crtm-version", "S-CRTM version")(pcr, data)


def _blob_of(reader: Reader, *, named: bool) -> str:
    """The text of UEFI_PLATFORM_FIRMWARE_BLOB, or of its second form, which has a name."""
    name = f"{reader.short_text('description')} " if named else ""
    base, length = reader.number(8, "base"), reader.number(8, "length")
    reader.end()
    return f"firmware blob {name}at {base:#x}, {count(length, 'byte', 'bytes')}"


def blob(_: int, data: bytes) -> Decoded:
    """EV_EFI_PLATFORM_FIRMWARE_BLOB."""
    reader = Reader(data, "firmware blob")
    return Decoded("blob", _blob_of(reader, named=False), reader.fields)


def named_blob(_: int, data: bytes) -> Decoded:
    """EV_EFI_PLATFORM_FIRMWARE_BLOB2."""
    reader = Reader(data, "firmware blob")
    return Decoded("blob", _blob_of(reader, named=True), reader.fields)


def label_or_blob(kind: str, label: str) -> Callable[[int, bytes], Decoded]:
    """A decoder of data that is a label, or a blob with or without a name."""
    read_label = labelled(kind, label)

    def decode(pcr: int, data: bytes) -> Decoded:
        named = len(data) > 17 and len(data) == 17 + data[0]
        if named or (len(data) == 16 and not is_text(data)):
            reader = Reader(data, "firmware blob")
            return Decoded(kind, f"{label}: {_blob_of(reader, named=named)}", reader.fields)
        return read_label(pcr, data)

    return decode


def _tables_of(reader: Reader, what: str, *, named: bool) -> str:
    """The text of UEFI_HANDOFF_TABLE_POINTERS, or of its second form, which has a name."""
    name = f"{reader.short_text('description')} " if named else ""
    n_tables = reader.number(8, "table_count")
    if n_tables > reader.left // 24:
        raise reader.fault(reader.at - 8)
    start = reader.at
    entries = reader.take(24 * n_tables)
    tables: list[Any] = [
        {"guid": guid(entries[at : at + 16]), "address": int.from_bytes(entries[at + 16 : at + 24], "little")}
        for at in range(0, min(len(entries), 24 * _MAX_TABLES), 24)
    ]
    reader.keep("tables", tables, start)
    reader.end()
    names = [uefi.GUID_NAMES.get(table["guid"], table["guid"]) for table in tables[:LISTED]]
    return f"{what} {name}{listed(names, n_tables)}"


def handoff_tables(_: int, data: bytes) -> Decoded:
    """EV_EFI_HANDOFF_TABLES."""
    reader = Reader(data, "handoff tables")
    return Decoded("tables", _tables_of(reader, "handoff tables", named=False), reader.fields)


def named_handoff_tables(_: int, data: bytes) -> Decoded:
    """EV_EFI_HANDOFF_TABLES2."""
    reader = Reader(data, "handoff tables")
    return Decoded("tables", _tables_of(reader, "handoff tables", named=True), reader.fields)


def table_of_devices(pcr: int, data: bytes) -> Decoded:
    """EV_TABLE_OF_DEVICES: EDK2's servers put handoff tables there, others what they like."""
    if len(data) > 8 and len(data) == 8 + 24 * int.from_bytes(data[:8], "little"):
        reader = Reader(data, "table of devices")
        return Decoded("tables", _tables_of(reader, "table of devices", named=False), reader.fields)
    return labelled("table-of-devices", "table of devices")(pcr, data)


def non_host(pcr: int, data: bytes) -> Decoded:
    """EV_NONHOST_*: the vendor's, of which Google's is known."""
    if len(data) == 32 and data.startswith(_GCE_NAME):
        reader = Reader(data, "GCE event")
        reader.take(16)
        technology = _GCE_TECHNOLOGIES.get(reader.number(1, "technology"), "unknown")
        return Decoded("gce-non-host-info", f"GCE non-host info: confidential computing {technology}", reader.fields)
    return plain("non-host")(pcr, data)


post_code = label_or_blob("post-code", "POST code")
crtm_contents = label_or_blob("s-crtm-contents", "S-CRTM contents")
microcode = labelled("microcode", "CPU microcode")
configuration = labelled("configuration", "platform configuration")
hcrtm = labelled("h-crtm", "H-CRTM")

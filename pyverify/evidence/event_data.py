"""What an event's data says, as one line for people (SPEC sections 1.2, 2.2 and 3).

Data is what the log says, not what was measured: a caller marks the line unverified unless the event's digest matched.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Final

from pyverify.algorithms import BANKS
from pyverify.evidence import event_types as types
from pyverify.evidence import uefi
from pyverify.evidence.text import escape
from pyverify.evidence.uefi import Reader, Undecodable, Variable

_TEXT_BYTES: Final = 1024  # of a text, that are looked at
_MIN_TEXT: Final = 3  # characters of a text that other bytes follow; fewer are chance
_PREVIEW_BYTES: Final = 16
_MAX_LISTED: Final = 16  # items of a list (boot order, tags, tables) that are named

_BANK_NAMES: Final = {bank.id: bank.name for bank in BANKS}

_TAGS: Final[dict[int, str]] = {  # SPEC section 3.4
    0x8F3B22EC: "Linux initrd",
    0x8F3B22ED: "Linux load options",
    0xF5BC582A: "systemd loader.conf",
    0x6C46F751: "systemd devicetree addon",
    0x49DFFE0F: "systemd initrd addon",
    0xDAC08E1A: "systemd microcode addon",
    0xD5CB7CBC: "systemd SMBIOS type 1",
    0xE0D47BC8: "systemd SMBIOS type 2",
    0xC0B3BD23: "systemd SMBIOS type 11",
}

_LOAD_OPTION: Final = re.compile(r"(Boot|Driver|SysPrep|PlatformRecovery)[0-9A-Fa-f]{4}")


def describe(pcr: int, event_type: int, data: bytes) -> str:
    """One line of at most 240 printable characters that says what the event's data says. Never raises.

    The line is no proof: it repeats what the log claims. Data that is not what the type says reads ``undecodable ...``.
    """
    reader = _READERS.get(event_type)
    try:
        text = reader(pcr, data) if reader else _text_or_size(data)
    except Undecodable as fault:
        text = str(fault)
    return escape(text)


def _size(data: bytes) -> str:
    """What is left to say of bytes of unknown meaning."""
    if not data:
        return "no data"
    preview = data[:_PREVIEW_BYTES].hex()
    return f"{_count(len(data), 'byte', 'bytes')} ({preview}{'…' if len(data) > _PREVIEW_BYTES else ''})"


def _text(data: bytes) -> tuple[str, int] | None:
    """The text that the data begins with, in UTF-8 or UTF-16LE, and how many bytes after its NULs it is not."""
    head = data[:_TEXT_BYTES]
    wide = len(head) >= 2 and head[0] != 0 and head[1] == 0
    size = len(head)
    if wide:
        # systemd-stub once ended its text with a single zero byte (SPEC section 3.5).
        end = size - 1 if size % 2 and not head[-1] else size
        size = next((at for at in range(0, size - 1, 2) if head[at : at + 2] == b"\0\0"), end)
    elif b"\0" in head:
        size = head.index(0)
    final = size < len(head) or len(head) == len(data)  # else the bytes looked at may end within a character
    try:
        text, _ = (codecs.utf_16_le_decode if wide else codecs.utf_8_decode)(head[:size], "strict", final)
    except UnicodeDecodeError:
        return None
    if not text or not all(character.isprintable() or character in "\t\n\r" for character in text):
        return None
    after = min(size + 1 + wide, len(data))
    more = len(data) - after if size < len(head) and (any(head[after:]) or len(data) > len(head)) else 0
    return None if more and len(text) < _MIN_TEXT else (text, more)


def _words(data: bytes) -> str | None:
    """The text that the data is or begins with."""
    found = _text(data)
    return found and found[0] + _more(found[1])


def _is_text(data: bytes) -> bool:
    return (_text(data) or ("", 1))[1] == 0


def _text_or_size(data: bytes) -> str:
    return _words(data) or _size(data)


def _labelled(label: str) -> Callable[[int, bytes], str]:
    """A reader of data that is a text or bytes of the vendor's."""

    def read(_: int, data: bytes) -> str:
        text = _words(data)
        return f"{label}: {text}" if text else f"{label}, {_size(data)}"

    return read


def _list(items: list[str], total: int) -> str:
    return ", ".join(items) + (f" and {total - len(items)} more" if total > len(items) else "")


def _more(size: int) -> str:
    return f" and {_count(size, 'more byte', 'more bytes')}" if size else ""


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _no_action(pcr: int, data: bytes) -> str:
    for signature, what, read in _NO_ACTIONS:
        if data.startswith(signature):
            reader = Reader(data, what)
            reader.take(16)
            return read(reader)
    if data.startswith(b"NvIndex"):
        return f"record of NV index 0x{pcr:08x}, {len(data)} bytes"
    # Windows keeps its SIPA records here (SPEC section 0.1).
    return _tagged(pcr, data) if pcr == 0xFFFFFFFF else f"no action: {_text_or_size(data)}"


def _spec_id(reader: Reader) -> str:
    reader.take(4)
    minor, major, errata, _, n_algorithms = (reader.number(size) for size in (1, 1, 1, 1, 4))
    if n_algorithms > reader.left // 4:
        raise reader.fault(24)
    sizes = reader.take(4 * n_algorithms)
    reader.take(reader.number(1))
    reader.end()
    ids = [int.from_bytes(sizes[at : at + 2], "little") for at in range(0, min(len(sizes), 4 * _MAX_LISTED), 4)]
    names = [_BANK_NAMES.get(number, f"0x{number:04x}") for number in ids]
    return f"log header {major}.{minor} errata {errata}: {_list(names, n_algorithms)}"


def _startup_locality(reader: Reader) -> str:
    locality = reader.number(1)
    reader.end()
    return f"StartupLocality {locality}"


def _short_text(reader: Reader) -> str:
    """A text with its size in one byte before it."""
    return reader.take(reader.number(1)).rstrip(b"\0").decode("ascii", "backslashreplace")


def _hcrtm_component(reader: Reader) -> str:
    name = _short_text(reader)
    reader.take(1)
    reader.take(reader.number(2))
    reader.end()
    return f"H-CRTM component: {name}"


def _sp800_155(reader: Reader) -> str:
    vendor = reader.number(4)
    manifest = reader.guid()
    # The first version ends here; the others go on with manufacturer, model, version and firmware manufacturer.
    names = [_short_text(reader) for _ in range(4)] if reader.left else []
    return ", ".join([f"SP800-155 reference manifest {manifest} of vendor {vendor}", *filter(None, names)])


_NO_ACTIONS: Final[tuple[tuple[bytes, str, Callable[[Reader], str]], ...]] = (
    (b"Spec ID Event03\0", "Spec ID header", _spec_id),
    (b"Spec ID Event0", "Spec ID header", lambda _: "header of a SHA-1 log"),
    (b"StartupLocality\0", "startup locality", _startup_locality),
    (b"H-CRTM CompMeas\0", "H-CRTM component", _hcrtm_component),
    (b"SP800-155 Event", "SP800-155 event", _sp800_155),
)


def _separator(_: int, data: bytes) -> str:
    known = {bytes(4): "separator", b"\xff\xff\xff\xff": "separator (ffffffff)", b"\1\0\0\0": "error separator"}
    return known.get(data[:5]) or f"separator: {_text_or_size(data)}"


def _tagged(_: int, data: bytes) -> str:
    reader = Reader(data, "tagged event")
    names: list[str] = []
    while reader.left and len(names) < _MAX_LISTED:
        tag, size = reader.number(4), reader.number(4)
        if size > reader.left:
            raise reader.fault(reader.at - 4)
        reader.at += size
        names.append(_TAGS.get(tag, f"0x{tag:08x}"))
    total = _count(len(data), "byte", "bytes")
    return f"tagged event {', '.join(names) or 'without a tag'}{_more(reader.left)}, {total}"


def _crtm_version(pcr: int, data: bytes) -> str:
    # 16 bytes are a GUID, or seven characters and their NUL: text is tried first.
    if len(data) == 16 and not _is_text(data):
        return f"S-CRTM version {uefi.guid(data)}"
    return "S-CRTM version, empty" if data == bytes(2) else _labelled("S-CRTM version")(pcr, data)


def _structure(what: str, read: Callable[[Reader], str], *, named: bool = False) -> Callable[[int, bytes], str]:
    """A reader of a structure that has to fit exactly, after its name where it has one."""

    def read_structure(_: int, data: bytes) -> str:
        reader = Reader(data, what)
        name = f"{_short_text(reader)} " if named else ""
        text = f"{what} {name}{read(reader)}"
        reader.end()
        return text

    return read_structure


def _place(reader: Reader) -> str:
    base, size = reader.number(8), reader.number(8)
    return f"at {base:#x}, {_count(size, 'byte', 'bytes')}"


def _tables(reader: Reader) -> str:
    n_tables = reader.number(8)
    if n_tables > reader.left // 24:
        raise reader.fault(reader.at - 8)
    entries = reader.take(24 * n_tables)
    tables = [uefi.guid(entries[at : at + 16]) for at in range(0, min(len(entries), 24 * _MAX_LISTED), 24)]
    return _list([uefi.GUID_NAMES.get(table, table) for table in tables], n_tables)


_blob = _structure("firmware blob", _place)
_named_blob = _structure("firmware blob", _place, named=True)


def _label_or_blob(label: str) -> Callable[[int, bytes], str]:
    """A reader of data that is a label, or a blob with or without a name."""

    def read(pcr: int, data: bytes) -> str:
        if len(data) == 16 and not _is_text(data):
            return f"{label}: {_blob(pcr, data)}"
        if len(data) > 17 and len(data) == 17 + data[0]:
            return f"{label}: {_named_blob(pcr, data)}"
        return _labelled(label)(pcr, data)

    return read


def _path(path: uefi.DevicePath) -> str:
    return path.text if path.fault is None else f"{path.text} {path.fault}".lstrip()


def _image(_: int, data: bytes) -> str:
    image = uefi.image_load(data)
    return f"image {_path(image.path) or f'at {image.location:#x}, {image.length} bytes'}{_more(image.excess)}"


def _gpt(_: int, data: bytes) -> str:
    table = uefi.gpt(data)
    return f"GPT, {_count(table.partitions, 'partition', 'partitions')}, disk {table.disk}"


def _signatures(variable: Variable) -> str:
    """What a signature database holds, counted."""
    lists = uefi.signature_lists(variable.data, variable.data_at)
    hashes = sum(item.count for item in lists if item.type in uefi.HASH_SIZES)
    certificates = sum(item.count for item in lists if item.type == uefi.X509)
    others = sum(item.count for item in lists) - hashes - certificates
    counts = (
        (len(lists), "list", "lists"),
        (hashes, "hash", "hashes"),
        (certificates, "certificate", "certificates"),
        (others, "other signature", "other signatures"),
    )
    return f"{variable.name}: {', '.join(_count(*count) for count in counts if count[0]) or 'empty'}"


def _switch(variable: Variable) -> str:
    value = {b"\0": "off", b"\1": "on"}.get(variable.data)
    return f"{variable.name} = {value}" if value else f"{variable.name}: unknown value, {_size(variable.data)}"


def _shim_flag(variable: Variable) -> str:
    disabled = variable.name == "MokSBState" and variable.data != b"\0"
    return f"{variable.name} = {variable.data[:8].hex()}{' (shim validation disabled)' if disabled else ''}"


def _sbat(variable: Variable) -> str:
    return "SbatLevel: " + _text_or_size(variable.data).rstrip("\n").replace("\n", "; ")


def _order(variable: Variable) -> str:
    data = variable.data
    numbers = [data[at : at + 2][::-1].hex().upper() for at in range(0, min(len(data), 2 * _MAX_LISTED), 2)]
    return f"{variable.name} = {_list(numbers, (len(data) + 1) // 2)}"


def _load_option(variable: Variable) -> str:
    option = uefi.load_option(variable.data, variable.data_at)
    return f'variable {variable.name} "{option.description}" {_path(option.path)}'


_SIGNATURE_DATABASES: Final = frozenset(
    [(uefi.GLOBAL_VARIABLE, name) for name in ("PK", "KEK")]
    + [(uefi.IMAGE_SECURITY_DATABASE, name) for name in ("db", "dbx", "dbt", "dbr")]
    + [(uefi.SHIM_LOCK, name) for name in ("MokList", "MokListX", "MokListRT", "MokListXRT")]
)
_VALUES: Final[dict[tuple[str, str], Callable[[Variable], str]]] = {
    **dict.fromkeys(_SIGNATURE_DATABASES, _signatures),
    **{(uefi.GLOBAL_VARIABLE, name): _switch for name in ("SecureBoot", "SetupMode", "AuditMode", "DeployedMode")},
    **{(uefi.GLOBAL_VARIABLE, name): _order for name in ("BootOrder", "DriverOrder", "SysPrepOrder", "BootNext")},
    **{(uefi.SHIM_LOCK, name): _shim_flag for name in ("MokSBState", "MokListTrusted")},
    (uefi.SHIM_LOCK, "SbatLevel"): _sbat,
}


def _variable_value(variable: Variable) -> str | None:
    """What a variable says, by its GUID and name; None where their meaning is not known."""
    read = _VALUES.get((variable.guid, variable.name))
    if variable.guid == uefi.GLOBAL_VARIABLE and _LOAD_OPTION.fullmatch(variable.name):
        read = _load_option
    if read is None:
        return None
    return read(variable) if variable.data else f"{variable.name}: empty"


def _named(variable: Variable) -> str:
    owner = "" if variable.guid == uefi.GLOBAL_VARIABLE else f" of {uefi.GUID_NAMES.get(variable.guid, variable.guid)}"
    return f"{variable.name}{owner}"


def _of_variable(read: Callable[[Variable], str]) -> Callable[[int, bytes], str]:
    """A reader of UEFI_VARIABLE_DATA: a fault in the variable's content does not hide the variable's name."""

    def describe_variable(_: int, data: bytes) -> str:
        variable = uefi.variable(data)
        try:
            text = read(variable)
        except Undecodable as fault:
            text = f"{variable.name}: {fault}"
        return text + _more(variable.excess)

    return describe_variable


def _variable(variable: Variable) -> str:
    return _variable_value(variable) or f"variable {_named(variable)}, {_size(variable.data)}"


def _certificate(data: bytes) -> str | None:
    """An X.509 certificate is one DER SEQUENCE, whose size is two bytes for every certificate in use."""
    is_der = data[:2] == b"\x30\x82" and int.from_bytes(data[2:4], "big") == len(data) - 4
    return f"X.509 certificate of {len(data)} bytes" if is_der else None


def _authority(variable: Variable) -> str:
    data = variable.data
    # Old shims log a bare certificate; SbatLevel and the Mok flags are no signatures at all.
    if bare := _certificate(data):
        return f"authority {_named(variable)}: {bare}"
    if (variable.guid, variable.name) in _SIGNATURE_DATABASES and len(data) > 16:
        owner = uefi.guid(data[:16])
        content = _certificate(data[16:]) or _size(data[16:])
        return f"authority {variable.name}: {content}, owner {uefi.GUID_NAMES.get(owner, owner)}"
    value = _variable_value(variable) if variable.guid == uefi.SHIM_LOCK else None
    return value or f"authority {_named(variable)}: {_size(data)}"


_READERS: Final[dict[int, Callable[[int, bytes], str]]] = {
    types.EV_POST_CODE: _label_or_blob("POST code"),
    types.EV_NO_ACTION: _no_action,
    types.EV_SEPARATOR: _separator,
    types.EV_EVENT_TAG: _tagged,
    types.EV_S_CRTM_CONTENTS: _label_or_blob("S-CRTM contents"),
    types.EV_S_CRTM_VERSION: _crtm_version,
    types.EV_CPU_MICROCODE: _labelled("CPU microcode"),
    types.EV_PLATFORM_CONFIG_FLAGS: _labelled("platform configuration"),
    types.EV_TABLE_OF_DEVICES: _labelled("table of devices"),
    types.EV_POST_CODE2: _label_or_blob("POST code"),
    types.EV_EFI_VARIABLE_DRIVER_CONFIG: _of_variable(_variable),
    types.EV_EFI_VARIABLE_BOOT: _of_variable(_variable),
    types.EV_EFI_VARIABLE_BOOT2: _of_variable(_variable),
    types.EV_EFI_BOOT_SERVICES_APPLICATION: _image,
    types.EV_EFI_BOOT_SERVICES_DRIVER: _image,
    types.EV_EFI_RUNTIME_SERVICES_DRIVER: _image,
    types.EV_EFI_GPT_EVENT: _gpt,
    types.EV_EFI_GPT_EVENT2: _gpt,
    types.EV_EFI_PLATFORM_FIRMWARE_BLOB: _blob,
    types.EV_EFI_PLATFORM_FIRMWARE_BLOB2: _named_blob,
    types.EV_EFI_HANDOFF_TABLES: _structure("handoff tables", _tables),
    types.EV_EFI_HANDOFF_TABLES2: _structure("handoff tables", _tables, named=True),
    types.EV_EFI_HCRTM_EVENT: _labelled("H-CRTM"),
    types.EV_EFI_VARIABLE_AUTHORITY: _of_variable(_authority),
    types.EV_EFI_SPDM_FIRMWARE_BLOB: _labelled("SPDM device firmware"),
    types.EV_EFI_SPDM_FIRMWARE_CONFIG: _labelled("SPDM device configuration"),
    types.EV_EFI_SPDM_DEVICE_POLICY: _of_variable(_signatures),
    types.EV_EFI_SPDM_DEVICE_AUTHORITY: _of_variable(_authority),
}

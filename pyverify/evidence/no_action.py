"""EV_NO_ACTION: what firmware only writes down (SPEC sections 2.2 and 3.2). None of it is measured into a PCR.

All of it is the writer's word. A locator helps to find a reference manifest; nothing here ever fetches one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pyverify.algorithms import BANKS
from pyverify.evidence import sipa
from pyverify.evidence.decoded import Decoded, hex_value
from pyverify.evidence.device_path import device_path
from pyverify.evidence.reading import Reader, utf16
from pyverify.evidence.spdm import device_security
from pyverify.evidence.words import LISTED, listed, text_fields, words_or_size

_BANK_NAMES: Final = {bank.id: bank.name for bank in BANKS}
_MAX_ALGORITHMS: Final = 1024
_WINDOWS_PCR: Final = 0xFFFFFFFF  # SPEC section 0.1


def no_action(pcr: int, data: bytes) -> Decoded:
    """EV_NO_ACTION, by the signature that its data begins with."""
    for signature, kind, what, read in _PAYLOADS:
        if data.startswith(signature):
            reader = Reader(data, what)
            text = read(reader, pcr)
            return Decoded(kind, text, reader.fields)
    if pcr == _WINDOWS_PCR:
        return sipa.windows(data)
    return Decoded("no-action", f"no action: {words_or_size(data)}", text_fields(data))


def _signature(reader: Reader) -> str:
    text = reader.take(16).rstrip(b"\0").decode("ascii", "backslashreplace")
    reader.keep("signature", text, reader.at - 16)
    return text


def _spec_id(reader: Reader, _: int) -> str:
    _signature(reader)
    reader.number(4, "platform_class")
    minor, major = reader.number(1, "version_minor"), reader.number(1, "version_major")
    errata = reader.number(1, "errata")
    reader.number(1, "uintn_size")
    n_algorithms = reader.number(4, "algorithm_count")
    if n_algorithms > reader.left // 4:
        raise reader.fault(24)
    start = reader.at
    pairs = reader.take(4 * n_algorithms)
    algorithms: list[Any] = []
    for at in range(0, min(len(pairs), 4 * _MAX_ALGORITHMS), 4):
        number = int.from_bytes(pairs[at : at + 2], "little")
        size = int.from_bytes(pairs[at + 2 : at + 4], "little")
        algorithms.append({"id": number, "name": _BANK_NAMES.get(number, f"0x{number:04x}"), "digest_size": size})
    reader.keep("algorithms", algorithms, start)
    reader.take(reader.number(1), "vendor_info")
    reader.end()
    names = [str(algorithm["name"]) for algorithm in algorithms[:LISTED]]
    return f"log header {major}.{minor} errata {errata}: {listed(names, n_algorithms)}"


def _sha1_header(reader: Reader, _: int) -> str:
    _signature(reader)
    reader.take(reader.left, "content")
    return "header of a SHA-1 log"


def _startup_locality(reader: Reader, _: int) -> str:
    reader.take(16)
    locality = reader.number(1, "locality")
    reader.end()
    return f"StartupLocality {locality}"


def _hcrtm_component(reader: Reader, _: int) -> str:
    reader.take(16)
    name = reader.short_text("description")
    reader.number(1, "format")
    reader.take(reader.number(2), "measurement")
    reader.end()
    return f"H-CRTM component: {name}"


def _sp800_155(reader: Reader, _: int) -> str:
    signature = _signature(reader)
    vendor = reader.number(4, "vendor_id")
    manifest = reader.guid("manifest_guid")
    names: list[str] = []
    if signature != "SP800-155 Event":
        names = [
            reader.short_text(name)
            for name in ("platform_manufacturer", "platform_model", "platform_version", "firmware_manufacturer")
        ]
        reader.number(4, "firmware_manufacturer_id")
        names.append(reader.short_text("firmware_version"))
    if signature == "SP800-155 Event3":
        _locator(reader, "manifest_locator")
        _locator(reader, "certificate_locator")
    # Google's firmware fills the event up to eight bytes (corpus, eventlogwithsp800155.bin).
    if reader.left >= 8 or any(reader.data[reader.at :]):
        raise reader.fault()
    return ", ".join([f"SP800-155 reference manifest {manifest} of vendor {vendor}", *filter(None, names)])


_URI, _DEVICE_PATH, _VARIABLE = 1, 2, 3


def _locator(reader: Reader, name: str) -> None:
    """Where a manifest or a certificate is said to be."""
    start = reader.at
    kind, size = reader.number(4), reader.number(4)
    if size > reader.left:
        raise reader.fault(start + 4)
    content = reader.take(size)
    value: dict[str, Any] = {"type": {0: "raw", 1: "uri", 2: "device-path", 3: "variable"}.get(kind, str(kind))}
    if kind == _URI:
        value["uri"] = content.rstrip(b"\0").decode("ascii", "backslashreplace")
    elif kind == _DEVICE_PATH:
        value["path"] = device_path(content).text
    elif kind == _VARIABLE and len(content) >= 16:
        variable = Reader(content, reader.what, reader.base + reader.at - size)
        value["guid"] = variable.guid()
        value["name"] = utf16(content[16:], reader.what, variable.base + 16).rstrip("\0")
    else:
        value["data"] = hex_value(content)
    reader.keep(name, value, start)


def _nv_instance(reader: Reader, pcr: int) -> str:
    """What was extended into an NV index as long as the device is the same: its certificates."""
    _signature(reader)
    reader.number(2, "version")
    reader.take(6)
    text = f"record of NV index 0x{pcr:08x}, {len(reader.data)} bytes"
    if not reader.left:
        return text
    if not reader.data.startswith(b"SPDM Device Sec", reader.at):
        reader.take(reader.left, "data")
        return text
    words, fault = device_security(reader)
    if fault is not None:
        raise fault
    return f"{text}: {words}"


def _nv_dynamic(reader: Reader, pcr: int) -> str:
    """What was extended into an NV index and differs in every boot: nonces."""
    _signature(reader)
    reader.number(2, "version")
    reader.take(6)
    reader.number(8, "device_uid")
    size = reader.number(2)
    description = reader.take(size).rstrip(b"\0").decode("ascii", "backslashreplace")
    reader.keep("description", description, reader.at - size)
    reader.take(reader.number(2), "data")
    reader.end()
    return f"record of NV index 0x{pcr:08x}, {len(reader.data)} bytes: {description}"


_PAYLOADS: Final[tuple[tuple[bytes, str, str, Callable[[Reader, int], str]], ...]] = (
    (b"Spec ID Event03\0", "spec-id", "Spec ID header", _spec_id),
    (b"Spec ID Event0", "spec-id", "Spec ID header", _sha1_header),
    (b"StartupLocality\0", "startup-locality", "startup locality", _startup_locality),
    (b"H-CRTM CompMeas\0", "h-crtm-component", "H-CRTM component", _hcrtm_component),
    (b"SP800-155 Event", "reference-manifest", "SP800-155 event", _sp800_155),
    (b"NvIndexInstance\0", "nv-index", "NV index record", _nv_instance),
    (b"NvIndexDynamic \0", "nv-index", "NV index record", _nv_dynamic),
)

"""Events of UEFI variables: their owner and name, and what their content says by both (SPEC sections 3.1, 3.6, 5, 6).

A meaning is given by GUID and name together, never by the name alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from pyverify.evidence import uefi
from pyverify.evidence.certificate import certificate_words
from pyverify.evidence.decoded import Decoded, Field, Undecodable, bytes_field, hex_value
from pyverify.evidence.uefi import Variable
from pyverify.evidence.uefi_events import path_text
from pyverify.evidence.words import LISTED, count, listed, more, size, text_fields, words_or_size

_MAX_ORDER: Final = 1024  # boot options that are shown; their numbers have 16 bits, machines have some 20

_LOAD_OPTION: Final = re.compile(r"(Boot|Driver|SysPrep|PlatformRecovery)[0-9A-Fa-f]{4}")


class _Content(NamedTuple):
    """What a variable's content says."""

    text: str
    fields: Iterable[Field]
    fault: Undecodable | None = None


def _raw(variable: Variable) -> list[Field]:
    return [bytes_field("data", variable.data, variable.data_at)]


def _stop(variable: Variable) -> int:
    return variable.data_at + len(variable.data)


def _signature_list(item: uefi.SignatureList) -> dict[str, Any]:
    step = item.signature_size
    return {
        "type": item.type,
        "type_name": uefi.SIGNATURE_TYPE_NAMES.get(item.type, "unknown"),
        "header_size": item.header_size,
        "signature_size": step,
        "signatures": [
            {
                "owner": uefi.guid(item.signatures[at : at + 16]),
                "data": hex_value(item.signatures[at + 16 : at + step]),
            }
            for at in range(0, len(item.signatures), step)
        ],
    }


def _list_fields(variable: Variable, lists: list[uefi.SignatureList]) -> Iterator[Field]:
    yield Field("signature_lists", [_signature_list(item) for item in lists], variable.data_at, _stop(variable))


def _signatures(variable: Variable) -> _Content:
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
    text = f"{variable.name}: {', '.join(count(*counted) for counted in counts if counted[0]) or 'empty'}"
    # No signature type has a header: what it hides was once read as signatures (SPEC section 5.3).
    odd = next((item for item in lists if item.header_size), None)
    fault = None if odd is None else Undecodable("signature list: it has a header", odd.at + 20)
    return _Content(text if fault is None else f"{text}, {fault}", _list_fields(variable, lists), fault)


def _switch(variable: Variable) -> _Content:
    value = {b"\0": False, b"\1": True}.get(variable.data)
    if value is None:
        return _Content(f"{variable.name}: unknown value, {size(variable.data)}", _raw(variable))
    text = f"{variable.name} = {'on' if value else 'off'}"
    return _Content(text, [Field("value", value, variable.data_at, _stop(variable))])


def _shim_flag(variable: Variable) -> _Content:
    disabled = variable.name == "MokSBState" and variable.data != b"\0"
    text = f"{variable.name} = {variable.data[:8].hex()}{' (shim validation disabled)' if disabled else ''}"
    return _Content(text, _raw(variable))


def _sbat(variable: Variable) -> _Content:
    text = "SbatLevel: " + words_or_size(variable.data).rstrip("\n").replace("\n", "; ")
    return _Content(text, text_fields(variable.data, start=variable.data_at))


def _order(variable: Variable) -> _Content:
    data = variable.data
    numbers = [data[at : at + 2][::-1].hex().upper() for at in range(0, min(len(data), 2 * _MAX_ORDER), 2)]
    text = f"{variable.name} = {listed(numbers[:LISTED], (len(data) + 1) // 2)}"
    fault = Undecodable("boot order", _stop(variable) - 1) if len(data) % 2 else None
    return _Content(text, [Field("order", list(numbers), variable.data_at, _stop(variable))], fault)


def _load_option(variable: Variable) -> _Content:
    option = uefi.load_option(variable.data, variable.data_at)
    at = variable.data_at
    fields = [
        Field("attributes", option.attributes, at, at + 4),
        Field("description", option.description, at + 6, option.path_at - 2),
        Field("path", option.path.text, option.path_at, option.optional_at),
        bytes_field("optional_data", variable.data[option.optional_at - at :], option.optional_at),
    ]
    text = f'variable {variable.name} "{option.description}" {path_text(option.path)}'
    return _Content(text, fields, option.path.fault)


_SIGNATURE_DATABASES: Final = frozenset(
    [(uefi.GLOBAL_VARIABLE, name) for name in ("PK", "KEK")]
    + [(uefi.IMAGE_SECURITY_DATABASE, name) for name in ("db", "dbx", "dbt", "dbr")]
    + [(uefi.SHIM_LOCK, name) for name in ("MokList", "MokListX", "MokListRT", "MokListXRT")]
)
_CONTENTS: Final[dict[tuple[str, str], Callable[[Variable], _Content]]] = {
    **dict.fromkeys(_SIGNATURE_DATABASES, _signatures),
    **{(uefi.GLOBAL_VARIABLE, name): _switch for name in ("SecureBoot", "SetupMode", "AuditMode", "DeployedMode")},
    **{(uefi.GLOBAL_VARIABLE, name): _order for name in ("BootOrder", "DriverOrder", "SysPrepOrder", "BootNext")},
    **{(uefi.SHIM_LOCK, name): _shim_flag for name in ("MokSBState", "MokListTrusted", "MokPolicy")},
    (uefi.SHIM_LOCK, "SbatLevel"): _sbat,
}


def _known_content(variable: Variable) -> _Content | None:
    """What a variable says, by its GUID and name; None where their meaning is not known."""
    read = _CONTENTS.get((variable.guid, variable.name))
    if variable.guid == uefi.GLOBAL_VARIABLE and _LOAD_OPTION.fullmatch(variable.name):
        read = _load_option
    if read is None:
        return None
    return read(variable) if variable.data else _Content(f"{variable.name}: empty", _raw(variable))


def _owned_name(variable: Variable) -> str:
    owner = "" if variable.guid == uefi.GLOBAL_VARIABLE else f" of {uefi.GUID_NAMES.get(variable.guid, variable.guid)}"
    return f"{variable.name}{owner}"


def _fields(variable: Variable, content: Iterable[Field], data: bytes) -> Iterator[Field]:
    yield Field("guid", variable.guid, 0, 16)
    yield Field("name", variable.name, 32, variable.data_at)
    yield from content
    if variable.excess:
        yield bytes_field("excess", data[_stop(variable) :], _stop(variable))


def _of_variable(kind: str, read: Callable[[Variable], _Content]) -> Callable[[int, bytes], Decoded]:
    """A decoder of UEFI_VARIABLE_DATA: a fault in the variable's content does not hide the variable's name."""

    def decode(_: int, data: bytes) -> Decoded:
        variable = uefi.variable(data)
        try:
            content = read(variable)
        except Undecodable as fault:
            content = _Content(f"{variable.name}: {fault}", _raw(variable), fault)
        text = content.text + more(variable.excess)
        return Decoded(kind, text, _fields(variable, content.fields, data), content.fault)

    return decode


def _configuration(variable: Variable) -> _Content:
    text = f"variable {_owned_name(variable)}, {size(variable.data)}"
    return _known_content(variable) or _Content(text, _raw(variable))


def _authority(variable: Variable) -> _Content:
    data, at, stop = variable.data, variable.data_at, _stop(variable)
    # Old shims log a bare certificate; SbatLevel and the Mok flags are no signatures at all.
    if bare := certificate_words(data):
        text = f"authority {_owned_name(variable)}: {bare}"
        return _Content(text, [bytes_field("certificate", data, at)])
    if (variable.guid, variable.name) in _SIGNATURE_DATABASES and len(data) > 16:
        owner = uefi.guid(data[:16])
        held = certificate_words(data[16:])
        text = f"authority {variable.name}: {held or size(data[16:])}, owner {uefi.GUID_NAMES.get(owner, owner)}"
        signature = bytes_field("certificate" if held else "signature", data[16:], at + 16)
        return _Content(text, [Field("owner", owner, at, at + 16), signature])
    content = _known_content(variable) if variable.guid == uefi.SHIM_LOCK else None
    if content is None and (variable.guid, variable.name) in _SIGNATURE_DATABASES:
        raise Undecodable("signature", stop)
    return content or _Content(f"authority {_owned_name(variable)}: {size(data)}", _raw(variable))


configuration = _of_variable("variable", _configuration)
authority = _of_variable("authority", _authority)
device_policy = _of_variable("variable", _signatures)

"""The Canonical Event Log in JSON, and the records of systemd's userspace log, which look the same (SPEC section 9.1).

Read as CEL v1, systemd-pcrlock and libcel write it. Members that no writer is known to give are ignored.
"""

from __future__ import annotations

import re
from typing import Any, Final

from pyverify.algorithms import bank
from pyverify.evidence import event_types
from pyverify.evidence.cel import (
    MAX_JSON_SIZE,
    MAX_RECORDS,
    Record,
    Register,
    check_record,
    malformed,
    too_large,
)
from pyverify.evidence.event_types import EV_IPL, EV_NO_ACTION
from pyverify.evidence.strict_json import StrictJsonError, elements, kind

_REGISTERS: Final = {"pcr": Register.PCR, "nv_index": Register.NV_INDEX, "nvindex": Register.NV_INDEX}
_TYPES: Final = {name: number for number, name in event_types.NAMES.items()}
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,9}")  # pcrlock's form of a type that has no name


def read_records(data: bytes) -> list[Record]:
    """The records of a log, in file order.

    Raises:
        EvidenceError: ``cel.format`` or ``log.too-large``, with the byte.
    """
    check_json_size(data)
    records: list[Record] = []
    try:
        for at, text, value in elements(data):
            if len(records) == MAX_RECORDS:
                raise too_large(at, f"more than {MAX_RECORDS} records")
            number = _whole(at, _object(at, value, "a record"), "recnum", (1 << 64) - 1)
            records.append(record_of(at, text, value, number))
    except StrictJsonError as error:
        raise malformed(error.offset, str(error)) from None
    return records


def check_json_size(data: bytes) -> None:
    """Refuses more JSON than any log is.

    Raises:
        EvidenceError: ``log.too-large``.
    """
    if len(data) > MAX_JSON_SIZE:
        raise too_large(MAX_JSON_SIZE, f"more than {MAX_JSON_SIZE} bytes of JSON")


def record_of(at: int, text: bytes, value: Any, number: int | None) -> Record:
    """The record that a JSON object is: ``at`` the byte where it begins, ``text`` its bytes.

    Content that has no form in a TCG log becomes an entry whose data is ``text``.

    Raises:
        EvidenceError: ``cel.format``.
    """
    members = _object(at, value, "a record")
    named = [name for name in _REGISTERS if name in members]
    if len(named) != 1:
        raise malformed(at, f"a record must name a pcr or an nv_index, and one only; this one has {len(named)}")
    register = _REGISTERS[named[0]]
    index = _whole(at, members, named[0], 0xFFFFFFFF)
    digests = _digests(at, members)
    type_hint, data = _content(at, text, members, bool(digests))
    if register is Register.NV_INDEX:
        type_hint = EV_NO_ACTION
    return check_record(Record(at, number, register, index, digests, type_hint, data))


def _content(at: int, text: bytes, members: dict[str, Any], has_digests: bool) -> tuple[int, bytes]:
    """Type and data of the TCG entry that a record's content becomes (as in the TLV form)."""
    if ("content_type" in members) != ("content" in members):
        raise malformed(at, "content and content_type must come together")
    if "content" not in members:
        return EV_IPL, b""
    content_type = _string(at, members, "content_type")
    if content_type == "pcclient_std":
        content = _object(at, members["content"], "content")
        return _event_type(at, content), _hexadecimal(at, content, "event_data")
    if content_type == "ima_template":
        content = _object(at, members["content"], "content")
        name = _utf8(at, content, "template_name")
        return EV_IPL, name + b"\0" + _hexadecimal(at, content, "template_data")
    if content_type == "systemd":
        content = _object(at, members["content"], "content")
        return EV_IPL, _utf8(at, content, "string") if "string" in content else b""
    if content_type == "cel":
        return EV_IPL if has_digests else EV_NO_ACTION, text
    return EV_IPL, text


def _event_type(at: int, content: dict[str, Any]) -> int:
    """A number, its decimal digits (pcrlock), or a TCG name in either case (pcrlock, libcel)."""
    value = content.get("event_type")
    if not isinstance(value, str):
        return _whole(at, content, "event_type", 0xFFFFFFFF)
    number = int(value) if _DECIMAL.fullmatch(value) else _TYPES.get(value.upper(), -1)
    if not 0 <= number <= 0xFFFFFFFF:
        raise malformed(at, "event_type is no type that the TCG has named")
    return number


def _digests(at: int, members: dict[str, Any]) -> dict[str, bytes]:
    listed = members.get("digests")
    if not isinstance(listed, list):
        raise malformed(at, f"digests must be a list, not {kind(listed)}")
    digests: dict[str, bytes] = {}
    for entry in listed:
        pair = _object(at, entry, "a digest")
        name = _string(at, pair, "hashAlg")
        try:
            algorithm = bank(name)
        except KeyError:
            algorithm = None
        if algorithm is None or name != name.strip():
            raise malformed(at, "hashAlg is no algorithm known here")
        if algorithm.name in digests:
            raise malformed(at, f"two {algorithm.name} digests in one record")
        digest = _hexadecimal(at, pair, "digest")
        if len(digest) != algorithm.size:
            raise malformed(at, f"a {algorithm.name} digest of {len(digest)} bytes")
        digests[algorithm.name] = digest
    return digests


def _object(at: int, value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise malformed(at, f"{what} must be an object, not {kind(value)}")
    return value


def _whole(at: int, members: dict[str, Any], name: str, largest: int) -> int:
    value = members.get(name)
    # bool is an int in Python, and 7.0 equals 7: neither is a whole number here (SPEC section 10.1 row 30).
    if type(value) is not int:
        raise malformed(at, f"{name} must be a whole number, not {kind(value)}")
    if not 0 <= value <= largest:
        raise malformed(at, f"{name} is out of range 0 to {largest}")
    return value


def _string(at: int, members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise malformed(at, f"{name} must be a string, not {kind(value)}")
    return value


def _utf8(at: int, members: dict[str, Any], name: str) -> bytes:
    try:
        return _string(at, members, name).encode()
    except UnicodeEncodeError:
        raise malformed(at, f"{name} has half of a surrogate pair") from None


def _hexadecimal(at: int, members: dict[str, Any], name: str) -> bytes:
    value = _string(at, members, name)
    try:
        found = bytes.fromhex(value)
    except ValueError:
        found = None
    if found is None or 2 * len(found) != len(value):  # fromhex() passes over white space
        raise malformed(at, f"{name} must be pairs of hexadecimal digits and nothing else")
    return found

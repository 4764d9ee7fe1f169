"""The Canonical Event Log in its TLV encoding: type u8, length u32 big-endian, value (SPEC section 9.1)."""

from __future__ import annotations

from collections.abc import Container
from typing import Final, NamedTuple

from pyverify import _native
from pyverify.algorithms import BANKS
from pyverify.evidence.cel import MAX_RECORDS, Record, Register, check_record, malformed, too_large
from pyverify.evidence.event_types import EV_IPL, EV_NO_ACTION

_HEADER: Final = 5
_MAX_FIELDS: Final = 16  # in one value: as many as a TPM may have banks (SPEC section 1.1)
_RECNUM: Final = 0
# 108 is what writers for TDX give the index of a measurement register (SPEC section 2.5) in place of a PCR's.
_REGISTERS: Final = {1: Register.PCR, 2: Register.NV_INDEX, 108: Register.MR}
_DIGESTS: Final = 3
_MANAGEMENT: Final = 4
_PCCLIENT_STD: Final = 5
_IMA_TEMPLATE: Final = 7
_NO_CONTENT: Final = {_RECNUM, _DIGESTS, *_REGISTERS}

# The type of a digest is the low byte of its TPM_ALG_ID, all of which are below 256.
_BANKS: Final = {bank.id: bank for bank in BANKS}


class _Field(NamedTuple):
    """One TLV: where it begins, and where its value does and ends."""

    type: int
    at: int
    start: int
    stop: int


def read_records(data: bytes) -> list[Record]:
    """The records of a log, in file order.

    Raises:
        EvidenceError: ``cel.format`` or ``log.too-large``, with the byte.
    """
    if len(data) > _native.MAX_LOG_SIZE:
        raise too_large(_native.MAX_LOG_SIZE, f"more than {_native.MAX_LOG_SIZE} bytes")
    records: list[Record] = []
    with_content, at = 0, 0
    while at < len(data):
        if len(records) == MAX_RECORDS:
            raise too_large(at, f"more than {MAX_RECORDS} records")
        has_content, record, at = _record(data, at)
        with_content += has_content
        records.append(record)
    # Some writers give no content at all. One that does, and stops before the last, was cut.
    if records and with_content and not has_content:
        raise malformed(records[-1].at, "the log ends inside its last record; collect it again")
    return records


def _field(data: bytes, at: int, stop: int) -> _Field:
    """The TLV that begins at a byte and must end at ``stop`` or before."""
    if stop - at < _HEADER:
        raise malformed(at, "the log, or a field's value, ends inside a type and length")
    size = int.from_bytes(data[at + 1 : at + _HEADER], "big")
    left = stop - at - _HEADER
    if size > left:
        raise malformed(at + 1, f"a field claims {size} bytes, and {left} are left")
    return _Field(data[at], at, at + _HEADER, at + _HEADER + size)


def _fields(data: bytes, parent: _Field) -> list[_Field]:
    """The TLVs that a value consists of."""
    found: list[_Field] = []
    at = parent.start
    while at < parent.stop:
        if len(found) == _MAX_FIELDS:
            raise malformed(at, f"a value of more than {_MAX_FIELDS} fields")
        found.append(_field(data, at, parent.stop))
        at = found[-1].stop
    return found


def _number(data: bytes, field: _Field, largest: int) -> int:
    """An integer of 1 to 8 bytes: writers differ in how wide they make them."""
    if not 1 <= field.stop - field.start <= 8:
        raise malformed(field.at, f"an integer of {field.stop - field.start} bytes")
    value = int.from_bytes(data[field.start : field.stop], "big")
    if value > largest:
        raise malformed(field.start, f"the number {value}, which is above {largest}")
    return value


def _expect(data: bytes, at: int, types: Container[int], what: str) -> _Field:
    field = _field(data, at, len(data))
    if field.type not in types:
        raise malformed(at, f"a field of type {field.type} where {what} must be")
    return field


def _record(data: bytes, at: int) -> tuple[bool, Record, int]:
    """Whether the record at a byte has content, the record, and the byte after it."""
    recnum = _expect(data, at, (_RECNUM,), "a record number")
    register = _expect(data, recnum.stop, _REGISTERS, "a pcr, an nv_index or a measurement register")
    listed = _expect(data, register.stop, (_DIGESTS,), "digests")
    content = None
    end = listed.stop
    if end < len(data) and data[end] != _RECNUM:
        content = _field(data, end, len(data))
        end = content.stop
    digests = _digests(data, listed)
    type_hint, event_data = _content(data, content, bool(digests))
    kind = _REGISTERS[register.type]
    record = Record(
        at,
        _number(data, recnum, (1 << 64) - 1),
        kind,
        _number(data, register, 0xFFFFFFFF),
        digests,
        EV_NO_ACTION if kind is Register.NV_INDEX else type_hint,
        event_data,
    )
    return content is not None, check_record(record), end


def _digests(data: bytes, listed: _Field) -> dict[str, bytes]:
    digests: dict[str, bytes] = {}
    for field in _fields(data, listed):
        bank = _BANKS.get(field.type)
        if bank is None:
            raise malformed(field.at, f"a digest under the unknown algorithm {field.type:#06x}")
        if field.stop - field.start != bank.size:
            raise malformed(field.at + 1, f"a {bank.name} digest of {field.stop - field.start} bytes")
        if bank.name in digests:
            raise malformed(field.at, f"two {bank.name} digests in one record")
        digests[bank.name] = data[field.start : field.stop]
    return digests


def _content(data: bytes, content: _Field | None, has_digests: bool) -> tuple[int, bytes]:
    """Type and data of the TCG entry that this content becomes.

    What has no form there stays as it stands, type and length included: that is also what such writers hash. Management
    records of the log itself extend a register only where they have a digest.
    """
    if content is None:
        return EV_IPL, b""
    if content.type in _NO_CONTENT:
        raise malformed(content.at, f"a second field of type {content.type} in one record")
    if content.type == _PCCLIENT_STD:
        event_type, event_data = _two(data, content, "an event's type and data")
        return _number(data, event_type, 0xFFFFFFFF), data[event_data.start : event_data.stop]
    if content.type == _IMA_TEMPLATE:
        name, value = _two(data, content, "a template's name and data")
        return EV_IPL, data[name.start : name.stop] + b"\0" + data[value.start : value.stop]
    whole = data[content.at : content.stop]
    if content.type == _MANAGEMENT:
        _fields(data, content)
        return EV_IPL if has_digests else EV_NO_ACTION, whole
    return EV_IPL, whole


def _two(data: bytes, content: _Field, what: str) -> tuple[_Field, _Field]:
    fields = _fields(data, content)
    if [field.type for field in fields] != [0, 1]:
        raise malformed(content.at, f"content that is not {what}")
    return fields[0], fields[1]

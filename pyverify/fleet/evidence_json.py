"""``evidence.json``: the two hints that a collector gives beside the evidence, parsed strictly."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from pyverify.evidence.strict_json import decode, kind

_RFC3339: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_BOOT_SEQ_END: Final = 1 << 63
_USUAL: Final = re.compile(
    rb'\{"boot_seq": ?(0|[1-9][0-9]{0,17}), ?"collected_at": ?"'
    rb'([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})Z"\}[ \t\n\r]*'
)
"""How nearly all collectors write it: read strictly, these very bytes come to the same two values."""


def parse_evidence_json(data: bytes) -> tuple[int | None, datetime | None]:
    """``(boot_seq, collected_at)``, None for one that is not there or null; unknown keys are ignored.

    Raises:
        ValueError: it is not strict JSON or a value is of the wrong type; the message says which and why.
    """
    usual = _USUAL.fullmatch(data)
    if usual is not None:
        return int(usual[1]), _time(f"{usual[2].decode()}+00:00")
    found = decode(data)
    if not isinstance(found, dict):
        raise ValueError('must be an object such as {"boot_seq": 7}')
    return _boot_seq(found.get("boot_seq")), _collected_at(found.get("collected_at"))


def _boot_seq(value: object) -> int | None:
    if value is None:
        return None
    # bool is an int in Python, and 7.0 equals 7: neither is what was asked for (SPEC section 10.1 row 30).
    if type(value) is not int:
        raise ValueError(f"boot_seq must be a whole number, not {kind(value)}")
    if not 0 <= value < _BOOT_SEQ_END:
        raise ValueError("boot_seq is out of range 0 to 2^63 - 1")
    return value


def _collected_at(value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"collected_at must be a string, not {kind(value)}")
    match = _RFC3339.fullmatch(value)
    if match is None:
        raise ValueError("collected_at must be an RFC 3339 time with its zone, such as 2026-11-01T08:00:00Z")
    day, clock, fraction, zone = match.groups()
    fraction = (fraction or "")[:7]  # the column counts microseconds
    return _time(f"{day}T{clock}{fraction}{zone.upper()}")


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("collected_at is no time that exists") from None

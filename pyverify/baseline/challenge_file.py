"""Challenges as a file: a JSON list that ``challenge new`` writes and ``challenge import`` reads, strictly."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence
from typing import Final

from pyverify.baseline.identity import Challenge
from pyverify.errors import EvidenceError
from pyverify.evidence.strict_json import StrictJsonError, decode

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")


def format_challenges(challenges: Sequence[Challenge]) -> str:
    """The challenges as JSON."""
    entries = [
        {"machine": c.machine, "ak_name": c.ak_name.hex(), "nonce": c.nonce.hex(), "issued_at": c.issued_at.isoformat()}
        for c in challenges
    ]
    return json.dumps(entries, indent=1)


def parse_challenges(data: bytes) -> list[Challenge]:
    """The challenges of a file: ``ak_name`` and ``nonce`` in lower-case hex, ``issued_at`` in RFC 3339 with its zone,
    ``machine`` or null; other keys are ignored.

    Raises:
        EvidenceError: ``evidence.unreadable`` where it is anything else; the message says which entry and why.
    """
    try:
        entries = decode(data)
    except StrictJsonError as error:
        raise _error(str(error)) from error
    if not isinstance(entries, list):
        raise _error("a list of challenges is wanted")
    return [_challenge(entry, f"challenge {number}") for number, entry in enumerate(entries)]


def _challenge(entry: object, where: str) -> Challenge:
    if not isinstance(entry, dict):
        raise _error(f"{where} is no object")
    machine = entry.get("machine")
    if machine is not None and not isinstance(machine, str):
        raise _error(f"{where}: machine must be a string")
    ak_name, nonce = (_hex(entry.get(name), f"{where}: {name}") for name in ("ak_name", "nonce"))
    return Challenge(ak_name, nonce, _time(entry.get("issued_at"), f"{where}: issued_at"), machine)


def _hex(value: object, where: str) -> bytes:
    if not isinstance(value, str) or _HEX.fullmatch(value) is None:
        raise _error(f"{where} must be a string of lower-case hex digits")
    return bytes.fromhex(value)


def _time(value: object, where: str) -> datetime.datetime:
    if not isinstance(value, str) or _RFC3339.fullmatch(value) is None:
        raise _error(f"{where} must be an RFC 3339 time with its zone, such as 2026-11-01T08:00:00Z")
    try:
        return datetime.datetime.fromisoformat(value).astimezone(datetime.UTC)
    except (ValueError, OverflowError) as error:
        raise _error(f"{where} is no time that exists") from error


def _error(words: str) -> EvidenceError:
    return EvidenceError("evidence.unreadable", f"the challenges do not parse: {words}")

"""PCR values as tools write them: tpm2_pcrread's YAML, lines of bank, PCR and value, or our own JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pyverify.algorithms import PCRS, bank
from pyverify.errors import EvidenceError

_BANK = re.compile(r"\s*([A-Za-z0-9_-]+)\s*:\s*")
_VALUE = re.compile(r"\s*(\d{1,2})\s*:\s*(?:0x)?([0-9A-Fa-f]+)\s*")
_LINE = re.compile(r"\s*([A-Za-z0-9_-]+)[\s:]+(\d{1,2})[\s:]+(?:0x)?([0-9A-Fa-f]+)\s*")
_LIMIT = 1 << 20


def read_pcr_file(path: str) -> dict[str, dict[int, bytes]]:
    """PCR values by bank and number.

    Raises:
        EvidenceError: the file cannot be read, a line is none of the known forms, or a value has the wrong length.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(_LIMIT + 1).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise EvidenceError("evidence.unreadable", f"{path}: cannot be read as PCR values: {error}") from error
    if len(text) > _LIMIT:
        raise EvidenceError("evidence.unreadable", f"{path}: more than {_LIMIT} bytes cannot be PCR values")
    entries = _json_entries(text, path) if text.lstrip().startswith("{") else _text_entries(text, path)
    values: dict[str, dict[int, bytes]] = {}
    for where, bank_name, pcr, digits in entries:
        try:
            algorithm = bank(bank_name)
            value = bytes.fromhex(digits)
        except (KeyError, ValueError) as error:
            raise EvidenceError(
                "evidence.unreadable", f"{path}: {where}: unknown bank or odd value: {error}"
            ) from error
        if not 0 <= pcr < PCRS or len(value) != algorithm.size or pcr in values.setdefault(algorithm.name, {}):
            what = f"PCR {pcr} of {algorithm.name} with {len(value)} bytes"
            raise EvidenceError("evidence.unreadable", f"{path}: {where}: {what} cannot be, or stands here twice")
        values[algorithm.name][pcr] = value
    if not values:
        raise EvidenceError("evidence.unreadable", f"{path}: no PCR values in it")
    return values


def _json_entries(text: str, path: str) -> list[tuple[str, str, int, str]]:
    """``{bank: {pcr: hex}}``, or what ``replay --format json`` prints of one log."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name stands there twice")
        return dict(pairs)

    try:
        banks = json.loads(text, object_pairs_hook=once)
        if len(banks) == 1 and "banks" in (replayed := next(iter(banks.values()))):
            banks = replayed["banks"]
        return [("JSON", b, int(pcr), str(value)) for b, values in banks.items() for pcr, value in values.items()]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise EvidenceError("evidence.unreadable", f"{path}: no JSON of bank, PCR and hex: {error}") from error


def _text_entries(text: str, path: str) -> list[tuple[str, str, int, str]]:
    entries: list[tuple[str, str, int, str]] = []
    current: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.strip() == "pcrs:":
            continue
        if match := _BANK.fullmatch(line):
            current = match[1]
        elif (match := _VALUE.fullmatch(line)) and current is not None:
            entries.append((f"line {number}", current, int(match[1]), match[2]))
        elif match := _LINE.fullmatch(line):
            entries.append((f"line {number}", match[1], int(match[2]), match[3]))
        else:
            raise EvidenceError("evidence.unreadable", f"{path}: line {number} is no PCR value: {line[:80]!r}")
    return entries

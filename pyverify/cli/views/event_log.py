"""An event log: one line an event for a person, every field for a script, and which of it is proven."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable
from typing import Any, Final

from pyverify.algorithms import PCRS, TO_SHOW
from pyverify.cli.views.documents import print_document
from pyverify.cli.views.table import Words, print_table
from pyverify.errors import UsageError
from pyverify.evidence import event_types
from pyverify.evidence.decoded import Decoded
from pyverify.evidence.event_data import decode
from pyverify.evidence.eventlog import Event, EventLog
from pyverify.evidence.pcrs import PCR_NAMES
from pyverify.evidence.text import escape

_MARKS: Final = {True: "✓", False: "✗", None: ""}
_DIGEST_DIGITS: Final = 16  # of a digest in the table: enough to find it by

Check = tuple[bool | None, tuple[int, int] | None]
"""Whether an event's digest fits its data (None: it covers nothing here), and the part of the data that it covers."""


def show(data: bytes, args: argparse.Namespace) -> int:
    """Shows every event up to the end of the log, or up to its fault."""
    pcrs, types = _numbers(args.pcr, _pcr), _numbers(args.type, _type)
    log = EventLog.read(data)
    checks = _checks(log)
    events = [event for event in log if (not pcrs or event.pcr in pcrs) and (not types or event.type_hint in types)]
    if args.format == "table":
        _print_table(args.file, log, events, checks)
    else:
        print_document(_document(log, events, checks), args.format)
    log.check(args.file)
    return 0


def _checks(log: EventLog) -> list[Check]:
    """What the digests of the events vouch for; not known where nothing has looked."""
    return [(None, None)] * len(log)


def _numbers(arguments: Iterable[str] | None, read: Any) -> frozenset[int]:
    """The numbers that options name, several in one between commas."""
    return frozenset(read(word.strip()) for argument in arguments or () for word in argument.split(","))


def _pcr(word: str) -> int:
    if not word.isdecimal() or int(word) >= PCRS:
        raise UsageError(f"--pcr {escape(word)}: PCRs are 0 to {PCRS - 1}, such as 4,7")
    return int(word)


def _type(word: str) -> int:
    name = f"EV_{word.upper().removeprefix('EV_')}"
    for number, known in event_types.NAMES.items():
        if known == name:
            return number
    try:
        return int(word, 0)
    except ValueError:
        words = f"--type {escape(word)}: no event type has that name; a number such as 0x8401 will do"
        raise UsageError(words) from None


def _document(log: EventLog, events: list[Event], checks: list[Check]) -> dict[str, Any]:
    return {
        "kind": "tcg",
        "format": log.format,
        "banks": list(log.banks),
        "events": [
            {
                "number": event.number,
                "pcr": event.pcr,
                "type_hint": event.type_name,
                "digests": {bank: digest.hex() for bank, digest in event.digests.items()},
                "data": _data(event, checks[event.number][1]),
                "data_verified": checks[event.number][0],
            }
            for event in events
        ],
        "findings": _findings(log, {event.number for event in events}),
    }


def _data(event: Event, part: tuple[int, int] | None) -> dict[str, Any]:
    decoded = decode(event.pcr, event.type_hint, event.data)
    return {
        "kind": decoded.kind,
        "text": decoded.text,
        "fields": {
            field.name: {"value": field.value, "proven": decoded.proven(field, part)} for field in decoded.fields
        },
        "hex": event.data.hex(),
    }


def _findings(log: EventLog, shown: Collection[int]) -> list[dict[str, Any]]:
    """What can be said of the log alone: its fault, and events of those shown whose data is not what it should be."""
    from pyverify.appraise.decodable import undecodable_findings
    from pyverify.evidence.columns import Ragged
    from pyverify.evidence.scanned import ScannedLogs

    found: list[dict[str, Any]] = []
    if (fault := log.fault) is not None:
        found.append(
            {"code": fault.code, "severity": "high", "event": fault.event, "offset": fault.offset, "hint": str(fault)}
        )
    scanned = ScannedLogs.of(Ragged.of([log.data]))
    found += [
        {
            "code": finding.code,
            "severity": finding.severity.value,
            "pcr": finding.pcr,
            "event": finding.event,
            "hint": finding.hint,
        }
        for _, finding in undecodable_findings(scanned)
        if finding.event is None or finding.event in shown
    ]
    return found


def _print_table(path: str, log: EventLog, events: list[Event], checks: list[Check]) -> None:
    bank = next((name for name in TO_SHOW if name in log.banks), "")
    banks = ", ".join(log.banks) or "none"
    shown = "" if len(events) == len(log) else f"{len(events)} of "
    print(f"{escape(path)}: {log.format or 'no log'}, {shown}{len(log)} events, banks {banks}")
    rows: list[tuple[tuple[str, ...], Words]] = []
    for event in events:
        verified, part = checks[event.number]
        pcr = "-" if event.pcr >= PCRS else str(event.pcr)
        digest = event.digests.get(bank, b"").hex()[:_DIGEST_DIGITS] if event.extended else ""
        cells = (
            str(event.number),
            pcr,
            PCR_NAMES.get(event.pcr, ""),
            event.type_name.removeprefix("EV_"),
            _MARKS[verified],
            digest,
        )
        rows.append((cells, _words(decode(event.pcr, event.type_hint, event.data), part)))
    headers = ("#", "PCR", "name", "type", "✓", bank, "the log says (✓: as measured; dim: unproven)")
    print_table(headers, frozenset([0, 1]), rows)


def _words(decoded: Decoded, part: tuple[int, int] | None) -> Words:
    """The text of an event, dim where no digest vouches for it."""
    text = decoded.text
    unproven = [field for field in decoded.fields if not decoded.proven(field, part)] if part else []
    if part is None or len(unproven) == len(decoded.fields):
        return Words(text, ((0, len(text)),))
    spans: list[tuple[int, int]] = []
    at = 0
    for field in unproven:
        word = escape(str(field.value))
        if isinstance(field.value, str) and word and (start := text.find(word, at)) >= 0:
            at = start + len(word)
            spans.append((start, at))
    return Words(text, tuple(spans))

"""An event log: one line an event for a person, every field for a script, and which of it is proven."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

from pyverify.algorithms import BANKS, PCRS, TO_SHOW
from pyverify.cli.log_file import LogFile, read_log
from pyverify.cli.views import DIGEST_DIGITS, MARKS, Asked, Table, Words, findings
from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence import event_types
from pyverify.evidence.columns import Ragged
from pyverify.evidence.data_check import VERIFIED, DataChecks, check_data
from pyverify.evidence.decoded import Decoded
from pyverify.evidence.event_data import decode
from pyverify.evidence.eventlog import Event
from pyverify.evidence.pcrs import PCR_NAMES
from pyverify.evidence.scanned import ScannedLogs
from pyverify.evidence.text import escape
from pyverify.findings import Finding

ALL_BANKS: Final = (1 << len(BANKS)) - 1

_TITLES: Final = {
    "tcg": "event log",
    "ccel": "event log of confidential computing",
    "cel-tlv": "canonical event log (TLV)",
    "cel-json": "canonical event log (JSON)",
    "systemd": "userspace log of systemd",
}
_FORMS: Final = {"tcg1": ", TPM 1.2", "tcg2": ", crypto-agile"}

# What verified says of an event as JSON has it: true, false, or null where the digest covers what is not in the log.
_ANSWERS: Final = {1: True, 0: False, -1: None}


class Check(NamedTuple):
    """What the digests of an event vouch for."""

    verified: bool | None
    """Whether they fit its data; None where they cover something else."""
    part: tuple[int, int] | None
    """The part of the data that they cover: its first byte and the one after its last."""


def view(data: bytes, asked: Asked) -> EventLogView:
    """A log of any kind."""
    return EventLogView(read_log(asked.kind, data), asked)


class EventLogView:
    """Every event up to the end of the log or its fault, of those that were asked for."""

    def __init__(self, file: LogFile, asked: Asked) -> None:
        self._file = file
        self._log = file.log
        self._name = asked.name
        pcrs, types = _numbers(asked.registers, _pcr_of(file)), _numbers(asked.types, _type)
        self._events = [
            event
            for event in self._log[file.first :]
            if (not pcrs or event.pcr in pcrs) and (not types or event.type_hint in types)
        ]
        self._is_whole = not pcrs and not types
        self._scanned = ScannedLogs.of(Ragged.of([self._log.data]))

    @cached_property
    def data_checks(self) -> DataChecks:
        """The data of all events of the log against their digests in all banks that it has."""
        return check_data(self._scanned, ALL_BANKS)

    def _checks(self) -> list[Check]:
        columns = (self.data_checks.verified, self.data_checks.part_at, self.data_checks.part_size)
        return [
            Check(_ANSWERS[verified], (at, at + size) if verified == VERIFIED and size else None)
            for verified, at, size in zip(*(column.tolist() for column in columns), strict=True)
        ]

    @property
    def title(self) -> str:
        """Kind, form, how many events of how many are shown, banks."""
        kind, log = self._file.kind, self._log
        n = len(log) - self._file.first
        shown = "" if self._is_whole else f"{len(self._events)} of "
        form = _FORMS.get(log.format or "", "") if kind == "tcg" else ""
        banks = ", ".join(log.banks) or "none"
        what = _TITLES[kind] if n or log.format else f"no {_TITLES[kind]}"
        return f"{escape(self._name)}: {what}{form}, {shown}{n} events, banks {banks}"

    def document(self) -> dict[str, Any]:
        """As DESIGN section 9 has it; ``register`` names what the PCR fields are where they are none of PCRs."""
        checks = self._checks()
        return {
            "kind": self._file.kind,
            "format": self._log.format,
            "banks": list(self._log.banks),
            "events": [self._event(event, checks[event.number]) for event in self._events],
            "findings": findings.documents(self.findings(), self.fault),
        }

    def _event(self, event: Event, check: Check) -> dict[str, Any]:
        return {
            "number": event.number,
            "pcr": event.pcr,
            **({} if self._file.of_pcrs else {"register": self._file.register_name(event.pcr)}),
            "type_hint": event.type_name,
            "digests": {bank: digest.hex() for bank, digest in event.digests.items()},
            "data": event.data.hex(),
            "data_verified": check.verified,
            "decoded": _decoded(event, check.part),
        }

    def table(self) -> Table:
        """One line an event, the digest in the bank that people want to see first."""
        checks, log = self._checks(), self._log
        bank = next((name for name in TO_SHOW if name in log.banks), "")
        rows: list[tuple[Sequence[str], Words]] = []
        for event in self._events:
            verified, part = checks[event.number]
            cells = (
                str(event.number),
                self._file.register_name(event.pcr),
                self._purpose(event.pcr),
                event.type_name.removeprefix("EV_"),
                MARKS[verified],
                event.digests.get(bank, b"").hex()[:DIGEST_DIGITS] if event.extended else "",
            )
            rows.append((cells, words(decode(event.pcr, event.type_hint, event.data), part)))
        register, right = ("PCR", frozenset([0, 1])) if self._file.of_pcrs else ("register", frozenset([0]))
        last = "the log says (✓ as measured, ✗ not; dim: unproven)"
        return Table(("#", register, "name", "type", "✓", bank, last), right, rows)

    def _purpose(self, index: int) -> str:
        """What a register is for: the name of a PCR, or the PCRs that another register stands for."""
        if self._file.of_pcrs:
            return PCR_NAMES.get(index, "")
        from pyverify.evidence.ccel import CCEL_REGISTERS

        pcrs = CCEL_REGISTERS[index].pcrs if index < len(CCEL_REGISTERS) else ()
        return f"PCR {', '.join(map(str, pcrs))}" if pcrs else ""

    def findings(self) -> list[Finding]:
        """What the log says against itself, of the events that are shown; of the log as a whole where all are."""
        from pyverify.appraise.log_checks import findings_of
        from pyverify.appraise.secure_boot_rules import PRESET_RULES

        shown = {event.number for event in self._events}
        by_pcr = self._file.of_pcrs and self._file.kind != "systemd"
        found = [one for _, one in findings_of(self._scanned, ALL_BANKS, self.data_checks, PRESET_RULES, by_pcr=by_pcr)]
        found += self._file.notes
        return findings.by_weight(one for one in found if one.event in shown or (one.event is None and self._is_whole))

    @property
    def fault(self) -> EvidenceError | None:
        """What keeps the log from being read to its end."""
        return self._file.fault


def _numbers(named: frozenset[str], read: Callable[[str], int]) -> frozenset[int]:
    return frozenset(read(word) for word in named)


def _pcr_of(file: LogFile) -> Callable[[str], int]:
    """What reads the words of --pcr: a number, or where a log has other registers, a register's name."""

    def pcr(word: str) -> int:
        if not word.isdecimal() or int(word) >= PCRS:
            raise UsageError(f"--pcr {escape(word)}: PCRs are 0 to {PCRS - 1}, such as 4,7")
        return int(word)

    def register(word: str) -> int:
        from pyverify.evidence.ccel import CCEL_REGISTERS

        names = [register.name for register in CCEL_REGISTERS]
        if word.upper() not in names:
            raise UsageError(f"--pcr {escape(word)}: this log is of other registers: {', '.join(names)}")
        return names.index(word.upper())

    return pcr if file.of_pcrs else register


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


def _decoded(event: Event, part: tuple[int, int] | None) -> dict[str, Any]:
    decoded = decode(event.pcr, event.type_hint, event.data)
    return {
        "kind": decoded.kind,
        "text": decoded.text,
        "fields": {
            field.name: {"value": field.value, "proven": decoded.proven(field, part)} for field in decoded.fields
        },
    }


def words(decoded: Decoded, part: tuple[int, int] | None) -> Words:
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

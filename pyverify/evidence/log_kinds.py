"""Event logs of every kind as one TCG log, so that all go through the same scan, replay, diff and baseline.

The kind is what the evidence's column says (DESIGN section 10), never guessed from the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyverify.errors import EvidenceError
from pyverify.evidence import cel, cel_json, cel_tlv, userspace_log
from pyverify.evidence.ccel import read_ccel
from pyverify.evidence.cel import Register
from pyverify.evidence.eventlog import EventLog
from pyverify.evidence.text import escape
from pyverify.findings import Finding

KINDS: Final = ("tcg", "ccel", "cel-tlv", "cel-json")
"""Values of the ``event_log_kind`` column; null is ``tcg``."""


@dataclass(frozen=True, slots=True)
class Transcoded:
    """A log in the form of a TCG log.

    ``registers`` says what its PCR fields are: ``PCR``, or ``MR`` for MR indices (see ``ccel.CCEL_REGISTERS``).
    ``notes`` are what the other form had to tell; their event numbers are those of ``log``.
    """

    log: bytes
    registers: Register = Register.PCR
    notes: tuple[Finding, ...] = ()


def transcode(kind: str | None, data: bytes, userspace: bytes | None = None) -> Transcoded:
    """The event log of a boot, with systemd's userspace log behind it where there is one.

    A TCG log without a userspace log is given back as it is, unread. An empty log stays empty.

    Raises:
        EvidenceError: the log or the userspace log does not parse strictly; an unknown kind (``log.not-a-log``); a
            userspace log, which is of PCRs, beside a log of other registers (``cel.format``).
    """
    if kind is None or kind == "tcg":
        result = Transcoded(data)
    elif kind == "ccel":
        result = Transcoded(read_ccel(data), Register.MR)
    elif kind in ("cel-tlv", "cel-json"):
        records = cel_tlv.read_records(data) if kind == "cel-tlv" else cel_json.read_records(data)
        log, notes = cel.tcg_log(records)
        of_registers = any(record.register is Register.MR for record in records)
        result = Transcoded(log, Register.MR if of_registers else Register.PCR, notes)
    else:
        words = f"an event log of the unknown kind {escape(kind, 40)!r}; there is {', '.join(KINDS)}"
        raise EvidenceError("log.not-a-log", f"log.not-a-log at byte 0: {words}", offset=0)
    if userspace is None:
        return result
    if result.registers is not Register.PCR:
        raise cel.malformed(0, "a userspace log of PCRs beside an event log of measurement registers")
    return Transcoded(with_userspace(result.log, userspace), result.registers, result.notes)


def as_tcg_log(kind: str | None, data: bytes) -> bytes:
    """The log of this kind as a TCG log: of PCRs, or for ``ccel`` alone of MR indices.

    Raises:
        EvidenceError: as :func:`transcode`; ``cel.format`` for a canonical log of measurement registers.
    """
    result = transcode(kind, data)
    if result.registers is Register.MR and kind != "ccel":
        raise cel.malformed(0, "a canonical log of measurement registers of confidential computing, not of PCRs")
    return result.log


def with_userspace(log: bytes, userspace: bytes) -> bytes:
    """The firmware's log without its padding, and after it the records of systemd's userspace log as entries.

    The firmware's are the first events, as many as a scan of ``log`` alone finds. An entry has the digests of the banks
    that the firmware's header lists; one that it lacks makes that bank incomplete, as in any log.

    Raises:
        EvidenceError: a fault of the firmware's log, or none of it (``log.absent``); ``cel.format`` or
            ``log.too-large`` for the userspace log, with its byte.
    """
    firmware = EventLog.parse(log)
    records = userspace_log.read_records(userspace)
    events = log[: len(log) - int(firmware.row["padding"])]
    if firmware.format == "tcg1":
        return events + cel.sha1_entries(records)
    return events + cel.entries(records, firmware.banks)

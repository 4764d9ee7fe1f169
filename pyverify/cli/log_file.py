"""One event log of any kind, for the commands that look at a single one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyverify.algorithms import PCRS
from pyverify.errors import EvidenceError
from pyverify.evidence.eventlog import EventLog

if TYPE_CHECKING:
    from pyverify.evidence.cel import Record
    from pyverify.findings import Finding

# Readers of the rarer kinds are imported where a log is one.


class LogFile(NamedTuple):
    """An event log in the form of a TCG log, as far as it can be read."""

    kind: str
    log: EventLog
    of_pcrs: bool = True
    """Whether the PCR fields are PCRs; else they are measurement registers by MR index (``ccel.CCEL_REGISTERS``)."""
    first: int = 0
    """Number of the first event that is in the file: 1 where event 0 was made to say which banks there are."""
    notes: tuple[Finding, ...] = ()
    """What a canonical log had to tell beside its events."""
    error: EvidenceError | None = None
    """Why it was not read to its end."""

    def register_name(self, index: int) -> str:
        """``7``, or ``RTMR0``; ``-`` for what is no register, as of events that extend none."""
        if self.of_pcrs:
            return str(index) if index < PCRS else "-"
        from pyverify.evidence.ccel import CCEL_REGISTERS

        return CCEL_REGISTERS[index].name if index < len(CCEL_REGISTERS) else f"MR {index}"

    @property
    def fault(self) -> EvidenceError | None:
        """Why it was not read to its end; also that it is empty."""
        if self.error is not None:
            return self.error
        try:
            self.log.check()
        except EvidenceError as error:
            return error
        return None


def read_log(kind: str, data: bytes) -> LogFile:
    """A log of a kind out of ``evidence_file.EVENT_LOGS``."""
    if kind == "tcg":
        return LogFile(kind, EventLog.read(data))
    if kind == "ccel":
        return _ccel(data)
    try:
        return _of_records(kind, _records(kind, data))
    except EvidenceError as error:
        return _of_records(kind, _before(kind, data, error))._replace(error=error)


def _records(kind: str, data: bytes) -> list[Record]:
    from pyverify.evidence import cel_json, cel_tlv, userspace_log

    readers = {
        "cel-tlv": cel_tlv.read_records,
        "cel-json": cel_json.read_records,
        "systemd": userspace_log.read_records,
    }
    return readers[kind](data)


def _ccel(data: bytes) -> LogFile:
    from pyverify.evidence.ccel import read_ccel

    try:
        return LogFile("ccel", EventLog.read(read_ccel(data)), of_pcrs=False)
    except EvidenceError as error:
        # What is before the fault; its first entry has index 1, which the reader of TCG logs does not take.
        before = bytes(4) + data[4 : error.offset] if error.offset else b""
        return LogFile("ccel", EventLog.read(before), of_pcrs=False, error=error)


def _of_records(kind: str, records: list[Record]) -> LogFile:
    from pyverify.evidence import cel

    data, notes = cel.tcg_log(records)
    log = EventLog.read(data)
    of_pcrs = all(record.register is not cel.Register.MR for record in records)
    return LogFile(kind, log, of_pcrs, len(log) - len(records), notes)


def _before(kind: str, data: bytes, error: EvidenceError) -> list[Record]:
    """The records before a fault, where the form of the log shows where each begins."""
    at = data.rfind(b"\x1e", 0, (error.offset or 0) + 1) if kind == "systemd" else 0
    try:
        return _records(kind, data[: max(at, 0)])
    except EvidenceError:
        return []

"""Records of Canonical Event Logs in any encoding, and the TCG event log that says the same (SPEC section 9.1).

A canonical log becomes a crypto-agile TCG log, so that one scan, one replay and one diff serve every kind. Event 0 is
the Spec ID event: the log's own where its first record is one, else a made one that lists the banks which occur.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, PCRS
from pyverify.errors import EvidenceError
from pyverify.evidence.event_types import EV_NO_ACTION
from pyverify.evidence.eventlog import EventLog
from pyverify.findings import Finding, Severity

MAX_RECORDS: Final = _native.MAX_EVENTS - 1
"""Records of a canonical log: with its Spec ID event it is an event log as long as any may be."""
MAX_JSON_SIZE: Final = 1 << 23
"""Bytes of a log in JSON. Firmware log areas are up to 1 MiB (SPEC section 2.3), twice that in hexadecimal."""

CC_REGISTERS: Final = 5
"""Measurement registers of confidential computing, by MR index: MRTD and RTMR0 to RTMR3 (SPEC section 2.5)."""

_NV_HANDLES: Final = 1  # TPM_HT_NV_INDEX: the first byte of every NV index
_NO_REGISTER: Final = 0xFFFFFFFF  # Windows' records that are never extended (SPEC section 0.1)
_SPEC_ID: Final = b"Spec ID Event03\0"


class Register(StrEnum):
    """What a record's index counts."""

    PCR = "pcr"
    NV_INDEX = "nv_index"
    MR = "mr"
    """Measurement registers of confidential computing, by MR index."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: ``at`` is the byte where it begins, ``number`` its recnum (None in systemd's log, which has none).

    ``type_hint`` and ``data`` are those of the TCG entry that it becomes.
    """

    at: int
    number: int | None
    register: Register
    index: int
    digests: dict[str, bytes]
    type_hint: int
    data: bytes

    @property
    def extended(self) -> bool:
        """Whether it changes a register: EV_NO_ACTION does not, whatever digests it has."""
        return self.type_hint != EV_NO_ACTION


def malformed(at: int, words: str) -> EvidenceError:
    """The error for a canonical log or userspace log that does not parse strictly."""
    return EvidenceError("cel.format", f"cel.format at byte {at}: {words}", offset=at)


def too_large(at: int, words: str) -> EvidenceError:
    """The error for a log past its limits."""
    return EvidenceError("log.too-large", f"log.too-large at byte {at}: {words}", offset=at)


def check_record(record: Record) -> Record:
    """The record, if its index exists and it has a digest where it extends one.

    Raises:
        EvidenceError: ``cel.format``.
    """
    index = record.index
    if record.register is Register.NV_INDEX:
        possible = index >> 24 == _NV_HANDLES
    elif record.register is Register.MR:
        # MR 0 is MRTD: the TDX module builds it before anything runs that could write a log (SPEC section 2.5).
        possible = 0 < index < CC_REGISTERS or (index == 0 and not record.extended)
    else:
        possible = index < PCRS or (not record.extended and (index >> 24 == _NV_HANDLES or index == _NO_REGISTER))
    if not possible:
        raise malformed(record.at, f"a record for {record.register} {index}, which is none")
    if record.extended and not record.digests:
        raise malformed(record.at, "a record that extends a register has no digest")
    return record


def tcg_log(records: Sequence[Record]) -> tuple[bytes, tuple[Finding, ...]]:
    """The records as a crypto-agile log, and what is worth telling about their numbers. No records are no log: ``b""``.

    Record i is event i where the first record is the Spec ID event, else event i + 1. Indices of measurement registers
    stand where a TPM's log has its PCRs; NV indices stay EV_NO_ACTION. Digests that are not extended, in a bank that no
    record extends, are left out: they prove nothing.

    Raises:
        EvidenceError: ``cel.format`` where registers of two sorts are mixed, no record has a digest, or one has a
            digest for a bank that the log's own Spec ID event does not list; the fault of that event.
    """
    if not records:
        return b"", ()
    mixed = {record.register for record in records} & {Register.PCR, Register.MR}
    if len(mixed) > 1:
        odd = next(record for record in records if record.register is Register.MR)
        raise malformed(odd.at, "PCRs and measurement registers of confidential computing in one log")
    own = _is_spec_id(records[0])
    banks = _banks_of_spec_id(records[0]) if own else _banks_in_use(records)
    header = _spec_id_entry(records[0].data if own else _spec_id_data(banks))
    body = records[1:] if own else records
    for record in body:
        if record.extended and (unlisted := set(record.digests) - set(banks)):
            words = f"a digest for {min(unlisted)}, a bank that the log's Spec ID event does not list"
            raise malformed(record.at, words)
    log = header + entries(body, banks)
    return log, _numbering(records, first_event=0 if own else 1)


def entries(records: Iterable[Record], banks: Sequence[str]) -> bytes:
    """The records as crypto-agile entries, with their digests for these banks (SPEC section 2.3)."""
    parts = []
    for record in records:
        digests = [(BY_NAME[bank].id, record.digests[bank]) for bank in banks if bank in record.digests]
        parts.append(struct.pack("<III", record.index, record.type_hint, len(digests)))
        parts += [struct.pack("<H", number) + digest for number, digest in digests]
        parts += [struct.pack("<I", len(record.data)), record.data]
    return b"".join(parts)


def sha1_entries(records: Iterable[Record]) -> bytes:
    """The records as entries of the SHA-1 form (SPEC section 2.1).

    Raises:
        EvidenceError: ``cel.format``, a record that extends a PCR has no SHA-1 digest.
    """
    parts = []
    for record in records:
        digest = record.digests.get("sha1", None if record.extended else bytes(BY_NAME["sha1"].size))
        if digest is None:
            raise malformed(record.at, "a record without a SHA-1 digest, and the firmware's log has no other bank")
        parts.append(struct.pack("<II20sI", record.index, record.type_hint, digest, len(record.data)) + record.data)
    return b"".join(parts)


def _is_spec_id(record: Record) -> bool:
    if record.extended or record.index not in (0, 1) or not record.data.startswith(_SPEC_ID):
        return False
    if record.register is Register.PCR and record.index == 1:
        # What TDVF writes: a confidential-computing log whose registers a converter took for PCRs (SPEC section 2.5).
        raise malformed(record.at, "a Spec ID event of measurement registers, which are no PCRs")
    if any(any(digest) for digest in record.digests.values()):
        raise malformed(record.at, "the Spec ID event has a digest")
    return True


def _banks_of_spec_id(record: Record) -> tuple[str, ...]:
    log = EventLog.read(_spec_id_entry(record.data))
    if (fault := log.fault) is not None:
        raise EvidenceError(fault.code, f"{fault.code} at byte {record.at}: the Spec ID event", offset=record.at)
    return log.banks


def _banks_in_use(records: Sequence[Record]) -> tuple[str, ...]:
    extended = [record for record in records if record.extended] or records
    used = {bank for record in extended for bank in record.digests}
    if not used:
        raise malformed(records[0].at, "no record has a digest")
    return tuple(bank.name for bank in BANKS if bank.name in used)


def _spec_id_entry(data: bytes) -> bytes:
    return struct.pack("<II20sI", 0, EV_NO_ACTION, b"", len(data)) + data


def _spec_id_data(banks: Sequence[str]) -> bytes:
    """Platform class 0, minor version 0, major 2, errata 0, 64 bits; the banks; no vendor info (SPEC section 2.2)."""
    listed = b"".join(struct.pack("<HH", BY_NAME[bank].id, BY_NAME[bank].size) for bank in banks)
    return _SPEC_ID + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, len(banks)) + listed + b"\0"


def _numbering(records: Sequence[Record], first_event: int) -> tuple[Finding, ...]:
    """Record numbers that go back or repeat within a register, else numbers that are missing.

    Writers count from 0 or 1, over the whole log or in each register (SPEC section 9.1). The order of the file is what
    is replayed; a number that does not fit it is worth a look.
    """
    last: dict[tuple[Register, int], int] = {}
    previous = -1
    by_log = by_register = True
    for event, record in enumerate(records, first_event):
        if record.number is None:
            continue
        where = record.register, record.index
        before = last.get(where, -1)
        if record.number <= before:
            hint = f"record {record.number} follows record {before} of {record.register} {record.index}"
            return (Finding("cel.numbering", Severity.WARNING, hint, event=event),)
        by_log &= record.number == previous + 1 or (previous == -1 and record.number == 1)
        by_register &= record.number == before + 1 or (before == -1 and record.number == 1)
        previous = last[where] = record.number
    if by_log or by_register:
        return ()
    return (Finding("cel.numbering", Severity.WARNING, "the numbers of the records have gaps: some may be missing"),)

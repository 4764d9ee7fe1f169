"""Needles in the event logs of a batch: read and filtered in one pass; only what remains is looked at closely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME
from pyverify.evidence import event_types
from pyverify.evidence.ccel import CCEL_REGISTERS
from pyverify.evidence.columns import Ragged
from pyverify.evidence.data_check import VERIFIED, check_data
from pyverify.evidence.decoded import Undecodable
from pyverify.evidence.event_data import decode
from pyverify.evidence.eventlog import fault_words
from pyverify.evidence.gather import first_equal, rows_at, slices
from pyverify.evidence.pcrs import pcr_name
from pyverify.evidence.scanned import ScannedLogs
from pyverify.evidence.signature_updates import authority_certificate, signed_part_hash
from pyverify.fleet.hunt_hits import Column, Sighting, first_of_each
from pyverify.fleet.needles import Needles

_ALL_BANKS: Final = (1 << len(BANKS)) - 1
_IMAGE_PCRS: Final = (2, 4)
"""Where firmware and boot loaders extend the Authenticode hashes of images (SPEC section 1.3)."""
_IMAGE_REGISTERS: Final = tuple(i for i, one in enumerate(CCEL_REGISTERS) if set(one.pcrs) & set(_IMAGE_PCRS))
"""The measurement registers that stand for these PCRs."""
_DIGEST: Final = -1  # in place of where a text lies


@dataclass(frozen=True, slots=True)
class EventHits:
    """Hits in event logs. ``events`` are those of ``scanned`` in which they are, which has no others than may be hits;
    ``at`` and ``size`` say where in their data a text lies."""

    rows: Column
    needles: Column
    events: Column
    at: Column
    size: Column
    scanned: ScannedLogs
    numbers: Column
    """Of the events of ``scanned``: where in their log they stand."""
    of_registers: npt.NDArray[np.bool_]
    """Of the logs: those whose PCR fields are measurement registers."""

    def describe(self, which: Column) -> list[Sighting]:
        """What the events of these hits say, by their index."""
        events, place = np.unique(self.events[which], return_inverse=True)
        some = _only(self.scanned, events)
        checks = check_data(some, _ALL_BANKS)
        decode_once = cache(decode)  # fleets repeat themselves
        sightings = []
        for hit, k in zip(which.tolist(), place.tolist(), strict=True):
            log, event, data = int(some.log_of[k]), some.events[k], some.data(k)
            pcr, kind = int(event["pcr"]), int(event["type"])
            decoded = decode_once(pcr, kind, data)
            part = None
            if checks.verified[k] == VERIFIED and checks.part_size[k]:
                part = int(checks.part_at[k]), int(checks.part_at[k]) + int(checks.part_size[k])
            at, size = int(self.at[hit]), int(self.size[hit])
            if at == _DIGEST:
                proven = part is not None and all(decoded.proven(field, part) for field in decoded.fields)
            else:
                proven = part is not None and part[0] <= at and at + size <= part[1]
            number = int(self.numbers[events[k]])
            register = _register(pcr) if self.of_registers[log] else pcr_name(pcr)
            name = event_types.name(kind)
            sightings.append(Sighting("event-log", number, pcr, register, name, decoded.text, proven))
        return sightings


def _register(index: int) -> str:
    return CCEL_REGISTERS[index].name if index < len(CCEL_REGISTERS) else f"MR {index}"


def _with_events(rows: npt.NDArray[Any], log_of: Column) -> npt.NDArray[Any]:
    """Rows of logs of which only some events are left, those of these logs."""
    rows = rows.copy()
    rows["n_events"] = np.bincount(log_of, minlength=len(rows))
    rows["first_event"] = np.cumsum(rows["n_events"], dtype=np.int64) - rows["n_events"]
    return rows


def _only(scanned: ScannedLogs, events: Column) -> ScannedLogs:
    """The same logs with these events only, ascending."""
    log_of = scanned.log_of[events]
    return ScannedLogs(scanned.logs, _with_events(scanned.rows, log_of), scanned.events[events], log_of)


class EventSearch:
    """The search of some logs, row ``row_of[i]`` of a batch being that of log ``i``."""

    def __init__(self, logs: Ragged, row_of: Column, of_registers: npt.NDArray[np.bool_], needles: Needles) -> None:
        has_certificates = bool(needles.certificates or needles.certificate_hashes)
        kept_type = event_types.EV_EFI_VARIABLE_AUTHORITY if has_certificates else None
        texts = [text for text, _ in needles.texts]
        rows, kept, events = _native.hunt(logs.blob, logs.offsets, needles.filters, texts, kept_type)
        self._rows, self._row_of, self._of_registers, self._needles = rows, row_of, of_registers, needles
        self._unread: dict[int, str] = {}
        self._found: list[tuple[Column, Column, Column, Column]] = []
        """Events, needles, places of texts and their sizes."""
        if not len(kept):
            return
        ends = np.cumsum(rows["n_events"], dtype=np.int64)
        log_of: Column = np.searchsorted(ends, kept, side="right")
        self._numbers: Column = kept - rows["first_event"].astype(np.int64)[log_of]
        self._scanned = ScannedLogs(logs, _with_events(rows, log_of), events, log_of)
        self._find_digests()
        self._find_texts()
        if has_certificates:
            self._find_certificates()

    def unsearched(self) -> Iterator[tuple[int, str]]:
        """Rows whose logs may hold what was not seen, and why."""
        rows = self._rows
        for log in np.flatnonzero(rows["fault"]).tolist():
            code = _native.fault_code(int(rows["fault"][log]))
            words = fault_words(str(code), int(rows["fault_at"][log]), int(rows["n_events"][log]))
            yield int(self._row_of[log]), f"{code} {words}"
        banks = rows["banks"] & ~rows["incomplete"]
        for choice in self._needles.bank_choices:
            names = " or ".join(one.name for one in BANKS if choice >> one.index & 1)
            lacks = (banks & choice == 0) & (rows["fault"] == 0) & (rows["n_events"] > 0)
            for log in np.flatnonzero(lacks).tolist():
                yield int(self._row_of[log]), f"bank.missing no {names} digests for all events"
        for log, words in self._unread.items():
            yield int(self._row_of[log]), words

    def hits(self) -> EventHits | None:
        """What was found."""
        if not self._found:
            return None
        events, needles, at, size = (np.concatenate(columns) for columns in zip(*self._found, strict=True))
        rows = self._row_of[self._scanned.log_of[events]]
        first = first_of_each(rows, needles, events)
        return EventHits(
            rows[first],
            needles[first],
            events[first],
            at[first],
            size[first],
            self._scanned,
            self._numbers,
            self._of_registers,
        )

    def _add(self, events: Column, needles: Column) -> None:
        if len(events):
            self._found.append((events, needles, np.full(len(events), _DIGEST), np.zeros(len(events), np.int64)))

    def _find_digests(self) -> None:
        scanned, events = self._scanned, self._scanned.events
        start = scanned.logs.offsets[scanned.log_of]
        of_registers = self._of_registers[scanned.log_of]
        is_image = np.where(of_registers, np.isin(events["pcr"], _IMAGE_REGISTERS), np.isin(events["pcr"], _IMAGE_PCRS))
        for name, table in self._needles.tables.items():
            at = events["digest_at"][:, BY_NAME[name].index]
            some = np.flatnonzero(at != _native.NO_DIGEST)
            item = table.find(rows_at(scanned.logs.blob, start[some] + at[some], BY_NAME[name].size))
            is_hit = (item >= 0) & (table.anywhere[item] | is_image[some])
            self._add(some[is_hit], table.needles[item[is_hit]])

    def _find_texts(self) -> None:
        if not self._needles.texts:
            return
        found: list[tuple[int, int, int, int]] = []
        for event in range(len(self._scanned.events)):
            data = self._scanned.data(event)
            for text, needle in self._needles.texts:
                if (place := data.find(text.bytes)) >= 0:
                    found.append((event, needle, place, len(text.bytes)))
        if found:
            events, needles, places, lengths = np.array(found, np.int64).T
            self._found.append((events, needles, places, lengths))

    def _find_certificates(self) -> None:
        """Revoked certificates among those by which firmware and shim let images run."""
        scanned = self._scanned
        events = np.flatnonzero(scanned.events["type"] == event_types.EV_EFI_VARIABLE_AUTHORITY)
        if not len(events):
            return
        data = slices(scanned.logs.blob, scanned.data_at[events], scanned.events["data_size"][events].astype(np.int64))
        own, which = np.unique(first_equal(data), return_inverse=True)
        alike = np.split(events[np.argsort(which, kind="stable")], np.cumsum(np.bincount(which))[:-1])
        for one, equal in zip(own.tolist(), alike, strict=True):
            try:
                certificate = authority_certificate(data[one])
            except Undecodable as error:
                for log in np.unique(scanned.log_of[equal]).tolist():
                    self._unread.setdefault(log, f"event.undecodable an authority of Secure Boot: {error}")
                continue
            for needle in () if certificate is None else self._revocations(certificate):
                self._add(equal, np.full(len(equal), needle))

    def _revocations(self, certificate: bytes) -> Iterator[int]:
        if certificate in self._needles.certificates:
            yield self._needles.certificates[certificate]
        for name in sorted({name for name, _ in self._needles.certificate_hashes}):
            digest = signed_part_hash(certificate, name)
            if digest is not None and (name, digest) in self._needles.certificate_hashes:
                yield self._needles.certificate_hashes[name, digest]

"""One event log, for a person or a program that looks at a single machine. Fleets go through :mod:`pyverify.replay`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, overload

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, banks_of, mask_of
from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence import event_types
from pyverify.evidence.columns import Ragged

FORMATS: Final = {1: "tcg1", 2: "tcg2"}
"""Names of the two forms of a log: SHA-1 (TPM 1.2) and crypto-agile."""

_FAULT_WORDS: Final = {
    "log.not-a-log": "this is not a TCG event log (text, a canonical or confidential-computing log, or another file?)",
    "log.truncated": "the log ends inside event {event}, which begins here; collect it again",
    "log.header": "the Spec ID event is not as the profile wants it",
    "log.algorithms": "the Spec ID event's list of algorithms is not possible",
    "log.digests": "event {event} has digests that the header does not allow",
    "log.event-size": "event {event} claims more data than any log holds",
    "log.pcr-index": "event {event} extends a PCR that no TPM has",
    "log.trailing": "bytes other than padding follow the last event",
    "log.too-large": "the log is past the limits of {bytes} bytes and {events} events",
}


def fault_words(code: str, offset: int, event: int) -> str:
    """A log's fault in words, with the byte at which it shows."""
    words = _FAULT_WORDS[code].format(event=event, bytes=_native.MAX_LOG_SIZE, events=_native.MAX_EVENTS)
    return f"at byte {offset}: {words}"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a log cannot be judged: code, byte offset, number of the event that was being read."""

    code: str
    offset: int
    event: int

    def __str__(self) -> str:
        return f"{self.code} {fault_words(self.code, self.offset, self.event)}"


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a log.

    Only ``pcr``, ``digests`` and their order can be proven, by a replay that matches a quoted PCR. ``type_hint`` and
    ``data`` are what the log says; ``data_verified`` is None where nothing was checked.
    """

    number: int
    pcr: int
    type_hint: int
    digests: dict[str, bytes]
    data: bytes
    data_verified: bool | None = None

    @property
    def type_name(self) -> str:
        """``EV_…``, or the number where the type has no name."""
        return event_types.name(self.type_hint)

    @property
    def extended(self) -> bool:
        """Whether it changes a PCR: all events but EV_NO_ACTION do."""
        return self.type_hint != event_types.EV_NO_ACTION


class EventLog(Sequence[Event]):
    """A parsed log: a sequence of :class:`Event`, made when asked for, over the bytes and the columns."""

    def __init__(self, data: bytes, row: Any, columns: npt.NDArray[Any]) -> None:
        self.data = data
        """The log's bytes."""
        self._row = row
        self.columns = columns
        """The events as rows of ``_native.EVENT_DTYPE``, shape [events]."""

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Reads a log as far as it goes; :attr:`fault` says whether that was to the end."""
        if not isinstance(data, bytes):
            raise UsageError(f"a log is bytes, not {type(data).__name__}")
        batch = Ragged.of([data])
        logs, events = _native.scan(batch.blob, batch.offsets)
        return cls(data, logs[0], events)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Reads a whole log.

        Raises:
            EvidenceError: the log is empty (``log.absent``) or has a fault.
        """
        log = cls.read(data)
        log.check()
        return log

    def check(self, name: str = "") -> None:
        """Raises what is wrong with the log; ``name``, such as its file's, goes before the words.

        Raises:
            EvidenceError: the log is empty (``log.absent``) or has a fault.
        """
        where = f"{name}: " if name else ""
        if (fault := self.fault) is not None:
            raise EvidenceError(fault.code, f"{where}{fault}", offset=fault.offset, event=fault.event)
        if not self.data:
            raise EvidenceError("log.absent", f"{where}log.absent the log is empty")

    @property
    def fault(self) -> Fault | None:
        """Why the log cannot be judged, or None."""
        code = _native.fault_code(int(self._row["fault"]))
        return None if code is None else Fault(code, int(self._row["fault_at"]), int(self._row["n_events"]))

    @property
    def format(self) -> str | None:
        """``tcg1``, ``tcg2``, or None where it is no log."""
        return FORMATS.get(int(self._row["format"]))

    @property
    def banks(self) -> tuple[str, ...]:
        """Banks that the header lists, of those known here."""
        return banks_of(int(self._row["banks"]))

    @property
    def row(self) -> Any:
        """The log's row of ``_native.LOG_DTYPE``."""
        return self._row

    @property
    def events(self) -> Self:
        """The events: the log itself, under the name that readers look for."""
        return self

    def __len__(self) -> int:
        return len(self.columns)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        if isinstance(index, slice):
            return [self._event(number) for number in range(*index.indices(len(self)))]
        return self._event(range(len(self))[index])

    def __iter__(self) -> Iterator[Event]:
        return map(self._event, range(len(self)))

    def _event(self, number: int) -> Event:
        row = self.columns[number]
        at, size = int(row["data_at"]), int(row["data_size"])
        digests = {
            bank.name: self.data[start : start + bank.size]
            for bank, start in zip(BANKS, row["digest_at"].tolist(), strict=True)
            if start != _native.NO_DIGEST
        }
        return Event(number, int(row["pcr"]), int(row["type"]), digests, self.data[at : at + size])

    def replay(self, banks: Sequence[str] | None = None, *, isa: str | None = None) -> dict[str, npt.NDArray[np.uint8]]:
        """The PCR values that this log leads to, by bank: uint8 of shape [24, digest size].

        Raises:
            EvidenceError: the log has a fault.
            UsageError: a bank that the log does not have, or an unknown variant.
        """
        if self.fault is not None:
            self.check()
        wanted = tuple(self.banks if banks is None else banks)
        if missing := set(wanted) - set(self.banks):
            raise UsageError(f"the log has no bank {', '.join(sorted(missing))}; it has {', '.join(self.banks)}")
        batch = Ragged.of([self.data])
        _, values = _native.replay(batch.blob, batch.offsets, mask_of(wanted), isa)
        return {bank: values[bank][0] for bank in wanted}

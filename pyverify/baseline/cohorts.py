"""When two boots are of one kind: their events in a form that leaves out what :mod:`cohort_rules` names.

The form stands on what the logs say. It is as good as the proof of the log that it was made from, and proves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, TO_SHOW, pcrs_of
from pyverify.baseline.cohort_rules import RULES_OF, counted
from pyverify.baseline.model import start_of
from pyverify.evidence import event_types as types
from pyverify.evidence.columns import Ragged
from pyverify.evidence.data_check import VERIFIED, DataChecks, check_data
from pyverify.evidence.event_data import decode
from pyverify.evidence.eventlog import EventLog
from pyverify.evidence.scanned import ScannedLogs

COUNTED: Final = counted(of_registers=False)
"""The mask of the PCRs that count."""
COUNTED_REGISTERS: Final = counted(of_registers=True)
"""The mask of the measurement registers that count, by MR index."""

_GPT: Final = (types.EV_EFI_GPT_EVENT, types.EV_EFI_GPT_EVENT2)
_LINES: Final = str.maketrans("", "", "\t\n\r")
_RETURNED: Final = "Returning from EFI Application from Boot Option"
_VERSION: Final = "pyverify cohort 1"
"""Goes into every key: boots that are put into another form have other keys."""


@dataclass(frozen=True, slots=True)
class NormalSequence:
    """What counts of one PCR (or measurement register): numbers of the events in the log, in order.

    ``texts`` has for each its normal text where a rule changed it, else None: then its digest counts.
    """

    pcr: int
    start: int
    """As :attr:`pyverify.baseline.model.EventSequence.start`."""
    numbers: tuple[int, ...]
    texts: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class NormalBoot:
    """A log without what honest boots of one kind of machine differ in."""

    log: EventLog
    of_registers: bool
    """Whether its PCR fields are measurement registers."""
    verified: npt.NDArray[np.int8]
    """For each event of the log what :func:`pyverify.evidence.data_check.check_data` says."""
    sequences: tuple[NormalSequence, ...]

    @property
    def banks(self) -> tuple[str, ...]:
        """Banks with a digest in every event, in the order in which they are preferred (``algorithms.TO_SHOW``)."""
        complete = int(self.log.row["banks"]) & ~int(self.log.row["incomplete"])
        return tuple(name for name in TO_SHOW if complete >> BY_NAME[name].index & 1)

    def tokens(self, bank: str) -> dict[int, list[bytes]]:
        """By PCR what each event counts as in a bank: equal tokens are equal events."""
        size, data = BY_NAME[bank].size, self.log.data
        digest_at = self.log.columns["digest_at"][:, BY_NAME[bank].index].tolist()
        return {
            sequence.pcr: [
                b"digest " + data[digest_at[number] : digest_at[number] + size] if text is None else _token(text)
                for number, text in zip(sequence.numbers, sequence.texts, strict=True)
            ]
            for sequence in self.sequences
        }

    def key(self, bank: str) -> bytes:
        """SHA-256 over all that counts in a bank: boots of one kind have equal keys, and no others."""
        head = f"{_VERSION}\0{bank}\0{'MR' if self.of_registers else 'PCR'}".encode()
        whole = hashlib.sha256(head)
        starts = {sequence.pcr: sequence.start for sequence in self.sequences}
        for pcr, tokens in self.tokens(bank).items():
            whole.update(bytes([pcr, starts[pcr]]) + len(tokens).to_bytes(4, "big"))
            for token in tokens:
                whole.update(len(token).to_bytes(4, "big") + token)
        return whole.digest()


def _token(text: str) -> bytes:
    return b"text " + text.encode()


def normalise(scanned: ScannedLogs, of_registers: Sequence[bool]) -> list[NormalBoot]:
    """The normal form of each log of a batch.

    Args:
        scanned: the logs, none with a fault.
        of_registers: for each whether its PCR fields are measurement registers.
    """
    checks = check_data(scanned, [bank.name for bank in BANKS])
    boots = []
    for index, registers in enumerate(of_registers):
        row = scanned.rows[index]
        first = int(row["first_event"])
        events = slice(first, first + int(row["n_events"]))
        log = EventLog(scanned.logs[index], row, scanned.events[events])
        own = DataChecks(*(getattr(checks, name)[events] for name in DataChecks.__slots__))
        boots.append(_normal_boot(log, own, bool(registers)))
    return boots


def _normal_boot(log: EventLog, checks: DataChecks, of_registers: bool) -> NormalBoot:
    pcrs = np.where(log.columns["type"] == types.EV_NO_ACTION, np.uint32(0xFFFFFFFF), log.columns["pcr"])
    reader = _Reader(log, checks, of_registers)
    sequences = [
        reader.sequence(pcr, np.flatnonzero(pcrs == pcr).tolist())
        for pcr in pcrs_of(COUNTED_REGISTERS if of_registers else COUNTED)
    ]
    return NormalBoot(log, of_registers, checks.verified, tuple(map(reader.with_repeats, sequences)))


class _Reader:
    """Applies the rules to the events of one log."""

    def __init__(self, log: EventLog, checks: DataChecks, of_registers: bool) -> None:
        self._log, self._of_registers = log, of_registers
        self._proven = (checks.verified == VERIFIED).tolist()
        self._part_at, self._part_size = checks.part_at.tolist(), checks.part_size.tolist()
        self._data_at = log.columns["data_at"].tolist()
        self._named: dict[str, str] = {}

    def sequence(self, pcr: int, numbers: list[int]) -> NormalSequence:
        """What counts of a PCR, of the events that extended it."""
        rules = RULES_OF[self._of_registers][pcr]
        if rules.retries:
            numbers = list(self._without_retries(numbers))
        kept: dict[int, str | None] = {}
        for number in numbers:
            text = self._text(number) if rules.look_at_texts else None
            if (text is not None and rules.leave_out(text)) or (rules.tables and self._is_table(number)):
                continue
            normal = None if text is None else rules.named(text)
            kept[number] = None if normal == text else normal
            if text is not None and normal is not None and normal != text:
                self._named[text] = normal
        start = start_of(self._log.row, pcr) if not self._of_registers else 0
        return NormalSequence(pcr, start, tuple(kept), tuple(kept.values()))

    def with_repeats(self, sequence: NormalSequence) -> NormalSequence:
        """The sequence, once all are made, with the texts of digests of what was proven, and named, elsewhere."""
        if not self._named or not RULES_OF[self._of_registers][sequence.pcr].repeats:
            return sequence
        texts = [
            self._repeated.get(self._digests(number)) if text is None else text
            for number, text in zip(sequence.numbers, sequence.texts, strict=True)
        ]
        return replace(sequence, texts=tuple(texts))

    @cached_property
    def _repeated(self) -> dict[tuple[bytes, ...], str]:
        """The named texts by the digests that they have where they are measured once more, one a bank of the log."""
        forms: list[bytes | None] = []
        for text in self._named:
            forms += [(text + "\0").encode("utf-16-le"), text.encode()]
        messages = Ragged.of(forms)
        listed = int(self._log.row["banks"])
        columns = [
            [digest.tobytes() for digest in _native.hash_messages(bank.index, messages.blob, messages.offsets)]
            if listed >> bank.index & 1
            else [b""] * len(forms)
            for bank in BANKS
        ]
        normal = [name for name in self._named.values() for _ in range(2)]
        return dict(zip(zip(*columns, strict=True), normal, strict=True))

    def _text(self, number: int) -> str | None:
        """The text that an event's digest covers, None where it proves none."""
        if not self._proven[number] or not self._part_size[number]:
            return None
        at = self._data_at[number] + self._part_at[number]
        return _as_text(self._log.data[at : at + self._part_size[number]])

    def _is_table(self, number: int) -> bool:
        """Whether an event is, proven, a partition table: what is one begins so, and no image or other event does."""
        if not self._proven[number] or int(self._log.columns["type"][number]) not in _GPT:
            return False
        event = self._log[number]
        return decode(event.pcr, event.type_hint, event.data).fault is None

    def _without_retries(self, numbers: list[int]) -> Iterator[int]:
        """The events less those of boot options that returned which the last one repeats: equal in every bank."""
        returns = [place for place, number in enumerate(numbers) if self._text(number) == _RETURNED]
        tried = returns[-1] if returns else 0
        last = {self._digests(number) for number in numbers[tried:]} if returns else set()
        for place, number in enumerate(numbers):
            if place >= tried or self._digests(number) not in last:
                yield number

    def _digests(self, number: int) -> tuple[bytes, ...]:
        places = zip(BANKS, self._log.columns["digest_at"][number].tolist(), strict=True)
        return tuple(self._log.data[at : at + bank.size] for bank, at in places)


def _as_text(data: bytes) -> str | None:
    """Bytes as text, in UTF-16 where they look so (SPEC section 3.5), without a NUL at its end; None if it is none."""
    wide = len(data) >= 2 and data[0] != 0 and data[1] == 0
    try:
        text = data[: len(data) // 2 * 2].decode("utf-16-le") if wide else data.decode()
    except UnicodeDecodeError:
        return None
    text = text.removesuffix("\0")
    return text if text.translate(_LINES).isprintable() else None

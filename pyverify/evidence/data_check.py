"""Whether the data of events is what their digests cover, for all events of a batch at once (SPEC section 3).

Four classes of event: **A** the digest is the hash of the data; **B** of a defined part or form of it; **C** of
something outside the log; **D** either. Of A and B a digest that does not fit is told; C, and D without a fit, say
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, mask_of
from pyverify.evidence import covered
from pyverify.evidence.covered import Candidates, Column
from pyverify.evidence.equal_events import first_equal
from pyverify.evidence.gather import rows_at, slices
from pyverify.evidence.scanned import ScannedLogs

VERIFIED: Final = 1
MISMATCH: Final = 0
UNKNOWN: Final = -1


class Rule(IntEnum):
    """What a digest covers: numbers of the ``rule`` column."""

    NONE = 0
    WHOLE = 1
    VARIABLE_DATA = 2
    TEXT = 3
    TEXT_AND_NUL = 4
    TEXT_16_WITHOUT_NUL = 5
    TEXT_16_COMPLETED = 6
    SECTION_NAME = 7
    GUIDS_ZEROED = 8
    WITHOUT_LAST_BYTE = 9
    ERROR_SEPARATOR = 10


RULES: Final[dict[Rule, str]] = {
    Rule.NONE: "nothing that is known",
    Rule.WHOLE: "the whole data",
    Rule.VARIABLE_DATA: "the variable's data only",
    Rule.TEXT: "the text after GRUB's prefix, without its NUL",
    Rule.TEXT_AND_NUL: "the text after GRUB's prefix and its NUL",
    Rule.TEXT_16_WITHOUT_NUL: "the UTF-16 text without its NUL",
    Rule.TEXT_16_COMPLETED: "the UTF-16 text with the byte that its NUL lacks",
    Rule.SECTION_NAME: "the section's name in ASCII with a NUL",
    Rule.GUIDS_ZEROED: "the partition table with disk and partition GUIDs zeroed",
    Rule.WITHOUT_LAST_BYTE: "all but the last byte, which an old shim added",
    Rule.ERROR_SEPARATOR: "01000000, the error separator; the data says more about the error",
}
"""What each rule means, to put after "the digest covers"."""

# What was hashed is another form of the data, or none of it: there is no slice to point at.
_NO_PART: Final = (Rule.SECTION_NAME, Rule.GUIDS_ZEROED, Rule.ERROR_SEPARATOR)

Banks = int | Iterable[str]


@dataclass(frozen=True, slots=True)
class DataChecks:
    """What was found for each event of a :class:`ScannedLogs`: columns of shape [m].

    ``verified`` is int8: VERIFIED, the covered part hashes to the digest in every checked bank that the event has;
    MISMATCH, it does not in at least one; UNKNOWN, the digest covers what is not in the log, or nothing was checked.
    ``rule`` is uint8, a :class:`Rule`: what fits, or fits in most banks. ``part_at`` and ``part_size``, uint32, are
    the slice of the event's data that is covered; 0 and 0 where it is none of it as it stands.
    ``mismatched_banks`` is uint8: the banks in which a MISMATCH does not fit, a bit each. A variable of which only
    the data is covered is a MISMATCH where the name should be too: the rule then says so.
    """

    verified: npt.NDArray[np.int8]
    rule: npt.NDArray[np.uint8]
    part_at: npt.NDArray[np.uint32]
    part_size: npt.NDArray[np.uint32]
    mismatched_banks: npt.NDArray[np.uint8]


def bank_mask(banks: Banks) -> int:
    """The bit mask of banks that are given as such, or by name."""
    return banks if isinstance(banks, int) else mask_of(tuple(banks))


def check_data(scanned: ScannedLogs, banks: Banks) -> DataChecks:
    """Holds the data of every event against its digests in these banks (those of them that its log has).

    Equal events are checked once. Events before a log's fault are checked too.
    """
    same = first_equal(scanned)
    own = np.flatnonzero(same == np.arange(len(same)))
    check = _Check(scanned, own, bank_mask(banks))
    for rule, candidates in check.rounds():
        check.attempt(rule, candidates)
    checks = check.result()
    row = np.searchsorted(own, same)
    return DataChecks(*(getattr(checks, name)[row] for name in DataChecks.__slots__))


class _Check:
    """The check of the events ``own`` of a batch: rule after rule, each on what no earlier one explains."""

    def __init__(self, scanned: ScannedLogs, own: Column, banks: int) -> None:
        self.events = covered.Events.of(scanned, own)
        self.blob = scanned.logs.blob
        self.grub = covered.grub_texts(self.events)
        self.events.kind[self.grub.rows[self.events.pcr[self.grub.rows] == covered.GRUB_PCR]] |= covered.STRICT
        self.banks = [bank for bank in BANKS if banks >> bank.index & 1]
        start = scanned.logs.offsets[scanned.log_of[own]]
        digest_at = scanned.events["digest_at"][own]
        self.digest_at = {bank.index: start + digest_at[:, bank.index] for bank in self.banks}
        self.checked = np.zeros(len(own), np.uint8)
        for bank in self.banks:
            self.checked[digest_at[:, bank.index] != _native.NO_DIGEST] |= np.uint8(1 << bank.index)
        self.matched = np.zeros(len(own), np.uint8)
        self.rule = np.zeros(len(own), np.uint8)
        self.part_at = np.zeros(len(own), np.uint32)
        self.part_size = np.zeros(len(own), np.uint32)

    def rounds(self) -> Iterator[tuple[Rule, Candidates]]:
        """What each rule is tried on; the usual ones first."""
        events = self.events
        yield Rule.VARIABLE_DATA, covered.variable_data(events, self._open(covered.BOOT_VARIABLE))
        yield Rule.TEXT, self.grub.without_nul(events)
        yield Rule.WHOLE, covered.whole(events, self._open(covered.MAY_BE_WHOLE))
        yield Rule.TEXT_AND_NUL, self.grub.only(self._is_open)
        rare: tuple[tuple[Rule, int, Callable[[covered.Events, Column], Candidates]], ...] = (
            (Rule.TEXT_16_WITHOUT_NUL, covered.IPL, covered.text_16_without_nul),
            (Rule.TEXT_16_COMPLETED, covered.IPL, covered.text_16_completed),
            (Rule.SECTION_NAME, covered.IPL, covered.section_names),
            (Rule.GUIDS_ZEROED, covered.GPT_2, covered.zeroed_tables),
            (Rule.WITHOUT_LAST_BYTE, covered.AUTHORITY, covered.without_last_byte),
            (Rule.VARIABLE_DATA, covered.VARIABLE, covered.variable_data),
            (Rule.ERROR_SEPARATOR, covered.SEPARATOR, covered.error_separators),
        )
        for rule, kind, candidates in rare:
            yield rule, candidates(events, self._open(kind))

    def _is_open(self, rows: Column) -> npt.NDArray[np.bool_]:
        unexplained: npt.NDArray[np.bool_] = self.matched[rows] != self.checked[rows]
        return unexplained

    def _open(self, kind: int) -> Column:
        """Events of a kind that no rule explains yet in all banks."""
        rows = np.flatnonzero(self.events.kind & kind)
        return rows[self._is_open(rows)]

    def attempt(self, rule: Rule, candidates: Candidates) -> None:
        """Hashes what a rule says is covered, bank by bank; the rule that fits most banks is kept."""
        if not len(candidates.rows):
            return
        messages = candidates.made
        if messages is None:
            candidates = candidates.by_size()
            messages = slices(self.blob, candidates.at, candidates.size)
        rows = candidates.rows
        matched = np.zeros(len(rows), np.uint8)
        for bank in self.banks:
            here = self.checked[rows] >> bank.index & 1 == 1
            if not here.any():
                continue
            some = messages
            if not here.all():
                some = slices(messages.blob, messages.offsets[:-1][here], np.diff(messages.offsets)[here])
            digests = _native.hash_messages(bank.index, some.blob, some.offsets)
            logged = rows_at(self.blob, self.digest_at[bank.index][rows[here]], bank.size)
            matched[here] |= np.all(digests == logged, axis=1).astype(np.uint8) << np.uint8(bank.index)
        better = np.bitwise_count(matched) > np.bitwise_count(self.matched[rows])
        rows = rows[better]
        self.matched[rows] = matched[better]
        self.rule[rows] = rule
        part = rule not in _NO_PART
        self.part_at[rows] = (candidates.at - self.events.data_at[candidates.rows])[better] if part else 0
        self.part_size[rows] = candidates.size[better] if part else 0

    def result(self) -> DataChecks:
        """The columns, once all rules were tried."""
        kind, checked = self.events.kind, self.checked
        # The name is covered in all variables but those of EV_EFI_VARIABLE_BOOT: their data alone proves little.
        nameless = (self.rule == Rule.VARIABLE_DATA) & (kind & covered.VARIABLE != 0)
        fits = (checked != 0) & (self.matched == checked) & ~nameless
        told = (checked != 0) & ~fits & ((kind & covered.STRICT != 0) | (self.matched != 0))
        verified = np.full(len(checked), UNKNOWN, np.int8)
        verified[fits] = VERIFIED
        verified[told] = MISMATCH
        verified[fits & (self.rule == Rule.ERROR_SEPARATOR)] = UNKNOWN  # what the data adds is in no digest
        explains_nothing = nameless & (self.matched != checked)
        for column in (self.rule, self.part_at, self.part_size):
            column[explains_nothing] = 0
        missing = np.where(nameless, checked, checked & ~self.matched)
        mismatched = np.where(verified == MISMATCH, missing, 0).astype(np.uint8)
        return DataChecks(verified, self.rule, self.part_at, self.part_size, mismatched)

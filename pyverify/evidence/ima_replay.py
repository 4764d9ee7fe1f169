"""What IMA lists say that PCRs were extended with, and which part of them a PCR value proves (SPEC 7.4 to 7.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, PCRS
from pyverify.errors import UsageError
from pyverify.evidence.ima import PCR, Flag, ImaColumns

Values = npt.NDArray[np.uint8]

_SHA1: Final = BY_NAME["sha1"]


class Mode(IntEnum):
    """What a kernel extends a bank with."""

    OWN = 0
    """Template digests of the bank's own hash; a violation is all 0xFF."""
    PADDED = 1
    """SHA-1's digests padded with zeros, a violation too: kernels that know of no other, or not of this bank."""
    PADDED_DIGESTS = 2
    """SHA-1's digests padded with zeros, but a violation is all 0xFF: kernels that know the bank and lack its hash."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Which part of each list the values of one PCR prove.

    ``proven`` is int64 of shape [n]: the number of the list's entries of this PCR that lead to its values, the same in
    every bank, or -1 where no prefix does, or the list has a fault. ``modes`` says by bank, :class:`Mode` as uint8 of
    shape [n], how that was extended: any but OWN is ``ima.padded``. ``values`` are by bank what the replay came to: the
    value itself where it was found, that of the whole list otherwise.
    """

    pcr: int
    proven: npt.NDArray[np.int64]
    modes: dict[str, npt.NDArray[np.uint8]]
    values: dict[str, Values]

    def entries(self, columns: ImaColumns) -> npt.NDArray[np.bool_]:
        """Which entries are proven: bool of shape [m]. Those of other PCRs are not."""
        position = columns.positions(self.pcr)
        return (position >= 0) & (position < self.proven[columns.list_of])


class ImaReplay:
    """Template digests and replays of a batch of lists; entries with equal data are hashed once.

    A digest is computed when it is first asked for, and kept. ``share`` False hashes each entry on its own: a single
    list hardly ever repeats itself, and is not looked at either way.
    """

    def __init__(self, columns: ImaColumns, *, share: bool = True, isa: str | None = None) -> None:
        self.columns = columns
        self._isa = isa
        lists = columns.lists
        self._messages = _native.ima_messages(
            lists.blob, lists.offsets, columns.rows, columns.entries, share=share and len(columns) > 1
        )
        self.message_of = self._messages.message_of
        self._digests: dict[str, Values] = {}

    def digests(self, bank: str) -> Values:
        """The digests of the distinct messages; entry k has that of ``message_of[k]``. uint8 of shape [distinct, size].

        Raises:
            UsageError: an unknown bank.
        """
        if bank not in BY_NAME:
            raise UsageError(f"unknown bank {bank!r}; there is {', '.join(BY_NAME)}")
        if bank not in self._digests:
            self._digests[bank] = self._messages.hashed(BY_NAME[bank].index, self._isa)
        return self._digests[bank]

    def template_digest(self, entry: int, bank: str) -> bytes:
        """The template digest of an entry, computed from its data."""
        digest: bytes = self.digests(bank)[self.message_of[entry]].tobytes()
        return digest

    def mismatches(self) -> npt.NDArray[np.bool_]:
        """Entries that show another template digest than that of their data: bool of shape [m].

        A violation shows none. In the list of a bank whose hash the kernel lacks it is SHA-1's, padded with zeros.
        """
        differs = np.zeros(len(self.columns.entries), np.uint8)
        for number in np.unique(self.columns.rows["bank"]).tolist():
            self._compare(number, self.digests(BANKS[number].name), differs)
            if number != _SHA1.index and differs.any():
                padded = np.ones_like(differs)
                self._compare(number, self.digests("sha1"), padded)
                differs &= padded
        return differs.astype(np.bool_)

    def _compare(self, bank: int, digests: Values, differs: Values) -> None:
        columns = self.columns
        _native.ima_mismatch(
            columns.lists.blob,
            columns.lists.offsets,
            columns.rows,
            columns.entries,
            bank,
            self.message_of,
            digests,
            differs,
        )

    def _chains(
        self, bank: str, pcr: int, mode: Mode, which: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.uint64], Values]:
        columns = self.columns
        digests = self.digests(bank if mode == Mode.OWN else "sha1")
        rows = columns.rows[which]
        violation = _SHA1.size if mode == Mode.PADDED else BY_NAME[bank].size
        return _native.ima_chains(rows, columns.entries, pcr, BY_NAME[bank].index, self.message_of, digests, violation)

    def replay(self, bank: str, *, pcr: int = PCR, mode: Mode = Mode.OWN) -> Values:
        """The values that whole lists lead to, from zeros: uint8 of shape [n, size]; zeros where a list has a fault.

        Raises:
            UsageError: an unknown bank.
        """
        everything = np.arange(len(self.columns))
        chain_at, digests = self._chains(bank, pcr, mode, everything)
        values = np.zeros((len(everything), BY_NAME[bank].size), np.uint8)
        _native.extend(BY_NAME[bank].index, digests, chain_at, values, self._isa)
        return values

    def trace(self, index: int, bank: str, *, pcr: int = PCR, mode: Mode = Mode.OWN) -> Values:
        """All values that a PCR went through by one list, from zeros: uint8 of shape [entries of the PCR + 1, size].

        For where only a digest over several PCRs is known, as in a quote without values beside it.

        Raises:
            UsageError: an unknown bank, a list that is not there.
        """
        if not 0 <= index < len(self.columns):
            raise UsageError(f"list {index} of {len(self.columns)}")
        _, digests = self._chains(bank, pcr, mode, np.array([index]))
        return _native.trace(BY_NAME[bank].index, digests, np.zeros(BY_NAME[bank].size, np.uint8), self._isa)

    def find_prefix(
        self, targets: Mapping[str, Values], *, pcr: int = PCR, given: Mapping[str, npt.NDArray[np.bool_]] | None = None
    ) -> Prefixes:
        """The part of each list that leads to the values of a PCR in all given banks.

        Each bank is tried in each :class:`Mode`, its own digests first; one of them must explain the whole prefix.
        A prefix of no entries is found only where the value is all zeros, as no extend leaves it.

        Args:
            targets: by bank the values of the PCR, uint8 of shape [n, size].
            pcr: whose values they are.
            given: by bank which lists have a value there, bool of shape [n]; all by default.

        Raises:
            UsageError: no bank, an unknown one, or shapes that do not fit.
        """
        n = len(self.columns)
        if not targets:
            raise UsageError("a prefix is found by the values of at least one bank")
        proven = np.full(n, -1, np.int64)
        seen = np.zeros(n, np.bool_)
        modes: dict[str, npt.NDArray[np.uint8]] = {}
        values: dict[str, Values] = {}
        for bank, wanted in targets.items():
            has = np.ones(n, np.bool_) if given is None else given[bank]
            found, modes[bank], values[bank] = self._find_in(bank, wanted, pcr, has)
            proven = np.where(has & seen & (proven != found), -1, np.where(has & ~seen, found, proven))
            seen |= has
        proven[self.columns.rows["fault"] != 0] = -1
        return Prefixes(pcr, proven, modes, values)

    def _find_in(
        self, bank: str, targets: Values, pcr: int, has: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], Values]:
        """One bank: digests extended, -1 for never; in which mode; and where it stopped."""
        n = len(self.columns)
        if bank not in BY_NAME or targets.shape != (n, BY_NAME[bank].size) or has.shape != (n,):
            raise UsageError(f"values of bank {bank!r} must have shape [lists, digest size]")
        found, modes = np.full(n, -1, np.int64), np.full(n, Mode.OWN, np.uint8)
        values = np.zeros((n, BY_NAME[bank].size), np.uint8)
        for mode in Mode if bank != "sha1" else (Mode.OWN,):
            left = has & (found < 0)
            if mode == Mode.PADDED_DIGESTS:  # without a violation the same as PADDED
                left &= self.columns.rows["n_violations"] > 0
            which = np.flatnonzero(left)
            if not len(which):
                continue
            chain_at, digests = self._chains(bank, pcr, mode, which)
            reached = np.zeros((len(which), BY_NAME[bank].size), np.uint8)
            wanted = np.ascontiguousarray(targets[which])
            at = _native.seek(BY_NAME[bank].index, digests, chain_at, reached, wanted, self._isa)
            there = at != _native.NO_PREFIX
            found[which[there]] = at[there].astype(np.int64)
            modes[which[there]] = mode
            stopped = there if mode != Mode.OWN else np.ones(len(which), np.bool_)
            values[which[stopped]] = reached[stopped]
        return found, modes, values


class BootAggregate(IntEnum):
    """What entry 0 of a list is."""

    ABSENT = 0
    """There is no entry, or the first is not called boot_aggregate."""
    PCRS_0_7 = 1
    """The hash over PCR 0 to 7."""
    PCRS_0_9 = 2
    """The hash over PCR 0 to 9."""
    ZEROS = 3
    """All zeros, as kernels write without a TPM or without a bank that they can use."""
    MISMATCH = 4
    """None of these, or a violation."""
    NO_BANK = 5
    """Its algorithm's bank is not among the values."""


def boot_aggregate(
    columns: ImaColumns, values: Mapping[str, Values], *, given: Mapping[str, npt.NDArray[np.bool_]] | None = None
) -> npt.NDArray[np.uint8]:
    """Which aggregate of the PCRs the first entry of each list is: :class:`BootAggregate`, uint8 of shape [n].

    The kernel hashes PCRs of the bank of its digest's algorithm: 0 to 7 with SHA-1; else 0 to 9, older kernels 0 to 7
    (SPEC section 7.5). They are the values of when IMA started: those that the event log leads to, not later ones.

    Args:
        columns: the lists.
        values: by bank the PCR values, uint8 of shape [n, 24, size].
        given: by bank which lists have values there, bool of shape [n]; all by default.

    Raises:
        UsageError: shapes that do not fit.
    """
    n = len(columns)
    found = np.full(n, BootAggregate.ABSENT, np.uint8)
    first = columns.rows["first_entry"].astype(np.int64)[columns.rows["n_entries"] > 0]
    named = first[columns.entries["flags"][first] & Flag.BOOT_AGGREGATE != 0]
    found[columns.list_of[named]] = aggregates(columns, named, values, given=given)
    return found


def aggregates(
    columns: ImaColumns,
    which: npt.NDArray[np.int64],
    values: Mapping[str, Values],
    *,
    given: Mapping[str, npt.NDArray[np.bool_]] | None = None,
) -> npt.NDArray[np.uint8]:
    """Which aggregate of the PCRs each of these entries is, never ABSENT: uint8 of shape [entries].

    All else is as for :func:`boot_aggregate`.
    """
    n = len(columns)
    for bank, rows in values.items():
        if rows.shape != (n, PCRS, BY_NAME[bank].size) or (given is not None and given[bank].shape != (n,)):
            raise UsageError(f"values of bank {bank!r} must have shape [lists, 24, digest size]")
    own = columns.entries[which]
    bad = Flag.VIOLATION | Flag.DIGEST_LENGTH | Flag.UNKNOWN_ALGORITHM | Flag.NO_DIGEST | Flag.VERITY | Flag.BUFFER
    usable = own["flags"] & bad == 0
    found = np.where(usable, np.uint8(BootAggregate.NO_BANK), np.uint8(BootAggregate.MISMATCH))
    for algorithm in np.unique(own["algorithm"][usable]).tolist():
        same = np.flatnonzero(usable & (own["algorithm"] == algorithm))
        size = _native.ima_algorithm_size(algorithm)
        lists = columns.list_of[which[same]]
        at = columns.lists.offsets[lists] + own["file_digest_at"][same]
        digests = columns.lists.blob[at[:, None] + np.arange(size)]
        found[same] = _compare_aggregates(algorithm, lists, digests, values, given)
    return found


def _compare_aggregates(
    algorithm: int,
    lists: npt.NDArray[np.int64],
    digests: Values,
    values: Mapping[str, Values],
    given: Mapping[str, npt.NDArray[np.bool_]] | None,
) -> npt.NDArray[np.uint8]:
    """What entries of these lists are, all of one algorithm."""
    found = np.full(len(lists), BootAggregate.NO_BANK, np.uint8)
    banks = {_native.ima_algorithm(bank): bank for bank in BY_NAME}
    bank = banks.get(algorithm)
    if bank is not None and bank in values:
        has = np.ones(len(lists), np.bool_) if given is None else given[bank][lists]
        found[has] = BootAggregate.MISMATCH
        for which, last in ((BootAggregate.PCRS_0_7, 8), (BootAggregate.PCRS_0_9, 10)):
            if bank == "sha1" and which == BootAggregate.PCRS_0_9:
                continue
            pcrs = np.ascontiguousarray(values[bank][lists, :last]).reshape(-1)
            offsets = np.arange(len(lists) + 1, dtype=np.int64) * (last * BY_NAME[bank].size)
            hashed = _native.hash_messages(BY_NAME[bank].index, pcrs, offsets)
            found[has & (hashed == digests).all(axis=1)] = which
    found[~digests.any(axis=1)] = BootAggregate.ZEROS
    return found

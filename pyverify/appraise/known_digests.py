"""Events recognised by their digest alone: separators and what firmware says in fixed words (SPEC section 3.3).

A type is a hint that anybody may have written; a digest that replays is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, Algorithm
from pyverify.evidence.columns import Ragged
from pyverify.evidence.gather import among, numbers_at, rows_at
from pyverify.evidence.scanned import ScannedLogs

SEPARATOR: Final = bytes(4)
SEPARATOR_F: Final = b"\xff\xff\xff\xff"
SEPARATOR_ERROR: Final = b"\1\0\0\0"
INVOCATION: Final = b"Exit Boot Services Invocation"
RESULTS: Final = (b"Exit Boot Services Returned with Success", b"Exit Boot Services Returned with Failure")
SECURE_BOOT_ACTIONS: Final = (b"UEFI Debug Mode", b"DMA Protection Disabled", b"Security Level is Downgraded to 0")
"""Of PCR 7 (SPEC section 4.9). The last one follows the second in all of seven logs of HP notebooks."""

_TEXTS: Final = (INVOCATION, *RESULTS, *SECURE_BOOT_ACTIONS)
# Firmware hashes a text with or without the NUL at its end (SPEC section 3.1, EV_EFI_ACTION).
_MESSAGES: Final = (SEPARATOR, SEPARATOR_F, SEPARATOR_ERROR, *_TEXTS, *(text + b"\0" for text in _TEXTS))

_ABSENT: Final = -1


@dataclass(frozen=True, slots=True)
class KnownDigests:
    """What the digests of a batch's events are the hash of.

    ``found`` is int8 of shape [banks, m]: the number of a message, 0 for none that is known, -1 where the event has no
    digest in that bank.
    """

    mask: int
    banks: list[Algorithm]
    found: npt.NDArray[np.int8]

    @classmethod
    def of(cls, scanned: ScannedLogs, mask: int) -> Self:
        """Those of the banks of a mask."""
        banks = [bank for bank in BANKS if mask >> bank.index & 1]
        found = np.full((len(banks), len(scanned.events)), _ABSENT, np.int8)
        for row, bank in zip(found, banks, strict=True):
            _find(scanned, bank.index, row)
        return cls(mask, banks, found)

    def only(self, bank: Algorithm) -> Self:
        """The same in one bank."""
        return replace(self, mask=1 << bank.index, banks=[bank], found=self.found[[self.banks.index(bank)]])

    def without(self, places: npt.NDArray[np.bool_]) -> Self:
        """The same less some digests, bool of shape [banks, m]."""
        return replace(self, found=np.where(places, np.int8(_ABSENT), self.found))

    def anywhere(self, *messages: bytes) -> npt.NDArray[np.bool_]:
        """Events that are one of these in at least one bank: bool of shape [m]."""
        is_one: npt.NDArray[np.bool_] = np.any(self._is(messages), axis=0)
        return is_one

    def everywhere(self, *messages: bytes) -> npt.NDArray[np.bool_]:
        """Events that are one of these, in every bank that they have and in one at least: bool of shape [m]."""
        is_one = self._is(messages)
        only: npt.NDArray[np.bool_] = np.all(is_one | (self.found == _ABSENT), axis=0) & np.any(is_one, axis=0)
        return only

    def _is(self, messages: tuple[bytes, ...]) -> npt.NDArray[np.bool_]:
        numbers = [
            number for number, one in enumerate(_MESSAGES, 1) if one in messages or one.removesuffix(b"\0") in messages
        ]
        return np.isin(self.found, np.array(numbers, np.int8))


@lru_cache
def _constants(bank: int) -> npt.NDArray[np.uint8]:
    messages = Ragged.of(list(_MESSAGES))
    return _native.hash_messages(bank, messages.blob, messages.offsets)


def _find(scanned: ScannedLogs, bank: int, found: npt.NDArray[np.int8]) -> None:
    digest_at = scanned.events["digest_at"][:, bank]
    rows = np.flatnonzero(digest_at != _native.NO_DIGEST)
    found[rows] = 0
    at = scanned.logs.offsets[scanned.log_of[rows]] + digest_at[rows]
    constants = _constants(bank)
    # Four bytes sort out all but chance.
    likely = among(numbers_at(scanned.logs.blob, at, "<u4"), constants[:, :4].copy().view("<u4"))
    rows, digests = rows[likely], rows_at(scanned.logs.blob, at[likely], constants.shape[1])
    for number, constant in enumerate(constants, 1):
        found[rows[np.all(digests == constant, axis=1)]] = number

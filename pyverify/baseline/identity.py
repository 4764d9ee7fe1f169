"""Who a machine is and what it was asked: enrolled attestation keys and challenges, as values."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pyverify.errors import UsageError
from pyverify.evidence.sm2 import Sm2Mode
from pyverify.evidence.tpm_names import NAME_HASHES

ALWAYS: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
"""``since`` of a key that was never anybody else's."""
_MICROSECOND: Final = datetime.timedelta(microseconds=1)


class KeyLevel(StrEnum):
    """How well it is founded that a key is in a TPM of its machine (DESIGN section 1)."""

    FIRST_USE = "first-use"
    ENROLLED = "enrolled"
    ACTIVATED = "activated"
    CERTIFIED = "certified"

    @property
    def rank(self) -> int:
        """0 for the weakest."""
        return list(KeyLevel).index(self)


@dataclass(frozen=True, slots=True)
class EnrolledKey:
    """One attestation key of one machine, from ``since`` on and before ``until``; None is no end."""

    ak_name: bytes
    machine: str
    since: datetime.datetime
    until: datetime.datetime | None = None
    level: KeyLevel = KeyLevel.ENROLLED
    sm2_mode: Sm2Mode = Sm2Mode.DIGEST

    def holds_at(self, time: datetime.datetime) -> bool:
        """Whether the key is its machine's at a time, which must be the caller's and never the evidence's."""
        return self.since <= time and (self.until is None or time < self.until)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A nonce that was issued for one attestation key; ``spent_by`` is the SHA-256 of the attest that used it first."""

    ak_name: bytes
    nonce: bytes
    issued_at: datetime.datetime
    machine: str | None = None
    spent_by: bytes | None = None


def is_key_name(name: bytes) -> bool:
    """Whether bytes have the form of a Name: a hash algorithm that is allowed, and a digest of its size."""
    algorithm = NAME_HASHES.get(int.from_bytes(name[:2]))
    return algorithm is not None and len(name) == 2 + algorithm.size


def to_micros(time: datetime.datetime) -> int:
    """Microseconds since 1970 in UTC, exact.

    Raises:
        UsageError: the time has no zone.
    """
    if time.tzinfo is None:
        raise UsageError(f"{time} has no time zone")
    return (time - ALWAYS) // _MICROSECOND


def in_micros(span: datetime.timedelta) -> int:
    """A span of time in microseconds."""
    return span // _MICROSECOND


def from_micros(micros: int) -> datetime.datetime:
    """The reverse of :func:`to_micros`; raises OverflowError where there is no such year."""
    return ALWAYS + micros * _MICROSECOND

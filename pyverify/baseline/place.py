"""The order of a machine's boots, and what one of them held first."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final, NamedTuple

_LAST: Final = datetime.datetime.max.replace(tzinfo=datetime.UTC)


class Place(NamedTuple):
    """Where a boot stands among those of its machine: ``issued_at`` is of its challenge, where that was fresh."""

    issued_at: datetime.datetime | None
    boot_seq: int | None
    collected_at: datetime.datetime | None
    boot: str

    @property
    def of_evidence(self) -> tuple[int, datetime.datetime, str]:
        """The order that the evidence claims: boot_seq, collected_at, name; what is not said comes last."""
        return (2**63 if self.boot_seq is None else self.boot_seq, self.collected_at or _LAST, self.boot)


def is_after(one: Place, other: Place) -> bool:
    """Whether a boot came after another of its machine: by their challenges where both have one (DESIGN section 6)."""
    if one.issued_at is not None and other.issued_at is not None:
        return one.issued_at > other.issued_at
    return one.of_evidence > other.of_evidence


@dataclass(frozen=True, slots=True)
class Reached:
    """A machine held this sequence of a PCR, and this is the first boot known to have."""

    machine: str
    pcr: int
    sequence: bytes  # its key
    place: Place

"""Hash algorithms of PCR banks, by their TCG names and registry numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PCRS: Final = 24
"""PCRs of a bank (PC Client practice; TPM 2.0 structures allow 32)."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A hash that a bank may be under."""

    name: str
    """TCG name, as everywhere in this package: ``sha256``."""
    id: int
    """TPM_ALG_ID of the TCG registry."""
    size: int
    """Bytes of a digest."""
    index: int
    """Its column in the C core (``csrc/api.h``): the bit and the order of banks."""


# TCG Algorithm Registry; the order is that of csrc/api.h.
BANKS: Final[tuple[Algorithm, ...]] = (
    Algorithm("sha1", 0x0004, 20, 0),
    Algorithm("sha256", 0x000B, 32, 1),
    Algorithm("sha384", 0x000C, 48, 2),
    Algorithm("sha512", 0x000D, 64, 3),
    Algorithm("sm3_256", 0x0012, 32, 4),
)

BY_NAME: Final[dict[str, Algorithm]] = {algorithm.name: algorithm for algorithm in BANKS}

TO_SHOW: Final[tuple[str, ...]] = ("sha256", "sm3_256", "sha384", "sha512", "sha1")
"""Bank names in the order in which people want to see one of several: what other tools print first, weak ones last."""

# sysfs and the kernel call the SM3 bank `sm3`, swtpm `sm3-256`, tpm2-tools `sm3_256`.
_ALIASES: Final = {"sm3": "sm3_256", "sm3-256": "sm3_256", "sm3256": "sm3_256", "sha": "sha1"}


def bank(name: str) -> Algorithm:
    """The bank of a TCG name or of one of the spellings in use for it.

    Raises:
        KeyError: no bank is called so.
    """
    key = name.strip().lower()
    return BY_NAME[_ALIASES.get(key, key)]


def banks_of(mask: int) -> tuple[str, ...]:
    """Names of the banks whose bits (``Algorithm.index``) are set."""
    return tuple(algorithm.name for algorithm in BANKS if mask >> algorithm.index & 1)


def mask_of(names: tuple[str, ...] | frozenset[str] | list[str]) -> int:
    """The bit mask of these banks: the reverse of :func:`banks_of`."""
    return sum(1 << BY_NAME[name].index for name in set(names))


def pcrs_of(mask: int) -> tuple[int, ...]:
    """PCR numbers whose bits are set."""
    return tuple(pcr for pcr in range(PCRS) if mask >> pcr & 1)


def pcr_mask(pcrs: tuple[int, ...] | frozenset[int] | list[int]) -> int:
    """The bit mask of these PCRs: the reverse of :func:`pcrs_of`."""
    return sum(1 << pcr for pcr in set(pcrs))

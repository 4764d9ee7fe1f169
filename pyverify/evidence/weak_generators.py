"""RSA keys of a generator whose primes can be found: that of Infineon's TPMs until 2017 (CVE-2017-15361, "ROCA").

Its primes are k * M + (65537 ** a mod M), where M is the product of the first 126 primes for keys of 1984 to 3936 bits,
and of more for longer ones (Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, section 2). So modulo each of
these primes the modulus is a power of 65537. Of other keys far fewer than one in 2 ** 100 is so by chance.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_BASE: Final = 65537
_LAST: Final = 701  # the 126th prime
_PRIMES: Final = np.array([p for p in range(3, _LAST + 1) if all(p % d for d in range(2, int(p**0.5) + 1))])
_FIRST_LOOK: Final = 8  # primes that let hardly any other key pass


@cache
def _powers() -> npt.NDArray[np.bool_]:
    """Which residues are powers of 65537, bool of shape [primes, 702]; the primes with the fewest come first."""
    table = np.zeros((len(_PRIMES), _LAST + 1), np.bool_)
    for row, prime in zip(table, _PRIMES.tolist(), strict=True):
        value = 1
        while not row[value]:
            row[value] = True
            value = value * _BASE % prime
    return table


@cache
def _order() -> npt.NDArray[np.intp]:
    """The places of the primes, those first of which fewest residues are powers."""
    return np.argsort(_powers().sum(axis=1) / (_PRIMES - 1), kind="stable")


@cache
def _weights(size: int) -> npt.NDArray[np.float64]:
    """What each byte of a big-endian number counts modulo each prime, of shape [size, primes]."""
    return np.array([[pow(256, size - 1 - at, p) for p in _PRIMES.tolist()] for at in range(size)], np.float64)


def weakly_generated(moduli: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which RSA moduli are of that generator.

    Args:
        moduli: big-endian, uint8 of shape [n, bytes], of 256 bytes and more.

    Returns:
        bool of shape [n].
    """
    weak = np.ones(len(moduli), np.bool_)
    for places in (_order()[:_FIRST_LOOK], _order()[_FIRST_LOOK:]):
        rows = np.flatnonzero(weak)
        # Sums are below 2 ** 27, which a double holds exactly.
        sums: npt.NDArray[Any] = moduli[rows].astype(np.float64) @ _weights(moduli.shape[1])[:, places]
        residues = sums.astype(np.int64) % _PRIMES[places]
        weak[rows] = _powers()[places, residues].all(axis=1)
    return weak

"""Chains to extend: equal ones, unequal ones, those of recorded logs, and with duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, PCRS
from pyverify.evidence import event_types
from pyverify.evidence.columns import Ragged

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Chains:
    """Chain c is ``digests[chain_at[c]:chain_at[c + 1]]``; all start from zeros."""

    bank: int
    digests: Bytes
    chain_at: npt.NDArray[np.uint64]

    @classmethod
    def of_lengths(cls, bank: str, lengths: npt.NDArray[Any], seed: int = 1) -> Self:
        """Chains of these lengths, of random digests."""
        chain_at = np.zeros(len(lengths) + 1, np.uint64)
        np.cumsum(lengths, out=chain_at[1:])
        return cls(BY_NAME[bank].index, _random(bank, int(chain_at[-1]), seed), chain_at)

    @classmethod
    def equal(cls, bank: str, chains: int, length: int) -> Self:
        """So many chains of one length, no two alike."""
        return cls.of_lengths(bank, np.full(chains, length))

    @classmethod
    def spread(cls, bank: str, chains: int, shortest: int, longest: int) -> Self:
        """So many chains, their lengths spread evenly between two, in random order."""
        lengths = np.linspace(shortest, longest + 1 - 1e-9, chains).astype(np.int64)
        return cls.of_lengths(bank, np.random.default_rng(2).permutation(lengths))

    @classmethod
    def duplicated(cls, bank: str, distinct: int, chains: int, length: int) -> Self:
        """So many chains, of which only ``distinct`` differ, in random order."""
        which = np.random.default_rng(3).permutation(np.arange(chains) % distinct)
        digests = _random(bank, distinct * length, 1).reshape(distinct, length, -1)[which]
        chain_at = np.arange(0, (chains + 1) * length, length, dtype=np.uint64)
        return cls(BY_NAME[bank].index, np.ascontiguousarray(digests.reshape(chains * length, -1)), chain_at)

    def __len__(self) -> int:
        return len(self.chain_at) - 1

    @property
    def size(self) -> int:
        """Bytes of a digest."""
        return BANKS[self.bank].size

    @property
    def extends(self) -> int:
        """Digests in all."""
        return int(self.chain_at[-1])

    def variants(self) -> tuple[str, ...]:
        """Names of the kernels for this bank on this machine."""
        return _native.variants(self.bank)

    def start(self) -> Bytes:
        """Start values."""
        return np.zeros((len(self), self.size), np.uint8)

    def extended(self, isa: str | None = None, usage: _native.Usage | None = None, *, share: bool = True) -> Bytes:
        """The values that the core comes to."""
        values = self.start()
        _native.extend(self.bank, self.digests, self.chain_at, values, isa, usage, share=share)
        return values

    def extend_slice(self, values: Bytes, first: int, last: int) -> None:
        """Extends the chains of a slice, by the core."""
        _native.extend(self.bank, self.digests, self.chain_at[first : last + 1], values[first:last])

    def head(self, chains: int, length: int) -> Chains:
        """The first digests of the first chains, for peers that would take too long."""
        starts = self.chain_at[:chains].astype(np.int64)
        lengths = np.minimum(np.diff(self.chain_at)[:chains].astype(np.int64), length)
        rows = np.concatenate([np.arange(at, at + n) for at, n in zip(starts, lengths, strict=True)])
        chain_at = np.zeros(len(lengths) + 1, np.uint64)
        np.cumsum(lengths, out=chain_at[1:])
        return Chains(self.bank, np.ascontiguousarray(self.digests[rows]), chain_at)

    @cached_property
    def as_bytes(self) -> list[list[bytes]]:
        """The digests as Python objects, a list a chain."""
        bounds = self.chain_at.tolist()
        return [[digest.tobytes() for digest in self.digests[first:last]] for first, last in pairwise(bounds)]

    @cached_property
    def longest_first(self) -> npt.NDArray[np.uint64]:
        """Numbers of the chains by length."""
        return np.argsort(-np.diff(self.chain_at).astype(np.int64), kind="stable").astype(np.uint64)

    def from_bytes(self, values: list[bytes]) -> Bytes:
        """Values that are Python objects, as those of :meth:`extended` lie."""
        return np.frombuffer(b"".join(values), np.uint8).reshape(len(self), self.size)


def chain_lengths(logs: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """How often each PCR of each log is extended: 24 numbers a log, one after the other."""
    batch = Ragged.of(list(logs))
    rows, events = _native.scan(batch.blob, batch.offsets)
    log_of = np.repeat(np.arange(len(logs)), rows["n_events"])
    extends = events["type"] != event_types.EV_NO_ACTION
    places = log_of[extends] * PCRS + events["pcr"][extends]
    return np.bincount(places, minlength=len(logs) * PCRS).astype(np.int64)


def _random(bank: str, count: int, seed: int) -> Bytes:
    size = BY_NAME[bank].size
    return np.frombuffer(np.random.default_rng(seed).bytes(count * size), np.uint8).reshape(count, size)

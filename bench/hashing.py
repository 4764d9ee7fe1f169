"""Bench ``hash``: messages that lie in memory, one bank, one thread."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final, Self

import numpy as np

from bench.chains import Bytes
from bench.cycles import sampled
from bench.fleet import Fleet
from bench.libraries import library, pointer
from bench.plan import Plan
from bench.results import DifferentResultsError, Line, Note
from bench.templates import hash_name
from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME
from pyverify.evidence.columns import Ragged

_BENCH: Final = "hash"
_BLOCKS: Final = (1, 2, 4, 16, 64)
_ALL_BLOCKS: Final = 16_384
_REAL_LOGS: Final = 100
_WIDE: Final = ("sha384", "sha512")  # blocks of 128 bytes, lengths of 16


@dataclass(frozen=True)
class Messages:
    """Messages to hash in one bank."""

    bank: int
    batch: Ragged

    @classmethod
    def random(cls, bank: str, blocks: int) -> Self:
        """Messages that take so many blocks each, no two alike; all lanes have work."""
        block, length = _block(bank)
        size, rng = blocks * block - length - 1, np.random.default_rng(4)
        return cls(BY_NAME[bank].index, Ragged.of([rng.bytes(size) for _ in range(_ALL_BLOCKS // blocks)]))

    @classmethod
    def recorded(cls, bank: str) -> Self:
        """The event data of a fleet of logs."""
        logs = Ragged.of([boot.log for boot in Fleet(_REAL_LOGS, rounds=1).round(1)])
        rows, events = _native.scan(logs.blob, logs.offsets)
        starts = np.repeat(logs.offsets[:-1], rows["n_events"]) + events["data_at"]
        data: list[bytes | None] = [
            logs.blob[at : at + size].tobytes() for at, size in zip(starts, events["data_size"].tolist(), strict=True)
        ]
        return cls(BY_NAME[bank].index, Ragged.of(data))

    @cached_property
    def blocks(self) -> int:
        """Blocks in all, padding included."""
        block, length = _block(BANKS[self.bank].name)
        return int(((np.diff(self.batch.offsets) + 1 + length + block - 1) // block).sum())

    @cached_property
    def as_bytes(self) -> list[bytes]:
        """The messages as Python objects."""
        return [self.batch[i] for i in range(len(self.batch))]

    def ours(self, *, share: bool = True) -> Bytes:
        """The digests by the core."""
        return _native.hash_messages(self.bank, self.batch.blob, self.batch.offsets, share=share)

    def hashlib(self) -> Bytes:
        """The digests by hashlib, one call a message."""
        make: Callable[[bytes], Any] = getattr(
            hashlib, BANKS[self.bank].name, partial(hashlib.new, hash_name(BANKS[self.bank].name))
        )
        return self._rows(b"".join([make(message).digest() for message in self.as_bytes]))

    def in_c(self, function: Callable[..., int]) -> Bytes:
        """The digests by a loop of ``bench/c``."""
        digests = self._rows(bytes(len(self.batch) * BANKS[self.bank].size)).copy()
        arguments = pointer("uint8_t[]", self.batch.blob), pointer("int64_t[]", self.batch.offsets)
        if not function(self.bank, *arguments, len(self.batch), pointer("uint8_t[]", digests)):
            raise RuntimeError("the peer failed")
        return digests

    def _rows(self, digests: bytes) -> Bytes:
        return np.frombuffer(digests, np.uint8).reshape(len(self.batch), BANKS[self.bank].size)


def hash_(plan: Plan) -> Iterator[Line | Note]:
    """All figures of this bench."""
    for bank in BY_NAME:
        for blocks in _BLOCKS:
            messages = Messages.random(bank, blocks)
            yield from _measured(plan, f"{bank}-messages-{blocks}blocks", messages)
        recorded = Messages.recorded(bank)
        yield from _measured(plan, f"{bank}-messages-recorded", recorded, share=False)
        yield from _measured(plan, f"{bank}-messages-recorded-shared", recorded)
    if library("openssl") is None:
        yield Note(_BENCH, "openssl is not installed, or what it takes to compile for it: left out")


def _peers(messages: Messages) -> dict[str, Callable[[], Bytes]]:
    found: dict[str, Callable[[], Bytes]] = {}
    bank = BANKS[messages.bank].name
    if hash_name(bank) in hashlib.algorithms_available:
        found["hashlib"] = messages.hashlib
    openssl = library("openssl")
    if openssl is not None:
        low = openssl.openssl_hash if bank != "sm3_256" else openssl.openssl_evp_hash
        found["openssl"] = partial(messages.in_c, low)
        found["openssl_one_shot"] = partial(messages.in_c, openssl.openssl_hash_once)
    return found


def _measured(plan: Plan, case: str, messages: Messages, *, share: bool = True) -> Iterator[Line]:
    peers = _peers(messages)
    usage = _native.Usage(messages.bank)
    digests = _native.hash_messages(messages.bank, messages.batch.blob, messages.batch.offsets, None, usage)
    for name, run in peers.items():
        if not np.array_equal(run(), digests):
            raise DifferentResultsError(f"{name} comes to other digests")
    isa = "+".join(usage.steps())
    taken = {
        name: one.per(messages.blocks)
        for name, one in sampled({"": partial(messages.ours, share=share), **peers}, plan.short_samples).items()
    }
    ours = taken.pop("")
    yield Line(_BENCH, case, isa, 1, ours.seconds * 1e9, "ns/block")
    for name, theirs in taken.items():
        yield Line(_BENCH, case, isa, 1, ours.seconds * 1e9, "ns/block", name, theirs.seconds / ours.seconds)
    if not math.isnan(ours.cycles):
        yield Line(_BENCH, case, isa, 1, ours.cycles, "cycles/block")


def _block(bank: str) -> tuple[int, int]:
    """Bytes of a block, and of the length that ends a message."""
    return (128, 16) if bank in _WIDE else (64, 8)

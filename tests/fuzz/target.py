"""What a target is, and how an input is used up."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

Mutator = Callable[[bytes, int, int, Callable[[bytes, int], bytes]], bytes]
"""Input, its most bytes, a number to choose by, and libFuzzer's own mutation (input, most bytes)."""


@dataclass(frozen=True)
class Target:
    """``check`` raises what was found; ``seeds`` are inputs that are well formed."""

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    max_len: int = 8192
    mutate: Mutator | None = None


def split(data: bytes, parts: int) -> list[bytes]:
    """The parts of an input: all but the last have their size in two bytes before them, and it may be too large."""
    found = []
    for _ in range(parts - 1):
        size = int.from_bytes(data[:2], "big")
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    return [*found, data]


def join(*parts: bytes) -> bytes:
    """The input that :func:`split` takes apart so."""
    return b"".join(struct.pack(">H", len(part)) + part for part in parts[:-1]) + parts[-1]


def mutate_one_part(parts: int, head: int = 0) -> Mutator:
    """Mutations of one part of an input of ``head`` bytes and so many parts, its size with it."""

    def mutate(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
        if seed % 8 == 0 or len(data) < head:
            return own(data, most)
        pieces = split(data[head:], parts)
        which = seed // 8 % parts
        others = len(data) - len(pieces[which]) + 2 * parts
        pieces[which] = own(pieces[which], max(1, min(0xFFFF, most - others)))
        return (data[:head] + join(*pieces))[:most]

    return mutate


def damaged(seed: bytes) -> Iterator[bytes]:
    """A few damaged forms of an input, always the same: cut, and bytes changed."""
    for cut in (1, len(seed) // 3, len(seed) // 2, len(seed) - 1):
        yield seed[:cut]
    for step, value in ((7, 0xFF), (11, 0), (13, 0x41)):
        changed = bytearray(seed)
        for at in range(step, len(changed), max(step, len(changed) // 3)):
            changed[at] = value
        yield bytes(changed)

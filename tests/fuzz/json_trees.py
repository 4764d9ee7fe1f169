"""Mutations of JSON that stay JSON: values taken out, doubled, put in place of others, or replaced."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    23,
    24,
    1 << 31,
    1 << 64,
    0.5,
    1e300,
    "",
    "0",
    "sha256",
    "00" * 32,
    [],
    {},
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container with each of its keys."""
    found, waiting = [], [value]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        for key in keys:
            found.append((one, key))
            waiting.append(one[key])
    return found


def mutate_json(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
    """Half of the time libFuzzer's own mutation, which breaks it."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return own(data, most)
    found = places(value)
    if seed % 2 or not found:
        return own(data, most)
    choose = random.Random(seed)
    for _ in range(choose.randrange(1, 4)):
        (holder, key), (other, other_key) = choose.choice(found), choose.choice(found)
        try:
            _change(choose, holder, key, other[other_key], own)
        except (KeyError, IndexError):  # taken out just before
            continue
    try:
        return json.dumps(value).encode()[:most]
    except (ValueError, RecursionError):  # put into itself
        return own(data, most)


def _change(choose: random.Random, holder: Any, key: Any, other: Any, own: Callable[[bytes, int], bytes]) -> None:
    match choose.randrange(5):
        case 0:
            del holder[key]
        case 1:
            holder[key] = other
        case 2:
            holder[key] = choose.choice(ODD)
        case 3 if isinstance(holder[key], str):
            holder[key] = own(holder[key].encode(errors="surrogatepass"), len(holder[key]) + 8).decode(errors="replace")
        case _ if isinstance(holder, list):
            holder.insert(0, other)
        case _:
            holder[choose.choice(["name", "machine", "pcr", "digests", str(choose.randrange(25))])] = other


def after_head(size: int) -> Callable[[bytes, int, int, Callable[[bytes, int], bytes]], bytes]:
    """The same behind a head of so many bytes, which change seldom."""

    def mutate(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
        if seed % 16 == 1:
            return own(data, most)
        return data[:size].ljust(size, b"\0") + mutate_json(data[size:], most - size, seed, own)

    return mutate

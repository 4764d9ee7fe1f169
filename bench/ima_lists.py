"""IMA lists of machines that run one distribution, and a plain Python reader of them."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator
from typing import Final

_U32: Final = struct.Struct("<I")
_UNPACK: Final = _U32.unpack_from
ENTRIES: Final = 150
"""Of a machine's list, of ``KNOWN`` files that the fleet runs; a whole distribution's list has ten times as many."""
KNOWN: Final = 2_000

_FOLDERS: Final = (
    "/usr/bin/",
    "/usr/sbin/",
    "/usr/lib/x86_64-linux-gnu/",
    "/usr/lib/modules/6.1.0-47-amd64/kernel/drivers/",
)


def entry(name: str, content: bytes) -> bytes:
    """An entry of template ima-ng: with names of a distribution's length some 145 bytes, as recorded lists have."""
    path = name.encode() + b"\0"
    data = b"\x28\0\0\0sha256:\0" + hashlib.sha256(content).digest() + _U32.pack(len(path)) + path
    return b"".join((_U32.pack(10), hashlib.sha1(data).digest(), b"\x06\0\0\0ima-ng", _U32.pack(len(data)), data))


def files(count: int, seed: int = 1) -> list[bytes]:
    """Entries of so many files."""
    chance = random.Random(seed)
    return [
        entry(f"{chance.choice(_FOLDERS)}{chance.randbytes(8).hex()}-{number}", b"%d" % number)
        for number in range(count)
    ]


def fleet(machines: int, entries: int, known: int) -> list[bytes]:
    """Lists of machines that each ran ``entries`` of ``known`` files in an order of its own, and one file more."""
    pool = files(known)
    chance = random.Random(2)
    return [
        b"".join([entry("boot_aggregate", b""), *chance.sample(pool, entries), entry(f"/etc/{number}", b"own")])
        for number in range(machines)
    ]


def python_entries(data: bytes) -> Iterator[bytes]:
    """What the kernel hashed of each entry of a list without template ima."""
    at, end = 0, len(data)
    while at < end:
        at += 24
        at += 4 + _UNPACK(data, at)[0]
        size = _UNPACK(data, at)[0]
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def python_replay(data: bytes, name: str) -> bytes:
    """PCR 10 of a list by hashlib."""
    constructor = getattr(hashlib, name, None)
    value = bytes(hashlib.new(name).digest_size)
    if constructor is None:
        for message in python_entries(data):
            value = hashlib.new(name, value + hashlib.new(name, message).digest()).digest()
    else:
        for message in python_entries(data):
            value = constructor(value + constructor(message).digest()).digest()
    return value

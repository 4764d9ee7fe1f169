"""Which bytes of a crypto-agile log a quote and the checks of data stand for, by their own walk (DESIGN section 5.1).

What is not named here an attacker may write: the header, types, everything of EV_NO_ACTION, digests of banks that
nobody judges, and data whose digest is of something else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conftest import ALGORITHMS

NO_ACTION = 3
WHOLE = {
    4: "separator",
    5: "action",
    8: "version of the S-CRTM",
    0x80000001: "variable",
    0x80000006: "partition table",
    0x80000007: "action",
    0x800000E0: "variable",
}
"""Types whose digest is of the whole data (class A)."""
VARIABLE_BOOT = 0x80000002
IPL = 0xD
TEXTS = (b"grub_cmd: ", b"kernel_cmdline: ", b"module_cmdline: ")


def authentic_bytes(log: bytes, banks: tuple[str, ...]) -> Iterator[int]:
    """Places of the bytes that must not change where these banks are quoted and judged."""
    numbers = {ALGORITHMS[bank][0] for bank in banks}
    sizes = dict(ALGORITHMS.values())
    at = 32 + struct.unpack_from("<I", log, 28)[0]
    while at < len(log) and log[at : at + 8] not in (b"\xff" * 8, bytes(8)):
        pcr, kind, count = struct.unpack_from("<III", log, at)
        extended = kind != NO_ACTION
        yield from range(at, at + 4) if extended else ()
        yield from range(at + 8, at + 12)
        at += 12
        for _ in range(count):
            (number,) = struct.unpack_from("<H", log, at)
            yield from range(at, at + 2)
            if number in numbers and extended:
                yield from range(at + 2, at + 2 + sizes[number])
            at += 2 + sizes[number]
        (size,) = struct.unpack_from("<I", log, at)
        yield from range(at, at + 4)
        if extended:
            first, last = covered(pcr, kind, log[at + 4 : at + 4 + size])
            yield from range(at + 4 + first, at + 4 + last)
        at += 4 + size


def covered(pcr: int, kind: int, data: bytes) -> tuple[int, int]:
    """The part of the data that the digest is of, where it is of the data at all."""
    if kind in WHOLE:
        return 0, len(data)
    if kind == VARIABLE_BOOT:
        return 32 + 2 * struct.unpack_from("<Q", data, 16)[0], len(data)
    if kind == IPL and pcr == 8:
        for prefix in TEXTS:
            if data.startswith(prefix):
                return len(prefix), len(data.rstrip(b"\0"))
    return 0, 0

"""Mutations that keep the form of what is nested or comes in lines, for what a parser would else refuse at once."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

MOST_DEPTH = 12

MOVES = 3
"""How many ways :func:`move` has."""

_Der = tuple[int, "bytes | list[_Der]"]
"""A tag, and its content: bytes, or what is nested in it."""


def mutate_der(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
    """DER that stays DER: values taken out, doubled, put in place of others, changed, given other tags; all lengths are
    right again."""
    values = _parse_der(data, MOST_DEPTH)
    if values is None or not values:
        return own(data, most)
    choose = random.Random(seed)
    holders = [values, *_nested(values)]
    holder = choose.choice([one for one in holders if one])
    at = choose.randrange(len(holder))
    tag, content = holder[at]
    match choose.randrange(6):
        case 0:
            del holder[at]
        case 1:
            holder.insert(at, holder[at])
        case 2:
            holder[at] = choose.choice(choose.choice([one for one in holders if one]))
        case 3:
            holder[at] = choose.choice([1, 2, 3, 4, 5, 6, 0xC, 0x13, 0x17, 0x18, 0x30, 0x31, 0xA0, 0xA3, 0x82]), content
        case _:
            plain = content if isinstance(content, bytes) else _print_der(content)
            holder[at] = tag, own(plain or b"\0", len(plain) + 8)
    try:
        return _print_der(values)[:most]
    except RecursionError:  # put into itself
        return own(data, most)


def _parse_der(data: bytes, depth: int) -> list[_Der] | None:
    values: list[_Der] = []
    while data:
        if len(data) < 2 or data[1] > 0x83 or data[1] == 0x80:
            return None
        size_of_size = data[1] & 0x7F if data[1] & 0x80 else 0
        start = 2 + size_of_size
        size = int.from_bytes(data[2:start]) if size_of_size else data[1]
        if len(data) < start + size:
            return None
        content = data[start : start + size]
        # BIT STRING and OCTET STRING may hold DER too: keys and extensions do.
        inner = _parse_der(content, depth - 1) if depth and (data[0] & 0x20 or data[0] == 4) else None
        values.append((data[0], content if inner is None else inner))
        data = data[start + size :]
    return values


def _nested(values: list[_Der]) -> list[list[_Der]]:
    found = []
    for _, content in values:
        if isinstance(content, list):
            found += [content, *_nested(content)]
    return found


def _print_der(values: list[_Der]) -> bytes:
    out = b""
    for tag, content in values:
        plain = content if isinstance(content, bytes) else _print_der(content)
        size = len(plain).to_bytes(3).lstrip(b"\0")
        out += bytes([tag]) + (bytes([len(plain)]) if len(plain) < 0x80 else bytes([0x80 | len(size)]) + size) + plain
    return out


def move(pieces: list[bytes], how: int, one: int, other: int) -> None:
    """Takes a piece out, doubles it, or puts two in each other's place."""
    match how:
        case 0:
            del pieces[one]
        case 1:
            pieces.insert(other, pieces[one])
        case _:
            pieces[one], pieces[other] = pieces[other], pieces[one]


def mutate_lines(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
    """Lines taken out, doubled, moved, and what stands behind ``=`` or ``:`` in one put behind another; a third of the
    time libFuzzer's own mutation, of one line or of all."""
    choose, lines = random.Random(seed), data.split(b"\n")
    one, other = choose.randrange(len(lines)), choose.randrange(len(lines))
    match choose.randrange(6):
        case 0:
            return own(data, most)
        case 1:
            lines[one] = own(lines[one] or b" ", len(lines[one]) + 16)
        case 5:
            for mark in (b"=", b":"):
                head, found, _ = lines[one].partition(mark)
                if found:
                    lines[one] = head + mark + choose.choice([lines[other].partition(mark)[2], *ODD])
                    break
        case how:
            move(lines, how - 2, one, other)
    return b"\n".join(lines)[:most]


ODD = (
    b" 0",
    b" -1",
    b" ''",
    b" []",
    b" true",
    b' "sha256"',
    b' ["sha1"]',
    b" 1.5",
    b' "24h"',
    b" {}",
    b" [24]",
    b' "\\u0000"',
)


def mutate_signature_lists(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
    """EFI_SIGNATURE_LISTs (SPEC section 5.3), wherever they begin: a signature more or less, another size of one, other
    bytes; the size of the list right again."""
    choose = random.Random(seed)
    starts = [at for at in range(max(0, len(data) - 27)) if _is_list(data, at)]
    if not starts or choose.randrange(3) == 0:
        return own(data, most)
    at = choose.choice(starts)
    size, header, one = struct.unpack_from("<III", data, at + 16)
    kind, body = data[at : at + 16], data[at + 28 + header : at + size]
    match choose.randrange(5):
        case 0:
            body = body[one:]
        case 1:
            body += body[:one]
        case 2:
            one = max(0, one + choose.choice([-1, 1, 16, -16]))
        case 3:
            body = own(body or b"\0", len(body) + 16)
        case _:
            kind = own(kind, 16).ljust(16, b"\0")
    head = struct.pack("<III", 28 + header + len(body), header, one) + data[at + 28 : at + 28 + header]
    return (data[:at] + kind + head + body + data[at + size :])[:most]


def _is_list(data: bytes, at: int) -> bool:
    size, header, one = struct.unpack_from("<III", data, at + 16)
    return 28 + header + one <= size <= len(data) - at and one >= 16

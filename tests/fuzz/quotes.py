"""Quotes: message, signature, key and the values beside them."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterator

import quote_data
from conftest import DATA

from fuzz.mutators import mutate_lines
from fuzz.target import Target, join, mutate_one_part, split
from pyverify import EvidenceError, UsageError, _native
from pyverify.evidence import public_area
from pyverify.evidence.columns import Ragged
from pyverify.evidence.keys import Keys, name_of
from pyverify.evidence.pcr_values import authentic_values, digest_matches, laid_out, parse_pcr_text
from pyverify.evidence.quote import Quotes, attest_digests, signed_digests, verify_signatures

KINDS = ("rsassa", "rsapss", "ecdsa_p256", "ecdsa_p384", "sm2")
HONEST = {
    hashlib.sha256(s.msg[2:] if s.msg[2:6] == b"\xffTCG" else s.msg).digest() for s in map(quote_data.sample, KINDS)
}


def check_quote(data: bytes) -> None:
    """A signature that verifies is over what a TPM signed; every part that does not parse is a fault of its row."""
    msg, sig, key, values = split(data, 4)
    columns = [Ragged.of([part]) for part in (msg, sig, key, values)]
    quotes = Quotes.of(*columns)
    signed_digests(quotes)
    every = quotes.attests["fault"] == 0
    good = verify_signatures(quotes, every)
    if good[0] == _native.GOOD and key in KEYS:
        assert attest_digests(quotes)[0] in HONEST, "a signature over something else"
    fits, by_bank = laid_out(quotes)
    assert not (fits & ~every).any()
    digest_matches(quotes, by_bank, every)
    authentic_values(quotes, 0)
    check_public(key)


def check_public(data: bytes) -> None:
    """Parse, print, parse; the Name is over the bytes of the area."""
    name = name_of(data)
    keys = Keys.of(Ragged.of([data]))
    if keys.rows["fault"][0] == 0:
        keys.point(0)
    try:
        area = public_area.parse(data)
    except (EvidenceError, UsageError):
        return
    again = public_area.parse(area.data)
    assert again == area and again.data == area.data
    assert name == area.name == name_of(area.data)
    public_area.attestation_key_faults(area)
    public_area.endorsement_key_faults(area)


KEYS = {quote_data.sample(kind).key for kind in KINDS}


def quote_seeds() -> Iterator[bytes]:
    for kind in KINDS:
        s = quote_data.sample(kind)
        yield join(s.msg, s.sig, s.key, s.pcrs)
        if (pem := DATA / "quotes" / kind / "ak.pem").exists():
            yield join(s.msg, s.sig, pem.read_bytes(), b"")
    yield join(
        (DATA / "quotes" / "kat_attest.bin").read_bytes(), b"", (DATA / "quotes" / "kat_public.bin").read_bytes(), b""
    )


def check_pcr_text(data: bytes) -> None:
    with contextlib.suppress(EvidenceError):
        values = parse_pcr_text(data, "here")
        lines = [f"{bank} {pcr} {value.hex()}" for bank, by_pcr in values.items() for pcr, value in by_pcr.items()]
        assert parse_pcr_text("\n".join(lines).encode(), "there") == values


def pcr_text_seeds() -> Iterator[bytes]:
    yield b"sha256:\n  0 : 0x" + b"AB" * 32 + b"\n  1 : 0x" + b"00" * 32 + b"\n"
    yield b"sha1 3 " + b"00" * 20 + b"\n"
    yield b'{"sha256": {"0": "' + b"ab" * 32 + b'"}}'
    yield b'{"f": {"fault": null, "banks": {"sha1": {"0": "' + b"ab" * 20 + b'"}}}}'


IDS = (1, 4, 5, 6, 8, 0xB, 0xC, 0xD, 0x10, 0x12, 0x14, 0x16, 0x18, 0x1B, 0x20, 0x23, 0x25, 0x43, 0x8018, 0x8017, 3, 0)
"""Algorithms, curves, types (SPEC section 1.1): what a field of two bytes may say."""


def _mutate_structure(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
    """A structure of a TPM that keeps its form: what has its size in two bytes before it grows or shrinks with that
    size, a number of two bytes says another thing, one bit is another; the size of the whole stays right."""
    choose = random.Random(seed)
    whole = data[2:] if len(data) > 2 and int.from_bytes(data[:2]) == len(data) - 2 else None
    body = bytearray(data if whole is None else whole)
    sized = [at for at in range(len(body) - 2) if 0 < int.from_bytes(body[at : at + 2]) <= len(body) - at - 2]
    match choose.randrange(4):
        case 0 | 1 if sized:
            at = choose.choice(sized)
            end = at + 2 + int.from_bytes(body[at : at + 2])
            piece = own(bytes(body[at + 2 : end]), max(1, min(512, most - len(body)) + end - at - 2))
            body[at:end] = len(piece).to_bytes(2) + piece
        case 2 if len(body) > 2:
            at = choose.randrange(len(body) - 1) & ~(seed >> 8 & 1)
            body[at : at + 2] = choose.choice(IDS).to_bytes(2)
        case 3 if body:
            body[choose.randrange(len(body))] ^= 1 << choose.randrange(8)
        case _:
            return own(data, most)
    return bytes(body) if whole is None else (len(body) & 0xFFFF).to_bytes(2) + bytes(body)


def mutate_quote(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
    """One part of a quote, mostly with its structure kept; at times a part of another quote."""
    if seed % 16 == 1:
        pieces, others = split(data, 4), split(SEEDS[seed // 16 % len(SEEDS)], 4)
        pieces[seed // 4096 % 4] = others[seed // 4096 % 4]
        return join(*(piece[:0xFFFF] for piece in pieces))[:most]

    def structured(piece: bytes, room: int) -> bytes:
        return _mutate_structure(piece, room, seed, own)[:room]

    return mutate_one_part(4)(data, most, seed // 3, own if seed % 3 == 0 else structured)


SEEDS = list(quote_seeds())

TARGETS = {
    "quote_python": Target(check_quote, quote_seeds, 4096, mutate_quote),
    "pcr_text": Target(check_pcr_text, pcr_text_seeds, 2048, mutate_lines),
}

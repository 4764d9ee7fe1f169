"""Quotes: message, signature, key and the values beside them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import quote_data
from conftest import DATA

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


TARGETS = {
    "quote_python": Target(check_quote, quote_seeds, 4096, mutate_one_part(4)),
    "pcr_text": Target(check_pcr_text, pcr_text_seeds, 2048),
}

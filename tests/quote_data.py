"""Quotes for tests: the recorded ones, and attests, keys and signatures made by hand with other people's libraries."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path

from conftest import DATA, shared
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from pyverify.appraise.proof import prove
from pyverify.evidence.columns import Ragged
from pyverify.evidence.quote import Quotes

KINDS = ("rsassa", "rsapss", "ecdsa_p256", "ecdsa_p384", "sm2")
HANDLES = {"0x81010002": "rsa", "0x81010003": "ecc"}  # persistent AKs of the recordings


@dataclass(frozen=True)
class Sample:
    """One quote with all that belongs to it."""

    name: str
    msg: bytes
    sig: bytes
    key: bytes
    pcrs: bytes | None
    nonce: bytes
    folder: Path | None = None
    ak: str = ""
    selection: str = ""
    hash_name: str = ""

    def changed(self, **parts: bytes | None) -> Sample:
        return replace(self, **parts)


def sample(kind: str) -> Sample:
    """The quote of one key type that is kept in tests/data/quotes."""
    folder = DATA / "quotes" / kind
    part = {name: (folder / name).read_bytes() for name in ("quote.msg", "quote.sig", "quote.pcrs", "ak.pub", "nonce")}
    nonce = bytes.fromhex(part["nonce"].decode().strip())
    return Sample(kind, part["quote.msg"], part["quote.sig"], part["ak.pub"], part["quote.pcrs"], nonce, folder)


def recorded() -> list[Sample]:
    """Every quote of the recordings; the test is skipped where they are not beside the project."""
    samples = []
    for index in sorted(shared("recordings").glob("*/quotes/index.txt")):
        boot = index.parent.parent
        nonce = bytes.fromhex(json.loads((boot / "scenario.json").read_text())["nonce"])
        for line in index.read_text().splitlines():
            name, handle, selection, hash_name = line.split()
            ak = HANDLES.get(handle) or Path(handle).name.removesuffix(".ctx")
            read = [(index.parent / f"{name}.{end}").read_bytes() for end in ("msg", "sig", "pcrs")]
            key = (boot / "ak" / f"ak_{ak}.tpm2b").read_bytes()
            samples.append(
                Sample(f"{boot.name}/{name}", *read[:2], key, read[2], nonce, boot, ak, selection, hash_name)
            )
    return samples


def quotes_of(samples: list[Sample], **options: str) -> Quotes:
    columns = [[getattr(s, part) for s in samples] for part in ("msg", "sig", "key", "pcrs")]
    msg, sig, key, pcrs = (Ragged.of(column) for column in columns)
    return Quotes.of(msg, sig, key, pcrs, **options)


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def attest(
    *,
    magic: int = 0xFF544347,
    kind: int = 0x8018,
    signer: bytes = b"\0\x0b" + bytes(32),
    nonce: bytes = b"nonce",
    safe: int = 1,
    selection: bytes | None = None,
    digest: bytes = bytes(32),
    tail: bytes = b"",
) -> bytes:
    """A TPMS_ATTEST (SPEC 8.1); ``selection`` is a marshalled TPML_PCR_SELECTION, by default sha256 PCR 0-7."""
    chosen = selections((0xB, b"\xff\0\0")) if selection is None else selection
    clock = struct.pack(">QIIB", 1000, 2, 3, safe)
    head = struct.pack(">IH", magic, kind) + sized(signer) + sized(nonce) + clock + struct.pack(">Q", 0x1000200030004)
    return head + chosen + sized(digest) + tail


def selections(*banks: tuple[int, bytes], count: int | None = None) -> bytes:
    body = b"".join(struct.pack(">HB", number, len(bitmap)) + bitmap for number, bitmap in banks)
    return struct.pack(">I", len(banks) if count is None else count) + body


def rsa_public(
    modulus: bytes, *, scheme: bytes = struct.pack(">HH", 0x14, 0xB), bits: int | None = None, exponent: int = 0,
    attributes: int = 0x50072, name_hash: int = 0xB, symmetric: bytes = b"\0\x10", policy: bytes = b"",
    tail: bytes = b"",
) -> bytes:  # fmt: skip
    """A TPMT_PUBLIC of an RSA key (SPEC 8.4)."""
    head = struct.pack(">HHI", 1, name_hash, attributes) + sized(policy)
    numbers = struct.pack(">HI", len(modulus) * 8 if bits is None else bits, exponent)
    return head + symmetric + scheme + numbers + sized(modulus) + tail


def ecc_public(
    x: bytes, y: bytes, *, curve: int = 3, scheme: bytes = struct.pack(">HH", 0x18, 0xB), attributes: int = 0x50072,
    name_hash: int = 0xB, symmetric: bytes = b"\0\x10", policy: bytes = b"", kdf: bytes = b"\0\x10", tail: bytes = b"",
) -> bytes:  # fmt: skip
    """A TPMT_PUBLIC of an ECC key (SPEC 8.4)."""
    head = struct.pack(">HHI", 0x23, name_hash, attributes) + sized(policy) + symmetric + scheme
    return head + struct.pack(">H", curve) + kdf + sized(x) + sized(y) + tail


def signature(scheme: int, hash_id: int, *parts: bytes) -> bytes:
    """A TPMT_SIGNATURE (SPEC 8.2): one part for RSA, r and s for ECC."""
    return struct.pack(">HH", scheme, hash_id) + b"".join(sized(part) for part in parts)


def serialized(values: list[bytes], lists_of: int = 8) -> bytes:
    """What tpm2_quote -o writes of these digests, with selections that say nothing."""
    lists = [values[i : i + lists_of] for i in range(0, len(values), lists_of)]
    body = b"".join(
        struct.pack("<I", len(part))
        + b"".join(struct.pack("<H", len(v)) + v.ljust(64, b"\0") for v in part)
        + bytes(66 * (8 - len(part)))
        for part in lists
    )
    return bytes(132) + struct.pack("<I", len(lists)) + body


# Quotes signed here, by keys of this run

PRIVATE = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "p256": ec.generate_private_key(ec.SECP256R1()),
}
POINT = PRIVATE["p256"].public_key().public_numbers()
X, Y = POINT.x.to_bytes(32), POINT.y.to_bytes(32)
MODULUS = PRIVATE["rsa"].public_key().public_numbers().n.to_bytes(256)
VALUES = [hashlib.sha256(bytes([i])).digest() for i in range(8)]
DIGEST = hashlib.sha256(b"".join(VALUES)).digest()


def made(message=None, *, key=None, sig=None, pcrs=None):
    """A quote signed here: sound unless it is told otherwise."""
    message = attest(digest=DIGEST) if message is None else message
    if sig is None:
        sig = ecdsa(message)
    return Sample("made", message, sig, ecc_public(X, Y) if key is None else key, pcrs or serialized(VALUES), b"nonce")


def ecdsa(message, kind=hashes.SHA256, scheme=0x18, hash_id=0xB):
    r, s = utils.decode_dss_signature(PRIVATE["p256"].sign(message, ec.ECDSA(kind())))
    return signature(scheme, hash_id, r.to_bytes(32), s.to_bytes(32))


def rsassa(message, kind=hashes.SHA256, scheme=0x14, hash_id=0xB):
    return signature(scheme, hash_id, PRIVATE["rsa"].sign(message, PKCS1v15(), kind()))


MSG = attest(digest=DIGEST)
RSA_KEY = rsa_public(MODULUS)


def proofs_of(samples, **options):
    return prove(quotes_of(samples), **options)


def codes(proofs, i=0):
    return {finding.code for rows, finding in proofs.findings if i in rows}

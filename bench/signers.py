"""Attestation keys in software: each signs quickly, and thousands of them are made in seconds.

What makes them quick makes them worthless: RSA moduli share primes and SM2 signatures a few nonces. To verify them is
the same work as ever.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations, count, islice
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.templates import hash_name
from pyverify.algorithms import BY_NAME
from pyverify.evidence import tpm_names
from pyverify.evidence.curves import P256, P384, SM2, Curve

_SM2_SPKI: Final = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d03420004")  # SPEC 11.3
_SM2_NONCES: Final = 64
_EXPONENT: Final = 65537

Sign = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of key: what cases call it, the scheme of its signatures (TPM_ALG_ID) and their hash (TCG name)."""

    name: str
    scheme: int
    hash_name: str


KINDS: Final = (
    Kind("rsassa2048", tpm_names.RSASSA, "sha256"),
    Kind("rsapss2048", tpm_names.RSAPSS, "sha256"),
    Kind("ecdsa_p256", tpm_names.ECDSA, "sha256"),
    Kind("ecdsa_p384", tpm_names.ECDSA, "sha384"),
    Kind("sm2", tpm_names.SM2, "sm3_256"),
)


@dataclass(frozen=True, slots=True)
class Signer:
    """One key: a function that signs a message, its TPMT_PUBLIC and its SubjectPublicKeyInfo."""

    sign: Sign
    public: bytes
    spki: bytes


def signers(kind: Kind, number: int) -> list[Signer]:
    """So many distinct keys of a kind."""
    make = {tpm_names.ECDSA: _ecdsa, tpm_names.SM2: _sm2}.get(kind.scheme, _rsa)
    return list(islice(make(kind, number), number))


def digest(name: str, data: bytes) -> bytes:
    """The digest of data by a hash of this TCG name."""
    return hashlib.new(hash_name(name), data).digest()


def _rsa(kind: Kind, number: int) -> Iterator[Signer]:
    pad: Any = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if kind.scheme == tpm_names.RSAPSS else padding.PKCS1v15()
    for key in islice(_rsa_keys(number), number):
        modulus = key.public_key().public_numbers().n.to_bytes(256)
        public = _public(1, kind) + struct.pack(">HIH", 2048, 0, 256) + modulus
        yield Signer(_sign_rsa(key, pad), public, _spki(key))


def _sign_rsa(key: rsa.RSAPrivateKey, pad: Any) -> Sign:
    return lambda message: key.sign(message, pad, hashes.SHA256())


def _rsa_keys(number: int) -> Iterator[rsa.RSAPrivateKey]:
    """Every pair of a few primes is a key."""
    few = next(n for n in count(2) if n * (n - 1) // 2 >= number)
    for p, q in combinations(islice(_primes(few), few), 2):
        d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
        exponents = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
        numbers = rsa.RSAPrivateNumbers(p, q, d, *exponents, rsa.RSAPublicNumbers(_EXPONENT, p * q))
        yield numbers.private_key(unsafe_skip_rsa_key_validation=True)


@cache
def _primes(few: int) -> tuple[int, ...]:
    keys = [rsa.generate_private_key(_EXPONENT, 2048).private_numbers() for _ in range((few + 1) // 2)]
    return tuple(prime for key in keys for prime in (key.p, key.q))


def _ecdsa(kind: Kind, number: int) -> Iterator[Signer]:
    """The same keys each time, so that another process has them too."""
    form: Any = hashes.SHA384() if kind.hash_name == "sha384" else hashes.SHA256()
    curve, known = (ec.SECP384R1(), P384) if kind.hash_name == "sha384" else (ec.SECP256R1(), P256)
    for one in range(number):
        key = ec.derive_private_key(int.from_bytes(digest("sha256", b"%d" % one)) >> 1, curve)
        point = key.public_key().public_numbers()
        yield Signer(_sign_ecdsa(key, form), _ecc(kind, known, point.x, point.y), _spki(key))


def _sign_ecdsa(key: ec.EllipticCurvePrivateKey, form: Any) -> Sign:
    return lambda message: key.sign(message, ec.ECDSA(form))


def _sm2(kind: Kind, number: int) -> Iterator[Signer]:
    del number
    nonces = [(k, x) for k, x, _ in islice(_sm2_pairs(), _SM2_NONCES)]
    for d, x, y in _sm2_pairs():
        spki = _SM2_SPKI + x.to_bytes(32) + y.to_bytes(32)
        yield Signer(_sign_sm2(d, nonces), _ecc(kind, SM2, x, y), spki)


def _sign_sm2(d: int, nonces: list[tuple[int, int]]) -> Sign:
    """GB/T 32918.2 section 6.1 over the digest of the message, its random points made beforehand."""
    inverse = pow(1 + d, -1, SM2.n)

    def sign(message: bytes) -> bytes:
        k, x = secrets.choice(nonces)
        r = (int.from_bytes(digest("sm3_256", message)) + x) % SM2.n
        return utils.encode_dss_signature(r, inverse * (k - r * d) % SM2.n)

    return sign


def _sm2_pairs() -> Iterator[tuple[int, int, int]]:
    """Numbers that follow each other, and their points: each is the one before plus the base point."""
    from gmssl.sm2 import CryptSM2

    first = secrets.randbelow(SM2.n >> 1) + 2
    maker = CryptSM2(private_key="", public_key="")
    point = maker._kg(first, f"{SM2.gx:064x}{SM2.gy:064x}")  # the package has no public way to a public key
    x, y = int(point[:64], 16), int(point[64:], 16)
    for number in count(first):
        yield number, x, y
        slope = (y - SM2.gy) * pow(x - SM2.gx, -1, SM2.p) % SM2.p
        after = (slope * slope - x - SM2.gx) % SM2.p
        x, y = after, (slope * (x - after) - y) % SM2.p


def _public(type_: int, kind: Kind) -> bytes:
    """The head of a TPMT_PUBLIC: a restricted signing key, fixed to its TPM, named by SHA-256 (SPEC 8.4)."""
    form = struct.pack(">HH", kind.scheme, BY_NAME[kind.hash_name].id)
    return struct.pack(">HHIHH", type_, BY_NAME["sha256"].id, 0x50072, 0, tpm_names.NULL) + form


def _ecc(kind: Kind, curve: Curve, x: int, y: int) -> bytes:
    size = curve.size
    point = struct.pack(">H", size) + x.to_bytes(size) + struct.pack(">H", size) + y.to_bytes(size)
    return _public(tpm_names.ECC, kind) + struct.pack(">HH", curve.id, tpm_names.NULL) + point


def _spki(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    data: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data

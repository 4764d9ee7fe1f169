"""TPM2_MakeCredential in software: a secret that only the TPM with this EK and a key of this Name can return.

The construction is that of TPM 2.0 Part 1 "Credential Protection" (SPEC section 8.4).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pyverify.errors import UsageError
from pyverify.evidence.curves import CURVES, library_curve
from pyverify.evidence.public_area import PublicArea, RsaKey, endorsement_key_faults, parse
from pyverify.evidence.tpm_names import AES, CFB

SECRET_SIZE: Final = 32
"""Bytes of a secret that this package picks: the most that an EK with SHA-256 as name algorithm takes."""

_BLOB_HEADER: Final = struct.pack(">II", 0xBADCC0DE, 1)  # magic and version of tpm2-tools' credential files
_AES_BLOCK: Final = 16
_OAEP_HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


def make_credential(ek_public: bytes, ak_name: bytes, secret: bytes) -> bytes:
    """Protects a secret for the TPM that holds an EK and a key of this Name.

    Args:
        ek_public: public area of the EK: RSA 2048 and up, or NIST P-256, P-384, P-521.
        ak_name: Name of the attestation key, from the very public area that is to be trusted.
        secret: up to as many bytes as the EK's name algorithm has.

    Returns:
        A file as ``tpm2_activatecredential -i`` takes it: header, TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET.

    Raises:
        EvidenceError: the EK's public area does not parse.
        UsageError: it is no EK, or of a kind that is not supported; the secret is too long.
    """
    ek = parse(ek_public)
    if faults := endorsement_key_faults(ek):
        raise UsageError(f"key.attributes: this is no endorsement key: {', '.join(faults)}")
    algorithm, bits, mode = ek.symmetric or (0, 0, 0)
    digest, size = ek.name_hash.name, ek.name_hash.size
    if algorithm != AES or mode != CFB or bits not in (128, 192, 256) or digest not in _OAEP_HASHES:
        raise UsageError("an endorsement key that is not of AES in CFB mode and SHA-2 cannot be challenged yet")
    if not 1 <= len(secret) <= size:
        raise UsageError(f"a secret of {len(secret)} bytes; this endorsement key takes 1 to {size}")
    seed, encrypted_seed = _share_seed(ek, digest, size)
    storage_key = kdfa(digest, seed, b"STORAGE", ak_name, bits)
    identity = _aes_cfb(storage_key, _sized(secret))
    integrity_key = kdfa(digest, seed, b"INTEGRITY", b"", 8 * size)
    integrity = hmac.digest(integrity_key, identity + ak_name, digest)
    return _BLOB_HEADER + _sized(_sized(integrity) + identity) + _sized(encrypted_seed)


def _share_seed(ek: PublicArea, digest: str, size: int) -> tuple[bytes, bytes]:
    """A seed, and how the EK's TPM learns of it (Part 1, annexes B.10.4 and C.6.4)."""
    if isinstance(ek.key, RsaKey):
        seed = secrets.token_bytes(size)
        rsa_key = rsa.RSAPublicNumbers(ek.key.exponent, ek.key.modulus).public_key()
        algorithm = _OAEP_HASHES[digest]
        mask = padding.MGF1(algorithm())
        return seed, rsa_key.encrypt(seed, padding.OAEP(mask, algorithm(), label=b"IDENTITY\0"))
    curve = CURVES[ek.key.curve]
    group = library_curve(curve)
    if group is None:
        raise UsageError("an SM2 endorsement key cannot be challenged yet: no library here does its key agreement")
    own = ec.generate_private_key(group)
    public = own.public_key().public_numbers()
    shared = own.exchange(ec.ECDH(), ec.EllipticCurvePublicNumbers(ek.key.x, ek.key.y, own.curve).public_key())
    x, y, ek_x = (number.to_bytes(curve.size) for number in (public.x, public.y, ek.key.x))
    return kdfe(digest, shared, b"IDENTITY", x, ek_x, 8 * size), _sized(x) + _sized(y)


def kdfa(digest: str, key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """KDFa of TPM 2.0 Part 1 section 11.4.10.2: SP 800-108 counter mode over HMAC; ``context`` is U and V."""
    tail = label + b"\0" + context + bits.to_bytes(4, "big")
    return _counted(lambda counter: hmac.digest(key, counter + tail, digest), bits)


def kdfe(digest: str, shared: bytes, label: bytes, party_u: bytes, party_v: bytes, bits: int) -> bytes:
    """KDFe of TPM 2.0 Part 1 section 11.4.10.3: SP 800-56A over an ECDH secret and the x of both sides."""
    tail = shared + label + b"\0" + party_u + party_v
    return _counted(lambda counter: hashlib.new(digest, counter + tail).digest(), bits)


def _counted(block: Callable[[bytes], bytes], bits: int) -> bytes:
    """Blocks of a counter from 1 up until there are enough bits, a multiple of 8."""
    result, counter = b"", 0
    while 8 * len(result) < bits:
        counter += 1
        result += block(counter.to_bytes(4, "big"))
    return result[: bits // 8]


def _aes_cfb(key: bytes, plain: bytes) -> bytes:
    """AES in CFB mode with 128-bit feedback, starting at zero; by hand, as ``cryptography`` is giving CFB up."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  one block at a time is CFB's own part
    result, feedback = b"", bytes(_AES_BLOCK)
    for at in range(0, len(plain), _AES_BLOCK):
        block = plain[at : at + _AES_BLOCK]
        feedback = bytes(a ^ b for a, b in zip(block, encryptor.update(feedback), strict=False))
        result += feedback
    return result


def _sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data

"""Keys that sign the heads of a store: Ed25519 (RFC 8032), or SM2 over SM3 with ZA (GB/T 32918.2, GM/T 0009)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, utils

from pyverify.errors import StoreError
from pyverify.evidence import sm2
from pyverify.evidence.curves import SM2
from pyverify.evidence.keys import SM2_SPKI

_MAX_FILE: Final = 1 << 16

# PrivateKeyInfo of an SM2 key as OpenSSL writes it (RFC 5958, RFC 5915): up to the number, from there to the point.
_SM2_PRIVATE: Final = bytes.fromhex("308187020100301306072a8648ce3d020106082a811ccf5501822d046d306b0201010420")
_SM2_POINT: Final = bytes.fromhex("a14403420004")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that heads can be checked with.

    Attributes:
        algorithm: ``ed25519`` or ``sm2``.
        data: SubjectPublicKeyInfo, DER.
    """

    algorithm: str
    data: bytes

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo."""
        return hashlib.sha256(self.data).digest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether a signature is this key's of a message; false for a key that is none."""
        if self.algorithm == "sm2":
            return self.data.startswith(SM2_SPKI) and sm2.verify_with_za(self.data, signature, message)
        try:
            key = serialization.load_der_public_key(self.data)
            if self.algorithm != "ed25519" or not isinstance(key, ed25519.Ed25519PublicKey):
                return False
            key.verify(signature, message)
        except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
            return False
        return True


class Signer(Protocol):
    """What signs heads: a key of a file, or the caller's own (in an HSM, behind a service)."""

    @property
    def public_key(self) -> PublicKey:
        """What its signatures are checked with."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature: 64 bytes of Ed25519, or of SM2 with ZA in DER."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class FileSigner:
    """A private key that was read from a file, or any function that signs."""

    public_key: PublicKey
    sign: Callable[[bytes], bytes]


def load(path: Path) -> Signer | PublicKey:
    """Reads a key in PEM: PKCS#8 to sign with, or SubjectPublicKeyInfo to check with.

    Raises:
        StoreError: the file cannot be read, or holds no such key.
    """
    try:
        with path.open("rb") as file:
            pem = file.read(_MAX_FILE)
    except OSError as error:
        raise StoreError(f"the store's key {path} cannot be read: {error.strerror or error}") from error
    try:
        return _parse(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StoreError(
            f"{path} is no key for a store: it wants Ed25519 or SM2 in PEM, PKCS#8 without a password "
            "(`openssl genpkey -algorithm ed25519`), or the public key alone"
        ) from error


def make(path: Path) -> None:
    """Makes a new Ed25519 key in a file that only its owner can read; a file that is there already is left alone.

    Raises:
        StoreError: the file cannot be written.
    """
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(*form)
    try:
        # mkstemp gives 0600; the link is all or nothing, so that of two that make it at once both find one whole key.
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(handle)
            with contextlib.suppress(FileExistsError):
                os.link(name, path)
        finally:
            Path(name).unlink()
    except OSError as error:
        raise StoreError(f"the store's key {path} cannot be written: {error.strerror or error}") from error


def _parse(pem: bytes) -> Signer | PublicKey:
    if b"PRIVATE KEY" not in pem:
        return _public(_body(pem, b"PUBLIC KEY"))
    der = _body(pem, b"PRIVATE KEY")
    if der.startswith(_SM2_PRIVATE):
        return _sm2_signer(der)
    key = serialization.load_der_private_key(der, None)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ValueError("no Ed25519 key")
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return FileSigner(PublicKey("ed25519", key.public_key().public_bytes(*form)), key.sign)


def _body(pem: bytes, label: bytes) -> bytes:
    import base64

    before, begin, rest = pem.partition(b"-----BEGIN " + label + b"-----")
    body, end, after = rest.partition(b"-----END " + label + b"-----")
    if not begin or not end or before.strip() or after.strip():
        raise ValueError("no PEM of one key")
    return base64.b64decode(b"".join(body.split()), validate=True)


def _public(der: bytes) -> PublicKey:
    if der.startswith(SM2_SPKI):
        return PublicKey("sm2", der)
    if not isinstance(serialization.load_der_public_key(der), ed25519.Ed25519PublicKey):
        raise ValueError("no Ed25519 key")
    return PublicKey("ed25519", der)


def _sm2_signer(der: bytes) -> Signer:
    at = len(_SM2_PRIVATE)
    number, rest = int.from_bytes(der[at : at + SM2.size]), der[at + SM2.size :]
    point = rest[len(_SM2_POINT) :]
    if not rest.startswith(_SM2_POINT) or len(point) != 2 * SM2.size or not 1 <= number < SM2.n - 1:
        raise ValueError("no SM2 key")
    x, y = int.from_bytes(point[: SM2.size]), int.from_bytes(point[SM2.size :])
    public = PublicKey("sm2", SM2_SPKI + point)

    def sign(message: bytes) -> bytes:
        return _sign_sm2(number, sm2.za_digests([(x, y)], [message]).tobytes())

    if not public.verifies(sign(b""), b""):
        raise ValueError("an SM2 key whose halves do not fit")
    return FileSigner(public, sign)


def _sign_sm2(number: int, digest: bytes) -> bytes:
    from gmssl.sm2 import CryptSM2

    signer: Any = CryptSM2(private_key=f"{number:064x}", public_key="")
    while True:
        # The nonce is from the system: gmssl's own would be from a generator that is not for secrets.
        signature = signer.sign(digest, f"{1 + secrets.randbelow(SM2.n - 1):064x}")
        if signature is not None:
            r, s = (int(signature[at : at + 64], 16) for at in (0, 64))
            return utils.encode_dss_signature(r, s)

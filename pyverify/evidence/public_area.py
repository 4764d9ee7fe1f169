"""A key's public area as the TPM tells it: TPM2B_PUBLIC or TPMT_PUBLIC, decoded strictly (SPEC section 8.4)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntFlag
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec

from pyverify.errors import EvidenceError
from pyverify.evidence import sm2

MAX_SIZE: Final = 4096
"""Bytes of a public area: the largest, RSA 4096 with a SHA-512 policy, is below 700."""

RSA: Final = 0x0001
ECC: Final = 0x0023
AES: Final = 0x0006
CFB: Final = 0x0043
NULL: Final = 0x0010
_RSAES: Final = 0x0015
_ECDAA: Final = 0x001A
_DEFAULT_EXPONENT: Final = 65537  # an exponent field of 0 means this one

HASHES: Final = {0x000B: "sha256", 0x000C: "sha384", 0x000D: "sha512", 0x0012: "sm3"}
"""Name algorithms, as hashlib calls them. SHA-1 is too weak to name a key by."""

SM2_P256: Final = 0x0020
CURVES: Final[dict[int, type[ec.EllipticCurve]]] = {0x0003: ec.SECP256R1, 0x0004: ec.SECP384R1, 0x0005: ec.SECP521R1}
"""TPM_ECC_CURVE of the curves that ``cryptography`` knows; :data:`SM2_P256` is the one beside them."""
FIELD_SIZES: Final = {0x0003: 32, 0x0004: 48, 0x0005: 66, SM2_P256: 32}
"""Bytes of a coordinate."""


class Attribute(IntFlag):
    """TPMA_OBJECT, as far as it matters here (SPEC section 1.1)."""

    FIXED_TPM = 0x2
    FIXED_PARENT = 0x10
    SENSITIVE_DATA_ORIGIN = 0x20
    ENCRYPTED_DUPLICATION = 0x800
    RESTRICTED = 0x10000
    DECRYPT = 0x20000
    SIGN = 0x40000


@dataclass(frozen=True, slots=True)
class RsaKey:
    """An RSA public key. Equal keys compare equal, wherever they came from."""

    modulus: int
    exponent: int


@dataclass(frozen=True, slots=True)
class EccKey:
    """A point on a curve, named by its TPM_ECC_CURVE."""

    curve: int
    x: int
    y: int


PublicKey: TypeAlias = RsaKey | EccKey


@dataclass(frozen=True, slots=True)
class PublicArea:
    """A decoded TPMT_PUBLIC. ``data`` are its very bytes: what the Name is over, and all that is to be stored."""

    data: bytes
    name_algorithm: int
    attributes: Attribute
    symmetric: tuple[int, int, int] | None
    """Algorithm, key bits and mode; None for NULL."""
    scheme: int | None
    """Signing or decryption scheme; None for NULL."""
    key: PublicKey

    @property
    def name(self) -> bytes:
        """The Name: nameAlg and the hash of the public area."""
        digest = hashlib.new(HASHES[self.name_algorithm], self.data).digest()
        return self.name_algorithm.to_bytes(2, "big") + digest


class _Reader:
    """Takes big-endian fields off bytes, never past their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise _error("it ends too early", self._at)
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int = 2) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self, most: int) -> bytes:
        at, size = self._at, self.number()
        if size > most:
            raise _error(f"a field of {size} bytes where {most} are the most", at)
        return self.take(size)

    def finish(self) -> None:
        if self._at != len(self._data):
            raise _error("bytes follow its end", self._at)


def _error(words: str, offset: int | None = None) -> EvidenceError:
    return EvidenceError("quote.format", f"quote.format: the public area does not parse: {words}", offset=offset)


def parse(data: bytes) -> PublicArea:
    """Decodes a TPM2B_PUBLIC or a TPMT_PUBLIC of an RSA or ECC key.

    Raises:
        EvidenceError: ``quote.format`` where it is neither, is not exactly consumed, or the key is none: a size or
            curve that is not allowed, a point that is not on its curve.
    """
    if b"-----BEGIN" in data[:64]:
        raise _error(
            "this is PEM, which has neither Name nor attributes; the TPM's public area is needed (TPM2B_PUBLIC)"
        )
    if len(data) > MAX_SIZE:
        raise _error(f"{len(data)} bytes are too many")
    # A size as first field is told from a type by its value: no public area is as short as 0x23 bytes.
    if len(data) >= 2 and int.from_bytes(data[:2], "big") == len(data) - 2:
        data = data[2:]
    reader = _Reader(data)
    kind, name_algorithm = reader.number(), reader.number()
    if kind not in (RSA, ECC):
        raise _error(f"type 0x{kind:04x} is neither RSA nor ECC, and its size does not fit", 0)
    if name_algorithm not in HASHES:
        raise _error(f"name algorithm 0x{name_algorithm:04x} is not allowed", 2)
    attributes = Attribute(reader.number(4))
    reader.sized(64)  # authPolicy
    symmetric = _symmetric(reader)
    scheme = _scheme(reader)
    key = _rsa(reader) if kind == RSA else _ecc(reader)
    reader.finish()
    return PublicArea(bytes(data), name_algorithm, attributes, symmetric, scheme, key)


def _symmetric(reader: _Reader) -> tuple[int, int, int] | None:
    algorithm = reader.number()
    return None if algorithm == NULL else (algorithm, reader.number(), reader.number())


def _scheme(reader: _Reader) -> int | None:
    scheme = reader.number()
    if scheme == NULL:
        return None
    if scheme != _RSAES:
        reader.number()  # hash
    if scheme == _ECDAA:
        reader.number()  # count
    return scheme


def _rsa(reader: _Reader) -> RsaKey:
    bits, exponent = reader.number(), reader.number(4)
    modulus = reader.sized(512)
    number = int.from_bytes(modulus, "big")
    if bits not in (2048, 3072, 4096) or number.bit_length() != bits or 8 * len(modulus) != bits:
        raise _error(f"RSA with {bits} key bits and a modulus of {number.bit_length()}")
    exponent = exponent or _DEFAULT_EXPONENT
    if exponent < _DEFAULT_EXPONENT or exponent % 2 == 0 or number % 2 == 0:
        raise _error(f"RSA with exponent {exponent}, or an even modulus")
    return RsaKey(number, exponent)


def _ecc(reader: _Reader) -> EccKey:
    curve = reader.number()
    if reader.number() != NULL:  # key derivation scheme
        reader.number()
    if curve not in FIELD_SIZES:
        raise _error(f"curve 0x{curve:04x} is not allowed")
    x, y = (int.from_bytes(reader.sized(FIELD_SIZES[curve]), "big") for _ in range(2))
    if not is_on_curve(curve, x, y):
        raise _error("the point is not on its curve")
    return EccKey(curve, x, y)


def is_on_curve(curve: int, x: int, y: int) -> bool:
    """Whether a point is on its curve and not the point at infinity; ``curve`` is a key of :data:`FIELD_SIZES`."""
    if curve == SM2_P256:
        return sm2.is_on_curve(x, y)
    try:
        ec.EllipticCurvePublicNumbers(x, y, CURVES[curve]()).public_key()
    except ValueError:
        return False
    return True


_TPM_BOUND: Final = (
    Attribute.FIXED_TPM | Attribute.FIXED_PARENT | Attribute.SENSITIVE_DATA_ORIGIN | Attribute.RESTRICTED
)


def attestation_key_faults(area: PublicArea) -> list[str]:
    """Why a key may not attest (``key.attributes``), in words; an empty list where it may (SPEC section 8.4)."""
    faults = _attribute_faults(area, _TPM_BOUND | Attribute.SIGN, Attribute.DECRYPT | Attribute.ENCRYPTED_DUPLICATION)
    if area.scheme is None:
        faults.append("no signing scheme")
    if area.symmetric is not None:
        faults.append("a symmetric algorithm, which storage keys have")
    return faults


def endorsement_key_faults(area: PublicArea) -> list[str]:
    """Why a key may not be an endorsement key, in words: it must be a storage key that never leaves its TPM."""
    faults = _attribute_faults(area, _TPM_BOUND | Attribute.DECRYPT, Attribute.SIGN | Attribute.ENCRYPTED_DUPLICATION)
    if area.symmetric is None:
        faults.append("no symmetric algorithm, which storage keys have")
    return faults


def _attribute_faults(area: PublicArea, wanted: Attribute, unwanted: Attribute) -> list[str]:
    faults = [f"not {_word(bit)}" for bit in wanted & ~area.attributes]
    return faults + [f"{_word(bit)}" for bit in unwanted & area.attributes]


def _word(bit: Attribute) -> str:
    return str(bit.name).lower().replace("_", " ")

"""Numbers of the TCG Algorithm Registry and of TPM 2.0 structures that quotes use, and their names (SPEC 1.1)."""

from __future__ import annotations

from enum import IntFlag
from typing import Final

from pyverify.algorithms import BANKS

RSA: Final = 0x0001
AES: Final = 0x0006
NULL: Final = 0x0010
RSASSA: Final = 0x0014
RSAPSS: Final = 0x0016
ECDSA: Final = 0x0018
SM2: Final = 0x001B
ECC: Final = 0x0023
CFB: Final = 0x0043

SCHEMES: Final = {RSASSA: "rsassa", RSAPSS: "rsapss", ECDSA: "ecdsa", SM2: "sm2"}
"""Schemes by which a quote may be signed."""

NAME_HASHES: Final = {bank.id: bank for bank in BANKS if bank.name != "sha1"}
"""Hashes that may name a key; SHA-1 is too weak to."""

_ALGORITHMS: Final = {
    **SCHEMES,
    **{bank.id: bank.name for bank in BANKS},
    0x0001: "rsa",
    0x0005: "hmac",
    0x0006: "aes",
    0x0008: "keyedhash",
    0x0010: "null",
    0x0013: "sm4",
    0x0015: "rsaes",
    0x0017: "oaep",
    0x0019: "ecdh",
    0x001A: "ecdaa",
    0x001C: "ecschnorr",
    0x001D: "ecmqv",
    0x0023: "ecc",
    0x0025: "symcipher",
    0x0026: "camellia",
    0x0027: "sha3_256",
    0x0028: "sha3_384",
    0x0029: "sha3_512",
    0x0043: "cfb",
}

_CURVES: Final = {
    0x0001: "p192",
    0x0002: "p224",
    0x0003: "p256",
    0x0004: "p384",
    0x0005: "p521",
    0x0010: "bn_p256",
    0x0011: "bn_p638",
    0x0020: "sm2_p256",
}

_ATTESTS: Final = {
    0x8014: "nv",
    0x8015: "command audit",
    0x8016: "session audit",
    0x8017: "certify",
    0x8018: "quote",
    0x8019: "time",
    0x801A: "creation",
    0x801C: "nv digest",
}


class Attribute(IntFlag):
    """TPMA_OBJECT (TPM 2.0 Library part 2, section 8.3)."""

    FIXED_TPM = 0x2
    ST_CLEAR = 0x4
    FIXED_PARENT = 0x10
    SENSITIVE_DATA_ORIGIN = 0x20
    USER_WITH_AUTH = 0x40
    ADMIN_WITH_POLICY = 0x80
    NO_DA = 0x400
    ENCRYPTED_DUPLICATION = 0x800
    RESTRICTED = 0x10000
    DECRYPT = 0x20000
    SIGN = 0x40000
    X509_SIGN = 0x80000


def algorithm_name(number: int) -> str:
    """The TCG name of a TPM_ALG_ID, or the number."""
    return _ALGORITHMS.get(number, f"0x{number:04x}")


def curve_name(number: int) -> str:
    """The TCG name of a TPM_ECC_CURVE, or the number."""
    return _CURVES.get(number, f"0x{number:04x}")


def attest_name(number: int) -> str:
    """What a TPM_ST_ATTEST_… attests, or the number."""
    return _ATTESTS.get(number, f"0x{number:04x}")


def attribute_names(attributes: int) -> list[str]:
    """The names of the bits that are set, in tpm2-tools' spelling: ``fixedtpm``."""
    bits = (Attribute(1 << bit) for bit in range(32) if attributes >> bit & 1)
    return [bit.name.replace("_", "").lower() if bit.name else f"bit {bit.bit_length() - 1}" for bit in bits]


def attribute_words(attributes: Attribute) -> list[str]:
    """The names of known bits as words: ``fixed tpm``."""
    return [str(bit.name).replace("_", " ").lower() for bit in attributes]

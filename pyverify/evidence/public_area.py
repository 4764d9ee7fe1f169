"""One key's public area as an object: what enrolment, certificates and credentials need of it (SPEC section 8.4).

It is read as all keys are, by :mod:`pyverify.evidence.keys`; what is too weak to be enrolled is refused here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pyverify import _native
from pyverify.algorithms import Algorithm
from pyverify.errors import EvidenceError
from pyverify.evidence import tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.curves import CURVES
from pyverify.evidence.key_rules import ATTESTATION, ENDORSEMENT, LEAST_EXPONENT, RSA_BITS
from pyverify.evidence.keys import Keys
from pyverify.evidence.quote_faults import fault_words

MAX_SIZE: Final = 4096
"""Bytes of a public area: the largest, RSA 4096 with a SHA-512 policy, is below 700."""


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
    name: bytes
    """nameAlg and the hash of ``data``."""
    name_hash: Algorithm
    symmetric: tuple[int, int, int] | None
    """Algorithm, key bits and mode; None for NULL."""
    key: PublicKey
    row: Any = field(repr=False, compare=False)
    """``_native.PUBLIC_DTYPE`` of shape []."""


def parse(data: bytes) -> PublicArea:
    """Decodes a TPM2B_PUBLIC or a TPMT_PUBLIC of an RSA or ECC key.

    Raises:
        EvidenceError: ``quote.format`` where it is neither, is not exactly consumed, or the key is none: a size or
            curve that is not allowed, a point that is not on its curve.
    """
    if len(data) > MAX_SIZE:
        raise _error(f"{len(data)} bytes are too many")
    keys = Keys.of(Ragged.of([data]))
    row = keys.rows[0]
    if keys.bare[0]:
        raise _error(
            "this is PEM or DER, or no key; the TPM's public area is needed (TPM2B_PUBLIC), with Name and attributes"
        )
    if words := _refusal(row, data):
        raise _error(words, int(row["fault_at"]))
    symmetric = int(row["symmetric"]), int(row["symmetric_bits"]), int(row["symmetric_mode"])
    return PublicArea(
        data=bytes(data[int(row["at"]) :]),
        name=keys.names[0],
        name_hash=tpm_names.NAME_HASHES[int(row["name_hash"])],
        symmetric=None if symmetric[0] == tpm_names.NULL else symmetric,
        key=public_key(keys),
        row=row,
    )


def public_key(keys: Keys) -> PublicKey:
    """The first of a batch of keys, which must be of no fault."""
    row, (x, y) = keys.rows[0], keys.point(0)
    return RsaKey(x, int(row["exponent"])) if row["type"] == tpm_names.RSA else EccKey(int(row["curve"]), x, y)


def _refusal(row: Any, data: bytes) -> str | None:
    """Why this is no public area of a key that may be enrolled, in words."""
    fault, at = int(row["fault"]), int(row["fault_at"])
    kind, name_hash, curve = int(row["type"]), int(row["name_hash"]), int(row["curve"])
    if fault == _native.QUOTE_FAULTS["truncated"]:
        return fault_words(fault)
    if kind not in (tpm_names.RSA, tpm_names.ECC):
        return f"type 0x{kind:04x} is neither RSA nor ECC, and its size does not fit"
    if name_hash not in tpm_names.NAME_HASHES:
        return f"name algorithm 0x{name_hash:04x} is not allowed"
    if fault == _native.QUOTE_FAULTS["bound"]:
        return f"a field of {int.from_bytes(data[at : at + 2])} bytes, which is out of bounds"
    if fault == _native.QUOTE_FAULTS["value"] and curve in CURVES and at == row["x_at"]:
        return "the point is not on its curve"
    if fault:
        return fault_words(fault)
    if kind == tpm_names.ECC:
        return None if curve in CURVES else f"curve 0x{curve:04x} is not allowed"
    return _weakness(row, data)


def _weakness(row: Any, data: bytes) -> str | None:
    exponent, end = int(row["exponent"]), int(row["x_at"]) + int(row["x_size"])
    if row["bits"] not in RSA_BITS:
        return f"RSA with {row['bits']} key bits"
    if exponent < LEAST_EXPONENT or exponent % 2 == 0 or data[end - 1] % 2 == 0:
        return f"RSA with exponent {exponent}, or an even modulus"
    return None


def _error(words: str, offset: int | None = None) -> EvidenceError:
    return EvidenceError("quote.format", f"quote.format: the public area does not parse: {words}", offset=offset)


def attestation_key_faults(area: PublicArea) -> list[str]:
    """Why a key may not attest (``key.attributes``), in words; an empty list where it may (SPEC section 8.4)."""
    return ATTESTATION.words(int(ATTESTATION.faults(area.row)))


def is_weakly_generated(area: PublicArea) -> bool:
    """Whether it is a key that can be broken for who made it (``key.denied``)."""
    return bool(Keys.of(Ragged.of([area.data])).weakly_generated()[0])


def endorsement_key_faults(area: PublicArea) -> list[str]:
    """Why a key may not be an endorsement key, in words: it must be a storage key that never leaves its TPM."""
    return ENDORSEMENT.words(int(ENDORSEMENT.faults(area.row)))

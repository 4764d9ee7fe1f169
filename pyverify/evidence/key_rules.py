"""What a TPM's key must be to attest, or to be challenged: its attributes and its strength (SPEC sections 8.2, 8.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify.evidence import tpm_names
from pyverify.evidence.tpm_names import Attribute, attribute_words

RSA_BITS: Final = (2048, 3072, 4096)
LEAST_EXPONENT: Final = 65537

# Beside the attributes, which are bits of 32.
_SCHEME: Final = 1 << 32
_SYMMETRIC: Final = 1 << 33


@dataclass(frozen=True, slots=True)
class KeyRule:
    """Attributes that a key must have and must not have, and whether it is a storage key or signs."""

    wanted: Attribute
    unwanted: Attribute
    stores: bool

    def faults(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
        """What keys (``_native.PUBLIC_DTYPE``) break of the rule, a bit each: uint64 of the shape of ``rows``."""
        wrong = (rows["attributes"] ^ np.uint32(self.wanted)) & np.uint32(self.wanted | self.unwanted)
        no_scheme = (rows["scheme"] == tpm_names.NULL) & (not self.stores)
        symmetric = (rows["symmetric"] == tpm_names.NULL) == self.stores
        beside = np.where(no_scheme, np.uint64(_SCHEME), np.uint64(0)) | np.where(
            symmetric, np.uint64(_SYMMETRIC), np.uint64(0)
        )
        return np.asarray(wrong, np.uint64) | beside

    def words(self, faults: int) -> list[str]:
        """The same of one key in words; an empty list for 0."""
        words = [f"not {word}" for word in attribute_words(self.wanted & faults)]
        words += attribute_words(self.unwanted & faults)
        if faults & _SCHEME:
            words.append("no signing scheme")
        if faults & _SYMMETRIC:
            words.append(f"{'no' if self.stores else 'a'} symmetric algorithm, which storage keys have")
        return words


_OF_ITS_TPM: Final = (
    Attribute.FIXED_TPM | Attribute.FIXED_PARENT | Attribute.SENSITIVE_DATA_ORIGIN | Attribute.RESTRICTED
)

ATTESTATION: Final = KeyRule(
    _OF_ITS_TPM | Attribute.SIGN, Attribute.DECRYPT | Attribute.ENCRYPTED_DUPLICATION, stores=False
)
"""A restricted key signs nothing that begins like an attest and is none; any other could sign what no TPM made."""

ENDORSEMENT: Final = KeyRule(
    _OF_ITS_TPM | Attribute.DECRYPT, Attribute.SIGN | Attribute.ENCRYPTED_DUPLICATION, stores=True
)
"""A storage key that never leaves its TPM, which opens what is sealed to the Name of another key there only."""

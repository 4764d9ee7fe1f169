"""Quotes, signatures, public areas and the PCR values beside them: their rows, and signatures verified in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify._core import ffi, lib
from pyverify._native.core import Blob, Offsets, check, check_layout, count, pointer
from pyverify.algorithms import BANKS, PCRS
from pyverify.errors import UsageError

_U32: Final = np.uint32
MAX_SELECTIONS: Final = int(lib.PV_MAX_SELECTIONS)
NO_BANK: Final = int(lib.PV_NO_BANK)
DIGEST_ROOM: Final = 64
"""Bytes of a row of digests: the longest of them."""


def _dtype(*fields: tuple[Any, ...]) -> np.dtype[Any]:
    return np.dtype(list(fields), align=True)


ATTEST_DTYPE: Final = _dtype(
    ("fault", _U32),
    ("fault_at", _U32),
    ("at", _U32),
    ("magic", _U32),
    ("type", _U32),
    ("signer_at", _U32),
    ("signer_size", _U32),
    ("nonce_at", _U32),
    ("nonce_size", _U32),
    ("reset_count", _U32),
    ("restart_count", _U32),
    ("safe", _U32),
    ("clock", np.uint64),
    ("firmware_version", np.uint64),
    ("digest_at", _U32),
    ("digest_size", _U32),
    ("n_selections", _U32),
    ("empty", _U32),
    ("selected", _U32, (len(BANKS),)),
    ("hash", _U32, (MAX_SELECTIONS,)),
    ("bank", np.int32, (MAX_SELECTIONS,)),
    ("mask", _U32, (MAX_SELECTIONS,)),
)
"""One row an attest: pv_attest of csrc/api.h. Offsets are from the start of its item."""

SIGNATURE_DTYPE: Final = _dtype(
    ("fault", _U32),
    ("fault_at", _U32),
    ("form", _U32),
    ("scheme", _U32),
    ("hash", _U32),
    ("r_at", _U32),
    ("r_size", _U32),
    ("s_at", _U32),
    ("s_size", _U32),
)
"""One row a signature: pv_signature of csrc/api.h."""

PUBLIC_DTYPE: Final = _dtype(
    ("fault", _U32),
    ("fault_at", _U32),
    ("at", _U32),
    ("type", _U32),
    ("name_hash", _U32),
    ("attributes", _U32),
    ("symmetric", _U32),
    ("symmetric_bits", _U32),
    ("symmetric_mode", _U32),
    ("scheme", _U32),
    ("scheme_hash", _U32),
    ("curve", _U32),
    ("bits", _U32),
    ("exponent", _U32),
    ("x_at", _U32),
    ("x_size", _U32),
    ("y_at", _U32),
    ("y_size", _U32),
)
"""One row a public area: pv_public of csrc/api.h."""

check_layout("pv_attest", ATTEST_DTYPE)
check_layout("pv_signature", SIGNATURE_DTYPE)
check_layout("pv_public", PUBLIC_DTYPE)

QUOTE_FAULTS: Final[dict[str, int]] = {
    name.removeprefix("PV_QUOTE_").lower(): int(getattr(lib, name)) for name in dir(lib) if name.startswith("PV_QUOTE_")
}
"""Values of the ``fault`` columns by name: ``none``, ``type``, ``truncated``, …"""

SIGNATURE_TPMT: Final = int(lib.PV_SIGNATURE_TPMT)
SIGNATURE_RSA: Final = int(lib.PV_SIGNATURE_RSA)
SIGNATURE_DER: Final = int(lib.PV_SIGNATURE_DER)

BAD: Final = int(lib.PV_SIGNATURE_BAD)
GOOD: Final = int(lib.PV_SIGNATURE_GOOD)
RANGE: Final = int(lib.PV_SIGNATURE_RANGE)
UNUSABLE: Final = int(lib.PV_SIGNATURE_UNUSABLE)


def quote_fault_code(fault: int) -> str | None:
    """The findings-table code of a value of the ``fault`` columns, None for 0."""
    code = lib.pv_quote_fault_code(fault)
    return None if code == ffi.NULL else str(ffi.string(code).decode())


def _decode(function: str, kind: str, dtype: np.dtype[Any], blob: Blob, offsets: Offsets) -> npt.NDArray[Any]:
    n = count(blob, offsets)
    rows = np.zeros(n, dtype)
    status = getattr(lib, function)(
        pointer("uint8_t[]", blob, np.uint8),
        pointer("int64_t[]", offsets, np.int64),
        0,
        n,
        pointer(f"{kind}[]", rows, dtype, writable=True),
    )
    check(status, function)
    return rows


def decode_attests(blob: Blob, offsets: Offsets) -> npt.NDArray[Any]:
    """Reads TPMS_ATTEST of type QUOTE: rows of ATTEST_DTYPE of shape [n]."""
    return _decode("pv_attest_decode", "pv_attest", ATTEST_DTYPE, blob, offsets)


def decode_signatures(blob: Blob, offsets: Offsets) -> npt.NDArray[Any]:
    """Reads signatures in any of the three forms: rows of SIGNATURE_DTYPE of shape [n]."""
    return _decode("pv_signature_decode", "pv_signature", SIGNATURE_DTYPE, blob, offsets)


def decode_publics(blob: Blob, offsets: Offsets) -> npt.NDArray[Any]:
    """Reads TPMT_PUBLIC or TPM2B_PUBLIC: rows of PUBLIC_DTYPE of shape [n]."""
    return _decode("pv_public_decode", "pv_public", PUBLIC_DTYPE, blob, offsets)


def decode_values(
    blob: Blob, offsets: Offsets, attests: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.bool_], dict[str, npt.NDArray[np.uint8]]]:
    """Lays the PCR values beside quotes out by the quotes' own selections.

    Returns:
        Which rows hold exactly the selected number of values, bool of shape [n]; and by bank uint8 of shape [n, 24,
        size], zeros where nothing is laid out.

    Raises:
        UsageError: not one row of ``attests`` (ATTEST_DTYPE) an item.
    """
    n = count(blob, offsets)
    if attests.shape != (n,):
        raise UsageError("one attest an item is needed")
    values = {bank.name: np.empty((n, PCRS, bank.size), np.uint8) for bank in BANKS}
    laid_out = np.zeros(n, np.uint8)
    check(
        lib.pv_values_decode(
            pointer("uint8_t[]", blob, np.uint8),
            pointer("int64_t[]", offsets, np.int64),
            0,
            n,
            pointer("pv_attest[]", attests, ATTEST_DTYPE),
            *(pointer("uint8_t[]", values[bank.name], np.uint8, writable=True) for bank in BANKS),
            pointer("uint8_t[]", laid_out, np.uint8, writable=True),
        ),
        "pv_values_decode",
    )
    return laid_out.view(np.bool_), values


class Crypto:
    """Functions of libcrypto as the core calls them, by the names of their fields in pv_crypto."""

    def __init__(self, functions: Mapping[str, int], hashes: Mapping[str, int]) -> None:
        """``functions`` are addresses by field name, ``hashes`` what EVP_sha256() and the like return, by bank."""
        self.table = ffi.new("pv_crypto *")
        for name, field in ffi.typeof("pv_crypto").fields:
            if name != "hashes":
                setattr(self.table, name, ffi.cast(field.type, functions[name]))
        for bank in BANKS:
            self.table.hashes[bank.index] = ffi.cast("const void *", hashes[bank.name])


def verify_signatures(
    crypto: Crypto,
    signatures: tuple[Blob, Offsets, npt.NDArray[Any]],
    keys: tuple[Blob, Offsets, npt.NDArray[Any]],
    key: npt.NDArray[np.uint32],
    scheme: npt.NDArray[np.uint32],
    hash_bank: npt.NDArray[np.uint32],
    digests: npt.NDArray[np.uint8],
) -> npt.NDArray[np.uint8]:
    """Verifies the signatures of a batch in one call, without the interpreter's lock.

    Args:
        crypto: the functions to call.
        signatures: blob, offsets and rows of SIGNATURE_DTYPE of shape [n].
        keys: blob, offsets and rows of PUBLIC_DTYPE of shape [k].
        key: for each signature the number of its key, uint32 of shape [n].
        scheme: for each signature the TPM_ALG_ID to verify it by, uint32 of shape [n].
        hash_bank: for each signature the bank of the hash of its digest, uint32 of shape [n].
        digests: uint8 of shape [n, 64], each at the start of its row.

    Returns:
        For each signature BAD, GOOD, RANGE or UNUSABLE: uint8 of shape [n].

    Raises:
        UsageError: shapes that do not fit.
    """
    n, k = count(*signatures[:2]), count(*keys[:2])
    if digests.shape != (n, DIGEST_ROOM) or any(a.shape != (n,) for a in (signatures[2], key, scheme, hash_bank)):
        raise UsageError("shapes do not fit: one row of everything a signature, digests of shape [n, 64]")
    if keys[2].shape != (k,):
        raise UsageError("one row a key is needed")
    results = np.zeros(n, np.uint8)
    order = np.argsort(key, kind="stable").astype(np.uint64)
    fields = {
        "signature_blob": pointer("uint8_t[]", signatures[0], np.uint8),
        "signature_offsets": pointer("int64_t[]", signatures[1], np.int64),
        "signatures": pointer("pv_signature[]", signatures[2], SIGNATURE_DTYPE),
        "key_blob": pointer("uint8_t[]", keys[0], np.uint8),
        "key_offsets": pointer("int64_t[]", keys[1], np.int64),
        "keys": pointer("pv_public[]", keys[2], PUBLIC_DTYPE),
        "key": pointer("uint32_t[]", key, np.uint32),
        "scheme": pointer("uint32_t[]", scheme, np.uint32),
        "hash": pointer("uint32_t[]", hash_bank, np.uint32),
        "digests": pointer("uint8_t[]", digests, np.uint8),
        "n": n,
        "n_keys": k,
    }
    rows = ffi.new("pv_signed *", fields)
    check(
        lib.pv_verify_signatures(
            crypto.table,
            rows,
            pointer("uint64_t[]", order, np.uint64),
            0,
            n,
            pointer("uint8_t[]", results, np.uint8, writable=True),
        ),
        "pv_verify_signatures",
    )
    return results

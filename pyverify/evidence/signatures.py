"""Signatures over digests: by the system's libcrypto, many a call, or one at a time where there is none."""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify import _libcrypto, _native
from pyverify.errors import UsageError
from pyverify.evidence import signature_fallback, tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.keys import Keys

LIBCRYPTO: Final = "libcrypto"
PYTHON: Final = "python"
_VARIABLE: Final = "PYVERIFY_CRYPTO"


def engine(name: str | None = None) -> str:
    """Which code verifies signatures: ``libcrypto``, or ``python`` for `cryptography` and `gmssl`.

    Args:
        name: the one to use; by default what ``$PYVERIFY_CRYPTO`` says, else libcrypto where it can be loaded.

    Raises:
        UsageError: there is no engine of this name here.
    """
    wanted = name or os.environ.get(_VARIABLE) or (LIBCRYPTO if _libcrypto.load() else PYTHON)
    if wanted == PYTHON or (wanted == LIBCRYPTO and _libcrypto.load()):
        return wanted
    raise UsageError(f"no engine {wanted!r} verifies signatures here; there is {LIBCRYPTO} (OpenSSL 3) and {PYTHON}")


def verify(
    signatures: Ragged,
    rows: npt.NDArray[Any],
    keys: Keys,
    key: npt.NDArray[np.uint32],
    scheme: npt.NDArray[np.uint32],
    hash_bank: npt.NDArray[np.uint32],
    digests: npt.NDArray[np.uint8],
    *,
    by: str | None = None,
) -> npt.NDArray[np.uint8]:
    """Verifies the signatures of a batch.

    Args:
        signatures: the signatures, of which ``rows`` (``_native.SIGNATURE_DTYPE``, shape [n]) are what was read.
        rows: see above.
        keys: the keys.
        key: for each signature the number of its key: uint32 of shape [n].
        scheme: for each signature the TPM_ALG_ID to verify it by, whatever it states itself: uint32 of shape [n].
        hash_bank: for each signature the bank of the hash of its digest: uint32 of shape [n].
        digests: what was signed: uint8 of shape [n, 64], each digest at the start of its row.
        by: the engine, see :func:`engine`.

    Returns:
        ``_native.GOOD``, ``BAD``, ``RANGE`` (r or s out of range, or of the wrong length) or ``UNUSABLE`` (a scheme
        that is not the key's, or that the engine does not have): uint8 of shape [n].
    """
    library = _libcrypto.load() if engine(by) == LIBCRYPTO else None
    if library is None:
        return signature_fallback.verify(signatures, rows, keys, key, scheme, hash_bank, digests)
    results = _native.verify_signatures(
        library.functions,
        (signatures.blob, signatures.offsets, rows),
        (keys.items.blob, keys.items.offsets, keys.rows),
        key,
        scheme,
        hash_bank,
        digests,
    )
    # Some distributions build OpenSSL without SM2.
    left = np.flatnonzero((results == _native.UNUSABLE) & (scheme == tpm_names.SM2))
    if len(left):
        items = Ragged.of([signatures[i] for i in left.tolist()])
        results[left] = signature_fallback.verify(
            items, rows[left], keys, key[left], scheme[left], hash_bank[left], digests[left]
        )
    return results

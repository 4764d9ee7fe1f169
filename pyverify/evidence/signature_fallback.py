"""Signatures by `cryptography` (RSA, ECDSA) and `gmssl` (SM2), one by one: where there is no libcrypto, and in tests.

Neither is asked what it does not check: ranges of r and s are checked here, points by :mod:`pyverify.evidence.keys`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS
from pyverify.evidence import tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.curves import CURVES, SM2, Curve, library_curve
from pyverify.evidence.keys import Keys


def verify(
    signatures: Ragged,
    rows: npt.NDArray[Any],
    keys: Keys,
    key: npt.NDArray[np.uint32],
    scheme: npt.NDArray[np.uint32],
    hash_bank: npt.NDArray[np.uint32],
    digests: npt.NDArray[np.uint8],
) -> npt.NDArray[np.uint8]:
    """What ``_native.verify_signatures`` says, by other code: uint8 of shape [n]."""
    results = np.full(len(rows), _native.UNUSABLE, np.uint8)
    for i in range(len(rows)):
        k = int(key[i])
        if not rows["fault"][i] and not keys.rows["fault"][k]:
            digest = digests[i, : BANKS[hash_bank[i]].size].tobytes()
            results[i] = _verify_one(signatures[i], rows[i], keys, k, int(scheme[i]), int(hash_bank[i]), digest)
    return results


def _verify_one(
    signature: bytes, row: npt.NDArray[Any], keys: Keys, k: int, scheme: int, bank: int, digest: bytes
) -> int:
    key = keys.rows[k]
    r = signature[int(row["r_at"]) :][: int(row["r_size"])]
    s = signature[int(row["s_at"]) :][: int(row["s_size"])]
    if scheme in (tpm_names.RSASSA, tpm_names.RSAPSS):
        if key["type"] != tpm_names.RSA:
            return _native.UNUSABLE
        if len(r) != key["x_size"] or s:
            return _native.RANGE
        return _verify_rsa(r, keys.point(k)[0], int(key["exponent"]), scheme, bank, digest)
    curve = CURVES.get(int(key["curve"]))
    if scheme not in (tpm_names.ECDSA, tpm_names.SM2) or curve is None or (scheme == tpm_names.SM2) != (curve is SM2):
        return _native.UNUSABLE
    parts = int.from_bytes(r), int.from_bytes(s)
    if max(len(r), len(s)) > curve.size or not all(1 <= part < curve.n for part in parts):
        return _native.RANGE
    if curve is SM2:
        return _verify_sm2(*parts, *keys.point(k), digest)
    return _verify_ecdsa(*parts, *keys.point(k), curve, digest)


def _hash(bank: int) -> Any:
    from cryptography.hazmat.primitives import hashes

    return (hashes.SHA1, hashes.SHA256, hashes.SHA384, hashes.SHA512, hashes.SM3)[bank]()


def _verify_rsa(signature: bytes, modulus: int, exponent: int, scheme: int, bank: int, digest: bytes) -> int:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

    form: padding.AsymmetricPadding = padding.PKCS1v15()
    if scheme == tpm_names.RSAPSS:
        form = padding.PSS(padding.MGF1(_hash(bank)), padding.PSS.AUTO)
    try:
        key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
        key.verify(signature, digest, form, utils.Prehashed(_hash(bank)))
    except InvalidSignature:
        return _native.BAD
    except (ValueError, UnsupportedAlgorithm):
        return _native.UNUSABLE
    return _native.GOOD


def _verify_ecdsa(r: int, s: int, x: int, y: int, curve: Curve, digest: bytes) -> int:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    group = library_curve(curve)
    if group is None:
        return _native.UNUSABLE
    # ECDSA takes the digest as a number: only its length tells one hash from another.
    length: Any = {20: hashes.SHA1, 32: hashes.SHA256, 48: hashes.SHA384, 64: hashes.SHA512}[len(digest)]
    try:
        key = ec.EllipticCurvePublicNumbers(x, y, group).public_key()
        key.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(length())))
    except InvalidSignature:
        return _native.BAD
    except ValueError:
        return _native.UNUSABLE
    return _native.GOOD


def _verify_sm2(r: int, s: int, x: int, y: int, digest: bytes) -> int:
    from gmssl.sm2 import CryptSM2

    if (r + s) % SM2.n == 0:
        return _native.RANGE
    if len(digest) != 32:
        return _native.UNUSABLE
    checker = CryptSM2(private_key="", public_key="")
    checker.public_key = f"{x:064x}{y:064x}"  # its constructor strips zeros and fours off a key that starts with 04
    try:
        good = checker.verify(f"{r:064x}{s:064x}", digest)
    except (TypeError, ValueError):  # the sum of the two points is infinity, which gmssl does not know
        good = False
    return _native.GOOD if good else _native.BAD

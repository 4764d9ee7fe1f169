"""SM2 with ZA: signatures over SM3(ZA || message), as certificates and some quotes carry them (SPEC section 8.3)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BY_NAME
from pyverify.evidence import signatures, tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.curves import SM2
from pyverify.evidence.keys import Keys

USER_ID: Final = b"1234567812345678"  # GM/T 0009; no other is accepted
_SM3: Final = BY_NAME["sm3_256"]


class Sm2Mode(StrEnum):
    """What an SM2 key signs: the digest of the attest, as TPMs do, or SM3(ZA || attest) (GB/T 32918.2)."""

    DIGEST = "digest"
    ZA = "za"


def za(x: int, y: int) -> bytes:
    """ZA of a key: SM3 over the user's id, the curve and the point (GB/T 32918.2 section 5.5)."""
    numbers = (SM2.p - 3, SM2.b, SM2.gx, SM2.gy, x, y)
    item = (8 * len(USER_ID)).to_bytes(2) + USER_ID + b"".join(number.to_bytes(SM2.size) for number in numbers)
    return bytes(_sm3([item])[0])


def za_digests(points: list[tuple[int, int]], messages: list[bytes]) -> npt.NDArray[np.uint8]:
    """SM3(ZA || message) of each message, which the key of its point signs: uint8 of shape [n, 32]."""
    return _sm3([za(*point) + message for point, message in zip(points, messages, strict=True)])


def verify_with_za(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a signature, in DER, is that of a message by an SM2 key, in any form that :meth:`Keys.of` reads."""
    keys, column = Keys.of(Ragged.of([public])), Ragged.of([signature])
    rows = _native.decode_signatures(column.blob, column.offsets)
    if keys.rows["fault"][0] or keys.rows["curve"][0] != SM2.id or rows["form"][0] != _native.SIGNATURE_DER:
        return False
    digest = np.zeros((1, _native.DIGEST_ROOM), np.uint8)
    digest[:, : _SM3.size] = za_digests([keys.point(0)], [message])
    scheme, bank = np.array([tpm_names.SM2], np.uint32), np.array([_SM3.index], np.uint32)
    result = signatures.verify(column, rows, keys, np.zeros(1, np.uint32), scheme, bank, digest)
    return bool(result[0] == _native.GOOD)


def _sm3(items: list[bytes]) -> npt.NDArray[np.uint8]:
    column = Ragged.of(list(items))
    return _native.hash_messages(_SM3.index, column.blob, column.offsets)

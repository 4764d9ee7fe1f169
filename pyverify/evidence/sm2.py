"""SM2 signatures with ZA, as certificates carry them (GB/T 32918, SPEC section 8.3).

``cryptography`` cannot load SM2 keys. The arithmetic is gmssl's; ranges and the point are checked here, which gmssl
does not do.
"""

from __future__ import annotations

import hashlib
from typing import Final

# sm2p256v1 (SPEC section 8.3)
P: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A: Final = P - 3
B: Final = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G: Final = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
USER_ID: Final = b"1234567812345678"  # GM/T 0009; no other is accepted


def is_on_curve(x: int, y: int) -> bool:
    """Whether the point is on sm2p256v1; the point at infinity has no coordinates."""
    return 0 <= x < P and 0 <= y < P and (y * y - (x * x * x + A * x + B)) % P == 0


def za(x: int, y: int) -> bytes:
    """ZA of a public key: SM3 over the user id, the curve and the key."""
    numbers = (A, B, *G, x, y)
    fields = b"".join(number.to_bytes(32, "big") for number in numbers)
    return hashlib.new("sm3", (8 * len(USER_ID)).to_bytes(2, "big") + USER_ID + fields).digest()


def verify_with_za(x: int, y: int, r: int, s: int, message: bytes) -> bool:
    """Whether (r, s) is the signature of a message by the key (x, y), with e = SM3(ZA || message)."""
    return verify_digest(x, y, r, s, hashlib.new("sm3", za(x, y) + message).digest())


def verify_digest(x: int, y: int, r: int, s: int, digest: bytes) -> bool:
    """Whether (r, s) is the signature by the key (x, y) with e = the digest itself."""
    from gmssl.sm2 import CryptSM2

    if not (1 <= r < N and 1 <= s < N and (r + s) % N and is_on_curve(x, y)):
        return False
    verifier = CryptSM2(private_key="", public_key="")
    verifier.public_key = f"{x:064x}{y:064x}"  # its constructor strips zeros and fours off a key that starts with 04
    try:
        return bool(verifier.verify(f"{r:064x}{s:064x}", digest))
    except (TypeError, ValueError):  # a sum of points that is the point at infinity
        return False

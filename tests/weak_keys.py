"""RSA keys as the library of CVE-2017-15361 made them, by the form of its primes alone (Nemec et al., CCS 2017)."""

from __future__ import annotations

import math
import random
import struct
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa
from quote_data import rsa_public
from tpm_in_python import Key

PRIMES = [p for p in range(2, 702) if all(p % d for d in range(2, math.isqrt(p) + 1))]
EXPONENT = 65537


def is_prime(number: int, chance: random.Random) -> bool:
    """Miller and Rabin's test."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(12):
        value = pow(chance.randrange(2, number - 1), odd, number)
        if value in (1, number - 1):
            continue
        if not any((value := value * value % number) == number - 1 for _ in range(twos - 1)):
            return False
    return True


def weak_prime(chance: random.Random) -> int:
    """A prime of 1024 bits, k * M + (65537 ** a mod M)."""
    product = math.prod(PRIMES)
    while True:
        rest = pow(EXPONENT, chance.randrange(1 << 64), product)
        k = chance.randrange((3 << 1022) // product, (1 << 1024) // product)
        number = k * product + rest
        if number.bit_length() == 1024 and (number - 1) % EXPONENT and is_prime(number, chance):
            return number


@cache
def weak_key(kind: str = "rsassa", seed: int = 15361) -> Key:
    """An attestation key of 2048 bits."""
    chance = random.Random(seed)
    p, q = weak_prime(chance), weak_prime(chance)
    d = pow(EXPONENT, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(EXPONENT, p * q)
    rest = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    private = rsa.RSAPrivateNumbers(p, q, d, *rest, public).private_key()
    scheme = struct.pack(">HH", {"rsassa": 0x14, "rsapss": 0x16}[kind], 0xB)
    return Key(kind, rsa_public((p * q).to_bytes(256), scheme=scheme), private)

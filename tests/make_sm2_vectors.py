"""Makes tests/data/sm2_vectors.json: SM2 signatures over digests at the edges of range, curve and encoding.

In the spirit of Project Wycheproof, which has none for SM2. `python tests/make_sm2_vectors.py`, sent there, gives the
same every time. The arithmetic is the plainest there is and shares nothing with the package; what is
expected here must be what libcrypto and gmssl say, where they are defined.
"""

from __future__ import annotations

import hashlib
import json
import sys

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P) % P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def multiply(k, point):
    total = None
    while k:
        if k & 1:
            total = add(total, point)
        point = add(point, point)
        k >>= 1
    return total


def sign(d, e, k):
    r = (e + multiply(k, G)[0]) % N
    s = pow(1 + d, -1, N) * (k - r * d) % N
    assert r and s and r + k != N
    return r, s


def number(*words):
    """A number below n that anybody gets again."""
    return int.from_bytes(hashlib.sha512(repr(words).encode()).digest()) % (N - 1) + 1


def raw(value, size=32):
    return value.to_bytes(size).hex()


def key_from_04():
    """A private key whose x begins with 04: gmssl takes that for the mark of a point, and strips zeros and fours."""
    i = 0
    while multiply(number("04", i), G)[0] >> 248 != 4:
        i += 1
    return number("04", i)


def vectors():
    d = number("key")
    public = multiply(d, G)
    e = number("digest")
    r, s = sign(d, e, number("k"))
    rows = []

    def row(comment, expected, *, e=e, r=raw(r), s=raw(s), key=public, gmssl=True, digest=None):  # noqa: B008
        rows.append(
            {
                "comment": comment,
                "x": raw(key[0]) if isinstance(key[0], int) else key[0],
                "y": raw(key[1]) if isinstance(key[1], int) else key[1],
                "digest": raw(e) if digest is None else digest,
                "r": r,
                "s": s,
                "expected": expected,
                "gmssl": gmssl,
            }
        )

    row("good", "good")
    for i in range(8):
        key, digest = number("key", i), number("digest", i)
        a, b = sign(key, digest, number("k", i))
        row(f"good, key {i}", "good", e=digest, r=raw(a), s=raw(b), key=multiply(key, G))
    for words, digest in (("zero", 0), ("n", N), ("all ones", (1 << 256) - 1), ("one", 1)):
        a, b = sign(d, digest, number("k", words))
        row(f"digest {words}", "good", e=digest, r=raw(a), s=raw(b))
    edges = (("private key 1", 1, True), ("private key n - 2", N - 2, True), ("x begins with 04", key_from_04(), False))
    for words, key, gmssl in edges:
        a, b = sign(key, e, number("k"))
        row(words, "good", r=raw(a), s=raw(b), key=multiply(key, G), gmssl=gmssl)
    # r and s with a zero byte in front: in full width, and without it
    for name in ("r", "s"):
        i = 0
        while True:
            a, b = sign(d, e, number("short", name, i))
            if (a if name == "r" else b) >> 248 == 0:
                break
            i += 1
        row(f"short {name}, padded", "good", r=raw(a), s=raw(b))
        row(f"short {name}, not padded", "good", r=raw(a).removeprefix("00"), s=raw(b).removeprefix("00"))
    row("r of 33 bytes", "range", r="00" + raw(r), gmssl=False)
    row("s of 33 bytes", "range", s="00" + raw(s), gmssl=False)
    for words, value in (("0", 0), ("n", N), ("n + 1", N + 1), ("p", P), ("2^256 - 1", (1 << 256) - 1)):
        row(f"r is {words}", "range", r=raw(value), gmssl=False)
        row(f"s is {words}", "range", s=raw(value), gmssl=False)
    row("r and s are 0", "range", r=raw(0), s=raw(0), gmssl=False)
    row("r + s is n", "range", r=raw(r), s=raw(N - r), gmssl=False)
    row("r is 1", "bad", r=raw(1))
    row("s is n - 1", "bad", s=raw(N - 1))
    row("s is n - s", "bad", s=raw(N - s))
    row("r is n - r", "bad", r=raw(N - r))
    row("r and s swapped", "bad", r=raw(s), s=raw(r))
    row("digest changed", "bad", e=e ^ 1)
    row("digest of 31 bytes and a zero", "bad", digest=raw(e)[:62] + "00")
    row("negated key", "bad", key=(public[0], P - public[1]))
    row("another key", "bad", key=multiply(number("other"), G))
    # points that meet: [s]G + [t]P is infinity, or the sum of two equal points
    t = number("t")
    s1 = -t * d % N
    row("sum is infinity", "bad", r=raw((t - s1) % N), s=raw(s1), gmssl=False)
    s2 = t * d % N
    r2 = (t - s2) % N
    row("sum of equal points", "good", e=(r2 - multiply(2 * s2 % N, G)[0]) % N, r=raw(r2), s=raw(s2), gmssl=False)
    row("off the curve", "key", key=(public[0], public[1] ^ 1), gmssl=False)
    row("x above p", "key", key=(raw((1 << 256) - 1), raw(public[1])), gmssl=False)
    row("zero point", "key", key=(0, 0), gmssl=False)
    p256 = (  # the base point of P-256
        0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    )
    row("point of P-256", "key", key=p256, gmssl=False)
    return rows


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=0)
    print()

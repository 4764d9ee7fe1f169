"""Bench ``quotes``: signatures of every kind of key, one thread; and whole quotes, from bytes to proof."""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from bench.libraries import library, pointer
from bench.plan import Plan
from bench.results import DifferentResultsError, Line, Note
from bench.timing import interleaved
from pyverify import _libcrypto, _native
from pyverify.algorithms import BY_NAME
from pyverify.appraise.proof import prove
from pyverify.evidence import signatures, tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.curves import SM2
from pyverify.evidence.keys import Keys
from pyverify.evidence.quote import Quotes

_BENCH: Final = "quotes"
_KEYS: Final = 32
_EACH: Final = 32  # signatures a key
_SLOW: Final = 8  # signatures that gmssl is timed over
_SM2_SPKI: Final = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d03420004")  # SPEC 11.3

# Case, scheme, hash of the signature.
_KINDS: Final = (
    ("rsassa2048", tpm_names.RSASSA, "sha256"),
    ("rsapss2048", tpm_names.RSAPSS, "sha256"),
    ("ecdsa_p256", tpm_names.ECDSA, "sha256"),
    ("ecdsa_p384", tpm_names.ECDSA, "sha384"),
    ("sm2", tpm_names.SM2, "sm3_256"),
)


@dataclass(frozen=True)
class Signed:
    """Quotes of one kind of key: attests, plain signatures over them, TPM public areas and bare keys."""

    scheme: int
    hash_name: str
    messages: list[bytes]
    sigs: list[bytes]
    publics: list[bytes]
    bare: list[bytes]
    key: list[int]

    @property
    def digests(self) -> list[bytes]:
        """What the signatures are over."""
        name = "sm3" if self.hash_name == "sm3_256" else self.hash_name
        return [hashlib.new(name, message).digest() for message in self.messages]


def _attest(bank: str, values: bytes) -> bytes:
    digest = hashlib.new("sm3" if bank == "sm3_256" else bank, values).digest()
    signer = b"\0\x22\0\x0b" + bytes(32)
    chosen = struct.pack(">IHB", 1, BY_NAME["sha256"].id, 3) + b"\xff\0\0"
    head = bytes.fromhex("ff5443478018") + signer + b"\0\x14" + secrets.token_bytes(20) + bytes(16) + b"\1" + bytes(8)
    return head + chosen + struct.pack(">H", len(digest)) + digest


def _make(scheme: int, hash_name: str, keys: int, each: int) -> Signed:
    """Keys, and quotes of eight PCRs signed by each."""
    messages, sigs, publics, bare = [], [], [], []
    for _ in range(keys):
        sign, public, spki = _key(scheme, hash_name)
        publics.append(public)
        bare.append(spki)
        for _ in range(each):
            messages.append(_attest(hash_name, bytes(8 * 32)))
            sigs.append(sign(messages[-1]))
    return Signed(scheme, hash_name, messages, sigs, publics, bare, [i // each for i in range(keys * each)])


def _key(scheme: int, hash_name: str) -> tuple[Callable[[bytes], bytes], bytes, bytes]:
    """A function that signs, the TPMT_PUBLIC and the SubjectPublicKeyInfo of a new key."""
    kind: Any = hashes.SHA384() if hash_name == "sha384" else hashes.SHA256()
    form = struct.pack(">HH", scheme, BY_NAME[hash_name].id)
    if scheme == tpm_names.SM2:
        return _sm2_key(form)
    if scheme == tpm_names.ECDSA:
        curve = ec.SECP384R1() if hash_name == "sha384" else ec.SECP256R1()
        private = ec.generate_private_key(curve)
        point, size = private.public_key().public_numbers(), curve.key_size // 8
        public = _ecc(form, 4 if size == 48 else 3, point.x.to_bytes(size), point.y.to_bytes(size))
        return partial(_sign_ecdsa, private, kind), public, _spki(private.public_key())
    pad: Any = padding.PSS(padding.MGF1(kind), 32) if scheme == tpm_names.RSAPSS else padding.PKCS1v15()
    rsa_key = rsa.generate_private_key(65537, 2048)
    modulus = rsa_key.public_key().public_numbers().n.to_bytes(256)
    head = struct.pack(">HHIHH", 1, 0xB, 0x50072, 0, 0x10)
    public = head + form + struct.pack(">HIH", 2048, 0, 256) + modulus
    return lambda message: rsa_key.sign(message, pad, kind), public, _spki(rsa_key.public_key())


def _sign_ecdsa(private: ec.EllipticCurvePrivateKey, kind: Any, message: bytes) -> bytes:
    return private.sign(message, ec.ECDSA(kind))


def _sm2_key(form: bytes) -> tuple[Callable[[bytes], bytes], bytes, bytes]:
    from gmssl.sm2 import CryptSM2

    d = secrets.randbelow(SM2.n - 2) + 1
    empty = CryptSM2(private_key="", public_key="")
    point = empty._kg(d, f"{SM2.gx:064x}{SM2.gy:064x}")  # the package has no public way to a public key
    signer = CryptSM2(private_key=f"{d:064x}", public_key="")

    def sign(message: bytes) -> bytes:
        pair = signer.sign(hashlib.new("sm3", message).digest(), f"{secrets.randbelow(SM2.n - 1) + 1:064x}")
        return utils.encode_dss_signature(int(pair[:64], 16), int(pair[64:], 16))

    x, y = bytes.fromhex(point[:64]), bytes.fromhex(point[64:])
    return sign, _ecc(form, SM2.id, x, y), _SM2_SPKI + x + y


def _ecc(form: bytes, curve: int, x: bytes, y: bytes) -> bytes:
    head = struct.pack(">HHIHH", 0x23, 0xB, 0x50072, 0, 0x10)
    return head + form + struct.pack(">HHH", curve, 0x10, len(x)) + x + struct.pack(">H", len(y)) + y


def _spki(key: Any) -> bytes:
    data: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


class _Runs:
    """The same signatures verified in each way; every run returns how many are good."""

    def __init__(self, signed: Signed) -> None:
        self.signed, self.n = signed, len(signed.sigs)
        self.sigs, self.bare = Ragged.of(list(signed.sigs)), Ragged.of(list(signed.bare))
        self.rows = _native.decode_signatures(self.sigs.blob, self.sigs.offsets)
        self.keys = Keys.of(Ragged.of(list(signed.publics)))
        self.key = np.array(signed.key, np.uint32)
        self.scheme = np.full(self.n, signed.scheme, np.uint32)
        self.bank = np.full(self.n, BY_NAME[signed.hash_name].index, np.uint32)
        self.digests = np.zeros((self.n, 64), np.uint8)
        for i, digest in enumerate(signed.digests):
            self.digests[i, : len(digest)] = np.frombuffer(digest, np.uint8)
        self.loaded = [] if signed.scheme == tpm_names.SM2 else [load_der_public_key(der) for der in signed.bare]
        self.messages = Ragged.of(list(signed.messages))
        self.public_column = Ragged.of([signed.publics[k] for k in signed.key])
        self.values = Ragged.of([bytes(8 * 32)] * self.n)

    def ours(self) -> int:
        """One call to the core, keys built from their numbers."""
        arguments = (self.sigs, self.rows, self.keys, self.key, self.scheme, self.bank, self.digests)
        return int(np.count_nonzero(signatures.verify(*arguments, by="libcrypto") == _native.GOOD))

    def prove(self) -> int:
        """Whole quotes: read, hashed, verified, values laid out and matched."""
        quotes = Quotes.of(self.messages, self.sigs, self.public_column, self.values)
        return int(np.count_nonzero(prove(quotes, by="libcrypto").sound))

    def openssl(self) -> int:
        """The loop in C."""
        return int(
            library("openssl_verify").openssl_verify(
                self.signed.scheme,
                BY_NAME[self.signed.hash_name].size,
                pointer("uint8_t[]", self.bare.blob),
                pointer("int64_t[]", self.bare.offsets),
                pointer("uint32_t[]", self.key),
                pointer("uint8_t[]", self.sigs.blob),
                pointer("int64_t[]", self.sigs.offsets),
                pointer("uint8_t[]", self.digests),
                self.n,
            )
        )

    def cryptography(self) -> int:
        """A loop in Python over key objects that are loaded already."""
        kind: Any = hashes.SHA384() if self.signed.hash_name == "sha384" else hashes.SHA256()
        prehashed = utils.Prehashed(kind)
        form: tuple[Any, ...] = (ec.ECDSA(prehashed),)
        if self.signed.scheme == tpm_names.RSASSA:
            form = (padding.PKCS1v15(), prehashed)
        elif self.signed.scheme == tpm_names.RSAPSS:
            form = (padding.PSS(padding.MGF1(kind), padding.PSS.AUTO), prehashed)
        good = 0
        for sig, digest, key in zip(self.signed.sigs, self.signed.digests, self.signed.key, strict=True):
            loaded: Any = self.loaded[key]
            try:
                loaded.verify(sig, digest, *form)
                good += 1
            except InvalidSignature:
                pass
        return good

    def gmssl(self) -> int:
        """A loop in Python over a few of them."""
        from gmssl.sm2 import CryptSM2

        good = 0
        for i in range(_SLOW):
            x, y = self.keys.point(self.signed.key[i])
            r, s = utils.decode_dss_signature(self.signed.sigs[i])
            checker = CryptSM2(private_key="", public_key="")
            checker.public_key = f"{x:064x}{y:064x}"
            good += bool(checker.verify(f"{r:064x}{s:064x}", self.signed.digests[i]))
        return good


def quotes(plan: Plan) -> Iterator[Line | Note]:
    """All figures of this bench."""
    loaded = _libcrypto.load()
    if loaded is None:
        yield Note(_BENCH, "there is no libcrypto of OpenSSL 3: left out")
        return
    has_peer = library("openssl_verify") is not None
    if not has_peer:
        yield Note(_BENCH, "openssl is not installed, or what it takes to compile for it: left out")
    keys = 4 if plan.quick else _KEYS
    for name, scheme, hash_name in _KINDS:
        runs = _Runs(_make(scheme, hash_name, keys, 4 if plan.quick else _EACH))
        alone = [i for i in range(runs.n) if i == 0 or runs.signed.key[i] != runs.signed.key[i - 1]]
        yield from _measured(plan, f"{hash_name}-{name}", runs, has_peer=has_peer)
        yield from _measured(plan, f"{hash_name}-{name}-own-keys", _Runs(_only(runs.signed, alone)), has_peer=has_peer)


def _only(signed: Signed, chosen: list[int]) -> Signed:
    """These signatures alone."""
    return Signed(
        signed.scheme,
        signed.hash_name,
        [signed.messages[i] for i in chosen],
        [signed.sigs[i] for i in chosen],
        signed.publics,
        signed.bare,
        [signed.key[i] for i in chosen],
    )


def _measured(plan: Plan, case: str, runs: _Runs, *, has_peer: bool) -> Iterator[Line]:
    ways: dict[str, tuple[Callable[[], int], int]] = {"": (runs.ours, runs.n), "prove": (runs.prove, runs.n)}
    if has_peer:
        ways["openssl"] = (runs.openssl, runs.n)
    if runs.signed.scheme != tpm_names.SM2:
        ways["cryptography"] = (runs.cryptography, runs.n)
    elif runs.n >= _SLOW:
        ways["gmssl"] = (runs.gmssl, _SLOW)
    for name, (run, n) in ways.items():
        if run() != n:
            raise DifferentResultsError(f"{name or 'the core'} finds signatures bad that are good")
    taken = interleaved({name: run for name, (run, _) in ways.items()}, plan.samples)
    each = {name: taken[name] / ways[name][1] for name in ways}
    ours, whole = each.pop(""), each.pop("prove")
    yield Line(_BENCH, case, "", 1, 1 / ours, "verifies/s")
    for name, theirs in each.items():
        yield Line(_BENCH, case, "", 1, 1 / ours, "verifies/s", name, theirs / ours)
    yield Line(_BENCH, f"{case}-prove", "", 1, 1 / whole, "quotes/s")

"""Bench ``quotes``: signatures of every kind of key, one thread; and whole quotes, from bytes to proof."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from cryptography.hazmat.primitives.serialization import load_der_public_key

from bench.libraries import library, pointer
from bench.plan import Plan
from bench.quote_jobs import jobs
from bench.quoted_fleet import attest
from bench.results import DifferentResultsError, Line, Note
from bench.signers import KINDS, Kind, digest, signers
from bench.timing import interleaved
from pyverify import _libcrypto, _native
from pyverify.algorithms import BY_NAME
from pyverify.appraise.proof import prove
from pyverify.evidence import signatures, tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.keys import Keys
from pyverify.evidence.quote import Quotes

_BENCH: Final = "quotes"
_KEYS: Final = 32
_EACH: Final = 32  # signatures a key
_SLOW: Final = 8  # signatures that gmssl is timed over
_VALUES: Final = bytes(8 * 32)


@dataclass(frozen=True)
class Signed:
    """Quotes of one kind of key: attests, plain signatures over them, TPM public areas and bare keys."""

    kind: Kind
    messages: list[bytes]
    sigs: list[bytes]
    publics: list[bytes]
    bare: list[bytes]
    key: list[int]

    @property
    def digests(self) -> list[bytes]:
        """What the signatures are over."""
        return [digest(self.kind.hash_name, message) for message in self.messages]


def _make(kind: Kind, keys: int, each: int) -> Signed:
    """Keys, and quotes of eight PCRs signed by each."""
    makers = signers(kind, keys)
    messages = [attest(kind.hash_name, "sha256", _VALUES, secrets.token_bytes(20)) for _ in range(keys * each)]
    key = [i // each for i in range(keys * each)]
    sigs = [makers[k].sign(message) for k, message in zip(key, messages, strict=True)]
    publics, bare = [maker.public for maker in makers], [maker.spki for maker in makers]
    return Signed(kind, messages, sigs, publics, bare, key)


class _Runs:
    """The same signatures verified in each way; every run returns how many are good."""

    def __init__(self, signed: Signed) -> None:
        self.signed, self.n = signed, len(signed.sigs)
        self.sigs, self.bare = Ragged.of(list(signed.sigs)), Ragged.of(list(signed.bare))
        self.rows = _native.decode_signatures(self.sigs.blob, self.sigs.offsets)
        self.keys = Keys.of(Ragged.of(list(signed.publics)))
        self.key = np.array(signed.key, np.uint32)
        self.scheme = np.full(self.n, signed.kind.scheme, np.uint32)
        self.bank = np.full(self.n, BY_NAME[signed.kind.hash_name].index, np.uint32)
        self.digests = np.zeros((self.n, 64), np.uint8)
        for i, one in enumerate(signed.digests):
            self.digests[i, : len(one)] = np.frombuffer(one, np.uint8)
        self.loaded = [] if signed.kind.scheme == tpm_names.SM2 else [load_der_public_key(der) for der in signed.bare]
        self.messages = Ragged.of(list(signed.messages))
        self.public_column = Ragged.of([signed.publics[k] for k in signed.key])
        self.values = Ragged.of([_VALUES] * self.n)

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
                self.signed.kind.scheme,
                BY_NAME[self.signed.kind.hash_name].size,
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
        kind: Any = hashes.SHA384() if self.signed.kind.hash_name == "sha384" else hashes.SHA256()
        prehashed = utils.Prehashed(kind)
        form: tuple[Any, ...] = (ec.ECDSA(prehashed),)
        if self.signed.kind.scheme == tpm_names.RSASSA:
            form = (padding.PKCS1v15(), prehashed)
        elif self.signed.kind.scheme == tpm_names.RSAPSS:
            form = (padding.PSS(padding.MGF1(kind), padding.PSS.AUTO), prehashed)
        good = 0
        for sig, signed, key in zip(self.signed.sigs, self.signed.digests, self.signed.key, strict=True):
            loaded: Any = self.loaded[key]
            try:
                loaded.verify(sig, signed, *form)
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
    for kind in KINDS:
        runs = _Runs(_make(kind, keys, 4 if plan.quick else _EACH))
        alone = [i for i in range(runs.n) if i == 0 or runs.signed.key[i] != runs.signed.key[i - 1]]
        case = f"{kind.hash_name}-{kind.name}"
        yield from _measured(plan, case, runs, has_peer=has_peer)
        yield from _measured(plan, f"{case}-own-keys", _Runs(_only(runs.signed, alone)), has_peer=has_peer)
    yield from jobs(plan)


def _only(signed: Signed, chosen: list[int]) -> Signed:
    """These signatures alone."""
    return Signed(
        signed.kind,
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
    if runs.signed.kind.scheme != tpm_names.SM2:
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

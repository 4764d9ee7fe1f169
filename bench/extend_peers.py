"""Others that extend the same chains: Python libraries, and C libraries through ``bench/c``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from bench.chains import Bytes, Chains
from bench.libraries import library, pointer
from bench.results import DifferentResultsError
from bench.templates import hash_name
from pyverify.algorithms import BANKS

PEERS: Final = ("hashlib", "cryptography", "gmssl", "openssl", "openssl_evp", "ipsec_mb")
_ENOUGH: Final = 32_768
_PYTHON: Final = (1024, 16)
"""Where there are more extends than enough for peers in Python: so many chains, of so many digests."""
_GMSSL: Final = (4, 4)
"""Pure Python takes about half a millisecond an extend."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer and the chains it extends: all of the case, or the first few of a slow peer."""

    name: str
    chains: Chains
    run: Callable[[], Bytes]
    in_c: Any = None
    """The function of ``bench/c`` that it calls, where its arguments are those of ``openssl_extend``."""

    def check(self) -> None:
        """That it comes to the same values as the core."""
        if not np.array_equal(self.run(), self.chains.extended()):
            raise DifferentResultsError(f"{self.name} comes to other values")


def peers_of(chains: Chains, names: tuple[str, ...] = PEERS) -> list[Peer]:
    """Those peers that are here and know the bank, once their values are found to be equal to ours."""
    found = [peer for peer in _here(chains) if peer.name in names]
    for peer in found:
        peer.check()
    return found


def missing() -> list[str]:
    """What is not installed, to be told."""
    here = {
        "cryptography": find_spec("cryptography") is not None,
        "gmssl": find_spec("gmssl") is not None,
        "openssl": library("openssl") is not None,
        "ipsec_mb": library("ipsec_mb") is not None,
    }
    return [name for name, is_here in here.items() if not is_here]


def _here(chains: Chains) -> Iterator[Peer]:
    bank = BANKS[chains.bank].name
    some = chains if chains.extends <= _ENOUGH else chains.head(*_PYTHON)
    if hash_name(bank) in hashlib.algorithms_available:
        yield Peer("hashlib", some, partial(_hashlib, some))
    if find_spec("cryptography") is not None:
        yield Peer("cryptography", some, partial(_cryptography, some))
    if bank == "sm3_256" and find_spec("gmssl") is not None:
        few = chains.head(*_GMSSL)
        yield Peer("gmssl", few, partial(_gmssl, few))
    openssl = library("openssl")
    if openssl is not None:
        # Where there are no low-level functions (SM3), EVP is all there is.
        low = openssl.openssl_extend if bank != "sm3_256" else openssl.openssl_evp_extend
        yield Peer("openssl", chains, partial(_in_c, low, chains), low)
        if bank != "sm3_256":
            yield Peer("openssl_evp", chains, partial(_in_c, openssl.openssl_evp_extend, chains))
    ipsec_mb = library("ipsec_mb")
    if ipsec_mb is not None and bank != "sm3_256":
        yield Peer("ipsec_mb", chains, partial(_ipsec_mb, ipsec_mb, chains))


def _hashlib(chains: Chains) -> Bytes:
    bank = BANKS[chains.bank].name
    make: Callable[[bytes], Any] = getattr(hashlib, bank, partial(hashlib.new, hash_name(bank)))
    values = []
    for chain in chains.as_bytes:
        value = bytes(chains.size)
        for digest in chain:
            value = make(value + digest).digest()
        values.append(value)
    return chains.from_bytes(values)


def _cryptography(chains: Chains) -> Bytes:
    hashes = import_module("cryptography.hazmat.primitives.hashes")
    name = BANKS[chains.bank].name
    algorithm = getattr(hashes, "SM3" if name == "sm3_256" else name.upper())()
    context = hashes.Hash
    values = []
    for chain in chains.as_bytes:
        value = bytes(chains.size)
        for digest in chain:
            hashing = context(algorithm)
            hashing.update(value + digest)
            value = hashing.finalize()
        values.append(value)
    return chains.from_bytes(values)


def _gmssl(chains: Chains) -> Bytes:
    sm3, func = import_module("gmssl.sm3"), import_module("gmssl.func")
    values = []
    for chain in chains.as_bytes:
        value = bytes(chains.size)
        for digest in chain:
            value = bytes.fromhex(sm3.sm3_hash(func.bytes_to_list(value + digest)))
        values.append(value)
    return chains.from_bytes(values)


def _in_c(extend: Callable[..., int], chains: Chains) -> Bytes:
    values = chains.start()
    arguments = pointer("uint8_t[]", chains.digests), pointer("uint64_t[]", chains.chain_at)
    if not extend(chains.bank, *arguments, len(chains), pointer("uint8_t[]", values)):
        raise RuntimeError("the peer failed")
    return values


def _ipsec_mb(ipsec_mb: Any, chains: Chains) -> Bytes:
    values = chains.start()
    arguments = (
        pointer("uint8_t[]", chains.digests),
        pointer("uint64_t[]", chains.chain_at),
        pointer("uint64_t[]", chains.longest_first),
    )
    if not ipsec_mb.ipsec_mb_extend(chains.bank, *arguments, len(chains), pointer("uint8_t[]", values)):
        raise RuntimeError("the peer failed")
    return values

"""The known-answer vectors of SPEC 11: per bank, and a whole log. Made by hashlib, OpenSSL and gmssl, not by this
package."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import ALGORITHMS, DATA, hash_of
from gmssl import func, sm3

from pyverify import EventLog, _native
from pyverify.algorithms import BY_NAME

VECTORS = json.loads((DATA / "kat.json").read_text())

SEPARATORS = {"sep0": bytes(4), "sepF": b"\xff" * 4, "sep1": b"\1\0\0\0"}

# SPEC 11.2
KAT_LOG = {
    "sha256": {
        0: "6ef88caea18efa1870d184b77fcacdda9e3e48f4e6138baf167c9c9091aea5e1",
        1: "1e821c510eb0013cc4ac309f3ff2bae2f2e515a8a12c54ead3592d7f7158495d",
        7: "3a765fab0c4555e805964d8c75231894f45c5a6f2161738cf157015250a3e624",
        8: "454de1d6d35677792b14873e19c8cf3ea720ad8cdcc9cd22a6621b61bc163f8d",
    },
    "sm3_256": {
        0: "0d19508364a5c969a4fe39062f90a39459a7d8f0546b351e1335a937d740b320",
        1: "864a0d645835fcf7f8fba5fbe9586d09bdc947a33e1176a2c83ea0468129baad",
        7: "8bd0eff2973f30c9eafaa050196124ff79a4459b22291f2f6583992f037211ef",
        8: "0f78fdf1d1af26ffba72c3e268ebed17bc32fb2063dbc0db78b911bd5051fa6a",
    },
}
# Readers that ignore the locality, or extend the zero digest of an EV_NO_ACTION event, get these for PCR 0.
KAT_LOG_WRONG = {
    "029564541f665fbf13d461bfb7f5d683bb949bf69d0b91f6ce2a1acf09b7087a",
    "419ea2ad5aeabce8b6e289a0826e03fc5b2ea9f23fe9ef465128b680121fb02c",
}


def _extend(bank: str, start: bytes, *digests: bytes) -> str:
    algorithm = BY_NAME[bank]
    values = np.frombuffer(bytearray(start), np.uint8).reshape(1, algorithm.size)
    chain = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, algorithm.size)
    _native.extend(algorithm.index, chain, np.array([0, len(digests)], np.uint64), values)
    return values.tobytes().hex()


@pytest.mark.parametrize("bank", ALGORITHMS)
def test_extends(bank):
    size = ALGORITHMS[bank][1]
    known = VECTORS["sm3" if bank == "sm3_256" else bank]
    zeros, ones = bytes(size), b"\xff" * size
    separators = {name: hash_of(bank, data) for name, data in SEPARATORS.items()}
    for name, digest in separators.items():
        assert _extend(bank, zeros, digest) == known[f"PCR zeros+{name}"]
    for locality in (3, 4):
        start = bytes(size - 1) + bytes([locality])
        assert _extend(bank, start, separators["sep0"]) == known[f"PCR0 loc{locality}+sep0"]
    assert _extend(bank, ones, separators["sep0"]) == known["PCR ff+sep0"]
    assert _extend(bank, zeros, zeros) == known["PCR zeros+ext(zeros)"]
    assert _extend(bank, zeros, ones) == known["IMA violation PCR10 zeros+ext(ff)"]
    calling = bytes.fromhex(known["H(Calling EFI Application from Boot Option)"])
    assert _extend(bank, zeros, calling, separators["sep0"]) == known["PCR4 zeros+calling+sep0"]
    action = [bytes.fromhex(known[f"H(EBS {word})"]) for word in ("invocation", "success")]
    assert _extend(bank, zeros, separators["sep0"], *action) == known["PCR5 zeros+sep0+inv+succ"]


@pytest.mark.parametrize("bank", ALGORITHMS)
def test_hashes(bank):
    known = VECTORS["sm3" if bank == "sm3_256" else bank]
    messages = {
        "H(00000000)": bytes(4),
        "H(empty)": b"",
        "H(Calling EFI Application from Boot Option)": b"Calling EFI Application from Boot Option",
        "boot_aggregate zeros PCR0-9": bytes(10 * ALGORITHMS[bank][1]),
    }
    blob = np.frombuffer(b"".join(messages.values()), np.uint8)
    offsets = np.cumsum([0, *map(len, messages.values())], dtype=np.int64)
    digests = _native.hash_messages(BY_NAME[bank].index, blob, offsets)
    assert {name: d.tobytes().hex() for name, d in zip(messages, digests, strict=True)} == {
        n: known[n] for n in messages
    }


def test_gmssl_agrees_on_sm3():
    """A second implementation of SM3 beside OpenSSL's."""
    pcr, digest = bytes(range(32)), bytes(range(32, 64))
    assert _extend("sm3_256", pcr, digest) == sm3.sm3_hash(func.bytes_to_list(pcr + digest))


def test_kat_log():
    values = EventLog.parse((DATA / "kat_log.bin").read_bytes()).replay()
    assert set(values) == set(KAT_LOG)
    for bank, pcrs in KAT_LOG.items():
        for pcr, value in pcrs.items():
            assert values[bank][pcr].tobytes().hex() == value
            assert value not in KAT_LOG_WRONG
    assert not values["sha256"][[2, 3, 4, 5, 6, 9, 23]].any()
    assert (values["sm3_256"][17:23] == 0xFF).all()

"""The quotes of one boot together: what they prove, and what they leave open (DESIGN section 5.2)."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from quote_data import (
    RSA_KEY,
    VALUES,
    Sample,
    X,
    Y,
    attest,
    ecc_public,
    ecdsa,
    proofs_of,
    rsassa,
    selections,
    serialized,
)

from pyverify.algorithms import BY_NAME
from pyverify.appraise.coverage import cover

# Several quotes of one boot


def timed(nonce, clock, reset, restart, values, bitmap=b"\xff\0\0", key="p256"):
    chosen = selections((0xB, bitmap))
    message = bytearray(attest(nonce=nonce, selection=chosen, digest=hashlib.sha256(b"".join(values)).digest()))
    at = 8 + 34 + 2 + len(nonce)
    message[at : at + 16] = struct.pack(">QII", clock, reset, restart)
    message = bytes(message)
    if key == "rsa":
        return Sample("timed", message, rsassa(message), RSA_KEY, serialized(values), nonce)
    return Sample("timed", message, ecdsa(message), ecc_public(X, Y), serialized(values), nonce)


def _cover(samples, rows=None, **options):
    proofs = proofs_of(samples)
    assert proofs.sound.all()
    row_of = np.zeros(len(samples), np.int64) if rows is None else np.array(rows)
    n = int(row_of.max()) + 1
    banks = np.full(n, options.pop("banks", 2), np.uint32)
    eligible = options.pop("eligible", np.ones(len(samples), np.bool_))
    return cover(proofs, row_of, n, eligible=eligible, required_pcrs=options.pop("pcrs", 0xFF), required_banks=banks)


def test_quotes_of_one_boot_count_together():
    low = timed(b"n", 10, 1, 0, VALUES[:4], b"\x0f\0\0")
    high = timed(b"n", 11, 1, 0, VALUES[4:], b"\xf0\0\0")
    both = _cover([low, high, low], rows=[0, 0, 1])
    assert both.relied.tolist() == [True, True, True]
    assert both.proven[:, 1].tolist() == [0xFF, 0x0F]
    assert [both.values["sha256"][0, i].tobytes() for i in range(8)] == VALUES
    ((rows, finding),) = both.findings
    assert rows.tolist() == [1] and finding.code == "quote.selection" and "4, 5, 6, 7" in finding.hint


@pytest.mark.parametrize("other", [(11, 2, 0, "p256"), (11, 1, 1, "p256"), (11, 1, 0, "rsa")])
def test_quotes_of_another_boot_or_key_do_not(other):
    clock, reset, restart, key = other
    low = timed(b"n", 10, 1, 0, VALUES[:5], b"\x1f\0\0")
    high = timed(b"n", clock, reset, restart, VALUES[5:], b"\xe0\0\0", key)
    found = _cover([high, low])
    assert found.relied.tolist() == [False, True]  # the one that proves more
    assert found.proven[0, 1] == 0x1F and {f.code for _, f in found.findings} == {"quote.selection"}


def test_a_pcr_that_moved_has_its_last_value():
    first = timed(b"n", 10, 1, 0, VALUES)
    moved = [*VALUES[:7], hashlib.sha256(b"later").digest()]
    later = timed(b"n", 20, 1, 0, moved)
    for order in ([first, later], [later, first]):
        assert _cover(order).values["sha256"][0, 7].tobytes() == moved[7]


def test_banks_that_no_quote_proves_are_missing():
    one = timed(b"n", 10, 1, 0, VALUES)
    found = _cover([one], banks=1 << BY_NAME["sha384"].index)
    assert [f.code for _, f in found.findings] == ["bank.missing"]
    assert [f.code for _, f in _cover([one], banks=0).findings] == ["bank.missing"]
    nobody = _cover([one], eligible=np.zeros(1, np.bool_))
    assert not nobody.relied.any() and not nobody.proven.any() and not nobody.findings

"""Attacks on signatures (SPEC section 10.3, 69-74 and 76): schemes, hashes, padding, numbers, SM2's modes."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from attested_machine import (
    ALL_PCRS,
    POLICIES,
    Machine,
    codes,
    honest,
    job,
    references_of,
    refused,
    rows_of,
    store_of,
    trusted,
)
from conftest import hash_of
from quote_data import rsa_public, signature, sized
from tpm_in_python import KINDS, Key, key

from pyverify.appraise.verdict import Outcome
from pyverify.baseline.identity import Sm2Mode

ECC = pytest.mark.parametrize("kind", ["ecdsa_p256", "ecdsa_p384", "sm2"])


@pytest.mark.parametrize("kind", KINDS)
def test_069_a_signature_that_is_not_of_its_keys_scheme(kind):
    machine = honest(kind)
    quote = machine.quote()
    scheme, hash_id = struct.unpack_from(">HH", quote.sig)
    for other in {0x14, 0x16, 0x18, 0x1A, 0x1B, 0x1C, 0x05, 0x10, 0x00, 0xFFFF} - {scheme}:
        verdict = machine.judge(replace(quote, sig=struct.pack(">HH", other, hash_id) + quote.sig[4:]))
        assert refused(verdict) and {"quote.scheme", "quote.format"} & codes(verdict)
    for other in {0x4, 0xB, 0xC, 0xD, 0x12, 0x27, 0x10, 0x0} - {hash_id}:
        verdict = machine.judge(replace(quote, sig=struct.pack(">HH", scheme, other) + quote.sig[4:]))
        assert refused(verdict) and {"quote.scheme", "quote.format"} & codes(verdict)
    for other in set(KINDS) - {kind}:
        elsewhere = Machine(kind=other).quote()
        verdict = machine.judge(replace(quote, sig=elsewhere.sig))
        assert refused(verdict) and {"quote.scheme", "quote.format", "quote.signature"} & codes(verdict)


def test_069_a_good_signature_by_another_hash_than_the_keys():
    """A key bound to SHA-256 that signs with SHA-384: a TPM would not do it."""
    machine = honest()
    message = machine.tpm.attest(
        machine.selection,
        machine.nonce,
        machine.key,
        digest=hash_of("sha384", b"".join(machine.tpm.values(machine.selection))),
    )
    sig = machine.key.sign(message, hash_name="sha384")
    assert refused(machine.judge(replace(machine.quote(), msg=message, sig=sig)), "quote.scheme")


@POLICIES
def test_070_a_signature_over_sha1(policy):
    honest("rsassa")
    strong = key("rsassa")
    bound = struct.pack(">HH", 0x14, 0xB)
    assert bound in strong.public
    weak = replace(strong, public=strong.public.replace(bound, struct.pack(">HH", 0x14, 0x4), 1))
    machine = Machine(own_key=weak)
    values = b"".join(machine.tpm.values(machine.selection))
    message = machine.tpm.attest(machine.selection, machine.nonce, weak, digest=hash_of("sha1", values))
    quote = replace(machine.quote(), msg=message, sig=weak.sign(message, hash_name="sha1"))
    assert refused(machine.judge(quote, policy=policy), "quote.scheme")


@POLICIES
def test_070_only_a_weak_bank_is_quoted(policy):
    machine = honest(banks=("sha1", "sha256"), quoted_banks=("sha256",))
    only_sha1 = machine.quote([("sha1", ALL_PCRS)])
    assert refused(machine.judge(only_sha1, policy=policy), "bank.weak", "bank.missing")
    # where the learning boot was not quoted, the banks are those of the quote, and SHA-1 is none that counts
    unquoted = machine.references(baselines=[machine.baseline(quoted_banks=())])
    assert trusted(machine.judge(policy=policy, references=unquoted))
    assert refused(machine.judge(only_sha1, policy=policy, references=unquoted), "bank.weak")
    weak = machine.references(baselines=[machine.baseline(quoted_banks=("sha1",))])
    assert refused(machine.judge(only_sha1, policy=policy, references=weak), "bank.weak")
    assert trusted(machine.judge(machine.quote([("sha1", ALL_PCRS), ("sha256", ALL_PCRS)])))


def pkcs1(message, size=256):
    """EMSA-PKCS1-v1_5 of SHA-256 (RFC 8017 section 9.2)."""
    info = bytes.fromhex("3031300d060960864801650304020105000420") + hash_of("sha256", message)
    return b"\0\1" + b"\xff" * (size - 3 - len(info)) + b"\0" + info


def test_071_exponent_1_makes_a_message_its_own_signature():
    modulus = (1 << 2047 | 1).to_bytes(256)
    anybody = Key("rsassa", rsa_public(modulus, exponent=1), None)
    machine = Machine(own_key=anybody)
    message = machine.tpm.attest(machine.selection, machine.nonce, key("rsassa"))
    forged = replace(
        honest("rsassa").quote(), msg=message, sig=signature(0x14, 0xB, pkcs1(message)), ak_pub=anybody.public
    )
    assert refused(machine.judge(forged), "key.weak")


def test_071_a_signature_beyond_the_modulus():
    machine = honest("rsassa")
    quote = machine.quote()
    modulus = machine.key.private.public_key().public_numbers().n
    value = int.from_bytes(quote.sig[6:])
    beyond = [
        (value + modulus).to_bytes(257),
        b"\0" + quote.sig[6:],
        quote.sig[7:],
        modulus.to_bytes(256),
        bytes(256),
        b"",
    ]
    if value + modulus < 1 << 2048:
        beyond.append((value + modulus).to_bytes(256))
    for raw in beyond:
        verdict = machine.judge(replace(quote, sig=signature(0x14, 0xB, raw)))
        assert refused(verdict) and {"quote.format", "quote.signature"} & codes(verdict)


def test_072_padding_that_is_not_strict():
    machine = honest("rsassa")
    quote, private = machine.quote(), machine.key.private.private_numbers()
    n = private.public_numbers.n
    right, digest = pkcs1(quote.msg), hash_of("sha256", quote.msg)
    info, raw = right[-51:], {}
    raw["right"] = right
    raw["garbage behind"] = b"\0\1" + b"\xff" * 8 + b"\0" + info + bytes(256 - 11 - 51)
    raw["garbage in the padding"] = right[:100] + b"\xfe" + right[101:]
    raw["block type 2"] = b"\0\2" + right[2:]
    raw["no algorithm"] = b"\0\1" + b"\xff" * (253 - 32) + b"\0" + digest
    without_null = bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20" + digest
    raw["parameters left out"] = b"\0\1" + b"\xff" * (253 - len(without_null)) + b"\0" + without_null
    of_sha512 = bytes.fromhex("3051300d060960864801650304020305000440") + hash_of("sha512", quote.msg)
    raw["another hash"] = b"\0\1" + b"\xff" * (253 - len(of_sha512)) + b"\0" + of_sha512
    results = {}
    for name, block in raw.items():
        sig = pow(int.from_bytes(block), private.d, n).to_bytes(256)
        results[name] = trusted(machine.judge(replace(quote, sig=signature(0x14, 0xB, sig))))
    # OpenSSL takes an AlgorithmIdentifier without NULL for what RFC 8017 says it may be taken for, or does not
    results.pop("parameters left out")
    assert results.pop("right") and not any(results.values())


def test_072_a_padding_that_the_key_is_not_bound_to():
    for kind, other in (("rsassa", 0x16), ("rsapss", 0x14)):
        machine = honest(kind)
        quote = machine.quote()
        sig = machine.key.sign(quote.msg, scheme=other)
        assert refused(machine.judge(replace(quote, sig=sig)), "quote.scheme")  # says what it is
        own = struct.pack(">H", KINDS[kind][0]) + sig[2:]
        assert refused(machine.judge(replace(quote, sig=own)), "quote.signature")  # says what the key is
        assert refused(machine.judge(replace(quote, sig=sig[6:])), "quote.signature")  # says nothing


ORDERS = {
    "ecdsa_p256": (0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551, 32),
    "ecdsa_p384": (
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
        48,
    ),
    "sm2": (0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123, 32),
}


def numbers_of(sig):
    size = struct.unpack_from(">H", sig, 4)[0]
    return int.from_bytes(sig[6 : 6 + size]), int.from_bytes(sig[8 + size :])


def der(*values):
    """A DER SEQUENCE of INTEGERs as they are given."""
    body = b"".join(b"\2" + bytes([len(value)]) + value for value in values)
    return b"\x30" + bytes([len(body)]) + body


def minimal(value):
    return value.to_bytes(value.bit_length() // 8 + 1)


@ECC
def test_073_r_and_s_out_of_range(kind):
    machine = honest(kind)
    quote, (n, size) = machine.quote(), ORDERS[kind]
    (r, s), head = numbers_of(quote.sig), struct.unpack_from(">HH", quote.sig)
    whole = (1 << 8 * size) - 1
    pairs = [(0, s), (r, 0), (0, 0), (n, s), (r, n), (n, n), (whole, s), (r, whole), (n + 1, s), (1, 1), (s, r)]
    pairs += [(r + n, s), (r, s + n), (r, (n - r) % n)]
    for bad_r, bad_s in pairs:
        room = max(size, (max(bad_r, bad_s).bit_length() + 7) // 8)
        for sig in (
            signature(*head, bad_r.to_bytes(room), bad_s.to_bytes(room)),
            der(minimal(bad_r), minimal(bad_s)),
        ):
            verdict = machine.judge(replace(quote, sig=sig))
            assert refused(verdict) and {"quote.format", "quote.signature"} & codes(verdict)


@ECC
def test_073_numbers_that_are_not_written_strictly(kind):
    machine = honest(kind)
    quote, size = machine.quote(), ORDERS[kind][1]
    (r, s), head = numbers_of(quote.sig), struct.unpack_from(">HH", quote.sig)
    assert trusted(machine.judge(replace(quote, sig=der(minimal(r), minimal(s)))))
    good = der(minimal(r), minimal(s))
    bad = {
        "33 bytes": signature(*head, r.to_bytes(size + 1), s.to_bytes(size)),
        "no r": signature(*head, b"", s.to_bytes(size)),
        "no s": signature(*head, r.to_bytes(size)),
        "trailing": quote.sig + b"\0",
        "cut": quote.sig[:-1],
        "DER, trailing": good + b"\0",
        "DER, cut": good[:-1],
        "DER, not minimal": der(b"\0" + minimal(r), minimal(s)),
        "DER, third number": der(minimal(r), minimal(s), b"\1"),
        "DER, one number": der(minimal(r)),
        "DER, long length": b"\x30\x81" + good[1:],
        "DER, indefinite": b"\x30\x80" + good[2:] + b"\0\0",
        "DER, another tag": b"\x31" + good[1:],
        "DER, negative": der((-r).to_bytes(size + 1, signed=True), minimal(s)),
        "nothing": b"",
    }
    for name, sig in bad.items():
        verdict = machine.judge(replace(quote, sig=sig))
        assert refused(verdict), name
        assert {"quote.format", "quote.signature", "quote.scheme"} & codes(verdict), name


@pytest.mark.parametrize("kind", ["ecdsa_p256", "ecdsa_p384"])
def test_074_the_twin_of_a_signature(kind, tmp_path):
    """(r, n - s) is as good: it is the same quote, no new one, and spends nothing twice (DESIGN section 5.7)."""
    machine = honest(kind)
    quote, (n, size) = machine.quote(), ORDERS[kind]
    r, s = numbers_of(quote.sig)
    twin = replace(quote, sig=quote.sig[:4] + sized(r.to_bytes(size)) + sized((n - s).to_bytes(size)))
    assert twin.sig != quote.sig
    one, two = machine.judge(quote), machine.judge(twin)
    assert trusted(one) and trusted(two) and one.claims == two.claims
    machine.tpm.clock += 1
    with store_of(tmp_path / "s", machine) as store:
        evidence = [machine.evidence(q, boot=str(i)) for i, q in enumerate((quote, twin, machine.quote(), twin))]
        rows = job(store, *evidence)
        assert [row["verdict"] for row in rows] == ["trusted", "trusted", "untrusted", "trusted"]
        assert codes(rows[2], "high") == {"quote.replayed"}


def test_074_sm2_has_no_twin():
    machine = honest("sm2")
    quote, (n, size) = machine.quote(), ORDERS["sm2"]
    r, s = numbers_of(quote.sig)
    twin = quote.sig[:4] + sized(r.to_bytes(size)) + sized((n - s).to_bytes(size))
    assert refused(machine.judge(replace(quote, sig=twin)), "quote.signature")


def test_076_a_signature_of_another_sm2_mode_than_the_keys():
    """The mode is the enrolled key's: neither is tried when the other fails (SPEC 8.3)."""
    for mode, other in (("digest", "za"), ("za", "digest")):
        machine = Machine(kind="sm2", sm2_mode=Sm2Mode(mode))
        quotes = {name: machine.quote() for name in ("digest", "za")}
        quotes["za"] = replace(quotes["za"], sig=machine.key.sign_za(quotes["za"].msg))
        assert trusted(machine.judge(quotes[mode]))
        verdict = machine.judge(quotes[other])
        assert verdict.outcome is Outcome.UNTRUSTED and codes(verdict) == {"quote.signature"}
        user = replace(quotes["za"], sig=machine.key.sign_za(quotes["za"].msg, identity=b"ALICE123@YAHOO.COM"))
        assert codes(machine.judge(user)) == {"quote.signature"}
    mixed = [Machine(str(i), kind="sm2", sm2_mode=Sm2Mode("za" if i % 2 else "digest")) for i in range(6)]
    evidence = []
    for i, machine in enumerate(mixed):
        quote = machine.quote()
        evidence.append(machine.evidence(replace(quote, sig=machine.key.sign_za(quote.msg)) if i % 3 == 1 else quote))
    rows = rows_of(evidence, references_of(*mixed))
    honest = [i % 2 == (i % 3 == 1) for i in range(6)]
    assert [row["verdict"] == "trusted" for row in rows] == honest and honest.count(True) == 3

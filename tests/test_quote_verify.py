"""What quotes prove, and that any single change of any part takes it away (SPEC 8, 10.3; DESIGN section 5)."""

from __future__ import annotations

import hashlib
import json
import re
import struct

import numpy as np
import pytest
from conftest import DATA, entry, small_log
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from quote_data import (
    DIGEST,
    KINDS,
    MODULUS,
    MSG,
    PRIVATE,
    RSA_KEY,
    VALUES,
    X,
    Y,
    attest,
    codes,
    ecc_public,
    ecdsa,
    made,
    proofs_of,
    quotes_of,
    recorded,
    rsa_public,
    rsassa,
    sample,
    selections,
    serialized,
    signature,
)

from pyverify.algorithms import BANKS
from pyverify.appraise.coverage import cover
from pyverify.appraise.proof import BESIDE, NOT_PROVEN, REPLAYED, ProofPolicy, prove
from pyverify.errors import UsageError
from pyverify.evidence.columns import Ragged
from pyverify.evidence.public_area import attestation_key_faults, parse
from pyverify.evidence.quote import Quotes
from pyverify.findings import CODES
from pyverify.replay import replay


def flips(data):
    """The data with each single bit changed."""
    for i in range(len(data)):
        for bit in range(8):
            yield data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]


@pytest.mark.parametrize("kind", KINDS)
def test_a_quote_proves_the_values_of_its_selection(kind):
    one = sample(kind)
    proofs = proofs_of([one])
    assert proofs.sound.all() and proofs.signature_ok.all() and not proofs.findings
    assert proofs.origin.tolist() == [BESIDE]
    assert proofs.nonces[0] == one.nonce and proofs.ak_names[0] == (DATA / "quotes" / kind / "ak.name").read_bytes()
    bank = "sm3_256" if kind == "sm2" else "sha384" if kind == "ecdsa_p384" else "sha256"
    assert proofs.proven[0].tolist() == [0x7FF if b.name == bank else 0 for b in BANKS]
    assert proofs.values[bank][0, :11].any(axis=1).all() and not proofs.values[bank][0, 11:].any()
    assert not any(proofs.values[b.name].any() for b in BANKS if b.name != bank)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["msg", "sig"])
def test_any_changed_bit_of_message_or_signature_proves_nothing(kind, part):
    one = sample(kind)
    changed = [one.changed(**{part: data}) for data in flips(getattr(one, part))]
    proofs = proofs_of([one, *changed, one])
    assert proofs.sound[[0, -1]].all()
    assert not proofs.sound[1:-1].any()
    assert not proofs.proven[1:-1].any() and not any(column[1:-1].any() for column in proofs.values.values())
    assert all(codes(proofs, i) for i in range(1, len(changed) + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_any_changed_bit_of_the_key_proves_nothing_or_names_another_key(kind):
    """Bits that no signature covers, such as userWithAuth, are in the Name, which must be the enrolled one."""
    one = sample(kind)
    changed = [one.changed(key=data) for data in flips(one.key)]
    proofs = proofs_of([one, *changed])
    name = proofs.ak_names[0]
    still = [i for i in range(1, len(changed) + 1) if proofs.sound[i]]
    assert len(still) < 40
    for i in still:
        assert proofs.ak_names[i] != name and len(proofs.ak_names[i]) == len(name)
        assert 32 <= i - 1 - 16 < 64 or i - 1 - 16 < 32, "only nameAlg and objectAttributes are no part of the key"


@pytest.mark.parametrize("kind", KINDS)
def test_any_changed_byte_of_a_value_proves_nothing(kind):
    one = sample(kind)
    data = one.pcrs
    changed = [data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :] for i in range(len(data))]
    proofs = proofs_of([one, *(one.changed(pcrs=other) for other in changed)])
    assert proofs.signature_ok.all()
    refused = np.flatnonzero(~proofs.sound)
    reasons = [finding.code for _, finding in proofs.findings]
    assert set(reasons) == {"quote.digest"} and len(reasons) == len(refused) and not proofs.proven[refused].any()
    for column in proofs.values.values():  # a selection that nobody reads, or room that no digest fills
        assert (column[proofs.sound] == column[0]).all() and not column[refused].any()
    size = 48 if kind == "ecdsa_p384" else 32
    assert not proofs.sound[1 + 136 + 4 :][: 2 + size].any()  # the first digest and its size
    assert len(refused) >= 11 * (size + 2)


def test_every_recorded_quote_verifies_with_its_nonce():
    samples = recorded()
    proofs = proofs_of(samples)
    assert len(samples) > 500
    bad = [s.name for i, s in enumerate(samples) if not proofs.sound[i]]
    assert not bad
    assert all(proofs.nonces[i] == s.nonce for i, s in enumerate(samples))
    assert (proofs.origin == BESIDE).all()
    for i, one in enumerate(samples):
        values = json.loads((one.folder / "scenario.json").read_text())["pcrs"]
        for bank in BANKS:
            for pcr in (0, 4, 7, 9):  # PCR 10 moves while the quotes are made; these are what the TPM told afterwards
                if proofs.proven[i, bank.index] >> pcr & 1:
                    told = values.get(bank.name) or values["sm3"]  # as sysfs calls it
                    assert proofs.values[bank.name][i, pcr].tobytes().hex() == told[str(pcr)], one.name


def test_recorded_quotes_with_a_sampled_change_prove_nothing():
    samples = recorded()
    rng = np.random.default_rng(20)
    changed = []
    for one in samples:
        for part in ("msg", "sig"):
            data = bytearray(getattr(one, part))
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            changed.append(one.changed(**{part: bytes(data)}))
    proofs = proofs_of(changed)
    assert not proofs.sound.any() and not proofs.proven.any()


def test_recorded_quotes_are_not_of_the_next_key():
    samples = recorded()
    others = [one.changed(key=other.key) for one, other in zip(samples, samples[1:] + samples[:1], strict=True)]
    same = [one.key == other.key for one, other in zip(samples, others, strict=True)]
    assert (proofs_of(others).sound == same).all() and not all(same)


def test_recorded_quotes_replay_from_their_logs():
    """Without values beside them quotes are matched by the replay, where the log explains all that is selected."""
    samples = [s for s in recorded() if re.search(r"_0-9_14$", s.name)]
    boots = sorted({s.folder for s in samples})
    assert len(boots) > 50
    logs = replay([(boot / "binary_bios_measurements").read_bytes() for boot in boots])
    row_of = np.array([boots.index(s.folder) for s in samples])
    quotes = quotes_of([s.changed(pcrs=None) for s in samples])
    proofs = prove(quotes, replayed=logs, row_of=row_of)
    explained = {s.name.split("/")[0] for i, s in enumerate(samples) if proofs.sound[i]}
    # no usable log (22), and a PCR that somebody extended by hand (37)
    assert {boot.name for boot in boots} - explained == {"22_no_event_log", "37_pcr4_extended_by_hand"}
    assert set(proofs.origin[proofs.sound].tolist()) == {REPLAYED}
    for i in np.flatnonzero(~proofs.sound).tolist():
        assert codes(proofs, i) == {"quote.digest"}
    with pytest.raises(UsageError):
        prove(quotes, replayed=logs, row_of=row_of + 1)


OTHER = DATA / "quotes" / "other_types"


@pytest.mark.parametrize("kind", ["certify", "creation", "gettime", "nv"])
def test_other_attests_of_the_same_key_are_no_quotes(kind):
    one = sample("rsassa")
    other = one.changed(msg=(OTHER / f"{kind}.msg").read_bytes(), sig=(OTHER / f"{kind}.sig").read_bytes())
    proofs = proofs_of([other])
    assert codes(proofs) == {"quote.type"} and not proofs.sound[0] and not proofs.signature_ok[0]


def test_a_quote_forged_with_an_unrestricted_key_is_refused():
    msg, sig, key = (OTHER / name for name in ("forged_quote.msg", "forged_quote.sig", "ak_unrestricted.tpm2b"))
    forged = sample("rsassa").changed(msg=msg.read_bytes(), sig=sig.read_bytes(), key=key.read_bytes())
    proofs = proofs_of([forged])
    assert proofs.signature_ok[0] and not proofs.sound[0] and codes(proofs) == {"key.attributes"}
    assert not proofs.proven.any()


BAD = {
    "no key": (made().changed(key=None), {"quote.signature"}),
    "no message": (made().changed(msg=None), {"quote.format"}),
    "no signature": (made().changed(sig=None), {"quote.format"}),
    "empty message": (made().changed(msg=b""), {"quote.format"}),
    "trailing byte": (made(MSG + b"\0"), {"quote.format"}),
    "a bank twice": (made(attest(selection=selections((0xB, b"\1"), (0xB, b"\2")))), {"quote.format"}),
    "nothing selected": (made(attest(selection=selections(), digest=hashlib.sha256().digest())), {"quote.selection"}),
    "no PCR selected": (made(attest(selection=selections((0xB, b"\0\0\0")))), {"quote.selection"}),
    "unknown bank": (made(attest(selection=selections((0xB, b"\xff"), (0x27, b"\1")))), {"quote.selection"}),
    "bank of number 0": (made(attest(selection=selections((0xB, b"\xff"), (0, b"\1")))), {"quote.selection"}),
    "PCR 24": (made(attest(selection=selections((0xB, b"\xff\0\0\1")))), {"quote.selection"}),
    "pcrDigest of another size": (made(attest(digest=DIGEST[:20])), {"quote.format"}),
    "pcrDigest of others": (made(attest(digest=bytes(32))), {"quote.digest"}),
    "values of others": (made(pcrs=serialized(VALUES[::-1])), {"quote.digest"}),
    "no values": (made().changed(pcrs=None), {"quote.digest"}),
    "labelled text of others": (made(pcrs=b"sha256 0 " + b"00" * 32), {"quote.digest"}),
    "r is 0": (made(sig=signature(0x18, 0xB, bytes(32), b"\1" * 32)), {"quote.format"}),
    "r of 33 bytes": (made(sig=signature(0x18, 0xB, bytes(33), b"\1" * 32)), {"quote.format"}),
    "another's signature": (made(sig=ecdsa(b"other")), {"quote.signature"}),
    "SM2 flag on a P-256 key": (made(sig=ecdsa(MSG, scheme=0x1B)), {"quote.scheme"}),
    "RSA signature, ECC key": (made(sig=rsassa(MSG)), {"quote.scheme"}),
    "ECC signature, RSA key": (made(key=RSA_KEY), {"quote.scheme"}),
    "plain RSA, ECC key": (made(sig=rsassa(MSG)[6:]), {"quote.scheme"}),
    "DER, RSA key": (made(key=RSA_KEY, sig=PRIVATE["p256"].sign(MSG, ec.ECDSA(hashes.SHA256()))), {"quote.scheme"}),
    "PSS flag on a RSASSA key": (made(key=RSA_KEY, sig=rsassa(MSG, scheme=0x16)), {"quote.scheme"}),
    "another hash than the key's": (
        made(key=RSA_KEY, sig=rsassa(MSG, hashes.SHA512, hash_id=0xD)),
        {"quote.scheme", "quote.format"},
    ),
    "unknown hash": (made(sig=ecdsa(MSG, hash_id=0x27)), {"quote.scheme"}),
    "HMAC": (made(sig=signature(5, 0xB, bytes(32))), {"quote.scheme"}),
    "SHA-1": (
        made(
            attest(digest=hashlib.sha1(b"".join(VALUES)).digest()),
            key=rsa_public(MODULUS, scheme=struct.pack(">HH", 0x14, 4)),
            sig=rsassa(attest(digest=hashlib.sha1(b"".join(VALUES)).digest()), hashes.SHA1, hash_id=4),
        ),
        {"quote.scheme"},
    ),
    "exponent 3": (made(key=rsa_public(MODULUS, exponent=3), sig=rsassa(MSG)), {"key.weak"}),
    "exponent 1": (made(key=rsa_public(MODULUS, exponent=1), sig=rsassa(MSG)), {"key.weak"}),
    "even exponent": (made(key=rsa_public(MODULUS, exponent=65538), sig=rsassa(MSG)), {"key.weak"}),
    "modulus of 1024 bits": (made(key=rsa_public(b"\x8f" * 128), sig=bytes(128)), {"key.weak"}),
    "curve BN-256": (made(key=ecc_public(X, Y, curve=0x10)), {"key.weak"}),
    "curve P-224": (made(key=ecc_public(X[:28], Y[:28], curve=2)), {"key.weak"}),
    "point off the curve": (made(key=ecc_public(X, bytes(31) + b"\1")), {"quote.format"}),
    "P-256 point as SM2": (
        made(key=ecc_public(X, Y, curve=0x20, scheme=struct.pack(">HH", 0x1B, 0xB)), sig=ecdsa(MSG, scheme=0x1B)),
        {"quote.format"},
    ),
    "no scheme": (made(key=ecc_public(X, Y, scheme=b"\0\x10")), {"key.attributes"}),
    "a storage key": (made(key=rsa_public(MODULUS, symmetric=struct.pack(">HHH", 6, 128, 0x43)), sig=rsassa(MSG)),
                      {"key.attributes"}),
    "a bare key": (
        made(key=PRIVATE["p256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
        {"key.attributes"},
    ),
    "not a key": (made(key=b"-----BEGIN CERTIFICATE-----"), {"quote.format"}),
    "a keyed hash": (made(key=struct.pack(">HHI", 8, 0xB, 0x50072) + bytes(20)), {"quote.scheme"}),
}  # fmt: skip
_SET = ((0x2, "fixedTPM"), (0x10, "fixedParent"), (0x20, "origin"), (0x10000, "restricted"), (0x40000, "sign"))
for _bit, _name in _SET:
    BAD[f"{_name} not set"] = (made(key=ecc_public(X, Y, attributes=0x50072 & ~_bit)), {"key.attributes"})
for _bit, _name in ((0x20000, "decrypt"), (0x800, "encryptedDuplication")):
    BAD[f"{_name} set"] = (made(key=ecc_public(X, Y, attributes=0x50072 | _bit)), {"key.attributes"})


@pytest.mark.parametrize(("bad", "expected"), BAD.values(), ids=BAD.keys())
def test_what_is_refused_and_why(bad, expected):
    good = made()
    proofs = proofs_of([good, bad, good])
    assert proofs.sound.tolist() == [True, False, True], codes(proofs, 0)
    assert codes(proofs, 1) == expected and expected <= set(CODES)
    assert not codes(proofs, 0) and not codes(proofs, 2)
    assert not proofs.proven[1].any() and proofs.origin[1] == NOT_PROVEN
    assert not any(column[1].any() for column in proofs.values.values())


@pytest.mark.parametrize(
    "key",
    [
        ecc_public(X, Y, attributes=0x40072),
        ecc_public(X, Y, attributes=0x70852, scheme=b"\0\x10"),
        rsa_public(MODULUS, symmetric=struct.pack(">HHH", 6, 128, 0x43)),
    ],
    ids=["no sign", "another scheme", "symmetric"],
)
def test_quotes_and_enrolment_say_the_same_of_a_key(key):
    sig = rsassa(MSG) if key[1] == 1 else ecdsa(MSG)
    (finding,) = (finding for _, finding in proofs_of([made(key=key, sig=sig)]).findings)
    words = attestation_key_faults(parse(key))
    assert words and finding.hint == f"this key may not attest: {', '.join(words)}"


def test_a_policy_may_allow_more_and_less():
    old = attest(digest=hashlib.sha1(b"".join(VALUES)).digest())
    sha1 = made(
        old, key=rsa_public(MODULUS, scheme=struct.pack(">HH", 0x14, 4)), sig=rsassa(old, hashes.SHA1, hash_id=4)
    )
    assert not proofs_of([sha1]).sound[0]
    assert proofs_of([sha1], policy=ProofPolicy(hashes=("sha1",))).sound[0]
    bare = made(key=PRIVATE["p256"].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    assert proofs_of([bare], policy=ProofPolicy(bare_keys=True)).sound[0]
    assert codes(proofs_of([made()], policy=ProofPolicy(curves=("p384",)))) == {"key.weak"}
    assert codes(proofs_of([made(key=RSA_KEY, sig=rsassa(MSG))], policy=ProofPolicy(rsa_bits=(3072,)))) == {"key.weak"}
    assert codes(proofs_of([sample("sm2")], policy=ProofPolicy(sm2_mode="za"))) == {"quote.signature"}
    with pytest.raises(UsageError):
        proofs_of([made()], policy=ProofPolicy(sm2_mode="auto"))


def test_plain_signatures_are_verified_by_the_scheme_of_the_key():
    der = PRIVATE["p256"].sign(MSG, ec.ECDSA(hashes.SHA256()))
    spki = PRIVATE["rsa"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    plain = rsassa(MSG)[6:]
    samples = [made(sig=der), made(key=RSA_KEY, sig=plain), made(key=spki, sig=plain)]
    assert proofs_of(samples, policy=ProofPolicy(bare_keys=True)).sound.all()
    # A PSS key does not take a PKCS#1 signature because the form says nothing (SPEC 10.3, 72).
    pss = made(key=rsa_public(MODULUS, scheme=struct.pack(">HH", 0x16, 0xB)), sig=plain)
    assert codes(proofs_of([pss])) == {"quote.signature"}
    # and the caller's hash counts only where the key names none
    with_sha512 = PRIVATE["rsa"].sign(MSG, PKCS1v15(), hashes.SHA512())
    wide = attest(digest=hashlib.sha512(b"".join(VALUES)).digest())
    with_sha512 = PRIVATE["rsa"].sign(wide, PKCS1v15(), hashes.SHA512())
    by_caller = quotes_of([made(wide, key=spki, sig=with_sha512)], hash_name="sha512")
    assert prove(by_caller, policy=ProofPolicy(bare_keys=True)).sound[0]
    by_key = quotes_of([made(wide, key=RSA_KEY, sig=with_sha512)], hash_name="sha512")
    assert not prove(by_key).sound[0]


def test_both_engines_prove_the_same():
    samples = [bad for bad, _ in BAD.values()] + [sample(kind) for kind in KINDS] + [made()]
    a, b = (proofs_of(samples, by=by) for by in ("libcrypto", "python"))
    assert (a.sound == b.sound).all() and (a.signature_ok == b.signature_ok).all()
    assert [codes(a, i) for i in range(len(samples))] == [codes(b, i) for i in range(len(samples))]


def test_the_replay_is_tried_where_values_do_not_match():
    log = small_log(["sha256"])
    logs = replay([b"", log, log + entry(11, 0xD, b"more", ["sha256"])])
    values = logs.values["sha256"][1, :8]
    message = attest(digest=hashlib.sha256(values.tobytes()).digest())
    wrong, absent = made(message, pcrs=serialized(VALUES)), made(message).changed(pcrs=None)
    quotes = quotes_of([wrong, absent, absent, absent])
    proofs = prove(quotes, replayed=logs, row_of=np.array([1, 1, 0, 2]))
    assert proofs.origin.tolist() == [REPLAYED, REPLAYED, NOT_PROVEN, REPLAYED]
    assert (proofs.values["sha256"][0, :8] == values).all() and not proofs.values["sha256"][0, 8:].any()
    # a bank that was not replayed proves nothing, whatever its zeros hash to
    zeros = attest(selection=selections((0x12, b"\xff")), digest=hashlib.sha256(bytes(8 * 32)).digest())
    none = prove(quotes_of([made(zeros).changed(pcrs=None)]), replayed=replay([log]))
    assert codes(none) == {"quote.digest"}


def test_a_batch_of_nothing_is_a_batch_of_nothing():
    quotes = Quotes.of(*(Ragged.of([]) for _ in range(3)))
    proofs = prove(quotes)
    assert len(proofs.sound) == 0 and not proofs.findings
    found = cover(
        proofs,
        np.zeros(0, np.int64),
        2,
        eligible=np.zeros(0, np.bool_),
        required_pcrs=1,
        required_banks=np.ones(2, np.uint32),
    )
    assert not found.proven.any() and not found.findings
    with pytest.raises(UsageError):
        Quotes.of(Ragged.of([b""]), Ragged.of([]), Ragged.of([]))
    with pytest.raises(UsageError):
        Quotes.of(*(Ragged.of([b""]) for _ in range(3)), hash_name="md5")

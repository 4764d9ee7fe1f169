"""Signatures over digests by both engines: standard vectors, ranges, encodings, padding (SPEC 8.2, 8.3, 11.3-11.5)."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from conftest import DATA, ROOT
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from quote_data import ecc_public, rsa_public, sample
from quote_data import signature as tpmt

from pyverify import _libcrypto, _native
from pyverify.algorithms import BANKS, BY_NAME
from pyverify.errors import UsageError
from pyverify.evidence import signature_fallback, signatures, tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.curves import CURVES
from pyverify.evidence.keys import Keys
from pyverify.evidence.quote import Quotes, signed_digests, verify_signatures

ENGINES = (signatures.LIBCRYPTO, signatures.PYTHON)
NAMES = {_native.GOOD: "good", _native.BAD: "bad", _native.RANGE: "range", _native.UNUSABLE: "unusable"}
HASHES = (hashes.SHA1, hashes.SHA256, hashes.SHA384, hashes.SHA512)


def check(cases, by):
    """What an engine says of (signature, public, scheme, bank, digest) cases, all in one call."""
    sigs, publics, schemes, banks, digests = zip(*cases, strict=True)
    column, keys = Ragged.of(list(sigs)), Keys.of(Ragged.of(list(publics)))
    rows = _native.decode_signatures(column.blob, column.offsets)
    room = np.zeros((len(cases), 64), np.uint8)
    for i, digest in enumerate(digests):
        room[i, : len(digest)] = np.frombuffer(digest, np.uint8)
    key = np.arange(len(cases), dtype=np.uint32)
    number = [np.array(column, np.uint32) for column in (schemes, banks)]
    return [NAMES[int(r)] for r in signatures.verify(column, rows, keys, key, *number, room, by=by)]


def _spki(key):
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


SM2_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d03420004")
SM2_X = bytes.fromhex("09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020")
SM2_Y = bytes.fromhex("CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13")
SM3 = BY_NAME["sm3_256"].index


@pytest.mark.parametrize("by", ENGINES)
def test_the_standard_sm2_vector_in_both_modes(by):
    """GB/T 32918.5 (SPEC 11.3). A signature of one mode never verifies in the other."""
    za = "F0B43E94BA45ACCAACE692ED534382EB17E6AB5A19CE7B31F4486FDFC0D28640"
    plain = "C522A942E89BD80D97DD666E7A5531B36188C9817149E9B258DFE51ECE98ED77"
    assert hashlib.new("sm3", b"message digest").hexdigest().upper() == plain
    of_za = tpmt(
        0x1B,
        0x12,
        bytes.fromhex("F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"),
        bytes.fromhex("B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"),
    )
    of_plain = tpmt(
        0x1B,
        0x12,
        bytes.fromhex("CA0EA5B47728EFA5F9E1989508CD3069A2E6F85F7F5125C1A843F3EBFCAD87EA"),
        bytes.fromhex("9F63ABE109485C501C147632BC3D53D297D860A8DF2ED3619FD75A776C93FF8C"),
    )
    key = SM2_PREFIX + SM2_X + SM2_Y
    cases = [(sig, key, tpm_names.SM2, SM3, bytes.fromhex(e)) for sig in (of_za, of_plain) for e in (za, plain)]
    assert check(cases, by) == ["good", "bad", "bad", "good"]


@pytest.mark.parametrize("by", ENGINES)
def test_the_known_answer_quote_in_both_modes(by):
    """SPEC 11.4: digest mode by default; za only when it is asked for, and then nothing else."""
    folder = DATA / "quotes"
    message, public = (folder / "kat_attest.bin").read_bytes(), (folder / "kat_public.bin").read_bytes()
    in_digest = bytes.fromhex(
        "001b0012002012f46aa275bbb5a235f7185a72e134d9ab8536744848f788962256c1119a96e1"
        "00208cf8c4c87a75e7b051396ce759c7215364be0202becfd556f684330b22562263"
    )
    in_za = tpmt(
        0x1B,
        0x12,
        bytes.fromhex("165787fe06ce18508c1421945b678f491ad4f6b0b7ea01c659d8f002784235e7"),
        bytes.fromhex("23279c286df4e8e925f69743ed51c12b60af5e0a4710507ccd59b6ea8cd2984d"),
    )
    sized = struct.pack(">H", len(message)) + message
    columns = ([message, message, sized, sized], [in_digest, in_za] * 2, [public, public[2:]] * 2)
    quotes = Quotes.of(*map(Ragged.of, columns))
    digest, za = signed_digests(quotes), signed_digests(quotes, "za")
    assert digest[0, :32].tobytes().hex() == "0e086e30e72e9e09d3f2e633e46936236a2707963a41bb7946be47f3e385fc6e"
    assert za[0, :32].tobytes().hex() == "116b8b8c784100b82a0fef6dccef9092d976c7d2a9e2c5b70a74e1354a2d9b74"
    everyone = np.ones(4, np.bool_)
    assert [NAMES[r] for r in verify_signatures(quotes, everyone, by=by)] == ["good", "bad"] * 2
    assert [NAMES[r] for r in verify_signatures(quotes, everyone, "za", by=by)] == ["bad", "good"] * 2
    assert [NAMES[r] for r in verify_signatures(quotes, ~everyone, by=by)] == ["unusable"] * 4
    with pytest.raises(UsageError):
        verify_signatures(quotes, everyone, "auto")


VECTORS = json.loads((DATA / "sm2_vectors.json").read_text())


def test_the_sm2_vectors_are_what_the_script_makes():
    made = subprocess.run([sys.executable, ROOT / "tests" / "make_sm2_vectors.py"], capture_output=True, check=True)
    assert json.loads(made.stdout) == VECTORS


# A good signature whose two points are equal, which chance never makes: gmssl adds them as if they were not.
GMSSL_REFUSES = {"sum of equal points"}


@pytest.mark.parametrize("by", ENGINES)
@pytest.mark.parametrize("form", ["tpmt", "der"])
def test_sm2_at_the_edges_of_range_curve_and_encoding(by, form):
    cases, expected = [], []
    for vector in VECTORS:
        r, s = bytes.fromhex(vector["r"]), bytes.fromhex(vector["s"])
        if form == "der":
            if vector["comment"].endswith("33 bytes"):
                continue  # there are no superfluous zeros in DER
            sig = utils.encode_dss_signature(int.from_bytes(r), int.from_bytes(s))
        else:
            sig = tpmt(0x1B, 0x12, r, s)
        key = ecc_public(
            bytes.fromhex(vector["x"]), bytes.fromhex(vector["y"]), curve=0x20, scheme=struct.pack(">HH", 0x1B, 0x12)
        )
        cases.append((sig, key, tpm_names.SM2, SM3, bytes.fromhex(vector["digest"])))
        answer = "unusable" if vector["expected"] == "key" else vector["expected"]
        expected.append("bad" if by == signatures.PYTHON and vector["comment"] in GMSSL_REFUSES else answer)
    assert check(cases, by) == expected


def test_gmssl_agrees_with_the_sm2_vectors_where_it_is_defined():
    """The oracle itself, without our checks around it; outside its definition it accepts what must be refused."""
    from gmssl.sm2 import CryptSM2

    seen = 0
    for vector in VECTORS:
        if vector["gmssl"]:
            checker = CryptSM2(private_key="", public_key="")
            checker.public_key = vector["x"] + vector["y"]  # the constructor strips zeros and fours
            r, s = vector["r"].zfill(64), vector["s"].zfill(64)
            said = bool(checker.verify(r + s, bytes.fromhex(vector["digest"])))
            assert said == (vector["expected"] == "good"), vector["comment"]
            seen += 1
    assert seen > 25


GROUPS = {3: ec.SECP256R1(), 4: ec.SECP384R1(), 5: ec.SECP521R1()}


def test_orders_of_the_curves_are_those_of_the_curves():
    import make_sm2_vectors

    for curve in CURVES.values():
        if curve.id in GROUPS:
            last = ec.derive_private_key(curve.n - 1, GROUPS[curve.id]).public_key().public_numbers()
            assert (last.x, last.y) == (curve.gx, curve.p - curve.gy) and ORDERS[curve.id] == curve.n
        else:
            assert make_sm2_vectors.multiply(curve.n - 1, (curve.gx, curve.gy)) == (curve.gx, curve.p - curve.gy)
            assert (curve.p, curve.b, curve.n) == (make_sm2_vectors.P, make_sm2_vectors.B, make_sm2_vectors.N)
        assert curve.contains(curve.gx, curve.gy) and not curve.contains(curve.gx, curve.gy + 1)


@pytest.fixture(scope="module")
def ecdsa_cases():
    """Signatures by cryptography on every curve with every hash."""
    cases = []
    for curve, group in GROUPS.items():
        private = ec.generate_private_key(group)
        size = (group.key_size + 7) // 8
        point = private.public_key().public_numbers()
        public = ecc_public(point.x.to_bytes(size), point.y.to_bytes(size), curve=curve)
        for bank, kind in enumerate(HASHES):
            digest = hashlib.new(kind.name, b"attest").digest()
            der = private.sign(digest, ec.ECDSA(utils.Prehashed(kind())))
            cases.append((curve, size, public, _spki(private.public_key()), bank, digest, der))
    return cases


ORDERS = {  # FIPS 186-4 appendix D.1.2
    3: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    4: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    5: 0x1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409,  # noqa: E501
}


@pytest.mark.parametrize("by", ENGINES)
def test_ecdsa_at_the_edges(by, ecdsa_cases):
    cases, expected = [], []
    for curve, size, public, spki, bank, digest, der in ecdsa_cases:
        r, s = utils.decode_dss_signature(der)
        n = ORDERS[curve]
        tries = [
            (der, "good"),
            (tpmt(0x18, 0xB, r.to_bytes(size), s.to_bytes(size)), "good"),
            (tpmt(0x18, 0xB, r.to_bytes(size), (n - s).to_bytes(size)), "good"),  # also valid (SPEC 11.5)
            (tpmt(0x18, 0xB, s.to_bytes(size), r.to_bytes(size)), "bad"),
            (tpmt(0x18, 0xB, bytes(size), s.to_bytes(size)), "range"),
            (tpmt(0x18, 0xB, r.to_bytes(size), bytes(size)), "range"),
            (tpmt(0x18, 0xB, n.to_bytes(size), s.to_bytes(size)), "range"),
            (tpmt(0x18, 0xB, r.to_bytes(size), n.to_bytes(size)), "range"),
            (tpmt(0x18, 0xB, r.to_bytes(size), b"\xff" * size), "range"),
            (tpmt(0x18, 0xB, r.to_bytes(size), b"\1"), "bad"),
        ]
        if size < 66:
            tries.append((tpmt(0x18, 0xB, b"\0" + r.to_bytes(size), s.to_bytes(size)), "range"))
            if s + n < 1 << 8 * size:
                tries.append((tpmt(0x18, 0xB, r.to_bytes(size), (s + n).to_bytes(size)), "range"))
        for sig, answer in tries:
            for key in (public, spki):
                cases.append((sig, key, tpm_names.ECDSA, bank, digest))
                expected.append(answer)
        cases.append((der, public, tpm_names.ECDSA, bank, digest[:-1] + bytes([digest[-1] ^ 1])))
        # P-256 and P-384 cut a longer hash off (FIPS 186-4 section 6.4): its last byte does not count
        expected.append("bad" if len(digest) <= size else "good")
        cases.append((der, public, tpm_names.SM2, bank, digest))
        expected.append("unusable")
        cases.append((der, public, tpm_names.RSASSA, bank, digest))
        expected.append("unusable")
    assert check(cases, by) == expected


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


INFO = {
    "sha1": "3021300906052b0e03021a05000414",
    "sha256": "3031300d060960864801650304020105000420",
    "sha384": "3041300d060960864801650304020205000430",
    "sha512": "3051300d060960864801650304020305000440",
    "sm3_256": "3030300c06082a811ccf5501831105000420",
}


def _raw_sign(key, block):
    numbers = key.private_numbers()
    return pow(int.from_bytes(block), numbers.d, numbers.public_numbers.n).to_bytes(256)


def _padded(payload, size=256, fill=b"\xff", kind=b"\1"):
    return b"\0" + kind + fill * (size - 3 - len(payload)) + b"\0" + payload


@pytest.mark.parametrize("by", ENGINES)
def test_rsassa_padding_is_held_to_the_last_byte(by, rsa_key):
    digest = hashlib.sha256(b"attest").digest()
    info = bytes.fromhex(INFO["sha256"])
    without_null = bytes.fromhex("302f300b0609608648016503040201") + b"\4\x20"
    good = _padded(info + digest)
    blocks = {
        "good": good,
        "no NULL": _padded(without_null + digest),
        "bytes after the digest": b"\0\1" + b"\xff" * 8 + b"\0" + info + digest + bytes(256 - 11 - len(info) - 32),
        "bytes before the digest": _padded(bytes(8) + info + digest),
        "type 2": _padded(info + digest, kind=b"\2"),
        "type 0": _padded(info + digest, kind=b"\0", fill=b"\0"),
        "other fill": _padded(info + digest, fill=b"\xfe"),
        "a zero in the fill": good[:20] + b"\0" + good[21:],
        "another hash's name": _padded(bytes.fromhex(INFO["sm3_256"]) + digest),
        "the digest alone": _padded(digest),
        "first byte": b"\1" + good[1:],
        "nothing": bytes(255) + b"\1",
    }
    public = _spki(rsa_key.public_key())
    cases = [(_raw_sign(rsa_key, block), public, tpm_names.RSASSA, 1, digest) for block in blocks.values()]
    assert check(cases, by) == ["good"] + ["bad"] * (len(blocks) - 1)
    # As a TPMT_SIGNATURE lengths can differ from the modulus; as plain bytes too.
    sig = _raw_sign(rsa_key, good)
    modulus = rsa_key.public_key().public_numbers().n
    lengths = [tpmt(0x14, 0xB, part) for part in (sig[:-1], sig + b"\0", b"\0" + sig, sig[1:])] + [sig + bytes(128)]
    assert check([(part, public, tpm_names.RSASSA, 1, digest) for part in lengths], by) == ["range"] * 5
    above = (int.from_bytes(sig) + modulus) % (1 << 2048)
    wrapped = above.to_bytes(256) if int.from_bytes(sig) + modulus < 1 << 2048 else b"\xff" * 256
    assert check([(wrapped, public, tpm_names.RSASSA, 1, digest)], by) == ["bad"]


@pytest.mark.parametrize("by", ENGINES)
def test_rsa_of_every_size_hash_and_scheme(by):
    cases, expected = [], []
    for bits in (2048, 3072, 4096):
        key = rsa.generate_private_key(65537, bits)
        public = rsa_public(key.public_key().public_numbers().n.to_bytes(bits // 8))
        for bank, kind in enumerate(HASHES):
            digest = hashlib.new(kind.name, b"attest").digest()
            pkcs1 = key.sign(digest, padding.PKCS1v15(), utils.Prehashed(kind()))
            pss = key.sign(digest, padding.PSS(padding.MGF1(kind()), kind.digest_size), utils.Prehashed(kind()))
            for scheme, sig, answer in (
                (tpm_names.RSASSA, pkcs1, "good"),
                (tpm_names.RSAPSS, pkcs1, "bad"),
                (tpm_names.RSAPSS, pss, "good"),
                (tpm_names.RSASSA, pss, "bad"),
                (tpm_names.ECDSA, tpmt(0x18, 0xB, bytes(32), bytes(32)), "unusable"),
            ):
                cases.append((sig, public, scheme, bank, digest))
                expected.append(answer)
            cases.append((pkcs1, public, tpm_names.RSASSA, (bank + 1) % 4, digest))
            expected.append("bad")
    assert check(cases, by) == expected


@pytest.mark.parametrize("by", ENGINES)
@pytest.mark.parametrize("salt", [0, 20, 32, 222])
def test_pss_takes_any_salt(by, salt, rsa_key):
    """TPMs differ in it (SPEC 8.2)."""
    digest = hashlib.sha256(b"attest").digest()
    sig = rsa_key.sign(digest, padding.PSS(padding.MGF1(hashes.SHA256()), salt), utils.Prehashed(hashes.SHA256()))
    other = rsa_key.sign(digest, padding.PSS(padding.MGF1(hashes.SHA1()), salt), utils.Prehashed(hashes.SHA256()))
    public = _spki(rsa_key.public_key())
    cases = [(part, public, tpm_names.RSAPSS, 1, digest) for part in (sig, other, sig[:-1] + bytes([sig[-1] ^ 1]))]
    assert check(cases, by) == ["good", "bad", "bad"]


def test_rsassa_with_sm3():
    """No library at hand has it; the block is what libtpms signs (GB/T 33560's OID in the DigestInfo)."""
    key = rsa.generate_private_key(65537, 2048)
    digest = hashlib.new("sm3", b"attest").digest()
    sig = _raw_sign(key, _padded(bytes.fromhex(INFO["sm3_256"]) + digest))
    case = (sig, _spki(key.public_key()), tpm_names.RSASSA, SM3, digest)
    assert check([case], signatures.LIBCRYPTO) == ["good"]


def test_faulty_rows_and_keys_are_never_verified():
    one = sample("ecdsa_p256")
    digest = hashlib.sha256(one.msg).digest()
    good = (one.sig, one.key, tpm_names.ECDSA, 1, digest)
    bad = [
        (one.sig + b"\0", one.key, tpm_names.ECDSA, 1, digest),
        (one.sig, one.key + b"\0", tpm_names.ECDSA, 1, digest),
        (b"", one.key, tpm_names.ECDSA, 1, digest),
        (one.sig, b"", tpm_names.ECDSA, 1, digest),
        (one.sig, one.key, 0, 1, digest),
        (one.sig, one.key, 0x1C, 1, digest),
    ]
    for by in ENGINES:
        assert check([good, *bad, good], by) == ["good", *["unusable"] * len(bad), "good"]


def test_a_batch_of_mixed_keys_in_any_order_gives_each_its_own_answer():
    kinds = ("rsassa", "sm2", "ecdsa_p384", "rsapss", "ecdsa_p256")
    samples = [sample(kind) for kind in kinds]
    rng = np.random.default_rng(7)
    picks = rng.integers(0, len(kinds), 200)
    signer = rng.integers(0, len(kinds), 200)
    messages = Ragged.of([samples[i].msg for i in picks])
    sigs = Ragged.of([samples[i].sig for i in picks])
    quotes = Quotes.of(messages, sigs, Ragged.of([samples[i].key for i in signer]))
    results = verify_signatures(quotes, np.ones(200, np.bool_))
    # The recordings of one machine share a nonce, but each message is signed by one key only.
    assert ((results == _native.GOOD) == (picks == signer)).all()


@pytest.mark.parametrize("kind", ["ecdsa_p256", "ecdsa_p384", "sm2"])
def test_libcrypto_itself_refuses_a_point_off_the_curve_after_one_on_it(kind):
    """Should our own check of points ever fail: keys of a curve follow each other in one EVP_PKEY."""
    one = sample(kind)
    off = one.key[:-1] + bytes([one.key[-1] ^ 1])
    for order in ([one.key, off, one.key], [off, one.key, off, one.key]):
        publics, sigs = Ragged.of(order), Ragged.of([one.sig] * len(order))
        rows = _native.decode_signatures(sigs.blob, sigs.offsets)
        keys = _native.decode_publics(publics.blob, publics.offsets)  # without the check of points
        scheme = np.full(len(order), tpm_names.SM2 if kind == "sm2" else tpm_names.ECDSA, np.uint32)
        bank = BY_NAME[{"sm2": "sm3_256", "ecdsa_p384": "sha384"}.get(kind, "sha256")]
        digest = hashlib.new("sm3" if kind == "sm2" else bank.name, one.msg).digest()
        digests = np.tile(np.frombuffer(digest.ljust(64, b"\0"), np.uint8), (len(order), 1))
        results = _native.verify_signatures(
            _libcrypto.load().functions,
            (sigs.blob, sigs.offsets, rows),
            (publics.blob, publics.offsets, keys),
            np.arange(len(order), dtype=np.uint32),
            scheme,
            np.full(len(order), bank.index, np.uint32),
            np.ascontiguousarray(digests),
        )
        assert [NAMES[r] for r in results] == ["good" if key == one.key else "unusable" for key in order]


def test_engines_are_chosen_by_name_variable_and_what_is_there(monkeypatch):
    monkeypatch.delenv("PYVERIFY_CRYPTO", raising=False)
    assert signatures.engine() == signatures.LIBCRYPTO  # Debian has it
    assert signatures.engine("python") == signatures.PYTHON
    monkeypatch.setenv("PYVERIFY_CRYPTO", "python")
    assert signatures.engine() == signatures.PYTHON
    monkeypatch.setenv("PYVERIFY_CRYPTO", "none")
    with pytest.raises(UsageError):
        signatures.engine()
    with pytest.raises(UsageError):
        signatures.engine("openssl")


@pytest.mark.parametrize("broken", [("_LIBRARY", "libcrypto.so.0"), ("_VERSION", "int OpenSSL_not_there(void);")])
def test_without_libcrypto_the_fallback_answers(monkeypatch, broken):
    monkeypatch.delenv("PYVERIFY_CRYPTO", raising=False)
    _libcrypto.load.cache_clear()
    monkeypatch.setattr(_libcrypto, *broken)
    try:
        assert _libcrypto.load() is None
        assert signatures.engine() == signatures.PYTHON
        with pytest.raises(UsageError):
            signatures.engine("libcrypto")
        one = sample("sm2")
        quotes = Quotes.of(Ragged.of([one.msg]), Ragged.of([one.sig]), Ragged.of([one.key]))
        assert verify_signatures(quotes, np.ones(1, np.bool_)).tolist() == [_native.GOOD]
    finally:
        _libcrypto.load.cache_clear()


def test_a_libcrypto_without_sm2_leaves_sm2_to_the_fallback(monkeypatch):
    without = np.full(2, _native.UNUSABLE, np.uint8)
    monkeypatch.setattr(_native, "verify_signatures", lambda *args: without.copy())
    calls = []
    real = signature_fallback.verify
    monkeypatch.setattr(signature_fallback, "verify", lambda *args: calls.append(len(args[1])) or real(*args))
    samples = [sample("ecdsa_p256"), sample("sm2")]
    quotes = Quotes.of(*(Ragged.of([getattr(s, part) for s in samples]) for part in ("msg", "sig", "key")))
    results = verify_signatures(quotes, np.ones(2, np.bool_), by="libcrypto")
    assert results.tolist() == [_native.UNUSABLE, _native.GOOD] and calls == [1]


def test_shapes_that_do_not_fit_are_refused():
    one = sample("rsassa")
    column, keys = Ragged.of([one.sig]), Keys.of(Ragged.of([one.key]))
    rows = _native.decode_signatures(column.blob, column.offsets)
    number = np.zeros(1, np.uint32)
    functions = _libcrypto.load().functions
    sig, key = (column.blob, column.offsets, rows), (keys.items.blob, keys.items.offsets, keys.rows)
    room = np.zeros((1, 64), np.uint8)
    with pytest.raises(UsageError):
        _native.verify_signatures(functions, sig, key, number, number, number, room[:, :32].copy())
    for wrong in ({"key": number + 1}, {"hash_bank": number + 5}):
        arguments = {"key": number, "scheme": number, "hash_bank": number, "digests": room} | wrong
        with pytest.raises(Exception, match="bad argument"):
            _native.verify_signatures(functions, sig, key, **arguments)
    outside = rows.copy()
    outside["r_at"] = 1 << 31
    with pytest.raises(Exception, match="bad argument"):
        _native.verify_signatures(functions, (*sig[:2], outside), key, number, number, number, room)
    assert len(BANKS) == 5

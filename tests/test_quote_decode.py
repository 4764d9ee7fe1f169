"""Strict reading of attests, signatures, public areas and the values beside quotes (SPEC 8.1, 8.2, 8.4; 10.3)."""

from __future__ import annotations

import hashlib
import json
import struct

import numpy as np
import pytest
from conftest import DATA, shared
from hypothesis import given
from hypothesis import strategies as st
from quote_data import KINDS, attest, ecc_public, quotes_of, recorded, rsa_public, sample, selections, serialized, sized
from quote_data import signature as tpmt

from pyverify import _native
from pyverify.algorithms import BANKS
from pyverify.evidence.columns import Ragged
from pyverify.evidence.keys import Keys, name_of
from pyverify.evidence.pcr_values import authentic_values, laid_out
from pyverify.evidence.quote import Quotes

FAULTS = {number: name for name, number in _native.QUOTE_FAULTS.items()}


def _fault(decode, *items):
    rows = decode(*_blob(list(items)))
    return [(FAULTS[int(row["fault"])], int(row["fault_at"])) for row in rows]


def _blob(items):
    column = Ragged.of(items)
    return column.blob, column.offsets


def test_the_known_answer_attest_field_by_field():
    data = (DATA / "quotes" / "kat_attest.bin").read_bytes()
    for form, at in ((data, 0), (sized(data), 2)):
        quotes = Quotes.of(Ragged.of([form]), Ragged.of([b""]), Ragged.of([b""]))
        row = quotes.attests[0]
        assert (row["fault"], row["at"], row["magic"], row["type"]) == (0, at, 0xFF544347, 0x8018)
        assert (row["clock"], row["reset_count"], row["restart_count"], row["safe"]) == (1000, 2, 3, 1)
        assert row["firmware_version"] == 0x0001000200030004
        assert quotes.nonce(0) == bytes(range(16)) == quotes.nonces()[0]
        assert quotes.pcr_digest(0).hex() == "47a9c20f32c73ad4b4b7de676e77b07cd44081a0bd1335c6991946ce6234e717"
        assert row["n_selections"] == 2 and row["empty"] == 0
        assert list(row["bank"][:2]) == [4, 1] and list(row["mask"][:2]) == [0x81, 0x81]
        assert row["selected"].tolist() == [0, 0x81, 0, 0, 0x81]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["msg", "sig", "key"])
def test_every_prefix_and_every_suffix_is_refused(kind, part):
    data = getattr(sample(kind), part)
    decode = {"msg": _native.decode_attests, "sig": _native.decode_signatures, "key": _native.decode_publics}[part]
    lengths = [n for n in range(len(data)) if not (part == "sig" and n in (128, 256))]  # these are plain RSA signatures
    assert all(fault != "none" for fault, _ in _fault(decode, *(data[:n] for n in lengths)))
    assert _fault(decode, data) == [("none", 0)]
    assert all(fault != "none" for fault, _ in _fault(decode, *(data + bytes(n) for n in (1, 2, 64))))
    if part != "sig":
        body = data[2:] if part == "key" else data
        wrong = [struct.pack(">H", len(body) + d) + body for d in (-1, 1, 255)]
        assert all(fault != "none" for fault, _ in _fault(decode, *wrong))


BAD_ATTESTS = [
    ("empty", b"", ("truncated", 0)),
    ("magic", attest(magic=0xFF544348), ("type", 0)),
    ("TPM 1.2 quote", bytes.fromhex("01010000") + b"QUOT" + bytes(40), ("type", 0)),
    ("certify", attest(kind=0x8017), ("type", 4)),
    ("time", attest(kind=0x8019), ("type", 4)),
    ("creation", attest(kind=0x801A), ("type", 4)),
    ("signer of 67", attest(signer=bytes(67)), ("bound", 6)),
    ("nonce of 67", attest(signer=b"", nonce=bytes(67)), ("bound", 8)),
    ("safe of 2", attest(signer=b"", nonce=b"", safe=2), ("value", 26)),
    ("17 selections", attest(signer=b"", nonce=b"", selection=selections(count=17)), ("bound", 35)),
    ("2^32 - 1 selections", attest(signer=b"", nonce=b"", selection=selections(count=0xFFFFFFFF)), ("bound", 35)),
    ("selection of 0 bytes", attest(signer=b"", nonce=b"", selection=selections((0xB, b""))), ("bound", 41)),
    ("selection of 5 bytes", attest(signer=b"", nonce=b"", selection=selections((0xB, bytes(5)))), ("bound", 41)),
    ("a bank twice", attest(selection=selections((0xB, b"\1\0\0"), (4, b"\1\0\0"), (0xB, b"\2\0\0"))), ("value", 90)),
    ("an unknown bank twice", attest(selection=selections((0x99, b"\0\0\0"), (0x99, b"\0\0\0"))), ("value", 84)),
    ("digest of 65", attest(signer=b"", nonce=b"", selection=selections(), digest=bytes(65)), ("bound", 39)),
    ("a byte after the end", attest(tail=b"\0"), ("trailing", 118)),
    ("sized, and a byte after the end", sized(attest()) + b"\0", ("trailing", 0)),
    ("too large", attest() + bytes(70000), ("bound", 0)),
]


@pytest.mark.parametrize(("data", "fault"), [row[1:] for row in BAD_ATTESTS], ids=[row[0] for row in BAD_ATTESTS])
def test_attests_that_no_tpm_has_signed(data, fault):
    assert _fault(_native.decode_attests, data) == [fault]
    row = _native.decode_attests(*_blob([data]))[0]
    assert not row["selected"].any() and not row["n_selections"] and not row["digest_size"]


def test_attests_at_their_bounds_are_read():
    good = [
        attest(signer=bytes(66), nonce=bytes(66), digest=bytes(64)),
        attest(signer=b"", nonce=b"", digest=b"", safe=0),
        attest(selection=selections()),
        attest(selection=selections(*((number, b"\1") for number in range(16)))),
        attest(selection=selections((0xB, b"\0\0\0\x80"), (0x27, b"\1\0\0"))),
    ]
    rows = _native.decode_attests(*_blob(good))
    assert not rows["fault"].any()
    assert rows["empty"].tolist() == [0, 0, 1, 0, 0]
    assert rows["n_selections"].tolist() == [1, 1, 0, 16, 2]
    assert rows["bank"][4, :2].tolist() == [1, _native.NO_BANK] and rows["mask"][4, 0] == 1 << 31


def _der(*numbers):
    def integer(n):
        body = n.to_bytes(max(1, (n.bit_length() + 8) // 8), "big", signed=True)
        return b"\2" + bytes([len(body)]) + body

    body = b"".join(integer(n) if isinstance(n, int) else n for n in numbers)
    return b"\x30" + (bytes([len(body)]) if len(body) < 128 else b"\x81" + bytes([len(body)])) + body


BIG = 1 << 255
BAD_SIGNATURES = [
    ("empty", b"", ("truncated", 0)),
    ("none", struct.pack(">H", 0x10), ("scheme", 0)),
    ("HMAC", tpmt(0x5, 0xB, bytes(32)), ("scheme", 0)),
    ("ECDAA", tpmt(0x1A, 0xB, bytes(32), bytes(32)), ("scheme", 0)),
    ("EC-Schnorr", tpmt(0x1C, 0xB, bytes(32), bytes(32)), ("scheme", 0)),
    ("no algorithm", tpmt(0x1234, 0xB, bytes(32), bytes(32)), ("scheme", 0)),
    ("r of 0 bytes", tpmt(0x18, 0xB, b"", bytes(32)), ("bound", 4)),
    ("s of 0 bytes", tpmt(0x18, 0xB, bytes(32), b""), ("bound", 38)),
    ("r of 67 bytes", tpmt(0x18, 0xB, bytes(67), bytes(32)), ("bound", 4)),
    ("RSA of 513 bytes", tpmt(0x14, 0xB, bytes(513)), ("bound", 4)),
    ("RSA of 0 bytes", tpmt(0x14, 0xB, b""), ("bound", 4)),
    ("RSA and a byte", tpmt(0x14, 0xB, bytes(256)) + b"\0", ("trailing", 262)),
    ("s missing", tpmt(0x18, 0xB, bytes(32)), ("truncated", 38)),
    ("DER negative", _der(b"\2\x01\x80", 1), ("value", 2)),
    ("DER not minimal", _der(b"\2\x02\0\x01", 1), ("value", 2)),
    ("DER empty integer", _der(b"\2\0", 1), ("value", 2)),
    ("DER of three", _der(1, 1, 1), ("trailing", 8)),
    ("DER of one", _der(1), ("truncated", 5)),
    ("DER trailing", _der(BIG, BIG) + b"\0", ("trailing", 1)),
    ("DER cut", _der(BIG, BIG)[:-1], ("truncated", 1)),
    ("DER long length", b"\x30\x81\x06" + _der(1, 1)[2:], ("value", 1)),
    ("DER indefinite", b"\x30\x80" + _der(1, 1)[2:] + b"\0\0", ("bound", 1)),
    ("DER other tag", _der(b"\3\x01\x01", 1), ("value", 2)),
    ("DER integer of 67 bytes", _der(1 << 530, 1), ("bound", 2)),
]


@pytest.mark.parametrize(("data", "fault"), [r[1:] for r in BAD_SIGNATURES], ids=[r[0] for r in BAD_SIGNATURES])
def test_signatures_that_are_none(data, fault):
    assert _fault(_native.decode_signatures, data) == [fault]


@given(st.integers(0, (1 << 520) - 1), st.integers(0, (1 << 520) - 1))
def test_der_signatures_of_others_are_read(r, s):
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    data = encode_dss_signature(r, s)
    row = _native.decode_signatures(*_blob([data]))[0]
    if len(data) in (128, 256):
        return  # of the length of a plain RSA signature
    assert (row["fault"], row["form"]) == (0, _native.SIGNATURE_DER)
    parts = [int.from_bytes(data[row[f"{n}_at"] :][: row[f"{n}_size"]]) for n in "rs"]
    assert parts == [r, s]


X, Y = bytes([1]) * 32, bytes([2]) * 32
MODULUS = b"\x80" + bytes(254) + b"\1"
BAD_PUBLICS = [
    ("empty", b"", ("truncated", 0)),
    ("keyed hash", struct.pack(">HHI", 8, 0xB, 0x50072) + bytes(30), ("scheme", 0)),
    ("symmetric", struct.pack(">HHI", 0x25, 0xB, 0x50072) + bytes(30), ("scheme", 0)),
    ("no type", struct.pack(">HHI", 0x99, 0xB, 0x50072) + bytes(30), ("value", 0)),
    ("policy of 65", struct.pack(">HHI", 1, 0xB, 0x50072) + sized(bytes(65)), ("bound", 8)),
    ("RSA with ECDSA", rsa_public(MODULUS, scheme=struct.pack(">HH", 0x18, 0xB)), ("value", 12)),
    ("ECC with RSASSA", ecc_public(X, Y, scheme=struct.pack(">HH", 0x14, 0xB)), ("value", 12)),
    ("bits and modulus differ", rsa_public(MODULUS, bits=2047), ("value", 22)),
    ("a modulus that is shorter than it says", rsa_public(b"\0" + MODULUS[1:]), ("value", 22)),
    ("modulus of 513", rsa_public(b"\x80" * 513), ("bound", 22)),
    ("modulus of 0", rsa_public(b""), ("value", 22)),
    ("x of 33", ecc_public(b"\0" + X, Y), ("bound", 20)),
    ("x of 0", ecc_public(b"", Y), ("bound", 20)),
    ("y of 0", ecc_public(X, b""), ("bound", 20)),
    ("a byte after the end", ecc_public(X, Y, tail=b"\0"), ("trailing", 88)),
]


@pytest.mark.parametrize(("data", "fault"), [r[1:] for r in BAD_PUBLICS], ids=[r[0] for r in BAD_PUBLICS])
def test_public_areas_that_are_none(data, fault):
    assert _fault(_native.decode_publics, data) == [fault]


def test_public_areas_of_other_shapes_are_read():
    good = [
        rsa_public(MODULUS),
        rsa_public(MODULUS, exponent=3, scheme=b"\0\x10", symmetric=struct.pack(">HHH", 6, 128, 0x43)),
        ecc_public(X, Y, kdf=struct.pack(">HH", 0x20, 0xB)),
        ecc_public(X, Y, scheme=struct.pack(">HHH", 0x1A, 0xB, 1)),
        ecc_public(b"\7", b"\7", curve=0x10),
    ]
    rows = _native.decode_publics(*_blob([*good, *map(sized, good)]))
    assert not rows["fault"].any()
    assert rows["at"].tolist() == [0] * 5 + [2] * 5
    assert rows["exponent"].tolist()[:2] == [65537, 3]
    assert rows["symmetric"][1] == 6 and rows["scheme"].tolist()[:4] == [0x14, 0x10, 0x18, 0x1A]


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_what_the_tpm_says(kind):
    folder = DATA / "quotes" / kind
    public, name = (folder / "ak.pub").read_bytes(), (folder / "ak.name").read_bytes()
    assert name_of(public) == name == name_of(public[2:])
    if (folder / "ak.pem").exists():
        pem = (folder / "ak.pem").read_bytes()
        keys = Keys.of(Ragged.of([public, pem]))
        assert keys.point(0) == keys.point(1) and keys.bare.tolist() == [False, True]
        assert name_of(pem) is None


def test_a_name_of_every_hash():
    for bank in BANKS:
        public = rsa_public(MODULUS, name_hash=bank.id)
        digest = hashlib.new("sm3" if bank.name == "sm3_256" else bank.name, public).digest()
        assert name_of(sized(public)) == struct.pack(">H", bank.id) + digest
    assert name_of(rsa_public(MODULUS, name_hash=0x10)) is None


def test_keys_in_pem_and_der():
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    private = [rsa.generate_private_key(65537, 2048), *map(ec.generate_private_key, (ec.SECP256R1(), ec.SECP521R1()))]
    forms = [
        [key.public_key().public_bytes(form, PublicFormat.SubjectPublicKeyInfo) for key in private]
        for form in (Encoding.DER, Encoding.PEM)
    ]
    keys = Keys.of(Ragged.of([*forms[0], *forms[1]]))
    assert not keys.rows["fault"].any() and keys.bare.all()
    numbers = private[0].public_key().public_numbers()
    points = [key.public_key().public_numbers() for key in private[1:]]
    expected = [(numbers.n, 0), *((point.x, point.y) for point in points)]
    assert [keys.point(i) for i in range(6)] == expected * 2
    other = (
        ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    k1 = (
        ec.generate_private_key(ec.SECP256K1())
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    bad = [other, k1, forms[0][0] + b"\0", forms[1][1][:-30], b"-----BEGIN PUBLIC KEY-----", b"\x30" * 9000, b"\xff"]
    assert Keys.of(Ragged.of(bad)).rows["fault"].all()


def test_an_sm2_key_in_pem_is_read_and_its_point_checked():
    import base64

    public = sample("sm2").key
    x, y = Keys.of(Ragged.of([public])).point(0)
    der = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d03420004")  # SPEC 11.3
    good = der + x.to_bytes(32) + y.to_bytes(32)
    off = der + x.to_bytes(32) + (y ^ 1).to_bytes(32)
    pem = b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(good) + b"-----END PUBLIC KEY-----\n"
    keys = Keys.of(Ragged.of([good, pem, off, good + b"\0"]))
    assert [FAULTS[int(fault)] for fault in keys.rows["fault"]] == ["none", "none", "value", "value"]
    assert keys.point(1) == (x, y)


def test_points_off_the_curve_are_refused_wherever_they_stand():
    p256, sm2 = sample("ecdsa_p256").key, sample("sm2").key
    off = p256[:-1] + bytes([p256[-1] ^ 1])
    flagged = p256.replace(struct.pack(">HH", 0x18, 0xB) + b"\0\3", struct.pack(">HH", 0x1B, 0x12) + b"\0\x20")
    assert flagged != p256
    keys = Keys.of(Ragged.of([p256, off, flagged, sm2, off, p256]))
    assert [FAULTS[int(fault)] for fault in keys.rows["fault"]] == ["none", "value", "value", "none", "value", "none"]


def test_equal_bare_numbers_of_different_keys_are_not_equal_keys():
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    modulus = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    ders = [
        rsa.RSAPublicNumbers(e, modulus).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for e in (3, 65537)
    ]
    keys = Keys.of(Ragged.of(ders))
    assert keys.rows["exponent"].tolist() == [3, 65537] and keys.same_as.tolist() == [0, 1]


VALUES = [hashlib.sha256(bytes([i])).digest() for i in range(8)]


@pytest.mark.parametrize(
    ("beside", "fits"),
    [
        (serialized(VALUES), True),
        (serialized(VALUES, 3), True),
        (b"".join(VALUES), True),
        (serialized(VALUES[:7]), False),
        (serialized([*VALUES, VALUES[0]]), False),
        (serialized(VALUES)[:-1], False),
        (serialized(VALUES) + b"\0", False),
        (serialized([v[:20] for v in VALUES]), False),
        (serialized(VALUES).replace(struct.pack("<I", 8), struct.pack("<I", 9)), False),
        (bytes(132) + b"\xff\xff\xff\xff", False),
        (b"".join(VALUES)[:-1], False),
        (b"".join(VALUES) + bytes(32), False),
        (b"", False),
        ("\n".join(f"sha256 {i} {v.hex()}" for i, v in enumerate(VALUES)).encode(), True),
        ("\n".join(f"sm3_256 {i} {v.hex()}" for i, v in enumerate(VALUES)).encode(), False),
        ("\n".join(f"sha256 {i} {v.hex()}" for i, v in enumerate(VALUES[:7])).encode(), False),
        (json.dumps({"sha256": {str(i): v.hex() for i, v in enumerate(VALUES)}}).encode(), True),
        (b"sha256: nonsense", False),
    ],
)
def test_values_beside_a_quote(beside, fits):
    signed = attest(digest=hashlib.sha256(b"".join(VALUES)).digest())
    key, sig = sample("ecdsa_p256").key, sample("ecdsa_p256").sig
    quotes = Quotes.of(*(Ragged.of([part]) for part in (signed, sig, key, beside)))
    complete, values = laid_out(quotes)
    assert complete.tolist() == [fits]
    found = authentic_values(quotes, 0)
    assert (found is not None) == fits
    if fits:
        mask, column = found["sha256"]
        assert mask == 0xFF and [column[i].tobytes() for i in range(8)] == VALUES and not column[8:].any()
        assert list(found) == ["sha256"]
    elif beside[:1] not in (b"s", b"{"):
        assert not values["sha256"].any()


def test_values_are_never_taken_for_the_banks_and_pcrs_that_a_file_names():
    """The unsigned file of CVE-2024-29039: values of PCR 16 and 23 labelled 0 and 7, and SM3 values labelled sha256."""
    a, b = VALUES[:2]
    signed = attest(selection=selections((0xB, b"\0\0\x81")), digest=hashlib.sha256(a + b).digest())
    header = struct.pack("<I", 1) + struct.pack("<HB", 0xB, 3) + b"\x81\0\0" + bytes(132 - 10)
    beside = header + serialized([a, b])[132:]
    key, sig = sample("ecdsa_p256").key, sample("ecdsa_p256").sig
    quotes = Quotes.of(*(Ragged.of([part]) for part in (signed, sig, key, beside)))
    mask, column = authentic_values(quotes, 0)["sha256"]
    assert mask == 1 << 16 | 1 << 23 and column[16].tobytes() == a and not column[0].any()
    labelled = f"sha256 0 {a.hex()}\nsha256 7 {b.hex()}\n".encode()
    quotes = Quotes.of(*(Ragged.of([part]) for part in (signed, sig, key, labelled)))
    assert authentic_values(quotes, 0) is None


def test_selections_of_values_that_cannot_be_had_give_none():
    key, sig = sample("ecdsa_p256").key, sample("ecdsa_p256").sig
    for chosen, beside in (
        (selections(), b""),
        (selections((0xB, b"\0\0\0")), b""),
        (selections((0x27, b"\1\0\0")), bytes(32)),
        (selections((0xB, b"\0\0\0\1")), bytes(32)),
    ):
        signed = attest(selection=chosen, digest=hashlib.sha256(beside).digest())
        quotes = Quotes.of(*(Ragged.of([part]) for part in (signed, sig, key, beside)))
        assert authentic_values(quotes, 0) is None


@given(st.binary(max_size=300), st.binary(max_size=200), st.binary(max_size=400), st.binary(max_size=1300))
def test_no_bytes_do_more_than_be_refused(msg, sig, key, values):
    honest = sample("rsassa")
    items = [(msg, honest.msg, attest()), (sig, honest.sig, sig), (key, honest.key, key), (values, honest.pcrs, values)]
    quotes = Quotes.of(*(Ragged.of(list(column)) for column in items))
    assert quotes.attests["fault"][1] == quotes.keys.rows["fault"][1] == quotes.signature_rows["fault"][1] == 0
    laid_out(quotes)
    assert authentic_values(quotes, 1) is not None


def test_every_recorded_quote_is_read_as_its_index_says():
    samples = recorded()
    quotes = quotes_of(samples)
    assert len(samples) > 500
    assert not (
        quotes.attests["fault"].any() or quotes.signature_rows["fault"].any() or quotes.keys.rows["fault"].any()
    )
    hashes = {bank.name: bank.id for bank in BANKS}
    for i, one in enumerate(samples):
        wanted = {}
        for part in one.selection.split("+"):
            bank, pcrs = part.split(":")
            wanted[bank] = sum(1 << int(pcr) for pcr in pcrs.split(","))
        assert quotes.attests["selected"][i].tolist() == [wanted.get(bank.name, 0) for bank in BANKS], one.name
        assert quotes.nonce(i) == one.nonce and quotes.hash_id[i] == hashes[one.hash_name], one.name
        name = one.folder / "ak" / f"ak_{one.ak}.name"
        assert quotes.keys.names[i] == name.read_bytes(), one.name
        found = authentic_values(quotes, i) if i % 8 == 0 else {}
        assert found is not None, one.name


def test_every_corpus_attest_is_read_as_its_manifest_says():
    corpus = shared("corpus")
    records = [r for r in json.loads((corpus / "manifest.json").read_text()) if r["kind"] == "quote" and r.get("quote")]
    assert len(records) > 15
    messages = Ragged.of([(corpus / r["file"]).read_bytes() for r in records])
    values = [json.dumps(r["expected_pcrs"]["values"]).encode() if r.get("quote_digest_ok") else None for r in records]
    n = len(records)
    quotes = Quotes.of(messages, Ragged.of([sample("rsassa").sig] * n), Ragged.of([None] * n), Ragged.of(values))
    checked = 0
    for i, record in enumerate(records):
        row, said = quotes.attests[i], record["quote"]
        assert row["fault"] == 0, record["file"]
        facts = ("clock", "reset_count", "restart_count", "safe")
        assert [int(row[name]) for name in facts] == [said[name] for name in facts], record["file"]
        assert f"{int(row['firmware_version']):016x}" == said["fw"]
        assert quotes.nonce(i).hex() == said["nonce"] and quotes.pcr_digest(i).hex() == said["pcr_digest"]
        names = {bank.index: bank.name for bank in BANKS}
        chosen = [
            {"bank": names[int(b)], "pcrs": [p for p in range(32) if int(m) >> p & 1]}
            for b, m in zip(row["bank"][: row["n_selections"]], row["mask"][: row["n_selections"]], strict=True)
        ]
        assert chosen == said["selection"], record["file"]
        if record.get("quote_digest_ok") and row["digest_size"] == 32:
            assert authentic_values(quotes, i) is not None, record["file"]
            checked += 1
    assert checked > 10
    assert np.count_nonzero(quotes.attests["empty"]) == 1  # a quote of nothing: sound signature, no meaning

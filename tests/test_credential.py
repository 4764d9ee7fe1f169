"""Public areas and credentials: recordings of a real TPM, tpm2-tools, and keys that must not pass."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import shutil
import struct
import subprocess

import pytest
from conftest import shared
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from quote_data import ecc_public, rsa_public, sized

from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence import sm2
from pyverify.evidence.credential import make_credential
from pyverify.evidence.curves import SM2
from pyverify.evidence.keys import SM2_SPKI
from pyverify.evidence.public_area import EccKey, RsaKey, attestation_key_faults, endorsement_key_faults, parse

SECRET = bytes(range(32))
AK_NAME = b"\x00\x0b" + bytes(32)
# SPEC 11.4: TPMT_PUBLIC of the KAT's SM2 key, and its Name
KAT = bytes.fromhex(
    "002300120005007200000010001b001200200010002009f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
    "0020ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
)
KAT_NAME = bytes.fromhex("0012536b76e404af077b801e338ede179258792c888e56392da321d4fc255976445b")


def rsa_area(key, attributes=0x000300B2, symmetric=b"\x00\x06\x00\x80\x00\x43", scheme=b"\x00\x10", exponent=0):
    modulus = key.public_key().public_numbers().n.to_bytes(key.key_size // 8)
    rest = {"attributes": attributes, "symmetric": symmetric, "exponent": exponent, "policy": bytes(32)}
    return sized(rsa_public(modulus, scheme=scheme, **rest))


def ecc_area(key, curve, attributes=0x000300B2, name_algorithm=0xB, bits=128):
    numbers, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
    rest = {"curve": curve, "attributes": attributes, "name_hash": name_algorithm, "policy": bytes(32)}
    x, y = (number.to_bytes(size) for number in (numbers.x, numbers.y))
    return sized(ecc_public(x, y, scheme=b"\x00\x10", symmetric=struct.pack(">HHH", 6, bits, 0x43), **rest))


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


def test_the_name_is_that_of_the_specification():
    assert parse(KAT).name == parse(sized(KAT)).name == KAT_NAME
    assert isinstance(parse(KAT).key, EccKey)
    assert parse(KAT).key.curve == SM2.id
    assert attestation_key_faults(parse(KAT)) == []


def test_names_are_those_that_tpms_gave_their_keys():
    keys = sorted(shared("recordings").glob("*/ak/*.tpm2b"))
    seen = 0
    for path in keys:
        name = path.with_suffix(".name")
        if not name.exists():
            assert path.stem == "ak_unrestricted"
            assert attestation_key_faults(parse(path.read_bytes())) == ["not restricted"]
            continue
        area = parse(path.read_bytes())
        assert area.name == name.read_bytes()
        assert attestation_key_faults(area) == [], path
        assert endorsement_key_faults(area)
        seen += 1
    assert seen > 100


def test_public_areas_of_recorded_endorsement_keys():
    seen = set()
    for path in shared("recordings").glob("*/ek/*.tpm2b"):
        area = parse(path.read_bytes())
        assert endorsement_key_faults(area) == []
        assert attestation_key_faults(area)
        bits = {32: 128, 48: 256}[area.name_hash.size]  # TCG EK Credential Profile, annex B: AES in CFB mode
        assert area.symmetric == (6, bits, 0x43)
        seen.add(type(area.key))
    assert seen == {RsaKey, EccKey}


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("neither RSA nor ECC", lambda d: b"\x00\x08" + d[2:]),
        ("ends too early", lambda d: d[:-1]),
        ("bytes follow", lambda d: d + b"\0"),
        ("neither RSA nor ECC", lambda d: struct.pack(">H", len(d) + 1) + d),
        ("neither RSA nor ECC", lambda d: struct.pack(">H", len(d) - 1) + d),
        ("not on its curve", lambda d: d[:-1] + bytes([d[-1] ^ 1])),
        ("not on its curve", lambda d: d[:16] + b"\x00\x03" + d[18:]),  # an SM2 point said to be on P-256
        ("curve 0x0001", lambda d: d[:16] + b"\x00\x01" + d[18:]),
        ("name algorithm", lambda d: d[:2] + b"\x00\x04" + d[4:]),
        ("a field of 255 bytes", lambda d: d[:8] + b"\x00\xff" + d[10:]),
        ("ends too early", lambda d: b""),
        ("ends too early", lambda d: d[:1]),
        ("too many", lambda d: d + bytes(5000)),
        ("this is PEM", lambda d: b"-----BEGIN PUBLIC KEY-----\n"),
    ],
)
def test_public_areas_that_are_none(words, change):
    assert KAT[14:18] == bytes.fromhex("00120020")  # what the offsets above rely on: scheme hash, then the curve
    with pytest.raises(EvidenceError, match=words) as caught:
        parse(change(KAT))
    assert caught.value.code == "quote.format"


def test_every_cut_of_a_public_area_is_refused(rsa_key):
    for whole in (KAT, rsa_area(rsa_key)):
        for size in range(len(whole)):
            with pytest.raises(EvidenceError):
                parse(whole[:size])


@settings(deadline=None)
@given(st.binary(max_size=200) | st.tuples(st.integers(0, len(KAT)), st.binary(max_size=8)))
def test_no_bytes_make_the_decoder_raise_anything_else(drawn):
    data = drawn if isinstance(drawn, bytes) else KAT[: drawn[0]] + drawn[1] + KAT[drawn[0] + len(drawn[1]) :]
    with contextlib.suppress(EvidenceError):
        area = parse(data)
        assert area.data in (data, data[2:])


def test_weak_rsa_keys_are_none(rsa_key):
    parse(rsa_area(rsa_key, exponent=65537))
    for exponent in (1, 3, 65535, 65538):
        with pytest.raises(EvidenceError, match="exponent"):
            parse(rsa_area(rsa_key, exponent=exponent))
    with pytest.raises(EvidenceError, match="key bits"):
        parse(rsa_area(rsa.generate_private_key(65537, 1024)))


@pytest.mark.parametrize(
    ("bit", "fault"),
    [
        (0x2, "not fixed tpm"),
        (0x10, "not fixed parent"),
        (0x20, "not sensitive data origin"),
        (0x10000, "not restricted"),
        (0x40000, "not sign"),
        (0x20000, "decrypt"),
        (0x800, "encrypted duplication"),
    ],
)
def test_each_attribute_of_an_attestation_key_counts(bit, fault):
    attributes = int.from_bytes(KAT[4:8], "big") ^ bit
    assert attestation_key_faults(parse(KAT[:4] + attributes.to_bytes(4, "big") + KAT[8:])) == [fault]


# ---- credentials


def activate(blob, private, ak_name, digest="sha256", bits=128):
    """What a TPM does with a credential, by other means than the package: KDFs spelt out, AES-CFB of OpenSSL."""
    assert blob[:8] == bytes.fromhex("badcc0de00000001")
    size = int.from_bytes(blob[8:10], "big")
    inner, rest = blob[10 : 10 + size], blob[10 + size :]
    encrypted = rest[2:]
    assert int.from_bytes(rest[:2], "big") == len(encrypted)
    length = hashlib.new(digest).digest_size
    algorithm = {"sha256": hashes.SHA256, "sha384": hashes.SHA384}[digest]()
    if isinstance(private, rsa.RSAPrivateKey):
        seed = private.decrypt(encrypted, padding.OAEP(padding.MGF1(algorithm), algorithm, b"IDENTITY\0"))
    else:
        field = (private.key_size + 7) // 8
        assert len(encrypted) == 2 * (field + 2)
        x, y = encrypted[2 : 2 + field], encrypted[4 + field :]
        point = ec.EllipticCurvePublicNumbers(*(int.from_bytes(v, "big") for v in (x, y)), private.curve).public_key()
        z = private.exchange(ec.ECDH(), point)
        own = private.public_key().public_numbers().x.to_bytes(field, "big")
        seed = hashlib.new(digest, b"\0\0\0\1" + z + b"IDENTITY\0" + x + own).digest()
    tag, identity = inner[2 : 2 + length], inner[2 + length :]
    hmac_key = hmac.digest(seed, b"\0\0\0\1INTEGRITY\0" + struct.pack(">I", 8 * length), digest)
    if hmac.digest(hmac_key, identity + ak_name, digest) != tag:
        return None
    aes = hmac.digest(seed, b"\0\0\0\1STORAGE\0" + ak_name + struct.pack(">I", bits), digest)[: bits // 8]
    plain = Cipher(algorithms.AES(aes), CFB(bytes(16))).decryptor().update(identity)
    assert int.from_bytes(plain[:2], "big") == len(plain) - 2
    return plain[2:]


@pytest.mark.parametrize("secret", [SECRET, b"x", bytes(15)])
def test_a_credential_opens_with_the_rsa_key_and_the_name_only(rsa_key, secret):
    blob = make_credential(rsa_area(rsa_key), AK_NAME, secret)
    assert activate(blob, rsa_key, AK_NAME) == secret
    assert activate(blob, rsa_key, AK_NAME[:-1] + b"\1") is None
    with pytest.raises(ValueError):
        activate(blob, rsa.generate_private_key(65537, 2048), AK_NAME)


@pytest.mark.parametrize(
    ("curve", "number", "name_algorithm", "digest", "bits"),
    [(ec.SECP256R1(), 3, 0xB, "sha256", 128), (ec.SECP384R1(), 4, 0xC, "sha384", 256)],
)
def test_a_credential_opens_with_the_ecc_key_and_the_name_only(curve, number, name_algorithm, digest, bits):
    key = ec.generate_private_key(curve)
    area = ecc_area(key, number, name_algorithm=name_algorithm, bits=bits)
    blob = make_credential(area, AK_NAME, SECRET)
    assert activate(blob, key, AK_NAME, digest, bits) == SECRET
    assert activate(blob, key, KAT_NAME, digest, bits) is None
    assert activate(blob, ec.generate_private_key(curve), AK_NAME, digest, bits) is None
    assert make_credential(area, AK_NAME, SECRET) != blob


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_the_test_opens_what_tpm2_tools_make(tmp_path, rsa_key, kind):
    """So that the two tests above stand on somebody else's feet."""
    if shutil.which("tpm2_makecredential") is None:
        pytest.skip("tpm2-tools are not installed")
    key = rsa_key if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "ek").write_bytes(rsa_area(key) if kind == "rsa" else ecc_area(key, 3))
    (tmp_path / "secret").write_bytes(SECRET)
    command = ["tpm2_makecredential", "-T", "none", "-u", "ek", "-s", "secret", "-n", AK_NAME.hex(), "-o", "blob"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert activate((tmp_path / "blob").read_bytes(), key, AK_NAME) == SECRET


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_credentials_have_the_shape_of_recorded_ones(kind):
    folder = shared("recordings", "01_m1_first_boot", "ek")
    recorded = (folder / f"credential_{kind}.blob").read_bytes()
    secret = (folder / f"credential_{kind}.secret").read_bytes()
    assert (folder / f"credential_{kind}.activated").read_bytes() == secret
    own = make_credential((folder / f"ek_{kind}.tpm2b").read_bytes(), AK_NAME, secret)
    assert len(own) == len(recorded)
    assert own[:12] == recorded[:12]  # magic, version, both sizes


def test_only_endorsement_keys_are_challenged(rsa_key):
    for area in (KAT, rsa_area(rsa_key, attributes=0x000300B2 & ~0x2), rsa_area(rsa_key, attributes=0x000700B2)):
        with pytest.raises(UsageError, match="no endorsement key"):
            make_credential(area, AK_NAME, SECRET)
    with pytest.raises(UsageError, match="AES in CFB"):
        make_credential(rsa_area(rsa_key, symmetric=b"\x00\x13\x00\x80\x00\x43"), AK_NAME, SECRET)
    for secret in (b"", bytes(33)):
        with pytest.raises(UsageError, match="takes 1 to 32"):
            make_credential(rsa_area(rsa_key), AK_NAME, secret)


# ---- SM2 with ZA (SPEC 11.3)

KEY = (
    0x09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020,
    0xCCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13,
)
R = 0xF5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3
S = 0xB1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA


def der(*numbers):
    """A SEQUENCE of INTEGERs, negative ones too, which the library does not write."""
    body = b""
    for number in numbers:
        content = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
        body += bytes([2, len(content)]) + content
    return bytes([0x30, len(body)]) + body


def tpmt(r, s):
    return struct.pack(">HH", 0x1B, 0x12) + sized(r.to_bytes(32)) + sized(s.to_bytes(32))


def verifies(x, y, r, s, message):
    public = ecc_public(x.to_bytes(32), y.to_bytes(32), curve=0x20, scheme=b"\x00\x1b\x00\x12")
    return sm2.verify_with_za(public, der(r, s), message)


def test_the_standard_sm2_signature_verifies():
    assert sm2.za(*KEY).hex().upper() == "B2E14C5C79C6DF5B85F4FE7ED8DB7A262B9DA7E07CCB0EA9F4747B8CCDA8A4F3"
    assert verifies(*KEY, R, S, b"message digest")
    assert sm2.verify_with_za(SM2_SPKI + b"".join(n.to_bytes(32) for n in KEY), der(R, S), b"message digest")


@pytest.mark.parametrize(
    ("r", "s"),
    [(0, S), (R, 0), (R, SM2.n), (R + SM2.n, S), (R, S + SM2.n), (R, SM2.n - S), (R, SM2.n - R), (1, 1), (-R, S)],
)
def test_sm2_signatures_out_of_range_do_not(r, s):
    assert not verifies(*KEY, r, s, b"message digest")


def test_sm2_signatures_of_other_messages_keys_and_modes_do_not():
    assert not verifies(*KEY, R, S, b"message digesT")
    assert not verifies(KEY[0], KEY[1] ^ 1, R, S, b"message digest")
    digest_r = 0xCA0EA5B47728EFA5F9E1989508CD3069A2E6F85F7F5125C1A843F3EBFCAD87EA  # over the digest alone
    digest_s = 0x9F63ABE109485C501C147632BC3D53D297D860A8DF2ED3619FD75A776C93FF8C
    assert not verifies(*KEY, digest_r, digest_s, b"message digest")


def test_a_certificate_has_its_signature_in_strict_der_only():
    public, message = SM2_SPKI + b"".join(n.to_bytes(32) for n in KEY), b"message digest"
    strict = der(R, S)
    assert strict[2:5] == b"\x02\x21\x00"  # the byte of the sign
    padded = bytes([0x30, strict[1] + 1, 2, 0x22, 0]) + strict[4:]
    for signature in (tpmt(R, S), padded, strict + b"\0", strict[:-1], b""):
        assert not sm2.verify_with_za(public, signature, message)


def test_an_sm2_signature_needs_an_sm2_key(rsa_key):
    message, p256 = b"message digest", ec.generate_private_key(ec.SECP256R1())
    signed = p256.sign(message, ec.ECDSA(hashes.SHA256()))
    for key in (p256, rsa_key):
        spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert not sm2.verify_with_za(spki, signed, message)
    for key in (b"", SM2_SPKI, SM2_SPKI + bytes(64), SM2_SPKI + bytes(65)):
        assert not sm2.verify_with_za(key, der(R, S), message)

"""EK and AK certificates: recorded ones, then every way in which a chain must not hold (attacks 82, 111)."""

from __future__ import annotations

import contextlib
import datetime
import shutil
import subprocess

import pytest
from conftest import shared
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence.certificates import check_chain, model_of, public_key_of, read_certificates
from pyverify.evidence.public_area import EccKey, parse

NOW = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
YEAR = datetime.timedelta(days=365)
EK, AK, WEB = (x509.ObjectIdentifier(oid) for oid in ("2.23.133.8.1", "2.23.133.8.3", "1.3.6.1.5.5.7.3.1"))


def name_of(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Made:
    """A certificate with its key, signed by another such or by itself; every part can be made wrong."""

    def __init__(
        self, name, issuer=None, *, key=None, ca=True, path=None, start=-YEAR, end=YEAR, extra=(), digest=None
    ):
        self.name = name_of(name)
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        signer = issuer or self
        builder = x509.CertificateBuilder().subject_name(self.name).issuer_name(signer.name)
        builder = builder.public_key(self.key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(NOW + start).not_valid_after(NOW + end)
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca, path), critical=True)
        for extension, critical in extra:
            builder = builder.add_extension(extension, critical)
        self.der = builder.sign(signer.key, digest or hashes.SHA256()).public_bytes(Encoding.DER)


def usage(**flags):
    names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign"
    known = dict.fromkeys(f"{names} crl_sign encipher_only decipher_only".split(), False)
    return x509.KeyUsage(**(known | flags))


def purpose(*oids):
    return (x509.ExtendedKeyUsage(oids), False)


def leaf(issuer, *, oids=(EK,), ca=False, extra=(), **changes):
    return Made("leaf", issuer, ca=ca, extra=(*([purpose(*oids)] if oids else []), *extra), **changes)


ROOT = Made("root")
MIDDLE = Made("middle", ROOT, path=0)
LEAF = leaf(MIDDLE)


def check(made, middles=(MIDDLE,), roots=(ROOT,), at=NOW, use="ek", key=None):
    sent = [m.der for m in middles]
    return check_chain(made.der, sent, [r.der for r in roots], at=at, purpose=use, key=key or public_key_of(made.der))


def test_an_honest_chain_holds():
    assert check(LEAF) == []
    assert check(leaf(ROOT), middles=()) == []
    assert check(LEAF, middles=(), roots=(ROOT, MIDDLE)) == []  # an authority may be pinned itself
    assert check(leaf(MIDDLE, oids=(AK,)), use="ak") == []
    big = Made("big", key=rsa.generate_private_key(65537, 2048))
    assert check(leaf(big, key=rsa.generate_private_key(65537, 2048)), middles=(), roots=(big,)) == []
    assert check(LEAF, middles=(Made("x", ROOT), MIDDLE, LEAF)) == []  # order and company do not matter


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_recorded_certificates_hold_for_their_own_keys_only(kind):
    folder = shared("recordings", "01_m1_first_boot", "ek")
    other = shared("recordings", "07_m2_first_boot", "ek")
    nv, handle = {"rsa": ("nv_0x1C00002.bin", "0x81010001"), "ecc": ("nv_0x1C00016.bin", "0x81010016")}[kind]
    (root,) = read_certificates(shared("recordings", "certs", "swtpm-localca-rootca-cert.pem").read_bytes())
    (issuer,) = read_certificates(shared("recordings", "certs", "issuercert.pem").read_bytes())
    (der,) = read_certificates((folder / nv).read_bytes())
    key = parse((folder / f"persistent_{handle}.tpm2b").read_bytes()).key
    facts = {"at": NOW, "purpose": "ek", "key": key}
    assert check_chain(der, [issuer], [root], **facts) == []
    assert check_chain(der, [], [issuer], **facts) == []
    assert model_of(der) == ("id:00001014", "swtpm", "id:20191023")
    (no_issuer,) = check_chain(der, [], [root], **facts)
    assert "swtpm-localca" in no_issuer
    (too_early,) = check_chain(der, [issuer], [root], **(facts | {"at": NOW - YEAR}))[:1]
    assert "not valid before 2026-11-23" in too_early
    (wrong_purpose,) = check_chain(der, [issuer], [root], **(facts | {"purpose": "ak"}))[:1]
    assert "does not say AK" in wrong_purpose
    foreign = parse((other / f"persistent_{handle}.tpm2b").read_bytes()).key
    assert check_chain(der, [issuer], [root], **(facts | {"key": foreign})) == [
        "it is for another key than the public area that was given"
    ]
    platform = (folder / "nv_0x1C08000.bin").read_bytes()  # signed by the same authority, for another purpose
    assert check_chain(read_certificates(platform)[0], [issuer], [root], **facts)


WRONG_USAGE = ((usage(crl_sign=True), True),)
FORGED = Made("root")


@pytest.mark.parametrize(
    ("words", "made", "middles", "roots"),
    [
        ("expired on", leaf(MIDDLE, end=-YEAR / 2), (MIDDLE,), (ROOT,)),
        ("not valid before", leaf(MIDDLE, start=YEAR / 2), (MIDDLE,), (ROOT,)),
        ("does not say EK", leaf(MIDDLE, oids=(WEB,)), (MIDDLE,), (ROOT,)),
        ("does not say EK", leaf(MIDDLE, oids=(AK,)), (MIDDLE,), (ROOT,)),
        ("does not say EK", leaf(MIDDLE, oids=()), (MIDDLE,), (ROOT,)),
        ("own certificate", leaf(MIDDLE, ca=True), (MIDDLE,), (ROOT,)),
        ("key usage is another", leaf(MIDDLE, extra=WRONG_USAGE), (MIDDLE,), (ROOT,)),
        ("CA:FALSE", leaf(LEAF), (MIDDLE, LEAF), (ROOT,)),
        ("no authority", leaf(plain := Made("plain", ROOT, ca=None)), (plain,), (ROOT,)),
        ("expired on", leaf(old := Made("old", ROOT, end=-YEAR / 2)), (old,), (ROOT,)),
        ("expired on", leaf(old_root := Made("old", end=-YEAR / 2)), (), (old_root,)),
        ("does not allow to sign", leaf(mute := Made("mute", ROOT, extra=WRONG_USAGE)), (mute,), (ROOT,)),
        ("path length 0", leaf(below := Made("below", MIDDLE)), (below, MIDDLE), (ROOT,)),
        ("usage is another", leaf(web := Made("web", ROOT, extra=(purpose(WEB),))), (web,), (ROOT,)),
        ("too weak", leaf(weak := Made("weak", ROOT, key=rsa.generate_private_key(65537, 1024))), (weak,), (ROOT,)),
        ("no pinned root", LEAF, (MIDDLE, ROOT), ()),
        ("no pinned root", LEAF, (MIDDLE, ROOT), (Made("else"),)),
        ("not signed by", LEAF, (MIDDLE,), (FORGED,)),  # of the same name
        ("not signed by", leaf(Made("middle", ROOT)), (MIDDLE,), (ROOT,)),
        ("no pinned root", LEAF, (), (ROOT,)),
        ("CA:FALSE", (alone := leaf(None)), (), (alone,)),  # pinning a leaf does not make it an authority
        ("hash that is not allowed", leaf(MIDDLE, digest=hashes.SHA224()), (MIDDLE,), (ROOT,)),
    ],
)
def test_what_must_not_hold(words, made, middles, roots):
    assert any(words.lower() in reason.lower() for reason in check(made, middles, roots))


@pytest.mark.parametrize("critical", [True, False])
def test_name_constraints_are_refused_as_they_are_not_evaluated(critical):
    constraints = x509.NameConstraints([x509.DirectoryName(name_of("x"))], None)
    middle = Made("constrained", ROOT, extra=((constraints, critical),))
    assert any("2.5.29.30" in reason for reason in check(leaf(middle), (middle,)))


@pytest.mark.parametrize("on", ["leaf", "middle"])
def test_an_unknown_critical_extension_is_refused(on):
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    for critical in (True, False):
        extra = ((unknown, critical),)
        middle = Made("m", ROOT, extra=extra if on == "middle" else ())
        reasons = check(leaf(middle, extra=extra if on == "leaf" else ()), (middle,))
        assert any("1.2.3.4" in reason for reason in reasons) is critical


def test_time_comes_from_the_caller():
    """Attack 111: the same bytes, another time; the clock of this machine has no say."""
    assert check(LEAF, at=NOW + 2 * YEAR)
    assert check(LEAF, at=NOW - 2 * YEAR)
    assert check(LEAF, at=NOW.astimezone(datetime.timezone(datetime.timedelta(hours=9)))) == []
    with pytest.raises(UsageError, match="with its zone"):
        check(LEAF, at=NOW.replace(tzinfo=None))


def test_a_certificate_for_one_key_says_nothing_about_another():
    """Attack 82 with the EK/AK mix-up: a genuine certificate beside a key of the attacker's."""
    other = public_key_of(leaf(MIDDLE).der)
    assert check(LEAF, key=other) == ["it is for another key than the public area that was given"]


def test_changed_bytes_do_not_hold():
    at = LEAF.der.index(b"leaf")
    key = public_key_of(LEAF.der)
    for changed in (LEAF.der[:at] + b"lead" + LEAF.der[at + 4 :], LEAF.der[:-1], LEAF.der + b"\0", b"", b"\x30\x00"):
        assert check_chain(changed, [MIDDLE.der], [ROOT.der], at=NOW, purpose="ek", key=key)


def test_many_authorities_of_one_name_cost_no_exponential_search():
    key = ec.generate_private_key(ec.SECP256R1())
    crowd = [Made("same", key=key) for _ in range(16)]
    start = datetime.datetime.now()
    assert check(leaf(crowd[0]), crowd, (Made("elsewhere"),))
    assert datetime.datetime.now() - start < datetime.timedelta(seconds=2)


def damaged(data):
    """Bytes with a few of them changed, and perhaps cut."""
    changes = st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), min_size=1, max_size=4)

    def apply(some, end):
        changed = bytearray(data)
        for at, value in some:
            changed[at] = value
        return bytes(changed[:end])

    return st.builds(apply, changes, st.integers(len(data) - 3, len(data)))


@settings(max_examples=200, deadline=None)
@given(damaged(LEAF.der), damaged(MIDDLE.der))
def test_damaged_certificates_never_hold_and_raise_nothing_foreign(made, middle):
    key = public_key_of(LEAF.der)
    facts = {"at": NOW, "purpose": "ek", "key": key}
    assert made == LEAF.der or check_chain(made, [MIDDLE.der], [ROOT.der], **facts)
    assert middle == MIDDLE.der or check_chain(LEAF.der, [middle], [ROOT.der], **facts)
    check_chain(LEAF.der, [], [middle], **facts)  # pinned bytes are what they are
    public_key_of(made)
    model_of(made)
    with contextlib.suppress(EvidenceError):
        read_certificates(made + middle)


# ---- files


def pem(*made):
    return b"".join(x509.load_der_x509_certificate(m.der).public_bytes(Encoding.PEM) for m in made)


def test_files_of_certificates():
    ders = [LEAF.der, MIDDLE.der]
    assert read_certificates(LEAF.der + MIDDLE.der) == ders
    assert read_certificates(b"some words\n" + pem(LEAF, MIDDLE)) == ders
    for padding in (b"\0" * 300, b"\xff" * 300):  # an NV index is of fixed size
        assert read_certificates(LEAF.der + padding) == [LEAF.der]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"\xff" * 100,
        b"hello",
        LEAF.der + b"\0\xff",
        LEAF.der + b"hello",
        LEAF.der[:-1],
        b"\x30\x80" + LEAF.der[4:] + b"\0\0",
        b"\x30\x84\0\0" + LEAF.der[2:],
        b"\x30\x03\x02\x01\x01",
        LEAF.der * 17,
        b"\x30\x00" * 30000,
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n",
        b"\x30" + bytes(1 << 17),
    ],
)
def test_files_that_are_none(data):
    with pytest.raises(EvidenceError) as caught:
        read_certificates(data)
    assert caught.value.code == "key.certificate"


# ---- SM2-with-SM3; OpenSSL makes them

SIGN = ["-sm3", "-sigopt", "distid:1234567812345678"]


@pytest.fixture(scope="module")
def sm2_chain(tmp_path_factory):
    """Root, authority, leaf in DER, all of SM2 with ZA; and a leaf signed under another user id."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("sm2")

    def openssl(*command):
        done = subprocess.run(["openssl", *command], cwd=folder, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"this openssl does not do SM2: {done.stderr[-200:]!r}")

    def issue(name, by, extensions, sign=SIGN):
        (folder / "x").write_text(extensions)
        openssl("genpkey", "-algorithm", "SM2", "-out", f"{name}.key")
        openssl("req", "-new", "-key", f"{name}.key", *SIGN, "-subj", f"/CN={name}", "-out", f"{name}.csr")
        by_whom = ["-signkey", f"{name}.key"]
        if by is not None:
            by_whom = ["-CA", f"{by}.crt", "-CAkey", f"{by}.key", "-CAcreateserial"]
        files = ["-in", f"{name}.csr", "-out", f"{name}.crt", "-days", "30", "-extfile", "x"]
        openssl("x509", "-req", *files, *by_whom, *sign, "-vfyopt", "distid:1234567812345678")
        return read_certificates((folder / f"{name}.crt").read_bytes())[0]

    authority, end = "basicConstraints=critical,CA:TRUE\n", "basicConstraints=CA:FALSE\nextendedKeyUsage=2.23.133.8.1\n"
    root, middle = issue("root", None, authority), issue("middle", "root", authority)
    other_id = issue("other", "middle", end, ["-sm3", "-sigopt", "distid:anotherid"])
    return root, middle, issue("leaf", "middle", end), other_id


def test_an_sm2_chain_holds_with_za_and_the_standard_id_only(sm2_chain):
    root, middle, made, other_id = sm2_chain
    at = x509.load_der_x509_certificate(made).not_valid_before_utc + datetime.timedelta(days=1)
    key = public_key_of(made)
    assert isinstance(key, EccKey)
    assert check_chain(made, [middle], [root], at=at, purpose="ek", key=key) == []
    assert check_chain(made, [middle], [middle], at=at, purpose="ek", key=key) == []
    reasons = check_chain(other_id, [middle], [root], at=at, purpose="ek", key=public_key_of(other_id))
    assert reasons == ["not signed by CN=middle"]
    for changed in range(len(made) - 70, len(made), 7):  # all over the signature
        broken = made[:changed] + bytes([made[changed] ^ 1]) + made[changed + 1 :]
        assert check_chain(broken, [middle], [root], at=at, purpose="ek", key=key)
    assert check_chain(made, [middle], [ROOT.der], at=at, purpose="ek", key=key)
    assert check_chain(made, [middle], [root], at=at, purpose="ak", key=key)

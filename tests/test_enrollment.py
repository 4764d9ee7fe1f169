"""Whose key it is, and how well that is founded: enrolment, activation, certificates (attacks 67, 68, 81, 82, 107)."""

from __future__ import annotations

import datetime
import json
import threading

import pytest
from conftest import shared
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from store_tools import damage_and_sign
from test_certificates import AK as AK_PURPOSE
from test_certificates import NOW, ROOT, Made, leaf
from test_credential import activate, rsa_area

from pyverify import Store, StoreError
from pyverify.baseline.challenge_file import format_challenges, parse_challenges
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.identity import Challenge, KeyLevel
from pyverify.baseline.ledger import Ledger
from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence.public_area import parse
from pyverify.evidence.sm2 import Sm2Mode

HOUR = datetime.timedelta(hours=1)
AK_ATTRIBUTES = 0x00050072
RSASSA = b"\x00\x14\x00\x0b"


def ak_area(key, attributes=AK_ATTRIBUTES):
    return rsa_area(key, attributes, symmetric=b"\x00\x10", scheme=RSASSA)


KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(3)]
AK, OTHER_AK = ak_area(KEYS[0]), ak_area(KEYS[1])
EK_KEY = KEYS[2]
EK = rsa_area(EK_KEY)


@pytest.fixture
def store(tmp_path):
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        yield store


@pytest.fixture
def enrollment(store):
    return Enrollment(store)


def test_a_key_is_enrolled_by_its_name(store, enrollment):
    done = enrollment.enroll("m", AK, at=NOW, since=NOW, who="me", reason="new machine")
    assert done.is_new
    assert (done.key.ak_name, done.key.machine, done.key.since) == (parse(AK).name, "m", NOW)
    assert (done.key.until, done.key.level, done.key.sm2_mode) == (None, KeyLevel.ENROLLED, Sm2Mode.DIGEST)
    assert enrollment.keys("m") == enrollment.keys() == [done.key]
    assert enrollment.keys("n") == []
    assert store.references().identity.key(parse(AK).name) == done.key
    assert enrollment.enroll("m", AK[2:], at=NOW + HOUR).key == done.key  # TPMT_PUBLIC is the same key


def test_one_key_is_never_two_machines(enrollment):
    """Attack 107; not even once the first has ended."""
    enrollment.enroll("m", AK, at=NOW, until=NOW + HOUR)
    for at in (NOW, NOW + 2 * HOUR):
        with pytest.raises(UsageError, match=r"key\.shared.*enrolled for m"):
            enrollment.enroll("n", AK, at=at)
    (only,) = enrollment.keys()
    assert only.machine == "m"


def test_of_two_that_enrol_a_key_at_once_one_wins(tmp_path):
    where = str(tmp_path / "s.db")
    Store.open(where, create=True)
    results, start = [], threading.Barrier(4)

    def try_it(machine):
        with Store.open(where) as own:
            start.wait()
            try:
                results.append(Enrollment(own).enroll(machine, AK, at=NOW).key.machine)
            except (UsageError, StoreError) as error:
                assert "key.shared" in str(error)

    threads = [threading.Thread(target=try_it, args=(machine,)) for machine in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store.open(where) as store:
        (key,) = Enrollment(store).keys()
    assert results == [key.machine]


def test_a_machine_has_keys_for_a_time(enrollment):
    first = enrollment.enroll("m", AK, at=NOW, since=NOW - HOUR).key
    assert first.since == NOW - HOUR
    ended = enrollment.enroll("m", AK, at=NOW, until=NOW + HOUR, sm2_mode=Sm2Mode.ZA)
    assert not ended.is_new
    assert (ended.key.since, ended.key.until, ended.key.sm2_mode) == (NOW - HOUR, NOW + HOUR, Sm2Mode.ZA)
    assert enrollment.enroll("m", AK, at=NOW).key == ended.key  # what is not given stays
    assert enrollment.enroll("m", OTHER_AK, at=NOW).key.holds_at(NOW - 10000 * HOUR)
    assert [key.holds_at(NOW + HOUR) for key in enrollment.keys("m")] == [True, False]
    with pytest.raises(UsageError, match="end before it begins"):
        enrollment.enroll("m", AK, at=NOW, until=NOW - HOUR)
    with pytest.raises(UsageError, match="time zone"):
        enrollment.enroll("m", AK, at=NOW, until=NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("public", "error", "words"),
    [
        (b"-----BEGIN PUBLIC KEY-----\n", EvidenceError, "PEM"),
        (AK + b"\0", EvidenceError, "does not parse"),
        (b"", EvidenceError, "ends too early"),
        (ak_area(KEYS[0], AK_ATTRIBUTES & ~0x10000), UsageError, r"key\.attributes.*not restricted"),
        (EK, UsageError, r"key\.attributes"),
    ],
)
def test_keys_that_may_not_attest_are_refused(enrollment, public, error, words):
    with pytest.raises(error, match=words):
        enrollment.enroll("m", public, at=NOW)
    assert enrollment.keys() == []


def test_a_key_with_other_attributes_is_another_key(enrollment):
    """Attack 68: the Name is over the attributes, so a swapped public area does not have the enrolled Name."""
    name = enrollment.enroll("m", AK, at=NOW).key.ak_name
    swapped = ak_area(KEYS[0], AK_ATTRIBUTES | 0x40000000)
    assert parse(swapped).key == parse(AK).key
    assert parse(swapped).name != name


@pytest.mark.parametrize("machine", ["", "a b", "../x", ".", "m" * 129, "m\n", "\N{CYRILLIC SMALL LETTER A}"])
def test_machine_names_outside_the_alphabet_are_refused(enrollment, machine):
    with pytest.raises(UsageError, match="no machine name"):
        enrollment.enroll(machine, AK, at=NOW)


# ---- activation


def opened(blob, name, key=EK_KEY):
    return activate(blob, key, name)


def test_a_tpm_that_opens_the_credential_activates_its_key(enrollment):
    name = enrollment.enroll("m", AK, at=NOW).key.ak_name
    blob = enrollment.challenge("m", EK, AK, at=NOW)
    secret = opened(blob, name)
    assert len(secret) >= 16
    assert enrollment.answer("m", secret[:-1] + bytes([secret[-1] ^ 1]), at=NOW) is None
    assert enrollment.answer("n", secret, at=NOW) is None
    assert enrollment.answer("m", b"", at=NOW) is None
    assert enrollment.keys("m")[0].level is KeyLevel.ENROLLED
    assert enrollment.answer("m", secret, at=NOW + HOUR).level is KeyLevel.ACTIVATED
    assert enrollment.keys("m")[0].level is KeyLevel.ACTIVATED
    assert enrollment.answer("m", secret, at=NOW + HOUR) is None  # once
    assert enrollment.enroll("m", AK, at=NOW).key.level is KeyLevel.ACTIVATED  # a level never falls


@pytest.mark.parametrize("at", [NOW - HOUR, NOW + 25 * HOUR])
def test_an_answer_at_another_time_does_not_count(enrollment, at):
    name = enrollment.enroll("m", AK, at=NOW).key.ak_name
    secret = opened(enrollment.challenge("m", EK, AK, at=NOW), name)
    assert enrollment.answer("m", secret, at=at) is None


def test_only_enrolled_keys_are_challenged(enrollment):
    enrollment.enroll("m", AK, at=NOW, since=NOW, until=NOW + HOUR)
    for machine, ak, at in (("n", AK, NOW), ("m", OTHER_AK, NOW), ("m", AK, NOW + HOUR), ("m", AK, NOW - HOUR)):
        with pytest.raises(UsageError, match=r"key\.unknown"):
            enrollment.challenge(machine, EK, ak, at=at)
    with pytest.raises(UsageError, match="no endorsement key"):
        enrollment.challenge("m", AK, AK, at=NOW)


def test_one_tpm_is_not_in_two_machines(enrollment):
    """Attack 81: keys of one TPM, one for each of two machines."""
    for machine, ak in (("m", AK), ("n", OTHER_AK)):
        enrollment.enroll(machine, ak, at=NOW)
    secret = opened(enrollment.challenge("m", EK, AK, at=NOW), parse(AK).name)
    assert enrollment.answer("m", secret, at=NOW)
    with pytest.raises(UsageError, match=r"key\.shared.*m's"):
        enrollment.challenge("n", EK, OTHER_AK, at=NOW)
    enrollment.enroll("m", AK, at=NOW, until=NOW + HOUR)
    assert enrollment.challenge("n", EK, OTHER_AK, at=NOW + HOUR)  # the machine was given another name


# ---- certificates


def test_a_certificate_of_the_key_certifies_it(enrollment):
    made = leaf(ROOT, oids=(AK_PURPOSE,), key=KEYS[0])
    with pytest.raises(UsageError, match=r"key\.certificate.*no pinned root"):
        enrollment.enroll("m", AK, at=NOW, ak_certificates=[made.der])
    assert (enrollment.pin([ROOT.der]), enrollment.pin([ROOT.der, ROOT.der])) == (1, 0)
    assert enrollment.roots() == [ROOT.der]
    with pytest.raises(UsageError, match="another key"):
        enrollment.enroll("m", OTHER_AK, at=NOW, ak_certificates=[made.der])
    with pytest.raises(UsageError, match="expired"):
        enrollment.enroll("m", AK, at=NOW + 20000 * HOUR, ak_certificates=[made.der])
    assert enrollment.keys() == []
    assert enrollment.enroll("m", AK, at=NOW, ak_certificates=[made.der]).key.level is KeyLevel.CERTIFIED


def test_an_ek_certificate_certifies_only_with_an_activation_by_that_ek(enrollment):
    """Attack 82, the EK/AK mix-up: a genuine EK certificate beside an AK that is in no TPM."""
    enrollment.pin([ROOT.der])
    key = enrollment.enroll("m", AK, at=NOW, ek_certificates=[leaf(ROOT, key=EK_KEY).der]).key
    assert key.level is KeyLevel.ENROLLED
    own_ek = rsa_area(rsa.generate_private_key(65537, 2048))
    with pytest.raises(UsageError, match="another key"):  # the attacker's EK, the genuine certificate
        enrollment.challenge("m", own_ek, AK, at=NOW)
    secret = opened(enrollment.challenge("m", EK, AK, at=NOW), key.ak_name)
    assert enrollment.answer("m", secret, at=NOW).level is KeyLevel.CERTIFIED
    forged = leaf(Made("root"), key=EK_KEY)
    with pytest.raises(UsageError, match=r"key\.certificate"):
        enrollment.enroll("n", OTHER_AK, at=NOW, ek_certificates=[forged.der])


def test_an_ek_certificate_without_a_usable_key_is_refused(enrollment):
    enrollment.pin([ROOT.der])
    made = leaf(ROOT, key=ec.generate_private_key(ec.SECP224R1()))
    with pytest.raises(UsageError, match=r"key\.certificate"):
        enrollment.enroll("m", AK, at=NOW, ek_certificates=[made.der])


def test_recorded_machines_enrol_with_their_own_certificates(enrollment):
    root = shared("recordings", "certs", "issuercert.pem")
    from pyverify.evidence.certificates import read_certificates

    enrollment.pin(read_certificates(root.read_bytes()))
    for folder, machine in (("01_m1_first_boot", "m1"), ("07_m2_first_boot", "m2")):
        boot = shared("recordings", folder)
        ek_certificates = read_certificates((boot / "ek" / "nv_0x1C00002.bin").read_bytes())
        ak = (boot / "ak" / "ak_rsa.tpm2b").read_bytes()
        done = enrollment.enroll(machine, ak, at=NOW, ek_certificates=ek_certificates)
        assert done.key.ak_name == (boot / "ak" / "ak_rsa.name").read_bytes()
        enrollment.challenge(machine, (boot / "ek" / "persistent_0x81010001.tpm2b").read_bytes(), ak, at=NOW)
    m1 = shared("recordings", "01_m1_first_boot")
    ak = (m1 / "ak" / "ak_rsa.tpm2b").read_bytes()
    with pytest.raises(UsageError, match="another key"):
        enrollment.challenge("m1", (boot / "ek" / "persistent_0x81010001.tpm2b").read_bytes(), ak, at=NOW)


def test_a_challenge_for_another_machine_than_the_key_s_is_refused(store, enrollment):
    name = enrollment.enroll("m", AK, at=NOW).key.ak_name
    good, bad = (Challenge(name, bytes([i]) * 16, NOW, machine) for i, machine in enumerate("mn"))
    with pytest.raises(UsageError, match="a challenge for n names a key that is enrolled for m"):
        Ledger(store).add([good, bad])
    assert store.references().identity.challenges(name) == []
    assert Ledger(store).add([good, Challenge(name, bytes(20), NOW)]) == 2


# ---- challenges as a file


def test_challenges_go_through_a_file():
    name = parse(AK).name
    made = [Challenge(name, bytes(16), NOW, "m"), Challenge(name, bytes(20), NOW + HOUR, None)]
    assert parse_challenges(format_challenges(made).encode()) == made


GOOD = {"ak_name": "000b" + "00" * 32, "nonce": "00" * 16, "issued_at": "2026-11-01T08:00:00Z", "machine": "m"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        "[1]",
        "[[" * 5000,
        '[{"nonce": "00", "nonce": "00"}]',
        "[NaN]",
        "\ufeff[]",
        json.dumps([GOOD | {"nonce": None}]),
        json.dumps([GOOD | {"nonce": 0}]),
        json.dumps([GOOD | {"nonce": "0x00"}]),
        json.dumps([GOOD | {"nonce": "AB" * 16}]),
        json.dumps([GOOD | {"nonce": "000"}]),
        json.dumps([GOOD | {"nonce": "00 00"}]),
        json.dumps([GOOD | {"ak_name": ""}]),
        json.dumps([GOOD | {"issued_at": "2026-11-01T08:00:00"}]),
        json.dumps([GOOD | {"issued_at": "2026-13-01T08:00:00Z"}]),
        json.dumps([GOOD | {"issued_at": 1}]),
        json.dumps([GOOD | {"machine": 1}]),
        json.dumps([{k: v for k, v in GOOD.items() if k != "issued_at"}]),
    ],
)
def test_files_that_are_no_challenges(text):
    assert len(parse_challenges(json.dumps([GOOD]).encode())) == 1
    with pytest.raises(EvidenceError, match="do not parse"):
        parse_challenges(text.encode())
    with pytest.raises(EvidenceError):
        parse_challenges(b"\xff\xfe")


def test_a_store_that_is_damaged_says_so(tmp_path):
    path = tmp_path / "s.db"
    with Store.open(str(path), create=True) as store:
        Enrollment(store).enroll("m", AK, at=NOW)
    damage_and_sign(path, "update key_state set level = 'blessed'")
    with Store.open(str(path)) as store, pytest.raises(StoreError, match="contradicts itself"):
        Enrollment(store).keys()

"""Attacks by keys (SPEC section 10.3, 67, 68, 71, 75, 82, 84): unfit, bare, weak, off their curve, badly certified."""

from __future__ import annotations

import datetime
import struct
from dataclasses import replace

import pytest
from attested_machine import ARCHIVE, NOW, POLICIES, Machine, Rows, booted_evil, codes, honest, job, refused, store_of
from conftest import DATA
from quote_data import ecc_public, sized
from test_attacks_signatures import ECC, ORDERS
from test_certificates import AK as AK_PURPOSE
from test_certificates import MIDDLE, ROOT, leaf
from tpm_in_python import RESTRICTED, Key, Tpm, key, rsa_key

from pyverify import UsageError
from pyverify.baseline.enrollment import Enrollment
from pyverify.fleet.learn import learn

UNFIT = {
    "not restricted": RESTRICTED & ~0x10000,
    "signs nothing": RESTRICTED & ~0x40000,
    "not of one TPM": RESTRICTED & ~0x2,
    "not of one parent": RESTRICTED & ~0x10,
    "imported": RESTRICTED & ~0x20,
    "decrypts": RESTRICTED | 0x20000,
    "duplicated": RESTRICTED | 0x800,
}


def with_attributes(own: Key, attributes: int) -> Key:
    return replace(own, public=own.public[:4] + struct.pack(">I", attributes) + own.public[8:])


@pytest.mark.parametrize("attributes", UNFIT.values(), ids=UNFIT.keys())
def test_067_a_key_that_may_sign_anything(attributes):
    """Even one that somebody enrolled past the check of ``enroll``: it could sign an attest that no TPM made."""
    machine = honest()
    unfit = with_attributes(machine.key, attributes)
    with_it = Machine(own_key=unfit)
    assert refused(with_it.judge(), "key.attributes")
    assert refused(with_it.judge(policy=ARCHIVE), "key.attributes")
    assert refused(machine.judge(machine.quote(kind=unfit)), "key.unknown", "key.attributes")


def test_067_a_software_key():
    """Its public area may claim what a TPM's does; nobody enrolled it, whatever it signs."""
    machine = honest()
    log, references = booted_evil(machine)
    golden = Tpm.booted(machine.log)
    soft = key("ecdsa_p256", "somebody at a keyboard")
    forged = golden.quote(machine.selection, machine.nonce, soft)
    verdict = machine.judge(forged, references=references)
    assert refused(verdict, "key.unknown") and (verdict.attested, verdict.key) == ("log", "none")
    broken = machine.judge(replace(forged, sig=machine.quote().sig), references=references)
    assert codes(broken) == {"quote.signature"}  # nobody signed it, so nobody's key is unknown
    as_if = replace(forged, ak_pub=machine.key.public)
    assert refused(machine.judge(as_if, references=references), "quote.signature")
    assert refused(machine.judge(forged, machine.quote(), references=references, event_log=log), "key.unknown")


def test_067_a_forged_quote_that_a_tpm_signed():
    """Recorded: an attest made by hand, signed by an unrestricted key in a TPM."""
    folder = DATA / "quotes" / "other_types"
    public = (folder / "ak_unrestricted.tpm2b").read_bytes()[2:]
    message, sig = ((folder / f"forged_quote.{part}").read_bytes() for part in ("msg", "sig"))
    machine = Machine(own_key=Key("rsassa", public, None))
    forged = replace(honest().quote(), msg=message, sig=sig, ak_pub=public)
    assert refused(machine.judge(forged), "key.attributes")


@POLICIES
def test_068_the_enrolled_key_with_other_attributes(policy):
    """The same point, another public area: its Name is another, so nobody enrolled it."""
    machine = honest()
    for bit in range(32):
        attributes = RESTRICTED ^ 1 << bit
        changed = with_attributes(machine.key, attributes)
        assert refused(machine.judge(replace(machine.quote(), ak_pub=changed.public), policy=policy), "key.unknown")
    swapped = machine.judge(replace(machine.quote(), ak_pub=b""), policy=policy)
    assert refused(swapped) and swapped.attested == "log"
    assert refused(machine.judge(replace(machine.quote(), ak_pub=None), policy=policy), "quote.signature")


def test_068_a_bare_key_has_no_name():
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    machine = honest()
    public = machine.key.private.public_key()
    for encoding in (Encoding.PEM, Encoding.DER):
        bare = public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
        assert refused(machine.judge(replace(machine.quote(), ak_pub=bare)), "key.unknown", "key.attributes")


@POLICIES
@pytest.mark.parametrize(
    "weak", [lambda: rsa_key("rsassa", 1024), lambda: rsa_key("rsapss", 1024), lambda: rsa_key("rsassa", 2048, 3)]
)
def test_071_a_weak_rsa_key(weak, policy):
    honest("rsassa")
    assert refused(Machine(own_key=weak()).judge(policy=policy), "key.weak")


@ECC
def test_075_a_point_that_is_not_on_its_curve(kind):
    machine = honest(kind)
    public, size = machine.key.public, ORDERS[kind][1]
    head, x, y = public[: -2 * size - 4], public[-2 * size - 2 :][:size], public[-size:]
    field = {"ecdsa_p256": 2**256 - 2**224 + 2**192 + 2**96 - 1, "ecdsa_p384": 2**384 - 2**128 - 2**96 + 2**32 - 1}
    p = field.get(kind, 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF)
    points = {
        "y changed": (x, y[:-1] + bytes([y[-1] ^ 1])),
        "swapped": (y, x),
        "zero": (bytes(size), bytes(size)),
        "nothing": (b"", b""),
        "x and no y": (x, b""),
        "beyond p": ((p + 1).to_bytes(size), y),
        "all ones": (b"\xff" * size, b"\xff" * size),
        "a byte too many": (b"\0" + x, y),
    }
    for name, (other_x, other_y) in points.items():
        area = head + sized(other_x) + sized(other_y)
        with_it = Machine(own_key=replace(machine.key, public=area))
        assert refused(with_it.judge()) and "quote.format" in codes(with_it.judge()), name


def test_075_a_point_of_another_curve():
    p256, sm2 = honest().key, honest("sm2").key
    points = {"p256": (p256.public[-66:-34], p256.public[-32:]), "sm2": (sm2.public[-66:-34], sm2.public[-32:])}
    of_sm2, of_ecdsa = struct.pack(">HH", 0x1B, 0x12), struct.pack(">HH", 0x18, 0xB)
    flagged = [
        (replace(p256, public=ecc_public(*points["p256"], curve=0x20, scheme=of_ecdsa)), "quote.format"),
        (
            replace(p256, kind="ecdsa_p256", public=ecc_public(*points["p256"], curve=0x20, scheme=of_sm2)),
            "quote.format",
        ),
        (replace(sm2, public=ecc_public(*points["sm2"], curve=3, scheme=of_sm2)), "quote.format"),
    ]
    for own, code in flagged:
        assert refused(Machine(own_key=own).judge(), code)
    for curve in (0, 1, 2, 5, 0x10, 0x11, 0x21, 0xFFFF):
        other = replace(p256, public=ecc_public(*points["p256"], curve=curve))
        verdict = Machine(own_key=other).judge()
        assert refused(verdict) and {"key.weak", "quote.format"} & codes(verdict)


CHAINS = {
    "expired": lambda key: leaf(MIDDLE, key=key, end=-datetime.timedelta(days=100)),
    "for web servers": lambda key: leaf(MIDDLE, key=key, oids=()),
    "signed by itself": lambda key: leaf(None, key=key),
    "of another key": lambda key: leaf(MIDDLE),
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())
def test_082_a_certificate_that_does_not_hold_makes_no_key_certified(chain, tmp_path):
    """Certificates count at enrolment; a policy that asks for ``certified`` is not met by what was refused there."""
    machine, certified = honest(), replace(ARCHIVE, key="certified")
    at = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
    good = leaf(MIDDLE, key=machine.key.private, oids=(AK_PURPOSE,))
    for made, expected in ((good, "trusted"), (chain(machine.key.private), "untrusted")):
        with store_of(tmp_path / expected, machine) as store:
            enrollment = Enrollment(store)
            enrollment.pin([ROOT.der])
            facts = {"at": at, "ak_certificates": [made.der, MIDDLE.der]}
            if made is good:
                enrollment.enroll(machine.name, machine.key.public, **facts)
            else:
                with pytest.raises(UsageError, match=r"key\.certificate"):
                    enrollment.enroll(machine.name, machine.key.public, **facts)
            (row,) = job(store, machine.evidence(), policy=certified)
            assert row["verdict"] == expected
            assert row["key"] == ("certified" if made is good else "enrolled")
            assert codes(row, "high") == (set() if made is good else {"policy.rule"})
            # nor do certificates that come with the evidence
            (row,) = job(store, machine.evidence(ak_cert=good.der, ek_cert=good.der), policy=certified)
            assert row["verdict"] == expected


@POLICIES
def test_084_evidence_enrols_nobody(policy, tmp_path):
    """Who may call ``enroll`` is outside of the core: the store must be guarded. What arrives as evidence never does
    it, however often, nor does learning where it is not asked to."""
    machine, stranger = honest(), Machine("stranger")
    with store_of(tmp_path / "s", machine) as store:
        for _ in range(2):
            rows = job(store, machine.evidence(), stranger.evidence(), stranger.evidence(machine="m"), policy=policy)
            assert rows[0]["verdict"] == "trusted"
            assert refused(rows[1], "key.unknown") and refused(rows[2], "key.unknown")
        (learned,) = learn(Rows([stranger.evidence()]), store, policy=policy, activate=True, as_of=NOW)
        assert learned.state is None and "key.unknown" in {reason.code for reason in learned.reasons}
        assert {name for name in ("m", "stranger") if Enrollment(store).keys(name)} == {"m"}
        assert store.machines() == {"m"}

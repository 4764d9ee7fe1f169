"""Quote and key attacks (SPEC section 10.3, 61-84), each from honest evidence, through the whole appraisal.

Every forged attest is signed by a key that would do, and every key is enrolled, unless that is the attack: so that it
is the check in question which refuses. 83 is in ``test_weak_generators``.
"""

from __future__ import annotations

import datetime
import hashlib
import struct
from dataclasses import replace

import pytest
from attested_machine import (
    ALL_PCRS,
    ARCHIVE,
    DEFAULT,
    HOUR,
    NOW,
    Machine,
    Rows,
    booted_evil,
    codes,
    job,
    references_of,
    refused,
    rows_of,
    stands,
    store_of,
    trusted,
)
from conftest import DATA, hash_of
from quote_data import ecc_public, rsa_public, selections, signature, sized
from test_certificates import AK as AK_PURPOSE
from test_certificates import MIDDLE, ROOT, leaf
from tpm_in_python import KINDS, RESTRICTED, Key, Tpm, key, marshalled, rsa_key

from pyverify import Store, UsageError
from pyverify.appraise.verdict import Outcome
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.identity import Challenge, Sm2Mode
from pyverify.baseline.ledger import Ledger
from pyverify.fleet.learn import learn

POLICIES = pytest.mark.parametrize("policy", [DEFAULT, ARCHIVE], ids=lambda policy: policy.name)
ECC = pytest.mark.parametrize("kind", ["ecdsa_p256", "ecdsa_p384", "sm2"])
SHA256 = ("sha256",)


def honest(kind="ecdsa_p256", **facts):
    """A machine whose evidence is trusted as it is."""
    machine = Machine(kind=kind, **facts)
    assert trusted(machine.judge())
    return machine


def text_of(values):
    """PCR values as tpm2_pcrread prints them: unsigned, under whatever names somebody likes."""
    lines = []
    for bank, pcrs in values.items():
        lines += [f"{bank}:", *(f"  {pcr}: 0x{value.hex()}" for pcr, value in pcrs.items())]
    return "\n".join(lines).encode()


# Freshness


WRONG_NONCES = {
    "another": hashlib.sha256(b"guessed").digest(),
    "empty": b"",
    "prefix": lambda nonce: nonce[:-1],
    "longer": lambda nonce: nonce + b"\0",
    "zeros": lambda nonce: bytes(len(nonce)),
    "one bit": lambda nonce: nonce[:-1] + bytes([nonce[-1] ^ 1]),
    "in hex": lambda nonce: nonce.hex().encode(),
    "reversed": lambda nonce: nonce[::-1],
    "short": lambda nonce: nonce[:8],
}


@POLICIES
@pytest.mark.parametrize("wrong", WRONG_NONCES.values(), ids=WRONG_NONCES.keys())
def test_061_a_wrong_nonce(wrong, policy):
    machine = honest()
    nonce = wrong(machine.nonce) if callable(wrong) else wrong
    verdict = machine.judge(machine.quote(nonce=nonce[:64]), policy=policy)
    assert refused(verdict, "quote.nonce") and verdict.attested == "log" and not stands(verdict).trusted


def test_061_a_nonce_of_another_keys_challenge():
    machine, other = honest(), Machine("other", nonce=hashlib.sha256(b"other").digest())
    references = references_of(machine, other)
    assert trusted(machine.judge(references=references)) and trusted(other.judge(references=references))
    assert refused(machine.judge(machine.quote(nonce=other.nonce), references=references), "quote.nonce")


def test_062_one_nonce_for_two_quotes(tmp_path):
    """The first use stands, the same attest again is a retry, and any other is a replay, within a job and later."""
    machine = honest()
    first = machine.evidence(boot="1")
    machine.tpm.clock += 5_000
    second = machine.evidence(boot="2")
    with store_of(tmp_path / "s", machine) as store:
        rows = job(store, first, second, replace(first, boot="3"))
        assert [row["verdict"] for row in rows] == ["trusted", "untrusted", "trusted"]
        assert codes(rows[1], "high") == {"quote.replayed"} and rows[1]["attested"] == "quote-unfresh"
        again = job(store, second, first)  # as of a store that knows what was spent
        assert [row["verdict"] for row in again] == ["untrusted", "trusted"]
        assert refused(again[0], "quote.replayed")
        (row,) = job(store, second, policy=ARCHIVE)
        assert refused(row, "quote.replayed") and (row["attested"], row["pcrs_proven"]) == ("log", [])


def test_062_in_a_job_of_small_batches(tmp_path):
    machine = honest()
    first = machine.evidence(boot="1")
    machine.tpm.clock += 1
    with store_of(tmp_path / "s", machine) as store:
        rows = job(store, first, machine.evidence(boot="2"), first, size=1)
        assert [row["verdict"] for row in rows] == ["trusted", "untrusted", "trusted"]


def test_062_another_job_that_was_faster(tmp_path):
    """The nonce was spent after this job took its references: the ledger has the last word."""
    machine = honest()
    first = machine.evidence()
    machine.tpm.clock += 1
    second = machine.evidence()
    with store_of(tmp_path / "s", machine) as store:
        before = store.references()
        assert job(store, first)[0]["verdict"] == "trusted"
        (row,) = job(store, second, references=before)
        assert refused(row, "quote.replayed") and row["attested"] == "quote-unfresh"
        assert job(store, first, references=before)[0]["verdict"] == "trusted"


def test_062_only_fresh_quotes_of_a_policy_that_asks_for_them_spend(tmp_path):
    machine = honest()
    first = machine.evidence()
    machine.tpm.clock += 1
    second = machine.evidence()
    with store_of(tmp_path / "s", machine) as store:
        assert job(store, first, policy=ARCHIVE)[0]["verdict"] == "trusted"
        late = job(store, first, at=NOW + 30 * HOUR)[0]["findings"]
        assert [finding["code"] for finding in late] == ["quote.unfresh"]
        assert job(store, second)[0]["verdict"] == "trusted"


def test_062_under_a_policy_with_a_wide_limit_of_age(tmp_path):
    """A challenge that is good for a year is still good once."""
    machine, policy = honest(), replace(DEFAULT, max_age=9_001 * HOUR)
    first = machine.evidence()
    machine.tpm.clock += 1
    with store_of(tmp_path / "s", machine) as store:
        assert job(store, first, policy=policy, at=NOW + 9_000 * HOUR)[0]["verdict"] == "trusted"
        assert refused(job(store, machine.evidence(), policy=policy, at=NOW + 9_000 * HOUR)[0], "quote.replayed")
        assert job(store, first, policy=policy)[0]["verdict"] == "trusted"


def test_062_a_service_that_consumes(tmp_path):
    machine = honest()
    one = machine.judge()
    machine.tpm.clock += 1
    two = machine.judge()
    assert not one.trusted and not two.trusted and one.claims and two.claims
    with store_of(tmp_path / "s", machine) as store:
        ledger = Ledger(store)
        assert ledger.consume(one, at=NOW).trusted
        assert refused(ledger.consume(two, at=NOW), "quote.replayed")
        assert ledger.consume(one, at=NOW).trusted  # a retry
        assert refused(ledger.consume(one, at=NOW + 25 * HOUR), "quote.unfresh")
    with Store.open(str(tmp_path / "empty"), create=True) as store:
        assert refused(Ledger(store).consume(one, at=NOW), "quote.unfresh")  # it was never asked there


@pytest.mark.parametrize(("hours", "trusted"), [(1, False), (3, True)])
def test_062_a_service_consumes_within_the_age_of_its_policy(tmp_path, hours, trusted):
    machine = honest()
    verdict = machine.judge(policy=replace(DEFAULT, max_age=hours * HOUR))
    assert verdict.claims
    with store_of(tmp_path / "s", machine) as store:
        assert Ledger(store).consume(verdict, at=NOW + 2 * HOUR).trusted is trusted


def test_062_a_copy_in_another_machines_evidence_spends_nothing(tmp_path):
    """A machine cannot have another's answer refused by sending a part of it first (DESIGN section 5.8)."""
    thief, victim = Machine("a"), Machine("b", nonce=hashlib.sha256(b"b").digest())
    low, high = victim.quote([("sha256", range(12))]), victim.quote([("sha256", range(12, 24))])
    honest = victim.evidence(low, high)
    with store_of(tmp_path / "honest", thief, victim) as store:
        assert [row["verdict"] for row in job(store, thief.evidence(), honest)] == ["trusted"] * 2
    with store_of(tmp_path / "s", thief, victim) as store:
        stolen, own = job(store, thief.evidence(thief.quote(), low), honest)
        assert (stolen["verdict"], codes(stolen)) == ("untrusted", {"key.unknown"})
        assert (own["verdict"], own["attested"], codes(own)) == ("trusted", "quote", set())


def test_062_what_the_machine_did_not_sign_spends_nothing(tmp_path):
    """Evidence under its own name, with its public key and its nonce, from somebody who has not got the key."""
    machine = honest()
    own = machine.evidence(boot="2", boot_seq=2)
    machine.tpm.clock, machine.tpm.reset_count = 90_000, 90
    forged = machine.evidence(replace(machine.quote(), sig=machine.quote(nonce=bytes(32)).sig), boot="1", boot_seq=1)
    for policy in (DEFAULT, ARCHIVE):
        with store_of(tmp_path / policy.name, machine) as store:
            rows = job(store, forged, own, policy=policy)
            assert refused(rows[0], "quote.signature")
            assert (rows[1]["verdict"], codes(rows[1])) == ("trusted", set())


def test_079_a_copy_in_another_machines_evidence_sets_no_clock(tmp_path):
    """Nor have its clock look as if it went back, by saying that a later quote of it is of an early boot."""
    thief, victim = Machine("a"), Machine("b")
    thief.challenges, victim.challenges = [], []
    first = victim.quote()
    victim.tpm.clock, victim.tpm.reset_count = 2_000, 8
    second = victim.quote(nonce=bytes(32))
    honest = [victim.evidence(first, boot="1", boot_seq=1), victim.evidence(second, boot="2", boot_seq=2)]
    with store_of(tmp_path / "s", thief, victim) as store:
        assert [row["verdict"] for row in job(store, *honest, policy=ARCHIVE)] == ["trusted"] * 2
        stolen, *own = job(store, thief.evidence(second, boot_seq=0), *honest, policy=ARCHIVE)
        assert (stolen["verdict"], codes(stolen)) == ("untrusted", {"key.unknown"})
        assert [row["verdict"] for row in own] == ["trusted"] * 2


# Selections and values


@POLICIES
@pytest.mark.parametrize("left_out", [0, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14])
def test_063_a_pcr_that_no_quote_selects(left_out, policy):
    """Values of it beside the quote, in whatever form, fill no gap (CVE-2022-0317)."""
    machine = honest()
    fewer = [("sha256", [pcr for pcr in ALL_PCRS if pcr != left_out])]
    whole = machine.quote().pcrs
    everything = text_of({"sha256": machine.tpm.pcrs["sha256"]})
    for beside in (None, whole, everything, machine.quote(fewer).pcrs):
        verdict = machine.judge(replace(machine.quote(fewer), pcrs=beside), policy=policy)
        assert refused(verdict, "quote.selection")
        assert any(str(left_out) in finding.hint for finding in verdict.findings)


def test_063_pcrs_that_are_not_compared_need_not_be_quoted():
    machine = honest()
    assert trusted(machine.judge(machine.quote([("sha256", (0, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14))])))


@POLICIES
@pytest.mark.parametrize("chosen", [[], [("sha256", ())], [("sha512", ()), ("sha256", ())]])
def test_063_a_quote_over_no_pcr(chosen, policy):
    """A TPM clears what it has not got from the selection: the signature is then good, over the hash of nothing."""
    machine = honest()
    parts = {"listed": marshalled(chosen), "digest": hash_of("sha256", b"")}
    for beside in (machine.quote().pcrs, text_of({"sha256": machine.tpm.pcrs["sha256"]}), None):
        assert refused(machine.judge(replace(machine.quote(**parts), pcrs=beside), policy=policy), "quote.selection")


@POLICIES
def test_064_resettable_pcrs_with_golden_values_under_other_numbers(policy):
    """PCR 16 and 23 extended to what PCR 4 and 8 should hold, and labelled so beside the quote (CVE-2024-29039)."""
    machine = honest()
    golden = dict(machine.tpm.pcrs["sha256"])
    log, references = booted_evil(machine)
    machine.tpm.pcrs["sha256"][16], machine.tpm.pcrs["sha256"][23] = golden[4], golden[8]
    moved = [("sha256", [pcr for pcr in ALL_PCRS if pcr not in (4, 8)])]
    quote = machine.quote(moved)
    labelled = text_of({"sha256": golden})
    for sent in (log, machine.log):
        for beside in (labelled, quote.pcrs, None):
            verdict = machine.judge(replace(quote, pcrs=beside), references=references, policy=policy, event_log=sent)
            assert refused(verdict)
            assert {"quote.selection", "quote.digest"} & codes(verdict)
    # a selection of the resettable ones alone, whose values stand where those of PCR 4 and 8 would
    two = machine.quote([("sha256", (16, 23))])
    assert refused(machine.judge(two, references=references, policy=policy), "quote.selection")


@POLICIES
def test_065_values_of_another_bank_of_the_same_size(policy):
    """SM3 values under the name of SHA-256; the bank is what was signed."""
    machine = honest(banks=("sha256", "sm3_256"), quoted_banks=SHA256)
    for pcrs in (machine.tpm.pcrs["sm3_256"], machine.tpm.pcrs["sha256"]):
        for named in ("sha256", "sm3_256"):
            quote = replace(machine.quote([("sm3_256", ALL_PCRS)]), pcrs=text_of({named: pcrs}))
            assert refused(machine.judge(quote, policy=policy), "bank.missing")
    # the machine's PCRs of SHA-256 as if they were those of SM3, relabelled after the TPM signed
    message = machine.quote().msg.replace(marshalled([("sha256", ALL_PCRS)]), marshalled([("sm3_256", ALL_PCRS)]))
    assert message != machine.quote().msg
    assert refused(machine.judge(replace(machine.quote(), msg=message), policy=policy), "quote.signature")


# What was signed, and by what


@POLICIES
@pytest.mark.parametrize(
    "parts",
    [{"kind": number} for number in (0x8014, 0x8016, 0x8017, 0x8019, 0x801A, 0x801C, 0, 0xFFFF)]
    + [{"magic": magic} for magic in (0, 0xFF544348, 0x474354FF, 0xFF54434D)],
)
def test_066_an_attest_that_is_no_quote(parts, policy):
    """CVE-2024-29038, CVE-2024-29040: the signature of a restricted key is good, of another attest or none."""
    machine = honest()
    message = machine.tpm.attest(machine.selection, machine.nonce, machine.key, **parts)
    forged = replace(machine.quote(), msg=message, sig=machine.key.sign(message))
    verdict = machine.judge(forged, policy=policy)
    assert refused(verdict) and {"quote.type", "quote.format"} & codes(verdict)
    assert verdict.attested == "log"


@pytest.mark.parametrize("name", ["certify", "creation", "gettime", "nv"])
def test_066_attests_of_other_types_that_a_tpm_made(name):
    machine = honest()
    folder = DATA / "quotes" / "other_types"
    message = (folder / f"{name}.msg").read_bytes()
    as_sent = replace(machine.quote(), msg=message, sig=(folder / f"{name}.sig").read_bytes())
    assert refused(machine.judge(as_sent), "quote.type")
    assert refused(machine.judge(replace(as_sent, sig=machine.key.sign(message))), "quote.type")


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
    machine = honest(banks=("sha1", "sha256"), quoted_banks=SHA256)
    only_sha1 = machine.quote([("sha1", ALL_PCRS)])
    assert refused(machine.judge(only_sha1, policy=policy), "bank.weak", "bank.missing")
    # where the learning boot was not quoted, the banks are those of the quote, and SHA-1 is none that counts
    unquoted = machine.references(baselines=[machine.baseline(quoted_banks=())])
    assert trusted(machine.judge(policy=policy, references=unquoted))
    assert refused(machine.judge(only_sha1, policy=policy, references=unquoted), "bank.weak")
    weak = machine.references(baselines=[machine.baseline(quoted_banks=("sha1",))])
    assert refused(machine.judge(only_sha1, policy=policy, references=weak), "bank.weak")
    assert trusted(machine.judge(machine.quote([("sha1", ALL_PCRS), ("sha256", ALL_PCRS)])))


@POLICIES
@pytest.mark.parametrize(
    "weak", [lambda: rsa_key("rsassa", 1024), lambda: rsa_key("rsapss", 1024), lambda: rsa_key("rsassa", 2048, 3)]
)
def test_071_a_weak_rsa_key(weak, policy):
    honest("rsassa")
    assert refused(Machine(own_key=weak()).judge(policy=policy), "key.weak")


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


MALFORMED = {
    "trailing byte": {"tail": b"\0"},
    "trailing quote": {"tail": bytes(64)},
    "sizeofSelect 0": {"listed": selections((0xB, b""))},
    "sizeofSelect 255": {"listed": struct.pack(">IHB", 1, 0xB, 255) + b"\xff\xff\xff"},
    "sizeofSelect 5": {"listed": selections((0xB, b"\xff\xff\xff\0\0"))},
    "count of 2^32 - 1": {"listed": selections((0xB, b"\xff\xff\xff"), count=2**32 - 1)},
    "count of 17": {"listed": selections(*[(0xB, b"\0\0\0")] * 16, (0xB, b"\xff\xff\xff"))},
    "count of 0": {"listed": selections((0xB, b"\xff\xff\xff"), count=0)},
    "digest too short": {"digest": bytes(31)},
    "no digest": {"digest": b""},
    "digest too long": {"digest": bytes(65)},
}


@POLICIES
@pytest.mark.parametrize("parts", MALFORMED.values(), ids=MALFORMED.keys())
def test_077_an_attest_that_is_not_exactly_consumed(parts, policy):
    machine = honest()
    verdict = machine.judge(machine.quote(**parts), policy=policy)
    assert verdict.outcome is Outcome.ERROR and refused(verdict, "quote.format")


def test_077_a_size_before_the_attest_that_is_not_its_own():
    machine = honest()
    quote = machine.quote()
    assert trusted(machine.judge(replace(quote, msg=sized(quote.msg))))
    for size in (0, len(quote.msg) - 1, len(quote.msg) + 1, 0xFFFF):
        verdict = machine.judge(replace(quote, msg=struct.pack(">H", size) + quote.msg))
        assert refused(verdict) and {"quote.format", "quote.type"} & codes(verdict)
    # the size is not signed: a nonce is spent by the attest, with it or without
    assert machine.judge(replace(quote, msg=sized(quote.msg))).claims == machine.judge(quote).claims


@POLICIES
def test_078_a_bank_twice(policy):
    """The TPM allows it, and hashes in the order of the list; a reader that keeps the last would compare other PCRs."""
    machine = honest()
    for first, second in (
        (ALL_PCRS, ALL_PCRS),
        (ALL_PCRS, (8,)),
        ((0, 2, 3, 4, 7), (8, 9, 11, 12, 13, 14)),
        ((), ALL_PCRS),
    ):
        twice = machine.quote([("sha256", first), ("sha256", second)])
        assert refused(machine.judge(twice, policy=policy), "quote.format")


# Clocks, boots and machines


def in_turn(machine, *changes):
    """Evidence of boots that were asked for one after the other, the TPM's facts changed as given."""
    machine.challenges, evidence = [], []
    for number, facts in enumerate(changes):
        for name, value in facts.items():
            setattr(machine.tpm, name, value)
        nonce = hashlib.sha256(bytes([number])).digest()
        machine.challenges.append(
            Challenge(machine.key.name, nonce, NOW - HOUR * (len(changes) - number), machine.name)
        )
        evidence.append(machine.evidence(machine.quote(nonce=nonce), boot=str(number), boot_seq=number))
    return evidence


START = {"clock": 5_000, "reset_count": 7, "restart_count": 3, "safe": 1}
BACKWARDS = {
    "the clock": {"clock": 4_999},
    "the clock, in a later boot": {"clock": 4_999, "reset_count": 8},
    "resetCount": {"reset_count": 6, "clock": 9_000},
    "all, as after a clear": {"clock": 10, "reset_count": 0, "restart_count": 0},
    "restartCount within a boot": {"restart_count": 2, "clock": 9_000},
    "resetCount, the clock not safe": {"reset_count": 6, "clock": 9_000, "safe": 0},
}


@pytest.mark.parametrize("changes", BACKWARDS.values(), ids=BACKWARDS.keys())
def test_079_clocks_and_counters_that_go_back(changes, tmp_path):
    machine = honest()
    evidence = in_turn(machine, START, changes, {"clock": 10_000, "reset_count": 9, "restart_count": 0, "safe": 1})
    with store_of(tmp_path / "s", machine) as store:
        first, second, third = job(store, *evidence, policy=ARCHIVE)
        assert (first["verdict"], third["verdict"]) == ("trusted", "trusted")
        assert refused(second, "quote.clock") and codes(second, "high") == {"quote.clock"}
        backwards = job(store, *evidence[::-1], policy=ARCHIVE, size=1)
        assert [row["verdict"] for row in backwards] == ["trusted", "untrusted", "trusted"]
        assert refused(job(store, *evidence[:2])[1])
    fresh = in_turn(machine, START, changes)
    with store_of(tmp_path / "fresh", machine) as store:
        assert job(store, fresh[1])[0]["verdict"] == "trusted"  # nothing to compare it with
        assert refused(job(store, *fresh)[1], "quote.clock")


def test_079_what_goes_on_is_no_finding(tmp_path):
    machine = honest()
    later = {"clock": 6_000, "reset_count": 20, "restart_count": 0}
    unclean = {"clock": 1, "safe": 0, "reset_count": 21}
    with store_of(tmp_path / "s", machine) as store:
        assert not job(store)
    evidence = in_turn(machine, START, {"restart_count": 4}, later, unclean)
    with store_of(tmp_path / "t", machine) as store:
        rows = job(store, *evidence, policy=ARCHIVE)
        assert [row["verdict"] for row in rows] == ["trusted"] * 4
        assert all(codes(row) <= {"quote.unfresh"} for row in rows)


@POLICIES
@pytest.mark.parametrize("which", ["log", "quote"])
def test_080_the_quote_of_one_boot_and_the_log_of_another(which, policy):
    """The firmware is the same, so PCR 0-7 are equal; what came after it is not. (IMA lists: attacks 85-99.)"""
    machine = honest()
    log, references = booted_evil(machine)
    golden = Tpm.booted(machine.log)
    assert all(golden.pcrs["sha256"][pcr] == machine.tpm.pcrs["sha256"][pcr] for pcr in range(8))
    quote = machine.quote() if which == "log" else golden.quote(machine.selection, machine.nonce, machine.key)
    sent = machine.log if which == "log" else log
    verdict = machine.judge(quote, references=references, policy=policy, event_log=sent)
    assert refused(verdict, "replay.mismatch")
    assert {f.pcr for f in verdict.findings if f.code == "replay.mismatch"} == {8}
    assert trusted(machine.judge(golden.quote(machine.selection, machine.nonce, machine.key), references=references))


@POLICIES
def test_080_quotes_of_two_boots_do_not_add_up(policy):
    """Half of the PCRs from a boot before, half from this one: the counters differ."""
    machine = honest()
    low, high = ([("sha256", pcrs)] for pcrs in (range(8), range(8, 24)))
    assert trusted(machine.judge(machine.quote(low), machine.quote(high), policy=policy), "quote")
    before = machine.quote(high)
    log, references = booted_evil(machine)
    for counter in ("reset_count", "restart_count"):
        machine.tpm.reset_count, machine.tpm.restart_count = 7, 0
        setattr(machine.tpm, counter, 8)
        for sent in (machine.log, log):
            verdict = machine.judge(machine.quote(low), before, references=references, policy=policy, event_log=sent)
            assert refused(verdict, "quote.selection")


@POLICIES
def test_081_another_healthy_machines_tpm_answers(policy):
    """A relay: the nonce is right, and the key is enrolled, for another machine.

    A TPM that is carried to this machine, or asked over a wire under its own machine's name, cannot be told from here.
    """
    sick, healthy = honest(), Machine("healthy")
    assert trusted(healthy.judge())
    references = references_of(sick, healthy)
    for nonce in (sick.nonce, healthy.nonce, bytes(32)):
        relayed = healthy.quote(nonce=nonce)
        verdict = sick.judge(relayed, references=references, policy=policy)
        assert refused(verdict, "key.unknown") and (verdict.attested, verdict.key) == ("log", "none")
        assert not verdict.claims
    both = sick.judge(sick.quote(), healthy.quote(), references=references, policy=policy)
    assert refused(both, "key.unknown")
    dated = [replace(sick.enrolled(), until=NOW)]
    assert refused(sick.judge(policy=policy, references=sick.references(enrolled=dated)), "key.unknown")
    not_yet = [replace(sick.enrolled(), since=NOW + HOUR)]
    assert refused(sick.judge(policy=policy, references=sick.references(enrolled=not_yet)), "key.unknown")


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

"""Attestation results: what findings become in the trustworthiness vector, both dialects, signatures.

The oracle of signatures is ``cryptography`` alone; that of names and values is SPEC section 9.2.
"""

from __future__ import annotations

import base64
import json
import string
import sys

import pyarrow.parquet as pq
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils
from verdict_rows import NOW, finding, pending_machine, sample_verdicts, stages, verdict_row

from pyverify.findings import CODES, Severity
from pyverify.output.ear import ear
from pyverify.output.trust_vector import CLAIMS, claim_of, status_of, vector_of

HIGH = [code.name for code in CODES.values() if code.severity in (Severity.HIGH, Severity.POLICY)]
PCRS = [None, *range(24)]
# AR4SI: what each claim may say (SPEC 9.2; generic: -1, 0, 1, 99).
ALLOWED = {
    "instance-identity": {2, 96, 97},
    "configuration": {2, 3, 32, 96},
    "executables": {2, 3, 32, 33, 96},
    "file-system": {2, 32, 96},
    "hardware": {2, 32, 96, 97},
    "runtime-opaque": set(),
    "storage-opaque": set(),
    "sourced-data": set(),
}


def tier(value: int) -> str:
    if value in (-1, 0, 1):
        return "none"
    return "affirming" if value < 32 else "warning" if value < 96 else "contraindicated"


def appraised(row: dict) -> tuple[str, dict[str, int]]:
    vector = vector_of(row)
    return status_of(vector, row["verdict"]), vector


@pytest.mark.parametrize("code", HIGH)
def test_every_high_finding_takes_an_affirming_claim_away(code):
    for pcr in PCRS:
        claim, value = claim_of(finding(code, pcr=pcr))
        assert claim in CLAIMS
        assert tier(value) != "affirming"
        assert value != 0
        for verdict in ("untrusted", "unmeasured", "error"):
            for attested in ("quote", "log"):
                row = verdict_row("m", verdict, finding(code, pcr=pcr), attested=attested, stages=stages())
                status, vector = appraised(row)
                assert vector[claim] == value
                assert status != "affirming"


def test_a_code_of_the_future_is_the_worst_for_executables():
    row = verdict_row("m", "untrusted", finding("brand.new"))
    assert appraised(row) == ("contraindicated", {**vector_of(verdict_row("m")), "executables": 96})


@pytest.mark.parametrize("code", [*CODES, "brand.new"])
@pytest.mark.parametrize("severity", ["high", "warning", "info"])
def test_values_are_those_that_ar4si_has_for_the_claim(code, severity):
    for pcr in PCRS:
        claim, value = claim_of(finding(code, severity, pcr=pcr))
        assert value in ALLOWED[claim] | {-1, 0, 1, 99}
        assert severity == "high" or value in (0, 32)


@pytest.mark.parametrize(
    ("one", "claim", "value"),
    [
        (finding("quote.signature"), "instance-identity", 99),
        (finding("quote.nonce"), "instance-identity", 99),
        (finding("key.unknown"), "instance-identity", 97),
        (finding("baseline.event-changed", pcr=0), "executables", 96),
        (finding("baseline.event-changed", pcr=4), "executables", 96),
        (finding("baseline.event-changed", pcr=7), "configuration", 96),
        (finding("secureboot.disabled"), "configuration", 96),
        (finding("secureboot.disabled", "info"), "configuration", 32),
        (finding("ima.changed", pcr=10), "file-system", 96),
        (finding("log.truncated"), "executables", 1),
        (finding("ima.template"), "file-system", 1),
        (finding("ima.template-mismatch"), "file-system", 96),
        (finding("store.tampered"), "executables", -1),
        (finding("event.undecodable", "warning"), "executables", 0),
    ],
)
def test_findings_become_what_the_specification_suggests(one, claim, value):
    assert claim_of(one) == (claim, value)


def test_only_a_trusted_boot_behind_a_signature_is_affirming():
    affirming = []
    for verdict in ("trusted", "untrusted", "unmeasured", "error"):
        for attested in ("quote", "quote-unfresh", "pcrs", "log"):
            for key in ("certified", "activated", "enrolled", "first-use", "none"):
                row = verdict_row("m", verdict, attested=attested, key=key, stages=stages())
                status, vector = appraised(row)
                assert vector["instance-identity"] in (0, 2)
                if attested in ("pcrs", "log") or verdict in ("unmeasured", "error"):
                    assert set(vector.values()) <= {0, 1}, (verdict, attested)
                if key in ("first-use", "none"):
                    assert vector["instance-identity"] == 0
                if status == "affirming":
                    affirming.append((verdict, attested))
    assert set(affirming) == {("trusted", "quote"), ("trusted", "quote-unfresh")}


@pytest.mark.parametrize("red", range(6))
def test_a_stage_that_differs_or_was_not_judged_affirms_nothing(red):
    _, vector = appraised(verdict_row("m", "untrusted", stages=stages(red)))
    assert (vector["configuration"], vector["executables"]) == ((2, 3) if red == 5 else (2 if red in (3, 4) else 0, 0))
    lamps = stages()
    lamps[red]["state"] = "grey"
    status, vector = appraised(verdict_row("m", stages=lamps))
    if red in (0, 3, 4):
        assert (status, vector["executables"]) == ("none", 0)


def test_the_status_is_the_worst_of_the_vector():
    for verdict in ("trusted", "untrusted"):
        for worst in (-1, 1, 32, 33, 96, 97, 99):
            vector = dict.fromkeys(CLAIMS, 2) | {"hardware": worst}
            assert status_of(vector, verdict) == tier(worst)
    assert status_of(dict.fromkeys(CLAIMS, 0), "trusted") == "none"
    assert status_of(dict.fromkeys(CLAIMS, 2), "untrusted") == "none"


ROW = verdict_row("web-1", "untrusted", finding("ima.changed"), finding("quote.unfresh", "info"), stages=stages(5))


def test_the_draft_dialect_has_its_names():
    claims = ear(ROW)
    assert set(claims) == {"eat_profile", "iat", "exp", "eat_nonce", "ear_verifier_id", "submods"}
    assert claims["eat_profile"] == "tag:ietf.org,2026:rats/ear#03"
    assert (claims["iat"], claims["exp"]) == (int(NOW.timestamp()), int(NOW.timestamp()) + 86400)
    assert set(claims["ear_verifier_id"]) == {"developer", "build"}
    assert list(claims["submods"]) == ["web-1"]
    submod = claims["submods"]["web-1"]
    assert set(submod) == {"ear_status", "ear_trustworthiness_vector", "ear_appraisal_policy_ids", "pyverify"}
    assert submod["ear_status"] == "contraindicated"
    assert list(submod["ear_trustworthiness_vector"]) == list(CLAIMS)
    assert submod["ear_appraisal_policy_ids"] == [f"sha256:{ROW['policy_id'].hex()}"]
    assert submod["pyverify"] == {
        "boot": "boot-1",
        "verdict": "untrusted",
        "attested": "quote",
        "key": "enrolled",
        "evidence_id": ROW["evidence_id"].hex(),
        "references_id": ROW["references_id"].hex(),
        "findings": ["ima.changed"],
    }


@pytest.mark.parametrize("dialect", ["draft", "veraison"])
@pytest.mark.parametrize("size", [*range(67), 128, None])
def test_a_result_answers_its_nonce_where_a_result_may(dialect, size):
    """8 to 64 bytes, and in JSON text of base64url without padding (RFC 9711 sections 4.1 and 7.2.2)."""
    nonce = None if size is None else bytes(range(255, 255 - size, -1))
    claims = ear(verdict_row("m", nonce=nonce), dialect)
    if size is None or not 8 <= size <= 64:
        assert "eat_nonce" not in claims
    else:
        text = claims["eat_nonce"]
        assert 8 <= len(text) <= 88 and set(text) <= set(string.ascii_letters + string.digits + "-_")
        assert decoded(text) == nonce


def test_the_veraison_dialect_says_the_same_under_its_names():
    draft, other = ear(ROW), ear(ROW, "veraison")
    assert other["eat_profile"] == "tag:github.com,2023:veraison/ear"
    assert other["ear.verifier-id"] == draft["ear_verifier_id"]
    one, two = draft["submods"]["web-1"], other["submods"]["web-1"]
    assert two == {
        "ear.status": one["ear_status"],
        "ear.trustworthiness-vector": one["ear_trustworthiness_vector"],
        "ear.appraisal-policy-id": one["ear_appraisal_policy_ids"][0],
        "pyverify": one["pyverify"],
    }


def test_rows_without_identifiers_or_with_hostile_names_have_a_result():
    row = verdict_row(
        None, "error", finding("evidence.name"), boot=None, ak_name=None, policy_id=None, evidence_id=None
    )
    (submod,) = ear(row)["submods"].values()
    assert submod["ear_status"] == "none"
    assert submod["ear_appraisal_policy_ids"] == ["none"]
    assert list(ear(verdict_row("a\u202eb\0"))["submods"]) == [r"a\u202eb\x00"]


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def key_file(tmp_path, key, encryption=None) -> str:
    path = tmp_path / "key.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            encryption or serialization.NoEncryption(),
        )
    )
    return str(path)


def verify_with(key, signature: bytes, data: bytes) -> None:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        key.public_key().verify(signature, data)
    else:
        assert len(signature) == 64
        halves = (int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        key.public_key().verify(utils.encode_dss_signature(*halves), data, ec.ECDSA(hashes.SHA256()))


@pytest.fixture
def evidence(tmp_path):
    """An archive of one log whose baseline is not active yet, and what `verify` needs to judge it."""
    return pending_machine(tmp_path)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [("EdDSA", ed25519.Ed25519PrivateKey.generate()), ("ES256", ec.generate_private_key(ec.SECP256R1()))],
)
def test_a_signed_result_verifies_with_another_library_and_no_other_bytes_do(tmp_path, run, evidence, algorithm, key):
    code, out, _ = run("verify", *evidence, "--format", "ear", "--ear-key", key_file(tmp_path, key))
    assert code == 3
    (line,) = out.splitlines()
    header, payload, signature = line.split(".")
    assert json.loads(decoded(header)) == {"alg": algorithm, "typ": "JWT"}
    verify_with(key, decoded(signature), f"{header}.{payload}".encode())
    claims = json.loads(decoded(payload))
    assert claims["submods"]["m1"]["ear_status"] == "none"
    claims["submods"]["m1"]["ear_status"] = "affirming"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    with pytest.raises(InvalidSignature):
        verify_with(key, decoded(signature), f"{header}.{forged}".encode())


def test_without_a_key_a_result_is_an_object_and_no_unsigned_token(tmp_path, run, evidence):
    code, out, _ = run("verify", *evidence, "--format", "ear", "--ear-dialect", "veraison", "-o", tmp_path / "out")
    assert (code, out) == (3, "")
    (line,) = (tmp_path / "out").read_text().splitlines()
    assert json.loads(line)["submods"]["m1"]["ear.status"] == "none"


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 2048),
        "encrypted",
        "public",
        "text",
    ],
)
def test_other_keys_are_refused_before_anything_is_written(tmp_path, run, evidence, key):
    own = ed25519.Ed25519PrivateKey.generate()
    if key == "encrypted":
        path = key_file(tmp_path, own, serialization.BestAvailableEncryption(b"secret"))
    elif isinstance(key, str):
        data = own.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (tmp_path / "key.pem").write_bytes(data if key == "public" else b"secret")
        path = str(tmp_path / "key.pem")
    else:
        path = key_file(tmp_path, key)
    code, out, err = run("verify", *evidence, "--format", "ear", "--ear-key", path, "-o", tmp_path / "out")
    assert (code, out) == (2, "")
    assert "key" in err
    assert not (tmp_path / "out").exists()


def test_a_missing_library_is_named(tmp_path, run, evidence, monkeypatch):
    monkeypatch.setitem(sys.modules, "jwt", None)
    path = key_file(tmp_path, ed25519.Ed25519PrivateKey.generate())
    code, _, err = run("verify", *evidence, "--format", "ear", "--ear-key", path)
    assert code == 2
    assert "pyverify[ear]" in err


def test_options_of_ear_go_with_no_other_format(run, evidence):
    for option in (["--ear-key", "k"], ["--ear-dialect", "draft"]):
        code, _, err = run("verify", *evidence, "--format", "jsonl", *option)
        assert code == 2
        assert "--format ear" in err


@pytest.mark.parametrize("verdict", ["unmeasured", "error"])
def test_what_could_not_be_judged_is_never_affirming(verdict):
    for code in CODES:
        for severity in ("high", "warning", "info"):
            row = verdict_row("m", verdict, finding(code, severity), stages=stages())
            status, vector = appraised(row)
            assert status != "affirming"
            assert not {2, 3} & set(vector.values())
            assert verdict != "error" or 1 in vector.values() or max(vector.values()) >= 32 or -1 in vector.values()


def test_results_of_the_sample_fleet(tmp_path):
    rows = pq.read_table(sample_verdicts(tmp_path)).to_pylist()
    statuses = {(row["machine"], row["boot"]): (row["verdict"], appraised(row)[0]) for row in rows}
    assert {status for verdict, status in statuses.values() if verdict == "trusted"} == {"affirming", "warning"}
    assert {status for verdict, status in statuses.values() if verdict == "untrusted"} == {"contraindicated"}
    assert {status for verdict, status in statuses.values() if verdict in ("error", "unmeasured")} == {"none"}
    assert statuses["db-1", "boot-2"] == ("trusted", "affirming"), "Secure Boot is on"
    assert statuses["web-1", "boot-2"] == ("trusted", "warning"), "Secure Boot is off"

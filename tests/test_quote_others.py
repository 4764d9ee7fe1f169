"""Other people's quotes, and other people's verifier."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from conftest import shared
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from quote_data import (
    Sample,
    codes,
    proofs_of,
    recorded,
    sample,
)

from pyverify.algorithms import BANKS
from pyverify.appraise.proof import ProofPolicy

# Other people's quotes and other people's verifier


def _corpus_key(corpus, text):
    """The AK that the manifest names: a file, or the one inside a JSON."""
    path = text.partition(" ")[0]
    data = (corpus / path).read_bytes()
    if not path.endswith(".json"):
        return data
    document = json.loads(data)
    import base64

    if "ak_public" in document:
        return base64.b64decode(document["ak_public"])
    report = base64.urlsafe_b64decode(document["hcl_report"] + "==")
    jwks = json.loads(re.search(rb'\{"keys".*\}', report, re.DOTALL)[0].rstrip(b"\0"))["keys"]
    jwk = next(key for key in jwks if key["kid"] == "HCLAkPub")
    e, n = (int.from_bytes(base64.urlsafe_b64decode(jwk[part] + "==")) for part in ("e", "n"))
    return rsa.RSAPublicNumbers(e, n).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_every_corpus_quote_gives_the_answer_of_its_manifest():
    corpus = shared("corpus")
    records = json.loads((corpus / "manifest.json").read_text())
    judged = [r for r in records if r["kind"] == "quote" and (r.get("signature") or {}).get("ak")]
    assert len(judged) >= 11
    everything = ProofPolicy(hashes=tuple(b.name for b in BANKS), bare_keys=True)
    for record in judged:
        assert record["signature"]["result"].startswith("ok")
        msg = (corpus / record["file"]).read_bytes()
        beside = record["file"].replace("quote.bin", "quote.sig").replace("quote.out", "quotesig.out")
        sig = (corpus / beside).read_bytes()
        values = json.dumps(record["expected_pcrs"]["values"]).encode()
        one = Sample(record["file"], msg, sig, _corpus_key(corpus, record["signature"]["ak"]), values, b"")
        proofs = proofs_of([one], policy=everything)
        assert proofs.signature_ok[0], record["file"]
        assert proofs.sound[0] == record["quote_digest_ok"], (record["file"], codes(proofs))
        changed = one.changed(msg=msg[:-1] + bytes([msg[-1] ^ 1]))
        assert not proofs_of([changed], policy=everything).signature_ok[0]
        by_default = proofs_of([one])
        if "sha1)" in record["signature"]["result"]:
            assert codes(by_default) == {"quote.scheme"}


def _checkquote(tmp_path, one, pem, hash_name):
    for name in ("msg", "sig", "pcrs"):
        (tmp_path / name).write_bytes(getattr(one, name))
    command = [
        "tpm2_checkquote",
        "-u",
        pem,
        "-m",
        "msg",
        "-s",
        "sig",
        "-f",
        "pcrs",
        "-g",
        hash_name,
        "-q",
        one.nonce.hex(),
    ]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("kind", ["rsassa", "rsapss", "ecdsa_p256", "ecdsa_p384"])
def test_tpm2_checkquote_says_the_same(kind, tmp_path):
    """tpm2-tools 5.4 refuses good RSAPSS quotes, and cannot read an SM2 key at all."""
    if not shutil.which("tpm2_checkquote"):
        pytest.skip("no tpm2_checkquote")
    one = sample(kind)
    hash_name = "sha384" if kind == "ecdsa_p384" else "sha256"
    rng = np.random.default_rng(3)
    cases = [one, one.changed(nonce=one.nonce[:-1] + b"\0"), one.changed(nonce=b"\0")]
    for part, count in (("msg", 25), ("sig", 15)):
        for at in rng.integers(0, len(getattr(one, part)), count):
            data = bytearray(getattr(one, part))
            data[at] ^= 1 << int(rng.integers(8))
            cases.append(one.changed(**{part: bytes(data)}))
    for pcr in range(8):
        data = bytearray(one.pcrs)
        data[136 + 4 + 66 * pcr + 2 + pcr] ^= 1
        cases.append(one.changed(pcrs=bytes(data)))
    proofs = proofs_of(cases)
    ours = [bool(proofs.sound[i]) and proofs.nonces[i] == case.nonce for i, case in enumerate(cases)]
    theirs = [_checkquote(tmp_path, case, one.folder / "ak.pem", hash_name) for case in cases]
    assert ours == [True] + [False] * (len(cases) - 1)
    assert theirs == ([False] * len(cases) if kind == "rsapss" else ours)


def test_tpm2_checkquote_says_the_same_of_the_recordings(tmp_path):
    if not shutil.which("tpm2_checkquote"):
        pytest.skip("no tpm2_checkquote")
    samples = [s for s in recorded() if s.ak in ("rsa", "ecc", "ecc384", "rsasha384")][::9]
    assert len(samples) > 50
    for one in samples:
        assert _checkquote(tmp_path, one, one.folder / "ak" / f"ak_{one.ak}.pem", one.hash_name), one.name

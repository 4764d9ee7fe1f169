"""Keys of stores and anchors: OpenSSL makes the keys and judges the signatures."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from baselines_by_hand import baseline

from pyverify import Store, StoreError
from pyverify.baseline import anchor, signing
from pyverify.baseline.heads import Head

USER = "distid:1234567812345678"


def openssl(*args: object) -> bytes:
    return subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True).stdout


@pytest.fixture(params=["ed25519", "sm2"])
def key(request, tmp_path) -> Path:
    """A private key as OpenSSL makes it; its public half is beside it."""
    path = tmp_path / f"{request.param}.pem"
    openssl("genpkey", "-algorithm", request.param, "-out", path)
    openssl("pkey", "-in", path, "-pubout", "-out", path.with_suffix(".pub"))
    return path


def test_openssl_takes_our_signatures(key, tmp_path):
    signer = signing.load(key)
    (tmp_path / "message").write_bytes(b"a head")
    signature = signer.sign(b"a head")
    (tmp_path / "signature").write_bytes(signature)
    options = ["-rawin"] if key.stem == "ed25519" else ["-rawin", "-digest", "sm3", "-pkeyopt", USER]
    files = ["-in", tmp_path / "message", "-sigfile", tmp_path / "signature"]
    said = openssl("pkeyutl", "-verify", "-pubin", "-inkey", key.with_suffix(".pub"), *options, *files)
    assert b"Verified Successfully" in said
    public = signing.load(key.with_suffix(".pub"))
    assert public == signer.public_key
    assert public.verifies(signature, b"a head")
    assert not public.verifies(signature, b"another")
    assert not public.verifies(signature[:-1], b"a head")
    assert not public.verifies(b"", b"a head")
    for at in range(len(signature)):
        assert not public.verifies(signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :], b"a head")
    assert not signing.PublicKey("rsa", public.data).verifies(signature, b"a head")
    assert not signing.PublicKey("sm2" if key.stem != "sm2" else "ed25519", public.data).verifies(signature, b"a head")


def test_a_store_is_written_with_its_private_key_and_read_with_the_public_one(key, tmp_path):
    where = str(tmp_path / "s.db")
    with Store.open(where, create=True, key_file=key) as store:
        store.add([baseline("a")], action="learn")
    assert not (tmp_path / "s.db.key").exists()
    with Store.open(where, key_file=key.with_suffix(".pub")) as store:
        assert store.references().columns.field("id").to_pylist() == ["a"]
        found = store.verify()
        assert (found.is_pinned, found.head.number, found.key.algorithm) == (True, 1, key.stem)
        with pytest.raises(StoreError, match="can only be read here: to change it takes its private key"):
            store.add([baseline("b")], action="learn")
    with Store.open(where) as store:
        assert not store.verify().is_pinned
        with pytest.raises(StoreError, match="can only be read here"):
            store.add([baseline("b")], action="learn")


def test_any_object_that_signs_will_do(tmp_path):
    inner = signing.load(_made(tmp_path / "inner.pem"))

    class Remote:
        public_key = inner.public_key
        asked = 0

        def sign(self, message: bytes) -> bytes:
            self.asked += 1
            return inner.sign(message)

    remote = Remote()
    with Store.open(str(tmp_path / "s.db"), create=True, signer=remote) as store:
        store.add([baseline("a")], action="learn")
        assert remote.asked == 1
        assert store.verify().is_pinned


def test_another_key_is_refused(tmp_path):
    where = str(tmp_path / "s.db")
    Store.open(where, create=True).__exit__(None)
    other = _made(tmp_path / "other.pem")
    with pytest.raises(StoreError, match=r"^store\.tampered: its key is \w{64}, and the key given is \w{64}"):
        Store.open(where, key_file=other)
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        Store.open(where, key_file=tmp_path / "absent.pem")


def test_a_new_key_is_for_its_owner_alone(tmp_path):
    Store.open(str(tmp_path / "s.db"), create=True).__exit__(None)
    path = tmp_path / "s.db.key"
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    signing.make(path)
    assert path.read_bytes() == before  # one that is there is never overwritten
    assert {item.name for item in tmp_path.iterdir()} == {"s.db", "s.db.key"}
    with pytest.raises(StoreError, match="cannot be written"):
        signing.make(tmp_path / "absent" / "key")


def test_what_is_no_key(tmp_path):
    path = tmp_path / "key.pem"
    wrong = [b"", b"text", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
    for kind in (["RSA"], ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]):
        private = openssl("genpkey", "-algorithm", *kind)
        (tmp_path / "p.pem").write_bytes(private)
        wrong += [private, openssl("pkey", "-in", tmp_path / "p.pem", "-pubout")]
    ed25519 = openssl("genpkey", "-algorithm", "ed25519")
    (tmp_path / "p.pem").write_bytes(ed25519)
    wrong += [ed25519 * 2, openssl("pkey", "-in", tmp_path / "p.pem", "-aes128", "-passout", "pass:x")]
    sm2 = openssl("genpkey", "-algorithm", "sm2").replace(b"\n", b"").decode()
    body = sm2.split("-----")[2]
    for at in (60, 100, 170):  # in its number, in its point
        other = body[:at] + ("A" if body[at] != "A" else "B") + body[at + 1 :]
        wrong.append(f"-----BEGIN PRIVATE KEY-----\n{other}\n-----END PRIVATE KEY-----\n".encode())
    for pem in wrong:
        path.write_bytes(pem)
        with pytest.raises(StoreError, match="is no key for a store"):
            signing.load(path)


def _made(path: Path) -> Path:
    signing.make(path)
    return path


def test_an_anchor_is_read_as_it_was_written_and_never_goes_back(tmp_path):
    path = tmp_path / "anchor"
    assert anchor.load(path) is None
    for number in (3, 7, 5):
        anchor.save(path, Head(bytes(16), number, bytes([number]) * 32))
    assert anchor.load(path) == Head(bytes(16), 7, bytes([7]) * 32)
    assert [item.name for item in tmp_path.iterdir()] == ["anchor"]


GOOD = {"store": "00" * 16, "change": 1, "head": "00" * 32}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        json.dumps(GOOD | {"more": 1}),
        json.dumps(GOOD | {"change": -1}),
        json.dumps(GOOD | {"change": True}),
        json.dumps(GOOD | {"change": "1"}),
        json.dumps(GOOD | {"head": "00"}),
        json.dumps(GOOD | {"head": None}),
        json.dumps(GOOD | {"store": "zz"}),
        "[" * 4000,
    ],
)
def test_what_is_no_anchor_is_not_taken_for_an_absent_one(tmp_path, text):
    path = tmp_path / "anchor"
    path.write_text(json.dumps(GOOD))
    assert anchor.load(path) is not None
    path.write_text(text)
    with pytest.raises(StoreError, match="no anchor"):
        anchor.load(path)

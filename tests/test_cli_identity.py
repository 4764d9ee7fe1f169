"""``enroll`` and ``challenge``: what they print, what they refuse, and their exit codes (DESIGN section 9)."""

from __future__ import annotations

import json

import pytest
from conftest import shared
from test_certificates import MIDDLE, ROOT, leaf, pem
from test_credential import activate
from test_enrollment import AK, EK, EK_KEY, KEYS, OTHER_AK, ak_area

from pyverify import Store
from pyverify.baseline.freshness import Freshness
from pyverify.baseline.ledger import Ledger
from pyverify.evidence.public_area import parse

AT = ("--as-of", "2026-11-24T12:00:00Z")
NAME = parse(AK).name.hex()


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    contents = {
        "ak.pub": AK,
        "other.pub": OTHER_AK,
        "third.pub": ak_area(EK_KEY),
        "ek.pub": EK,
        "bad.pub": AK[:-1],
        "soft.pub": ak_area(KEYS[0], 0x00040072),
        "ek.crt": pem(leaf(MIDDLE, key=EK_KEY), MIDDLE),
        "root.crt": ROOT.der,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_enrol_a_key_and_look(run, files):
    code, out, _ = run("enroll", "m1", "ak.pub", *AT, "--reason", "new", "--since", "2026-11-24T12:00Z")
    assert (code, out) == (0, f"m1  {NAME}  enrolled since 2026-11-24 12:00Z  new\n")
    assert run("enroll", "m2", "other.pub")[1] == f"m2  {parse(OTHER_AK).name.hex()}  enrolled  new\n"
    code, out, _ = run("enroll", "m1", "ak.pub", "--until", "2027-01-01", *AT, "--format", "json")
    assert (code, json.loads(out)) == (
        0,
        [
            {
                "machine": "m1",
                "ak_name": NAME,
                "since": "2026-11-24T12:00:00+00:00",
                "until": "2027-01-01T00:00:00+00:00",
                "level": "enrolled",
                "sm2_mode": "digest",
                "new": False,
            }
        ],
    )
    assert "until 2027-01-01 00:00Z" in run("enroll", "m1")[1]
    assert run("enroll", "m3", "--format", "json")[1] == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("enroll",), 2, "name a machine"),
        (("enroll", "m1", "absent.pub"), 3, "No such file"),
        (("enroll", "m1", "bad.pub"), 3, "does not parse"),
        (("enroll", "m1", "ek.crt"), 3, "PEM"),
        (("enroll", "m1", "soft.pub"), 2, "key.attributes"),
        (("enroll", "m1", "ek.pub"), 2, "key.attributes"),
        (("enroll", "../m1", "other.pub"), 2, "machine name"),
        (("enroll", "m2", "ak.pub"), 2, "key.shared"),
        (("enroll", "m1", "other.pub", "--ek-cert", "ek.crt"), 2, "key.certificate"),
        (("enroll", "m1", "other.pub", "third.pub", "--ak-cert", "ek.crt"), 2, "for one key"),
        (("enroll", "--root", "ak.pub"), 3, "key.certificate"),
        (("enroll", "m1", "ak.pub", "--until", "soon"), 2, "no time"),
        (("challenge", "new", "m9"), 2, "key.unknown"),
        (("challenge", "new", "m1", "--ak", "00"), 2, "key.unknown"),
        (("challenge", "new", "--activate", "m1", "ek.pub"), 2, "all of"),
        (("challenge", "new", "m1", "ek.pub", "ak.pub"), 2, "all of"),
        (("challenge", "new", "--activate", "m1", "ek.pub", "other.pub", "-o", "x"), 2, "key.unknown"),
        (("challenge", "import", "ak.pub"), 3, "do not parse"),
        (("challenge", "import", "absent"), 3, "No such file"),
        (("challenge", "check", "m1", "ak.pub"), 1, ""),
        (("challenge",), 2, "ACTION"),
        (("challenge", "new", "m1", "--store", "absent.db"), 4, "no store at"),
    ],
)
def test_what_is_refused(run, files, arguments, status, words):
    assert run("enroll", "m1", "ak.pub")[0] == 0
    code, _, err = run(*arguments)
    assert code == status
    assert words in err
    assert "internal error" not in err


def test_a_nonce_for_each_key_of_a_machine(run, files):
    run("enroll", "m1", "ak.pub", "other.pub", *AT)
    code, out, err = run("challenge", "new", "m1", "--ak", NAME, *AT)
    nonce = bytes.fromhex(out.strip())
    assert code == 0
    assert len(nonce) >= 16
    assert NAME in err
    assert len(run("challenge", "new", "m1", *AT)[1].split()) == 2
    code, out, _ = run("challenge", "new", "m1", *AT, "--format", "json")
    (files / "made.json").write_text(out)
    assert run("challenge", "import", "made.json", "--store", "elsewhere.db")[1] == "2 challenges, 2 of them new\n"
    again = run("challenge", "import", "made.json", "--store", "elsewhere.db", "--format", "json")[1]
    assert json.loads(again) == {"challenges": 2, "new": 0}
    with Store.open("pyverify.db") as store:
        assert len(store.references().identity.challenges(bytes.fromhex(NAME))) == 3


def test_activation_from_the_command_line(run, files):
    assert run("enroll", "--root", "root.crt", *AT)[0] == 0
    code, out, _ = run("enroll", "m1", "ak.pub", "--ek-cert", "ek.crt", *AT)
    assert (code, "  enrolled" in out) == (0, True)
    code, out, err = run("challenge", "new", "--activate", "m1", "ek.pub", "ak.pub", "-o", "blob", *AT)
    assert (code, out) == (0, "")
    assert "tpm2_activatecredential" in err
    secret = activate((files / "blob").read_bytes(), EK_KEY, bytes.fromhex(NAME))
    (files / "secret").write_bytes(secret)
    (files / "wrong").write_bytes(secret[::-1])
    code, out, _ = run("challenge", "check", "m1", "wrong", *AT)
    assert (code, out.startswith("no")) == (1, True)
    code, out, _ = run("challenge", "check", "m1", "secret", *AT)
    assert (code, "certified" in out) == (0, True)
    code, out, _ = run("challenge", "check", "m1", "secret", *AT, "--format", "json")
    assert (code, json.loads(out)) == (1, {"activated": False, "key": None})


def test_recorded_challenges_are_taken_in(run, files):
    """What recordings/to_archive.py writes beside an archive."""
    import subprocess
    import sys

    script = shared("recordings", "to_archive.py")
    subprocess.run([sys.executable, script, "archive", "--machine", "m1"], cwd=files, check=True, capture_output=True)
    code, out, _ = run("challenge", "import", "archive.challenges.json")
    assert (code, out >= "30 challenges") == (0, True)
    ak_name = shared("recordings", "01_m1_first_boot", "ak", "ak_rsa.name").read_bytes()
    entries = [e for e in json.loads((files / "archive.challenges.json").read_text()) if e["ak_name"] == ak_name.hex()]
    with Store.open("pyverify.db") as store:
        newest = max(store.references().identity.challenges(ak_name), key=lambda c: c.issued_at)
        assert newest.nonce.hex() == entries[-1]["nonce"]
        at = newest.issued_at
        assert Ledger(store).spend(ak_name, newest.nonce, bytes(32), at=at) is Freshness.FRESH
        older = bytes.fromhex(entries[0]["nonce"])
        assert Ledger(store).spend(ak_name, older, bytes(32), at=at) is Freshness.UNFRESH_NOT_NEWEST

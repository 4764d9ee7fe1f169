"""``baseline verify-store``, ``--store-key`` and ``--anchor`` from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from store_tools import damage
from test_enrollment import AK, OTHER_AK

from pyverify import Store


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder with two public areas in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("PYVERIFY_STORE", "PYVERIFY_STORE_KEY"):
        monkeypatch.delenv(name, raising=False)
    Path("ak.pub").write_bytes(AK)
    Path("other.pub").write_bytes(OTHER_AK)
    return tmp_path


def test_a_store_that_is_whole(run):
    assert run("enroll", "m", "ak.pub", "--anchor", "anchor")[0] == 0
    code, out, _ = run("baseline", "verify-store", "--anchor", "anchor")
    assert code == 0
    assert out.startswith("verified: 1 change\n") and ", pinned)" in out and "note" not in out
    code, out, _ = run("baseline", "verify-store", "--format", "json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["verified"], facts["changes"], facts["pinned"], facts["algorithm"]) == (True, 1, True, "ed25519")
    assert facts["notes"] == ["a restored older copy cannot be seen without --anchor FILE or --head HEX"]
    assert json.loads(Path("anchor").read_text())["head"] == facts["head"]
    for head in (facts["head"], facts["head"][:16], f"1:{facts['head']}"):
        assert run("baseline", "verify-store", "--head", head)[0] == 0


def test_a_store_whose_key_is_not_here_is_not_pinned(run):
    run("enroll", "m", "ak.pub")
    key = Path("pyverify.db.key").rename("elsewhere.pem")
    code, out, _ = run("baseline", "verify-store")
    assert code == 0
    assert "not pinned)" in out and "its key is not pinned" in out
    assert ", pinned)" in run("baseline", "verify-store", "--store-key", key)[1]
    code, _, err = run("enroll", "m", "other.pub")
    assert code == 4
    assert "can only be read here" in err and "--store-key" in err
    assert run("enroll", "m", "other.pub", "--store-key", key)[0] == 0


def test_the_key_may_be_named_by_the_environment(run, monkeypatch):
    monkeypatch.setenv("PYVERIFY_STORE_KEY", "mine.pem")
    assert run("enroll", "m", "ak.pub")[0] == 0
    assert Path("mine.pem").exists() and not Path("pyverify.db.key").exists()


def test_the_answer_is_no_where_a_row_was_edited(run):
    run("enroll", "m", "ak.pub")
    damage(Path("pyverify.db"), "update enrolled set machine = 'n'")
    code, out, err = run("baseline", "verify-store")
    assert (code, err) == (1, "")
    assert out.startswith("no: store.tampered: the rows of change 1 are not those that were signed")
    code, out, _ = run("baseline", "verify-store", "--format", "json")
    assert code == 1
    assert json.loads(out)["verified"] is False
    for command in (["enroll", "m"], ["enroll", "m", "other.pub"], ["challenge", "new", "m"]):
        code, out, err = run(*command)
        assert (code, out) == (4, "")
        assert err.startswith("pyverify: store.tampered: ")


def test_the_answer_is_no_where_an_older_copy_is_back(run):
    run("enroll", "m", "ak.pub")
    shutil.copy("pyverify.db", "old.db")
    run("enroll", "m", "other.pub", "--anchor", "anchor")
    with Store.open("pyverify.db") as store:
        head = store.head.digest.hex()
    shutil.copy("old.db", "pyverify.db")
    before = Path("anchor").read_bytes()
    assert run("baseline", "verify-store")[0] == 0
    for option in (["--anchor", "anchor"], ["--head", head]):
        code, out, _ = run("baseline", "verify-store", *option)
        assert code == 1
        assert out.startswith("no: store.rolled-back: ")
    code, _, err = run("enroll", "m", "other.pub", "--anchor", "anchor")
    assert code == 4
    assert err.startswith("pyverify: store.rolled-back: change 2 is no longer in it")
    assert Path("anchor").read_bytes() == before


@pytest.mark.parametrize("head", ["", "zz", "00" * 7])
def test_what_is_no_head(run, head):
    run("enroll", "m", "ak.pub")
    assert run("baseline", "verify-store", "--head", head)[0] == 2


def test_what_is_no_store_is_not_a_no(run):
    assert run("baseline", "verify-store")[0] == 4
    Path("pyverify.db").write_bytes(b"text" * 1000)
    assert run("baseline", "verify-store")[0] == 4

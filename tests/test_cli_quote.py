"""`pyverify quote verify`: tpm2_checkquote's flags, one answer, and an exit code that says it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import DATA
from quote_data import KINDS, sample

from pyverify.cli.main import main
from pyverify.cli.views.key import KeyView
from pyverify.cli.views.quote import QuoteView
from pyverify.cli.views.signature import SignatureView

OTHER = DATA / "quotes" / "other_types"


@pytest.fixture
def run(run):
    return lambda *args: run("quote", "verify", *args)


def _files(kind):
    folder = DATA / "quotes" / kind
    return ["-u", folder / "ak.pub", "-m", folder / "quote.msg", "-s", folder / "quote.sig"]


def _bank(kind):
    return {"sm2": "sm3_256", "ecdsa_p384": "sha384"}.get(kind, "sha256")


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_quote_is_a_yes(run, kind):
    one, bank = sample(kind), _bank(kind)
    everything = [*_files(kind), "-q", one.nonce.hex(), "-f", one.folder / "quote.pcrs"]
    everything += ["-l", f"{bank}:0,1,2,3,4,5,6,7,8,9,10", "-g", bank]
    code, out, err = run(*everything)
    assert (code, err) == (0, "") and out.startswith("yes\n") and one.nonce.hex() in out
    code, out, _ = run(*everything, "--format", "json")
    document = json.loads(out)
    assert code == 0 and document["answer"] is True
    assert {check["name"] for check in document["checks"]} == {"signature", "nonce", "selection", "PCR values"}
    assert list(document["pcrs"]) == [bank] and list(document["pcrs"][bank]) == [str(pcr) for pcr in range(11)]
    assert document["signed"]["nonce"] == one.nonce.hex() and document["key"]["form"] == "TPM2B_PUBLIC"
    assert run(*_files(kind))[0] == 0  # what is not asked for is not judged, and said to be so


@pytest.mark.parametrize("kind", ["rsassa", "ecdsa_p256", "ecdsa_p384", "rsapss"])
def test_a_key_in_pem_will_do_but_is_told_of(run, kind):
    files = _files(kind)
    files[1] = DATA / "quotes" / kind / "ak.pem"
    if kind == "rsapss":
        files += ["-g", "sha256"]
    code, out, _ = run(*files)
    assert code == 0 and "key attributes: not checked" in out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-q", "00"], "nonce: expected 00"),
        (["-q", ""], "nonce: expected (none)"),
        (["-q", "a5524c73d4e54589c3eeaeba0e52876fbdd01e"], "nonce: expected"),
        (["-g", "sha384"], "quote.scheme"),
        (["-l", "sha256:0"], "selection: expected sha256:0"),
        (["-l", "sha256:0,1,2,3,4,5,6,7,8,9,10,11"], "selection"),
        (["-l", "sha1:0,1,2,3,4,5,6,7,8,9,10"], "selection"),
        (["-l", "sha256:0,1,2,3,4,5,6,7,8,9,10+sha1:0"], "selection"),
        (["-s", DATA / "quotes" / "rsapss" / "quote.sig"], "quote.scheme"),
        (["-u", DATA / "quotes" / "ecdsa_p256" / "ak.pub"], "quote.scheme"),
        (["-m", DATA / "quotes" / "rsapss" / "quote.msg"], "quote.signature"),
        (["-m", OTHER / "certify.msg", "-s", OTHER / "certify.sig"], "quote.type"),
        (["-f", DATA / "quotes" / "sm2" / "quote.pcrs"], "quote.digest"),
        (["-f", DATA / "quotes" / "sm2" / "quote.sig"], "quote.digest"),
    ],
)
def test_what_does_not_hold_is_a_no(run, flags, words):
    code, out, err = run(*_files("rsassa"), *flags)
    assert code == 1 and out.startswith("no\n") and words in out and not err


def test_a_forged_quote_is_a_no_where_the_key_tells_its_attributes(run):
    flags = ["-m", OTHER / "forged_quote.msg", "-s", OTHER / "forged_quote.sig"]
    code, out, _ = run("-u", OTHER / "ak_unrestricted.tpm2b", *flags)
    assert code == 1 and "key.attributes" in out
    code, out, _ = run("-u", OTHER / "ak_unrestricted.pem", *flags)
    assert code == 0 and "not checked: a bare key has no attributes" in out  # as tpm2_checkquote says, without the note


def test_sm2_modes_are_told_apart(run):
    assert run(*_files("sm2"), "--sm2-mode", "digest")[0] == 0
    code, out, _ = run(*_files("sm2"), "--sm2-mode", "za")
    assert code == 1 and "quote.signature" in out


def test_values_may_be_text(run, tmp_path):
    code, out, _ = run(*_files("sm2"), "-f", DATA / "quotes" / "sm2" / "quote.pcrs", "--format", "json")
    values = tmp_path / "values"
    values.write_text(json.dumps(json.loads(out)["pcrs"]))
    assert code == 0 and run(*_files("sm2"), "-f", values)[0] == 0
    values.write_text(values.read_text().replace("a", "b", 1) if "a" in values.read_text() else "")
    assert run(*_files("sm2"), "-f", values)[0] == 1


@pytest.mark.parametrize(
    "flags",
    [
        ["-q", "xyz"],
        ["-q", "a"],
        ["-g", "md5"],
        ["-l", "sha256"],
        ["-l", "sha256:24"],
        ["-l", "sha256:-1"],
        ["-l", "sha256:0+sha256:1"],
        ["-l", "md5:0"],
        ["--sm2-mode", "auto"],
        ["--nothing"],
    ],
)
def test_usage_is_2(run, flags):
    assert run(*_files("rsassa"), *flags)[0] == 2


@pytest.mark.parametrize("flag", ["-u", "-m", "-s"])
def test_files_that_are_none_of_their_kind_are_3(run, tmp_path, flag):
    for content in (b"", b"\0", b"nonsense", bytes(5000), b"\xffTCG\x80\x18"):
        (tmp_path / "bad").write_bytes(content)
        code, out, err = run(*_files("rsassa"), flag, tmp_path / "bad")
        assert code in (1, 3) and ("yes" not in out) and (code == 1 or "quote.format" in err)
    code, _, err = run(*_files("rsassa"), flag, tmp_path / "absent")
    assert code == 3 and "absent" in err
    assert run(*_files("rsassa"), flag, tmp_path)[0] == 3
    assert run(*_files("rsassa"), "-f", tmp_path / "absent")[0] == 3
    (tmp_path / "big").write_bytes(bytes(2 << 20))
    assert run(*_files("rsassa"), flag, tmp_path / "big")[0] == 3


def test_info_says_what_verifies_signatures(capfd, monkeypatch):
    monkeypatch.delenv("PYVERIFY_CRYPTO", raising=False)
    assert main(["info"]) == 0 and "signatures: libcrypto, OpenSSL 3" in capfd.readouterr().out
    monkeypatch.setenv("PYVERIFY_CRYPTO", "python")
    assert main(["info", "--format", "json"]) == 0
    assert json.loads(capfd.readouterr().out)["signatures"].startswith("cryptography ")


def test_one_quote_loads_no_heavy_package():
    words = ["quote", "verify", *map(str, _files("sm2")), "--format", "json"]
    code = f"from pyverify.cli.main import main; main({words!r}); import sys; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=DATA).stdout
    loaded = {name.split(".")[0] for name in out.splitlines()[-1].split()}
    assert "numpy" in loaded and not {"pyarrow", "sqlalchemy", "gmssl"} & loaded


def test_views_show_faults_and_never_raise():
    one = sample("ecdsa_p256")
    for data in (one.msg, one.key, b"", b"\xff" * 40, one.msg[:-1], one.key[:-1], (OTHER / "nv.msg").read_bytes()):
        for view in (QuoteView(data), KeyView(data), SignatureView(data)):
            document = view.document()
            json.dumps(document)
            assert (document["fault"] is None) is (view.fault is None) is bool(view.table().rows)
            assert document["fault"] is None or document["fault"]["code"].startswith("quote.")
    assert QuoteView((OTHER / "nv.msg").read_bytes()).document()["type"] == "nv"
    key = KeyView(one.key).document()
    assert (key["curve"], key["scheme"], key["hash"]) == ("p256", "ecdsa", "sha256") and "restricted" in key[
        "attributes"
    ]

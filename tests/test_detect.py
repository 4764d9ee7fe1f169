"""What a file looks like: every real one of the recordings and the corpus by the name that its folder gives it."""

from __future__ import annotations

import json
import struct

import pytest
from cel_writers import cel_json, cel_tlv, systemd_record
from conftest import DATA, shared
from hypothesis import given
from hypothesis import strategies as st
from log_editor import events_of

from pyverify.evidence.detect import detect_kind

KAT = (DATA / "kat_log.bin").read_bytes()
RECORDED = {
    "binary_bios_measurements": "tcg",
    "ima/binary_runtime_measurements*": "ima-binary",
    "ima/ascii_runtime_measurements*": "ima-ascii",
    "quotes/*.msg": "attest",
    "quotes/*.sig": None,
    "quotes/*.pcrs": None,
    "ak/*.tpm2b": "public",
    "ak/*.pem": "public",
    "ak/*.name": None,
}


@pytest.mark.parametrize("pattern", RECORDED)
def test_recorded_files_are_what_they_are(pattern):
    files = [path for path in shared("recordings").glob(f"[0-9]*/{pattern}") if path.stat().st_size]
    assert len(files) > 50
    wrong = [
        path.relative_to(shared("recordings")) for path in files if detect_kind(path.read_bytes()) != RECORDED[pattern]
    ]
    assert not wrong


KINDS = {"tcg1": "tcg", "tcg2": "tcg", "ccel": "ccel", "ima-ascii": "ima-ascii", "ima-bin": "ima-binary"}


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_the_corpus_are_what_its_manifest_says(kind):
    corpus = shared("corpus")
    records = [r for r in json.loads((corpus / "manifest.json").read_text()) if r["kind"] == kind and r["size"]]
    found = {r["file"].split("/", 1)[1]: detect_kind((corpus / r["file"]).read_bytes()) for r in records}
    # Its header has index 0, as a TPM's log has.
    found.pop("confidential-containers__trustee/CCEL_data", None)
    assert {name: got for name, got in found.items() if got != KINDS[kind]} == {}
    assert len(found) > 5


def test_the_canonical_log_of_the_corpus_is_one():
    assert detect_kind((shared("corpus") / "files/google__go-tpm-tools/cel.bin").read_bytes()) == "cel-tlv"
    assert detect_kind((shared("corpus") / "files/google__go-tpm-tools/cel.b64").read_bytes()) is None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (KAT, "tcg"),
        (b"\1" + KAT[1:], "ccel"),
        (b"\2" + KAT[1:], None),
        (b"CCEL" + bytes(52), "ccel"),
        (cel_tlv(events_of(KAT)), "cel-tlv"),
        (cel_tlv(events_of(KAT), width=4, register_width=4), "cel-tlv"),
        (cel_json(events_of(KAT), indent=1), "cel-json"),
        (b"[]\n", "cel-json"),
        (b'{"pcr": 1}', None),
        (systemd_record(11, "ready", ["sha256"]), "systemd"),
        (b"\0\x91\xffTCG" + bytes(0x91 - 4), "attest"),
        (b"\0\x92\xffTCG" + bytes(0x91 - 4), None),
        (struct.pack("<II20sI", 0, 8, b"\1" * 20, 3) + b"1.0", "tcg"),
        (struct.pack("<II20sI", 0, 8, b"\1" * 20, 4) + b"1.0", None),
        (bytes(24) + b"\3\0\0\0ima" + bytes(9), "ima-binary"),
        (bytes(24) + b"\2\0\0\0im" + bytes(9), None),
        (b"", None),
        (bytes(4096), None),
        (b"\xff" * 4096, None),
        (b"hello, world\n" * 9, None),
        (b"<html><body>not found</body></html>", None),
    ],
)
def test_the_beginning_decides(data, kind):
    assert detect_kind(data) == kind


@given(data=st.binary(max_size=80))
def test_any_bytes_have_an_answer(data):
    assert detect_kind(data) in {
        None, "tcg", "ccel", "cel-tlv", "cel-json", "systemd", "ima-binary", "ima-ascii", "attest", "public",
    }  # fmt: skip

"""``inspect`` of every kind of evidence: what it is taken for, shapes, faults, filters, proofs against hashlib."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest
from cel_writers import cel_json, cel_tlv, systemd_record
from conftest import DATA, ROOT, entry, hash_of, shared, small_log, spec_id
from hypothesis import given, settings
from hypothesis import strategies as st
from log_editor import events_of
from quote_data import KINDS, sample

from pyverify.cli.evidence_file import ima_format
from pyverify.cli.inspect import MODULES
from pyverify.cli.main import main
from pyverify.cli.views import Asked, findings
from pyverify.cli.views.table import lines
from pyverify.evidence import event_types as types
from pyverify.findings import CODES

BANKS = ["sha1", "sha256"]
LOGS = sorted((DATA / "logs").glob("*.bin"))
LISTS = sorted(path for path in (DATA / "ima").iterdir() if path.suffix != ".json")
FINDING = {"code", "severity", "pcr", "bank", "event", "offset", "expected", "actual", "hint"}


@pytest.fixture
def run(capfd):
    def call(*args):
        try:
            code = main(["inspect", *map(str, args)])
        except SystemExit as stop:
            code = stop.code
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture
def document(run):
    def call(*args):
        return json.loads(run(*args, "--format", "json")[1])

    return call


def is_clean(text: str) -> bool:
    return all(character == "\n" or character.isprintable() for character in text)


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_recorded_log_is_verified_as_hashlib_says(document, path):
    """Data that hashes to its digest in every bank is verified; proven fields are of a part that does."""
    walked = events_of(path.read_bytes())
    shown = document(path)["events"]
    assert len(walked) == len(shown)
    seen = set()
    for (_, kind, digests, data), event in zip(walked, shown, strict=True):
        if kind == types.EV_NO_ACTION:
            assert event["data_verified"] is None
            continue
        whole = all(hash_of(bank, data) == digest for bank, digest in digests.items())
        proven = [field["proven"] for field in event["decoded"]["fields"].values()]
        parts = (data[at:stop] for at in range(len(data)) for stop in (len(data), len(data) - 1))
        if whole:
            assert event["data_verified"] is True
            seen.add("whole")
        elif event["data_verified"] and any(proven):
            digest = digests["sha256"]
            assert any(hash_of("sha256", part) == digest for part in parts)
            assert not all(proven)
            seen.add("part")
        if event["data_verified"] is not True:
            assert not any(proven)
            seen.add("none")
    assert {"whole", "none"} <= seen


def test_a_recorded_boot_has_nothing_against_it(document, run):
    for path in LOGS:
        found = document(path)["findings"]
        assert all(set(finding) == FINDING for finding in found)
        assert {finding["severity"] for finding in found} <= {"info"}, path


def test_findings_of_each_check_are_told_with_their_place(document, run, tmp_path):
    """A log without a separator, with text that was changed, a variable that ends too early, and no PK."""
    log = small_log(BANKS)
    cut = log.replace(entry(4, types.EV_SEPARATOR, bytes(4), BANKS), b"")
    cut = cut.replace(b"Exit Boot Services Invocation", b"Exit Boot Services Invocatiom")
    cut += entry(7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, b"short", BANKS)
    (tmp_path / "log").write_bytes(cut)
    found = document(tmp_path / "log")["findings"]
    by_code = {finding["code"]: finding for finding in found}
    assert {"separator.missing", "event.data-mismatch", "event.undecodable", "secureboot.ambiguous"} <= set(by_code)
    changed = by_code["event.data-mismatch"]
    assert (changed["severity"], changed["pcr"], changed["bank"]) == ("high", 5, "sha1")
    assert changed["actual"] == hash_of("sha1", b"Exit Boot Services Invocation").hex()
    assert changed["expected"] == hash_of("sha1", b"Exit Boot Services Invocatiom").hex()
    weights = ["high", "warning", "info"]
    order = [weights.index(finding["severity"]) for finding in found]
    assert order == sorted(order)
    lines = run(tmp_path / "log")[1].partition("\n\n")[2].splitlines()
    assert len(lines) == 1 + len(found)


@pytest.mark.parametrize(("kind", "write"), [("cel-tlv", cel_tlv), ("cel-json", cel_json)])
@pytest.mark.parametrize("header", [True, False])
def test_a_canonical_log_shows_the_events_of_the_log_that_it_was_made_of(document, run, tmp_path, kind, write, header):
    log = small_log(BANKS)
    (tmp_path / "tcg").write_bytes(log)
    (tmp_path / "cel").write_bytes(write(events_of(log)[0 if header else 1 :]))
    told, whole = document(tmp_path / "cel"), document(tmp_path / "tcg")
    assert (told["kind"], told["banks"]) == (kind, BANKS)
    assert told["events"][int(header) :] == whole["events"][1:]
    assert [f["code"] for f in told["findings"]] == [f["code"] for f in whole["findings"]]
    assert f", {len(told['events'])} events" in run(tmp_path / "cel")[1].splitlines()[0]
    (tmp_path / "cel").write_bytes(write(events_of(log))[:-1])
    code, out, err = run(tmp_path / "cel", "--format", "json")
    assert code == 3
    assert str(tmp_path / "cel") in err
    assert "cel.format at byte" in err
    assert json.loads(out)["findings"][0]["code"] == "cel.format"
    assert isinstance(json.loads(out)["findings"][0]["offset"], int)


def test_a_userspace_log_alone_is_shown_up_to_where_it_was_cut(document, run, tmp_path):
    log = b"".join(systemd_record(11, text, BANKS) for text in ("enter-initrd", "leave-initrd\x1b[2J", "ready"))
    (tmp_path / "log").write_bytes(log)
    told = document(tmp_path / "log")
    assert told["kind"] == "systemd"
    assert [event["pcr"] for event in told["events"]] == [11, 11, 11]
    assert all(event["data_verified"] for event in told["events"])
    assert bytes.fromhex(told["events"][2]["data"]) == b"ready"
    assert told["findings"] == []  # no rule of firmware's logs is for it
    assert is_clean(run(tmp_path / "log")[1])
    (tmp_path / "log").write_bytes(log[:-5])
    code, out, err = run(tmp_path / "log", "--format", "json")
    assert code == 3
    assert [event["number"] for event in json.loads(out)["events"]] == [1, 2]
    assert f"cel.format at byte {log.rindex(bytes([0x1E]))}" in err


def ccel(events=b"") -> bytes:
    """A log of a TD: the header has index 1 (SPEC 2.5)."""
    log = spec_id(["sha384"])
    log += entry(1, types.EV_EFI_VARIABLE_DRIVER_CONFIG, b"x" * 40, ["sha384"])
    log += entry(3, types.EV_IPL, b"grub_cmd: boot\0", ["sha384"], {"sha384": hash_of("sha384", b"boot")})
    return b"\1" + log[1:] + events


def test_a_log_of_confidential_computing_names_its_registers(document, run, tmp_path):
    (tmp_path / "CCEL").write_bytes(ccel())
    told = document(tmp_path / "CCEL")
    assert told["kind"] == "ccel"
    assert [(event["pcr"], event["register"]) for event in told["events"][1:]] == [(1, "RTMR0"), (3, "RTMR2")]
    assert not any(finding["code"].startswith(("separator", "secureboot")) for finding in told["findings"])
    lines = run(tmp_path / "CCEL")[1].splitlines()
    assert "RTMR0" in lines[3]
    assert "PCR 1, 7" in lines[3]
    assert [event["number"] for event in document(tmp_path / "CCEL", "--pcr", "rtmr2")["events"]] == [2]
    assert [event["number"] for event in document(tmp_path / "CCEL", "--type", "IPL")["events"]] == [2]
    for wrong in ("7", "RTMR9"):
        code, out, err = run(tmp_path / "CCEL", "--pcr", wrong)
        assert (code, out) == (2, "")
        assert "RTMR0" in err
    extra = entry(7, types.EV_IPL, b"of a TPM", ["sha384"])
    (tmp_path / "CCEL").write_bytes(ccel(extra))
    code, out, err = run(tmp_path / "CCEL", "--format", "json")
    assert code == 3
    assert len(json.loads(out)["events"]) == 3
    assert json.loads(out)["findings"][0]["code"] == "log.pcr-index"
    assert f"byte {len(ccel())}" in err


def test_what_a_file_looks_like_gives_way_to_what_it_is_said_to_be(run, tmp_path):
    (tmp_path / "log").write_bytes(small_log(BANKS))
    code, _, err = run(tmp_path / "log", "--kind", "ccel")
    assert code == 3
    assert "log.pcr-index" in err
    for kind in ("cel-tlv", "cel-json", "systemd", "ima", "quote", "key", "signature"):
        for form in ("table", "json", "yaml"):
            code, _, err = run(tmp_path / "log", "--kind", kind, "--format", form)
            assert code == 3, kind
            assert "at byte" in err
            assert str(tmp_path / "log") in err
    assert run(tmp_path / "log", "--kind", "pcap")[0] == 2


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_a_list_is_taken_for_what_it_is(document, path):
    told = document(path)
    assert told["kind"] == "ima"
    assert len(told["events"]) > 3
    assert told["events"][0]["path"] == "boot_aggregate"
    assert {event["data_verified"] for event in told["events"]} <= {True, None}
    for event in told["events"]:
        assert set(event) == {"number", "pcr", "template", "path", "digest", "data_verified"}
    violated = [event["number"] for event in told["events"] if event["data_verified"] is None]
    found = {finding["code"]: finding for finding in told["findings"]}
    assert ("ima.violation" in found) is bool(violated)
    if violated:
        assert found["ima.violation"]["event"] == violated[0]
    assert not {"ima.template-mismatch", "ima.relabelled", "ima.boot-aggregate"} & set(found)


def test_a_list_that_was_changed_is_told_of_and_proves_nothing(document, run, tmp_path):
    data = (DATA / "ima" / "ima-sig.binary").read_bytes()
    at = data.index(b"/bin/busybox")
    (tmp_path / "list").write_bytes(data[:at] + b"/bin/busyb\x1bx" + data[at + 12 :])
    told = document(tmp_path / "list")
    (event,) = [event for event in told["events"] if event["data_verified"] is False]
    assert event["path"] == "/bin/busyb\\x1bx"
    finding = next(f for f in told["findings"] if f["code"] == "ima.template-mismatch")
    assert (finding["severity"], finding["event"]) == ("high", event["number"])
    out = run(tmp_path / "list")[1]
    assert is_clean(out)
    assert "✗" in out.splitlines()[2 + event["number"]]
    (tmp_path / "list").write_bytes(data[:-1])
    code, out, err = run(tmp_path / "list", "--format", "json")
    assert code == 3
    assert "ima.truncated at byte" in err
    assert len(json.loads(out)["events"]) == len(told["events"]) - 1
    assert len(document(tmp_path / "list", "--pcr", "10")["events"]) == len(told["events"]) - 1
    assert document(tmp_path / "list", "--pcr", "11")["events"] == []
    (tmp_path / "list").write_bytes(b"")
    assert "ima.empty" in run(tmp_path / "list", "--kind", "ima")[2]


@pytest.mark.parametrize("form", ["binary", "ascii"])
@pytest.mark.parametrize("suffix", ["", "_sha1", "_sha256", "_sha384", "_sha512", "_sm3", "_tpm_alg_b"])
def test_the_kernels_name_of_a_list_says_its_format(form, suffix):
    assert ima_format(f"/sys/{form}_runtime_measurements{suffix}", b"") == form + suffix
    assert ima_format(f"/sys/{form}_runtime_measurements{suffix}.old", b"") == "binary"


def test_lists_of_all_banks_are_told_apart_without_their_names():
    folder = shared("recordings", "12_kernel_6.12", "ima")
    for path in sorted(folder.glob("*_runtime_measurements*_*")):
        form = path.name.replace("_runtime_measurements", "").replace("_sha1", "")
        assert ima_format("list", path.read_bytes()) == form


@pytest.mark.parametrize("name", KINDS)
def test_quotes_keys_and_signatures_are_shown(run, document, name):
    folder = DATA / "quotes" / name
    quote = document(folder / "quote.msg")
    assert (quote["kind"], quote["type"], quote["fault"]) == ("quote", "quote", None)
    assert quote["nonce"] == sample(name).nonce.hex()
    assert quote["nonce"] in run(folder / "quote.msg")[1]
    key = document(folder / "ak.pub")
    assert key["name"] == (folder / "ak.name").read_bytes().hex()
    assert key["name"] in run(folder / "ak.pub")[1]
    signature = document(folder / "quote.sig", "--kind", "signature")
    assert (signature["kind"], signature["scheme"]) == ("signature", key["scheme"])
    assert signature["hash"] in run(folder / "quote.sig", "--kind", "signature")[1]
    for path in (folder / "quote.msg", folder / "ak.pub"):
        for option in (("--pcr", "7"), ("--type", "EV_IPL"), ("--summary",)):
            code, out, err = run(path, *option)
            assert (code, out) == (2, "")
            assert option[0] in err


def test_a_key_in_pem_has_no_name(run, document):
    path = DATA / "quotes" / "rsassa" / "ak.pem"
    assert document(path)["form"] == "SubjectPublicKeyInfo"
    assert "bare key" in run(path)[1]


def test_what_attests_something_else_is_named_and_refused(run):
    code, out, err = run(DATA / "quotes" / "other_types" / "certify.msg")
    assert code == 3
    assert "certify" in out
    assert "quote.type" in err


def test_types_are_no_filter_for_lists_and_a_summary_takes_none(run):
    assert run(LISTS[0], "--type", "EV_IPL")[0] == 2
    assert run(LISTS[0], "--pcr", "24")[0] == 2
    assert run(LISTS[0], "--summary")[0] == 2
    for option in (("--pcr", "7"), ("--type", "EV_IPL")):
        code, out, err = run(LOGS[0], "--summary", *option)
        assert (code, out) == (2, "")
        assert "--summary" in err


@pytest.mark.parametrize(
    ("name", "state", "said"),
    [
        ("01_m1_first_boot", "disabled", ["console=ttyS0,115200", "/vmlinuz-6.1.0"]),
        ("60_sb_first_boot", "enabled", ["\\EFI\\debian\\shimx64.efi", "SBAT level", "validates what it starts"]),
        ("70_uki", "disabled", [".initrd of the unified kernel image"]),
        ("80_sm3_all_banks", "disabled", ["sm3_256"]),
    ],
)
def test_the_summary_of_a_recorded_boot(run, name, state, said):
    path = DATA / "logs" / f"{name}.bin"
    code, out, err = run(path, "--summary")
    assert (code, err) == (0, "")
    for text in (*said, f"secure boot    {state}", "(?) a hint"):
        assert text in out
    assert len(out.splitlines()) < 40
    summary = json.loads(run(path, "--summary", "--format", "json")[1])
    assert summary["secure_boot"]["state"] == state
    # A unified kernel image has its command line inside: only its hash is in the log.
    assert [item["proven"] for item in summary["command_lines"]] == ([] if name == "70_uki" else [True])
    assert {item["proven"] for item in summary["loaders"]} == {False}


def test_the_summary_is_of_a_whole_log_of_pcrs(run, tmp_path):
    (tmp_path / "log").write_bytes(small_log(BANKS)[:-1])
    code, out, err = run(tmp_path / "log", "--summary")
    assert (code, out) == (3, "")
    assert "log.truncated" in err
    (tmp_path / "log").write_bytes(ccel())
    assert run(tmp_path / "log", "--summary")[0] == 2
    (tmp_path / "log").write_bytes(systemd_record(11, "ready", BANKS))
    assert run(tmp_path / "log", "--summary")[0] == 2
    (tmp_path / "log").write_bytes(cel_json(events_of(small_log(BANKS, command_line=b"a\x1b[31m"))))
    for form in ("table", "json", "yaml"):
        code, out, _ = run(tmp_path / "log", "--summary", "--format", form)
        assert code == 0
        assert is_clean(out)


def test_json_has_no_character_that_does_not_print(run, tmp_path):
    (tmp_path / "log").write_bytes(small_log(BANKS, command_line=b"a\x7fb"))
    code, out, _ = run(tmp_path / "log", "--summary", "--format", "json")
    assert code == 0
    assert is_clean(out)
    assert [item["value"] for item in json.loads(out)["kernels"]] == ["a\x7fb"]


def _kinds(tmp_path):
    (tmp_path / "CCEL").write_bytes(ccel())
    (tmp_path / "cel").write_bytes(cel_tlv(events_of(small_log(BANKS))))
    quotes = DATA / "quotes" / "rsassa"
    logs = [[path] for path in (tmp_path / "CCEL", tmp_path / "cel", LOGS[0], LISTS[0])]
    return [*logs, [LOGS[0], "--summary"], [quotes / "quote.msg"], [quotes / "ak.pub"]]


def test_no_kind_loads_a_heavy_package(tmp_path):
    for args in _kinds(tmp_path):
        words = [str(arg) for arg in args]
        code = f"from pyverify.cli.main import main; main(['inspect', *{words!r}])\nimport sys; print(*sys.modules)"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "tests", check=True)
        loaded = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
        assert not {"pyarrow", "sqlalchemy", "rich", "yaml", "cryptography", "gmssl"} & loaded, words


def test_every_kind_of_the_corpus_is_shown_to_its_end_or_its_fault(run):
    """Whatever it is: no internal error, an exit code that fits, nothing that steers a terminal."""
    corpus = shared("corpus")
    files = [path for folder in ("files", "malformed") for path in sorted((corpus / folder).rglob("*"))]
    files = [path for path in files if path.is_file() and path.stat().st_size < 200_000]
    codes = set()
    for path in files[::7]:
        code, out, err = run(path)
        assert code in (0, 3), (path, err)
        assert "internal error" not in err
        assert is_clean(out)
        codes.add(code)
    assert codes == {0, 3}


SYSTEMD = b"".join(systemd_record(11, text, BANKS) for text in ("enter-initrd", "leave-initrd", "ready"))
EVIDENCE = {
    "tcg": small_log(BANKS),
    "ccel": ccel(),
    "cel-tlv": cel_tlv(events_of(small_log(BANKS))),
    "cel-json": cel_json(events_of(small_log(BANKS))),
    "systemd": SYSTEMD,
    "ima": (DATA / "ima" / "ima-buf.binary").read_bytes()[:3000],
    "quote": sample("rsassa").msg,
    "key": sample("ecdsa_p256").key,
    "signature": (DATA / "quotes" / "rsassa" / "quote.sig").read_bytes(),
}


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("kind", EVIDENCE)
def test_any_damage_is_shown_or_refused_in_words(kind, data):
    """Bytes changed, cut or doubled: a document, a table without controls, and a fault that has a code of the table."""
    whole = EVIDENCE[kind]
    at = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(at, min(len(whole), at + 8)))
    damaged = whole[:at] + data.draw(st.binary(max_size=8)) + whole[stop:]
    module = importlib.import_module(f"pyverify.cli.views.{MODULES.get(kind, 'event_log')}")
    view = module.view(damaged, Asked("file", kind))
    json.dumps(view.document())
    text = "\n".join([view.title, *lines(view.table()), *lines(findings.table(view.findings()))])
    assert is_clean(text)
    assert view.fault is None or view.fault.code in CODES

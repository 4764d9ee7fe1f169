"""``inspect`` of an event log: filters, what is proven, findings, and a table that nothing in a log can steer."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
import yaml
from conftest import DATA, ROOT, entry, hash_of, small_log
from test_event_data import gpt, variable

from pyverify.cli.views import Table, Words, event_log, table
from pyverify.evidence import event_types as types
from pyverify.evidence.event_data import decode
from pyverify.evidence.eventlog import EventLog
from pyverify.evidence.uefi import GLOBAL_VARIABLE

BANKS = ["sha1", "sha256"]
KAT = DATA / "kat_log.bin"
COMMAND = b"kernel_cmdline: quiet\0"


@pytest.fixture
def run(run):
    return lambda *args: run("inspect", *args)


@pytest.fixture
def log(tmp_path):
    extra = entry(1, types.EV_EFI_VARIABLE_BOOT, variable("BootOrder", b"\1\0"), BANKS)
    extra += entry(7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, variable("SecureBoot", b"\1")[:-1], BANKS)
    path = tmp_path / "log"
    path.write_bytes(small_log(BANKS, extra=extra))
    return path


def test_the_document_has_the_settled_shape(run, log):
    code, out, err = run(log, "--format", "json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert list(document) == ["kind", "format", "banks", "events", "findings"]
    assert document["kind"] == "tcg"
    for event, parsed in zip(document["events"], EventLog.parse(log.read_bytes()), strict=True):
        assert set(event) == {"number", "pcr", "type_hint", "digests", "data", "data_verified", "decoded"}
        assert event["data_verified"] in (True, False, None)
        assert set(event["decoded"]) == {"kind", "text", "fields"}
        assert bytes.fromhex(event["data"]) == parsed.data
        for field in event["decoded"]["fields"].values():
            assert set(field) == {"value", "proven"}
    order = next(e for e in document["events"] if e["type_hint"] == "EV_EFI_VARIABLE_BOOT")["decoded"]
    assert (order["kind"], order["text"]) == ("variable", "BootOrder = 0001")
    assert {name: field["value"] for name, field in order["fields"].items()} == {
        "guid": GLOBAL_VARIABLE,
        "name": "BootOrder",
        "order": ["0001"],
    }
    assert yaml.safe_load(run(log, "--format", "yaml")[1]) == document


def test_data_that_does_not_fit_is_a_finding(run, log):
    document = json.loads(run(log, "--format", "json")[1])
    found = {(f["code"], f["severity"], f["pcr"]) for f in document["findings"]}
    assert ("event.undecodable", "high", 7) in found
    other = json.loads(run(log, "--format", "json", "--pcr", "1")[1])
    assert [f for f in other["findings"] if f["pcr"] == 7] == []


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--pcr", "4,7"), lambda e: e.pcr in (4, 7)),
        (("--pcr", "4", "--pcr", "7"), lambda e: e.pcr in (4, 7)),
        (("--type", "EV_SEPARATOR"), lambda e: e.type_hint == types.EV_SEPARATOR),
        (("--type", "separator,0xd"), lambda e: e.type_hint in (types.EV_SEPARATOR, types.EV_IPL)),
        (("--type", "EV_SEPARATOR", "--pcr", "7"), lambda e: e.type_hint == types.EV_SEPARATOR and e.pcr == 7),
        (("--type", "2147483655"), lambda e: e.type_hint == types.EV_EFI_ACTION),
        (("--pcr", "20"), lambda e: False),
        (("--type", "EV_PREBOOT_CERT"), lambda e: False),  # its number is 0
    ],
)
def test_filters(run, log, options, wanted):
    numbers = [event.number for event in EventLog.parse(log.read_bytes()) if wanted(event)]
    code, out, _ = run(log, "--format", "json", *options)
    assert code == 0
    assert [event["number"] for event in json.loads(out)["events"]] == numbers
    lines = run(log, *options)[1].partition("\n\n")[0].splitlines()
    assert len(lines) == (2 + len(numbers) if numbers else 1)
    assert f", {len(numbers)} of " in lines[0]


@pytest.mark.parametrize("option", [("--pcr", "24"), ("--pcr", "x"), ("--pcr", ""), ("--type", "EV_NONE")])
def test_a_filter_that_makes_no_sense_is_2(run, log, option):
    code, out, err = run(log, *option)
    assert (code, out) == (2, "")
    assert option[0] in err


def test_standard_input(run, log, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(log.read_bytes())))
    assert run("-")[1].splitlines()[1:] == run(log)[1].splitlines()[1:]


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_nothing_in_a_log_steers_a_terminal(run, tmp_path, form):
    hostile = "a\x1b[31m[red]\x9b\u202e\u200b b".encode()
    evil = b"".join(entry(8, kind, b"grub_cmd: " + hostile + b"\0", BANKS) for kind in (types.EV_IPL, 0xBAD))
    evil += entry(7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, variable("\x1b[2J\u202e", b"\x1b[2J"), BANKS)
    (tmp_path / "log").write_bytes(small_log(BANKS, extra=evil))
    code, out, _ = run(tmp_path / "log", "--format", form)
    assert code == 0
    assert all(character == "\n" or character.isprintable() for character in out)


def test_a_field_is_proven_where_a_digest_covers_all_of_it(run, log):
    parsed = EventLog.parse(log.read_bytes())
    command = next(event.number for event in parsed if event.data == COMMAND)
    version = next(event.number for event in parsed if event.type_hint == types.EV_S_CRTM_VERSION)
    order = next(event.number for event in parsed if event.type_hint == types.EV_EFI_VARIABLE_BOOT)
    boot = next(event.number for event in parsed if event.type_hint == types.EV_EFI_BOOT_SERVICES_APPLICATION)
    events = json.loads(run(log, "--format", "json")[1])["events"]
    proven = [{name: f["proven"] for name, f in event["decoded"]["fields"].items()} for event in events]
    assert hash_of("sha256", b"quiet").hex() == events[command]["digests"]["sha256"]
    assert proven[command] == {"label": False, "text": True}
    assert proven[order] == {"guid": True, "name": True, "order": True}  # hashed whole
    assert all(proven[version].values())
    assert not any(proven[boot].values())
    assert not any(proven[0].values())
    verified = [event["data_verified"] for event in events]
    assert (verified[command], verified[order], verified[0], verified[boot]) == (True, True, None, None)
    assert "✓" in run(log)[1].splitlines()[2 + command]


def test_a_boot_variable_hashed_by_its_data_proves_no_name(run, tmp_path):
    bare = {bank: hash_of(bank, b"\1\0") for bank in BANKS}
    order = entry(1, types.EV_EFI_VARIABLE_BOOT, variable("BootOrder", b"\1\0"), BANKS, bare)
    (tmp_path / "log").write_bytes(small_log(BANKS, extra=order))
    document = json.loads(run(tmp_path / "log", "--format", "json", "--type", "EFI_VARIABLE_BOOT")[1])
    fields = document["events"][0]["decoded"]["fields"]
    assert document["events"][0]["data_verified"] is True
    assert {name: field["proven"] for name, field in fields.items()} == {"guid": False, "name": False, "order": True}


@pytest.mark.parametrize("bank", BANKS)
def test_data_that_was_changed_is_a_finding_and_proves_nothing(run, tmp_path, bank):
    """In one bank is enough: the other one may be the one that a quote selects."""
    action = b"Calling EFI Application from Boot Option"
    digests = {name: hash_of(name, action) for name in BANKS} | {bank: hash_of(bank, b"another")}
    (tmp_path / "log").write_bytes(small_log(BANKS, extra=entry(4, types.EV_EFI_ACTION, action, BANKS, digests)))
    document = json.loads(run(tmp_path / "log", "--format", "json")[1])
    (event,) = [event for event in document["events"] if event["data"] == action.hex()]
    assert event["data_verified"] is False
    assert not any(field["proven"] for field in event["decoded"]["fields"].values())
    found = next(f for f in document["findings"] if f["code"] == "event.data-mismatch")
    assert (found["severity"], found["pcr"], found["event"], found["bank"]) == ("high", 4, event["number"], bank)
    assert (found["expected"], found["actual"]) == (hash_of(bank, action).hex(), hash_of(bank, b"another").hex())
    out = run(tmp_path / "log")[1]
    assert "✗" in out
    assert out.partition("\n\n")[2].splitlines()[1].startswith("high     event.data-mismatch")


def test_what_is_zero_in_the_hash_is_never_proven():
    data = gpt(1, 1)
    fields = {f.name: f for f in decode(5, types.EV_EFI_GPT_EVENT2, data).fields}
    whole = (0, len(data))
    unproven = {name for name, field in fields.items() if not decode(5, 0, b"").proven(field, whole)}
    assert unproven == {"disk_guid", "partition_guids"}
    assert all(decode(5, 0, b"").proven(f, whole) for f in decode(5, types.EV_EFI_GPT_EVENT, data).fields)


def test_unproven_words_are_dim():
    decoded = decode(8, types.EV_IPL, COMMAND)
    assert event_log.words(decoded, (16, 21)).dim == ((0, 14),)
    assert event_log.words(decoded, (0, len(COMMAND))).dim == ()
    assert event_log.words(decoded, None).dim == ((0, len(decoded.text)),)
    assert event_log.words(decoded, (0, 0)).dim == ((0, len(decoded.text)),)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("colour", "dim"), [(None, True), ("1", False)])
def test_a_terminal_gets_folded_text_and_colour_unless_it_wants_none(monkeypatch, colour, dim):
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", "50")
    (monkeypatch.delenv("NO_COLOR", raising=False) if colour is None else monkeypatch.setenv("NO_COLOR", colour))
    words = Words("x" * 45 + "漢" * 30, ((40, 50),))
    shown = Table(("#", "words"), frozenset([0]), [(("12",), words), (("3",), Words("short"))])
    table.print_tables("title", [shown])
    text = out.getvalue()
    assert ("\x1b[2m" in text) is dim
    for code in ("\x1b[1m", "\x1b[2m", "\x1b[0m"):
        text = text.replace(code, "")
    assert text.startswith("title\n")
    lines = text.splitlines()[1:]
    assert lines[0] == " #  words"
    assert lines[-1] == " 3  short"
    assert "".join(line[4:] for line in lines[1:-1]) == words.text
    assert all(sum(2 if c == "漢" else 1 for c in line) <= 50 for line in lines)


def test_a_terminal_without_unicode_gets_all_the_same(tmp_path):
    (tmp_path / "log").write_bytes(small_log(BANKS, command_line="café 启动".encode()))
    command = [sys.executable, "-m", "pyverify", "inspect", tmp_path / "log"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT / "tests", check=True)
    assert "kernel_cmdline: caf\\xe9 \\u542f\\u52a8" in done.stdout


def test_inspect_imports_nothing_slow():
    """Beside NumPy, which is most of what it takes, an inspection loads no package but the core's."""
    log = DATA / "logs" / "60_sb_first_boot.bin"
    code = f"from pyverify.cli.main import main; main(['inspect', {str(log)!r}])\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "tests", check=True)
    modules = done.stdout.splitlines()[-1].split()
    loaded = {name.split(".")[0] for name in modules}
    assert "numpy" in loaded
    assert not {"numpy.ma", "numpy.random"} & set(modules)
    slow = {"rich", "yaml", "pyarrow", "sqlalchemy", "cryptography", "gmssl", "asyncio", "ssl", "http", "email"}
    assert not slow & loaded

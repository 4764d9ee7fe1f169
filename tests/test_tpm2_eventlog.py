"""Event fields against tpm2_eventlog (tpm2-tools), which shares no code with us, on every log that it reads.

Numbers, PCRs, types, digests and what the data says are put into the tool's words and compared; it is no oracle for PCR
values (SPEC section 0.7), which are not looked at here. Where it and we differ, a row of a table says who is right.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import shared
from tool_words import fields_of, gpt, in_the_tools_words, range_of

from pyverify.evidence import event_types as types
from pyverify.evidence.decoded import Decoded
from pyverify.evidence.event_data import decode
from pyverify.evidence.eventlog import Event, EventLog

TOOLS_MOST = 1024  # bytes of an event that it prints


# What the tool says: one block of its YAML an event. Not all of it is YAML, so blocks are read one by one.


def blocks_of(output: str) -> list[str]:
    body = output.split("\npcrs:", maxsplit=1)[0]
    return re.split(r"(?m)^(?=- EventNum: )", body)[1:] or re.split(r"(?m)^(?=  PCRIndex: )", body)[1:]


_ESCAPES = {"0": "\0", "a": "\a", "b": "\b", "t": "\t", "v": "\v", "f": "\f", "n": "\n", "r": "\r", "e": "\x1b"}


def unescaped(text: str) -> str:
    """A string as the tool quotes it, each line on its own, with C escapes."""
    lines = text.strip()[1:-1].replace('"\n      "', "\n")
    escape = re.compile(r"\\(x20|.)", re.DOTALL)
    return escape.sub(lambda match: " " if match[1] == "x20" else _ESCAPES.get(match[1], match[1]), lines)


def event_of(block: str) -> dict:
    """One event of the tool's output; the strings of EV_IPL are under ``String``, as bytes in Latin-1."""
    string = re.search(r"(?s)\n    String: \|-\n(.*)$", block)
    block = block[: string.start()] if string else block
    block = re.sub(r"SignatureData: (\w+)", r'SignatureData: "\1"', block)  # digits alone are no number
    document = yaml.load(block, Loader=yaml.CSafeLoader)
    event = document[0] if isinstance(document, list) else document
    if string:
        event["Event"] = {"String": unescaped(string[1])}
    return event


def read_by_tool(path: Path) -> list[dict]:
    """The events that the tool shows; where it fails within a log, those before the one it failed in."""
    done = subprocess.run(["tpm2_eventlog", "--eventlog-version=2", path], capture_output=True, check=False)
    blocks = blocks_of(done.stdout.decode("latin-1"))
    return [event_of(block) for block in (blocks if done.returncode == 0 else blocks[:-1])]


# Where the two differ, and why. Each must occur, or it is out of date.

KNOWN = {
    "bare certificate": "old shims log a certificate without its owner: the tool takes its first bytes for a GUID",
    "label as blob": "EV_S_CRTM_CONTENTS is a text here (Boot Guard ...): the tool reads every one as base and length",
    "blob's name": "a name without a NUL (its size is before it): the tool drops the last character all the same",
    "long data": "the tool prints 1,024 bytes of an event and no more",
    "not one variable": "TPM 1.2 firmware puts many variables in one event: the tool reads the first, we none",
    "partition name": "after its NUL a name may hold anything (Windows does so), at which the tool refuses all of it",
    "unknown type": "types that have no name have their number here; EV_EFI_HCRTM_EVENT has one here and not there",
}


def differences(event: Event, theirs: dict) -> Iterator[str]:
    """What differs, by the names of the table; what has no name there is told in full."""
    decoded = decode(event.pcr, event.type_hint, event.data)
    if theirs["PCRIndex"] != event.pcr:
        yield f"PCR {theirs['PCRIndex']} is {event.pcr}"
    if theirs["EventType"] != event.type_name:
        nameless = event.type_hint == types.EV_EFI_HCRTM_EVENT or event.type_hint not in types.NAMES
        unknown = theirs["EventType"] == "Unknown event type" and nameless
        yield "unknown type" if unknown else f"{theirs['EventType']} is {event.type_name}"
    if theirs["EventSize"] != len(event.data):
        yield f"size {theirs['EventSize']} is {len(event.data)}"
    digests = {digest["AlgorithmId"]: digest["Digest"] for digest in theirs.get("Digests", ())}
    if "Digest" in theirs and event.digests:  # the header of a crypto-agile log has a digest of no bank
        digests = {"sha1": theirs["Digest"]}
    if digests != {bank: digest.hex() for bank, digest in event.digests.items()}:
        yield f"digests {digests}"
    said, ours = theirs.get("SpecID", theirs.get("Event")), in_the_tools_words(event, decoded)
    if not same(said, ours):
        yield known_difference(event, decoded, said) or f"data: {said!r} is {ours!r}"


def same(said: object, ours: object) -> bool:
    """Equality; what is given in two forms has one of them there, by the tool's version and how it was built."""
    if isinstance(ours, dict):
        return isinstance(said, dict) and all(key in said and same(said[key], ours[key]) for key in ours)
    if isinstance(ours, list) and isinstance(said, list):
        return len(ours) == len(said) and all(map(same, said, ours))
    if isinstance(ours, tuple):
        return str(said or "") in (ours[0], efivar_path(ours[1]))
    return said == ours or str(said or "").rstrip("\0\n") == str(ours).rstrip("\0\n") != "None"


def known_difference(event: Event, decoded: Decoded, said: object) -> str | None:
    fields = fields_of(decoded)
    if decoded.kind == "authority" and "certificate" in fields and "owner" not in fields:
        return "bare certificate"
    if isinstance(said, str) and len(said) == 2 * TOOLS_MOST and event.data.hex().startswith(said):
        return "long data"
    if decoded.kind == "gpt" and isinstance(said, dict):
        for number, (theirs, ours) in enumerate(zip(said["Partitions"], fields["partitions"], strict=True)):
            rest = event.data[100 + 128 * number :][56 + 2 * len(ours["name"]) + 2 : 128]
            if theirs["PartitionName"] == "(null)" and any(rest):
                theirs["PartitionName"] = ours["name"]
        return "partition name" if same(said, gpt(fields)) else None
    if decoded.kind == "blob" and "description" in fields and isinstance(said, dict):
        name = range_of(event, decoded, "description")
        return "blob's name" if said["BlobDescription"] == name[:-1].hex() else None
    if decoded.kind == "s-crtm-contents" and "text" in fields:
        return "label as blob"
    if decoded.kind == "undecodable" and event.type_hint == types.EV_EFI_VARIABLE_BOOT:
        return "not one variable"
    return None


def efivar_path(path: str) -> str:
    """Our text of a device path in the notation of efivar, which writes some nodes otherwise."""
    path = re.sub(r"(^|/)(\\[^/,]*)", r"\1File(\2)", path)
    path = path.replace("Fv(", "FvVol(")
    for ours, theirs in (("USB", "USB"), ("Scsi", "SCSI"), ("Sata", "Sata")):
        path = re.sub(rf"\b{ours}\((.*?)\)", lambda m, name=theirs: f"{name}({decimal(m[1])})", path)
    return path


def decimal(numbers: str) -> str:
    return ",".join(str(int(number, 16)) for number in numbers.split(","))


def compare(theirs: list[dict], log: EventLog) -> Counter:
    found: Counter = Counter()
    for number, said in enumerate(theirs):
        event = log[number]
        assert said.get("EventNum", number) == number
        for difference in differences(event, said):
            assert difference in KNOWN, f"event {number}, {event.type_name}: {difference}"[:2000]
            found[difference] += 1
    return found


def logs() -> list[Path]:
    corpus = shared("corpus")
    records = json.loads((corpus / "manifest.json").read_text())
    paths = [corpus / record["file"] for record in records if record["kind"] in ("tcg1", "tcg2")]
    return paths + sorted(shared("recordings").glob("*/binary_bios_measurements"))


@pytest.mark.skipif(shutil.which("tpm2_eventlog") is None, reason="tpm2-tools is not installed")
def test_every_event_that_tpm2_eventlog_shows_is_what_we_read():
    found: Counter = Counter()
    compared = whole = 0
    for path in logs():
        log = EventLog.read(path.read_bytes())
        theirs = read_by_tool(path)
        try:
            found += compare(theirs, log)
        except AssertionError as error:
            raise AssertionError(f"{path}: {error}") from None
        compared += len(theirs)
        whole += len(theirs) == len(log) > 0
    assert compared > 7500
    assert whole > 110
    assert set(found) == set(KNOWN)


def test_the_comparison_sees_what_differs():
    """One digit of what a tool would say, changed, is a difference that has no name."""
    log = EventLog.read((shared("recordings") / "60_sb_first_boot" / "binary_bios_measurements").read_bytes())
    for event in log:
        decoded = decode(event.pcr, event.type_hint, event.data)
        said = {
            "PCRIndex": event.pcr,
            "EventType": event.type_name,
            "EventSize": len(event.data),
            "Digests": [{"AlgorithmId": bank, "Digest": digest.hex()} for bank, digest in event.digests.items()],
            "Event": plain(in_the_tools_words(event, decoded)),
        }
        assert not list(differences(event, said))
        for key in ("PCRIndex", "EventType", "EventSize", "Digests", "Event"):
            changed = said | {key: altered(said[key])}
            if changed != said:
                assert set(differences(event, changed)) - set(KNOWN), (event.number, key)


def plain(value):
    """What has two forms in the first of them."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value[0] if isinstance(value, tuple) else value


def altered(value):
    """The value with the last thing in it changed."""
    if isinstance(value, dict):
        *_, last = value
        return value | {last: altered(value[last])}
    if isinstance(value, list):
        return [*value[:-1], altered(value[-1])] if value else value
    if isinstance(value, int):
        return value + 1
    return f"{str(value or '')[:-1]}Z"


# What tpm2-tools' own tests expect of it where it is built with efivar: device paths as text.

EXPECTED = {
    "arch-linux": "event-arch-linux.bin",
    "gce-ubuntu-2104-log": "*ubuntu-2104-no-dbx.bin",
    "moklisttrusted": "event-moklisttrusted.bin",
    "sd-boot-fedora37": "event-sd-boot-fedora37.bin",
    "uefiaction": "event-uefiaction.bin",
    "uefiservices": "event-uefiservices.bin",
}


def test_device_paths_and_partitions_are_what_tpm2_tools_expect_of_efivar():
    paths = compared = 0
    for name, pattern in EXPECTED.items():
        expected = shared("corpus", "files") / "tpm2-software__tpm2-tools" / f"pretty__event-{name}.bin.yaml"
        theirs = [event_of(block) for block in blocks_of(expected.read_text(encoding="latin-1"))]
        candidates = sorted(shared("corpus", "files").glob(f"*/{pattern}"))
        logs = [EventLog.read(path.read_bytes()) for path in candidates]
        log = next(log for log in logs if len(log) == len(theirs))
        try:
            compare(theirs, log)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
        compared += len(theirs)
        paths += expected.read_text(encoding="latin-1").count("DevicePath: 'P")
    assert compared > 250
    assert paths > 5

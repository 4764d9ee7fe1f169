"""The summary of a boot against what the machine said of itself, and what of it may be called proven."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import DATA, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from secure_boot_logs import EV_IPL, Editor, Entry, verified

from pyverify import EventLog, EvidenceError
from pyverify.appraise.boot_summary import summarise

HONEST = (DATA / "logs" / "60_sb_first_boot.bin").read_bytes()


def summary(data: bytes):
    log = EventLog.parse(data)
    return summarise(log, verified(log))


def values(items, *, proven=None):
    return [item.value for item in items if proven in (None, item.proven)]


def _recordings():
    for path in sorted(shared("recordings").glob("*/scenario.json")):
        log = path.parent / "binary_bios_measurements"
        if log.exists() and log.stat().st_size:
            yield path.parent, json.loads(path.read_text()), log.read_bytes()


def test_kernel_and_command_line_are_those_that_the_machine_booted():
    grub = stub = 0
    for folder, scenario, data in _recordings():
        told = summary(data)
        cmdline = (folder / "cmdline").read_text().strip()
        release = (folder / "uname").read_text().split()[2]
        if cmdline.startswith("BOOT_IMAGE="):
            image, _, arguments = cmdline.removeprefix("BOOT_IMAGE=").partition(" ")
            assert values(told.command_lines, proven=True) == [arguments], folder.name
            assert values(told.kernels, proven=True) == [image], folder.name
            assert image.endswith(release) or "vmrec" in release  # a kernel built for the recordings
            initrds = [name for name in scenario["esp_files_sha256"] if name.startswith("initrd")]
            assert values(told.initrds, proven=True) == [f"/{name}" for name in initrds], folder.name
            grub += 1
        else:
            # A kernel that boots without GRUB measures its command line only where systemd's stub got one.
            assert values(told.command_lines) in ([], [cmdline]), folder.name
            assert len(told.kernels) == 1, folder.name
            assert not told.kernels[0].proven
            stub += bool(told.command_lines)
    assert grub > 40
    assert stub >= 1


def test_images_are_on_the_disk_that_the_machine_booted_from():
    named = 0
    for folder, scenario, data in _recordings():
        files = {name.lower() for name in scenario["esp_files_sha256"]}
        for item in summary(data).loaders:
            assert not item.proven
            if ".efi" in item.value.lower():
                path = item.value.partition("\\")[2].replace("\\", "/").lower()
                assert path in files, (folder.name, item.value)
                named += 1
    assert named > 80


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("70_uki", "\\EFI\\BOOT\\BOOTX64.EFI"),
        ("73_sdboot_uki", "\\EFI\\Linux\\vmrec.efi"),
        ("76_direct_kernel", "/kernel"),
    ],
)
def test_a_kernel_without_grub_is_the_image_that_measured_first(name, kernel):
    (item,) = summary((shared("recordings") / name / "binary_bios_measurements").read_bytes()).kernels
    assert item.value.endswith(kernel)
    assert not item.proven


def test_every_log_of_the_corpus_has_a_summary():
    corpus = shared("corpus")
    known = 0
    for record in json.loads((corpus / "manifest.json").read_text()):
        if record["kind"] in ("tcg1", "tcg2"):
            told = summary((corpus / record["file"]).read_bytes())
            assert told.events == record["n_events"]
            assert all(line.isprintable() for line in told.lines())
            json.dumps(told.as_json())
            known += bool(told.command_lines)
    assert known > 25


def test_old_command_lines_of_red_hats_grub_are_read():
    path = shared("corpus", "files", "google__go-tpm-tools", "rhel8-uefi.bin")
    told = summary(path.read_bytes())
    assert values(told.firmware, proven=True) == ["GCE Virtual Firmware v1"]
    assert values(told.kernels, proven=True) == ["(hd0,gpt2)/boot/vmlinuz-4.18.0-240.22.1.el8_3.x86_64"]
    assert told.command_lines[0].value.startswith("root=UUID=f3948fb4-cce7-4193-940a-c50052e93bf3 ro ")


def test_what_a_digest_does_not_cover_is_a_hint():
    told = summary(HONEST)
    assert not values(told.loaders, proven=True)
    assert not values(told.firmware_blobs, proven=True)
    assert values(told.kernels) == ["/vmlinuz-6.1.0-47-amd64"]
    lines = told.lines()
    assert any(line.startswith("image") and "? " in line and "grubx64.efi" in line for line in lines)
    assert any(line.startswith("command line") and "? " not in line and "label" not in line for line in lines)


def test_a_command_shown_as_a_command_line_is_proven_text_of_unproven_meaning():
    """Attack 37: GRUB's prefix is not hashed."""
    log = Editor(HONEST)
    entry = next(e for e in log.entries if e.data.startswith(b"grub_cmd: set timeout"))
    entry.data = entry.data.replace(b"grub_cmd: ", b"kernel_cmdline: ")
    told = summary(log.build())
    assert len(told.command_lines) == 2
    for item in told.command_lines:
        assert item.proven
        assert "what it was for is not" in item.note


def test_a_command_line_altered_under_its_digest_is_not_proven():
    log = Editor(HONEST)
    entry = next(e for e in log.entries if e.data.startswith(b"kernel_cmdline: "))
    entry.data = entry.data.replace(b"ima_policy=tcb", b"ima_policy=off")
    told = summary(log.build())
    assert values(told.command_lines, proven=True) == []
    assert "ima_policy=off" in told.command_lines[0].value
    (line,) = [line for line in told.lines() if line.startswith("command line")]
    assert "? " in line


def test_unchecked_is_not_proven():
    log = EventLog.parse(HONEST)
    told = summarise(log, [-1] * len(log))
    for items in (told.firmware, told.kernels, told.command_lines, told.initrds):
        assert items
        assert not values(items, proven=True)
    assert not told.secure_boot.enabled


def test_json_says_what_the_summary_says():
    log = EventLog.parse(HONEST)
    told = summarise(log, np.array(verified(log), np.int8))
    document = json.loads(json.dumps(told.as_json()))
    assert document["events"] == 50
    assert document["banks"] == ["sha1", "sha256", "sha384", "sha512"]
    assert document["kernels"][0] == {
        "value": "/vmlinuz-6.1.0-47-amd64",
        "proven": True,
        "event": 45,
        "note": "the text is proven, what it was for is not",
    }
    boot = document["secure_boot"]
    assert (boot["enabled"], boot["state"], boot["event"]) == (True, "enabled", 4)
    assert boot["db"][0]["sha256"] == told.secure_boot.db[0].sha256.hex()
    assert boot["dbt"] is None


def test_lines_hold_nothing_that_steers_a_terminal_and_their_number_is_bounded():
    log = Editor(HONEST)
    for number in range(500):
        text = b"kernel_cmdline: vmlinuz \x1b[2J\xff\xe2\x80\xae" + str(number).encode() * 90
        log.entries.append(Entry(8, EV_IPL, text).rehash(log.banks))
    told = summary(log.build())
    assert len(told.command_lines) == 32
    assert told.left_out == told.as_json()["left_out"] == 501 - 32
    assert any("469" in line for line in told.lines())
    assert summary(HONEST).left_out == 0
    assert all(line.isprintable() and len(line) < 500 for line in told.lines())
    assert len(told.lines()) < 120


def test_a_log_with_a_fault_has_no_summary():
    with pytest.raises(EvidenceError, match=r"log\.truncated"):
        summary(HONEST[:-1])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 4, 7, 8, 9, 11, 12, 14]), st.sampled_from(range(20)), st.binary()), max_size=8
    )
)
def test_no_data_raises(changes):
    log = Editor(HONEST)
    kinds = [3, 4, 6, 8, EV_IPL, 0x80000003, 0x80000008, 0x800000E0]
    for pcr, kind, data in changes:
        log.entries.append(Entry(pcr, kinds[kind % len(kinds)], data).rehash(log.banks))
    told = summary(log.build())
    assert all(line.isprintable() for line in told.lines())
    json.dumps(told.as_json())

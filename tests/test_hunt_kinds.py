"""Every kind of log is searched, and what could not be is told."""

from __future__ import annotations

import pytest
from cel_writers import cel_json, systemd_record
from conftest import entry, hash_of, shared, small_log, spec_id
from hunt_fleet import (
    has_digest,
    has_text,
    hunted,
    only,
    row,
)
from log_editor import events_of

BANKS = ["sha1", "sha256", "sm3_256"]
LOADER = hash_of("sha256", b"loader")


def recorded(name: str) -> bytes:
    return (shared("recordings") / name / "binary_bios_measurements").read_bytes()


@pytest.mark.parametrize("name", ["19_shim_modified", "20_grub_modified"])
def test_the_recordings_with_a_tampered_loader_are_told_from_the_others(name):
    """The digest that is in that boot's PCR 4 and not in the boot before it."""
    before = {event[2].get("sha256") for event in events_of(recorded("02_m1_reboot"))}
    new = [e[2]["sha256"] for e in events_of(recorded(name))[1:] if e[0] == 4 and e[2]["sha256"] not in before]
    folder = shared("recordings")
    rows = [
        row(path.parent.name, "b", path.read_bytes())
        for path in sorted(folder.glob("*/binary_bios_measurements"))
        if path.stat().st_size
    ]
    result = hunted(rows, [f"sha256:{one.hex()}" for one in new], batch=7)
    expected = {r["machine"] for r in rows if any(has_digest(r["event_log"], "sha256", one) for one in new)}
    assert set(result.machines) == expected == {name}


def test_the_kernels_of_the_recordings_are_found_by_their_name():
    folder = shared("recordings")
    rows = [row(p.parent.name, "b", p.read_bytes()) for p in sorted(folder.glob("*/binary_bios_measurements"))]
    rows = [r for r in rows if r["event_log"]]
    for text in ("vmlinuz-6.1.0-47-cloud", "6.12.", "ima_policy=tcb", "no such kernel"):
        expected = {r["machine"]: has_text(r["event_log"], text) for r in rows}
        result = hunted(rows, texts=[text], batch=11)
        told = {name: only(result, name).number for name in result.machines}
        assert told == {name: found[0] for name, found in expected.items() if found}


def test_canonical_logs_and_userspace_logs_are_searched_too():
    log = small_log(BANKS)
    userspace = systemd_record(11, "enter-initrd", BANKS)
    rows = [
        row("json", "b", cel_json(events_of(log)[1:]), event_log_kind="cel-json"),
        row("tcg", "b", log),
        row("systemd", "b", log, userspace_log=userspace),
    ]
    assert set(hunted(rows, [LOADER.hex()]).machines) == {"json", "tcg", "systemd"}
    result = hunted(rows, texts=["enter-initrd"])
    assert set(result.machines) == {"systemd"}
    assert only(result, "systemd").proven


def test_what_firmware_logged_is_searched_although_the_userspace_log_is_broken():
    rows = [row("m", "b", small_log(BANKS), userspace_log=b"broken"), row("n", "b", b"{", event_log_kind="cel-json")]
    result = hunted(rows, [LOADER.hex()])
    assert set(result.machines) == {"m"}
    assert [(one.machine, one.reason.split()[0]) for one in result.unsearched_examples] == [
        ("m", "cel.format"),
        ("n", "cel.format"),
    ]


def test_a_log_of_measurement_registers_names_them():
    def registers(text: bytes) -> bytes:
        return spec_id(["sha384"]) + entry(3, 0xD, text, ["sha384"])

    result = hunted([row("m", "b", registers(b"linux quiet"), event_log_kind="ccel")], texts=["quiet"])
    assert (only(result).pcr, only(result).register) == (3, "RTMR2")


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_log_that_was_cut_is_searched_as_far_as_it_goes_and_told(cut):
    log = small_log(BANKS)
    result = hunted([row("m", "b", log[:-cut])], [LOADER.hex()], texts=["Returned with Success"])
    assert result.unsearched == 1
    assert result.unsearched_examples[0].reason.startswith("log.truncated")
    assert "m" in result.machines
    assert not hunted([row("m", "b", log[:-cut])], texts=["Returned with Success"]).machines


@pytest.mark.parametrize("log", [None, b"", b"not a log", b"\0" * 100])
def test_a_boot_without_a_log_is_no_clean_no(log):
    result = hunted([row("m", "b", log), row("n", "b", small_log(BANKS))], texts=["nobody has this"])
    assert (result.machines, result.unsearched, result.is_clear) == ({}, 1, False)
    assert result.unsearched_examples[0].machine == "m"


def test_boots_that_cannot_be_searched_are_all_counted_and_told_up_to_a_bound():
    result = hunted([row(f"m{i}", "b", None) for i in range(50)], texts=["x"], batch=7)
    assert result.unsearched == 50
    assert [one.machine for one in result.unsearched_examples] == [f"m{i}" for i in range(20)]


def test_an_archive_without_boots_is_not_clear():
    assert not hunted([], texts=["x"]).is_clear


def test_evidence_in_other_types_of_arrow_is_searched_and_without_a_log_column_refused():
    import pyarrow as pa

    from bench.memory_source import MemorySource
    from pyverify import UsageError
    from pyverify.fleet.hunt import Hunt, hunt
    from pyverify.fleet.needles import Needles

    log = small_log(BANKS)
    names = pa.array(["m"]).dictionary_encode()
    for column in (
        pa.array([log], pa.binary()),
        pa.array([log]).dictionary_encode(),
        pa.array([log], pa.binary_view()),
    ):
        result = Hunt(Needles(texts=["quiet"]))
        hunt(MemorySource([pa.record_batch({"machine": names, "boot": ["b"], "event_log": column})]), result)
        assert set(result.machines) == {"m"}
    with pytest.raises(UsageError, match="event_log"):
        hunt(MemorySource([pa.record_batch({"machine": names, "boot": ["b"]})]), Hunt(Needles(texts=["quiet"])))

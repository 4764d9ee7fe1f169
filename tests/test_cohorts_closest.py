"""The cohort that is closest to a machine, and in what the two differ."""

from __future__ import annotations

import pytest
from conftest import entry, hash_of, image, small_log, spec_id
from log_editor import Log, new
from test_ccel import ccel
from test_cohorts import BANKS, GRUB, archive, rows

from pyverify.fleet.closest_cohort import Matcher
from pyverify.fleet.cohorts import group


def closest(found, machine, **options):
    return Matcher(found).closest(found.variant(machine), found.cohort(machine), **options)


def test_the_closest_cohort_is_the_one_with_most_in_common(tmp_path):
    base = [small_log(BANKS), small_log(BANKS, command_line=b"debug")]
    far = GRUB.bytes()
    machines = {f"a{n}": base[0] for n in range(3)} | {f"b{n}": base[1] for n in range(4)} | {"c1": far, "c2": far}
    odd = Log.parse(base[0])
    place = odd.find(4, 0x80000003)
    odd[place].digests = {bank: hash_of(bank, b"evil") for bank in BANKS}
    machines["odd"] = odd.bytes()
    with group(archive(tmp_path / "a", rows(machines))) as found:
        match = closest(found, "odd")
        assert match.cohort is found.cohort("a0")
        # Eight events count in each: S-CRTM version, separators of PCR 0, 2, 3, 4, 7, image, command line.
        assert match.alike == pytest.approx(7 / 8)
        (difference,) = match.differences
        assert (difference.kind, difference.pcr, match.left_out) == ("changed", 4, 0)
        assert difference.event == place + 1  # behind the header
        assert "(unproven) has other contents there" in difference.words
        assert "\\loader.efi" in difference.words
        larger = closest(found, "odd", at_least=4)
        assert larger.cohort is found.cohort("b0")
        assert [d.kind for d in larger.differences] == ["changed", "changed"]
        assert "kernel_cmdline: quiet” here, EV_IPL “kernel_cmdline: debug” there" in larger.differences[1].words
        limited = closest(found, "c1", most=2)
        assert len(limited.differences) == 2
        assert limited.left_out > 20


def test_of_equally_close_cohorts_the_largest_is_told(tmp_path):
    texts = {"a1": b"one", "b1": b"two", "b2": b"two", "c1": b"three", "odd": b"evil"}
    machines = {name: small_log(BANKS, command_line=text) for name, text in texts.items()}
    with group(archive(tmp_path / "a", rows(machines))) as found:
        assert closest(found, "odd").cohort.machines == ("b1", "b2")


def test_missing_added_and_moved_events_are_told(tmp_path):
    log = Log.parse(small_log(BANKS, extra=image(BANKS, b"second")))
    more, less, moved = log.copy(), log.copy(), log.copy()
    more.append(new(more, 12, 0xD, b"new"))
    del less[less.find(8)]
    first, second = (place for place, e in enumerate(moved) if e.type == 0x80000003)
    moved[first], moved[second] = moved[second], moved[first]
    machines = {"a1": log.bytes(), "a2": log.bytes(), "more": more.bytes(), "less": less.bytes()}
    machines["moved"] = moved.bytes()
    with group(archive(tmp_path / "a", rows(machines))) as found:
        told = {name: closest(found, name, at_least=2) for name in ("more", "less", "moved")}
        assert told["more"].differences[0].words == "PCR 12 (kernel-config): EV_IPL “new” is only here"
        assert told["less"].differences[0].words.endswith("“kernel_cmdline: quiet” is only there")
        assert told["less"].differences[0].event is None
        assert told["moved"].alike == 1
        assert [d.kind for d in told["moved"].differences] == ["moved"]


def test_another_start_of_pcr_0_is_a_difference(tmp_path):
    def log(locality):
        zeros = {bank: bytes(20 if bank == "sha1" else 32) for bank in BANKS}
        start = entry(0, 3, b"StartupLocality\0" + bytes([locality]), BANKS, zeros)
        whole = small_log(BANKS)
        return spec_id(BANKS) + start + whole[len(spec_id(BANKS)) :]

    with group(archive(tmp_path / "a", rows({"a": log(3), "b": log(0)}))) as found:
        (difference,) = closest(found, "a").differences
        assert difference.words == "PCR 0 (platform-code): it started with another value"


def test_without_a_bank_in_common_nothing_is_close(tmp_path):
    with group(archive(tmp_path / "a", rows({"a": small_log(["sha256"]), "b": small_log(["sm3_256"])}))) as found:
        assert closest(found, "a") is None
    td = ccel(entry(2, 4, bytes(4), ["sha384"]))  # a separator, as PCR 2 has one
    evidence = rows({"a": small_log(["sha384"]), "td": td}, event_log_kind={"td": "ccel"})
    with group(archive(tmp_path / "b", evidence)) as found:
        assert closest(found, "td") is None

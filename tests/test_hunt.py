"""Who ever booted it: digests, entries of a dbx and texts in archived logs, beside a plain walk of the same logs."""

from __future__ import annotations

import os

import numpy as np
import pytest
from conftest import DATA, entry, grub_text, hash_of, small_log, spec_id
from hunt_fleet import (
    at,
    has_digest,
    has_text,
    hits,
    hunted,
    only,
    row,
)
from hypothesis import given
from hypothesis import strategies as st
from log_editor import events_of
from secure_boot_logs import SECURE_BOOT_LOG

from pyverify import UsageError, _native
from pyverify.evidence.columns import Ragged
from pyverify.fleet.needles import TEXT_LIMIT, Needles

BANKS = ["sha1", "sha256", "sm3_256"]
LOGS = {path.stem: path.read_bytes() for path in sorted((DATA / "logs").glob("*.bin"))}
LOADER = hash_of("sha256", b"loader")


# Digests


@pytest.mark.parametrize("name", LOGS)
def test_every_digest_of_a_log_is_found_where_a_plain_walk_finds_it_first(name):
    log = LOGS[name]
    wanted = {(bank, digest) for event in events_of(log)[1:] for bank, digest in event[2].items()}
    result = hunted([row("m", "b", log)], [f"{bank}:{digest.hex()}" for bank, digest in wanted])
    expected = sorted((f"digest {bank}:{digest.hex()}", 1, has_digest(log, bank, digest)[0]) for bank, digest in wanted)
    assert hits(result) == {"m": expected}
    assert len(expected) > 60


def test_the_machines_that_booted_a_loader_are_told_with_their_first_and_last_boot():
    old, new = small_log(BANKS), small_log(BANKS).replace(LOADER, hash_of("sha256", b"new"))
    rows = [
        row("web-1", "c", old, boot_seq=9, collected_at=at(1)),
        row("web-1", "a", old, boot_seq=3, collected_at=at(9)),
        row("web-1", "b", new, boot_seq=1),
        row("web-2", "b", new, boot_seq=1),
        row("web-3", "z", old, collected_at=at(3)),
        row("web-3", "y", old, collected_at=at(2)),
        row("web-3", "x", old),
        row("web-3", "w", old),
    ]
    for batch in (1, 3, 1000):
        for jobs in (1, 2):
            result = hunted(rows, [LOADER.hex()], batch=batch, jobs=jobs)
            told = {name: (m.span.boots, m.span.first.name, m.span.last.name) for name, m in result.machines.items()}
            assert told == {"web-1": (2, "a", "c"), "web-3": (4, "y", "x")}
            assert result.boots_seen == {"web-1": 3, "web-2": 1, "web-3": 4}
            assert result.machines["web-1"].span.first.collected_at == at(9)
            assert result.unsearched == 0
            assert not result.is_clear


def test_a_digest_in_the_data_of_an_event_is_no_hit():
    needle = hash_of("sha256", b"revoked")
    rows = [row("m", "b", small_log(BANKS, extra=entry(5, 5, needle + needle.hex().encode(), BANKS)))]
    assert needle in rows[0]["event_log"]
    assert hunted(rows, [needle.hex()]).is_clear


def test_a_digest_across_two_fields_or_with_the_wrong_bank_is_no_hit():
    log = small_log(BANKS)
    start = log.index(LOADER)
    shifted = log[start - 1 : start + 31]
    assert hunted([row("m", "b", log)], [shifted.hex(), f"sm3_256:{LOADER.hex()}"]).is_clear
    assert not hunted([row("m", "b", log)], [f"SHA256:{LOADER.hex().upper()}"]).is_clear


def test_a_digest_that_differs_in_its_last_byte_only_is_no_hit():
    near = LOADER[:-1] + bytes([LOADER[-1] ^ 1])
    assert hunted([row("m", "b", small_log(BANKS))], [near.hex()]).is_clear


def test_a_digest_of_32_bytes_is_looked_for_in_both_banks_that_have_such():
    digests = {"sha1": hash_of("sha1", b"x"), "sha256": hash_of("sha256", b"x"), "sm3_256": LOADER}
    result = hunted([row("m", "b", spec_id(BANKS) + entry(4, 5, b"x", BANKS, digests))], [LOADER.hex()])
    assert hits(result) == {"m": [(f"digest sm3_256:{LOADER.hex()}", 1, 1)]}


def test_a_log_without_the_bank_of_a_digest_is_not_said_to_be_clear():
    result = hunted([row("m", "b", small_log(["sha1"]))], [LOADER.hex()])
    assert not result.machines
    assert (result.unsearched, result.is_clear) == (1, False)
    assert result.unsearched_examples[0].reason == "bank.missing no sha256 or sm3_256 digests for all events"
    # An event that hides its digest in that bank is no better.
    incomplete = spec_id(BANKS) + entry(4, 5, b"x", BANKS, {"sha1": hash_of("sha1", b"x")})
    assert hunted([row("m", "b", incomplete)], [f"sha256:{LOADER.hex()}"]).unsearched == 1


def test_a_hundred_thousand_digests_cost_no_pass_each():
    many = [os.urandom(32).hex() for _ in range(100_000)]
    result = hunted([row("m", "b", LOGS["60_sb_first_boot"])] * 20, [*many, LOADER.hex()])
    assert result.is_clear
    result = hunted([row("m", "b", small_log(BANKS))] * 20, [*many, LOADER.hex()])
    assert hits(result) == {"m": [(f"digest sha256:{LOADER.hex()}", 20, 10)]}


@pytest.mark.parametrize(
    "text", ["", "xyz", "abc", "0x" + "00" * 32, "00" * 31, "md5:" + "00" * 32, "sha1:" + "00" * 32, "00 " * 32]
)
def test_what_is_no_digest_is_refused(text):
    with pytest.raises(UsageError, match="digest"):
        Needles([text])


def test_nothing_to_look_for_is_refused():
    with pytest.raises(UsageError, match="nothing to look for"):
        Needles()


# Texts


@pytest.mark.parametrize("text", ["grubx64.efi", "Exit Boot Services", "SecureBoot", "quiet", "vmlinuz", "e", "dbx"])
@pytest.mark.parametrize("name", LOGS)
def test_a_text_is_found_where_a_plain_search_of_the_data_finds_it_first(name, text):
    found = has_text(LOGS[name], text)
    expected = {"m": [(f"event {text}", 1, found[0])]} if found else {}
    assert hits(hunted([row("m", "b", LOGS[name])], texts=[text])) == expected


@given(st.data())
def test_any_piece_of_the_data_of_any_event_is_found(data):
    """Texts of every length and place, at the end of the log too, where a vector would reach past it."""
    texts = data.draw(st.lists(st.text("abc\0é", max_size=80), min_size=1, max_size=6))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-16-le"]))
    log = spec_id(["sha256"]) + b"".join(entry(8, 5, text.encode(encoding), ["sha256"]) for text in texts)
    pick = data.draw(st.sampled_from(texts))
    first = data.draw(st.integers(0, max(0, len(pick) - 1)))
    piece = pick[first : data.draw(st.integers(first, len(pick)))] or "c"
    found = has_text(log, piece)
    assert hits(hunted([row("m", "b", log)], texts=[piece])) == (
        {"m": [(str(Needles(texts=[piece]).all[0]), 1, found[0])]} if found else {}
    )


def test_a_text_across_two_events_or_in_a_digest_is_no_hit():
    banks = ["sha256"]
    split = spec_id(banks) + entry(8, 5, b"init=/bin", banks) + entry(8, 5, b"/sh", banks)
    digest = b"init=/bin/sh, and more of it ...".ljust(32, b".")
    inside = spec_id(banks) + entry(8, 5, b"x", banks, {"sha256": digest})
    assert b"init=/bin/sh" in inside
    assert hunted([row("m", "b", split), row("n", "b", inside)], texts=["init=/bin/sh"]).is_clear


def test_case_counts_and_text_of_both_encodings_is_found():
    rows = [
        row("utf-8", "b", small_log(BANKS, command_line="ro größe=1".encode())),
        row("utf-16", "b", small_log(BANKS, extra=entry(12, 0xD, "ro größe=1\0".encode("utf-16-le"), BANKS))),
        row("other", "b", small_log(BANKS, command_line="ro Größe=1".encode())),
    ]
    assert set(hunted(rows, texts=["größe=1"]).machines) == {"utf-8", "utf-16"}


def test_a_text_is_proven_only_where_the_digest_covers_it():
    honest = small_log(BANKS, extra=grub_text(b"grub_cmd: ", b"init=/bin/sh", BANKS))
    assert only(hunted([row("m", "b", honest)], texts=["init=/bin/sh"])).proven
    # The prefix is covered by no digest, and an image's path neither.
    assert not only(hunted([row("m", "b", honest)], texts=["grub_cmd"])).proven
    assert not only(hunted([row("m", "b", honest)], texts=["loader.efi"])).proven
    lying = small_log(
        BANKS, extra=entry(8, 0xD, b"grub_cmd: init=/bin/sh\0", BANKS, {b: hash_of(b, b"x") for b in BANKS})
    )
    assert not only(hunted([row("m", "b", lying)], texts=["init=/bin/sh"])).proven


def test_a_digest_says_whether_the_text_beside_it_is_proven():
    log = small_log(BANKS)
    assert not only(hunted([row("m", "b", log)], [LOADER.hex()])).proven
    assert only(hunted([row("m", "b", log)], [hash_of("sha256", b"Exit Boot Services Invocation").hex()])).proven


def test_what_an_event_says_cannot_steer_a_terminal():
    log = small_log(BANKS, extra=entry(8, 5, b"evil \x1b[2J\x9b \r\n" + "\u202e".encode(), BANKS))
    event = only(hunted([row("m", "b", log)], texts=["evil"]))
    assert event.text.isprintable()
    assert str(Needles(texts=["\x1b[2J"]).all[0]).isprintable()


@pytest.mark.parametrize("text", ["", "x" * (TEXT_LIMIT + 1)])
def test_a_text_of_no_or_too_many_characters_is_refused(text):
    with pytest.raises(UsageError, match="characters"):
        Needles(texts=[text])


def test_bytes_that_are_no_utf_8_can_be_looked_for():
    log = small_log(BANKS, extra=entry(8, 5, b"a\xff\xfeb", BANKS))
    assert hunted([row("m", "b", log)], texts=[b"a\xff\xfeb".decode("utf-8", "surrogateescape")]).machines


def test_any_of_several_needles_is_a_hit_and_all_are_told():
    log = small_log(BANKS)
    result = hunted([row("m", "b", log), row("n", "b", SECURE_BOOT_LOG)], [LOADER.hex()], texts=["quiet", "absent"])
    assert hits(result) == {"m": [(f"digest sha256:{LOADER.hex()}", 1, 10), ("event quiet", 1, 11)]}
    assert result.boots_hit == 1


# Hostile logs


@given(st.sampled_from(sorted(LOGS)), st.data())
def test_whatever_a_log_holds_a_hunt_reads_it_as_a_scan_does(name, data):
    log = bytearray(LOGS[name])
    for _ in range(data.draw(st.integers(0, 3))):
        log[data.draw(st.integers(0, len(log) - 1))] = data.draw(st.sampled_from([0, 1, 3, 0x7F, 0x80, 0xFF]))
    del log[data.draw(st.integers(0, len(log))) :]
    batch = Ragged.of([bytes(log), LOGS[name], b""])
    rows, events = _native.scan(batch.blob, batch.offsets)
    texts = [_native.Text(b"e", 0), _native.Text(b"EFI", 1), _native.Text("EFI".encode("utf-16-le"), 2)]
    read, numbers, kept = _native.hunt(batch.blob, batch.offsets, _native.DigestFilters({}), texts)
    assert read.tobytes() == rows.tobytes()
    assert kept.tobytes() == events[numbers].tobytes()
    log_of = np.repeat(np.arange(3), rows["n_events"])
    found = [
        k
        for k, event in enumerate(events)
        if b"e" in (at := batch[log_of[k]][event["data_at"] :][: event["data_size"]])
        or b"EFI" in at
        or "EFI".encode("utf-16-le") in at
    ]
    assert numbers.tolist() == found


def test_a_place_outside_a_text_is_refused_before_the_core_is_called():
    batch = Ragged.of([LOGS["70_uki"]])
    for text in (_native.Text(b"x", 1), _native.Text(b"", 0), _native.Text(b"x", -1)):
        with pytest.raises(UsageError, match="rare byte"):
            _native.hunt(batch.blob, batch.offsets, _native.DigestFilters({}), [text])
    with pytest.raises(UsageError, match="shape"):
        _native.DigestFilters({"sha256": np.zeros((1, 20), np.uint8)})


def test_a_batch_of_many_tiles_is_numbered_as_one():
    """12 MB of logs: more than one tile, the last of which has the hit."""
    logs = [LOGS["60_sb_first_boot"]] * 600 + [small_log(BANKS)]
    result = hunted([row(f"m{i}", "b", log) for i, log in enumerate(logs)], [LOADER.hex()])
    assert hits(result) == {"m600": [(f"digest sha256:{LOADER.hex()}", 1, 10)]}

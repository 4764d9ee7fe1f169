"""Who ever booted it: digests, entries of a dbx and texts in archived logs, beside a plain walk of the same logs."""

from __future__ import annotations

import os
import struct

import pytest
from cel_writers import cel_json, systemd_record
from conftest import DATA, entry, grub_text, hash_of, image, shared, small_log, spec_id
from hunt_fleet import (
    AUTHORITY,
    RSA2048_LIST,
    SHA256_LIST,
    X509_LIST,
    X509_SHA256_LIST,
    at,
    has_digest,
    has_text,
    hunted,
    row,
    signature_list,
)
from hypothesis import given
from hypothesis import strategies as st
from ima_by_hand import a_digest, a_list, aggregate, data_of
from ima_by_hand import entry as ima_entry
from log_editor import Log, events_of
from secure_boot_logs import IMAGE_SECURITY, SECURE_BOOT_LOG, Editor, variable

from pyverify import UsageError
from pyverify.evidence.signature_updates import read_update
from pyverify.fleet.needles import TEXT_LIMIT, Needles

BANKS = ["sha1", "sha256", "sm3_256"]
LOGS = {path.stem: path.read_bytes() for path in sorted((DATA / "logs").glob("*.bin"))}
LOADER = hash_of("sha256", b"loader")


def hits(result) -> dict[str, list[tuple[str, int, int]]]:
    """By machine: needle, boots that had it, number of the event that is told."""
    return {
        name: sorted((str(result.needles.all[n]), span.boots, one.events[n].number) for n, span in one.spans.items())
        for name, one in result.machines.items()
    }


def only(result, machine: str = "m"):
    """The one event that is told of a machine."""
    (event,) = result.machines[machine].events.values()
    return event


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


# Revocations


def test_hashes_of_a_dbx_hit_images_and_nothing_else():
    revoked = hash_of("sha256", b"loader")
    elsewhere = spec_id(BANKS) + entry(9, 0xD, b"/loader", BANKS, {b: hash_of(b, b"loader") for b in BANKS})
    dbx = read_update(signature_list(SHA256_LIST, os.urandom(32), revoked), "dbx")
    result = hunted([row("m", "b", small_log(BANKS)), row("n", "b", elsewhere)], dbx=dbx)
    assert hits(result) == {"m": [(f"dbx sha256:{revoked.hex()}", 1, 10)]}
    # Named as a digest too, it is looked for everywhere.
    assert set(hunted([row("n", "b", elsewhere)], [f"sha256:{revoked.hex()}"], dbx).machines) == {"n"}


def test_an_image_is_found_whatever_type_an_attacker_gives_it():
    log = Log.parse(small_log(BANKS))
    log[log.find(4, 0x80000003)].type = 5
    dbx = read_update(signature_list(SHA256_LIST, LOADER), "dbx")
    assert hunted([row("m", "b", log.bytes())], dbx=dbx).machines


def authority_of(log: bytes) -> bytes:
    """The certificate by which the first image of a log ran: behind the owner's GUID."""
    editor = Editor(log)
    return editor.entries[editor.find("db", AUTHORITY)].variable[2][16:]


def test_certificates_of_a_dbx_hit_machines_whose_firmware_let_something_run_by_them():
    certificate = authority_of(SECURE_BOOT_LOG)
    rows = [row("m", "b", SECURE_BOOT_LOG), row("n", "b", small_log(BANKS)), row("o", "b", LOGS["70_uki"])]
    result = hunted(rows, dbx=read_update(signature_list(X509_LIST, certificate), "dbx"))
    assert hits(result) == {
        "m": [(f"dbx certificate sha256:{hash_of('sha256', certificate).hex()}", 1, only(result).number)]
    }
    assert only(result).type_hint == "EV_EFI_VARIABLE_AUTHORITY"
    assert only(result).proven
    other = bytearray(certificate)
    other[-1] ^= 1
    assert hunted(rows, dbx=read_update(signature_list(X509_LIST, bytes(other)), "dbx")).is_clear


def test_a_certificate_that_is_only_in_db_is_no_hit():
    """The db of the recorded machine holds two of Microsoft's certificates; by one of them nothing ran."""
    editor = Editor(SECURE_BOOT_LOG)
    entries = read_update(editor.entries[editor.find("db")].variable[2], "db")
    ran = {certificate for certificate in (e.data for e in entries) if certificate == authority_of(SECURE_BOOT_LOG)}
    idle = [e for e in entries if e.data not in ran]
    assert ran
    assert idle
    assert hunted([row("m", "b", SECURE_BOOT_LOG)], dbx=idle).is_clear


def test_certificates_revoked_by_the_hash_of_their_signed_part_are_found():
    from cryptography import x509

    certificate = authority_of(SECURE_BOOT_LOG)
    signed = x509.load_der_x509_certificate(certificate).tbs_certificate_bytes
    entry_ = hash_of("sha256", signed) + bytes(16)
    dbx = read_update(signature_list(X509_SHA256_LIST, entry_), "dbx")
    result = hunted([row("m", "b", SECURE_BOOT_LOG), row("n", "b", small_log(BANKS))], dbx=dbx)
    assert hits(result) == {
        "m": [(f"dbx signed part of certificate sha256:{hash_of('sha256', signed).hex()}", 1, only(result).number)]
    }
    wrong = read_update(signature_list(X509_SHA256_LIST, hash_of("sha256", certificate) + bytes(16)), "dbx")
    assert hunted([row("m", "b", SECURE_BOOT_LOG)], dbx=wrong).is_clear


def test_an_authority_that_cannot_be_read_leaves_a_question():
    editor = Editor(SECURE_BOOT_LOG)
    editor.set(editor.find("db", AUTHORITY), b"no variable")
    dbx = read_update(signature_list(X509_LIST, authority_of(SECURE_BOOT_LOG)), "dbx")
    result = hunted([row("m", "b", editor.build())], dbx=dbx)
    assert (result.machines, result.unsearched, result.is_clear) == ({}, 1, False)
    assert result.unsearched_examples[0].reason.startswith("event.undecodable")


def test_kinds_of_entries_that_leave_no_trace_are_told_and_keep_the_answer_open():
    dbx = read_update(signature_list(RSA2048_LIST, os.urandom(256)) + signature_list(SHA256_LIST, bytes(32)), "dbx")
    result = hunted([row("m", "b", small_log(BANKS))], dbx=dbx)
    assert dict(result.needles.dbx_kinds) == {"RSA2048": 1, "SHA256": 1}
    assert dict(result.needles.not_looked_for) == {"RSA2048": 1}
    assert not result.machines
    assert not result.is_clear


def test_the_loader_that_a_recorded_dbx_does_not_revoke_is_not_found():
    folder = shared("recordings")
    dbx = read_update((folder / "63_sb_dbx_updated" / "efivars" / f"dbx-{_guid()}").read_bytes(), "dbx")
    log = (folder / "63_sb_dbx_updated" / "binary_bios_measurements").read_bytes()
    assert len(dbx) > 1
    assert hunted([row("m3", "63", log)], dbx=dbx).is_clear
    # The same machine, once its own shim is revoked too.
    shim = next(digests["sha256"] for pcr, kind, digests, _ in events_of(log) if (pcr, kind) == (4, 0x80000003))
    revoked = read_update(signature_list(SHA256_LIST, shim), "dbx")
    assert set(hunted([row("m3", "63", log)], dbx=[*dbx, *revoked]).machines) == {"m3"}


def _guid() -> str:
    return "d719b2cb-3d3a-4596-a3bc-dad00e67656f"


# Every kind of evidence


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


# IMA lists


def with_ima(*lists: tuple[str, bytes]) -> dict:
    return row("m", "b", small_log(BANKS), ima=[{"format": name, "data": data} for name, data in lists])


def test_a_file_is_found_in_an_ima_list_by_its_digest_and_by_its_path():
    data = a_list(["/usr/bin/one", "/usr/bin/dropper", "/usr/bin/three"])
    digest = a_digest(1)
    for result in (
        hunted([with_ima(("binary", data))], [digest.hex()]),
        hunted([with_ima(("binary", data))], texts=["dropper"]),
    ):
        event = only(result)
        assert (event.source, event.number, event.pcr, event.type_hint) == ("ima", 2, 10, "ima-ng")
        assert event.text == f"/usr/bin/dropper sha256:{digest.hex()}"
        assert event.proven
        assert result.unsearched == 0


def test_a_template_digest_is_found_in_the_list_that_shows_it():
    data = data_of("/usr/bin/one", a_digest(1))
    listed = aggregate() + ima_entry(data)
    assert only(hunted([with_ima(("binary", listed))], [hash_of("sha1", data).hex()])).number == 1
    assert hunted([with_ima(("binary", listed))], [hash_of("sha256", data).hex()]).is_clear


def test_an_ima_entry_whose_data_was_changed_is_unproven():
    listed = aggregate() + ima_entry(data_of("/usr/bin/dropper", a_digest(1)), shown=hash_of("sha1", b"other"))
    assert not only(hunted([with_ima(("binary", listed))], texts=["dropper"])).proven
    violation = aggregate() + ima_entry(data_of("/usr/bin/dropper", bytes(32)), shown=bytes(20))
    assert not only(hunted([with_ima(("binary", violation))], texts=["dropper"])).proven


def test_a_text_across_two_paths_is_no_hit_and_a_dbx_is_not_looked_for_in_ima_lists():
    listed = a_list(["/usr/bin/ab", "/usr/bin/cd"])
    assert hunted([with_ima(("binary", listed))], texts=["ab/usr"]).is_clear
    dbx = read_update(signature_list(SHA256_LIST, a_digest(0)), "dbx")
    assert hunted([with_ima(("binary", listed))], dbx=dbx).is_clear
    assert hunted([with_ima(("binary", listed))], texts=["/usr/bin/cd"]).machines


def test_a_broken_ima_list_is_told():
    result = hunted([with_ima(("binary", a_list(["/usr/bin/one"])[:-3]))], texts=["two"])
    assert (result.unsearched, result.is_clear) == (1, False)
    assert result.unsearched_examples[0].reason.startswith("ima.truncated")


def test_one_boot_with_a_hit_in_log_and_ima_list_counts_once():
    evidence = with_ima(("binary", a_list(["/quiet"])))
    result = hunted([evidence], texts=["quiet"])
    assert (result.boots_hit, only(result).source) == (1, "event-log")


@pytest.mark.parametrize(
    "name", ["ima.binary", "ima-buf.binary", "ima-sig.ascii", "sm3.binary", "sha256.binary_sha256"]
)
def test_paths_of_recorded_lists_are_found(name):
    from pyverify.evidence.ima_list import ImaList

    data, form = (DATA / "ima" / name).read_bytes(), name.split(".")[1]
    last = ImaList.parse(data, form)[-1]
    result = hunted([with_ima((form, data))], texts=[last.path.decode()])
    assert only(result).source == "ima"
    # An SM3 digest is one of sm3_256 here.
    found = hunted([with_ima((form, data))], [last.digest.hex()])
    assert only(found).source == "ima"


def test_a_variable_data_struct_is_no_wider_than_it_says():
    """A certificate behind a variable that claims more than there is: never read past its end."""
    certificate = authority_of(SECURE_BOOT_LOG)
    data = bytearray(variable(IMAGE_SECURITY, "db", bytes(16) + certificate))
    struct.pack_into("<Q", data, 24, 1 << 40)
    log = spec_id(BANKS) + entry(7, AUTHORITY, bytes(data), BANKS) + image(BANKS)
    result = hunted([row("m", "b", log)], dbx=read_update(signature_list(X509_LIST, certificate), "dbx"))
    assert (result.machines, result.unsearched) == ({}, 1)

"""What a dbx revokes, in archived logs: images by hash, certificates by themselves and by hash."""

from __future__ import annotations

import os
import struct

from conftest import DATA, entry, hash_of, image, shared, small_log, spec_id
from hunt_fleet import (
    AUTHORITY,
    IMAGE,
    RSA2048_LIST,
    SHA256_LIST,
    SHA384_LIST,
    X509_LIST,
    X509_SHA256_LIST,
    hits,
    hunted,
    only,
    row,
    signature_list,
)
from log_editor import Log, events_of
from secure_boot_logs import IMAGE_SECURITY, SECURE_BOOT_LOG, Editor, variable

from pyverify.evidence.signature_updates import read_update

BANKS = ["sha1", "sha256", "sm3_256"]
LOGS = {path.stem: path.read_bytes() for path in sorted((DATA / "logs").glob("*.bin"))}
LOADER = hash_of("sha256", b"loader")


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


def test_a_variable_data_struct_is_no_wider_than_it_says():
    """A certificate behind a variable that claims more than there is: never read past its end."""
    certificate = authority_of(SECURE_BOOT_LOG)
    data = bytearray(variable(IMAGE_SECURITY, "db", bytes(16) + certificate))
    struct.pack_into("<Q", data, 24, 1 << 40)
    log = spec_id(BANKS) + entry(7, AUTHORITY, bytes(data), BANKS) + image(BANKS)
    result = hunted([row("m", "b", log)], dbx=read_update(signature_list(X509_LIST, certificate), "dbx"))
    assert (result.machines, result.unsearched) == ({}, 1)


def test_an_image_in_the_register_that_stands_for_its_pcr_is_found():
    revoked = hash_of("sha384", b"loader")
    dbx = read_update(signature_list(SHA384_LIST, revoked), "dbx")
    for register, machines in ((2, {"m"}), (3, set())):
        log = spec_id(["sha384"]) + entry(register, IMAGE, b"x", ["sha384"], {"sha384": revoked})
        result = hunted([row("m", "b", log, event_log_kind="ccel")], dbx=dbx)
        assert set(result.machines) == machines
        assert result.unsearched == 0

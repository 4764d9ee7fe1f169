"""Files of revocations in the forms in which people have them, read strictly."""

from __future__ import annotations

import contextlib

import pytest
from conftest import DATA, hash_of, shared
from hunt_fleet import SHA256_LIST, X509_LIST, authenticated, signature_list
from hypothesis import given
from hypothesis import strategies as st
from secure_boot_logs import Editor

from pyverify import UsageError
from pyverify.evidence.certificate import to_be_signed
from pyverify.evidence.signature_updates import authority_certificate, read_update
from pyverify.evidence.uefi import Undecodable

HASHES = [hash_of("sha256", bytes([i])) for i in range(3)]
LISTS = signature_list(SHA256_LIST, *HASHES) + signature_list(X509_LIST, b"\x30\x82" + b"certificate" * 9)


@pytest.mark.parametrize(
    "data",
    [LISTS, authenticated(LISTS), authenticated(LISTS, b""), b"\x27\0\0\0" + LISTS],
    ids=["lists", "update", "unsigned-update", "efivarfs"],
)
def test_the_entries_are_the_same_in_every_form(data):
    entries = read_update(data, "dbx")
    assert [entry.data for entry in entries[:3]] == HASHES
    assert len(entries) == 4


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x27\0\0\0",
        b"text",
        LISTS[:-1],
        LISTS + b"\0",
        b"\0" * 3 + LISTS,
        authenticated(LISTS)[:-1],
        authenticated(LISTS[:-1]),
        authenticated(b""),
        authenticated(LISTS)[:40],
        authenticated(LISTS).replace(b"\x1d\0\0\0\0\x02", b"\xff\xff\xff\xff\0\x02"),
        authenticated(LISTS).replace(b"\x1d\0\0\0\0\x02", b"\x00\x00\x00\x00\0\x02"),
    ],
)
def test_what_is_none_of_them_is_refused_by_its_name(data):
    with pytest.raises(UsageError, match=r"x\\x1b: "):
        read_update(data, "x\x1b")


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(data):
    for content in (data, authenticated(data), LISTS + data, data + LISTS):
        try:
            entries = read_update(content, "dbx")
        except UsageError:
            continue
        assert entries


def test_the_efivars_of_recorded_machines_are_read():
    for name in ("60_sb_first_boot", "63_sb_dbx_updated"):
        folder = shared("recordings") / name / "efivars"
        data = (folder / "dbx-d719b2cb-3d3a-4596-a3bc-dad00e67656f").read_bytes()
        # What the firmware measured is the same without the four bytes of attributes.
        entries = read_update(data, "dbx")
        assert entries == read_update(data[4:], "dbx")
    added = bytes.fromhex("d8a616e4950ef59d584f6da5c72a56e111d858238cdbd433400e94c0f9c91284")
    assert added in {entry.data for entry in entries}


def test_the_signed_part_of_a_certificate_is_what_cryptography_says_it_is():
    from cryptography import x509

    editor = Editor((DATA / "logs" / "60_sb_first_boot.bin").read_bytes())
    certificates = [e.data for e in read_update(editor.entries[editor.find("db")].variable[2], "db")]
    assert certificates
    for certificate in certificates:
        assert to_be_signed(certificate) == x509.load_der_x509_certificate(certificate).tbs_certificate_bytes
        for end in range(0, len(certificate), 37):
            assert to_be_signed(certificate[:end]) is None


@given(st.binary(max_size=100))
def test_an_authority_of_any_bytes_is_read_or_is_no_variable(data):
    with contextlib.suppress(Undecodable):
        assert authority_certificate(data) is None

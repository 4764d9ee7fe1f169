"""Digests, paths and texts in archived IMA lists."""

from __future__ import annotations

import pytest
from conftest import DATA, hash_of, small_log
from hunt_fleet import (
    SHA256_LIST,
    hunted,
    only,
    row,
    signature_list,
)
from ima_by_hand import a_digest, a_list, aggregate, data_of
from ima_by_hand import entry as ima_entry

from pyverify.evidence.signature_updates import read_update

BANKS = ["sha1", "sha256", "sm3_256"]


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

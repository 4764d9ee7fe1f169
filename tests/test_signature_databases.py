"""Signature databases and SBAT levels as values that a policy compares."""

from __future__ import annotations

import pytest
from conftest import hash_of, shared
from secure_boot_logs import hashes, judged

from pyverify.evidence.sbat import parse_sbat, sbat_at_least
from pyverify.evidence.signature_databases import dbx_covers, signatures

ALGORITHM_OF_ENTRY = "c1c41626-504c-4092-aca9-41f936934328"


def test_a_dbx_covers_a_minimum_whoever_owns_its_entries():
    a, b, c = (hash_of("sha256", name) for name in (b"a", b"b", b"c"))
    owned = bytearray(hashes(a, b))
    owned[28:44] = b"\x11" * 16
    dbx = signatures(bytes(owned))
    assert [entry.type for entry in dbx] == [ALGORITHM_OF_ENTRY] * 2
    assert dbx_covers(dbx, signatures(hashes(b) + hashes(a)))
    assert dbx_covers(dbx, ())
    assert not dbx_covers(dbx, signatures(hashes(a, c)))
    assert not dbx_covers((), signatures(hashes(a)))


def test_revocations_of_the_updated_machine_cover_those_before_but_not_the_reverse():
    """Attack 57, dbx rolled back: recordings 60 and 63 are one machine before and after an update of dbx."""
    old, new = (
        judged((shared("recordings") / name / "binary_bios_measurements").read_bytes())
        for name in ("60_sb_first_boot", "63_sb_dbx_updated")
    )
    assert old.enabled
    assert new.enabled
    assert dbx_covers(new.dbx, old.dbx)
    assert not dbx_covers(old.dbx, new.dbx)


@pytest.mark.parametrize(
    ("level", "minimum", "answer"),
    [
        ("sbat,1,2025021800\nshim,4\ngrub,5\n", {"shim": 4}, True),
        ("sbat,1,2025021800\nshim,4\ngrub,5\n", {"shim": 4, "grub": 5}, True),
        ("sbat,1,2025021800\nshim,4\ngrub,5\n", {"shim": 5}, False),
        ("sbat,1,2021030218\n", {"shim": 1}, False),
        ("sbat,1,2021030218\n", {}, True),
        (None, {"shim": 1}, False),
        ("shim,4\n", {"shim": 4}, False),
        ("sbat,1\nshim,4\nshim,2\n", {"shim": 2}, False),
        ("sbat,1\nshim,٤\n", {"shim": 4}, False),
        ("sbat,1\nshim, 4\n", {"shim": 4}, False),
        ("sbat,1\nshim,-4\n", {"shim": 1}, False),
        ("sbat,1\nshim,99999\n", {"shim": 4}, False),
        ("sbat,1\n\nshim,4\n", {"shim": 4}, False),
    ],
)
def test_a_level_refuses_what_is_below_the_minimum(level, minimum, answer):
    assert sbat_at_least(level, minimum) is answer


def test_a_level_of_any_size_is_read_or_refused():
    assert parse_sbat(b"sbat,1\n" + b"".join(b"c%d,1\n" % i for i in range(500))) is not None
    assert parse_sbat(b"sbat,1\n" + b"a,1\n" * 100_000) is None
    assert parse_sbat(b"") is None

"""Clocks, counters and nonces across the quotes of a job (attacks 62, 74, 79)."""

from __future__ import annotations

import hashlib
import itertools
import struct
from unittest import mock

import pyarrow as pa
import pytest
from conftest import shared
from hypothesis import given, settings
from hypothesis import strategies as st

from pyverify.findings import Severity
from pyverify.fleet.sequence import QUOTE_FACTS, QuoteSequence, judge_sequence

AK, OTHER = (b"\0\x0b" + hashlib.sha256(name).digest() for name in (b"ak", b"other"))


def quote(row, issued_at=None, **changes):
    number = row if issued_at is None else issued_at
    facts = {
        "row": row,
        "ak_name": AK,
        "nonce": b"%d" % row,
        "attest": hashlib.sha256(b"%d" % row).digest(),
        "issued_at": number,
        "boot_seq": None,
        "clock": 1000 * number,
        "reset_count": 5,
        "restart_count": 0,
        "safe": True,
        "firmware_version": 7,
    }
    return facts | changes


def findings(*quotes):
    table = pa.Table.from_pylist(list(quotes), QUOTE_FACTS)
    found = sorted((row, finding.code) for row, finding in judge_sequence(table))
    for held in (1, 1 << 17):  # with files and without
        with mock.patch("pyverify.fleet.sequence._HELD", held), QuoteSequence() as sequence:
            for batch in table.to_batches(max_chunksize=2):
                sequence.add(batch)
            assert sorted((row, finding.code) for row, finding in sequence.findings()) == found
    return found


def test_an_honest_sequence_has_no_findings():
    honest = [quote(i, reset_count=i, clock=100 * i) for i in range(1, 6)]
    assert findings(*honest) == []
    assert findings(*honest[::-1]) == []
    assert findings() == []
    suspended = [quote(1), quote(2, restart_count=1), quote(3, reset_count=6)]
    assert findings(*suspended) == []
    unclean = quote(2, clock=1, safe=False, reset_count=6)
    assert findings(quote(1), unclean) == []


@pytest.mark.parametrize(
    "second",
    [
        {"reset_count": 4},
        {"reset_count": 0, "clock": 5},
        {"clock": 999},
        {"clock": 999, "reset_count": 6},
        {"reset_count": 4, "safe": False, "clock": 0},
    ],
)
def test_what_goes_back_is_found_once(second):
    assert findings(quote(1), quote(2, **second)) == [(2, "quote.clock")]
    assert findings(quote(2, **second), quote(1)) == [(2, "quote.clock")]  # the order of rows does not matter
    assert findings(quote(1), quote(2, **second, ak_name=OTHER)) == []  # keys are not compared with each other


def test_restart_count_goes_back_only_with_a_new_boot():
    assert findings(quote(1, restart_count=3), quote(2)) == [(2, "quote.clock")]
    assert findings(quote(1, restart_count=3), quote(2, reset_count=6)) == []


def test_counters_are_compared_by_their_difference():
    """Keys of the owner hierarchy see them shifted by a constant, so they may wrap around (SPEC 8.5)."""
    assert findings(quote(1, reset_count=2**32 - 1), quote(2, reset_count=0)) == []
    assert findings(quote(1, reset_count=0), quote(2, reset_count=2**32 - 1)) == [(2, "quote.clock")]


def test_another_firmware_is_told():
    table = pa.Table.from_pylist([quote(1), quote(2, firmware_version=8), quote(3, firmware_version=8)], QUOTE_FACTS)
    ((row, finding),) = judge_sequence(table)
    assert (row, finding.code, finding.severity) == (2, "quote.firmware-changed", Severity.INFO)


def test_a_nonce_for_two_quotes_is_a_replay_of_all_but_the_first():
    same = {"nonce": b"n", "issued_at": 1, "clock": 1}
    quotes = [quote(row, **same) for row in (1, 2, 3)]
    retry = quote(4, **same) | {"attest": quotes[0]["attest"]}
    assert findings(*quotes, retry) == [(2, "quote.replayed"), (3, "quote.replayed")]
    assert findings(quotes[0], quotes[1] | {"ak_name": OTHER}) == []


def unasked(row, boot_seq, **changes):
    return quote(row, clock=1) | {"issued_at": None, "boot_seq": boot_seq} | changes


def test_quotes_without_a_challenge_go_by_their_boots():
    assert findings(unasked(1, 1), unasked(2, 2, reset_count=4)) == [(2, "quote.clock")]
    assert findings(unasked(1, 3), unasked(2, 2, reset_count=4)) == []  # nothing went back in that order
    for resets in (4, 9):
        assert findings(unasked(1, 1), unasked(2, None, reset_count=resets)) == []  # its place is not known
        assert findings(quote(1), unasked(2, 2, reset_count=resets)) == []  # nor that among those asked for


def test_earlier_jobs_are_compared_with_and_get_no_findings():
    assert findings(quote(-1, issued_at=1, reset_count=9), quote(2)) == [(2, "quote.clock")]
    assert findings(quote(1), quote(-1, issued_at=2, reset_count=1)) == []


def test_samples_of_one_challenge_have_no_order():
    one, two = quote(1, issued_at=3, clock=9), quote(2, issued_at=3, clock=8, nonce=b"other")
    assert findings(one, two) == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.booleans()), max_size=12))
def test_findings_are_those_of_a_walk_in_plain_python(drawn):
    quotes = [
        quote(row, issued_at=place, clock=clock, reset_count=reset, safe=safe)
        for row, (place, clock, reset, safe) in enumerate(drawn)
    ]
    expected, ordered = [], sorted(quotes, key=lambda q: (q["issued_at"], q["clock"], q["row"]))
    for before, after in itertools.pairwise(ordered):
        later = after["issued_at"] > before["issued_at"]
        reset_back = later and after["reset_count"] < before["reset_count"]
        if reset_back or (after["clock"] < before["clock"] and after["safe"]):
            expected.append((after["row"], "quote.clock"))
    assert findings(*quotes) == sorted(expected)


def test_recorded_boots_in_the_order_of_their_tpm_go_forward_and_in_another_do_not():
    quotes = []
    for row, path in enumerate(sorted(shared("recordings").glob("*/quotes/rsa_sha256_0-23.msg"))):
        message, at = path.read_bytes(), 6
        for _ in range(2):
            size = struct.unpack_from(">H", message, at)[0]
            field, at = message[at + 2 : at + 2 + size], at + 2 + size
        clock, resets, restarts, safe, firmware = struct.unpack_from(">QIIBQ", message, at)
        ak_name = (path.parent.parent / "ak" / "ak_rsa.name").read_bytes()
        counters = {"clock": clock, "reset_count": resets, "restart_count": restarts, "safe": bool(safe)}
        facts = {"ak_name": ak_name, "nonce": field, "attest": hashlib.sha256(message).digest()}
        place = resets << 16 | restarts
        quotes.append(quote(row, issued_at=place, **counters, **facts, firmware_version=firmware))
    assert len(quotes) > 50
    assert findings(*quotes) == []
    backwards = [q | {"issued_at": -q["issued_at"]} for q in quotes]
    machines = {q["ak_name"] for q in quotes}
    assert len(findings(*backwards)) > len(quotes) - len(machines) - 5

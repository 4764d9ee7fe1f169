"""The rule that IMA lists of a boot must not shrink, by itself: held against walks in plain Python."""

from __future__ import annotations

import itertools
from unittest import mock

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from ima_samples import SHRUNK, at

from pyverify.fleet.list_facts import LIST_FACTS
from pyverify.fleet.quote_facts import QUOTE_FACTS
from pyverify.fleet.sequence import ListSequence, QuoteSequence
from pyverify.fleet.shrunk import most_before


def plain(groups, order, values):
    return [
        max(
            (v for g, o, v in zip(groups, order, values, strict=True) if g == group and o < place),
            default=-1,
        )
        for group, place in zip(groups, order, strict=True)
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 1), st.integers(0, 4), st.integers(-1, 5))))
def test_most_before_is_what_a_walk_in_plain_python_finds(drawn):
    one, two, order, values = (np.array([row[at] for row in drawn], np.int64) for at in range(4))
    expected = plain(list(zip(one.tolist(), two.tolist(), strict=True)), order.tolist(), values.tolist())
    assert most_before((one, two), order, values).tolist() == expected


def test_most_before_is_exact_at_the_ends_of_its_types():
    clock = np.array([2**64 - 1, 0, 2**63, 2**63 + 1], np.uint64)
    assert most_before((np.zeros(4, np.int64),), clock, np.array([1, 5, 3, 4])).tolist() == [5, -1, 5, 5]
    values = np.array([10**6, 0] * 1000)
    keys = np.repeat(np.arange(1000), 2)
    assert most_before((keys,), np.array([0, 1] * 1000), values).tolist() == [-1, 10**6] * 1000


def facts(row: int, **changes):
    quote = {
        "row": row,
        "ak_name": b"ak",
        "nonce": b"%d" % row,
        "attest": bytes(32),
        "clock": row,
        "reset_count": 1,
        "restart_count": 0,
        "safe": True,
        "firmware_version": 1,
        "boot": "b",
    }
    return quote | changes


def shrunk_rows(sequence_type, schema, rows) -> list[int]:
    table = pa.Table.from_pylist(rows, schema)
    found = []
    for held in (1, 1 << 17):  # with files and without
        with mock.patch("pyverify.fleet.sequence._HELD", held), sequence_type() as sequence:
            for batch in table.to_batches(max_chunksize=2):
                sequence.add(batch)
            found.append(sorted(row for row, finding in sequence.findings() if finding.code == SHRUNK))
    assert found[0] == found[1]
    return found[0]


def test_keys_are_not_compared_with_each_other_and_what_earlier_jobs_saw_gets_no_finding():
    first = facts(1, ima_entries=4)
    for changes, expected in (
        ({}, [2]),
        ({"ak_name": b"other"}, []),
        ({"reset_count": 2}, []),
        ({"restart_count": 1}, [2]),
        ({"restart_count": 1, "boot": "c"}, []),
        ({"boot": "c"}, [2]),
        ({"boot": None}, [2]),
        ({"restart_count": 1, "boot": None}, []),
        ({"clock": 1}, []),
        ({"clock": 0}, []),
        ({"ima_entries": None}, []),
        ({"ima_entries": 4}, []),
        ({"ima_entries": 0}, [2]),
        ({"row": -1}, []),
    ):
        second = facts(2, ima_entries=3) | changes
        assert shrunk_rows(QuoteSequence, QUOTE_FACTS, [first, second]) == expected, changes
        assert shrunk_rows(QuoteSequence, QUOTE_FACTS, [second, first | {"row": -1}]) == expected, changes


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from("mn"), st.sampled_from("bc"), st.integers(0, 4), st.integers(0, 3)), max_size=12)
)
def test_lists_are_judged_as_a_walk_in_plain_python_does(drawn):
    rows = [
        {"row": row, "machine": machine, "boot": boot, "collected_at": at(hours), "entries": entries}
        for row, (machine, boot, hours, entries) in enumerate(drawn)
    ]
    expected = set()
    for one, other in itertools.permutations(rows, 2):
        if [one[key] for key in ("machine", "boot")] != [other[key] for key in ("machine", "boot")]:
            continue
        fewer = other["entries"] < one["entries"] and one["collected_at"] < other["collected_at"]
        if fewer and (other["entries"] or one["row"] < other["row"]):
            expected.add(other["row"])
    assert shrunk_rows(ListSequence, LIST_FACTS, rows) == sorted(expected)

"""The event diff: what it says on known cases, that its changes lead from one to the other, that it stays linear."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyverify.baseline.diff import Change, diff


def _b(text: str) -> list[bytes]:
    return [letter.encode() for letter in text]


def test_words():
    assert diff(_b("abc"), _b("abc")) == []
    assert diff(_b("abc"), _b("abxc")) == [Change("added", None, 2)]
    assert diff(_b("abc"), _b("ac")) == [Change("removed", 1, None)]
    assert diff(_b("abc"), _b("axc")) == [Change("changed", 1, 1)]
    assert diff(_b("abcd"), _b("acbd")) == [Change("moved", 2, 1)] or diff(_b("abcd"), _b("acbd")) == [
        Change("moved", 1, 2)
    ]
    assert diff(_b(""), _b("ab")) == [Change("added", None, 0), Change("added", None, 1)]
    assert diff(_b("ab"), _b("")) == [Change("removed", 0, None), Change("removed", 1, None)]


def test_a_repeated_event_counts():
    """Set membership would not see it."""
    assert diff(_b("ab"), _b("abb")) == [Change("added", None, 2)]
    assert diff(_b("abb"), _b("ab")) == [Change("removed", 2, None)]


def test_a_changed_event_beside_an_added_one():
    assert diff(_b("abcd"), _b("axycd")) == [Change("changed", 1, 1), Change("added", None, 2)]


sequences = st.lists(st.sampled_from(_b("abcdef")), max_size=12)


@given(sequences, sequences)
def test_changes_account_for_every_event(expected, actual):
    changes = diff(expected, actual)
    assert (not changes) == (expected == actual)
    of_expected = [c.expected for c in changes if c.expected is not None]
    of_actual = [c.actual for c in changes if c.actual is not None]
    assert len(set(of_expected)) == len(of_expected)
    assert len(set(of_actual)) == len(of_actual)
    # What no change names is equal and in order in both.
    assert [d for i, d in enumerate(expected) if i not in of_expected] == [
        d for i, d in enumerate(actual) if i not in of_actual
    ]
    for change in changes:
        assert (change.expected is None) == (change.kind == "added")
        assert (change.actual is None) == (change.kind == "removed")
        if change.kind == "moved":
            assert expected[change.expected] == actual[change.actual]
        if change.kind == "changed":
            assert expected[change.expected] != actual[change.actual]


def test_two_hundred_thousand_hostile_events():
    """As many as a log may hold, all moved: a quadratic diff would not come back."""
    n = 200_000
    forward = [i.to_bytes(4, "big") for i in range(n)]
    changes = diff(forward, forward[::-1])
    assert len(changes) == n - 1
    assert {change.kind for change in changes} == {"moved"}
    assert len(diff([b"a"] * n, [b"b"] * n)) == n

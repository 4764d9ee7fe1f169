"""The difference between two sequences of digests, event by event, in time linear in their length (times a logarithm).

An attacker writes one of the two sequences, so the textbook algorithms, quadratic in the worst case, will not do.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Kind = Literal["added", "removed", "changed", "moved"]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: positions in the expected and in the actual sequence, None where it is not in that one."""

    kind: Kind
    expected: int | None
    actual: int | None


@dataclass(frozen=True, slots=True)
class Hunk:
    """A run of positions in the expected sequence and the run in the actual one that stands in its place."""

    expected: range
    actual: range


def diff(expected: Sequence[bytes], actual: Sequence[bytes]) -> list[Change]:
    """The changes that turn one sequence of digests into the other, in the order of the actual one.

    Events equal at both ends stand; of what is between, equal digests are paired in order. Pairs that keep their
    order (the longest increasing run) stand, the others moved. Left-overs between two standing pairs are matched one
    to one as changed, and what then remains is removed or added.
    """
    pairs, standing = _pairs(expected, actual)
    kept = set(standing)
    changes = [Change("moved", e, a) for e, a in pairs if (e, a) not in kept]
    paired_expected, paired_actual = {e for e, _ in pairs}, {a for _, a in pairs}
    for hunk in _between(standing):
        gone = [e for e in hunk.expected if e not in paired_expected]
        new = [a for a in hunk.actual if a not in paired_actual]
        both = min(len(gone), len(new))
        changes += [Change("changed", e, a) for e, a in zip(gone[:both], new[:both], strict=True)]
        changes += [Change("removed", e, None) for e in gone[both:]]
        changes += [Change("added", None, a) for a in new[both:]]
    return sorted(changes, key=_position)


def hunks(expected: Sequence[bytes], actual: Sequence[bytes]) -> list[Hunk]:
    """The runs that differ, as :func:`diff` pairs the rest: replace each by the other, and one sequence is the other.

    What moved is in two of them: gone in one place, new in the other.
    """
    return [hunk for hunk in _between(_pairs(expected, actual)[1]) if hunk.expected or hunk.actual]


def _pairs(expected: Sequence[bytes], actual: Sequence[bytes]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pairs of equal digests between the ends that stand, and those of them that stand; then the end of what is
    between, with the start before it as the first that stands."""
    head = _common_head(expected, actual)
    tail = _common_head(expected[head:][::-1], actual[head:][::-1])
    inner_expected = range(head, len(expected) - tail)
    inner_actual = range(head, len(actual) - tail)
    pairs = _pair(expected, actual, inner_expected, inner_actual)
    return pairs, [(head - 1, head - 1), *_longest_increasing(pairs), (inner_expected.stop, inner_actual.stop)]


def _between(standing: list[tuple[int, int]]) -> list[Hunk]:
    return [Hunk(range(e + 1, f), range(a + 1, b)) for (e, a), (f, b) in pairwise(standing)]


def _position(change: Change) -> tuple[int, int]:
    """A removed event stands where it would have come in the actual sequence, as far as that can be said."""
    if change.actual is not None:
        return change.actual, 1
    return change.expected if change.expected is not None else 0, 0


def _common_head(a: Sequence[bytes], b: Sequence[bytes]) -> int:
    n = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        n += 1
    return n


def _pair(
    expected: Sequence[bytes], actual: Sequence[bytes], inner_expected: range, inner_actual: range
) -> list[tuple[int, int]]:
    """Equal digests, first with first: (expected, actual) positions in the order of the actual ones."""
    waiting: defaultdict[bytes, deque[int]] = defaultdict(deque)
    for e in inner_expected:
        waiting[expected[e]].append(e)
    return [(waiting[actual[a]].popleft(), a) for a in inner_actual if waiting.get(actual[a])]


def _longest_increasing(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest run of pairs whose expected positions increase too (patience sorting)."""
    ends: list[int] = []
    end_at: list[int] = []
    before: list[int] = []
    for i, (e, _) in enumerate(pairs):
        k = bisect_left(ends, e)
        if k == len(ends):
            ends.append(e)
            end_at.append(i)
        else:
            ends[k], end_at[k] = e, i
        before.append(end_at[k - 1] if k else -1)
    run: list[tuple[int, int]] = []
    i = end_at[-1] if end_at else -1
    while i >= 0:
        run.append(pairs[i])
        i = before[i]
    return run[::-1]

"""Bench ``ima``: lists that lie in memory, read, their template digests computed, and replayed to PCR 10."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from bench import machine
from bench.cycles import sampled
from bench.ima_lists import ENTRIES, KNOWN, entry, files, fleet, python_replay
from bench.plan import Plan
from bench.results import DifferentResultsError, Line, Note
from bench.templates import hash_name
from pyverify import _native
from pyverify.algorithms import BY_NAME
from pyverify.evidence.columns import Ragged
from pyverify.evidence.ima import scan
from pyverify.evidence.ima_replay import ImaReplay
from pyverify.evidence.ima_set import ImaSet

_BENCH: Final = "ima"
_BANKS: Final = ("sha256", "sm3_256")
_LONG: Final = 100_000
_BATCH: Final = 256


def replayed(lists: Ragged, bank: str, *, share: bool = True) -> Any:
    """PCR 10 of each list."""
    return ImaReplay(scan(lists, ["binary"] * len(lists)), share=share).replay(bank)


def ima(plan: Plan) -> Iterator[Line | Note]:
    """All figures of this bench."""
    for bank in _BANKS:
        yield from _one_long_list(plan, bank, _LONG // 10 if plan.quick else _LONG)
    lists = fleet(plan.boots, ENTRIES, KNOWN)
    batches = [Ragged.of(list(lists[i : i + _BATCH])) for i in range(0, len(lists), _BATCH)]
    for bank in _BANKS:
        yield from _fleet(plan, bank, lists, batches)
    yield from _membership(plan, lists, batches)


def _one_long_list(plan: Plan, bank: str, count: int) -> Iterator[Line]:
    """One list beside plain Python, and beside our kernels on the same bytes laid out for them."""
    data = entry("boot_aggregate", b"") + b"".join(files(count - 1))
    lists = Ragged.of([data])
    columns = scan(lists, ["binary"])
    index, size = BY_NAME[bank].index, BY_NAME[bank].size
    messages = columns.pieces(np.arange(count), "data")
    chain_at = np.array([0, count], np.uint64)

    def hashing() -> bytes:
        value = np.zeros((1, size), np.uint8)
        digests = _native.hash_messages(index, messages.blob, messages.offsets, share=False)
        _native.extend(index, digests, chain_at, value)
        return value.tobytes()

    expected = python_replay(data, hash_name(bank))
    if replayed(lists, bank).tobytes() != expected or hashing() != expected:
        raise DifferentResultsError("PCR 10 is not what plain Python comes to")
    taken = sampled(
        {
            "": lambda: replayed(lists, bank),
            "kernels": hashing,
            "python": lambda: python_replay(data, hash_name(bank)),
            "scan": lambda: scan(lists, ["binary"]),
        },
        plan.short_samples,
    )
    case, isa, seconds = f"{bank}-list-{count}", machine.isa((bank,)), taken[""].seconds
    for peer in ("kernels", "python"):
        yield Line(_BENCH, case, isa, 1, seconds * 1e9 / count, "ns/entry", peer, taken[peer].seconds / seconds)
    yield Line(_BENCH, f"{case}-scan", isa, 1, taken["scan"].seconds * 1e9 / count, "ns/entry")


def _fleet(plan: Plan, bank: str, lists: list[bytes], batches: list[Ragged]) -> Iterator[Line]:
    """Many lists that have most entries in common, hashed once or each on its own."""
    some = lists[:: max(1, len(lists) // 20)]
    values = np.concatenate([replayed(batch, bank) for batch in batches])
    if any(values[lists.index(data)].tobytes() != python_replay(data, hash_name(bank)) for data in some):
        raise DifferentResultsError("PCR 10 is not what plain Python comes to")
    taken = sampled(
        {
            "": lambda: [replayed(batch, bank) for batch in batches],
            "unshared": lambda: [replayed(batch, bank, share=False) for batch in batches],
        },
        3,
    )
    python = sampled({"python": lambda: [python_replay(data, hash_name(bank)) for data in some]}, 3)["python"].seconds
    entries = len(lists) * (ENTRIES + 2)
    case, isa, seconds = f"{bank}-fleet-{len(lists)}x{ENTRIES + 2}", machine.isa((bank,)), taken[""].seconds
    per_entry = seconds * 1e9 / entries
    yield Line(_BENCH, case, isa, 1, per_entry, "ns/entry", "unshared", taken["unshared"].seconds / seconds)
    yield Line(_BENCH, case, isa, 1, per_entry, "ns/entry", "python", python / len(some) * len(lists) / seconds)
    yield Line(_BENCH, case, isa, 1, len(lists) / seconds, "lists/s")


def _membership(plan: Plan, lists: list[bytes], batches: list[Ragged]) -> Iterator[Line]:
    """Entries against a set, beside a Python set of tuples."""
    known = ImaSet.of(scan(Ragged.of([b"".join(files(KNOWN))]), ["binary"]))
    columns = [scan(batch, ["binary"] * len(batch)) for batch in batches]
    members = {(member.path, member.digest) for member in known}
    few = columns[0]
    pairs = [(few.path(k), few.piece(k, "file_digest")) for k in range(len(few.entries))]
    outcomes = known.check(few)
    if sum(pair in members for pair in pairs) != int((outcomes == 0).sum()):
        raise DifferentResultsError("other entries are members than Python says")
    taken = sampled({"": lambda: [known.check(one) for one in columns]}, plan.short_samples)
    python = sampled({"": lambda: [pair in members for pair in pairs]}, plan.short_samples)
    entries = sum(len(one.entries) for one in columns)
    ours, theirs = taken[""].seconds / entries, python[""].seconds / len(pairs)
    yield Line(_BENCH, f"all-set-{KNOWN}-check", "any", 1, ours * 1e9, "ns/entry", "python", theirs / ours)

"""Kernels: every variant against the oracle on the shapes that break lane scheduling, and that the forced one ran."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
from conftest import ALGORITHMS, hash_of
from gmssl import func, sm3

from pyverify import Ragged, _native
from pyverify.algorithms import BANKS, BY_NAME

VARIANTS = [(bank.name, isa) for bank in BANKS for isa in _native.variants(bank.index)]
LANES = 16  # of the widest kernel; shapes below lie around it and its halves

SHAPES = {
    "no chain": [],
    "one empty chain": [0],
    "one digest": [1],
    "empty chains among others": [0, 3, 0, 0, 5, 0],
    **{f"{n} equal chains": [4] * n for n in (2, 3, 4, 5, 7, 8, 9, LANES - 1, LANES, LANES + 1, 2 * LANES + 1)},
    "all in one": [300],
    "one long among short": [1, 2, 500, 1, 3, *([2] * 40)],
    "each length once": list(range(1, 60)),
    "long ones that are sorted together": [129, 128, 128, 129] * 12,
    "long ones past the exact buckets": [127, 128, 129, 130, 255, 256, 257, 300, 512, 700] * 2,
}


def chains(bank: str, lengths: list[int], seed: int = 1):
    size = ALGORITHMS[bank][1]
    random = np.random.default_rng(seed)
    at = np.cumsum([0, *lengths]).astype(np.uint64)
    digests = random.integers(0, 256, (int(at[-1]), size), np.uint8)
    values = random.integers(0, 256, (len(lengths), size), np.uint8)
    return digests, at, values


def by_hand(bank, digests, at, values):
    results = []
    for chain, value in enumerate(values):
        result = value.tobytes()
        for digest in digests[int(at[chain]) : int(at[chain + 1])]:
            result = hash_of(bank, result + digest.tobytes())
        results.append(result)
    return results


@pytest.mark.parametrize("lengths", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("bank", ALGORITHMS)
def test_extend(bank, lengths):
    digests, at, values = chains(bank, lengths)
    expected = by_hand(bank, digests, at, values)
    for isa in (None, *_native.variants(BY_NAME[bank].index)):
        result = values.copy()
        _native.extend(BY_NAME[bank].index, digests, at, result, isa)
        assert [value.tobytes() for value in result] == expected, isa


@pytest.mark.parametrize("bank", ALGORITHMS)
def test_more_chains_than_are_sorted_at_a_time(bank):
    lengths = [1 + i % 3 for i in range(4096 + 50)]
    digests, at, values = chains(bank, lengths)
    expected = by_hand(bank, digests, at, values)
    for isa in (None, _native.variants(BY_NAME[bank].index)[-1]):
        result = values.copy()
        _native.extend(BY_NAME[bank].index, digests, at, result, isa)
        assert [value.tobytes() for value in result] == expected


@pytest.mark.parametrize(("bank", "isa"), VARIANTS)
def test_hash_at_every_length_around_a_block(bank, isa):
    random = np.random.default_rng(2)
    messages = [random.bytes(n) for n in range(300)] + [random.bytes(5000), b"", random.bytes(20_000)]
    batch = Ragged.of(messages)
    digests = _native.hash_messages(BY_NAME[bank].index, batch.blob, batch.offsets, isa)
    assert [digest.tobytes() for digest in digests] == [hash_of(bank, message) for message in messages]


def test_gmssl_agrees_on_every_sm3_kernel():
    digests, at, values = chains("sm3_256", [3, 1, 2])
    expected = []
    for chain, value in enumerate(values):
        result = value.tobytes()
        for digest in digests[int(at[chain]) : int(at[chain + 1])]:
            result = bytes.fromhex(sm3.sm3_hash(func.bytes_to_list(result + digest.tobytes())))
        expected.append(result)
    for isa in _native.variants(BY_NAME["sm3_256"].index):
        result = values.copy()
        _native.extend(BY_NAME["sm3_256"].index, digests, at, result, isa)
        assert [value.tobytes() for value in result] == expected


@pytest.mark.parametrize(("bank", "isa"), VARIANTS)
def test_the_forced_variant_is_the_one_that_runs(bank, isa):
    """The core counts its steps where it calls a kernel."""
    index = BY_NAME[bank].index
    digests, at, values = chains(bank, [5, 1, 9] * 20)
    usage = _native.Usage(index)
    _native.extend(index, digests, at, values, isa, usage)
    assert set(usage.steps()) == {isa}
    assert usage.steps()[isa] >= len(digests)
    assert 0.5 < usage.lane_use() <= 1.0
    usage = _native.Usage(index)
    batch = Ragged.of([b"x" * 100] * 5)
    _native.hash_messages(index, batch.blob, batch.offsets, isa, usage)
    assert set(usage.steps()) == {isa}


def test_lanes_are_used_on_the_shape_of_real_logs():
    """Chains of a log as PERFORMANCE 3 gives them: from 16 logs on hardly a lane idles, whatever the kernels are."""
    shape = [3, 7, 6, 4, 1, 1, 4, 1, 2, 9, 73]
    digests, at, values = chains("sha256", shape * 16)
    usage = _native.Usage(BY_NAME["sha256"].index)
    _native.extend(BY_NAME["sha256"].index, digests, at, values, None, usage)
    assert usage.lane_use() >= 0.95


CPU_FLAGS = {
    "shani": {"sha_ni", "sse4_1"},
    "avx2": {"avx2"},
    "avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq"},
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flags are those of x86-64")
def test_detection_agrees_with_the_kernel():
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    names = set(_native.variants(BY_NAME["sha256"].index))
    for name, needed in CPU_FLAGS.items():
        assert (name in names) == (needed <= set(flags)), name
    assert names - {"portable", "shani", "shani2", "shani4", "avx2", "avx512vl", "avx512"} == set()


@pytest.mark.parametrize("bank", ALGORITHMS)
def test_equal_chains_are_extended_once_and_get_equal_values(bank):
    size, index = ALGORITHMS[bank][1], BY_NAME[bank].index
    digests, _, values = chains(bank, [7] * 16)
    many = np.tile(digests, (40, 1))
    at_many = np.arange(0, 7 * 16 * 40 + 1, 7, dtype=np.uint64)
    starts = np.tile(values, (40, 1))
    starts[5::16][3:7] ^= 1  # equal digests, other start: another chain
    expected = by_hand(bank, many, at_many, starts)
    counted = {}
    for share in (True, False):
        result, usage = starts.copy(), _native.Usage(index)
        _native.extend(index, many, at_many, result, None, usage, share=share)
        assert [value.tobytes() for value in result] == expected
        counted[share] = sum(usage.steps().values()) * usage.lane_use()
    assert counted[False] == pytest.approx(7 * 16 * 40)
    assert counted[True] == pytest.approx(7 * 17)  # one of the sixteen has two starts
    assert len(values[0]) == size


def test_chains_that_hardly_repeat_are_not_looked_at_further():
    digests, at, values = chains("sha256", [4] * 1000)
    for share in (True, False):
        usage = _native.Usage(1)
        _native.extend(1, digests, at, values.copy(), None, usage, share=share)
        assert sum(usage.steps().values()) * usage.lane_use() == pytest.approx(4000)


def test_nearly_equal_chains_are_not_shared():
    """Only bytes decide: chains that differ in one bit, or in where they end, keep their own values."""
    digests, at, values = chains("sha256", [8] * 64)
    digests[:] = np.tile(digests[:8], (64, 1))
    values[:] = values[0]
    digests[8 * 40 + 7, 31] ^= 1
    at[20] += 1  # one chain a digest longer, the next one shorter
    expected = by_hand("sha256", digests, at, values)
    result = values.copy()
    _native.extend(1, digests, at, result)
    assert [value.tobytes() for value in result] == expected
    assert len(set(expected)) == 4


def test_group():
    items = [b"a", b"b", b"a", b"", b"b", b"", b"ab", b"a" * 100, b"a" * 100 + b"b", b"a" * 100]
    batch = Ragged.of(items)
    same = _native.group(batch.blob, batch.offsets).tolist()
    assert all(items[i] == items[k] and k <= i for i, k in enumerate(same))
    repeated = Ragged.of([b"log %d" % (i % 7) * 50 for i in range(5000)])
    same = _native.group(repeated.blob, repeated.offsets)
    assert len(set(same.tolist())) == 14  # 4,096 items are looked at together
    assert all(repeated[i] == repeated[int(k)] for i, k in enumerate(same))
    distinct = Ragged.of([b"%d" % i for i in range(5000)])
    assert _native.group(distinct.blob, distinct.offsets).tolist() == list(range(5000))
    assert len(_native.group(Ragged.of([]).blob, Ragged.of([]).offsets)) == 0

"""Replay of batches: ragged shapes against hashlib, start values, slices, wrong arguments."""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import pytest
from conftest import ALGORITHMS, entry, hash_of, no_action, replay_by_hand, small_log, spec_id
from hypothesis import given, settings
from hypothesis import strategies as st

from pyverify import EventLog, EvidenceError, Ragged, UsageError, _native
from pyverify._native import core
from pyverify.algorithms import BY_NAME
from pyverify.replay import replay

LOCALITY = b"StartupLocality\0"
HCRTM = 0x80000010

chains = st.lists(st.integers(0, 40), max_size=40)


@given(lengths=chains, bank=st.sampled_from(sorted(ALGORITHMS)), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_extend_equals_hashlib_for_ragged_chains(lengths, bank, seed):
    size = ALGORITHMS[bank][1]
    random = np.random.default_rng(seed)
    digests = random.integers(0, 256, (sum(lengths), size), np.uint8)
    values = random.integers(0, 256, (len(lengths), size), np.uint8)
    at = np.cumsum([0, *lengths]).astype(np.uint64)
    expected = []
    for chain, start in enumerate(values):
        value = start.tobytes()
        for digest in digests[at[chain] : at[chain + 1]]:
            value = hash_of(bank, value + digest.tobytes())
        expected.append(value)
    for isa in (None, *_native.variants(BY_NAME[bank].index)):
        result = values.copy()
        _native.extend(BY_NAME[bank].index, digests, at, result, isa)
        assert [value.tobytes() for value in result] == expected


@given(messages=st.lists(st.binary(max_size=300), max_size=40), bank=st.sampled_from(sorted(ALGORITHMS)))
@settings(max_examples=60, deadline=None)
def test_hash_equals_hashlib(messages, bank):
    batch = Ragged.of(messages)
    for isa in (None, *_native.variants(BY_NAME[bank].index)):
        digests = _native.hash_messages(BY_NAME[bank].index, batch.blob, batch.offsets, isa)
        assert [digest.tobytes() for digest in digests] == [hash_of(bank, message) for message in messages]


@given(
    st.lists(
        st.tuples(st.lists(st.tuples(st.integers(0, 23), st.binary(max_size=20)), max_size=30), st.integers(0, 3)),
        max_size=8,
    )
)
@settings(max_examples=40, deadline=None)
def test_batches_equal_a_reader_that_shares_no_code(recipes):
    sets = [["sha256"], ["sha1", "sha256"], ["sm3_256", "sha512", "sha384"], list(ALGORITHMS)]
    logs = [
        spec_id(sets[which]) + b"".join(entry(pcr, 0xD, data, sets[which]) for pcr, data in events)
        for events, which in recipes
    ]
    result = replay(logs)
    assert not result.logs["fault"].any()
    for row, log in enumerate(logs):
        # A log that extends PCR 17 tells of a D-RTM launch, which starts 17-22 at zeros (SPEC 4.2).
        launched = result.logs["touched"][row] >> 17 & 1
        by_hand = replay_by_hand(log)
        for bank, values in result.values.items():
            for pcr in range(24):
                if launched and 17 <= pcr <= 22:
                    continue
                expected = by_hand.get(bank, {}).get(pcr, bytes(BY_NAME[bank].size))
                assert values[row, pcr].tobytes() == expected


def test_a_drtm_launch_starts_17_to_22_at_zeros():
    digest = {"sha256": hash_of("sha256", b"launch")}
    launch = EventLog.parse(small_log(["sha256"], extra=entry(17, 0xD, b"launch", ["sha256"], digest)))
    values = launch.replay()["sha256"]
    assert values[17].tobytes() == hash_of("sha256", bytes(32) + digest["sha256"])
    assert not values[18:23].any()
    bogus = EventLog.parse(small_log(["sha256"], extra=entry(18, 0xD, b"launch", ["sha256"], digest)))
    values = bogus.replay()["sha256"]
    assert values[18].tobytes() == hash_of("sha256", b"\xff" * 32 + digest["sha256"])
    assert (values[17] == 0xFF).all()


def _log(*entries: bytes) -> bytes:
    return spec_id(["sha256"]) + b"".join(entries)


def _pcr0(start: int, *data: bytes) -> bytes:
    value = bytes(31) + bytes([start])
    for item in data:
        value = hash_of("sha256", value + hash_of("sha256", item))
    return value


B = ["sha256"]
START_CASES = {
    "none": (_log(entry(0, 8, b"v", B)), 0, (b"v",), set()),
    "locality 3": (_log(no_action(0, LOCALITY + b"\3", B), entry(0, 8, b"v", B)), 3, (b"v",), set()),
    "locality 0": (_log(no_action(0, LOCALITY + b"\0", B), entry(0, 8, b"v", B)), 0, (b"v",), set()),
    "locality 4 and H-CRTM": (
        _log(no_action(0, LOCALITY + b"\4", B), entry(0, HCRTM, b"HCRTM", B), entry(0, 8, b"v", B)),
        4,
        (b"HCRTM", b"v"),
        set(),
    ),
    "H-CRTM alone": (_log(entry(0, HCRTM, b"HCRTM", B)), 4, (b"HCRTM",), set()),
    "locality 4 without H-CRTM": (
        _log(no_action(0, LOCALITY + b"\4", B), entry(0, 8, b"v", B)),
        4,
        (b"v",),
        {"start_contradiction"},
    ),
    "locality 3 with H-CRTM": (
        _log(no_action(0, LOCALITY + b"\3", B), entry(0, HCRTM, b"HCRTM", B)),
        3,
        (b"HCRTM",),
        {"start_contradiction"},
    ),
    "twice": (
        _log(no_action(0, LOCALITY + b"\3", B), no_action(0, LOCALITY + b"\0", B), entry(0, 8, b"v", B)),
        3,
        (b"v",),
        {"start_duplicate"},
    ),
    "late": (
        _log(entry(0, 8, b"v", B), no_action(0, LOCALITY + b"\3", B)),
        0,
        (b"v",),
        {"start_late"},
    ),
    "H-CRTM late": (
        _log(entry(0, 8, b"v", B), entry(0, HCRTM, b"HCRTM", B)),
        0,
        (b"v", b"HCRTM"),
        {"start_late"},
    ),
    "other PCR": (_log(no_action(5, LOCALITY + b"\3", B), entry(0, 8, b"v", B)), 0, (b"v",), {"start_pcr"}),
    "value 1": (_log(no_action(0, LOCALITY + b"\1", B), entry(0, 8, b"v", B)), 0, (b"v",), {"start_value"}),
    "size 18": (_log(no_action(0, LOCALITY + b"\3\0", B), entry(0, 8, b"v", B)), 0, (b"v",), {"start_value"}),
}


@pytest.mark.parametrize(("log", "start", "data", "notes"), START_CASES.values(), ids=START_CASES)
def test_how_pcr_0_starts(log, start, data, notes):
    result = replay([log], ["sha256"])
    assert result.logs["fault"][0] == 0
    assert result.values["sha256"][0, 0].tobytes() == _pcr0(start, *data)
    assert {name for name, bit in _native.NOTES.items() if result.logs["notes"][0] & bit} == notes


def test_a_log_whose_first_event_is_a_locality():
    """Some logs in the SHA-1 form begin with StartupLocality instead of a Spec ID event (SPEC 2.1)."""

    def legacy(pcr, kind, digest, data):
        return struct.pack("<II20sI", pcr, kind, digest, len(data)) + data

    digest = hash_of("sha1", b"v")
    log = legacy(0, 3, bytes(20), LOCALITY + b"\3") + legacy(0, 8, digest, b"v")
    values = EventLog.parse(log).replay()
    assert values["sha1"][0].tobytes() == hash_of("sha1", bytes(19) + b"\3" + digest)


def test_an_event_without_a_digest_makes_its_bank_unusable():
    both, only = ["sha1", "sha256"], {"sha256": hash_of("sha256", b"x")}
    result = replay([small_log(both), small_log(both, extra=entry(8, 0xD, b"x", both, only))])
    assert list(result.has_bank("sha1")) == [True, False]
    assert list(result.has_bank("sha256")) == [True, True]
    assert not result.has_bank("sm3_256").any()


@pytest.mark.parametrize("layout", ["binary", "large_binary", "binary_view", "dictionary", "chunked", "sliced"])
def test_every_arrow_layout_gives_the_same(layout):
    logs = [small_log(["sha256"]), b"", small_log(["sha256"], command_line=b"debug"), small_log(["sha256"])]
    arrays = {
        "binary": lambda: pa.array(logs, pa.binary()),
        "large_binary": lambda: pa.array(logs, pa.large_binary()),
        "binary_view": lambda: pa.array(logs, pa.binary_view()),
        "dictionary": lambda: pa.array(logs, pa.binary()).dictionary_encode(),
        "chunked": lambda: pa.chunked_array([logs[:1], logs[1:]], pa.binary()),
        "sliced": lambda: pa.array([b"before", *logs, b"after"], pa.binary()).slice(1, len(logs)),
    }
    expected = replay(logs, ["sha256"])
    result = replay(arrays[layout](), ["sha256"])
    assert (result.values["sha256"] == expected.values["sha256"]).all()
    assert (result.logs == expected.logs).all()


def test_nulls_have_no_bytes_even_where_arrow_keeps_some():
    data = pa.py_buffer(b"secretlog")
    offsets = pa.py_buffer(np.array([0, 6, 9], np.int32).tobytes())
    validity = pa.py_buffer(b"\x02")
    batch = Ragged.from_arrow(pa.Array.from_buffers(pa.binary(), 2, [validity, offsets, data]))
    assert list(batch.present) == [False, True]
    assert (batch[0], batch[1]) == (b"", b"log")


def test_no_logs_at_all():
    result = replay([])
    assert len(result.logs) == 0
    assert all(values.shape == (0, 24, BY_NAME[bank].size) for bank, values in result.values.items())


def test_many_logs_cross_tiles():
    """More logs than a tile of 128 holds, and one of more bytes than a tile's megabyte."""
    logs = [small_log(["sha256"], command_line=str(i).encode()) for i in range(300)]
    logs.insert(150, small_log(["sha256"], extra=entry(6, 0xC, b"x" * (3 << 20), ["sha256"])))
    result = replay(logs, ["sha256"])
    for i, log in enumerate(logs):
        assert (result.values["sha256"][i] == EventLog.parse(log).replay()["sha256"]).all()
    assert len({value.tobytes() for value in result.values["sha256"][:, 8]}) == 301
    assert result.values["sha256"][150, 8].tobytes() == replay_by_hand(logs[150])["sha256"][8]


def test_wrong_arguments_are_refused():
    blob, offsets = np.zeros(10, np.uint8), np.array([0, 10], np.int64)
    with pytest.raises(UsageError):
        replay([b""], ["md5"])
    with pytest.raises(UsageError, match="no variant 'mmx'"):
        replay([b""], ["sha256"], isa="mmx")
    for bad in ([0, 11], [5, 3], [-1, 3]):
        with pytest.raises(UsageError):
            _native.scan(blob, np.array(bad, np.int64))
    with pytest.raises(UsageError):
        _native.scan(blob.astype(np.float32), offsets)
    with pytest.raises(UsageError):
        _native.scan(np.zeros(20, np.uint8)[::2], offsets)
    with pytest.raises(UsageError):
        _native.scan(blob, offsets.astype(np.int32))
    values = np.zeros((1, 32), np.uint8)
    for digests, at in ((np.zeros((1, 20), np.uint8), [0, 1]), (np.zeros((1, 32), np.uint8), [0, 2])):
        with pytest.raises(UsageError):
            _native.extend(1, digests, np.array(at, np.uint64), values)


def test_a_faulty_log_has_no_values():
    log = small_log(["sha256"])
    with pytest.raises(EvidenceError) as caught:
        EventLog.parse(log[:-1])
    assert caught.value.code == "log.truncated"
    assert caught.value.event == len(EventLog.parse(log)) - 1
    assert not replay([log[:-1]]).values["sha256"].any()
    with pytest.raises(EvidenceError):
        EventLog.read(log[:-1]).replay()


def test_truncation_at_every_byte():
    """Inside an entry it is log.truncated; between two entries the log reads, with fewer events."""
    log = small_log(["sha256", "sm3_256"])
    whole = EventLog.parse(log)
    ends = {int(at) for at in whole.columns["at"]} | {len(log)}
    cuts = [log[:size] for size in range(1, len(log) + 1)]
    faults = replay(cuts).logs
    for size, row in enumerate(faults, 1):
        code = _native.fault_code(int(row["fault"]))
        assert code == (None if size in ends else "log.truncated"), size
        if code:
            assert row["fault_at"] == max((end for end in ends if end < size), default=0)


def test_equal_logs_are_replayed_once_and_have_equal_rows():
    """Whole batches of repeats, with broken and cut ones among them: each row is what it is alone."""
    kinds = [small_log(["sha256"]), small_log(["sha1", "sha256"], command_line=b"x"), b"", b"text" * 20]
    kinds += [kinds[0][:-1], kinds[0] + b"\xff" * 99]
    logs = [kinds[i * 7 % len(kinds)] for i in range(5000)]
    result = replay(logs)
    alone = {kind: replay([kind]) for kind in kinds}
    for row, log in enumerate(logs):
        assert result.logs[row] == alone[log].logs[0]
        for bank, values in result.values.items():
            assert (values[row] == alone[log].values[bank][0]).all()


def test_scratch_is_enough_where_blocks_of_logs_cut_tiles_short():
    """Equal logs are looked for in blocks of 4,096, at whose ends a tile ends too; each call here begins afresh."""
    sizes = [600_000, 600_000, *([200] * 4094), 300_000, 700_000]
    batch = Ragged.of([bytes([1 + i % 7]) * size for i, size in enumerate(sizes)])
    core._local.__dict__.clear()
    logs, _ = _native.replay(batch.blob, batch.offsets, 2)
    assert len(logs) == len(sizes)

"""IMA lists: what they replay to, and which part of them a PCR proves (SPEC 7.4 to 7.6, 10.4)."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ALGORITHMS, hash_of, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from ima_by_hand import (
    a_digest,
    a_list,
    aggregate,
    columns_of,
    data_of,
    entry,
    legacy,
    replay,
    row,
    walk,
)

from pyverify import _native
from pyverify.algorithms import bank as bank_of
from pyverify.errors import UsageError
from pyverify.evidence.ima import Flag
from pyverify.evidence.ima_list import ImaList
from pyverify.evidence.ima_relabelled import relabelled
from pyverify.evidence.ima_replay import BootAggregate, ImaReplay, Mode, boot_aggregate

# Replay.


@pytest.mark.parametrize(
    ("bank", "mode"),
    [("sha1", Mode.OWN), *((b, m) for b in ALGORITHMS if b != "sha1" for m in (Mode.OWN, Mode.PADDED))],
)
def test_replay_is_as_by_hand(bank, mode):
    lists = [a_list([f"/{i}/{k}" for k in range(i)]) for i in (0, 1, 5, 40)]
    lists.append(aggregate() + entry(data_of("/v", bytes(32)), shown=bytes(20)) + legacy(b"/l", bytes(20)))
    replayed = ImaReplay(columns_of(*lists))
    values = replayed.replay(bank, mode=mode)
    expected = [replay(data, bank, padded=mode == Mode.PADDED) for data in lists]
    assert [value.tobytes() for value in values] == expected
    found = replayed.find_prefix({bank: np.ascontiguousarray(values)})
    assert found.proven.tolist() == replayed.columns.rows["n_entries"].tolist()
    assert set(found.modes[bank].tolist()) == {mode}


def test_every_prefix_is_found_by_its_values_on_every_kernel():
    data = a_list([f"/{k}" for k in range(30)])
    values = [replay(data, "sha256", entries=k) for k in range(32)]
    columns = columns_of(*[data] * 32)
    targets = np.concatenate([row(value) for value in values])
    for isa in (None, *_native.variants(1)):
        found = ImaReplay(columns, isa=isa).find_prefix({"sha256": targets})
        assert found.proven.tolist() == list(range(32)), isa


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_seek_is_extend_that_stops(data):
    bank = data.draw(st.sampled_from(list(ALGORITHMS)))
    isa = data.draw(st.sampled_from([None, *_native.variants(bank_of(bank).index)]))
    lengths = data.draw(st.lists(st.integers(0, 40), max_size=40))
    size, index = ALGORITHMS[bank][1], bank_of(bank).index
    random = np.random.default_rng(sum(lengths))
    at = np.cumsum([0, *lengths]).astype(np.uint64)
    digests = random.integers(0, 256, (int(at[-1]), size), np.uint8)
    stops = [data.draw(st.integers(-1, n)) for n in lengths]
    starts = random.integers(0, 256, (len(lengths), size), np.uint8)
    targets = random.integers(0, 256, (len(lengths), size), np.uint8)
    ends = starts.copy()
    for c, (n, stop) in enumerate(zip(lengths, stops, strict=True)):
        value = starts[c].tobytes()
        for k in range(n if stop < 0 else stop):
            value = hash_of(bank, value + digests[int(at[c]) + k].tobytes())
        ends[c] = np.frombuffer(value, np.uint8)
        if stop >= 0:
            targets[c] = ends[c]
    values = starts.copy()
    found = _native.seek(index, digests, at, values, targets, isa)
    assert found.tolist() == [_native.NO_PREFIX if stop < 0 else stop for stop in stops]
    assert (values == ends).all()


@pytest.mark.parametrize("bank", ALGORITHMS)
def test_a_trace_has_the_value_of_every_prefix(bank):
    data = a_list([f"/{k}" for k in range(5)])
    columns = columns_of(b"", data)
    expected = [replay(data, bank, entries=k) for k in range(7)]
    for isa in (None, *_native.variants(bank_of(bank).index)):
        assert [value.tobytes() for value in ImaReplay(columns, isa=isa).trace(1, bank)] == expected, isa
    assert ImaReplay(columns).trace(0, bank).tolist() == [[0] * ALGORITHMS[bank][1]]
    with pytest.raises(UsageError):
        ImaReplay(columns).trace(2, bank)


def test_attack_85_the_digest_that_is_shown_is_never_trusted():
    honest = a_list(["/a", "/b"])
    shown = entry(data_of("/b", a_digest(1)))[4:24]
    forged = aggregate() + entry(data_of("/a", a_digest(0))) + entry(data_of("/b", a_digest(66)), shown=shown)
    columns = columns_of(forged)
    replayed = ImaReplay(columns)
    assert replayed.mismatches().tolist() == [False, False, True]
    assert replayed.find_prefix({"sha256": row(replay(honest, "sha256"))}).proven.tolist() == [-1]
    assert ImaList.parse(forged)[2].data_verified is False


def test_attack_86_an_entry_that_claims_to_be_a_violation_does_not_replay():
    honest = a_list(["/a", "/evil"])
    fake = aggregate() + entry(data_of("/a", a_digest(0))) + entry(data_of("/evil", a_digest(1)), shown=bytes(20))
    columns = columns_of(fake)
    assert columns.entries["flags"][2] & Flag.VIOLATION
    assert ImaReplay(columns).find_prefix({"sha256": row(replay(honest, "sha256"))}).proven.tolist() == [-1]
    assert ImaList.parse(fake)[2].data_verified is None


def test_attack_87_relabelled_entries_are_told_by_digest_and_name():
    command_line = b"quiet"
    digest = hash_of("sha256", command_line)
    signature = b"\3\2\4" + bytes(20)
    honest = [
        entry(data_of("kexec-cmdline", digest, command_line), "ima-buf"),
        entry(data_of("/usr/bin/dd", a_digest(1), signature), "ima-sig"),
        entry(data_of("memfd:x", a_digest(1), b""), "ima-sig"),
    ]
    forged = [
        entry(data_of("kexec-cmdline", digest, command_line), "ima-sig"),
        entry(data_of("label", digest, command_line), "ima-sig"),
        entry(data_of("/usr/bin/dd", a_digest(1), signature), "ima-buf"),
        entry(data_of("label", a_digest(1), signature), "d-ng|n-ng|buf"),
        entry(data_of("boot_aggregate", digest, command_line), "ima-buf"),
        entry(data_of(".ima", a_digest(1))),
    ]
    assert relabelled(columns_of(b"".join(honest))).tolist() == [False] * 3
    assert relabelled(columns_of(b"".join(forged))).tolist() == [True] * 6
    known = shared("corpus", "files", "keylime__keylime", "test_ima_dm.ima.txt")
    columns = columns_of(known.read_bytes(), format="ascii")
    assert len(columns.entries) == 15
    assert not relabelled(columns).any()


def test_attack_88_an_entry_moved_to_another_pcr_is_missed_in_its_own():
    honest = a_list(["/a", "/b"])
    moved = aggregate() + entry(data_of("/a", a_digest(0)), pcr=11) + entry(data_of("/b", a_digest(1)))
    columns = columns_of(moved)
    assert columns.rows["pcrs"][0] == 1 << 10 | 1 << 11
    replayed = ImaReplay(columns)
    assert replayed.find_prefix({"sha256": row(replay(honest, "sha256"))}).proven.tolist() == [-1]
    own = replayed.find_prefix({"sha256": row(replay(moved, "sha256"))})
    assert own.proven.tolist() == [2]
    assert own.entries(columns).tolist() == [True, False, True]
    other = replayed.find_prefix({"sha256": row(replay(moved, "sha256", pcr=11))}, pcr=11)
    assert other.entries(columns).tolist() == [False, True, False]


@pytest.mark.parametrize("kept", [slice(1, None), slice(0, 1), slice(0, 2)], ids=["head", "most", "tail"])
def test_attacks_89_and_90_a_list_that_was_cut_does_not_lead_to_the_value(kept):
    entries = [aggregate(), *(entry(data_of(f"/{k}", a_digest(k))) for k in range(2))]
    value = row(replay(b"".join(entries), "sha256"))
    columns = columns_of(b"".join(entries[kept]))
    assert ImaReplay(columns).find_prefix({"sha256": value}).proven.tolist() == [-1]


def test_attack_91_a_prefix_of_nothing_is_that_of_a_pcr_that_nothing_extended():
    columns = columns_of(a_list(["/a"]), b"")
    assert ImaReplay(columns).find_prefix({"sha256": np.zeros((2, 32), np.uint8)}).proven.tolist() == [0, 0]
    ones = np.full((2, 32), 0xFF, np.uint8)
    assert ImaReplay(columns).find_prefix({"sha256": ones}).proven.tolist() == [-1, -1]


def test_attack_92_what_follows_the_prefix_is_not_proven():
    proven = a_list(["/a"])
    columns = columns_of(proven + entry(data_of("/benign", a_digest(9))))
    found = ImaReplay(columns).find_prefix({bank: row(replay(proven, bank)) for bank in ("sha1", "sha256")})
    assert found.entries(columns).tolist() == [True, True, False]


def test_every_given_bank_must_agree_on_the_prefix():
    data = a_list(["/a", "/b", "/c"])
    short = {"sha1": row(replay(data, "sha1", entries=2)), "sha256": row(replay(data, "sha256"))}
    columns = columns_of(data)
    assert ImaReplay(columns).find_prefix(short).proven.tolist() == [-1]
    only = {"sha1": np.zeros(1, np.bool_), "sha256": np.ones(1, np.bool_)}
    assert ImaReplay(columns).find_prefix(short, given=only).proven.tolist() == [4]
    none = {"sha1": np.zeros(1, np.bool_), "sha256": np.zeros(1, np.bool_)}
    assert ImaReplay(columns).find_prefix(short, given=none).proven.tolist() == [-1]
    with pytest.raises(UsageError, match="at least one bank"):
        ImaReplay(columns).find_prefix({})


def test_attack_96_digests_of_a_wrong_length_or_a_weak_or_unknown_algorithm_are_flagged():
    lists = [
        entry(data_of("/a", a_digest(1)[:20])),
        entry(data_of("/a", a_digest(1, "sha1"), algorithm="sha1")),
        entry(data_of("/a", a_digest(1)[:16], algorithm="md5")),
        entry(data_of("/a", a_digest(1), algorithm="sm3_512")),
        entry(data_of("/a", a_digest(1), algorithm="sm3")),
    ]
    flags = [Flag(value) for value in columns_of(*lists).entries["flags"].tolist()]
    assert flags == [Flag.DIGEST_LENGTH, Flag.WEAK_HASH, Flag.WEAK_HASH, Flag.UNKNOWN_ALGORITHM, Flag(0)]


def test_attack_97_one_mode_explains_the_whole_list_and_is_told():
    data = a_list(["/a", "/b"])
    replayed = ImaReplay(columns_of(data))
    padded = replayed.find_prefix({"sha256": row(replay(data, "sha256", padded=True))})
    assert padded.proven.tolist() == [3]
    assert padded.modes["sha256"].tolist() == [Mode.PADDED]
    mixed = bytes(32)
    for number, (*_, message) in enumerate(walk(data)):
        digest = hash_of("sha1", message).ljust(32, b"\0") if number == 2 else hash_of("sha256", message)
        mixed = hash_of("sha256", mixed + digest)
    assert replayed.find_prefix({"sha256": row(mixed)}).proven.tolist() == [-1]


def test_equal_entries_are_hashed_once_across_lists_however_far_apart():
    lists = [a_list([f"/{k}" for k in range(3000)] + [f"/own{i}"]) for i in range(3)]
    columns = columns_of(*lists)
    shared_, alone = ImaReplay(columns), ImaReplay(columns, share=False)
    assert len(shared_.digests("sha256")) == 3001 + 3
    assert len(alone.digests("sha256")) == len(columns.entries) == 3 * 3002
    assert (shared_.replay("sha256") == alone.replay("sha256")).all()
    assert (shared_.digests("sha1")[shared_.message_of] == alone.digests("sha1")[alone.message_of]).all()


# boot_aggregate.


def pcrs(seed: int):
    random = np.random.default_rng(seed)
    return {bank: random.integers(0, 256, (1, 24, size), np.uint8) for bank, (_, size) in ALGORITHMS.items()}


@pytest.mark.parametrize("bank", ALGORITHMS)
@pytest.mark.parametrize(("last", "expected"), [(8, BootAggregate.PCRS_0_7), (10, BootAggregate.PCRS_0_9)])
def test_boot_aggregate_is_over_the_pcrs_of_its_bank(bank, last, expected):
    values = pcrs(1)
    name = {"sm3_256": "sm3"}.get(bank, bank)
    columns = columns_of(aggregate(hash_of(bank, values[bank][0, :last].tobytes()), name))
    expected = BootAggregate.MISMATCH if bank == "sha1" and last == 10 else expected
    assert boot_aggregate(columns, values).tolist() == [expected]
    assert boot_aggregate(columns, pcrs(2)).tolist() == [BootAggregate.MISMATCH]
    without = {other: rows for other, rows in values.items() if other != bank}
    assert boot_aggregate(columns, without).tolist() == [BootAggregate.NO_BANK]
    nothing = {other: np.zeros(1, np.bool_) for other in values}
    assert boot_aggregate(columns, values, given=nothing).tolist() == [BootAggregate.NO_BANK]


def test_attack_95_boot_aggregate_missing_late_or_unfit():
    other = entry(data_of("/a", a_digest(1)))
    violation = entry(data_of("boot_aggregate", bytes(32)), shown=bytes(20))
    lists = [b"", other, other + aggregate(), aggregate(), aggregate(bytes(20)), violation]
    values = {bank: np.repeat(rows, len(lists), axis=0) for bank, rows in pcrs(1).items()}
    assert boot_aggregate(columns_of(*lists), values).tolist() == [
        BootAggregate.ABSENT,
        BootAggregate.ABSENT,
        BootAggregate.ABSENT,
        BootAggregate.ZEROS,
        BootAggregate.MISMATCH,
        BootAggregate.MISMATCH,
    ]
    assert boot_aggregate(columns_of(aggregate()), {}).tolist() == [BootAggregate.ZEROS]
    with pytest.raises(UsageError, match="shape"):
        boot_aggregate(columns_of(*lists), pcrs(1))


def test_attack_98_a_kexec_shows():
    columns = columns_of(aggregate() + aggregate(b"\1" * 32), a_list(["/a"]))
    assert (columns.rows["notes"] & Flag.KEXEC != 0).tolist() == [True, False]

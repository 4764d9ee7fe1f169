"""Event logs: what the core reads against what the reader beside this reads."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import pairwise

from conftest import ALGORITHMS, DATA, SHARED, entry, no_action, small_log, spec_id

from fuzz.mutators import MOVES, move
from fuzz.reader import FaultError, Log, Walk, read_log, replay
from fuzz.target import Target
from pyverify.algorithms import BANKS
from pyverify.evidence.eventlog import EventLog
from pyverify.replay import replay as core_replay

ALL = list(ALGORITHMS)


def check_log(data: bytes) -> None:
    ours, theirs = EventLog.read(data), read_log(data)
    assert (ours.fault is not None) == theirs.fault, (ours.fault, theirs)
    for event, other in zip(ours, theirs.entries, strict=True):
        assert (event.pcr, event.type_hint, event.data) == (other.pcr, other.type, other.data)
        assert event.digests == {bank: other.digests[bank] for bank in event.digests}
        assert set(event.digests) == set(other.digests)
    if not theirs.fault and data:
        assert set(ours.banks) == set(theirs.banks)
        assert int(ours.row["padding"]) == theirs.padding
    _check_values(data, theirs)


def _check_values(data: bytes, theirs: Log) -> None:
    replayed = core_replay([data])
    for bank in BANKS:
        values = [value.tobytes() for value in replayed.values[bank.name][0]]
        if theirs.fault or not data or bank.name not in theirs.banks:
            assert not any(map(any, values))
            continue
        assert values == replay(theirs, bank.name), bank.name
        complete = all(bank.name in one.digests for one in theirs.entries[1:] if one.type != 3)
        assert bool(replayed.has_bank(bank.name)[0]) == complete


def log_seeds() -> Iterator[bytes]:
    yield small_log(["sha256"])
    yield small_log(["sha1", "sha256"], extra=b"\xff" * 40)
    yield small_log(ALL) + bytes(40)
    yield small_log(["sha1", "sha256"], extra=entry(9, 13, b"x\0", ["sha1"]))
    yield spec_id(["sha256"]) + no_action(0, b"StartupLocality\0\3", ["sha256"]) + entry(0, 8, b"v", ["sha256"])
    yield spec_id(["sha384"]) + entry(0, 0x80000010, b"HCRTM", ["sha384"]) + entry(0, 8, b"v", ["sha384"])
    yield b"".join(struct.pack("<II20sI", pcr, 4, bytes(20), 4) + bytes(4) for pcr in range(4))
    for pcr in (17, 18):  # a D-RTM launch, and none
        yield spec_id(["sha256"]) + entry(pcr, 0x502, b"launched", ["sha256"])
    yield (DATA / "kat_log.bin").read_bytes()
    yield from (path.read_bytes() for path in sorted((DATA / "logs").glob("*.bin")))
    yield from (path.read_bytes() for path in sorted(SHARED.glob("recordings/*/binary_bios_measurements")))


def _cuts(data: bytes) -> list[int]:
    """Where the entries of a log begin and end, as far as they can be read."""
    log, walk, cuts = read_log(data), Walk(data), [0]
    for one in log.entries:
        if log.algorithms is None or not cuts[1:]:
            walk.at += 32 + len(one.data)
        else:
            walk.at += 8
            for _ in range(walk.number()):
                walk.at += log.algorithms[walk.number("<H")]
            walk.at += 4 + len(one.data)
        cuts.append(walk.at)
    return cuts


def mutate_entries(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
    """Entries taken out, doubled and moved, one changed alone; half of the time libFuzzer's mutation."""
    try:
        cuts = _cuts(data)
    except (FaultError, KeyError, struct.error):
        cuts = [0]
    if seed % 2 or len(cuts) < 3:
        return own(data, most)
    pieces = [data[a:b] for a, b in pairwise(cuts)] + [data[cuts[-1] :]]
    one, other = seed // 8 % (len(cuts) - 1), seed // 64 % (len(cuts) - 1)
    how = seed // 2 % (MOVES + 1)
    if how < MOVES:
        move(pieces, how, one, other)
    else:
        pieces[one] = own(pieces[one], len(pieces[one]) + 32)
    return b"".join(pieces)[:most]


TARGETS = {"log_differential": Target(check_log, log_seeds, 16384, mutate_entries)}

"""IMA lists: what the core reads, hashes and replays against what the reader beside this does."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from conftest import ALGORITHMS, DATA, hash_of

from fuzz.mutators import MOVES, move
from fuzz.reader import Measured, read_ima, trace_ima
from fuzz.target import Target
from pyverify import _native
from pyverify.evidence import ima
from pyverify.evidence.columns import Ragged
from pyverify.evidence.ima_replay import ImaReplay, Mode

BANKS = list(ALGORITHMS)
FORMATS = ("binary", "binary_sha256", "binary_sha384", "binary_sha512", "binary_sm3-256", "ascii")
"""By the first byte of an input: whose list it is, or that it is text."""
REPLAYED = ("sha1", "sha256")


def check_ima(data: bytes) -> None:
    """Framing, digests, violations, and the values that PCRs go through, each time the same."""
    if not data:
        return
    which, data = data[0] % len(FORMATS), data[1:]
    columns = ima.scan(Ragged.of([data]), [FORMATS[which]])
    if FORMATS[which] == "ascii":  # from here on what it was translated to
        which, data = 0, columns.lists.to_list()[0]
    fault = _native.ima_fault_code(int(columns.rows["fault"][0]))
    entries, broken = read_ima(data, ALGORITHMS[BANKS[which]][1])
    assert not (broken and fault is None), "the framing breaks and it is not told"
    first, last = columns.first_last(0)
    assert first == 0 and last <= len(entries) and (fault is not None or last == len(entries))
    entries = entries[:last]
    for number, other in enumerate(entries):
        row = columns.entries[number]
        assert (int(row["pcr"]), columns.piece(number, "name")) == (other.pcr, other.template)
        assert columns.piece(number, "data") == other.data
        assert data[int(row["digest_at"]) :][: len(other.shown)] == other.shown
        assert bool(int(row["flags"]) & ima.Flag.VIOLATION) == other.is_violation
    assert int(columns.rows["n_violations"][0]) == sum(one.is_violation for one in entries)
    replay = ImaReplay(columns)
    _check_digests(replay, entries, BANKS[which])
    for bank in REPLAYED:
        _check_values(replay, entries, bank, is_whole=fault is None)


def _check_digests(replay: ImaReplay, entries: list[Measured], bank: str) -> None:
    for number, other in enumerate(entries):
        for name in {*REPLAYED, bank}:
            assert replay.template_digest(number, name) == hash_of(name, other.hashed), name
    assert replay.mismatches().tolist() == [other.shows_another(bank) for other in entries]


def _check_values(replay: ImaReplay, entries: list[Measured], bank: str, *, is_whole: bool) -> None:
    """The values after each entry by each way that kernels extend a bank, and which of them are found again."""
    size = ALGORITHMS[bank][1]
    for pcr in {ima.PCR, *(one.pcr for one in entries[:2])}:
        traces = {
            Mode.OWN: trace_ima(entries, pcr, bank),
            Mode.PADDED: trace_ima(entries, pcr, bank, digests="sha1", violation=20),
            Mode.PADDED_DIGESTS: trace_ima(entries, pcr, bank, digests="sha1"),
        }
        for mode, values in traces.items():
            found = [value.tobytes() for value in replay.trace(0, bank, pcr=pcr, mode=mode)]
            assert found == (values if is_whole else values[:1]), (bank, mode)
            assert replay.replay(bank, pcr=pcr, mode=mode)[0].tobytes() == (values[-1] if is_whole else bytes(size))
        for mode, at in ((Mode.OWN, -1), (Mode.OWN, len(entries) // 2), (Mode.PADDED, -1)):
            value = traces[mode][min(at, len(traces[mode]) - 1)]
            target = np.frombuffer(value, np.uint8).reshape(1, size)
            (proven,) = replay.find_prefix({bank: target}, pcr=pcr).proven.tolist()
            known = [values.index(value) for values in traces.values() if value in values]
            assert proven == (known[0] if is_whole else -1), (bank, mode, at)


def ima_seeds() -> Iterator[bytes]:
    from ima_by_hand import a_list, data_of, entry, legacy

    violation = entry(data_of("/etc/passwd", bytes(32)), shown=bytes(20))
    yield b"\0" + a_list(["/bin/sh", "/etc/passwd"])
    yield b"\0" + a_list(["/bin/sh"]) + violation + violation
    yield b"\0" + a_list([]) + entry(data_of("/bin/a", bytes(32)), pcr=11) + legacy(b"/bin/b", bytes(range(20)))
    yield b"\0" + legacy(b"/bin/sh", bytes(range(20)))
    for path in sorted((DATA / "ima").iterdir()):
        if (kind := path.name.split(".")[-1]) in FORMATS:
            yield bytes([FORMATS.index(kind)]) + path.read_bytes()[:6000]


def mutate_list(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
    """Entries taken out, doubled, moved, made violations; their data, PCR or digest changed with the framing kept, and
    the digest mostly made right again."""
    which = data[0] % len(FORMATS) if data else len(BANKS)
    if seed % 4 == 0 or which >= len(BANKS):
        return own(data, most)
    bank, choose = BANKS[which], random.Random(seed)
    entries, _ = read_ima(data[1:], ALGORITHMS[bank][1])
    if not entries:
        return own(data, most)
    cuts = [0, *(1 + one.stop for one in entries)]
    pieces = [data[a:b] for a, b in pairwise([1, *cuts[1:]])]
    one, other = choose.randrange(len(pieces)), choose.randrange(len(pieces))
    how = choose.randrange(2 * MOVES)
    if how < MOVES:
        move(pieces, how, one, other)
    else:
        pieces[one] = _changed(entries[one], bank, choose, own)
    return (data[:1] + b"".join(pieces) + data[cuts[-1] :])[:most]


def _changed(entry: Measured, bank: str, choose: random.Random, own: Callable[[bytes, int], bytes]) -> bytes:
    pcr, shown, template, data = entry.pcr, entry.shown, entry.template, entry.data
    match choose.randrange(5):
        case 0:
            shown = choose.choice([bytes(len(shown)), b"\xff" * len(shown), own(shown, len(shown)).ljust(20, b"\1")])
        case 1:
            pcr = choose.randrange(25)
        case 2:
            template = choose.choice(TEMPLATES)
        case _:
            data = _with_one_field(data, choose, own) if template != b"ima" else own(data, len(data) + 8)
    if data != entry.data and choose.randrange(4):
        padded = bank != "sha1" and choose.randrange(2)
        shown = hash_of("sha1" if padded else bank, data).ljust(len(entry.shown), b"\0")
    size = b"" if template == b"ima" else struct.pack("<I", len(data))
    head = struct.pack("<I", pcr) + shown[: len(entry.shown)].ljust(len(entry.shown), b"\1")
    return head + struct.pack("<I", len(template)) + template + size + data


TEMPLATES = (
    *(b"ima", b"ima-ng", b"ima-sig", b"ima-ngv2", b"ima-sigv2", b"ima-buf", b"ima-modsig", b"evm-sig"),
    *(b"d-ng|n-ng", b"d|n", b"n-ng|d-ng|sig", b"d-ng|n-ng|iuid|igid|imode"),
)
PREFIXES = (b"sha1:\0", b"sha256:\0", b"sm3:\0", b":\0", b"verity:sha256:\0", b"ima:sha1:\0")


def _with_one_field(data: bytes, choose: random.Random, own: Callable[[bytes, int], bytes]) -> bytes:
    """One field of template data changed, its size with it."""
    fields, at = [], 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        fields.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    if fields:
        which = choose.randrange(len(fields))
        digest = choose.choice(PREFIXES) + bytes(choose.choice([20, 32]))
        fields[which] = choose.choice([own(fields[which], len(fields[which]) + 8), digest, b"boot_aggregate\0"])
    return b"".join(struct.pack("<I", len(field)) + field for field in fields)


TARGETS = {"ima_differential": Target(check_ima, ima_seeds, 8192, mutate_list)}

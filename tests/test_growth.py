"""Hostile shapes cost what their size costs: four times the input is some four times the work at most, and a hostile
batch needs no more than three times the memory of an honest one of its size (SPEC section 10.1 rows 13, 24, 27)."""

from __future__ import annotations

import gc
import json
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cel_writers import cel_json as write_json
from cel_writers import cel_tlv as write_tlv
from conftest import entry, hash_of, small_log, spec_id
from ima_by_hand import a_digest, columns_of, data_of
from ima_by_hand import entry as ima_entry
from source_archives import make_tar, read
from varied_boots import BOOTING, CALLING, FIRST_TRY, HEAD, RETURNED, RETURNING, known

from pyverify import EventLog, Evidence, Policy, verify
from pyverify.baseline.diff import diff
from pyverify.errors import EvidenceError
from pyverify.evidence import cel_json, cel_tlv
from pyverify.evidence.bundle import evidence_batch

BANK = ["sha256"]
TIMES = 4
MOST = 10
"""Times the work that TIMES times the input may take: a quadratic step would be 16, noise is far below 10."""


def _cost(action: Callable[[], object]) -> float:
    """CPU seconds: the least of some runs, which is the one that was disturbed least."""
    best = float("inf")
    for _ in range(4):
        gc.collect()
        start = time.process_time()
        action()
        best = min(best, time.process_time() - start)
    return best


def _tiny_events(n: int, pcr: int = 14) -> bytes:
    """An honest boot and n events of no data and one digest: 50 bytes each."""
    digest = hash_of("sha256", b"")
    one = struct.pack("<IIIH", pcr, 0xD, 1, 0xB) + digest + bytes(4)
    return small_log(BANK, extra=one * n)


def _parse_and_replay(n: int, _: Path):
    log = _tiny_events(40 * n)
    return lambda: EventLog.parse(log).replay()


def _verify_tiny_events(n: int, _: Path):
    references = known(small_log(BANK))
    policy, log = Policy.preset("log-only"), _tiny_events(n)
    return lambda: verify(Evidence("m", "b", event_log=log), references=references, policy=policy)


def _verify_distinct_events(n: int, _: Path):
    references = known(small_log(BANK))
    extra = b"".join(entry(14, 0xD, struct.pack("<I", i), BANK) for i in range(n))
    policy, log = Policy.preset("log-only"), small_log(BANK, extra=extra)
    return lambda: verify(Evidence("m", "b", event_log=log), references=references, policy=policy)


def _diff_of(shape: str):
    def make(n: int, _: Path):
        many = [struct.pack("<Q", i) for i in range(n)]
        expected, actual = {
            "equal digests": ([b"a"] * n, [b"a"] * (n // 2)),
            "nothing alike": (many, [digest + b"x" for digest in many]),
            "reversed": (many, many[::-1]),
            "two digests in turn": ([b"a", b"b"] * n, [b"b", b"a", b"a"] * n),
            "shuffled": (many, [many[i * 7919 % n] for i in range(n)]),
        }[shape]
        return lambda: diff(expected, actual)

    return make


def _attempts(n: int, _: Path):
    """A boot that is said to have been tried again and again, and at the end fails to be a variation."""
    events = [*HEAD, *([*RETURNED, BOOTING] * n), RETURNING, CALLING, *FIRST_TRY[2:]]
    references = known(small_log(BANK))
    policy = Policy.preset("log-only")
    log = spec_id(["sha256", "sm3_256"]) + b"".join(events)
    return lambda: verify(Evidence("m", "b", event_log=log), references=references, policy=policy)


def _ima(shape: str):
    def make(n: int, _: Path):
        same = ima_entry(data_of("/x", a_digest(1)))
        listed = (
            same * n
            if shape == "equal entries"
            else b"".join(ima_entry(data_of(f"/{i}", a_digest(i))) for i in range(n))
        )
        return lambda: columns_of(listed)

    return make


def _json_records(n: int, _: Path):
    text = write_json([(14, 0xD, {"sha256": bytes(32)}, b"")] * n)
    assert len(cel_json.read_records(text)) == n
    return lambda: cel_json.read_records(text)


def _json_nested(n: int, _: Path):
    text = b"[" * (100 * n)
    return lambda: _refused(cel_json.read_records, text)


def _json_keys(n: int, _: Path):
    text = json.dumps({str(i): {} for i in range(10 * n)}).encode()
    return lambda: _refused(cel_json.read_records, text)


def _tlv_records(n: int, _: Path):
    text = write_tlv([(14, 0xD, {"sha256": bytes(32)}, b"")] * n)
    assert len(cel_tlv.read_records(text)) == n
    return lambda: cel_tlv.read_records(text)


def _refused(reader, data: bytes):
    try:
        return reader(data)
    except EvidenceError as error:
        return error


def _tar_members(n: int, folder: Path):
    path = make_tar(folder / f"{n}.tar", [(f"m/b{i}/other", b"") for i in range(n)])
    return lambda: read(path)


def _zip_members(n: int, folder: Path):
    path = folder / f"{n}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(n):
            archive.writestr(f"m/b{i}/binary_bios_measurements", b"")
    return lambda: read(path)


SHAPES = {
    "tiny events, parsed and replayed": (_parse_and_replay, 1000),
    "tiny equal events, judged": (_verify_tiny_events, 1500),
    "distinct events, judged": (_verify_distinct_events, 1500),
    **{
        f"diff of {shape}": (_diff_of(shape), 3000)
        for shape in ("equal digests", "nothing alike", "reversed", "two digests in turn", "shuffled")
    },
    "boot attempts": (_attempts, 4000),
    "equal IMA entries": (_ima("equal entries"), 40_000),
    "distinct IMA entries": (_ima("distinct entries"), 40_000),
    "records in JSON": (_json_records, 500),
    "JSON nested": (_json_nested, 4000),
    "JSON of many keys": (_json_keys, 3000),
    "records in TLV": (_tlv_records, 500),
    "members of a tar": (_tar_members, 1000),
    "members of a zip": (_zip_members, 1000),
}


@pytest.mark.parametrize("name", SHAPES)
def test_work_grows_with_the_input_and_no_faster(name, tmp_path):
    make, n = SHAPES[name]
    small, large = _cost(make(n, tmp_path)), _cost(make(TIMES * n, tmp_path))
    assert large < MOST * max(small, 0.002), f"{small:.4f} s became {large:.4f} s"


def test_quadratic_work_would_be_seen():
    def make(n: int):
        return lambda: [sum(range(n)) for _ in range(n)]

    assert _cost(make(4 * 800)) > MOST * _cost(make(800))


BATCH_BYTES = 4 << 20


def batch_of(kind: str):
    """A batch of evidence of BATCH_BYTES: logs of boots, of tiny events or of many findings, or IMA lists."""
    digest = hash_of("sha256", b"")
    boots = {
        "honest": small_log(BANK, extra=b"".join(entry(8, 0xD, b"grub_cmd: %d" % i, BANK) for i in range(200))),
        "tiny events": _tiny_events(BATCH_BYTES // 100, pcr=4),
        "every event is wrong": small_log(
            BANK, extra=b"".join(entry(7, 4, b"%d" % i, BANK, {"sha256": digest}) for i in range(BATCH_BYTES // 200))
        ),
        "cut": small_log(BANK)[:-1],
        "not a log": b"x",
    }
    log = boots[kind]
    return evidence_batch([Evidence(f"m{i}", "b", event_log=log) for i in range(min(4000, BATCH_BYTES // len(log)))])


PEAK = """
import datetime, resource, sys
sys.path[:0] = {path!r}
from test_growth import batch_of, baselines
from pyverify import Policy, verify_batches
at = datetime.datetime(2026, 11, 1, tzinfo=datetime.timezone.utc)
policy = Policy.preset("log-only")
for out in verify_batches([batch_of({kind!r})], references=baselines(), policy=policy, as_of=at):
    assert out.num_rows
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def baselines():
    return known(small_log(BANK))


def _peak(kind: str) -> int:
    """KiB that a process of its own needs at most to judge a batch, with Python and all packages."""
    code = PEAK.format(path=sys.path, kind=kind)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)


def test_a_hostile_batch_needs_at_most_three_times_the_memory_of_an_honest_one():
    honest = _peak("honest")
    peaks = {kind: _peak(kind) for kind in ("tiny events", "every event is wrong", "cut", "not a log")}
    print(honest, peaks)
    assert {kind: peak for kind, peak in peaks.items() if peak > 3 * honest} == {}

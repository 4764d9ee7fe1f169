"""Times in evidence that are none: a row with a reason, whatever is made of an archive, and never the end of a run."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from baselines_by_hand import BANKS, baseline
from conftest import small_log
from test_ledger import NOW

from pyverify import Policy, References, verify_batches
from pyverify.evidence.times import NO_TIME

FIRST, LAST = -62_135_596_800, 253_402_300_799
LOG = small_log(BANKS)
TIMES = [
    pytest.param(unit, time, exists, id=f"{unit}-{time}")
    for unit, per_second in (("s", 1), ("ms", 10**3), ("us", 10**6))
    for time, exists in (
        (FIRST * per_second, True),
        ((LAST + 1) * per_second - 1, True),
        (FIRST * per_second - 1, False),
        ((LAST + 1) * per_second, False),
        (2**63 - 1 if per_second > 1 else 2**52, False),  # Parquet keeps seconds as milliseconds
        (-(2**63) if per_second > 1 else -(2**52), False),
    )
] + [pytest.param("ns", time, True, id=f"ns-{time}") for time in (2**63 - 1, -(2**63))]


def rows_with(unit, time):
    """Two boots, the first of this time."""
    times = pa.array([time, 1_764_000_000], pa.int64()).cast(pa.timestamp(unit, "UTC"))
    logs = pa.array([LOG] * 2, pa.large_binary())
    return pa.record_batch({"machine": ["a", "b"], "boot": ["1", "1"], "collected_at": times, "event_log": logs})


@pytest.mark.parametrize(("unit", "time", "exists"), TIMES)
def test_a_time_that_is_none_is_a_row_with_a_reason(run, tmp_path, monkeypatch, unit, time, exists):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.Table.from_batches([rows_with(unit, time)]), "a.parquet")
    store = ("--store", "s.db", "--policy", "log-only")
    assert run("learn", "a.parquet", "--activate", *store)[0] == 0
    code, out, _ = run("verify", "a.parquet", "--format", "jsonl", *store)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["verdict"] for row in rows] == ["trusted" if exists else "error", "trusted"]
    assert code == (0 if exists else 3)
    assert exists or [finding["hint"] for finding in rows[0]["findings"]] == [NO_TIME]
    assert run("pack", "a.parquet", "-o", "packed", "--partition", "date")[0] == 0
    assert run("unpack", "a.parquet", "-o", "files")[0] == 0
    assert run("hunt", "a.parquet", "--event", "quiet")[0] == 0
    assert run("cohorts", "a.parquet")[0] == 0
    for archive in ("packed", "files"):
        assert run("verify", archive, *store)[0] == code


@pytest.mark.parametrize("time", [2**63 - 1, FIRST * 10**6 - 1])
@pytest.mark.parametrize("fault", [None, {"code": "evidence.duplicate", "hint": "twice"}])
def test_a_batch_with_a_time_that_is_none_is_judged(time, fault):
    batch = rows_with("us", time)
    if fault is not None:
        batch = batch.append_column("fault", pa.array([fault, None]))
    references = References.of([baseline("a"), baseline("b")])
    (verdicts,) = verify_batches([batch], references=references, policy=Policy.preset("log-only"), as_of=NOW)
    rows = verdicts.to_pylist()
    assert [row["verdict"] for row in rows] == ["error", "trusted"]
    assert rows[0]["collected_at"] is None
    assert {finding["hint"] for finding in rows[0]["findings"]} >= {NO_TIME if fault is None else "twice"}

"""What comes back from workers is believed only where it is all that was asked for, and nothing else."""

from __future__ import annotations

import dataclasses
import sys

import pyarrow as pa
import pytest
from attested_machine import NOW
from baselines_by_hand import BANKS, baseline
from conftest import small_log

from pyverify import ArchiveError, Evidence, Policy, References, evidence_batch
from pyverify.cli.main import main
from pyverify.errors import ClusterError
from pyverify.fleet import spark, spark_worker
from pyverify.fleet.job import appraise
from pyverify.fleet.spark_worker import RESULTS, TASKS, Work, packed, unpacked

POLICY = Policy.preset("log-only")
REFERENCES = References.of([baseline("m")])
LOG = small_log(BANKS)


@pytest.fixture
def work(monkeypatch):
    monkeypatch.setattr(spark_worker, "_load", lambda name, references_id: REFERENCES)
    return Work.of("references", REFERENCES.id, POLICY, NOW)


def tasks(*sizes):
    """Tasks of so many rows, and the table of them that goes to the workers."""
    batches = [
        evidence_batch([Evidence("m", f"{t}.{n}", event_log=LOG) for n in range(s)]) for t, s in enumerate(sizes)
    ]
    found = [{"number": n, "rows": len(b), "evidence": packed(b)} for n, b in enumerate(batches)]
    return found, pa.Table.from_pylist(found, TASKS)


def done(work, table):
    return pa.Table.from_batches(work.of_tasks(iter(table.to_batches())), RESULTS)


def boots(results, given, work):
    return [boot for one in spark._of_tasks(results, given, work) for boot in one.verdicts["boot"].to_pylist()]


def test_each_task_comes_to_its_verdicts_in_order(work):
    given, table = tasks(2, 1, 3)
    assert boots(done(work, table), given, work) == ["0.0", "0.1", "1.0", "2.0", "2.1", "2.2"]


def test_what_travels_is_exactly_what_was_appraised():
    (batch,) = pa.Table.from_batches([evidence_batch([Evidence("m", "1", event_log=LOG)])]).to_batches()
    for part in appraise(batch, REFERENCES, POLICY, NOW)[1:]:
        again = unpacked(pa.py_buffer(packed(part)), part.schema)
        assert again.equals(part) and again.schema == part.schema


@pytest.mark.parametrize("before", [0, 1, 3, 4])
def test_an_archive_that_breaks_off_while_work_is_dealt_out_loses_none_before(before):
    """The driver reads tars and footers itself: what it had read when they broke is work too."""

    def breaking():
        yield from range(before)
        raise ArchiveError("cut off")

    dealt = []
    with pytest.raises(ArchiveError, match="cut off"):
        for wave in spark._in_waves(breaking(), 3):
            dealt += wave
    assert dealt == list(range(before))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[:-1], "no verdicts came back on 3 rows of task 2"),
        (lambda rows: rows[1:], "no verdicts came back on 2 rows of task 0"),
        (lambda rows: [rows[0], *rows], "no verdicts came back on 1 rows of task 1"),
        (lambda rows: [*rows, rows[-1]], "task 2 came back again"),
        (lambda rows: [rows[1], rows[0], rows[2]], "no verdicts came back on 2 rows of task 0"),
        (lambda rows: [rows[0], {**rows[1], "verdicts": rows[2]["verdicts"]}, rows[2]], "more verdicts came back"),
        (lambda rows: [{**rows[0], "verdicts": rows[0]["quotes"]}, *rows[1:]], "other columns"),
        (lambda rows: [{**rows[0], "verdicts": rows[0]["verdicts"][:40]}, *rows[1:]], "does not parse"),
        (lambda rows: [{**rows[0], "booted": b""}, *rows[1:]], "does not parse"),
    ],
)
def test_rows_that_are_lost_doubled_or_of_another_kind_are_refused(work, change, words):
    given, table = tasks(2, 1, 3)
    results = pa.Table.from_pylist(change(done(work, table).to_pylist()), RESULTS)
    with pytest.raises(ClusterError, match=words):
        boots(results, given, work)


@pytest.mark.parametrize(
    ("field", "value", "column"),
    [
        ("policy", Policy.read('[policy]\nname = "lax"\n[evidence]\nquote = "no"'), "policy_id"),
        ("references_id", bytes(32), "references_id"),
        ("as_of", NOW.replace(year=2030), "as_of"),
    ],
)
def test_verdicts_by_anything_else_than_was_asked_for_are_refused(work, field, value, column):
    given, table = tasks(1)
    with pytest.raises(ClusterError, match=f"by another {column}"):
        boots(done(work, table), given, dataclasses.replace(work, **{field: value}))


def test_what_a_worker_could_not_read_breaks_the_archive_off(work, tmp_path):
    given, table = tasks(1, 1, 1)
    missing = {"number": 1, "rows": 1, "file": bytes(tmp_path / "gone.parquet"), "row_group": 0, "evidence": None}
    table = pa.Table.from_pylist([given[0], missing, given[2]], TASKS)
    found = spark._of_tasks(done(work, table), given, work)
    assert next(found).verdicts["boot"].to_pylist() == ["0.0"]
    with pytest.raises(ArchiveError, match=r"gone\.parquet.*seen by worker"):
        next(found)


def test_a_worker_of_another_version_does_nothing(work):
    _, table = tasks(1)
    with pytest.raises(ClusterError, match=r"this worker has pyverify .*, the driver 0\.0\.1"):
        done(dataclasses.replace(work, version="0.0.1"), table)


def test_a_worker_checks_the_references_that_it_was_sent(tmp_path, monkeypatch):
    pyspark = pytest.importorskip("pyspark")
    REFERENCES.save(tmp_path / "r")
    monkeypatch.setattr(pyspark.SparkFiles, "get", lambda name: str(tmp_path / name))
    assert spark_worker._load("r", REFERENCES.id).id == REFERENCES.id
    References.of([baseline("other")]).save(tmp_path / "r")
    with pytest.raises(ClusterError, match="not the references that were sent"):
        spark_worker._load("r", bytes(32))


@pytest.mark.parametrize(
    "frame",
    [
        evidence_batch([Evidence("m", "1", event_log=LOG)]).drop_columns(["machine"]),
        pa.record_batch({"machine": ["m"], "boot": ["1"], "event_log": ["text"]}),
    ],
)
def test_a_data_frame_of_something_else_is_refused(work, frame):
    (result,) = work.of_rows(iter([frame]))
    assert result["verdicts"][0].as_py() is None and "the data frame" in result["error"][0].as_py()


def test_bad_rows_of_a_data_frame_are_rows_with_reasons(work):
    frame = evidence_batch([Evidence("m", "1", event_log=LOG), Evidence("a/b", "2", event_log=LOG)])
    (result,) = work.of_rows(iter([frame]))
    appraised = spark._appraised([result[name][0].as_buffer() for name in spark._PARTS], work)
    assert appraised.verdicts["verdict"].to_pylist() == ["trusted", "error"]


def test_options_that_do_not_go_together_are_usage(run, tmp_path, monkeypatch):
    archive = tmp_path / "m" / "1"
    archive.mkdir(parents=True)
    (archive / "binary_bios_measurements").write_bytes(LOG)
    monkeypatch.chdir(tmp_path)
    assert main(["learn", ".", "--policy", "log-only"]) == 0
    for options, words in (
        (["--master", "local[1]"], "--master goes with --engine spark"),
        (["--engine", "spark", "--jobs", "2"], "--jobs is for threads here"),
        (["--engine", "spark", "--resume", "-o", "v.jsonl"], "--resume goes with --engine local"),
    ):
        code, _, err = run("verify", ".", *options)
        assert code == 2 and words in err
    monkeypatch.setitem(sys.modules, "pyspark", None)
    code, _, err = run("verify", ".", "--engine", "spark")
    assert code == 2 and "pip install 'pyverify[spark]'" in err

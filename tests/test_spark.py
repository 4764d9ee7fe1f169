"""A Spark cluster comes to the verdicts of one process, row for row, whatever becomes of its workers."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import ima_samples as shrunk
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attested_machine import DEFAULT, HOUR, NOW, Machine, references_of, store_of
from baselines_by_hand import BANKS, baseline
from conftest import small_log
from spark_cluster import cluster, python_path, require_spark, session_on
from spark_rules import slowly
from test_lifecycle import ALL, OLD, WHO, kernel_edit
from test_lifecycle import NOW as APPROVED

from pyverify import ArchiveError, Evidence, Policy, Store, UsageError, evidence_batch
from pyverify.baseline.booted import remember
from pyverify.baseline.identity import Challenge
from pyverify.baseline.ledger import Ledger
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.cli.demo import SAMPLE, _keys_of_first_boots
from pyverify.cli.main import main
from pyverify.evidence.columns import evidence_schema
from pyverify.fleet.job import Summary, run
from pyverify.fleet.sources import open_source
from pyverify.fleet.spark import SparkArchive, SparkFrame

require_spark()

# pyspark speaks of pandas 3 at each job; sockets of its gateway are closed by the garbage collector
pytestmark = [
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LOG_ONLY, ARCHIVE = Policy.preset("log-only"), Policy.preset("archive")


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def session(workers):
    with session_on(workers.url) as session:
        yield session


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The demo's fleet, learned; and its evidence as Parquet, three boots a row group, in two files."""
    folder = tmp_path_factory.mktemp("sample")
    store = folder / "s.db"
    for machine, key in _keys_of_first_boots(folder).items():
        assert main(["enroll", machine, str(key), "--store", str(store)]) == 0
    assert main(["learn", str(SAMPLE), "--policy", "archive", "--store", str(store), "--activate"]) == 0
    batches = [b.select(evidence_schema().names) for b in open_source(SAMPLE).batches()]
    table = pa.Table.from_batches(batches)
    (folder / "evidence").mkdir()
    for number, rows in enumerate((table.slice(0, 10), table.slice(10))):
        pq.write_table(rows, folder / "evidence" / f"part-{number}.parquet", row_group_size=3)
    return folder


def verdicts(source, references, policy, at=NOW, jobs=1, **parts) -> pa.Table:
    summary = Summary(policy.name, references.id, at)
    batches = run(source, references=references, policy=policy, as_of=at, jobs=jobs, summary=summary, **parts)
    table = pa.Table.from_batches(batches)
    table.validate(full=True)
    assert summary.rows == len(table)
    return table


def write(path, evidence, rows=1):
    """Evidence as Parquet, so many boots a row group."""
    pq.write_table(pa.Table.from_batches([evidence_batch(evidence)]), path, row_group_size=rows)
    return open_source(path)


@pytest.mark.parametrize("policy", [LOG_ONLY, ARCHIVE], ids=lambda policy: policy.name)
@pytest.mark.parametrize("of", ["references", "rows of a tar", "a data frame"])
def test_verdicts_are_those_of_one_process(session, sample, policy, of):
    with Store.open(str(sample / "s.db")) as store:
        references = store.references()
    source = open_source(SAMPLE if of == "rows of a tar" else sample / "evidence")
    there = SparkArchive(session, source)
    if of == "a data frame":
        there = SparkFrame(session.read.parquet(str(sample / "evidence")).coalesce(1))
    here, found = (verdicts(one, references, policy) for one in (source, there))
    names = [name for name in here.schema.names if of != "a data frame" or name != "source"]
    assert len(here) > 20 and set(here.column("verdict").to_pylist()) >= {"trusted", "untrusted", "error"}
    codes = {finding["code"] for row in here.column("findings").to_pylist() for finding in row}
    assert codes >= {"ima.added", "ima.changed", "baseline.event-changed", "log.truncated"}
    if of == "a data frame":
        here, found = (table.sort_by([("machine", "ascending"), ("boot", "ascending")]) for table in (here, found))
    assert found.select(names).to_pylist() == here.select(names).to_pylist()


def quoted_fleet():
    """Machines with fresh quotes; one whose nonce serves two boots, one whose clock goes back, one that is another."""
    honest, twice, back, evil = (Machine(name) for name in ("honest", "twice", "back", "evil"))
    nonces = [bytes([n]) * 32 for n in range(3)]
    back.challenges = [
        Challenge(back.key.name, nonce, NOW - (3 - n) * HOUR / 4, "back") for n, nonce in enumerate(nonces)
    ]
    machines = (honest, twice, back, evil)
    evidence = []
    for machine in (honest, twice):
        evidence.append(machine.evidence(machine.quote(), boot="b2", boot_seq=2))
    twice.tpm.clock += 1
    evidence.append(twice.evidence(twice.quote(), boot="b3", boot_seq=3))
    for number, clock in enumerate((9_000, 8_000, 9_500)):
        back.tpm.clock = clock
        evidence.append(back.evidence(back.quote(nonce=nonces[number]), boot=f"b{number}", boot_seq=number))
    evil_log = small_log(["sha256"], command_line=b"init=/bin/sh")
    evidence.append(evil.evidence(evil.quote(), event_log=evil_log))
    evidence.append(honest.evidence(honest.quote(), boot="b9", boot_seq=9))
    return machines, evidence


def test_ima_lists_of_a_boot_are_held_against_each_other_wherever_they_were_read(session, tmp_path):
    machine, other = Machine("m", log=shrunk.LOG), Machine("other", log=shrunk.LOG)
    lists = (None, *shrunk.LISTS[::-1], None)
    bare = [shrunk.sample(one, hours, data) for hours, data in enumerate(lists) for one in (machine, other)]
    quoted = [shrunk.signed(machine, 100 + hours, data, data) for hours, data in enumerate(shrunk.LISTS[::-1])]
    baselines = [one.baseline() for one in (machine, other)]
    references = references_of(machine, other, baselines=baselines, challenges=[])
    for policy, evidence, marked in ((LOG_ONLY, bare, 8), (ARCHIVE, [*bare, *quoted], 11)):
        source = write(tmp_path / f"{policy.name}.parquet", evidence)
        here, found = (verdicts(one, references, policy) for one in (source, SparkArchive(session, source)))
        assert found.to_pylist() == here.to_pylist()
        codes = [[finding["code"] for finding in row] for row in found.column("findings").to_pylist()]
        assert sum("ima.shrunk" in some for some in codes) == marked


def test_nonces_are_spent_once_by_the_driver_and_quotes_of_all_workers_are_held_against_each_other(session, tmp_path):
    machines, evidence = quoted_fleet()
    source = write(tmp_path / "e.parquet", evidence)
    found = {}
    for name, archive in {"here": source, "there": SparkArchive(session, source)}.items():
        with store_of(tmp_path / name, *machines) as store:
            references, ledger = store.references(), Ledger(store)
            found[name] = verdicts(archive, references, DEFAULT, ledger=ledger).drop(["references_id"]).to_pylist()
            again = verdicts(archive, store.references(), DEFAULT, ledger=ledger).drop(["references_id"]).to_pylist()
            outcomes = [(row["boot"], row["verdict"]) for row in found[name]]
            assert [(row["boot"], row["verdict"]) for row in again] == outcomes  # retries: the first attests stand
            identity = store.references().identity
            found[name].append([one for machine in machines for one in identity.challenges(machine.key.name)])
    assert found["there"] == found["here"]
    *rows, challenges = found["there"]
    assert sum(one.spent_by is not None for one in challenges) >= 3
    codes = {(row["machine"], row["boot"]): {f["code"] for f in row["findings"]} for row in rows}
    assert "quote.replayed" in codes["twice", "b3"] and "quote.clock" in codes["back", "b1"]
    assert rows[0]["verdict"] == "trusted" and rows[0]["attested"] == "quote"
    assert "replay.mismatch" in codes["evil", "b2"]


def test_what_machines_have_reached_comes_back_from_the_workers(session, tmp_path):
    old, new = small_log(BANKS), small_log(BANKS, command_line=b"quiet splash")
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        store.add([baseline("m"), baseline("n")], action="learn")
        Lifecycle(store).approve(ALL, [kernel_edit()], at=APPROVED, old=OLD, **WHO)
        references = store.references()
        boots = [("m", "1", 1, old), ("m", "2", 2, new), ("n", "1", 1, old), ("m", "3", 3, old)]
        evidence = [Evidence(m, boot, event_log=log, boot_seq=seq) for m, boot, seq, log in boots]
        source = write(tmp_path / "e.parquet", evidence)
        kept = {"here": [], "there": []}
        tables = [
            verdicts(archive, references, LOG_ONLY, at=APPROVED + HOUR, remember=kept[name].extend).to_pylist()
            for name, archive in {"here": source, "there": SparkArchive(session, source)}.items()
        ]
        assert tables[0] == tables[1] and kept["here"] == kept["there"] != []
        assert [row["verdict"] for row in tables[1]] == ["trusted", "trusted", "trusted", "untrusted"]
        remember(store, kept["there"])


def test_a_worker_that_is_lost_in_mid_job_costs_no_row(session, workers, tmp_path):
    logs = [small_log(["sha256"], command_line=str(n).encode()) for n in range(40)]
    machines = [f"m{n:02}" for n in range(40)]
    evidence = [Evidence(m, "b", event_log=log) for m, log in zip(machines, logs, strict=True)]
    source = write(tmp_path / "e.parquet", evidence, rows=2)
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        store.add([baseline(m, logs[n // 2 * 2]) for n, m in enumerate(machines)], action="learn")
        references = store.references()
    here = verdicts(source, references, LOG_ONLY)
    tracker, lost = session.sparkContext.statusTracker(), []

    def kill_one_at_work():
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for stage in tracker.getActiveStageIds():
                info = tracker.getStageInfo(stage)
                if info is not None and info.numActiveTasks == 2:
                    workers.kill("worker-0")
                    while time.monotonic() < end and not (info := tracker.getStageInfo(stage)).numFailedTasks:
                        time.sleep(0.05)
                    lost.append(info.numFailedTasks)
                    return
            time.sleep(0.02)

    killer = threading.Thread(target=kill_one_at_work)
    killer.start()
    there = verdicts(SparkArchive(session, source), references, LOG_ONLY.with_rule("slow", slowly))
    killer.join()
    assert lost and lost[0] >= 1
    assert set(here.column("verdict").to_pylist()) == {"trusted", "untrusted"}
    assert there.drop(["policy_id"]).to_pylist() == here.drop(["policy_id"]).to_pylist()
    workers.start_worker("worker-3")


@pytest.mark.parametrize("change", ["gone", "cut", "another"])
def test_an_archive_that_breaks_ends_the_job_with_all_before_it(session, tmp_path, change):
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        store.add([baseline("m")], action="learn")
        references = store.references()
    evidence = [Evidence("m", str(n), event_log=small_log(BANKS)) for n in range(6)]
    folder = tmp_path / "e"
    folder.mkdir()
    for name in ("a", "b"):
        write(folder / f"{name}.parquet", evidence, rows=2)
    source = open_source(folder)
    groups = list(source.row_groups())
    assert [group.rows for group in groups] == [2] * 6
    source.row_groups = lambda: iter(groups)  # as they were when the driver looked
    there = SparkArchive(session, source)
    if change == "gone":
        (folder / "b.parquet").unlink()
    elif change == "cut":
        (folder / "b.parquet").write_bytes((folder / "b.parquet").read_bytes()[:-100])
    else:
        write(folder / "b.parquet", evidence, rows=1)
    rows = 0
    summary = Summary("log-only", references.id, NOW)
    with pytest.raises(ArchiveError, match=r"b\.parquet"):
        for batch in run(there, references=references, policy=LOG_ONLY, as_of=NOW, jobs=1, summary=summary):
            rows += len(batch)
    assert rows == 6


def test_rules_must_be_picklable(session, sample):
    with Store.open(str(sample / "s.db")) as store:
        references = store.references()
    lock = threading.Lock()
    rules = LOG_ONLY.with_rule("locked", lambda evidence, verdicts: [(0, str(lock))])
    with pytest.raises(UsageError, match="locked"):
        verdicts(SparkArchive(session, open_source(sample / "evidence")), references, rules)
    local = LOG_ONLY.with_rule("first", lambda evidence, verdicts: [(0, "the first of its batch")])
    source = open_source(sample / "evidence")
    here, there = (verdicts(one, references, local) for one in (source, SparkArchive(session, source)))
    assert here.to_pylist() == there.to_pylist()
    assert "policy.rule" in {finding["code"] for finding in there.column("findings")[0].as_py()}


def test_the_command_line_says_the_same_with_either_engine(sample):
    command = [sys.executable, "-m", "pyverify", "verify", str(sample / "evidence"), "--policy", "archive"]
    command += ["--store", str(sample / "s.db"), "--as-of", "2026-11-01T12:00:00Z", "--format", "jsonl"]
    spark = ["--engine", "spark", "--master", "local[2]"]
    environment = {"PYTHONPATH": python_path(), "SPARK_LOCAL_IP": "127.0.0.1", "PATH": "/usr/bin:/bin"}
    # Not from the checkout: there, -m would find the package's source, which has no core.
    options = {"cwd": sample, "env": environment, "capture_output": True, "text": True, "timeout": 300}
    here, there = (subprocess.run([*command, *more], check=False, **options) for more in ([], spark))
    assert (there.returncode, there.stdout) == (here.returncode, here.stdout), there.stderr
    assert here.returncode == 1 and len(here.stdout.splitlines()) > 20
    assert all(json.loads(line)["as_of"] == "2026-11-01T12:00:00Z" for line in there.stdout.splitlines())

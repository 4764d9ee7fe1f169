"""Learning from first boots, and the job that runs over an archive."""

from __future__ import annotations

import datetime
import json
import threading
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import hash_of, no_action, small_log, spec_id

from pyverify import ArchiveError, Policy, Store
from pyverify.baseline.model import State
from pyverify.evidence.columns import evidence_schema
from pyverify.fleet.job import Summary, ordered_map, run
from pyverify.fleet.learn import first_boots, learn
from pyverify.fleet.sources import open_source

BANKS = ["sha1", "sha256"]
LOG = small_log(BANKS)
POLICY = Policy.preset("log-only")
NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)


def lay_out(folder, boots):
    """{(machine, boot): (log, evidence.json or None)} as a folder tree."""
    for (machine, boot), (log, facts) in boots.items():
        place = folder / machine / boot
        place.mkdir(parents=True)
        if log is not None:
            (place / "binary_bios_measurements").write_bytes(log)
        if facts is not None:
            (place / "evidence.json").write_text(json.dumps(facts))
    return open_source(str(folder))


def learned(source, store, activate=True):
    return {i.machine: i for i in learn(source, store, policy=POLICY, activate=activate, as_of=NOW)}


@pytest.fixture
def store(tmp_path):
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        yield store


def test_which_boot_is_the_first(tmp_path):
    early, late = {"collected_at": "2026-01-01T00:00:00Z"}, {"collected_at": "2026-02-01T00:00:00Z"}
    source = lay_out(
        tmp_path / "a",
        {
            ("by-seq", "a"): (LOG, {"boot_seq": 2, **early}),
            ("by-seq", "b"): (LOG, {"boot_seq": 1, **late}),
            ("by-time", "a"): (LOG, late),
            ("by-time", "b"): (LOG, early),
            ("by-name", "b"): (LOG, None),
            ("by-name", "a"): (LOG, None),
            ("seq-wins", "a"): (LOG, early),
            ("seq-wins", "b"): (LOG, {"boot_seq": 9}),
        },
    )
    first = {machine: key[2] for machine, key in first_boots(source).items()}
    assert first == {"by-seq": "b", "by-time": "b", "by-name": "a", "seq-wins": "b"}


def test_of_two_samples_of_a_boot_the_chosen_one_is_learned(tmp_path, store):
    """A row that has the first boot's name but a later number must not take its place."""
    evil = small_log(BANKS, command_line=b"evil")
    table = pa.table(
        {"machine": ["m", "m"], "boot": ["b", "b"], "boot_seq": [9, 1], "event_log": pa.array([evil, LOG], pa.binary())}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    learned(open_source(tmp_path / "a.parquet"), store)
    (baseline,) = store.references().columns.to_pylist()
    assert baseline["evidence_id"] == hash_of("sha256", b"event_log\0\1" + hash_of("sha256", LOG))


def test_hostile_rows_do_not_end_the_job(tmp_path, store):
    """Names that are null, list items that are null: rows with a reason, and the machine beside them is judged."""
    rows = [
        {"machine": "good", "boot": "1", "event_log": LOG, "quotes": None, "ima": None},
        {"machine": None, "boot": "1", "event_log": LOG, "quotes": None, "ima": None},
        {"machine": "x", "boot": None, "event_log": LOG, "quotes": None, "ima": None},
        {"machine": "x", "boot": "2", "event_log": LOG, "quotes": [None], "ima": [None]},
    ]
    schema = evidence_schema()
    columns = [schema.field(name) for name in ("machine", "boot", "event_log", "quotes", "ima")]
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(columns)), tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet")
    results = learned(source, store)
    assert (results["good"].state, results["x"].state) == (State.ACTIVE, None)
    references = store.references()
    summary = Summary(POLICY.name, references.id, NOW)
    list(run(source, references=references, policy=POLICY, as_of=NOW, jobs=1, summary=summary))
    assert summary.outcomes == {"trusted": 1, "error": 3}


def test_a_log_that_extends_nothing_is_no_baseline(tmp_path, store):
    results = learned(lay_out(tmp_path / "a", {("m", "1"): (spec_id(BANKS), None)}), store)
    assert {reason.code for reason in results["m"].reasons} == {"bank.unextended", "separator.missing"}
    assert not len(store.references())


def test_learning_is_from_the_first_boot_and_pending_by_default(tmp_path, store):
    source = lay_out(
        tmp_path / "a",
        {("m", "1"): (LOG, {"boot_seq": 1}), ("m", "2"): (small_log(BANKS, command_line=b"evil"), {"boot_seq": 2})},
    )
    assert learned(source, store, activate=False)["m"].state is State.PENDING
    (baseline,) = store.references().columns.to_pylist()
    assert (baseline["id"], baseline["boot"], baseline["state"]) == ("m", "1", "pending")
    assert baseline["log_banks"] == 0b11


def test_a_known_machine_is_left_alone(tmp_path, store):
    learned(lay_out(tmp_path / "a", {("m", "1"): (LOG, None)}), store)
    before = store.references().id
    again = learned(lay_out(tmp_path / "b", {("m", "0"): (small_log(BANKS, command_line=b"evil"), None)}), store)
    assert not again
    assert store.references().id == before


REFUSED = {
    "cut": (LOG[:-1], "log.truncated"),
    "empty": (b"", "log.absent"),
    "absent": (None, "log.absent"),
    "high finding": (small_log(BANKS, extra=no_action(0, b"StartupLocality\0\3", BANKS)), "replay.start"),
}


@pytest.mark.parametrize(("log", "code"), REFUSED.values(), ids=REFUSED)
def test_a_bad_first_boot_is_refused_and_no_later_one_takes_its_place(tmp_path, store, log, code):
    source = lay_out(tmp_path / "a", {("m", "1"): (log, {"boot_seq": 1}), ("m", "2"): (LOG, {"boot_seq": 2})})
    result = learned(source, store)["m"]
    assert result.state is None
    assert [reason.code for reason in result.reasons] == [code]
    assert not len(store.references())


def test_machines_that_boot_alike_share_and_verify(tmp_path, store):
    boots = {(f"m{i}", b): (LOG, {"boot_seq": n}) for i in range(700) for n, b in enumerate("ab")}
    boots["m5", "b"] = (small_log(BANKS, command_line=b"evil"), {"boot_seq": 1})
    source = lay_out(tmp_path / "a", boots)
    assert len(learned(source, store)) == 700
    references = store.references()
    for jobs in (1, 3):
        summary = Summary(POLICY.name, references.id, NOW)
        rows = [
            row
            for batch in run(source, references=references, policy=POLICY, as_of=NOW, jobs=jobs, summary=summary)
            for row in batch.to_pylist()
        ]
        assert summary.outcomes == {"trusted": 1399, "untrusted": 1}
        assert summary.exit_code == 1
        assert [(r["machine"], r["boot"]) for r in rows] == sorted(boots)
        assert [(r["machine"], r["boot"]) for r in rows if r["verdict"] == "untrusted"] == [("m5", "b")]


def test_exit_codes():
    def code(**outcomes):
        summary = Summary("p", b"", NOW)
        summary.outcomes.update(outcomes)
        return summary.exit_code

    assert code() == 3  # nothing there is not all trusted
    assert code(trusted=3) == 0
    assert code(trusted=3, unmeasured=1) == 3
    assert code(trusted=3, error=1) == 3
    assert code(trusted=3, error=1, unmeasured=1, untrusted=1) == 1


def test_ordered_map_keeps_order_and_bounds_what_is_in_flight():
    taken = []

    def items():
        for i in range(50):
            taken.append(i)
            yield i

    def work(i):
        time.sleep(0.001 * (i % 3))
        return i * 2

    results = []
    for result in ordered_map(work, items(), 3):
        results.append(result)
        assert len(taken) - len(results) <= 4
    assert results == [i * 2 for i in range(50)]


@pytest.mark.parametrize("jobs", [1, 4])
def test_ordered_map_gives_what_was_read_before_an_archive_broke(jobs):
    def items():
        yield from range(5)
        raise ArchiveError("broken")

    results = []
    with pytest.raises(ArchiveError):
        results.extend(ordered_map(lambda i: results.append(i) or i, items(), jobs))
    assert set(results) == set(range(5))
    assert threading.active_count() < 4


def test_a_mistake_in_the_work_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        list(ordered_map(lambda i: 1 // i, [1, 0, 1], 2))


def test_evidence_ids_name_the_learning_boot(tmp_path, store):
    source = lay_out(tmp_path / "a", {("m", "1"): (LOG, None)})
    learned(source, store)
    (baseline,) = store.references().columns.to_pylist()
    expected = hash_of("sha256", b"event_log\0\1" + hash_of("sha256", LOG))
    assert baseline["evidence_id"] == expected

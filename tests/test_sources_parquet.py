"""Parquet: types, layouts, limits and broken files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import small_log
from source_archives import faults, make, read

from pyverify import Policy, Store
from pyverify.baseline.model import State
from pyverify.errors import ArchiveError
from pyverify.evidence.columns import Ragged
from pyverify.fleet import limits
from pyverify.fleet.job import Summary, run
from pyverify.fleet.learn import learn
from pyverify.fleet.sources import open_source, source_schema

UNREADABLE, NAME = "evidence.unreadable", "evidence.name"


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    n = len(next(iter(columns.values())))
    base = {"machine": pa.array([f"m{i}" for i in range(n)]), "boot": pa.array(["b"] * n)}
    pq.write_table(pa.table(base | columns), path, **options)
    return path


LOGS = [b"first log", None, b"", b"first log"]


@pytest.mark.parametrize(
    "kind",
    [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary())],
    ids=["binary", "large_binary", "binary_view", "dictionary"],
)
def test_logs_of_every_layout(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = pa.array(LOGS, pa.binary())
    logs = plain.dictionary_encode() if pa.types.is_dictionary(kind) else plain.cast(kind)
    path = write(tmp_path / "p", {"event_log": logs, "ak_cert": logs})
    for batch in open_source(path).batches():
        assert batch.schema.field("ak_cert").type == pa.binary()
        ragged = Ragged.from_arrow(batch.column("event_log"))
        assert [ragged[i] for i in range(4)] == [b"first log", b"", b"", b"first log"]
        assert list(ragged.present) == [True, False, True, True]
    assert [row["event_log"] for row in read(path)] == LOGS
    monkeypatch.setitem(limits.MEMBER_BYTES, "event_log", 5)
    rows = read(path)
    assert [row["fault"] and row["fault"]["code"] for row in rows] == [UNREADABLE, None, None, UNREADABLE]
    assert [row["event_log"] for row in rows] == [None, None, b"", None]


def test_other_types_that_are_accepted(tmp_path: Path) -> None:
    when = datetime(2026, 11, 1, 8, 0, 0, 5, tzinfo=UTC)
    ima = pa.struct([("extra", pa.int8()), ("data", pa.binary()), ("format", pa.large_string())])
    columns = {
        "machine": pa.array(["m0", "m1"], pa.large_string()),
        "boot": pa.array(["b", "b"]).dictionary_encode(),
        "boot_seq": pa.array([1, None], pa.int32()),
        "collected_at": pa.array([when, None], pa.timestamp("ns", "Europe/Berlin")),
        "event_log_kind": pa.array(["ccel", None], pa.string_view()),
        "ima": pa.array([None, [{"extra": 1, "data": b"x", "format": "binary"}]], pa.large_list(ima)),
        "quotes": pa.array([[], [{"msg": b"m"}]], pa.list_(pa.struct([("msg", pa.binary_view())]))),
        "unknown": pa.array([1.5, 2.5]),
    }
    path = write(tmp_path / "p", columns)
    (batch,) = open_source(path).batches()
    assert batch.schema == source_schema()
    first, second = batch.to_pylist()
    assert (first["boot_seq"], first["collected_at"], first["event_log_kind"]) == (1, when, "ccel")
    assert (first["ima"], first["quotes"], first["event_log"]) == (None, [], None)
    assert second["ima"] == [{"format": "binary", "data": b"x"}]
    assert second["quotes"] == [{"msg": b"m", "sig": None, "ak_pub": None, "pcrs": None}]
    assert second["fault"] is None


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("event_log", pa.array(["text"])),
        ("machine", pa.array([b"m"])),
        ("boot_seq", pa.array([1.0])),
        ("boot_seq", pa.array(["1"])),
        ("boot_seq", pa.array([True])),
        ("collected_at", pa.array([datetime(2026, 1, 1)])),
        ("collected_at", pa.array(["2026-01-01T00:00:00Z"])),
        ("ima", pa.array([b"list"])),
        ("ima", pa.array([[{"format": "binary", "data": "text"}]])),
        ("quotes", pa.array([[{"msg": 1}]])),
        ("schema_version", pa.array(["1"])),
    ],
)
def test_wrong_types_name_column_and_types(name: str, column: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "p", {"event_log": pa.array([b"log"])} | {name: column})
    with pytest.raises(ArchiveError, match=rf"column {name}.* is .*must be") as caught:
        open_source(path)
    assert str(path) in str(caught.value)


def test_a_table_that_is_no_evidence(tmp_path: Path) -> None:
    path = write(tmp_path / "p", {"verdict": pa.array(["trusted"])})
    with pytest.raises(ArchiveError, match="no evidence"):
        open_source(path)
    pq.write_table(pa.table([["m"], ["m"], [b""]], ["machine", "machine", "event_log"]), path)
    with pytest.raises(ArchiveError, match="machine is there twice"):
        open_source(path)


def test_rows_with_bad_names_versions_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ima = [{"format": "binary", "data": b"x"}]
    machines = [None, "a\x1b", "x" * 200, "..", "m4", "m5", "m6", "m7", "m8"]
    columns = {
        "machine": pa.array(machines),
        "boot": pa.array(["b"] * 8 + [None]),
        "schema_version": pa.array([1, 1, 1, 1, 2, None, 1, 1, 1], pa.int32()),
        "event_log": pa.array([b"log"] * 9),
        "event_log_kind": pa.array([None] * 7 + ["tcg\n", None]),
        "ima": pa.array([ima] * 5 + [None, [*ima, {"format": None, "data": b""}], ima, ima]),
    }
    path = write(tmp_path / "p", columns)
    expected = [
        (None, "b", NAME),
        ("a\\x1b", "b", NAME),
        ("x" * 125 + "\\..", "b", NAME),
        ("..", "b", NAME),
        ("m4", "b", UNREADABLE),
        ("m5", "b", None),
        ("m6", "b", UNREADABLE),
        ("m7", "b", UNREADABLE),
        ("m8", None, NAME),
    ]
    assert faults(path) == expected
    assert [row["event_log"] for row in read(path)] == [None] * 5 + [b"log"] + [None] * 3
    assert [code for _, _, code in faults(path, columns="keys")] == [NAME] * 4 + [UNREADABLE] + [None] * 3 + [NAME]
    monkeypatch.setitem(limits.MEMBER_BYTES, "ima", 0)
    monkeypatch.setattr(limits, "IMA_LISTS", 0)
    assert faults(path) == expected


def test_limits_of_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quotes = [[{"msg": b"x" * 9}], None, [{"msg": b"x"}] * 3, [], [{"msg": b"x"}]]
    path = write(tmp_path / "p", {"quotes": pa.array(quotes, pa.list_(pa.struct([("msg", pa.binary())])))})
    assert [code for _, _, code in faults(path)] == [None] * 5
    monkeypatch.setitem(limits.MEMBER_BYTES, "quotes", 8)
    monkeypatch.setattr(limits, "QUOTES", 2)
    assert [code for _, _, code in faults(path)] == [UNREADABLE, None, UNREADABLE, None, None]
    monkeypatch.setattr(limits, "BOOT_BYTES", 0)
    assert [code for _, _, code in faults(path)] == [UNREADABLE, None, UNREADABLE, None, UNREADABLE]


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    _, offsets, data = pa.array([b"ok", b"a\xff"]).buffers()
    raw = pa.StringArray.from_buffers(2, offsets, data)
    path = write(tmp_path / "p", {"machine": raw, "event_log": pa.array([b"", b""])})
    assert faults(path) == [("ok", "b", None), ("a\\xff", "b", NAME)]


def test_row_groups_and_data_sets(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for day in ("day=2", "day=1", "_temporary", ".hidden"):
        (root / day).mkdir(parents=True)
        write(root / day / "part-0.parquet", {"event_log": pa.array([b"a", b"b", b"c"])}, row_group_size=2)
    (root / "_SUCCESS").write_bytes(b"")
    source = open_source(root)
    assert source.total == 6
    rows = read(root)
    first = str(root / "day=1" / "part-0.parquet")
    assert [row["source"] for row in rows][:3] == [
        {"file": first, "row_group": 0, "row": 0},
        {"file": first, "row_group": 0, "row": 1},
        {"file": first, "row_group": 1, "row": 0},
    ]
    assert len(rows) == 6
    assert [row["source"] for row in read(root, columns="keys")] == [row["source"] for row in rows]


def test_a_parquet_file_beside_evidence_folders_is_no_evidence(tmp_path: Path) -> None:
    root = make("folder", tmp_path)
    write(root / "verdicts.parquet", {"verdict": pa.array(["trusted"])})
    assert len(read(root)) == 3


def test_broken_files_are_named(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    good = write(root / "a.parquet", {"event_log": pa.array([bytes(range(256)) * 40] * 50)}, use_dictionary=False)
    data = good.read_bytes()
    bad = root / "b.parquet"
    bad.write_bytes(data[: len(data) // 2])
    with pytest.raises(ArchiveError, match=r"b\.parquet"):
        open_source(root)
    bad.write_bytes(data[:4] + b"\xff" * 60 + data[64:])
    with pytest.raises(ArchiveError, match=r"b\.parquet"):
        read(root)
    bad.unlink()
    bad.symlink_to("/dev/zero")
    with pytest.raises(ArchiveError, match="not a regular file"):
        open_source(root)
    with pytest.raises(ArchiveError, match="truncated or broken"):
        bad.unlink()
        bad.write_bytes(b"")
        open_source(root)


@pytest.mark.parametrize("encoded", [False, True], ids=["plain", "dictionary-encoded"])
@pytest.mark.parametrize(
    "kind",
    [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary())],
    ids=["binary", "large_binary", "binary_view", "dictionary"],
)
def test_logs_of_every_layout_are_learned_and_verified(kind: Any, encoded: bool, tmp_path: Path) -> None:
    """Several boots a machine, so that learning takes some rows out of a batch."""
    log, other = small_log(["sha256"]), small_log(["sha256"], command_line=b"init=/bin/sh")
    plain = pa.array([log, None, log, other], pa.binary())
    logs = plain.dictionary_encode() if pa.types.is_dictionary(kind) else plain.cast(kind)
    columns = {
        "machine": pa.array(["a", "a", "b", "b"]),
        "boot_seq": pa.array([1, 2, 1, 2]),
        "boot": pa.array(["1", "2", "1", "2"]),
        "event_log": logs,
    }
    source = open_source(write(tmp_path / "p", columns, use_dictionary=encoded))
    policy, now = Policy.preset("log-only"), datetime(2026, 11, 1, tzinfo=UTC)
    with Store.open(str(tmp_path / "s.db"), create=True) as store:
        learned = list(learn(source, store, policy=policy, activate=True, as_of=now))
        references = store.references()
    assert [(one.machine, one.state) for one in learned] == [("a", State.ACTIVE), ("b", State.ACTIVE)]
    summary = Summary(policy.name, references.id, now)
    rows = run(source, references=references, policy=policy, as_of=now, jobs=1, summary=summary)
    verdicts = [verdict for batch in rows for verdict in batch.column("verdict").to_pylist()]
    assert verdicts == ["trusted", "unmeasured", "trusted", "untrusted"]

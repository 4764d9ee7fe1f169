"""Archives as Parquet and back: nothing is lost on the way, and nothing gets better by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from packed_evidence import GOOD, LOG, REAL, by_boot, members, verdicts
from source_archives import FLEET, Tree, make, make_folder, read

from pyverify.errors import ArchiveError, OutputError, UsageError
from pyverify.fleet import pack as packing
from pyverify.fleet.pack import pack
from pyverify.fleet.sources import open_source
from pyverify.fleet.unpack import unpack


@pytest.mark.parametrize("kind", ["folder", "tar", "gz", "xz", "zst", "zip"])
def test_packed_and_unpacked_is_the_same_folder(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    archive = make(kind, tmp_path / "a")
    done = pack([open_source(archive)], tmp_path / "out")
    assert (done.rows, done.unreadable, done.files) == (3, 0, ["part-00000.parquet"])
    unpack(open_source(tmp_path / "out"), tmp_path / "back")
    expected = {f"{boot}/{name}": data for boot, files in FLEET.items() for name, data in files.items()}
    del expected["m1/b1/notes.txt"]
    assert members(tmp_path / "back") == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "back", "out"]


@pytest.mark.parametrize("tree", [FLEET, REAL], ids=["any bytes", "logs"])
@pytest.mark.parametrize("by_date", [False, True])
def test_verdicts_are_those_of_the_folder(tree: Tree, by_date: bool, tmp_path: Path) -> None:
    archive = make_folder(tmp_path / "archive", tree)
    pack([open_source(archive)], tmp_path / "out", by_date=by_date)
    pack([open_source(archive)], tmp_path / "one.parquet")
    pack([open_source(tmp_path / "out")], tmp_path / "again.parquet")
    expected = verdicts(archive)
    assert len(expected) == len(tree)
    assert by_boot(verdicts(tmp_path / "out")) == by_boot(expected)
    assert verdicts(tmp_path / "one.parquet") == expected
    assert by_boot(verdicts(tmp_path / "again.parquet")) == by_boot(expected)
    unpack(open_source(tmp_path / "again.parquet"), tmp_path / "back")
    assert verdicts(tmp_path / "back") == expected


def test_the_files_are_plain_parquet_of_the_evidence_schema(tmp_path: Path) -> None:
    archive = make_folder(tmp_path / "archive", REAL)
    pack([open_source(archive)], tmp_path / "out", by_date=True)
    days = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.parquet"))
    assert days == [f"date=2026-11-0{day}/part-00000.parquet" for day in (1, 2)]
    table = pq.read_table(tmp_path / "out")
    assert table.num_rows == len(REAL)
    assert set(map(str, table.column("date").unique().to_pylist())) == {"2026-11-01", "2026-11-02"}
    column = pq.ParquetFile(tmp_path / "out" / days[0]).metadata.row_group(0).column(5)
    assert (column.path_in_schema, column.compression) == ("event_log", "ZSTD")


def test_the_same_archive_gives_the_same_bytes(tmp_path: Path) -> None:
    archive = make_folder(tmp_path / "archive", REAL)
    for out in ("one", "two"):
        pack([open_source(archive)], tmp_path / out, by_date=True)
    assert members(tmp_path / "one") == members(tmp_path / "two")


@pytest.mark.parametrize(("repeats", "encoded"), [(True, True), (False, False)])
def test_logs_that_repeat_are_a_dictionary(repeats: bool, encoded: bool, tmp_path: Path) -> None:
    """Larger together than the 1 MiB at which Arrow gives up on a dictionary."""
    logs = [os.urandom(100_000) for _ in range(40)]
    lists = [os.urandom(50_000) for _ in range(40)]
    tree = {
        f"m{i:02}/b": {
            LOG: logs[i % 15 if repeats else i],
            "binary_runtime_measurements": lists[i % 20 if repeats else i],
        }
        for i in range(40)
    }
    archive = make_folder(tmp_path / "archive", tree)
    done = pack([open_source(archive)], tmp_path / "p.parquet")
    assert done.evidence_bytes == 40 * 150_000
    with pq.ParquetFile(tmp_path / "p.parquet") as file:
        group = file.metadata.row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    for name in ("event_log", "ima.list.element.data"):
        assert columns[name].has_dictionary_page is encoded
        assert ("PLAIN" in columns[name].encodings) is True  # the dictionary itself, or the values
    assert (done.packed_bytes < 3_000_000) is encoded
    (batch,) = open_source(tmp_path / "p.parquet").batches()
    assert pa.types.is_dictionary(batch.column("event_log").type) is encoded
    assert [row["event_log"] for row in read(tmp_path / "p.parquet")] == [tree[f"m{i:02}/b"][LOG] for i in range(40)]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    archive = make_folder(tmp_path / "archive", REAL)
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for out in ("out", "link"):
        with pytest.raises(UsageError, match="is there already"):
            pack([open_source(archive)], tmp_path / out)
        with pytest.raises(UsageError, match="is there already"):
            unpack(open_source(archive), tmp_path / out)
    with pytest.raises(UsageError, match="not one file"):
        pack([open_source(archive)], tmp_path / "x.parquet", by_date=True)


ROW: dict[str, Any] = {"machine": "m", "boot": "b", "event_log": b"log"}
FILES = pa.list_(pa.struct([("name", pa.string()), ("data", pa.binary())]))


@pytest.mark.parametrize(
    "row",
    [
        {"files": [{"name": "../../evil", "data": b"x"}, {"name": LOG, "data": None}]},
        {"files": [{"name": "/etc/passwd", "data": b"x"}]},
        {"files": [{"name": "notes.txt", "data": b"x"}, {"name": LOG, "data": None}]},
        {"files": [{"name": LOG, "data": b"another log"}]},
        {"files": [{"name": LOG, "data": None}, {"name": LOG, "data": None}]},
        {"files": [{"name": "ak.crt", "data": None}, {"name": LOG, "data": None}]},
        {"files": [{"name": "evidence.json", "data": b"{}"}]},
        {"files": [{"name": LOG, "data": None}, {"name": "evidence.json", "data": b'{"boot_seq": 9}'}]},
        {"files": [{"name": LOG, "data": None}, {"name": "evidence.json", "data": b"{"}]},
        {"files": [{"name": None, "data": None}]},
        {"files": [None]},
        {"machine": "ak.pub"},
        {"boot": "evidence.json"},
        {"event_log_kind": "ccel"},
        {"ima": [{"format": "binary", "data": b"1"}, {"format": "binary", "data": b"2"}]},
        {"ima": [{"format": "of-another-kind", "data": b"1"}]},
        {"ima": [{"format": "binary", "data": None}]},
        {"quotes": [{"msg": None, "ak_pub": b"key"}]},
    ],
)
def test_rows_that_files_cannot_say_are_refused(row: dict[str, Any], tmp_path: Path) -> None:
    schema = {name: pa.array([value]) for name, value in (ROW | row).items() if name not in ("files", "ima", "quotes")}
    if "files" in row:
        schema["files"] = pa.array([row["files"]], FILES)
    if "ima" in row:
        schema["ima"] = pa.array([row["ima"]], pa.list_(pa.struct([("format", pa.string()), ("data", pa.binary())])))
    if "quotes" in row:
        schema["quotes"] = pa.array(
            [row["quotes"]], pa.list_(pa.struct([("msg", pa.binary()), ("ak_pub", pa.binary())]))
        )
    pq.write_table(pa.table(schema), tmp_path / "p")
    with pytest.raises(ArchiveError, match="only be kept as Parquet"):
        unpack(open_source(tmp_path / "p"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_other_samples_of_a_boot_are_unpacked_beside_it(tmp_path: Path) -> None:
    table = pa.table({"machine": ["m", "m", "again-2"], "boot": ["b", "b", "m"], "event_log": [b"1", b"2", b"3"]})
    table = table.append_column("boot_seq", pa.array([1, None, 3]))
    pq.write_table(table.set_column(2, "event_log", table.column("event_log").cast(pa.binary())), tmp_path / "p")
    unpack(open_source(tmp_path / "p"), tmp_path / "out")
    assert members(tmp_path / "out") == {
        f"m/b/{LOG}": b"1",
        "m/b/evidence.json": b'{"boot_seq": 1}',
        f"again-2/m/b/{LOG}": b"2",
        f"again-2/again-2/m/{LOG}": b"3",
        "again-2/again-2/m/evidence.json": b'{"boot_seq": 3}',
    }
    assert sorted(row["event_log"] for row in read(tmp_path / "out")) == [b"1", b"2", b"3"]


def test_many_days_keep_few_files_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_GROUP_ROWS": 1, "_OPEN_PARTS": 2}.items():
        monkeypatch.setattr(packing, name, value)
    tree = {
        f"m{i}/b": {LOG: bytes([i]), "evidence.json": b'{"collected_at": "2026-01-0%dT00:00:00Z"}' % (1 + i % 4)}
        for i in range(12)
    }
    archive = make_folder(tmp_path / "archive", tree)
    done = pack([open_source(archive)], tmp_path / "out", by_date=True)
    assert len(done.files) > 4
    assert by_boot(verdicts(tmp_path / "out")) == by_boot(verdicts(archive))


def test_commands(run: Any, tmp_path: Path) -> None:
    archive = make_folder(tmp_path / "archive", REAL)
    code, out, err = run("pack", archive, archive, "-o", tmp_path / "p.parquet")
    assert (code, out) == (0, "")
    assert "12 boots in 1 file" in err
    assert "times smaller" in err
    assert run("pack", archive, "-o", tmp_path / "p.parquet")[0] == 2
    assert run("unpack", tmp_path / "p.parquet", "-o", tmp_path / "back")[0] == 0
    assert len(members(tmp_path / "back")) == 36
    assert run("unpack", archive, "-o", archive / "within")[0] == 2
    assert run("pack", tmp_path / "nowhere", "-o", tmp_path / "q")[0] == 3
    bad = make_folder(tmp_path / "bad", {"m/good": {LOG: GOOD}, "m/bad": {}})
    (bad / "m" / "bad" / LOG).symlink_to("../good/" + LOG)
    code, _, err = run("pack", bad, "-o", tmp_path / "q", "--partition", "date")
    assert code == 0
    assert "1 of them could not be read" in err


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for it: the system's answer to a write is an error all the same."""
    archive = make_folder(tmp_path / "archive", {f"m{i}/b": {LOG: os.urandom(100_000)} for i in range(5)})
    pack([open_source(archive)], tmp_path / "p.parquet")
    code = (
        "import resource, signal, sys; from pyverify.cli.main import main;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); sys.exit(main(sys.argv[1:]))"
    )
    for arguments in (("pack", archive), ("unpack", tmp_path / "p.parquet")):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments), "-o", tmp_path / "out"],
            cwd=ROOT / "tests",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 4, done.stderr
        assert "cannot be written" in done.stderr
        assert not (tmp_path / "out").exists()
        assert not list(tmp_path.glob("out.partial/**/*.unfinished"))
    assert issubclass(OutputError, Exception)

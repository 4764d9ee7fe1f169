"""Archives as Parquet and back: nothing is lost on the way, and nothing gets better by it."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, small_log
from source_archives import FLEET, Tree, make, make_folder, make_tar, make_zip, read, tar_bytes

from pyverify import Policy
from pyverify.baseline.references import References
from pyverify.errors import ArchiveError, OutputError, UsageError
from pyverify.fleet import folder as folder_module
from pyverify.fleet import limits
from pyverify.fleet import pack as packing
from pyverify.fleet.job import Summary, run
from pyverify.fleet.pack import pack
from pyverify.fleet.sources import open_source
from pyverify.fleet.unpack import unpack

LOG = "binary_bios_measurements"
GOOD = small_log(["sha256"])
NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
REAL: Tree = {
    f"m{machine}/b{boot}": {
        LOG: small_log(["sha1", "sha256"], command_line=b"quiet %d" % machine),
        "ak.crt": b"certificate",
        "evidence.json": b'{"boot_seq": %d, "collected_at": "2026-11-0%dT08:00:00Z"}' % (boot, boot),
    }
    for machine in range(3)
    for boot in (1, 2)
}


def verdicts(archive: Path) -> list[dict[str, Any]]:
    """Verdict rows but for where they are from."""
    policy, references = Policy.preset("log-only"), References.of([])
    found = []
    summary = Summary(policy.name, references.id, NOW)
    for batch in run(open_source(archive), references=references, policy=policy, as_of=NOW, jobs=1, summary=summary):
        found += batch.drop_columns(["source"]).to_pylist()
    return found


def members(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def by_boot(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["machine"] or "", row["boot"] or "", row["evidence_id"]))


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


def _special(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("m/bad/" + LOG)
    info.type, info.linkname = kind, "m/good/" + LOG
    return info


def _folder(root: Path) -> Path:
    make_folder(root, {"m/good": {LOG: GOOD}, "z/good": {LOG: GOOD}})
    (root / "m" / "bad").mkdir()
    return root


def _link(root: Path) -> Path:
    (_folder(root) / "m" / "bad" / LOG).symlink_to("../good/" + LOG)
    return root


def _fifo(root: Path) -> Path:
    os.mkfifo(_folder(root) / "m" / "bad" / LOG)
    return root


def _device(root: Path) -> Path:
    (_folder(root) / "m" / "bad" / LOG).symlink_to("/dev/zero")
    return root


def _folder_as_member(root: Path) -> Path:
    (_folder(root) / "m" / "bad" / LOG).mkdir()
    return root


def _dead_machine(root: Path) -> Path:
    (_folder(root) / "n").symlink_to("nowhere")
    return root


def _too_deep(root: Path) -> Path:
    (_folder(root) / "/".join("abcdefghijk")).mkdir(parents=True)
    return root


def _large(root: Path) -> Path:
    (_folder(root) / "m" / "bad" / "ak.crt").write_bytes(bytes(limits.MEMBER_BYTES["ak_cert"] + 1))
    return root


def _many_quotes(root: Path) -> Path:
    for number in range(1, limits.QUOTES + 2):
        (_folder(root) if number == 1 else root).joinpath("m", "bad", f"quote.{number}.msg").write_bytes(b"")
    return root


def _twice_spelled(root: Path) -> Path:
    for end in ("sm3", "sm3_256"):
        (_folder(root) if end == "sm3" else root).joinpath("m", "bad", f"binary_runtime_measurements_{end}").touch()
    return root


def _facts(root: Path) -> Path:
    (_folder(root) / "m" / "bad" / "evidence.json").write_bytes(b'{"boot_seq": true}')
    return root


def _names(root: Path) -> Path:
    for name in ("a b", "x\\y", "\x1b[31m", "é" * 100):
        place = root / name / "b"
        place.mkdir(parents=True)
        (place / LOG).write_bytes(b"log")
    return _folder(root)


def _tar(*items: Any) -> Any:
    return lambda path: make_tar(path, [("m/good/" + LOG, GOOD), *items, ("z/good/" + LOG, GOOD)])


def _zip(*items: Any) -> Any:
    return lambda path: make_zip(path, [("m/good/" + LOG, GOOD), *items, ("z/good/" + LOG, GOOD)])


def _damaged_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("m/bad/" + LOG, b"some log")
        archive.writestr("z/good/" + LOG, GOOD)
    path.write_bytes(path.read_bytes().replace(b"some log", b"same log", 1))
    return path


FAULTS = {
    "link": _link,
    "device": _device,
    "fifo": _fifo,
    "folder as member": _folder_as_member,
    "dead machine": _dead_machine,
    "too deep": _too_deep,
    "large": _large,
    "many quotes": _many_quotes,
    "one list twice": _twice_spelled,
    "evidence.json": _facts,
    "names": _names,
    **{f"tar {kind!r}": _tar((_special(kind), b"")) for kind in (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE)},
    **{
        f"{kind} {path}": pack_with((path + LOG, b"log"))
        for kind, pack_with in (("tar", _tar), ("zip", _zip))
        for path in ("../m/b/", "/m/b/", "m/../b/", "m/../../../b/", "m/../", "", "b/", "m\\b\\", "../../b/", "a/\n/")
    },
    "folder twice": _tar(("m/b/ak.crt", b"1"), ("n/b/ak.crt", b"1"), ("m/b/" + LOG, GOOD)),
    "member twice": _tar(("m/b/" + LOG, b"1"), ("m/b/" + LOG, b"2")),
    "zip that fails its checksum": _damaged_zip,
}


def _how_bad(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["verdict"] for row in rows)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_source_is_kept(fault: str, tmp_path: Path) -> None:
    """The packed archive gives the same verdicts, with the same reasons; the unpacked one as many errors."""
    archive = FAULTS[fault](tmp_path / "archive")
    expected = verdicts(archive)
    assert "error" in _how_bad(expected)
    done = pack([open_source(archive)], tmp_path / "out")
    assert done.unreadable == _how_bad(expected).count("error")
    assert verdicts(tmp_path / "out") == expected
    pack([open_source(tmp_path / "out")], tmp_path / "again.parquet")
    assert verdicts(tmp_path / "again.parquet") == expected
    unpack(open_source(tmp_path / "again.parquet"), tmp_path / "back")
    assert _how_bad(verdicts(tmp_path / "back")) == _how_bad(expected)
    inside = {path for path in tmp_path.rglob("*") if path.is_relative_to(tmp_path / "back")}
    assert inside
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "out", "again.parquet", "back"}


@pytest.mark.parametrize("error", ["changes", "denied", "vanishes"])
def test_a_fault_that_comes_while_reading_is_kept(error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = _folder(tmp_path / "archive")
    path = archive / "m" / "bad" / LOG
    true_read, true_open = os.read, os.open

    def changing(fd: int, size: int) -> bytes:
        data = true_read(fd, size)
        if data == b"before":
            path.write_bytes(b"before and after")
        return data

    def failing(name: Any, *args: Any, **options: Any) -> int:
        if name == LOG and Path(f"/proc/self/fd/{options['dir_fd']}").readlink().name == "bad":
            raise (
                PermissionError(13, "Permission denied") if error == "denied" else FileNotFoundError(2, "No such file")
            )
        return true_open(name, *args, **options)

    found = []
    for out in ("verdicts", "packed"):
        path.write_bytes(b"before")
        with monkeypatch.context() as patched:
            if error == "changes":
                patched.setattr(folder_module.os, "read", changing)
            else:
                patched.setattr(folder_module.os, "open", failing)
            if out == "verdicts":
                found = verdicts(archive)
            else:
                pack([open_source(archive)], tmp_path / out)
    assert next(row["verdict"] for row in found) == "error"
    assert verdicts(tmp_path / "packed") == found


def test_a_recorded_fault_is_never_taken_lightly(tmp_path: Path) -> None:
    """Whatever a file claims as a fault makes an error of the row; a wrong type is refused."""
    odd = [
        {"code": "quote.ignored", "hint": None},
        {"code": None, "hint": "\x1b[31m"},
        {"code": "evidence.name", "hint": "x"},
        None,
    ]
    kind = pa.struct([("code", pa.string()), ("hint", pa.string())])
    columns = {
        "machine": ["a", "b", "c", "d"],
        "boot": ["b"] * 4,
        "event_log": pa.array([b"log"] * 4),
        "fault": pa.array(odd, kind),
    }
    pq.write_table(pa.table(columns), tmp_path / "p")
    rows = read(tmp_path / "p")
    assert [row["fault"] and row["fault"]["code"] for row in rows] == [
        "evidence.unreadable",
        "evidence.unreadable",
        "evidence.name",
        None,
    ]
    assert [row["event_log"] for row in rows] == [None, None, None, b"log"]
    assert "\x1b" not in rows[1]["fault"]["hint"]
    assert [row["verdict"] for row in verdicts(tmp_path / "p")][:3] == ["error"] * 3
    pq.write_table(pa.table(columns | {"fault": ["text"] * 4}), tmp_path / "p")
    with pytest.raises(ArchiveError, match="column fault is"):
        open_source(tmp_path / "p")


def test_an_archive_that_breaks_off_leaves_no_output(tmp_path: Path) -> None:
    data = tar_bytes(REAL)
    (tmp_path / "t").write_bytes(data[: len(data) // 2 + 100])
    with pytest.raises(ArchiveError):
        pack([open_source(tmp_path / "t")], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.partial").exists()


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


def _large_fleet(root: Path) -> Path:
    return make_folder(root, {f"m{i:03}/b": {LOG: bytes([i]) * 1000, "evidence.json": b"{}"} for i in range(200)})


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_BATCH_ROWS": 4, "_GROUP_ROWS": 10, "_PART_BYTES": 30_000}.items():
        monkeypatch.setattr(packing, name, value)


def test_an_interrupted_pack_goes_on_with_what_is_finished(small_parts: None, tmp_path: Path) -> None:
    archive = _large_fleet(tmp_path / "archive")
    pack([open_source(archive)], tmp_path / "whole")

    def stop(rows: int) -> None:
        if rows >= 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack([open_source(archive)], tmp_path / "out", watch=stop)
    assert not (tmp_path / "out").exists()
    finished = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out.partial").iterdir()}
    assert sorted(finished) == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    pack([open_source(archive)], tmp_path / "out")
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert {name: now[name] for name in finished} == finished
    assert members(tmp_path / "out") == members(tmp_path / "whole")
    assert not (tmp_path / "out.partial").exists()


def test_an_interrupted_pack_does_not_go_on_with_other_evidence(small_parts: None, tmp_path: Path) -> None:
    archive = _large_fleet(tmp_path / "archive")

    def stop(rows: int) -> None:
        if rows >= 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack([open_source(archive)], tmp_path / "out", watch=stop)
    with pytest.raises(ArchiveError, match="other evidence"):
        pack([open_source(archive)], tmp_path / "out", by_date=True)
    (archive / "m003" / "b" / LOG).write_bytes(b"another")
    with pytest.raises(ArchiveError, match="other evidence"):
        pack([open_source(archive)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


KILLED = """
import os, sys, threading, time
from pathlib import Path
from pyverify.fleet import pack as packing
from pyverify.fleet.sources import open_source
packing._BATCH_ROWS, packing._GROUP_ROWS, packing._PART_BYTES = 4, 10, 30_000
after = float(sys.argv[3])
if after:
    threading.Thread(target=lambda: (time.sleep(after), os.kill(os.getpid(), 9)), daemon=True).start()
packing.pack([open_source(sys.argv[1])], Path(sys.argv[2]), watch=lambda rows: time.sleep(0.003))
"""


def test_a_pack_that_is_killed_ends_in_the_same_bytes(small_parts: None, tmp_path: Path) -> None:
    archive = _large_fleet(tmp_path / "archive")
    pack([open_source(archive)], tmp_path / "whole")
    kills = 0
    for after in (0.02, 0.05, 0.08, 0.11, 0.14, 0):
        code = subprocess.run(
            [sys.executable, "-c", KILLED, archive, tmp_path / "out", str(after)], cwd=ROOT / "tests", check=False
        ).returncode
        if code == 0:
            break
        kills += 1
        assert code == -9
        assert not (tmp_path / "out").exists()
    assert kills
    assert members(tmp_path / "out") == members(tmp_path / "whole")


def test_two_packs_at_once_are_refused(tmp_path: Path) -> None:
    archive = make_folder(tmp_path / "archive", REAL)

    def other(rows: int) -> None:
        with pytest.raises(UsageError, match="another process"):
            pack([open_source(archive)], tmp_path / "out")

    pack([open_source(archive)], tmp_path / "out", watch=other)
    assert len(read(tmp_path / "out")) == len(REAL)


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
    code, _, err = run("pack", _link(tmp_path / "bad"), "-o", tmp_path / "q", "--partition", "date")
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

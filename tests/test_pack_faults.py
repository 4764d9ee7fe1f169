"""Faults of a packed archive: each is in the Parquet file what it was in its source, and none is taken lightly."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from packed_evidence import GOOD, LOG, REAL, verdicts
from source_archives import make_folder, make_tar, make_zip, read, tar_bytes

from pyverify.errors import ArchiveError
from pyverify.fleet import folder as folder_module
from pyverify.fleet import limits
from pyverify.fleet.pack import pack
from pyverify.fleet.sources import open_source
from pyverify.fleet.unpack import unpack


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

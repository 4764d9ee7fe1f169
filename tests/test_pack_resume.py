"""Packs that are interrupted or killed: they go on with what is finished and end in the same bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from packed_evidence import LOG, REAL, members
from source_archives import make_folder, read

from pyverify.errors import ArchiveError, UsageError
from pyverify.fleet import pack as packing
from pyverify.fleet.pack import pack
from pyverify.fleet.sources import open_source


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

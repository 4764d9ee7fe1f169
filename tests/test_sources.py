"""Sources of every kind give the same rows, in batches of the size asked for."""

from __future__ import annotations

import gzip
import lzma
import os
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from source_archives import FLEET, faults, make, make_folder, make_tar, read, tar_bytes

from pyverify.errors import ArchiveError, UsageError
from pyverify.fleet import folder as folder_module
from pyverify.fleet.names import escape_name, escape_path, is_name
from pyverify.fleet.sources import open_source, source_schema

KINDS = ("folder", "tar", "gz", "xz", "zst", "zip", "parquet")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_rows(kind: str, tmp_path: Path) -> None:
    rows = read(make(kind, tmp_path))
    assert [(row["machine"], row["boot"], row["boot_seq"]) for row in rows] == [
        ("m1", "b1", 7),
        ("m1", "b2", 8),
        ("m2", "b1", None),
    ]
    first, second, third = rows
    members = FLEET["m1/b1"]
    assert first["event_log"] == members["binary_bios_measurements"]
    assert first["userspace_log"] == b"userspace"
    assert first["collected_at"] == datetime(2026, 11, 1, 8, tzinfo=UTC)
    assert first["schema_version"] == 1
    assert first["ima"] == [
        {"format": "binary", "data": b"ima"},
        {"format": "binary_sm3_256", "data": b"ima sm3"},
        {"format": "ascii_sha256", "data": b"ima text"},
    ]
    assert first["quotes"] == [
        {"msg": b"msg", "sig": b"sig", "ak_pub": b"ak", "pcrs": b"pcrs"},
        {"msg": b"msg 2", "sig": None, "ak_pub": b"ak 2", "pcrs": None},
    ]
    assert (first["ak_cert"], first["ek_cert"]) == (b"certificate", b"ek certificate")
    assert second["event_log"] == b""
    assert third["event_log"] is None
    for name in ("ima", "quotes", "ak_cert", "userspace_log", "event_log_kind"):
        assert second[name] is None
        assert third[name] is None
    assert all(row["fault"] is None for row in rows)


@pytest.mark.parametrize("kind", KINDS)
def test_keys_are_those_of_the_whole_rows(kind: str, tmp_path: Path) -> None:
    path = make(kind, tmp_path)
    names = ("machine", "boot", "boot_seq", "collected_at", "source", "fault")
    assert read(path, columns="keys") == [{name: row[name] for name in names} for row in read(path)]
    for batch in open_source(path).batches(columns="keys"):
        assert batch.schema == source_schema("keys")


@pytest.mark.parametrize("kind", KINDS)
def test_schema_and_progress(kind: str, tmp_path: Path) -> None:
    source = open_source(make(kind, tmp_path))
    assert source.progress() == (0, source.total)
    for _ in range(2):
        for batch in source.batches():
            assert batch.schema == source_schema()
        assert source.progress() == (source.total, source.total)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_keep_to_max_rows_and_max_bytes(kind: str, tmp_path: Path) -> None:
    tree = {f"m{i}/b": {"binary_bios_measurements": bytes(size)} for i, size in enumerate((10, 10, 10, 500, 10, 10))}
    path = make(kind, tmp_path, tree)
    assert [len(batch) for batch in open_source(path).batches(max_rows=4)] == [4, 2]
    assert max(len(batch) for batch in open_source(path).batches(max_rows=4, columns="keys")) <= 4
    sizes = [
        [len(log) for log in batch.column("event_log").to_pylist()] for batch in open_source(path).batches(max_bytes=25)
    ]
    assert [size for batch in sizes for size in batch] == [10, 10, 10, 500, 10, 10]
    assert all(sum(batch) <= 25 or batch == [500] for batch in sizes)


@pytest.mark.parametrize("options", [{"max_rows": 0}, {"max_bytes": 0}, {"columns": "all"}])
def test_arguments_that_cannot_be(options: dict[str, Any], tmp_path: Path) -> None:
    for kind in ("folder", "tar"):
        (tmp_path / kind).mkdir()
        source = open_source(make(kind, tmp_path / kind))
        with pytest.raises(UsageError):
            source.batches(**options)


def test_a_machine_or_boot_folder_takes_its_names_from_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(tmp_path / "archive")
    whole = faults(root)
    assert faults(root / "m1") == whole[:2]
    assert faults(root / "m1" / "b2") == whole[1:2]
    monkeypatch.chdir(root / "m1" / "b2")
    assert faults(Path()) == whole[1:2]
    assert faults(tmp_path) == whole  # levels above the machine do not count
    (tmp_path / "link").symlink_to(root)
    assert faults(tmp_path / "link") == whole


def test_source_says_where_a_row_came_from(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "archive")
    assert read(root)[1]["source"] == {"file": str(root / "m1" / "b2"), "row_group": None, "row": 0}
    tar = make_tar(tmp_path / "t", [("a/b/ak.crt", b""), ("a/c/ak.crt", b"")])
    assert read(tar)[1]["source"] == {"file": str(tar), "row_group": None, "row": 1}


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_formats_and_prefixes(tar_format: int, tmp_path: Path) -> None:
    path = tmp_path / "t"
    wanted = [("m1", "b1", None), ("m1", "b2", None), ("m2", "b1", None)]
    for prefix in ("", "./", "one/two/", "folder" * 20 + "/"):
        path.write_bytes(tar_bytes(prefix=prefix, format=tar_format))
        assert faults(path) == wanted
    if tar_format != tarfile.USTAR_FORMAT:
        path.write_bytes(tar_bytes(prefix="ordner-ä" * 60 + "/", format=tar_format))
        assert faults(path) == wanted


def test_another_sample_of_a_boot_is_no_duplicate(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "t", [("day1/m/b/ak.crt", b"1"), ("day2/m/b/ak.crt", b"2")])
    assert [row["ak_cert"] for row in read(tar)] == [b"1", b"2"]
    assert faults(tar) == [("m", "b", None)] * 2


def test_gzip_of_several_members_and_xz_of_several_streams(tmp_path: Path) -> None:
    data = tar_bytes()
    for pack in (gzip.compress, lzma.compress):
        path = tmp_path / "t"
        path.write_bytes(pack(data[:3000]) + pack(data[3000:]))
        assert len(read(path)) == 3


def test_what_is_not_an_archive_says_what_to_do(tmp_path: Path) -> None:
    cases = {
        "empty": (b"", "is empty"),
        "text": (b"some text", "of no known kind"),
        "bz2": (b"BZh9" + bytes(20), "zstd, xz or gzip"),
        "gz": (gzip.compress(b"no tar"), "no tar inside"),
        "zip": (b"PK\3\4" + bytes(50), "broken as a zip"),
        "parquet": (b"PAR1" + bytes(50), "broken as Parquet"),
    }
    for name, (data, message) in cases.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ArchiveError, match=message) as caught:
            open_source(path)
        assert str(path) in str(caught.value)
    with pytest.raises(ArchiveError, match="does not exist"):
        open_source(tmp_path / "nothing")
    with pytest.raises(ArchiveError, match="neither a file nor a folder"):
        open_source("/dev/zero")
    with pytest.raises(ArchiveError, match="cannot be opened"):
        open_source("a\0b")


def test_kind_is_told_by_content(tmp_path: Path) -> None:
    path = tmp_path / "evidence.zip"
    path.write_bytes(tar_bytes())
    assert len(read(path)) == 3
    (tmp_path / "e").mkdir()
    assert read(tmp_path / "e") == []


def test_names() -> None:
    assert is_name("a.B_c-9") and is_name("x" * 128)
    assert not any(map(is_name, ("", ".", "..", "x" * 129, "a/b", "ä", "a\n", "a b", "٣")))
    assert escape_name("a\x1b[31m") == "a\\x1b[31m"
    assert escape_name("\u202e\\\udcff\U0001f600") == "\\u202e\\\\\\xff\\U0001f600"
    for long in ("x" * 129, "\n" * 100):
        assert len(escape_name(long)) <= 128
        assert not is_name(escape_name(long))
    assert escape_path("/ö/a\n\udc80") == "/ö/a\\x0a\\x80"


def test_a_file_of_the_kernel_that_claims_to_be_empty_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder(tmp_path / "m", {"b": {"binary_bios_measurements": b"content" * 1000}})
    true_fstat = os.fstat

    def fstat(fd: int) -> os.stat_result:
        found = list(true_fstat(fd))
        found[6] = 0
        return os.stat_result(found)

    monkeypatch.setattr(folder_module.os, "fstat", fstat)
    assert read(root)[0]["event_log"] == b"content" * 1000


def test_progress_may_be_asked_while_reading(tmp_path: Path) -> None:
    tree = {f"m{i}/b": {"binary_bios_measurements": bytes(50_000)} for i in range(50)}
    source = open_source(make("tar", tmp_path, tree))
    seen = [source.progress()[0] for _ in source.batches(max_rows=1)]
    assert seen == sorted(seen)
    assert 0 < seen[0] < source.total
    assert isinstance(source_schema(), pa.Schema)

"""Archives in object stores, through fsspec's file system in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from source_archives import FLEET, make, make_folder, read

from pyverify.errors import ArchiveError, UsageError
from pyverify.fleet.pack import pack
from pyverify.fleet.sources import open_source
from pyverify.fleet.unpack import unpack

fsspec = pytest.importorskip("fsspec")
LOG = "binary_bios_measurements"


@pytest.fixture
def store() -> Any:
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


def upload(store: Any, path: Path, to: str) -> str:
    if path.is_dir():
        for file in path.rglob("*"):
            if file.is_file():
                store.pipe_file(f"{to}/{file.relative_to(path)}", file.read_bytes())
    else:
        store.pipe_file(to, path.read_bytes())
    return f"memory:/{to}"


def rows(path: str | Path, **options: Any) -> list[dict[str, Any]]:
    found = []
    for batch in open_source(path).batches(**options):
        found += batch.drop_columns(["source"]).to_pylist()
    return found


@pytest.mark.parametrize("columns", [None, "keys", "files"])
@pytest.mark.parametrize("kind", ["folder", "tar", "gz", "xz", "zst", "zip", "parquet"])
def test_an_archive_by_url_is_the_same_archive(kind: str, columns: str | None, store: Any, tmp_path: Path) -> None:
    archive = make(kind, tmp_path)
    url = upload(store, archive, "/bucket/archive")
    assert rows(url, columns=columns) == rows(archive, columns=columns)
    assert open_source(url).total >= 1
    source = open_source(url)
    list(source.batches())
    assert source.progress()[0] == source.progress()[1]
    assert read(url)[0]["source"]["file"].startswith("memory://bucket/archive")  # type: ignore[arg-type]


def test_a_partitioned_data_set_by_url(store: Any, tmp_path: Path) -> None:
    archive = make("folder", tmp_path)
    pack([open_source(archive)], tmp_path / "out", by_date=True)
    (tmp_path / "out" / "_temporary").mkdir()
    (tmp_path / "out" / "_temporary" / "x.parquet").write_bytes(b"half")
    url = upload(store, tmp_path / "out", "/bucket/out")
    assert rows(url) == rows(tmp_path / "out")
    unpack(open_source(url), tmp_path / "back")
    assert len(rows(tmp_path / "back")) == len(FLEET)


def test_file_urls_need_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    archive = make_folder(tmp_path / "with a space")
    assert rows(archive.as_uri()) == rows(archive)
    with pytest.raises(ArchiveError, match="does not exist"):
        open_source((tmp_path / "nowhere").as_uri())


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="nosuch://"):
        open_source("nosuch://bucket/archive")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UsageError, match="s3fs"):
        open_source("s3://bucket/archive")
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(UsageError, match=r"pyverify\[fsspec\]"):
        open_source("gs://bucket/archive")


def test_what_is_not_there_is_told(store: Any) -> None:
    with pytest.raises(ArchiveError, match="does not exist"):
        open_source("memory://bucket/nothing")


def test_an_object_that_changes_or_fails_is_a_row(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a driver raises: only that boot fails."""
    url = upload(store, make_folder(tmp_path / "a", {f"m/b{i}": {LOG: b"log"} for i in range(4)}), "/bucket/a")
    true_cat = type(store).cat_file

    def cat(self: Any, path: str, **options: Any) -> bytes:
        if "b1" in path:
            return b"longer than it was"[: options["end"]]
        if "b2" in path:
            raise RuntimeError("the driver's own")
        data: bytes = true_cat(self, path, **options)
        return data

    monkeypatch.setattr(type(store), "cat_file", cat)
    found = rows(url)
    codes = [row["fault"] and row["fault"]["code"] for row in found]
    assert codes == [None, "evidence.unreadable", "evidence.unreadable", None]
    assert "changed" in found[1]["fault"]["hint"]
    assert "the driver's own" in found[2]["fault"]["hint"]


@pytest.mark.parametrize("kind", ["tar", "zst", "zip", "parquet"])
def test_a_store_that_fails_while_reading_is_an_archive_error(
    kind: str, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = upload(store, make(kind, tmp_path), "/bucket/archive")
    source = open_source(url)

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the driver's own")

    monkeypatch.setattr(type(store), "open", fail)
    with pytest.raises(ArchiveError):
        list(source.batches())


def test_secrets_of_a_url_are_not_shown() -> None:
    with pytest.raises((ArchiveError, UsageError)) as caught:
        open_source("ftp://user:secret@127.0.0.1:1/archive")
    assert "secret" not in str(caught.value)


def test_verify_by_url(run: Any, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from conftest import small_log

    monkeypatch.chdir(tmp_path)
    archive = make_folder(tmp_path / "a", {"m/b": {LOG: small_log(["sha256"])}})
    url = upload(store, archive, "/bucket/a")
    assert run("learn", url, "--policy", "log-only", "--activate")[0] == 0
    assert run("verify", url, "--policy", "log-only")[0] == 0
    assert run("verify", "nosuch://x", "--policy", "log-only")[0] == 2

"""Hostile and broken tars and zips."""

from __future__ import annotations

import gzip
import lzma
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from source_archives import FLEET, Tree, faults, make, make_tar, make_zip, read, tar_bytes, zstd

from pyverify.errors import ArchiveError
from pyverify.fleet import limits
from pyverify.fleet.sources import open_source

LOG = "binary_bios_measurements"
GOOD: Tree = {"m/good": {LOG: b"log"}, "z/good": {LOG: b"log"}}
UNREADABLE, NAME, DUPLICATE = "evidence.unreadable", "evidence.name", "evidence.duplicate"


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info


@pytest.mark.parametrize(
    "kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]
)
def test_tar_members_that_are_no_files(kind: bytes, tmp_path: Path) -> None:
    items: list[tuple[tarfile.TarInfo | str, bytes]] = [
        ("m/a/" + LOG, b"log"),
        (special("m/b/" + LOG, kind, "m/a/" + LOG), b""),
        ("m/b/ak.crt", b"x"),
        ("m/c/" + LOG, b"log"),
    ]
    path = make_tar(tmp_path / "t", items)
    assert faults(path) == faults(path, columns="keys") == [("m", "a", None), ("m", "b", UNREADABLE), ("m", "c", None)]


@pytest.mark.parametrize("pack", [make_tar, make_zip])
@pytest.mark.parametrize(
    ("path", "machine", "boot"),
    [
        ("../m/b/", "m", "b"),
        ("/m/b/", "m", "b"),
        ("m/../b/", "..", "b"),
        ("m/b/../c/", "..", "c"),
        ("m/../", "m", ".."),
        ("", "", ""),
        ("b/", "", "b"),
        ("m\\b\\", "m", "b"),
    ],
)
def test_hostile_paths(pack: Callable[..., Path], path: str, machine: str, boot: str, tmp_path: Path) -> None:
    archive = pack(tmp_path / "t", [(path + LOG, b"log"), (path + "ak.crt", b""), ("m/b/" + LOG, b"log")])
    assert faults(archive) == [(machine, boot, NAME), ("m", "b", None)]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("pack", [make_tar, make_zip])
def test_duplicates(pack: Callable[..., Path], tmp_path: Path) -> None:
    twice = [("m/b/evidence.json", b'{"boot_seq": 1}'), ("./m/b/evidence.json", b'{"boot_seq": 2}')]
    path = pack(tmp_path / "t", [*twice, ("m/c/" + LOG, b"log"), ("m/b/ak.crt", b"x")])
    assert faults(path) == [("m", "b", DUPLICATE), ("m", "c", None), ("m", "b", DUPLICATE)]
    assert read(path)[0]["boot_seq"] is None


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_limits_in_containers(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(kind, tmp_path, {"m/a": {LOG: bytes(11)}, **GOOD})
    monkeypatch.setitem(limits.MEMBER_BYTES, "event_log", 10)
    assert [code for _, _, code in faults(path)] == [UNREADABLE, None, None]
    monkeypatch.setattr(limits, "MEMBERS", 2)
    with pytest.raises(ArchiveError, match="more than 2 members"):
        read(path)


def until_it_breaks(path: Path) -> tuple[list[Any], str]:
    rows: list[Any] = []
    with pytest.raises(ArchiveError) as caught:
        for batch in open_source(path).batches(max_rows=2):
            rows += [(row["boot"], row["fault"] and row["fault"]["code"]) for row in batch.to_pylist()]
    assert str(path) in str(caught.value)
    return rows, str(caught.value)


def test_a_tar_that_breaks_off_gives_what_came_before(tmp_path: Path) -> None:
    tree: Tree = {f"m/{i}": {LOG: b"log" * 100, "ak.crt": bytes(9)} for i in range(5)}
    data = tar_bytes(tree, format=tarfile.USTAR_FORMAT)
    path = tmp_path / "t"
    member = 1024
    # Inside a header, inside data, and between two members: a boot at a clean cut may lack the rest of its members.
    for cut, whole in ((6 * member + 100, 2), (6 * member + 600, 3), (7 * member, 3), (6 * member, 2)):
        path.write_bytes(data[:cut])
        rows, message = until_it_breaks(path)
        assert "ends too early" in message
        assert rows == [(str(i), None) for i in range(whole)] + [(str(whole), UNREADABLE)]
    damaged = bytearray(data)
    damaged[6 * member] ^= 1
    path.write_bytes(damaged)
    assert until_it_breaks(path)[0] == [("0", None), ("1", None), ("2", UNREADABLE)]
    path.write_bytes(data + data)
    assert "after its end mark" in until_it_breaks(path)[1]


@pytest.mark.parametrize("pack", [gzip.compress, zstd, lzma.compress])
def test_compression_that_breaks_off(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    noise = random.Random(1)
    tree: Tree = {f"m/{i}": {LOG: noise.randbytes(200_000)} for i in range(20)}
    data = pack(tar_bytes(tree))
    path = tmp_path / "t"
    path.write_bytes(data[: len(data) // 2])
    rows, _ = until_it_breaks(path)
    assert rows[0] == ("0", None)
    assert rows[-1][1] == UNREADABLE
    path.write_bytes(data + b"trailing garbage")
    until_it_breaks(path)


def raw_tar(*blocks: bytes) -> bytes:
    return b"".join(blocks) + bytes(1024)


def header(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


def pax(text: bytes) -> bytes:
    return header("pax", b"x", len(text)) + text + bytes(-len(text) % 512)


def test_tar_headers_that_lie(tmp_path: Path) -> None:
    log = header("m/b/" + LOG, b"0", 0)
    cases = {
        "more than": header("pax", b"x", 1 << 30),
        "damaged extended": pax(b"99 path=x\n") + log,
        "damaged extended header": pax(b"12 size=-12\n") + log,
        "all members alike": header("g", b"g", 10) + b"10 path=a\n" + bytes(502) + log,
        "ends after": pax(b"10 path=a\n"),
    }
    path = tmp_path / "t"
    for message, blocks in cases.items():
        path.write_bytes(raw_tar(blocks))
        assert message in until_it_breaks(path)[1]
    for field in (
        b"\xff" * 12,
        b"\x80" + b"\x7f" * 11,
        b"\x80" + bytes(4) + b"\x7f" * 7,
        b"0000000009\0\0",
        b"0o0000000\0\0\0",
        b"1_000000000\0",
    ):
        block = bytearray(log)
        block[124:136] = field
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        path.write_bytes(raw_tar(log, bytes(block)))
        until_it_breaks(path)
    path.write_bytes(raw_tar(pax(b"22 GNU.sparse.major=1\n") + log))
    assert faults(path) == [("m", "b", UNREADABLE)]


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree: Tree = {"m/a": {LOG: b"log"}, "m/b": {LOG: bytes(3 << 20)}}
    items = [(f"m/{i}/{LOG}", bytes(3 << 20)) for i in range(3)]
    bomb_zip = make_zip(tmp_path / "zip", items)  # type: ignore[arg-type]
    monkeypatch.setattr(limits, "MEMBER_RATIO", 500)
    assert "zip bomb" in until_it_breaks(bomb_zip)[1]
    monkeypatch.setattr(limits, "MEMBER_RATIO", 5000)
    monkeypatch.setattr(limits, "TOTAL_RATIO_FROM", 1 << 20)
    assert "zip bomb" in until_it_breaks(bomb_zip)[1]
    for pack in (gzip.compress, zstd, lzma.compress):
        path = tmp_path / "t"
        path.write_bytes(pack(tar_bytes(tree)))
        assert "zip bomb" in until_it_breaks(path)[1]


def test_zip_members_that_cannot_be_read(tmp_path: Path) -> None:
    def info(name: str, mode: int = 0) -> zipfile.ZipInfo:
        found = zipfile.ZipInfo(name)
        found.external_attr = mode << 16
        return found

    path = tmp_path / "z"
    bzip = info("m/2/" + LOG)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info("m/0/" + LOG), b"log")
        archive.writestr(info("m/1/" + LOG, stat.S_IFLNK | 0o777), b"/etc/passwd")
        archive.writestr(bzip, b"log", zipfile.ZIP_BZIP2)
        archive.writestr(info("m/3/" + LOG), b"the log that is damaged")
        archive.writestr(info("m/4/" + LOG, stat.S_IFIFO), b"")
        archive.writestr(info("m/5/" + LOG + "/"), b"")
        archive.writestr(info("nameless"), b"")
        archive.writestr(info("m/6/" + LOG, stat.S_IFREG | 0o644), b"log")
    data = path.read_bytes().replace(b"that is damaged", b"that was damage")
    path.write_bytes(data.replace(b"nameless", bytes(8)))
    assert [code for _, _, code in faults(path)] == [None, *[UNREADABLE] * 5, None]


def test_zip_directory_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make("zip", tmp_path)
    monkeypatch.setattr(limits, "ZIP_DIRECTORY", 100)
    with pytest.raises(ArchiveError, match="over the limit of 100"):
        open_source(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ArchiveError, match="broken as a zip"):
        open_source(path)


def test_any_damage_is_a_row_or_an_archive_error(tmp_path: Path) -> None:
    draw = random.Random(7)
    for kind in ("tar", "gz", "xz", "zst", "zip", "parquet"):
        (tmp_path / kind).mkdir()
        path = make(kind, tmp_path / kind, FLEET)
        data = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(data)
            for _ in range(draw.randint(1, 4)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            path.write_bytes(damaged[: draw.choice((len(data), draw.randrange(len(data))))])
            try:
                read(path)
            except ArchiveError:
                continue

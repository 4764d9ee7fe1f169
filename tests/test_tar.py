"""The reader of tars against Python's own, whatever the chunks that it reads them in."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator

import numpy as np
import pytest
from source_archives import FLEET, tar_bytes

from pyverify import _native
from pyverify.errors import ArchiveError, PyverifyError
from pyverify.fleet import tar as tar_module
from pyverify.fleet.tar import BLOCK, TarReader, is_tar_header

CHUNKS = (BLOCK, 3 * BLOCK, 1 << 14, 1 << 20)
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@pytest.fixture(params=CHUNKS)
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Bytes that are looked at together."""
    size: int = request.param
    monkeypatch.setattr(tar_module, "_CHUNK", size)
    return size


def members(data: bytes, *, can_seek: bool = True, read: bool = True) -> Iterator[tuple[str, int, str | None, bytes]]:
    reader = TarReader(io.BufferedReader(io.BytesIO(data)), name="the.tar", can_seek=can_seek)  # type: ignore[arg-type]
    while (entry := reader.next()) is not None:
        yield (*entry, reader.read() if read else b"")


def by_tarfile(data: bytes) -> list[tuple[str, int, bool, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [
            (
                info.name,
                info.size,
                info.isreg(),
                file.read() if info.isreg() and (file := archive.extractfile(info)) else b"",
            )
            for info in archive
        ]


def some_tar(seed: int, tar_format: int) -> bytes:
    """Files of sizes around blocks and chunks, folders and links, under names short and long, ASCII and not."""
    chance = random.Random(seed)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format, encoding="utf-8") as archive:
        for number in range(40):
            long = chance.choice(["", "a" * 90 + "/", "f" * 60 + "/" + "g" * 60 + "/", "ä€/"])
            info = tarfile.TarInfo(f"{long}m{number}/log")
            info.type = chance.choice([tarfile.REGTYPE] * 6 + [tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
            info.linkname = "log" if info.issym() else ""
            block = chance.choice([0, BLOCK, 2 * BLOCK, 1 << 14, 3 << 14])
            info.size = max(0, block + chance.randrange(-1, 2)) if info.isreg() else 0
            info.mtime = chance.choice([0, 1.5])
            archive.addfile(info, io.BytesIO(chance.randbytes(info.size)))
    return out.getvalue()


@pytest.mark.parametrize("can_seek", [True, False])
@pytest.mark.parametrize("tar_format", FORMATS)
def test_members_are_those_that_tarfile_finds(tar_format: str, can_seek: bool, chunk: int) -> None:
    for seed in range(6):
        data = some_tar(seed, FORMATS[tar_format])
        wanted = by_tarfile(data)
        assert len(wanted) == 40
        found = list(members(data, can_seek=can_seek))
        assert [(path.rstrip("/"), size, trouble is None, held) for path, size, trouble, held in found] == wanted
        passed = list(members(data, can_seek=can_seek, read=False))
        assert [entry[:3] for entry in passed] == [entry[:3] for entry in found]


def test_a_tar_cut_anywhere_gives_its_first_members_and_an_error(chunk: int) -> None:
    data = tar_bytes({"m/a": {"x": b"1" * 700, "y": b""}, "m/b": {"z": b"3" * 512}}, format=tarfile.USTAR_FORMAT)
    whole = list(members(data))
    end = 6 * BLOCK  # three headers, 700 bytes in two blocks, 512 in one
    for cut in range(end + BLOCK):
        found = []
        with pytest.raises(ArchiveError, match=r"the\.tar: the tar ends too early"):
            for member in members(data[:cut]):
                found.append(member)
        assert found == whole[: len(found)]
    assert list(members(data[: end + BLOCK])) == whole


def test_any_bit_of_any_header_shows(chunk: int) -> None:
    data = bytearray(tar_bytes({"m/a": {"x": b"1" * 600, "y": b"2"}}, format=tarfile.USTAR_FORMAT))
    whole = list(members(bytes(data)))
    for header in (0, 3 * BLOCK):
        for bit in range(8 * BLOCK):
            data[header + bit // 8] ^= 1 << bit % 8
            try:
                # A space and a zero, of a number or after it, are as good as each other.
                assert list(members(bytes(data))) == whole
                assert 148 <= bit // 8 < 156
            except ArchiveError as error:
                assert "has a damaged header" in str(error)
            data[header + bit // 8] ^= 1 << bit % 8


def pax(text: bytes) -> bytes:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(text)
    return info.tobuf(tarfile.USTAR_FORMAT) + text + bytes(-len(text) % BLOCK)


def file(name: str, data: bytes, size: int | None = None) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data) if size is None else size
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK)


def test_headers_within_the_data_of_a_member_are_data(chunk: int) -> None:
    inner = file("inner", b"evil") + file("inner too", b"evil")
    # By its own header the first member is empty, and what is inside it would be members.
    data = pax(b"16 size=0002048\n") + file("outer", inner, 0) + file("next", b"good") + bytes(2 * BLOCK)
    assert len(inner) == 2048
    assert [(path, held) for path, _, _, held in members(data)] == [("outer", inner), ("next", b"good")]
    assert by_tarfile(data) == [("outer", 2048, True, inner), ("next", 4, True, b"good")]


def test_data_that_its_own_header_would_hide_are_members(chunk: int) -> None:
    data = pax(b"9 size=0\n") + file("outer", b"", 2048) + file("next", b"good") + file("more", b"m") + bytes(2 * BLOCK)
    assert [(path, held) for path, _, _, held in members(data)] == [("outer", b""), ("next", b"good"), ("more", b"m")]


def test_only_zeros_may_follow_the_end_mark(chunk: int) -> None:
    data = file("a", b"1") + bytes(2 * BLOCK)
    for zeros in (0, 1, chunk - 1, chunk, 3 * chunk):
        assert len(list(members(data + bytes(zeros)))) == 1
        with pytest.raises(ArchiveError, match="has data after its end mark"):
            list(members(data + bytes(zeros) + b"\1"))


def test_a_tar_is_told_by_its_first_block() -> None:
    data = tar_bytes(FLEET)
    assert is_tar_header(data[:BLOCK])
    assert is_tar_header(bytes(BLOCK))
    for block in (b"", data[: BLOCK - 1], data[: BLOCK + 1], b"x" * BLOCK, data[1 : BLOCK + 1]):
        assert not is_tar_header(block)


def test_a_walk_from_outside_the_chunk_is_refused() -> None:
    with pytest.raises(PyverifyError, match="pv_tar_headers"):
        _native.tar_headers(np.zeros(BLOCK, np.uint8), BLOCK + 1)

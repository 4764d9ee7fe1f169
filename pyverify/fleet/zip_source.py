"""Evidence as a zip of the folder tree: members in the order of its directory, nothing extracted."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, Final, Literal

from pyverify.errors import ArchiveError
from pyverify.fleet import limits, rows
from pyverify.fleet.assembly import Assembly, Item, UnreadableError
from pyverify.fleet.places import Place, open_bytes, size_of

# APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16: where the sizes of the central directory stand.
_END: Final = struct.Struct("<4s4H2LH")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64: Final = struct.Struct("<4sLQL")
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 1
_SEE_ZIP64: Final = 0xFFFFFFFF
_UNIX: Final = 3
_KINDS: Final = {
    0: None,
    0o10: None,
    0o12: "is a symbolic link",
    0o01: "is a FIFO",
    0o02: "is a character device",
    0o04: "is a folder",
    0o06: "is a block device",
}
"""By the file type bits of ``st_mode``; 0 is a packer that does not say."""


class ZipSource:
    """A zip of evidence."""

    def __init__(self, path: Place) -> None:
        self._path = path
        self._total = size_of(path)
        self._done = 0
        self._open().close()

    @property
    def total(self) -> int:
        """Bytes of the file."""
        return self._total

    def progress(self) -> tuple[int, int]:
        """Bytes of the file: (read, all)."""
        return min(self._done, self._total), self._total

    def batches(
        self, *, max_rows: int = 256, max_bytes: int = 32 << 20, columns: Literal["keys", "files"] | None = None
    ) -> Iterator[Any]:
        """Record batches of the boots in the order of the zip's directory."""
        rows.check_arguments(max_rows, max_bytes, columns)
        boots = Assembly(self._path, columns == rows.KEYS).boots(self._items())
        return rows.batched(boots, max_rows=max_rows, max_bytes=max_bytes, columns=columns)

    def _open(self) -> zipfile.ZipFile:
        try:
            size = _directory_size(self._path)
            if size > limits.ZIP_DIRECTORY:
                raise ArchiveError(
                    f"{self._path}: its directory of {size} bytes is over the limit of {limits.ZIP_DIRECTORY}; "
                    "pack it as a tar or as Parquet"
                )
            return _OwnZip(io.BufferedReader(open_bytes(self._path)))
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise ArchiveError(f"{self._path}: broken as a zip ({error}); copy or pack it again") from error

    def _items(self) -> Iterator[Item]:
        self._done = 0
        expanded = 0
        with self._open() as archive:
            for info in archive.infolist():
                if info.file_size > max(limits.MEMBER_RATIO_FROM, limits.MEMBER_RATIO * info.compress_size):
                    self._refuse_bomb(limits.MEMBER_RATIO)
                trouble = _kind(info)
                path = info.filename if "\0" not in info.orig_filename else info.orig_filename

                def read(info: zipfile.ZipInfo = info) -> bytes:
                    return _unzip(archive, info)

                yield path, info.file_size, trouble, read
                # What overlapping members hide: more data than the file has room for.
                expanded += info.file_size
                if expanded > max(limits.TOTAL_RATIO_FROM, limits.TOTAL_RATIO * self._total):
                    self._refuse_bomb(limits.TOTAL_RATIO)
                self._done = max(self._done, info.header_offset + info.compress_size)
        self._done = self._total

    def _refuse_bomb(self, ratio: int) -> None:
        raise ArchiveError(
            f"{self._path}: expands to more than {ratio} times its size, as a zip bomb does; "
            "if it is yours, unpack it and give the folder"
        )


class _OwnZip(zipfile.ZipFile):
    """A zip that closes its file."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._own = file
        try:
            super().__init__(file)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        super().close()
        self._own.close()


def _kind(info: zipfile.ZipInfo) -> str | None:
    if info.filename.endswith("/"):
        return "is a folder"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted; pack it without a password"
    if info.compress_type not in _METHODS:
        # Others have decoders without a bound on what one call puts out.
        return "is compressed by a method other than deflate; pack it again"
    mode = info.external_attr >> 16
    return _KINDS.get(mode >> 12, "is not a regular file") if info.create_system == _UNIX else None


def _unzip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as member:
            data = member.read(info.file_size + 1)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, struct.error) as error:
        raise UnreadableError(error) from error
    if len(data) != info.file_size:
        raise UnreadableError("it is shorter than the zip's directory says")
    return data


def _directory_size(path: Place) -> int:
    """Bytes of the central directory as its end record tells; ``zipfile`` reads as many at once."""
    with io.BufferedReader(open_bytes(path)) as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - (1 << 16) - _END.size - _LOCATOR_64.size))
        tail = file.read()
        at = tail.rfind(b"PK\5\6")
        if at < 0 or at + _END.size > len(tail):
            raise zipfile.BadZipFile("no end record")
        found = int(_END.unpack_from(tail, at)[5])
        sizes = [found] if found != _SEE_ZIP64 else []
        locator = at - _LOCATOR_64.size
        if locator >= 0 and tail.startswith(b"PK\6\7", locator):
            # The record stands where the locator says or right before it; readers differ in which they take.
            end = size - len(tail) + locator
            for start in (int(_LOCATOR_64.unpack_from(tail, locator)[2]), end - _END_64.size):
                file.seek(min(max(start, 0), size))
                record = file.read(_END_64.size)
                if len(record) == _END_64.size and record.startswith(b"PK\6\6"):
                    sizes.append(int(_END_64.unpack(record)[8]))
        return max(sizes, default=_SEE_ZIP64)

"""Archives in: evidence of any form as record batches of one schema."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, Protocol
from urllib.parse import unquote, urlsplit

from pyverify.errors import ArchiveError
from pyverify.fleet.folder import FolderSource
from pyverify.fleet.members import recognise
from pyverify.fleet.parquet import ParquetSource
from pyverify.fleet.places import Place, open_bytes
from pyverify.fleet.remote import RemoteFolderSource, locate, parquet_files
from pyverify.fleet.rows import source_schema
from pyverify.fleet.streams import MAGIC
from pyverify.fleet.tar import BLOCK, is_tar_header
from pyverify.fleet.tar_source import TarSource
from pyverify.fleet.zip_source import ZipSource

__all__ = ["Archive", "Source", "open_source", "source_schema"]

_KINDS: Final = "a folder of <machine>/<boot>/, a tar (.gz .xz .zst) or zip of it, or Parquet"
_REFUSED: Final[tuple[tuple[bytes, str], ...]] = (
    (b"BZh", "bzip2 is not read; compress it with zstd, xz or gzip"),
    (b"PARE", "Parquet with an encrypted footer is not read; write it unencrypted"),
    (b"ARROW1", "Arrow IPC is not read; write it as Parquet"),
)


class Source(Protocol):
    """An archive that was opened. It can be read any number of times, one reading at a time."""

    @property
    def total(self) -> int:
        """What ``progress`` counts to, in a unit of the source's own: folders, bytes of the file, or rows."""

    def progress(self) -> tuple[int, int]:
        """``(done, total)`` of the reading under way; safe to call from another thread."""

    def batches(
        self, *, max_rows: int = 256, max_bytes: int = 32 << 20, columns: Literal["keys"] | None = None
    ) -> Iterator[Any]:
        """Record batches of :func:`source_schema`, a row a boot, in an order that is always the same.

        Folders come sorted by name, members of a tar or zip in their order, Parquet in the order of the files.
        ``event_log`` and ``userspace_log`` of Parquet stay dictionaries where the file is encoded so; rows can be taken
        out of every column.

        Args:
            max_rows: rows of a batch at most.
            max_bytes: bytes of evidence in a batch at most, unless one boot alone is larger.
            columns: "keys" for machine, boot, boot_seq, collected_at, source and fault only, without reading logs. A
                fault that only the bytes of a log would show is not seen then.

        Raises:
            UsageError: a size below 1 or unknown columns.
            ArchiveError: while iterating, the archive breaks off; all rows before have been yielded.
        """


class Archive(Source, Protocol):
    """A source that is on disk or in an object store."""

    def batches(
        self, *, max_rows: int = 256, max_bytes: int = 32 << 20, columns: Literal["keys", "files"] | None = None
    ) -> Iterator[Any]:
        """As of a :class:`Source`; "files" adds the members by name, with what no column holds of them.

        That is all that it takes to write the same files again.
        """


def open_source(path: str | os.PathLike[str]) -> Archive:
    """Open an archive of evidence: a folder tree, a tar or zip of it, a Parquet file or a folder of such files.

    What it is, is decided by its content and not by its name. It may be the URL of an object store (a string with
    ``://``), which fsspec and its driver must be installed for, unless it is ``file://``.

    Raises:
        ArchiveError: it is not there, cannot be read, is of no known kind, or is broken as a container.
    """
    place = Path(path)
    try:
        if isinstance(path, str) and "://" in path:
            if not path.startswith("file://"):
                return _open_remote(path)
            place = Path(unquote(urlsplit(path).path))
        return _open_local(place)
    except FileNotFoundError as error:
        raise ArchiveError(f"{_shown(path)}: does not exist; check the path") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ArchiveError(
            f"{_shown(path)}: cannot be opened ({reason}); check the path and its permissions"
        ) from error


def _shown(path: str | os.PathLike[str]) -> str:
    """A path or URL for messages: what stands before ``@`` in a URL may be a secret."""
    scheme, mark, rest = str(path).partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else str(path)


def _open_remote(url: str) -> Archive:
    place, is_folder = locate(url)
    if is_folder:
        files = parquet_files(place)
        return ParquetSource(place, files) if files else RemoteFolderSource(place)
    with open_bytes(place) as file:
        start = io.BufferedReader(file).read(BLOCK)
    return _open_file(place, start)


def _open_local(path: Path) -> Archive:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return _open_folder(path)
    if not stat.S_ISREG(mode):
        raise ArchiveError(f"{path}: is neither a file nor a folder; give {_KINDS}")
    with path.open("rb") as file:
        start = file.read(BLOCK)
    return _open_file(path, start)


def _open_file(path: Place, start: bytes) -> Archive:
    if start.startswith(b"PAR1"):
        return ParquetSource(path, [path])
    if start.startswith((b"PK\3\4", b"PK\5\6")):
        return ZipSource(path)
    for magic, compression in MAGIC:
        if start.startswith(magic):
            return TarSource(path, compression)
    if is_tar_header(start):
        return TarSource(path, None)
    for magic, advice in _REFUSED:
        if start.startswith(magic):
            raise ArchiveError(f"{path}: {advice}")
    what = "is empty" if not start else "is of no known kind"
    raise ArchiveError(f"{path}: {what}; give {_KINDS}")


def _open_folder(path: Path) -> Archive:
    files = _parquet_files(path)
    return ParquetSource(path, files) if files else FolderSource(path)


def _parquet_files(root: Path) -> list[Path]:
    """The Parquet files of a data set, none if the folder holds evidence as files.

    The first member of evidence decides, so that a large folder tree is not walked for nothing, and a Parquet file of
    verdicts beside the machines changes nothing.
    """
    found: list[Path] = []
    for folder, below, names in os.walk(root):
        # Names that begin so are a writer's own, such as _temporary (the rule of Spark and Arrow).
        below[:] = sorted(name for name in below if not name.startswith(("_", ".")))
        for name in sorted(names):
            if recognise(name) is not None:
                return []
            if name.endswith(".parquet") and not name.startswith(("_", ".")):
                found.append(Path(folder, name))
    return sorted(found)

"""Archives in object stores, by URL: ``s3://…``, ``gs://…``, whatever fsspec has a driver for.

fsspec is an extra. Objects have no links, devices or FIFOs, and each is read at once as it was when it was listed; one
that is of another size by then is a row with a reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pyverify.errors import ArchiveError, UsageError
from pyverify.fleet import rows
from pyverify.fleet.assembly import Assembly, Item, UnreadableError
from pyverify.fleet.members import recognise
from pyverify.fleet.places import RemoteFile, guarded


def locate(url: str) -> tuple[RemoteFile, bool]:
    """What a URL names, and whether it is a folder.

    Raises:
        UsageError: fsspec, or its driver for this kind of URL, is not installed, or there is no such kind.
        OSError: it is not there, or the file system refuses.
    """
    scheme = url.partition("://")[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise UsageError(f"{scheme}:// needs fsspec: pip install 'pyverify[fsspec]', and its driver") from error
    try:
        system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{scheme}:// cannot be read: {error}") from error
    except Exception as error:
        raise OSError(5, f"{type(error).__name__}: {error}") from error
    place = RemoteFile(system, path, f"{scheme}://{path.lstrip('/')}")
    return place, guarded(system.info, path)["type"] == "directory"


def parquet_files(root: RemoteFile) -> list[RemoteFile]:
    """The Parquet files of a data set, none where the first file that counts is evidence."""
    found = []
    for folder, below, files in guarded(lambda: root.system.walk(root.path, detail=True)):
        if isinstance(below, dict):
            for name in [name for name in below if name.startswith(("_", "."))]:
                del below[name]
        for name in sorted(files):
            if recognise(name) is not None:
                return []
            if name.endswith(".parquet") and not name.startswith(("_", ".")):
                found.append(_below(root, f"{folder.rstrip('/')}/{name}"))
    return sorted(found, key=lambda file: file.path)


def _below(root: RemoteFile, path: str) -> RemoteFile:
    scheme = root.name.partition("://")[0]
    return RemoteFile(root.system, path, f"{scheme}://{path.lstrip('/')}")


class RemoteFolderSource:
    """A tree of evidence as objects: ``<machine>/<boot>/<member>`` below a URL."""

    def __init__(self, root: RemoteFile) -> None:
        self._root = root
        self._total = 1
        self._done = 0

    @property
    def total(self) -> int:
        """Folders directly below the one given; 1 until it is read."""
        return self._total

    def progress(self) -> tuple[int, int]:
        """Folders directly below the one given: (done, total)."""
        return self._done, self._total

    def batches(
        self, *, max_rows: int = 256, max_bytes: int = 32 << 20, columns: Literal["keys", "files"] | None = None
    ) -> Iterator[Any]:
        """Record batches of the boots, sorted by name; with ``columns="keys"`` only evidence.json is read."""
        rows.check_arguments(max_rows, max_bytes, columns)
        boots = Assembly(self._root.name, columns == rows.KEYS).boots(self._items())
        return rows.batched(boots, max_rows=max_rows, max_bytes=max_bytes, columns=columns)

    def _items(self) -> Iterator[Item]:
        self._done = 0
        top = self._listed(self._root.system.ls, self._root.path)
        self._total = max(len(top), 1)
        for entry in sorted(top, key=lambda entry: str(entry["name"])):
            inside = [entry]
            if entry["type"] == "directory":
                inside = list(self._listed(self._root.system.find, entry["name"]).values())
            for info in sorted(inside, key=_place):
                yield self._item(info)
            self._done += 1

    def _listed(self, call: Any, path: str) -> Any:
        try:
            return guarded(call, path, detail=True)
        except OSError as error:
            raise ArchiveError(f"{self._root}: {path} cannot be listed ({error}); check its permissions") from error

    def _item(self, info: dict[str, Any]) -> Item:
        path, size = info["name"], int(info["size"] or 0)

        def read() -> bytes:
            try:
                data = bytes(guarded(self._root.system.cat_file, path, start=0, end=size + 1))
            except OSError as error:
                raise UnreadableError(error.strerror or str(error)) from error
            if len(data) != size:
                raise UnreadableError("it changed while it was read; collect it again")
            return data

        trouble = None if info["type"] == "file" else "is not a regular file"
        return path.lstrip("/"), size, trouble, read


def _place(info: dict[str, Any]) -> tuple[list[str], str]:
    """Where an object comes: all members of a boot together."""
    folder, _, name = info["name"].rpartition("/")
    return folder.split("/"), name

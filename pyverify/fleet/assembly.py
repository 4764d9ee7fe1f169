"""Members of a tar or zip put together to boots."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyverify.errors import ArchiveError
from pyverify.fleet import limits
from pyverify.fleet.members import EVIDENCE, Boot, Member, recognise
from pyverify.fleet.places import Place

_Read = Callable[[], bytes]
Item = tuple[str, int, str | None, _Read]
"""Path, size, what it is instead of a regular file, and how its bytes are read."""


class UnreadableError(Exception):
    """A member cannot be read; the others can."""


class Assembly:
    """Members of a container put together to boots. Members of one boot lie next to each other."""

    def __init__(self, file: Place | str, keys: bool) -> None:
        self._file = str(file)
        self._keys = keys
        self._folders: set[str] = set()
        self._folder: str | None = None
        self._boot: Boot | None = None
        self._row = 0

    def boots(self, items: Iterator[Item]) -> Iterator[Boot]:
        """One boot after the other; the one in progress when the container breaks fails, then the error goes on."""
        try:
            for number, item in enumerate(items):
                if number >= limits.MEMBERS:
                    raise ArchiveError(
                        f"{self._file}: more than {limits.MEMBERS} members; split it, or pack as Parquet"
                    )
                above, _, last = item[0].rpartition("/")
                known = recognise(last) if above == self._folder else None
                if known is not None and self._boot is not None:
                    # What is wrong with the path, if anything, was said of the boot when it began.
                    self._add(self._boot, known, last, item)
                    continue
                found = _member_of(item[0])
                if found is None:
                    continue
                folder, member, name, path_trouble = found
                if folder != self._folder or self._boot is None:
                    yield from self._finish()
                    self._boot = self._begin(folder)
                if path_trouble is not None:
                    self._boot.fail("evidence.name", path_trouble)
                self._add(self._boot, member, name, item)
        except ArchiveError:
            if self._boot is not None:
                self._boot.fail("evidence.unreadable", "the archive breaks off here")
            yield from self._finish()
            raise
        yield from self._finish()

    def _begin(self, folder: str) -> Boot:
        above, _, name = folder.rpartition("/")
        machine = above.rpartition("/")[2]
        boot = Boot(machine, name, file=self._file, row=self._row)
        self._row += 1
        self._folder = folder
        if not machine:
            boot.hint = "the path lacks <machine>/<boot>/ before the file's name; pack the folder of all machines"
        if folder in self._folders:
            boot.fail("evidence.duplicate", "the boot's folder is there twice; which one is meant cannot be told")
        self._folders.add(folder)
        return boot

    def _finish(self) -> Iterator[Boot]:
        if self._boot is not None:
            self._boot.close()
            yield self._boot
        self._boot = None

    def _add(self, boot: Boot, member: Member, name: str, item: Item) -> None:
        _, size, trouble, read = item
        if trouble is not None:
            boot.fail("evidence.unreadable", f"{name} {trouble}")
            return
        if not boot.admit(member, name) or not boot.allows(member, name, size):
            return
        if self._keys and member != EVIDENCE:
            return
        try:
            boot.put(member, read())
        except UnreadableError as error:
            boot.fail("evidence.unreadable", f"{name} cannot be read: {error}")


def _member_of(path: str) -> tuple[str, Member, str, str | None] | None:
    """``(folder, member, name, trouble)`` of a path, None if it is no evidence."""
    folder, _, name = path.rstrip("/").rpartition("/")
    member = recognise(name)
    if member is None:
        # Written on Windows by a tool that keeps its separator: evidence all the same.
        name = name.rpartition("\\")[2]
        member = recognise(name)
        if member is None:
            return None
        folder = "\\/" + path[: -len(name) - 1].replace("\\", "/")
        return folder, member, name, "the path is separated by backslashes; pack it with slashes"
    if not (path.startswith(("/", "./")) or ".." in path or "//" in path or "/./" in path):
        return folder, member, name, None  # as nearly all are
    parts = folder.split("/")
    if path.startswith("/"):
        return folder, member, name, "the path is absolute; pack it relative to the archive's folder"
    if ".." in parts:
        return folder, member, name, "the path contains '..'; pack it relative to the archive's folder"
    if "." in parts or "" in parts:
        parts = [part for part in parts if part not in ("", ".")]
    return "/".join(parts), member, name, None

"""Evidence as a folder tree: ``<machine>/<boot>/<member>``, read through directory descriptors."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pyverify.errors import ArchiveError
from pyverify.fleet import limits, rows
from pyverify.fleet.members import EVIDENCE, Boot, Member, recognise

# A link is never followed and a FIFO never waited for (SPEC section 10.1 row 29).
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_CHUNK: Final = 1 << 20


@dataclass(slots=True)
class _Listing:
    """What lies in a folder: members with what is wrong with them, and the folders below it."""

    members: list[tuple[str, Member, str | None]] = field(default_factory=list)
    folders: dict[str, str | None] = field(default_factory=dict)
    """Why a folder cannot be entered, None if it can."""


class FolderSource:
    """A folder tree of evidence. A folder that holds evidence is a boot; the folder it lies in names the machine."""

    def __init__(self, path: Path) -> None:
        self._root = path.resolve()
        self._done = 0
        self._total = len(self._top().folders) or 1

    @property
    def total(self) -> int:
        """Folders directly below the one given."""
        return self._total

    def progress(self) -> tuple[int, int]:
        """Folders directly below the one given: (done, total)."""
        return min(self._done, self._total), self._total

    def batches(
        self, *, max_rows: int = 256, max_bytes: int = 32 << 20, columns: Literal["keys", "files"] | None = None
    ) -> Iterator[Any]:
        """Record batches of the boots, sorted by name; with ``columns="keys"`` only evidence.json is read."""
        rows.check_arguments(max_rows, max_bytes, columns)
        boots = self._boots(columns == rows.KEYS)
        return rows.batched(boots, max_rows=max_rows, max_bytes=max_bytes, columns=columns)

    def _top(self) -> _Listing:
        try:
            fd = os.open(self._root, _FOLDER_FLAGS)
            try:
                return _list(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise ArchiveError(f"{self._root}: cannot be listed ({error.strerror}); check its permissions") from error

    def _boots(self, keys: bool) -> Iterator[Boot]:
        self._done = 0
        top = self._top()
        self._total = len(top.folders) or 1
        walk = _Walk(keys, is_machine=self._is_machine(top))
        try:
            fd = os.open(self._root, _FOLDER_FLAGS)
        except OSError as error:
            raise ArchiveError(f"{self._root}: cannot be opened ({error.strerror}); check its permissions") from error
        try:
            for boot, depth_1_done in walk.root(fd, self._root):
                self._done += depth_1_done
                if boot is not None:
                    yield boot
        finally:
            os.close(fd)
        self._done = self._total

    def _is_machine(self, top: _Listing) -> bool:
        """Whether the folder given is a machine's: the first folder below it that can be listed holds evidence."""
        for name, trouble in sorted(top.folders.items()):
            if trouble is None:
                try:
                    with os.scandir(self._root / name) as entries:
                        return any(recognise(entry.name) for entry in entries)
                except OSError:
                    continue
        return False


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder of the tree by its names."""

    path: str
    parent: str
    name: str
    depth: int

    def below(self, name: str) -> _Place:
        return _Place(f"{self.path.rstrip('/')}/{name}", self.name, name, self.depth + 1)


class _Walk:
    """One pass over a tree."""

    def __init__(self, keys: bool, *, is_machine: bool) -> None:
        self._keys = keys
        self._is_machine = is_machine

    def root(self, fd: int, path: Path) -> Iterator[tuple[Boot | None, int]]:
        """Boots, and 1 with the end of each folder directly below."""
        place = _Place(str(path), path.parent.name, path.name, 0)
        listing = _list(fd)
        if listing.members:
            yield self._boot(fd, place, listing), 0
        for name in sorted(listing.folders):
            for boot in self._enter(fd, place.below(name), listing.folders[name]):
                yield boot, 0
            yield None, 1

    def _enter(self, above: int, place: _Place, trouble: str | None) -> Iterator[Boot]:
        if trouble is None and place.depth > limits.FOLDER_DEPTH:
            trouble = f"lies more than {limits.FOLDER_DEPTH} folders deep"
        if trouble is not None:
            yield self._no_entry(place, trouble)
            return
        try:
            fd = os.open(place.name, _FOLDER_FLAGS, dir_fd=above)
        except OSError as error:
            yield self._no_entry(place, f"cannot be opened: {error.strerror}")
            return
        try:
            try:
                listing = _list(fd)
            except OSError as error:
                yield self._no_entry(place, f"cannot be listed: {error.strerror}")
                return
            if listing.members:
                yield self._boot(fd, place, listing)
            for name in sorted(listing.folders):
                yield from self._enter(fd, place.below(name), listing.folders[name])
        finally:
            os.close(fd)

    def _no_entry(self, place: _Place, trouble: str) -> Boot:
        if place.depth == 1 and not self._is_machine:
            # Directly below an archive a folder is a machine's, and no boot of it is known.
            boot = Boot(place.name, "unknown", file=place.path, row=0)
            boot.boot = ""
        else:
            boot = Boot(place.parent, place.name, file=place.path, row=0)
        boot.fail("evidence.unreadable", f"the folder {trouble}")
        return boot

    def _boot(self, fd: int, place: _Place, listing: _Listing) -> Boot:
        boot = Boot(place.parent, place.name, file=place.path, row=0)
        for name, member, trouble in listing.members:
            if trouble is not None:
                boot.fail("evidence.unreadable", f"{name} {trouble}")
            elif boot.admit(member, name) and (member == EVIDENCE or not self._keys):
                data = _read(fd, name, member, boot)
                if data is not None:
                    boot.put(member, data)
        boot.close()
        return boot


def _list(fd: int) -> _Listing:
    found = _Listing()
    links: list[str] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            member = recognise(entry.name)
            if member is not None:
                found.members.append((entry.name, member, _not_a_file(entry)))
            elif entry.is_symlink():
                links.append(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                found.folders[entry.name] = None
    found.members.sort(key=lambda item: item[0])
    if not found.members:
        for name in links:
            trouble = _link_trouble(fd, name, found.folders)
            if trouble is not None:
                found.folders[name] = trouble
    return found


def _not_a_file(entry: os.DirEntry[str]) -> str | None:
    if entry.is_file(follow_symlinks=False):
        return None
    if entry.is_symlink():
        return "is a symbolic link; links are not followed"
    return "is a folder" if entry.is_dir(follow_symlinks=False) else "is not a regular file"


def _link_trouble(fd: int, name: str, folders: dict[str, str | None]) -> str | None:
    """Why a link among folders is a row: it may hide evidence. One to a folder beside it (``latest``) hides none."""
    try:
        if folders.get(os.readlink(name, dir_fd=fd), "") is None:
            return None
        if not stat.S_ISDIR(os.stat(name, dir_fd=fd).st_mode):
            return None
    except OSError:
        return "is a symbolic link to nothing"
    return "is a symbolic link; links are not followed"


def _read(folder: int, name: str, member: Member, boot: Boot) -> bytes | None:
    """The bytes of a member, read once; None after the boot failed by it."""
    try:
        fd = os.open(name, _FILE_FLAGS, dir_fd=folder)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                boot.fail("evidence.unreadable", f"{name} is not a regular file")
                return None
            if not boot.allows(member, name, before.st_size):
                return None
            data = _read_all(fd, before.st_size, limits.MEMBER_BYTES[member.column])
            after = os.fstat(fd)
        finally:
            os.close(fd)
    except OSError as error:
        boot.fail("evidence.unreadable", f"{name} cannot be read: {error.strerror}")
        return None
    # Files of the kernel (securityfs) say that they are empty and are not; their size never changes.
    grew = len(data) != before.st_size and before.st_size != 0
    if grew or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        boot.fail("evidence.unreadable", f"{name} changed while it was read; collect it again")
        return None
    return data if boot.allows(member, name, len(data)) else None


def _read_all(fd: int, size: int, limit: int) -> bytes:
    """All bytes up to one more than the limit."""
    data = os.read(fd, size + 1)
    if len(data) == size:
        return data
    parts = [data]
    total = len(data)
    while data and total <= limit:
        data = os.read(fd, _CHUNK)
        parts.append(data)
        total += len(data)
    return b"".join(parts)

"""What a long job has finished so far, in a folder beside its output until the output is whole."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pyverify.errors import OutputError, UsageError

SUFFIX = ".partial"
_UNFINISHED = ".unfinished"


def partial_of(output: Path) -> Path:
    """The folder that keeps what is finished of an output."""
    return output.with_name(output.name + SUFFIX)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes a folder, if need be, and keeps other processes out of it until the end.

    Raises:
        UsageError: another process is at it.
    """
    # It is not there any more afterwards, unless something in it is finished and the whole is not.
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{folder}: another process is at work there; wait for its end") from error
        yield
    finally:
        os.close(handle)
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def finished_file(path: Path) -> Iterator[IO[bytes]]:
    """A file open for writing that takes its name, and is on the disk, only when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}{_UNFINISHED}")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def writing(output: Path) -> Iterator[None]:
    """What the system says against writing an output becomes an error in words.

    Raises:
        OutputError: the disk is full, or the place cannot be written to.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{output}: cannot be written ({reason}); see to its disk and permissions") from error


def sync_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_unfinished(folder: Path) -> None:
    """Removes what a process that was killed was writing when it was."""
    for path in folder.rglob(f".*{_UNFINISHED}"):
        path.unlink()


def discard(folder: Path) -> None:
    """Removes a folder with all that is in it."""
    shutil.rmtree(folder, ignore_errors=True)

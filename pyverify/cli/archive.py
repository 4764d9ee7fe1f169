"""What the commands that work on an archive share: policy, store, progress."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from pyverify.appraise.policy import Policy

_QUIET_SECONDS: Final = 10
"""Between two lines of progress where standard error is no terminal."""


class HasProgress(Protocol):
    """What is read, and says how far it has been."""

    def progress(self) -> tuple[int, int]:
        """``(done, total)``."""


def policy_of(args: argparse.Namespace) -> Policy:
    """The policy that was named, else ``default``: a file where the name has a ``/`` or ends in ``.toml``.

    Raises:
        UsageError: it is unknown, or the file is no policy.
    """
    named: str = args.policy
    return Policy.read(Path(named)) if "/" in named or named.endswith(".toml") else Policy.preset(named)


def as_of(args: argparse.Namespace) -> datetime.datetime:
    """The time of the verdicts: the start of the run unless it was given."""
    return args.as_of or datetime.datetime.now(datetime.UTC)


@contextlib.contextmanager
def progress(source: HasProgress, unit: str, note: Callable[[], str] = str) -> Iterator[Callable[[int], None]]:
    """Shows how far a source has been read, with rate, remaining time and a note, on standard error.

    Yields:
        A function to call with the number of rows done in all.
    """
    if not sys.stderr.isatty():
        yield _quiet_progress(source, unit, note)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, rate="")

        def update(rows: int) -> None:
            done, total = source.progress()
            rate = rows / max(time.monotonic() - start, 1e-9)
            bar.update(task, completed=done, total=total or None, rate=f"{rows:,} {unit} · {rate:,.0f}/s{_after(note)}")

        yield update


def _after(note: Callable[[], str]) -> str:
    words = note()
    return f" · {words}" if words else ""


def _quiet_progress(source: HasProgress, unit: str, note: Callable[[], str]) -> Callable[[int], None]:
    start = last = time.monotonic()

    def update(rows: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _QUIET_SECONDS:
            return
        last = now
        done, total = source.progress()
        left = f", {(now - start) * (total - done) / done:,.0f} s left" if 0 < done <= total else ""
        print(f"pyverify: {rows:,} {unit}, {rows / (now - start):,.0f}/s{left}{_after(note)}", file=sys.stderr)

    return update

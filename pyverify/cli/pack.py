"""``pack`` and ``unpack``: archives to Parquet and to folders."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pyverify.cli.archive import progress
from pyverify.cli.lines import number_of
from pyverify.errors import UsageError
from pyverify.evidence.text import escape
from pyverify.fleet import pack as packing
from pyverify.fleet import unpack as unpacking
from pyverify.fleet.sources import Archive, open_source


def pack(args: argparse.Namespace) -> int:
    """Writes archives as Parquet, and says how large they became."""
    sources = [open_source(archive) for archive in args.archives]
    reading = _Reading(sources)
    with progress(reading, "boots") as update:
        done = packing.pack(iter(reading), Path(args.output), by_date=args.partition == "date", watch=update)
    files = number_of(len(done.files), "file")
    share = f", {done.evidence_bytes / done.packed_bytes:.1f} times smaller" if done.evidence_bytes else ""
    print(
        f"{number_of(done.rows, 'boot')} in {files}: {done.evidence_bytes:,} bytes of evidence in "
        f"{done.packed_bytes:,}{share}",
        file=sys.stderr,
    )
    _tell_unreadable(done.unreadable)
    return 0


def unpack(args: argparse.Namespace) -> int:
    """Writes an archive as a folder tree."""
    output, archive = Path(args.output), Path(args.source)
    if archive.is_dir() and output.resolve().is_relative_to(archive.resolve()):
        raise UsageError(f"{output} lies within {archive}, which would be read while it is written; name another place")
    source = open_source(args.source)
    with progress(source, "boots") as update:
        done = unpacking.unpack(source, output, watch=update)
    print(
        f"{number_of(done.rows, 'boot')}, {number_of(done.files, 'file')} in {escape(args.output)}",
        file=sys.stderr,
    )
    _tell_unreadable(done.unreadable)
    return 0


def _tell_unreadable(count: int) -> None:
    if count:
        print(
            f"pyverify: {count:,} of them could not be read, and stay errors: `pyverify verify` says why",
            file=sys.stderr,
        )


class _Reading:
    """Archives that are read one after the other, as far as they are."""

    def __init__(self, sources: Sequence[Archive]) -> None:
        self._sources = sources
        self._at = 0

    def __iter__(self) -> Iterator[Archive]:
        for at, source in enumerate(self._sources):
            self._at = at
            yield source

    def progress(self) -> tuple[int, int]:
        """How far all are read, in thousandths of an archive."""
        done, total = self._sources[self._at].progress()
        return 1000 * self._at + 1000 * done // max(total, 1), 1000 * len(self._sources)

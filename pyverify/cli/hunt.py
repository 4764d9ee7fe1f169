"""``hunt``: which machines ever booted a digest, something that a dbx revokes, or what a text says."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pyverify.cli.archive import progress
from pyverify.cli.lines import number_of
from pyverify.cli.views import Table, Words
from pyverify.cli.views.table import print_tables
from pyverify.errors import ArchiveError
from pyverify.evidence.signature_databases import Signature
from pyverify.evidence.signature_updates import read_update
from pyverify.evidence.text import escape
from pyverify.fleet.hunt import Boot, Hunt, MachineHits, Span
from pyverify.fleet.hunt import hunt as hunt_archive
from pyverify.fleet.job import default_jobs
from pyverify.fleet.needles import Needles
from pyverify.fleet.sources import open_source

_NOBODY, _UNKNOWN = 1, 3
_HEADERS: Final = ("machine", "boots", "first boot", "collected", "last boot", "collected", "#", "register", "type", "")


def hunt(args: argparse.Namespace) -> int:
    """Prints a line for each machine that was hit.

    The exit code is 0 where any was, 1 where none was and every boot was searched for everything, else 3.
    """
    start = time.monotonic()
    updates: list[Signature] = []
    for path in args.dbx:
        updates += read_update(Path(path).read_bytes(), path)
    needles = Needles(args.digest, updates, args.event)
    source = open_source(args.archive)
    result = Hunt(needles)
    broken: ArchiveError | None = None
    with progress(source, "boots") as update:
        try:
            hunt_archive(source, result, jobs=args.jobs or default_jobs(), watch=update)
        except ArchiveError as error:
            broken = error
    machines = [result.machines[name] for name in sorted(result.machines)]
    if args.format == "table":
        _print_table(machines, result)
    else:
        _print_json(machines, result, args.format)
    sys.stdout.flush()
    _print_notes(result, args.archive, time.monotonic() - start)
    if broken is not None:
        raise broken
    if machines:
        return 0
    return _NOBODY if result.is_clear else _UNKNOWN


def _print_table(machines: list[MachineHits], result: Hunt) -> None:
    if machines:
        rows = [_row(hits, result) for hits in machines]
        of_machines = f"{len(machines):,} of {number_of(len(result.boots_seen), 'machine')}"
        title = f"{of_machines}, {result.boots_hit:,} of {number_of(result.boots, 'boot')}"
        print_tables(title, [Table(_HEADERS, frozenset([1, 6]), rows)])


def _row(hits: MachineHits, result: Hunt) -> tuple[tuple[str, ...], Words]:
    """One line: what was there first, the event that has it, and how much more was found."""
    span = hits.span
    number = min(hits.spans, key=lambda one: hits.spans[one].first.key)
    needle, event = str(result.needles.all[number]), hits.events[number]
    cells = (
        escape(hits.machine),
        f"{span.boots}/{result.boots_seen[hits.machine]}",
        *(words for boot in (span.first, span.last) for words in (escape(boot.name), _time(boot.collected_at) or "-")),
        str(event.number),
        event.register,
        event.type_hint.removeprefix("EV_"),
    )
    said = event.text if event.proven else f"{event.text} (unproven)"
    more = f"  (+{len(hits.spans) - 1} more)" if len(hits.spans) > 1 else ""
    at = len(needle) + 2
    return cells, Words(f"{needle}: {said}{more}", () if event.proven else ((at, at + len(said)),))


def _time(time_: datetime.datetime | None) -> str | None:
    return None if time_ is None else time_.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")


def _print_json(machines: list[MachineHits], result: Hunt, form: str) -> None:
    rows = (_document(hits, result) for hits in machines)
    if form == "jsonl":
        for row in rows:
            print(json.dumps(row, separators=(",", ":")))
    else:
        print("[" + ",".join(f"\n{json.dumps(row)}" for row in rows) + "\n]")


def _document(hits: MachineHits, result: Hunt) -> dict[str, Any]:
    return {
        "machine": escape(hits.machine),
        "boots_seen": result.boots_seen[hits.machine],
        **_span(hits.span),
        "hits": [
            {
                "needle": asdict(result.needles.all[number]),
                **_span(span),
                "event": asdict(hits.events[number]),
            }
            for number, span in sorted(hits.spans.items())
        ],
    }


def _span(span: Span) -> dict[str, Any]:
    return {"boots_hit": span.boots, "first": _boot(span.first), "last": _boot(span.last)}


def _boot(boot: Boot) -> dict[str, Any]:
    return {"boot": escape(boot.name), "boot_seq": boot.boot_seq, "collected_at": _time(boot.collected_at)}


def _print_notes(result: Hunt, archive: str, seconds: float) -> None:
    for line in _notes(result, archive):
        print(f"pyverify: {line}", file=sys.stderr)
    print(
        f"{number_of(result.boots, 'boot')} of {number_of(len(result.boots_seen), 'machine')} searched for "
        f"{number_of(len(result.needles.all), 'thing')}: {number_of(result.boots_hit, 'boot')} of "
        f"{number_of(len(result.machines), 'machine')} hit · {seconds:.1f} s, "
        f"{result.boots / max(seconds, 1e-9):,.0f}/s",
        file=sys.stderr,
    )


def _notes(result: Hunt, archive: str) -> Iterator[str]:
    needles = result.needles
    if needles.dbx_kinds:
        counts = ", ".join(f"{n:,} {kind}" for kind, n in needles.dbx_kinds.items())
        yield f"the dbx holds {counts}"
    if needles.certificates or needles.certificate_hashes:
        yield (
            "certificates are looked for among those that firmware and shim log as authorities: one that only stands "
            "between these and an image is in no log"
        )
    for kind, n in needles.not_looked_for.items():
        yield f"NOT LOOKED FOR: {n:,} of type {kind}, of which logs hold no trace"
    if not result.boots:
        yield f"{escape(archive)} holds no boots: is it MACHINE/BOOT/binary_bios_measurements?"
    if result.unsearched:
        yield f"{number_of(result.unsearched, 'boot')} could not be searched, or not all of them: they may be hits"
        for boot in result.unsearched_examples:
            yield f"  {escape(boot.machine)}  {escape(boot.boot)}  {escape(boot.reason)}"
        if (more := result.unsearched - len(result.unsearched_examples)) > 0:
            yield f"  and {more:,} more"

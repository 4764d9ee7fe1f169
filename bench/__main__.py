"""``python -m bench``: runs benches and prints what they find."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import Final

from bench import machine
from bench.plan import Plan
from bench.results import Line, Note
from bench.verify_memory import verify_memory
from bench.verify_parquet import verify_parquet

Bench = Callable[[Plan], Iterator[Line | Note]]

BENCHES: Final[dict[str, Bench]] = {"verify_memory": verify_memory, "verify_parquet": verify_parquet}


def main() -> None:
    """Runs what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the names of the benches")
    parser.add_argument("--only", action="append", choices=list(BENCHES), metavar="BENCH", help="run this bench only")
    parser.add_argument("--quick", action="store_true", help="1,000 boots, and without the longest cases")
    parser.add_argument("--boots", type=int, metavar="N", help="boots of the fleet, instead of 10,000")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    args = parser.parse_args()
    if args.boots is not None and args.boots < 4:
        parser.error("a fleet has at least 4 boots")
    if args.list:
        print("\n".join(BENCHES))
        return
    plan = Plan.of(quick=args.quick, boots=args.boots)
    names = list(dict.fromkeys(args.only or BENCHES))
    show = _print_json if args.json else _print_table
    show(line for name in names for line in BENCHES[name](plan))


def _print_json(lines: Iterator[Line | Note]) -> None:
    print(json.dumps(machine.describe()), flush=True)
    for line in lines:
        if isinstance(line, Note):
            print(f"{line.bench}: {line.text}", file=sys.stderr)
        else:
            print(line.to_json(), flush=True)


def _print_table(lines: Iterator[Line | Note]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    about = machine.describe()
    kernels = ", ".join(f"{bank} {isa}" for bank, isa in about["kernels"].items())
    console.print(
        f"{about['case']}, {about['threads']} cores, load {about['value']:.1f} · kernels: {kernels} · "
        f"{about['compiler'] or 'compiler unknown'} · Python {about['python']}"
    )
    table = Table("bench", "case", "isa", "threads", "value", "unit", "peer", "ratio")
    for column in (3, 4, 7):
        table.columns[column].justify = "right"
    notes = []
    for line in lines:
        if isinstance(line, Note):
            notes.append(line)
            continue
        ratio = "" if line.ratio is None else _figure(line.ratio)
        table.add_row(
            line.bench, line.case, line.isa, str(line.threads), _figure(line.value), line.unit, line.peer or "", ratio
        )
    console.print(table)
    for note in notes:
        console.print(f"{note.bench}: {note.text}")


def _figure(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()

"""Results as JSON lines, as a table on the terminal, or as Markdown to be pasted into a document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench import machine
from bench.bars import held
from bench.results import Line, Note

_COLUMNS: Final = ("bench", "case", "isa", "threads", "value", "unit", "peer's time ÷ ours")
_BARS: Final = ("bar", "case", "wanted", "measured", "")
_RIGHT: Final = frozenset(["threads", "value", "measured"])

Row = tuple[str, ...]
Results = Iterator[Line | Note]


def print_json(lines: Results) -> None:
    """One object a line, the machine's first; notes go to standard error."""
    print(json.dumps(machine.describe()), flush=True)
    for line in lines:
        if isinstance(line, Note):
            print(f"{line.bench}: {line.text}", file=sys.stderr)
        else:
            print(line.to_json(), flush=True)


def print_table(lines: Results) -> None:
    """For the terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    found = _Found.of(lines)
    console.print(found.about)
    for columns, rows in found.tables():
        table = Table(*columns)
        for column in table.columns:
            column.justify = "right" if column.header in _RIGHT else "left"
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for note in found.notes:
        console.print(f"{note.bench}: {note.text}")


def print_markdown(lines: Results) -> None:
    """For a document."""
    found = _Found.of(lines)
    print(found.about)
    for columns, rows in found.tables():
        print()
        print("| " + " | ".join(columns) + " |")
        print("|" + "|".join("--:" if column in _RIGHT else "---" for column in columns) + "|")
        for row in rows:
            print("| " + " | ".join(row) + " |")
    for note in found.notes:
        print(f"\n{note.bench}: {note.text}")


@dataclass
class _Found:
    about: str
    lines: list[Line] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @classmethod
    def of(cls, results: Results) -> _Found:
        found = cls(_about(machine.describe()))
        for result in results:
            if isinstance(result, Note):
                found.notes.append(result)
            else:
                found.lines.append(result)
        found.about += f" · at the end: {_state(machine.describe())}"
        return found

    def tables(self) -> Iterator[tuple[Row, Sequence[Row]]]:
        yield _COLUMNS, _merged(self.lines)
        bars = [
            (one.bar.what, one.case, one.bar.wanted, _figure(one.figure), "met" if one.is_met else "**missed**")
            for one in held(self.lines)
        ]
        if bars:
            yield _BARS, bars


def _about(about: dict[str, Any]) -> str:
    kernels = ", ".join(f"{bank} {isa}" for bank, isa in about["kernels"].items())
    return (
        f"{about['case']}, {about['threads']} cores · kernels: {kernels} · {about['compiler'] or 'compiler unknown'} · "
        f"Python {about['python']} · at the start: {_state(about)}"
    )


def _state(about: dict[str, Any]) -> str:
    load = f"load {about['value']:.1f}"
    if about["clock_ghz"] is None:
        return load
    return f"{load}, {about['clock_ghz']} GHz, {about['adds_per_cycle']} adds a cycle"


def _merged(lines: Sequence[Line]) -> list[Row]:
    """A row for each value, with all peers that it was compared with."""
    rows: dict[tuple[object, ...], list[str]] = {}
    for line in lines:
        key = line.bench, line.case, line.isa, str(line.threads), _figure(line.value), line.unit
        peers = rows.setdefault(key, [])
        if line.ratio is not None:
            peers.append(f"{line.peer} {_figure(line.ratio)}")
    return [(*map(str, key), " · ".join(peers)) for key, peers in rows.items()]


def _figure(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

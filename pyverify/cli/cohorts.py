"""``cohorts``: what is in this fleet? Machines that boot alike, the odd ones first."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from pyverify.cli.archive import progress
from pyverify.evidence.text import escape
from pyverify.fleet.boot_variants import LeftOut
from pyverify.fleet.closest_cohort import Match, Matcher
from pyverify.fleet.cohort_words import CohortWords
from pyverify.fleet.cohorts import Cohort, Cohorts, group
from pyverify.fleet.sources import open_source

_SHOWN: Final = 100
"""Cohorts in a table, the smallest; the JSON has all."""
_BIGGEST: Final = 3
"""Cohorts that the first line names, and that a table shows whatever their number."""
_MATCHED: Final = 50
"""Cohorts, the smallest, whose closest one is looked for."""
_NAMES: Final = 5
"""Machines that a line names."""
_LEGEND: Final = (
    "Logs are taken at their word: no quote was looked at. (?) a hint that not even the log proves.\n"
    "A closest match only suggests where a machine belongs."
)
_ASKED_DIFFERENCES: Final = 20
"""Differences told of a machine that was asked for."""


def cohorts(args: argparse.Namespace) -> int:
    """Prints the cohorts of an archive, or the closest ones of the machines that were named."""
    source = open_source(args.evidence)
    with progress(source, "machines") as update:
        found = group(source, jobs=args.jobs, watch=update)
    with found:
        asked = [(machine, found.cohort(machine)) for machine in args.machines]
        matcher = Matcher(found)
        if args.format == "json":
            json.dump(_document(found, matcher, asked), sys.stdout, indent=1)
            print()
        else:
            console = Console(highlight=False, soft_wrap=True)
            lines = _machines(found, matcher, asked) if asked else _fleet(found, matcher)
            for line in lines:
                console.print(line)
    if not found.cohorts:
        print(f"pyverify: {escape(args.evidence)} has no boot that can be grouped", file=sys.stderr)
    return 0


def _closest(found: Cohorts, matcher: Matcher, number: int) -> Match | None:
    """The closest match of one of the smallest cohorts, among those that are no smaller."""
    cohort = found.cohorts[number]
    if number >= _MATCHED or number == len(found.cohorts) - 1:
        return None
    return matcher.closest(cohort.example, cohort, at_least=len(cohort.machines))


def _fleet(found: Cohorts, matcher: Matcher) -> Iterator[Text]:
    yield _overall(found)
    numbers = range(len(found.cohorts))
    first, last = numbers[:_SHOWN], numbers[max(_SHOWN, len(numbers) - _BIGGEST) :]
    for number in (*first, *last):
        if number == _SHOWN and number != last[0]:
            yield Text()
        yield Text()
        yield from _cohort(found, found.cohorts[number])
        yield from _match(_closest(found, matcher, number))
    if hidden := len(numbers) - len(first) - len(last):
        yield Text(f"\n{hidden:,} more cohorts, neither small nor big, are in --format json", "dim")
    yield from _left_out(found.left_out)
    if found.cohorts:
        yield Text(
            "\n(?) a hint: nothing in the log proves it. A closest match only suggests where a machine belongs.", "dim"
        )


def _overall(found: Cohorts) -> Text:
    line = Text(f"{_count(found.n_machines, 'machine')}, {_count(len(found.cohorts), 'cohort')}", "bold")
    if found.cohorts:
        biggest = [f"{c.id} {len(c.machines):,} ({_share(found, c)})" for c in found.cohorts[: -_BIGGEST - 1 : -1]]
        line.append(f"; biggest: {', '.join(biggest)}")
    if found.left_out:
        line.append(f"; {_count(len(found.left_out), 'boot')} in none")
    return line


def _cohort(found: Cohorts, cohort: Cohort) -> Iterator[Text]:
    size = f"{_count(len(cohort.machines), 'machine')} ({_share(found, cohort)})"
    variants = f", {cohort.variants:,} variants" if cohort.variants > 1 else ""
    yield (
        Text(cohort.id, "bold")
        .append(f"  {size}{variants}, {cohort.bank}: ", "not bold")
        .append(_names(cohort.machines), "not bold")
    )
    words = CohortWords.of(found.boot(cohort.example), cohort.bank)
    yield Text(f"  {words.line()}")
    for item in words.command_lines[:1]:
        yield Text(f"  command line {'' if item.proven else '? '}{escape(item.value) or '(empty)'}")


def _match(match: Match | None) -> Iterator[Text]:
    if match is None:
        return
    other = match.cohort
    yield Text(
        f"  closest: {other.id} ({_count(len(other.machines), 'machine')}), {_percent(match.alike)} of the events alike"
    )
    for difference in match.differences:
        yield Text(f"    {difference.words}")
    if match.left_out:
        yield Text(f"    and {match.left_out:,} more differences", "dim")


def _machines(found: Cohorts, matcher: Matcher, asked: list[tuple[str, Cohort]]) -> Iterator[Text]:
    for machine, cohort in asked:
        yield Text(escape(machine), "bold").append(" is of cohort", "not bold")
        yield from _cohort(found, cohort)
        match = _asked(found, matcher, machine, cohort)
        yield from _match(match)
        words = "no other cohort has anything in common with it" if match is None else ""
        yield Text(f"  {words or 'a closest match only suggests: whether it belongs there is for you to say'}\n", "dim")


def _asked(found: Cohorts, matcher: Matcher, machine: str, cohort: Cohort) -> Match | None:
    return matcher.closest(found.variant(machine), cohort, most=_ASKED_DIFFERENCES)


def _left_out(left_out: Iterable[LeftOut]) -> Iterator[Text]:
    def code(item: LeftOut) -> str:
        return item.reason.code

    for name, group_ in groupby(sorted(left_out, key=code), key=code):
        items = list(group_)
        yield Text(f"\nin no cohort, {name}: {_count(len(items), 'boot')}", "yellow")
        for item in items[:_NAMES]:
            where = f"{escape(item.machine or '?')}  {escape(item.boot or '?')}"
            yield Text(f"  {where}  {escape(item.reason.hint)}")
        if len(items) > _NAMES:
            yield Text(f"  and {len(items) - _NAMES:,} more", "dim")


def _names(machines: tuple[str, ...]) -> str:
    more = f" and {len(machines) - _NAMES:,} more" if len(machines) > _NAMES else ""
    return ", ".join(escape(machine) for machine in machines[:_NAMES]) + more


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def _share(found: Cohorts, cohort: Cohort) -> str:
    return _percent(len(cohort.machines) / found.n_machines)


def _percent(share: float) -> str:
    """Rounded down, for what is nearly all is not all."""
    return f"{math.floor(share * 1000) / 10:g}%"


def _document(found: Cohorts, matcher: Matcher, asked: list[tuple[str, Cohort]]) -> dict[str, Any]:
    examples = [cohort.example for cohort in found.cohorts]
    document: dict[str, Any] = {
        "machines": found.n_machines,
        "variants": found.n_variants,
        "cohorts": [
            {
                "id": cohort.id,
                "bank": cohort.bank,
                "variants": cohort.variants,
                "machines": list(cohort.machines),
                "boot": CohortWords.of(boot, cohort.bank).as_json(),
                "closest": _match_json(_closest(found, matcher, number)),
            }
            for number, (cohort, boot) in enumerate(zip(found.cohorts, found.boots(examples), strict=True))
        ],
        "left_out": [
            {"machine": i.machine, "boot": i.boot, "code": i.reason.code, "hint": i.reason.hint} for i in found.left_out
        ],
    }
    if asked:
        document["asked"] = [
            {
                "machine": machine,
                "cohort": cohort.id,
                "closest": _match_json(_asked(found, matcher, machine, cohort)),
            }
            for machine, cohort in asked
        ]
    return document


def _match_json(match: Match | None) -> dict[str, Any] | None:
    if match is None:
        return None
    return {
        "cohort": match.cohort.id,
        "bank": match.bank,
        "alike": match.alike,
        "differences": [asdict(difference) for difference in match.differences],
        "differences_left_out": match.left_out,
    }

"""``explain``: why a machine is not trusted, event by event, and what to do next."""

from __future__ import annotations

import argparse
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from pyverify.baseline.store import Store
from pyverify.cli.archive import as_of, policy_of
from pyverify.cli.lines import LAMPS, OUTCOME_STYLES, by_weight
from pyverify.errors import UsageError
from pyverify.evidence.text import escape
from pyverify.fleet.job import Summary, run
from pyverify.fleet.sources import open_source

_NEXT: Final = {
    "log.": "Collect the log again; if it stays so, look at the machine's collector and firmware.",
    "evidence.unreadable": "Mend the archive member, or collect the evidence again.",
    "evidence.lost": "Find out why a machine that used to send its log stopped: it may have been made to.",
    "baseline.absent": "Look at this boot (`pyverify inspect`), then `pyverify learn` makes it the baseline.",
    "baseline.pending": "Activate the baseline once somebody has looked at the boot it was learned from.",
    "baseline.event-": "Did you make this change (an update, a new command line)? If not, isolate the machine.",
    "baseline.pcr": "Compare the log with that of a machine you trust (`pyverify replay`, `pyverify inspect`).",
    "replay.start": "Only firmware decides how PCR 0 starts: this log was changed, or the firmware is broken.",
    "bank.missing": "A bank that was there is gone: firmware settings changed, or the log was reduced on purpose.",
}


def explain(args: argparse.Namespace) -> int:
    """Prints all findings of the boots that are not trusted, or of the machines that were named."""
    policy, now = policy_of(args), as_of(args)
    with Store.open(args.store) as store:
        references = store.references()
    summary = Summary(policy.name, references.id, now)
    source = open_source(args.archive)
    console = Console(highlight=False, soft_wrap=True)
    wanted, seen = set(args.machines), set()
    for batch in run(source, references=references, policy=policy, as_of=now, jobs=1, summary=summary):
        for row in batch.to_pylist():
            if row["machine"] in wanted or (not wanted and row["verdict"] != "trusted"):
                seen.add(row["machine"])
                _print_verdict(console, row)
    if missing := wanted - seen:
        raise UsageError(f"{args.archive} has no machine {', '.join(sorted(missing))}")
    return summary.exit_code


def _print_verdict(console: Console, row: dict[str, Any]) -> None:
    title = Text(f"{escape(row['machine'] or '?')}  {escape(row['boot'] or '?')}  ", "bold")
    console.print(title.append(row["verdict"], OUTCOME_STYLES[row["verdict"]]))
    for stage in row["stages"]:
        line = Text("  ").append(*LAMPS[stage["state"]]).append(f" {stage['name']}")
        if stage["state"] == "red":
            line.append(f"\n      expected {_hex(stage['expected'])}\n      actual   {_hex(stage['actual'])}", "dim")
        console.print(line)
    advice = []
    for finding in by_weight(row["findings"]):
        line = Text("  ").append(finding["code"], "bold" if finding["severity"] == "high" else "dim")
        if finding["event"] is not None:
            line.append(f"  event {finding['event']}")
        console.print(line.append(f"  {escape(finding['hint'], 1000)}"))
        for name in ("expected", "actual"):
            if finding[name] is not None:
                console.print(Text(f"      {name:<8} {finding['bank'] or ''} {finding[name].hex()}", "dim"))
        advice += [words for start, words in _NEXT.items() if finding["code"].startswith(start) and words not in advice]
    for words in advice:
        console.print(Text(f"  → {words}"))
    console.print()


def _hex(value: bytes | None) -> str:
    return "-" if value is None else value.hex()

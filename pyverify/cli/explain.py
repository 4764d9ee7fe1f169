"""``explain``: why a machine is not trusted, event by event, and what to do next."""

from __future__ import annotations

import argparse
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from pyverify.cli.archive import as_of, policy_of
from pyverify.cli.lines import LAMPS, OUTCOME_STYLES, by_weight
from pyverify.cli.stores import open_store
from pyverify.errors import UsageError
from pyverify.evidence.text import escape
from pyverify.findings import CODES, Effect
from pyverify.fleet.job import Summary, run
from pyverify.fleet.sources import open_source

_NEXT: Final = {
    "log.": "Collect the log again; if it stays so, look at the machine's collector and firmware.",
    "cel.": "Collect the log again, and see that its kind is what the evidence says.",
    "evidence.unreadable": "Mend the archive member, or collect the evidence again.",
    "evidence.lost": "Find out why a machine that used to send its log stopped: it may have been made to.",
    "baseline.absent": "Look at this boot (`pyverify inspect`), then `pyverify learn` makes it the baseline.",
    "baseline.pending": "Activate the baseline once somebody has looked at the boot it was learned from.",
    "baseline.event-": "Did you make this change (an update, a new command line)? If so, `pyverify baseline approve`; "
    "if not, isolate the machine.",
    "baseline.rolled-back": "The machine went back to what was replaced: find out why (`pyverify baseline history`).",
    "baseline.expired": "Update the machine, or allow the old for longer (`baseline approve … --keep-old --until`).",
    "baseline.pcr": "Compare the log with that of a machine you trust (`pyverify replay`, `pyverify inspect`).",
    "replay.start": "Only firmware decides how PCR 0 starts: this log was changed, or the firmware is broken.",
    "replay.mismatch": "The TPM contradicts the log, and the TPM is right: collect both again, or isolate it.",
    "replay.unexplained": "Something extended this PCR that no log tells of: send that log, or find out what did.",
    "bank.missing": "A bank that was there is gone: firmware settings changed, or evidence was reduced on purpose.",
    "bank.weak": "Switch on a SHA-256 or SM3 bank in the firmware, and quote it.",
    "bank.unextended": "The firmware leaves this bank alone, so anybody can write it: switch the bank off, or update.",
    "event.data-mismatch": "The log does not tell what was measured: it was changed, or the firmware errs.",
    "event.after-exit-boot-services": "The operating system measured into the firmware's PCRs: find out what did.",
    "separator.": "Only firmware writes separators: this log was changed, or the firmware is broken.",
    "secureboot.": "Compare Secure Boot's settings with a machine you trust (`pyverify inspect --summary`).",
    "ima.changed": "A program is not what it was: did you update it? If so, `pyverify baseline approve`; if not, "
    "isolate the machine.",
    "ima.added": "A program ran that is not known: did you install it? If so, `pyverify baseline approve`; "
    "if not, isolate the machine.",
    "ima.": "Collect the IMA list together with a new quote; if it stays so, isolate the machine.",
    "policy.rule": "The policy asks for this (`pyverify policy show`): see that the machine keeps to it.",
    "quote.missing": "Collect a quote (`tpm2_quote`), or name `--policy log-only`, which takes the log's word for it.",
    "quote.unfresh": "Ask again (`pyverify challenge new`), or name `--policy archive` for evidence of the past.",
    "quote.replayed": "One nonce, two quotes: somebody sent old evidence again. Ask the machine anew.",
    "quote.nonce": "The quote answers no challenge of yours: ask again (`pyverify challenge new`).",
    "quote.selection": "Quote all PCRs that the policy compares (`tpm2_quote -l sha256:0,1,2,…,14`).",
    "quote.": "Collect the quote again with its values (`tpm2_quote -o`); if it stays so, isolate the machine.",
    "key.unknown": "Is this the machine's TPM? If so, `pyverify enroll`; if not, somebody else answers for it.",
    "key.first-use": "Find out that the key is in this machine's TPM, then `pyverify enroll` it.",
    "key.": "Make the machine a new attestation key (`tpm2_createak`) and enrol it.",
}
"""What to do next, by the beginning of a code: of those that fit, the first counts."""


def next_step(code: str) -> str | None:
    """What to do about a finding of this code."""
    return next((words for start, words in _NEXT.items() if code.startswith(start)), None)


def explain(args: argparse.Namespace) -> int:
    """Prints all findings of the boots that are not trusted, or of the machines that were named."""
    policy, now = policy_of(args), as_of(args)
    with open_store(args) as store:
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
        if stage["state"] == "red" and stage["actual"] is not None:
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
        words = next_step(finding["code"])
        weighs = finding["severity"] != "info" or CODES[finding["code"]].effect is Effect.UNMEASURED
        if words is not None and weighs and words not in advice:
            advice.append(words)
    for words in advice:
        console.print(Text(f"  → {words}"))
    console.print()


def _hex(value: bytes | None) -> str:
    return "-" if value is None else value.hex()

"""Verdicts for a terminal: one line a boot, the stages as lamps, the first reason in words."""

from __future__ import annotations

from typing import Any, Final

from rich.text import Text

from pyverify.evidence.text import escape
from pyverify.findings import WEIGHTS

LAMPS: Final = {"green": ("●", "green"), "red": ("✖", "bold red"), "grey": ("○", "dim")}
OUTCOME_STYLES: Final = {
    "trusted": "green",
    "untrusted": "bold red",
    "unmeasured": "yellow",
    "error": "bold magenta",
}


def by_weight(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings as a reader wants them: the weightiest first, else as they came."""
    return sorted(findings, key=lambda finding: WEIGHTS[finding["severity"]])


def verdict_line(row: dict[str, Any], machine_width: int, boot_width: int) -> Text:
    """One verdict row (of ``batch.to_pylist()``) as one line."""
    line = Text(no_wrap=True)
    line.append(f"{escape(row['machine'] or '?'):<{machine_width}}  {escape(row['boot'] or '?'):<{boot_width}}  ")
    line.append(f"{row['verdict']:<10}  ", OUTCOME_STYLES[row["verdict"]])
    for stage in row["stages"]:
        line.append(*LAMPS[stage["state"]])
    # What is only worth knowing is no reason for a line about a machine that is as it should be.
    told = [f for f in row["findings"] if row["verdict"] != "trusted" or f["severity"] != "info"]
    if reasons := by_weight(told):
        shown = reasons[0]
        line.append(f"  {shown['code']}", "bold" if shown["severity"] == "high" else "dim")
        line.append(f"  {escape(shown['hint'])}", "dim")
        if len(reasons) > 1:
            line.append(f"  (+{len(reasons) - 1})", "dim")
    return line


def legend() -> Text:
    """What the lamps mean."""
    line = Text("lamps: firmware, firmware settings, secure boot policy, boot loader, kernel, applications; ", "dim")
    for state, words in (("green", " as the baseline, "), ("red", " differs, "), ("grey", " not judged")):
        line.append(*LAMPS[state])
        line.append(words, "dim")
    return line


def number_of(count: int, noun: str) -> str:
    """So many of a thing whose plural ends in s."""
    return f"{count:,} {noun}{'s' * (count != 1)}"

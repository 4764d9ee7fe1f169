"""Findings of a fleet, each kept once, grouped by what caused them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from pyverify.evidence.text import escape
from pyverify.findings import CODES, WEIGHTS, Effect
from pyverify.output.report.pools import Pool

MAX_FINDINGS: Final = 100
"""Findings of one boot that the page shows, the weightiest first."""
MAX_TEXT: Final = 64 << 20
"""Characters of all different findings; of boots beyond that the page shows the weightiest only."""
_HINT: Final = 1000
_NUMBER: Final = re.compile(r"\d+")


class FindingPool:
    """Findings, lists of them and their causes, by number.

    A cause is (code, PCR, expected, actual), or where a finding has no digests (code, PCR, its words without numbers).
    """

    def __init__(self) -> None:
        self.lists = Pool()  # (findings, how many were left out)
        self.hex = Pool()
        self._findings = Pool()  # (code, severity, pcr, bank, event, expected, actual, hint, cause)
        self._codes, self._banks, self._hints, self._causes = Pool(), Pool(), Pool(), Pool()
        self._text = 0

    def digest(self, value: bytes | None) -> int:
        """The number of some bytes as hex, -1 for none."""
        return -1 if value is None else self.hex.add(value.hex())

    def list_of(self, findings: list[dict[str, Any]]) -> int:
        """The number of one boot's findings, in the order in which they are told."""
        ordered = sorted(findings, key=lambda finding: WEIGHTS[finding["severity"]])
        shown = ordered[: MAX_FINDINGS if self._text < MAX_TEXT else 1]
        return self.lists.add((tuple(map(self._add, shown)), len(ordered) - len(shown)))

    def _add(self, finding: dict[str, Any]) -> int:
        hint = escape(finding["hint"] or "", _HINT)
        code = self._codes.add(escape(finding["code"]))
        pcr = -1 if finding["pcr"] is None else finding["pcr"]
        expected, actual = self.digest(finding["expected"]), self.digest(finding["actual"])
        has_digest = expected >= 0 or actual >= 0
        cause = self._causes.add((code, pcr, (expected, actual) if has_digest else _NUMBER.sub("#", hint)))
        before = len(self._findings)
        number = self._findings.add(
            (
                code,
                WEIGHTS[finding["severity"]],
                pcr,
                -1 if finding["bank"] is None else self._banks.add(escape(finding["bank"])),
                -1 if finding["event"] is None else finding["event"],
                expected,
                actual,
                self._hints.add(hint),
                cause,
            )
        )
        if number == before:
            self._text += len(hint) + 128
        return number

    def packed(self, advice: Callable[[str], str | None]) -> dict[str, Any]:
        """What the page needs of them, in columns. ``advice`` says by code what to do next."""
        names = ("code", "severity", "pcr", "bank", "event", "expected", "actual", "hint", "cause")
        rows = self._findings.values
        starts = [0]
        for items, _ in self.lists.values:
            starts.append(starts[-1] + len(items))
        return {
            "codes": [_code(name, advice) for name in self._codes.values],
            "banks": self._banks.values,
            "hex": self.hex.values,
            "hints": self._hints.values,
            "causes": len(self._causes),
            "findings": {name: [row[i] for row in rows] for i, name in enumerate(names)},
            "lists": {
                "start": starts,
                "items": [item for items, _ in self.lists.values for item in items],
                "more": [more for _, more in self.lists.values],
            },
        }

    def reasons(self) -> list[tuple[int, ...]]:
        """For each list the causes that weigh, so that two boots can be told to differ for the same reasons."""
        absent = {i for i, name in enumerate(self._codes.values) if _effect(name) is Effect.UNMEASURED}
        rows = self._findings.values
        return [
            tuple(sorted({rows[i][8] for i in items if rows[i][1] == 0 or rows[i][0] in absent}))
            for items, _ in self.lists.values
        ]


def _effect(name: str) -> Effect:
    return CODES[name].effect if name in CODES else Effect.NONE


def _code(name: str, advice: Callable[[str], str | None]) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "when": CODES[name].when if name in CODES else ""}
    if _effect(name) is Effect.UNMEASURED:
        row["absent"] = 1
    if words := advice(name):
        row["next"] = words
    return row

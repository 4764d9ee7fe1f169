"""One boot in a dozen lines, out of its event log: ``inspect --summary``."""

from __future__ import annotations

from typing import Any

from pyverify.appraise.boot_summary import BootSummary, summarise
from pyverify.appraise.secure_boot_rules import PRESET_RULES
from pyverify.cli.evidence_file import named
from pyverify.cli.log_file import read_log
from pyverify.cli.views import Asked, Table, Words, event_log
from pyverify.errors import UsageError
from pyverify.evidence.text import escape
from pyverify.findings import Finding


def view(data: bytes, asked: Asked) -> BootView:
    """A whole log of PCRs.

    Raises:
        EvidenceError: the log is empty or has a fault.
        UsageError: a log of other registers than PCRs.
    """
    file = read_log(asked.kind, data)
    if (fault := file.fault) is not None:
        raise named(fault, asked.name)
    if not file.of_pcrs or file.kind == "systemd":
        raise UsageError(f"--summary wants a firmware's log of PCRs, which {escape(asked.name)} is not")
    checks = event_log.EventLogView(file, asked).data_checks
    return BootView(asked.name, summarise(file.log, checks.verified.tolist(), PRESET_RULES.allow))


class BootView:
    """What a log tells of its boot."""

    def __init__(self, name: str, summary: BootSummary) -> None:
        self._name = name
        self._summary = summary

    @property
    def title(self) -> str:
        """The file's name."""
        return f"{escape(self._name)}: what the log tells of the boot"

    def document(self) -> dict[str, Any]:
        """As ``BootSummary.as_json`` has it."""
        return self._summary.as_json()

    def table(self) -> Table:
        """A line a fact, hints marked."""
        return Table((), frozenset(), [((), Words(line)) for line in self._summary.lines()])

    def findings(self) -> list[Finding]:
        """None beside those of Secure Boot, which are among the lines."""
        return []

    @property
    def fault(self) -> None:
        """None: a log with a fault has no summary."""

"""Rules of a policy that the caller wrote in Python: they can only refuse what everything else let pass."""

from __future__ import annotations

import pyarrow as pa

from pyverify.appraise.policy import Policy, Rule
from pyverify.appraise.verdict_table import lowered
from pyverify.evidence.text import escape
from pyverify.findings import Finding, Severity


def held_to(policy: Policy, evidence: pa.RecordBatch, verdicts: pa.RecordBatch) -> pa.RecordBatch:
    """The verdicts of a batch, lowered where a rule refuses a row."""
    findings: dict[int, list[Finding]] = {}
    for rule in policy.rules:
        for row, words in _refused(rule, evidence, verdicts):
            hint = f"[{rule.name}] {escape(words)}"
            findings.setdefault(row, []).append(Finding("policy.rule", Severity.HIGH, hint))
    return lowered(verdicts, findings)


def _refused(rule: Rule, evidence: pa.RecordBatch, verdicts: pa.RecordBatch) -> list[tuple[int, str]]:
    """What a rule refuses. One that fails has looked at nothing, so that it refuses every row."""
    n = len(verdicts)
    try:
        refused = [(int(row), str(words)) for row, words in rule.function(evidence, verdicts)]
        if any(not 0 <= row < n for row, _ in refused):
            raise IndexError(f"a row that is none of {n}")
    except Exception as error:
        return [(row, f"the rule failed: {type(error).__name__}: {error}") for row in range(n)]
    return refused

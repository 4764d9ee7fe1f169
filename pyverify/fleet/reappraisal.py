"""An archive appraised before a change of the references and again after it: what it changed, boot by boot."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pyverify.appraise.appraisal import Appraisal
from pyverify.appraise.policy import Policy
from pyverify.baseline.references import References
from pyverify.findings import WEIGHTS
from pyverify.fleet.changes import BootChange, Changes
from pyverify.fleet.job import BATCH_BYTES, BATCH_ROWS, Summary, default_jobs, ordered_map, run
from pyverify.fleet.sources import Source

Key = tuple[str | None, str | None, bytes]
"""Machine, boot and evidence of a verdict."""


@dataclass(slots=True)
class Before:
    """What an archive came to: counts by outcome, the outcomes of boots that were not trusted, and their changes."""

    counts: Counter[str] = field(default_factory=Counter)
    outcomes: dict[Key, str] = field(default_factory=dict)
    changes: list[BootChange] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Turned:
    """A boot that was not trusted, or is not any more: its outcome then and now, and the weightiest finding now."""

    machine: str | None
    boot: str | None
    before: str
    after: str
    finding: dict[str, Any] | None


def appraise_before(source: Source, *, references: References, policy: Policy, as_of: datetime.datetime) -> Before:
    """Appraises an archive and finds what its boots differ in. No nonce is spent.

    Raises:
        ArchiveError: the archive breaks as a container.
    """
    before, changes = Before(), Changes()

    def appraise(batch: pa.RecordBatch) -> tuple[Appraisal, pa.RecordBatch]:
        appraisal = Appraisal(batch, references, policy, as_of)
        return appraisal, appraisal.verdicts()

    batches = source.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES)
    for appraisal, verdicts in ordered_map(appraise, batches, default_jobs()):
        before.changes += changes.of(appraisal, verdicts)
        for key, outcome, _ in _rows(verdicts):
            before.counts[outcome] += 1
            if outcome != "trusted":
                before.outcomes[key] = outcome
    return before


def appraise_after(
    source: Source, before: Before, *, references: References, policy: Policy, as_of: datetime.datetime
) -> Iterator[Turned]:
    """Appraises the archive again: each boot that was not trusted before, or is not now. No nonce is spent.

    Raises:
        ArchiveError: the archive breaks as a container.
    """
    summary = Summary(policy.name, references.id, as_of)
    for verdicts in run(
        source, references=references, policy=policy, as_of=as_of, jobs=default_jobs(), summary=summary
    ):
        for key, outcome, findings in _rows(verdicts):
            was = before.outcomes.get(key, "trusted")
            if was != "trusted" or outcome != "trusted":
                told = findings.as_py()
                first = min(told, key=lambda f: WEIGHTS[f["severity"]], default=None)
                yield Turned(key[0], key[1], was, outcome, first)


def _rows(verdicts: pa.RecordBatch) -> Iterator[tuple[Key, str, Any]]:
    columns = [verdicts.column(name).to_pylist() for name in ("machine", "boot", "evidence_id", "verdict")]
    findings = verdicts.column("findings")
    for row, (machine, boot, evidence_id, outcome) in enumerate(zip(*columns, strict=True)):
        yield (machine, boot, evidence_id), outcome, findings[row]

"""The second pass over what boots held while something older was still allowed: no machine goes back to that.

Each such boot is one narrow row. The pass only ever adds findings, and says what is to be kept for later jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from pyverify.algorithms import pcrs_of
from pyverify.appraise.booted import BOOTED, place_of, reached_in
from pyverify.baseline.place import Reached
from pyverify.baseline.references import References
from pyverify.evidence.pcrs import pcr_name
from pyverify.findings import Finding, Severity


class BootedSequence:
    """The boots of a job as they come, by their machine."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._held: list[pa.RecordBatch] = []

    def add(self, facts: pa.RecordBatch, first: int) -> None:
        """Takes the facts of a batch whose first row is row ``first``."""
        if len(facts):
            rows = pa.array(facts.column("row").to_numpy() + first)
            self._held.append(facts.set_column(0, BOOTED.field("row"), rows))

    def judge(self) -> tuple[list[tuple[int, Finding]], list[Reached]]:
        """(row, finding) of the boots that went back within this job, and what each machine has reached in it."""
        table = pa.Table.from_batches(self._held, BOOTED).sort_by("machine")
        findings: list[tuple[int, Finding]] = []
        reached: list[Reached] = []
        for boots in _by_machine(table):
            _judge_machine(boots, self._references, findings, reached)
        return findings, reached


def _by_machine(table: pa.Table) -> Iterator[list[dict[str, Any]]]:
    """The boots of each machine in their order: by their challenges where all have one."""
    machines = table.column("machine").combine_chunks().dictionary_encode().indices.to_numpy()
    starts = np.flatnonzero(np.diff(machines, prepend=-1))
    for first, last in pairwise([*starts.tolist(), len(machines)]):
        boots = table.slice(first, last - first).to_pylist()
        asked = all(boot["issued_at"] is not None for boot in boots)
        yield sorted(boots, key=lambda boot: boot["issued_at"] if asked else place_of(boot).of_evidence)


def _judge_machine(
    boots: list[dict[str, Any]],
    references: References,
    findings: list[tuple[int, Finding]],
    reached: list[Reached],
) -> None:
    held: dict[int, str] = {}
    for boot in boots:
        for pcr in pcrs_of(boot["leaving"]):
            if pcr in held:
                words = f"a value that was superseded came back: boot {held[pcr]} already held what came after it"
                hint = f"{pcr_name(pcr)}: {words}"
                findings.append((boot["row"], Finding("baseline.rolled-back", Severity.HIGH, hint, pcr)))
        new = [one for one in reached_in(boot, references) if one.pcr not in held]
        held |= {one.pcr: boot["boot"] for one in new}
        reached += new

"""The second pass over what boots held while something older was still allowed: no machine goes back to that.

Each such boot is one narrow row. The pass only ever adds findings, and says what is to be kept for later jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pyverify.algorithms import pcrs_of
from pyverify.appraise.appraisal import Appraisal
from pyverify.baseline.booted import Reached
from pyverify.baseline.place import Place
from pyverify.baseline.references import References
from pyverify.evidence.pcrs import pcr_name
from pyverify.findings import Finding, Severity

_TIME: Final = pa.timestamp("us", "UTC")
BOOTED: Final = pa.schema(
    [
        ("row", pa.int64()),  # number of the verdict row
        ("machine", pa.string()),
        ("profile", pa.uint32()),
        ("current", pa.uint32()),  # PCRs that hold a current value while an older one is still allowed
        ("leaving", pa.uint32()),  # PCRs that hold such an older one
        ("issued_at", _TIME),
        ("boot_seq", pa.int64()),
        ("collected_at", _TIME),
        ("boot", pa.string()),
    ]
)
"""What the pass reads of each boot of a machine whose baseline has changed lately."""


def booted_facts(appraisal: Appraisal) -> pa.RecordBatch:
    """The facts of a batch that was appraised, rows being counted from its first."""
    comparison = appraisal.comparison
    masks = np.zeros(0, np.uint32) if comparison is None else comparison.current | comparison.leaving
    rows = np.flatnonzero(masks)
    if comparison is None or not len(rows):
        return pa.RecordBatch.from_pylist([], schema=BOOTED)
    batch, some = appraisal.batch, pa.array(rows)
    own: dict[str, Any] = {
        "row": some,
        "profile": pa.array(comparison.profile[rows]),
        "current": pa.array(comparison.current[rows]),
        "leaving": pa.array(comparison.leaving[rows]),
        "issued_at": pa.array([appraisal.boots.issued_at.get(row) for row in rows.tolist()], _TIME),
    }
    sent = {name: batch.column(name).take(some) for name in BOOTED.names if name in batch.schema.names}
    columns = sent | own
    return pa.record_batch(
        [columns.get(f.name, pa.nulls(len(rows), f.type)).cast(f.type) for f in BOOTED], schema=BOOTED
    )


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
        yield sorted(boots, key=lambda boot: boot["issued_at"] if asked else _place(boot).of_evidence)


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
        for pcr in pcrs_of(boot["current"]):
            if pcr not in held:
                held[pcr] = boot["boot"]
                sequence = references.current(boot["profile"], pcr)
                if sequence is not None:
                    reached.append(Reached(boot["machine"], pcr, sequence, _place(boot)))


def _place(boot: dict[str, Any]) -> Place:
    return Place(boot["issued_at"], boot["boot_seq"], boot["collected_at"], boot["boot"])

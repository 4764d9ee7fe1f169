"""The second pass over what boots held while something older was still allowed: no machine goes back to that.

Each such boot is one narrow row. The pass only ever adds findings, and says what is to be kept for later jobs.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from pyverify.appraise.booted import BOOTED, place_of, ranks_in, reached_in
from pyverify.baseline.place import Reached
from pyverify.baseline.references import References
from pyverify.evidence.pcrs import pcr_name
from pyverify.findings import Finding, Severity


class BootedSequence:
    """The boots of a job as they come, by their machine."""

    def __init__(self, references: References, as_of: datetime.datetime) -> None:
        self._references, self._as_of = references, as_of
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
            findings += went_back(boots, self._references)
            reached += self._first_reached(boots)
        return findings, reached

    def _first_reached(self, boots: list[dict[str, Any]]) -> list[Reached]:
        """What the boots of one machine, in their order, hold for the first time."""
        first: dict[tuple[int, bytes], Reached] = {}
        for boot in boots:
            for one in reached_in(boot, self._references, self._as_of):
                first.setdefault((one.pcr, one.sequence), one)
        return [*first.values()]


def _by_machine(table: pa.Table) -> Iterator[list[dict[str, Any]]]:
    """The boots of each machine in their order: by their challenges where all have one."""
    machines = table.column("machine").combine_chunks().dictionary_encode().indices.to_numpy()
    starts = np.flatnonzero(np.diff(machines, prepend=-1))
    for first, last in pairwise([*starts.tolist(), len(machines)]):
        boots = table.slice(first, last - first).to_pylist()
        asked = all(boot["issued_at"] is not None for boot in boots)
        yield sorted(boots, key=lambda boot: boot["issued_at"] if asked else place_of(boot).of_evidence)


def went_back(boots: list[dict[str, Any]], references: References) -> Iterator[tuple[int, Finding]]:
    """(row, finding) of the boots of one machine, in their order, that hold what is older than what one before held."""
    newest: dict[int, tuple[int, str]] = {}
    for boot in boots:
        for one in boot["leaving"]:
            rank, name = newest.get(one["pcr"], (0, ""))
            if one["rank"] < rank and not one["keep"]:
                words = f"a value that was superseded came back: boot {name} already held what came after it"
                hint = f"{pcr_name(one['pcr'])}: {words}"
                yield boot["row"], Finding("baseline.rolled-back", Severity.HIGH, hint, one["pcr"])
        for pcr, rank in ranks_in(boot, references).items():
            if rank > newest.get(pcr, (-1, ""))[0]:
                newest[pcr] = rank, boot["boot"]

"""What references know of the rows of a batch: baselines, cohorts, exceptions, alerts that are ignored."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.appraise.finding_columns import FindingColumns
from pyverify.baseline.acceptable import is_acceptable
from pyverify.baseline.model import Accepted
from pyverify.baseline.references import References
from pyverify.evidence.text import escape
from pyverify.findings import Finding, Severity


class RowReferences:
    """The baseline of each row, by machine: its own, or its cohort's.

    ``baseline`` is int64 of shape [n], the row in the references (see :meth:`References.find`); ``known`` is bool of
    shape [n]; ``index`` is the same as an Arrow array with nulls.
    """

    def __init__(self, references: References, machines: Sequence[str], ids: Sequence[bytes]) -> None:
        self._references, self._machines, self._ids = references, machines, ids
        self.baseline = references.find(machines)
        self.known = self.baseline >= 0
        self.index = pa.array(np.where(self.known, self.baseline, 0), mask=~self.known)

    def accepted(self, by_all: Sequence[Accepted]) -> dict[tuple[str, int | None], dict[int, str]]:
        """For each code and PCR the rows that live with such a finding, and why; what may not be accepted is not."""
        found: dict[tuple[str, int | None], dict[int, str]] = {}
        own = np.unique(self.baseline[self.known])
        known = {row: self._references.accepted(row) for row in own[self._references.has_accepted[own]].tolist()}
        if not by_all and not known:
            return found
        for row, baseline in enumerate(self.baseline.tolist()):
            for one in filter(_may_be, (*by_all, *known.get(baseline, ()))):
                found.setdefault((one.code, one.pcr), {})[row] = one.reason
        return found

    def tell_ignored(self, as_of: datetime.datetime, findings: FindingColumns) -> None:
        """Alerts that are silenced are told of as such: what is ignored is still not trusted."""
        ignored = self._references.machines.ignored
        if not ignored:
            return
        for row in np.flatnonzero(findings.high | findings.error).tolist():
            until, reason = ignored.get(self._machines[row], (as_of, None))
            if until > as_of:
                why = f": {escape(reason)}" if reason else ""
                words = f"ignored until {until:%Y-%m-%d %H:%M} UTC{why}; it is untrusted all the same"
                findings.add(row, Finding("baseline.ignored", Severity.HIGH, words))

    def tell(self, judgeable: npt.NDArray[np.bool_], findings: FindingColumns) -> npt.NDArray[np.bool_]:
        """Rows that have an active baseline; findings for those that have none, and for evidence that got lost."""
        known = self.known
        active = np.zeros(len(known), np.bool_)
        active[known] = self._references.active[self.baseline[known]]
        learned_from = self._references.columns.field("evidence_id").take(self.index)
        is_here = pc.fill_null(pc.equal(learned_from, pa.array(self._ids, learned_from.type)), False)
        here = np.asarray(is_here.to_numpy(zero_copy_only=False), np.bool_)
        notes = (
            (
                judgeable & ~known,
                "baseline.absent",
                Severity.INFO,
                "no baseline of this machine: `pyverify learn` makes one",
            ),
            (judgeable & known & ~active, "baseline.pending", Severity.INFO, "its baseline waits to be activated"),
            (
                active & ~judgeable,
                "evidence.lost",
                Severity.HIGH,
                "this machine has a baseline, so its log should be here",
            ),
            (known & here, "baseline.learned-here", Severity.INFO, "this boot is what the baseline was learned from"),
        )
        for rows, code, severity, hint in notes:
            findings.add_to_all(np.flatnonzero(rows), Finding(code, severity, hint))
        self._tell_approvals(judgeable & active, findings)
        return active

    def _tell_approvals(self, rows: npt.NDArray[np.bool_], findings: FindingColumns) -> None:
        """Which rows are held against a version that somebody approved, and who did."""
        known = np.flatnonzero(rows)
        approved = self._references.columns.field("approval").take(pa.array(self.baseline[known]))
        if approved.null_count == len(approved):
            return
        encoded = approved.dictionary_encode()
        numbers = encoded.indices.fill_null(-1).to_numpy()
        for number, words in enumerate(encoded.dictionary.to_pylist()):
            hint = f"the baseline that this is held against is as of an {escape(words)}"
            findings.add_to_all(known[numbers == number], Finding("baseline.approved", Severity.INFO, hint))

    def cohorts(self) -> list[str | None] | None:
        """The cohort that each machine is assigned to; None where no machine is assigned to any."""
        cohort_of = self._references.machines.cohort_of
        return [cohort_of.get(machine) for machine in self._machines] if cohort_of else None


def _may_be(one: Accepted) -> bool:
    return is_acceptable(one.code, one.pcr)

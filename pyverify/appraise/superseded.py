"""Values that were current once: allowed for a while after a change was approved, and a step back after that.

A machine may go on with what was replaced until it has booted what came after it, or the time for that is over
(DESIGN section 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pyverify.appraise.boots import Boots
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.logged_pcr import LoggedPcr
from pyverify.appraise.variation import is_variation
from pyverify.baseline.references import References, Superseded
from pyverify.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class HeldPcr:
    """A PCR of rows of one profile, and its authentic value in each bank in which they are compared."""

    references: References
    profile: int
    pcr: int
    name: str
    values: Mapping[str, bytes]

    def superseded(self) -> Superseded | None:
        """The newest superseded value that it holds, in every bank."""
        known = reversed(self.references.superseded(self.profile, self.pcr))
        return next((one for one in known if self._is(one)), None)

    def _is(self, one: Superseded) -> bool:
        return bool(self.values) and all(one.values.get(bank) == value for bank, value in self.values.items())

    def varied(self, logged: LoggedPcr, *, of_register: bool) -> Superseded | None:
        """The newest superseded one that the log is an allowed variation of."""
        allowed = self.references.allowed(self.profile, self.pcr)
        known = reversed(self.references.superseded(self.profile, self.pcr))
        for one in known:
            if is_variation(logged, allowed[one.rank].sequence, self.values, of_register=of_register):
                return one
        return None

    def judge(
        self, one: Superseded, rows: npt.NDArray[np.int64], boots: Boots, findings: FindingColumns
    ) -> npt.NDArray[np.int64]:
        """Tells of the rows that hold a superseded value; those of them that may."""
        reached = self.references.machines.reached
        has_reached = np.fromiter((boots.machines[row] in reached for row in rows.tolist()), np.bool_, len(rows))
        may = [rows[:0]]
        for some in (rows[~has_reached], *(rows[has_reached][at : at + 1] for at in range(int(has_reached.sum())))):
            if len(some):
                finding = self._finding(one, int(some[0]), boots)
                findings.add_to_all(some, finding)
                if finding.severity is not Severity.HIGH:
                    may.append(some)
        return np.concatenate(may)

    def _finding(self, one: Superseded, row: int, boots: Boots) -> Finding:
        known = self.references.reached(boots.machines[row], self.profile, self.pcr)
        newer = [held for rank, held in known if rank > one.rank]
        until = f"{one.until:%Y-%m-%d %H:%M} UTC"
        if boots.as_of >= one.until:
            if newer:
                return self._rolled_back(newer[0].place.boot)
            words = f"a value that was superseded and allowed until {until}: update the machine"
            return self._of("baseline.expired", Severity.HIGH, words)
        if not one.keep:
            place = boots.place(row)
            for held in newer:
                if held.is_before(place):
                    return self._rolled_back(held.place.boot)
        words = f"still as before a change that was approved, which is allowed until {until}"
        return self._of("baseline.approved", Severity.INFO, words)

    def _rolled_back(self, boot: str) -> Finding:
        words = f"a value that was superseded came back: boot {boot} already held what came after it"
        return self._of("baseline.rolled-back", Severity.HIGH, words)

    def _of(self, code: str, severity: Severity, words: str) -> Finding:
        return Finding(code, severity, f"{self.name}: {words}", self.pcr)

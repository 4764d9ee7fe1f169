"""PCR values against baselines: which PCRs of a row differ, and why, event by event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pyverify.algorithms import BY_NAME, TO_SHOW, mask_of
from pyverify.appraise.difference import difference_findings
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.policy import Policy
from pyverify.appraise.stages import STAGES
from pyverify.baseline.references import References
from pyverify.evidence.columns import Ragged
from pyverify.evidence.eventlog import EventLog
from pyverify.findings import Finding, Severity

StageValues = dict[int, list[tuple[bytes | None, bytes | None]]]
"""For a row that differs, (expected, actual) of each stage in which a compared PCR does, else (None, None)."""

_NO_PROFILE = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class PcrValues:
    """The PCR values of a batch that are held against baselines.

    ``values`` are by bank uint8 of shape [n, 24, size]; ``usable`` are by bank bool of shape [n]: which rows can be
    judged in it.
    """

    values: Mapping[str, npt.NDArray[np.uint8]]
    usable: Mapping[str, npt.NDArray[np.bool_]]


class Comparison:
    """The rows of one batch held against their baselines.

    ``baseline`` is int64 of shape [n], the baseline row of each (see :meth:`References.find`); rows that are not
    ``judged`` are not compared. ``wanted`` is uint32 of shape [n], the banks that each row must be judged in.
    After :meth:`compare`, ``differs`` has by bank the PCRs of each row that differ, a bit each, and ``banks`` the banks
    in which each row was compared.
    """

    def __init__(
        self,
        references: References,
        policy: Policy,
        baseline: npt.NDArray[np.int64],
        judged: npt.NDArray[np.bool_],
        wanted: npt.NDArray[np.uint32],
    ) -> None:
        self._references, self._policy = references, policy
        self._judged = judged
        self._wanted = np.where(judged, wanted, np.uint32(0))
        self._profile = np.full(len(judged), _NO_PROFILE)
        self._profile[judged] = references.profile[baseline[judged]]
        self.differs: dict[str, npt.NDArray[np.uint32]] = {}
        self.banks = np.zeros(len(judged), np.uint32)

    def compare(self, pcrs: PcrValues, findings: FindingColumns) -> None:
        """Finds what differs. What differs is not trusted, whatever the explanation finds."""
        mask = self._policy.compare_mask | self._policy.report_mask
        for bank, values in pcrs.values.items():
            bit = np.uint32(1 << BY_NAME[bank].index)
            usable = pcrs.usable[bank]
            rows = (self._wanted & bit != 0) & usable
            self.banks[rows] |= bit
            bits = self._references.differs(bank, values, self._profile, mask)
            self.differs[bank] = np.where(rows, bits, np.uint32(0))
            hint = f"the log has no complete {bank} bank, which the learning boot had"
            finding = Finding("bank.missing", Severity.HIGH, hint, bank=bank)
            findings.add_to_all(np.flatnonzero((self._wanted & bit != 0) & ~usable), finding)
        nothing = Finding("bank.missing", Severity.HIGH, "the baseline has no bank that the policy allows")
        findings.add_to_all(np.flatnonzero(self._judged & (self._wanted == 0)), nothing)
        weak = np.uint32(mask_of(self._policy.banks_weak))
        only_weak = (self.banks != 0) & (self.banks & ~weak == 0)
        words = f"only banks below the policy's strength: {', '.join(self._policy.banks_weak)}"
        findings.add_to_all(np.flatnonzero(only_weak), Finding("bank.weak", Severity.WARNING, words))
        findings.high |= self.anywhere & np.uint32(self._policy.compare_mask) != 0

    @property
    def anywhere(self) -> npt.NDArray[np.uint32]:
        """For each row the PCRs that differ in some bank."""
        start = np.zeros(len(self._judged), np.uint32)
        anywhere: npt.NDArray[np.uint32] = np.bitwise_or.reduce([*self.differs.values(), start])
        return anywhere

    def explain(self, logs: Ragged, pcrs: PcrValues, findings: FindingColumns) -> StageValues:
        """Event findings of the rows that differ, and the values that their stages show."""
        shown: StageValues = {}
        for row in np.flatnonzero(self.anywhere != 0).tolist():
            profile = int(self._profile[row])
            own = {bank: int(bits[row]) for bank, bits in self.differs.items() if bits[row]}
            values = {bank: pcrs.values[bank][row] for bank in own}
            log = EventLog.parse(logs[row])
            for finding in difference_findings(log, values, self._references, profile, own, self._policy):
                findings.add(row, finding)
            shown[row] = [self._stage_value(values, own, profile, stage) for _, stage in STAGES]
        return shown

    def _stage_value(
        self, values: Mapping[str, npt.NDArray[np.uint8]], own: Mapping[str, int], profile: int, pcrs: tuple[int, ...]
    ) -> tuple[bytes | None, bytes | None]:
        """Expected and actual value of the first compared PCR of a stage that differs."""
        for pcr in pcrs:
            for bank in TO_SHOW:
                if (own.get(bank, 0) & self._policy.compare_mask) >> pcr & 1:
                    expected = self._references.allowed_value(bank, profile, pcr)
                    return expected, values[bank][pcr].tobytes()
        return None, None

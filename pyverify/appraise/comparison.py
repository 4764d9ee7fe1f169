"""PCR values against baselines: which PCRs of a row differ, and why, event by event."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from pyverify.algorithms import BY_NAME, TO_SHOW, banks_of, mask_of, pcr_mask, pcrs_of
from pyverify.appraise.boots import Boots
from pyverify.appraise.difference import difference_findings, pcr_names
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.logged_pcr import LoggedPcr
from pyverify.appraise.policy import WEAK_BANKS, Policy
from pyverify.appraise.replay_check import bank_lost
from pyverify.appraise.stages import STAGES
from pyverify.appraise.superseded import HeldPcr
from pyverify.appraise.variation import is_variation
from pyverify.baseline.references import References
from pyverify.evidence.ccel import CCEL_REGISTERS, mr_mask
from pyverify.evidence.columns import Items
from pyverify.evidence.eventlog import EventLog
from pyverify.findings import Finding, Severity

StageValues = dict[int, list[tuple[bytes | None, bytes | None]]]
"""For a row that differs, (expected, actual) of each stage in which a compared PCR does, else (None, None)."""

LEAVING: Final = np.dtype([("row", np.int64), ("pcr", np.uint32), ("rank", np.uint32), ("keep", np.bool_)])
"""A PCR of a row that holds a superseded value that it may, and which of its profile (``references.Superseded``)."""

_NEVER_REGISTERS: Final = pcr_mask((0, 5, 6, 7))
"""What no log of measurement registers extends, and every TPM's log does: at least by a separator (SPEC 2.5, 3.3)."""

_NO_PROFILE = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class PcrValues:
    """The PCR values of a batch that are held against baselines.

    ``values`` are by bank uint8 of shape [n, 24, size]; ``usable`` are by bank bool of shape [n]: which rows can be
    judged in it.
    """

    values: Mapping[str, npt.NDArray[np.uint8]]
    usable: Mapping[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class PcrMasks:
    """For each row the PCRs, a bit each, that must equal the baseline, and those that are told of: uint32 of shape [n].

    Where ``of_registers`` is set, the bits are measurement registers: each that stands for such a PCR. MRTD is none of
    them, for no log extends it.
    """

    compare: npt.NDArray[np.uint32]
    report: npt.NDArray[np.uint32]
    of_registers: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, policy: Policy, of_registers: npt.NDArray[np.bool_]) -> Self:
        """What a policy asks of the rows of a batch."""
        registers = mr_mask(policy.compare_mask) & ~1
        told = mr_mask(policy.report_mask) & ~1 & ~registers
        compare = np.where(of_registers, np.uint32(registers), np.uint32(policy.compare_mask))
        report = np.where(of_registers, np.uint32(told), np.uint32(policy.report_mask))
        return cls(compare, report, of_registers)

    def as_pcrs(self, bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """Bits of each row as PCRs: those that a register stands for in place of the register."""
        result = np.where(self.of_registers, np.uint32(0), bits)
        for index, register in enumerate(CCEL_REGISTERS):
            set_here = self.of_registers & (bits >> np.uint32(index) & np.uint32(1) != 0)
            result[set_here] |= np.uint32(pcr_mask(register.pcrs))
        return result


@dataclass(frozen=True)
class _Alike:
    """Rows that differ alike: their log, of which a first look is often enough, and their values by bank."""

    data: bytes
    rows: npt.NDArray[np.int64]
    values: dict[str, npt.NDArray[np.uint8]]

    @property
    def first(self) -> int:
        """The row that stands for all."""
        return int(self.rows[0])

    @cached_property
    def log(self) -> EventLog:
        """The log, with its events."""
        return EventLog.parse(self.data)


class Comparison:
    """The rows of one batch held against their baselines.

    ``baseline`` is int64 of shape [n], the baseline row of each (see :meth:`References.find`); rows that are not
    ``judged`` are not compared. ``wanted`` is uint32 of shape [n], the banks that each row must be judged in.
    After :meth:`compare` and :meth:`explain`, ``differs`` has by bank the PCRs of each row that differ, a bit each,
    ``banks`` the banks in which each row was compared, ``current`` the PCRs of each row that hold a current value while
    a superseded one is still allowed, and ``leaving``, of :data:`LEAVING`, those that hold such a one.
    """

    def __init__(
        self,
        references: References,
        masks: PcrMasks,
        baseline: npt.NDArray[np.int64],
        judged: npt.NDArray[np.bool_],
        wanted: npt.NDArray[np.uint32],
        boots: Boots,
    ) -> None:
        self._references, self._masks, self._boots = references, masks, boots
        self._judged = judged
        self._wanted = np.where(judged, wanted, np.uint32(0))
        self._profile = np.full(len(judged), _NO_PROFILE)
        self._profile[judged] = references.profile[baseline[judged]]
        self.differs: dict[str, npt.NDArray[np.uint32]] = {}
        self.banks = np.zeros(len(judged), np.uint32)
        self.current = np.zeros(len(judged), np.uint32)
        self._leaving = [np.zeros(0, LEAVING)]
        self._superseded = np.zeros(len(judged), np.uint32)

    @property
    def judged(self) -> npt.NDArray[np.bool_]:
        """The rows that were held against an active baseline."""
        return self._judged

    @property
    def compared_that_differ(self) -> npt.NDArray[np.uint32]:
        """For each row the compared PCRs that differ in some bank, a bit each."""
        differ: npt.NDArray[np.uint32] = self.anywhere & self._masks.compare
        return differ

    @property
    def leaving(self) -> npt.NDArray[Any]:
        """The PCRs that hold a superseded value, in any order."""
        return np.concatenate(self._leaving)

    @property
    def profile(self) -> npt.NDArray[np.uint32]:
        """The profile that each row was held against; a number that is none where it was not."""
        return self._profile

    def compare(self, pcrs: PcrValues, findings: FindingColumns) -> None:
        """Finds which values differ."""
        masks = self._masks.compare | self._masks.report
        mask = int(np.bitwise_or.reduce(masks, initial=np.uint32(0)))
        for bank, values in pcrs.values.items():
            bit = np.uint32(1 << BY_NAME[bank].index)
            usable = pcrs.usable[bank]
            rows = (self._wanted & bit != 0) & usable
            self.banks[rows] |= bit
            self.differs[bank] = np.zeros_like(masks)
            if rows.any():
                bits = self._references.differs(bank, values, self._profile, mask)
                self.differs[bank] = np.where(rows, bits & masks, np.uint32(0))
                self._tell_of_other_kind(bank, values, rows & self._masks.of_registers, findings)
            findings.add_to_all(np.flatnonzero((self._wanted & bit != 0) & ~usable), bank_lost(bank))
        nothing = Finding("bank.missing", Severity.HIGH, "[banks] allowed: the baseline has no bank that counts")
        findings.add_to_all(np.flatnonzero(self._judged & (self._wanted == 0)), nothing)
        weak = np.uint32(mask_of(WEAK_BANKS))
        only_weak = (self.banks != 0) & (self.banks & ~weak == 0)
        words = f"[banks] allowed: only weak banks could be compared: {', '.join(WEAK_BANKS)}"
        findings.add_to_all(np.flatnonzero(only_weak), Finding("bank.weak", Severity.WARNING, words))

    def _tell_of_other_kind(
        self, bank: str, values: npt.NDArray[np.uint8], rows: npt.NDArray[np.bool_], findings: FindingColumns
    ) -> None:
        """Logs of measurement registers beside a baseline of PCRs: equal numbers make neither of them the other's."""
        if rows.any():
            differs = self._references.differs(bank, values, self._profile, _NEVER_REGISTERS) != 0
            words = "the log is of measurement registers, and the baseline of a TPM's PCRs"
            finding = Finding("baseline.pcr", Severity.HIGH, words, bank=bank)
            findings.add_to_all(np.flatnonzero(rows & differs), finding)

    @property
    def anywhere(self) -> npt.NDArray[np.uint32]:
        """For each row the PCRs that differ in some bank."""
        start = np.zeros(len(self._judged), np.uint32)
        anywhere: npt.NDArray[np.uint32] = np.bitwise_or.reduce([*self.differs.values(), start])
        return anywhere

    def explain(
        self, logs: Items, digests: npt.NDArray[np.uint8], pcrs: PcrValues, findings: FindingColumns
    ) -> StageValues:
        """Looks at the events of the rows that differ: allowed variations differ no more, the rest is not trusted.

        ``digests`` are uint8 of shape [n, 32]: equal ones are equal logs. Rows that differ alike are looked at once.

        Returns:
            The values that their stages show.
        """
        shown: StageValues = {}
        for rows in self._alike(digests, pcrs):
            alike = _Alike(logs[int(rows[0])], rows, self._values(int(rows[0]), pcrs))
            for pcr in pcrs_of(self._compared(alike.first)):
                self._judge(alike, pcr, findings)
            for part, own in self._still(rows):
                shown |= dict.fromkeys(part.tolist(), self._explain_alike(alike.log, part, own, pcrs, findings))
        differs = self.anywhere & self._masks.compare
        findings.high |= differs != 0
        in_grace = self._references.in_grace(self._boots.as_of)
        self.current[self._judged] = in_grace[self._profile[self._judged]]
        self.current &= self._masks.compare & ~differs & ~self._superseded
        return shown

    def _compared(self, row: int) -> int:
        """The compared PCRs of a row that differ, a bit each."""
        bits = [bits[row] for bits in self.differs.values()]
        return int(np.bitwise_or.reduce(bits) & self._masks.compare[row])

    def _values(self, row: int, pcrs: PcrValues) -> dict[str, npt.NDArray[np.uint8]]:
        return {bank: pcrs.values[bank][row] for bank in banks_of(int(self.banks[row]))}

    def _judge(self, alike: _Alike, pcr: int, findings: FindingColumns) -> None:
        """Lets rows that differ alike in a PCR pass where they hold a superseded value, or a variation of a good one.

        What was superseded is known by its value alone: while it is allowed, most of a fleet may hold it.
        """
        row, of_register = alike.first, bool(self._masks.of_registers[alike.first])
        profile = int(self._profile[row])
        values = {bank: value[pcr].tobytes() for bank, value in alike.values.items()}
        held = HeldPcr(self._references, profile, pcr, pcr_names(registers=of_register)[pcr], values)
        one = held.superseded()
        may = alike.rows
        if one is None:
            logged = LoggedPcr(alike.log, pcr)
            current = [a.sequence for a in self._references.allowed(profile, pcr) if a.until is None]
            if not any(is_variation(logged, sequence, values, of_register=of_register) for sequence in current):
                one = held.varied(logged, of_register=of_register)
                may = may if one is not None else may[:0]
        if one is not None:
            may = held.judge(one, may, self._boots, findings)
            self._superseded[may] |= np.uint32(1 << pcr)
            leaving = np.empty(len(may), LEAVING)
            leaving["row"], leaving["pcr"], leaving["rank"], leaving["keep"] = may, pcr, one.rank, one.keep
            self._leaving.append(leaving)
        for bits in self.differs.values():
            bits[may] &= ~np.uint32(1 << pcr)

    def _still(self, rows: npt.NDArray[np.int64]) -> Iterator[tuple[npt.NDArray[np.int64], dict[str, int]]]:
        """Those of the rows that differ still, by what they differ in."""
        parts: defaultdict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
        for row in rows.tolist():
            parts[tuple((bank, int(bits[row])) for bank, bits in self.differs.items() if bits[row])].append(row)
        for own, part in parts.items():
            if own:
                yield np.array(part, np.int64), dict(own)

    def _alike(self, digests: npt.NDArray[np.uint8], pcrs: PcrValues) -> Iterator[npt.NDArray[np.int64]]:
        """The rows that differ, those together of which all is equal that is looked at."""
        anywhere = self.anywhere
        alike: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
        for row in np.flatnonzero(anywhere != 0).tolist():
            banks = banks_of(int(self.banks[row]))
            differing = [*pcrs_of(int(anywhere[row]))]
            masks = self._masks
            key = (
                digests[row].tobytes(),
                *(int(column[row]) for column in (self._profile, masks.compare, masks.report, masks.of_registers)),
                *((bank, int(self.differs[bank][row]), pcrs.values[bank][row, differing].tobytes()) for bank in banks),
            )
            alike[key].append(row)
        yield from (np.array(rows, np.int64) for rows in alike.values())

    def _explain_alike(
        self,
        log: EventLog,
        rows: npt.NDArray[np.int64],
        own: Mapping[str, int],
        pcrs: PcrValues,
        findings: FindingColumns,
    ) -> list[tuple[bytes | None, bytes | None]]:
        """Findings of rows that differ alike, and what their stages show."""
        row = int(rows[0])
        profile, registers = int(self._profile[row]), bool(self._masks.of_registers[row])
        compare, report = int(self._masks.compare[row]), int(self._masks.report[row])
        values = {bank: pcrs.values[bank][row] for bank in own}
        for finding in difference_findings(
            log, values, self._references, profile, own, compare=compare, report=report, registers=registers
        ):
            findings.add_to_all(rows, finding)
        compared = {bank: bits & compare for bank, bits in own.items()}
        return [
            self._stage_value(values, compared, profile, pcrs_of(mr_mask(pcr_mask(stage))) if registers else stage)
            for _, stage in STAGES
        ]

    def _stage_value(
        self, values: Mapping[str, npt.NDArray[np.uint8]], own: Mapping[str, int], profile: int, pcrs: tuple[int, ...]
    ) -> tuple[bytes | None, bytes | None]:
        """Expected and actual value of the first compared PCR of a stage that differs."""
        for pcr in pcrs:
            for bank in TO_SHOW:
                if own.get(bank, 0) >> pcr & 1:
                    expected = self._references.allowed_value(bank, profile, pcr)
                    return expected, values[bank][pcr].tobytes()
        return None, None

"""A machine that differs from its baseline, event by event, in words. Runs only for machines that differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify.algorithms import PCRS, TO_SHOW, pcrs_of
from pyverify.appraise.logged_pcr import LoggedPcr
from pyverify.baseline.diff import Change, diff
from pyverify.baseline.model import EventSequence
from pyverify.baseline.references import References
from pyverify.evidence import event_types
from pyverify.evidence.ccel import CCEL_REGISTERS
from pyverify.evidence.columns import Ragged
from pyverify.evidence.data_check import VERIFIED, check_data
from pyverify.evidence.event_data import describe
from pyverify.evidence.eventlog import Event, EventLog
from pyverify.evidence.pcrs import pcr_name
from pyverify.evidence.scanned import ScannedLogs
from pyverify.findings import Finding, Severity

MAX_FINDINGS: Final = 100
"""Event findings of one boot: more tell a reader nothing, and an attacker writes as many as fit."""
_LAST_OF_FIRMWARE: Final = 5


def difference_findings(
    log: EventLog,
    values: Mapping[str, npt.NDArray[np.uint8]],
    references: References,
    profile: int,
    differs: Mapping[str, int],
    *,
    compare: int,
    report: int,
    registers: bool = False,
) -> list[Finding]:
    """Why the PCRs of a log differ from those of a profile.

    Args:
        log: the log, without faults.
        values: by bank the PCR values that are held against it, uint8 of shape [24, size].
        references: where the profile is from.
        profile: number of the profile.
        differs: by bank the PCRs that differ in it, a bit each.
        compare: the PCRs that must equal, a bit each.
        report: those that are only told of.
        registers: whether all of these are measurement registers.
    """
    names = pcr_names(registers=registers)
    anywhere = int(np.bitwise_or.reduce(list(differs.values()), initial=0))
    # Nothing of what is only told of is said event by event.
    checked = [log.data] if anywhere & compare else []
    proven = check_data(ScannedLogs.of(Ragged.of([*checked])), list(differs)).verified == VERIFIED

    def differing(mask: int) -> list[_Differing]:
        found = []
        for pcr in pcrs_of(anywhere & mask):
            bank = next(bank for bank in TO_SHOW if differs.get(bank, 0) >> pcr & 1)
            expected = references.allowed_value(bank, profile, pcr)
            current = [a.sequence for a in references.allowed(profile, pcr) if a.until is None]
            sequences = [sequence for sequence in current if bank in sequence.digests]
            actual = values[bank][pcr].tobytes()
            found.append(_Differing(LoggedPcr(log, pcr), proven, names[pcr], bank, sequences, expected, actual))
        return found

    changes = [(pcr, change) for pcr in differing(compare) for change in pcr.changes]
    changes.sort(key=lambda item: item[0].number_of(item[1], len(log)))
    compared = [pcr.finding(change) for pcr, change in changes[:MAX_FINDINGS]]
    if left_out := len(changes) - len(compared):
        compared.append(Finding("baseline.pcr", Severity.HIGH, f"and {left_out} more differences"))
    return compared + [finding for pcr in differing(report) for finding in pcr.reported()]


def pcr_names(*, registers: bool) -> list[str]:
    """Names of the PCRs, or of the measurement registers whose numbers stand for them."""
    return [register.name for register in CCEL_REGISTERS] if registers else [pcr_name(pcr) for pcr in range(PCRS)]


@dataclass(frozen=True)
class _Differing:
    """A PCR that differs, in one of the banks in which it does."""

    logged: LoggedPcr
    proven: npt.NDArray[np.bool_]
    """Events whose data is what was measured: only their text can be believed."""
    name: str
    bank: str
    sequences: list[EventSequence]
    expected: bytes | None
    actual: bytes

    @property
    def _pcr(self) -> int:
        return self.logged.pcr

    @cached_property
    def digests(self) -> list[bytes]:
        """Digests of the events that extended it."""
        return self.logged.digests(self.bank)

    @cached_property
    def _numbers(self) -> npt.NDArray[np.int64]:
        return self.logged.numbers(self.bank)

    @cached_property
    def _closest(self) -> tuple[list[Change], EventSequence | None]:
        candidates = [(self._changes(sequence), sequence) for sequence in self.sequences]
        return min(candidates, key=lambda candidate: len(candidate[0]), default=([], None))

    def _changes(self, sequence: EventSequence) -> list[Change]:
        """What differs from a sequence beside the events that may have any digest."""
        may = set(sequence.varies)
        changes = diff(sequence.split(self.bank), self.digests)
        return [change for change in changes if change.kind != "changed" or change.expected not in may]

    @cached_property
    def _wanted(self) -> list[bytes]:
        """Digests of the closest allowed sequence."""
        sequence = self._closest[1]
        return [] if sequence is None else sequence.split(self.bank)

    @property
    def changes(self) -> list[Change | None]:
        """How it differs from the closest allowed sequence: at least one change, None where no event explains it."""
        return list(self._closest[0]) or [None]

    def number_of(self, change: Change | None, after_all: int) -> int:
        """The event's number in the log at which a change shows, ``after_all`` where there is none."""
        return after_all if change is None or change.actual is None else int(self._numbers[change.actual])

    def finding(self, change: Change | None) -> Finding:
        """A change in words."""
        sequence = self._closest[1]
        if change is None or sequence is None:
            other_start = sequence is not None and sequence.start != self.logged.start
            why = ": it started with another value" if other_start else ""
            return self._finding("baseline.pcr", Severity.HIGH, f"no event explains the difference{why}")
        return self._event_finding(sequence, change)

    def reported(self) -> list[Finding]:
        """A PCR that may vary. Events missing at its end are another matter: a log that was cut looks so."""
        findings = [self._finding("baseline.reported", Severity.INFO, "differs, as it may")]
        for sequence in self.sequences:
            wanted, n = sequence.split(self.bank), len(self.digests)
            # PCR 5 ends with what the firmware says of ExitBootServices, the last that it measures at all.
            end_is_gone = self._pcr == _LAST_OF_FIRMWARE and n < len(wanted) and wanted[-1] not in self.digests
            if end_is_gone or (n < len(wanted) and wanted[:n] == self.digests):
                last = f"{event_types.name(sequence.types[-1])} “{sequence.texts[-1]}”"
                hint = f"{self.name}: {last}, its last event, is missing: the log may have been cut"
                cut = Finding("baseline.event-removed", Severity.HIGH, hint, self._pcr, self.bank, None, wanted[-1])
                return [*findings, cut]
        return findings

    def _finding(self, code: str, severity: Severity, words: str) -> Finding:
        hint = f"{self.name}: {words}"
        return Finding(code, severity, hint, self._pcr, self.bank, None, self.expected, self.actual)

    def _event_finding(self, sequence: EventSequence, change: Change) -> Finding:
        was = expected = new = actual = None
        if change.expected is not None:
            was = f"{event_types.name(sequence.types[change.expected])} “{sequence.texts[change.expected]}”"
            expected = self._wanted[change.expected]
        if change.actual is not None:
            new = self.logged.log[int(self._numbers[change.actual])]
            actual = self.digests[change.actual]
        return Finding(
            f"baseline.event-{change.kind}",
            Severity.HIGH,
            f"{self.name}: {_in_words(was, new, change, proven=new is not None and bool(self.proven[new.number]))}",
            self._pcr,
            self.bank,
            None if new is None else new.number,
            expected,
            actual,
        )


def _in_words(was: str | None, new: Event | None, change: Change, *, proven: bool) -> str:
    """What happened to an event. Quoted text is the log's own word for it; nobody vouches for what is unproven."""
    now = "" if new is None else f"{new.type_name} “{describe(new.pcr, new.type_hint, new.data)}”"
    mark = "" if proven else " (unproven)"
    if change.kind == "moved":
        return f"{now}{mark} is event {change.actual} of this PCR, in the baseline {change.expected}"
    if change.kind == "changed":
        return f"{now}{mark} has other contents" if was == now else f"{was} became {now}{mark}"
    return f"{now}{mark} is new" if change.kind == "added" else f"{was} is missing"

"""A machine that differs from its baseline, event by event, in words. Runs only for machines that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from pyverify import _native
from pyverify.algorithms import BY_NAME, STRENGTH, pcrs_of
from pyverify.appraise.policy import Policy
from pyverify.baseline.diff import Change, diff
from pyverify.baseline.model import BaselineEvent, EventSequence
from pyverify.baseline.references import References
from pyverify.evidence import event_types
from pyverify.evidence.event_data import describe
from pyverify.evidence.eventlog import Event, EventLog
from pyverify.evidence.pcrs import pcr_name
from pyverify.findings import Finding, Severity

MAX_FINDINGS: Final = 100
"""Event findings of one boot: more tell a reader nothing, and an attacker writes as many as fit."""


def difference_findings(
    log: EventLog, references: References, profile: int, differs: Mapping[str, int], policy: Policy
) -> list[Finding]:
    """Why the PCRs of a log differ from those of a profile.

    Args:
        log: the log, without faults.
        references: where the profile is from.
        profile: number of the profile.
        differs: by bank the PCRs that differ in it, a bit each.
        policy: says which PCRs must equal and which are only reported.
    """
    anywhere = int(np.bitwise_or.reduce(list(differs.values()), initial=0))
    found: list[Finding] = []
    for pcr in pcrs_of(anywhere & policy.compare_mask):
        bank = _judging_bank(differs, pcr)
        found += _compared(
            log, references.sequences(profile, pcr), pcr, bank, _values(log, references, profile, pcr, bank)
        )
    found.sort(key=lambda finding: len(log) if finding.event is None else finding.event)
    if len(found) > MAX_FINDINGS:
        left_out = len(found) - MAX_FINDINGS
        found = [*found[:MAX_FINDINGS], Finding("baseline.pcr", Severity.HIGH, f"and {left_out} more differences")]
    for pcr in pcrs_of(anywhere & policy.report_mask):
        bank = _judging_bank(differs, pcr)
        found += _reported(
            log, references.sequences(profile, pcr), pcr, bank, _values(log, references, profile, pcr, bank)
        )
    return found


def _judging_bank(differs: Mapping[str, int], pcr: int) -> str:
    """The strongest bank in which this PCR differs."""
    return next(bank for bank in STRENGTH if differs.get(bank, 0) >> pcr & 1)


def _values(
    log: EventLog, references: References, profile: int, pcr: int, bank: str
) -> tuple[bytes | None, bytes | None]:
    """What the PCR should hold (one of the allowed values) and what the log leads to."""
    return references.allowed_value(bank, profile, pcr), log.replay([bank])[bank][pcr].tobytes()


def _events_of(log: EventLog, pcr: int, bank: str) -> tuple[list[int], list[bytes]]:
    """Numbers and digests of the events that extended a PCR."""
    column = log.columns
    extended = (column["pcr"] == pcr) & (column["type"] != event_types.EV_NO_ACTION)
    numbers = np.flatnonzero(extended & (column["digest_at"][:, BY_NAME[bank].index] != _native.NO_DIGEST)).tolist()
    return numbers, [log[number].digests[bank] for number in numbers]


def _closest(
    sequences: Sequence[EventSequence], bank: str, digests: Sequence[bytes]
) -> tuple[EventSequence | None, list[Change]]:
    """The allowed sequence with the fewest differences, and these."""
    best: tuple[EventSequence | None, list[Change]] = (None, [])
    for sequence in sequences:
        changes = diff([event.digests.get(bank, b"") for event in sequence.events], digests)
        if best[0] is None or len(changes) < len(best[1]):
            best = sequence, changes
    return best


def _compared(
    log: EventLog, sequences: Sequence[EventSequence], pcr: int, bank: str, values: tuple[bytes | None, bytes | None]
) -> list[Finding]:
    numbers, digests = _events_of(log, pcr, bank)
    sequence, changes = _closest(sequences, bank, digests)
    if sequence is None or not changes:
        expected, actual = values
        start = "" if sequence is None or sequence.start == _start(log, pcr) else f": {pcr_name(pcr)} started otherwise"
        hint = f"no event of {pcr_name(pcr)} explains the difference{start}"
        return [Finding("baseline.pcr", Severity.HIGH, hint, pcr, bank, None, expected, actual)]
    return [_event_finding(log, sequence, change, numbers, pcr, bank) for change in changes]


def _start(log: EventLog, pcr: int) -> int:
    return int(log.row["locality"]) if pcr == 0 else 0


def _event_finding(
    log: EventLog, sequence: EventSequence, change: Change, numbers: Sequence[int], pcr: int, bank: str
) -> Finding:
    old = None if change.expected is None else sequence.events[change.expected]
    new = None if change.actual is None else log[numbers[change.actual]]
    return Finding(
        f"baseline.event-{change.kind}",
        Severity.HIGH,
        f"{pcr_name(pcr)}: {_in_words(old, new, change)}",
        pcr,
        bank,
        None if new is None else new.number,
        None if old is None else old.digests.get(bank),
        None if new is None else new.digests.get(bank),
    )


def _in_words(old: BaselineEvent | None, new: Event | None, change: Change) -> str:
    """What happened to an event. Quoted text is the log's own word for it, which nobody vouches for."""
    was = "" if old is None else f"{event_types.name(old.type_hint)} “{old.text}”"
    now = "" if new is None else f"{new.type_name} “{describe(new.pcr, new.type_hint, new.data)}”"
    if change.kind == "moved":
        return f"{now} is event {change.actual} of this PCR, in the baseline {change.expected}"
    if change.kind == "changed":
        return f"{now} has other contents" if was == now else f"{was} became {now}"
    return f"{now} is new" if change.kind == "added" else f"{was} is missing"


def _reported(
    log: EventLog, sequences: Sequence[EventSequence], pcr: int, bank: str, values: tuple[bytes | None, bytes | None]
) -> list[Finding]:
    """A PCR that may vary. Events missing at its end are another matter: a log that was cut between two events looks
    so."""
    expected, actual = values
    finding = Finding(
        "baseline.reported", Severity.INFO, f"{pcr_name(pcr)} differs; it may", pcr, bank, None, expected, actual
    )
    _, digests = _events_of(log, pcr, bank)
    for sequence in sequences:
        wanted = [event.digests.get(bank, b"") for event in sequence.events]
        if len(digests) < len(wanted) and wanted[: len(digests)] == digests:
            gone = sequence.events[len(digests)]
            hint = (
                f"{pcr_name(pcr)}: {event_types.name(gone.type_hint)} “{gone.text}” and all after it are missing: "
                "the log may have been cut"
            )
            cut = Finding("baseline.event-removed", Severity.HIGH, hint, pcr, bank, None, gone.digests.get(bank), None)
            return [finding, cut]
    return [finding]

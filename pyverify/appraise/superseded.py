"""Values that were current once: allowed for a while after a change was approved, and a step back after that.

A machine may go on with what was replaced until it has booted what came after it, or the time for that is over
(DESIGN section 6).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from pyverify.baseline.place import Place, is_after
from pyverify.baseline.references import References, Superseded
from pyverify.findings import Finding, Severity


def superseded_value(references: References, profile: int, pcr: int, values: Mapping[str, bytes]) -> Superseded | None:
    """The newest superseded value of a PCR that holds it in every bank in which it was compared: ``values``."""
    known = references.superseded(profile, pcr)
    return next(
        (
            one
            for one in reversed(known)
            if values and all(one.values.get(bank) == value for bank, value in values.items())
        ),
        None,
    )


def judge_superseded(
    one: Superseded,
    references: References,
    *,
    machine: str,
    profile: int,
    pcr: int,
    name: str,
    place: Place,
    as_of: datetime.datetime,
) -> Finding:
    """What is to be said of a machine that holds a superseded value; it may where that is not high."""
    if as_of >= one.until:
        has_newer = any(rank > one.rank for rank, _ in references.reached(machine, profile, pcr))
        if has_newer:
            words = "a value that was superseded came back; the machine has booted what came after it"
            return Finding("baseline.rolled-back", Severity.HIGH, f"{name}: {words}", pcr)
        words = f"a value that was superseded and allowed until {one.until:%Y-%m-%d %H:%M} UTC: update the machine"
        return Finding("baseline.expired", Severity.HIGH, f"{name}: {words}", pcr)
    if not one.keep:
        for rank, first in references.reached(machine, profile, pcr):
            if rank > one.rank and is_after(place, first):
                words = f"a value that was superseded came back; boot {first.boot} already held what came after it"
                return Finding("baseline.rolled-back", Severity.HIGH, f"{name}: {words}", pcr)
    words = f"still as before the change that was approved, which is allowed until {one.until:%Y-%m-%d %H:%M} UTC"
    return Finding("baseline.approved", Severity.INFO, f"{name}: {words}", pcr)

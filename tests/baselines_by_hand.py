"""Baselines for tests of what is done with them: from logs of known events, with all that a baseline may have."""

from __future__ import annotations

import datetime

from conftest import hash_of, small_log

from pyverify import EventLog
from pyverify.baseline.model import (
    Accepted,
    Allowed,
    Baseline,
    EventSequence,
    Origin,
    State,
    SupersededIma,
    event_sequences,
)
from pyverify.evidence.ima_set import ImaSet, Member, kind_of

BANKS = ["sha1", "sha256"]
UNTIL = datetime.datetime(2026, 12, 24, 18, 30, 0, 250, tzinfo=datetime.UTC)
COMPARED = (0, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14)


def of_log(log: bytes | None = None, name: str = "m", banks=BANKS, **changes) -> Baseline:
    """The baseline of a machine that booted so."""
    parsed = EventLog.parse(log or small_log(list(banks)))
    fields = {
        "scope": "machine",
        "id": name,
        "version": 1,
        "state": State.ACTIVE,
        "allowed": tuple((Allowed(sequence),) for sequence in event_sequences(parsed)),
        "log_banks": parsed.banks,
        "quoted_banks": (),
        "boot": "b",
        "evidence_id": hash_of("sha256", name.encode()),
    }
    return Baseline(**(fields | changes))


def baseline(machine: str = "m", log: bytes | None = None, **changes) -> Baseline:
    """The same by the machine's name."""
    return of_log(log, machine, **changes)


def with_allowed(baseline: Baseline, pcr: int, *sequences: EventSequence) -> tuple:
    """``allowed`` of a baseline with these sequences in one PCR."""
    members = tuple(Allowed(sequence) for sequence in sequences)
    return (*baseline.allowed[:pcr], members, *baseline.allowed[pcr + 1 :])


def everything(name: str = "all") -> Baseline:
    """A baseline with a value in every field."""
    plain = of_log()
    other = event_sequences(EventLog.parse(small_log(["sha1", "sha256"], command_line=b"debug")))[8]
    own = plain.allowed[8][0].sequence
    varying = EventSequence(own.start, own.types, own.texts, own.digests, (0,))
    bare = EventSequence(0, (), (), {}, (), {"sha256": bytes(range(32)), "sm3_256": bytes(32)})
    allowed = list(plain.allowed)
    allowed[8] = (Allowed(other, UNTIL, keep=True), Allowed(own, UNTIL), Allowed(varying))
    allowed[14] = (Allowed(bare),)
    allowed[23] = ()
    digest = hash_of("sha256", b"program")
    members = [
        Member(b"/bin/\xff\xe9\xc3\xa9 x", kind_of("sha256"), digest),
        Member(b"/bin/sh", kind_of("sm3"), digest),
        Member(b"/bin/sh", kind_of("sha256", verity=True), digest),
        Member(b".ima", kind_of("sha1", buffer=True), digest[:20]),
    ]
    return of_log(
        name=name,
        scope="cohort",
        version=7,
        state=State.SUPERSEDED,
        origin=Origin.APPROVED,
        quoted_banks=("sha256",),
        allowed=tuple(allowed),
        ima=ImaSet(members),
        ima_violations=3,
        ima_superseded=(SupersededIma(ImaSet(members[:2]), UNTIL), SupersededIma(ImaSet(), UNTIL)),
        accepted=(Accepted("separator.missing", 6, "an old board"), Accepted("separator.error", 5, "known")),
    )

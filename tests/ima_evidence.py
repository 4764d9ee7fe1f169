"""IMA lists of the tests: an honest one beside its log, what may be wrong with lists, and what comes of one."""

from __future__ import annotations

import datetime

from baselines_by_hand import baseline
from conftest import hash_of, replay_by_hand, small_log
from ima_by_hand import a_digest, data_of, entry

from pyverify import Evidence, Policy, References, verify
from pyverify.evidence.bundle import ImaList
from pyverify.evidence.columns import Ragged
from pyverify.evidence.ima import scan
from pyverify.evidence.ima_set import ImaSet

BANKS = ["sha1", "sha256"]
LOG = small_log(BANKS)
PCRS = replay_by_hand(LOG)
POLICY = Policy.preset("log-only")
NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)

AGGREGATE = entry(data_of("boot_aggregate", hash_of("sha256", b"".join(PCRS["sha256"][pcr] for pcr in range(10)))))
FILES = [
    entry(data_of("/bin/a", a_digest(1))),
    entry(data_of("/bin/b", a_digest(2), b"\3\2signature"), "ima-sig"),
    entry(data_of("/bin/c", a_digest(3))),
]
HONEST = AGGREGATE + b"".join(FILES)
VIOLATION = entry(data_of("/var/log/x", bytes(32)), shown=bytes(20))
COMMAND_LINE = b"quiet"
BUFFER = entry(data_of("kexec-cmdline", hash_of("sha256", COMMAND_LINE), COMMAND_LINE), "ima-buf")


def set_of(data: bytes) -> ImaSet:
    return ImaSet.of(scan(Ragged.of([data]), ["binary"]))


def references(known: bytes | None = HONEST, violations: int = 0) -> References:
    return References.of([baseline("m", LOG, ima=None if known is None else set_of(known), ima_violations=violations)])


def judge(*lists: bytes | ImaList | None, known: References | None = None, log: bytes = LOG, policy: Policy = POLICY):
    """The verdict over the lists of a boot, binary ones where nothing else is said; None: no list was sent."""
    sent = None if lists == (None,) else [one if isinstance(one, ImaList) else ImaList("binary", one) for one in lists]
    evidence = Evidence(machine="m", boot="2", event_log=log, ima=sent)
    return verify(evidence, references=references() if known is None else known, policy=policy, as_of=NOW)


def told(verdict):
    return [(finding.code, finding.severity.value) for finding in verdict.findings]


def lamp(verdict):
    return dict(verdict.stages)["applications"]


ATTACKS = {
    "85: data altered, the shown digest kept": (
        AGGREGATE + entry(data_of("/bin/a", a_digest(1)), shown=hash_of("sha1", b"x")),
        [("ima.template-mismatch", "high")],
    ),
    "85: the file's digest altered, the shown digest kept": (
        AGGREGATE + FILES[0].replace(a_digest(1), a_digest(9)),
        [("ima.template-mismatch", "high"), ("ima.changed", "high")],
    ),
    "86: an entry that claims to be a violation": (
        AGGREGATE + entry(data_of("/bin/evil", a_digest(9)), shown=bytes(20)),
        [("ima.violation", "high")],
    ),
    "87: a file with a signature read as a buffer": (
        HONEST + FILES[1].replace(b"ima-sig", b"ima-buf"),
        [("ima.relabelled", "high"), ("ima.changed", "high")],
    ),
    "87: a buffer read as a file with a signature": (
        HONEST + BUFFER.replace(b"ima-buf", b"ima-sig"),
        [("ima.relabelled", "high"), ("ima.added", "high")],
    ),
    "91: no entries": (b"", [("ima.empty", "high")]),
    "91: no list": (None, [("ima.empty", "high")]),
    "94: a file called boot_aggregate": (
        HONEST + entry(data_of("boot_aggregate", a_digest(1))),
        [("ima.kexec", "high")],
    ),
    "95: no boot_aggregate": (b"".join(FILES), [("ima.boot-aggregate", "high")]),
    "95: boot_aggregate is not first": (
        FILES[0] + AGGREGATE,
        [("ima.boot-aggregate", "high"), ("ima.kexec", "high")],
    ),
    "95: the boot_aggregate of another boot": (
        entry(data_of("boot_aggregate", a_digest(1))) + b"".join(FILES),
        [("ima.boot-aggregate", "high")],
    ),
    "95: a boot_aggregate of zeros": (
        entry(data_of("boot_aggregate", bytes(32))) + b"".join(FILES),
        [("ima.boot-aggregate", "high")],
    ),
    "95: a boot_aggregate that is a violation": (
        entry(data_of("boot_aggregate", bytes(32)), shown=bytes(20)) + b"".join(FILES),
        [("ima.boot-aggregate", "high"), ("ima.violation", "high")],
    ),
    "96: a digest of 20 bytes by SHA-256": (
        AGGREGATE + entry(data_of("/bin/a", a_digest(1)[:20])),
        [("ima.weak-hash", "warning"), ("ima.changed", "high")],
    ),
    "96: SHA-1": (
        AGGREGATE + entry(data_of("/bin/a", a_digest(1, "sha1"), algorithm="sha1")),
        [("ima.weak-hash", "warning"), ("ima.changed", "high")],
    ),
    "98: a kexec by its buffers": (
        HONEST + entry(data_of("kexec_load", hash_of("sha256", b"x"), b"x"), "ima-buf"),
        [("ima.kexec", "high")],
    ),
    "103: the same bytes by SM3": (
        AGGREGATE + entry(data_of("/bin/a", a_digest(1), algorithm="sm3")),
        [("ima.changed", "high")],
    ),
    "a program that changed": (
        AGGREGATE + entry(data_of("/bin/a", a_digest(2))),
        [("ima.changed", "high")],
    ),
    "a program that is new": (HONEST + entry(data_of("/bin/d", a_digest(1))), [("ima.added", "high")]),
    "more violations than were learned": (HONEST + VIOLATION, [("ima.violation", "high")]),
}


FAULTS = {
    "25: cut": (ImaList("binary", HONEST[:-1]), "ima.truncated"),
    "26: big-endian": (ImaList("binary", b"\0\0\0\x0a" + HONEST[4:24] + b"\0\0\0\6ima-ng"), "ima.endianness"),
    "an unknown template": (ImaList("binary", HONEST.replace(b"ima-sig", b"ima-xyz")), "ima.template"),
    "93: a line break in a name": (ImaList("ascii", b"10 " + b"0" * 40 + b" ima-ng sha256:00 /a\nb\n"), "ima.format"),
    "an unknown format": (ImaList("binary_md5", HONEST), "ima.format"),
    "no format": (ImaList("", HONEST), "ima.format"),
}

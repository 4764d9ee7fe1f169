"""Samples of one boot with IMA lists of growing length, signed or not, and what a job makes of them."""

from __future__ import annotations

import datetime
import hashlib
from unittest import mock

from attested_machine import HOUR, LOG_ONLY, NOW, Machine, Rows, codes, references_of
from conftest import small_log
from ima_by_hand import replay
from ima_evidence import FILES, set_of
from learning import ran_in

from pyverify import Evidence, Policy
from pyverify.evidence.bundle import ImaList
from pyverify.fleet.job import Summary, run

LOG = small_log(["sha256"])
START = ran_in(LOG)
LISTS = [START + b"".join(FILES[:count]) for count in range(4)]  # of 1 to 4 entries
SHRUNK = "ima.shrunk"


def at(hours: float) -> datetime.datetime:
    return NOW + hours * HOUR


def sample(machine: Machine, hours: float | None, data: bytes | None, form: str = "binary", **changes) -> Evidence:
    """A sample that nobody signed, as of a time by its own word; ``None`` sends no list."""
    lists = None if data is None else [ImaList(form, data)]
    collected_at = None if hours is None else at(hours)
    return machine.evidence(quotes=None, ima=lists, collected_at=collected_at, **changes)


def signed(machine: Machine, clock: int, measured: bytes, sent: bytes | None, hours: float = 0, **changes) -> Evidence:
    """A sample that the TPM signed when its clock said so, after it had measured a list."""
    selection = changes.pop("selection", None)
    for name in ("reset_count", "restart_count"):
        setattr(machine.tpm, name, changes.pop(name, 7 if name == "reset_count" else 0))
    machine.tpm.clock = clock
    machine.tpm.pcrs["sha256"][10] = replay(measured, "sha256") if measured else bytes(32)
    nonce = hashlib.sha256(f"{clock} {len(measured)} {changes}".encode()).digest()
    quote = machine.quote(selection, nonce, **changes.pop("parts", {}))
    lists = None if sent is None else [ImaList("binary", sent)]
    return machine.evidence(quote, ima=lists, collected_at=at(hours), **changes)


def running(source, *machines: Machine, policy: Policy = LOG_ONLY, learned: bytes | None = LISTS[3], **parts):
    """The verdicts of a job as they come."""
    ima = None if learned is None else set_of(learned)
    references = references_of(*machines, baselines=[one.baseline(ima=ima) for one in machines], challenges=[])
    summary = Summary(policy.name, references.id, NOW)
    return run(source, references=references, policy=policy, as_of=NOW, jobs=1, summary=summary, **parts)


def verdicts(machine: Machine, *evidence, others=(), **options) -> list[dict]:
    """Verdict rows of a job, which are the same whatever the batches are, and whether facts are spread over files."""
    found = []
    for size, held in ((512, 1 << 17), (1, 1), (2, 1 << 17)):
        with mock.patch("pyverify.fleet.sequence._HELD", held):
            batches = running(Rows(evidence, size), machine, *others, **options)
            found.append([row for batch in batches for row in batch.to_pylist()])
    assert found[0] == found[1] == found[2] and len(found[0]) == len(evidence)
    return found[0]


def told(rows) -> list[bool]:
    """Which rows are shrunk; those are not trusted, and have the reason once."""
    marks = [SHRUNK in codes(row, "high") for row in rows]
    for row, mark in zip(rows, marks, strict=True):
        assert not mark or row["verdict"] == "untrusted"
        assert [finding["code"] for finding in row["findings"]].count(SHRUNK) == mark
    return marks

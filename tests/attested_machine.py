"""A machine of the tests with a TPM in Python, the references that know it, and what its evidence comes to."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pytest
from baselines_by_hand import baseline
from conftest import small_log
from tpm_in_python import Key, Selection, SentQuote, Tpm, key

from pyverify import Evidence, Policy, References, Store, Verdict, evidence_batch, verify, verify_batches
from pyverify.appraise.verdict import VERDICT_SCHEMA, Outcome
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.identity import ALWAYS, Challenge, EnrolledKey, KeyLevel, Sm2Mode
from pyverify.baseline.ledger import Ledger
from pyverify.evidence.bundle import Quote
from pyverify.fleet.job import Summary, run

NOW = datetime.datetime(2026, 11, 1, 12, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
DEFAULT, ARCHIVE, LOG_ONLY = (Policy.preset(name) for name in ("default", "archive", "log-only"))
ALL_PCRS = tuple(range(24))
NONCE = hashlib.sha256(b"what the verifier asked").digest()
BANKS = ("sha256",)
POLICIES = pytest.mark.parametrize("policy", [DEFAULT, ARCHIVE], ids=lambda policy: policy.name)


@dataclass
class Machine:
    """One machine: its log, its TPM, its key, and what it was asked. Every default is honest."""

    name: str = "m"
    banks: Sequence[str] = BANKS
    kind: str = "ecdsa_p256"
    log: bytes = b""
    tpm: Tpm = None  # type: ignore[assignment]
    nonce: bytes = NONCE
    quoted_banks: Sequence[str] | None = None
    level: KeyLevel = KeyLevel.ENROLLED
    sm2_mode: Sm2Mode = Sm2Mode.DIGEST
    challenges: list[Challenge] = field(default_factory=list)
    own_key: Key | None = None

    def __post_init__(self) -> None:
        self.log = self.log or small_log(list(self.banks))
        self.tpm = self.tpm or Tpm.booted(self.log, owner=self.name)
        self.quoted_banks = self.banks if self.quoted_banks is None else self.quoted_banks
        self.challenges = self.challenges or [Challenge(self.key.name, self.nonce, NOW - HOUR, self.name)]

    @property
    def key(self) -> Key:
        return self.own_key or key(self.kind, self.name)

    @property
    def selection(self) -> Selection:
        return [(bank, ALL_PCRS) for bank in self.quoted_banks]

    def quote(self, selection: Selection | None = None, nonce: bytes | None = None, **parts) -> SentQuote:
        kind = parts.pop("kind", self.key)
        return self.tpm.quote(selection or self.selection, self.nonce if nonce is None else nonce, kind, **parts)

    def evidence(self, *quotes: SentQuote, **changes) -> Evidence:
        """What it sends; without quotes given, its honest one."""
        sent = [Quote(q.msg, q.sig, q.ak_pub, q.pcrs) for q in quotes or (self.quote(),)]
        return Evidence(**({"machine": self.name, "boot": "b2", "event_log": self.log, "quotes": sent} | changes))

    def enrolled(self) -> EnrolledKey:
        return EnrolledKey(self.key.name, self.name, ALWAYS, None, self.level, self.sm2_mode)

    def baseline(self, **changes):
        return baseline(self.name, self.log, **({"quoted_banks": tuple(self.quoted_banks)} | changes))

    def references(self, **changes) -> References:
        return references_of(self, **changes)

    def judge(self, *quotes: SentQuote, policy: Policy = DEFAULT, references=None, at=NOW, **changes) -> Verdict:
        """The verdict of what it sends, against references taken of it as it is now."""
        known = references or self.references()
        return verify(self.evidence(*quotes, **changes), references=known, policy=policy, as_of=at)


def references_of(*machines: Machine, **changes) -> References:
    """References that know these machines."""
    tables = {
        "enrolled": [machine.enrolled() for machine in machines],
        "challenges": [challenge for machine in machines for challenge in machine.challenges],
        "baselines": [machine.baseline() for machine in machines],
    } | changes
    return References.of(tables.pop("baselines"), **tables)


def rows_of(evidence: Sequence[Evidence], references: References, policy: Policy = DEFAULT, at=NOW) -> list[dict]:
    """The verdict rows of many pieces of evidence, judged in one batch, of a table that is valid throughout."""
    (batch,) = verify_batches([evidence_batch(list(evidence))], references=references, policy=policy, as_of=at)
    batch.validate(full=True)
    assert batch.schema == VERDICT_SCHEMA and len(batch) == len(evidence)
    return pa.Table.from_batches([batch]).to_pylist()


def codes(verdict: Verdict | dict, severity: str | None = None) -> set[str]:
    """Codes of a verdict's findings, or of those of one severity."""
    if isinstance(verdict, Verdict):
        return {f.code for f in verdict.findings if severity in (None, str(f.severity))}
    return {f["code"] for f in verdict["findings"] if severity in (None, f["severity"])}


def stands(verdict: Verdict) -> Verdict:
    """What a verdict comes to once its nonces are spent in a ledger that has not seen them."""
    return verdict.settled([])


def trusted(verdict: Verdict, attested: str = "quote") -> bool:
    """Whether it is trusted, for what it says it is founded on; a fresh one once its nonces are spent."""
    final = stands(verdict)
    return final.outcome is Outcome.TRUSTED and final.attested == attested


def refused(verdict: Verdict | dict, *expected: str) -> bool:
    """Whether it is not trusted, neither now nor once its nonces are spent, for all of these reasons."""
    final = stands(verdict) if isinstance(verdict, Verdict) else verdict
    outcome = final.outcome if isinstance(final, Verdict) else final["verdict"]
    assert outcome in (Outcome.UNTRUSTED, Outcome.ERROR), outcome
    assert set(expected) <= codes(final), codes(final)
    return True


def booted_evil(machine: Machine, command_line: bytes = b"init=/bin/sh") -> tuple[bytes, References]:
    """The machine boots something else: the log of that boot, and the references as they were before."""
    references = machine.references()
    log = small_log(list(machine.banks), command_line=command_line)
    machine.tpm = Tpm.booted(log, owner=machine.name)
    return log, references


class Rows:
    """An archive in memory, for the batch job; ``size`` rows a batch."""

    def __init__(self, evidence: Sequence[Evidence], size: int = 512) -> None:
        self._evidence, self._size = list(evidence), size

    def batches(self, **_):
        for at in range(0, len(self._evidence), self._size):
            yield evidence_batch(self._evidence[at : at + self._size])


def store_of(path, *machines: Machine) -> Store:
    """A store that knows these machines."""
    store = Store.open(str(path), create=True)
    store.add([machine.baseline() for machine in machines], action="learn")
    enrollment = Enrollment(store)
    for machine in machines:
        mode = machine.sm2_mode if machine.kind == "sm2" else None
        enrollment.enroll(machine.name, machine.key.public, at=NOW, level=machine.level, sm2_mode=mode)
        Ledger(store).add(machine.challenges)
    return store


def job(
    store: Store, *evidence: Evidence, policy: Policy = DEFAULT, at=NOW, size: int = 512, references=None
) -> list[dict]:
    """The verdict rows of the batch job over this evidence, nonces spent in the store."""
    summary = Summary(policy.name, b"", at)
    ledger = Ledger(store)
    batches = run(
        Rows(evidence, size),
        references=references or store.references(),
        policy=policy,
        as_of=at,
        jobs=1,
        summary=summary,
        ledger=ledger,
    )
    rows = []
    for batch in batches:
        batch.validate(full=True)
        assert batch.schema == VERDICT_SCHEMA
        rows += batch.to_pylist()
    assert summary.rows == len(rows) == len(evidence)
    return rows


def honest(kind="ecdsa_p256", **facts):
    """A machine whose evidence is trusted as it is."""
    machine = Machine(kind=kind, **facts)
    assert trusted(machine.judge())
    return machine


def text_of(values):
    """PCR values as tpm2_pcrread prints them: unsigned, under whatever names somebody likes."""
    lines = []
    for bank, pcrs in values.items():
        lines += [f"{bank}:", *(f"  {pcr}: 0x{value.hex()}" for pcr, value in pcrs.items())]
    return "\n".join(lines).encode()

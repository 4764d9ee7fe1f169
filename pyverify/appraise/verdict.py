"""Verdict rows: their Arrow schema, and one of them as an object."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

import pyarrow as pa

from pyverify.baseline.place import Reached
from pyverify.findings import Finding, Severity

SCHEMA_VERSION: Final = 1


class Outcome(StrEnum):
    """What a verdict says."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"
    UNMEASURED = "unmeasured"
    ERROR = "error"


_PCR_MASK: Final = pa.struct([("bank", pa.string()), ("mask", pa.uint32())])
STAGE_TYPE: Final = pa.struct(
    [
        ("name", pa.string()),
        ("state", pa.string()),
        ("pcrs", pa.uint32()),
        ("expected", pa.binary()),
        ("actual", pa.binary()),
    ]
)
FINDING_TYPE: Final = pa.struct(
    [
        ("code", pa.string()),
        ("severity", pa.string()),
        ("pcr", pa.int32()),
        ("bank", pa.string()),
        ("event", pa.int32()),
        ("expected", pa.binary()),
        ("actual", pa.binary()),
        ("hint", pa.string()),
    ]
)
FAULT_TYPE: Final = pa.struct([("code", pa.string()), ("hint", pa.string())])
SOURCE_TYPE: Final = pa.struct([("file", pa.string()), ("row_group", pa.int32()), ("row", pa.int64())])
BASELINE_TYPE: Final = pa.struct([("scope", pa.string()), ("id", pa.string()), ("version", pa.int32())])

VERDICT_SCHEMA: Final = pa.schema(
    [
        ("schema_version", pa.int32()),
        ("machine", pa.string()),
        ("boot", pa.string()),
        ("boot_seq", pa.int64()),
        ("collected_at", pa.timestamp("us", tz="UTC")),
        ("as_of", pa.timestamp("us", tz="UTC")),
        ("verdict", pa.string()),
        ("attested", pa.string()),
        ("key", pa.string()),
        ("ak_name", pa.binary()),
        ("nonce", pa.binary()),
        ("evidence_id", pa.binary()),
        ("policy_id", pa.binary()),
        ("references_id", pa.binary()),
        ("baseline", BASELINE_TYPE),
        ("pcrs_proven", pa.list_(_PCR_MASK)),
        ("pcrs_unproven", pa.list_(_PCR_MASK)),
        ("stages", pa.list_(STAGE_TYPE)),
        ("cohort", pa.string()),
        ("findings", pa.list_(FINDING_TYPE)),
        ("source", SOURCE_TYPE),
    ]
)
"""The verdict table, one row a row of evidence (DESIGN section 10). Masks have a bit a PCR.

``boot_seq`` is what the evidence says of itself: a hint. ``nonce`` is the extraData of the quotes that ``attested``
rests on; null where no quote passed, and where they have different ones: then no nonce covers the verdict.
"""


class Claim(NamedTuple):
    """A nonce that a quote would spend: Name of the key that signed, extraData, SHA-256 of the TPMS_ATTEST."""

    ak_name: bytes
    nonce: bytes
    attest: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """One verdict row. ``stages`` are (name, state) pairs, in the order of a boot.

    ``claims`` are the nonces that have to be spent before a fresh quote is one, within ``max_age`` of their issue;
    ``if_spent`` is the verdict that stands from then on. They are empty where nothing is left to spend. ``reached`` is
    what the machine has booted of a change that was approved lately, for ``baseline.booted.remember``.
    """

    machine: str
    boot: str
    outcome: Outcome
    attested: str
    key: str
    ak_name: bytes | None
    findings: tuple[Finding, ...]
    stages: tuple[tuple[str, str], ...]
    evidence_id: bytes
    as_of: datetime.datetime
    claims: tuple[Claim, ...] = ()
    max_age: datetime.timedelta = datetime.timedelta(0)
    if_spent: Verdict | None = None
    reached: tuple[Reached, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether the machine booted what it should have, as far as the policy asks."""
        return self.outcome is Outcome.TRUSTED

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """The object of one row of a verdict batch (``batch.to_pylist()[i]``)."""
        return cls(
            machine=row["machine"],
            boot=row["boot"],
            outcome=Outcome(row["verdict"]),
            attested=row["attested"],
            key=row["key"],
            ak_name=row["ak_name"],
            findings=tuple(finding_of(finding) for finding in row["findings"]),
            stages=tuple((stage["name"], stage["state"]) for stage in row["stages"]),
            evidence_id=row["evidence_id"],
            as_of=row["as_of"],
        )

    def until_spent(self, claims: tuple[Claim, ...], max_age: datetime.timedelta) -> Verdict:
        """The verdict as long as these nonces are not spent: at most ``quote-unfresh``, and not trusted."""
        hint = "fresh once its nonce is spent: Ledger.consume(verdict) gives the verdict that stands"
        refused = self._refused([Finding("quote.unfresh", Severity.HIGH, hint)])
        return replace(refused, claims=claims, max_age=max_age, if_spent=self)

    def settled(self, refusals: Sequence[tuple[str, str]]) -> Verdict:
        """The verdict that stands once its claims were tried; ``refusals`` are (code, words) of those that failed."""
        whole = self.if_spent or self
        return whole._refused([Finding(code, Severity.HIGH, words) for code, words in refusals]) if refusals else whole

    def _refused(self, findings: list[Finding]) -> Verdict:
        lowered = Outcome.UNTRUSTED if self.outcome is not Outcome.ERROR else self.outcome
        return replace(self, outcome=lowered, attested="quote-unfresh", findings=(*self.findings, *findings))


def finding_of(row: dict[str, Any]) -> Finding:
    """The object of one finding of a verdict row."""
    return Finding(**{**row, "severity": Severity(row["severity"])})

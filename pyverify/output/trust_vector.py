"""What findings say in the words of AR4SI: a trustworthiness vector, of which the worst is the status of an EAR.

Values are those of SPEC section 9.2. An affirming one stands only on what a signature vouches for; a finding that is
high always takes one away, and one that this table does not know is the worst for what was executed.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pyverify.appraise.verdict import Outcome
from pyverify.findings import Severity

CLAIMS: Final = (
    "instance-identity",
    "configuration",
    "executables",
    "file-system",
    "hardware",
    "runtime-opaque",
    "storage-opaque",
    "sourced-data",
)

MALFUNCTION: Final = -1
NO_CLAIM: Final = 0
UNEXPECTED: Final = 1
RECOGNISED: Final = 2
APPROVED_BOOT: Final = 3
ADVISED: Final = 32
CONTRAINDICATED: Final = 96
UNKNOWN: Final = 97
CRYPTO: Final = 99


class Row(NamedTuple):
    """What codes that begin so mean: a claim, and its value where the finding is high, and where it is not."""

    start: str
    claim: str
    high: int
    lesser: int = NO_CLAIM


TABLE: Final = (
    Row("quote.format", "instance-identity", UNEXPECTED),
    Row("quote.missing", "instance-identity", UNKNOWN),
    Row("quote.clock", "instance-identity", CONTRAINDICATED),
    Row("quote.", "instance-identity", CRYPTO),
    Row("key.certificate", "instance-identity", CRYPTO),
    Row("key.denied", "hardware", CONTRAINDICATED),
    Row("key.", "instance-identity", UNKNOWN),
    Row("log.", "executables", UNEXPECTED),
    Row("cel.", "executables", UNEXPECTED),
    Row("evidence.", "executables", UNEXPECTED),
    Row("store.", "executables", MALFUNCTION),
    Row("ima.format", "file-system", UNEXPECTED),
    Row("ima.truncated", "file-system", UNEXPECTED),
    Row("ima.endianness", "file-system", UNEXPECTED),
    Row("ima.template", "file-system", UNEXPECTED),
    Row("ima.template-mismatch", "file-system", CONTRAINDICATED),
    Row("ima.", "file-system", CONTRAINDICATED),
    Row("secureboot.disabled", "configuration", CONTRAINDICATED, ADVISED),
    Row("secureboot.", "configuration", CONTRAINDICATED),
    Row("policy.", "configuration", CONTRAINDICATED),
    Row("", "executables", CONTRAINDICATED),
)
"""The longest beginning that fits a code counts. The last row is for what is compared: ``_BY_PCR`` says it finer."""

_BY_PCR: Final = {1: "configuration", 3: "configuration", 5: "configuration", 7: "configuration"} | {
    12: "configuration",
    14: "configuration",
    10: "file-system",
}
"""Claims that PCRs are about, where a finding is of no other kind; all others are about executables (SPEC 1.3)."""

_BY_STAGE: Final = {
    "executables": ("firmware", "boot loader", "kernel and command line"),
    "configuration": ("firmware settings", "secure boot policy"),
}
"""Stages that must all equal the baseline to affirm a claim. IMA is no word for all files: it never affirms any."""
_SIGNED: Final = ("quote", "quote-unfresh")
_OWNERS: Final = ("certified", "activated", "enrolled")


def claim_of(finding: dict[str, Any]) -> tuple[str, int]:
    """The claim that a finding is about, and what it makes of it: 0 where it is nothing against it."""
    row = max((row for row in TABLE if finding["code"].startswith(row.start)), key=lambda row: len(row.start))
    claim = row.claim if row.start else _BY_PCR.get(finding["pcr"], row.claim)
    return claim, row.high if finding["severity"] == Severity.HIGH else row.lesser


def vector_of(row: dict[str, Any]) -> dict[str, int]:
    """The vector of a verdict row: each claim with a value, 0 where nothing is known."""
    vector = dict.fromkeys(CLAIMS, NO_CLAIM)
    if row["verdict"] in (Outcome.TRUSTED, Outcome.UNTRUSTED) and row["attested"] in _SIGNED:
        if row["key"] in _OWNERS:
            vector["instance-identity"] = RECOGNISED
        states = {stage["name"]: stage["state"] for stage in row["stages"]}
        for claim, value in (("configuration", RECOGNISED), ("executables", APPROVED_BOOT)):
            if all(states.get(stage) == "green" for stage in _BY_STAGE[claim]):
                vector[claim] = value
    for finding in row["findings"]:
        claim, value = claim_of(finding)
        if value != NO_CLAIM:
            vector[claim] = max(vector[claim], value, key=_badness)
    if row["verdict"] == Outcome.ERROR and all(_badness(value) <= 1 for value in vector.values()):
        vector["executables"] = UNEXPECTED
    return vector


def status_of(vector: dict[str, int], verdict: str) -> str:
    """The status of a vector: its worst tier, and ``affirming`` only for a verdict that is ``trusted``."""
    worst = max(vector.values(), key=_badness)
    if worst >= CONTRAINDICATED:
        return "contraindicated"
    if worst >= ADVISED:
        return "warning"
    affirmed = worst in (RECOGNISED, APPROVED_BOOT) and verdict == Outcome.TRUSTED
    return "affirming" if affirmed and vector["executables"] != NO_CLAIM else "none"


def _badness(value: int) -> int:
    """No claim, affirming, what cannot be judged, warning, contraindicated: in this order they outweigh each other."""
    if value in (UNEXPECTED, MALFUNCTION):
        return 2
    if value in (RECOGNISED, APPROVED_BOOT):
        return 1
    return value

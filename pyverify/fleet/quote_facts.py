"""What is kept of each quote for rules that need other rows, and how nonces are spent when all rows have been seen."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.appraise.attestation import Attestation
from pyverify.baseline.freshness import FINDINGS, Freshness
from pyverify.baseline.ledger import Ledger
from pyverify.findings import Finding, Severity

QUOTE_FACTS: Final = pa.schema(
    [
        # number of the verdict row; below 0 for what earlier jobs saw, which is compared with and gets no findings
        ("row", pa.int64()),
        ("ak_name", pa.binary()),
        ("nonce", pa.binary()),
        ("attest", pa.binary(32)),  # SHA-256 of the TPMS_ATTEST
        ("issued_at", pa.int64()),  # of the challenge, any unit; null where the ledger does not have it
        ("boot_seq", pa.int64()),  # the evidence's own word, for quotes without a challenge; null: not compared
        ("clock", pa.uint64()),
        ("reset_count", pa.uint32()),
        ("restart_count", pa.uint32()),
        ("safe", pa.bool_()),
        ("firmware_version", pa.uint64()),
        ("boot", pa.string()),
        ("ima_entries", pa.int64()),  # proven at this clock; null where another quote of the row says it, or nothing
    ]
)
"""What the pass reads of each quote whose signature was verified."""


def quote_facts(
    attestation: Attestation | None, batch: pa.RecordBatch, ima_proven: npt.NDArray[np.int64]
) -> pa.RecordBatch:
    """The facts of the quotes of a batch of evidence, rows being counted from its first; none without attestation.

    ``ima_proven`` is of :class:`pyverify.appraise.ima_judgement.ImaJudgement`.
    """
    if attestation is None:
        return pa.record_batch([pa.array([], field.type) for field in QUOTE_FACTS], schema=QUOTE_FACTS)
    facts = attestation.facts
    rows = pa.array(facts["row"])
    has_order = "boot_seq" in batch.schema.names
    boot_seq = batch.column("boot_seq").take(rows) if has_order else pa.nulls(len(rows))
    proven = ima_proven[facts["row"]]
    entries = pa.array(proven, mask=~facts["last"] | (proven < 0))
    columns = {**facts, "boot_seq": boot_seq, "boot": batch.column("boot").take(rows), "ima_entries": entries}
    return pa.record_batch([pa.array(columns[f.name]).cast(f.type) for f in QUOTE_FACTS], schema=QUOTE_FACTS)


def with_rows_from(facts: pa.RecordBatch, first: int) -> pa.RecordBatch:
    """The facts with their rows counted from ``first``."""
    rows = pc.add(facts.column("row"), pa.scalar(first, pa.int64()))
    return facts.set_column(facts.schema.get_field_index("row"), facts.schema.field("row"), rows)


def spent(
    ledger: Ledger,
    facts: pa.RecordBatch,
    attested: pa.Array,
    first: int,
    as_of: datetime.datetime,
    max_age: datetime.timedelta,
) -> Iterator[tuple[int, Finding]]:
    """Spends the nonces of the quotes of fresh verdicts in one transaction; (row, finding) of each that will not do.

    Args:
        ledger: where they are spent.
        facts: of the quotes of one batch of verdicts.
        attested: column of these verdicts, the first of which is row ``first``.
        first: see ``attested``.
        as_of: the time of the verdicts.
        max_age: how old a challenge may be.
    """
    fresh = np.asarray(pc.equal(attested, "quote").to_numpy(zero_copy_only=False), np.bool_)
    rows = facts.column("row").to_numpy() - first
    chosen = facts.filter(pa.array(fresh[rows])) if len(rows) else facts
    if not len(chosen):
        return
    claims = list(zip(*(chosen.column(name).to_pylist() for name in ("ak_name", "nonce", "attest")), strict=True))
    codes = ledger.consume_all(claims, at=as_of, max_age=max_age)
    for row, code in zip(chosen.column("row").to_pylist(), codes, strict=True):
        if code is not Freshness.FRESH:
            name, words = FINDINGS[code]
            yield row, Finding(name, Severity.HIGH, words)

"""What is kept of IMA lists that no quote stands behind, for the rule that the lists of a boot only grow.

How many entries quotes prove is a fact of those quotes (``quote_facts``).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.appraise.verdict import Outcome
from pyverify.evidence.ima import PCR

LIST_FACTS: Final = pa.schema(
    [
        ("row", pa.int64()),  # number of the verdict row
        ("machine", pa.string()),
        ("boot", pa.string()),
        ("collected_at", pa.timestamp("us", tz="UTC")),  # the evidence's own word; rows without it are not kept
        ("entries", pa.int64()),  # of the list; 0 where none was sent
    ]
)
"""What the pass reads of each list; of rows without one only once the job has seen a list."""

_NONE: Final = pa.RecordBatch.from_pylist([], LIST_FACTS)
_QUOTED: Final = pa.array(["quote", "quote-unfresh"])
_KEYS: Final = ("machine", "boot", "collected_at")


def list_facts(verdicts: pa.RecordBatch, entries: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """The facts of the lists of a batch, rows being counted from its first.

    Args:
        verdicts: of the batch.
        entries: of :class:`pyverify.appraise.ima_judgement.ImaJudgement`.
    """
    if not np.any(entries > 0):
        return _NONE
    return _facts(verdicts, np.flatnonzero((entries > 0) & _has_place(verdicts)), entries)


def facts_without_list(verdicts: pa.RecordBatch, lists: pa.RecordBatch) -> pa.RecordBatch:
    """The facts of the rows of a batch that sent no list and of which nothing says so.

    Args:
        verdicts: of the batch.
        lists: facts of the lists that it has, rows being counted from its first.
    """
    candidates = _has_place(verdicts) & _true(pc.not_equal(verdicts.column("verdict"), str(Outcome.ERROR)))
    candidates[lists.column("row").to_numpy()] = False
    findings = verdicts.column("findings")
    told = pc.list_flatten(findings)
    codes = pc.struct_field(told, "code")
    of_ima = pc.or_kleene(pc.starts_with(codes, "ima."), pc.equal(pc.struct_field(told, "pcr"), PCR))
    spoken_of = _true(pc.or_kleene(of_ima, pc.equal(codes, "log.absent")))
    candidates[pc.list_parent_indices(findings).to_numpy()[spoken_of]] = False
    return _facts(verdicts, np.flatnonzero(candidates), np.zeros(len(verdicts), np.int64))


def _has_place(verdicts: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Rows that have a place among the samples of a boot, by the evidence's word and not by a quote's clock."""
    has_keys = pc.and_(*(verdicts.column(name).is_valid() for name in ("machine", "boot")))
    has_place = pc.and_(has_keys, verdicts.column("collected_at").is_valid())
    return _true(pc.and_(has_place, pc.invert(pc.is_in(verdicts.column("attested"), value_set=_QUOTED))))


def _facts(verdicts: pa.RecordBatch, rows: npt.NDArray[np.int64], entries: npt.NDArray[np.int64]) -> pa.RecordBatch:
    which = pa.array(rows, pa.int64())
    keys = (verdicts.column(name).take(which) for name in _KEYS)
    return pa.record_batch([which, *keys, pa.array(entries[rows])], schema=LIST_FACTS)


def _true(mask: pa.Array) -> npt.NDArray[np.bool_]:
    """A mask of Arrow's as NumPy's that may be written to; null is false."""
    return np.array(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), np.bool_)

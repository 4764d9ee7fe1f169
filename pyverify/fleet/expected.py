"""Machines of which something should be there: silence is a verdict too, for it is what an attacker chooses first."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from pyverify.appraise.appraisal import verify_batches
from pyverify.appraise.policy import Policy
from pyverify.appraise.verdict import FINDING_TYPE, VERDICT_SCHEMA
from pyverify.baseline.model import State
from pyverify.baseline.references import References
from pyverify.errors import UsageError
from pyverify.evidence.text import escape
from pyverify.findings import CODES, Finding
from pyverify.fleet.names import is_name

_ROWS: Final = 1024
_STAND_IN: Final = "none"
"""Name of a boot that was not: rows have one until they are verdicts."""
_CODE: Final = "evidence.absent"


def machines_of(references: References, as_of: datetime.datetime) -> set[str]:
    """Machines that a store knows: with a baseline that is active or waits to be, a key enrolled now, or a cohort."""
    learned = {
        row["id"]
        for row in references.columns.to_pylist()
        if row["scope"] == "machine" and row["state"] in (State.ACTIVE, State.PENDING)
    }
    keys = references.identity.columns.to_pylist()
    enrolled = {k["machine"] for k in keys if k["since"] <= as_of and (k["until"] is None or as_of < k["until"])}
    return learned | enrolled | set(references.machines.cohort_of)


def read_machines(path: Path) -> set[str]:
    """Machines of a file: one name a line; empty lines, and those that begin with ``#``, do not count.

    Raises:
        UsageError: it cannot be read, names nobody, or a line is no name.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a list of machines ({error})") from error
    names = {line.strip() for line in lines} - {""}
    names = {name for name in names if not name.startswith("#")}
    for name in sorted(names):
        if not is_name(name):
            raise UsageError(f"{path}: {escape(name)} is no name of a machine: 1 to 128 of A-Z a-z 0-9 . _ -")
    if not names:
        raise UsageError(f"{path}: names no machine")
    return names


def absent_verdicts(
    machines: Sequence[str], references: References, policy: Policy, as_of: datetime.datetime
) -> Iterator[pa.RecordBatch]:
    """One verdict for each of these machines, of which nothing came: ``unmeasured``, without a boot."""
    for first in range(0, len(machines), _ROWS):
        names = machines[first : first + _ROWS]
        sent = pa.record_batch(
            [pa.array(names), pa.array([_STAND_IN] * len(names)), pa.nulls(len(names), pa.large_binary())],
            names=["machine", "boot", "event_log"],
        )
        for batch in verify_batches([sent], references=references, policy=policy, as_of=as_of):
            rows = [_without_boot(row) for row in batch.to_pylist()]
            yield pa.RecordBatch.from_pylist(rows, schema=VERDICT_SCHEMA)


def _without_boot(row: dict[str, Any]) -> dict[str, Any]:
    """The verdict on a boot without evidence as that on none: what is said of its log and quotes says nothing."""
    absent = Finding(_CODE, CODES[_CODE].severity, "this machine is expected, and sent nothing")
    said = {field.name: getattr(absent, field.name) for field in FINDING_TYPE}
    kept = [f for f in row["findings"] if f["code"].startswith("baseline.") or f["code"] == "evidence.lost"]
    return row | {"boot": None, "evidence_id": None, "findings": [said, *kept]}

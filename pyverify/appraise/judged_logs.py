"""The event logs of a batch as they are judged: each kind as one TCG log, systemd's userspace log at its end."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.rows import has_values
from pyverify.errors import EvidenceError
from pyverify.evidence.cel import Register
from pyverify.evidence.columns import Items, Ragged
from pyverify.evidence.log_kinds import Transcoded, transcode
from pyverify.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class JudgedLogs:
    """One TCG log a row.

    ``digests`` are uint8 of shape [n, 32]: equal ones are equal logs. ``of_registers`` is bool of shape [n]: logs whose
    PCR fields are measurement registers. ``broken`` is bool of shape [n]: rows whose log or userspace log cannot be
    read; the reason is among their findings. ``has_userspace`` is bool of shape [n].
    """

    logs: Items
    digests: npt.NDArray[np.uint8]
    of_registers: npt.NDArray[np.bool_]
    broken: npt.NDArray[np.bool_]
    has_userspace: npt.NDArray[np.bool_]


def judged_logs(
    batch: pa.RecordBatch,
    logs: Items,
    digests: npt.NDArray[np.uint8],
    ignored: npt.NDArray[np.bool_],
    findings: FindingColumns,
) -> JudgedLogs:
    """Brings the logs of a batch into one form; TCG logs without a userspace log stay as they lie.

    Args:
        batch: the rows, conformed.
        logs: their event logs.
        digests: SHA-256 of each, uint8 of shape [n, 32].
        ignored: rows that are not looked at, bool of shape [n].
        findings: where the reasons of broken rows and the notes of others go.
    """
    n = len(batch)
    if not (has_values(batch, "event_log_kind") or has_values(batch, "userspace_log")):
        return JudgedLogs(logs, digests, *np.zeros((3, n), np.bool_))
    kinds = batch.column("event_log_kind").to_pylist() if has_values(batch, "event_log_kind") else [None] * n
    userspace = (
        Ragged.from_arrow(batch.column("userspace_log"))
        if has_values(batch, "userspace_log")
        else Ragged.of([None] * n)
    )
    plain = np.fromiter((kind is None or kind == "tcg" for kind in kinds), np.bool_, n) & ~userspace.present
    result = JudgedLogs(logs, digests, np.zeros(n, np.bool_), np.zeros(n, np.bool_), userspace.present & ~ignored)
    other = np.flatnonzero(~plain & ~ignored).tolist()
    if not other:
        return result
    changed: dict[int, bytes] = {}
    for row in other:
        try:
            transcoded = _transcode(kinds[row], logs[row], userspace[row] if userspace.present[row] else None)
        except EvidenceError as error:
            result.broken[row] = True
            findings.add(row, Finding(error.code, Severity.HIGH, str(error), event=error.event))
            continue
        changed[row] = transcoded.log
        result.of_registers[row] = transcoded.registers is Register.MR
        for note in transcoded.notes:
            findings.add(row, note)
    items = [changed.get(row, logs[row] if logs.present[row] else None) for row in range(n)]
    own = digests.copy()
    for row, log in changed.items():
        own[row] = np.frombuffer(hashlib.sha256(log).digest(), np.uint8)
    return JudgedLogs(Ragged.of(items), own, result.of_registers, result.broken, result.has_userspace)


def _transcode(kind: str | None, log: bytes, userspace: bytes | None) -> Transcoded:
    try:
        return transcode(kind, log, userspace)
    except EvidenceError as error:
        if error.code == "log.absent":  # the row says so itself
            return Transcoded(log)
        raise

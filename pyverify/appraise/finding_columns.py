"""Findings of a batch, gathered by column: rows that have none cost nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pyverify.appraise.told import MORE
from pyverify.appraise.verdict import FINDING_TYPE
from pyverify.evidence.text import escape
from pyverify.findings import CODES, Effect, Finding, Severity

_FIELDS = [field.name for field in FINDING_TYPE]


Known: TypeAlias = tuple[str, int | None]
"""Code and PCR of a finding that machines may live with."""


def _as_accepted(finding: Finding, reason: str) -> Finding:
    hint = f"{finding.code}: {finding.hint}; accepted when the baseline was learned: {escape(reason)}"
    return replace(finding, code="baseline.accepted", severity=Severity.INFO, hint=hint)


class FindingColumns:
    """Findings of the rows of one batch, and what they make of each row's verdict."""

    def __init__(self, n: int, accepted: Mapping[Known, Mapping[int, str]] | None = None) -> None:
        """``accepted`` has for each code and PCR the rows that live with such a finding, and why."""
        self._accepted = accepted or {}
        self._rows: list[npt.NDArray[np.int64]] = []
        self._chunks: list[dict[str, Any]] = []
        self.high = np.zeros(n, np.bool_)
        self.error = np.zeros(n, np.bool_)
        self.unmeasured = np.zeros(n, np.bool_)

    def add(self, row: int, finding: Finding) -> None:
        """One finding of one row."""
        self.add_to_all(np.array([row]), finding)

    def add_to_all(self, rows: npt.NDArray[np.int64], finding: Finding) -> npt.NDArray[np.int64]:
        """The same finding for many rows; those of them that do not live with it.

        Nobody lives with one that stands for events that are not told of: they may be of any PCR.
        """
        known = self._accepted.get((finding.code, finding.pcr)) if finding.severity is Severity.HIGH else None
        if known and MORE not in finding.hint:
            lives = np.isin(rows, list(known))
            for row in rows[lives].tolist():
                self.add(row, _as_accepted(finding, known[row]))
            rows = rows[~lives]
        if len(rows):
            self._mark(rows, finding.code, finding.severity)
            self._chunks.append({name: [getattr(finding, name)] * len(rows) for name in _FIELDS})
        return rows

    def add_each(
        self, rows: npt.NDArray[np.int64], code: str, severity: Severity, **columns: list[Any]
    ) -> npt.NDArray[np.int64]:
        """Many findings of one code, a row each, which may repeat; the other fields of a finding are lists.

        Returns:
            Those of the rows that do not live with it.
        """
        if any(of_code == code for of_code, _ in self._accepted):
            findings = (dict(zip(columns, fields, strict=True)) for fields in zip(*columns.values(), strict=True))
            each = [
                self.add_to_all(rows[at : at + 1], Finding(code=code, severity=severity, **fields))
                for at, fields in enumerate(findings)
            ]
            return np.concatenate([np.zeros(0, np.int64), *each])
        if len(rows):
            self._mark(rows, code, severity)
            same = {"code": [code] * len(rows), "severity": [severity] * len(rows)}
            self._chunks.append({name: (same | columns).get(name, [None] * len(rows)) for name in _FIELDS})
        return rows

    def _mark(self, rows: npt.NDArray[np.int64], code: str, severity: Severity) -> None:
        self._rows.append(rows)
        effect = CODES[code].effect
        if effect is Effect.ERROR:
            self.error[rows] = True
        elif effect is Effect.UNMEASURED:
            self.unmeasured[rows] = True
        elif severity is Severity.HIGH:
            self.high[rows] = True

    def to_arrow(self) -> pa.ListArray:
        """The ``findings`` column: a list a row, in the order in which they were added."""
        n = len(self.high)
        rows = np.concatenate([np.zeros(0, np.int64), *self._rows])
        order = np.argsort(rows, kind="stable")
        offsets = np.zeros(n + 1, np.int32)
        np.cumsum(np.bincount(rows, minlength=n), out=offsets[1:])
        columns = [
            pa.array([value for chunk in self._chunks for value in chunk[field.name]], field.type).take(pa.array(order))
            for field in FINDING_TYPE
        ]
        return pa.ListArray.from_arrays(
            pa.array(offsets), pa.StructArray.from_arrays(columns, fields=list(FINDING_TYPE))
        )

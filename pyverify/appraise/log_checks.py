"""What each log of a batch says against itself, whatever it is compared with: structure, data, Secure Boot.

Fleets repeat themselves, so a log is looked at once: its findings are kept, by its digest, for when it comes again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from pyverify.appraise.data_findings import data_findings
from pyverify.appraise.decodable import undecodable_findings
from pyverify.appraise.secure_boot import secure_boot_findings
from pyverify.appraise.secure_boot_rules import SecureBootRules
from pyverify.appraise.structure import structure_findings
from pyverify.evidence.columns import Items, Ragged
from pyverify.evidence.data_check import DataChecks, check_data
from pyverify.evidence.gather import row_bytes
from pyverify.evidence.scanned import ScannedLogs
from pyverify.findings import Finding

if TYPE_CHECKING:
    from pyverify.appraise.finding_columns import FindingColumns

_KEPT: Final = 16_384
"""Logs whose findings are kept: a few hundred bytes each where the log is honest."""

_OF_REGISTERS: Final = 1 << 31
"""Bit beside those of banks for logs of measurement registers, where rules of single PCRs say nothing (SPEC 2.5)."""

_Key = tuple[bytes, SecureBootRules]
"""What the findings of a log hang on: its digest and the banks that it is looked at in, and what the policy changes."""


class _Kept:
    """Findings by key, the least recently used going first. Safe to share among threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._findings: OrderedDict[_Key, tuple[Finding, ...]] = OrderedDict()

    def get(self, key: _Key) -> tuple[Finding, ...] | None:
        with self._lock:
            found = self._findings.get(key)
            if found is not None:
                self._findings.move_to_end(key)
            return found

    def clear(self) -> None:
        with self._lock:
            self._findings.clear()

    def put(self, key: _Key, findings: tuple[Finding, ...]) -> None:
        with self._lock:
            self._findings[key] = findings
            if len(self._findings) > self._size:
                self._findings.popitem(last=False)


_kept: Final = _Kept(_KEPT)


def forget() -> None:
    """Forgets what was found of logs, so that each is looked at again: for those who measure how long that takes."""
    _kept.clear()


def check_logs(
    logs: Items,
    digests: npt.NDArray[np.uint8],
    banks: npt.NDArray[np.uint32],
    of_registers: npt.NDArray[np.bool_],
    rows: npt.NDArray[np.intp],
    rules: SecureBootRules,
    findings: FindingColumns,
) -> None:
    """Adds what the logs of these rows say against themselves.

    Args:
        logs: all logs of the batch.
        digests: SHA-256 of each, uint8 of shape [n, 32]; equal digests are equal logs.
        banks: the banks in which each is looked at, uint32 of shape [n].
        of_registers: logs whose PCR fields are measurement registers, bool of shape [n].
        rows: numbers of the rows whose logs are looked at.
        rules: what the policy asks of Secure Boot.
        findings: where to.
    """
    if not len(rows):
        return
    banks = np.where(of_registers, banks | np.uint32(_OF_REGISTERS), banks)
    keys = np.concatenate([digests[rows], banks[rows, None].view(np.uint8)], axis=1)
    name_of = row_bytes(keys)
    names = list(dict.fromkeys(name_of))
    number_of = {name: number for number, name in enumerate(names)}
    distinct_of = np.fromiter(map(number_of.__getitem__, name_of), np.int64, len(rows))
    first = np.unique(distinct_of, return_index=True)[1].tolist()
    found = [_kept.get((name, rules)) for name in names]
    by_banks: defaultdict[int, list[int]] = defaultdict(list)
    for distinct, kept in enumerate(found):
        if kept is None:
            by_banks[int(banks[rows[first[distinct]]])].append(distinct)
    for mask, unknown in by_banks.items():
        own: list[list[Finding]] = [[] for _ in unknown]
        scanned = ScannedLogs.of(Ragged.of([logs[int(rows[first[distinct]])] for distinct in unknown]))
        for log, finding in _look_at(scanned, mask, rules):
            own[log].append(finding)
        for distinct, of_log in zip(unknown, own, strict=True):
            found[distinct] = told = _interned(tuple(of_log))
            _kept.put((names[distinct], rules), told)
    _tell(found, distinct_of, rows, findings)


@lru_cache(_KEPT // 4)
def _interned(of_log: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """One object for equal findings: most logs of a fleet have the same."""
    return of_log


def _tell(
    found: list[tuple[Finding, ...] | None],
    distinct_of: npt.NDArray[np.int64],
    rows: npt.NDArray[np.intp],
    findings: FindingColumns,
) -> None:
    """Adds what was found of each distinct log to all rows that have it."""
    numbers: dict[int, int] = {}
    alike = np.array([numbers.setdefault(id(of_log), len(numbers)) for of_log in found])[distinct_of]
    examples = {numbers[id(of_log)]: of_log for of_log in found}
    by_kind = np.argsort(alike, kind="stable")
    ends = np.cumsum(np.bincount(alike))
    for number, some in enumerate(np.split(rows[by_kind], ends[:-1])):
        for finding in examples[number] or ():
            findings.add_to_all(some, finding)


def _look_at(scanned: ScannedLogs, banks: int, rules: SecureBootRules) -> Iterator[tuple[int, Finding]]:
    of_registers = bool(banks & _OF_REGISTERS)
    banks &= ~_OF_REGISTERS
    yield from findings_of(scanned, banks, check_data(scanned, banks), rules, by_pcr=not of_registers)
    if of_registers:
        yield from ((log, finding) for finding in rules.unseen() for log in range(len(scanned.rows)))


def findings_of(
    scanned: ScannedLogs, banks: int, checks: DataChecks, rules: SecureBootRules, *, by_pcr: bool = True
) -> Iterator[tuple[int, Finding]]:
    """All that logs say against themselves, as (number of the log, finding).

    Args:
        scanned: the logs.
        banks: the mask of the banks in which they are looked at.
        checks: their data, as checked in these banks.
        rules: what a policy asks of Secure Boot.
        by_pcr: whether they are whole logs of PCRs, of which some must hold certain events.
    """
    yield from data_findings(scanned, checks)
    yield from undecodable_findings(scanned)
    if by_pcr:
        yield from structure_findings(scanned, banks)
        yield from secure_boot_findings(scanned, checks.verified, rules)

"""Replays of logs held against the PCR values that quotes prove: every quoted bank must replay (DESIGN section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, PCRS, pcrs_of
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.evidence.pcrs import pcr_name
from pyverify.findings import Finding, Severity
from pyverify.replay import Replayed

_CAPPED: Final = "sha1"


def replay_findings(
    replayed: Replayed,
    proven: Mapping[str, npt.NDArray[np.uint32]],
    authentic: Mapping[str, npt.NDArray[np.uint8]],
    judged: npt.NDArray[np.bool_],
    pcrs: npt.NDArray[np.uint32],
    findings: FindingColumns,
) -> dict[str, npt.NDArray[np.uint32]]:
    """Adds a finding for each row and bank in which the log does not lead to the authentic values.

    Args:
        replayed: what the logs lead to.
        proven: by bank the PCRs of each row, a bit each, whose values are authentic.
        authentic: by bank these values, uint8 of shape [n, 24, size].
        judged: rows whose logs are looked at.
        pcrs: the PCRs of each row, a bit each, that logs must explain.
        findings: where to.

    Returns:
        By bank the PCRs of each row, a bit each, that the log explains.
    """
    explained = {}
    for bank in BANKS:
        asked = np.where(judged, proven[bank.name] & pcrs, np.uint32(0))
        if bank.name not in replayed.values or not asked.any():
            explained[bank.name] = np.zeros_like(asked)
            continue
        has_bank = replayed.has_bank(bank.name)
        lacking = Finding(
            "bank.missing", Severity.HIGH, f"{bank.name} is quoted, and the log has no complete bank of it"
        )
        findings.add_to_all(np.flatnonzero((asked != 0) & ~has_bank), lacking)
        asked = np.where(has_bank, asked, np.uint32(0))
        led, quoted = (values[bank.name].view(np.uint32) for values in (replayed.values, authentic))
        differs = np.any(led != quoted, axis=2)
        wrong = asked & (differs << np.arange(PCRS, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)
        explained[bank.name] = asked & ~wrong
        if bank.name == _CAPPED:
            wrong = _without_capped(replayed, authentic, wrong, findings)
        for row in np.flatnonzero(wrong).tolist():
            touched = int(replayed.logs["touched"][row])
            for finding in _mismatches(replayed, authentic, bank.name, row, int(wrong[row]), touched):
                findings.add(row, finding)
    return explained


def _mismatches(
    replayed: Replayed,
    authentic: Mapping[str, npt.NDArray[np.uint8]],
    bank: str,
    row: int,
    wrong: int,
    touched: int,
) -> list[Finding]:
    """One finding a PCR: the log leads elsewhere, or says nothing of a PCR that something extended."""
    found = []
    for pcr in pcrs_of(wrong):
        if touched >> pcr & 1:
            code = "replay.mismatch"
            words = "the log does not lead to the quoted value: events are missing, added, changed or in another order"
        else:
            code = "replay.unexplained"
            words = "it was extended, and no log says by what"
        quoted, led = (values[bank][row, pcr].tobytes() for values in (authentic, replayed.values))
        hint = f"{pcr_name(pcr)}: {words}"
        found.append(Finding(code, Severity.HIGH, hint, pcr, bank, expected=quoted, actual=led))
    return found


def _without_capped(
    replayed: Replayed,
    authentic: Mapping[str, npt.NDArray[np.uint8]],
    wrong: npt.NDArray[np.uint32],
    findings: FindingColumns,
) -> npt.NDArray[np.uint32]:
    """Windows closes the SHA-1 bank: the PCRs hold H(replayed || zeros), which is no tampering (SPEC 0.2)."""
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return wrong
    values = replayed.values[_CAPPED][rows]
    closed = values.reshape(-1, values.shape[-1]).copy()
    bank = next(bank.index for bank in BANKS if bank.name == _CAPPED)
    zeros = np.zeros_like(closed)
    _native.extend(bank, zeros, np.arange(len(closed) + 1, dtype=np.uint64), closed)
    same = np.all(closed.reshape(values.shape) == authentic[_CAPPED][rows], axis=2)
    bits = (same << np.arange(PCRS, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)
    capped = wrong[rows] & ~bits == 0
    hint = f"the {_CAPPED} bank was closed by the operating system with a known value: nothing can be told from it"
    findings.add_to_all(rows[capped], Finding("bank.capped", Severity.WARNING, hint, bank=_CAPPED))
    left = wrong.copy()
    left[rows[capped]] = 0
    return left

"""Replays of logs held against the PCR values that quotes prove: every quoted bank must replay (DESIGN section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, PCRS, banks_of, pcrs_of
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.known_digests import INVOCATION, RESULTS
from pyverify.evidence.columns import Ragged
from pyverify.evidence.pcrs import pcr_name
from pyverify.evidence.sources import explain
from pyverify.findings import Finding, Severity
from pyverify.replay import Replayed

_CAPPED: Final = "sha1"
_EXIT_PCR: Final = 5


def replay_findings(
    replayed: Replayed,
    proven: Mapping[str, npt.NDArray[np.uint32]],
    authentic: Mapping[str, npt.NDArray[np.uint8]],
    judged: npt.NDArray[np.bool_],
    pcrs: npt.NDArray[np.uint32],
    findings: FindingColumns,
) -> tuple[dict[str, npt.NDArray[np.uint32]], npt.NDArray[np.bool_]]:
    """Adds a finding for each row and bank in which the log does not lead to the authentic values.

    Args:
        replayed: what the logs lead to.
        proven: by bank the PCRs of each row, a bit each, whose values are authentic.
        authentic: by bank these values, uint8 of shape [n, 24, size].
        judged: rows whose logs are looked at.
        pcrs: the PCRs of each row, a bit each, that logs must explain.
        findings: where to.

    Returns:
        By bank the PCRs of each row, a bit each, that the log explains; and the rows whose SHA-1 bank was closed, so
        that nothing can be told from it.
    """
    explained = {}
    closed = np.zeros(len(judged), np.bool_)
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
            closed = _is_capped(replayed, authentic, wrong)
            hint = (
                f"the {_CAPPED} bank was closed by the operating system with a known value: nothing can be told from it"
            )
            finding = Finding("bank.capped", Severity.WARNING, hint, bank=_CAPPED)
            findings.add_to_all(np.flatnonzero(closed), finding)
            wrong = np.where(closed, np.uint32(0), wrong)
        for row in np.flatnonzero(wrong).tolist():
            touched = int(replayed.logs["touched"][row])
            for finding in _mismatches(replayed, authentic, bank.name, row, int(wrong[row]), touched):
                findings.add(row, finding)
    return explained, closed


def lacking_banks(
    replayed: Replayed,
    learned: npt.NDArray[np.uint32],
    proven: Mapping[str, npt.NDArray[np.uint32]],
    judged: npt.NDArray[np.bool_],
    findings: FindingColumns,
) -> None:
    """Adds a finding for each row and bank that its learning boot had and its log has no more, quoted or not: of those
    that are quoted :func:`replay_findings` says so.

    ``learned`` are the banks of each row's baseline, a bit each, uint32 of shape [n]; all else is as there.
    """
    for bank in banks_of(int(np.bitwise_or.reduce(learned, initial=np.uint32(0)))):
        had = learned & np.uint32(1 << BY_NAME[bank].index) != 0
        lost = judged & had & ~replayed.has_bank(bank) & (proven[bank] == 0)
        findings.add_to_all(np.flatnonzero(lost), bank_lost(bank))


def bank_lost(bank: str) -> Finding:
    """What is told of a log without a bank that was learned."""
    hint = f"the log has no complete {bank} bank, which the learning boot had"
    return Finding("bank.missing", Severity.HIGH, hint, bank=bank)


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
        quoted, led = (values[bank][row, pcr].tobytes() for values in (authentic, replayed.values))
        if pcr == _EXIT_PCR and (texts := _exit_texts(bank, led, quoted)):
            hint = f"{pcr_name(pcr)}: the log ends before these, which the TPM has: {', '.join(texts)}"
            found.append(Finding("replay.prefix", Severity.INFO, hint, pcr, bank, expected=quoted, actual=led))
            continue
        if touched >> pcr & 1:
            code = "replay.mismatch"
            words = "the log does not lead to the quoted value: events are missing, added, changed or in another order"
        else:
            code = "replay.unexplained"
            words = "it was extended, and no log says by what"
        hint = f"{pcr_name(pcr)}: {words}"
        found.append(Finding(code, Severity.HIGH, hint, pcr, bank, expected=quoted, actual=led))
    return found


def _exit_texts(bank: str, led: bytes, quoted: bytes) -> list[str] | None:
    """What firmware said at ExitBootServices, if that makes the quoted value of what the log leads to.

    Kernels that do not append the final events table leave these events out of the log (SPEC 0.4, 2.4). Only an exact
    match of the authentic value counts, so nothing is taken on trust.
    """
    success, failure = RESULTS
    for texts in ([INVOCATION, success], [INVOCATION, failure], [INVOCATION, failure, success]):
        messages, index = Ragged.of([*texts]), BY_NAME[bank].index
        digests = _native.hash_messages(index, messages.blob, messages.offsets)
        value = np.frombuffer(led, np.uint8).reshape(1, -1).copy()
        _native.extend(index, digests, np.array([0, len(texts)], np.uint64), value)
        if value.tobytes() == quoted:
            return [text.decode() for text in texts]
    return None


def _is_capped(
    replayed: Replayed, authentic: Mapping[str, npt.NDArray[np.uint8]], wrong: npt.NDArray[np.uint32]
) -> npt.NDArray[np.bool_]:
    """Windows closes the SHA-1 bank: all that differs holds H(replayed || zeros), which is no tampering (SPEC 0.2)."""
    capped = np.zeros(len(wrong), np.bool_)
    rows = np.flatnonzero(wrong)
    if len(rows):
        values = replayed.values[_CAPPED][rows]
        closed = values.reshape(-1, values.shape[-1]).copy()
        starts = np.arange(len(closed) + 1, dtype=np.uint64)
        _native.extend(BY_NAME[_CAPPED].index, np.zeros_like(closed), starts, closed)
        same = np.all(closed.reshape(values.shape) == authentic[_CAPPED][rows], axis=2)
        bits = (same << np.arange(PCRS, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)
        capped[rows] = wrong[rows] & ~bits == 0
    return capped


def source_findings(
    rows: npt.NDArray[np.intp],
    firmware: Replayed,
    whole: Replayed,
    proven: Mapping[str, npt.NDArray[np.uint32]],
    authentic: Mapping[str, npt.NDArray[np.uint8]],
    findings: FindingColumns,
) -> None:
    """Says which PCRs take both the firmware's log and systemd's to explain (``replay.prefix``).

    Args:
        rows: those that sent a userspace log.
        firmware: what the firmware's logs of these rows alone lead to, one a row.
        whole: what the logs of all rows lead to with userspace logs behind them.
        proven: by bank the PCRs of each row, a bit each, whose values are authentic.
        authentic: by bank these values.
        findings: where to.
    """
    for bank, values in firmware.values.items():
        for i, row in enumerate(rows.tolist()):
            known = int(proven[bank][row])
            after = [("event log", values[i]), ("userspace log", whole.values[bank][row])]
            for pcr in pcrs_of(explain(after, authentic[bank][row], known).later):
                hint = f"{pcr_name(pcr)}: the firmware's log explains a part of it, the userspace log the rest"
                findings.add(row, Finding("replay.prefix", Severity.INFO, hint, pcr, bank))

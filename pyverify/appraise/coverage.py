"""The quotes of one boot together: what they prove, and which required PCRs they leave open (DESIGN section 5.2).

Several quotes count together only where each passes alone, all are by one AK, and resetCount and restartCount are
equal: else they may be of different boots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pyverify.algorithms import BANKS, BY_NAME, PCRS, pcrs_of
from pyverify.appraise.proof import Proofs
from pyverify.findings import Finding, Severity


@dataclass(slots=True)
class Coverage:
    """What each row of evidence has proven.

    ``relied`` are the quotes that count, bool of shape [quotes]. ``proven`` are PCRs by bank, a bit each, uint32 of
    shape [rows, 5]; ``values`` by bank uint8 of shape [rows, 24, size], zeros where not proven; where a PCR moved from
    one quote to the next, the later one's value. ``findings`` are (row, finding) pairs.
    """

    relied: npt.NDArray[np.bool_]
    proven: npt.NDArray[np.uint32]
    values: dict[str, npt.NDArray[np.uint8]]
    findings: list[tuple[npt.NDArray[np.int64], Finding]]


def cover(
    proofs: Proofs,
    row_of: npt.NDArray[np.int64],
    rows: int,
    *,
    eligible: npt.NDArray[np.bool_],
    required_pcrs: npt.NDArray[np.uint32],
    required_banks: npt.NDArray[np.uint32],
) -> Coverage:
    """Puts the quotes of each row together.

    Args:
        proofs: of the quotes.
        row_of: for each quote its row of evidence: int64 of shape [quotes].
        rows: how many rows there are.
        eligible: quotes that may count beyond being sound: of a known key, with a nonce that will do: bool [quotes].
        required_pcrs: PCRs of each row, a bit each, that must be proven in each required bank: uint32 [rows].
        required_banks: for each row the banks, a bit each, of its rules: uint32 of shape [rows].

    Only rows with an eligible sound quote get findings here: what keeps the others out has its own.
    """
    relied = _one_session(proofs, row_of, proofs.sound & eligible)
    proven = np.zeros((rows, len(BANKS)), np.uint32)
    quoted = [bank for bank in BANKS if np.any(proofs.proven[:, bank.index])]
    values = {bank.name: _zeros((rows, PCRS, bank.size), real=bank in quoted) for bank in BANKS}
    # Counters are equal among the quotes of a row, so the clock says which came last; it overwrites.
    order = np.flatnonzero(relied)
    order = order[np.argsort(proofs.clock[order], kind="stable")]
    for number, turn in enumerate(_turns(row_of[order])):
        quotes = order[turn]
        target = row_of[quotes]
        proven[target] |= proofs.proven[quotes]
        for bank in quoted:
            masks = proofs.proven[quotes, bank.index]
            some = np.flatnonzero(masks)
            into, of_quotes = values[bank.name], proofs.values[bank.name][quotes[some]]
            if number:
                is_proven = masks[some, None] >> np.arange(PCRS, dtype=np.uint32) & 1 != 0
                of_quotes = np.where(is_proven[:, :, None], of_quotes, into[target[some]])
            into[target[some]] = of_quotes
    has = np.zeros(rows, np.bool_)
    has[row_of[relied]] = True
    return Coverage(relied, proven, values, _gaps(proven, has, required_pcrs, required_banks))


def _zeros(shape: tuple[int, ...], *, real: bool) -> npt.NDArray[np.uint8]:
    """Zeros; those that are not ``real`` take no memory and cannot be written to."""
    return np.zeros(shape, np.uint8) if real else np.broadcast_to(np.uint8(0), shape)


def _turns(rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Positions grouped so that no row appears twice in a group, each row's positions in order over the groups."""
    seen = np.zeros(len(rows), np.int64)
    by_row = np.argsort(rows, kind="stable")
    starts = np.flatnonzero(np.diff(rows[by_row], prepend=-1))
    sizes = np.diff(np.append(starts, len(rows)))
    seen[by_row] = np.arange(len(rows)) - np.repeat(starts, sizes)
    return [np.flatnonzero(seen == turn) for turn in range(int(sizes.max(initial=0)))]


def _one_session(
    proofs: Proofs, row_of: npt.NDArray[np.int64], candidates: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Of each row's candidates those of one AK and one pair of counters: of several such groups the one that proves
    most, and of equals the latest."""
    relied = candidates.copy()
    numbers = np.flatnonzero(candidates)
    count = np.bincount(row_of[numbers], minlength=1)
    several = numbers[count[row_of[numbers]] > 1]
    several = several[np.argsort(row_of[several], kind="stable")]
    for of_row in np.split(several, np.flatnonzero(np.diff(row_of[several])) + 1):
        groups: dict[tuple[bytes | int, int, int], list[int]] = {}
        for quote in of_row.tolist():
            # A key without a Name cannot be told from another: such a quote stands alone.
            key = proofs.ak_names[quote] or quote, int(proofs.reset_count[quote]), int(proofs.restart_count[quote])
            groups.setdefault(key, []).append(quote)
        if len(groups) < 2:
            continue
        best = max(groups.values(), key=lambda members: _worth(proofs, members))
        for members in groups.values():
            relied[members] = members is best
    return relied


def _worth(proofs: Proofs, members: list[int]) -> tuple[int, int]:
    together = np.bitwise_or.reduce(proofs.proven[members], axis=0)
    return sum(int(mask).bit_count() for mask in together), int(proofs.clock[members].max())


def _gaps(
    proven: npt.NDArray[np.uint32],
    has: npt.NDArray[np.bool_],
    required_pcrs: npt.NDArray[np.uint32],
    required_banks: npt.NDArray[np.uint32],
) -> list[tuple[npt.NDArray[np.int64], Finding]]:
    findings = []
    for bank in BANKS:
        wanted = has & (required_banks >> np.uint32(bank.index) & np.uint32(1) != 0)
        masks = proven[:, bank.index]
        absent = np.flatnonzero(wanted & (masks == 0))
        if len(absent):
            hint = f"no quote proves anything in the {bank.name} bank, which is required"
            findings.append((absent, Finding("bank.missing", Severity.HIGH, hint, bank=bank.name)))
        left = np.where(wanted & (masks != 0), required_pcrs & ~masks, np.uint32(0))
        for mask in np.unique(left[left != 0]).tolist():
            numbers = ", ".join(map(str, pcrs_of(mask)))
            hint = f"no quote proves PCR {numbers} of {bank.name}, which must be compared"
            finding = Finding("quote.selection", Severity.HIGH, hint, bank=bank.name)
            findings.append((np.flatnonzero(left == mask), finding))
    nothing = np.flatnonzero(has & (required_banks == 0))
    if len(nothing):
        findings.append((nothing, Finding("bank.missing", Severity.HIGH, "no bank is required that the policy allows")))
    return findings


def further_banks(
    whole: Mapping[str, npt.NDArray[np.bool_]], closed: npt.NDArray[np.bool_], learned: npt.NDArray[np.uint32]
) -> npt.NDArray[np.uint32]:
    """For each row the banks, a bit each, that quotes prove whole and its baseline knows, required or not.

    None may contradict the baseline: where a weak bank tells of another boot than a strong one, something has filled
    the strong one (SPEC section 4.6).

    Args:
        whole: by bank bool of shape [rows]: of which rows all compared PCRs are proven.
        closed: the rows whose SHA-1 bank the operating system has closed.
        learned: the banks of each row's baseline: uint32 of shape [rows].
    """
    further = np.zeros(len(learned), np.uint32)
    for bank, rows in whole.items():
        open_rows = rows & ~closed if bank == "sha1" else rows
        further |= np.where(open_rows, np.uint32(1 << BY_NAME[bank].index), np.uint32(0))
    return further & learned

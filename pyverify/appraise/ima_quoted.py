"""IMA lists against quoted PCR values: which entries they prove, and what no list explains (SPEC 7.6)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pyverify.algorithms import pcrs_of
from pyverify.appraise.ima_told import ToldLists, of_pcr
from pyverify.evidence.ima import PCR
from pyverify.evidence.ima_replay import ImaReplay, Mode, Prefixes
from pyverify.findings import Finding, Severity

Masks = Mapping[str, npt.NDArray[np.uint32]]
Values = Mapping[str, npt.NDArray[np.uint8]]


def quoted_banks(quoted: Masks, pcr: int) -> dict[str, npt.NDArray[np.bool_]]:
    """By bank the rows whose quotes prove this PCR there, of the banks that have any."""
    found = {bank: masks >> np.uint32(pcr) & np.uint32(1) != 0 for bank, masks in quoted.items()}
    return {bank: rows for bank, rows in found.items() if rows.any()}


def judge_quoted(replayed: ImaReplay, quoted: Masks, authentic: Values, told: ToldLists) -> npt.NDArray[np.int64]:
    """Findings of lists whose rows have quotes that were judged, and how many of their entries those prove.

    Args:
        replayed: the lists.
        quoted: by bank the PCRs that quotes prove, a bit each, uint32 of shape [k].
        authentic: by bank the values that they prove, uint8 of shape [k, 24, size].
        told: where findings go.

    Returns:
        int64 of shape [k]: entries of PCR 10 that are proven, at least one, or -1 where none is.
    """
    rows = replayed.columns.rows
    proven = np.full(len(rows), -1, np.int64)
    good = (rows["fault"] == 0) & (rows["n_entries"] > 0)
    named = int(np.bitwise_or.reduce(rows["pcrs"][good], initial=0)) | 1 << PCR
    for pcr in pcrs_of(named):
        banks = quoted_banks(quoted, pcr)
        proven_by = np.logical_or.reduce([*banks.values(), np.zeros(len(rows), np.bool_)])
        has_entries = good & (rows["pcrs"] >> np.uint32(pcr) & np.uint32(1) != 0)
        count = np.bincount(
            replayed.columns.list_of[replayed.columns.entries["pcr"] == pcr], minlength=len(rows)
        ).astype(np.int64)
        told.counted(
            np.where(has_entries & ~proven_by, count, 0)[:, None],
            lambda n, pcr=pcr: Finding(  # type: ignore[misc]
                "ima.pcr", Severity.HIGH, f"{n[0]} entries for PCR {pcr}, which no quote proves", pcr=pcr
            ),
        )
        # All of a list may have been moved to other PCRs: what PCR 10 holds wants its entries either way.
        wanted = proven_by & (good if pcr == PCR else has_entries)
        if wanted.any():
            targets = {bank: np.ascontiguousarray(authentic[bank][:, pcr]) for bank in banks}
            prefixes = replayed.find_prefix(targets, pcr=pcr, given=banks)
            _judge_prefixes(replayed, prefixes, wanted, count, banks, targets, told)
            if pcr == PCR:
                proven = np.where(wanted & (prefixes.proven > 0), prefixes.proven, -1)
    return proven


def _judge_prefixes(
    replayed: ImaReplay,
    prefixes: Prefixes,
    wanted: npt.NDArray[np.bool_],
    count: npt.NDArray[np.int64],
    banks: Mapping[str, npt.NDArray[np.bool_]],
    targets: Values,
    told: ToldLists,
) -> None:
    pcr, proven = prefixes.pcr, prefixes.proven
    # Something else may share a PCR that is not IMA's own; where nothing of a list is proven, it proves nothing.
    for index in np.flatnonzero(wanted & (proven < (0 if pcr == PCR else 1))).tolist():
        bank = next(
            (b for b in banks if banks[b][index] and (prefixes.values[b][index] != targets[b][index]).any()),
            next(b for b in banks if banks[b][index]),
        )
        told.one(
            index,
            Finding(
                "replay.mismatch",
                Severity.HIGH,
                f"no part of the IMA list leads to the quoted value of PCR {pcr} in every quoted bank",
                pcr=pcr,
                bank=bank,
                expected=targets[bank][index].tobytes(),
                actual=prefixes.values[bank][index].tobytes(),
            ),
        )
    if pcr == PCR:
        words = "no entry of the IMA list is proven: PCR 10 was never extended"
        told.all_of(wanted & (proven == 0), of_pcr("ima.empty", Severity.HIGH, words))
    tail = np.flatnonzero(wanted & (proven > 0) & (proven < count))
    if len(tail):
        first = _first_unproven(replayed, prefixes, tail)
        for index, event in zip(tail.tolist(), first.tolist(), strict=True):
            left = int(count[index] - proven[index])
            words = f"{left} entries came after the quote was signed, or nothing proves them: they give no trust"
            told.one(index, Finding("ima.tail-unverified", Severity.INFO, words, pcr=pcr, event=event))
    for bank, given in banks.items():
        words = f"bank {bank} was extended with SHA-1 digests padded with zeros: it proves no more than SHA-1 does"
        padded = wanted & given & (proven > 0) & (prefixes.modes[bank] != Mode.OWN)
        told.all_of(padded, Finding("ima.padded", Severity.WARNING, words, pcr=pcr, bank=bank))


def _first_unproven(replayed: ImaReplay, prefixes: Prefixes, lists: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The number in its list of the first entry of the PCR that is not proven, of lists that have one."""
    columns = replayed.columns
    position = columns.positions(prefixes.pcr)
    entries = np.flatnonzero((position >= 0) & (position == prefixes.proven[columns.list_of]))
    at = entries[np.searchsorted(columns.list_of[entries], lists)]
    first: npt.NDArray[np.int64] = at - columns.rows["first_entry"][lists].astype(np.int64)
    return first

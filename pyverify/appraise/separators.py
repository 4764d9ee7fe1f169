"""Separators: each of PCR 0-7 has exactly one, in every bank, and nothing else looks like one (SPEC 3.3, 4.6).

Digest first: what an event calls itself only says whether it is in disguise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify.appraise.known_digests import SEPARATOR, SEPARATOR_ERROR, SEPARATOR_F, KnownDigests
from pyverify.appraise.told import extended, judged_logs, tell
from pyverify.evidence import event_types as types
from pyverify.evidence.scanned import ScannedLogs
from pyverify.findings import Finding, Severity

FIRMWARE_PCRS: Final = 8
"""PCR 0-7 are the firmware's."""

_SEPARATORS: Final = (SEPARATOR, SEPARATOR_F, SEPARATOR_ERROR)

Mask = npt.NDArray[np.bool_]


def unextended_banks(scanned: ScannedLogs, known: KnownDigests) -> Mask:
    """By bank and log, bool of shape [banks, n]: the header lists the bank, but PCR 0-7 have no separator in it."""
    n = len(scanned.rows)
    unextended = np.zeros((len(known.banks), n), np.bool_)
    firmware = _firmware(scanned, known)
    for row, bank in zip(unextended, known.banks, strict=True):
        separators = firmware & known.only(bank).anywhere(*_SEPARATORS)
        has_one = np.bincount(scanned.log_of[separators], minlength=n) > 0
        row[:] = (scanned.rows["banks"] >> bank.index & 1 == 1) & (scanned.rows["fault"] == 0) & ~has_one
    return unextended


def bank_findings(known: KnownDigests, unextended: Mask) -> Iterator[tuple[int, Finding]]:
    """Banks that firmware never extended."""
    for logs, bank in zip(unextended, known.banks, strict=True):
        hint = f"no separator of PCR 0-7 is in bank {bank.name}: firmware did not extend it, so anything may have"
        for log in np.flatnonzero(logs).tolist():
            yield log, Finding("bank.unextended", Severity.HIGH, hint, bank=bank.name)


def separator_findings(scanned: ScannedLogs, known: KnownDigests) -> Iterator[tuple[int, Finding]]:
    """All that is wrong with separators. ``known`` leaves out the banks that firmware never extended."""
    firmware = _firmware(scanned, known)
    named = firmware & (scanned.events["type"] == types.EV_SEPARATOR)
    error = named & known.everywhere(SEPARATOR_ERROR)
    proper = named & (known.everywhere(SEPARATOR) | known.everywhere(SEPARATOR_F))
    hidden = extended(scanned, judged_logs(scanned, known.mask)) & known.anywhere(*_SEPARATORS)
    hidden &= (scanned.events["type"] != types.EV_SEPARATOR) & ~_coincidence(scanned, known)
    yield from _tell(scanned, error, "separator.error", "firmware says that something went wrong (error separator)")
    hint = "a separator whose digest is none of a separator"
    yield from _tell(scanned, named & ~proper & ~error, "separator.disguised", hint)
    yield from _tell(scanned, hidden, "separator.disguised", "an event of another type with a separator's digest")
    yield from _count_findings(scanned, judged_logs(scanned, known.mask), named | (hidden & firmware))


def _firmware(scanned: ScannedLogs, known: KnownDigests) -> Mask:
    """Events that extend PCR 0-7, of logs that are judged."""
    firmware: Mask = extended(scanned, judged_logs(scanned, known.mask)) & (scanned.events["pcr"] < FIRMWARE_PCRS)
    return firmware


def _coincidence(scanned: ScannedLogs, known: KnownDigests) -> Mask:
    """Events that measure data of those very four bytes, and mean nothing by it.

    BootOrder 0001, 0000 is 01000000. Windows counts in PCR 11, from zero, by EV_COMPACT_HASH.
    """
    events = scanned.events
    order = (events["type"] == types.EV_EFI_VARIABLE_BOOT) & np.isin(events["pcr"], (1, 5))
    counter = (events["type"] == types.EV_COMPACT_HASH) & (events["pcr"] >= FIRMWARE_PCRS) & (events["data_size"] == 4)
    coincidence: Mask = order & known.everywhere(SEPARATOR_ERROR) | counter
    return coincidence


def _count_findings(scanned: ScannedLogs, logs: Mask, separators: Mask) -> Iterator[tuple[int, Finding]]:
    """PCRs without a separator, and second ones."""
    n = len(scanned.rows)
    rows = np.flatnonzero(separators)
    place = scanned.log_of[rows] * FIRMWARE_PCRS + scanned.events["pcr"][rows]
    counts = np.bincount(place, minlength=n * FIRMWARE_PCRS).reshape(n, FIRMWARE_PCRS)
    for log, pcr in np.argwhere((counts == 0) & logs[:, np.newaxis]).tolist():
        yield log, Finding("separator.missing", Severity.HIGH, f"PCR {pcr} has no separator", pcr=pcr)
    again = np.zeros(len(scanned.events), np.bool_)
    order = np.argsort(place, kind="stable")
    again[rows[order[1:]]] = place[order[1:]] == place[order[:-1]]
    yield from _tell(scanned, again, "separator.duplicate", "one more separator in a PCR that has one")


def _tell(scanned: ScannedLogs, events: Mask, code: str, hint: str) -> Iterator[tuple[int, Finding]]:
    return tell(scanned, events, Finding(code, Severity.HIGH, hint))

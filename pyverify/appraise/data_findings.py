"""Events whose data is not what their digest says, and firmware that is known for it (SPEC sections 0.5 and 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, banks_of
from pyverify.appraise.known_digests import SEPARATOR_F, KnownDigests
from pyverify.appraise.told import first_of_each_log, tell
from pyverify.evidence import event_types as types
from pyverify.evidence import uefi
from pyverify.evidence.data_check import MISMATCH, RULES, VERIFIED, DataChecks, Rule
from pyverify.evidence.gather import rows_at
from pyverify.evidence.scanned import ScannedLogs
from pyverify.findings import Finding, Severity

Mask = npt.NDArray[np.bool_]

ALL_BANKS: Final = (1 << len(BANKS)) - 1

_SECURE_BOOT_PCR: Final = 7


def data_findings(scanned: ScannedLogs, checks: DataChecks) -> Iterator[tuple[int, Finding]]:
    """Log index and finding for what :func:`pyverify.evidence.data_check.check_data` found.

    Logs with a fault are passed over: they are an error, whatever else they have.
    """
    readable = (scanned.rows["fault"] == 0)[scanned.log_of]
    wrong = readable & (checks.verified == MISMATCH)
    if wrong.any():
        for deviation in _DEVIATIONS:
            excused = wrong & (scanned.events["pcr"] != _SECURE_BOOT_PCR)
            excused &= deviation.is_one(scanned, checks, excused)
            finding = Finding("event.data-known-deviation", Severity.WARNING, deviation.reason)
            yield from tell(scanned, excused, finding)
            wrong &= ~excused
        yield from tell(scanned, wrong, lambda event: _mismatch(scanned, checks, event))
    yield from _mixed_forms(scanned, checks, readable)


def _old_variables(scanned: ScannedLogs, checks: DataChecks, wrong: Mask) -> Mask:
    """Variables whose name should be covered, and is not in any bank."""
    boot = scanned.events["type"] == types.EV_EFI_VARIABLE_BOOT
    old: Mask = wrong & (checks.rule == Rule.VARIABLE_DATA) & ~boot
    return old


def _dell_versions(scanned: ScannedLogs, checks: DataChecks, wrong: Mask) -> Mask:
    """S-CRTM versions in PCR 0 of logs whose platform key, which is proven, is Dell's."""
    version: Mask = wrong & (scanned.events["type"] == types.EV_S_CRTM_VERSION) & (scanned.events["pcr"] == 0)
    setting = (scanned.events["type"] == types.EV_EFI_VARIABLE_DRIVER_CONFIG) & (checks.verified == VERIFIED)
    setting &= scanned.events["pcr"] == _SECURE_BOOT_PCR
    logs = np.unique(scanned.log_of[version])
    rows = np.flatnonzero(setting & np.isin(scanned.log_of, logs))
    dells = scanned.log_of[[row for row in rows.tolist() if _is_dells_key(scanned.data(row))]]
    version &= np.isin(scanned.log_of, dells)
    return version


def _is_dells_key(data: bytes) -> bool:
    try:
        variable = uefi.variable(data)
    except uefi.Undecodable:
        return False
    return (variable.guid, variable.name) == (uefi.GLOBAL_VARIABLE, "PK") and b"Dell Inc." in variable.data


def _power_actions(scanned: ScannedLogs, _: DataChecks, wrong: Mask) -> Mask:
    """Actions whose digests in SHA-1 and SHA-256 begin alike, which no two hashes do."""
    places = scanned.events["digest_at"][:, [BY_NAME["sha1"].index, BY_NAME["sha256"].index]]
    action: Mask = wrong & (scanned.events["type"] == types.EV_ACTION) & np.all(places != _native.NO_DIGEST, axis=1)
    rows = np.flatnonzero(action)
    start = scanned.logs.offsets[scanned.log_of[rows]]
    weak, strong = (rows_at(scanned.logs.blob, start + at, BY_NAME["sha1"].size) for at in places[rows].T)
    action[rows] = np.all(weak == strong, axis=1)
    return action


def _power_separators(scanned: ScannedLogs, _: DataChecks, wrong: Mask) -> Mask:
    separator: Mask = wrong & (scanned.events["type"] == types.EV_SEPARATOR)
    if separator.any():
        separator &= KnownDigests.of(scanned, ALL_BANKS).everywhere(SEPARATOR_F)
    return separator


@dataclass(frozen=True, slots=True)
class _Deviation:
    """A way in which firmware is known to deviate: in words, and which of the events that do not fit are it."""

    reason: str
    is_one: Callable[[ScannedLogs, DataChecks, Mask], Mask]


_DEVIATIONS: Final = (
    # The TCG EFI Platform Specification for TPM 1.2 had variables hashed so; seen in a log of a TPM 1.2.
    _Deviation("the digest covers the variable's data, but not its name, as in logs of TPM 1.2", _old_variables),
    # SPEC section 0.5: three logs of two servers. What they hash is not known.
    _Deviation("Dell's firmware hashes something else than the version that it logs", _dell_versions),
    # SPEC section 0.5; skiboot, libstb/trustedboot.c: each bank gets the first bytes of one SHA-512 of the component.
    _Deviation("OpenPOWER firmware logs a component's name and measures the component", _power_actions),
    # The same: the digest is that of FFFFFFFF, the data is not those four bytes.
    _Deviation("OpenPOWER firmware logs other data than its separators' digests cover", _power_separators),
)
"""Never for PCR 7: what Secure Boot measures has to be proven (FINDINGS.md)."""


def _mismatch(scanned: ScannedLogs, checks: DataChecks, event: int) -> Finding:
    """What an event's data should hash to, and what it has for a digest, in the first bank that does not fit."""
    banks = banks_of(int(checks.mismatched_banks[event]))
    name = types.name(int(scanned.events["type"][event]))
    hint = f"the data of {name} does not hash to its digest in {', '.join(banks)}"
    if checks.rule[event] == Rule.VARIABLE_DATA:
        hint += "; the digest covers the variable's data, but not its name"
    elif checks.rule[event] != Rule.NONE:
        hint += f"; in other banks the digest covers {RULES[Rule(checks.rule[event])]}"
    bank = BY_NAME[banks[0]]
    data = np.frombuffer(scanned.data(event), np.uint8)
    expected = _native.hash_messages(bank.index, data, np.array([0, len(data)], np.int64))[0].tobytes()
    at = int(scanned.logs.offsets[scanned.log_of[event]]) + int(scanned.events["digest_at"][event, bank.index])
    actual = scanned.logs.blob[at : at + bank.size].tobytes()
    return Finding("event.data-mismatch", Severity.HIGH, hint, bank=bank.name, expected=expected, actual=actual)


def _mixed_forms(scanned: ScannedLogs, checks: DataChecks, readable: Mask) -> Iterator[tuple[int, Finding]]:
    """Logs in which some boot variables are hashed whole and others by their data: one firmware does one (SPEC 3.1)."""
    n = len(scanned.rows)
    boot = readable & (scanned.events["type"] == types.EV_EFI_VARIABLE_BOOT) & (checks.verified == VERIFIED)
    whole, bare = (boot & (checks.rule == rule) for rule in (Rule.WHOLE, Rule.VARIABLE_DATA))
    mixed = np.all([np.bincount(scanned.log_of[some], minlength=n) > 0 for some in (whole, bare)], axis=0)
    first = first_of_each_log(scanned, whole & mixed[scanned.log_of])
    hint = "of this log's boot variables some are hashed whole, others by their data only"
    finding = Finding("event.data-known-deviation", Severity.WARNING, hint)
    yield from tell(scanned, first, finding)

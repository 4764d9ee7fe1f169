"""Which types of event firmware and boot loaders measure into PCR 0-7 (SPEC sections 1.3, 3.1 and 4.9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify.appraise.known_digests import SECURE_BOOT_ACTIONS, KnownDigests
from pyverify.appraise.told import extended, judged_logs, tell
from pyverify.evidence import event_types as types
from pyverify.evidence.eventlog import FORMATS
from pyverify.evidence.scanned import ScannedLogs
from pyverify.findings import Finding, Severity

_SECURE_BOOT_PCR: Final = 7

_BLOBS: Final = frozenset({types.EV_EFI_PLATFORM_FIRMWARE_BLOB, types.EV_EFI_PLATFORM_FIRMWARE_BLOB2})
_SPDM: Final = frozenset({types.EV_EFI_SPDM_FIRMWARE_BLOB, types.EV_EFI_SPDM_FIRMWARE_CONFIG})
_SPDM_KEYS: Final = frozenset({types.EV_EFI_SPDM_DEVICE_POLICY, types.EV_EFI_SPDM_DEVICE_AUTHORITY})
_BOOT_VARIABLES: Final = frozenset({types.EV_EFI_VARIABLE_BOOT, types.EV_EFI_VARIABLE_BOOT2})
_NONHOST: Final = frozenset({types.EV_NONHOST_CODE, types.EV_NONHOST_CONFIG, types.EV_NONHOST_INFO})
_GPT: Final = frozenset({types.EV_EFI_GPT_EVENT, types.EV_EFI_GPT_EVENT2})
_TABLES: Final = frozenset({types.EV_EFI_HANDOFF_TABLES, types.EV_EFI_HANDOFF_TABLES2, types.EV_TABLE_OF_DEVICES})
_DRIVERS: Final = frozenset({types.EV_EFI_BOOT_SERVICES_DRIVER, types.EV_EFI_RUNTIME_SERVICES_DRIVER})
_CRTM: Final = frozenset({types.EV_S_CRTM_CONTENTS, types.EV_S_CRTM_VERSION, types.EV_EFI_HCRTM_EVENT})
_POST: Final = frozenset({types.EV_POST_CODE, types.EV_POST_CODE2})
_CONFIGURATION: Final = frozenset({types.EV_CPU_MICROCODE, types.EV_PLATFORM_CONFIG_FLAGS, types.EV_EVENT_TAG})
_APPLICATION: Final = types.EV_EFI_BOOT_SERVICES_APPLICATION
_SETTING: Final = types.EV_EFI_VARIABLE_DRIVER_CONFIG
_LAUNCH: Final = frozenset({types.EV_EFI_ACTION, types.EV_OMIT_BOOT_DEVICE_EVENTS, _APPLICATION})

_ALLOWED: Final[tuple[frozenset[int], ...]] = (
    _CRTM | _POST | _BLOBS | _NONHOST | _SPDM,
    _CONFIGURATION | _TABLES | _BOOT_VARIABLES | _SPDM | {_SETTING, types.EV_NONHOST_CONFIG},
    _DRIVERS | _BLOBS | _SPDM | {_APPLICATION, types.EV_NONHOST_CODE},
    _SPDM | {_SETTING, types.EV_NONHOST_CONFIG},
    _LAUNCH,
    _GPT | _BOOT_VARIABLES | {types.EV_EFI_ACTION, types.EV_EVENT_TAG, _SETTING},
    frozenset({types.EV_ACTION, types.EV_EFI_ACTION, types.EV_COMPACT_HASH}),
    _SPDM_KEYS | {_SETTING, types.EV_EFI_VARIABLE_AUTHORITY, types.EV_EFI_ACTION},
)
"""By PCR, beside the separator. Applications in PCR 2 are launched from flash; PCR 6 holds wake events and vendors'."""

_LEGACY: Final[dict[int, frozenset[int]]] = {
    0: _TABLES,
    2: frozenset({types.EV_EVENT_TAG, types.EV_ACTION}),
    4: frozenset({types.EV_ACTION, types.EV_IPL, types.EV_COMPACT_HASH}),
    5: frozenset({types.EV_ACTION, types.EV_IPL, types.EV_IPL_PARTITION_DATA}),
}
"""What logs of TPM 1.2 may have besides: BIOS boots ("Calling INT 19h", MBR code and data) and tables in PCR 0."""

_VENDOR_PCRS: Final = (0, 6)

_TYPES: Final = np.array(
    sorted(frozenset().union(*_ALLOWED, *_LEGACY.values()) | {types.EV_SEPARATOR, 0xFFFFFFFF}), np.uint32
)
_LEGACY_FORMAT: Final = next(number for number, name in FORMATS.items() if name == "tcg1")


def _table(*, legacy: bool) -> npt.NDArray[np.bool_]:
    """Which of ``_TYPES`` is allowed in which PCR: bool of shape [8, types]."""
    table = np.zeros((len(_ALLOWED), len(_TYPES)), np.bool_)
    for pcr, allowed in enumerate(_ALLOWED):
        usual = allowed | {types.EV_SEPARATOR} | (_LEGACY.get(pcr, frozenset()) if legacy else frozenset())
        table[pcr] = np.isin(_TYPES, np.array(sorted(usual), np.uint32))
    return table


_TABLES_BY_FORMAT: Final = np.stack([_table(legacy=False), _table(legacy=True)])


def _vendors(number: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Types outside the ranges that are the TCG's, and those that firmware really takes from them (SPEC 1.2)."""
    own: npt.NDArray[np.bool_] = (number & np.uint32(0x7FFFFFFF)) > 0xFFFF
    return own | ((number >= 0x8000) & (number <= 0xFFFF))


def usage_findings(scanned: ScannedLogs, known: KnownDigests) -> Iterator[tuple[int, Finding]]:
    """Events of a type that their PCR should not have; in PCR 7 also actions in unknown words."""
    events = extended(scanned, judged_logs(scanned, known.mask)) & (scanned.events["pcr"] < len(_ALLOWED))
    rows = np.flatnonzero(events)
    pcrs, numbers = scanned.events["pcr"][rows], scanned.events["type"][rows]
    legacy = (scanned.rows["format"][scanned.log_of[rows]] == _LEGACY_FORMAT).astype(np.int64)
    column = np.searchsorted(_TYPES, numbers)
    usual = _TABLES_BY_FORMAT[legacy, pcrs, column] & (_TYPES[column] == numbers)
    usual |= _vendors(numbers) & np.isin(pcrs, _VENDOR_PCRS)
    unusual = np.zeros(len(events), np.bool_)
    unusual[rows] = ~usual
    secure_boot = scanned.events["pcr"] == _SECURE_BOOT_PCR
    yield from tell(scanned, unusual & ~secure_boot, lambda event: _finding(scanned, event, Severity.WARNING))
    yield from tell(scanned, unusual & secure_boot, lambda event: _finding(scanned, event, Severity.HIGH))
    action = events & secure_boot & (scanned.events["type"] == types.EV_EFI_ACTION)
    words = Finding("event.type-unexpected", Severity.HIGH, "an action in PCR 7 that Secure Boot does not know")
    yield from tell(scanned, action & ~known.everywhere(*SECURE_BOOT_ACTIONS), words)


def _finding(scanned: ScannedLogs, event: int, severity: Severity) -> Finding:
    name = types.name(int(scanned.events["type"][event]))
    return Finding("event.type-unexpected", severity, f"{name} does not belong into PCR {scanned.events['pcr'][event]}")

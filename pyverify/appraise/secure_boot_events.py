"""The events of PCR 7 and 14, read one after the other: what each may say, and where it may stand (SPEC 5.1)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np

from pyverify import _native
from pyverify.algorithms import BY_NAME
from pyverify.evidence import event_types as types
from pyverify.evidence import uefi
from pyverify.evidence.eventlog import Event
from pyverify.evidence.sbat import SbatRow, parse_sbat
from pyverify.evidence.signature_databases import Signature, signatures
from pyverify.evidence.text import escape
from pyverify.evidence.uefi import GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE, SHIM_LOCK, Undecodable, Variable
from pyverify.findings import Finding, Severity

POLICY_PCR: Final = 7
SHIM_PCR: Final = 14
MEASURED_PCRS: Final = (POLICY_PCR, SHIM_PCR)

Name = tuple[str, str]
"""A variable: its GUID and its name. Names are compared as they are: two that look alike are two."""

SECURE_BOOT: Final[Name] = (GLOBAL_VARIABLE, "SecureBoot")
DATABASES: Final[dict[str, Name]] = {
    "pk": (GLOBAL_VARIABLE, "PK"),
    "kek": (GLOBAL_VARIABLE, "KEK"),
    "db": (IMAGE_SECURITY_DATABASE, "db"),
    "dbx": (IMAGE_SECURITY_DATABASE, "dbx"),
    "dbt": (IMAGE_SECURITY_DATABASE, "dbt"),
    "dbr": (IMAGE_SECURITY_DATABASE, "dbr"),
}
# The order in which firmware measures them (SPEC section 5.2.4).
_ORDER: Final = {name: position for position, name in enumerate((SECURE_BOOT, *DATABASES.values()))}
# Measured too while the machine is not in deployed mode, anywhere among them (SPEC section 5.1).
AUDIT_MODE: Final[Name] = (GLOBAL_VARIABLE, "AuditMode")
_MODES: Final = {(GLOBAL_VARIABLE, "DeployedMode"), AUDIT_MODE}
# EFI_DEVICE_SIGNATURE_DATABASE_GUID (UEFI 2.10 section 32.8.1): what devices are verified by, over SPDM.
_DEVICE_DATABASE: Final[Name] = ("b9c2b4f4-bf5f-462d-8adf-c5c70ac35dad", "devdb")

# Databases that decide about an image, and are measured. dbx does too: shim measures what it refused an image by.
_IMAGE_DATABASES: Final = {DATABASES[key] for key in ("db", "dbx", "dbt", "dbr")}
# What shim decides by itself: keys in its own image or enrolled by the machine's owner. Their content is in no log.
_SHIM_DATABASES: Final = {
    *((SHIM_LOCK, name) for name in ("Shim", "MokList", "MokListX", "MokListRT", "MokListXRT")),
    (IMAGE_SECURITY_DATABASE, "vendor_db"),
}
_SHIM_FLAGS: Final = {(SHIM_LOCK, name) for name in ("MokSBState", "MokDBState", "MokListTrusted", "MokPolicy")}
_MOK_SB_STATE: Final[Name] = (SHIM_LOCK, "MokSBState")
_SBAT_LEVEL: Final[Name] = (SHIM_LOCK, "SbatLevel")

# Action texts of EDK2 and of Intel's reference firmware for Thunderbolt.
_DEBUG: Final = b"UEFI Debug Mode"
_DMA_OFF: Final = {b"DMA Protection Disabled", b"Security Level is Downgraded to 0"}

_ZEROS, _ONES = bytes(4), b"\xff" * 4
_MAX_ALIKE: Final = 8  # findings of one code and severity in full; a log may hold 200,000 events to find fault with
_MAX_OLD_SHIMS: Final = 16  # events of old shims, each hashed alone: a boot has one or two
_NAME_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class Authority:
    """What decided about an image: one EV_EFI_VARIABLE_AUTHORITY."""

    source: str
    """Name of the variable that holds it: ``db`` (the firmware's; shim uses it too), ``dbx`` (the image was refused),
    ``Shim`` and ``vendor_db`` (keys in shim's image), ``MokList…`` (the owner's), ``SbatLevel``."""
    owner: str | None
    """GUID of the entry's owner; None where the data is bare."""
    data: bytes
    """The certificate, the hash or the text."""
    found: bool | None
    """Whether the measured database of that name holds it; None where no log holds what it could be looked up in."""
    event: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Content of a variable that was measured, and by which event."""

    data: bytes
    data_at: int
    event: int


class Notes:
    """Findings of one boot, at most :data:`_MAX_ALIKE` of each code and severity, and how many more there were."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Severity]] = Counter()
        self._findings: list[Finding] = []

    def add(self, code: str, severity: Severity, hint: str, event: int | None = None) -> None:
        """One finding of PCR 7."""
        self._counts[code, severity] += 1
        if self._counts[code, severity] <= _MAX_ALIKE:
            self._findings.append(Finding(code, severity, hint, pcr=POLICY_PCR, event=event))

    def forget(self, code: str) -> None:
        """Drops all findings of a code."""
        self._findings = [finding for finding in self._findings if finding.code != code]
        self._counts = Counter({key: count for key, count in self._counts.items() if key[0] != code})

    def high(self, code: str) -> bool:
        """Whether a finding of this code weighs against the boot."""
        return self._counts[code, Severity.HIGH] > 0

    def findings(self) -> tuple[Finding, ...]:
        """All of them, in order."""
        more = [
            Finding(code, severity, f"{count - _MAX_ALIKE} more findings like the ones before", pcr=POLICY_PCR)
            for (code, severity), count in self._counts.items()
            if count > _MAX_ALIKE
        ]
        return (*self._findings, *more)


class SecureBootEvents:
    """What was read so far. An event whose data is not proven by its digest says nothing, and that is a finding."""

    def __init__(self, separator_of_ones: bool) -> None:
        self.notes = Notes()
        self.variables: dict[Name, Measured] = {}
        self.databases: dict[str, tuple[Signature, ...] | None] = dict.fromkeys(DATABASES)
        self.authorities: list[Authority] = []
        self.mok: dict[str, dict[str, bytes]] = {}
        self.sbat_level: str | None = None
        self.sbat_rows: tuple[SbatRow, ...] = ()
        self.sbat_event: int | None = None
        self.shim_ran = False
        self.shim_off: int | None = None
        self.debug: int | None = None
        self.dma_off: int | None = None
        self.separators = 0
        self.speaks = False
        """Whether anything in PCR 7 is about Secure Boot at all: in a BIOS boot nothing is."""
        self._separators_allowed = {_ZEROS, _ONES} if separator_of_ones else {_ZEROS}
        self._position = -1
        self._closed = False
        self._old_shims = 0
        self._readers = {
            types.EV_EFI_VARIABLE_DRIVER_CONFIG: self._configuration,
            types.EV_EFI_VARIABLE_AUTHORITY: self._authority,
            types.EV_EFI_SPDM_DEVICE_POLICY: self._device,
            types.EV_EFI_SPDM_DEVICE_AUTHORITY: self._device,
            types.EV_SEPARATOR: self._separator,
            types.EV_EFI_ACTION: self._action,
        }

    def ambiguous(self, hint: str, event: int | None = None) -> None:
        """The events can be read in more than one way, or say what no honest firmware says."""
        self.notes.add("secureboot.ambiguous", Severity.HIGH, hint, event)

    def measurement(self, event: Event, verified: int) -> None:
        """Reads one event of PCR 7."""
        self.speaks |= event.type_hint in (types.EV_EFI_VARIABLE_DRIVER_CONFIG, types.EV_EFI_VARIABLE_AUTHORITY)
        read = self._readers.get(event.type_hint)
        if read is None:
            self.ambiguous(f"{event.type_name} has no place in PCR 7", event.number)
        elif verified == 1 or self._by_old_shim(event):
            try:
                read(event)
            except Undecodable as fault:
                self.ambiguous(str(fault), event.number)
        else:
            self.ambiguous(f"the data of this {event.type_name} is not proven by its digest", event.number)

    def _by_old_shim(self, event: Event) -> bool:
        if event.type_hint != types.EV_EFI_VARIABLE_AUTHORITY or not event.digests or self._old_shims == _MAX_OLD_SHIMS:
            return False
        self._old_shims += 1
        return _proven_but_for_its_end(event)

    def shim_log(self, event: Event) -> None:
        """Reads one event of PCR 14. Its name is a hint; the digest covers a variable's content, which is not here."""
        name = event.data.split(b"\0", 1)[0].decode("ascii", "replace")
        if event.type_hint != types.EV_IPL or not name.startswith("Mok"):
            return
        self.shim_ran = True
        self.mok.setdefault(name, event.digests)
        # Two contents are the switch's only ones, so the digest tells which.
        if name == "MokSBState" and any(digest != _digest_of_off(bank) for bank, digest in event.digests.items()):
            self.shim_off = event.number

    def _configuration(self, event: Event) -> None:
        variable = uefi.variable(event.data)
        name = variable.guid, variable.name
        if name not in _ORDER and name not in _MODES:
            self.ambiguous(f"{_named(variable)} is not one that belongs here", event.number)
        elif name in self.variables or self._closed:
            self.ambiguous(f"{variable.name} was measured again or late: changed during boot", event.number)
        elif variable.excess:
            self.ambiguous(f"{variable.name} is followed by {variable.excess} bytes of something else", event.number)
        else:
            self.variables[name] = Measured(variable.data, variable.data_at, event.number)
            position = _ORDER.get(name, self._position)
            if position < self._position:
                self.ambiguous(f"{variable.name} was measured out of order", event.number)
            self._position = max(self._position, position)
            if name in _MODES and variable.data not in (b"", b"\0", b"\1"):
                self.ambiguous(f"{variable.name} = {variable.data[:8].hex() or 'nothing'}", event.number)

    def _separator(self, event: Event) -> None:
        self.separators += 1
        self._closed = True
        if event.data not in self._separators_allowed:
            self.ambiguous(f"PCR 7's separator is {event.data[:8].hex() or 'empty'}", event.number)
        elif self.separators > 1:
            self.ambiguous("PCR 7 has a second separator", event.number)

    def _action(self, event: Event) -> None:
        text = event.data.removesuffix(b"\0")
        if text == _DEBUG:
            self.debug = event.number
        elif text in _DMA_OFF:
            self.dma_off = event.number
        else:
            words = escape(text[:_NAME_LENGTH].decode("ascii", "backslashreplace"), _NAME_LENGTH)
            self.ambiguous(f'the action "{words}" has no known meaning in PCR 7', event.number)

    def _device(self, event: Event) -> None:
        # Says by what devices were verified, not images: only its name matters here.
        variable = uefi.variable(event.data)
        if (variable.guid, variable.name) != _DEVICE_DATABASE:
            self.ambiguous(f"{_named(variable)} is no database of devices", event.number)

    def _authority(self, event: Event) -> None:
        self._closed = True
        variable = uefi.variable(event.data)
        name = variable.guid, variable.name
        self.shim_ran |= variable.guid == SHIM_LOCK
        if name == _SBAT_LEVEL:
            self._sbat(event, variable)
        elif name in _SHIM_FLAGS:
            if name == _MOK_SB_STATE and variable.data != b"\0":
                self.shim_off = event.number
        elif name in _IMAGE_DATABASES or name in _SHIM_DATABASES:
            owner = (
                None if _is_certificate(variable.data) or len(variable.data) <= 16 else uefi.guid(variable.data[:16])
            )
            data = variable.data if owner is None else variable.data[16:]
            self.authorities.append(Authority(variable.name, owner, data, None, event.number))
        else:
            self.ambiguous(f"{_named(variable)} verifies nothing that is known", event.number)

    def _sbat(self, event: Event, variable: Variable) -> None:
        self.authorities.append(Authority(variable.name, None, variable.data, None, event.number))
        rows = parse_sbat(variable.data)
        if rows is None:
            self.ambiguous("SbatLevel is not a list of components and generations", event.number)
        elif self.sbat_event is not None and rows != self.sbat_rows:
            self.ambiguous("SbatLevel was measured again, and differs: changed during boot", event.number)
        else:
            self.sbat_level, self.sbat_rows, self.sbat_event = variable.data.decode("ascii"), rows, event.number

    def finish(self) -> None:
        """Reads the databases, and looks up in them what images were verified by."""
        for key, name in DATABASES.items():
            if (measured := self.variables.get(name)) is not None:
                try:
                    self.databases[key] = signatures(measured.data, measured.data_at)
                except Undecodable as fault:
                    self.ambiguous(f"{name[1]}: {fault}", measured.event)
        held = {source: self._held(source) for source in {item.source for item in self.authorities}}
        self.authorities = [
            item if (entries := held[item.source]) is None else replace(item, found=(item.owner, item.data) in entries)
            for item in self.authorities
        ]

    def _held(self, source: str) -> set[tuple[str | None, bytes]] | None:
        """What the database of that name holds, with and without owners: old shims leave them out (SPEC 3.6)."""
        if source not in self.databases:
            return None
        entries = self.databases[source] or ()
        return {(owner, entry.data) for entry in entries for owner in (None, entry.owner)}


def _named(variable: Variable) -> str:
    return f'the variable "{escape(variable.name, _NAME_LENGTH)}" of {variable.guid}'


def _is_certificate(data: bytes) -> bool:
    """Whether the data is one DER SEQUENCE of a certificate's size: no owner's GUID before it."""
    return data[:2] == b"\x30\x82" and int.from_bytes(data[2:4], "big") == len(data) - 4


def _digest(bank: str, data: bytes) -> bytes:
    offsets = np.array([0, len(data)], np.int64)
    digest: bytes = _native.hash_messages(BY_NAME[bank].index, np.frombuffer(data, np.uint8), offsets)[0].tobytes()
    return digest


_digest_of_off = cache(lambda bank: _digest(bank, b"\0"))


def _proven_but_for_its_end(event: Event) -> bool:
    """Whether the event is an authority as old shims log it: some bytes too long, the last of them not hashed.

    The digest covers GUID, name and content all the same (SPEC section 3.6; 14 events of real logs are so).
    """
    try:
        excess = uefi.variable(event.data).excess
    except Undecodable:
        return False
    hashed = event.data[:-1]
    return excess > 0 and all(_digest(bank, hashed) == digest for bank, digest in event.digests.items())

"""What one boot's log proves of the things that Keylime's reference state speaks of (SPEC sections 3 and 5).

Only digests, their order within a PCR, and data that hashes to its digest are used. Types and names are what the log
says: where one decides, an event that cannot be proven to be what it is called is left for the check to complain of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from pyverify.baseline.interchange.keylime_refstate import Keys
from pyverify.evidence import event_types as types
from pyverify.evidence import uefi
from pyverify.evidence.columns import Ragged
from pyverify.evidence.data_check import VERIFIED, check_data
from pyverify.evidence.eventlog import Event, EventLog
from pyverify.evidence.scanned import ScannedLogs
from pyverify.evidence.signature_databases import signatures
from pyverify.evidence.uefi import GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE, SHIM_LOCK, Undecodable, Variable

FIRMWARE, BOOT_LOADER, POLICY, GRUB, FILES, SHIM = 0, 4, 7, 8, 9, 14
JUDGED: Final = (FIRMWARE, BOOT_LOADER, POLICY, GRUB, FILES, SHIM)
"""The PCRs that a reference state speaks of."""

SECURE_BOOT: Final = (GLOBAL_VARIABLE, "SecureBoot")
DATABASES: Final = {
    (GLOBAL_VARIABLE, "PK"): "pk",
    (GLOBAL_VARIABLE, "KEK"): "kek",
    (IMAGE_SECURITY_DATABASE, "db"): "db",
    (IMAGE_SECURITY_DATABASE, "dbx"): "dbx",
}
VENDOR_DB: Final = {(IMAGE_SECURITY_DATABASE, "vendor_db"), (SHIM_LOCK, "vendor_db")}
ACCEPTED_AUTHORITIES: Final = {
    (IMAGE_SECURITY_DATABASE, "db"),
    *((SHIM_LOCK, name) for name in ("SbatLevel", "Shim", "MokList", "MokListRT", "MokListTrusted")),
}
"""What may have verified an image: the images themselves are compared by digest."""

_SEPARATORS: Final = (bytes(4), b"\xff" * 4)
_CALLING: Final = b"Calling EFI Application from Boot Option"
_COMMAND_LINE: Final = (b"kernel_cmdline: ", b"grub_kernel_cmdline ")
_COMMAND: Final = (b"grub_cmd: ", b"grub_cmd ")


@dataclass(frozen=True, slots=True)
class Measured:
    """A variable that PCR 7 was extended with, its data proven."""

    event: int
    name: tuple[str, str]
    data: bytes

    def entries(self) -> Keys | None:
        """What a signature database holds, None where it does not decode."""
        try:
            return Keys.of(signatures(self.data))
        except Undecodable:
            return None

    def authority(self) -> Keys:
        """The one entry that verified an image: the owner's GUID and the data."""
        return Keys([(uefi.guid(self.data[:16]), self.data[16:])] if len(self.data) > 16 else [])


@dataclass(frozen=True, slots=True)
class Command:
    """A text that GRUB measured in PCR 8, proven; whether it is called the kernel's command line is a hint."""

    event: int
    text: str
    is_command_line: bool


@dataclass(frozen=True, slots=True)
class Boot:
    """The events of one log by what they are of; those that nothing proves to be separators and the like are in
    ``unexplained``.

    ``firmware`` and ``images`` are all other events of PCR 0 and 4, ``files`` and ``shim`` all of PCR 9 and 14.
    """

    firmware: tuple[Event, ...]
    images: tuple[Event, ...]
    variables: tuple[Measured, ...]
    authorities: tuple[Measured, ...]
    commands: tuple[Command, ...]
    files: tuple[Event, ...]
    shim: tuple[Event, ...]
    unexplained: tuple[Event, ...]
    n_events: int
    """Of all these PCRs together."""

    @classmethod
    def of(cls, log: EventLog) -> Self:
        """Reads a whole log.

        Raises:
            EvidenceError: the log is empty or has a fault.
        """
        log.check()
        verified = check_data(ScannedLogs.of(Ragged.of([log.data])), log.banks).verified
        proven = {number for number, outcome in enumerate(verified.tolist()) if outcome == VERIFIED}
        events = [event for event in log if event.extended]
        of_pcr = {pcr: [event for event in events if event.pcr == pcr] for pcr in JUDGED}
        variables, authorities, unexplained = _policy(of_pcr[POLICY], proven)
        commands = [(event, _command(event, proven)) for event in of_pcr[GRUB]]
        return cls(
            tuple(e for e in of_pcr[FIRMWARE] if not _is_separator(e, proven)),
            tuple(e for e in of_pcr[BOOT_LOADER] if not _is_separator(e, proven) and not _is_call(e, proven)),
            tuple(variables),
            tuple(authorities),
            tuple(command for _, command in commands if command is not None),
            tuple(of_pcr[FILES]),
            tuple(of_pcr[SHIM]),
            (*unexplained, *(event for event, command in commands if command is None)),
            sum(map(len, of_pcr.values())),
        )

    def variable(self, name: tuple[str, str]) -> Measured | None:
        """A variable that was measured exactly once."""
        found = [variable for variable in self.variables if variable.name == name]
        return found[0] if len(found) == 1 else None


def _is_separator(event: Event, proven: set[int]) -> bool:
    return event.type_hint == types.EV_SEPARATOR and event.data in _SEPARATORS and event.number in proven


def _is_call(event: Event, proven: set[int]) -> bool:
    return event.type_hint == types.EV_EFI_ACTION and event.data == _CALLING and event.number in proven


def _policy(events: Iterable[Event], proven: set[int]) -> tuple[list[Measured], list[Measured], list[Event]]:
    """Variables and authorities of PCR 7, and what is neither."""
    variables: list[Measured] = []
    authorities: list[Measured] = []
    others: list[Event] = []
    kinds = {types.EV_EFI_VARIABLE_DRIVER_CONFIG: variables, types.EV_EFI_VARIABLE_AUTHORITY: authorities}
    for event in events:
        kind = kinds.get(event.type_hint)
        variable = _variable(event) if kind is not None and event.number in proven else None
        if kind is not None and variable is not None:
            kind.append(Measured(event.number, (variable.guid, variable.name), variable.data))
        elif not _is_separator(event, proven):
            others.append(event)
    return variables, authorities, others


def _variable(event: Event) -> Variable | None:
    try:
        return uefi.variable(event.data)
    except Undecodable:
        return None


def _command(event: Event, proven: set[int]) -> Command | None:
    """The text that GRUB measured; None where it is not proven, or no text of GRUB's."""
    if event.type_hint != types.EV_IPL or event.number not in proven:
        return None
    for prefixes, is_command_line in ((_COMMAND_LINE, True), (_COMMAND, False)):
        for prefix in prefixes:
            if event.data.startswith(prefix):
                text = event.data[len(prefix) :].removesuffix(b"\0")
                try:
                    return Command(event.number, text.decode("utf-8"), is_command_line)
                except UnicodeDecodeError:
                    return None
    return None

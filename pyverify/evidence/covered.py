"""What the digest of an event may cover, by its type: candidates to be hashed (SPEC sections 3.1 and 3.3 to 3.6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from pyverify.evidence import event_types as types
from pyverify.evidence.columns import Ragged
from pyverify.evidence.gather import numbers_at, rows_at
from pyverify.evidence.scanned import ScannedLogs

Column = npt.NDArray[np.int64]

# Kinds of event, a bit each.
MAY_BE_WHOLE: Final = 1  # the digest may be the hash of the data as it stands
STRICT: Final = 2  # classes A and B: a digest that fits nothing is told
BOOT_VARIABLE: Final = 4
VARIABLE: Final = 8  # a variable whose name is covered too
AUTHORITY: Final = 16
IPL: Final = 32
GPT_2: Final = 64
SEPARATOR: Final = 128

_OUTSIDE: Final = (  # class C: the digest covers code or tables that are not in the log
    types.EV_NO_ACTION,
    types.EV_POST_CODE,
    types.EV_POST_CODE2,
    types.EV_S_CRTM_CONTENTS,
    types.EV_CPU_MICROCODE,
    types.EV_TABLE_OF_DEVICES,
    types.EV_EFI_BOOT_SERVICES_APPLICATION,
    types.EV_EFI_BOOT_SERVICES_DRIVER,
    types.EV_EFI_RUNTIME_SERVICES_DRIVER,
    types.EV_EFI_PLATFORM_FIRMWARE_BLOB,
    types.EV_EFI_PLATFORM_FIRMWARE_BLOB2,
    types.EV_EFI_HANDOFF_TABLES,
    types.EV_EFI_HANDOFF_TABLES2,
    types.EV_EFI_HCRTM_EVENT,
)

_KINDS: Final[dict[int, int]] = {
    **dict.fromkeys(_OUTSIDE, 0),
    **dict.fromkeys(
        (
            types.EV_ACTION,
            types.EV_EFI_ACTION,
            types.EV_S_CRTM_VERSION,
            types.EV_OMIT_BOOT_DEVICE_EVENTS,
            types.EV_EFI_GPT_EVENT,
            types.EV_EFI_SPDM_FIRMWARE_BLOB,
            types.EV_EFI_SPDM_FIRMWARE_CONFIG,
        ),
        MAY_BE_WHOLE | STRICT,
    ),
    **dict.fromkeys(
        (
            types.EV_EFI_VARIABLE_DRIVER_CONFIG,
            types.EV_EFI_VARIABLE_BOOT2,
            types.EV_EFI_SPDM_DEVICE_POLICY,
            types.EV_EFI_SPDM_DEVICE_AUTHORITY,
        ),
        MAY_BE_WHOLE | STRICT | VARIABLE,
    ),
    types.EV_EFI_VARIABLE_AUTHORITY: MAY_BE_WHOLE | STRICT | VARIABLE | AUTHORITY,
    types.EV_EFI_VARIABLE_BOOT: MAY_BE_WHOLE | STRICT | BOOT_VARIABLE,
    types.EV_EFI_GPT_EVENT2: MAY_BE_WHOLE | STRICT | GPT_2,
    types.EV_SEPARATOR: MAY_BE_WHOLE | STRICT | SEPARATOR,
    types.EV_IPL: MAY_BE_WHOLE | IPL,
}
"""Kinds by type; of a type that is not here (class D, vendors' own) the whole data is tried."""

# GRUB's, and those of older Fedora and RHEL (SPEC section 3.5).
_GRUB_PREFIXES: Final = (b"grub_cmd: ", b"kernel_cmdline: ", b"module_cmdline: ", b"grub_cmd ", b"grub_kernel_cmdline ")
GRUB_PCR: Final = 8
_UNIFIED_IMAGE_PCR: Final = 11
_LONGEST_SECTION_NAME: Final = 64  # bytes; names of PE sections have at most 8 characters, here with room to spare

_VARIABLE_HEADER: Final = 32  # GUID, u64 length of the name in UTF-16 units, u64 length of the data
_SHIM_EXCESS: Final = (1, 6)
"""Bytes that old shims left after a variable: they took the size of the C structure, packed or padded."""

_GPT_HEADER: Final = 92
_GPT_ENTRIES: Final = 100  # the header and a u64 count


@dataclass(frozen=True, slots=True)
class Events:
    """Columns of the events that are checked: PCR, kind, and where their data lies in the blob."""

    blob: npt.NDArray[np.uint8]
    pcr: npt.NDArray[np.uint32]
    kind: npt.NDArray[np.uint8]
    data_at: Column
    size: Column

    @classmethod
    def of(cls, scanned: ScannedLogs, rows: Column) -> Self:
        """These events of a batch."""
        kind = np.full(len(rows), MAY_BE_WHOLE, np.uint8)
        own_types = scanned.events["type"][rows]
        for number, bits in _KINDS.items():
            kind[own_types == number] = bits
        size = scanned.events["data_size"][rows].astype(np.int64)
        return cls(scanned.logs.blob, scanned.events["pcr"][rows], kind, scanned.data_at[rows], size)

    def data(self, row: int) -> bytes:
        """The data of one event."""
        at = int(self.data_at[row])
        return self.blob[at : at + int(self.size[row])].tobytes()

    def byte(self, rows: Column, place: Column | int) -> npt.NDArray[np.uint8]:
        """The byte at a place of the data of each of these events, which must have it."""
        found: npt.NDArray[np.uint8] = self.blob[self.data_at[rows] + place]
        return found


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may be covered: for each of the events ``rows`` a slice of the blob, or bytes that were made."""

    rows: Column
    at: Column
    size: Column
    made: Ragged | None = None

    def by_size(self) -> Candidates:
        """The same slices, those of one size side by side."""
        order = np.argsort(self.size, kind="stable")
        return Candidates(self.rows[order], self.at[order], self.size[order])

    def only(self, is_wanted: Callable[[Column], npt.NDArray[np.bool_]]) -> Candidates:
        """Those of slices whose events are wanted."""
        keep = is_wanted(self.rows)
        return Candidates(self.rows[keep], self.at[keep], self.size[keep])

    def without_nul(self, events: Events) -> Candidates:
        """The same slices, less a NUL at their end."""
        size = self.size.copy()
        some = np.flatnonzero(size)
        size[some] -= events.blob[(self.at + size)[some] - 1] == 0
        return Candidates(self.rows, self.at, size)


def whole(events: Events, rows: Column) -> Candidates:
    """All of the data."""
    return Candidates(rows, events.data_at[rows], events.size[rows])


def _variables(events: Events, rows: Column, excess: tuple[int, ...]) -> Candidates:
    """The VariableData of a UEFI_VARIABLE_DATA that fits, with so many bytes after it (SPEC section 3.4)."""
    rows = rows[events.size[rows] >= _VARIABLE_HEADER]
    at = events.data_at[rows]
    left = (events.size[rows] - _VARIABLE_HEADER).astype(np.uint64)
    name_units, data_size = numbers_at(events.blob, at + 16, "<u8"), numbers_at(events.blob, at + 24, "<u8")
    fits = name_units <= left // np.uint64(2)
    left -= np.where(fits, name_units, np.uint64(0)) * np.uint64(2)
    fits &= data_size <= left
    fits &= np.isin(left - np.where(fits, data_size, np.uint64(0)), np.array(excess, np.uint64))
    name_size = 2 * name_units[fits].astype(np.int64)
    return Candidates(rows[fits], at[fits] + _VARIABLE_HEADER + name_size, data_size[fits].astype(np.int64))


def variable_data(events: Events, rows: Column) -> Candidates:
    """The VariableData alone: all that EDK2 hashes of EV_EFI_VARIABLE_BOOT (SPEC section 3.1)."""
    return _variables(events, rows, excess=(0,))


def without_last_byte(events: Events, rows: Column) -> Candidates:
    """An authority as old shims logged it: a variable, some bytes that belong to nothing, the last not hashed."""
    rows = _variables(events, rows, _SHIM_EXCESS).rows
    return Candidates(rows, events.data_at[rows], events.size[rows] - 1)


def grub_texts(events: Events) -> Candidates:
    """What follows the prefix of a text of GRUB's, a NUL at its end included."""
    rows = np.flatnonzero(events.kind & IPL)
    prefix_size = np.zeros(len(rows), np.int64)
    for prefix in _GRUB_PREFIXES:
        left = np.flatnonzero((prefix_size == 0) & (events.size[rows] >= len(prefix)))
        heads = rows_at(events.blob, events.data_at[rows[left]], len(prefix))
        prefix_size[left[np.all(heads == np.frombuffer(prefix, np.uint8), axis=1)]] = len(prefix)
    rows, prefix_size = rows[prefix_size > 0], prefix_size[prefix_size > 0]
    return Candidates(rows, events.data_at[rows] + prefix_size, events.size[rows] - prefix_size)


def _wide_texts(events: Events, rows: Column) -> Column:
    """Those whose data begins with an ASCII character in UTF-16LE and ends in a zero byte."""
    rows = rows[events.size[rows] > 2]
    first, second, last = (events.byte(rows, at) for at in (0, 1, events.size[rows] - 1))
    wide: Column = rows[(first != 0) & (second == 0) & (last == 0)]
    return wide


def text_16_without_nul(events: Events, rows: Column) -> Candidates:
    """A text of systemd-stub's without its NUL of two bytes, as its documentation has it (SPEC section 3.5)."""
    rows = _wide_texts(events, rows[events.size[rows] % 2 == 0])
    rows = rows[events.byte(rows, events.size[rows] - 2) == 0]
    return Candidates(rows, events.data_at[rows], events.size[rows] - 2)


def _made(events: Events, rows: Column, make: Callable[[bytes], bytes | None]) -> Candidates:
    """Bytes made from the data of each event, of those that they can be made of."""
    items = [(row, made) for row in rows.tolist() if (made := make(events.data(row))) is not None]
    rows = np.array([row for row, _ in items], np.int64)
    return Candidates(rows, events.data_at[rows], events.size[rows], Ragged.of([made for _, made in items]))


def text_16_completed(events: Events, rows: Column) -> Candidates:
    """A text of old systemd-stubs, logged with one zero byte at its end and hashed with two (SPEC section 3.5)."""
    rows = _wide_texts(events, rows[events.size[rows] % 2 == 1])
    return _made(events, rows, lambda data: data + b"\0")


def section_names(events: Events, rows: Column) -> Candidates:
    """Names of the sections of a unified kernel image: logged in UTF-16, hashed in ASCII, with a NUL each."""
    rows = rows[(events.pcr[rows] == _UNIFIED_IMAGE_PCR) & (events.size[rows] <= _LONGEST_SECTION_NAME)]
    rows = _wide_texts(events, rows[events.size[rows] % 2 == 0])
    return _made(events, rows, lambda data: None if any(data[1::2]) else data[::2])


def zeroed_tables(events: Events, rows: Column) -> Candidates:
    """UEFI_GPT_DATA with its GUIDs zeroed, as EV_EFI_GPT_EVENT2 has it."""
    return _made(events, rows[events.size[rows] >= _GPT_ENTRIES], _zeroed)


def _zeroed(data: bytes) -> bytes | None:
    count = int.from_bytes(data[_GPT_HEADER:_GPT_ENTRIES], "little")
    entry_size = int.from_bytes(data[84:88], "little")
    entries = len(data) - _GPT_ENTRIES
    if entry_size < 128 or entries % entry_size or entries // entry_size != count:
        return None
    table = np.frombuffer(data, np.uint8).copy()
    table[56:72] = 0  # DiskGUID
    table[_GPT_ENTRIES:].reshape(count, entry_size)[:, 16:32] = 0  # UniquePartitionGUID
    return table.tobytes()


def error_separators(events: Events, rows: Column) -> Candidates:
    """Separators by which firmware says that something went wrong, whatever their data says (SPEC section 3.3)."""
    return _made(events, rows, lambda _: b"\1\0\0\0")

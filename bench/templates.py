"""Recorded logs, and the places in them where one machine differs from another."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyverify import _native
from pyverify.algorithms import BANKS
from pyverify.evidence import event_types
from pyverify.evidence.eventlog import Event, EventLog

_ROOT: Final = Path(__file__).parent.parent
_RECORDINGS: Final = _ROOT.parent / "shared" / "recordings"
_SAMPLE: Final = _ROOT / "pyverify" / "cli" / "sample.tar.xz"
_NAME: Final = "binary_bios_measurements"

MAX_SIZE: Final = 64 << 10
"""Larger recordings are stories about unusual firmware; real logs end near here (SPEC 0.9)."""

_HASHLIB: Final = {"sm3_256": "sm3"}
_HD_NODE: Final = b"\x04\x01\x2a\x00"  # device path: media, hard drive, 42 bytes
_HD_GUID_AT: Final = 24
_GPT_MAGIC: Final = b"EFI PART"
_GPT_GUID_AT: Final = 56
_GUID: Final = 16
_VARIABLE_HEADER: Final = 32  # GUID, u64 characters of the name, u64 bytes of the data


def hash_name(bank: str) -> str:
    """What hashlib calls the hash of a bank."""
    return _HASHLIB.get(bank, bank)


@dataclass(frozen=True, slots=True)
class Site:
    """Bytes of a log to overwrite, and the digests that follow from it, so that the log stays consistent.

    ``first`` and ``last`` bound what the digests are of; they are equal where it lies outside the log (a boot loader's
    image). ``digests`` are (hashlib name, offset, size).
    """

    at: int
    size: int
    first: int
    last: int
    text: bool
    digests: tuple[tuple[str, int, int], ...]

    def write(self, log: bytearray, value: bytes) -> None:
        """Puts at least ``size`` bytes of ``value`` here; where the site is text, as hexadecimal digits."""
        if self.first == self.last:
            hashed: bytes | bytearray = value
        else:
            log[self.at : self.at + self.size] = (value.hex().encode() if self.text else value)[: self.size]
            hashed = log[self.first : self.last]
        for name, at, size in self.digests:
            log[at : at + size] = hashlib.new(name, hashed).digest()


@dataclass(frozen=True, slots=True)
class Template:
    """A recorded log.

    ``own`` are the sites of PCR 1 and 5 that each machine has of its own; ``image`` is PCR 4's last boot loader and
    ``command_line`` PCR 8's, for boots that went wrong.
    """

    log: bytes
    n_events: int
    own: tuple[Site, ...]
    image: Site | None
    command_line: Site | None


def templates() -> tuple[Template, ...]:
    """The distinct logs that can be varied: of the recordings beside the project, else of the demo's sample."""
    found: dict[bytes, Template] = {}
    for log in _recorded():
        if log and len(log) <= MAX_SIZE and log not in found:
            template = _template(log)
            if template is not None:
                found[log] = template
    if not found:
        raise FileNotFoundError(f"no log in {_RECORDINGS} nor in {_SAMPLE} can be varied")
    return tuple(found.values())


def _recorded() -> Iterator[bytes]:
    files = sorted(_RECORDINGS.glob(f"*/{_NAME}"))
    if files:
        yield from (file.read_bytes() for file in files)
        return
    with tarfile.open(_SAMPLE) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.endswith(_NAME) else None
            if file is not None:
                yield file.read()


def _template(data: bytes) -> Template | None:
    log = EventLog.read(data)
    known = {hash_name(bank) for bank in log.banks} <= hashlib.algorithms_available
    if log.fault is not None or log.format != "tcg2" or not known:
        return None
    own, image, command_line = [], None, None
    for event in log:
        if event.pcr == 1 and event.type_hint == event_types.EV_EFI_VARIABLE_BOOT:
            own += _guid(log, event, _HD_NODE, _HD_GUID_AT, _variable_data_at(event.data))
        elif event.pcr == 5 and event.type_hint == event_types.EV_EFI_GPT_EVENT:
            own += _guid(log, event, _GPT_MAGIC, _GPT_GUID_AT, 0)
        elif event.pcr == 4 and event.type_hint == event_types.EV_EFI_BOOT_SERVICES_APPLICATION:
            image = Site(0, 0, 0, 0, False, _digests(log, event))
        elif event.pcr == 8 and event.data.startswith(b"kernel_cmdline: "):
            command_line = _last_word(log, event)
    if not own or not (image or command_line):
        return None
    return Template(data, len(log), tuple(own), image, command_line)


def _digests(log: EventLog, event: Event) -> tuple[tuple[str, int, int], ...]:
    at = log.columns[event.number]["digest_at"].tolist()
    return tuple(
        (hash_name(bank.name), start, bank.size)
        for bank, start in zip(BANKS, at, strict=True)
        if start != _native.NO_DIGEST
    )


def _variable_data_at(data: bytes) -> int:
    return _VARIABLE_HEADER + 2 * int.from_bytes(data[16:24], "little")


def _site(log: EventLog, event: Event, at: int, size: int, first: int, last: int, *, text: bool = False) -> list[Site]:
    """The site, if what is said to be hashed really gives the digests of the log."""
    data_at = int(log.columns[event.number]["data_at"])
    hashed = event.data[first:last]
    if any(hashlib.new(hash_name(bank), hashed).digest() != digest for bank, digest in event.digests.items()):
        return []
    return [Site(data_at + at, size, data_at + first, data_at + last, text, _digests(log, event))]


def _guid(log: EventLog, event: Event, mark: bytes, guid_at: int, hashed_from: int) -> list[Site]:
    """The GUID that lies ``guid_at`` bytes after a mark."""
    found = event.data.find(mark, hashed_from)
    if found < 0 or found + guid_at + _GUID > len(event.data):
        return []
    return _site(log, event, found + guid_at, _GUID, hashed_from, len(event.data))


def _last_word(log: EventLog, event: Event) -> Site | None:
    """The last eight characters of a command line; GRUB hashes it without its prefix and the final NUL."""
    first, last = event.data.index(b": ") + 2, len(event.data) - 1
    sites = _site(log, event, last - 8, 8, first, last, text=True) if last - first > 8 else []
    return sites[0] if sites else None

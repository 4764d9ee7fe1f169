"""One IMA list, for who looks at a single machine. Fleets go through :func:`pyverify.evidence.ima.scan`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self, overload

from pyverify import _native
from pyverify.algorithms import BANKS
from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence.columns import Ragged
from pyverify.evidence.eventlog import Fault
from pyverify.evidence.ima import FORMATS, TEMPLATES, Flag, ImaColumns, scan
from pyverify.evidence.ima_replay import ImaReplay

_FAULT_WORDS: Final = {
    "ima.format": "this is no entry of an IMA list (another format, or a file name with a line break in a text list?)",
    "ima.truncated": "the list ends inside entry {entry}, which begins here; collect it again",
    "ima.endianness": "the list is big-endian; boot with ima_canonical_fmt, or convert it",
    "ima.template": "entry {entry} has a template that is not known",
    "log.too-large": "the list is past the limits of {bytes} bytes and {entries} entries",
}


def fault_words(code: str, offset: int, entry: int) -> str:
    """A list's fault in words, with the byte at which it shows."""
    words = _FAULT_WORDS[code].format(entry=entry, bytes=_native.IMA_MAX_SIZE, entries=_native.IMA_MAX_ENTRIES)
    return f"at byte {offset}: {words}"


@dataclass(frozen=True, slots=True)
class ImaFault(Fault):
    """Why a list cannot be judged: code, byte offset in the list as it was given, number of the entry being read."""

    def __str__(self) -> str:
        return f"{self.code} {fault_words(self.code, self.offset, self.event)}"


@dataclass(frozen=True, slots=True)
class ImaEntry:
    """One entry of a list.

    What ``template_digest`` covers is proven by a quoted PCR: path, digest, signature; not ``pcr`` itself, nor
    ``template``. ``data_verified`` says whether the digest that the list shows is that of the entry's data; None for a
    violation, of which nothing is proven. ``algorithm`` is the kernel's newer name, None where it is not known;
    ``signature`` is a measured buffer in a template that has one.
    """

    number: int
    pcr: int
    template: str
    path: bytes
    algorithm: str | None
    digest: bytes
    signature: bytes
    template_digest: bytes
    flags: Flag
    data_verified: bool | None

    @property
    def is_violation(self) -> bool:
        """Whether the kernel could not say what the file was."""
        return bool(self.flags & Flag.VIOLATION)

    @property
    def digest_text(self) -> str:
        """``sha256:…``, ``verity:sha256:…`` or ``unknown:…``; empty where the template has no digest."""
        if self.flags & Flag.NO_DIGEST:
            return ""
        kind = "verity:" if self.flags & Flag.VERITY else ""
        return f"{kind}{self.algorithm or 'unknown'}:{self.digest.hex()}"


class ImaList(Sequence[ImaEntry]):
    """A parsed list: a sequence of :class:`ImaEntry`, made when asked for, over the columns."""

    def __init__(self, columns: ImaColumns) -> None:
        self.columns = columns
        """The list as a batch of one."""
        self.replayed = ImaReplay(columns)
        """Its template digests, PCR values and prefixes."""
        self._mismatches = self.replayed.mismatches()

    @classmethod
    def read(cls, data: bytes, format: str = "binary") -> Self:
        """Reads a list as far as it goes; :attr:`fault` says whether that was to the end.

        Raises:
            UsageError: a format that is none of :data:`pyverify.evidence.ima.FORMATS`.
        """
        if not isinstance(data, bytes):
            raise UsageError(f"a list is bytes, not {type(data).__name__}")
        if format not in FORMATS:
            raise UsageError(f"unknown format {format!r} of an IMA list; there is binary, ascii, binary_sha256, …")
        return cls(scan(Ragged.of([data]), [format]))

    @classmethod
    def parse(cls, data: bytes, format: str = "binary") -> Self:
        """Reads a whole list.

        Raises:
            EvidenceError: the list is empty (``ima.empty``) or has a fault.
            UsageError: an unknown format.
        """
        found = cls.read(data, format)
        if (fault := found.fault) is not None:
            raise EvidenceError(fault.code, str(fault), offset=fault.offset, event=fault.event)
        if not data:
            raise EvidenceError("ima.empty", "ima.empty the list has no entries")
        return found

    @property
    def fault(self) -> ImaFault | None:
        """Why the list cannot be judged, or None."""
        row = self.columns.rows[0]
        code = _native.ima_fault_code(int(row["fault"]))
        return None if code is None else ImaFault(code, int(row["fault_at"]), int(row["n_entries"]))

    def __len__(self) -> int:
        return len(self.columns.entries)

    @overload
    def __getitem__(self, index: int) -> ImaEntry: ...
    @overload
    def __getitem__(self, index: slice) -> list[ImaEntry]: ...
    def __getitem__(self, index: int | slice) -> ImaEntry | list[ImaEntry]:
        if isinstance(index, slice):
            return [self._entry(number) for number in range(*index.indices(len(self)))]
        return self._entry(range(len(self))[index])

    def __iter__(self) -> Iterator[ImaEntry]:
        return map(self._entry, range(len(self)))

    def _entry(self, number: int) -> ImaEntry:
        columns, row = self.columns, self.columns.entries[number]
        flags = Flag(int(row["flags"]))
        bank_size = BANKS[int(columns.rows["bank"][0])].size
        at = int(row["digest_at"])
        return ImaEntry(
            number,
            int(row["pcr"]),
            TEMPLATES[int(row["template_id"])] or columns.piece(number, "name").decode("ascii"),
            columns.path(number),
            _native.ima_algorithm_name(int(row["algorithm"])),
            columns.piece(number, "file_digest"),
            columns.piece(number, "signature"),
            columns.lists.blob[at : at + bank_size].tobytes(),
            flags,
            None if flags & Flag.VIOLATION else not self._mismatches[number],
        )

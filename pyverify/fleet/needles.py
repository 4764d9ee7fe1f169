"""What a hunt looks for: digests, entries of a dbx, texts."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, bank
from pyverify.errors import UsageError
from pyverify.evidence import uefi
from pyverify.evidence.signature_databases import Signature
from pyverify.evidence.signature_updates import CERTIFICATE_HASHES, IMAGE_HASHES
from pyverify.evidence.text import escape

TEXT_LIMIT: Final = 4096
"""Characters of a text: as many as the longest kernel command line has."""

_HEX: Final = re.compile("[0-9a-fA-F]+")

# Bytes of the event data of recorded logs (mean of 15), the commonest first, down to one in 200.
_COMMON: Final = b"\x000i oet\x01ran\x03dc\x04m/s1\x06bug-\x02lph.2UE\r4vf6=_I"


@dataclass(frozen=True, slots=True)
class Needle:
    """One thing that is looked for. ``kind`` is ``digest``, ``event`` or ``dbx``; ``value`` says which, escaped."""

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


@dataclass(frozen=True, slots=True)
class DigestTable:
    """The digests that are looked for in one bank: ``digests`` is uint8 of shape [n, digest size], no two alike.

    ``needles`` (int64) are the numbers of their needles, ``anywhere`` (bool) says which are looked for in every PCR:
    those of a dbx are the hashes of images. Both are of shape [n].
    """

    digests: npt.NDArray[np.uint8]
    needles: npt.NDArray[np.int64]
    anywhere: npt.NDArray[np.bool_]
    _at: npt.NDArray[np.int64]
    _slots: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, digests: dict[bytes, bool], size: int, first: int) -> DigestTable:
        """A table of digests, and whether each is looked for anywhere; needles count from ``first``."""
        table = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, size)
        at = np.arange(len(table) + 1, dtype=np.int64) * size
        anywhere = np.fromiter(digests.values(), np.bool_, len(digests))
        slots = _native.index(table.reshape(-1), at)
        return cls(table, first + np.arange(len(table)), anywhere, at, slots)

    def find(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """For each row of uint8 [k, digest size] the row of the table that it is, or -1: int64 of shape [k]."""
        at = np.arange(len(rows) + 1, dtype=np.int64) * rows.shape[1]
        found = _native.find(
            np.ascontiguousarray(rows).reshape(-1), at, self.digests.reshape(-1), self._at, self._slots
        )
        return np.where(found == _native.NOT_FOUND, -1, found.astype(np.int64))


class Needles:
    """All that one hunt looks for.

    Args:
        digests: ``[BANK:]HEX`` each; without a bank those whose digests are so long.
        dbx: entries of signature databases.
        texts: what the data of events holds, as UTF-8 or UTF-16LE.

    Raises:
        UsageError: nothing to look for, or one of these is none.
    """

    def __init__(self, digests: Iterable[str] = (), dbx: Iterable[Signature] = (), texts: Iterable[str] = ()) -> None:
        self.all: list[Needle] = []
        """The needles by their number."""
        self.bank_choices: set[int] = set()
        """Masks of banks: of each a log must have one for this hunt to say that it has no such digest."""
        self.certificates: dict[bytes, int] = {}
        """Needles by certificate (DER)."""
        self.certificate_hashes: dict[tuple[str, bytes], int] = {}
        """Needles by hash algorithm, and hash of the signed part of a certificate."""
        self.not_looked_for: Counter[str] = Counter()
        """Entries of a dbx that leave no trace in a log, by the name of their type."""
        self.dbx_kinds: Counter[str] = Counter()
        """All entries of a dbx by the name of their type."""
        wanted: dict[str, dict[bytes, bool]] = {one.name: {} for one in BANKS}
        for text in digests:
            self._add_digest(text, wanted)
        for entry in dbx:
            self._add_entry(entry, wanted)
        self.tables: dict[str, DigestTable] = {}
        """Digests by bank, of the banks in which any is looked for."""
        for name, known in wanted.items():
            if known:
                self.tables[name] = DigestTable.of(known, BY_NAME[name].size, len(self.all))
                self.all += [Needle("digest" if own else "dbx", f"{name}:{one.hex()}") for one, own in known.items()]
        self.filters = _native.DigestFilters({name: table.digests for name, table in self.tables.items()})
        self.texts: list[tuple[_native.Text, int]] = []
        """The forms of texts, each with the number of its needle."""
        for text in texts:
            self._add_text(text)
        self.texts.sort(key=lambda item: item[0].bytes[item[0].rare])
        if not self.all and not self.not_looked_for:
            raise UsageError("nothing to look for: name a digest, a dbx or a text")

    def _add_digest(self, text: str, wanted: dict[str, dict[bytes, bool]]) -> None:
        name, colon, digits = text.rpartition(":")
        shown = escape(text, 160)
        if not _HEX.fullmatch(digits) or len(digits) % 2:
            raise UsageError(f"digest {shown}: must be [BANK:]HEX, whole bytes of 0-9 a-f")
        digest = bytes.fromhex(digits)
        possible = [one.name for one in BANKS if one.size == len(digest)]
        if not possible:
            sizes = ", ".join(f"{one.name} {one.size}" for one in BANKS)
            raise UsageError(f"digest {shown}: has {len(digest)} bytes, which no bank's digests have ({sizes})")
        if colon:
            try:
                named = bank(name).name
            except KeyError:
                raise UsageError(f"digest {shown}: unknown bank; there is {', '.join(BY_NAME)}") from None
            if named not in possible:
                raise UsageError(f"digest {shown}: has {len(digest)} bytes, {named} has {BY_NAME[named].size}")
            possible = [named]
        self.bank_choices.add(sum(1 << BY_NAME[one].index for one in possible))
        for one in possible:
            wanted[one][digest] = True

    def _add_entry(self, entry: Signature, wanted: dict[str, dict[bytes, bool]]) -> None:
        kind = uefi.SIGNATURE_TYPE_NAMES.get(entry.type, entry.type)
        self.dbx_kinds[kind] += 1
        if entry.type in IMAGE_HASHES:
            name = IMAGE_HASHES[entry.type]
            wanted[name].setdefault(entry.data, False)
            self.bank_choices.add(1 << BY_NAME[name].index)
        elif entry.type == uefi.X509:
            if entry.data not in self.certificates:
                self.certificates[entry.data] = len(self.all)
                self.all.append(Needle("dbx", f"certificate sha256:{entry.sha256.hex()}"))
        elif entry.type in CERTIFICATE_HASHES:
            name, size = CERTIFICATE_HASHES[entry.type]
            key = name, entry.data[:size]
            if key not in self.certificate_hashes:
                self.certificate_hashes[key] = len(self.all)
                self.all.append(Needle("dbx", f"signed part of certificate {name}:{key[1].hex()}"))
        else:
            self.not_looked_for[kind] += 1

    def _add_text(self, text: str) -> None:
        if not 1 <= len(text) <= TEXT_LIMIT:
            raise UsageError(f"a text to look for has 1 to {TEXT_LIMIT} characters")
        forms = [text.encode("utf-8", "surrogateescape")]  # an argument may hold bytes that are no UTF-8
        with contextlib.suppress(UnicodeEncodeError):
            forms.append(text.encode("utf-16-le"))
        number = len(self.all)
        self.all.append(Needle("event", escape(text)))
        self.texts += [(_native.Text(form, _rarest(form)), number) for form in forms]


def _rarest(text: bytes) -> int:
    """The place of the byte that event data holds least often."""
    places = {byte: place for place, byte in reversed(list(enumerate(_COMMON)))}
    return max(range(len(text)), key=lambda at: places.get(text[at], len(_COMMON)))

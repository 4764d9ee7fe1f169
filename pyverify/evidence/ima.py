"""The entries of many IMA lists as columns: what the kernel measured of files, buffers and keys (SPEC section 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, Algorithm
from pyverify.errors import UsageError
from pyverify.evidence.columns import Ragged

PCR: Final = 10
"""Where IMA extends unless its policy says otherwise (SPEC section 1.3)."""

TEMPLATES: Final = ("", "ima", "ima-ng", "ima-sig", "ima-ngv2", "ima-sigv2", "ima-buf", "ima-modsig", "evm-sig")
"""Names of templates by the ``template_id`` column; the name of one of the operator's own is its format."""


class Flag(IntFlag):
    """Bits of the ``flags`` column of entries and of the ``notes`` column of lists."""

    VIOLATION = _native.IMA_FLAGS["violation"]
    """The template digest in the list is all zeros: nothing else of the entry is proven."""
    BOOT_AGGREGATE = _native.IMA_FLAGS["boot_aggregate"]
    """Is called boot_aggregate."""
    KEXEC = _native.IMA_FLAGS["kexec"]
    """A boot_aggregate that is not entry 0, or is called kexec_…: the trace of a kexec."""
    WEAK_HASH = _native.IMA_FLAGS["weak_hash"]
    """File digest by MD4, MD5, SHA-1 or a RIPEMD of at most 160 bits."""
    DIGEST_LENGTH = _native.IMA_FLAGS["digest_length"]
    """File digest of another length than its algorithm has."""
    UNKNOWN_ALGORITHM = _native.IMA_FLAGS["unknown_algorithm"]
    """File digest by an algorithm that the kernel does not have."""
    VERITY = _native.IMA_FLAGS["verity"]
    """File digest is that of fs-verity."""
    BUFFER = _native.IMA_FLAGS["buffer"]
    """The signature column holds a measured buffer."""
    NO_PATH = _native.IMA_FLAGS["no_path"]
    """The template has no name."""
    NO_DIGEST = _native.IMA_FLAGS["no_digest"]
    """The template has no file digest."""


def _suffixes() -> dict[str, Algorithm]:
    """What the kernel calls the list of a bank: SHA-1's also by nothing, one without a name by its number."""
    names = {"": BANKS[0], "_sm3": BANKS[4], "_sm3-256": BANKS[4]}
    for bank in BANKS:
        names[f"_{bank.name}"] = names[f"_tpm_alg_{bank.id:x}"] = bank
    return names


FORMATS: Final[dict[str, tuple[bool, Algorithm]]] = {
    kind + suffix: (kind == "ascii", bank) for kind in ("binary", "ascii") for suffix, bank in _suffixes().items()
}
"""Whether a list of this format (``binary``, ``ascii_sha256``, …) is text, and the bank of the digests it shows."""


@dataclass(frozen=True, slots=True)
class ImaColumns:
    """A batch of lists and all their entries.

    ``lists`` are in the binary form, whatever they came in, and offsets of entries are from the start of their list
    there. ``rows`` are ``_native.IMA_LIST_DTYPE`` of shape [n]; ``entries`` are ``_native.IMA_ENTRY_DTYPE`` of shape
    [m], those of list i being ``rows["n_entries"][i]`` from ``rows["first_entry"][i]``; a list with a fault has those
    before it. ``list_of`` is int64 of shape [m], the list of each entry.

    Nothing of an entry is proven by this: see :mod:`pyverify.evidence.ima_replay`.
    """

    lists: Ragged
    rows: npt.NDArray[Any]
    entries: npt.NDArray[Any]
    list_of: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lists)

    def first_last(self, index: int) -> tuple[int, int]:
        """The entries of a list: from the first up to, not including, the last."""
        first = int(self.rows["first_entry"][index])
        return first, first + int(self.rows["n_entries"][index])

    def piece(self, entry: int, name: str) -> bytes:
        """Bytes of an entry by the prefix of their columns: ``path``, ``file_digest``, ``signature``, ``data``, …"""
        at = int(self.lists.offsets[self.list_of[entry]]) + int(self.entries[f"{name}_at"][entry])
        return self.lists.blob[at : at + int(self.entries[f"{name}_size"][entry])].tobytes()

    def path(self, entry: int) -> bytes:
        """The name that an entry gives: an unproven one in a violation, empty where the template has none."""
        return self.piece(entry, "path")

    def pieces(self, which: npt.NDArray[np.int64], name: str) -> Ragged:
        """One piece of several entries, as a ragged batch."""
        at = self.lists.offsets[self.list_of[which]] + self.entries[f"{name}_at"][which]
        blob, offsets = _native.collect(self.lists.blob, at, self.entries[f"{name}_size"][which])
        return Ragged(blob, offsets, np.ones(len(which), np.bool_))

    def kinds(self) -> npt.NDArray[np.uint32]:
        """What the digest of each entry is of, as sets have it: its algorithm's number and the IMA_KIND bits."""
        flags = self.entries["flags"]
        kinds: npt.NDArray[np.uint32] = self.entries["algorithm"].copy()
        kinds[flags & Flag.VERITY != 0] |= _native.IMA_KIND_VERITY
        kinds[flags & Flag.BUFFER != 0] |= _native.IMA_KIND_BUFFER
        return kinds

    def positions(self, pcr: int = PCR) -> npt.NDArray[np.int64]:
        """How many entries of this PCR come before each in its list; -1 for entries of other PCRs. int64, shape [m]."""
        own = self.entries["pcr"] == pcr
        before = np.zeros(len(own) + 1, np.int64)
        np.cumsum(own, out=before[1:])
        start = before[self.rows["first_entry"].astype(np.int64)]
        return np.where(own, before[:-1] - start[self.list_of], -1)


def scan(lists: Ragged, formats: Sequence[str]) -> ImaColumns:
    """Reads a batch of lists, one format each (see :data:`FORMATS`).

    A list whose format is none of them has the fault ``ima.format`` at its first byte.

    Raises:
        UsageError: another number of formats than of lists.
    """
    if len(formats) != len(lists):
        raise UsageError(f"{len(lists)} lists have {len(formats)} formats")
    known = np.fromiter((name in FORMATS for name in formats), np.bool_, len(formats))
    if not known.all():
        lists = Ragged.of([lists[i] if known[i] else None for i in range(len(lists))])
    read = [FORMATS.get(name, (False, BANKS[0])) for name in formats]
    banks = np.fromiter((bank.index for _, bank in read), np.uint8, len(read))
    is_ascii = np.fromiter((text for text, _ in read), np.uint8, len(read))
    translated = None
    if is_ascii.any():
        translated, blob, offsets = _native.ima_from_ascii(lists.blob, lists.offsets, banks, is_ascii)
        lists = replace(lists, blob=blob, offsets=offsets)
    rows, entries = _native.ima_scan(lists.blob, lists.offsets, banks)
    if translated is not None:
        broken = translated["fault"] != 0
        rows["fault"][broken], rows["fault_at"][broken] = translated["fault"][broken], translated["fault_at"][broken]
    rows["fault"][~known] = 1
    return ImaColumns(lists, rows, entries, np.repeat(np.arange(len(rows)), rows["n_entries"]))

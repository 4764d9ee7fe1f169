"""IMA lists: their rows and entry columns, and what their PCRs were extended with."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify._core import ffi, lib
from pyverify._native.core import KEY, Blob, Offsets, check, check_layout, count, pointer, scratch, variant
from pyverify.algorithms import BANKS
from pyverify.errors import UsageError

IMA_LIST_DTYPE: Final = np.dtype(
    [
        ("fault", np.uint32),
        ("bank", np.uint32),
        ("fault_at", np.uint64),
        ("first_entry", np.uint64),
        ("n_entries", np.uint32),
        ("n_violations", np.uint32),
        ("notes", np.uint32),
        ("pcrs", np.uint32),
    ]
)
"""One row a list: pv_ima_list of csrc/api.h."""

IMA_ENTRY_DTYPE: Final = np.dtype(
    [
        (name, np.uint32)
        for name in (
            "pcr",
            "template_id",
            "at",
            "digest_at",
            "name_at",
            "name_size",
            "data_at",
            "data_size",
            "path_at",
            "path_size",
            "algorithm",
            "file_digest_at",
            "file_digest_size",
            "signature_at",
            "signature_size",
            "flags",
        )
    ]
)
"""One row an entry: pv_ima_entry of csrc/api.h. Offsets are from the start of its list, in the binary form."""

IMA_FLAGS: Final[dict[str, int]] = {
    name: int(getattr(lib, f"PV_IMA_{name.upper()}"))
    for name in (
        "violation",
        "boot_aggregate",
        "kexec",
        "weak_hash",
        "digest_length",
        "unknown_algorithm",
        "verity",
        "buffer",
        "no_path",
        "no_digest",
    )
}
"""Bits of the ``flags`` column by name."""

IMA_MAX_SIZE: Final = int(lib.PV_IMA_MAX_SIZE)
IMA_MAX_ENTRIES: Final = int(lib.PV_IMA_MAX_ENTRIES)
IMA_NO_ALGORITHM: Final = int(lib.PV_IMA_NO_ALGORITHM)
IMA_LEGACY: Final = int(lib.PV_IMA_LEGACY)

_LEGACY_MESSAGE: Final = 276  # digest, and name padded to 256 (SPEC 7.3)

check_layout("pv_ima_list", IMA_LIST_DTYPE)
check_layout("pv_ima_entry", IMA_ENTRY_DTYPE)

Rows = npt.NDArray[Any]


def ima_fault_code(fault: int) -> str | None:
    """The findings-table code of a value of the ``fault`` column, None for 0."""
    code = lib.pv_ima_fault_code(fault)
    return None if code == ffi.NULL else str(ffi.string(code).decode())


def ima_algorithm_name(number: int) -> str | None:
    """The kernel's name of a file digest's algorithm, None where it is not known."""
    name = lib.pv_ima_algorithm_name(number)
    return None if name == ffi.NULL else str(ffi.string(name).decode())


def ima_algorithm_size(number: int) -> int:
    """Bytes of a file digest of this algorithm, 0 where it is not known."""
    return int(lib.pv_ima_algorithm_size(number))


def ima_algorithm(name: str) -> int | None:
    """The number of an algorithm by any name that kernels have given it, None where there is none."""
    encoded = name.encode("utf-8", "surrogateescape")
    number = int(lib.pv_ima_algorithm(encoded, len(encoded)))
    return None if number == lib.PV_IMA_NO_ALGORITHM else number


def ima_from_ascii(
    blob: Blob, offsets: Offsets, banks: npt.NDArray[np.uint8], is_ascii: npt.NDArray[np.uint8]
) -> tuple[Rows, Blob, Offsets]:
    """The lists in the binary form, those translated whose ``is_ascii`` is 1.

    ``banks`` and ``is_ascii`` are uint8 of shape [n].

    Returns:
        Rows of IMA_LIST_DTYPE of shape [n], in which only ``fault``, ``fault_at`` and ``n_entries`` of translated
        lists mean anything, and the batch; a list with a fault ends before the entry that has it.

    Raises:
        UsageError: shapes that do not fit, an unknown bank.
    """
    n = count(blob, offsets)
    _check_banks(banks, n)
    _check_shape("is_ascii", is_ascii, (n,))
    rows = np.zeros(n, IMA_LIST_DTYPE)
    offsets_pointer = pointer("int64_t[]", offsets, np.int64)
    binary = np.empty(int(lib.pv_ima_binary_capacity(offsets_pointer, 0, n)), np.uint8)
    binary_at = np.zeros(n + 1, np.int64)
    check(
        lib.pv_ima_from_ascii(
            pointer("uint8_t[]", blob, np.uint8),
            offsets_pointer,
            pointer("uint8_t[]", banks, np.uint8),
            pointer("uint8_t[]", is_ascii, np.uint8),
            0,
            n,
            pointer("pv_ima_list[]", rows, IMA_LIST_DTYPE, writable=True),
            pointer("uint8_t[]", binary, np.uint8, writable=True),
            len(binary),
            pointer("int64_t[]", binary_at, np.int64, writable=True),
        ),
        "pv_ima_from_ascii",
    )
    return rows, binary[: binary_at[-1]].copy(), binary_at


def ima_scan(blob: Blob, offsets: Offsets, banks: npt.NDArray[np.uint8]) -> tuple[Rows, Rows]:
    """Reads binary lists: rows of IMA_LIST_DTYPE of shape [n], the entries of all of IMA_ENTRY_DTYPE, shape [entries].

    ``banks`` is uint8 of shape [n]: whose template digests each list shows.

    Raises:
        UsageError: shapes that do not fit, an unknown bank.
    """
    n = count(blob, offsets)
    _check_banks(banks, n)
    rows = np.zeros(n, IMA_LIST_DTYPE)
    offsets_pointer = pointer("int64_t[]", offsets, np.int64)
    entries = np.empty(int(lib.pv_ima_capacity(offsets_pointer, 0, n)), IMA_ENTRY_DTYPE)
    written = ffi.new("uint64_t *")
    check(
        lib.pv_ima_scan(
            pointer("uint8_t[]", blob, np.uint8),
            offsets_pointer,
            pointer("uint8_t[]", banks, np.uint8),
            0,
            n,
            pointer("pv_ima_list[]", rows, IMA_LIST_DTYPE, writable=True),
            pointer("pv_ima_entry[]", entries, IMA_ENTRY_DTYPE, writable=True),
            len(entries),
            written,
        ),
        "pv_ima_scan",
    )
    return rows, entries[: written[0]]  # what lies behind was never touched, so it is not memory


class Messages:
    """What the kernel hashed for each entry: message i is ``blob[begins[i]:ends[i]]``; entry k has ``message_of[k]``.

    ``begins`` and ``ends`` are int64 of shape [messages], ``message_of`` uint32 of shape [entries].
    """

    def __init__(self, blob: Blob, begins: Offsets, ends: Offsets, message_of: npt.NDArray[np.uint32]) -> None:
        self.blob = blob
        self.begins = begins
        self.ends = ends
        self.message_of = message_of

    def __len__(self) -> int:
        return len(self.begins)

    def hashed(self, bank: int, isa: str | None = None) -> npt.NDArray[np.uint8]:
        """The hash of every message: uint8 of shape [messages, size].

        Raises:
            UsageError: an unknown variant.
        """
        digests = np.empty((len(self), BANKS[bank].size), np.uint8)
        check(
            lib.pv_hash_pieces(
                bank,
                variant(bank, isa),
                0,
                pointer("uint8_t[]", self.blob, np.uint8),
                len(self.blob),
                pointer("int64_t[]", self.begins, np.int64),
                pointer("int64_t[]", self.ends, np.int64),
                0,
                len(self),
                pointer("uint8_t[]", digests, np.uint8, writable=True),
                ffi.NULL,
            ),
            "pv_hash_pieces",
        )
        return digests


def ima_messages(blob: Blob, offsets: Offsets, lists: Rows, entries: Rows, *, share: bool) -> Messages:
    """What the kernel hashed for each entry; with ``share`` equal messages are there once, across all lists."""
    n, m = _check_entries(blob, offsets, lists, entries), len(entries)
    built = np.empty(_LEGACY_MESSAGE * int(np.count_nonzero(entries["template_id"] == IMA_LEGACY)), np.uint8)
    begins, ends, message_of = np.empty(m, np.int64), np.empty(m, np.int64), np.zeros(m, np.uint32)
    slots = scratch(8 * int(lib.pv_index_slots(m)) if share else 8)
    n_messages, n_built = ffi.new("uint64_t *"), ffi.new("uint64_t *")
    check(
        lib.pv_ima_messages(
            pointer("uint8_t[]", blob, np.uint8),
            len(blob),
            pointer("int64_t[]", offsets, np.int64),
            n,
            pointer("pv_ima_list[]", lists, IMA_LIST_DTYPE),
            pointer("pv_ima_entry[]", entries, IMA_ENTRY_DTYPE),
            m,
            KEY if share else 0,
            pointer("uint64_t[]", slots, np.uint8, writable=True),
            int(lib.pv_index_slots(m)),
            pointer("uint8_t[]", built, np.uint8, writable=True),
            len(built),
            pointer("int64_t[]", begins, np.int64, writable=True),
            pointer("int64_t[]", ends, np.int64, writable=True),
            pointer("uint32_t[]", message_of, np.uint32, writable=True),
            n_messages,
            n_built,
        ),
        "pv_ima_messages",
    )
    found = int(n_messages[0])
    if n_built[0]:
        blob = np.concatenate([blob, built[: n_built[0]]])
    return Messages(blob, begins[:found], ends[:found], message_of)


def ima_mismatch(
    blob: Blob,
    offsets: Offsets,
    lists: Rows,
    entries: Rows,
    bank: int,
    message_of: npt.NDArray[np.uint32],
    digests: npt.NDArray[np.uint8],
    differs: npt.NDArray[np.uint8],
) -> None:
    """Sets ``differs`` (uint8 of shape [entries]) of the entries of this bank's lists: 1 where the list shows another
    template digest than ``digests[message_of]``; those may be shorter than the bank's, then zeros follow."""
    n = _check_entries(blob, offsets, lists, entries)
    _check_shape("message_of", message_of, entries.shape)
    _check_shape("differs", differs, entries.shape)
    check(
        lib.pv_ima_mismatch(
            pointer("uint8_t[]", blob, np.uint8),
            pointer("int64_t[]", offsets, np.int64),
            n,
            pointer("pv_ima_list[]", lists, IMA_LIST_DTYPE),
            pointer("pv_ima_entry[]", entries, IMA_ENTRY_DTYPE),
            len(entries),
            bank,
            pointer("uint32_t[]", message_of, np.uint32),
            pointer("uint8_t[]", digests, np.uint8),
            len(digests),
            digests.shape[1],
            pointer("uint8_t[]", differs, np.uint8, writable=True),
        ),
        "pv_ima_mismatch",
    )


def ima_chains(
    lists: Rows,
    entries: Rows,
    pcr: int,
    bank: int,
    message_of: npt.NDArray[np.uint32],
    digests: npt.NDArray[np.uint8],
    violation_size: int,
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8]]:
    """What each list says that a PCR was extended with: ``chain_at`` uint64 [n + 1], digests uint8 [total, size].

    ``digests`` may be shorter than the bank's, then zeros follow, as they do after the ``violation_size`` bytes of 0xFF
    that a violation is.
    """
    _check_shape("message_of", message_of, entries.shape)
    chain_at = np.zeros(len(lists) + 1, np.uint64)
    chains = np.empty((len(entries), BANKS[bank].size), np.uint8)
    check(
        lib.pv_ima_chains(
            len(lists),
            pointer("pv_ima_list[]", lists, IMA_LIST_DTYPE),
            pointer("pv_ima_entry[]", entries, IMA_ENTRY_DTYPE),
            len(entries),
            pcr,
            bank,
            pointer("uint32_t[]", message_of, np.uint32),
            pointer("uint8_t[]", digests, np.uint8),
            len(digests),
            digests.shape[1],
            violation_size,
            pointer("uint64_t[]", chain_at, np.uint64, writable=True),
            pointer("uint8_t[]", chains, np.uint8, writable=True),
            len(chains),
        ),
        "pv_ima_chains",
    )
    return chain_at, chains[: int(chain_at[-1])]


def _check_shape(name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise UsageError(f"{name} must have shape {shape}, not {array.shape}")


def _check_banks(banks: npt.NDArray[np.uint8], n: int) -> None:
    _check_shape("banks", banks, (n,))
    if np.any(banks >= len(BANKS)):
        raise UsageError("a list is of a bank that does not exist")


def _check_entries(blob: Blob, offsets: Offsets, lists: Rows, entries: Rows) -> int:
    n = count(blob, offsets)
    _check_shape("lists", lists, (n,))
    if entries.ndim != 1:
        raise UsageError("entries must have shape [entries]")
    return n

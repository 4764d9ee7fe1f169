"""The only module that touches the C core (``csrc/api.h``).

It checks dtype, shape, order and bounds before a pointer is taken: cffi would round and reinterpret in silence. A
status other than PV_OK is a mistake of ours and becomes an exception here; bad data is a row, never an exception.
"""

from __future__ import annotations

import secrets
import threading
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pyverify._core import ffi, lib
from pyverify.algorithms import BANKS, BY_NAME, PCRS, banks_of
from pyverify.errors import PyverifyError, UsageError

LOG_DTYPE: Final = np.dtype(
    [
        ("fault", np.uint32),
        ("format", np.uint32),
        ("fault_at", np.uint64),
        ("first_event", np.uint64),
        ("n_events", np.uint32),
        ("banks", np.uint32),
        ("incomplete", np.uint32),
        ("touched", np.uint32),
        ("notes", np.uint32),
        ("locality", np.uint32),
        ("padding", np.uint64),
    ]
)
"""One row a log: pv_log of csrc/api.h."""

EVENT_DTYPE: Final = np.dtype(
    [
        ("pcr", np.uint32),
        ("type", np.uint32),
        ("at", np.uint32),
        ("data_at", np.uint32),
        ("data_size", np.uint32),
        ("digest_at", np.uint32, (len(BANKS),)),
    ]
)
"""One row an event: pv_event of csrc/api.h. Offsets are from the start of its log."""

Blob: TypeAlias = npt.NDArray[np.uint8]
Offsets: TypeAlias = npt.NDArray[np.int64]

NO_DIGEST: Final = int(lib.PV_NO_DIGEST)
MAX_LOG_SIZE: Final = int(lib.PV_MAX_LOG_SIZE)
MAX_EVENTS: Final = int(lib.PV_MAX_EVENTS)

NOTES: Final[dict[str, int]] = {
    name.removeprefix("PV_NOTE_").lower(): int(getattr(lib, name)) for name in dir(lib) if name.startswith("PV_NOTE_")
}
"""Bits of the ``notes`` column by name: ``padding``, ``start_late``, …"""

_KEY: Final = secrets.randbits(64) | 1
"""Under which equal work is found: of this process alone, so that nobody can prepare work that looks equal."""

_STATUS: Final = {lib.PV_BAD_ARGUMENT: "bad argument", lib.PV_NO_ROOM: "no room"}


def _check_layout() -> None:
    for name, dtype in (("pv_log", LOG_DTYPE), ("pv_event", EVENT_DTYPE)):
        if ffi.sizeof(name) != dtype.itemsize or any(
            ffi.offsetof(name, field) != dtype.fields[field][1] for field in dtype.names or () if dtype.fields
        ):
            raise ImportError(f"the compiled core was built from another csrc/api.h: {name} differs; build it again")


_check_layout()


def _pointer(kind: str, array: npt.NDArray[Any], dtype: npt.DTypeLike, *, writable: bool = False) -> Any:
    """A pointer to the items of a C-ordered array of exactly this dtype."""
    if array.dtype != np.dtype(dtype) or not array.flags.c_contiguous:
        raise UsageError(f"expected a C-contiguous array of {np.dtype(dtype)}, got {array.dtype} {array.strides}")
    return ffi.from_buffer(kind, array, require_writable=writable)


def _check(status: int, function: str) -> None:
    if status != lib.PV_OK:
        raise PyverifyError(f"internal error: {function}: {_STATUS.get(status, status)}")


def _count(blob: Blob, offsets: Offsets) -> int:
    """How many items a ragged batch has, once it is known to be one."""
    if blob.ndim != 1 or offsets.ndim != 1 or len(offsets) < 1:
        raise UsageError("a ragged batch is a blob of shape [bytes] and offsets of shape [n + 1]")
    if offsets[0] < 0 or offsets[-1] > len(blob) or np.any(offsets[1:] < offsets[:-1]):
        raise UsageError("offsets must not decrease and must stay inside the blob")
    return len(offsets) - 1


def fault_code(fault: int) -> str | None:
    """The findings-table code of a value of the ``fault`` column, None for 0."""
    code = lib.pv_fault_code(fault)
    return None if code == ffi.NULL else str(ffi.string(code).decode())


def variants(bank: int) -> tuple[str, ...]:
    """Names of the variants of this bank's hash on this machine, slowest first."""
    return tuple(ffi.string(lib.pv_variant_name(bank, i)).decode() for i in range(lib.pv_variants(bank)))


class Usage:
    """What calls did on each variant of a bank's hash: pass one to :func:`extend` or :func:`hash_messages`."""

    def __init__(self, bank: int) -> None:
        self._bank = bank
        self.counts = ffi.new("pv_usage *")

    def steps(self) -> dict[str, int]:
        """Lane steps by variant, of those that ran: a step is one digest of a chain or one block of a message."""
        return {name: n for i, name in enumerate(variants(self._bank)) if (n := int(self.counts.steps[i]))}

    def lane_use(self) -> float:
        """Share of the lane steps that had work to do; 1.0 where there were none."""
        steps = sum(self.counts.steps)
        return sum(self.counts.filled) / steps if steps else 1.0


def _variant(bank: int, isa: str | None) -> int:
    if isa is None:
        return -1
    names = variants(bank)
    if isa not in names:
        raise UsageError(f"{BANKS[bank].name} has no variant {isa!r} on this machine; there is {', '.join(names)}")
    return names.index(isa)


def scan(blob: Blob, offsets: Offsets) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Reads the logs of a batch: rows of LOG_DTYPE of shape [n] and the events of all, EVENT_DTYPE of shape [events].

    Raises:
        UsageError: offsets that do not fit the blob.
    """
    n = _count(blob, offsets)
    logs = np.zeros(n, LOG_DTYPE)
    offsets_pointer = _pointer("int64_t[]", offsets, np.int64)
    events = np.empty(int(lib.pv_scan_capacity(offsets_pointer, 0, n)), EVENT_DTYPE)
    count = ffi.new("uint64_t *")
    _check(
        lib.pv_scan(
            _pointer("uint8_t[]", blob, np.uint8),
            offsets_pointer,
            0,
            n,
            _pointer("pv_log[]", logs, LOG_DTYPE, writable=True),
            _pointer("pv_event[]", events, EVENT_DTYPE, writable=True),
            len(events),
            count,
        ),
        "pv_scan",
    )
    return logs, events[: count[0]].copy()


def replay(
    blob: Blob, offsets: Offsets, banks: int, isa: str | None = None
) -> tuple[npt.NDArray[Any], dict[str, npt.NDArray[np.uint8]]]:
    """Reads and replays the logs of a batch in the banks of a mask.

    Returns:
        Rows of LOG_DTYPE of shape [n], and by bank name the PCR values, uint8 of shape [n, 24, digest size]; zeros
        where a log has a fault or does not list the bank.

    Raises:
        UsageError: offsets that do not fit the blob, an unknown variant.
    """
    n = _count(blob, offsets)
    logs = np.zeros(n, LOG_DTYPE)
    values = {name: np.empty((n, PCRS, BY_NAME[name].size), np.uint8) for name in banks_of(banks)}
    offsets_pointer = _pointer("int64_t[]", offsets, np.int64)
    scratch = _scratch(int(lib.pv_replay_scratch(offsets_pointer, 0, n)))
    outputs = [
        _pointer("uint8_t[]", values[bank.name], np.uint8, writable=True) if bank.name in values else ffi.NULL
        for bank in BANKS
    ]
    wanted = [_variant(bank.index, isa) if bank.name in values else -1 for bank in BANKS]
    _check(
        lib.pv_replay(
            _pointer("uint8_t[]", blob, np.uint8),
            offsets_pointer,
            0,
            n,
            banks,
            ffi.new("int32_t[]", wanted),
            _KEY,
            _pointer("pv_log[]", logs, LOG_DTYPE, writable=True),
            *outputs,
            _pointer("uint8_t[]", scratch, np.uint8, writable=True),
            len(scratch),
        ),
        "pv_replay",
    )
    return logs, values


_ALIGNMENT: Final = 64  # a cache line and the widest vector
_KEPT: Final = 8 << 20  # a tile of honest logs needs half of it; what a giant log needs is not kept
_local: Final = threading.local()


def _scratch(size: int) -> npt.NDArray[np.uint8]:
    """Aligned memory that each thread keeps from call to call: fresh memory costs more than the work in it."""
    kept: npt.NDArray[np.uint8] | None = getattr(_local, "scratch", None)
    if kept is None or len(kept) < size:
        kept = np.empty(size + _ALIGNMENT, np.uint8)
        kept = kept[-kept.ctypes.data % _ALIGNMENT :]
        _local.scratch = kept if size <= _KEPT else None
    return kept


def extend(
    bank: int,
    digests: npt.NDArray[np.uint8],
    chain_at: npt.NDArray[np.uint64],
    values: npt.NDArray[np.uint8],
    isa: str | None = None,
    usage: Usage | None = None,
    *,
    share: bool = True,
) -> None:
    """Extends chains in place: ``values[c]`` by the digests ``chain_at[c]`` to ``chain_at[c + 1]``.

    ``digests`` is uint8 of shape [total, size], ``chain_at`` uint64 of shape [chains + 1], ``values`` uint8 of shape
    [chains, size]. With ``share`` equal chains are extended once.

    Raises:
        UsageError: shapes that do not fit, an unknown variant.
    """
    size = BANKS[bank].size
    chains = len(chain_at) - 1
    if digests.ndim != 2 or digests.shape[1] != size or values.shape != (chains, size) or chain_at.ndim != 1:
        raise UsageError("digests must have shape [total, size], values [chains, size] and chain_at [chains + 1]")
    if int(chain_at[-1]) > len(digests) or np.any(chain_at[1:] < chain_at[:-1]):
        raise UsageError("chain_at must not decrease and must stay inside the digests")
    _check(
        lib.pv_extend(
            bank,
            _variant(bank, isa),
            _KEY if share else 0,
            _pointer("uint8_t[]", digests, np.uint8),
            _pointer("uint64_t[]", chain_at, np.uint64),
            0,
            chains,
            _pointer("uint8_t[]", values, np.uint8, writable=True),
            ffi.NULL if usage is None else usage.counts,
        ),
        "pv_extend",
    )


def hash_messages(
    bank: int,
    blob: Blob,
    offsets: Offsets,
    isa: str | None = None,
    usage: Usage | None = None,
    *,
    share: bool = True,
) -> npt.NDArray[np.uint8]:
    """The hash of every item of a batch, equal items once unless ``share`` is off: uint8 of shape [n, size].

    Raises:
        UsageError: offsets that do not fit the blob, an unknown variant.
    """
    n = _count(blob, offsets)
    digests = np.empty((n, BANKS[bank].size), np.uint8)
    _check(
        lib.pv_hash(
            bank,
            _variant(bank, isa),
            _KEY if share else 0,
            _pointer("uint8_t[]", blob, np.uint8),
            _pointer("int64_t[]", offsets, np.int64),
            0,
            n,
            _pointer("uint8_t[]", digests, np.uint8, writable=True),
            ffi.NULL if usage is None else usage.counts,
        ),
        "pv_hash",
    )
    return digests


def group(blob: Blob, offsets: Offsets) -> npt.NDArray[np.uint64]:
    """For each item of a batch the number of an equal one at or before it: uint64 of shape [n].

    Only the bytes decide. Items 4,096 and more apart are not compared, nor any where a sample hardly repeats.

    Raises:
        UsageError: offsets that do not fit the blob.
    """
    n = _count(blob, offsets)
    same_as = np.empty(n, np.uint64)
    _check(
        lib.pv_group(
            _pointer("uint8_t[]", blob, np.uint8),
            _pointer("int64_t[]", offsets, np.int64),
            0,
            n,
            _KEY,
            _pointer("uint64_t[]", same_as, np.uint64, writable=True),
        ),
        "pv_group",
    )
    return same_as


def compare(
    values: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.uint32],
    set_at: npt.NDArray[np.uint64],
    members: npt.NDArray[np.uint32],
    allowed: npt.NDArray[np.uint8],
    mask: int,
) -> npt.NDArray[np.uint32]:
    """Which PCRs of each row hold a value that its reference does not allow, as a bit mask a row.

    ``values`` is uint8 of shape [n, 24, size]; ``reference`` uint32 of shape [n], numbers past the last reference
    differ in every PCR of the mask; the set of reference r and PCR p is ``allowed[members[set_at[24r + p]:set_at[24r
    + p + 1]]]``.

    Raises:
        UsageError: shapes that do not fit.
    """
    n, size = len(values), values.shape[-1]
    references = (len(set_at) - 1) // PCRS
    if (
        values.shape != (n, PCRS, size)
        or reference.shape != (n,)
        or len(set_at) != references * PCRS + 1
        or allowed.ndim != 2
        or allowed.shape[1] != size
    ):
        raise UsageError("shapes do not fit: values [n, 24, size], reference [n], set_at [24 r + 1], allowed [k, size]")
    differs = np.empty(n, np.uint32)
    _check(
        lib.pv_compare(
            _pointer("uint8_t[]", values, np.uint8),
            size,
            _pointer("uint32_t[]", reference, np.uint32),
            0,
            n,
            _pointer("uint64_t[]", set_at, np.uint64),
            references,
            _pointer("uint32_t[]", members, np.uint32),
            len(members),
            _pointer("uint8_t[]", allowed, np.uint8),
            len(allowed),
            mask,
            _pointer("uint32_t[]", differs, np.uint32, writable=True),
        ),
        "pv_compare",
    )
    return differs

"""What every call into the core needs: checked pointers, statuses, variants, scratch.

cffi would round and reinterpret in silence, so dtype, shape, order and bounds are checked before a pointer is taken.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pyverify._core import ffi, lib
from pyverify.algorithms import BANKS
from pyverify.errors import PyverifyError, UsageError

Blob: TypeAlias = npt.NDArray[np.uint8]
Offsets: TypeAlias = npt.NDArray[np.int64]

KEY: Final = int.from_bytes(os.urandom(8)) | 1
"""Under which equal work is found: of this process alone, so that nobody can prepare work that looks equal."""

_STATUS: Final = {lib.PV_BAD_ARGUMENT: "bad argument", lib.PV_NO_ROOM: "no room"}


def check_layout(name: str, dtype: np.dtype[Any]) -> None:
    """Whether a structure of csrc/api.h lies in memory as this dtype says.

    Raises:
        ImportError: it does not: the compiled core was built from another source.
    """
    if ffi.sizeof(name) != dtype.itemsize or any(
        ffi.offsetof(name, field) != dtype.fields[field][1] for field in dtype.names or () if dtype.fields
    ):
        raise ImportError(f"the compiled core was built from another csrc/api.h: {name} differs; build it again")


def pointer(kind: str, array: npt.NDArray[Any], dtype: npt.DTypeLike, *, writable: bool = False) -> Any:
    """A pointer to the items of a C-ordered array of exactly this dtype."""
    if array.dtype != np.dtype(dtype) or not array.flags.c_contiguous:
        raise UsageError(f"expected a C-contiguous array of {np.dtype(dtype)}, got {array.dtype} {array.strides}")
    return ffi.from_buffer(kind, array, require_writable=writable)


def check(status: int, function: str) -> None:
    """Turns a status that says that we called wrongly into an exception."""
    if status != lib.PV_OK:
        raise PyverifyError(f"internal error: {function}: {_STATUS.get(status, status)}")


def count(blob: Blob, offsets: Offsets) -> int:
    """How many items a ragged batch has, once it is known to be one."""
    if blob.ndim != 1 or offsets.ndim != 1 or len(offsets) < 1:
        raise UsageError("a ragged batch is a blob of shape [bytes] and offsets of shape [n + 1]")
    if offsets[0] < 0 or offsets[-1] > len(blob) or np.any(offsets[1:] < offsets[:-1]):
        raise UsageError("offsets must not decrease and must stay inside the blob")
    return len(offsets) - 1


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


def variant(bank: int, isa: str | None) -> int:
    """The index of a variant by its name, -1 for None: the core chooses.

    Raises:
        UsageError: this machine has no such variant.
    """
    if isa is None:
        return -1
    names = variants(bank)
    if isa not in names:
        raise UsageError(f"{BANKS[bank].name} has no variant {isa!r} on this machine; there is {', '.join(names)}")
    return names.index(isa)


_ALIGNMENT: Final = 64  # a cache line and the widest vector
_KEPT: Final = 8 << 20  # a tile of honest logs needs half of it; what a giant log needs is not kept
_local: Final = threading.local()


def scratch(size: int) -> npt.NDArray[np.uint8]:
    """Aligned memory that each thread keeps from call to call: fresh memory costs more than the work in it."""
    kept: npt.NDArray[np.uint8] | None = getattr(_local, "scratch", None)
    if kept is None or len(kept) < size:
        kept = np.empty(size + _ALIGNMENT, np.uint8)
        kept = kept[-kept.ctypes.data % _ALIGNMENT :]
        _local.scratch = kept if size <= _KEPT else None
    return kept

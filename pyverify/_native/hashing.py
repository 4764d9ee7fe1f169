"""Batched hashing: chains of extends, messages, and which items of a batch are equal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pyverify._core import ffi, lib
from pyverify._native.core import KEY, Blob, Offsets, Usage, check, count, pointer, variant
from pyverify.algorithms import BANKS
from pyverify.errors import UsageError


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
    check(
        lib.pv_extend(
            bank,
            variant(bank, isa),
            KEY if share else 0,
            pointer("uint8_t[]", digests, np.uint8),
            pointer("uint64_t[]", chain_at, np.uint64),
            0,
            chains,
            pointer("uint8_t[]", values, np.uint8, writable=True),
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
    n = count(blob, offsets)
    digests = np.empty((n, BANKS[bank].size), np.uint8)
    check(
        lib.pv_hash(
            bank,
            variant(bank, isa),
            KEY if share else 0,
            pointer("uint8_t[]", blob, np.uint8),
            pointer("int64_t[]", offsets, np.int64),
            0,
            n,
            pointer("uint8_t[]", digests, np.uint8, writable=True),
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
    n = count(blob, offsets)
    same_as = np.empty(n, np.uint64)
    check(
        lib.pv_group(
            pointer("uint8_t[]", blob, np.uint8),
            pointer("int64_t[]", offsets, np.int64),
            0,
            n,
            KEY,
            pointer("uint64_t[]", same_as, np.uint64, writable=True),
        ),
        "pv_group",
    )
    return same_as

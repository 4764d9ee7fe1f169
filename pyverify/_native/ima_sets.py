"""Sets of what may run, many over one table of names and digests, and entries of IMA lists held against them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify._core import ffi, lib
from pyverify._native.core import KEY, Blob, Offsets, check, count, pointer
from pyverify._native.ima import IMA_ENTRY_DTYPE, IMA_LIST_DTYPE
from pyverify._native.lookup import NOT_FOUND, index
from pyverify.errors import UsageError

IMA_KIND_VERITY: Final = int(lib.PV_IMA_KIND_VERITY)
IMA_KIND_BUFFER: Final = int(lib.PV_IMA_KIND_BUFFER)
IMA_OK: Final = int(lib.PV_IMA_OK)
IMA_CHANGED: Final = int(lib.PV_IMA_CHANGED)
IMA_ADDED: Final = int(lib.PV_IMA_ADDED)
IMA_NOT_JUDGED: Final = int(lib.PV_IMA_NOT_JUDGED)
IMA_DIGEST_ROOM: Final = 64
"""Bytes of a digest in a table of members, zeros after its own."""

Numbers = npt.NDArray[np.uint32]
Bounds = npt.NDArray[np.uint64]


class ImaSets:
    """Sets over one table, with the index of its names: pv_ima_sets of csrc/api.h. Of this process only.

    Args:
        paths: the names one after the other, uint8.
        path_at: where each begins, int64 of shape [names + 1].
        members_at: uint64 of shape [names + 1]: name p has the members ``members_at[p]`` to ``members_at[p + 1]``.
        kinds: of the members, uint32 of shape [members].
        digests: of the members, uint8 of shape [members, 64]; those of a name increase by (kind, bytes).
        set_at: uint64 of shape [sets + 1].
        numbers: set s has the members ``numbers[set_at[s]:set_at[s + 1]]``, which increase; uint32.

    Raises:
        UsageError: shapes that do not fit.
    """

    def __init__(
        self,
        paths: Blob,
        path_at: Offsets,
        members_at: Bounds,
        kinds: Numbers,
        digests: Blob,
        set_at: Bounds,
        numbers: Numbers,
    ) -> None:
        n_paths, n_members = count(paths, path_at), len(kinds)
        if members_at.shape != (n_paths + 1,) or digests.shape != (n_members, IMA_DIGEST_ROOM) or len(set_at) < 1:
            raise UsageError("shapes do not fit: members_at [names + 1], digests [members, 64], set_at [sets + 1]")
        slots = index(paths, path_at)
        self._sets = ffi.new(
            "pv_ima_sets *",
            {
                "paths": pointer("uint8_t[]", paths, np.uint8),
                "path_at": pointer("int64_t[]", path_at, np.int64),
                "n_paths": n_paths,
                "key": KEY,
                "slots": pointer("uint64_t[]", slots, np.uint64),
                "n_slots": len(slots),
                "members_at": pointer("uint64_t[]", members_at, np.uint64),
                "kinds": pointer("uint32_t[]", kinds, np.uint32),
                "digests": pointer("uint8_t[]", digests, np.uint8),
                "n_members": n_members,
                "set_at": pointer("uint64_t[]", set_at, np.uint64),
                "n_sets": len(set_at) - 1,
                "numbers": pointer("uint32_t[]", numbers, np.uint32),
                "n_numbers": len(numbers),
            },
        )
        # The structure holds addresses only: what they are of lives as long as it does.
        self._kept = (paths, path_at, slots, members_at, kinds, digests, set_at, numbers)

    def check(
        self, blob: Blob, offsets: Offsets, lists: npt.NDArray[Any], entries: npt.NDArray[Any], set_of: Numbers
    ) -> tuple[npt.NDArray[np.uint8], Numbers]:
        """Holds the entries of a batch against the sets of their lists.

        ``lists`` are of IMA_LIST_DTYPE, ``entries`` of IMA_ENTRY_DTYPE; ``set_of`` is uint32 of shape [n], the set of
        each list; the entries of one whose number is none are not judged.

        Returns:
            For each entry IMA_OK, IMA_CHANGED, IMA_ADDED or IMA_NOT_JUDGED, uint8; and the number of the member that
            it is, of the first that its set has of its name where it changed, else NOT_FOUND, uint32.

        Raises:
            UsageError: shapes that do not fit.
        """
        n = count(blob, offsets)
        if lists.shape != (n,) or set_of.shape != (n,) or entries.ndim != 1:
            raise UsageError("shapes do not fit: lists [n], set_of [n], entries [entries]")
        outcomes = np.full(len(entries), IMA_NOT_JUDGED, np.uint8)
        members = np.full(len(entries), NOT_FOUND, np.uint32)
        check(
            lib.pv_ima_check(
                pointer("uint8_t[]", blob, np.uint8),
                pointer("int64_t[]", offsets, np.int64),
                n,
                pointer("pv_ima_list[]", lists, IMA_LIST_DTYPE),
                pointer("pv_ima_entry[]", entries, IMA_ENTRY_DTYPE),
                len(entries),
                pointer("uint32_t[]", set_of, np.uint32),
                self._sets,
                pointer("uint8_t[]", outcomes, np.uint8, writable=True),
                pointer("uint32_t[]", members, np.uint32, writable=True),
            ),
            "pv_ima_check",
        )
        return outcomes, members

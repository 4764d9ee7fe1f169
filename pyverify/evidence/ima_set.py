"""Sets of what may run: names with the digests that they may have, and entries of IMA lists held against them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.errors import UsageError
from pyverify.evidence.columns import Ragged
from pyverify.evidence.ima import Flag, ImaColumns

OK: Final = _native.IMA_OK
"""The set has this name with this digest."""
CHANGED: Final = _native.IMA_CHANGED
"""The set has this name, with other digests only."""
ADDED: Final = _native.IMA_ADDED
"""The set does not have this name."""
NOT_JUDGED: Final = _native.IMA_NOT_JUDGED
"""The boot_aggregate at entry 0, and violations, whose names prove nothing."""

_ROOM: Final = _native.IMA_DIGEST_ROOM
_KIND_BITS: Final = _native.IMA_KIND_VERITY | _native.IMA_KIND_BUFFER


@dataclass(frozen=True, order=True, slots=True)
class Member:
    """One digest that a name may have.

    ``kind`` is the number of its algorithm (the kernel's ``enum hash_algo``) with ``_native.IMA_KIND_VERITY`` for an
    fs-verity digest and ``_native.IMA_KIND_BUFFER`` for that of a measured buffer: what differs in kind is not equal.
    """

    path: bytes
    kind: int
    digest: bytes

    def __post_init__(self) -> None:
        size = digest_size(self.kind)
        if not size or len(self.digest) != size:
            raise UsageError(f"a digest of {len(self.digest)} bytes is none of algorithm {self.kind & ~_KIND_BITS}")

    @property
    def algorithm(self) -> str:
        """The kernel's name of the algorithm: ``sha256``, ``sm3``."""
        return _native.ima_algorithm_name(self.kind & ~_KIND_BITS) or ""


def kind_of(algorithm: str, *, verity: bool = False, buffer: bool = False) -> int:
    """The kind of a digest by this algorithm, of which all names of SM3 are one.

    Raises:
        UsageError: no kernel knows the algorithm.
    """
    number = _native.ima_algorithm(algorithm)
    if number is None:
        raise UsageError(f"no kernel hashes files by {algorithm!r}")
    return number | (_native.IMA_KIND_VERITY if verity else 0) | (_native.IMA_KIND_BUFFER if buffer else 0)


def digest_size(kind: int) -> int:
    """Bytes of a digest of this kind, 0 where there is no such kind."""
    return _native.ima_algorithm_size(kind & ~_KIND_BITS)


class ImaSet:
    """An immutable set of members, sorted, each once: sets of equal members have equal columns.

    ``paths`` are the distinct names, sorted; name p may have digests ``members_at[p]`` to ``members_at[p + 1]`` of
    ``kinds`` (uint32) and ``digests`` (uint8 of shape [members, 64], zeros after their own bytes), sorted too.
    """

    def __init__(self, members: Iterable[Member] = ()) -> None:
        ordered = sorted(set(members))
        names: list[bytes | None] = []
        members_at = [0]
        digests = np.zeros((len(ordered), _ROOM), np.uint8)
        for number, member in enumerate(ordered):
            if not names or names[-1] != member.path:
                names.append(member.path)
                members_at.append(number)
            members_at[-1] = number + 1
            digests[number, : len(member.digest)] = np.frombuffer(member.digest, np.uint8)
        self.paths = Ragged.of(names)
        self.members_at = np.array(members_at, np.uint64)
        self.kinds = np.fromiter((member.kind for member in ordered), np.uint32, len(ordered))
        self.digests = digests
        self._sets: _native.ImaSets | None = None

    @classmethod
    def of(cls, columns: ImaColumns, which: npt.NDArray[np.bool_] | None = None) -> Self:
        """The set of what these entries are: bool of shape [m], all by default.

        Entries without a name or a whole digest of a known algorithm are left out, and so are violations and whatever
        is called boot_aggregate: no set makes them good.
        """
        unfit = (
            Flag.VIOLATION
            | Flag.BOOT_AGGREGATE
            | Flag.NO_PATH
            | Flag.NO_DIGEST
            | Flag.DIGEST_LENGTH
            | Flag.UNKNOWN_ALGORITHM
        )
        usable = columns.entries["flags"] & np.uint32(unfit) == 0
        chosen = np.flatnonzero(usable if which is None else usable & which)
        lists = columns.lists
        # Entries of equal data and kind are one member; what is left is as many objects as there are members.
        messages = _native.ima_messages(lists.blob, lists.offsets, columns.rows, columns.entries, share=True)
        kinds = columns.kinds()
        key = messages.message_of[chosen].astype(np.uint64) << np.uint64(32) | kinds[chosen].astype(np.uint64)
        distinct = chosen[np.unique(key, return_index=True)[1]]
        return cls(
            Member(columns.path(entry), int(kinds[entry]), columns.piece(entry, "file_digest"))
            for entry in distinct.tolist()
        )

    @classmethod
    def from_columns(
        cls, paths: Ragged, members_at: npt.NDArray[np.uint64], kinds: npt.NDArray[np.uint32], digests: Ragged
    ) -> Self:
        """The set of columns as :meth:`to_columns` gives them.

        Raises:
            UsageError: columns that no set has: of other lengths, unsorted, with a digest of a wrong length.
        """
        bounds = members_at.astype(np.int64).tolist()
        if len(bounds) != len(paths) + 1 or len(kinds) != len(digests) or bounds[0] != 0 or bounds[-1] != len(kinds):
            raise UsageError("the columns of an IMA set do not fit each other")
        members = [
            Member(paths[p], int(kinds[k]), digests[k])
            for p, (first, last) in enumerate(pairwise(bounds))
            for k in range(first, last)
        ]
        if any(first >= last for first, last in pairwise(bounds)) or any(a >= b for a, b in pairwise(members)):
            raise UsageError("the columns of an IMA set are not sorted")
        return cls(members)

    def to_columns(self) -> tuple[Ragged, npt.NDArray[np.uint64], npt.NDArray[np.uint32], Ragged]:
        """Distinct names, where the digests of each begin (uint64 [names + 1]), kinds (uint32) and digests."""
        return self.paths, self.members_at, self.kinds, Ragged.of([member.digest for member in self])

    def union(self, *others: ImaSet) -> ImaSet:
        """The members of all these sets."""
        return ImaSet(member for one in (self, *others) for member in one)

    def check(self, columns: ImaColumns, first: int = 0, last: int | None = None) -> npt.NDArray[np.uint8]:
        """Holds the entries of lists ``first`` to ``last`` against the set.

        An entry is :data:`OK` only where name, kind and all bytes of the digest are those of a member.

        Returns:
            :data:`OK`, :data:`CHANGED`, :data:`ADDED` or :data:`NOT_JUDGED` an entry of those lists, in their order:
            uint8 of shape [their entries].
        """
        last = len(columns) if last is None else last
        if not 0 <= first <= last <= len(columns):
            raise UsageError(f"lists {first} to {last} of {len(columns)}")
        rows = columns.rows[first:last].copy()
        begin = int(rows["first_entry"][0]) if len(rows) else 0
        end = columns.first_last(last - 1)[1] if len(rows) else 0
        rows["first_entry"] -= np.uint64(begin)
        if self._sets is None:
            everything = np.arange(len(self), dtype=np.uint32)
            set_at = np.array([0, len(self)], np.uint64)
            own = (self.members_at, self.kinds, self.digests)
            self._sets = _native.ImaSets(self.paths.blob, self.paths.offsets, *own, set_at, everything)
        outcomes, _ = self._sets.check(
            columns.lists.blob,
            columns.lists.offsets[first : last + 1],
            rows,
            columns.entries[begin:end],
            np.zeros(len(rows), np.uint32),
        )
        return outcomes

    @cached_property
    def key(self) -> bytes:
        """SHA-256 that names the set: equal sets have one key."""
        columns = (self.paths.offsets, self.members_at, self.kinds)  # in front, where they say how long the rest is
        sizes = np.array([len(self.paths), len(self)], np.uint64)
        parts = (sizes, *columns, self.paths.blob, self.digests)
        return hashlib.sha256(b"".join(part.astype(part.dtype.newbyteorder("<")).tobytes() for part in parts)).digest()

    def __reduce__(self) -> tuple[object, ...]:
        return type(self).from_columns, self.to_columns()  # an index is of one process only

    def __iter__(self) -> Iterator[Member]:
        bounds = self.members_at.astype(np.int64).tolist()
        for p, (first, last) in enumerate(pairwise(bounds)):
            path = self.paths[p]
            for k in range(first, last):
                kind = int(self.kinds[k])
                size = digest_size(kind)
                yield Member(path, kind, self.digests[k, :size].tobytes())

    def __len__(self) -> int:
        return len(self.kinds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImaSet) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

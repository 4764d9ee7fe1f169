"""Learned IMA sets as a references snapshot has them: one table of names and digests, of which each set is a part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify import _native
from pyverify.baseline.snapshot import Snapshot
from pyverify.evidence.columns import Ragged
from pyverify.evidence.ima import ImaColumns
from pyverify.evidence.ima_set import ImaSet, Member, digest_size

NO_SET: Final = 0xFFFFFFFF
"""The set of a baseline whose learning boot sent no list."""

_ROOM: Final = _native.IMA_DIGEST_ROOM


class LearnedIma:
    """The part of a snapshot that says what may run.

    Names are distinct; members are their digests, in the order of name, kind and bytes; a set is the numbers of its
    members, which increase.
    """

    def __init__(self, paths: pa.Array, members: pa.StructArray, sets: pa.LargeListArray) -> None:
        self._paths, self._members, self._sets = paths, members, sets

    def __len__(self) -> int:
        return len(self._sets)

    def is_consistent(self) -> bool:
        """Whether all is there and in order, each once, and refers to what there is."""
        fields = [self._members.field(name) for name in ("path", "kind", "digest")]
        if any(column.null_count for column in (self._paths, self._members, *fields, self._sets, self._numbers_column)):
            return False
        path, kinds, digests, numbers = self._path, self._kinds, self._digests, self._numbers
        numbers_first = np.stack([path, kinds], axis=1).astype(">u4").view(np.uint8)
        keys = np.concatenate([numbers_first, digests], axis=1).view(f"S{8 + _ROOM}")[:, 0]
        is_first = np.zeros(len(numbers) + 1, np.bool_)
        is_first[self._set_at.astype(np.int64)] = True
        return bool(
            pc.count_distinct(self._paths).as_py() == len(self._paths)
            and np.all(path < len(self._paths))
            and all(_are_digests(digests, kinds, kind) for kind in np.unique(kinds).tolist())
            and np.all(keys[:-1] < keys[1:])
            and np.all(numbers < len(path))
            and np.all((numbers[:-1] < numbers[1:]) | is_first[1:-1])
        )

    @cached_property
    def _path(self) -> npt.NDArray[np.uint32]:
        column: npt.NDArray[np.uint32] = self._members.field("path").to_numpy()
        return column

    @cached_property
    def _kinds(self) -> npt.NDArray[np.uint32]:
        column: npt.NDArray[np.uint32] = self._members.field("kind").to_numpy()
        return column

    @cached_property
    def _digests(self) -> npt.NDArray[np.uint8]:
        """uint8 of shape [members, 64]."""
        column = self._members.field("digest")
        data = column.buffers()[1]
        if not len(column) or data is None:
            return np.zeros((0, _ROOM), np.uint8)
        return np.frombuffer(data, np.uint8)[_ROOM * column.offset :][: _ROOM * len(column)].reshape(-1, _ROOM)

    @property
    def _numbers_column(self) -> pa.Array:
        return self._sets.flatten()

    @cached_property
    def _numbers(self) -> npt.NDArray[np.uint32]:
        column: npt.NDArray[np.uint32] = self._numbers_column.to_numpy()
        return column

    @cached_property
    def _set_at(self) -> npt.NDArray[np.uint64]:
        offsets = self._sets.offsets.to_numpy()
        at: npt.NDArray[np.uint64] = (offsets - offsets[0]).astype(np.uint64)
        return at

    @cached_property
    def _index(self) -> _native.ImaSets:
        paths = Ragged.from_arrow(self._paths)
        members_at = np.searchsorted(self._path, np.arange(len(paths) + 1)).astype(np.uint64)
        own = (members_at, self._kinds, self._digests)
        return _native.ImaSets(paths.blob, paths.offsets, *own, self._set_at, self._numbers)

    def check(
        self, columns: ImaColumns, set_of: npt.NDArray[np.uint32]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint32]]:
        """Holds the entries of a batch of lists against the set of each list, uint32 of shape [n].

        Returns:
            For each entry OK, CHANGED, ADDED or NOT_JUDGED of :mod:`pyverify.evidence.ima_set`, uint8 of shape [m]; and
            the number of the member that it is or, changed, of the first that its set has of its name, uint32.
        """
        lists = columns.lists
        return self._index.check(lists.blob, lists.offsets, columns.rows, columns.entries, set_of)

    def with_unions(self, unions: Sequence[Sequence[int]]) -> tuple[LearnedIma, list[int]]:
        """The same with more sets, each what some of these allow together; the numbers of the new ones."""
        number_of: dict[tuple[int, ...], int] = {}
        new: list[npt.NDArray[np.uint32]] = []
        for union in unions:
            key = tuple(sorted(set(union)))
            if len(key) > 1 and key not in number_of:
                number_of[key] = len(self) + len(new)
                new.append(np.unique(np.concatenate([self._members_of(number) for number in key])))
        sets = pa.concat_arrays([self._sets, pa.array(new, self._sets.type)]) if new else self._sets
        keys = [tuple(sorted(set(union))) for union in unions]
        numbers = [key[0] if len(key) == 1 else number_of[key] for key in keys]
        return (LearnedIma(self._paths, self._members, sets) if new else self), numbers

    def _members_of(self, number: int) -> npt.NDArray[np.uint32]:
        return self._numbers[int(self._set_at[number]) : int(self._set_at[number + 1])]

    def digests(self, members: npt.NDArray[np.uint32]) -> list[bytes]:
        """The digests of some members."""
        sizes = [digest_size(kind) for kind in self._kinds[members].tolist()]
        return [row[:size].tobytes() for row, size in zip(self._digests[members], sizes, strict=True)]

    def set(self, number: int) -> ImaSet:
        """One set, for who looks at a single baseline."""
        members = self._members_of(number)
        paths = self._paths.take(pa.array(self._path[members])).to_pylist()
        facts = zip(paths, self._kinds[members].tolist(), self.digests(members), strict=True)
        return ImaSet(Member(*one) for one in facts)


def _are_digests(digests: npt.NDArray[np.uint8], kinds: npt.NDArray[np.uint32], kind: int) -> bool:
    """Whether the digests of this kind can be: of a known algorithm, and zeros behind their own bytes."""
    size = digest_size(kind)
    return size > 0 and not digests[kinds == kind, size:].any()


def add_ima(snapshot: Snapshot, sets: Iterable[ImaSet]) -> dict[bytes, int]:
    """Writes sets into a snapshot, equal ones once: the number of each by its key."""
    distinct = {one.key: one for one in sets}
    members = sorted({member for one in distinct.values() for member in one})
    number_of = {member: number for number, member in enumerate(members)}
    path_of: dict[bytes, int] = {}
    for member in members:
        if member.path not in path_of:
            path_of[member.path] = len(path_of)
            snapshot.add("ima_paths", member.path)
        snapshot.add_ima_member(path_of[member.path], member.kind, member.digest)
    numbers: dict[bytes, int] = {}
    for key in sorted(distinct):
        numbers[key] = len(numbers)
        snapshot.add("ima_sets", np.array([number_of[member] for member in distinct[key]], np.uint32))
    return numbers

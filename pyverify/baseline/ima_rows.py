"""Learned IMA sets as a store keeps them: names and members once for all machines, a set as the ids of its members."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from pyverify.baseline import schema
from pyverify.baseline.database import chunks
from pyverify.baseline.snapshot import Snapshot
from pyverify.errors import StoreError
from pyverify.evidence.ima_set import ImaSet, Member, digest_size

_MEMBER: Final = struct.Struct(">QI")  # id of the path, kind; the digest follows
_IDS: Final = "<u4"

Intern = Callable[[sa.Table, dict[bytes, dict[str, Any]]], dict[bytes, int]]
"""Adds the rows of a table that are not there yet: ids by their keys."""


def intern_sets(intern: Intern, sets: Iterable[ImaSet]) -> dict[bytes, int]:
    """Ids of sets by their keys; what is not in the store yet is added."""
    distinct = {one.key: list(one) for one in sets}
    members = {member for one in distinct.values() for member in one}
    path_ids = intern(schema.ima_path, {path: {} for path in sorted({member.path for member in members})})

    def key(member: Member) -> bytes:
        return _MEMBER.pack(path_ids[member.path], member.kind) + member.digest

    keys = {member: key(member) for member in sorted(members)}
    ids = intern(schema.ima_member, {key: {} for key in keys.values()})
    rows = {}
    for name, one in distinct.items():
        numbers = np.array([ids[keys[member]] for member in one], np.int64)
        if numbers.max(initial=0) > np.iinfo(_IDS).max:
            raise StoreError("the store holds more digests of files than it has numbers for")
        rows[name] = {"members": numbers.astype(_IDS).tobytes()}
    return intern(schema.ima_set, rows)


def write_sets(snapshot: Snapshot, stream: Callable[[sa.Select[Any]], Iterable[Any]]) -> dict[int, int]:
    """Writes all sets of a store into a snapshot; the number of each there by its id.

    Raises:
        StoreError: rows that refer to what is not there, or are none.
    """
    path, member, one = schema.ima_path, schema.ima_member, schema.ima_set
    path_ids = array("q")
    for row in stream(sa.select(path).order_by(path.c.id)):
        path_ids.append(row.id)
        snapshot.add("ima_paths", row.key)
    paths = _Numbers(path_ids, "path")
    member_ids = array("q")
    for row in stream(sa.select(member).order_by(member.c.key)):
        path_id, kind, digest = _parse(row.key)
        member_ids.append(row.id)
        snapshot.add_ima_member(paths.of(path_id), kind, digest)
    members = _Numbers(member_ids, "digest")
    numbers: dict[int, int] = {}
    for row in stream(sa.select(one).order_by(one.c.id)):
        if len(row.members) % np.dtype(_IDS).itemsize:
            raise StoreError(f"IMA set {row.id} of the store does not parse: {len(row.members)} bytes of ids")
        found = members.of_all(np.frombuffer(row.members, _IDS).astype(np.int64))
        numbers[row.id] = len(numbers)
        snapshot.add("ima_sets", np.sort(found))
    return numbers


def read_sets(connection: sa.Connection, ids: Iterable[int]) -> dict[int, ImaSet]:
    """Some sets of a store, by their ids.

    Raises:
        StoreError: rows that refer to what is not there, or are none.
    """
    path, member, one = schema.ima_path, schema.ima_member, schema.ima_set
    wanted: dict[int, list[int]] = {}
    for row in connection.execute(sa.select(one).where(one.c.id.in_(sorted(set(ids))))):
        wanted[row.id] = np.frombuffer(row.members, _IDS).tolist()
    members = _by_id(connection, member, {number for numbers in wanted.values() for number in numbers})
    parsed = {number: _parse(bytes(key)) for number, key in members.items()}
    paths = _by_id(connection, path, {path_id for path_id, _, _ in parsed.values()})
    try:
        known = {n: Member(bytes(paths[path_id]), kind, digest) for n, (path_id, kind, digest) in parsed.items()}
        return {name: ImaSet(known[number] for number in numbers) for name, numbers in wanted.items()}
    except KeyError as error:
        raise StoreError("the store contradicts itself: an IMA set refers to what is not there") from error


def _by_id(connection: sa.Connection, table: sa.Table, ids: set[int]) -> dict[int, bytes]:
    """The keys of rows by their ids."""
    ordered = sorted(ids)
    found: dict[int, bytes] = {}
    for part in chunks(ordered):
        query = sa.select(table.c.id, table.c.key).where(table.c.id.in_(part))
        found |= {row.id: row.key for row in connection.execute(query)}
    return found


class _Numbers:
    """The numbers that rows have in a snapshot, by their ids."""

    def __init__(self, ids: array[int], what: str) -> None:
        found = np.frombuffer(ids, np.int64) if len(ids) else np.zeros(0, np.int64)
        self._order = np.argsort(found)
        self._ids = found[self._order]
        self._what = what

    def of(self, one: int) -> int:
        return int(self.of_all(np.array([one]))[0])

    def of_all(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
        at = np.searchsorted(self._ids, ids)
        if np.any(at == len(self._ids)) or np.any(self._ids[at] != ids):
            raise StoreError(f"the store contradicts itself: an IMA set refers to a {self._what} that is not there")
        return self._order[at].astype(np.uint32)


def _parse(key: bytes) -> tuple[int, int, bytes]:
    head, digest = key[: _MEMBER.size], key[_MEMBER.size :]
    if len(head) < _MEMBER.size:
        raise StoreError("a digest of a file in the store does not parse")
    path_id, kind = _MEMBER.unpack(head)
    if path_id > np.iinfo(np.int64).max or not digest or len(digest) != digest_size(kind):
        raise StoreError("a digest of a file in the store does not parse")
    return path_id, kind, digest

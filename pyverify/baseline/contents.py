"""What versions of baselines allow, as values: read from the store, each content once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pyverify.algorithms import banks_of
from pyverify.baseline import schema
from pyverify.baseline.database import chunks
from pyverify.baseline.ima_rows import read_sets
from pyverify.baseline.model import Allowed, Baseline, EventSequence, Origin, State, SupersededIma
from pyverify.baseline.rows import parse_accepted, parse_profile, parse_sequence, parse_superseded
from pyverify.baseline.supersede import Profile
from pyverify.evidence.ima_set import ImaSet


@dataclass(frozen=True, slots=True)
class Contents:
    """What a version of a baseline allows; many versions share one."""

    profile: Profile
    ima: ImaSet | None
    superseded: tuple[SupersededIma, ...]


class Reader:
    """Contents of versions, each read once."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._sequences: dict[int, EventSequence] = {}
        self._known: dict[tuple[Any, ...], Contents] = {}

    def of(self, row: Any) -> Contents:
        """What a row of ``schema.baseline`` allows."""
        key = (row.profile, row.ima_set, row.ima_superseded)
        if key not in self._known:
            self._known[key] = self._read_contents(row)
        return self._known[key]

    def _read_contents(self, row: Any) -> Contents:
        table = schema.profile
        body = self._connection.scalar(sa.select(table.c.body).where(table.c.id == row.profile))
        profile = parse_profile(body or "", _Same())
        self._read({number for members in profile for number, _, _ in members} - self._sequences.keys())
        old = parse_superseded(row.ima_superseded)
        ids = {number for number in (row.ima_set, *(number for number, _ in old)) if number is not None}
        sets = read_sets(self._connection, ids)
        return Contents(
            tuple(tuple(Allowed(self._sequences[n], until, keep) for n, until, keep in members) for members in profile),
            None if row.ima_set is None else sets[row.ima_set],
            tuple(SupersededIma(sets[number], until) for number, until in old),
        )

    def baseline(self, row: Any, state: State) -> Baseline:
        """A version as a whole, in the state that it is in."""
        contents = self.of(row)
        return Baseline(
            scope=row.scope,
            id=row.id,
            version=row.version,
            state=state,
            allowed=contents.profile,
            log_banks=banks_of(row.log_banks),
            quoted_banks=banks_of(row.quoted_banks),
            boot=row.boot,
            evidence_id=bytes(row.evidence_id),
            ima=contents.ima,
            ima_violations=row.ima_violations,
            origin=Origin(row.origin),
            accepted=tuple(parse_accepted(row.accepted)),
            ima_superseded=contents.superseded,
        )

    def _read(self, ids: set[int]) -> None:
        table = schema.sequence
        for part in chunks(sorted(ids)):
            for row in self._connection.execute(sa.select(table).where(table.c.id.in_(part))):
                self._sequences[row.id] = parse_sequence(row)


class _Same(dict[int, int]):
    """Ids that stand for themselves."""

    def __missing__(self, key: int) -> int:
        return key

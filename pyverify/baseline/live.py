"""References for who appraises one boot at a time while the store changes: a service.

Each challenge and each spent nonce is a change of the store, and a snapshot of 50,000 machines takes seconds to read.
So it is read again only for changes that concern more than nonces, and the challenges of one machine are looked up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa

from pyverify.baseline import schema
from pyverify.baseline.heads import Head
from pyverify.baseline.identity import Challenge, from_micros
from pyverify.baseline.references import References
from pyverify.baseline.store import Store

_OF_NONCES: Final = ("challenge", "spend")
_OF_ONE_MACHINE: Final = "booted"
"""What a machine has booted of a change concerns no other machine."""


class LiveReferences:
    """What a store says now, one machine at a time. It may be used by many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: tuple[Head, References] | None = None

    def of(self, machine: str) -> References:
        """References for verdicts on this machine and no other: they hold its challenges, and nobody else's.

        Raises:
            StoreError: the store cannot be read, or its history does not verify.
        """
        with self._lock:
            with self._store.reading() as connection:  # checks what was added to the history since
                head, challenges = self._store.head, list(_challenges(connection, machine))
                known = self._known
                is_current = known is not None and not _concerns(connection, machine, since=known[0].number)
            if known is None or not is_current:
                self._known = known = head, self._store.references()
            return known[1].asking(challenges)


def _concerns(connection: sa.Connection, machine: str, *, since: int) -> bool:
    """Whether a change after that number says anything that verdicts on this machine rest on, beside its challenges."""
    change, reached = schema.change.c, schema.reached.c
    others = sa.select(change.number).where(change.number > since, change.action.not_in((*_OF_NONCES, _OF_ONE_MACHINE)))
    own = sa.select(reached.change).where(reached.change > since, reached.machine == machine)
    return any(connection.execute(query.limit(1)).first() is not None for query in (others, own))


def _challenges(connection: sa.Connection, machine: str) -> Iterator[Challenge]:
    """All that the keys of a machine were ever asked, and what spent it."""
    enrolled = schema.enrolled.c
    own = sa.select(enrolled.ak_name).where(enrolled.machine == machine)
    for row in connection.execute(schema.challenges().where(schema.challenge.c.ak_name.in_(own))):
        spent_by = None if row.spent_by is None else bytes(row.spent_by)
        yield Challenge(bytes(row.ak_name), bytes(row.nonce), from_micros(row.issued_at), machine, spent_by)

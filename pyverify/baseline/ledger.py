"""The challenge ledger: nonces that were issued, and the one quote that each may be used by (DESIGN section 5.7)."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pyverify.baseline import schema
from pyverify.baseline.freshness import MAX_AGE, Freshness, judge
from pyverify.baseline.identity import Challenge, is_key_name, to_micros
from pyverify.baseline.identity_columns import KeyChallenges
from pyverify.baseline.store import Store
from pyverify.errors import StoreError, UsageError

NONCE_SIZE: Final = 32
"""Bytes of a nonce that is made here: what every TPM takes as qualifying data."""
_NONCE_SIZES: Final = range(16, 65)  # SPEC section 8.5; the most is the digest of the largest hash

_INSERT: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Ledger:
    """The challenges of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def issue(self, machine: str, ak_names: Sequence[bytes], *, at: datetime.datetime) -> list[Challenge]:
        """New challenges for these keys of a machine, one each, of random bytes."""
        challenges = [Challenge(name, secrets.token_bytes(NONCE_SIZE), at, machine) for name in ak_names]
        self.add(challenges)
        return challenges

    def add(self, challenges: Sequence[Challenge]) -> int:
        """Adds challenges that were issued elsewhere, all or none; what is there already is left alone.

        Returns:
            How many were new.

        Raises:
            UsageError: one of them cannot be: no Name, a nonce that is too short or long, no time zone.
            StoreError: a nonce was issued to its key before, at another time; the key is another machine's.
        """
        rows = [_row(challenge) for challenge in challenges]
        with self._store.writing() as connection:
            new = [row for row in rows if _add_one(connection, row)]
            _check_machines(connection, {(row["ak_name"], row["machine"]) for row in new})
        return len(new)

    def consume(
        self,
        ak_name: bytes,
        nonce: bytes,
        attest: bytes,
        *,
        at: datetime.datetime,
        max_age: datetime.timedelta = MAX_AGE,
    ) -> Freshness:
        """Spends the nonce of one quote whose signature was verified, and says how fresh it is.

        Atomic, whoever else tries at the same time: the first attest stands, the same again is as fresh as it was
        (a retry), and any other is ``REPLAYED``.

        Args:
            ak_name: Name of the key that signed.
            nonce: extraData of the quote.
            attest: SHA-256 of the TPMS_ATTEST.
            at: the time now, from the caller.
            max_age: from the challenge's issue to ``at``.
        """
        (code,) = self.consume_all([(ak_name, nonce, attest)], at=at, max_age=max_age)
        return code

    def consume_all(
        self,
        quotes: Sequence[tuple[bytes, bytes, bytes]],
        *,
        at: datetime.datetime,
        max_age: datetime.timedelta = MAX_AGE,
    ) -> list[Freshness]:
        """:meth:`consume` for many in one transaction: (key, nonce, SHA-256 of the attest), earlier quotes first."""
        now = to_micros(at)
        oldest = now - max_age // datetime.timedelta(microseconds=1)
        codes = [Freshness.UNFRESH_NO_ENTRY] * len(quotes)
        with self._store.writing() as connection:
            # All jobs lock rows in one order, so that none waits for another in a circle.
            for index in sorted(range(len(quotes)), key=lambda i: quotes[i][:2]):
                ak_name, nonce, attest = quotes[index]
                _spend(connection, ak_name, nonce, attest, now)
                codes[index] = judge(_asked(connection, ak_name, nonce, now), nonce, attest, now, oldest)
        return codes


def _row(challenge: Challenge) -> dict[str, Any]:
    if not is_key_name(challenge.ak_name):
        raise UsageError(f"{challenge.ak_name.hex() or 'nothing'} is no Name of a key")
    if len(challenge.nonce) not in _NONCE_SIZES:
        most, least = _NONCE_SIZES[-1], _NONCE_SIZES[0]
        raise UsageError(f"a nonce of {len(challenge.nonce)} bytes instead of {least} to {most}")
    micros = to_micros(challenge.issued_at)
    if micros < 0:
        raise UsageError(f"a challenge issued at {challenge.issued_at}, before there were any")
    return {
        "ak_name": challenge.ak_name,
        "nonce": challenge.nonce,
        "issued_at": micros,
        "machine": challenge.machine,
    }


def _add_one(connection: sa.Connection, row: dict[str, Any]) -> bool:
    """Whether a challenge was new."""
    table = schema.challenge
    if connection.execute(_insert(connection, table).values(row).on_conflict_do_nothing()).rowcount:
        return True
    is_it = sa.and_(table.c.ak_name == row["ak_name"], table.c.nonce == row["nonce"])
    issued_at = connection.scalar(sa.select(table.c.issued_at).where(is_it))
    if issued_at != row["issued_at"]:
        raise StoreError(
            f"nonce {row['nonce'].hex()} was issued to this key before, at another time: a nonce is for one use"
        )
    return False


def _check_machines(connection: sa.Connection, pairs: set[tuple[bytes, str | None]]) -> None:
    for ak_name, machine in sorted(pairs, key=lambda pair: pair[0]):
        query = sa.select(schema.enrolled.c.machine).where(schema.enrolled.c.ak_name == ak_name)
        known = connection.scalar(query)
        if machine is not None and known is not None and machine != known:
            raise StoreError(f"a challenge for {machine} names a key that is enrolled for {known}: {ak_name.hex()}")


def _spend(connection: sa.Connection, ak_name: bytes, nonce: bytes, attest: bytes, now: int) -> None:
    """Marks a nonce as spent if it was issued and nothing spent it: one statement, the primary key decides."""
    table = schema.challenge
    values = (sa.literal(attest, sa.LargeBinary), sa.literal(now, sa.BigInteger))
    is_it = sa.and_(table.c.ak_name == ak_name, table.c.nonce == nonce)
    issued = sa.select(table.c.ak_name, table.c.nonce, *values).where(is_it)
    insert = _insert(connection, schema.spent).from_select(["ak_name", "nonce", "attest", "at"], issued)
    connection.execute(insert.on_conflict_do_nothing())


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    insert = _INSERT.get(connection.dialect.name)
    if insert is None:
        raise StoreError(f"no ledger can be kept in {connection.dialect.name}; use SQLite or PostgreSQL")
    return insert(table)


def _asked(connection: sa.Connection, ak_name: bytes, nonce: bytes, now: int) -> KeyChallenges:
    """As much of a key's challenges as it takes to judge one nonce."""
    asked, spent = schema.challenge, schema.spent
    of_key = asked.c.ak_name == ak_name
    newest = connection.scalar(sa.select(sa.func.max(asked.c.issued_at)).where(of_key, asked.c.issued_at <= now))
    is_same = sa.and_(asked.c.ak_name == spent.c.ak_name, asked.c.nonce == spent.c.nonce)
    query = sa.select(asked.c.nonce, asked.c.issued_at, spent.c.attest).select_from(asked.outerjoin(spent, is_same))
    # The nonce itself where there is one, else any other of the key: it tells a wrong nonce from a key never asked.
    row = connection.execute(query.where(of_key, asked.c.nonce == nonce)).first()
    row = row or connection.execute(query.where(of_key).limit(1)).first()
    known = {} if row is None else {bytes(row.nonce): (row.issued_at, row.attest)}
    return KeyChallenges([] if newest is None else [newest], known)

"""The challenge ledger: nonces that were issued, and the one quote that each may be used by (DESIGN section 5.7)."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pyverify.baseline import schema
from pyverify.baseline.booted import remember
from pyverify.baseline.database import chunks
from pyverify.baseline.freshness import FINDINGS, MAX_AGE, Freshness, judge
from pyverify.baseline.identity import Challenge, in_micros, is_key_name, to_micros
from pyverify.baseline.place import Reached
from pyverify.baseline.store import Store
from pyverify.errors import StoreError, UsageError

NONCE_SIZE: Final = 32
"""Bytes of a nonce that is made here: what every TPM takes as qualifying data."""
_NONCE_SIZES: Final = range(16, 65)  # SPEC section 8.5; the most is the digest of the largest hash

_INSERT: Final[dict[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class _Spendable(Protocol):
    """A verdict with nonces to spend (``pyverify.appraise.verdict.Verdict``)."""

    @property
    def claims(self) -> tuple[Any, ...]: ...

    @property
    def max_age(self) -> datetime.timedelta: ...

    @property
    def reached(self) -> tuple[Reached, ...]: ...

    def settled(self, refusals: Sequence[tuple[str, str]]) -> Any: ...


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
            UsageError: one of them cannot be: no Name, a nonce that is too short or long, no time zone; it was issued
                to its key before, at another time; the key is another machine's.
        """
        rows = [_row(challenge) for challenge in challenges]
        with self._store.changing("challenge") as (connection, number):
            rows = [{**row, "change": number} for row in rows]
            return sum(_add(connection, part) for part in chunks(rows))

    def consume(self, verdict: _Spendable, *, at: datetime.datetime) -> Any:
        """Spends the nonces of a verdict and gives the verdict that stands: for a service, one boot at a time.

        What the machine has booted of a change that was approved lately is kept too, unless a nonce is refused.

        Args:
            verdict: of :func:`pyverify.verify` under a policy that asks for a fresh quote and says how long one is.
            at: the time now, from the caller.

        Returns:
            A verdict of the same kind: untrusted if a nonce was spent by another quote, is not the newest, too old, ….
        """
        codes = self.consume_all([tuple(claim) for claim in verdict.claims], at=at, max_age=verdict.max_age)
        refused = [FINDINGS[code] for code in codes if code is not Freshness.FRESH]
        if not refused:
            remember(self._store, verdict.reached)
        return verdict.settled(refused)

    def spend(
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
        """:meth:`spend` for many in one transaction: (key, nonce, SHA-256 of the attest), earlier quotes first."""
        if not quotes:
            return []
        now = to_micros(at)
        oldest = now - in_micros(max_age)
        codes: dict[int, Freshness] = {}
        order = sorted(range(len(quotes)), key=lambda index: quotes[index][:2])
        with self._store.changing("spend") as (connection, number):
            for part in chunks(order):
                some = [quotes[index] for index in part]
                _spend(connection, number, some, now)
                codes |= zip(part, _judge(connection, some, now, oldest), strict=True)
        return [codes[index] for index in range(len(quotes))]


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


def _add(connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> int:
    """Adds challenges unless they are there, and makes sure that all then are as they should be; how many were new."""
    pairs = [(row["ak_name"], row["nonce"]) for row in rows]
    before = _entries(connection, pairs)
    connection.execute(_insert(connection, schema.challenge).on_conflict_do_nothing(), rows)
    after = _entries(connection, pairs)
    for row in rows:
        if after[row["ak_name"], row["nonce"]][0] != row["issued_at"]:
            raise UsageError(
                f"nonce {row['nonce'].hex()} was issued to this key before, at another time: a nonce is for one use"
            )
    table = schema.enrolled
    query = sa.select(table.c.ak_name, table.c.machine).where(table.c.ak_name.in_({row["ak_name"] for row in rows}))
    machines = {bytes(key.ak_name): key.machine for key in connection.execute(query)}
    for row in rows:
        owner = machines.get(row["ak_name"], row["machine"])
        if row["machine"] not in (None, owner):
            raise UsageError(
                f"a challenge for {row['machine']} names a key that is enrolled for {owner}: {row['ak_name'].hex()}"
            )
    return len(after) - len(before)


def _spend(connection: sa.Connection, number: int, quotes: list[tuple[bytes, bytes, bytes]], now: int) -> None:
    """Marks nonces as spent if they were issued and nothing spent them: in one statement, the primary key decides."""
    table = schema.challenge
    values = (sa.bindparam("attest", type_=sa.LargeBinary), sa.literal(now, sa.BigInteger), sa.literal(number))
    is_it = sa.and_(table.c.ak_name == sa.bindparam("ak"), table.c.nonce == sa.bindparam("asked"))
    issued = sa.select(table.c.ak_name, table.c.nonce, *values).where(is_it)
    insert = _insert(connection, schema.spent).from_select(["ak_name", "nonce", "attest", "at", "change"], issued)
    rows = [{"ak": ak_name, "asked": nonce, "attest": attest} for ak_name, nonce, attest in quotes]
    connection.execute(insert.on_conflict_do_nothing(), rows)


def _judge(
    connection: sa.Connection, quotes: list[tuple[bytes, bytes, bytes]], now: int, oldest: int
) -> Iterator[Freshness]:
    table = schema.challenge
    entries = _entries(connection, [(ak_name, nonce) for ak_name, nonce, _ in quotes])
    until_now = sa.func.max(sa.case((table.c.issued_at <= now, table.c.issued_at)))
    query = sa.select(table.c.ak_name, until_now.label("newest")).group_by(table.c.ak_name)
    known = query.where(table.c.ak_name.in_({ak_name for ak_name, _, _ in quotes}))
    newest = {bytes(row.ak_name): row.newest for row in connection.execute(known)}
    for ak_name, nonce, attest in quotes:
        if ak_name not in newest:
            yield Freshness.UNFRESH_NO_ENTRY
        else:
            yield judge(entries.get((ak_name, nonce)), newest[ak_name], attest, now, oldest)


def _entries(
    connection: sa.Connection, pairs: list[tuple[bytes, bytes]]
) -> dict[tuple[bytes, bytes], tuple[int, bytes | None]]:
    """Of each of these challenges that is there, when it was issued and what spent it."""
    wanted = set(pairs)
    rows = connection.execute(schema.challenges().where(schema.challenge.c.nonce.in_({nonce for _, nonce in pairs})))
    found = {(bytes(row.ak_name), bytes(row.nonce)): (row.issued_at, row.spent_by) for row in rows}
    return {pair: entry for pair, entry in found.items() if pair in wanted}


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    insert = _INSERT.get(connection.dialect.name)
    if insert is None:
        raise StoreError(f"no ledger can be kept in {connection.dialect.name}; use SQLite or PostgreSQL")
    return insert(table)

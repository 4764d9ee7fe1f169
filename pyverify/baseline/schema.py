"""The tables of a store.

Rows are only ever added, and each belongs to the change that added it: the signed head of that change covers all of
them (:mod:`pyverify.baseline.heads`). Contents that are there once for all machines belong to the change that needed
them first. Times are microseconds since 1970 in UTC: whole numbers mean the same in every database, and so do their
heads; truths are 0 and 1 for the same reason.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

VERSION: Final = "3"

_metadata: Final = sa.MetaData()


def _change(**options: Any) -> sa.Column[int]:
    """The change that added a row: every table has it, that is how its rows come under a head."""
    return sa.Column("change", sa.ForeignKey("change.number"), nullable=False, index=True, **options)


# What a store is (heads.About), and its version.
about: Final = sa.Table(
    "about",
    _metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
)
sequence: Final = sa.Table(
    "sequence",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("start", sa.Integer, nullable=False),
    sa.Column("banks", sa.Integer, nullable=False),
    # JSON: [[type, text], ...]
    sa.Column("events", sa.String, nullable=False),
    # those of the banks one after the other, each bank's in the order of the events
    sa.Column("digests", sa.LargeBinary, nullable=False),
    # JSON: positions of events that may have any digest
    sa.Column("varies", sa.String, nullable=False),
    # JSON: hex by bank, where no events are known
    sa.Column("pcr_values", sa.String, nullable=False),
    _change(),
)
profile: Final = sa.Table(
    "profile",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", sa.LargeBinary(32), nullable=False, unique=True),
    # JSON: for each of 24 PCRs the sequences it may hold, the oldest first: the id of a current one, and
    # [id, until, keep] of one that was superseded
    sa.Column("body", sa.String, nullable=False),
    _change(),
)
ima_path: Final = sa.Table(
    "ima_path",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    # the name itself: it is what its row is found by
    sa.Column("key", sa.LargeBinary, nullable=False, unique=True),
    _change(),
)
ima_member: Final = sa.Table(
    "ima_member",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    # all of the member: id of its path, kind and digest, the numbers big-endian
    sa.Column("key", sa.LargeBinary, nullable=False, unique=True),
    _change(),
)
ima_set: Final = sa.Table(
    "ima_set",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", sa.LargeBinary(32), nullable=False, unique=True),
    # ids of its members, four bytes each, little-endian
    sa.Column("members", sa.LargeBinary, nullable=False),
    _change(),
)
change: Final = sa.Table(
    "change",
    _metadata,
    # 1, 2, 3, ...
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("reason", sa.String),
    sa.Column("who", sa.String),
)
# What is signed of each change (heads.py).
head: Final = sa.Table(
    "head",
    _metadata,
    sa.Column("change", sa.ForeignKey("change.number"), primary_key=True, autoincrement=False),
    sa.Column("rows", sa.LargeBinary(32), nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
)
baseline: Final = sa.Table(
    "baseline",
    _metadata,
    sa.Column("scope", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    # pending or active, as it was added; what became of it are its transitions, and newer versions
    sa.Column("state", sa.String, nullable=False),
    sa.Column("profile", sa.ForeignKey("profile.id"), nullable=False),
    sa.Column("log_banks", sa.Integer, nullable=False),
    sa.Column("quoted_banks", sa.Integer, nullable=False),
    sa.Column("boot", sa.String, nullable=False),
    sa.Column("evidence_id", sa.LargeBinary(32), nullable=False),
    _change(),
    # null where the learning boot sent no IMA list
    sa.Column("ima_set", sa.ForeignKey("ima_set.id")),
    sa.Column("ima_violations", sa.Integer, nullable=False),
    sa.Column("origin", sa.String, nullable=False),
    # JSON: [[code, PCR, reason], ...]
    sa.Column("accepted", sa.String, nullable=False),
    # JSON: [[id of the IMA set, until], ...]
    sa.Column("ima_superseded", sa.String, nullable=False),
)
# A pending version becomes active, an active one is revoked. That a newer one supersedes it needs no row.
transition: Final = sa.Table(
    "transition",
    _metadata,
    _change(primary_key=True),
    sa.Column("scope", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.ForeignKeyConstraint(["scope", "id", "version"], ["baseline.scope", "baseline.id", "baseline.version"]),
)
# The newest row of a machine counts, here and in what is ignored.
cohort_member: Final = sa.Table(
    "cohort_member",
    _metadata,
    sa.Column("machine", sa.String, primary_key=True),
    _change(primary_key=True),
    # null where it was taken out of its cohort
    sa.Column("cohort", sa.String),
)
ignored: Final = sa.Table(
    "ignored",
    _metadata,
    sa.Column("machine", sa.String, primary_key=True),
    _change(primary_key=True),
    sa.Column("until", sa.BigInteger, nullable=False),
)
# The first boot known of a machine that held a sequence of a PCR while an older one was still allowed.
reached: Final = sa.Table(
    "reached",
    _metadata,
    sa.Column("machine", sa.String, primary_key=True),
    sa.Column("pcr", sa.Integer, primary_key=True),
    sa.Column("sequence", sa.ForeignKey("sequence.id"), primary_key=True),
    # of its challenge, where that was fresh
    sa.Column("issued_at", sa.BigInteger),
    sa.Column("boot_seq", sa.BigInteger),
    sa.Column("collected_at", sa.BigInteger),
    sa.Column("boot", sa.String, nullable=False),
    _change(),
)
enrolled: Final = sa.Table(
    "enrolled",
    _metadata,
    # One row a key and for good: the database itself refuses one key for two machines.
    sa.Column("ak_name", sa.LargeBinary(66), primary_key=True),
    sa.Column("machine", sa.String, nullable=False, index=True),
    sa.Column("since", sa.BigInteger, nullable=False),
    # TPMT_PUBLIC, the bytes that the Name is over
    sa.Column("public", sa.LargeBinary, nullable=False),
    _change(),
)
# What is known of a key beside; the newest row of a key counts.
key_state: Final = sa.Table(
    "key_state",
    _metadata,
    sa.Column("ak_name", sa.ForeignKey("enrolled.ak_name"), primary_key=True),
    _change(primary_key=True),
    sa.Column("until", sa.BigInteger),
    sa.Column("level", sa.String, nullable=False),
    sa.Column("sm2_mode", sa.String, nullable=False),
    # DER, the EK's own certificate first; for credential activation
    sa.Column("ek_certificates", sa.LargeBinary),
)
challenge: Final = sa.Table(
    "challenge",
    _metadata,
    # the nonce first: it is what single challenges are looked up by
    sa.Column("nonce", sa.LargeBinary(64), primary_key=True),
    sa.Column("ak_name", sa.LargeBinary(66), primary_key=True),
    sa.Column("issued_at", sa.BigInteger, nullable=False),
    sa.Column("machine", sa.String),
    _change(),
    sa.Index("challenge_of_key", "ak_name", "issued_at"),
)
# A nonce is spent by adding its row: of two that try at once, the primary key lets one through.
spent: Final = sa.Table(
    "spent",
    _metadata,
    sa.Column("nonce", sa.LargeBinary(64), primary_key=True),
    sa.Column("ak_name", sa.LargeBinary(66), primary_key=True),
    sa.Column("attest", sa.LargeBinary(32), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    _change(),
    sa.ForeignKeyConstraint(["nonce", "ak_name"], ["challenge.nonce", "challenge.ak_name"]),
)
activation: Final = sa.Table(
    "activation",
    _metadata,
    # SHA-256 of the secret: it opens nothing, and the secret itself is nowhere
    sa.Column("secret", sa.LargeBinary(32), primary_key=True),
    sa.Column("ak_name", sa.ForeignKey("enrolled.ak_name"), nullable=False),
    # Name of the EK that the secret was protected for
    sa.Column("ek_name", sa.LargeBinary(66), nullable=False),
    # whether that EK is the one of the machine's certificate
    sa.Column("certified", sa.Integer, nullable=False),
    sa.Column("issued_at", sa.BigInteger, nullable=False),
    _change(),
)
# A secret is answered by adding its row.
activated: Final = sa.Table(
    "activated",
    _metadata,
    sa.Column("secret", sa.ForeignKey("activation.secret"), primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    _change(),
)
root: Final = sa.Table(
    "root",
    _metadata,
    sa.Column("key", sa.LargeBinary(32), primary_key=True),
    # DER
    sa.Column("certificate", sa.LargeBinary, nullable=False),
    _change(),
)


COVERED: Final = tuple(_metadata.tables[name] for name in sorted(_metadata.tables.keys() - {about.name, head.name}))
"""The tables whose rows heads cover: all but what a store is, and the heads themselves."""


_MOST_FACTS: Final = 16
"""More than any version of a store has."""


def change_of(table: sa.Table) -> sa.Column[int]:
    """The number of the change that a row of a covered table belongs to."""
    return change.c.number if table is change else table.c.change


def challenges() -> sa.Select[Any]:
    """The challenges, each with the SHA-256 of the attest that spent it, where one did."""
    is_same = sa.and_(challenge.c.ak_name == spent.c.ak_name, challenge.c.nonce == spent.c.nonce)
    facts = (challenge.c.ak_name, challenge.c.nonce, challenge.c.issued_at, spent.c.attest.label("spent_by"))
    return sa.select(*facts).select_from(challenge.outerjoin(spent, is_same))


def tables() -> tuple[sa.Table, ...]:
    """All tables of a store."""
    return (about, head, *COVERED)


def create(connection: sa.Connection) -> None:
    """Makes the tables of a new store."""
    _metadata.create_all(connection)


def facts(connection: sa.Connection) -> dict[str, Any]:
    """What the store says of itself; nothing vouches yet for its types, nor that a damaged file has no end."""
    return {row.key: row.value for row in connection.execute(sa.select(about).limit(_MOST_FACTS))}


def is_there(connection: sa.Connection) -> bool:
    """Whether there is a store in a database, of whatever version."""
    return sa.inspect(connection).has_table(about.name)


def version_of(connection: sa.Connection) -> str | None:
    """The version of the store in a database, None where there is no store."""
    if not is_there(connection):
        return None
    found: str | None = facts(connection).get("version")
    return found

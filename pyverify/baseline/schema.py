"""The tables of a store, and how an older one is brought up to date.

Rows are only ever added. Times of keys, challenges and ends are microseconds since 1970 in UTC: whole
numbers mean the same in every database.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

VERSION: Final = "3"
_OLDER: Final = ("1", "2")

_metadata: Final = sa.MetaData()
about: Final = sa.Table(
    "about", _metadata, sa.Column("key", sa.String, primary_key=True), sa.Column("value", sa.String)
)
sequence: Final = sa.Table(
    "sequence",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
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
)
profile: Final = sa.Table(
    "profile",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.LargeBinary(32), nullable=False, unique=True),
    # JSON: for each of 24 PCRs the sequences it may hold, the oldest first: the id of a current one, and
    # [id, until, keep] of one that was superseded
    sa.Column("body", sa.String, nullable=False),
)
ima_path: Final = sa.Table(
    "ima_path",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # the name itself: it is what its row is found by
    sa.Column("key", sa.LargeBinary, nullable=False, unique=True),
)
ima_member: Final = sa.Table(
    "ima_member",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # all of the member: id of its path, kind and digest, the numbers big-endian
    sa.Column("key", sa.LargeBinary, nullable=False, unique=True),
)
ima_set: Final = sa.Table(
    "ima_set",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.LargeBinary(32), nullable=False, unique=True),
    # ids of its members, four bytes each, little-endian
    sa.Column("members", sa.LargeBinary, nullable=False),
)
change: Final = sa.Table(
    "change",
    _metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("reason", sa.String),
    sa.Column("who", sa.String),
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
    sa.Column("change", sa.ForeignKey("change.number"), nullable=False),
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
    sa.Column("change", sa.ForeignKey("change.number"), primary_key=True),
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
    sa.Column("change", sa.ForeignKey("change.number"), primary_key=True),
    # null where it was taken out of its cohort
    sa.Column("cohort", sa.String),
)
ignored: Final = sa.Table(
    "ignored",
    _metadata,
    sa.Column("machine", sa.String, primary_key=True),
    sa.Column("change", sa.ForeignKey("change.number"), primary_key=True),
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
    sa.Column("change", sa.ForeignKey("change.number"), nullable=False),
)
enrolled: Final = sa.Table(
    "enrolled",
    _metadata,
    # One row a key and for good: the database itself refuses one key for two machines.
    sa.Column("ak_name", sa.LargeBinary(66), primary_key=True),
    sa.Column("machine", sa.String, nullable=False, index=True),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger),
    sa.Column("level", sa.String, nullable=False),
    sa.Column("sm2_mode", sa.String, nullable=False),
    # TPMT_PUBLIC, the bytes that the Name is over
    sa.Column("public", sa.LargeBinary, nullable=False),
    # DER, the EK's own certificate first; for credential activation
    sa.Column("ek_certificates", sa.LargeBinary),
    sa.Column("change", sa.ForeignKey("change.number"), nullable=False),
)
challenge: Final = sa.Table(
    "challenge",
    _metadata,
    # the nonce first: it is what single challenges are looked up by
    sa.Column("nonce", sa.LargeBinary(64), primary_key=True),
    sa.Column("ak_name", sa.LargeBinary(66), primary_key=True),
    sa.Column("issued_at", sa.BigInteger, nullable=False),
    sa.Column("machine", sa.String),
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
    sa.Column("certified", sa.Boolean, nullable=False),
    sa.Column("issued_at", sa.BigInteger, nullable=False),
    sa.Column("answered_at", sa.BigInteger),
)
root: Final = sa.Table(
    "root",
    _metadata,
    sa.Column("key", sa.LargeBinary(32), primary_key=True),
    # DER
    sa.Column("certificate", sa.LargeBinary, nullable=False),
    sa.Column("change", sa.ForeignKey("change.number"), nullable=False),
)


_ADDED: Final = (
    ("change", "who", "VARCHAR"),
    ("baseline", "ima_set", "INTEGER REFERENCES ima_set (id)"),
    ("baseline", "ima_violations", "INTEGER NOT NULL DEFAULT 0"),
    ("sequence", "varies", "VARCHAR NOT NULL DEFAULT '[]'"),
    ("sequence", "pcr_values", "VARCHAR NOT NULL DEFAULT '{}'"),
    ("baseline", "origin", "VARCHAR NOT NULL DEFAULT 'first-seen'"),
    ("baseline", "accepted", "VARCHAR NOT NULL DEFAULT '[]'"),
    ("baseline", "ima_superseded", "VARCHAR NOT NULL DEFAULT '[]'"),
)
"""Columns that older stores do not have."""


def create(connection: sa.Connection) -> None:
    """Makes the tables that are not there yet, and a new store's version."""
    is_new = not sa.inspect(connection).has_table(about.name)
    _metadata.create_all(connection)
    if is_new:
        connection.execute(about.insert().values(key="version", value=VERSION))


def up_to_date(connection: sa.Connection) -> str | None:
    """Brings an older store up to date where that can be; the version that it then has."""
    found: str | None = connection.scalar(sa.select(about.c.value).where(about.c.key == "version"))
    if found not in _OLDER:
        return found
    create(connection)
    for table, column, rest in _ADDED:
        if column not in {has["name"] for has in sa.inspect(connection).get_columns(table)}:
            connection.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN {column} {rest}"))
    connection.execute(about.update().where(about.c.key == "version").values(value=VERSION))
    return VERSION

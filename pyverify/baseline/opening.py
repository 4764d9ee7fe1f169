"""What happens when a store is opened: its key is found or made, its tables are made or brought up to date."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import sqlalchemy as sa

from pyverify.baseline import database, heads, migration, schema, signing
from pyverify.baseline.signing import PublicKey, Signer
from pyverify.errors import StoreError

_ELSEWHERE: Final = Path("pyverify.key")
"""The key of a store that is no file, where none is named."""

_NOT_PLAIN: Final = re.compile(r'[^\w\s"(),]', re.ASCII)
_WORD: Final = re.compile(r"\w+", re.ASCII)
_WORDS: Final = frozenset(
    (
        *("CREATE", "TABLE", "UNIQUE", "INDEX", "ON", "NOT", "NULL", "PRIMARY", "FOREIGN", "KEY", "REFERENCES"),
        *("VARCHAR", "INTEGER", "BIGINT", "BLOB", "BOOLEAN", "DATETIME"),
        *(name for table in schema.tables() for name in (table.name, *table.c.keys())),
        *(str(index.name) for table in schema.tables() for index in table.indexes),
        *migration.OLDER_NAMES,
        *("sqlite_stat1", "sqlite_stat4", "tbl", "idx", "stat", "neq", "nlt", "ndlt", "sample"),  # of ANALYZE
    )
)
"""All that the tables of a store, of this version or an older one, are written with."""


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """The key of a store, or where it is to be."""

    key: Signer | PublicKey | None
    file: Path
    is_named: bool

    @classmethod
    def of(cls, engine: sa.Engine, signer: Signer | PublicKey | None, key_file: Path | None) -> Self:
        """The caller's key, or that of a file, by default one beside the store."""
        beside = engine.url.database if database.is_file(engine) else None
        default = _ELSEWHERE if beside in (None, "", ":memory:") else Path(f"{beside}.key")
        place = cls(signer, key_file or default, key_file is not None)
        return place if signer is not None or not place.file.exists() else replace(place, key=signing.load(place.file))

    def loaded(self) -> Self:
        """With the key that is in the file by now.

        Raises:
            StoreError: a file was named and is not there.
        """
        if self.key is not None:
            return self
        if self.file.exists() or self.is_named:
            return replace(self, key=signing.load(self.file))
        return self

    @property
    def is_pinned(self) -> bool:
        """Whether the key does not come from the store itself."""
        return self.key is not None

    def signer(self) -> Signer:
        """What signs changes.

        Raises:
            StoreError: there is no private key.
        """
        if self.key is None or isinstance(self.key, PublicKey):
            raise StoreError(
                f"the store can only be read here: to change it takes its private key, {self.file}; name it by "
                "--store-key FILE or $PYVERIFY_STORE_KEY"
            )
        return self.key

    def require(self, key: PublicKey) -> None:
        """Raises StoreError where a store has another key than this one."""
        if self.key is None:
            return
        own = self.key if isinstance(self.key, PublicKey) else self.key.public_key
        if own != key:
            raise heads.tampered(
                f"its key is {key.fingerprint.hex()}, and the key given is {own.fingerprint.hex()}: this is the key of "
                "another store, or the store of another key"
            )

    def make(self) -> Signer:
        """The signer of a store that is about to be made; a new key where there is none."""
        if self.key is None:
            signing.make(self.file)
        return self.loaded().signer()


def is_ready(connection: sa.Connection, where: str, *, create: bool) -> bool:
    """Whether a database holds a store of this version; if not, it is one that can be made or brought up to date.

    Raises:
        StoreError: it can not.
    """
    with database.bounded(connection):
        return _is_ready(connection, where, create=create)


def _is_ready(connection: sa.Connection, where: str, *, create: bool) -> bool:
    shown = database.shown(where)
    if not create and not schema.is_there(connection):
        raise StoreError(f"{shown}: not a baseline store")
    if connection.dialect.name == "sqlite":
        _require_plain(connection)
    version = schema.version_of(connection)
    if version is None and not create:
        raise StoreError(f"{shown}: not a baseline store")
    if version not in (None, schema.VERSION, *migration.OLDER):
        raise StoreError(f"{shown}: a store of version {version}; this pyverify reads version {schema.VERSION}")
    return version == schema.VERSION


def _require_empty(connection: sa.Connection) -> None:
    """Raises StoreError where any table of a store is there: it would be taken, and signed for, as somebody made it."""
    tables = sa.inspect(connection)
    if any(tables.has_table(table.name) for table in (schema.head, *schema.COVERED)):
        raise heads.tampered("it holds tables of a store, but does not say which store it is")


def make_ready(connection: sa.Connection, keys: KeyPlace) -> None:
    """Makes a store or brings it up to date, as the only one who writes: another may have done so by now.

    Raises:
        StoreError: the store is of an older version, without heads, and yet has a key: a store that was signed does not
            lose its heads, and whoever strips them must not get what is left signed anew.
    """
    version = schema.version_of(connection)
    if version is None:
        _require_empty(connection)
        schema.create(connection)
        heads.About.new(connection, keys.make().public_key)
    elif version in migration.OLDER:
        if keys.key is not None:
            raise heads.tampered(
                f"it is of version {version}, without heads, but there is a key ({keys.file}); if it never had heads, "
                "open it once without a key: it gets a new one"
            )
        _migrate(connection, keys)


def _migrate(connection: sa.Connection, keys: KeyPlace) -> None:
    """Nothing vouches for a store without heads: whatever can be wrong with it may be."""
    if connection.dialect.name == "sqlite":
        heads.require_undamaged(connection)
    try:
        migration.bring_up_to_date(connection, keys.make(), at=datetime.datetime.now(datetime.UTC))
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise StoreError(f"the store of an older version holds values that cannot be: {error!r}") from error


def _require_plain(connection: sa.Connection) -> None:
    """Raises StoreError where a file holds anything that computes: before any of its tables is read.

    A view may answer without end, as may a generated column or a CHECK; a trigger, an index over an expression, a
    virtual table may do what they like. The tables of a store are made of names, types and keys alone.
    """
    for (sql,) in connection.exec_driver_sql("SELECT sql FROM sqlite_master"):
        if sql is None:  # an index that a key comes with
            continue
        if not isinstance(sql, str) or _NOT_PLAIN.search(sql) or not _WORDS.issuperset(_WORD.findall(sql)):
            raise heads.tampered("it holds more than tables and their indices: views, triggers, or what computes")

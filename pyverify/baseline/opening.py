"""What happens when a store is opened: its key is found or made, its tables are made or brought up to date."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import sqlalchemy as sa

from pyverify.baseline import database, heads, migration, schema, signing
from pyverify.baseline.signing import PublicKey, Signer
from pyverify.errors import StoreError

_ELSEWHERE: Final = Path("pyverify.key")
"""The key of a store that is no file, where none is named."""


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
    version, shown = schema.version_of(connection), database.shown(where)
    if version is None and not create:
        raise StoreError(f"{shown}: not a baseline store")
    if version not in (None, schema.VERSION, *migration.OLDER):
        raise StoreError(
            f"{database.shown(where)}: a store of version {version}; this pyverify reads version {schema.VERSION}"
        )
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
        migration.bring_up_to_date(connection, keys.make(), at=datetime.datetime.now(datetime.UTC))

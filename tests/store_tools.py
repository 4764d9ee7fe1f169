"""Stores as somebody else left them: damaged, with and without the key, and of older versions."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from conftest import ROOT

from pyverify.baseline import database, heads, schema, signing


def damage(path: Path, *statements: str) -> None:
    """Edits the rows of a SQLite file behind the store's back."""
    rows = sqlite3.connect(path)
    with rows:
        for statement in statements:
            rows.executescript(statement)
    rows.close()


def sign_again(path: Path) -> None:
    """Signs a store as it is now: what is wrong in it is then wrong by the hand of who has the key."""
    signer = signing.load(Path(f"{path}.key"))
    assert not isinstance(signer, signing.PublicKey)
    engine = database.connect(str(path))
    with database.writer(engine) as connection:
        connection.execute(schema.head.delete())
        about = heads.About.read(connection)
        last = about.start
        for _ in connection.scalars(schema.change.select()).all():
            last = heads.append(connection, last, signer)
    engine.dispose()


def damage_and_sign(path: Path, *statements: str) -> None:
    damage(path, *statements)
    sign_again(path)


def old_store(path: Path, version: int) -> None:
    """A store as pyverify wrote them at version 1 or 2, from its dump: three or four machines, a key, challenges."""
    rows = sqlite3.connect(path)
    rows.executescript((ROOT / "tests" / "data" / f"store-v{version}.sql").read_text())
    rows.close()

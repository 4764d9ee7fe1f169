"""Honest stores that hostile ones are made of, and the signature of whoever has the key, by the words of
``pyverify/baseline/heads.py`` and no code of it."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import quote_data
from baselines_by_hand import everything, of_log
from conftest import DATA, small_log
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from pyverify import EventLog, Store
from pyverify.baseline.booted import remember
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.identity import Challenge
from pyverify.baseline.ledger import Ledger
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.baseline.model import State, event_sequences
from pyverify.baseline.place import Place, Reached
from pyverify.baseline.selection import Selection
from pyverify.baseline.supersede import Old

NOW: Final = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
KEY: Final = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM: Final = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
PAGE: Final = 512
"""The smallest there is: a store of few bytes, nearly all of them in use."""
KINDS: Final = ("now", "v1", "v2")


@dataclasses.dataclass(frozen=True)
class Honest:
    """A store's bytes; of one of this version also its last head as an anchor keeps it, and its references' id."""

    data: bytes
    anchor: bytes = b""
    references: bytes = b""


@cache
def honest(kind: str) -> Honest:
    """The store of one of :data:`KINDS`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.db"
        if kind != "now":
            rows = sqlite3.connect(path)
            rows.executescript((DATA / f"store-{kind}.sql").read_text())
            rows.close()
            return Honest(_in_small_pages(path))
        Path(f"{path}.key").write_bytes(PEM)
        with Store.open(str(path), create=True, anchor_file=path.with_name("anchor")) as store:
            _fill(store)
            references = store.references().id
        return Honest(_in_small_pages(path), path.with_name("anchor").read_bytes(), references)


def _fill(store: Store) -> None:
    other = event_sequences(EventLog.parse(small_log(["sha1", "sha256"], command_line=b"debug")))
    fleet = dataclasses.replace(everything("fleet"), version=1, state=State.ACTIVE)
    store.add([of_log(name="a"), fleet], action="learn")
    store.add([of_log(name="b", state=State.PENDING)], action="learn", reason="new")
    life, keys = Lifecycle(store), [quote_data.sample(kind).key for kind in ("ecdsa_p256", "sm2")]
    until = NOW + datetime.timedelta(days=14)
    life.approve_boot("a", {8: other[8]}, at=NOW, old=Old(until), who="me", reason="a command line")
    life.activate(Selection(("b",)), who="me", reason=None)
    life.assign("fleet", ["c"], who=None, reason=None)
    life.ignore(["b"], until=until, who="me", reason="known")
    life.rollback("machine", "a", 1, at=NOW, who="me", reason="not yet")
    remember(store, [Reached("a", 8, other[8].key, Place(NOW, 3, None, "b3"))])
    names = [Enrollment(store).enroll("a", key, at=NOW, until=until).key.ak_name for key in keys]
    Enrollment(store).pin([b"0\x03\x02\x01\x01"])
    ledger = Ledger(store)
    ledger.add([Challenge(name, bytes([at] * 20), NOW, "a") for at, name in enumerate(names)])
    ledger.spend(names[0], bytes(20), bytes(32), at=NOW)


def _in_small_pages(path: Path) -> bytes:
    rows = sqlite3.connect(path)
    rows.execute(f"PRAGMA page_size = {PAGE}")
    rows.execute("VACUUM")
    rows.close()
    return path.read_bytes()


def sign(rows: sqlite3.Connection) -> None:
    """Signs all that is in a store as it is, changes by their numbers; what is no row is left as it is.

    Raises:
        sqlite3.Error, TypeError, ValueError, KeyError: there is nothing that could be signed.
    """
    about = dict(rows.execute("SELECT key, value FROM about").fetchall())
    about["layout"] = _layout(rows)
    rows.execute("UPDATE about SET value = ? WHERE key = 'layout'", (about["layout"],))
    facts = [(name, about[name]) for name in ("store_id", "algorithm", "public_key", "layout")]
    store_id = bytes.fromhex(about["store_id"])
    last = hashlib.sha256(b"pyverify store 1\0" + _line(facts).encode()).digest()
    rows.execute("DELETE FROM head")
    for number, *_ in rows.execute("SELECT number FROM change ORDER BY number").fetchall():
        content = _rows_of(rows, number)
        last = hashlib.sha256(b"pyverify store head 1\0" + store_id + number.to_bytes(8) + last + content).digest()
        signature = KEY.sign(b"pyverify store signature 1\0" + last)
        rows.execute("INSERT INTO head VALUES (?, ?, ?, ?)", (number, content, last, signature))


def _layout(rows: sqlite3.Connection) -> str:
    lines = sorted(_line(row) for row in rows.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
    return hashlib.sha256("\n".join(lines).encode("ascii")).hexdigest()


def _rows_of(rows: sqlite3.Connection, number: int) -> bytes:
    """The digest of the rows of a change."""
    text = hashlib.sha256(b"pyverify store rows 1\0")
    for table, (columns, keys) in TABLES.items():
        if table in ("about", "head"):
            continue
        named = ", ".join(f'"{name}"' for name in columns)
        whose = "number" if table == "change" else "change"
        found = rows.execute(f'SELECT {named} FROM "{table}" WHERE "{whose}" = ?', (number,)).fetchall()
        found.sort(key=lambda row: [row[columns.index(name)] for name in keys])
        if found:
            text.update(f"{_line([table, columns, found])}\n".encode("ascii"))
    return text.digest()


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=lambda data: [bytes.hex(data)])


def _tables() -> dict[str, tuple[list[str], list[str]]]:
    rows = sqlite3.connect(":memory:")
    rows.deserialize(honest("now").data)
    found = {}
    for (table,) in rows.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
        columns = rows.execute(f'PRAGMA table_info("{table}")').fetchall()
        keys = sorted((place, name) for _, name, _, _, _, place in columns if place)
        found[table] = ([column[1] for column in columns], [name for _, name in keys])
    rows.close()
    return found


TABLES: Final = _tables()
"""Columns and primary key of each table, by name."""

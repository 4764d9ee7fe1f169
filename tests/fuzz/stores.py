"""Stores in SQLite files that somebody else wrote to: an honest one, and the edits in JSON that make it hostile."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from conftest import small_log

from fuzz import json_trees
from fuzz.store_edits import EDITS, OF_BYTES, hostile
from fuzz.store_seed import KINDS, NOW, PEM, TABLES, honest
from fuzz.target import Target
from pyverify import Policy, PyverifyError, Store, verify_batches
from pyverify.baseline import database
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.history import load_counting
from pyverify.baseline.ledger import Ledger
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.cli.baseline import list_, show, show_history
from pyverify.cli.verify_store import verify_store

LOG_ONLY: Final = Policy.preset("log-only")
LOG: Final = small_log(["sha1", "sha256"], command_line=b"evil")
FLAGS: Final = ("signed", "pinned", "anchored", "loose", "tables")
"""Of an input: by who has the key; read with the key beside it, and its last head; NOT NULL is taken out of its tables;
commands print tables, not JSON."""


def check_store(data: bytes) -> None:
    """Nothing but refusals; what was not signed by who has the key, and is found to be whole, is the honest store."""
    try:
        recipe = json.loads(data)
        kind, edits, use = KINDS[KINDS.index(recipe["kind"])], recipe["edits"], recipe["use"]
        flags = {flag: bool(recipe.get(flag)) for flag in FLAGS}
        written = hostile(honest(kind).data, edits, signed=flags["signed"], loose=flags["loose"])
        step = STEPS[use % len(STEPS)]
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError, RecursionError):
        return
    path = _folder() / "s.db"
    for old in path.parent.iterdir():
        old.unlink()
    path.write_bytes(written)
    if flags["pinned"]:
        Path(f"{path}.key").write_bytes(PEM)
    anchor = path.with_name("anchor") if flags["anchored"] else None
    if anchor is not None:
        anchor.write_bytes(honest("now").anchor)
    with _one_engine():
        if kind == "now" and not flags["signed"] and _is_whole(path, anchor):
            with Store.open(str(path)) as store:
                assert store.references().id == honest(kind).references, "whole without the key, and another store"
        with contextlib.suppress(PyverifyError), contextlib.redirect_stdout(io.StringIO()):
            step(path, anchor, "table" if flags["tables"] else "json")


@contextlib.contextmanager
def _one_engine() -> Iterator[None]:
    """The engine of the one path is made once, as its compiled statements are kept with it: half of the time."""
    connect, database.connect = database.connect, _connect
    try:
        yield
    finally:
        database.connect = connect


_connect: Final = cache(database.connect)


def _is_whole(path: Path, anchor: Path | None) -> bool:
    try:
        with Store.open(str(path), anchor_file=anchor) as store:
            store.verify()
    except PyverifyError:
        return False
    return True


def _judge(path: Path, anchor: Path | None, _: str) -> None:
    with Store.open(str(path), anchor_file=anchor) as store:
        references = store.references()
    rows = pa.record_batch({"machine": ["a", "b", "c"], "boot": ["b"] * 3, "event_log": [LOG] * 3})
    list(verify_batches([rows], references=references, policy=LOG_ONLY, as_of=NOW))


def _read(path: Path, anchor: Path | None, _: str) -> None:
    with Store.open(str(path), anchor_file=anchor) as store:
        Enrollment(store).keys()
        Enrollment(store).roots()
        load_counting(store, "machine")


def _assign(path: Path, anchor: Path | None, _: str) -> None:
    with Store.open(str(path), anchor_file=anchor) as store:
        Lifecycle(store).assign("fleet", ["d"], who=None, reason=None)
        store.verify()


def _roll_back(path: Path, anchor: Path | None, _: str) -> None:
    with Store.open(str(path), anchor_file=anchor) as store:
        Lifecycle(store).rollback("machine", "a", 1, at=NOW, who=None, reason=None)


def _challenge(path: Path, anchor: Path | None, _: str) -> None:
    with Store.open(str(path), anchor_file=anchor) as store:
        for key in Enrollment(store).keys("a"):
            Ledger(store).issue("a", [key.ak_name], at=NOW)
            Ledger(store).spend(key.ak_name, bytes(20), bytes(32), at=NOW)


def _command(command: Callable[[argparse.Namespace], int], **options: Any) -> Callable[[Path, Path | None, str], None]:
    def run(path: Path, anchor: Path | None, form: str) -> None:
        command(argparse.Namespace(store=str(path), store_key=None, anchor=anchor, format=form, **options))

    return run


STEPS: Final = (
    _command(verify_store, head=None),
    _judge,
    _read,
    _assign,
    _roll_back,
    _challenge,
    _command(list_, all=True),
    _command(show, name="fleet", of_cohort=True, version=None),
    _command(show, name="a", of_cohort=False, version=2),
    _command(show_history, name="a", of_cohort=False),
    _command(show_history, name="b", of_cohort=False),
)
"""What is done with a store, one of them by an input."""


@cache
def _folder() -> Path:
    """One for all inputs; in memory where the system has a place for it."""
    shm = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="pyverify-fuzz-", dir=shm if shm.is_dir() else None))


def store_seeds() -> Iterator[bytes]:
    yield from (_recipe(kind, [], use=use) for kind in KINDS for use in range(len(STEPS)))
    edited = ["set", "change", 1, "action", {"text": "learned"}]
    yield from (_recipe(kind, [edited], pinned=True, use=0) for kind in KINDS)
    yield _recipe("now", [["set", "baseline", 0, "version", 9]], signed=True, pinned=True, use=8)
    yield _recipe("now", [["set", "baseline", 0, "boot", None]], signed=True, loose=True, tables=True, use=6)
    yield _recipe("now", [["tree", "profile", 1, "body", 7]], signed=True, use=1)
    yield _recipe("now", [["bare", "transition"], ["copy", "transition", 0]], signed=True, use=9)
    yield _recipe("now", [["byte", 3000, 1], ["page", 3, 4]], anchored=True, use=1)
    yield from (_recipe("now", [["sql", number, "about"]], signed=True, use=2) for number in range(0, 40, 7))
    yield _recipe("now", [["schema", "head", "sql", {"text": "CREATE TABLE head (id)"}]], signed=True, use=2)


def _recipe(kind: str, edits: list[list[Any]], **options: int) -> bytes:
    return json.dumps({"kind": kind, **options, "edits": edits}).encode()


def mutate_store(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
    """More edits, fewer, and others; at times the same by somebody else."""
    choose = random.Random(seed)
    try:
        recipe = json.loads(data)
        edits = recipe["edits"]
        recipe["use"] = choose.randrange(len(STEPS))
        match choose.randrange(8):
            case 0 if edits:
                del edits[choose.randrange(len(edits))]
            case 1:
                flag = choose.choice(FLAGS)
                recipe[flag] = not recipe.get(flag)
            case 2 | 3 if edits:
                return json_trees.mutate_json(data, most, seed & ~1, own)
            case 4 if choose.randrange(8) == 0:
                recipe["kind"] = choose.choice(KINDS)
            case _:
                edits.insert(choose.randrange(len(edits) + 1), _new_edit(choose, own))
        made = json.dumps(recipe).encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return own(data, most)
    return made if len(made) <= most else own(data, most)


def _new_edit(choose: random.Random, own: Callable[[bytes, int], bytes]) -> list[Any]:
    kind = choose.choice(["set"] * 6 + ["tree"] * 3 + [*EDITS, *OF_BYTES])
    table = choose.choice(list(TABLES))
    row, other, number = choose.randrange(14), choose.randrange(14), choose.getrandbits(16)
    column = choose.choice(TABLES[table][0])
    match kind:
        case "set":
            return [kind, table, row, column, _value(choose, own)]
        case "tree":
            table, column = choose.choice(TREES)
            return [kind, table, row, column, number]
        case "add":
            return [kind, table, row, column, choose.choice([-1, 1, 1 << 31, 1 << 62, -(1 << 40)])]
        case "flip":
            return [kind, table, row, column, number, 1 << choose.randrange(8)]
        case "swap":
            return [kind, table, row, other, column]
        case "sql":
            return [kind, number, table]
        case "schema":
            field = choose.choice(["sql", "rootpage", "type", "name", "tbl_name"])
            return [kind, table, field, _value(choose, own)]
        case "byte":
            return [kind, number, 1 << choose.randrange(8)]
        case "page":
            return [kind, number % 128, other]
        case "cut":
            return [kind, number]
        case _:
            return [kind, table, row]


TREES: Final = (
    ("sequence", "events"),
    ("sequence", "varies"),
    ("sequence", "pcr_values"),
    ("profile", "body"),
    ("baseline", "accepted"),
    ("baseline", "ima_superseded"),
)
"""Columns of JSON."""


def _value(choose: random.Random, own: Callable[[bytes, int], bytes]) -> Any:
    match choose.randrange(6):
        case 0:
            return choose.choice([None, 0, 1, -1, 2, 13, 24, 1 << 31, (1 << 63) - 1, -(1 << 63), 0.5, 1e300])
        case 1:
            return choose.randrange(-3, 1 << choose.randrange(3, 62))
        case 2:
            return {"zeros": 1 << choose.randrange(20)}
        case 3:
            return {"hex": own(choose.randbytes(choose.choice([0, 1, 4, 32, 34, 44])), 64).hex()}
        case 4:
            return {"text_hex": own(b"text", 64).hex()}
        case _:
            return {"text": choose.choice(WORDS)}


WORDS: Final = (
    *("", "a", "b", "fleet", "machine", "cohort", "active", "pending", "revoked", "superseded", "learn", "1", "2", "3"),
    *("ed25519", "sm2", "enrolled", "certified", "digest", "za", "first-seen", "approved", "imported", "[]", "{}"),
    *("null", "[1]", "[[1,2]]", "[[" * 500, "\x1b[31m", "../x", "a\0b", "\u202e", "9" * 400, "x" * 5000, "00" * 32),
    *("2026-11-01 00:00:00.000000", "2026-11-01T00:00:00", "9999-99-99", "version", "store_id", "layout"),
)

TARGETS: Final = {"store": Target(check_store, store_seeds, 4096, mutate_store)}

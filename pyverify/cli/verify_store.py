"""``baseline verify-store``: is the store what was written to it, and no older copy?"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

from pyverify.baseline.store import Verification
from pyverify.cli.lines import number_of
from pyverify.cli.stores import open_store
from pyverify.errors import StoreError, UsageError
from pyverify.evidence.text import escape

_ANSWERS = ("store.tampered", "store.rolled-back")


@dataclass(frozen=True, slots=True)
class _Answer:
    found: Verification | None
    trouble: str | None
    notes: list[str]


def verify_store(args: argparse.Namespace) -> int:
    """Checks every row, head and signature; 1 where they do not verify, or an older copy is in the store's place."""
    answer = _check(args)
    print(json.dumps(_facts(answer), indent=1) if args.format == "json" else _words(answer))
    return 0 if answer.found is not None else 1


def _check(args: argparse.Namespace) -> _Answer:
    try:
        head = None if args.head is None else bytes.fromhex(args.head.rpartition(":")[2])
    except ValueError as error:
        raise UsageError(f"{args.head!r} is no head: give its hex digits, 16 or more") from error
    try:
        with open_store(args) as store:
            found = store.verify(head)
    except StoreError as error:
        if not str(error).startswith(_ANSWERS):
            raise
        return _Answer(None, str(error), [])
    notes = []
    if args.head is None and args.anchor is None:
        notes.append("a restored older copy cannot be seen without --anchor FILE or --head HEX")
    if not found.is_pinned:
        notes.append(
            "its key is not pinned: it is the one that the store itself names; compare the fingerprint, or give the "
            "key by --store-key FILE"
        )
    return _Answer(found, None, notes)


def _facts(answer: _Answer) -> dict[str, object]:
    facts: dict[str, object] = {"verified": answer.found is not None, "reason": answer.trouble, "notes": answer.notes}
    if answer.found is not None:
        facts |= {
            "store": answer.found.head.store_id.hex(),
            "changes": answer.found.head.number,
            "head": answer.found.head.digest.hex(),
            "algorithm": answer.found.key.algorithm,
            "key": answer.found.key.fingerprint.hex(),
            "pinned": answer.found.is_pinned,
        }
    return facts


def _words(answer: _Answer) -> str:
    if answer.found is None:
        return f"no: {escape(answer.trouble or '', 2000)}"
    head, key = answer.found.head, answer.found.key
    lines = [
        f"verified: {number_of(head.number, 'change')}",
        f"store  {head.store_id.hex()}",
        f"head   {head.digest.hex()}",
        f"key    {key.fingerprint.hex()} ({key.algorithm}, {'pinned' if answer.found.is_pinned else 'not pinned'})",
        *(f"note: {note}" for note in answer.notes),
    ]
    return "\n".join(lines)

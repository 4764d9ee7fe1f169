"""``verify --resume``: the journal beside an output, and whether it may be gone on with."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from pyverify.appraise.policy import Policy
from pyverify.baseline import schema
from pyverify.baseline.references import References
from pyverify.baseline.store import Store
from pyverify.errors import OutputError, UsageError
from pyverify.evidence.text import escape
from pyverify.fleet.job import has_second_pass
from pyverify.fleet.journal import Bound, Journal
from pyverify.fleet.partial import discard, locked, partial_of, writing
from pyverify.output.tables import regular_file

_OWN: Final = {"spend", "booted"}
"""Changes of the store that the second pass of a verification makes itself."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a verification is against, and where it keeps what is finished: nowhere if its output is no file."""

    references: References
    as_of: datetime.datetime
    journal: Journal | None = None
    folder: Path | None = None


@contextlib.contextmanager
def run_of(args: argparse.Namespace, store: Store, policy: Policy) -> Iterator[Run]:
    """A new run, or the one that was interrupted; its folder goes when all went well, or if nothing is finished.

    Raises:
        UsageError: there is no file to go on with, something was interrupted and is not gone on with, or it was under
            another policy, other references or another time.
        OutputError: the folder cannot be written to, or is broken.
    """
    target = regular_file(args.output)
    if target is None:
        if args.resume:
            raise UsageError("--resume goes on with an output that is a file: name it with -o")
        yield Run(store.references(), args.as_of or datetime.datetime.now(datetime.UTC))
        return
    folder = partial_of(target)
    if not target.parent.is_dir():
        raise OutputError(f"{target}: cannot be written, for {target.parent} is no folder")
    with locked(folder):
        journal = Journal(folder)
        try:
            with writing(target):
                run = (
                    _resumed(args, store, policy, journal)
                    if journal.has_parts
                    else _begun(args, store, policy, journal)
                )
            yield Run(run.references, run.as_of, journal, folder)
            discard(folder)
        except BaseException:
            if journal.has_parts:
                print(f"pyverify: what is finished is kept in {escape(str(folder))}: --resume goes on", file=sys.stderr)
            else:
                discard(folder)
            raise


def _begun(args: argparse.Namespace, store: Store, policy: Policy, journal: Journal) -> Run:
    now = args.as_of or datetime.datetime.now(datetime.UTC)
    references = store.references()
    bound = Bound.of(policy.id, references, now, str(store.head))
    journal.begin(bound, references if has_second_pass(references, policy, now) else None)
    return Run(references, now)


def _resumed(args: argparse.Namespace, store: Store, policy: Policy, journal: Journal) -> Run:
    if not args.resume:
        raise UsageError(
            f"{args.output}: a run was interrupted; --resume goes on with it, and when "
            f"{partial_of(Path(args.output)).name} is removed a new one begins"
        )
    bound = journal.bound()
    as_of = datetime.datetime.fromisoformat(bound.as_of)
    if args.as_of not in (None, as_of):
        raise UsageError(f"{args.output}: the run that was interrupted is as of {bound.as_of}; leave --as-of out")
    if bound.policy_id != policy.id.hex():
        raise UsageError(f"{args.output}: the run that was interrupted is under another policy; name that one")
    references = store.references()
    if bound.references_id == references.id.hex():
        return Run(references, as_of)
    # Once all was appraised, the run spends nonces and notes what was booted: it must not stumble over that.
    if journal.is_complete and _changes_since(store, bound.head) <= _OWN:
        return Run(journal.references(), as_of)
    raise UsageError(
        f"{args.output}: the run that was interrupted is against other references "
        f"({bound.references_id[:12]}, now {references.id.hex()[:12]}): the store has changed; begin anew"
    )


def _changes_since(store: Store, head: str) -> set[str]:
    """The kinds of changes that were made after a head that the store had.

    Raises:
        StoreError: it never had it.
    """
    number, _, digest = head.partition(":")
    store.verify(bytes.fromhex(digest))
    with store.reading() as connection:
        query = sa.select(schema.change.c.action).where(schema.change.c.number > int(number)).distinct()
        return set(connection.scalars(query))

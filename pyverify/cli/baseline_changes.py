"""``baseline ignore``, ``assign``, ``rollback``: changes that take no evidence."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pyverify.baseline.lifecycle import Lifecycle
from pyverify.cli.approve import reason, who
from pyverify.cli.archive import as_of
from pyverify.cli.baseline import scope_of
from pyverify.cli.lines import number_of
from pyverify.cli.stores import open_store
from pyverify.errors import UsageError
from pyverify.evidence.text import escape


def ignore(args: argparse.Namespace) -> int:
    """Silences machines until then; they stay untrusted."""
    if args.until <= as_of(args):
        raise UsageError("--until wants a time that is to come")
    with open_store(args) as store:
        done = Lifecycle(store).ignore(args.machines, until=args.until, who=who(args), reason=reason(args))
    print(
        f"ignored until {args.until.isoformat()}, and untrusted still: {number_of(done.concerned, 'machine')}",
        file=sys.stderr,
    )
    return 0


def assign(args: argparse.Namespace) -> int:
    """Assigns machines to a cohort, or takes them out of theirs with ``--none``."""
    if args.none == (args.cohort is not None):
        raise UsageError("name a cohort (--cohort NAME), or --none to take the machines out of theirs")
    machines = [*args.machines, *([] if args.file is None else _names(Path(args.file)))]
    if not machines:
        raise UsageError("name machines, or a file of their names (--file)")
    with open_store(args, create=True) as store:
        done = Lifecycle(store).assign(args.cohort, machines, who=who(args), reason=args.reason)
    where = "in no cohort" if args.none else f"in cohort {args.cohort}"
    print(f"{where}: {number_of(done.concerned, 'machine')}", file=sys.stderr)
    return 0


def _names(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8").split()
    except UnicodeDecodeError as error:
        raise UsageError(f"{escape(str(file))} is no text in UTF-8") from error


def rollback(args: argparse.Namespace) -> int:
    """Returns to an earlier version of a baseline."""
    with open_store(args) as store:
        Lifecycle(store).rollback(
            scope_of(args), args.name, args.to, at=as_of(args), who=who(args), reason=reason(args)
        )
    print(f"{scope_of(args)} {args.name} is as in version {args.to} again; what came after is revoked", file=sys.stderr)
    return 0

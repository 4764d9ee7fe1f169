"""``inspect``: what is in one file of evidence, for a person or a script.

What the file is decides which module of :mod:`pyverify.cli.views` shows it; only that one is imported.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterable
from typing import Final

from pyverify.cli.evidence_file import EVENT_LOGS, kind_of, named, read_evidence
from pyverify.cli.views import Asked, View
from pyverify.errors import UsageError

MODULES: Final = {"ima": "ima_list", "quote": "quote", "key": "key", "signature": "signature"}
"""The module that shows a kind; event logs of all kinds have one."""


def inspect(args: argparse.Namespace) -> int:
    """Shows a file as far as it can be read."""
    data = read_evidence(args.file)
    kind = kind_of(data, args.kind)
    asked = Asked(args.file, kind, _words(args.pcr), _words(args.type))
    _check_options(asked, summary=args.summary)
    module = "boot" if args.summary else MODULES.get(kind, "event_log")
    view: View = importlib.import_module(f"pyverify.cli.views.{module}").view(data, asked)
    if args.format == "table":
        _print(view)
    else:
        from pyverify.cli.views.documents import print_document

        print_document(view.document(), args.format)
    if (fault := view.fault) is not None:
        raise named(fault, args.file)
    return 0


def _print(view: View) -> None:
    from pyverify.cli.views import findings
    from pyverify.cli.views.table import print_tables

    print_tables(view.title, [view.table(), findings.table(view.findings())])


def _words(options: Iterable[str] | None) -> frozenset[str]:
    """The words that options name, several in one between commas."""
    return frozenset(word.strip() for option in options or () for word in option.split(","))


def _check_options(asked: Asked, *, summary: bool) -> None:
    """A filter that does nothing would look like one that found nothing."""
    is_log = asked.kind in EVENT_LOGS
    if summary and not is_log:
        raise UsageError(f"--summary is of event logs; {asked.name} is of kind {asked.kind}")
    if summary and (asked.registers or asked.types):
        raise UsageError("--pcr and --type are for events; --summary is of a whole log")
    if asked.registers and not is_log and asked.kind != "ima":
        raise UsageError(f"--pcr is for event logs and IMA lists; {asked.name} is of kind {asked.kind}")
    if asked.types and not is_log:
        raise UsageError(f"--type is for event logs; {asked.name} is of kind {asked.kind}")

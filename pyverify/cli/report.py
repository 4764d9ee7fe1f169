"""``report``: verdict files as one page to look at."""

from __future__ import annotations

import argparse
import sys

from pyverify.cli.explain import next_step
from pyverify.errors import UsageError
from pyverify.output.report.fleet import Fleet
from pyverify.output.report.page import page
from pyverify.output.tables import whole_file
from pyverify.output.verdict_files import read_verdicts


def report(args: argparse.Namespace) -> int:
    """Writes the page; 0 when it is there."""
    if args.output is None and sys.stdout.isatty():
        raise UsageError("a page is not for a terminal: name a file with -o, or pipe it on")
    fleet = Fleet()
    for path in args.verdicts:
        fleet.add(path, read_verdicts(path))
    with whole_file(args.output) as file:
        for piece in page(fleet.packed(next_step)):
            file.write(piece)
    return 0

"""What the arguments of several commands have in common."""

from __future__ import annotations

import argparse
import datetime
import os
from typing import Any, Final

ARCHIVE: Final = "folder, tar (.gz .zst .xz), zip or Parquet of evidence"


def time(text: str) -> datetime.datetime:
    """A time as RFC 3339; without a zone it is UTC."""
    try:
        time = datetime.datetime.fromisoformat(text)
        return time.astimezone(datetime.UTC) if time.tzinfo else time.replace(tzinfo=datetime.UTC)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2026-11-01T08:00:00Z") from error


def positive(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def command(commands: Any, name: str, run: str, words: str) -> argparse.ArgumentParser:
    """A subcommand; ``run`` is ``module:function`` under ``pyverify.cli``, imported only when it is called."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words)
    parser.set_defaults(run=run)
    return parser


def group(commands: Any, name: str, words: str) -> Any:
    """A command that has actions, and what these are added to."""
    parser = commands.add_parser(name, help=words, description=words)
    return parser.add_subparsers(metavar="ACTION", required=True)


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """What the commands that work on an archive and a store have in common."""
    parser.add_argument("archive", metavar="ARCHIVE", help=ARCHIVE)
    add_store_option(parser)
    words = "what must hold: default, archive, log-only, or a file (a name with / or .toml at its end)"
    parser.add_argument("--policy", metavar="NAME|FILE", default="default", help=words)
    parser.add_argument("--as-of", metavar="TIME", type=time, help="time of the verdicts (default: now)")


def add_store_option(parser: argparse.ArgumentParser) -> None:
    """Where the store is, how its changes are signed, and how an older copy shows."""
    parser.add_argument(
        "--store",
        metavar="URL",
        default=os.environ.get("PYVERIFY_STORE", "pyverify.db"),
        help="baseline store: a file or a database URL (default: $PYVERIFY_STORE, else pyverify.db)",
    )
    parser.add_argument(
        "--store-key",
        metavar="FILE",
        default=os.environ.get("PYVERIFY_STORE_KEY"),
        help="key that the store's changes are signed with, or its public key to read it with (default: "
        "$PYVERIFY_STORE_KEY, else STORE.key beside a file, pyverify.key for a URL)",
    )
    parser.add_argument(
        "--anchor", metavar="FILE", help="keeps the store's last head: shows when an older copy is back"
    )


def add_identity_options(parser: argparse.ArgumentParser) -> None:
    """What the commands on keys and challenges have in common."""
    add_store_option(parser)
    parser.add_argument("--as-of", metavar="TIME", type=time, help="the time now (default: the clock's)")
    add_form(parser)


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """On how many threads a command runs."""
    parser.add_argument("--jobs", metavar="N", type=positive, help="threads (default: the processors there are)")


def add_form(parser: argparse.ArgumentParser) -> None:
    """A table, or JSON."""
    parser.add_argument("--format", choices=("table", "json"), default="table")

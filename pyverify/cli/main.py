"""``pyverify``: which command runs, and what becomes of errors.

Commands import what they need when they run, so that ``inspect`` and ``replay`` load neither pyarrow nor SQLAlchemy.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from pyverify.cli.arguments import build_parser
from pyverify.errors import ArchiveError, EvidenceError, PyverifyError, UsageError
from pyverify.evidence.text import escape

DONE: Final = 0
NO: Final = 1
USAGE: Final = 2
UNREADABLE: Final = 3
INTERNAL: Final = 4


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; what a command takes any number of may also follow its options, where argparse gives up."""
    args, rest = parser.parse_known_args(argv)
    if rest and ("any_number" not in args or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        getattr(args, args.any_number).extend(rest)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0 done, 1 the answer is no, 2 usage, 3 unreadable input, 4 internal."""
    with _ended_by_sigterm():
        try:
            return _run(_parsed(build_parser(), argv))
        except KeyboardInterrupt as stop:
            print("pyverify: interrupted; nothing was left half written", file=sys.stderr)
            return 128 + (signal.SIGTERM if isinstance(stop, _TerminatedError) else signal.SIGINT)


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM: as an interrupt, but for the exit code."""


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends what runs here as an interrupt does, so that nothing is left half written."""
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    def end(*_: object) -> None:
        raise _TerminatedError

    if mine:
        signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(args: argparse.Namespace) -> int:
    module, function = args.run.split(":")
    on_archive = "archive" in args
    try:
        code: int = getattr(importlib.import_module(f"pyverify.cli.{module}"), function)(args)
        sys.stdout.flush()
    except UsageError as error:
        return _complain(error, USAGE)
    except (ArchiveError, EvidenceError) as error:
        return _complain(error, INTERNAL if on_archive else UNREADABLE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away; say nothing at exit
        return INTERNAL
    except OSError as error:
        return _complain(error, INTERNAL if on_archive else UNREADABLE)
    except PyverifyError as error:
        return _complain(error, INTERNAL)
    except Exception as error:
        return _complain(f"internal error, please report it: {type(error).__name__}: {error}", INTERNAL)
    return code


def _complain(error: Exception | str, code: int) -> int:
    print(f"pyverify: {escape(str(error), 2000)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

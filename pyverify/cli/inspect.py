"""``inspect``: what is in one file of evidence, for a person or a script.

What the file is decides which module of :mod:`pyverify.cli.views` shows it. A view has one function, ``show(data,
args)``, which returns the exit code.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Final

from pyverify.cli.evidence_file import read_evidence

_VIEWS: Final[tuple[tuple[str, Callable[[bytes], bool]], ...]] = (
    # Last, for all that no other view knows: the reader of event logs says what is wrong with those.
    ("event_log", lambda data: True),
)


def inspect(args: argparse.Namespace) -> int:
    """Shows a file."""
    data = read_evidence(args.file)
    view = next(name for name, knows in _VIEWS if knows(data))
    code: int = importlib.import_module(f"pyverify.cli.views.{view}").show(data, args)
    return code

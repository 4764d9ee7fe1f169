"""Reads one file of evidence for the commands that look at a single one."""

from __future__ import annotations

import sys
from pathlib import Path

from pyverify.errors import EvidenceError


def read_evidence(path: str) -> bytes:
    """The bytes of a file, ``-`` being standard input. Of one past the limits of a log, only enough to say so.

    Raises:
        EvidenceError: it cannot be read (``evidence.unreadable``).
    """
    from pyverify._native import MAX_LOG_SIZE

    try:
        if path == "-":
            return sys.stdin.buffer.read(MAX_LOG_SIZE + 1)
        with Path(path).open("rb") as file:
            return file.read(MAX_LOG_SIZE + 1)
    except OSError as error:
        raise EvidenceError("evidence.unreadable", f"{path}: {error.strerror}") from error

"""What ``enroll`` and ``challenge`` share: small files in, keys out in words or as JSON."""

from __future__ import annotations

import datetime
import getpass
import sys
from pathlib import Path
from typing import Any, Final

from pyverify.baseline.identity import ALWAYS, EnrolledKey
from pyverify.errors import UsageError
from pyverify.evidence.text import escape

MAX_FILE: Final = 1 << 26
"""Bytes of a file given to these commands: some 200,000 challenges."""


def read_file(name: str, most: int = MAX_FILE) -> bytes:
    """The bytes of a file, ``-`` for standard input; never more than the limit is read."""
    if name == "-":
        data = sys.stdin.buffer.read(most + 1)
    else:
        with Path(name).open("rb") as file:
            data = file.read(most + 1)
    if len(data) > most:
        raise UsageError(f"{escape(name)} is larger than {most:,} bytes")
    return data


def who() -> str | None:
    """The user who runs this, for the record of changes; None where the system does not say."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None


def key_facts(key: EnrolledKey) -> dict[str, Any]:
    """An enrolled key as JSON has it."""
    return {
        "machine": key.machine,
        "ak_name": key.ak_name.hex(),
        "since": key.since.isoformat(),
        "until": None if key.until is None else key.until.isoformat(),
        "level": str(key.level),
        "sm2_mode": str(key.sm2_mode),
    }


def key_words(key: EnrolledKey) -> str:
    """An enrolled key as one line."""
    since = f" since {_day(key.since)}" if key.since != ALWAYS else ""
    until = f" until {_day(key.until)}" if key.until else ""
    return f"{key.machine}  {key.ak_name.hex()}  {key.level}{since}{until}"


def _day(time: datetime.datetime) -> str:
    return f"{time.astimezone(datetime.UTC):%Y-%m-%d %H:%M}Z"

"""Reads one file of evidence for the commands that look at a single one, and says of what kind it is."""

from __future__ import annotations

import os
import re
import sys
from typing import Final

from pyverify.errors import EvidenceError

# NumPy starts threads for matrices when it is imported. That takes longer than a look at a log, which has no matrices.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

KINDS: Final = ("tcg", "ccel", "cel-tlv", "cel-json", "systemd", "ima", "quote", "key", "signature")
"""What a file may be: an event log of one of five kinds, an IMA list, and what belongs to a quote."""

EVENT_LOGS: Final = KINDS[:5]

_DETECTED: Final = {"ima-binary": "ima", "ima-ascii": "ima", "attest": "quote", "public": "key"}
# Names of the kernel's files: binary_runtime_measurements, ascii_runtime_measurements_sha256, … (SPEC section 7.1).
_IMA_NAME: Final = re.compile(r"(binary|ascii)_runtime_measurements((?:_[a-z0-9_-]+)?)")

_USUAL_FORMATS: Final = tuple(
    form + bank for form in ("binary", "ascii") for bank in ("", "_sha256", "_sm3_256", "_sha384", "_sha512")
)
_ENOUGH_OF_A_LIST: Final = 1 << 16  # bytes: some hundred entries


def read_evidence(path: str) -> bytes:
    """The bytes of a file, ``-`` being standard input. Of one past all limits, only enough to say so.

    Raises:
        EvidenceError: it cannot be read (``evidence.unreadable``).
    """
    from pyverify._native import IMA_MAX_SIZE, MAX_LOG_SIZE

    most = max(IMA_MAX_SIZE, MAX_LOG_SIZE) + 1
    try:
        if path == "-":
            return sys.stdin.buffer.read(most)
        with open(path, "rb") as file:  # noqa: PTH123 -- pathlib is a twentieth of what a look at a log takes
            return file.read(most)
    except OSError as error:
        raise EvidenceError("evidence.unreadable", f"{path}: {error.strerror}") from error


def named(error: EvidenceError, path: str) -> EvidenceError:
    """The error with the file's name before its words."""
    return EvidenceError(error.code, f"{path}: {error}", offset=error.offset, event=error.event)


def kind_of(data: bytes, kind: str | None) -> str:
    """The kind that was asked for, else the one that the bytes look like, else that of an event log.

    The reader of event logs says best what is wrong with bytes that are nothing at all.
    """
    from pyverify.evidence.detect import detect_kind

    found = kind or detect_kind(data) or "tcg"
    return _DETECTED.get(found, found)


def ima_format(path: str, data: bytes) -> str:
    """The format of an IMA list, as :data:`pyverify.evidence.ima.FORMATS` has them.

    Where the file is called as the kernel calls it, the name says it; else the form and the length of the first digest
    do, and of SHA-256 and SM3, which are as long, that which the first entry fits.
    """
    from pyverify.evidence.ima import FORMATS
    from pyverify.evidence.ima_list import ImaList

    if (called := _IMA_NAME.fullmatch(os.path.basename(path))) and called[1] + called[2] in FORMATS:  # noqa: PTH119
        return called[1] + called[2]
    head = data[:_ENOUGH_OF_A_LIST]
    read = {name: ImaList.read(head, name) for name in _USUAL_FORMATS}
    return max(read, key=lambda name: (len(read[name]), len(read[name]) > 0 and read[name][0].data_verified is True))

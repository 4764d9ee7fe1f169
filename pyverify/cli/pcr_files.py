"""Files of PCR values as tools write them."""

from __future__ import annotations

from pathlib import Path

from pyverify.errors import EvidenceError
from pyverify.evidence.pcr_values import TEXT_LIMIT, PcrValues, parse_pcr_text


def read_pcr_file(path: str) -> PcrValues:
    """PCR values by bank and number.

    Raises:
        EvidenceError: the file cannot be read, a line is none of the known forms, or a value has the wrong length.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(TEXT_LIMIT + 1)
    except OSError as error:
        raise EvidenceError("evidence.unreadable", f"{path}: cannot be read as PCR values: {error}") from error
    return parse_pcr_text(data, path)

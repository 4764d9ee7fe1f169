"""What views of TPM structures have in common."""

from __future__ import annotations

from typing import Any

from pyverify import _native
from pyverify.errors import EvidenceError


def structure_fault(row: Any, what: str, source: str) -> EvidenceError | None:
    """The fault of a row of ``_native``'s quotes, signatures or keys.

    ``what`` names the structures that it should be, ``source`` the tool that writes them.
    """
    code = _native.quote_fault_code(int(row["fault"]))
    if code is None:
        return None
    at = int(row["fault_at"])
    if code == "quote.type":
        return EvidenceError(code, f"{code} at byte {at}: it attests something else than PCRs", offset=at)
    words = f"{code} at byte {at}: this is no whole {what}; {source} writes one"
    return EvidenceError(code, words, offset=at)

"""An IMA list as ``inspect`` shows it: JSON, and lines of a table. All text of the list is escaped."""

from __future__ import annotations

from typing import Any, Final

from pyverify.algorithms import BANKS
from pyverify.evidence.ima import Flag
from pyverify.evidence.ima_list import ImaEntry, ImaList
from pyverify.evidence.text import escape

_PATH_LIMIT: Final = 4096  # PATH_MAX

_MARKS: Final = (
    (Flag.VIOLATION, "violation: name and digest are not proven"),
    (Flag.KEXEC, "kexec"),
    (Flag.WEAK_HASH, "weak hash"),
    (Flag.DIGEST_LENGTH, "digest of a wrong length"),
    (Flag.UNKNOWN_ALGORITHM, "unknown algorithm"),
)


def _text(path: bytes) -> str:
    return escape(path.decode("utf-8", "surrogateescape"), _PATH_LIMIT)


def json_of(found: ImaList) -> dict[str, Any]:
    """The document of ``inspect --format json`` (DESIGN section 9), up to the list's end or fault."""
    fault = found.fault
    return {
        "kind": "ima",
        "banks": [BANKS[int(found.columns.rows["bank"][0])].name],
        "events": [
            {
                "number": entry.number,
                "pcr": entry.pcr,
                "template": escape(entry.template),
                "path": _text(entry.path),
                "digest": escape(entry.digest_text),
                "data_verified": entry.data_verified,
            }
            for entry in found
        ],
        "findings": []
        if fault is None
        else [
            {
                "code": fault.code,
                "severity": "high",
                "event": fault.event,
                "offset": fault.offset,
                "hint": str(fault),
            }
        ],
    }


def table_lines(found: ImaList) -> list[str]:
    """One line an entry: number, PCR, template, digest, name, and what is wrong with it."""
    return [_line(entry) for entry in found]


def _line(entry: ImaEntry) -> str:
    marks = [words for flag, words in _MARKS if entry.flags & flag]
    if entry.data_verified is False:
        marks.insert(0, "data does not fit its template digest")
    note = f"  [{'; '.join(marks)}]" if marks else ""
    template = escape(entry.template)
    return f"{entry.number:>6} {entry.pcr:>2} {template:<9} {escape(entry.digest_text)} {_text(entry.path)}{note}"

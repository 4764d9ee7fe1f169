"""systemd's userspace log, ``/run/log/systemd/tpm2-measure.log``: what was extended after the kernel began (SPEC 9.1).

A JSON sequence (RFC 7464): before each record the byte 0x1E, after it a line feed.
"""

from __future__ import annotations

from typing import Final

from pyverify.evidence.cel import MAX_RECORDS, Record, malformed, too_large
from pyverify.evidence.cel_json import check_json_size, record_of
from pyverify.evidence.strict_json import StrictJsonError, decode

_RECORD_SEPARATOR: Final = b"\x1e"  # never inside a record: JSON has control characters escaped


def read_records(data: bytes) -> list[Record]:
    """The records, in file order; their data is the text that they say was measured.

    Only content of type ``systemd``, or none, is taken: user space cannot speak for the firmware.

    Raises:
        EvidenceError: ``cel.format``, also where the last record was cut: systemd itself refuses a log whose write was
            interrupted; ``log.too-large``.
    """
    check_json_size(data)
    records: list[Record] = []
    at = 0
    while at < len(data):
        if data[at : at + 1] != _RECORD_SEPARATOR:
            raise malformed(at, "a record must begin with the byte 0x1E (RFC 7464)")
        if len(records) == MAX_RECORDS:
            raise too_large(at, f"more than {MAX_RECORDS} records")
        found = data.find(_RECORD_SEPARATOR, at + 1)
        end = len(data) if found < 0 else found
        records.append(_record(at, data[at + 1 : end]))
        at = end
    return records


def _record(at: int, line: bytes) -> Record:
    if not line.endswith(b"\n"):
        raise malformed(at, "the log ends inside this record; collect it again")
    try:
        value = decode(line)
    except StrictJsonError as error:
        raise malformed(at + 1 + error.offset, str(error)) from None
    text = line.strip(b" \t\r\n")
    record = record_of(at, text, value, None)
    if value.get("content_type", "systemd") != "systemd":
        raise malformed(at, "content_type must be systemd in a userspace log")
    return record

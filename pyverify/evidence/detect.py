"""What kind of evidence some bytes look like, for a person who inspects a file.

Verification never asks: there the kind is what the evidence's column or the file's name says (DESIGN section 10).
"""

from __future__ import annotations

import re
import struct
from typing import Final

from pyverify.algorithms import BANKS
from pyverify.evidence import event_types

_ATTEST_MAGIC: Final = b"\xffTCG"  # TPM_GENERATED_VALUE
_PUBLIC_TYPES: Final = (0x0001, 0x0023)  # TPM_ALG_RSA, TPM_ALG_ECC
_PEM_KEY: Final = b"-----BEGIN PUBLIC KEY-----"
_BANK_IDS: Final = {bank.id for bank in BANKS}
_IMA_TEMPLATE: Final = re.compile(rb"ima(?:-[a-z0-9]{1,12})?|evm-sig|[a-z-]{1,16}(?:\|[a-z-]{1,16}){0,15}")
_IMA_LINE: Final = re.compile(rb"[0-9]{1,2} (?:[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128}) [a-z0-9|-]+ ")
_JSON_ARRAY: Final = re.compile(rb"[ \t\n\r]*\[[ \t\n\r]*(?:\{|\][ \t\n\r]*\Z)")
_LARGEST_FIRST_EVENT: Final = 1 << 20  # bytes of data; peers take no more for an event (SPEC section 3.4)


def detect_kind(data: bytes) -> str | None:
    """The kind that the beginning looks like, or None.

    One of ``tcg ccel cel-tlv cel-json systemd ima-binary ima-ascii attest public``. A confidential-computing log whose
    header has index 0 cannot be told from a TPM's: it is ``tcg``.
    """
    if data.startswith(b"CCEL"):
        return "ccel"
    if data.startswith(b"\x1e"):
        return "systemd"
    if _is_attest(data):
        return "attest"
    if data.startswith(_PEM_KEY) or _is_public(data):
        return "public"
    if _JSON_ARRAY.match(data):
        return "cel-json"
    if _IMA_LINE.match(data):
        return "ima-ascii"
    if _is_cel_tlv(data):
        return "cel-tlv"
    if _is_binary_ima(data):
        return "ima-binary"
    return _event_log(data)


def _is_attest(data: bytes) -> bool:
    """A TPMS_ATTEST, or a TPM2B_ATTEST around one."""
    return data.startswith(_ATTEST_MAGIC) or (
        data[2:6] == _ATTEST_MAGIC and int.from_bytes(data[:2], "big") == len(data) - 2
    )


def _is_public(data: bytes) -> bool:
    """A TPM2B_PUBLIC, or the TPMT_PUBLIC within: key type, then the algorithm of its Name."""
    sized = len(data) > 2 and int.from_bytes(data[:2], "big") == len(data) - 2
    start = data[2:12] if sized else data[:10]
    if len(start) < 10:
        return False
    kind, name_algorithm = struct.unpack_from(">HH", start)
    return kind in _PUBLIC_TYPES and name_algorithm in _BANK_IDS


def _is_cel_tlv(data: bytes) -> bool:
    """Record number (type 0), then a register (PCR, NV index, or a measurement register), integers of 1 to 8 bytes."""
    at = 0
    for types in ((0,), (1, 2, 108)):
        size = int.from_bytes(data[at + 1 : at + 5], "big")
        if len(data) - at < 5 or data[at] not in types or not 1 <= size <= 8:
            return False
        at += 5 + size
    return len(data) >= at


def _is_binary_ima(data: bytes) -> bool:
    """PCR, template digest (of the bank of the list), length of the template's name, that name."""
    if len(data) < 28 or int.from_bytes(data[:4], "little") >= 24:
        return False
    for size in sorted({bank.size for bank in BANKS}):
        at = 4 + size
        length = int.from_bytes(data[at : at + 4], "little")
        if 3 <= length <= 255 and _IMA_TEMPLATE.fullmatch(data[at + 4 : at + 4 + length]):
            return True
    return False


def _event_log(data: bytes) -> str | None:
    """A TCG log begins with an entry in the SHA-1 form: the Spec ID event, or in a TPM 1.2's log any other."""
    if len(data) < 32:
        return None
    pcr, kind, size = struct.unpack_from("<II20xI", data)
    if kind == event_types.EV_NO_ACTION and data[32:48] == b"Spec ID Event03\0":
        return {0: "tcg", 1: "ccel"}.get(pcr)
    plausible = size <= min(len(data) - 32, _LARGEST_FIRST_EVENT) and any(data[:32])
    return "tcg" if pcr < 24 and kind in event_types.NAMES and plausible else None

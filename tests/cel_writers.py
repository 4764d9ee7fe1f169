"""Writers of canonical logs and of systemd's log, which share no code with the package."""

from __future__ import annotations

import json
import struct

import pytest
from conftest import ALGORITHMS, hash_of

from pyverify import EvidenceError
from pyverify.evidence.log_kinds import as_tcg_log

NO_ACTION = 3
# Some types by name, as systemd-pcrlock writes them (SPEC 1.2).
TYPE_NAMES = {3: "EV_NO_ACTION", 4: "EV_SEPARATOR", 8: "EV_S_CRTM_VERSION", 0xD: "EV_IPL", 0x80000007: "EV_EFI_ACTION"}


def field(kind: int, value: bytes) -> bytes:
    """One TLV."""
    return bytes([kind]) + struct.pack(">I", len(value)) + value


def digests_field(digests: dict[str, bytes]) -> bytes:
    return field(3, b"".join(field(ALGORITHMS[bank][0], digest) for bank, digest in digests.items()))


def tlv_record(number, pcr, digests, content=b"", *, width=8, register=1, register_width=1) -> bytes:
    """One record; the index is widened where it does not fit."""
    register_width = max(register_width, (pcr.bit_length() + 7) // 8)
    return (
        field(0, number.to_bytes(width, "big"))
        + field(register, pcr.to_bytes(register_width, "big"))
        + digests_field(digests)
        + content
    )


def pcclient(kind: int, data: bytes) -> bytes:
    return field(5, field(0, struct.pack(">I", kind)) + field(1, data))


def cel_tlv(events, *, width=8, register_width=1, per_register=False, first=0) -> bytes:
    """The events as pcclient_std records, numbered over the log or in each register."""
    numbers: dict[int, int] = {}
    parts = []
    for pcr, kind, digests, data in events:
        counter = pcr if per_register else -1
        number = numbers.get(counter, first)
        numbers[counter] = number + 1
        parts.append(tlv_record(number, pcr, digests, pcclient(kind, data), width=width, register_width=register_width))
    return b"".join(parts)


def json_digests(digests: dict[str, bytes]) -> list[dict[str, str]]:
    return [{"hashAlg": bank, "digest": digest.hex()} for bank, digest in digests.items()]


def cel_json(events, *, names=False, first=1, indent=None) -> bytes:
    """The events in JSON: types as numbers, or as pcrlock has them, by name and else in decimal digits."""
    records = [
        {
            "pcr": pcr,
            "recnum": number,
            "digests": json_digests(digests),
            "content_type": "pcclient_std",
            "content": {"event_type": TYPE_NAMES.get(kind, str(kind)) if names else kind, "event_data": data.hex()},
        }
        for number, (pcr, kind, digests, data) in enumerate(events, first)
    ]
    return json.dumps(records, indent=indent).encode()


def systemd_record(pcr: int, text: str, banks: list[str], /, **more) -> bytes:
    record = {
        "pcr": pcr,
        "digests": json_digests({bank: hash_of(bank, text.encode()) for bank in banks}),
        "content_type": "systemd",
        "content": {"string": text, "bootId": "0" * 32, "timestamp": 7_000_000, "eventType": "phase"},
    } | more
    return b"\x1e" + json.dumps(record).encode() + b"\n"


def fault_of(kind: str, data: bytes) -> tuple[str, int | None]:
    """Code and byte of the error that refuses this log."""
    with pytest.raises(EvidenceError) as caught:
        as_tcg_log(kind, data)
    assert str(caught.value).startswith(f"{caught.value.code} at byte {caught.value.offset}: ")
    return caught.value.code, caught.value.offset

"""decode() of hostile data: never an exception, never out of proportion to the data, in time or in room."""

from __future__ import annotations

import json
import struct
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_decode import CONFIG, locators, nested, record, spdm_1, spdm_2
from test_event_data import (
    ANY_PCR,
    ANY_TYPE,
    IMAGE_SECURITY,
    SHIM_PATH,
    SOUND,
    file_path,
    gpt,
    guid_bytes,
    image,
    is_clean,
    spec_id,
    utf16,
    variable,
)

from pyverify.evidence import event_types as types
from pyverify.evidence import uefi
from pyverify.evidence.decoded import Decoded
from pyverify.evidence.event_data import decode

EVIL = (
    *SOUND,
    spdm_1(),
    spdm_2(0, struct.pack("<HBBI", 0x11, 1, 0, 2) + b"\1\1\1\0a"),
    locators((1, b"u\0"), (2, file_path("\\r"))),
    nested(3),
    record(0x40010003, record(0x00070001, utf16("\\a\0"))),
    b"grub_cmd: a\nb\0",
    utf16(SHIM_PATH),
    b"GCE NonHostInfo\0\1" + bytes(15),
    spec_id((4, 20)),
    gpt(1, 1)[:100] + bytes(range(128)),
)


def check(decoded: Decoded, data: bytes) -> None:
    assert is_clean(decoded.text)
    for field in decoded.fields:
        assert 0 <= field.start <= field.stop <= len(data)
    said = json.dumps({field.name: field.value for field in decoded.fields})
    assert len(said) <= 2000 + 40 * len(data)
    if decoded.fault is not None:
        assert 0 <= decoded.fault.offset <= len(data)


@settings(max_examples=300)
@given(ANY_PCR, ANY_TYPE, st.binary(max_size=400))
@example(8, types.EV_IPL, b"grub_cmd: \xff")
def test_any_bytes(pcr, kind, data):
    check(decode(pcr, kind, data), data)


@settings(max_examples=500)
@given(ANY_PCR, ANY_TYPE, st.sampled_from(EVIL), st.integers(0), st.binary(max_size=12), st.booleans())
def test_damaged_data(pcr, kind, data, at, patch, cut):
    at %= len(data)
    damaged = data[:at] + patch + (b"" if cut else data[at + len(patch) :])
    check(decode(pcr, kind, damaged), damaged)


MB = 1 << 20
HUGE = {
    "records": (12, types.EV_EVENT_TAG, record(0x00050001, b"") * (MB // 8)),
    "tags": (1, types.EV_EVENT_TAG, struct.pack("<II", 1, 0) * (MB // 8)),
    "tables": (1, types.EV_EFI_HANDOFF_TABLES, struct.pack("<Q", MB // 24) + bytes(MB // 24 * 24)),
    "partitions": (5, types.EV_EFI_GPT_EVENT, gpt(MB // 128, MB // 128)),
    "nodes": (4, types.EV_EFI_BOOT_SERVICES_APPLICATION, image(b"\1\x63\4\0" * (MB // 4))),
    "order": (1, CONFIG, variable("BootOrder", bytes(MB - 100))),
    "signatures": (
        7,
        CONFIG,
        variable(
            "db", guid_bytes(uefi.X509) + struct.pack("<III", 28 + 17 * 50000, 0, 17) + bytes(850000), IMAGE_SECURITY
        ),
    ),
    "text": (8, types.EV_IPL, b"grub_cmd: " + b"x" * MB),
    "wide": (12, types.EV_IPL, utf16("x") * MB),
    "bytes": (6, types.EV_COMPACT_HASH, b"\xff" * MB),
    "algorithms": (0, types.EV_NO_ACTION, spec_id(*[(4, 20)] * (MB // 4))),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_megabyte_of_anything_takes_no_time_and_little_room(name):
    """Milliseconds, here; what is quadratic takes hours. The bounds are for machines that do other things too."""
    pcr, kind, data = HUGE[name]
    start = time.process_time()
    decoded = decode(pcr, kind, data)
    text_time = time.process_time() - start
    check(decoded, data)
    assert text_time < 10
    assert time.process_time() - start < 60
    assert len(json.dumps([field.value for field in decoded.fields])) < 10 * MB

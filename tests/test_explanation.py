"""Which source explains a PCR: firmware log, userspace log, IMA, in the order in which they extend (SPEC 4.5)."""

from __future__ import annotations

import numpy as np
import pytest
from cel_writers import systemd_record
from conftest import DATA, hash_of, shared

from pyverify import EventLog, UsageError
from pyverify.evidence.log_kinds import with_userspace
from pyverify.evidence.sources import ALL_PCRS, explain

UKI = (DATA / "logs" / "70_uki.bin").read_bytes()
FULL = with_userspace(UKI, systemd_record(11, "ready", ["sha256"]) + systemd_record(15, "machine-id:0", ["sha256"]))


def values(log: bytes):
    return EventLog.parse(log).replay(["sha256"])["sha256"]


AFTER = [("event log", values(UKI)), ("userspace log", values(FULL))]


def test_each_pcr_is_explained_by_the_source_that_completes_it():
    answer = explain(AFTER, values(FULL))
    assert answer.source == tuple("userspace log" if pcr in (11, 15) else "event log" for pcr in range(24))
    assert (answer.later, answer.surplus, answer.unexplained) == (1 << 11 | 1 << 15, 0, 0)


def test_a_value_that_no_source_leads_to_is_unexplained():
    authentic = values(FULL).copy()
    authentic[4, 0] ^= 1
    answer = explain(AFTER, authentic)
    assert (answer.source[4], answer.unexplained) == (None, 1 << 4)


def test_a_value_before_the_userspace_log_leaves_that_log_unproven():
    answer = explain(AFTER, values(UKI))
    assert set(answer.source) == {"event log"}
    assert (answer.later, answer.surplus, answer.unexplained) == (0, 1 << 11 | 1 << 15, 0)


def test_only_pcrs_with_an_authentic_value_are_judged():
    answer = explain(AFTER, np.zeros_like(values(UKI)), known=1 << 8 | 1 << 4)
    assert answer.source == tuple("event log" if pcr == 8 else None for pcr in range(24))  # PCR 8 was never extended
    assert (answer.later, answer.surplus, answer.unexplained) == (0, 0, 1 << 4)


def test_a_third_source_explains_what_two_do_not():
    """As IMA does in PCR 10, against the TPM's own values of a recording."""
    folder = shared("recordings", "70_uki")
    tpm = values(UKI).copy()
    for line in (folder / "pcrs_after_logs.txt").read_text().splitlines():
        bank, pcr, value = line.split()
        if bank == "sha256":
            tpm[int(pcr)] = np.frombuffer(bytes.fromhex(value), np.uint8)
    ima = values(UKI).copy()
    digests = [line.split()[1] for line in (folder / "ima/ascii_runtime_measurements").read_text().splitlines()]
    assert len({len(digest) for digest in digests}) == 1
    data = (folder / "ima/binary_runtime_measurements").read_bytes()
    value, at = bytes(32), 0
    for _ in digests:  # u32 pcr, SHA-1 template digest, u32 name length, name, u32 data length, data (SPEC 7.2)
        name = int.from_bytes(data[at + 24 : at + 28], "little")
        size = int.from_bytes(data[at + 28 + name : at + 32 + name], "little")
        value = hash_of("sha256", value + hash_of("sha256", data[at + 32 + name : at + 32 + name + size]))
        at += 32 + name + size
    ima[10] = np.frombuffer(value, np.uint8)
    assert explain(AFTER[:1], tpm).unexplained == 1 << 10
    answer = explain([AFTER[0], ("userspace log", values(UKI)), ("IMA list", ima)], tpm)
    assert (answer.source[10], answer.later, answer.unexplained) == ("IMA list", 1 << 10, 0)


def test_values_of_another_shape_or_none_are_a_mistake():
    with pytest.raises(UsageError):
        explain([], values(UKI))
    with pytest.raises(UsageError):
        explain([("event log", values(UKI)[:, :20])], values(UKI))
    assert ALL_PCRS == 0xFFFFFF

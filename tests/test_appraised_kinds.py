"""Logs of other kinds and userspace logs in the appraisal: honest ones are trusted, changed ones are not."""

from __future__ import annotations

import json
import struct

import pytest
from baselines_by_hand import baseline
from conftest import entry, hash_of, small_log, spec_id
from test_appraisal import NOW, POLICY, codes

from pyverify import Evidence, Outcome, References, verify

BANKS = ["sha384"]


def ccel(loader: bytes = b"loader", header: int = 1) -> bytes:
    """A TD's log: firmware settings and Secure Boot in RTMR0, a boot loader in RTMR1, a kernel in RTMR2."""
    log = struct.pack("<I", header) + spec_id(BANKS)[4:]
    log += entry(1, 0x80000001, struct.pack("<16sQQ", b"\1" * 16, 0, 1) + b"\1", BANKS)
    log += entry(2, 0x80000003, bytes(32), BANKS, {"sha384": hash_of("sha384", loader)})
    return log + entry(3, 0xD, b"kernel\0", BANKS, {"sha384": hash_of("sha384", b"k")})


def judge(log, learned, **fields):
    references = References.of([baseline("m", learned)])
    return verify(Evidence("m", "b2", event_log=log, **fields), references=references, policy=POLICY, as_of=NOW)


def test_a_td_is_judged_by_its_measurement_registers():
    learned = ccel(header=0)  # what a scan of the area has once its header is that of a TCG log
    verdict = judge(ccel(), learned, event_log_kind="ccel")
    assert (verdict.outcome, codes(verdict)) == (Outcome.TRUSTED, [])
    changed = judge(ccel(b"evil"), learned, event_log_kind="ccel")
    assert changed.outcome is Outcome.UNTRUSTED
    (finding,) = (finding for finding in changed.findings if finding.code == "baseline.event-changed")
    assert "RTMR1" in finding.hint
    assert dict(changed.stages)["boot loader"] == "grey"
    assert dict(changed.stages)["firmware"] == "red"  # RTMR1 stands for PCR 2 too


@pytest.mark.parametrize(
    ("log", "kind", "code"),
    [
        (small_log(["sha256"]), "ccel", "log.pcr-index"),
        (ccel(), "tcg", "log.not-a-log"),
        (small_log(["sha256"]), "cel-tlv", "cel.format"),
        (small_log(["sha256"]), "cel-json", "cel.format"),
        (small_log(["sha256"]), "cbor", "log.not-a-log"),
    ],
)
def test_a_log_given_as_another_kind_is_an_error(log, kind, code):
    verdict = judge(log, small_log(["sha256"]), event_log_kind=kind)
    assert verdict.outcome is Outcome.ERROR
    assert codes(verdict)[0] == code


def phase(text: bytes, pcr: int = 11, digest: bytes | None = None) -> bytes:
    record = {
        "pcr": pcr,
        "digests": [{"hashAlg": "sha256", "digest": (digest or hash_of("sha256", text)).hex()}],
        "content_type": "systemd",
        "content": {"string": text.decode(), "bootId": "0" * 32, "timestamp": 1, "eventType": "phase"},
    }
    return b"\x1e" + json.dumps(record).encode() + b"\n"


LOG = small_log(["sha256"])
PHASES = phase(b"enter-initrd") + phase(b"leave-initrd")


def test_userspace_measurements_go_through_the_same_diff():
    from pyverify.evidence.log_kinds import with_userspace

    learned = with_userspace(LOG, PHASES)
    assert judge(LOG, learned, userspace_log=PHASES).outcome is Outcome.TRUSTED
    more = judge(LOG, learned, userspace_log=PHASES + phase(b"evil"))
    assert (more.outcome, codes(more)) == (Outcome.UNTRUSTED, ["baseline.event-added"])
    other = judge(LOG, learned, userspace_log=phase(b"enter-initrd") + phase(b"evil"))
    assert (other.outcome, codes(other)) == (Outcome.UNTRUSTED, ["baseline.event-changed"])
    measured = with_userspace(LOG, phase(b"machine-id:" + b"0" * 32, pcr=12))
    none = judge(LOG, measured)
    assert (none.outcome, codes(none)) == (Outcome.UNTRUSTED, ["baseline.event-removed"])


def test_a_userspace_log_that_does_not_parse_is_an_error_of_its_row():
    verdict = judge(LOG, LOG, userspace_log=PHASES[:-5])
    assert (verdict.outcome, codes(verdict)[0]) == (Outcome.ERROR, "cel.format")
    empty = judge(b"", LOG, userspace_log=PHASES)
    assert (empty.outcome, codes(empty)) == (Outcome.UNMEASURED, ["log.absent", "evidence.lost"])

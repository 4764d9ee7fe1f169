"""What operators bring: policies, baselines in the forms of others, lists of files, challenges."""

from __future__ import annotations

import contextlib
import datetime
import json
import random
from collections.abc import Iterator

from baselines_by_hand import everything, of_log
from conftest import DATA, small_log

from fuzz.json_trees import after_head
from fuzz.logs import mutate_entries
from fuzz.mutators import mutate_lines
from fuzz.reader import read_log, replay
from fuzz.target import Target
from pyverify import Evidence, EvidenceError, Policy, References, UsageError, verify_batches
from pyverify.appraise.verdict import Outcome
from pyverify.baseline import challenge_file
from pyverify.baseline.interchange import (
    keylime_check,
    keylime_policy,
    keylime_refstate,
    own_json,
    pcrlock,
    pcrlock_values,
)
from pyverify.evidence.bundle import evidence_batch
from pyverify.evidence.eventlog import EventLog
from pyverify.evidence.runtime_policy import read_runtime_policy

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
OWN = {"scope": "machine", "name": "m"}


def check_policy(data: bytes) -> None:
    """Read, print, read: the same policy."""
    try:
        policy = Policy.read(data.decode(errors="surrogateescape"))
    except UsageError:
        return
    again = Policy.read(policy.to_toml())
    assert again == policy and again.id == policy.id and again.to_toml() == policy.to_toml()


def policy_seeds() -> Iterator[bytes]:
    for preset in ("default", "archive", "log-only"):
        yield Policy.preset(preset).to_toml().replace(f'"{preset}"', '"site"', 1).encode()
    yield b"[policy]\nname = 'a'\n[secure_boot]\nrequired = true\nminimum_sbat = ['shim,4']\n"


def check_own(data: bytes) -> None:
    baselines = own_json.read(data)
    text = "".join(own_json.export(baselines)).encode()
    again = own_json.read(text)
    assert "".join(own_json.export(again)).encode() == text
    References.of(baselines)


def check_keylime_policy(data: bytes) -> None:
    References.of([keylime_policy.read(data, bank="sha256", **OWN).baseline])


def check_refstate(data: bytes) -> None:
    refstate = keylime_refstate.read(data)
    keylime_check.check(refstate, LOG)


def check_pcrlock(data: bytes) -> None:
    References.of([pcrlock.read([("500-a.pcrlock", data)], **OWN).baseline])


def check_pcrlock_values(data: bytes) -> None:
    References.of([pcrlock_values.read(data, **OWN).baseline])


def check_challenges(data: bytes) -> None:
    challenges = challenge_file.parse_challenges(data)
    assert challenge_file.parse_challenges(challenge_file.format_challenges(challenges).encode()) == challenges


LOG = EventLog.parse((DATA / "logs" / "60_sb_first_boot.bin").read_bytes())
FORMS = (
    check_own,
    check_keylime_policy,
    check_refstate,
    check_pcrlock,
    check_pcrlock_values,
    read_runtime_policy,
    check_challenges,
)


def check_interchange(data: bytes) -> None:
    """Which form, then the file: refused, or read so that all of it can be used."""
    if data:
        with contextlib.suppress(UsageError, EvidenceError):
            FORMS[data[0] % len(FORMS)](data[1:])


def interchange_seeds() -> Iterator[bytes]:
    plain = of_log()
    yield b"\0" + "".join(own_json.export([plain])).encode()
    yield b"\0" + "".join(own_json.export([everything(), plain])).encode()
    yield b"\1" + keylime_policy.export(plain, pcrs=[0, 4, 7])
    yield b"\2" + keylime_refstate.to_bytes(keylime_check.export(LOG))
    yield from (b"\3" + body for body in pcrlock.export(plain, pcrs=[0, 4, 8]).values())
    yield b"\4" + json.dumps({"pcrBank": "sha256", "pcrValues": [{"pcr": 4, "values": ["ab" * 32]}]}).encode()
    digest = "ab" * 32
    policy = {
        "meta": {"version": 1},
        "release": 0,
        "digests": {"/bin/sh": [digest]},
        "excludes": ["/tmp/.*"],
        "keyrings": {},
        "ima": {"ignored_keyrings": [], "log_hash_alg": "sha1", "dm_policy": None},
        "ima-buf": {},
        "verification-keys": "",
    }
    yield b"\5" + json.dumps(policy).encode()
    yield b"\5" + f"{digest}  /bin/sh\nsha1:{'00' * 20}  /bin/a b\n".encode()
    one = {"machine": "m", "ak_name": "000b" + digest, "nonce": "00" * 20, "issued_at": "2026-11-01T10:00:00+00:00"}
    yield b"\6" + json.dumps([one]).encode()


HONEST = small_log(["sha256"])
KNOWN = References.of([of_log(HONEST, banks=("sha256",), quoted_banks=("sha256",))])
LOG_ONLY = Policy.preset("log-only")
COMPARED = LOG_ONLY.pcrs_compare


HONEST_VALUES = replay(read_log(HONEST), "sha256")
AT_ONCE = 32
"""Logs of one batch: it costs hardly more than one of them."""


def check_appraisal(data: bytes) -> None:
    """A log that is trusted leads to the values of the honest one, in every PCR that the policy compares; so do others
    that its entries make."""
    logs = [data, *_others(data)]
    rows = evidence_batch([Evidence("m", f"b{number}", event_log=log) for number, log in enumerate(logs)])
    (verdicts,) = verify_batches([rows], references=KNOWN, policy=LOG_ONLY, as_of=NOW)
    for log, outcome in zip(logs, verdicts.column("verdict").to_pylist(), strict=True):
        if outcome == Outcome.TRUSTED:
            read = read_log(log)
            assert not read.fault
            values = replay(read, "sha256")
            same = [values[pcr] for pcr in COMPARED] == [HONEST_VALUES[pcr] for pcr in COMPARED]
            assert same, f"trusted, and another boot: {log.hex()}"


def _others(data: bytes) -> Iterator[bytes]:
    """Entries taken out, doubled, moved, and a bit of one changed: always the same of one log."""
    choose = random.Random(data)

    def own(piece: bytes, most: int) -> bytes:
        changed = bytearray(piece[:most] or b"\0")
        changed[choose.randrange(len(changed))] ^= 1 << choose.randrange(8)
        return bytes(changed)

    for _ in range(AT_ONCE - 1):
        yield mutate_entries(data, 4096, choose.getrandbits(31) & ~1, own)


def appraisal_seeds() -> Iterator[bytes]:
    yield HONEST
    yield small_log(["sha256"], command_line=b"evil")


TARGETS = {
    "policy": Target(check_policy, policy_seeds, 8192, mutate_lines),
    "interchange": Target(check_interchange, interchange_seeds, 32768, after_head(1)),
    "appraisal": Target(check_appraisal, appraisal_seeds, 4096, mutate_entries),
}

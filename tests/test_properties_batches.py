"""A verdict is of its own row alone: whatever stands beside it, in whatever order, in batches of whatever size."""

from __future__ import annotations

import dataclasses
from functools import cache

import pyarrow as pa
from attested_machine import ALL_PCRS, ARCHIVE, DEFAULT, LOG_ONLY, NOW, Machine, references_of, rows_of, stands
from conftest import DATA, entry, small_log
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ima_by_hand import a_digest, data_of, replay
from ima_by_hand import entry as ima_entry
from ima_evidence import set_of
from learning import ran_in
from secure_boot_logs import SECURE_BOOT_LOG
from tpm_in_python import KINDS, Tpm

from pyverify import Evidence, References, Verdict, evidence_batch, verify, verify_batches
from pyverify.appraise.verdict import VERDICT_SCHEMA
from pyverify.baseline.model import State
from pyverify.evidence.bundle import ImaList, Quote

POLICIES = (DEFAULT, ARCHIVE, LOG_ONLY)
EVIL = small_log(["sha256"], command_line=b"init=/bin/sh")


@cache
def fleet() -> tuple[list[Evidence], References]:
    """Evidence of every sort, honest, forged and broken, and references that know its machines."""
    machines = [Machine(f"m-{kind}", kind=kind) for kind in KINDS]
    machines += [Machine("two-banks", banks=("sha256", "sm3_256")), Machine("secure-boot", log=SECURE_BOOT_LOG)]
    machines += [Machine("recorded", log=(DATA / "logs" / "01_m1_first_boot.bin").read_bytes())]
    listed = Machine("listed")
    ran = ran_in(listed.log, ima_entry(data_of("/bin/a", a_digest(1))))
    listed.tpm.pcrs["sha256"][10] = replay(ran, "sha256")
    evidence = [machine.evidence() for machine in machines]
    for machine in machines:
        quote, log = machine.quote(), machine.log
        booted = Tpm.booted(EVIL, owner=machine.name).quote(machine.selection[:1], machine.nonce, machine.key)
        evidence += [
            machine.evidence(event_log=log[: len(log) // 2]),
            machine.evidence(event_log=log + entry(8, 0xD, b"late", list(machine.banks))),
            machine.evidence(booted, event_log=EVIL),
            machine.evidence(dataclasses.replace(quote, sig=quote.sig[:-1] + b"\0")),
            machine.evidence(machine.quote(nonce=bytes(32))),
            machine.evidence(machine.quote([("sha256", ALL_PCRS[1:])])),
            machine.evidence(quotes=None),
        ]
    evil = ran + ima_entry(data_of("/bin/evil", a_digest(2)))
    lists = (ran, evil, ran[:-1], b"", None)
    evidence += [listed.evidence(ima=None if one is None else [ImaList("binary", one)]) for one in lists]
    evidence += [
        machines[0].evidence(machine=name) for name in ("m-sm2", "nobody", "a b", "\x1b[31m", "x" * 200, "two-banks")
    ]
    waiting = Machine("waiting")
    evidence.append(waiting.evidence())
    baselines = [machine.baseline() for machine in machines]
    baselines += [listed.baseline(ima=set_of(ran)), waiting.baseline(state=State.PENDING)]
    return evidence, references_of(*machines, listed, waiting, baselines=baselines)


@cache
def alone(policy) -> list[dict]:
    """The rows of the evidence of the fleet, each judged in a batch of one."""
    evidence, known = fleet()
    return [rows_of([one], known, policy)[0] for one in evidence]


GARBAGE = st.builds(
    Evidence,
    machine=st.sampled_from(["m-rsassa", "listed", "nobody", "", "\0", "../x"]),
    boot=st.sampled_from(["b2", "", "\n"]),
    event_log=st.none() | st.binary(max_size=80) | st.binary(max_size=20).map(lambda tail: EVIL + tail),
    event_log_kind=st.sampled_from([None, "tcg", "ccel", "cel-tlv", "cel-json", "other"]),
    userspace_log=st.none() | st.binary(max_size=20),
    ima=st.none() | st.lists(st.builds(ImaList, st.sampled_from(["binary", "ascii", "x"]), st.binary(max_size=60))),
    quotes=st.none() | st.lists(st.builds(Quote, *[st.binary(max_size=60)] * 4), max_size=3),
    boot_seq=st.none() | st.integers(-1, 5),
)


def judged(batches, known, policy) -> list[dict]:
    rows = []
    for batch in verify_batches(batches, references=known, policy=policy, as_of=NOW):
        batch.validate(full=True)
        assert batch.schema == VERDICT_SCHEMA
        rows += batch.to_pylist()
    return rows


def test_the_fleet_has_every_outcome():
    for policy in POLICIES:
        outcomes = {row["verdict"] for row in alone(policy)}
        assert outcomes == {"trusted", "untrusted", "unmeasured", "error"}, policy.name


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.data(), st.sampled_from(POLICIES))
def test_neighbours_order_and_size_of_batches_change_no_verdict(data, policy):
    evidence, known = fleet()
    chosen = data.draw(st.lists(st.integers(0, len(evidence) - 1), min_size=1, max_size=40))
    rows: list[tuple[int | None, Evidence]] = [(number, evidence[number]) for number in chosen]
    for one in data.draw(st.lists(GARBAGE, max_size=6)):
        rows.insert(data.draw(st.integers(0, len(rows))), (None, one))
    batch = evidence_batch([one for _, one in rows])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(batch)), max_size=4)))
    parts = [batch.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, len(batch)], strict=True)]
    told = judged(parts, known, policy)
    assert len(told) == len(rows)
    for (number, _), row in zip(rows, told, strict=True):
        if number is not None:
            assert row == alone(policy)[number]
        else:
            assert row["verdict"] != "trusted"


@settings(derandomize=True, deadline=None, max_examples=10)
@given(st.permutations(range(len(fleet()[0]))), st.sampled_from(POLICIES))
def test_a_fleet_in_any_order_has_the_same_verdicts(order, policy):
    evidence, known = fleet()
    batch = evidence_batch(evidence).take(pa.array(order))
    assert judged([batch], known, policy) == [alone(policy)[number] for number in order]


def test_a_batch_says_what_a_single_verdict_says():
    evidence, known = fleet()
    for policy in POLICIES:
        for one, row in zip(evidence, alone(policy), strict=True):
            verdict = stands(verify(one, references=known, policy=policy, as_of=NOW))
            assert dataclasses.replace(verdict, reached=()) == Verdict.from_row(row)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(GARBAGE, st.sampled_from(POLICIES))
@example(Evidence("", ""), DEFAULT)
def test_garbage_is_never_trusted_and_says_the_same_alone(garbage, policy):
    _, known = fleet()
    verdict = stands(verify(garbage, references=known, policy=policy, as_of=NOW))
    (row,) = judged([evidence_batch([garbage])], known, policy)
    assert not verdict.trusted
    assert dataclasses.replace(verdict, reached=()) == Verdict.from_row(row)

"""Quotes and baselines: what learning remembers of quotes and refuses; recorded TPMs that others wrote."""

from __future__ import annotations

import json

import pytest
from attested_machine import (
    ALL_PCRS,
    ARCHIVE,
    DEFAULT,
    HOUR,
    NOW,
    POLICIES,
    Machine,
    Rows,
    codes,
    job,
    refused,
    rows_of,
    trusted,
)
from conftest import shared, small_log
from test_attestation import COMPARED_OR_TOLD, masks
from tpm_in_python import key

from pyverify import Evidence, Store, verify
from pyverify.baseline.enrollment import Enrollment
from pyverify.baseline.identity import Challenge
from pyverify.baseline.ledger import Ledger
from pyverify.evidence.bundle import ImaList, Quote
from pyverify.fleet.learn import learn


@POLICIES
@pytest.mark.parametrize("state", ["pending", "absent"])
def test_without_a_baseline_an_honest_quote_is_unmeasured(state, policy):
    machine = Machine()
    known = [] if state == "absent" else [machine.baseline(state=state)]
    references = machine.references(baselines=known)
    (row,) = rows_of([machine.evidence()], references, policy)
    assert (row["verdict"], row["attested"]) == ("unmeasured", "quote")
    assert codes(row) == {f"baseline.{state}"}
    assert masks(row, "pcrs_proven") == {"sha256": COMPARED_OR_TOLD}
    (row,) = rows_of([machine.evidence(machine.quote(nonce=bytes(32)))], references, policy)
    assert refused(row, "quote.nonce", f"baseline.{state}")
    machine.tpm.extend(4, b"rootkit")
    (row,) = rows_of([machine.evidence()], references, policy)
    assert refused(row, "replay.mismatch")


def test_what_learning_remembers_of_quotes_is_required_afterwards(tmp_path):
    machine = Machine(banks=("sha1", "sha256", "sha384"), quoted_banks=("sha256", "sha384"))
    with Store.open(str(tmp_path / "s"), create=True) as store:
        Enrollment(store).enroll("m", machine.key.public, at=NOW)
        Ledger(store).add(machine.challenges)
        first = machine.evidence(boot="b1", boot_seq=1)
        (learned,) = learn(Rows([first]), store, policy=DEFAULT, activate=True, as_of=NOW)
        assert (learned.state, learned.reasons) == ("active", ())
        (facts,) = store.references().columns.to_pylist()
        assert (facts["quoted_banks"], facts["log_banks"]) == (0b00110, 0b00111)
        (row,) = job(store, first)
        assert (row["verdict"], codes(row)) == ("trusted", {"baseline.learned-here"})
        for number, bank in enumerate(("sha256", "sha384"), 1):
            nonce = bytes([number]) * 32
            Ledger(store).add([Challenge(machine.key.name, nonce, NOW - HOUR / 2, "m")])
            fewer = machine.evidence(machine.quote([(bank, ALL_PCRS)], nonce))
            for policy in (ARCHIVE, DEFAULT):
                assert codes(job(store, fewer, policy=policy)[0], "high") == {"bank.missing"}


REFUSED_TO_LEARN = {
    "no quote": (lambda machine: machine.evidence(quotes=None), "quote.missing"),
    "unknown key": (lambda machine: machine.evidence(machine.quote(kind=key("sm2", "x"))), "key.unknown"),
    "wrong nonce": (lambda machine: machine.evidence(machine.quote(nonce=bytes(32))), "quote.nonce"),
    "fewer PCRs": (lambda machine: machine.evidence(machine.quote([("sha256", range(8))])), "quote.selection"),
    "another log": (
        lambda machine: machine.evidence(event_log=small_log(["sha256"], command_line=b"x")),
        "replay.mismatch",
    ),
}


@POLICIES
@pytest.mark.parametrize(("send", "code"), REFUSED_TO_LEARN.values(), ids=REFUSED_TO_LEARN.keys())
def test_a_boot_that_is_not_well_attested_is_not_learned(send, code, policy, tmp_path):
    machine = Machine()
    with Store.open(str(tmp_path / "s"), create=True) as store:
        Enrollment(store).enroll("m", machine.key.public, at=NOW)
        Ledger(store).add(machine.challenges)
        (learned,) = learn(Rows([send(machine)]), store, policy=policy, activate=True, as_of=NOW)
        assert learned.state is None and code in {reason.code for reason in learned.reasons}
        assert store.machines() == set()


def recorded_evidence(boot, quotes, handle):
    folder = shared("recordings", boot)
    ak_pub = (folder / "ak" / f"ak_{handle}.tpm2b").read_bytes()
    sent = [
        Quote(*((folder / "quotes" / f"{name}.{part}").read_bytes() for part in ("msg", "sig")), ak_pub,
              (folder / "quotes" / f"{name}.pcrs").read_bytes())
        for name in quotes
    ]  # fmt: skip
    machine = json.loads((folder / "scenario.json").read_text())
    ima = [ImaList("binary", (folder / "ima" / "binary_runtime_measurements").read_bytes())]
    evidence = Evidence("m", boot, (folder / "binary_bios_measurements").read_bytes(), quotes=sent, ima=ima)
    return evidence, bytes.fromhex(machine["nonce"]), (folder / "ak" / f"ak_{handle}.name").read_bytes()


RECORDED = [
    ("01_m1_first_boot", "02_m1_reboot", ["rsa_sha256_0-23"], "rsa"),
    ("60_sb_first_boot", "61_sb_reboot", ["rsa_sha256_0-23"], "rsa"),
    ("80_sm3_all_banks", "81_sm3_all_banks_reboot", ["rsa_sha256_0-23"], "rsa"),
]


@pytest.mark.parametrize(("first", "second", "quotes", "handle"), RECORDED)
def test_a_recorded_reboot_is_trusted_by_what_the_first_boot_was(first, second, quotes, handle, tmp_path):
    one, nonce, name = recorded_evidence(first, quotes, handle)
    two, next_nonce, same = recorded_evidence(second, quotes, handle)
    assert name == same
    with Store.open(str(tmp_path / "s"), create=True) as store:
        Enrollment(store).enroll("m", one.quotes[0].ak_pub, at=NOW)
        Ledger(store).add([Challenge(name, nonce, NOW - HOUR, "m"), Challenge(name, next_nonce, NOW, "m")])
        (learned,) = learn(Rows([one]), store, policy=ARCHIVE, activate=True, as_of=NOW)
        assert learned.state == "active"
        (row,) = job(store, two)
        assert (row["verdict"], row["attested"], codes(row, "high")) == ("trusted", "quote", set())
        references = store.references()
        assert trusted(verify(two, references=references, policy=DEFAULT, as_of=NOW))
        assert refused(verify(one, references=references, policy=DEFAULT, as_of=NOW), "quote.unfresh")

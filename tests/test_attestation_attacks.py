"""Quote and key attacks (SPEC section 10.3, 61-84), each from honest evidence, through the whole appraisal."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from attested_machine import ARCHIVE, Machine, codes, job, references_of, rows_of, store_of, trusted

from pyverify.appraise.verdict import Outcome
from pyverify.baseline.identity import Sm2Mode


def test_062_a_copy_in_another_machines_evidence_spends_nothing(tmp_path):
    """A machine cannot have another's answer refused by sending a part of it first (DESIGN section 5.8)."""
    thief, victim = Machine("a"), Machine("b", nonce=hashlib.sha256(b"b").digest())
    low, high = victim.quote([("sha256", range(12))]), victim.quote([("sha256", range(12, 24))])
    honest = victim.evidence(low, high)
    with store_of(tmp_path / "honest", thief, victim) as store:
        assert [row["verdict"] for row in job(store, thief.evidence(), honest)] == ["trusted"] * 2
    with store_of(tmp_path / "s", thief, victim) as store:
        stolen, own = job(store, thief.evidence(thief.quote(), low), honest)
        assert (stolen["verdict"], codes(stolen)) == ("untrusted", {"key.unknown"})
        assert (own["verdict"], own["attested"], codes(own)) == ("trusted", "quote", set())


def test_079_a_copy_in_another_machines_evidence_sets_no_clock(tmp_path):
    """Nor have its clock look as if it went back, by saying that a later quote of it is of an early boot."""
    thief, victim = Machine("a"), Machine("b")
    thief.challenges, victim.challenges = [], []
    first = victim.quote()
    victim.tpm.clock, victim.tpm.reset_count = 2_000, 8
    second = victim.quote(nonce=bytes(32))
    honest = [victim.evidence(first, boot="1", boot_seq=1), victim.evidence(second, boot="2", boot_seq=2)]
    with store_of(tmp_path / "s", thief, victim) as store:
        assert [row["verdict"] for row in job(store, *honest, policy=ARCHIVE)] == ["trusted"] * 2
        stolen, *own = job(store, thief.evidence(second, boot_seq=0), *honest, policy=ARCHIVE)
        assert (stolen["verdict"], codes(stolen)) == ("untrusted", {"key.unknown"})
        assert [row["verdict"] for row in own] == ["trusted"] * 2


def test_076_a_signature_of_another_sm2_mode_than_the_keys():
    """The mode is the enrolled key's: neither is tried when the other fails (SPEC 8.3)."""
    for mode, other in (("digest", "za"), ("za", "digest")):
        machine = Machine(kind="sm2", sm2_mode=Sm2Mode(mode))
        quotes = {name: machine.quote() for name in ("digest", "za")}
        quotes["za"] = replace(quotes["za"], sig=machine.key.sign_za(quotes["za"].msg))
        assert trusted(machine.judge(quotes[mode]))
        verdict = machine.judge(quotes[other])
        assert verdict.outcome is Outcome.UNTRUSTED and codes(verdict) == {"quote.signature"}
        user = replace(quotes["za"], sig=machine.key.sign_za(quotes["za"].msg, identity=b"ALICE123@YAHOO.COM"))
        assert codes(machine.judge(user)) == {"quote.signature"}
    mixed = [Machine(str(i), kind="sm2", sm2_mode=Sm2Mode("za" if i % 2 else "digest")) for i in range(6)]
    evidence = []
    for i, machine in enumerate(mixed):
        quote = machine.quote()
        evidence.append(machine.evidence(replace(quote, sig=machine.key.sign_za(quote.msg)) if i % 3 == 1 else quote))
    rows = rows_of(evidence, references_of(*mixed))
    honest = [i % 2 == (i % 3 == 1) for i in range(6)]
    assert [row["verdict"] == "trusted" for row in rows] == honest and honest.count(True) == 3

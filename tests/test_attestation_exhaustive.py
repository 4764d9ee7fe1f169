"""Every bit of a quote and of its key, every byte of values and digests that count: one changed is never trusted."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from attested_machine import ALL_PCRS, ARCHIVE, DEFAULT, HOUR, NOW, Machine, codes, rows_of, stands, trusted
from conftest import ALGORITHMS, DATA, small_log
from log_editor import Log
from tpm_in_python import KINDS

from pyverify.baseline.identity import Challenge

EV_NO_ACTION = 3
ALL_KINDS = pytest.mark.parametrize("kind", KINDS)


def flips(data):
    """The data with each single bit changed."""
    for i in range(len(data)):
        for bit in range(8):
            yield data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]


def bytes_changed(data, places):
    for number, i in enumerate(places):
        yield data[:i] + bytes([data[i] ^ 1 << number % 8]) + data[i + 1 :]


def none_is_trusted(machine, evidence, policy=DEFAULT):
    """Judges the changed evidence in one batch between two honest rows, which are; gives the changed ones' rows."""
    honest = machine.evidence()
    first, *rows, last = rows_of([honest, *evidence, honest], machine.references(), policy)
    assert (first["verdict"], last["verdict"]) == ("trusted", "trusted")
    assert len(rows) > 100
    assert {row["verdict"] for row in rows} <= {"untrusted", "error"}
    assert all(codes(row, "high") for row in rows)
    return rows


@ALL_KINDS
@pytest.mark.parametrize("part", ["msg", "sig", "ak_pub"])
def test_any_bit_of_a_quote(kind, part):
    machine = Machine(kind=kind)
    quote = machine.quote()
    changed = [replace(quote, **{part: data}) for data in flips(getattr(quote, part))]
    rows = none_is_trusted(machine, [machine.evidence(one) for one in changed])
    assert all(row["attested"] == "log" and row["key"] == "none" for row in rows)
    assert all(row["pcrs_proven"] == [] for row in rows)


@ALL_KINDS
def test_any_byte_of_the_nonce_in_the_ledger(kind):
    machine = Machine(kind=kind)
    quote = machine.quote()
    assert trusted(machine.judge(quote))
    for nonce in bytes_changed(machine.nonce, range(len(machine.nonce))):
        references = machine.references(challenges=[Challenge(machine.key.name, nonce, NOW - HOUR, "m")])
        verdict = stands(machine.judge(quote, references=references))
        assert not verdict.trusted and codes(verdict) == {"quote.nonce"}


@ALL_KINDS
def test_any_byte_of_the_enrolled_name(kind):
    """The Name in the references is another: the key is not the machine's."""
    machine = Machine(kind=kind)
    assert trusted(machine.judge())
    quote, own = machine.quote(), machine.enrolled()
    for name in bytes_changed(own.ak_name[2:], range(32)):
        enrolled = [replace(own, ak_name=own.ak_name[:2] + name)]
        assert codes(machine.judge(quote, references=machine.references(enrolled=enrolled))) == {"key.unknown"}


def value_places(pcrs, size):
    """Where the bytes of values and of their sizes stand in what tpm2_quote writes: lists of 8, each in 66 bytes."""
    count = struct.unpack_from("<I", pcrs, 132)[0]
    for part in range(count):
        at = 136 + part * (4 + 8 * 66)
        for number in range(struct.unpack_from("<I", pcrs, at)[0]):
            yield from range(at + 4 + 66 * number, at + 4 + 66 * number + 2 + size)


@pytest.mark.parametrize(
    ("kind", "bank"), [*((kind, "sha256") for kind in KINDS), ("ecdsa_p256", "sha384"), ("sm2", "sm3_256")]
)
def test_any_byte_of_a_pcr_value(kind, bank):
    """An application extended PCR 23, which no log explains: so the values beside the quote are needed."""
    machine = Machine(kind=kind, banks=(bank,))
    machine.tpm.extend(23, b"an application")
    quote = machine.quote()
    places = list(value_places(quote.pcrs, ALGORITHMS[bank][1]))
    assert len(places) == 24 * (2 + ALGORITHMS[bank][1])
    changed = [machine.evidence(replace(quote, pcrs=pcrs)) for pcrs in bytes_changed(quote.pcrs, places)]
    rows = none_is_trusted(machine, changed)
    assert {code for row in rows for code in codes(row)} == {"quote.digest"}


@pytest.mark.parametrize("policy", [DEFAULT, ARCHIVE], ids=lambda policy: policy.name)
@pytest.mark.parametrize("banks", [("sha256",), ("sha384", "sm3_256")], ids="-".join)
def test_any_byte_of_an_event_digest(banks, policy):
    machine = Machine(banks=banks, log=small_log(list(banks)))
    log, evidence = Log.parse(machine.log), []
    for number, one in enumerate(log):
        for bank, digest in one.digests.items():
            for changed in bytes_changed(digest, range(len(digest))):
                forged = log.copy()
                forged[number] = one.with_digest(bank, changed)
                evidence.append(machine.evidence(event_log=forged.bytes()))
    rows = none_is_trusted(machine, evidence, policy)
    assert all("replay.mismatch" in codes(row) for row in rows)


@pytest.mark.parametrize("name", ["01_m1_first_boot", "60_sb_first_boot", "70_uki", "80_sm3_all_banks"])
def test_every_event_of_a_recorded_log(name):
    """A byte of its digest in a quoted bank; and the event left out, repeated, or in the place of the next."""
    data = (DATA / "logs" / f"{name}.bin").read_bytes()
    machine = Machine(banks=("sha256", "sha384"), log=data)
    log, evidence, pcrs = Log.parse(data), [], {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14}
    assert log.bytes() == data and {one.pcr for one in log} <= pcrs
    extended = [i for i, one in enumerate(log) if one.type != EV_NO_ACTION]
    for i in extended:
        one, (bank, other) = log[i], ("sha256", "sha384") if i % 2 else ("sha384", "sha256")
        digest = one.digests[bank]
        place = i % len(digest)
        forged = log.copy()
        forged[i] = one.with_digest(bank, digest[:place] + bytes([digest[place] ^ 1]) + digest[place + 1 :])
        assert forged[i].digests[other] == one.digests[other]
        left_out, repeated = log.copy(), log.copy()
        del left_out[i]
        repeated.insert(i, one)
        evidence += [machine.evidence(event_log=changed.bytes()) for changed in (forged, left_out, repeated)]
        later = next((j for j in extended if j > i and log[j].pcr == one.pcr), None)
        if later is not None and log[later].digests != one.digests:
            swapped = log.copy()
            swapped[i], swapped[later] = swapped[later], swapped[i]
            evidence.append(machine.evidence(event_log=swapped.bytes()))
    rows = none_is_trusted(machine, evidence)
    assert all({"replay.mismatch", "replay.unexplained"} & codes(row) for row in rows)


def test_what_is_quoted_of_another_log_of_the_same_machine():
    """Quotes of every recorded log under every other: only the log's own fits."""
    names = ["01_m1_first_boot", "60_sb_first_boot", "70_uki", "80_sm3_all_banks"]
    machines = [Machine(log=(DATA / "logs" / f"{name}.bin").read_bytes()) for name in names]
    for one in machines:
        assert trusted(one.judge())
        for other in machines:
            if other is not one:
                crossed = one.judge(other.quote([("sha256", ALL_PCRS)]))
                assert not stands(crossed).trusted and "replay.mismatch" in codes(crossed)

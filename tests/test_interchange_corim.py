"""CoRIM: what is exported, read by a second decoder, holds the values of a hashlib replay and nothing to fetch."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product

import pytest
from baselines_by_hand import COMPARED, everything, of_log, with_allowed
from conftest import replay_by_hand, shared, small_log

from pyverify import EventLog, UsageError
from pyverify.baseline.interchange import corim
from pyverify.baseline.model import EventSequence, event_sequences

BANKS = ["sha1", "sha256", "sha384", "sha512", "sm3_256"]
NUMBERS = {"sha256": 1, "sha384": 7, "sha512": 8}  # IANA, Named Information Hash Algorithm Registry
LOG = small_log(BANKS)
OTHER = small_log(BANKS, command_line=b"debug")

pytest.importorskip("cbor2")


def decode(data: bytes):
    """A second reader of CBOR (RFC 8949): a tag is a pair; map keys must rise, lengths must be their shortest."""
    value, end = _item(data, 0)
    assert end == len(data)
    return value


def _item(data: bytes, at: int):
    kind, short = data[at] >> 5, data[at] & 31
    at += 1
    number = short
    if short >= 24:
        width = 1 << (short - 24)
        assert width <= 8
        number, at = int.from_bytes(data[at : at + width]), at + width
        assert number >= (24 if width == 1 else 1 << 4 * width)
    if kind == 0:
        return number, at
    if kind in (2, 3):
        piece = data[at : at + number]
        assert len(piece) == number
        return (piece if kind == 2 else piece.decode()), at + number
    if kind == 4:
        array = []
        for _ in range(number):
            value, at = _item(data, at)
            array.append(value)
        return array, at
    if kind == 5:
        table, last = {}, b""
        for _ in range(number):
            key, key_end = _item(data, at)
            assert data[at:key_end] > last
            last = data[at:key_end]
            table[key], at = _item(data, key_end)
        return table, at
    assert kind == 6, "nothing else is in a manifest"
    value, at = _item(data, at)
    return ("tag", number, value), at


def tags_in(value):
    if isinstance(value, tuple):
        yield value[1]
        yield from tags_in(value[2])
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from tags_in(inner)


def comids(data: bytes):
    tag, number, manifest = decode(data)
    assert (tag, number, set(manifest)) == ("tag", 501, {0, 1})
    assert manifest[0].startswith("pyverify:")
    for tag, number, body in manifest[1]:
        assert (tag, number) == ("tag", 506)
        yield decode(body)


def states(comid):
    (kind,) = comid[4]
    assert kind == 0
    for environment, measurements in comid[4][0]:
        (measurement,) = measurements
        assert set(measurement) == {1}
        assert set(measurement[1]) == {14}
        yield environment, measurement[1][14]


def registers(log: bytes, pcrs, banks=BANKS):
    by_hand = replay_by_hand(log)
    return {pcr: [[NUMBERS.get(bank, bank), by_hand[bank][pcr]] for bank in banks] for pcr in pcrs}


def test_registers_hold_what_a_replay_by_hashlib_gives():
    (comid,) = comids(corim.export([of_log(LOG)], pcrs=COMPARED))
    assert comid[1] == {0: "pyverify/machine/m", 1: 1}
    ((environment, state),) = states(comid)
    assert environment == {1: ("tag", 560, b"m")}
    assert state == registers(LOG, COMPARED)


def test_sm3_has_a_name_and_is_never_sha256():
    (comid,) = comids(corim.export([of_log(LOG)], pcrs=[4], banks=["sm3_256"]))
    ((_, state),) = states(comid)
    assert state == {4: [["sm3_256", replay_by_hand(LOG)["sm3_256"][4]]]}


def test_other_states_are_other_triples():
    baseline = of_log(LOG, scope="cohort", name="c", version=3)
    log, other = (event_sequences(EventLog.parse(one)) for one in (LOG, OTHER))
    allowed = with_allowed(baseline, 8, log[8], other[8])
    baseline = replace(baseline, allowed=allowed)
    baseline = replace(baseline, allowed=with_allowed(baseline, 9, log[9], other[8]))
    (comid,) = comids(corim.export([baseline], pcrs=[4, 8, 9]))
    assert comid[1] == {0: "pyverify/cohort/c", 1: 3}
    first, second = registers(LOG, range(24)), registers(OTHER, range(24))
    expected = [{4: first[4], 8: a, 9: b} for a, b in product([first[8], second[8]], [first[9], second[8]])]
    assert [state for _, state in states(comid)] == expected
    assert all(environment == {2: ("tag", 560, b"c")} for environment, _ in states(comid))


def test_one_comid_a_baseline_and_the_same_bytes_in_any_order():
    baselines = [of_log(LOG, name="b"), of_log(OTHER, name="a"), replace(of_log(LOG, name="a"), version=2)]
    data = corim.export(baselines, pcrs=COMPARED)
    assert data == corim.export(reversed(baselines), pcrs=COMPARED)
    names = [(comid[1][0], comid[1][1]) for comid in comids(data)]
    assert names == [("pyverify/machine/a", 1), ("pyverify/machine/a", 2), ("pyverify/machine/b", 1)]


def test_nothing_in_a_manifest_is_to_be_fetched():
    """SPEC attack 110: neither dependent manifests nor links, nor any URI (tag 32)."""
    data = corim.export([of_log(LOG), of_log(LOG, name="c", scope="cohort")], pcrs=COMPARED)
    assert b"://" not in data
    assert set(tags_in(decode(data))) == {501, 506}
    assert {tag for comid in comids(data) for tag in tags_in(comid)} == {560}
    assert all(set(comid) == {1, 4} for comid in comids(data))


def test_banks_are_those_that_all_values_of_a_pcr_have():
    baseline = of_log(LOG)
    bare = EventSequence(0, (), (), {}, (), {"sha256": bytes(32)})
    baseline = replace(baseline, allowed=with_allowed(baseline, 8, baseline.allowed[8][0].sequence, bare))
    (comid,) = comids(corim.export([baseline], pcrs=[8]))
    assert [state[8] for _, state in states(comid)] == [
        registers(LOG, [8], ["sha256"])[8],
        [[1, bytes(32)]],
    ]
    with pytest.raises(UsageError, match="are not all known in sha1"):
        corim.export([baseline], pcrs=[8], banks=["sha1"])


@pytest.mark.parametrize(
    ("pcrs", "words"),
    [([23], "no allowed value"), ([8], "may have any digest"), ([], r"\(none\)"), ([24], "PCRs 24")],
)
def test_what_the_form_cannot_say_is_not_exported(pcrs, words):
    with pytest.raises(UsageError, match=words):
        corim.export([everything()], pcrs=pcrs)


def test_too_many_states_no_baseline_or_one_twice_are_refused():
    baseline = of_log(LOG)
    bare = [EventSequence(0, (), (), {}, (), {"sha256": bytes([n]) * 32}) for n in range(7)]
    for pcr in (4, 8, 9):
        baseline = replace(baseline, allowed=with_allowed(baseline, pcr, *bare))
    with pytest.raises(UsageError, match="combine to 343 states; allowed are 256"):
        corim.export([baseline], pcrs=[4, 8, 9])
    with pytest.raises(UsageError, match="at least one baseline"):
        corim.export([], pcrs=[4])
    with pytest.raises(UsageError, match="each once"):
        corim.export([of_log(), of_log()], pcrs=[4])
    with pytest.raises(UsageError, match="unknown bank"):
        corim.export([of_log()], pcrs=[4], banks=["sha"])


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cbor2", None)
    with pytest.raises(UsageError, match=r"pip install 'pyverify\[corim\]'"):
        corim.export([of_log()], pcrs=[4])


def test_the_shape_is_that_of_another_writer():
    """A CoMID with integrity registers as another project keeps it, read by the same decoder."""
    folder = shared("corpus", "files", "veraison__corim")
    theirs = decode((folder / "comid-integrity-registers.cbor").read_bytes())
    (ours,) = comids(corim.export([of_log()], pcrs=[4]))
    ((_, (their_measurement,)),) = theirs[4][0]
    ((_, (our_measurement,)),) = ours[4][0]
    assert set(our_measurement) == set(their_measurement) == {1}
    assert set(our_measurement[1]) == set(their_measurement[1]) == {14}
    for value in (our_measurement, their_measurement):
        for digests in value[1][14].values():
            assert all(type(algorithm) in (int, str) and type(digest) is bytes for algorithm, digest in digests)
    assert set(ours[1]) >= set(theirs[1])

"""Keylime's tpm_policy: the values that a hashlib replay gives, one bank that the caller names, no check lost."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from baselines_by_hand import COMPARED, UNTIL, everything, of_log, with_allowed
from conftest import replay_by_hand, shared, small_log
from hypothesis import given, settings
from hypothesis import strategies as st

from pyverify import EventLog, PyverifyError, References, UsageError
from pyverify.baseline.interchange import keylime_policy
from pyverify.baseline.interchange.imported import MAX_VALUES
from pyverify.baseline.model import Allowed, EventSequence, Origin, State, event_sequences

LOG = small_log(["sha256", "sm3_256"])
OTHER = small_log(["sha256", "sm3_256"], command_line=b"debug")
VALUE = replay_by_hand(LOG)["sha256"][8].hex()


def read(policy, bank="sha256"):
    data = policy if isinstance(policy, bytes) else json.dumps(policy).encode()
    return keylime_policy.read(data, bank=bank, scope="machine", name="m")


def values(found, pcr, bank="sha256"):
    return [one.sequence.values[bank].hex() for one in found.baseline.allowed[pcr]]


@pytest.mark.parametrize("bank", ["sha256", "sm3_256"])
def test_exported_values_are_those_of_the_replay(bank):
    both = [event_sequences(EventLog.parse(log))[8] for log in (LOG, OTHER)]
    baseline = of_log(LOG)
    baseline = replace(baseline, allowed=with_allowed(baseline, 8, *both))
    policy = json.loads(keylime_policy.export(baseline, pcrs=COMPARED, bank=bank))
    assert policy.pop("mask") == hex(sum(1 << pcr for pcr in COMPARED))
    by_hand, other = replay_by_hand(LOG)[bank], replay_by_hand(OTHER)[bank]
    expected = {str(pcr): [by_hand[pcr].hex()] for pcr in COMPARED}
    expected["8"].append(other[8].hex())
    assert policy == expected


def test_recorded_boots_export_what_their_tpm_says():
    folder = shared("recordings", "01_m1_first_boot")
    policy = json.loads(
        keylime_policy.export(of_log((folder / "binary_bios_measurements").read_bytes()), pcrs=COMPARED)
    )
    said = [line.split() for line in (folder / "pcrs_after_logs.txt").read_text().splitlines()]
    values = {pcr: value.lower() for bank, pcr, value in said if bank == "sha256"}
    for pcr in map(str, COMPARED):
        assert policy[pcr] == [values[pcr]]


def test_a_start_value_and_pcrs_that_only_have_values_are_exported():
    baseline = of_log(LOG)
    started = EventSequence(3, (), (), {"sha256": b""})
    ones = EventSequence(255, (), (), {"sha256": b""})
    bare = EventSequence(0, (), (), {}, (), {"sha256": bytes(range(32))})
    for pcr, sequence, value in (
        (0, started, bytes(31) + b"\3"),
        (17, ones, b"\xff" * 32),
        (4, bare, bytes(range(32))),
    ):
        changed = replace(baseline, allowed=with_allowed(baseline, pcr, sequence))
        assert json.loads(keylime_policy.export(changed, pcrs=[pcr]))[str(pcr)] == [value.hex()]


def test_superseded_values_are_not_exported():
    baseline = of_log(LOG)
    new, old = (event_sequences(EventLog.parse(log))[8] for log in (LOG, OTHER))
    allowed = (*baseline.allowed[:8], (Allowed(old, UNTIL), Allowed(new)), *baseline.allowed[9:])
    assert json.loads(keylime_policy.export(replace(baseline, allowed=allowed), pcrs=[8]))["8"] == [VALUE]


@pytest.mark.parametrize(
    ("pcrs", "bank", "words"),
    [
        ([23], "sha256", "PCR 23 .* has no allowed value; a file without it would not check it"),
        ([8], "sha256", "may have any digest"),
        ([14], "sha1", "PCR 14 .* is not known in bank sha1"),
        ([4], "sm3_256", "cohort all has no bank sm3_256; it has sha1, sha256"),
        ([], "sha256", r"PCRs \(none\)"),
        ([24], "sha256", "PCRs 24"),
        ([0], "sha-256", "unknown bank"),
    ],
)
def test_what_the_form_cannot_say_is_not_exported(pcrs, bank, words):
    with pytest.raises(UsageError, match=words):
        keylime_policy.export(everything(), pcrs=pcrs, bank=bank)


def test_a_policy_becomes_a_baseline_of_values():
    found = read({"8": [VALUE, "00" * 32], "22": "ff" * 32, "mask": "0x400500"})
    baseline = found.baseline
    assert (values(found, 8), values(found, 22)) == ([VALUE, "00" * 32], ["ff" * 32])
    assert found.without == tuple(pcr for pcr in range(24) if pcr not in (8, 22))
    assert (baseline.state, baseline.origin, baseline.version) == (State.PENDING, Origin.IMPORTED, 1)
    assert baseline.log_banks == baseline.quoted_banks == ("sha256",)
    assert all(len(one.sequence) == 0 for of_pcr in baseline.allowed for one in of_pcr)


def test_what_was_exported_is_read_and_judged():
    """A PCR that the policy does not name differs from everything; a named one equals its value, in its bank only."""
    baseline = of_log(LOG)
    found = read(keylime_policy.export(baseline, pcrs=COMPARED))
    references = References.of([replace(found.baseline, state=State.ACTIVE)])
    mask = (1 << 24) - 1
    for bank in ("sha256", "sm3_256"):
        replayed = EventLog.parse(LOG).replay([bank])[bank][None]
        differs = int(references.differs(bank, replayed, references.profile[:1], mask)[0])
        expected = {pcr for pcr in range(24) if bank == "sm3_256" or pcr not in COMPARED}
        assert differs == sum(1 << pcr for pcr in expected)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({}, "nothing in it says what a PCR may hold"),
        ({"mask": "0x0"}, "nothing in it says"),
        ({"7": []}, r"\$\.7 is empty; allowed is at least one value"),
        ({"7": None}, r"\$\.7 is null"),
        ({"7": {}}, r"\$\.7 is an object"),
        ({"7": [None]}, r"\$\.7\[0\] is null"),
        ({"7": [[VALUE]]}, r"\$\.7\[0\] is a list"),
        ({"7": [VALUE] * (MAX_VALUES + 1)}, r"\$\.7 has 65 items; allowed are 64"),
        ({"07": [VALUE]}, "“07”; allowed is the number of a PCR"),
        ({"24": [VALUE]}, "“24”; allowed is the number of a PCR"),
        ({"-1": [VALUE]}, "“-1”"),
        ({"\u0667": [VALUE]}, "allowed is the number of a PCR"),
        ({"7": [VALUE], "pcr": 1}, "“pcr”"),
        ({"7": [VALUE], "mask": 128}, r"\$\.mask is 128"),
        ({"7": [VALUE], "mask": "0X80"}, r"\$\.mask is"),
        ({"7": [VALUE], "mask": "128"}, r"\$\.mask is"),
        ({"7": [VALUE], "mask": "0x100"}, "mask does not select PCR 7, which has values"),
        ([], r"\$ is a list"),
        (b'{"7":["' + VALUE.encode() + b'"],"7":["' + b"00" * 32 + b'"]}', "a key stands there twice"),
        (b"x" * (keylime_policy.MAX_SIZE + 1), "has at most"),
    ],
)
def test_a_policy_that_is_not_exactly_so_is_refused(policy, words):
    with pytest.raises(UsageError, match=words):
        read(policy)


@pytest.mark.parametrize(
    "digest",
    [
        VALUE.upper(),
        "0x" + VALUE,
        VALUE[:-1],
        VALUE[2:],
        "1",
        VALUE + "00",
        f" {VALUE}",
        "0" * 40,
        "",
    ],
)
def test_a_value_has_one_form_and_the_length_of_its_bank(digest):
    """SPEC attacks 103 and 104."""
    with pytest.raises(UsageError, match=r"\$\.7\[0\] is .*allowed is a sha256 digest: 64 lower-case"):
        read({"7": [digest]})
    with pytest.raises(UsageError, match="allowed is a sha256 digest"):
        read({"7": digest})


@pytest.mark.parametrize(("bank", "size"), [("sha1", 20), ("sha384", 48), ("sha512", 64), ("sm3_256", 32)])
def test_values_are_of_the_bank_that_the_caller_names(bank, size):
    found = read({"7": ["ab" * size]}, bank)
    assert dict(found.baseline.allowed[7][0].sequence.values) == {bank: b"\xab" * size}
    with pytest.raises(UsageError, match=f"a {bank} digest"):
        read({"7": ["ab" * (size + 1)]}, bank)


POLICY = keylime_policy.export(of_log(LOG), pcrs=COMPARED)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_policy_is_refused_or_checks_as_much(data):
    at = data.draw(st.integers(0, len(POLICY) - 1))
    end = data.draw(st.integers(at, min(at + 70, len(POLICY))))
    pieces = st.one_of(st.binary(max_size=3), st.sampled_from([b"[]", b"{}", b"null", POLICY[at:end] * 2]))
    damaged = POLICY[:at] + data.draw(pieces) + POLICY[end:]
    try:
        found = read(damaged)
    except PyverifyError:
        return
    named = {int(key) for key in json.loads(damaged) if key != "mask"}
    assert set(found.without) == set(range(24)) - named
    assert all(found.baseline.allowed[pcr] for pcr in named)

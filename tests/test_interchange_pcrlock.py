"""systemd-pcrlock's files: components in order, any one variant of each, and what cannot be said is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from baselines_by_hand import COMPARED, everything, of_log, with_allowed
from conftest import hash_of, replay_by_hand, shared, small_log
from hypothesis import given, settings
from hypothesis import strategies as st

from pyverify import EventLog, PyverifyError, References, UsageError
from pyverify.baseline.interchange import pcrlock, pcrlock_values
from pyverify.baseline.model import Origin, State, event_sequences

BANKS = ["sha1", "sha256", "sm3_256"]
LOG = small_log(BANKS)
OTHER = small_log(BANKS, command_line=b"debug")

# Two files as systemd 256 ships them in src/pcrlock/pcrlock.d: "enter-initrd" in PCR 11, "shutdown" in PCR 11.
ENTER_INITRD = (
    b'{"records":[{"pcr":11,"digests":[{"hashAlg":"sha1","digest":"b1b01d5f73f321eb70e76f8a0e241ac0a3fa4a6e"},'
    b'{"hashAlg":"sha256","digest":"51e6b92f405d1f98d96e3de343d61d420ad6923b25de21d766f9298192f14fed"}]}]}\n'
)


def record(pcr: int, text: bytes, banks=("sha256",), **changes) -> dict:
    digests = [{"hashAlg": bank, "digest": hash_of(bank, text).hex()} for bank in banks]
    return {"pcr": pcr, "digests": digests, **changes}


def component(*records) -> bytes:
    return json.dumps({"records": list(records)}).encode()


def read(files, **options):
    files = files.items() if isinstance(files, dict) else files
    return pcrlock.read(files, scope="machine", name="m", **options)


def extended(*texts: bytes, bank="sha256", start=None) -> bytes:
    value = start or bytes(len(hash_of(bank, b"")))
    for text in texts:
        value = hash_of(bank, value + hash_of(bank, text))
    return value


def value(references: References, pcr: int, bank="sha256") -> bytes | None:
    return references.allowed_value(bank, int(references.profile[0]), pcr)


def allowed(found, pcr, bank="sha256"):
    return {hashlib.sha256(one.sequence.digests[bank]).digest() for one in found.baseline.allowed[pcr]}


def chains(*texts, bank="sha256"):
    return {hashlib.sha256(b"".join(hash_of(bank, t) for t in of_one)).digest() for of_one in texts}


def test_a_file_of_systemds_own_is_read():
    found = read({"750-enter-initrd.pcrlock": ENTER_INITRD})
    (one,) = found.baseline.allowed[11]
    assert one.sequence.texts == ("750-enter-initrd",)
    assert one.sequence.digests == {bank: hash_of(bank, b"enter-initrd") for bank in ("sha1", "sha256")}
    assert found.without == tuple(pcr for pcr in range(24) if pcr != 11)
    assert (found.baseline.origin, found.baseline.state) == (Origin.IMPORTED, State.PENDING)
    assert found.baseline.log_banks == ("sha1", "sha256")


def test_components_follow_each_other_by_name_and_any_variant_may_match():
    files = {
        "650-kernel.pcrlock.d/6.2.pcrlock": component(record(4, b"k2"), record(9, b"i2")),
        "500-separator.pcrlock": component(record(4, bytes(4)), record(7, bytes(4))),
        "650-kernel.pcrlock.d/6.1.pcrlock": component(record(4, b"k1"), record(9, b"i1")),
        "700-exit.pcrlock.d/300-present.pcrlock": component(record(4, b"exit")),
        "700-exit.pcrlock.d/600-absent.pcrlock": component(),
    }
    found = read(files)
    zeros = bytes(4)
    expected = chains(*((zeros, k, *end) for k in (b"k1", b"k2") for end in ((b"exit",), ())))
    assert allowed(found, 4) == expected
    assert allowed(found, 7) == chains((zeros,))
    assert allowed(found, 9) == chains((b"i1",), (b"i2",))
    assert found.baseline == read(reversed(files.items())).baseline


def test_values_are_those_of_a_replay_by_hashlib():
    files = {
        "100-a.pcrlock": component(record(0, b"a", BANKS), record(17, b"d", BANKS), record(4, b"x", BANKS)),
        "200-b.pcrlock": component(record(4, b"y", BANKS)),
    }
    references = References.of([read(files, locality=3).baseline])
    for bank in BANKS:
        size = len(hash_of(bank, b""))
        assert value(references, 4, bank) == extended(b"x", b"y", bank=bank)
        assert value(references, 0, bank) == extended(b"a", bank=bank, start=bytes(size - 1) + b"\3")
        assert value(references, 17, bank) == extended(b"d", bank=bank, start=b"\xff" * size)
        assert value(references, 5, bank) is None


def test_what_is_measured_when_a_machine_goes_down_is_left_out():
    files = {"750-enter-initrd.pcrlock": ENTER_INITRD, "950-shutdown.pcrlock": component(record(11, b"shutdown"))}
    assert allowed(read(files), 11) == chains((b"enter-initrd",))
    assert allowed(read(files, until=None), 11) == chains((b"enter-initrd", b"shutdown"))


def test_a_pcr_has_the_banks_that_all_its_records_have():
    files = {
        "1-a.pcrlock": component(record(4, b"a", ["sha256", "sha384"]), record(7, b"p", ["sha256", "sha384"])),
        "2-b.pcrlock.d/x.pcrlock": component(record(4, b"b", ["sha256"])),
        "2-b.pcrlock.d/y.pcrlock": component(record(4, b"b", ["sha1", "sha256"])),
    }
    found = read(files)
    (one,) = found.baseline.allowed[4]  # what the variants have in common is equal
    assert set(one.sequence.digests) == {"sha256"}
    assert set(found.baseline.allowed[7][0].sequence.digests) == {"sha256", "sha384"}
    assert found.baseline.log_banks == ("sha256",)


def test_a_pcr_may_be_said_to_be_untouched():
    found = read({"1-a.pcrlock": component(record(4, b"a"))}, untouched=(14, 17))
    references = References.of([found.baseline])
    assert (value(references, 14), value(references, 17)) == (bytes(32), b"\xff" * 32)
    assert found.without == tuple(pcr for pcr in range(24) if pcr not in (4, 14, 17))
    with pytest.raises(UsageError, match="PCR 4 has records"):
        read({"1-a.pcrlock": component(record(4, b"a"))}, untouched=(4,))


def test_too_many_combinations_are_refused_before_they_are_made():
    files = {
        f"{n:03}-c.pcrlock.d/{v}.pcrlock": component(record(4, b"%d-%d" % (n, v))) for n in range(100) for v in range(2)
    }
    with pytest.raises(UsageError, match=r"PCR 4 .*128 combinations of .* up to 006-c; allowed are 64"):
        read(files)
    long = component(*[record(4, b"x")] * 2000)
    files = {"1-a.pcrlock": long} | {f"2-b.pcrlock.d/{v}.pcrlock": component(record(4, b"%d" % v)) for v in range(60)}
    with pytest.raises(UsageError, match="60 combinations of 120060 events"):
        read(files)


def test_equal_variants_are_one():
    files = {f"{n:03}-c.pcrlock.d/{v}.pcrlock": component(record(4, b"c")) for n in range(20) for v in range(2)}
    assert len(read(files).baseline.allowed[4]) == 1


GOOD = record(4, b"a")


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([{**GOOD, "digests": []}], r"a\.pcrlock: \$\.records\[0\]\.digests is empty"),
        ([{"digests": GOOD["digests"]}], r"records\[0\] lacks pcr"),
        ([{"pcr": 4}], r"records\[0\] lacks digests"),
        ([{**GOOD, "pcr": 24}], r"\.pcr is 24"),
        ([{**GOOD, "pcr": "4"}], r"\.pcr is"),
        ([{**GOOD, "pcr": True}], r"\.pcr is true or false"),
        ([{"nv_index": 1, **GOOD}], "unknown key “nv_index”"),
        ([{**GOOD, "digests": GOOD["digests"] * 2}], "a second sha256 digest"),
        ([{**GOOD, "digests": [{"hashAlg": "sha3-256", "digest": "00" * 32}]}], "hashAlg is .*one of sha1"),
        ([{**GOOD, "digests": [{"hashAlg": "SHA256", "digest": "00" * 32}]}], "hashAlg is .*one of sha1"),
        ([{**GOOD, "digests": [{"hashAlg": "sha256"}]}], r"digests\[0\] lacks digest"),
        ([{**GOOD, "digests": [{"digest": "00" * 32}]}], r"digests\[0\] lacks hashAlg"),
        ([GOOD, record(4, b"a", ["sha1"])], "its records have no bank in common"),
        ([GOOD, record(5, b"a", ["sha1"])], "the PCRs have no bank in common"),
        ([], "nothing in it says what a PCR may hold"),
        ([{**GOOD, "content_type": "pyverify"}], r"\.content is null"),
        ([{**GOOD, "content_type": "pyverify", "content": {"type": 1, "text": "\x1b"}}], r"\.content\.text"),
    ],
)
def test_a_file_that_is_not_exactly_so_is_refused(records, words):
    with pytest.raises(UsageError, match=words):
        read({"1-a.pcrlock": component(*records)})


@pytest.mark.parametrize(
    "change", [str.upper, lambda d: "0x" + d, lambda d: d[2:], lambda d: d + "00", lambda d: d[:-1]]
)
def test_a_digest_has_one_form(change):
    """SPEC attacks 103 and 104."""
    digest = change(hash_of("sha256", b"a").hex())
    record = {"pcr": 4, "digests": [{"hashAlg": "sha256", "digest": digest}]}
    with pytest.raises(UsageError, match=r"digests\[0\]\.digest is .*64 lower-case"):
        read({"1-a.pcrlock": component(record)})


@pytest.mark.parametrize(
    "name",
    ["a.txt", ".pcrlock", "a/b.pcrlock", "a.pcrlock.d/", "../a.pcrlock.d/../b.pcrlock", "a\n.pcrlock", "a.pcrlock.d"],
)
def test_other_files_are_refused(name):
    with pytest.raises(UsageError, match="allowed are NNN-name"):
        read({name: component(GOOD)})


def test_a_file_twice_or_one_too_many_is_refused():
    with pytest.raises(UsageError, match="is there twice"):
        read([("1-a.pcrlock", component(GOOD)), ("1-a.pcrlock", component())])
    empty = component()
    with pytest.raises(UsageError, match="past 4096 files"):
        read((f"{n}-a.pcrlock", empty) for n in range(5000))
    many = component(*[GOOD] * 60_000)
    with pytest.raises(UsageError, match=r"more than 100000 records|has at most"):
        read([("1-a.pcrlock", many), ("2-b.pcrlock", many)])


def touched(baseline):
    return [pcr for pcr in COMPARED if len(baseline.allowed[pcr][0].sequence)]


def test_what_was_exported_is_read_as_the_same_sequences():
    baseline = of_log(LOG)
    both = [event_sequences(EventLog.parse(log))[8] for log in (LOG, OTHER)]
    baseline = replace(baseline, allowed=with_allowed(baseline, 8, *both))
    files = pcrlock.export(baseline, pcrs=COMPARED)
    assert {"504-pcr4.pcrlock", "508-pcr8.pcrlock.d/00.pcrlock", "508-pcr8.pcrlock.d/01.pcrlock"} < set(files)
    untouched = set(COMPARED) - set(touched(baseline))
    found = read(files, untouched=untouched)
    for pcr in COMPARED:
        assert found.baseline.allowed[pcr] == baseline.allowed[pcr]


def test_recorded_boots_come_back():
    for path in sorted(shared("recordings").glob("*_first_boot/binary_bios_measurements")):
        baseline = of_log(path.read_bytes())
        untouched = set(COMPARED) - set(touched(baseline))
        found = read(pcrlock.export(baseline, pcrs=COMPARED), untouched=untouched)
        assert [found.baseline.allowed[pcr] for pcr in COMPARED] == [baseline.allowed[pcr] for pcr in COMPARED]


def test_a_pcr_that_may_be_extended_or_not_comes_back():
    baseline = of_log(LOG)
    never = event_sequences(EventLog.parse(LOG))[9]
    baseline = replace(baseline, allowed=with_allowed(baseline, 8, never, baseline.allowed[8][0].sequence))
    found = read(pcrlock.export(baseline, pcrs=[8]))
    untouched, extended = (one.sequence for one in found.baseline.allowed[8])
    assert untouched.digests == dict.fromkeys(BANKS, b"")
    assert extended == baseline.allowed[8][1].sequence


@pytest.mark.parametrize(
    ("pcr", "words"), [(23, "no allowed value"), (8, "may have any digest"), (14, "known by value only")]
)
def test_what_the_form_cannot_say_is_not_exported(pcr, words):
    with pytest.raises(UsageError, match=words):
        pcrlock.export(everything(), pcrs=[pcr])


def test_start_values_that_the_form_cannot_say_are_not_exported():
    baseline = of_log(LOG)
    own = baseline.allowed[0][0].sequence
    late = replace(own, start=3)
    started = replace(baseline, allowed=with_allowed(baseline, 0, late))
    files = pcrlock.export(started, pcrs=[0])
    assert read(files, locality=3).baseline.allowed[0] == started.allowed[0]
    for pcr, sequences in ((0, (own, late)), (4, (late,)), (17, (own,))):
        with pytest.raises(UsageError, match="starts with other values than this form can mean"):
            pcrlock.export(replace(baseline, allowed=with_allowed(baseline, pcr, *sequences)), pcrs=[pcr])


def test_values_of_a_prediction_are_read():
    by_hand = replay_by_hand(LOG)["sha256"]
    file = {
        "pcrBank": "sha256",
        "pcrValues": [{"pcr": 4, "values": [by_hand[4].hex()]}, {"pcr": 8, "values": [by_hand[8].hex(), "00" * 32]}],
        "nvIndex": 25165830,
        "policyHash": "ab",
    }
    found = pcrlock_values.read(json.dumps(file).encode(), scope="cohort", name="c")
    assert [one.sequence.values["sha256"] for one in found.baseline.allowed[8]] == [by_hand[8], bytes(32)]
    assert found.without == tuple(pcr for pcr in range(24) if pcr not in (4, 8))


PREDICTION = {"pcrBank": "sha256", "pcrValues": [{"pcr": 4, "values": ["ab" * 32]}]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pcrBank": "sha3"}, r"\$\.pcrBank"),
        ({"pcrBank": "sha384"}, "a sha384 digest: 96"),
        ({"pcrValues": []}, "nothing in it says"),
        ({"pcrValues": [{"pcr": 4, "values": []}]}, "allows no value"),
        ({"pcrValues": PREDICTION["pcrValues"] * 2}, "was there before"),
        ({"pcrValues": [{"pcr": 24, "values": ["ab" * 32]}]}, r"\.pcr is 24"),
        ({"pcrValues": [{"pcr": 4, "values": ["AB" * 32]}]}, r"values\[0\] is"),
        ({"pcrValues": [{"pcr": 4, "values": ["ab" * 32], "bank": "sha1"}]}, "unknown key “bank”"),
        ({"pcrs": []}, "unknown key “pcrs”"),
    ],
)
def test_a_prediction_that_is_not_exactly_so_is_refused(change, words):
    with pytest.raises(UsageError, match=words):
        pcrlock_values.read(json.dumps({**PREDICTION, **change}).encode(), scope="machine", name="m")


FILES = [
    ("500-separator.pcrlock", component(record(4, bytes(4)), record(7, bytes(4)))),
    ("650-kernel.pcrlock", component(record(4, b"k", ["sha1", "sha256"]), record(9, b"i"))),
]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_files_are_refused_or_check_as_much(data):
    number = data.draw(st.integers(0, 1))
    name, text = FILES[number]
    at = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(at, min(at + 90, len(text))))
    pieces = st.one_of(st.binary(max_size=3), st.sampled_from([b"[]", b"{}", b"null", text[at:end] * 2]))
    damaged = text[:at] + data.draw(pieces) + text[end:]
    try:
        found = read([(name, damaged), FILES[1 - number]])
    except PyverifyError:
        return
    records = json.loads(damaged)["records"] + json.loads(FILES[1 - number][1])["records"]
    for pcr in range(24):
        wanted = sum(r["pcr"] == pcr for r in records)
        assert [len(one.sequence) for one in found.baseline.allowed[pcr]] == ([wanted] if wanted else [])
        assert all(one.sequence.digests for one in found.baseline.allowed[pcr])

"""Which variations of a PCR pass: phases, NvPCRs, events that vary, and each way to fail."""

from __future__ import annotations

import itertools
import time

import pytest
from conftest import entry, hash_of, image, no_action, replay_by_hand, spec_id
from varied_boots import (
    ACTION,
    BANKS,
    EVIL,
    FILES,
    FIRST_TRY,
    GRUB,
    HEAD,
    IPL,
    NAME,
    NVPCRS,
    PHASES,
    RETURNED,
    SHIM,
    TAG,
    booted,
    contents,
    learned,
    other_digest,
    passes,
    retried,
    word,
)

from pyverify import EventLog
from pyverify.appraise.logged_pcr import LoggedPcr
from pyverify.appraise.variation import is_variation


def phase_events(*texts: bytes) -> list[bytes]:
    return [word(11, text) for text in texts]


SECTIONS = [contents(11, b".linux", b"linux"), contents(11, b".initrd", b"initrd")]
LEARNED_PHASES = [*SECTIONS, *phase_events(*PHASES[:4])]


@pytest.mark.parametrize("count", range(7))
def test_phases_in_their_order_pass_however_far_a_boot_is(count):
    for some in itertools.combinations(PHASES, count):
        for expected in (SECTIONS, LEARNED_PHASES):
            assert passes(11, expected, [*SECTIONS, *phase_events(*some)])


_UNPROVEN = other_digest(word(11, PHASES[1]), "sha256", hash_of("sha256", b"evil"))
_ONE_BANK = other_digest(word(11, PHASES[1]), "sm3_256", hash_of("sm3_256", b"evil"))
NO_PHASES = {
    "repeated": [*SECTIONS, *phase_events(*PHASES[:2], PHASES[1])],
    "out of order": [*SECTIONS, *phase_events(PHASES[1], PHASES[0])],
    "unknown": [*SECTIONS, *phase_events(PHASES[0], b"evil")],
    "with a NUL": [*SECTIONS, *phase_events(PHASES[0] + b"\0")],
    "in capitals": [*SECTIONS, *phase_events(b"READY")],
    "not what was measured": [*SECTIONS, word(11, PHASES[0]), _UNPROVEN],
    "measured in one bank only": [*SECTIONS, word(11, PHASES[0]), _ONE_BANK],
    "another type": [*SECTIONS, word(11, PHASES[0], TAG)],
    "a section changed": [SECTIONS[0], contents(11, b".initrd", b"evil"), word(11, PHASES[0])],
    "a section is missing": [SECTIONS[0], word(11, PHASES[0])],
    "a phase before a section": [SECTIONS[0], word(11, PHASES[0]), SECTIONS[1]],
    "a section behind": [*SECTIONS, word(11, PHASES[0]), contents(11, b".initrd", b"evil")],
}


@pytest.mark.parametrize("expected", [SECTIONS, LEARNED_PHASES], ids=["learned early", "learned late"])
@pytest.mark.parametrize("events", NO_PHASES.values(), ids=NO_PHASES)
def test_no_other_phases_pass(events, expected):
    assert not passes(11, expected, events)


USER = [word(9, b"os-separator"), word(9, NVPCRS[0]), word(9, b"nvpcr-separator")]
NEW = word(9, NVPCRS[1])


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (FILES, [*FILES, NEW]),
        (FILES, [*FILES, NEW, word(9, NVPCRS[0])]),
        ([*FILES, *USER], [*FILES, NEW, *USER]),
        ([*FILES, *USER], [*FILES, *USER[:1], NEW, *USER[1:]]),
        ([*FILES, *USER], [*FILES, *USER[:2], NEW, *USER[2:]]),
        (FILES, [*FILES, word(9, b"nvpcr-init:x:0x1d10200:sha256:" + b"0" * 64)]),
    ],
)
def test_nvpcrs_that_are_set_up_pass(expected, actual):
    assert passes(9, expected, actual)


NO_NVPCRS = {
    "bytes behind": [*FILES, *USER, word(9, NVPCRS[1] + b"\n")],
    "a NUL behind": [*FILES, word(9, NVPCRS[1] + b"\0"), *USER],
    "a colon behind": [*FILES, word(9, NVPCRS[1] + b":"), *USER],
    "half a byte": [*FILES, word(9, NVPCRS[1][:-1]), *USER],
    "no index": [*FILES, word(9, b"nvpcr-init:x:" + NAME), *USER],
    "an index that is none": [*FILES, word(9, b"nvpcr-init:x:0x81000001:" + NAME), *USER],
    "capitals": [*FILES, word(9, NVPCRS[1].upper()), *USER],
    "no name": [*FILES, word(9, b"nvpcr-init::0x1d10201:" + NAME), *USER],
    "set up twice": [*FILES, NEW, NEW, *USER],
    "set up again as another": [*FILES, word(9, NVPCRS[0].replace(NAME, NAME[::-1])), *USER],
    "after all were set up": [*FILES, *USER, NEW],
    "among what was booted": [FILES[0], NEW, *FILES[1:], *USER],
    "before what was booted": [NEW, *FILES, *USER],
    "an expected one is missing": [*FILES, USER[0], NEW, USER[2]],
    "other words": [*FILES, word(9, b"evil"), *USER],
    "another type": [*FILES, word(9, NVPCRS[1], TAG), *USER],
    "not what was measured": [*FILES, other_digest(NEW, "sha256", hash_of("sha256", b"evil")), *USER],
    "measured in one bank only": [*FILES, other_digest(NEW, "sm3_256", hash_of("sm3_256", b"evil")), *USER],
    "a file changed": [*FILES[:2], contents(9, b"vmlinuz", b"evil"), NEW, *USER],
}


@pytest.mark.parametrize("events", NO_NVPCRS.values(), ids=NO_NVPCRS)
def test_no_other_words_of_user_space_pass(events):
    assert not passes(9, [*FILES, *USER], events)


def grubenv(data: bytes) -> bytes:
    return contents(9, b"grubenv", data)


def test_an_event_that_varies_may_have_any_digest_at_its_position():
    changed = [FILES[0], grubenv(b"saved_entry=1"), FILES[2]]
    assert not passes(9, FILES, changed)
    assert passes(9, FILES, changed, varies=(1,))
    for other in ((0,), (2,), (0, 2)):
        assert not passes(9, FILES, changed, varies=other)


VARIES_IN_VAIN = {
    "another file": [contents(9, b"grub.cfg", b"evil"), grubenv(b"x"), FILES[2]],
    "one more event": [FILES[0], grubenv(b"x"), grubenv(b"y"), FILES[2]],
    "one event less": [FILES[0], FILES[2]],
    "in another order": [grubenv(b"x"), FILES[0], FILES[2]],
    "none": [],
}


@pytest.mark.parametrize("events", VARIES_IN_VAIN.values(), ids=VARIES_IN_VAIN)
def test_an_event_that_varies_excuses_nothing_else(events):
    assert not passes(9, FILES, events, varies=(1,))


def test_an_event_may_vary_beside_what_every_boot_may():
    changed = [FILES[0], grubenv(b"x"), FILES[2]]
    assert passes(9, [*FILES, *USER], [*changed, NEW, *USER], varies=(1,))
    assert not passes(9, [*FILES, *USER], [*changed, *USER, NEW], varies=(1,))
    # One of user space's own words varies: a new NvPCR before it is not taken for it.
    other = [word(9, b"os-separator of another system"), *USER[1:]]
    assert passes(9, [*FILES, *USER], [*FILES, NEW, *other], varies=(3,))
    assert not passes(9, [*FILES, *USER], [*FILES, NEW, *USER[2:]], varies=(3,))
    another = image(BANKS, b"another shim")
    assert passes(4, FIRST_TRY, [*HEAD, another, *RETURNED, SHIM, GRUB], varies=(2,))
    assert passes(4, FIRST_TRY, [*HEAD, SHIM, *RETURNED, another, GRUB], varies=(2,))
    assert not passes(4, FIRST_TRY, [*HEAD, another, EVIL, *RETURNED, SHIM, GRUB], varies=(2,))
    assert not passes(4, FIRST_TRY, [*HEAD, SHIM, *RETURNED, SHIM, another], varies=(2,))
    section = contents(11, b".initrd", b"credentials")
    assert passes(11, LEARNED_PHASES, [SECTIONS[0], section, word(11, PHASES[0])], varies=(1,))
    assert not passes(11, LEARNED_PHASES, [section, SECTIONS[1], word(11, PHASES[0])], varies=(1,))


VARIED = {
    4: (FIRST_TRY, retried(*RETURNED)),
    9: (FILES, [*FILES, NEW]),
    11: (SECTIONS, [*SECTIONS, word(11, PHASES[0])]),
}


@pytest.mark.parametrize("pcr", VARIED)
def test_what_passes_must_replay_to_the_authentic_value_in_every_bank(pcr):
    expected, actual = VARIED[pcr]
    values = {bank: value[pcr] for bank, value in replay_by_hand(spec_id(BANKS) + b"".join(actual)).items()}
    before = {bank: value[pcr] for bank, value in replay_by_hand(spec_id(BANKS) + b"".join(expected)).items()}
    assert passes(pcr, expected, actual, values=values)
    assert passes(pcr, expected, expected, values=before)
    for bank in BANKS:
        assert not passes(pcr, expected, actual, values={**values, bank: before[bank]})
        assert not passes(pcr, expected, expected, values={**before, bank: bytes(32)})
    assert not passes(pcr, expected, actual, values={})
    assert not passes(pcr, expected, actual, values={**values, "sha384": bytes(48)})


def test_what_a_bank_holds_by_itself_must_pass():
    """An event that varies excuses one bank as it does the other; a change in the other bank stays one."""
    changed = [FILES[0], other_digest(FILES[1], "sm3_256", hash_of("sm3_256", b"x")), FILES[2]]
    assert passes(9, FILES, changed, varies=(1,))
    assert passes(9, FILES, changed, banks=["sha256"])
    assert not passes(9, FILES, changed)


@pytest.mark.parametrize("pcr", VARIED)
def test_a_measurement_register_has_no_words(pcr):
    expected, actual = VARIED[pcr]
    assert passes(pcr, expected, expected, of_register=True)
    assert not passes(pcr, expected, actual, of_register=True)


@pytest.mark.parametrize("pcr", [0, 2, 7, 8, 12, 14])
def test_other_pcrs_hold_no_words_that_pass(pcr):
    expected = [entry(pcr, IPL, b"x", BANKS)]
    for text, kind in (
        (b"enter-initrd", IPL),
        (NVPCRS[0], IPL),
        (b"Returning from EFI Application from Boot Option", ACTION),
    ):
        assert passes(pcr, expected, expected)
        assert not passes(pcr, expected, [*expected, word(pcr, text, kind)])


def test_a_pcr_must_start_as_expected():
    version = entry(0, 8, b"1.0", BANKS)
    locality = no_action(0, b"StartupLocality\0\3", BANKS)
    assert passes(0, [version], [version], varies=(0,))
    assert passes(0, [locality, version], [locality, entry(0, 8, b"2.0", BANKS)], varies=(0,))
    assert not passes(0, [version], [locality, version], varies=(0,))


def test_an_event_without_a_digest_in_a_bank_does_not_pass_in_it():
    partial = entry(4, ACTION, b"Returning from EFI Application from Boot Option", BANKS[:1])
    values = {"sha256": replay_by_hand(spec_id(BANKS) + b"".join(retried(partial)))["sha256"][4]}
    assert passes(4, FIRST_TRY, retried(partial), values=values)
    values["sm3_256"] = replay_by_hand(spec_id(BANKS) + b"".join(FIRST_TRY))["sm3_256"][4]
    assert not passes(4, FIRST_TRY, retried(partial), values=values)


@pytest.mark.parametrize(
    ("pcr", "expected", "unit"),
    [
        (4, FIRST_TRY, [SHIM, GRUB, *RETURNED]),
        (4, [*HEAD, *[SHIM] * 50_000], [SHIM]),
        (9, FILES, [word(9, NVPCRS[0])]),
        (11, SECTIONS, [word(11, PHASES[0])]),
    ],
    ids=["attempts", "images", "NvPCRs", "phases"],
)
def test_a_hostile_log_takes_time_linear_in_its_events(pcr, expected, unit):
    head = HEAD if pcr == 4 else expected
    log = spec_id(BANKS) + b"".join(
        [*head, b"".join(unit) * (100_000 // len(unit)), *([SHIM, GRUB] if pcr == 4 else [])]
    )
    logged = LoggedPcr(EventLog.parse(log), pcr)
    sequence = learned(booted(**{f"pcr{pcr}": expected})).allowed[pcr][0].sequence
    started = time.process_time()
    is_variation(logged, sequence, dict.fromkeys(BANKS, bytes(32)))
    assert time.process_time() - started < 5

"""Boot attempts in PCR 4: which pass, against a grammar written as a regular expression, and each way to fail."""

from __future__ import annotations

import itertools
import re

import pytest
from conftest import hash_of
from hypothesis import given, settings
from hypothesis import strategies as st
from varied_boots import (
    ACTION,
    BANKS,
    BOOTING,
    BOOTING_2,
    CALLING,
    EVIL,
    FIRST_TRY,
    GRUB,
    HEAD,
    IPL,
    PCR4_SEPARATOR,
    RETURNED,
    RETURNING,
    SHIM,
    other_digest,
    other_type,
    passes,
    retried,
    word,
)

LETTERS = {
    "C": CALLING,
    "R": RETURNING,
    "B": BOOTING,
    "b": BOOTING_2,
    "S": PCR4_SEPARATOR,
    "1": SHIM,
    "2": GRUB,
    "x": EVIL,
}
_FAILED = "(?:(?:12?)?RC?[Bb]?)*"
GRAMMARS = {
    "CS12": f"CS{_FAILED}12",
    "CBS12": f"C[Bb]S{_FAILED}12",
    "SC12": f"SC{_FAILED}12",
    "CS1RC12": f"CS{_FAILED}1RC?[Bb]?{_FAILED}12",
    "CS": "CS(?:RC?[Bb]?)*",
}


def spelt(letters: str) -> list[bytes]:
    return [LETTERS[letter] for letter in letters]


@pytest.mark.parametrize("expected", GRAMMARS)
def test_boot_attempts_are_what_the_grammar_says(expected):
    begin = max(expected.index("S"), expected.index("C")) + 1
    seen = 0
    tails = ("".join(letters) for n in range(5) for letters in itertools.product("CRB12x", repeat=n))
    for tail in itertools.chain(
        tails, ["RCb12", "1RCb1RC12", "1RC1RC12", "RC1RB12", "1RC12RC12", "12RCB1R12", "1RCR12"]
    ):
        actual = expected[:begin] + tail
        right = re.fullmatch(GRAMMARS[expected], actual) is not None
        assert passes(4, spelt(expected), spelt(actual)) == right, actual
        seen += right
    assert seen > 3


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(GRAMMARS)), st.lists(st.sampled_from(["R", "RC", "RCB", "1", "12", "C", "S", "b", "x"])))
def test_boot_attempts_at_random_are_what_the_grammar_says(expected, parts):
    for actual in (expected[:2] + "".join(parts) + expected[2:], "".join(parts)):
        right = re.fullmatch(GRAMMARS[expected], actual) is not None
        assert passes(4, spelt(expected), spelt(actual)) == right, actual


def nul(event: bytes, text: bytes) -> bytes:
    """The same action, logged and hashed with a NUL at its end."""
    assert text in event
    return word(4, text + b"\0", ACTION)


ATTEMPTS = {
    "none failed": FIRST_TRY,
    "nothing ran": retried(*RETURNED),
    "an older firmware that says no more": retried(RETURNING),
    "one image ran": retried(SHIM, *RETURNED),
    "all ran, and returned": retried(SHIM, GRUB, *RETURNED),
    "two failed": retried(SHIM, *RETURNED, BOOTING, *RETURNED),
    "with a NUL": retried(nul(RETURNING, b"Returning from EFI Application from Boot Option")),
    "brackets": retried(*RETURNED, word(4, b"Booting to <Boot000A> Option", ACTION)),
}
_PROVEN = {bank: hash_of(bank, b"Returning from EFI Application from Boot Option") for bank in BANKS}
NO_ATTEMPTS = {
    "an image that is not expected": retried(EVIL, *RETURNED),
    "one more image in an attempt that failed": retried(SHIM, EVIL, *RETURNED),
    "images in another order": retried(GRUB, *RETURNED),
    "the last attempt in another order": [*HEAD, *RETURNED, GRUB, SHIM],
    "the last attempt ran less": [*HEAD, *RETURNED, SHIM],
    "the last attempt ran more": [*HEAD, *RETURNED, SHIM, GRUB, EVIL],
    "nothing was said between two attempts": retried(SHIM),
    "only that the next one is called": retried(SHIM, CALLING),
    "what called the first is missing": [PCR4_SEPARATOR, SHIM, GRUB],
    "the separator is missing": [CALLING, *RETURNED, SHIM, GRUB],
    "before the separator": [CALLING, *RETURNED, PCR4_SEPARATOR, SHIM, GRUB],
    "a second separator": retried(*RETURNED, PCR4_SEPARATOR),
    "an end without an attempt": [*FIRST_TRY, *RETURNED],
    "called twice": retried(*RETURNED, CALLING),
    "booting before calling": retried(RETURNING, BOOTING, CALLING),
    "other words": retried(word(4, b"Returning from EFI Application", ACTION)),
    "other words behind": retried(word(4, b"Returning from EFI Application from Boot Option!", ACTION)),
    "two NULs": retried(word(4, b"Returning from EFI Application from Boot Option\0\0", ACTION)),
    "no boot option": retried(*RETURNED, word(4, b"Booting to Boot00 Option", ACTION)),
    "a boot option and more": retried(*RETURNED, word(4, b"Booting to Boot0001 Option\n", ACTION)),
    "half a bracket": retried(*RETURNED, word(4, b"Booting to <Boot0001 Option", ACTION)),
    "the digest of something else": retried(word(4, b"evil", ACTION)),
    "words that are not what was measured": retried(other_digest(RETURNING, "sha256", hash_of("sha256", b"evil"))),
    "words measured in one bank only": retried(other_digest(RETURNING, "sm3_256", hash_of("sm3_256", b"evil"))),
    "an image in one bank only": retried(other_digest(SHIM, "sm3_256", hash_of("sm3_256", b"evil")), *RETURNED),
    "the right digest beside no words": retried(word(4, b"", ACTION, _PROVEN)),
    "another type": retried(other_type(RETURNING, IPL)),
    "EV_ACTION": retried(other_type(RETURNING, 5)),
    "an image's type": retried(other_type(RETURNING, 0x80000003)),
}


@pytest.mark.parametrize("events", ATTEMPTS.values(), ids=ATTEMPTS)
def test_boot_attempts_that_failed_pass(events):
    assert passes(4, FIRST_TRY, events)


@pytest.mark.parametrize("events", NO_ATTEMPTS.values(), ids=NO_ATTEMPTS)
def test_what_only_looks_like_a_failed_attempt_does_not_pass(events):
    assert not passes(4, FIRST_TRY, events)


def test_which_boot_option_is_named_is_free_but_not_that_one_is():
    expected = [CALLING, BOOTING, PCR4_SEPARATOR, SHIM, GRUB]
    assert passes(4, expected, [CALLING, BOOTING_2, PCR4_SEPARATOR, SHIM, GRUB])
    assert not passes(4, expected, FIRST_TRY)
    assert not passes(4, FIRST_TRY, expected)
    unproven = other_digest(BOOTING_2, "sha256", hash_of("sha256", b"evil"))
    assert not passes(4, expected, [CALLING, unproven, PCR4_SEPARATOR, SHIM, GRUB])


def test_attempts_that_were_learned_are_not_missing():
    expected = retried(SHIM, *RETURNED)
    assert passes(4, expected, retried(*RETURNED, SHIM, *RETURNED))
    assert not passes(4, expected, FIRST_TRY)
    assert not passes(4, expected, retried(*RETURNED))


def test_a_boot_option_that_varies_may_be_anything():
    expected = [CALLING, BOOTING, PCR4_SEPARATOR, SHIM, GRUB]
    other = word(4, b"Booting to the network", ACTION)
    assert passes(4, expected, [CALLING, other, PCR4_SEPARATOR, *RETURNED, SHIM, GRUB], varies=(1,))
    assert not passes(4, expected, [CALLING, other, PCR4_SEPARATOR, *RETURNED, SHIM, GRUB])

"""Whether what extended a PCR is an allowed variation of what should have (DESIGN section 6).

A PCR passes iff in every bank that is compared its events replay to the authentic value and every event that differs
is allowed at its position, all others being equal and in order. Allowed are

* an event that the baseline says may have any digest, at its position;
* in PCR 4 boot attempts that failed. What precedes the first attempt, up to the separator, is as expected; an attempt
  that failed ran the first few of the expected images, or none, and ends with "Returning from…", after which one
  "Calling…" and one "Booting to…" may follow; the last attempt ran the expected images. Failed attempts that the
  baseline has too are all there. Which Boot#### is named is free;
* in PCR 11, after the events that are as expected, the words of the boot's phases, each at most once and in order: any
  number of them, for a boot is looked at sooner or later;
* in PCR 9, among what user space extended, a further ``nvpcr-init:…`` of each NvPCR, before user space closes that.

A word counts where its event has the right type and its digest in that bank is the hash of its data. Whoever runs as
root can extend these words too: they tell of no program that ran, and none of the expected events may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np

from pyverify import _native
from pyverify.algorithms import BY_NAME
from pyverify.appraise.known_digests import SEPARATOR, SEPARATOR_F
from pyverify.appraise.logged_pcr import LoggedPcr
from pyverify.baseline.model import ALL_ONES, EventSequence
from pyverify.evidence.columns import Ragged
from pyverify.evidence.event_types import EV_EFI_ACTION, EV_IPL

_CALLING: Final = b"Calling EFI Application from Boot Option"
_RETURNING: Final = b"Returning from EFI Application from Boot Option"
# PFP 1.06 writes "Booting to <Boot####> Option" (SPEC section 4.8): the brackets may be the page's or the firmware's.
_BOOTING: Final = re.compile(rb"Booting to (?:Boot[0-9A-F]{4}|<Boot[0-9A-F]{4}>) Option")
_ANY_BOOT_OPTION: Final = b"Booting to"

_PHASES: Final = (b"enter-initrd", b"leave-initrd", b"sysinit", b"ready", b"shutdown", b"final")
"""In systemd's order (SPEC section 9.1)."""

# An NV index is 0x01 and three bytes, written by "%x". Its Name is a TPM_ALG_ID and a digest (SPEC section 9.1); some
# versions write an algorithm's name and the first value instead (systemd, TPM2_PCR_MEASUREMENTS).
_HASH: Final = rb"(?:[0-9a-f]{2}){20,66}"
_NVPCR_INIT: Final = re.compile(rb"nvpcr-init:([A-Za-z0-9._-]{1,64}):0x1[0-9a-f]{6}:(?:sha(?:1|256|384|512):)?" + _HASH)
_NVPCR_SEPARATOR: Final = b"nvpcr-separator"
"""After it no NvPCR is set up any more (systemd, TPM2_PCR_MEASUREMENTS)."""


def is_variation(
    logged: LoggedPcr, sequence: EventSequence, values: Mapping[str, bytes], *, of_register: bool = False
) -> bool:
    """Whether what a log extended a PCR with is an allowed variation of this sequence, or the sequence itself.

    Args:
        logged: the PCR of the log.
        sequence: what it may hold.
        values: by bank its authentic value: it must pass in each of them, and in one at least.
        of_register: whether it is a measurement register: then its number says nothing of what it holds.
    """
    rule = None if of_register else _RULES.get(logged.pcr)
    return (
        bool(values)
        and logged.start == sequence.start
        and all(_passes(logged, sequence, rule, bank, value) for bank, value in values.items())
    )


@dataclass(frozen=True, slots=True)
class _Events:
    """The events of a PCR in one bank.

    ``keys`` are what is compared: the digest, None for an event of a baseline that may have any. ``words`` are the
    known words that events are proven to be, by position.
    """

    keys: list[bytes | None]
    words: dict[int, bytes]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What may vary in a PCR: events of type ``kind`` whose data are words, in places that ``allows`` decides.

    ``learned`` tells the words of a baseline that matter, ``said`` those of a log.
    """

    kind: int
    learned: Callable[[bytes], bool]
    said: Callable[[bytes], bool]
    allows: Callable[[str, _Events, _Events], bool]


def _passes(logged: LoggedPcr, sequence: EventSequence, rule: _Rule | None, bank: str, value: bytes) -> bool:
    digests = logged.digests(bank)
    if len(digests) != len(logged) or bank not in sequence.digests:
        return False
    varies = set(sequence.varies)
    keys = [None if position in varies else digest for position, digest in enumerate(sequence.split(bank))]
    expected = _Events(keys, {})
    allowed = _same(expected.keys, digests)
    if not allowed and rule is not None:
        expected.words.update(_learned_words(rule, sequence, bank))
        actual = _Events([*digests], _said_words(rule, logged, bank, digests))
        allowed = rule.allows(bank, expected, actual)
    return allowed and _replayed(bank, logged.start, digests) == value


def _same(expected: Sequence[bytes | None], actual: Sequence[bytes | None]) -> bool:
    return len(expected) == len(actual) and all(_is(e, a) for e, a in zip(expected, actual, strict=True))


def _is(expected: bytes | None, actual: bytes | None) -> bool:
    return expected is None or expected == actual


def _replayed(bank: str, start: int, digests: list[bytes]) -> bytes:
    size, index = BY_NAME[bank].size, BY_NAME[bank].index
    first = b"\xff" * size if start == ALL_ONES else bytes(size - 1) + bytes([start])
    value = np.frombuffer(first, np.uint8).reshape(1, size).copy()
    chain = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, size)
    _native.extend(index, chain, np.array([0, len(digests)], np.uint64), value)
    return value.tobytes()


def _said_words(rule: _Rule, logged: LoggedPcr, bank: str, digests: list[bytes]) -> dict[int, bytes]:
    """The known words among the events of a log, by position."""
    data = {position: logged.data(position) for position, kind in enumerate(logged.types) if kind == rule.kind}
    known = {position: one for position, one in data.items() if rule.said(_text(rule, one))}
    return {position: _text(rule, known[position]) for position in _proven(bank, digests, known)}


def _learned_words(rule: _Rule, sequence: EventSequence, bank: str) -> dict[int, bytes]:
    """The known words among the events of a sequence, by position. Its texts have no NUL at their end any more."""
    digests = sequence.split(bank)
    texts = {position: text.encode() for position, text in enumerate(sequence.texts[: len(digests)])}
    known = {position: one for position, one in texts.items() if rule.learned(one)}
    found = _proven(bank, digests, known)
    if rule.kind == EV_EFI_ACTION:
        found |= _proven(bank, digests, {position: one + b"\0" for position, one in known.items()})
    return {position: known[position] for position in found}


def _text(rule: _Rule, data: bytes) -> bytes:
    """Data as text. Firmware logs and hashes an action with or without the NUL at its end (SPEC section 3.1)."""
    return data.removesuffix(b"\0") if rule.kind == EV_EFI_ACTION else data


def _proven(bank: str, digests: list[bytes], data: Mapping[int, bytes]) -> set[int]:
    """The positions at which the digest is the hash of these data."""
    messages = Ragged.of([*data.values()])
    hashes = _native.hash_messages(BY_NAME[bank].index, messages.blob, messages.offsets)
    return {position for position, one in zip(data, hashes, strict=True) if digests[position] == one.tobytes()}


def _is_action(text: bytes) -> bool:
    return text in (_CALLING, _RETURNING) or _is_booting(text)


def _is_booting(text: bytes | None) -> bool:
    return text is not None and _BOOTING.fullmatch(text) is not None


def _retried(bank: str, expected: _Events, actual: _Events) -> bool:
    """PCR 4: the attempts that failed beside the expected ones ran nothing that is not expected."""
    for events in (expected, actual):
        for position, word in events.words.items():
            if events.keys[position] is not None and _is_booting(word):
                events.keys[position] = _ANY_BOOT_OPTION
    begin = _first_attempt(bank, expected)
    if begin is None or not _same(expected.keys[:begin], actual.keys[:begin]):
        return False
    *learned, images = _attempts(expected, begin)
    *failed, last = _attempts(actual, begin)
    found = 0
    for attempt in failed:
        if found < len(learned) and _same(learned[found], attempt):
            found += 1
        elif not _same(images[: len(attempt)], attempt):
            return False
    return found == len(learned) and _same(images, last)


def _first_attempt(bank: str, expected: _Events) -> int | None:
    """Where the first attempt begins: after the separator, and what some firmware says only then."""
    separators = _separators(bank)
    separator = next((position for position, key in enumerate(expected.keys) if key in separators), None)
    if separator is None:
        return None
    begin = separator + 1
    while expected.words.get(begin, _RETURNING) != _RETURNING:
        begin += 1
    return begin


@lru_cache
def _separators(bank: str) -> frozenset[bytes]:
    messages = Ragged.of([SEPARATOR, SEPARATOR_F])
    hashes = _native.hash_messages(BY_NAME[bank].index, messages.blob, messages.offsets)
    return frozenset(one.tobytes() for one in hashes)


def _attempts(events: _Events, begin: int) -> list[list[bytes | None]]:
    """What each attempt ran, the last one last: they end with "Returning from…" and what is said of the next one."""
    attempts: list[list[bytes | None]] = [[]]
    may_follow: tuple[bytes, ...] = ()
    for position in range(begin, len(events)):
        word = events.words.get(position)
        said = _ANY_BOOT_OPTION if _is_booting(word) else word
        if said == _RETURNING:
            attempts.append([])
            may_follow = (_CALLING, _ANY_BOOT_OPTION)
        elif said is not None and said in may_follow:
            may_follow = may_follow[may_follow.index(said) + 1 :]
        else:
            attempts[-1].append(events.keys[position])
            may_follow = ()
    return attempts


def _end_without_words(events: _Events) -> int:
    """How many events come before the known words that a PCR ends with."""
    end = len(events)
    while end - 1 in events.words:
        end -= 1
    return end


def _phased(_: str, expected: _Events, actual: _Events) -> bool:
    """PCR 11: phases in their order behind the events that are as expected."""
    begin = _end_without_words(expected)
    if not _same(expected.keys[:begin], actual.keys[:begin]):
        return False
    words = [actual.words.get(position) for position in range(begin, len(actual))]
    phases = [_PHASES.index(word) for word in words if word is not None]
    return len(phases) == len(words) and all(one < next_one for one, next_one in pairwise(phases))


def _set_up(_: str, expected: _Events, actual: _Events) -> bool:
    """PCR 9: more NvPCRs than expected, each once, among the words that user space extended."""
    place = begin = _end_without_words(expected)
    if not _same(expected.keys[:begin], actual.keys[:begin]):
        return False
    names: set[bytes] = set()
    closed = False
    for position in range(begin, len(actual)):
        word = actual.words.get(position, b"")
        nvpcr = _NVPCR_INIT.fullmatch(word)
        if nvpcr and nvpcr[1] in names:
            return False
        if nvpcr:
            names.add(nvpcr[1])
        # An event that may have any digest is not taken for one of these.
        other = nvpcr is not None and _NVPCR_INIT.fullmatch(expected.words.get(place, b"")) is None
        if place < len(expected) and not other and _is(expected.keys[place], actual.keys[position]):
            place += 1
        elif nvpcr is None or closed:
            return False
        closed |= word == _NVPCR_SEPARATOR
    return place == len(expected)


def _any_text(_: bytes) -> bool:
    return True


def _is_phase(text: bytes) -> bool:
    return text in _PHASES


def _is_of_nvpcr(text: bytes) -> bool:
    return text == _NVPCR_SEPARATOR or _NVPCR_INIT.fullmatch(text) is not None


_RULES: Final = {
    4: _Rule(EV_EFI_ACTION, _is_action, _is_action, _retried),
    9: _Rule(EV_IPL, _any_text, _is_of_nvpcr, _set_up),
    11: _Rule(EV_IPL, _is_phase, _is_phase, _phased),
}
"""By PCR. User space's words are EV_IPL in a log that is held against a baseline (see ``evidence.log_kinds``)."""

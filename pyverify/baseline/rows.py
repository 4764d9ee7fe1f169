"""Rows of a store and the values that they stand for: sequences of events, profiles, baselines."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyverify.algorithms import BANKS, BY_NAME, PCRS, banks_of, mask_of
from pyverify.baseline.identity import from_micros, to_micros
from pyverify.baseline.model import Accepted, Allowed, EventSequence
from pyverify.baseline.snapshot import Member
from pyverify.errors import StoreError


def to_json(value: Any) -> str:
    """JSON without blanks."""
    return json.dumps(value, separators=(",", ":"))


def sequence_row(sequence: EventSequence) -> dict[str, Any]:
    """A sequence as a row of ``schema.sequence``, without its key."""
    return {
        "start": sequence.start,
        "banks": mask_of(list(sequence.digests)),
        "events": to_json(list(zip(sequence.types, sequence.texts, strict=True))),
        "digests": b"".join(sequence.digests[bank.name] for bank in BANKS if bank.name in sequence.digests),
        "varies": to_json(sequence.varies),
        "pcr_values": to_json({bank: sequence.values[bank].hex() for bank in sorted(sequence.values)}),
    }


def parse_sequence(row: Any) -> EventSequence:
    """The reverse of :func:`sequence_row`.

    Raises:
        StoreError: the row is none.
    """
    try:
        types, texts = zip(*json.loads(row.events), strict=True) if row.events != "[]" else ((), ())
        digests, at = {}, 0
        for bank in banks_of(row.banks):
            size = len(types) * BY_NAME[bank].size
            digests[bank] = row.digests[at : at + size]
            at += size
        if at != len(row.digests) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{len(row.digests)} bytes of digests instead of {at}")
        varies = tuple(json.loads(row.varies))
        if not all(type(position) is int and 0 <= position < len(types) for position in varies):
            raise ValueError(f"events {varies} of {len(types)}")
        values = {bank: bytes.fromhex(value) for bank, value in json.loads(row.pcr_values).items()}
        if any(len(value) != BY_NAME[bank].size for bank, value in values.items()) or (values and types):
            raise ValueError("values that no PCR has")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"sequence {row.id} of the store does not parse: {error}") from error
    return EventSequence(row.start, types, texts, digests, varies, values)


def profile_key(allowed: Sequence[Sequence[Allowed]]) -> bytes:
    """SHA-256 over the keys of the sequences and their times, PCR by PCR with their counts."""
    parts: Iterable[bytes] = (
        len(members).to_bytes(4, "big") + b"".join(m.sequence.key + to_json(_times(m)).encode() for m in members)
        for members in allowed
    )
    return hashlib.sha256(b"".join(parts)).digest()


def profile_body(allowed: Sequence[Sequence[Allowed]], sequence_id: Mapping[bytes, int]) -> str:
    """The body of a row of ``schema.profile``; ``sequence_id`` has the ids of the sequences by their keys."""

    def entry(member: Allowed) -> Any:
        number = sequence_id[member.sequence.key]
        return number if member.until is None else [number, *_times(member)]

    return to_json([[entry(member) for member in members] for members in allowed])


def _times(member: Allowed) -> list[Any]:
    return [] if member.until is None else [to_micros(member.until), member.keep]


def parse_profile(body: str, numbers: Mapping[int, int]) -> list[list[Member]]:
    """What a profile allows each PCR, by the numbers that stand for the ids of sequences.

    Raises:
        StoreError: the body is none, or refers to what is not there.
    """

    def member(entry: Any) -> Member:
        if type(entry) is int:
            return numbers[entry], None, False
        number, until, keep = entry
        if type(keep) is not bool:
            raise TypeError(keep)
        return numbers[number], from_micros(until), keep

    try:
        profile = [[member(entry) for entry in entries] for entries in json.loads(body)]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise StoreError(f"a profile of the store does not parse: {error!r}") from error
    if len(profile) != PCRS:
        raise StoreError(f"a profile of the store has {len(profile)} PCRs instead of {PCRS}")
    return profile


def accepted_json(accepted: Iterable[Accepted]) -> str:
    """What a baseline lives with, as its row has it."""
    return to_json([[one.code, one.pcr, one.reason] for one in accepted])


def parse_accepted(text: str) -> list[Accepted]:
    """The reverse of :func:`accepted_json`.

    Raises:
        StoreError: it is none.
    """
    try:
        found = [Accepted(code, pcr, reason) for code, pcr, reason in json.loads(text)]
        if not all(type(a.code) is type(a.reason) is str and (a.pcr is None or a.pcr in range(PCRS)) for a in found):
            raise TypeError(text)
    except (ValueError, TypeError) as error:
        raise StoreError(f"what a baseline of the store accepts does not parse: {error!r}") from error
    return found


def parse_superseded(text: str) -> list[tuple[int, datetime.datetime]]:
    """Ids of the IMA sets that were superseded, and until when each is allowed.

    Raises:
        StoreError: it is none.
    """
    try:
        return [(int(number), from_micros(until)) for number, until in json.loads(text)]
    except (ValueError, TypeError, OverflowError) as error:
        raise StoreError(f"the superseded IMA sets of a baseline do not parse: {error!r}") from error

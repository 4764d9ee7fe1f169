"""systemd-pcrlock's components: ``NNN-name.pcrlock`` and ``NNN-name.pcrlock.d/variant.pcrlock`` (SPEC section 9.1).

A file is ``{"records": [{"pcr", "digests": [{"hashAlg", "digest"}]}]}``. Components follow each other in the order of
their names; of a component any one variant may match, so a PCR may hold any combination of one variant each. As in
systemd's own predictions the PCRs are independent of each other: what of two variants goes together is not kept.

A baseline knows more than systemd reads: type and text of an event stand in ``content``, which systemd passes over.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pyverify.algorithms import BANKS, BY_NAME, PCRS
from pyverify.baseline.interchange import strict
from pyverify.baseline.interchange.imported import (
    MAX_VALUES,
    Imported,
    chosen_pcrs,
    current,
    imported,
    reset_start,
)
from pyverify.baseline.model import Baseline, EventSequence
from pyverify.errors import UsageError
from pyverify.evidence.pcrs import pcr_name
from pyverify.evidence.text import TEXT_LIMIT, escape

UNTIL: Final = "940-"
"""Components from here on are measured when a machine goes down (``950-shutdown``); systemd predicts up to here too."""
MAX_FILES: Final = 4_096
MAX_FILE_SIZE: Final = 4 << 20
MAX_RECORDS: Final = 100_000
"""Records of all files together, and digests of all sequences that they combine to are bounded by it too."""
NO_TYPE: Final = 0xFFFFFFFF
"""Type of an event of which nothing says one."""
CONTENT: Final = "pyverify"
"""``content_type`` of what we write ourselves."""

_NAME: Final = re.compile(r"(?P<component>[^/]{1,200})\.pcrlock(?:\.d/(?P<variant>[^/]{1,200})\.pcrlock)?")
_RECORD: Final[dict[str, type]] = {"pcr": int, "digests": list}
_IGNORED: Final[dict[str, type]] = {"recnum": object, "content": object, "content_type": object}


@dataclass(frozen=True, slots=True)
class _Event:
    type: int
    text: str
    digests: Mapping[str, bytes]


def read(
    files: Iterable[tuple[str, bytes]],
    *,
    scope: str,
    name: str,
    until: str | None = UNTIL,
    untouched: Iterable[int] = (),
    locality: int = 0,
) -> Imported:
    """The baseline that a folder's files are, each with its path below the folder.

    Args:
        files: the ``.pcrlock`` files, and no others.
        scope: ``machine`` or ``cohort``.
        name: of the machine or cohort.
        until: components named so or later are left out; None leaves none out.
        untouched: PCRs that no file has a record for, and that must stay at their reset value.
        locality: that of TPM2_Startup, with which PCR 0 starts; the files do not say it.

    Raises:
        UsageError: a file that is none, strictly read; a PCR whose records share no bank, or that has more than
            ``MAX_VALUES`` sequences; an untouched PCR with records.
    """
    loaded = _load(files)
    components = {component: variants for component, variants in loaded.items() if until is None or component < until}
    banks_of_pcr = _banks(components)
    allowed = {
        pcr: _sequences(_combinations(components, pcr), banks, locality if pcr == 0 else reset_start(pcr))
        for pcr, banks in banks_of_pcr.items()
    }
    common = [bank for bank in BY_NAME if all(bank in banks for banks in banks_of_pcr.values())]
    if banks_of_pcr and not common:
        raise UsageError("the PCRs have no bank in common")
    for pcr in set(untouched):
        if pcr in allowed or pcr not in range(PCRS):
            raise UsageError(f"PCR {pcr} has records, or is none: it cannot be said to be untouched")
        allowed[pcr] = [EventSequence(reset_start(pcr), (), (), dict.fromkeys(BY_NAME, b""))]
    return imported(allowed, common, scope=scope, name=name, source=_digest_of(loaded))


_Variants = dict[str, tuple[bytes, list[tuple[int, _Event]]]]
"""By a variant's name the SHA-256 of its file, and its records: PCR and event."""


def _load(files: Iterable[tuple[str, bytes]]) -> dict[str, _Variants]:
    """Components in the order of their names, variants in that of theirs."""
    components: dict[str, _Variants] = {}
    n_records = 0
    for number, (path, data) in enumerate(files):
        match = _NAME.fullmatch(path)
        if match is None or not path.isprintable():
            raise UsageError(f"{escape(path)}: allowed are NNN-name.pcrlock and NNN-name.pcrlock.d/variant.pcrlock")
        variants = components.setdefault(match["component"], {})
        variant = match["variant"] or ""
        if variant in variants or number == MAX_FILES:
            raise UsageError(f"{escape(path)}: is there twice, or is past {MAX_FILES} files")
        records = _read_file(data, path, match["component"] + (f"/{variant}" if variant else ""))
        n_records += len(records)
        if n_records > MAX_RECORDS:
            raise UsageError(f"{escape(path)}: more than {MAX_RECORDS} records in all files together")
        variants[variant] = hashlib.sha256(data).digest(), records
    return {component: dict(sorted(components[component].items())) for component in sorted(components)}


def _digest_of(components: Mapping[str, _Variants]) -> bytes:
    """What names the files whatever order they came in: SHA-256 over their names and SHA-256."""
    digest = hashlib.sha256()
    for component, variants in components.items():
        for variant, (of_file, _) in variants.items():
            digest.update(f"{component}\0{variant}\0".encode("utf-8", "surrogateescape") + of_file)
    return digest.digest()


def _read_file(data: bytes, path: str, text: str) -> list[tuple[int, _Event]]:
    what = escape(path)
    file = strict.members(strict.load(data, what, MAX_FILE_SIZE), f"{what}: $", {"records": list})
    place = f"{what}: $.records"
    return [
        _record(record, f"{place}[{number}]", escape(text))
        for number, record in enumerate(strict.items(file["records"], place, MAX_RECORDS))
    ]


def _record(value: Any, place: str, text: str) -> tuple[int, _Event]:
    record = strict.members(value, place, _RECORD, _IGNORED)
    pcr = strict.whole(record["pcr"], f"{place}.pcr", 0, PCRS - 1)
    digests: dict[str, bytes] = {}
    for number, one in enumerate(strict.items(record["digests"], f"{place}.digests", len(BANKS))):
        where = f"{place}.digests[{number}]"
        strict.members(one, where, {"hashAlg": str, "digest": str})
        bank = strict.bank_name(one["hashAlg"], f"{where}.hashAlg")
        if bank in digests:
            raise UsageError(f"{where} is a second {bank} digest of one record")
        digests[bank] = strict.digest(one["digest"], f"{where}.digest", bank)
    if not digests:
        raise UsageError(f"{place}.digests is empty; allowed is at least one digest")
    event_type = NO_TYPE
    if record.get("content_type") == CONTENT:
        content = strict.members(record.get("content"), f"{place}.content", {"type": int, "text": str})
        event_type = strict.whole(content["type"], f"{place}.content.type", 0, 0xFFFFFFFF)
        text = strict.line(content["text"], f"{place}.content.text", TEXT_LIMIT)
    return pcr, _Event(event_type, text, digests)


def _events(components: Mapping[str, _Variants]) -> Iterator[tuple[int, _Event]]:
    for variants in components.values():
        for _, records in variants.values():
            yield from records


def _banks(components: Mapping[str, _Variants]) -> dict[int, list[str]]:
    """By PCR the banks that all its records have."""
    shared: dict[int, set[str]] = {}
    for pcr, event in _events(components):
        shared[pcr] = shared.get(pcr, set(event.digests)) & set(event.digests)
        if not shared[pcr]:
            raise UsageError(f"{pcr_name(pcr)}: its records have no bank in common")
    return {pcr: [bank for bank in BY_NAME if bank in shared[pcr]] for pcr in sorted(shared)}


def _combinations(components: Mapping[str, _Variants], pcr: int) -> list[tuple[_Event, ...]]:
    """What a PCR may be extended with: one variant of each component, equal outcomes once."""
    combined: list[tuple[_Event, ...]] = [()]
    for component, variants in components.items():
        choices: dict[tuple[tuple[tuple[str, bytes], ...], ...], tuple[_Event, ...]] = {}
        for _, records in variants.values():
            events = tuple(event for number, event in records if number == pcr)
            choices.setdefault(tuple(tuple(sorted(event.digests.items())) for event in events), events)
        count = len(combined) * len(choices)
        size = len(choices) * sum(map(len, combined)) + len(combined) * sum(map(len, choices.values()))
        if count > MAX_VALUES or size > MAX_RECORDS:
            words = f"{count} combinations of {size} events up to {escape(component)}"
            raise UsageError(f"{pcr_name(pcr)}: {words}; allowed are {MAX_VALUES} of {MAX_RECORDS}")
        combined = [before + events for before in combined for events in choices.values()]
    return combined


def _sequences(combined: Iterable[Sequence[_Event]], banks: Sequence[str], start: int) -> list[EventSequence]:
    """The sequences of these events, those of equal digests once."""
    sequences: dict[tuple[bytes, ...], EventSequence] = {}
    for events in combined:
        digests = {bank: b"".join(event.digests[bank] for event in events) for bank in banks}
        sequence = EventSequence(start, tuple(e.type for e in events), tuple(e.text for e in events), digests)
        sequences.setdefault(tuple(digests.values()), sequence)
    return list(sequences.values())


def export(baseline: Baseline, *, pcrs: Iterable[int]) -> dict[str, bytes]:
    """The files that allow these PCRs their current sequences of events: a component a PCR, a variant a sequence.

    A PCR that must stay as it was reset is in no file, as nothing in this form says so; how PCR 0 starts is neither.

    Raises:
        UsageError: a PCR of which nothing, only values, or events that may have any digest are allowed; a sequence
            that starts as no boot does.
    """
    files: dict[str, bytes] = {}
    for pcr in chosen_pcrs(pcrs):
        sequences = current(baseline, pcr)
        where = f"{baseline.scope} {baseline.id}: {pcr_name(pcr)}"
        if any(not sequence.digests for sequence in sequences):
            raise UsageError(f"{where} is known by value only, and this form is of events; leave it out")
        starts = {sequence.start for sequence in sequences}
        if len(starts) > 1 or (pcr and starts != {reset_start(pcr)}):
            raise UsageError(f"{where} starts with other values than this form can mean; leave it out")
        bodies = [_file(sequence, pcr) for sequence in sequences if len(sequences) > 1 or len(sequence)]
        component = f"{500 + pcr}-pcr{pcr}.pcrlock"
        if len(bodies) == 1:
            files[component] = bodies[0]
        else:
            files.update((f"{component}.d/{number:02}.pcrlock", body) for number, body in enumerate(bodies))
    return files


def _file(sequence: EventSequence, pcr: int) -> bytes:
    banks = {bank: sequence.split(bank) for bank in BY_NAME if bank in sequence.digests}
    records = [
        {
            "pcr": pcr,
            "digests": [{"hashAlg": bank, "digest": of_bank[number].hex()} for bank, of_bank in banks.items()],
            "content_type": CONTENT,
            "content": {"type": event_type, "text": text},
        }
        for number, (event_type, text) in enumerate(zip(sequence.types, sequence.texts, strict=True))
    ]
    return json.dumps({"records": records}, separators=(",", ":")).encode() + b"\n"

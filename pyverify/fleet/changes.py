"""What boots differ in that may be approved, and offers: one for all machines that differ alike (DESIGN section 6).

Nothing is offered of a boot that anything else speaks against: whoever approves a change must not bless an attack that
came with it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pyverify.algorithms import banks_of, pcrs_of
from pyverify.appraise.appraisal import Appraisal
from pyverify.appraise.comparison import Comparison
from pyverify.appraise.ima_judgement import in_sets
from pyverify.appraise.ima_lists import SentLists
from pyverify.appraise.judged_logs import JudgedLogs
from pyverify.baseline.edits import Edit, edited, edits
from pyverify.baseline.ima_columns import NO_SET
from pyverify.baseline.model import EventSequence, event_sequences
from pyverify.baseline.references import References
from pyverify.baseline.supersede import ImaEdit
from pyverify.evidence.event_types import EV_NO_ACTION
from pyverify.evidence.eventlog import EventLog
from pyverify.evidence.ima_set import ADDED, CHANGED, ImaSet
from pyverify.findings import Severity
from pyverify.fleet.corroboration import is_alike

_MAY_BE_APPROVED: Final = frozenset(
    (
        "baseline.event-added",
        "baseline.event-removed",
        "baseline.event-changed",
        "baseline.event-moved",
        "baseline.pcr",
        "baseline.expired",
        "baseline.ignored",
        "ima.added",
        "ima.changed",
    )
)
"""High findings of a boot that an approval answers. A boot that went back is not one of them: that is a rollback."""

_KNOWN: Final = 4096
"""Differences remembered to recognise what other machines sent too."""


@dataclass(frozen=True, slots=True)
class BootChange:
    """What one boot differs in from the baseline that it was held against.

    ``edits`` and ``files`` may be approved one by one; ``whole`` are the PCRs that no edit explains, as they were
    measured, which only the approval of the whole boot covers. ``differing`` are all PCRs that differ, ``sequences``
    all 24 of the boot, and ``places`` the PCR and the position there of each event, by its number in the log. Banks in
    which the boot was not compared are left out. ``against`` are the codes of other high findings: where there are any,
    nothing may be approved.
    """

    machine: str
    boot: str
    scope: str | None
    edits: tuple[Edit, ...] = ()
    files: tuple[ImaEdit, ...] = ()
    whole: Mapping[int, EventSequence] = field(default_factory=dict)
    differing: tuple[int, ...] = ()
    sequences: tuple[EventSequence, ...] = ()
    places: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    against: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """Edits and files that the same machines show, by name; ``id`` names them, here and in any other archive."""

    id: str
    edits: tuple[Edit, ...]
    files: tuple[ImaEdit, ...]
    machines: tuple[str, ...]


class Changes:
    """Finds what the boots of appraised batches differ in; what many machines sent is looked at once."""

    def __init__(self) -> None:
        self._edits: dict[tuple[bytes, int, int, int], BootChange] = {}
        self._files: dict[bytes, tuple[ImaEdit, ...]] = {}

    def of(self, appraisal: Appraisal, verdicts: pa.RecordBatch) -> Iterator[BootChange]:
        """The boots of a batch that differ from an active baseline: those that are held against one and not trusted."""
        comparison, judged_as = appraisal.comparison, appraisal.judged_as
        if comparison is None or judged_as is None:
            return
        untrusted = np.flatnonzero(appraisal.findings.high & comparison.judged)
        names = ("machine", "boot", "baseline", "findings")
        rows = verdicts.select(names).take(pa.array(untrusted)).to_pylist()
        for number, row in zip(untrusted.tolist(), rows, strict=True):
            high = {f["code"] for f in row["findings"] if f["severity"] == Severity.HIGH}
            facts = (row["machine"], row["boot"], row["baseline"]["scope"])
            if against := high - _MAY_BE_APPROVED:
                yield BootChange(*facts, against=tuple(sorted(against)))
                continue
            measured = self._measured(appraisal.references, comparison, judged_as, number)
            files = self._files_of(appraisal, number, row["findings"]) if _has_files(high) else ()
            yield BootChange(
                *facts, measured.edits, files, measured.whole, measured.differing, measured.sequences, measured.places
            )

    def _measured(self, references: References, comparison: Comparison, judged_as: JudgedLogs, row: int) -> BootChange:
        """The differences of a row's log, without its names."""
        differs = int(comparison.compared_that_differ[row])
        profile = int(comparison.profile[row])
        banks = int(comparison.banks[row])
        key = (judged_as.digests[row].tobytes(), profile, differs, banks)
        if key not in self._edits:
            if len(self._edits) >= _KNOWN:
                self._edits.clear()
            log = EventLog.parse(judged_as.logs[row])
            sequences = [_in_banks(sequence, banks_of(banks)) for sequence in event_sequences(log)]
            found: list[Edit] = []
            whole = {}
            for pcr in pcrs_of(differs):
                own, closest = _closest(references, profile, pcr, sequences[pcr])
                if own and closest:
                    found += own
                    sequences[pcr] = _varying_like(edited(closest, own), sequences[pcr])
                else:
                    whole[pcr] = sequences[pcr]
            differing, places = pcrs_of(differs), _places(log)
            self._edits[key] = BootChange("", "", None, tuple(found), (), whole, differing, tuple(sequences), places)
        return self._edits[key]

    def _files_of(self, appraisal: Appraisal, row: int, findings: list[dict[str, Any]]) -> tuple[ImaEdit, ...]:
        """The entries of a row's IMA list that its set does not have, as far as they are proven."""
        end = min((f["event"] for f in findings if f["code"] == "ima.tail-unverified"), default=None)
        lists = SentLists.of(appraisal.batch)
        which = np.flatnonzero(lists.rows == row)
        learned, set_of = appraisal.references.ima_at(appraisal.as_of)
        number = set_of[appraisal.baseline[row]]
        if not len(which) or number == NO_SET:
            return ()
        columns = lists.read(which)
        key = hashlib.sha256(columns.lists[0]).digest() + int(number).to_bytes(4, "big") + repr(end).encode()
        if key not in self._files:
            if len(self._files) >= _KNOWN:
                self._files.clear()
            outcomes, _ = learned.check(columns, np.array([number], np.uint32))
            fit = in_sets(columns)
            fit[len(fit) if end is None else end :] = False
            self._files[key] = tuple(
                ImaEdit(member, is_new)
                for outcome, is_new in ((CHANGED, False), (ADDED, True))
                for member in ImaSet.of(columns, fit & (outcomes == outcome))
            )
        return self._files[key]


def _in_banks(sequence: EventSequence, banks: tuple[str, ...]) -> EventSequence:
    """The sequence in the banks in which the boot was compared: what the log says of others may be made up."""
    return replace(sequence, digests={bank: digests for bank, digests in sequence.digests.items() if bank in banks})


def _places(log: EventLog) -> dict[int, tuple[int, int]]:
    """PCR and position of each event that extends one, by its number."""
    columns, seen = log.columns, Counter[int]()
    found = {}
    for number, (pcr, kind) in enumerate(zip(columns["pcr"].tolist(), columns["type"].tolist(), strict=True)):
        if kind != EV_NO_ACTION:
            found[number] = (pcr, seen[pcr])
            seen[pcr] += 1
    return found


def _has_files(codes: set[str]) -> bool:
    return bool(codes & {"ima.added", "ima.changed"})


def _closest(
    references: References, profile: int, pcr: int, actual: EventSequence
) -> tuple[list[Edit], EventSequence | None]:
    """The fewest edits that lead from a current sequence of a PCR to what was measured, and that sequence."""
    current = [one.sequence for one in references.allowed(profile, pcr) if one.until is None]
    ways = [(way, sequence) for sequence in current if (way := edits(pcr, sequence, actual)) is not None]
    return min(ways, key=lambda way: len(way[0]), default=([], None))


def _varying_like(known: EventSequence, actual: EventSequence) -> EventSequence:
    """What was measured, with the events free that are free in a sequence that is like it but for these."""
    return replace(actual, varies=known.varies) if is_alike(actual, known) else actual


def offers(changes: Iterable[BootChange]) -> list[Offer]:
    """What may be approved, put together where the same machines show it; what most machines show comes first."""
    shown: dict[bytes, tuple[Edit | ImaEdit, set[str]]] = {}
    for change in changes:
        items: list[Edit | ImaEdit] = [*change.edits, *change.files]
        for item in items:
            shown.setdefault(key_of(item), (item, set()))[1].add(change.machine)
    together: dict[frozenset[str], list[bytes]] = {}
    for key, (_, machines) in shown.items():
        together.setdefault(frozenset(machines), []).append(key)
    found = [_offer([shown[key][0] for key in keys], machines) for machines, keys in together.items()]
    return sorted(found, key=lambda offer: (-len(offer.machines), offer.id))


def _offer(items: list[Edit | ImaEdit], machines: frozenset[str]) -> Offer:
    name = hashlib.sha256(b"".join(sorted(key_of(item) for item in items))).hexdigest()[:12]
    edits_of = sorted((item for item in items if isinstance(item, Edit)), key=lambda edit: edit.pcr)
    files = sorted((item for item in items if isinstance(item, ImaEdit)), key=lambda one: one.member)
    return Offer(name, tuple(edits_of), tuple(files), tuple(sorted(machines)))


def key_of(item: Edit | ImaEdit) -> bytes:
    """SHA-256 that names an edit or a file with its digest."""
    if isinstance(item, Edit):
        return item.key
    member = item.member
    head = b"file" + len(member.path).to_bytes(4, "big") + member.path
    return hashlib.sha256(head + member.kind.to_bytes(8, "big") + member.digest + bytes([item.is_new])).digest()

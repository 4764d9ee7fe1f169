"""Cohorts of an archive: which machines boot alike, found without any baseline.

Replayed PCR values sort the boots first, by column. One log of each distinct combination is put by, and only these are
put into their normal form, so the cost grows with how many kinds of boot there are and not with how many machines.
"""

from __future__ import annotations

import tempfile
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, PCRS, TO_SHOW
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.judged_logs import JudgedLogs, judged_logs
from pyverify.appraise.rows import conform, log_digests, row_faults
from pyverify.appraise.structure import fault_findings
from pyverify.baseline.cohorts import COUNTED, COUNTED_REGISTERS, NormalBoot, normalise
from pyverify.errors import UsageError
from pyverify.evidence.columns import Ragged
from pyverify.evidence.scanned import ScannedLogs
from pyverify.evidence.text import escape
from pyverify.findings import CODES, Finding, Severity
from pyverify.fleet.boot_order import boot_keys, chosen_boots
from pyverify.fleet.job import BATCH_BYTES, BATCH_ROWS, default_jobs, ordered_map
from pyverify.fleet.sources import Source
from pyverify.replay import replay

_IN_MEMORY: Final = 64 << 20
"""Bytes of distinct logs in memory, some 6,000 of them; beyond that they are in a file without a name."""
_TILE_BYTES: Final = 4 << 20
"""Bytes of logs that are normalised at a time, unless one alone is larger."""
_ID_SIZE: Final = 8
"""Bytes of a key in a cohort's id: among a million cohorts two have one id by chance once in 37 million archives."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A boot that is in no cohort, and why. Names are None where the archive has none."""

    machine: str | None
    boot: str | None
    reason: Finding


@dataclass(frozen=True, slots=True)
class Cohort:
    """Machines that boot alike."""

    id: str
    """16 hexadecimal digits: the same for the same kind of machines in every archive, read in any order."""
    bank: str
    """The bank whose digests tell them from others."""
    machines: tuple[str, ...]
    """Their names, sorted."""
    variants: int
    """Distinct combinations of PCR values among them: the same but for what the rules leave out."""
    example: int
    """Number of the variant that most of them have, for :meth:`Cohorts.boots`."""


class Cohorts:
    """What :func:`group` found. It holds the distinct logs open until it is closed; use it as a context manager."""

    def __init__(
        self,
        cohorts: tuple[Cohort, ...],
        left_out: tuple[LeftOut, ...],
        variant_of: dict[str, int],
        cohort_of: list[Cohort],
        logs: _Variants,
    ) -> None:
        self.cohorts = cohorts
        """Those of the fewest machines first, among equals by id."""
        self.left_out = left_out
        """Boots that are in none, by machine."""
        self._variant_of = variant_of
        self._cohort_of = cohort_of
        self._logs = logs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._logs.close()

    @property
    def n_machines(self) -> int:
        """Machines that are in a cohort."""
        return len(self._variant_of)

    @property
    def n_variants(self) -> int:
        """Distinct combinations of PCR values, of which each was normalised once."""
        return len(self._cohort_of)

    def variant(self, machine: str) -> int:
        """The number of a machine's variant, for :meth:`boot`.

        Raises:
            UsageError: it is in no cohort.
        """
        if machine not in self._variant_of:
            reasons = [item.reason for item in self.left_out if item.machine == machine]
            why = f"is in no cohort: {reasons[0].code} {reasons[0].hint}" if reasons else "is not in this archive"
            raise UsageError(f"machine {escape(machine)} {why}")
        return self._variant_of[machine]

    def cohort(self, machine: str) -> Cohort:
        """The cohort of a machine.

        Raises:
            UsageError: it is in none.
        """
        return self._cohort_of[self.variant(machine)]

    def boot(self, variant: int) -> NormalBoot:
        """The boot of a variant, in its normal form."""
        return next(self.boots([variant]))

    def boots(self, variants: list[int]) -> Iterator[NormalBoot]:
        """The boots of some variants, in their normal form; faster than one by one."""
        return self._logs.boots(variants)


def group(source: Source, *, jobs: int | None = None, watch: Callable[[int], None] = lambda machines: None) -> Cohorts:
    """The cohorts of an archive, by the newest boot of each machine (boot_seq, then collected_at, then name).

    Boots are compared in one bank: in the first of ``algorithms.TO_SHOW`` that has a digest in every event of their
    log. Those that lack a bank that others have join these where exactly one cohort has, in the best bank that they
    do have, the same events.

    Nothing is proven by it: logs are taken at their word, as if no quote were there.

    Args:
        source: the archive; it is read twice, the first time for its names only.
        jobs: threads (default: the processors there are).
        watch: is called with the number of machines that have been looked at.

    Raises:
        ArchiveError: the archive breaks as a container.
    """
    wanted = chosen_boots(source, newest=True)
    variants, left_out = _Variants(), []
    variant_of: dict[str, int] = {}

    def newest() -> Iterator[pa.RecordBatch]:
        for batch in source.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES):
            rows = []
            for row, item in enumerate(boot_keys(batch)):
                if item is None:
                    rows.append(row)  # to be told of, not to be counted as a machine
                elif wanted.get(item[0]) == item[1]:
                    del wanted[item[0]]  # of several samples of a boot the first counts
                    rows.append(row)
            if rows:
                yield batch if len(rows) == len(batch) else batch.take(pa.array(rows))

    try:
        for looked_at in ordered_map(_look_at, newest(), jobs or default_jobs()):
            left_out += looked_at.left_out
            for row, number in variants.add(looked_at):
                variant_of[looked_at.machines[row]] = number
            watch(len(variant_of) + len(left_out))
        gone = Finding("evidence.unreadable", Severity.HIGH, "the archive changed while it was read: this boot is gone")
        left_out += [LeftOut(machine, key[2], gone) for machine, key in wanted.items()]
        return _cohorts(variants, variant_of, left_out)
    except BaseException:
        variants.close()
        raise


@dataclass(frozen=True, slots=True)
class _LookedAt:
    """A batch of boots: those of ``rows`` are of a variant each, named by ``keys``, uint8 of shape [len(rows), 32]."""

    machines: list[str]
    judged: JudgedLogs
    rows: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint8]
    left_out: list[LeftOut]


def _look_at(batch: pa.RecordBatch) -> _LookedAt:
    """Replays the boots of a batch."""
    batch = conform(batch)
    findings = FindingColumns(len(batch))
    unusable = row_faults(batch, findings)
    logs = Ragged.from_arrow(batch.column("event_log"))
    empty = ~unusable & (np.diff(logs.offsets) == 0)
    findings.add_to_all(np.flatnonzero(empty), Finding("log.absent", Severity.INFO, "no event log, or an empty one"))
    judged = judged_logs(batch, logs, log_digests(logs), unusable | empty, findings)
    unusable |= empty | judged.broken
    replayed = replay(judged.logs)
    rows = replayed.logs
    told = rows.copy()
    told[unusable] = 0
    fault_findings(told, findings)
    unusable |= rows["fault"] != 0

    counted = np.where(judged.of_registers, np.uint32(COUNTED_REGISTERS), np.uint32(COUNTED))
    complete = rows["banks"] & ~rows["incomplete"]
    for mask, code, words in (
        (rows["touched"] & counted == 0, "bank.unextended", "the log extends none of the PCRs that count"),
        (complete == 0, "bank.missing", "no bank has a digest in every event of the log"),
    ):
        found = np.flatnonzero(mask & ~unusable)
        findings.add_to_all(found, Finding(code, CODES[code].severity, words))
        unusable[found] = True
    usable = np.flatnonzero(~unusable)
    machines, boots = (batch.column(name).to_pylist() for name in ("machine", "boot"))
    left_out = _left_out(machines, boots, np.flatnonzero(unusable), findings)
    keys = _variant_keys(replayed.values, complete, counted, judged.of_registers)[usable]
    return _LookedAt(machines, judged, usable, keys, left_out)


def _variant_keys(
    values: dict[str, npt.NDArray[np.uint8]],
    complete: npt.NDArray[np.uint32],
    counted: npt.NDArray[np.uint32],
    of_registers: npt.NDArray[np.bool_],
) -> npt.NDArray[np.uint8]:
    """SHA-256 over the values of the PCRs that count, in all complete banks: uint8 of shape [n, 32]."""
    counts = (counted[:, None] >> np.arange(PCRS, dtype=np.uint32) & 1).astype(np.uint8)
    parts = [of_registers.astype(np.uint8)[:, None], complete.astype(np.uint8)[:, None]]
    for bank in BANKS:
        has_bank = (complete >> np.uint32(bank.index) & 1).astype(np.uint8)
        masked = values[bank.name] * (counts * has_bank[:, None])[:, :, None]
        parts.append(masked.reshape(len(complete), PCRS * bank.size))
    table = np.concatenate(parts, axis=1)
    offsets = np.arange(len(table) + 1, dtype=np.int64) * table.shape[1]
    return _native.hash_messages(BY_NAME["sha256"].index, table.reshape(-1), offsets)


def _left_out(
    machines: list[str | None], boots: list[str | None], rows: npt.NDArray[np.int64], findings: FindingColumns
) -> list[LeftOut]:
    """The rows that cannot be used, each with the reason that was found first."""
    told = findings.to_arrow()
    left_out = []
    for row in rows.tolist():
        reasons = told[row].as_py()
        reason = next((r for r in reasons if r["severity"] == Severity.HIGH), reasons[0])
        finding = Finding(reason["code"], Severity(reason["severity"]), reason["hint"] or "")
        left_out.append(LeftOut(machines[row], boots[row], finding))
    return left_out


class _Place(NamedTuple):
    """Where the log of a variant is put by."""

    digest: bytes
    at: int
    size: int
    of_registers: bool


class _Variants:
    """One log of each distinct combination of PCR values, and how many machines have it.

    Logs that lead to equal values have equal digests, but may say other things of them. So that the order of an
    archive does not matter, the log whose SHA-256 is the smallest speaks for all.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, prefix="pyverify-cohorts-")  # noqa: SIM115
        self._size = 0
        self._numbers: dict[bytes, int] = {}
        self._places: list[_Place] = []
        self.machines = array("Q")
        """By variant how many machines have it."""

    def __len__(self) -> int:
        return len(self._places)

    def close(self) -> None:
        """Lets the logs go."""
        self._file.close()

    def add(self, looked_at: _LookedAt) -> Iterator[tuple[int, int]]:
        """Takes the boots of a batch; yields row and variant of each."""
        judged = looked_at.judged
        data, digests = looked_at.keys.tobytes(), judged.digests[looked_at.rows].tobytes()
        for index, row in enumerate(looked_at.rows.tolist()):
            key, digest = (column[32 * index : 32 * index + 32] for column in (data, digests))
            number = self._numbers.setdefault(key, len(self._places))
            if number == len(self._places):
                self._places.append(self._put(judged, row, digest))
                self.machines.append(0)
            elif digest < self._places[number].digest:
                self._places[number] = self._put(judged, row, digest)
            self.machines[number] += 1
            yield row, number

    def _put(self, judged: JudgedLogs, row: int, digest: bytes) -> _Place:
        log = judged.logs[row]
        self._file.seek(self._size)
        self._file.write(log)
        place = _Place(digest, self._size, len(log), bool(judged.of_registers[row]))
        self._size += len(log)
        return place

    def digest(self, number: int) -> bytes:
        """SHA-256 of the log of a variant."""
        return self._places[number].digest

    def boots(self, numbers: list[int]) -> Iterator[NormalBoot]:
        """The normal forms of some variants, a tile at a time."""
        tile: list[int] = []
        for number in numbers:
            if tile and sum(self._places[n].size for n in tile) + self._places[number].size > _TILE_BYTES:
                yield from self._normalise(tile)
                tile = []
            tile.append(number)
        yield from self._normalise(tile)

    def _normalise(self, numbers: list[int]) -> list[NormalBoot]:
        logs: list[bytes | None] = []
        for number in numbers:
            self._file.seek(self._places[number].at)
            logs.append(self._file.read(self._places[number].size))
        return normalise(ScannedLogs.of(Ragged.of(logs)), [self._places[number].of_registers for number in numbers])


_Key = tuple[str, bytes]
"""A bank and the key of a boot in it."""


def _cohorts(variants: _Variants, variant_of: dict[str, int], left_out: list[LeftOut]) -> Cohorts:
    keys = [[(bank, boot.key(bank)) for bank in boot.banks] for boot in variants.boots(list(range(len(variants))))]
    founders = _joined(keys)
    of_founder: defaultdict[_Key, list[int]] = defaultdict(list)
    for number, founder in enumerate(founders):
        of_founder[founder].append(number)
    machines: defaultdict[_Key, list[str]] = defaultdict(list)
    for machine, number in variant_of.items():
        machines[founders[number]].append(machine)
    found = {
        founder: Cohort(
            id=founder[1][:_ID_SIZE].hex(),
            bank=founder[0],
            machines=tuple(sorted(machines[founder])),
            variants=len(numbers),
            example=min(numbers, key=lambda number: (-variants.machines[number], variants.digest(number))),
        )
        for founder, numbers in of_founder.items()
    }
    return Cohorts(
        tuple(sorted(found.values(), key=lambda cohort: (len(cohort.machines), cohort.id))),
        tuple(sorted(left_out, key=lambda item: (item.machine or "", item.boot or "", item.reason.code))),
        variant_of,
        [found[founder] for founder in founders],
        variants,
    )


def _joined(keys: list[list[_Key]]) -> list[_Key]:
    """For each variant the key by which its cohort is known; ``keys`` are those of its banks, the best first.

    A variant is of the cohort of its best bank's key. Where no variant with a better bank has that key, it founds the
    cohort; where those that have it are of several cohorts, which honest logs are not, it founds its own.
    """
    founders: dict[_Key, _Key] = {}  # by key of a best bank
    known: defaultdict[_Key, set[_Key]] = defaultdict(set)  # by any key the founders of those that have it
    for bank in TO_SHOW:
        of_bank = [own for own in keys if own[0][0] == bank]
        for own in of_bank:
            others = known.get(own[0], set())
            founders[own[0]] = next(iter(others)) if len(others) == 1 else own[0]
        for own in of_bank:
            for key in own:
                known[key].add(founders[own[0]])
    return [founders[own[0]] for own in keys]

"""The variants of an archive's boots: distinct combinations of PCR values, each with one log that stands for it."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME, PCRS
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.judged_logs import JudgedLogs, judged_logs
from pyverify.appraise.rows import conform, log_digests, row_faults
from pyverify.appraise.structure import fault_findings
from pyverify.baseline.cohorts import COUNTED, COUNTED_REGISTERS, NormalBoot, normalise
from pyverify.evidence.columns import Ragged
from pyverify.evidence.scanned import ScannedLogs
from pyverify.findings import CODES, Finding, Severity
from pyverify.replay import replay

_IN_MEMORY: Final = 64 << 20
"""Bytes of distinct logs in memory, some 6,000 of them; beyond that they are in a file without a name."""
_TILE_BYTES: Final = 4 << 20
"""Bytes of logs that are normalised at a time, unless one alone is larger."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A boot that is in no cohort, and why. Names are None where the archive has none."""

    machine: str | None
    boot: str | None
    reason: Finding


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A batch of boots: those of ``rows`` are of a variant each, named by ``keys``, uint8 of shape [len(rows), 32]."""

    machines: list[str]
    judged: JudgedLogs
    rows: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint8]
    left_out: list[LeftOut]


def look_at(batch: pa.RecordBatch) -> LookedAt:
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
    return LookedAt(machines, judged, usable, keys, left_out)


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


class Variants:
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

    def add(self, looked_at: LookedAt) -> Iterator[tuple[int, int]]:
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

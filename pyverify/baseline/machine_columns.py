"""What a references snapshot knows of machines beside their baselines: cohorts, ignored alerts, what they have held."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from pyverify.algorithms import PCRS
from pyverify.baseline.place import Place, is_after


@dataclass(frozen=True, slots=True)
class Known:
    """A machine held a sequence, by its number, of a PCR: first in the boot at ``place``; known here ``since`` then."""

    pcr: int
    sequence: int
    place: Place
    since: datetime.datetime

    def is_before(self, boot: Place) -> bool:
        """Whether a boot came after it. What was asked for when this was known already did, whatever evidence says."""
        return (boot.issued_at is not None and boot.issued_at > self.since) or is_after(boot, self.place)


class Machines:
    """The tables ``cohorts``, ``ignored`` and ``reached`` of a snapshot."""

    def __init__(
        self, cohorts: pa.StructArray, ignored: pa.StructArray, reached: pa.StructArray, *, sequences: int
    ) -> None:
        """``sequences`` is how many the snapshot has."""
        self._cohorts, self._ignored, self._reached = cohorts, ignored, reached
        self._sequences = sequences

    def is_consistent(self) -> bool:
        """Whether all is there and refers to what can be."""
        needed = (
            *(self._cohorts.field(name) for name in ("machine", "cohort")),
            *(self._ignored.field(name) for name in ("machine", "until")),
            *(self._reached.field(name) for name in ("machine", "pcr", "sequence", "boot", "since")),
        )
        tables = (self._cohorts, self._ignored, self._reached)
        if any(column.null_count for column in (*tables, *needed)):
            return False
        bounds = (("pcr", PCRS), ("sequence", self._sequences))
        return all(pc.all(pc.less(self._reached.field(name), end)).as_py() in (True, None) for name, end in bounds)

    @cached_property
    def cohort_of(self) -> dict[str, str]:
        """The cohort that the operator assigned each machine to."""
        names = (self._cohorts.field(name).to_pylist() for name in ("machine", "cohort"))
        return dict(zip(*names, strict=True))

    @cached_property
    def ignored(self) -> dict[str, tuple[datetime.datetime, str | None]]:
        """The machines whose alerts are ignored: until when, and why."""
        columns = (self._ignored.field(name).to_pylist() for name in ("machine", "until", "reason"))
        return {machine: (until, reason) for machine, until, reason in zip(*columns, strict=True)}

    @cached_property
    def reached(self) -> dict[str, list[Known]]:
        """What each machine is known to have held."""
        found: dict[str, list[Known]] = {}
        for row in self._reached.to_pylist():
            place = Place(row["issued_at"], row["boot_seq"], row["collected_at"], row["boot"])
            found.setdefault(row["machine"], []).append(Known(row["pcr"], row["sequence"], place, row["since"]))
        return found

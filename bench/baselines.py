"""Baselines of a fleet, learned as `pyverify learn --activate` does."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from bench.archives import record_batches
from bench.fleet import Fleet
from pyverify.appraise.policy import Policy
from pyverify.baseline.store import Store
from pyverify.errors import PyverifyError
from pyverify.fleet.learn import learn
from pyverify.fleet.sources import Source

AS_OF: Final = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
POLICY: Final = Policy.preset("log-only")


class FirstBoots:
    """The first boots of a fleet as a source, made while they are read."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    @property
    def total(self) -> int:
        """Rows."""
        return self._fleet.machines

    def progress(self) -> tuple[int, int]:
        """Nobody looks."""
        return 0, self.total

    def batches(
        self, *, max_rows: int = 256, max_bytes: int = 32 << 20, columns: Literal["keys"] | None = None
    ) -> Iterator[Any]:
        """Record batches of at most so many rows."""
        del max_bytes, columns
        return record_batches(self._fleet.round(1), max_rows)


def learn_into(store_path: Path, fleet: Fleet) -> None:
    """Makes a store with an active baseline for each machine of a fleet.

    Raises:
        PyverifyError: a machine was refused, so that the fleet is not what it should be.
    """
    source: Source = FirstBoots(fleet)
    with Store.open(str(store_path), create=True) as store:
        for learned in learn(source, store, policy=POLICY, activate=True, as_of=AS_OF):
            if learned.state is None:
                raise PyverifyError(f"{learned.machine} was refused: {learned.reasons}")

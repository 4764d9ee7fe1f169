"""Baselines of a fleet, learned as `pyverify learn --activate` does."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Final

from bench.archives import record_batches
from bench.fleet import Fleet
from bench.memory_source import StreamedSource
from pyverify.appraise.policy import Policy
from pyverify.baseline.store import Store
from pyverify.errors import PyverifyError
from pyverify.fleet.learn import learn

AS_OF: Final = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
POLICY: Final = Policy.preset("log-only")


def learn_into(store_path: Path, fleet: Fleet) -> None:
    """Makes a store with an active baseline for each machine of a fleet.

    Raises:
        PyverifyError: a machine was refused, so that the fleet is not what it should be.
    """
    source = StreamedSource(fleet.machines, lambda rows: record_batches(fleet.round(1), rows))
    with Store.open(str(store_path), create=True) as store:
        for learned in learn(source, store, policy=POLICY, activate=True, as_of=AS_OF):
            if learned.state is None:
                raise PyverifyError(f"{learned.machine} was refused: {learned.reasons}")

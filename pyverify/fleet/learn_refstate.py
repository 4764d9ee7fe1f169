"""Baselines from first boots that somebody's reference state allows: pinned by it, not merely seen first."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import pyarrow as pa

from pyverify.appraise.policy import Policy
from pyverify.appraise.rows import conform, ids_of
from pyverify.baseline.interchange.keylime_check import check
from pyverify.baseline.interchange.keylime_refstate import Refstate
from pyverify.baseline.model import Origin, State
from pyverify.baseline.store import Store, insert_baselines
from pyverify.errors import EvidenceError
from pyverify.evidence.eventlog import EventLog
from pyverify.evidence.log_kinds import transcode
from pyverify.fleet.boot_order import BootKey, boot_keys
from pyverify.fleet.learn import first_boots, read_first
from pyverify.fleet.measured_boot import BootReader, MeasuredBoot, Refused
from pyverify.fleet.sources import Source


@dataclass(frozen=True, slots=True)
class Vouched:
    """What became of one machine: why it was refused, None where it was learned, and what nothing vouches for."""

    machine: str
    refused: str | None
    unproven: tuple[str, ...] = ()


def learn_satisfying(
    source: Source,
    store: Store,
    refstate: Refstate,
    *,
    policy: Policy,
    state: State,
    as_of: datetime.datetime,
    who: str | None,
    reason: str | None,
) -> Iterator[Vouched]:
    """Learns the machines without a baseline whose first boot is one that a reference state allows.

    The full appraisal runs on that boot too; with any high finding it is refused.

    Yields:
        One item a machine that was learned or refused.
    """
    known = store.machines()
    first = {machine: key for machine, key in first_boots(source).items() if machine not in known}
    vouched = _vouched(source, first, refstate)
    for machine in [*first]:
        if machine not in vouched:
            del first[machine]
            yield Vouched(machine, _CHANGED)
        elif vouched[machine].said.refused is not None:
            del first[machine]
            yield vouched[machine].said
    reader = BootReader(store.references(), policy, as_of, ())
    for measured in read_first(source, first, reader):
        found = [(boot, _held(boot, vouched[boot.machine], policy)) for boot in measured]
        baselines = [
            boot.baseline(state, Origin.IMPORTED)
            for boot, said in found
            if not isinstance(boot, Refused) and said.refused is None
        ]
        if baselines:
            with store.changing("import", reason, who) as (connection, number):
                insert_baselines(connection, number, baselines)
        yield from (said for _, said in found)


_BANK: Final = "sha256"
"""What digests a reference state has."""
_CHANGED: Final = "the archive changed while it was read"


class _Looked(NamedTuple):
    """What a reference state says of a boot, and the id of the evidence that it was told by."""

    said: Vouched
    evidence_id: bytes


def _held(boot: MeasuredBoot | Refused, looked: _Looked, policy: Policy) -> Vouched:
    """What becomes of a boot that a reference state allows: it must be the same, and quoted in the digests that were
    looked at, for of others a log may say what it likes."""
    if isinstance(boot, Refused):
        codes = ", ".join(sorted({one.code for one in boot.reasons}))
        return Vouched(boot.machine, codes or "it cannot be judged")
    if boot.evidence_id != looked.evidence_id:
        return Vouched(boot.machine, _CHANGED)
    if policy.quote != "no" and _BANK not in boot.quoted_banks:
        return Vouched(boot.machine, f"no quote proves bank {_BANK}, which the reference state is of")
    return looked.said


def _vouched(source: Source, first: dict[str, BootKey], refstate: Refstate) -> dict[str, _Looked]:
    """What a reference state says of the first boot of each of these machines, as far as they are there."""
    found: dict[str, _Looked] = {}
    for batch in source.batches():
        for row, item in enumerate(boot_keys(batch)):
            if item is not None and first.get(item[0]) == item[1] and item[0] not in found:
                (evidence_id,) = ids_of(conform(batch.slice(row, 1)))
                found[item[0]] = _Looked(_check(item[0], batch, row, refstate), evidence_id)
    return found


def _check(machine: str, batch: pa.RecordBatch, row: int, refstate: Refstate) -> Vouched:
    names = ("event_log_kind", "event_log", "userspace_log")
    kind, log, userspace = (batch.column(n)[row].as_py() if n in batch.schema.names else None for n in names)
    try:
        result = check(refstate, EventLog.parse(transcode(kind, log or b"", userspace).log))
    except EvidenceError as error:
        return Vouched(machine, str(error))
    refused = None if result.satisfied else result.problems[0].hint
    return Vouched(machine, refused, tuple(one.hint for one in result.unproven))

"""Archives of boots with IMA lists, laid out by hand or from recordings, and what is learned from them."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from conftest import hash_of, replay_by_hand, shared
from ima_by_hand import data_of, entry
from ima_evidence import AGGREGATE

from pyverify import Evidence, Policy, verify
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.evidence.bundle import ImaList
from pyverify.fleet.learn import learn
from pyverify.fleet.learn_cohort import learn_cohort
from pyverify.fleet.sources import open_source

POLICY = Policy.preset("log-only")
NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
WHO = {"who": "ops", "reason": "same image"}
LIST = "binary_runtime_measurements"


def ran(*entries: bytes) -> bytes:
    """The IMA list of a boot of ``ima_evidence.LOG`` in which this ran."""
    return AGGREGATE + b"".join(entries)


def ran_in(log: bytes, *entries: bytes) -> bytes:
    """The IMA list of a boot with this log."""
    values = replay_by_hand(log)["sha256"]
    aggregate = hash_of("sha256", b"".join(values[pcr] for pcr in range(10)))
    return entry(data_of("boot_aggregate", aggregate)) + b"".join(entries)


def lay_out(folder: Path, boots):
    """An archive of {(machine, boot): (log, IMA list or None)}; boots are numbered by their names where those are."""
    for (machine, boot), (log, data) in boots.items():
        place = folder / machine / boot
        place.mkdir(parents=True)
        (place / "binary_bios_measurements").write_bytes(log)
        if data is not None:
            (place / LIST).write_bytes(data)
        if boot.isdecimal():
            (place / "evidence.json").write_text(json.dumps({"boot_seq": int(boot)}))
    return open_source(folder)


def recorded(number: str) -> tuple[bytes, bytes]:
    """Log and IMA list of a recording."""
    folders = list(shared("recordings").glob(f"{number}_*"))
    if not folders:
        pytest.skip(f"recording {number} is not beside the project")
    return (folders[0] / "binary_bios_measurements").read_bytes(), (folders[0] / "ima" / LIST).read_bytes()


def learned(source, store, **options):
    """What became of each machine."""
    options = {"policy": POLICY, "activate": True, "as_of": NOW} | options
    return {item.machine: item for item in learn(source, store, **options)}


def learned_cohort(source, store, name, **options):
    return learn_cohort(source, store, name, **({"policy": POLICY, "activate": True, "as_of": NOW} | options))


def assign(store, cohort, *machines):
    Lifecycle(store).assign(cohort, machines, **WHO)


def judged(store, machine: str, log: bytes, data: bytes | None = None, boot: str = "later", policy: Policy = POLICY):
    """The verdict over a boot of a machine."""
    sent = None if data is None else [ImaList("binary", data)]
    evidence = Evidence(machine, boot, event_log=log, ima=sent)
    return verify(evidence, references=store.references(), policy=policy, as_of=NOW)


def codes(findings) -> list[str]:
    return [finding.code for finding in findings]


def high(verdict) -> set[str]:
    return {finding.code for finding in verdict.findings if finding.severity == "high"}


def rows_of(store):
    """The baselines of a store: (scope, id, version, state, origin)."""
    names = ("scope", "id", "version", "state", "origin")
    return [tuple(row[name] for name in names) for row in store.references().columns.to_pylist()]


def names_of(store, machine: str) -> list[str]:
    """What a machine may run, by name."""
    references = store.references()
    (row,) = references.find([machine])
    return [member.path.decode() for member in references.ima.set(int(references.ima_set[row]))]

"""Baselines that are values, in no store, as a references snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pyverify.baseline.identity import Challenge, EnrolledKey
from pyverify.baseline.identity_columns import add_identity
from pyverify.baseline.ima_columns import add_ima
from pyverify.baseline.model import Allowed, Baseline
from pyverify.baseline.snapshot import Member, Snapshot, baseline_facts


def write_values(
    snapshot: Snapshot,
    baselines: Sequence[Baseline],
    cohorts: Mapping[str, str],
    identity: tuple[Sequence[EnrolledKey], Sequence[Challenge], Sequence[bytes]],
) -> None:
    """Writes baselines, cohorts of machines, and what makes up who they are: keys, challenges, pinned certificates."""
    sequences: dict[bytes, int] = {}
    profiles: dict[tuple[tuple[Member, ...], ...], int] = {}

    def member(allowed: Allowed) -> Member:
        sequence = allowed.sequence
        if sequence.key not in sequences:
            sequences[sequence.key] = snapshot.add_sequence(sequence)
        return sequences[sequence.key], allowed.until, allowed.keep

    ordered = sorted(baselines, key=lambda b: (b.scope, b.id, b.version))
    ima_sets = add_ima(snapshot, [one for baseline in ordered for one in baseline.ima_sets])
    numbers = [tuple(tuple(member(a) for a in allowed) for allowed in baseline.allowed) for baseline in ordered]
    for baseline, allowed in zip(ordered, numbers, strict=True):
        if allowed not in profiles:
            profiles[allowed] = snapshot.add_profile(allowed)
        snapshot.add_baseline(
            **baseline_facts(baseline),
            profile=profiles[allowed],
            ima_set=None if baseline.ima is None else ima_sets[baseline.ima.key],
            approval=baseline.approval,
            accepted=[asdict(one) for one in baseline.accepted],
            ima_superseded=[{"set": ima_sets[old.ima.key], "until": old.until} for old in baseline.ima_superseded],
        )
    for machine, cohort in sorted(cohorts.items()):
        snapshot.add("cohorts", {"machine": machine, "cohort": cohort})
    add_identity(snapshot, *identity)
    snapshot.finish()

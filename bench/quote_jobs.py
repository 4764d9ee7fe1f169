"""Bench ``quotes``, whole jobs: evidence with quotes beside the same without, and the signatures alone."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from bench import machine
from bench.baselines import AS_OF
from bench.cycles import sampled
from bench.memory_source import MemorySource
from bench.plan import Plan
from bench.quoted_fleet import QuotedFleet
from bench.results import DifferentResultsError, Line
from bench.signers import KINDS
from bench.stopwatch import Place, Stopwatch
from pyverify import _native
from pyverify.appraise import appraisal, attestation, proof
from pyverify.appraise.appraisal import Appraisal, verify_batches
from pyverify.appraise.log_checks import forget
from pyverify.appraise.policy import Policy
from pyverify.baseline.identity_columns import Identity
from pyverify.baseline.ledger import Ledger
from pyverify.baseline.references import References
from pyverify.baseline.store import Store
from pyverify.evidence.columns import Ragged
from pyverify.evidence.keys import Keys
from pyverify.evidence.quote import Quotes, verify_signatures
from pyverify.fleet import job

_BENCH: Final = "quotes"
_BOOTS: Final = 2_000
_REPEATED: Final = 64
"""Machines of the cases in which each key signs many quotes."""

_STAGES: Final[dict[str, tuple[Place, ...]]] = {
    "decode": ((appraisal, "sent_quotes"), (Quotes, "of")),
    "keys": ((Keys, "of"), (Identity, "find")),
    "signatures": ((proof, "verify_signatures"),),
    "digests": ((proof, "laid_out"), (proof, "digest_matches")),
    "rules": ((attestation, "prove"),),
    "coverage": ((attestation, "cover"),),
    "freshness": ((Identity, "asked"), (attestation, "judge_all")),
    "rows": ((appraisal, "attest"),),
    "replay-check": ((appraisal, "replay_findings"),),
    "facts": ((job, "quote_facts"),),
    "log-checks": ((appraisal, "check_logs"),),
    "log": ((Appraisal, "__init__"), (Appraisal, "verdicts")),
    "ledger": ((Ledger, "consume_all"),),
}
_REST: Final = "second-pass"


def jobs(plan: Plan) -> Iterator[Line]:
    """A job of each kind of key: every machine booted once, or a few did many times."""
    boots = min(plan.boots, _BOOTS)
    few = min(_REPEATED, max(1, boots // 4))
    for kind in KINDS:
        yield from _of_fleet(plan, f"distinct-{boots}", QuotedFleet(kind, boots))
        yield from _of_fleet(plan, f"repeated-{few}x{boots // few}", QuotedFleet(kind, few, boots // few))


def _of_fleet(plan: Plan, size: str, fleet: QuotedFleet) -> Iterator[Line]:
    case = f"{fleet.kind.hash_name}-{fleet.kind.name}-{size}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store.db")
        fleet.enroll(path)
        with Store.open(str(path)) as store:
            references = store.references()
            pairs = list(fleet.batches())
            yield from _timed(plan, case, fleet, pairs, references)
            if fleet.rounds == 1:  # of many boots of a machine only the newest is fresh
                yield from _shares(case, fleet.bank, [quoted for quoted, _ in pairs], references, Ledger(store))


def _line(case: str, bank: str, value: float, unit: str, *peer: Any) -> Line:
    return Line(_BENCH, case, machine.isa((bank,)), 1, value, unit, *peer)


def _timed(
    plan: Plan,
    case: str,
    fleet: QuotedFleet,
    pairs: list[tuple[pa.RecordBatch, pa.RecordBatch]],
    references: References,
) -> Iterator[Line]:
    """Ours beside the signatures alone and the same job without quotes, which replays the quoted bank and no other."""
    n = len(fleet)
    log_only = replace(Policy.preset("log-only"), banks_required=(fleet.bank,))
    quotes = [_quotes(quoted) for quoted, _ in pairs]
    functions: dict[str, Callable[[], int]] = {
        "quotes": lambda: _trusted([quoted for quoted, _ in pairs], references, Policy.preset("archive")),
        "log_only": lambda: _trusted([bare for _, bare in pairs], references, log_only),
        "signatures": lambda: sum(map(_good, quotes)),
    }
    for name, function in functions.items():
        if function() != n:
            raise DifferentResultsError(f"{case}: {name} does not find all {n} quotes and boots good")
    taken = {name: one.seconds for name, one in sampled(functions, plan.samples).items()}
    ours, apart = taken["quotes"], taken["signatures"] + taken["log_only"]
    yield _line(f"{case}-job", fleet.bank, n / ours, "quotes/s", "signatures+log_only", apart / ours)
    yield _line(f"{case}-log-only", fleet.bank, n / taken["log_only"], "logs/s")
    yield _line(f"{case}-signatures", fleet.bank, n / taken["signatures"], "verifies/s")


def _quotes(batch: pa.RecordBatch) -> Quotes:
    """The one quote of each row."""
    columns = batch.column("quotes").flatten()
    return Quotes.of(*(Ragged.from_arrow(columns.field(name)) for name in ("msg", "sig", "ak_pub", "pcrs")))


def _good(quotes: Quotes) -> int:
    return int(np.count_nonzero(verify_signatures(quotes, np.ones(len(quotes), np.bool_)) == _native.GOOD))


def _trusted(batches: list[pa.RecordBatch], references: References, policy: Policy) -> int:
    """Boots that are trusted, by a process that has seen none of their logs."""
    forget()
    found: Counter[str] = Counter()
    for verdicts in verify_batches(batches, references=references, policy=policy, as_of=AS_OF):
        found.update(verdicts.column("verdict").to_pylist())
    return found["trusted"]


def _shares(
    case: str, bank: str, batches: list[pa.RecordBatch], references: References, ledger: Ledger
) -> Iterator[Line]:
    """Where the time of the whole job goes under the policy that spends nonces."""
    policy = Policy.preset("default")
    summary = job.Summary(policy.name, references.id, AS_OF)
    source = MemorySource(batches)
    watch = Stopwatch(_REST)
    forget()
    with watch.watching(_STAGES):
        for _ in job.run(
            source, references=references, policy=policy, as_of=AS_OF, jobs=1, summary=summary, ledger=ledger
        ):
            pass
    if summary.outcomes["trusted"] != source.total:
        raise DifferentResultsError(f"{case}: {dict(summary.outcomes)} of {source.total} boots by fresh quotes")
    whole = sum(watch.seconds.values())
    for stage, seconds in watch.seconds.items():
        yield _line(f"{case}-share-{stage}", bank, seconds / whole, "share")

"""``learn``: baselines from first boots."""

from __future__ import annotations

import argparse
import sys

from pyverify.baseline.database import shown
from pyverify.cli.archive import as_of, policy_of, progress
from pyverify.cli.lines import by_weight
from pyverify.cli.stores import head_words, open_store
from pyverify.evidence.text import escape
from pyverify.fleet.learn import learn as learn_archive
from pyverify.fleet.sources import open_source


def learn(args: argparse.Namespace) -> int:
    """Prints a line for each machine that was refused, and how many were learned."""
    policy, now = policy_of(args), as_of(args)
    source = open_source(args.archive)
    learned = refused = 0
    with open_store(args, create=True) as store, progress(source, "machines") as update:
        known = len(store.machines())
        for item in learn_archive(
            source,
            store,
            policy=policy,
            activate=args.activate,
            as_of=now,
            trust_first_key=args.trust_first_key,
        ):
            learned += item.state is not None
            if item.state is None:
                refused += 1
                reason = by_weight([{"severity": r.severity, "words": f"{r.code} {r.hint}"} for r in item.reasons])
                words = reason[0]["words"] if reason else "it cannot be judged"
                print(f"{escape(item.machine)}  {escape(item.boot)}  refused: {escape(words)}")
            update(learned + refused)
        head = store.head
    state = "active" if args.activate else "pending: verify calls these machines unmeasured until they are activated"
    print(
        f"{learned:,} baselines learned ({state}), {refused:,} first boots refused, {known:,} machines known before · "
        f"policy {policy.name} · store {escape(shown(args.store))} · {head_words(head)}",
        file=sys.stderr,
    )
    return 0

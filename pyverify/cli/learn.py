"""``learn``: baselines from first boots."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from pyverify.baseline.database import shown
from pyverify.baseline.heads import Head
from pyverify.baseline.model import Accepted, Origin
from pyverify.cli.archive import as_of, policy_of, progress
from pyverify.cli.lines import by_weight, number_of
from pyverify.cli.stores import head_words, open_store
from pyverify.errors import UsageError
from pyverify.evidence.text import escape
from pyverify.findings import Finding
from pyverify.fleet.accepted import parse_accepted
from pyverify.fleet.learn import Learned
from pyverify.fleet.learn import learn as learn_archive
from pyverify.fleet.learn_cohort import learn_cohort
from pyverify.fleet.sources import open_source


def learn(args: argparse.Namespace) -> int:
    """Prints a line for each boot that was refused or left out, and how many baselines were learned."""
    accepted = parse_accepted(args.accept, args.reason)
    if args.cohort is not None:
        if args.boots > 1:
            raise UsageError("--boots is for machines: a cohort is learned from the first boots of all of them")
        return _learn_cohort(args, accepted)
    policy, now = policy_of(args), as_of(args)
    source = open_source(args.archive)
    done: Counter[str] = Counter()
    with open_store(args, create=True) as store, progress(source, "machines") as update:
        known = len(store.machines())
        for item in learn_archive(
            source,
            store,
            policy=policy,
            activate=args.activate,
            as_of=now,
            trust_first_key=args.trust_first_key,
            boots=args.boots,
            accepted=accepted,
        ):
            _count(done, item)
            _tell(item)
            update(done["learned"] + done["refused"])
        head = store.head
    if done["short"]:
        words = f"fewer than {number_of(args.boots, 'boot')} of {number_of(done['short'], 'machine')} in the archive"
        print(f"{words}: learned from those there are", file=sys.stderr)
    _print_summary(args, done, known, policy.name, head)
    return 0


def _count(done: Counter[str], item: Learned) -> None:
    done["learned" if item.state is not None else "refused"] += 1
    done["corroborated"] += item.origin is Origin.CORROBORATED
    done["short"] += item.missing > 0


def _tell(item: Learned) -> None:
    if item.state is None:
        _print_line(item.machine, item.boot, "refused", item.reasons)
    for boot, reasons in item.left_out:
        _print_line(item.machine, boot, "left out of the window", reasons)


def _print_line(machine: str, boot: str, what: str, reasons: Sequence[Finding]) -> None:
    reason = by_weight([{"severity": r.severity, "words": f"{r.code} {r.hint}"} for r in reasons])
    words = reason[0]["words"] if reason else "it cannot be judged"
    print(f"{escape(machine)}  {escape(boot)}  {what}: {escape(words)}")


def _print_summary(args: argparse.Namespace, done: Counter[str], known: int, policy: str, head: Head) -> None:
    parts = [f"{number_of(done['learned'], 'baseline')} learned ({_state(args)})"]
    if done["corroborated"]:
        parts.append(f"{done['corroborated']:,} of them active, corroborated by their cohorts")
    parts += [
        f"{number_of(done['refused'], 'first boot')} refused",
        f"{number_of(known, 'machine')} known before",
    ]
    print(f"{', '.join(parts)} · policy {policy} · {_store_words(args, head)}", file=sys.stderr)


def _store_words(args: argparse.Namespace, head: Head) -> str:
    return f"store {escape(shown(args.store))} · {head_words(head)}"


def _state(args: argparse.Namespace) -> str:
    return "active" if args.activate else "pending: verify calls these machines unmeasured until they are activated"


def _learn_cohort(args: argparse.Namespace, accepted: Sequence[Accepted]) -> int:
    policy, now, name = policy_of(args), as_of(args), args.cohort
    source = open_source(args.archive)
    with open_store(args) as store:
        result = learn_cohort(
            source,
            store,
            name,
            policy=policy,
            activate=args.activate,
            as_of=now,
            trust_first_key=args.trust_first_key,
            accepted=accepted,
        )
        head = store.head
    if result.is_known:
        print(f"cohort {escape(name)} has a baseline already: it is left alone", file=sys.stderr)
        return 0
    for one in result.refused:
        _print_line(one.machine, one.boot, "refused", one.reasons)
    state = "no baseline" if result.baseline is None else f"1 baseline learned ({_state(args)})"
    parts = [
        f"cohort {escape(name)}: {state}",
        f"from {number_of(result.machines, 'machine')}",
        f"{number_of(len(result.refused), 'first boot')} refused",
        f"{number_of(result.absent, 'assigned machine')} not in the archive",
    ]
    print(f"{', '.join(parts)} · policy {policy.name} · {_store_words(args, head)}", file=sys.stderr)
    return 0

"""Bench ``extend``: chains of digests that lie in memory, one bank, one thread, beside all peers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from bench import machine, repeated, threads
from bench.chains import Chains, chain_lengths
from bench.cycles import sampled
from bench.extend_peers import PEERS, missing, peers_of
from bench.fleet import Fleet
from bench.plan import Plan
from bench.results import Line, Note
from pyverify import _native
from pyverify.algorithms import BANKS, BY_NAME

_BENCH: Final = "extend"
_MOST_WATCHED: Final = ("sha256", "sm3_256")
_RAGGED: Final = (256, 4096)
_LONGEST: Final = 40
_LOGS: Final = (1, 2, 4, 8, 16, 100)
_SLICES: Final = 1024

PORT_LIMIT: Final[dict[tuple[str, str], float]] = {
    ("sha256", "avx512"): 83.0,
    ("sha256", "shani"): 192.0,
    ("sha256", "shani2"): 192.0,
    ("sha256", "shani4"): 192.0,
    ("sm3_256", "avx512"): 85.9,
}
"""Cycles an extend if every port that the rounds need did something useful in every cycle: of the operations of two
compressions, and of what the ports of Ice Lake and Sapphire Rapids cores take."""

Way = tuple[Callable[[], object], int]
"""A way to extend, and how many extends it does; that of the name "" is ours."""


def extend(plan: Plan) -> Iterator[Line | Note]:
    """All figures of this bench."""
    for bank in BY_NAME:
        chains = Chains.equal(bank, 4096, 64)
        unshared: Way = repeated.core(chains, share=False)
        yield from _measured(plan, f"{bank}-distinct-4096x64", chains, PEERS, {"unshared": unshared})
    for bank in _MOST_WATCHED:
        for variant in _native.variants(BY_NAME[bank].index)[:-1]:
            yield from _measured(plan, f"{bank}-distinct-4096x64", Chains.equal(bank, 4096, 64), isa=variant)
        yield from _ragged(plan, bank)
        yield from _shared(plan, bank)
        yield from _logs(plan, bank)
        yield from _threads(plan, bank)
    for peer in missing():
        yield Note(_BENCH, f"{peer} is not installed, or what it takes to compile for it: left out")


def _ragged(plan: Plan, bank: str) -> Iterator[Line]:
    for count in _RAGGED:
        chains = Chains.spread(bank, count, 1, _LONGEST)
        equal = Chains.equal(bank, count, round(chains.extends / count))
        others: dict[str, Way] = {"equal_lengths": repeated.core(equal)}
        yield from _measured(
            plan, f"{bank}-ragged-{count}x1..{_LONGEST}", chains, ("openssl", "ipsec_mb"), others, lane_use=True
        )


def _shared(plan: Plan, bank: str) -> Iterator[Line]:
    chains = Chains.duplicated(bank, 64, 4096, 64)
    unshared: Way = repeated.core(chains, share=False)
    yield from _measured(plan, f"{bank}-shared-64in4096x64", chains, (), {"unshared": unshared})


def _logs(plan: Plan, bank: str) -> Iterator[Line]:
    """As many chains, and as long, as recorded logs have; of random digests, so that none are shared."""
    shani = [name for name in _native.variants(BY_NAME[bank].index) if name.startswith("shani")]
    for count in _LOGS:
        logs = [boot.log for boot in Fleet(count, rounds=1).round(1)]
        chains = Chains.of_lengths(bank, chain_lengths(logs))
        others = {name: repeated.core(chains, name, share=False) for name in shani}
        others["unshared"] = repeated.core(chains, share=False)
        yield from _measured(plan, f"{bank}-logs-{count}", chains, ("hashlib", "openssl"), others, lane_use=True)


def _threads(plan: Plan, bank: str) -> Iterator[Line]:
    chains = Chains.equal(bank, 16384, 64)
    values = chains.start()
    taken = threads.sampled(
        lambda first, last: chains.extend_slice(values, first, last), len(chains), _SLICES, plan.short_samples
    )
    isa = machine.isa((bank,))
    yield from threads.lines(_BENCH, f"{bank}-distinct-16384x64-threads", isa, "extend", taken, chains.extends)


def _measured(
    plan: Plan,
    case: str,
    chains: Chains,
    peers: tuple[str, ...] = (),
    others: Mapping[str, Way] | None = None,
    *,
    isa: str | None = None,
    lane_use: bool = False,
) -> Iterator[Line]:
    """The lines of a case: time beside peers and other ways of ours, cycles beside the limit, and lane use."""
    ways: dict[str, Way] = {"": repeated.core(chains, isa)}
    for peer in peers_of(chains, peers):
        ways[peer.name] = repeated.peer(chains, peer.in_c) if peer.in_c else (peer.run, peer.chains.extends)
    ways |= others or {}
    usage = _native.Usage(chains.bank)
    chains.extended(isa, usage)
    used = "+".join(usage.steps())
    samples = sampled({name: run for name, (run, _) in ways.items()}, plan.short_samples)
    taken = {name: one.per(ways[name][1]) for name, one in samples.items()}
    ours = taken.pop("")
    yield Line(_BENCH, case, used, 1, ours.seconds * 1e9, "ns/extend")
    for name, theirs in taken.items():
        yield Line(_BENCH, case, used, 1, ours.seconds * 1e9, "ns/extend", name, theirs.seconds / ours.seconds)
    if not math.isnan(ours.cycles):
        limit = PORT_LIMIT.get((BANKS[chains.bank].name, used)) if "-distinct-" in case else None
        beside = (None, None) if limit is None else ("limit", limit / ours.cycles)
        yield Line(_BENCH, case, used, 1, ours.cycles, "cycles/extend", *beside)
    if lane_use:
        yield Line(_BENCH, case, used, 1, usage.lane_use(), "lane use")

"""Plots of what an extend costs: by batch size, by spread of chain lengths, by share of duplicates and by threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from bench import repeated, threads
from bench.chains import Chains, chain_lengths
from bench.cycles import sampled
from bench.extend_peers import peers_of
from bench.fleet import Fleet
from bench.plan import Plan
from bench.svg import line_chart

_NS: Final = "ns an extend (CPU time, one thread)"
_NAMES: Final = {
    "": "pyverify",
    "hashlib": "Python hashlib",
    "openssl": "OpenSSL, low level",
    "ipsec_mb": "libipsec-mb",
    "shani2": "pyverify, SHA-NI only",
}
_BANKS: Final = {"sha256": "SHA-256", "sm3_256": "SM3"}
_SPREADS: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_MEAN: Final = 20
_CHAINS: Final = 4096
_LENGTH: Final = 16

Series = dict[str, list[tuple[float, float]]]


def draw(plan: Plan, folder: Path) -> Iterator[Path]:
    """Measures and writes each plot, and tells its file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in PLOTS.items():
        path = folder / f"{name}.svg"
        path.write_text(plot(plan), encoding="utf-8")
        yield path


def by_batch_size(plan: Plan) -> str:
    """Chains of so many recorded logs."""
    series: Series = {}
    for exponent in range(0, 7 if plan.quick else 13):
        logs = [boot.log for boot in Fleet(2**exponent, rounds=1).round(1)]
        chains = Chains.of_lengths("sha256", chain_lengths(logs))
        ways = {"": repeated.core(chains)}
        for peer in peers_of(chains, ("hashlib", "openssl", "ipsec_mb")):
            ways[peer.name] = repeated.peer(chains, peer.in_c) if peer.in_c else (peer.run, peer.chains.extends)
        if "shani2" in chains.variants():
            ways["shani2"] = repeated.core(chains, "shani2", share=False)
        taken = sampled({name: run for name, (run, _) in ways.items()}, plan.short_samples)
        for name, one in taken.items():
            point = len(logs), one.seconds * 1e9 / ways[name][1]
            series.setdefault(_NAMES[name], []).append(point)
    title = "SHA-256: cost of an extend by batch size, chains as in recorded logs"
    return line_chart(title, "event logs in the batch", _NS, series, x_base=2, y_base=10)


def by_spread(plan: Plan) -> str:
    """Chains of 20 digests on average, more and more unequal."""
    series: Series = {}
    for spread in _SPREADS:
        low, high = round(_MEAN * (1 - spread)), round(_MEAN * (1 + spread))
        for bank, name in _BANKS.items():
            chains = Chains.spread(bank, 1024, low, high)
            runs: dict[str, Callable[[], object]] = {f"pyverify, {name}": chains.extended}
            if bank == "sha256":
                runs |= {_NAMES[peer.name]: peer.run for peer in peers_of(chains, ("openssl", "ipsec_mb"))}
            for label, one in sampled(runs, plan.short_samples).items():
                series.setdefault(label, []).append((100 * spread, one.seconds * 1e9 / chains.extends))
    x_label = f"spread of lengths: {_MEAN} digests ± so many per cent, 1,024 chains"
    return line_chart("Cost of an extend by spread of chain lengths", x_label, _NS, series)


def by_duplicates(plan: Plan) -> str:
    """Fewer and fewer distinct chains."""
    series: Series = {}
    for share in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1 - 64 / _CHAINS):
        for bank, name in _BANKS.items():
            chains = Chains.duplicated(bank, round(_CHAINS * (1 - share)), _CHAINS, _LENGTH)
            runs: dict[str, Callable[[], object]] = {
                f"{name}, shared": chains.extended,
                f"{name}, each alone": partial(chains.extended, share=False),
            }
            for label, one in sampled(runs, plan.short_samples).items():
                series.setdefault(label, []).append((100 * share, one.seconds * 1e9 / chains.extends))
    title = "Cost of an extend by share of duplicates"
    return line_chart(title, f"duplicates, per cent of {_CHAINS:,} chains of {_LENGTH}", _NS, series)


def by_threads(plan: Plan) -> str:
    """The same chains on more threads."""
    series: Series = {}
    for bank, name in _BANKS.items():
        chains = Chains.equal(bank, _CHAINS if plan.quick else 4 * _CHAINS, 64)
        work = partial(chains.extend_slice, chains.start())
        taken = threads.sampled(work, len(chains), 1024, plan.short_samples, most=4)
        for kind, label in (("cpu", "CPU time"), ("wall", "elapsed time")):
            series[f"{name}, {label}"] = [
                (number, getattr(times, kind) * 1e9 / chains.extends) for number, times in taken.items()
            ]
    return line_chart("Cost of an extend by threads", "threads", "ns an extend", series, x_base=2)


PLOTS: Final = {
    "batch-size": by_batch_size,
    "length-spread": by_spread,
    "duplicates": by_duplicates,
    "threads": by_threads,
}

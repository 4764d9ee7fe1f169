"""What the project set out to reach on one core with AVX-512, to stand beside what was measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.results import Line


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar for lines of a bench whose case matches: for their value, or beside a peer for their ratio."""

    what: str
    bench: str
    case: str
    unit: str
    most: float | None = None
    least: float | None = None
    peer: str | None = None
    isa: str | None = None

    def measured(self, line: Line) -> float | None:
        """The figure of a line that this bar is about, None where it is about another."""
        right = (
            line.bench == self.bench
            and line.unit == self.unit
            and re.fullmatch(self.case, line.case) is not None
            and self.isa in (None, line.isa)
            and self.peer in (None, line.peer)
        )
        if not right:
            return None
        return line.value if self.peer is None else line.ratio

    def is_met(self, figure: float) -> bool:
        """Whether a figure is good enough."""
        return (self.most is None or figure <= self.most) and (self.least is None or figure >= self.least)

    @property
    def wanted(self) -> str:
        """The bar in words."""
        return f"at most {self.most:,g}" if self.most is not None else f"at least {self.least:,g}"


@dataclass(frozen=True, slots=True)
class Held:
    """A figure held against its bar."""

    bar: Bar
    case: str
    figure: float

    @property
    def is_met(self) -> bool:
        """Whether it is good enough."""
        return self.bar.is_met(self.figure)


def _forced(bank: str, isa: str, cycles: float) -> Bar:
    # Within ten per cent of a prototype that was measured on its own.
    case = f"{bank}-distinct-4096x64"
    return Bar(f"{isa} forced: cycles", "extend", case, "cycles/extend", most=round(1.1 * cycles), isa=isa)


_DISTINCT: Final = r"-distinct-4096x64"
_ANY: Final = r"(sha256|sm3_256)"
_NS: Final = "ns/extend"
_APART: Final = "signatures+log_only"

BARS: Final = (
    Bar("cycles, the ports' limit being 83", "extend", "sha256" + _DISTINCT, "cycles/extend", most=95, isa="avx512"),
    Bar("times hashlib", "extend", "sha256" + _DISTINCT, _NS, least=13, peer="hashlib", isa="avx512"),
    Bar("times OpenSSL, low level", "extend", "sha256" + _DISTINCT, _NS, least=3.8, peer="openssl", isa="avx512"),
    Bar("times libipsec-mb", "extend", "sha256" + _DISTINCT, _NS, least=2, peer="ipsec_mb", isa="avx512"),
    Bar("cycles, the ports' limit being 86", "extend", "sm3_256" + _DISTINCT, "cycles/extend", most=97, isa="avx512"),
    Bar("times hashlib", "extend", "sm3_256" + _DISTINCT, _NS, least=35, peer="hashlib", isa="avx512"),
    Bar("times OpenSSL, EVP", "extend", "sm3_256" + _DISTINCT, _NS, least=12, peer="openssl", isa="avx512"),
    Bar("times gmssl", "extend", "sm3_256" + _DISTINCT, _NS, least=10_000, peer="gmssl", isa="avx512"),
    Bar("time of equal chains ÷ theirs", "extend", _ANY + r"-ragged-.*", _NS, least=0.95, peer="equal_lengths"),
    Bar("lane use", "extend", _ANY + r"-logs-(16|100)", "lane use", least=0.95),
    Bar("times OpenSSL", "extend", _ANY + r"-logs-\d+", _NS, least=1, peer="openssl"),
    *(
        Bar(f"times {name} alone", "extend", r"sha256-logs-\d+", _NS, least=1, peer=name)
        for name in ("shani", "shani2", "shani4")
    ),
    Bar("times each chain alone", "extend", _ANY + r"-shared-64in4096x64", _NS, least=5, peer="unshared"),
    Bar("each chain alone ÷ ours", "extend", _ANY + _DISTINCT, _NS, least=0.95, peer="unshared"),
    Bar("cycles a block", "hash", _ANY + r"-messages-(4|16|64)blocks", "cycles/block", most=60),
    Bar("times Python with hashlib", "scan", r"sha256-.*-scan\+replay\+compare", "us/event", least=25, peer="python"),
    Bar("time of the kernels alone ÷ ours", "ima", r"sha256-list-\d+", "ns/entry", least=1 / 1.3, peer="kernels"),
    Bar("time of the scan alone ÷ ours", "hunt", r"sha256-.*", "ns/event", least=1 / 1.3, peer="scan"),
    Bar("milliseconds of a process", "inspect", r"all-.*", "ms", most=150),
    Bar("CPU time of 1 thread ÷ 2", "extend", r".*-threads", "cpu ns/extend", least=1 / 1.05, peer="one_thread"),
    Bar("CPU time of 1 thread ÷ 2", "scan", r".*-threads", "cpu ns/event", least=1 / 1.05, peer="one_thread"),
    Bar("its parts ÷ the job", "verify_parquet", r"all-packed-.*-job", "boots/cpu s", least=1 / 1.15, peer="its parts"),
    Bar(
        "its parts ÷ the job", "verify_parquet", r"all-(folder|tar)-.*", "boots/cpu s", least=1 / 1.25, peer="its parts"
    ),
    Bar(
        "pyarrow's reading ÷ the job", "verify_parquet", r"all-packed-.*-job", "boots/cpu s", least=0.6, peer="pyarrow"
    ),
    Bar("times distinct logs", "verify_parquet", r"all-packed-.*-rate", "times", least=5, peer="distinct logs"),
    Bar("signatures + job without quotes ÷ ours", "quotes", r".*-job", "quotes/s", least=1 / 1.1, peer=_APART),
    _forced("sha256", "avx512vl", 136),
    _forced("sha256", "shani", 278),
    _forced("sha256", "shani2", 202),
    _forced("sha256", "shani4", 197),
    _forced("sha256", "avx2", 250),
    _forced("sm3_256", "avx512vl", 137),
    _forced("sm3_256", "avx2", 247),
)


def held(lines: Sequence[Line]) -> Iterator[Held]:
    """Each bar beside the figures that it is about, once: a figure has a line for each of its peers."""
    seen = set()
    for bar in BARS:
        for line in lines:
            figure = bar.measured(line)
            if figure is not None and (one := Held(bar, line.case, figure)) not in seen:
                seen.add(one)
                yield one

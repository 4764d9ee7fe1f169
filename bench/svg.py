"""Line charts as SVG that is written by hand; they follow the reader's light or dark colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

_WIDTH: Final = 760
_HEIGHT: Final = 440
_LEFT: Final = 70
_RIGHT: Final = 220
_TOP: Final = 50
_BOTTOM: Final = 60
_LIGHT: Final = ("#0b62c4", "#c2410c", "#15803d", "#7e22ce", "#8a6d00", "#be185d")
_DARK: Final = ("#6db3ff", "#ff9d6b", "#6fd08c", "#cfa0ff", "#e3c75a", "#ff8fc0")


def _colours(paper: str, ink: str, lines: Sequence[str]) -> str:
    # Written out for each line: not every reader of SVG knows variables.
    rules = [f".paper {{ fill: {paper} }} text {{ fill: {ink} }} .grid, .axis {{ stroke: {ink} }}"]
    rules += [f".s{i} .line {{ stroke: {line} }} .s{i} .dot {{ fill: {line} }}" for i, line in enumerate(lines)]
    return "\n".join(rules)


_STYLE: Final = f"""
text {{ font: 13px system-ui, sans-serif }} .title {{ font-size: 16px; font-weight: 600 }}
.grid {{ opacity: .15 }} .axis {{ opacity: .6 }} .line {{ stroke-width: 2; fill: none }}
{_colours("#fff", "#222", _LIGHT)}
@media (prefers-color-scheme: dark) {{
{_colours("#16181c", "#ddd", _DARK)}
}}
"""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from data to pixels, with its ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    log: bool

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float, *, base: int | None) -> Axis:
        """An axis that spans the values: from zero, or with a base in powers of it."""
        if base is None:
            step = _step(max(values))
            count = max(1, math.ceil(max(values) / step - 1e-9))
            return cls(0, count * step, start, end, tuple(i * step for i in range(count + 1)), False)
        first = math.floor(math.log(min(values), base) + 1e-9)
        last = max(first + 1, math.ceil(math.log(max(values), base) - 1e-9))
        return cls(base**first, base**last, start, end, tuple(float(base) ** i for i in range(first, last + 1)), True)

    def at(self, value: float) -> float:
        """The pixel of a value."""
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Mapping[str, Points],
    *,
    x_base: int | None = None,
    y_base: int | None = None,
) -> str:
    """A chart of one line a series. An axis with a base is logarithmic, with ticks at its powers."""
    all_points = [point for points in series.values() for point in points]
    x = Axis.of([point[0] for point in all_points], _LEFT, _WIDTH - _RIGHT, base=x_base)
    y = Axis.of([point[1] for point in all_points], _HEIGHT - _BOTTOM, _TOP, base=y_base)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{_HEIGHT}"/>',
        f'<text class="title" x="{_LEFT}" y="26">{escape(title)}</text>',
        *_axes(x, y, x_label, y_label),
    ]
    for number, (name, points) in enumerate(series.items()):
        parts += _series(number, name, [(x.at(a), y.at(b)) for a, b in points])
    return "\n".join([*parts, "</svg>", ""])


def _axes(x: Axis, y: Axis, x_label: str, y_label: str) -> list[str]:
    parts = []
    for tick in x.ticks:
        at = x.at(tick)
        parts += [_line("grid", at, y.start, at, y.end), _text(at, y.start + 20, "middle", _number(tick))]
    for tick in y.ticks:
        at = y.at(tick)
        parts += [_line("grid", x.start, at, x.end, at), _text(x.start - 8, at + 4, "end", _number(tick))]
    middle = (y.start + y.end) / 2
    return [
        *parts,
        _line("axis", x.start, y.start, x.end, y.start),
        _line("axis", x.start, y.start, x.start, y.end),
        _text((x.start + x.end) / 2, _HEIGHT - 14, "middle", x_label),
        f'<text text-anchor="middle" transform="translate(18 {middle:.1f}) rotate(-90)">{escape(y_label)}</text>',
    ]


def _series(number: int, name: str, pixels: Points) -> list[str]:
    legend_x, legend_y = _WIDTH - _RIGHT + 20, _TOP + 10 + 22 * number
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in pixels)
    return [
        f'<g class="s{number % len(_LIGHT)}">',
        f'<polyline class="line" points="{path}"/>',
        *(f'<circle class="dot" cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in pixels),
        _line("line", legend_x, legend_y - 4, legend_x + 22, legend_y - 4),
        _text(legend_x + 28, legend_y, "start", name),
        "</g>",
    ]


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _step(largest: float) -> float:
    """A round step of which four to ten reach the largest value."""
    power = 10.0 ** math.floor(math.log10(largest / 4))
    return next(factor * power for factor in (1, 2, 5, 10) if largest / (factor * power) <= 8)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:g}"

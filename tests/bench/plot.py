# Copyright (c) 2026, the mtls.nginx authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cost against n, drawn by hand: one panel a curve, both axes logarithmic, beside it what linear growth would be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, MARGIN, GAP = 300, 240, 52, 24
PANELS = {
    "growth-issue": ("Issuing: seconds", "clients", 1),
    "growth-again": ("Looking again: seconds", "clients", 1),
    "growth-crl": ("CRL: bytes", "revoked", 2),
}
STYLE = (
    "text{font:11px sans-serif;fill:#333}.title{font-weight:bold}.grid{stroke:#ddd}"
    ".linear{stroke:#999;stroke-dasharray:4 3;fill:none}.ours{stroke:#0a6;stroke-width:2;fill:none}.dot{fill:#0a6}"
)


def growth(curves: Mapping[str, Sequence[tuple[int, float, int]]]) -> str:
    """Return the SVG; each point of a curve is n, seconds, bytes."""
    shown = [name for name in PANELS if name in curves]
    width = len(shown) * (WIDTH + GAP) + GAP
    panels = [
        f'<g transform="translate({GAP + number * (WIDTH + GAP)},{GAP})">{panel(name, curves[name])}</g>'
        for number, name in enumerate(shown)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT + 2 * GAP}">'
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>{"".join(panels)}</svg>\n'
    )


def panel(name: str, curve: Sequence[tuple[int, float, int]]) -> str:
    title, unit, column = PANELS[name]
    points = [(float(point[0]), float(point[column])) for point in curve]
    xs, ys = Axis.around([x for x, _y in points], WIDTH), Axis.around([y for _x, y in points], HEIGHT)

    def at(x: float, y: float) -> str:
        return f"{xs.place(x):.1f},{HEIGHT - ys.place(y):.1f}"

    parts = [f'<text class="title" x="{MARGIN}" y="-6">{title}</text>']
    for power in xs.powers:
        x = xs.place(10.0**power)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT - MARGIN}"/>')
        parts.append(f'<text text-anchor="middle" x="{x:.1f}" y="{HEIGHT - MARGIN + 16}">{label(power)}</text>')
    for power in ys.powers:
        y = HEIGHT - ys.place(10.0**power)
        parts.append(f'<line class="grid" x1="{MARGIN}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text text-anchor="end" x="{MARGIN - 6}" y="{y + 4:.1f}">{label(power)}</text>')
    last_x, last_y = points[-1]
    straight = [(x, y) for x, _y in points if (y := last_y * x / last_x) >= 10.0 ** ys.powers[0]]
    parts.append(f'<polyline class="linear" points="{" ".join(at(x, y) for x, y in straight)}"/>')
    parts.append(f'<polyline class="ours" points="{" ".join(at(x, y) for x, y in points)}"/>')
    parts += [f'<circle class="dot" r="3" cx="{xs.place(x):.1f}" cy="{HEIGHT - ys.place(y):.1f}"/>' for x, y in points]
    parts.append(
        f'<text text-anchor="middle" x="{(WIDTH + MARGIN) / 2}" y="{HEIGHT - MARGIN + 34}">'
        f"{unit} (dashed: linear)</text>"
    )
    return "".join(parts)


class Axis:
    """Decades on a stretch of paper that begins after the margin."""

    def __init__(self, first: int, last: int, length: float) -> None:
        self.powers = range(first, last + 1)
        self._scale = (length - MARGIN) / (last - first)

    @classmethod
    def around(cls, values: Sequence[float], length: float) -> Axis:
        first = math.floor(math.log10(min(values)))
        return cls(first, max(math.ceil(math.log10(max(values))), first + 1), length)

    def place(self, value: float) -> float:
        return MARGIN + (math.log10(value) - self.powers[0]) * self._scale


def label(power: int) -> str:
    if power < 0:
        return f"{10.0**power:g}"
    return f"{10 ** (power % 3)}{('', 'k', 'M', 'G')[power // 3]}"

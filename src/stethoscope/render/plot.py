"""The small picture beside a piece of evidence: a series, and the healthy band. Plain SVG, no script."""

from __future__ import annotations

import math

import numpy as np

from stethoscope.core.finding import Plot
from stethoscope.core.text import number
from stethoscope.render.markup import Html, joined, tag
from stethoscope.render.series import Trace, traced

WIDTH, HEIGHT = 340, 132
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 10, 22
COLUMNS = 140


class Scale:
    """Maps steps and values to the picture."""

    def __init__(self, trace: Trace, plot: Plot) -> None:
        finite = trace.values[np.isfinite(trace.values)]
        edges = np.array([edge for edge in plot.healthy if edge is not None], np.float64)
        known = np.concatenate((finite, edges))
        self.log = plot.log and bool(np.any(known > 0))
        known = known[known > 0] if self.log else known
        self.low, self.high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        bottom, top = self._height(self.low), self._height(self.high)
        pad = 0.06 * (top - bottom) or (0.5 if self.log else abs(top) * 0.5 or 0.5)
        # An open band is given room on its open side, or nobody would see that it goes on there.
        low, high = plot.healthy
        self.bottom = bottom - pad * (3 if low is None and high is not None else 1)
        self.top = top + pad * (3 if high is None and low is not None else 1)
        steps = np.asarray(trace.steps)
        self.first = float(steps.min()) if steps.size else 0.0
        self.last = float(steps.max()) if steps.size else 1.0

    def _height(self, value: float) -> float:
        return math.log10(max(value, self.low)) if self.log else value

    def x(self, step: float) -> float:
        """Picture column of a step."""
        share = (step - self.first) / ((self.last - self.first) or 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Picture row of a value."""
        share = (self._height(value) - self.bottom) / (self.top - self.bottom)
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)


def plot_svg(plot: Plot) -> Html:
    """The picture as an SVG element, at most 340 by 132 pixels."""
    trace = traced(plot.steps, plot.values, COLUMNS)
    scale = Scale(trace, plot)
    parts = [*_band(plot, scale), *_bad(trace, scale), *_line(trace, scale), *_axes(scale, plot.axis)]
    finite = trace.values[np.isfinite(trace.values)].tolist()
    spread = f"from {number(min(finite))} to {number(max(finite))}" if finite else "no number"
    return tag(
        "svg", *parts, class_="plot", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img",
        aria_label=f"{plot.label}, steps {number(scale.first)} to {number(scale.last)}: {spread}",
    )  # fmt: skip


def _band(plot: Plot, scale: Scale) -> list[Html]:
    """The healthy band, to the edge of the picture where it is open."""
    low, high = plot.healthy
    if low is None and high is None:
        return []
    bottom = HEIGHT - BOTTOM if low is None else scale.y(low)
    top = TOP if high is None else scale.y(high)
    wide = WIDTH - LEFT - RIGHT
    parts = [tag("rect", class_="band", x=LEFT, y=f"{top:.1f}", width=wide, height=f"{max(1.0, bottom - top):.1f}")]
    for edge, y in ((low, bottom), (high, top)):
        if edge is not None:
            parts.append(tag("line", class_="edge", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}"))
    return parts


def _bad(trace: Trace, scale: Scale) -> list[Html]:
    """Stretches that are NaN or infinite, over the full height."""
    parts = []
    for first, last in trace.bad:
        x = scale.x(first)
        width = max(2.0, scale.x(last) - x)
        parts.append(tag("rect", class_="bad", x=f"{x:.1f}", y=TOP, width=f"{width:.1f}", height=HEIGHT - TOP - BOTTOM))
    return parts


def _line(trace: Trace, scale: Scale) -> list[Html]:
    """The series; a point where one stands alone."""
    words, pen = [], "M"
    for step, value in zip(trace.steps.tolist(), trace.values.tolist(), strict=True):
        if math.isfinite(value):
            words.append(f"{pen}{scale.x(step):.1f} {scale.y(value):.1f}")
            pen = "L"
        else:
            pen = "M"
    if len(words) == 1:
        x, y = words[0][1:].split()
        return [tag("circle", class_="series-dot", cx=x, cy=y, r=3)]
    return [tag("path", class_="series", d="".join(words))] if words else []


def _axes(scale: Scale, axis: str) -> list[Html]:
    """Smallest and largest value on the left, first and last step below."""
    floor = HEIGHT - BOTTOM
    parts = [tag("line", class_="axis", x1=LEFT, x2=WIDTH - RIGHT, y1=floor, y2=floor)]
    for value in dict.fromkeys((scale.high, scale.low)):
        y = f"{scale.y(value) + 3.5:.1f}"
        parts.append(tag("text", number(float(f"{value:.3g}")), x=LEFT - 6, y=y, text_anchor="end"))
    for step, anchor in ((scale.first, "start"), (scale.last, "end")):
        words = f"{axis} {number(step)}".strip() if anchor == "start" else number(step)
        parts.append(tag("text", words, x=f"{scale.x(step):.1f}", y=HEIGHT - 7, text_anchor=anchor))
    return [tag("g", joined(parts), class_="axes")]

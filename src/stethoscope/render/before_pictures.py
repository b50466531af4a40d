"""Pictures of experiments before training: the range test, and the signal at the start. Plain SVG, no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stethoscope.core.text import number
from stethoscope.facts.model import RangeTest
from stethoscope.facts.training import Doubles, History
from stethoscope.render.markup import Html, joined, tag

WIDTH, HEIGHT = 400, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 34, 30
ROW = 13
"""Height of a line of words above the picture."""
TALLEST = 1.5
"""Times the first loss at which the picture ends: beyond, all that matters is that it rises."""
FEWEST_LAYERS = 3
MOST_DOTS = 40


@dataclass(frozen=True)
class Frame:
    """Maps values to the picture."""

    left: float
    right: float
    bottom: float
    top: float

    def x(self, value: float) -> float:
        """Picture column."""
        return LEFT + (value - self.left) / ((self.right - self.left) or 1.0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Picture row; what lies above or below is drawn at the edge."""
        share = (value - self.bottom) / ((self.top - self.bottom) or 1.0)
        return TOP + (1 - min(1.0, max(0.0, share))) * (HEIGHT - TOP - BOTTOM)


def range_picture(test: RangeTest) -> Html:
    """The loss against the learning rate, with the present rate, the suggested one, and where the loss rises."""
    powers, losses = np.log10(test.rates), np.asarray(test.losses, np.float64)
    if losses.size < 2 or not np.isfinite(losses).all():
        return Html("")
    low, high = float(losses.min()), min(float(losses.max()), TALLEST * float(losses[0]))
    high = max(high, float(losses[0]), low + 1e-3 * abs(low))
    marked = [rate for rate in (test.present, test.diverges) if rate > 0 and math.isfinite(rate)]
    left = math.floor(min(float(powers[0]), *(math.log10(rate) for rate in marked)))
    right = math.ceil(max(float(powers[-1]), *(math.log10(rate) for rate in marked)))
    frame = Frame(left, right, low - 0.05 * (high - low), high + 0.05 * (high - low))
    ends = next((i for i, loss in enumerate(losses) if loss > frame.top), losses.size - 1)
    first, least = (number(float(f"{value:.3g}")) for value in (losses[0], low))
    parts = [
        *_rising(test, frame),
        *_levels(frame, [low, float(losses[0])], [least, first]),
        *_decades(frame),
        _path(frame, powers[: ends + 1], losses[: ends + 1], "series"),
    ]
    parts += _mark(frame, test.suggested, f"falls fastest at {test.suggested:.1g}", "suggested", 0)
    parts += _mark(frame, test.present, f"present rate {test.present:g}", "present", 1)
    if test.rates[0] <= test.present <= test.rates[-1]:
        loss = float(np.interp(math.log10(test.present), powers, losses))
        x, y = frame.x(math.log10(test.present)), frame.y(loss)
        parts.append(tag("circle", class_="present-dot", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3.5))
    words = (
        f"Loss against learning rate: from {number(float(f'{losses[0]:.3g}'))} down to {number(float(f'{low:.3g}'))}"
    )
    words += f"; present rate {test.present:g}"
    words += f", falls fastest at {test.suggested:.1g}" if math.isfinite(test.suggested) else ", falls nowhere"
    words += f", rises from {test.diverges:.1g}" if math.isfinite(test.diverges) else ", rises nowhere"
    shaded = "; shaded where it has risen" if math.isfinite(test.diverges) else ""
    return _figure(parts, words, f"Loss of a copy while its learning rate rises from step to step{shaded}")


def start_picture(history: History) -> Html:
    """Spread of the outputs and of their gradients, layer by layer, at the first step."""
    telemetry = history.telemetry
    if not telemetry.steps.size or telemetry.steps[0] != 0 or telemetry.layers.shape[1:2] != (len(history.layers),):
        return Html("")
    order = sorted(
        (layer.order, i)
        for i, layer in enumerate(history.layers)
        if layer.order >= 0 and any(len(history.parameters[p].shape) > 1 for p in layer.parameters)
    )
    shown = [i for _, i in order]
    spread = telemetry.layer("std")[0, shown].astype(np.float64)
    gradient = telemetry.layer("gradient_rms")[0, shown].astype(np.float64)
    known = np.concatenate([values[np.isfinite(values) & (values > 0)] for values in (spread, gradient)])
    if len(shown) < FEWEST_LAYERS or known.size < len(shown):
        return Html("")
    bottom, top = math.floor(math.log10(known.min())), math.ceil(math.log10(known.max()))
    frame = Frame(0, len(shown) - 1, bottom - 0.1, max(top, bottom + 1) + 0.1)
    stride = max(1, math.ceil((top - bottom) / 6))
    powers = list(range(bottom, max(top, bottom + 1) + 1, stride))
    parts = _levels(frame, powers, [f"1e{power}" if abs(power) > 2 else f"{10.0**power:g}" for power in powers])
    for values, kind in ((spread, "series"), (gradient, "series second")):
        parts += _series(frame, values, kind)
    first, last = (history.layers[shown[end]].name for end in (0, -1))
    for x, name, anchor in ((LEFT, first, "start"), (WIDTH - RIGHT, last, "end")):
        parts.append(tag("text", _short(name), x=x, y=HEIGHT - 12, text_anchor=anchor))
    words = f"Spread of outputs and rms of their gradients in {len(shown)} layers, from {first} to {last}"
    keys = joined(
        [
            "Layers from the first to the last, before the first step: ",
            tag("span", "spread of the outputs", class_="key-first"),
            ", ",
            tag("span", "size of their gradients", class_="key-second"),
        ]
    )
    return _figure(parts, words, keys)


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"...{name[-most + 3 :]}"


def _figure(parts: Sequence[Html], words: str, caption: str) -> Html:
    svg = tag(
        "svg", tag("g", *parts, class_="axes"), class_="plot large", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img",
        aria_label=words,
    )  # fmt: skip
    return tag("figure", svg, tag("figcaption", caption), class_="large")


def _path(frame: Frame, xs: Doubles, ys: Doubles, kind: str) -> Html:
    """A line; values that are no numbers break it."""
    words, pen = [], "M"
    for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
        if math.isfinite(y):
            words.append(f"{pen}{frame.x(x):.1f} {frame.y(y):.1f}")
        pen = "L" if math.isfinite(y) else "M"
    return tag("path", class_=kind, d="".join(words))


def _series(frame: Frame, values: Doubles, kind: str) -> list[Html]:
    """One value for each layer; those that are 0 are left out."""
    powers = np.log10(np.where(values > 0, values, np.nan))
    parts = [_path(frame, np.arange(values.size, dtype=np.float64), powers, kind)]
    if values.size <= MOST_DOTS:
        parts += [
            tag("circle", class_=kind, cx=f"{frame.x(i):.1f}", cy=f"{frame.y(power):.1f}", r=2.5)
            for i, power in enumerate(powers.tolist())
            if math.isfinite(power)
        ]
    return parts


def _levels(frame: Frame, values: Sequence[float], words: Sequence[str]) -> list[Html]:
    """Lines across, named on the left."""
    parts = []
    for value, word in dict(zip(values, words, strict=True)).items():
        y = frame.y(value)
        parts.append(tag("line", class_="axis", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}"))
        parts.append(tag("text", word, x=LEFT - 6, y=f"{y + 3.5:.1f}", text_anchor="end"))
    return parts


def _decades(frame: Frame) -> list[Html]:
    """Powers of ten along the lower edge, each second one named where there are many."""
    floor, powers = HEIGHT - BOTTOM, range(int(frame.left), int(frame.right) + 1)
    parts = [tag("line", class_="axis", x1=LEFT, x2=WIDTH - RIGHT, y1=floor, y2=floor)]
    for power in powers:
        x = f"{frame.x(power):.1f}"
        parts.append(tag("line", class_="axis", x1=x, x2=x, y1=floor, y2=floor + 4))
        if len(powers) < 7 or (power - powers[0]) % 2 == 0:
            word = f"{10.0**power:g}" if abs(power) < 3 else f"1e{power}"
            parts.append(tag("text", word, x=x, y=floor + 16, text_anchor="middle"))
    return parts


def _rising(test: RangeTest, frame: Frame) -> list[Html]:
    """The rates at which the loss has risen."""
    if not math.isfinite(test.diverges):
        return []
    x, floor = frame.x(math.log10(test.diverges)), HEIGHT - BOTTOM
    wide = max(2.0, WIDTH - RIGHT - x)
    return [tag("rect", class_="bad", x=f"{x:.1f}", y=TOP, width=f"{wide:.1f}", height=floor - TOP)]


def _mark(frame: Frame, rate: float, words: str, kind: str, row: int) -> list[Html]:
    """A line at a rate, with its name in a row of its own above the picture, where no line crosses it."""
    if not (rate > 0 and math.isfinite(rate)):
        return []
    x = frame.x(math.log10(rate))
    anchor = "end" if x > (LEFT + WIDTH - RIGHT) / 2 else "start"
    return [
        tag("line", class_=kind, x1=f"{x:.1f}", x2=f"{x:.1f}", y1=TOP - 3, y2=HEIGHT - BOTTOM),
        tag("text", words, class_=kind, x=f"{x:.1f}", y=ROW * (row + 1) - 2, text_anchor=anchor),
    ]

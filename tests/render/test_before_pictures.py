"""Pictures of experiments before training."""

from __future__ import annotations

import math
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from stethoscope.core.finding import Diagnosis
from stethoscope.facts.model import Preflight, RangeTest
from stethoscope.facts.training import LAYER_STATISTICS, History, Layer, Parameter, Telemetry
from stethoscope.render.before_pictures import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, range_picture, start_picture
from stethoscope.render.html import to_html

from . import sample

RATES = np.logspace(-7, 1, 81)
LOSSES = np.where(RATES < 1e-3, 2.0, np.where(RATES < 0.5, 2.0 + 0.5 * (-3 - np.log10(RATES)), 20.0))
TEST = RangeTest(RATES, LOSSES, 1e-4, 1e-2, 1.0)


def elements(picture: str, name: str, tag: str = "") -> list[ElementTree.Element]:
    found = [each for each in ElementTree.fromstring(picture).iter() if each.get("class") == name]
    return [each for each in found if not tag or each.tag == tag]


def column(power: float) -> float:
    return LEFT + (power + 7) / 8 * (WIDTH - LEFT - RIGHT)


def number(element: ElementTree.Element, name: str) -> float:
    return float(element.get(name, "nan"))


def test_rates_are_marked_on_an_axis_of_powers_of_ten() -> None:
    picture = range_picture(TEST)
    (present,), (suggested,) = elements(picture, "present", "line"), elements(picture, "suggested", "line")
    (risen,), (dot,) = elements(picture, "bad"), elements(picture, "present-dot")

    assert number(present, "x1") == pytest.approx(column(-4), abs=0.1)
    assert number(suggested, "x1") == pytest.approx(column(-2), abs=0.1)
    assert number(risen, "x") == pytest.approx(column(0), abs=0.1)
    assert number(risen, "x") + number(risen, "width") == pytest.approx(WIDTH - RIGHT, abs=0.1)
    assert number(dot, "cx") == number(present, "x1")
    assert "present rate 0.0001" in picture
    assert "falls fastest at 0.01" in picture
    assert "shaded where it has risen" in picture


def test_a_loss_that_leaves_the_picture_ends_at_its_upper_edge() -> None:
    (line,) = elements(range_picture(TEST), "series")
    points = [tuple(map(float, each.split())) for each in line.get("d", "")[1:].split("L")]
    rows = [y for _, y in points]
    assert min(rows) == rows[-1] == TOP
    assert all(TOP <= y <= HEIGHT - BOTTOM for y in rows)
    assert points[-1][0] < WIDTH - RIGHT


def test_what_is_not_known_is_not_drawn() -> None:
    flat = RangeTest(RATES, np.full(81, 2.0), 1e-4)
    picture = range_picture(flat)
    assert elements(picture, "suggested") == elements(picture, "bad") == []
    assert "falls nowhere, rises nowhere" in picture
    assert range_picture(RangeTest()) == ""


def test_a_present_rate_outside_of_the_test_widens_the_picture() -> None:
    picture = range_picture(replace(TEST, present=1e-9))
    (present,) = elements(picture, "present", "line")
    assert number(present, "x1") == pytest.approx(LEFT, abs=0.1)
    assert elements(picture, "present-dot") == []


def at_start(spread: list[float], gradient: list[float]) -> History:
    table = np.full((1, len(spread), len(LAYER_STATISTICS)), np.nan, np.float32)
    table[0, :, LAYER_STATISTICS.index("std")] = spread
    table[0, :, LAYER_STATISTICS.index("gradient_rms")] = gradient
    count = len(spread)
    return History(
        layers=tuple(Layer(f"<{i}>", "Linear", order=count - i, parameters=(i,)) for i in range(count)),
        parameters=tuple(Parameter(f"{i}.weight", (4, 4)) for i in range(count)),
        telemetry=Telemetry(np.zeros(1, np.int64), table),
    )


def test_layers_are_drawn_in_the_order_of_their_calls() -> None:
    picture = start_picture(at_start([1.0, 0.1, 0.01, 0.001], [1e-6, 1e-5, 1e-4, 1e-3]))
    spread, gradient = elements(picture, "series", "circle"), elements(picture, "series second", "circle")

    assert [number(dot, "cy") for dot in spread] == sorted((number(dot, "cy") for dot in spread), reverse=True)
    assert [number(dot, "cy") for dot in gradient] == sorted(number(dot, "cy") for dot in gradient)
    assert "&lt;3&gt;" in picture
    assert "<3>" not in picture


def test_layers_that_were_not_measured_leave_a_gap_and_few_layers_no_picture() -> None:
    picture = start_picture(at_start([1.0, math.nan, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]))
    assert len(elements(picture, "series", "circle")) == 2
    assert start_picture(at_start([1.0, 1.0], [1.0, 1.0])) == ""
    assert start_picture(at_start([math.nan] * 4, [math.nan] * 4)) == ""
    assert start_picture(History()) == ""


def test_the_page_of_a_check_shows_them_and_that_of_a_run_does_not() -> None:
    checked = sample.checked()
    checked = replace(checked, preflight=replace(checked.preflight, range_test=TEST))
    clean = Diagnosis((), ("dying-relu",), ())
    assert "falls fastest at 0.01" in to_html(clean, sample.record(), checked)
    run = replace(checked, preflight=Preflight(range_test=TEST))
    assert "falls fastest at" not in to_html(clean, sample.record(), run)

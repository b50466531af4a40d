"""The small picture beside a piece of evidence."""

from xml.etree import ElementTree

import pytest

from stethoscope.core.finding import Plot
from stethoscope.render.plot import BOTTOM, HEIGHT, TOP, plot_svg


def drawn(plot: Plot) -> ElementTree.Element:
    return ElementTree.fromstring(plot_svg(plot))


def of_class(picture: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in picture.iter() if element.get("class") == name]


def test_the_healthy_band_lies_between_its_edges() -> None:
    picture = drawn(Plot((0, 1, 2), (1.0, 5.0, 9.0), "x", healthy=(4.0, 6.0)))
    (band,) = of_class(picture, "band")
    middle = float(band.get("y", 0)) + float(band.get("height", 0)) / 2
    assert middle == pytest.approx((TOP + HEIGHT - BOTTOM) / 2, abs=1)
    assert len(of_class(picture, "edge")) == 2


def test_an_open_band_reaches_the_edge_of_the_picture() -> None:
    (band,) = of_class(drawn(Plot((0, 1), (1.0, 2.0), "x", healthy=(1.5, None))), "band")
    assert float(band.get("y", 0)) == TOP


def test_without_a_band_none_is_drawn() -> None:
    assert of_class(drawn(Plot((0, 1), (1.0, 2.0), "x")), "band") == []


def test_values_that_are_no_numbers_break_the_line_and_are_marked() -> None:
    picture = drawn(Plot((0, 1, 2, 3), (1.0, float("nan"), 2.0, 3.0), "x"))
    (line,) = of_class(picture, "series")
    assert line.get("d", "").count("M") == 2
    assert len(of_class(picture, "bad")) == 1


@pytest.mark.parametrize("values", [(), (3.0,), (0.0, 0.0), (float("nan"),), (-1.0, 0.0), (1e-300, 1e300)])
@pytest.mark.parametrize("log", [False, True])
def test_odd_series_are_drawn_without_an_error(values: tuple[float, ...], log: bool) -> None:
    picture = drawn(Plot(tuple(range(len(values))), values, "x", (0.0, 1.0), log))
    assert "nan" not in ElementTree.tostring(picture, "unicode").replace("NaN", "")


def test_the_label_is_escaped() -> None:
    assert "<script" not in plot_svg(Plot((0, 1), (1.0, 2.0), '"><script>alert(1)</script>'))

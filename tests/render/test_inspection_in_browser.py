"""The page of a data set in a real browser: opened from disk, at two widths, with names that would rather be markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

nw = pytest.importorskip("narwhals")
pd = pytest.importorskip("pandas")

from stethoscope.inspecting import inspect_data  # noqa: E402

from .test_page_in_browser import Opened, browser  # noqa: E402

__all__ = ["browser"]
pytestmark = pytest.mark.browser

INSIDE = """() => [...document.querySelectorAll('body *')]
  .filter(one => !one.closest('pre') && !one.closest('.wide') && !one.closest('.skip') && !one.closest('svg'))
  .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
  .map(one => one.outerHTML.slice(0, 200))"""

HEIGHTS = "[...document.querySelectorAll('.column-plot')].map(one => one.getBoundingClientRect().height)"


def table(seed: int, evil: bool) -> Any:
    rng = np.random.default_rng(seed)
    values = {f"n{i}": rng.normal(i, 1 + i, 400) for i in range(20)}
    values |= {f"c{i}": rng.choice(["red", "green", "blue"], 400) for i in range(8)}
    values |= {"flat": np.full(400, 3.0), "slip": np.r_[rng.normal(size=399), 5000.0]}
    if evil:
        values |= {
            "<img src=x onerror=alert(1)>": rng.choice(["<script>alert(2)</script>", "</td><b>"], 400),
            "w" * 300: rng.choice(["v" * 300, "u" * 300], 400),
            "\u202ereversed": np.r_[rng.normal(size=399), -5000.0],
        }
    return pd.DataFrame(values | {"y": rng.integers(0, 2, 400)})


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "evil"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file: Path = tmp_path_factory.mktemp("page") / "data.html"
    one = inspect_data(table(0, request.param), table(1, request.param), target="y")
    file.write_text(one.to_html(), "utf-8")
    return file


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_the_page_asks_for_nothing_complains_of_nothing_and_fits(
    browser: Any, path: Path, width: int, scheme: str
) -> None:
    opened = Opened(browser, path, width, scheme)

    assert [url for url in opened.requests if not url.startswith("data:")] == [path.as_uri()]
    assert opened.complaints == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.page.evaluate(INSIDE) == []


def test_each_column_is_drawn_and_has_a_size(browser: Any, path: Path) -> None:
    page = Opened(browser, path).page
    heights = page.evaluate(
        "[...document.querySelectorAll('.column-plot')].map(one => one.getBoundingClientRect().height)"
    )

    assert len(heights) >= 30
    assert min(heights) > 10


def test_suspicious_rows_are_downloaded_as_csv(browser: Any, path: Path) -> None:
    page = Opened(browser, path).page
    with page.expect_download() as waiting:
        page.click("a[download]")

    assert waiting.value.suggested_filename == "suspects.csv"
    assert "outliers" in Path(waiting.value.path()).read_text("utf-8")


def test_the_verdict_leads_to_its_finding_without_script(browser: Any, path: Path) -> None:
    page = Opened(browser, path, script=False).page
    page.click("h1 a")

    assert page.url.endswith("#finding-1")
    assert page.locator("#finding-1").bounding_box()["y"] < 900

"""The report in a real browser: opened from disk, painted, used with the keyboard, at two widths."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stethoscope.render.html import to_html

from . import sample
from .sample_findings import diagnosis_of, loss_not_finite, missing_zero_grad
from .test_html import hostile

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

COLOURS = """id => {
  const canvas = document.querySelector(id);
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const colours = new Set();
  for (let i = 0; i < data.length; i += 4) colours.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
  return colours.size;
}"""


WIDEST = """() => Math.max(...[...document.querySelectorAll('body *')]
  .filter(element => !element.closest('pre') && !element.closest('.skip'))
  .map(element => element.getBoundingClientRect().right))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


class Opened:
    """A page that was opened from disk, with all that it asked for and complained of."""

    def __init__(self, browser: Any, path: Path, width: int = 1280, scheme: str = "light", script: bool = True) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append("a dialog opened"))
        self.page.goto(path.as_uri())
        if script:
            self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    history = sample.turns_nan()
    diagnosis = diagnosis_of(loss_not_finite(history), missing_zero_grad(history))
    file = tmp_path / "report.html"
    file.write_text(to_html(diagnosis, sample.record(), history), "utf-8")
    return file


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_the_page_paints_asks_for_nothing_and_fits(browser: Any, path: Path, width: int, scheme: str) -> None:
    opened = Opened(browser, path, width, scheme)
    assert [url for url in opened.requests if not url.startswith("data:")] == [path.as_uri()]
    assert opened.complaints == []
    assert opened.page.evaluate(COLOURS, "#health-map canvas") > 20
    assert opened.page.evaluate(COLOURS, ".panel canvas") > 5
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_map_is_read_with_the_keyboard(browser: Any, path: Path) -> None:
    page = Opened(browser, path).page
    page.focus("#health-map .stage canvas")
    for key in ("ArrowDown", "End"):
        page.keyboard.press(key)
    words = page.inner_text("#health-map output")
    assert words.startswith("net.2 (Linear")
    assert "gradient NaN or infinite" in words


def test_a_pin_leads_to_its_finding(browser: Any, path: Path) -> None:
    page = Opened(browser, path).page
    page.click("#health-map a.pin >> nth=0")
    assert page.evaluate("location.hash") == "#finding-1"


def test_another_statistic_repaints_the_map(browser: Any, path: Path) -> None:
    page = Opened(browser, path).page
    before = page.evaluate("document.querySelector('#health-map .stage canvas').toDataURL()")
    page.check("input[name=statistic] >> nth=2", force=True)
    assert page.evaluate("document.querySelector('#health-map .stage canvas').toDataURL()") != before


def test_without_script_the_verdict_is_there(browser: Any, path: Path) -> None:
    opened = Opened(browser, path, script=False)
    assert "The loss is NaN from step 230 on" in opened.page.inner_text("h1")
    assert opened.page.locator("noscript").count() == 1
    assert opened.complaints == []


@pytest.mark.parametrize("width", [400, 1280])
def test_hostile_names_run_nothing_and_do_not_widen_the_page(browser: Any, tmp_path: Path, width: int) -> None:
    file = tmp_path / "hostile.html"
    file.write_text(hostile(), "utf-8")
    opened = Opened(browser, file, width)
    assert [url for url in opened.requests if not url.startswith("data:")] == [file.as_uri()]
    assert opened.complaints == []
    assert opened.page.evaluate(WIDEST) <= width

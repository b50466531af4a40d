"""The report: small, complete, safe, and readable without script."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from stethoscope.core.finding import CannotTell, Diagnosis, Evidence, Finding, Fix, Place, Plot
from stethoscope.facts.code import Site
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import Curve, History, Layer, LoopEvent
from stethoscope.render.html import json_block, to_html

from . import sample
from .sample_findings import diagnosis_of, loss_not_finite, missing_zero_grad, slow_rate, vanishing_gradients

HOSTILE = (
    "a_long_name_without_a_break" * 4
    + "</script><script>alert('x')</script>\"><img src=x onerror=alert(1)>'&{{}}`\u2028"
)


class Reader(HTMLParser):
    """Every element with its attributes, the text outside scripts and styles, and tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unmatched: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unmatched.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def faulty() -> str:
    history = sample.trained()
    return to_html(diagnosis_of(missing_zero_grad(history), slow_rate(history)), sample.record(), history)


def hostile_finding() -> Finding:
    plot = Plot((0.0, 1.0), (1.0, 2.0), HOSTILE, (0.0, None))
    return replace(
        slow_rate(sample.trained()),
        title=f"layer `{HOSTILE}` and {HOSTILE}",
        cause=HOSTILE,
        unless=HOSTILE,
        evidence=(Evidence(HOSTILE, HOSTILE, HOSTILE, HOSTILE, plot),),
        fixes=(Fix(f"{HOSTILE}\n    {HOSTILE}", edit=HOSTILE),),
        place=Place(file=HOSTILE, line=3, text=HOSTILE, module=HOSTILE, steps=(0, 5)),
    )


def hostile() -> str:
    """A page on which every text that a user's program can choose is hostile."""
    history = sample.trained()
    site = Site(HOSTILE, 3, HOSTILE, HOSTILE)
    history = replace(
        history,
        layers=(Layer(HOSTILE, HOSTILE, order=0, parameters=(0,)), *history.layers[1:]),
        curves=(*history.curves, Curve(HOSTILE, HOSTILE, "training", *[history.curves[0].steps] * 2)),
        loop=replace(history.loop, cycle=(LoopEvent(HOSTILE, site, HOSTILE),)),
        sampling=replace(history.sampling, blind=(HOSTILE,)),
        ended_by=HOSTILE,
    )
    record = replace(
        sample.record(),
        id=HOSTILE,
        script=HOSTILE,
        command=(HOSTILE,),
        directory=HOSTILE,
        arguments={HOSTILE: HOSTILE, "deep": [{HOSTILE: HOSTILE}]},
        packages={"torch": HOSTILE},
        models=({"name": HOSTILE, "structure": HOSTILE},),
        git={"branch": HOSTILE, "diff": HOSTILE},
    )
    finding = hostile_finding().folded(hostile_finding())
    cannot = (CannotTell("overfitting", HOSTILE),)
    return to_html(Diagnosis((finding,), (), cannot, (finding,), cannot, (HOSTILE,)), record, history)


@pytest.mark.parametrize(("make", "most"), [(sample.typical, 300_000), (sample.deep, 300_000)])
def test_the_page_of_a_typical_run_is_small(make, most: int) -> None:  # type: ignore[no-untyped-def]
    history = make()
    page = to_html(diagnosis_of(slow_rate(history), missing_zero_grad(history)), sample.record(), history)
    assert len(page.encode()) < most


def test_a_million_steps_make_no_larger_page() -> None:
    history = sample.trained()
    steps = history.curves[0].steps
    long = tuple(
        replace(curve, steps=steps.repeat(2500).cumsum(), values=curve.values.repeat(2500))
        if curve.steps.size == 400
        else curve
        for curve in history.curves
    )
    assert len(to_html(diagnosis_of(), sample.record(), replace(history, curves=long))) < 150_000


@pytest.mark.parametrize("make", [faulty, hostile], ids=["faulty", "hostile"])
def test_the_markup_is_well_formed(make) -> None:  # type: ignore[no-untyped-def]
    reader = read(make())
    assert reader.unmatched == []
    assert reader.open == []


@pytest.mark.parametrize("make", [faulty, hostile], ids=["faulty", "hostile"])
def test_nothing_outside_the_file_is_referred_to(make) -> None:  # type: ignore[no-untyped-def]
    reader = read(make())
    for tag, attributes in reader.elements:
        assert tag not in ("img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "srcset", "style"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
    assert "url(" not in make().split("<body")[0].replace("img-src", "")


def test_hostile_names_open_no_element() -> None:
    scripts = [attributes for tag, attributes in read(hostile()).elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "pictures"}, {}]
    assert "alert('x')" in "".join(read(hostile()).text)


def test_json_cannot_end_its_element_and_reads_back() -> None:
    block = json_block({"name": HOSTILE, "value": float("nan")})
    assert not set("<>&") & set(block)
    assert json.loads(block) == {"name": HOSTILE, "value": "NaN"}


def test_the_policy_allows_this_script_and_style_and_nothing_else() -> None:
    page = faulty()
    (content,) = [a["content"] for _, a in read(page).elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert content is not None
    assert content.startswith("default-src 'none';")
    assert "unsafe" not in content
    script = page[page.rindex("<script>") + len("<script>") : page.rindex("</script>")]
    style = page[page.index("<style>") + len("<style>") : page.index("</style>")]
    for name, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in content


def test_verdict_and_findings_are_text_without_script() -> None:
    text = " ".join("".join(read(faulty()).text).split())
    assert "Gradients of SGD are never cleared: each step adds to the last" in text
    assert "1 error, 1 note in 15 checks" in text
    for words in (
        "64 of 64 watched",
        "0.1 to 10",
        "optimizer.zero_grad()",
        "the training loss stays at 2.31",
    ):
        assert words in text


def test_the_sections_come_in_the_order_of_reading() -> None:
    ids = re.findall(r'<section id="?([a-z]+)|<section [^>]*\bid="([a-z]+)"', faulty())
    order = [first or second for first, second in ids]
    assert order == ["findings", "map", "curves", "loop", "checks", "listening", "run"]


def test_every_link_in_the_page_has_its_target() -> None:
    reader = read(faulty())
    targets = {attributes["id"] for _, attributes in reader.elements if "id" in attributes}
    links = {attributes["href"] for tag, attributes in reader.elements if tag == "a"}
    assert {link.removeprefix("#") for link in links if link} <= targets


def test_the_line_that_a_finding_names_is_marked_in_the_loop() -> None:
    row = faulty().split('<ol class="loop">')[1].split("<li>")[3]
    assert "loss.backward()" in row
    assert 'href="#finding-1"' in row


def test_a_clean_page_says_what_was_checked_and_what_was_not() -> None:
    text = "".join(read(to_html(diagnosis_of(), sample.record(), sample.healthy())).text)
    assert "Nothing wrong found" in text
    assert "vanishing-gradients" in text
    assert "no validation data passed through the model" in text


def test_a_run_of_which_nothing_was_heard_makes_a_page_too() -> None:
    text = "".join(read(to_html(Diagnosis((), (), ()), RunRecord(), History())).text)
    assert "Nothing could be checked" in text
    assert "there is no map" in text


@pytest.mark.parametrize(
    ("finding", "history"),
    [(vanishing_gradients, sample.vanishing), (loss_not_finite, sample.turns_nan)],
    ids=["vanishing", "not a number"],
)
def test_a_finding_has_a_plot_with_its_healthy_band(finding, history) -> None:  # type: ignore[no-untyped-def]
    page = to_html(diagnosis_of(finding(history())), sample.record(), history())
    assert page.count('<svg class="plot"') == 1
    assert page.count('class="band" x=') == 1


def test_a_long_diff_is_cut_and_says_so() -> None:
    record = replace(sample.record(), git={"diff": "+x\n" * 300_000})
    page = to_html(diagnosis_of(), record, sample.healthy())
    assert len(page) < 150_000
    assert "888,000 more characters" in page

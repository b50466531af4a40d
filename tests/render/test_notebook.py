"""What notebooks are given: text, Markdown and HTML of the same words, with nothing in it that could do harm."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import stethoscope
from stethoscope.api import Ran
from stethoscope.core.finding import Diagnosis, Finding
from stethoscope.facts.run import RunRecord
from stethoscope.linting import lint
from stethoscope.rules.examples import flat, run

KINDS = {"text/plain", "text/markdown", "text/html"}
EVIL = "</b><script>alert(1)</script>"


class Tags(HTMLParser):
    """Names of all elements, and whether each is closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs)
        assert not any(name in ("src", "srcset", "action", "data") for name, _ in attrs)  # nothing is fetched
        self.names.add(tag)
        if tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def found() -> Diagnosis:
    from stethoscope.diagnosing.run import diagnose

    diagnosis = diagnose(run(flat(2.31), updates=0.005, norms=[0.5] * 12))
    assert diagnosis.findings
    return diagnosis


def shown(thing: object) -> dict[str, str]:
    bundle: dict[str, str] = thing._repr_mimebundle_()  # type: ignore[attr-defined]
    assert set(bundle) == KINDS
    tags = Tags(bundle["text/html"])
    assert not tags.open
    assert not tags.names & {"script", "style", "link", "iframe", "img"}
    kind, content = thing._mime_()  # type: ignore[attr-defined]
    assert (kind, content) == ("text/html", bundle["text/html"])
    assert type(content) is str
    return bundle


def test_a_finding_says_the_same_in_all_three() -> None:
    finding = found().findings[0]
    for text in shown(finding).values():
        assert "the loss does not fall" in text
        assert finding.rule in text
        assert "Train on one batch alone" in text.replace("\n", " ")


def test_a_diagnosis_begins_with_how_much_was_found() -> None:
    bundle = shown(found())
    assert "1 warning" in bundle["text/plain"].splitlines()[-1]
    assert bundle["text/markdown"].startswith("**1 warning")
    assert "1 warning" in bundle["text/html"]


def test_nothing_found_is_said_too() -> None:
    assert "nothing" in shown(Diagnosis((), (), ()))["text/html"]


def test_names_from_a_program_are_escaped() -> None:
    first: Finding = found().findings[0]
    place = replace(first.place, file=EVIL, line=3, text=EVIL, module=EVIL)
    bundle = shown(replace(first, title=f"the loss {EVIL}", cause=EVIL, place=place))
    assert "<script" not in bundle["text/html"]
    assert "&lt;script&gt;" in bundle["text/html"]


def test_a_run_and_a_review_show_themselves(tmp_path: Path) -> None:
    ran = Ran(0, False, found().findings, run(flat(2.31)), RunRecord(), tmp_path, found())
    assert str(tmp_path / "report.html") in shown(ran)["text/html"]
    shown(Ran(1, False, (), None, RunRecord(), None))

    (tmp_path / "train.py").write_text(
        "import torch\nfrom torch import nn\nx, y = torch.randn(64, 4), torch.zeros(64).long()\n"
        "model = nn.Linear(4, 2)\noptimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "for step in range(100):\n    loss = nn.functional.cross_entropy(model(x), y)\n"
        "    loss.backward()\n    optimizer.step()\n"
    )
    assert "missing-zero-grad" in shown(lint(tmp_path / "train.py", possible=True))["text/markdown"]


def test_an_inspection_shows_itself() -> None:
    pytest.importorskip("narwhals")
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    inspected = stethoscope.inspect_data(pandas.DataFrame({"a": rng.normal(size=60), "b": np.full(60, 5.0)}))
    assert "constant" in shown(inspected)["text/plain"]


def test_without_a_renderer_the_repr_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from stethoscope.core import display

    monkeypatch.setattr(display, "_renderers", [])
    assert found().findings[0]._repr_mimebundle_() is None

"""A notebook of marimo's, run without a browser: what it shows, and how its cells are named."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stethoscope.observe.training.sites import shorten

NOTEBOOK = """
import marimo

app = marimo.App()


@app.cell
def _():
    import torch
    from torch import nn

    import stethoscope

    x = torch.randn(64, 8)
    net = nn.Linear(8, 2)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    return net, nn, opt, stethoscope, x


@app.cell
def _(net, nn, opt, stethoscope, x):
    with stethoscope.watch(net, opt, proof=False) as heard:
        for step in range(130):
            nn.functional.cross_entropy(net(x), (x[:, 0] > 0).long()).backward()
            opt.step()
    heard
    return (heard,)


@app.cell
def _(heard):
    heard.findings
    return
"""


def test_a_cell_shows_the_report_and_its_own_line(tmp_path: Path) -> None:
    pytest.importorskip("marimo")
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    done = subprocess.run(
        [sys.executable, "-m", "marimo", "export", "html", "notebook.py", "-o", "page.html"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    page = json.dumps((tmp_path / "page.html").read_text("utf-8"))
    assert "gradients are never cleared" in page
    assert "cell 2:4" in page
    assert "Traceback" not in page
    assert "__marimo__" not in re.sub(r"__marimo__cell_\w+_\.py\W+line", "", page)


def test_marimo_is_given_one_text_and_never_a_bundle() -> None:
    formatting = pytest.importorskip("marimo._output.formatting")
    import stethoscope.api  # noqa: F401 -- appoints who renders
    from stethoscope.core.finding import Diagnosis

    nothing = Diagnosis((), (), ())

    shown = formatting.try_format(nothing)
    assert (shown.mimetype, type(shown.data)) == ("text/html", str)
    listed = formatting.try_format((nothing, nothing))
    assert listed.traceback is None


def test_a_cell_of_marimos_is_named_by_its_id_where_no_order_is_known() -> None:
    assert shorten("/tmp/marimo_1234/__marimo__cell_Xyz9_.py") == "cell Xyz9"

"""What is shown of a data set: the page, the JSON, the rows as CSV."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

nw = pytest.importorskip("narwhals")
pd = pytest.importorskip("pandas")

from stethoscope.core.finding import Diagnosis, Finding, Kind, Severity, Sureness, SuspectRow  # noqa: E402
from stethoscope.inspecting import Inspection, inspect_data  # noqa: E402
from stethoscope.render.inspection import inspection_json, suspects_csv  # noqa: E402

LARGEST_PAGE = 500_000


def table(rows: int = 400, columns: int = 30, seed: int = 0) -> object:
    """Numbers and categories, and a target."""
    rng = np.random.default_rng(seed)
    values = {f"n{i}": rng.normal(i, 1 + i, rows) for i in range(columns * 2 // 3)}
    values |= {f"c{i}": rng.choice(["red", "green", "blue"], rows) for i in range(columns - len(values))}
    return pd.DataFrame(values | {"y": rng.integers(0, 2, rows)})


@pytest.fixture(scope="module")
def both() -> Inspection:
    return inspect_data(table(), table(seed=1), target="y")


def test_a_page_of_thirty_columns_is_small_and_draws_each_of_them(both: Inspection) -> None:
    page = both.to_html()

    assert len(page.encode()) < LARGEST_PAGE
    assert page.count('class="column-plot"') >= 31
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_html_in_names_and_cells_is_text() -> None:
    frame = pd.DataFrame({"<script>alert(1)</script>": ["<img src=x onerror=alert(2)>", "b"] * 50, "y": [0, 1] * 50})
    page = inspect_data(frame, target="y").to_html()

    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;img src=x" in page


def test_the_json_is_strict_and_tells_of_each_column(both: Inspection) -> None:
    said = json.loads(json.dumps(inspection_json(both.diagnosis, both.data), allow_nan=False))

    assert [one["rows"] for one in said["data"]["sets"]] == [400, 400]
    assert {column["name"] for column in said["data"]["sets"][0]["columns"]} == set(table().columns)  # type: ignore[attr-defined]
    assert said["summary"]["broken"] == []


def _diagnosis(*values: tuple[str, str]) -> Diagnosis:
    rows = (SuspectRow("train.csv", 3, values, "it is odd", 0.25),)
    finding = Finding(
        "outliers", Kind.CAUSE, Severity.NOTE, Sureness.LIKELY, "a title", "A cause.", (), (), suspects=rows
    )
    return Diagnosis((finding,), ("outliers",), ())


def test_a_suspicious_row_is_a_line_of_the_csv() -> None:
    lines = list(csv.reader(io.StringIO(suspects_csv(_diagnosis(("city", "Rome, Italy"), ("age", "-3.5"))))))

    assert lines == [
        ["rule", "set", "row", "score", "why", "city", "age"],
        ["outliers", "train.csv", "3", "0.25", "it is odd", "Rome, Italy", "-3.5"],
    ]


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "\n=1", "\uff1d1+1"])
def test_a_cell_that_a_spreadsheet_would_run_is_text(cell: str) -> None:
    written = list(csv.reader(io.StringIO(suspects_csv(_diagnosis(("note", cell))))))[1][-1]

    assert written == "'" + cell

"""What is written of a data set: valid against its published schema, small for wide sets, whatever names hold."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

nw = pytest.importorskip("narwhals")
pd = pytest.importorskip("pandas")

from stethoscope.core.finding import SuspectRow  # noqa: E402
from stethoscope.inspecting import Inspection, enforce, inspect_data  # noqa: E402
from stethoscope.render.inspection import inspection_json, inspection_schema, suspects_csv  # noqa: E402
from stethoscope.render.json import json_text, schema  # noqa: E402

LARGEST_PAGE = 500_000


def table(seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "age": rng.integers(18, 90, 300),
        "height": np.r_[rng.normal(1.7, 0.1, 299), 170.0],
        "city": rng.choice(["Rome", "rome ", "=Oslo"], 300),
        "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 99, 300), "D"),
        "odd": [float("inf"), *[float("nan")] * 299],
        "y": rng.integers(0, 2, 300),
    })  # fmt: skip


def documents() -> dict[str, dict[str, Any]]:
    alone = inspect_data(table(), target="y")
    made = {
        "one set": alone,
        "two sets": inspect_data(table(), table(1), target="y"),
        "one row": inspect_data(table().iloc[:1]),
        "a schema": enforce(table(1).assign(age=900), alone.schema()),
    }
    return {name: inspection_json(one.diagnosis, one.data, one.took) for name, one in made.items()}


def test_the_json_is_valid_against_the_published_schema() -> None:
    validator = jsonschema.Draft202012Validator(inspection_schema())
    validator.check_schema(inspection_schema())

    for name, document in documents().items():
        assert list(validator.iter_errors(json.loads(json_text(document)))) == [], name
        assert document["findings"] or name == "one row", name


def test_the_schema_refuses_a_suspect_without_its_row() -> None:
    document = documents()["one set"]
    suspects = next(one["suspects"] for one in document["findings"] if one["suspects"])
    del suspects[0]["row"]

    assert not jsonschema.Draft202012Validator(inspection_schema()).is_valid(json.loads(json_text(document)))


def test_both_schemas_say_the_same_of_a_finding() -> None:
    assert inspection_schema()["$defs"] == schema()["$defs"]


def test_a_page_of_far_more_columns_than_it_draws_stays_small() -> None:
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.normal(size=(60, 1500)), columns=[f"c{i}" for i in range(1500)]).assign(c1499=1.0)
    page = inspect_data(wide, wide).to_html()

    assert len(page.encode()) < LARGEST_PAGE
    assert page.index("c1499") < page.index("c1498") if "c1498" in page else "c1499" in page


def _named(name: str) -> Inspection:
    """An inspection of a file of this name, with a suspicious row of another one."""
    one = inspect_data(table(), target="y")
    row = SuspectRow(name, 3, (("file", name),), "it is odd")
    findings = tuple(
        replace(each, place=replace(each.place, file=name), suspects=(row,)) for each in one.diagnosis.findings
    )
    data = replace(one.data, train=replace(one.data.train, name=name))
    return Inspection(replace(one.diagnosis, findings=findings), data)


def test_a_name_that_is_no_text_is_written_everywhere() -> None:
    one = _named("pictures/tr\udcffain.csv")
    stream = io.StringIO()
    one.show(stream)
    texts = [
        one.to_html(), suspects_csv(one.diagnosis), one.suggest(), stream.getvalue(),
        json_text(inspection_json(one.diagnosis, one.data)),
    ]  # fmt: skip

    for text in texts:
        text.encode()
    assert "tr\\udcffain.csv" in texts[1]


@pytest.mark.parametrize("name", ["<b>.csv", "\x1b[2Jx.csv", "a\"b'.csv", "a\nb.csv", "-rf.csv", "=1+1.csv"])
def test_a_name_steers_neither_terminal_nor_page_nor_spreadsheet(name: str) -> None:
    one = _named(name)
    stream = io.StringIO()
    one.show(stream)

    assert "\x1b" not in stream.getvalue()
    assert "<b>.csv" not in one.to_html()
    rows = list(csv.reader(io.StringIO(suspects_csv(one.diagnosis))))
    assert len(rows) == 1 + len(one.diagnosis.findings)
    assert not any(cell.startswith(("=", "-r", "+", "@")) for row in rows for cell in row)
    exec(one.suggest(), {"__name__": "repairing"})


def printed(seen: Inspection, *, verbose: bool = False) -> str:
    page = io.StringIO()
    seen.show(page, verbose=verbose)
    return " ".join(page.getvalue().split())


def test_what_was_not_given_is_said_in_a_line_and_in_full_when_asked() -> None:
    alone = inspect_data(table())
    short, whole = printed(alone), printed(alone, verbose=True)

    assert "without --test" in short
    assert "without --target" in short
    assert "there is only one data set" not in short
    assert "there is only one data set" in whole
    assert "--verbose" not in whole
    assert "without --test" not in printed(inspect_data(table(), table(1), target="y"))


def test_too_few_rows_are_said_whatever_is_missing_else() -> None:
    assert "there is only 1 row" in printed(inspect_data(table().iloc[:1], target="y"))


def test_commands_carry_the_names_of_the_call(tmp_path: Path) -> None:
    frame = table()
    frame = pd.concat([frame, frame.iloc[:30].assign(y=1 - frame["y"].iloc[:30])])
    file = tmp_path / "a table.csv"
    frame.to_csv(file, index=False)
    texts = [fix.text for one in inspect_data(str(file), target="y").diagnosis.findings for fix in one.fixes]

    assert f"    stethoscope data '{file}' --target y --suspects rows.csv" in "\n".join(texts).splitlines()
    assert not any("data TRAIN" in text for text in texts)

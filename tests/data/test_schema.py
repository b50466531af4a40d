"""A schema learned from a training set: saved, read, and enforced where a model serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

nw = pytest.importorskip("narwhals")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

from stethoscope.cli.data import command  # noqa: E402
from stethoscope.core.errors import BadFile  # noqa: E402
from stethoscope.core.finding import Finding, Severity  # noqa: E402
from stethoscope.facts.schema import ColumnSchema, Schema  # noqa: E402
from stethoscope.inspecting import enforce, inspect_data  # noqa: E402
from stethoscope.render.pandera import to_pandera  # noqa: E402
from stethoscope.store.schemas import from_document, load_schema, save_schema, to_document  # noqa: E402

ROWS = 2000


def table(seed: int = 0, rows: int = ROWS) -> Any:
    rng = np.random.default_rng(seed)
    gap = rng.normal(size=rows)
    gap[rng.random(rows) < 0.1] = np.nan
    return pd.DataFrame({
        "id": rng.permutation(rows),
        "age": rng.integers(18, 90, rows),
        "height": rng.normal(1.7, 0.1, rows),
        "gap": gap,
        "city": rng.choice(["Paris", "Rome", "Oslo"], rows),
        "member": rng.random(rows) < 0.5,
        "joined": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, rows), "D"),
        "y": rng.integers(0, 2, rows),
    })  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> Schema:
    return inspect_data(table(), target="y").schema()


def said(frame: Any, schema: Schema) -> dict[str, Finding]:
    return {one.rule: one for one in enforce(frame, schema).diagnosis.findings}


def test_a_schema_holds_what_the_training_set_showed(schema: Schema) -> None:
    known = {column.name: column for column in schema.columns}

    assert known["city"].categories == ("Oslo", "Paris", "Rome")
    assert (known["age"].least, known["age"].greatest) == (pytest.approx(0.25), pytest.approx(106.75))
    assert known["age"].whole
    assert known["id"].unique
    assert not known["age"].unique
    assert not known["height"].unique
    assert known["gap"].nullable
    assert known["gap"].most_missing == pytest.approx(0.15, abs=0.02)
    assert not known["height"].nullable
    assert {name: column.kind for name, column in known.items()} == {
        "id": "number", "age": "number", "height": "number", "gap": "number", "city": "words", "member": "truth",
        "joined": "date", "y": "number",
    }  # fmt: skip
    assert not known["y"].required


def test_a_schema_is_the_same_after_it_was_saved(schema: Schema, tmp_path: Path) -> None:
    save_schema(schema, tmp_path / "schema.json")

    assert load_schema(tmp_path / "schema.json") == schema
    column = next(one for one in json.loads((tmp_path / "schema.json").read_text())["columns"] if one["name"] == "city")
    assert column == {
        "name": "city", "kind": "words", "required": True, "nullable": False, "categories": ["Oslo", "Paris", "Rome"],
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("rows", [1, 30, 2000])
def test_data_of_the_same_kind_keeps_to_it(schema: Schema, seed: int, rows: int) -> None:
    frame = table(seed, rows).drop(columns="y")

    assert said(frame, schema) == {}
    assert said(pl.from_pandas(frame), schema) == {}


def test_a_column_that_is_gone_is_an_error(schema: Schema) -> None:
    found = said(table(1).drop(columns="age"), schema)

    assert list(found) == ["schema-violation"]
    assert found["schema-violation"].severity is Severity.ERROR
    assert "`age`" in found["schema-violation"].title
    assert found["schema-violation"].place.columns == ("age",)


def test_a_column_of_another_kind_is_an_error(schema: Schema) -> None:
    found = said(table(1).assign(age="old"), schema)["schema-violation"]

    assert (found.severity, found.evidence[0].seen, found.evidence[0].healthy) == (Severity.ERROR, "words", "number")


def test_further_columns_are_a_note(schema: Schema) -> None:
    assert said(table(1).assign(new=1.0), schema)["schema-violation"].severity is Severity.NOTE


def test_numbers_that_come_twice_are_named_with_their_rows(schema: Schema) -> None:
    frame = table(1)
    frame.loc[7, "id"] = frame.loc[3, "id"]

    assert [row.row for row in said(frame, schema)["schema-violation"].suspects] == [7]


def test_values_out_of_range_are_named_with_their_rows(schema: Schema) -> None:
    frame = table(1)
    frame.loc[[5, 9], "age"] = [900, 170]
    found = said(frame, schema)["out-of-range-values"]

    assert [row.row for row in found.suspects] == [5, 9]
    assert found.severity is Severity.WARNING
    assert found.place.columns == ("age",)


def test_dates_are_shown_as_dates(schema: Schema) -> None:
    frame = table(1)
    frame.loc[5, "joined"] = pd.Timestamp("2044-02-03")
    found = said(frame, schema)["out-of-range-values"]

    assert dict(found.suspects[0].values)["joined"] == "2044-02-03"
    assert found.evidence[0].seen.endswith("2044-02-03 00:00:00")


def test_a_value_a_little_beyond_is_a_note(schema: Schema) -> None:
    frame = table(1)
    frame.loc[5, "age"] = 110

    assert said(frame, schema)["out-of-range-values"].severity is Severity.NOTE


def test_an_infinite_value_is_out_of_range(schema: Schema) -> None:
    frame = table(1)
    frame.loc[5, "height"] = np.inf

    assert [row.row for row in said(frame, schema)["out-of-range-values"].suspects] == [5]


def test_new_words_are_named(schema: Schema) -> None:
    frame = table(1)
    frame.loc[:99, "city"] = "Bonn"
    found = said(frame, schema)["new-categories"]

    assert found.severity is Severity.WARNING
    assert "'Bonn'" in found.evidence[0].what
    assert len(found.suspects) == 100


def test_missing_values_that_rise_are_told_from_those_that_were_there(schema: Schema) -> None:
    frame = table(1)
    frame.loc[:99, "gap"] = np.nan
    assert said(frame, schema) == {}

    frame.loc[:999, "gap"] = np.nan
    frame.loc[:99, "height"] = np.nan
    found = said(frame, schema)["missing-values-rise"]
    assert set(found.place.columns or ()) == {"gap", "height"}


def test_several_columns_are_one_finding(schema: Schema) -> None:
    found = enforce(table(1).assign(age=900, height=90.0), schema).diagnosis.findings

    assert [one.rule for one in found] == ["out-of-range-values"]
    assert set(found[0].place.columns or ()) == {"age", "height"}
    assert len(found[0].title) <= 72


def test_no_rows_break_nothing(schema: Schema) -> None:
    assert said(table(1).iloc[:0], schema) == {}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "is no schema"),
        ({"format": "stethoscope schema", "version": 9, "columns": []}, "version 9"),
        ({"format": "stethoscope schema", "version": 1}, "no list of columns"),
        ({"format": "stethoscope schema", "version": 1, "columns": [{"name": "a", "kind": "int"}]}, "kind is 'int'"),
        ({"format": "stethoscope schema", "version": 1, "columns": [{"name": "a", "min": 3}]}, "unknown key 'min'"),
        ({"format": "stethoscope schema", "version": 1, "columns": [{"name": "a", "least": True}]}, "least is True"),
        ({"format": "stethoscope schema", "version": 1, "columns": [{"kind": "number"}]}, "column 1 has no name"),
    ],
)
def test_a_file_that_is_no_schema_is_refused_with_what_is_wrong(document: Any, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        from_document(document)


def test_a_schema_can_be_handed_over_as_values(schema: Schema) -> None:
    assert enforce(table(1), to_document(schema)).diagnosis.findings == ()


def test_the_source_for_pandera_is_python(schema: Schema) -> None:
    compile(to_pandera(schema), "schema.py", "exec")
    evil = Schema((ColumnSchema("a'\nimport os #", "words", categories=("x'\n", '"""')),))
    compile(to_pandera(evil), "schema.py", "exec")


def test_pandera_takes_what_keeps_to_it_and_refuses_what_does_not(schema: Schema) -> None:
    pytest.importorskip("pandera.pandas", reason="pandera is not installed")
    space: dict[str, Any] = {}
    exec(to_pandera(schema), space)

    assert len(space["schema"].validate(table(1))) == ROWS
    for column, value in (("age", 900), ("age", 30.5), ("city", "Bonn"), ("height", None), ("id", 3), ("gap", None)):
        with pytest.raises(Exception, match=column):
            space["schema"].validate(table(1).assign(**{column: value}))


def test_pandera_takes_dates_in_the_forms_that_training_had() -> None:
    days = (pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(400) % 300, "D")).strftime("%Y-%m-%d").to_series()
    days.iloc[::20] = "03/27/2024"
    frame = pd.DataFrame({"day": days.to_numpy(), "a": np.arange(400.0)})
    source = to_pandera(inspect_data(frame).schema())
    assert "format='mixed'" in source
    pytest.importorskip("pandera.pandas", reason="pandera is not installed")
    space: dict[str, Any] = {}
    exec(source, space)

    assert len(space["schema"].validate(frame)) == 400
    with pytest.raises(Exception, match="day"):
        space["schema"].validate(frame.assign(day="1901-01-01"))


@pytest.fixture
def reads_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line with files read by pandas: what is tested here is not how files are read."""
    from stethoscope.observe.data import opening
    from stethoscope.observe.data.frames import FrameTable

    def read(source: Any, name: str) -> FrameTable:
        return FrameTable(nw.from_native(pd.read_csv(source)), str(source))

    monkeypatch.setattr(opening, "open_table", read)


@pytest.mark.usefixtures("reads_csv")
def test_the_command_line_saves_a_schema_and_holds_data_against_it(tmp_path: Path) -> None:
    table().drop(columns="joined").to_csv(tmp_path / "train.csv", index=False)
    table(1).drop(columns="joined").to_csv(tmp_path / "good.csv", index=False)
    table(1).drop(columns="joined").assign(age=900).to_csv(tmp_path / "bad.csv", index=False)

    def data(*words: str) -> Any:
        words = tuple(str(tmp_path / word) if "." in word else word for word in words)
        return CliRunner().invoke(command, words, standalone_mode=False)

    done = data("train.csv", "--target", "y", "--schema", "schema.json", "--pandera", "schema.py", "--quiet")
    assert (done.return_value, done.output) == (0, "")
    compile((tmp_path / "schema.py").read_text(), "schema.py", "exec")

    assert data("good.csv", "--against", "schema.json", "--fail-on", "note").return_value == 0
    done = data("bad.csv", "--against", "schema.json", "--fail-on", "warning", "--json", "found.json")
    assert done.return_value == 1
    assert "`age` lies out of its range" in done.output
    assert json.loads((tmp_path / "found.json").read_text())["findings"][0]["rule"] == "out-of-range-values"


@pytest.mark.usefixtures("reads_csv")
@pytest.mark.parametrize("library", [[], ["pandas"], ["polars"]])
def test_the_command_line_prints_lines_that_repair(tmp_path: Path, library: list[str]) -> None:
    table().assign(always=3).to_csv(tmp_path / "train.csv", index=False)
    done = CliRunner().invoke(
        command, [str(tmp_path / "train.csv"), "--target", "y", "--suggest", *library], standalone_mode=False
    )
    exec(done.output, {"__name__": "__main__"})

    assert "always" not in (tmp_path / "train.repaired.csv").read_text().splitlines()[0]


@pytest.mark.usefixtures("reads_csv")
def test_lines_for_an_unknown_library_are_refused(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "train.csv", index=False)
    done = CliRunner().invoke(command, [str(tmp_path / "train.csv"), "--suggest", "dplyr"], standalone_mode=False)

    assert "choose pandas or polars" in str(done.exception)


def test_a_number_that_stands_for_nothing_is_no_part_of_a_range() -> None:
    frame = table()
    frame.loc[frame.index[:100], "age"] = -999
    learned = {column.name: column for column in inspect_data(frame, target="y").schema().columns}["age"]

    assert learned.least is not None
    assert learned.least >= 0
    assert learned.greatest is not None
    assert learned.greatest < 120
    assert learned.nullable
    assert learned.most_missing == pytest.approx(0.1)


def with_nothing(seed: int = 0, count: int = 100) -> Any:
    """The table with ages that nobody knows, as -999."""
    frame = table(seed)
    frame.loc[frame.index[:count], "age"] = -999
    return frame


@pytest.mark.parametrize("seed", range(3))
def test_data_is_not_accused_of_the_spelling_of_nothing_that_the_schema_was_learned_with(seed: int) -> None:
    learned = inspect_data(with_nothing(), target="y").schema()

    assert {one.name: one.missing_as for one in learned.columns if one.missing_as} == {"age": (-999.0,)}
    assert said(with_nothing(), learned) == {}
    assert said(with_nothing(seed, 60).drop(columns="y"), learned) == {}
    assert said(with_nothing().iloc[:1], learned) == {}
    assert said(with_nothing().iloc[99:101], learned) == {}
    assert enforce(with_nothing(), to_document(learned)).diagnosis.findings == ()


def test_more_of_a_number_that_stands_for_nothing_is_a_rise_and_its_rows_are_shown() -> None:
    learned = inspect_data(with_nothing(), target="y").schema()
    found = said(with_nothing(1, 900), learned)

    assert list(found) == ["missing-values-rise"]
    assert len(found["missing-values-rise"].suspects) == 900
    assert float(dict(found["missing-values-rise"].suspects[0].values)["age"]) == -999


def test_beside_a_number_that_stands_for_nothing_others_are_still_out_of_range() -> None:
    learned = inspect_data(with_nothing(), target="y").schema()
    frame = with_nothing(1)
    frame.loc[[500, 501], "age"] = [-5000, 900]
    found = said(frame, learned)

    assert list(found) == ["out-of-range-values"]
    assert [row.row for row in found["out-of-range-values"].suspects] == [500, 501]


def test_numbers_that_stand_for_nothing_are_numbers() -> None:
    document = {"format": "stethoscope schema", "version": 1, "columns": [{"name": "a", "missing_as": ["x"]}]}
    with pytest.raises(BadFile, match="missing_as is"):
        from_document(document)


def test_pandera_takes_a_number_that_stands_for_nothing_for_missing() -> None:
    learned = inspect_data(with_nothing(), target="y").schema()
    compile(to_pandera(learned), "schema.py", "exec")
    pytest.importorskip("pandera.pandas", reason="pandera is not installed")
    space: dict[str, Any] = {}
    exec(to_pandera(learned), space)

    assert len(space["schema"].validate(with_nothing())) == ROWS
    for frame in (with_nothing(1, 900), with_nothing().assign(age=900)):
        with pytest.raises(Exception, match="age"):
            space["schema"].validate(frame)

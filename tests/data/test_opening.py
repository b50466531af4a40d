"""All kinds of data that a user may have, and what is said of those that cannot be read."""

# ruff: noqa: E402 (what a test needs may not be installed)

from __future__ import annotations

import builtins
import datetime as dt
import sys
import time
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

pytest.importorskip("narwhals")
pl = pytest.importorskip("polars")
pd = pytest.importorskip("pandas")
torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from stethoscope.core.errors import MissingPiece, UsageError
from stethoscope.facts.data import Column, Profile
from stethoscope.inspecting import inspect_data, task_of
from stethoscope.observe.data.opening import open_table
from stethoscope.observe.data.profiling import profile, sampled
from stethoscope.observe.data.repeats import keyed, repeats_of


def of(source: Any) -> Profile:
    return profile(open_table(source, "train"))


def only(source: Any) -> Column:
    (column,) = of(source).columns
    return column


def kinds(source: Any) -> dict[str, str]:
    return {column.name: column.kind for column in of(source).columns}


class Squares(Dataset):
    """Samples as (inputs, target), one at a time."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return torch.full((2, 2), float(place)), place % 3


class Endless(IterableDataset):
    """Samples without a length and without an end."""

    def __iter__(self) -> Any:
        place = 0
        while True:
            yield {"features": np.array([place, 2.0]), "label": place % 2}
            place += 1


@pytest.mark.parametrize("source", [
    np.arange(20.0).reshape(10, 2), torch.arange(20.0).reshape(10, 2), [[1.0, 2.0]] * 10,
    {"x": np.arange(20.0).reshape(10, 2)}, DataLoader(TensorDataset(torch.zeros(10, 2)), batch_size=3),
    torch.zeros(10, 2, dtype=torch.bfloat16),
])  # fmt: skip
def test_numbers_in_rows_and_columns(source: Any) -> None:
    assert kinds(source) == {"x0": "number", "x1": "number"}
    assert of(source).rows == 10


def test_inputs_and_targets() -> None:
    expected = {"x0": "number", "x1": "number", "x2": "number", "x3": "number", "y": "number"}
    for source in (Squares(), DataLoader(Squares(), batch_size=4), DataLoader(Squares(), batch_size=None)):
        assert kinds(source) == expected
        assert [column.numbers.distinct for column in of(source).columns] == [10, 10, 10, 10, 3]
    assert kinds((np.zeros((5, 2)), np.arange(5))) == {"x0": "number", "x1": "number", "y": "number"}


def test_a_loader_without_an_end_is_read_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    from stethoscope.observe.data import collected

    monkeypatch.setattr(collected, "MOST_SAMPLES", 50)
    assert kinds(Endless()) == {"features0": "number", "features1": "number", "label": "number"}
    assert of(Endless()).rows == 50


def test_rows_as_dicts_and_structured_arrays() -> None:
    assert kinds([{"a": 1, "b": "x"}, {"a": None}, {"a": 3, "c": True}]) == {
        "a": "number",
        "b": "category",
        "c": "category",
    }
    rows = np.array([(1, 2.5, "x"), (2, 3.5, "y")], dtype=[("a", int), ("b", float), ("c", "U5")])
    assert kinds(rows) == {"a": "number", "b": "number", "c": "category"}


def test_labels_that_are_few_whole_numbers_are_classes_however_many_rows() -> None:
    labels = {"y": np.arange(100_000) % 2, "size": np.random.default_rng(0).normal(0, 1, 100_000)}
    assert task_of(of(labels), "y") == "classification"
    assert task_of(of(labels), "size") == "regression"


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "arrays"])
def test_odd_columns_in_every_library(library: str) -> None:
    start = dt.datetime(2021, 5, 1, tzinfo=dt.UTC)
    frame = pl.DataFrame({
        "decimal": [Decimal("1.50"), Decimal("2.25"), None, Decimal("9.99")],
        "huge": [2**60, 2**60 + 1, 10**9, 7],
        "zoned": pl.Series([start, start, None, start + dt.timedelta(days=1)], dtype=pl.Datetime("us", "Europe/Rome")),
        "span": [dt.timedelta(seconds=5), dt.timedelta(days=1), None, dt.timedelta(0)],
        "kinds": pl.Series(["a", "b", None, "a"], dtype=pl.Categorical),
        "lists": [[1], [2, 3], [], None],
        "structs": [{"a": 1}, {"a": 2}, {"a": 1}, {"a": 4}],
        "nothing": pl.Series([None] * 4, dtype=pl.String),
        "infinite": [1.0, float("inf"), float("-inf"), None],
        "clock": [dt.time(1, 2), None, dt.time(3), dt.time(1, 2)],
        "raw": [b"a", b"b", b"c", None],
    })  # fmt: skip
    source: Any = {"pandas": frame.to_pandas, "pyarrow": frame.to_arrow, "polars": lambda: frame,
                   "arrays": lambda: {name: frame[name].to_list() for name in frame.columns}}[library]()  # fmt: skip
    made = {column.name: column for column in of(source).columns}
    assert made["decimal"].kind == "number"
    assert made["decimal"].numbers.mean == pytest.approx(4.58)
    assert made["huge"].numbers.greatest == 2.0**60
    assert made["nothing"].kind == "empty"
    assert made["infinite"].numbers.infinite == 2
    assert made["lists"].kind == "nested"
    if library != "arrays":
        assert made["zoned"].kind == "date"
        assert made["zoned"].numbers.least == start.timestamp()
        assert made["span"].numbers.greatest == 86400
        assert made["kinds"].words.top == (("a", 2), ("b", 1))
        assert made["raw"].kind == "nested"
        assert [column.nulls for column in made.values()][:5] == [1, 0, 1, 1, 1]
    table = open_table(source, "")
    assert table.sample(10).count == 4
    assert np.unique(table.keys(["huge"])).size == 4
    assert np.unique(table.keys(["lists"])).size == 4
    assert inspect_data(source).diagnosis.broken == ()


def test_texts_that_are_numbers_or_dates_are_both() -> None:
    table = open_table({
        "number": ["1.5", "2", "N/A", "-3e2"] * 5, "comma": ["1,5", "2,25", "3,0", "4"] * 5,
        "thousands": ["1,500", "2,250,000", "12", ""] * 5, "date": ["2020-01-31", "2021-02-28", "-", "1999-12-31"] * 5,
        "slashed": ["31/01/2020", "01/02/2020", "5/1/2020", None] * 5, "unclear": ["01/02/2020", "03/04/2020"] * 10,
        "code": ["00501", "10001", "94110", "02139"] * 5, "mixed": ["1", "2", "x", "y"] * 5, "word": ["a", "b"] * 10,
    }, "")  # fmt: skip
    made = profile(table)
    assert {column.name: column.kind for column in made.columns} == {
        "number": "number", "comma": "number", "thousands": "number", "date": "date", "slashed": "date",
        "unclear": "category", "code": "category", "mixed": "category", "word": "category",
    }  # fmt: skip
    least = {column.name: column.numbers.least for column in made.columns if column.numbers}
    assert (least["number"], least["comma"], least["thousands"]) == (-300.0, 1.5, 12.0)
    assert least["slashed"] == dt.datetime(2020, 1, 5, tzinfo=dt.UTC).timestamp()
    assert all(column.words is not None for column in made.columns)
    assert made.column("number").missing == 5
    values = sampled(table, made, 100).values
    assert values["number"].dtype == values["date"].dtype == np.float64
    assert np.isnan(values["number"]).sum() == 5
    assert values["word"].dtype == object


def test_names_that_occur_twice_or_are_no_texts() -> None:
    frame = pd.DataFrame([[1, 2, 3]] * 3, columns=["a", "a", 7])
    assert list(kinds(frame)) == ["a", "a (2)", "7"]
    assert list(frame.columns) == ["a", "a", 7]


def test_five_thousand_columns_take_seconds() -> None:
    rng = np.random.default_rng(0)
    began = time.process_time()
    found = inspect_data({f"x{place}": rng.normal(place, 1, 200) for place in range(5000)})
    assert len(found.data.train.profile.columns) == 5000
    assert time.process_time() - began < 30


def test_equal_rows_and_rows_that_contradict_each_other() -> None:
    table = open_table({
        "a": [1.0, 2.0, 1.0, 3.0, 2.0, 4.0, 4.0, 5.0, -0.0, 0.0],
        "b": ["x", "y", "x", "z", "y", None, None, "w", "v", "v"],
        "t": [0.0, 1.0, 0.0, 0.0, 0.0, np.nan, 1.0, 1.0, 1.0, 1.0],
    }, "")  # fmt: skip
    found = repeats_of(table, keyed(table, "t"))
    assert (found.exact, found.examples) == (2, ((0, 2), (8, 9)))
    assert (found.conflicting, found.conflicts) == (2, ((1, 4),))  # 5 and 6: one of them has no target


@pytest.mark.parametrize(("source", "said"), [
    (None, "which is None"), (7, "which is a int"), ([], "an empty list"), ({}, "an empty dict"),
    ({"a": [1, 2], "b": [1]}, "'b' has 1 rows, 'a' has 2"), (np.zeros((3, 4, 5)), "array.reshape(len(array), -1)"),
    ({"a": 3}, "is one value"), (object(), "which is a object"),
    (DataLoader(TensorDataset(torch.zeros(0, 2))), "no samples"),
])  # fmt: skip
def test_what_cannot_be_read_is_said_in_one_sentence(source: Any, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        profile(open_table(source, "train"))
    assert said in str(raised.value)
    assert str(raised.value).startswith("cannot read train") or "train" in str(raised.value)


def test_samples_of_several_shapes_are_no_table() -> None:
    with pytest.raises(UsageError, match="samples differ in shape"):
        of([torch.zeros(2), torch.zeros(3)])


def test_without_narwhals_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "narwhals":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "narwhals", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingPiece, match=r"pip install 'stethoscope\[data\]'"):
        open_table("train.csv", "train")


def test_a_hugging_face_data_set_is_read() -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict({"text": ["a b", "c d", "e"], "label": [0, 1, 0]})
    assert kinds(made) == {"text": "category", "label": "number"}
    assert of(made.select([0, 2])).rows == 2
    assert of(made.to_iterable_dataset()).rows == 3
    with pytest.raises(UsageError, match="holds several data sets"):
        of(datasets.DatasetDict({"train": made}))


@pytest.mark.parametrize(("source", "said"), [
    (pd.DataFrame(), "train has no columns"), (pl.DataFrame({"a": []}), "train has no rows"),
    (np.zeros((0, 3)), "no rows"),
])  # fmt: skip
def test_frames_without_rows_are_said_to_have_none(source: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        inspect_data(source)

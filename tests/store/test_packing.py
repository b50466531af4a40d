"""What goes through JSON comes back as it was."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray

from stethoscope.core.errors import BadFile
from stethoscope.core.finding import Evidence, Finding, Fix, Kind, Place, Plot, Severity, Sureness
from stethoscope.facts.code import Site
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import Batches, Birth, Curve, History, Layer, LossCall, Optimizer, Units
from stethoscope.store.packing import pack, unpack

DTYPES = ["<f4", "<f8", "<i8", "<i4", "<u1", "|b1", ">f4"]

texts = st.text(max_size=12) | st.sampled_from(["NaN", "Infinity", "-Infinity", "$text"])
numbers = st.floats() | st.integers(-(2**60), 2**60)
shapes = st.lists(st.integers(0, 9), max_size=3).map(tuple)
sites = st.none() | st.builds(Site, texts, st.integers(0, 9999), texts, texts)
steps = nps.arrays(np.int64, st.integers(0, 5))
values = nps.arrays(np.float64, st.integers(0, 5))
scalars = st.none() | st.booleans() | numbers | texts
plain = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
arrays = st.sampled_from(DTYPES).flatmap(
    lambda name: nps.arrays(np.dtype(name), nps.array_shapes(min_dims=0, min_side=0))
)

small = st.integers(0, 4)
tables = nps.arrays(np.int64, st.tuples(small, small))
groups = st.dictionaries(texts, st.floats() | st.booleans() | texts, max_size=3)
losses = st.builds(LossCall, texts, site=sites, chance=st.floats(), class_counts=shapes)
histories = st.builds(
    History,
    steps=st.integers(0, 10**9),
    finished=st.booleans(),
    parts=st.lists(texts, max_size=3).map(tuple),
    layers=st.lists(st.builds(Layer, texts, texts, output_shape=shapes), max_size=3).map(tuple),
    optimizers=st.lists(
        st.builds(
            Optimizer,
            texts,
            site=sites,
            groups=st.lists(groups, max_size=2).map(tuple),
            parameters_moved=st.none() | st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
    losses=st.lists(losses, max_size=2).map(tuple),
    curves=st.lists(st.builds(Curve, texts, texts, texts, steps=steps, values=values), max_size=2).map(tuple),
    batches=st.builds(Batches, steps=steps, class_counts=tables),
    units=st.lists(st.builds(Units, small, small, steps, steps, steps), max_size=2).map(tuple),
    birth=st.none() | st.builds(Birth, small, texts, site=sites, largest_weight=st.floats()),
)
records = st.builds(
    RunRecord,
    command=st.lists(texts, max_size=3).map(tuple),
    exit_code=st.none() | st.integers(0, 255),
    git=st.dictionaries(texts, plain, max_size=3),
    seeds=st.dictionaries(texts, st.integers(0, 2**63), max_size=3),
    arguments=st.dictionaries(texts, plain, max_size=3),
    optimizers=st.lists(st.dictionaries(texts, plain, max_size=2), max_size=2).map(tuple),
    results=st.dictionaries(texts, st.floats(), max_size=3),
)


def through_json(value: Any) -> Any:
    """As a file would hold it; strict, so that a bare NaN fails here."""
    return unpack(type(value), json.loads(json.dumps(pack(value), allow_nan=False)))


def same(a: Any, b: Any) -> bool:
    """Equality that knows NaN and arrays."""
    if isinstance(a, np.ndarray):
        alike = isinstance(b, np.ndarray) and a.dtype == b.dtype
        return alike and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


@given(histories)
def test_a_history_comes_back_as_it_was(history: History) -> None:
    assert same(through_json(history), history)


@given(records)
def test_a_record_comes_back_as_it_was(record: RunRecord) -> None:
    assert same(through_json(record), record)


@given(arrays)
def test_an_array_keeps_its_numbers_and_its_shape(array: NDArray[Any]) -> None:
    back = unpack(np.ndarray, json.loads(json.dumps(pack(array))))
    assert back.shape == array.shape
    assert back.dtype == array.dtype.newbyteorder("<")
    assert np.array_equal(back, array, equal_nan=array.dtype.kind == "f")


def test_an_array_that_comes_back_can_be_written_to() -> None:
    back = unpack(np.ndarray, pack(np.arange(3)))
    back[0] = 7
    assert back[0] == 7


def test_a_finding_comes_back_with_those_folded_under_it() -> None:
    plot = Plot((0.0, 1.0), (math.nan, math.inf), "loss", (None, 1.0), log=True)
    evidence = (Evidence("a", "NaN", math.nan, plot=plot), Evidence("b", 3.0, "0"))
    place = Place("train.py", 3, steps=(0, 9), columns=("x",))
    words = Kind.CAUSE, Severity.ERROR, Sureness.LIKELY
    finding = Finding("dead-relu", *words, "title", "cause", evidence, (Fix("fix"),), place)
    assert same(through_json(replace(finding, follows=(finding,))), replace(finding, follows=(finding,)))


def test_a_text_that_reads_like_a_number_stays_a_text() -> None:
    record = RunRecord(arguments={"name": "NaN", "value": math.nan})
    back = through_json(record).arguments
    assert back["name"] == "NaN"
    assert math.isnan(back["value"])


def test_a_field_of_a_newer_version_is_left_out() -> None:
    assert unpack(Site, {"file": "a.py", "line": 3, "column": 9}) == Site("a.py", 3)


def test_a_missing_field_takes_its_default() -> None:
    assert unpack(RunRecord, {"id": "x"}) == RunRecord(id="x")


def test_a_missing_field_without_a_default_is_named() -> None:
    with pytest.raises(BadFile, match=r"no Site.*line"):
        unpack(Site, {"file": "a.py"})


def test_a_value_of_another_shape_is_named() -> None:
    with pytest.raises(BadFile, match="expected a list"):
        unpack(RunRecord, {"command": "train.py"})


def test_what_json_does_not_know_becomes_its_text() -> None:
    strange = {"path": Path("a"), "count": np.int64(3), "set": {2, 1}}
    assert pack(strange) == {"path": "a", "count": 3, "set": [1, 2]}

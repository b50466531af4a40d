"""The lines that `--suggest` prints: run on the frame that they are for, the finding is gone and nothing got worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

nw = pytest.importorskip("narwhals")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

from stethoscope.core.finding import Diagnosis, Severity  # noqa: E402
from stethoscope.core.repair import DropColumns, FillIn, Repairs  # noqa: E402
from stethoscope.diagnosing.inspect import inspect  # noqa: E402
from stethoscope.diagnosing.repairing import repairs  # noqa: E402
from stethoscope.inspecting import Inspection, inspect_data  # noqa: E402
from stethoscope.render.script import to_script  # noqa: E402
from stethoscope.rules.columns import of_numbers, of_words, one_set  # noqa: E402

ROWS = 600
MAKES: dict[str, Callable[[Any], Any]] = {"pandas": lambda frame: frame, "polars": pl.from_pandas}


def healthy(seed: int = 0) -> Any:
    """A table with nothing to say about."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "height": rng.normal(1.7, 0.1, ROWS),
        "weight": rng.normal(0.7, 0.1, ROWS),
        "city": rng.choice(["Paris", "Rome", "Oslo"], ROWS),
        "y": rng.integers(0, 2, ROWS),
    })  # fmt: skip


def _some(rng: np.random.Generator, share: float, odd: object, values: Any) -> Any:
    return np.where(rng.random(ROWS) < share, odd, values)


def _price(value: float, place: int) -> str:
    text = f"{value:.2f}"
    return (text, text.replace(".", ","), f"$ {text}")[place % 3]


def _day(place: int, european: bool) -> str:
    day, month = 1 + place % 28, 1 + place % 12
    return f"{day:02d}/{month:02d}/2024" if european else f"2024-{month:02d}-{day:02d}"


def _names(rng: np.random.Generator) -> Any:
    return rng.choice(["RenÃ©", "Ann", "Bob"], ROWS)


FAULTS: dict[str, tuple[str, Callable[[np.random.Generator], dict[str, Any]]]] = {
    "a sentinel": ("missing-values", lambda rng: {"age": _some(rng, 0.05, -999, rng.integers(18, 90, ROWS))}),
    "a sentinel among numbers with fractions": (
        "missing-values",
        lambda rng: {"age": _some(rng, 0.05, -999.0, rng.normal(45, 9, ROWS).round(1))},
    ),
    "NaN": ("missing-values", lambda rng: {"age": _some(rng, 0.1, np.nan, rng.normal(size=ROWS))}),
    "words for nothing": (
        "missing-values",
        lambda rng: {"shop": _some(rng, 0.1, "N/A", rng.choice(["a b", "c d"], ROWS))},
    ),
    "a target that is missing": (
        "missing-values",
        lambda rng: {"y": _some(rng, 0.02, np.nan, rng.integers(0, 2, ROWS))},
    ),
    "numbers in three forms": (
        "mixed-formats",
        lambda rng: {"price": [_price(value, place) for place, value in enumerate(rng.uniform(1, 3, ROWS))]},
    ),
    "a word among numbers": (
        "mixed-formats",
        lambda rng: {"price": _some(rng, 0.02, "free", [f"{value:.1f}" for value in rng.uniform(1, 3, ROWS)])},
    ),
    "dates in two forms": (
        "mixed-formats",
        lambda rng: {"day": [_day(place, european=place % 4 == 0) for place in rng.permutation(ROWS)]},
    ),
    "spellings": ("mixed-formats", lambda rng: {"shop": rng.choice(["Lidl", "lidl ", "LIDL", "Spar"], ROWS)}),
    "damaged letters": ("mixed-formats", lambda rng: {"name": _names(rng)}),
    "a constant": ("constant-feature", lambda rng: {"sensor": np.full(ROWS, 3.0)}),
    "numbers of rows": ("identifier-feature", lambda rng: {"id": rng.permutation(ROWS)}),
    "a slip": ("outliers", lambda rng: {"width": np.r_[rng.normal(1.7, 0.1, ROWS - 1), 170.0]}),
    "a long tail": ("skewed-feature", lambda rng: {"income": rng.lognormal(3, 1.6, ROWS)}),
    "a long tail that begins at 0": ("skewed-feature", lambda rng: {"visits": np.floor(rng.lognormal(0.5, 1.8, ROWS))}),
    "two long tails": (
        "skewed-feature",
        lambda rng: {"change": rng.lognormal(0, 1.8, ROWS) * rng.choice([-1, 1], ROWS)},
    ),
    "a wide column": ("unnormalized-input", lambda rng: {"pay": rng.normal(0, 1e5, ROWS)}),
    "sorted labels": ("unshuffled-data", lambda rng: {"y": np.sort(rng.integers(0, 2, ROWS))}),
    "labels from 1": ("label-out-of-range", lambda rng: {"y": rng.integers(1, 4, ROWS)}),
}


def _run(inspection: Inspection, library: str, *frames: Any) -> list[Any]:
    space: dict[str, Any] = {"__name__": "repairing"}
    exec(compile(inspection.suggest(library), "repair.py", "exec"), space)
    return list(space["repair"](*frames))


def _said(diagnosis: Diagnosis, least: Severity = Severity.NOTE) -> set[str]:
    return {one.rule for one in diagnosis.findings if one.severity.gravity >= least.gravity}


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("fault", FAULTS)
def test_after_the_repair_the_finding_is_gone_and_nothing_got_worse(fault: str, library: str) -> None:
    rule, made = FAULTS[fault]
    frame = MAKES[library](healthy().assign(**made(np.random.default_rng(1))))
    before = inspect_data(frame, target="y")
    assert rule in _said(before.diagnosis)

    [repaired] = _run(before, library, frame)

    after = inspect_data(repaired, target="y").diagnosis
    assert rule not in _said(after)
    assert _said(after) <= _said(before.diagnosis)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_all_faults_at_once_are_repaired_in_one_script(library: str) -> None:
    rng = np.random.default_rng(2)
    columns: dict[str, Any] = {}
    for place, (fault, (_, made)) in enumerate(FAULTS.items()):
        columns |= {name if name == "y" else f"{name} {place}": values for name, values in made(rng).items()}
        assert fault
    frame = MAKES[library](healthy().assign(**columns))
    before = inspect_data(frame, target="y")

    [repaired] = _run(before, library, frame)

    after = inspect_data(repaired, target="y").diagnosis
    assert len(_said(before.diagnosis)) >= 8
    assert _said(after, Severity.WARNING) == set()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_what_is_learned_comes_from_the_training_set_alone(library: str) -> None:
    rng = np.random.default_rng(3)
    train, test = healthy().assign(pay=rng.normal(0, 1e5, ROWS)), healthy(1).assign(pay=rng.normal(5e5, 1e5, ROWS))
    train.loc[:50, "height"] = np.nan
    test.loc[:50, "height"] = np.nan
    test["height"] += 3
    make = MAKES[library]
    inspection = inspect_data(make(train), make(test), target="y")
    assert {"unnormalized-input", "missing-values"} <= _said(inspection.diagnosis)

    first, second = _run(inspection, library, make(train), make(test))

    assert abs(np.asarray(first["pay"]).mean()) < 1e-6
    assert np.asarray(second["pay"]).mean() == pytest.approx(5, abs=0.3)
    usual = train["height"].median() - train["height"].fillna(train["height"].median()).mean()
    usual /= train["height"].fillna(train["height"].median()).std()
    assert np.asarray(second["height"])[0] == pytest.approx(usual, abs=1e-6)


def test_repeated_rows_are_dropped_from_the_training_set_and_from_no_other() -> None:
    frame = pd.concat([healthy(), healthy().iloc[:50]], ignore_index=True)
    space: dict[str, Any] = {}
    from stethoscope.core.repair import DropRepeats

    exec(to_script(Repairs((DropRepeats("duplicate-samples"),))), space)
    train, test = space["repair"](frame, frame)

    assert (len(train), len(test)) == (ROWS, ROWS + 50)


def test_day_or_month_first_is_read_off_values_that_leave_no_doubt() -> None:
    days = [f"{1 + place % 12:02d}/{1 + place % 28:02d}/2024" if place % 2 else "2024-05-06" for place in range(ROWS)]
    inspection = inspect_data(healthy().assign(day=days), target="y")
    [repaired] = _run(inspection, "pandas", healthy().assign(day=days))

    assert repaired["day"].isna().sum() == 0
    assert str(repaired["day"][1])[:10] == "2024-02-02"
    assert repaired["day"][13].month == 2


def test_spellings_become_the_commonest_without_blanks_round_it() -> None:
    shops = ["Lidl "] * 300 + ["LIDL"] * 200 + ["Spar"] * 100
    inspection = inspect_data(healthy().assign(shop=shops), target="y")
    [repaired] = _run(inspection, "pandas", healthy().assign(shop=shops))

    assert set(repaired["shop"]) == {"Lidl", "Spar"}


def test_what_needs_a_person_is_left_to_one() -> None:
    frame = healthy()
    inspection = inspect_data(frame.assign(answer=frame["y"] * 3.0 + 1), target="y")

    assert "# target-leakage: " in inspection.suggest()
    assert "answer" not in inspection.suggest().split("# Left to you")[0]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_numbers_that_are_written_as_texts_are_read_before_they_are_filled_in(library: str) -> None:
    texts = ["12.5", "13.5", "N/A", "14.5"] * 25
    numbers = of_numbers("price", [float(text) if text != "N/A" else float("nan") for text in texts])
    words = of_words("price", {"12.5": 25, "13.5": 25, "14.5": 25, "N/A": 25}, missing=(("N/A", 25),))
    wide = range(0, 10**7, 10**5)
    data = one_set(replace(numbers, dtype="str", nulls=0, words=words.words), of_numbers("wide", wide))
    space: dict[str, Any] = {"__name__": "repairing"}
    exec(to_script(repairs(inspect(data), data), library), space)
    [repaired] = space["repair"](MAKES[library](pd.DataFrame({"price": texts, "wide": wide})))

    values = np.asarray(repaired["price"], np.float64)
    assert np.isfinite(values).all()
    assert np.median(values) == values[2]


def test_nothing_to_repair_is_said() -> None:
    text = inspect_data(healthy(), target="y").suggest()

    assert text.startswith("# Nothing that a script could repair.")
    exec(text, {})


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_names_cannot_break_out_of_the_script(library: str) -> None:
    evil = ["a'] = 1; raise SystemExit #", 'b"""\nraise SystemExit\n"""', "c\nraise SystemExit", "^d.*$", "e{name}"]
    steps = (
        DropColumns("constant-feature", (evil[0],)),
        *(FillIn("missing-values", name, "median", told=True) for name in evil[1:]),
    )
    text = to_script(Repairs(steps, left=(("outliers", "c\nraise SystemExit"),)), library)
    frame = pd.DataFrame({name: [1.0, None, 3.0] for name in evil} | {"day": [1.0, 2.0, None]})
    space: dict[str, Any] = {"__name__": "repairing"}
    exec(text, space)

    [repaired] = space["repair"](MAKES[library](frame))

    assert list(np.asarray(repaired["^d.*$"])) == [1, 2, 3]
    assert list(np.asarray(repaired["c\nraise SystemExit missing"])) == [False, True, False]
    assert evil[0] not in list(repaired.columns)

"""The health map's cells: fixed scales, reserved codes, and nothing rare lost when looks are merged."""

import base64
from dataclasses import replace

import numpy as np
import pytest

from stethoscope.core.finding import Place
from stethoscope.facts.training import (
    LAYER_STATISTICS,
    PARAMETER_STATISTICS,
    History,
    Layer,
    Parameter,
    Telemetry,
)
from stethoscope.render.health_map import (
    GRADIENT,
    LOWEST,
    MISSING,
    MOST_CELLS,
    NONFINITE,
    ZERO,
    ZEROS,
    coded,
    health_map,
    merged,
)

from . import sample
from .sample_findings import diagnosis_of, loss_not_finite, slow_rate, vanishing_gradients


def code(statistic, value: float, nonfinite: bool = False) -> int:  # type: ignore[no-untyped-def]
    with np.errstate(all="ignore"):
        return int(coded(statistic, np.array([[value]]), np.array([[nonfinite]]))[0, 0])


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, ZERO), (np.nan, MISSING), (1e-9, LOWEST), (1e-30, LOWEST), (1e2, 255), (1e9, 255)],
)
def test_the_gradient_scale_is_fixed_and_held_at_its_ends(value: float, expected: int) -> None:
    assert code(GRADIENT, value) == expected


def test_equal_ratios_are_equal_distances() -> None:
    codes = [code(GRADIENT, 10.0**power) for power in (-6, -4, -2)]
    assert abs((codes[1] - codes[0]) - (codes[2] - codes[1])) <= 1


def test_not_finite_goes_before_everything() -> None:
    assert code(GRADIENT, np.nan, nonfinite=True) == NONFINITE


def test_a_layer_that_is_all_zero_is_black_and_one_without_zeros_is_not() -> None:
    assert code(ZEROS, 1.0) == ZERO
    assert code(ZEROS, 0.0) == LOWEST


def test_merging_keeps_a_single_look_that_is_not_finite() -> None:
    codes = np.full((100, 1), 120, np.uint8)
    codes[37], codes[38] = NONFINITE, 255
    groups = np.array_split(np.arange(100), 5)
    assert merged(codes, groups)[:, 0].tolist() == [120, NONFINITE, 120, 120, 120]


def test_merging_keeps_spikes_and_dips() -> None:
    codes = np.full((100, 2), 120, np.uint8)
    codes[50, 0], codes[50, 1] = 250, 10
    assert merged(codes, np.array_split(np.arange(100), 4))[2].tolist() == [250, 10]


def two_parameters() -> History:
    """One layer with a weight of 3 elements and a bias of 1; a dropout; a layer that was never called."""
    statistics = np.full((1, 2, len(PARAMETER_STATISTICS)), np.nan, np.float32)
    statistics[0, :, PARAMETER_STATISTICS.index("gradient_rms")] = [2.0, 4.0]
    layers = np.zeros((1, 3, len(LAYER_STATISTICS)), np.float32)
    return History(
        steps=1,
        layers=(
            Layer("drop", "Dropout", order=1),
            Layer("fc", "Linear", order=0, parameters=(0, 1)),
            Layer("spare", "Linear"),
        ),
        parameters=(Parameter("fc.weight", (3,), layer=1), Parameter("fc.bias", (1,), layer=1)),
        telemetry=Telemetry(np.array([0]), layers, statistics),
    )


def test_a_layers_gradient_is_the_root_mean_square_over_all_its_elements() -> None:
    values = GRADIENT.field(two_parameters(), [1, 0]).values
    assert values[0, 0] == pytest.approx(np.sqrt((3 * 2.0**2 + 1 * 4.0**2) / 4))


def test_rows_are_called_layers_in_order_and_only_those_that_have_the_statistic() -> None:
    values = health_map(two_parameters(), diagnosis_of())
    assert [layer["name"] for layer in values["layers"]] == ["fc", "drop"]
    rows = {statistic["key"]: statistic["rows"] for statistic in values["statistics"]}
    assert rows["gradient"] == [0]
    assert rows["zeros"] == [0, 1]


def test_a_statistic_that_was_not_gathered_is_not_offered() -> None:
    values = health_map(replace(sample.trained(), parts=("activations",)), diagnosis_of())
    assert [statistic["key"] for statistic in values["statistics"]] == ["spread", "zeros"]


def test_without_parameter_statistics_the_layers_are_still_shown() -> None:
    history = sample.trained()
    telemetry = Telemetry(history.telemetry.steps, history.telemetry.layers)
    values = health_map(replace(history, telemetry=telemetry), diagnosis_of())
    assert [statistic["key"] for statistic in values["statistics"]] == ["spread", "zeros"]


def test_a_run_without_layers_has_no_map() -> None:
    assert health_map(History(), diagnosis_of()) == {}


def test_many_layers_and_looks_stay_within_the_limit() -> None:
    history = sample.deep()
    many = np.repeat(history.telemetry.layers, 40, axis=0)
    telemetry = Telemetry(np.arange(len(many)), many, np.repeat(history.telemetry.parameters, 40, axis=0))
    values = health_map(replace(history, steps=len(many), telemetry=telemetry), diagnosis_of())
    cells = sum(len(base64.b64decode(statistic["cells"])) for statistic in values["statistics"])
    assert cells <= MOST_CELLS
    assert values["merged"]


def test_after_the_nan_every_layer_is_not_finite() -> None:
    history = sample.turns_nan()
    values = health_map(history, diagnosis_of())
    gradient = values["statistics"][0]
    cells = np.frombuffer(base64.b64decode(gradient["cells"]), np.uint8).reshape(len(gradient["rows"]), -1)
    after = np.array(values["steps"]) >= 230
    assert (cells[:, after] == NONFINITE).all()
    assert (cells[:, ~after] >= LOWEST).all()


def test_the_vanishing_gradient_is_a_staircase() -> None:
    gradient = health_map(sample.vanishing(), diagnosis_of())["statistics"][0]
    cells = np.frombuffer(base64.b64decode(gradient["cells"]), np.uint8).reshape(len(gradient["rows"]), -1)
    medians = np.median(cells, axis=1)
    assert (np.diff(medians[2:]) > 0).all()
    assert medians[-1] - medians[0] > 100


def test_pins_find_the_layer_of_a_module_and_of_a_parameter() -> None:
    nan = sample.turns_nan()
    pins = health_map(nan, diagnosis_of(loss_not_finite(nan), slow_rate(nan)))["pins"]
    assert [(pin["number"], pin["rows"], pin["steps"]) for pin in pins] == [
        (1, [0], [230, 399]),
        (2, [2], [100, 200]),
    ]


def test_what_follows_from_a_finding_is_pinned_with_its_number() -> None:
    history = sample.vanishing()
    root = replace(slow_rate(history), place=Place(file="train.py", line=3))
    found = health_map(history, diagnosis_of(root.folded(vanishing_gradients(history))))["pins"]
    assert [(pin["number"], pin["rows"]) for pin in found] == [(1, [0])]


def test_a_pin_on_a_module_covers_the_layers_inside_it_and_no_namesake() -> None:
    history = sample.vanishing()
    finding = replace(vanishing_gradients(history), place=Place(module="net"))
    whole = health_map(history, diagnosis_of(finding))["pins"][0]["rows"]
    assert whole == list(range(23))
    finding = replace(finding, place=Place(module="net.1"))
    assert health_map(history, diagnosis_of(finding))["pins"][0]["rows"] == [1]

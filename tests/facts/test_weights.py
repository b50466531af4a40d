"""Which weights count, in which order, and how fast they move."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from stethoscope.facts.training import PARAMETER_STATISTICS, History, Layer, Parameter, Telemetry
from stethoscope.facts.weights import gradients_by_depth, middle, update_ratios, weights_by_depth

LAYERS = (
    Layer("head", "Linear", order=7),
    Layer("words", "Embedding", order=0),
    Layer("body", "Linear", order=3),
    Layer("unused", "Linear", order=-1),
)
PARAMETERS = (
    Parameter("head.weight", (10, 4), layer=0, optimizer=1),
    Parameter("head.bias", (10,), layer=0, optimizer=1),
    Parameter("words.weight", (99, 4), layer=1, optimizer=0),
    Parameter("body.weight", (4, 4), layer=2, optimizer=0),
    Parameter("unused.weight", (4, 4), layer=3, optimizer=0),
)


def history(**columns: list[list[float]]) -> History:
    looks = len(next(iter(columns.values())))
    table = np.full((looks, len(PARAMETERS), len(PARAMETER_STATISTICS)), np.nan, np.float32)
    for name, values in columns.items():
        table[:, :, PARAMETER_STATISTICS.index(name)] = values
    telemetry = Telemetry(np.arange(looks), np.zeros((looks, len(LAYERS), 10), np.float32), table)
    return History(layers=LAYERS, parameters=PARAMETERS, telemetry=telemetry)


NAMES = [parameter.name for parameter in PARAMETERS]


def test_matrices_are_given_in_the_order_of_execution_and_biases_are_left_out() -> None:
    seen = history(gradient_rms=[[1.0] * 5])
    assert [NAMES[i] for i in weights_by_depth(seen)] == [
        "unused.weight", "words.weight", "body.weight", "head.weight",
    ]  # fmt: skip


def test_frozen_weights_are_left_out() -> None:
    seen = history(gradient_rms=[[1.0] * 5])
    seen = replace(seen, parameters=(replace(PARAMETERS[0], trainable=False), *PARAMETERS[1:]))
    assert 0 not in weights_by_depth(seen)


def test_the_weights_of_one_optimizer_can_be_asked_for() -> None:
    seen = history(gradient_rms=[[1.0] * 5])
    assert [NAMES[i] for i in weights_by_depth(seen, optimizer=1)] == ["head.weight"]


def test_a_ratio_to_a_weight_that_stands_at_zero_is_unknown() -> None:
    seen = history(update_ratio=[[9.0] * 5, [0.1] * 5], weight_rms=[[0.0] * 5, [0.2] * 5])
    ratios = update_ratios(seen, [0, 3])
    assert np.isnan(ratios[0]).all()
    np.testing.assert_allclose(ratios[1], 0.1, rtol=1e-6)


def test_gradients_by_depth_leave_out_embeddings_layers_never_called_and_weights_without_gradient() -> None:
    gradients = [[4.0, 1.0, 1.0, 2.0, 1.0], [8.0, 1.0, 1.0, 2.0, 1.0], [6.0, 1.0, 1.0, 2.0, 1.0]]
    weights, sizes = gradients_by_depth(history(gradient_rms=gradients))
    assert [NAMES[i] for i in weights] == ["body.weight", "head.weight"]
    assert sizes.tolist() == [2.0, 6.0]
    weights, _ = gradients_by_depth(history(gradient_rms=[[np.nan, 1.0, 1.0, 2.0, 1.0]]))
    assert [NAMES[i] for i in weights] == ["body.weight"]


def test_the_middle_agrees_with_numpy_where_all_is_measured() -> None:
    for rows in (1, 2, 3, 6):
        values = np.random.default_rng(rows).standard_normal((rows, 4))
        np.testing.assert_allclose(middle(values), np.median(values, axis=0))
        np.testing.assert_allclose(middle(values, axis=1), np.median(values, axis=1))


def test_the_middle_passes_over_gaps_and_is_unknown_without_values() -> None:
    values = np.array([[1.0, np.nan, np.nan], [5.0, 2.0, np.nan], [np.nan, np.inf, np.nan]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(middle(values), [3.0, np.inf, np.nan], equal_nan=True)
        assert np.isnan(middle(np.zeros((0, 3)))).tolist() == [True] * 3

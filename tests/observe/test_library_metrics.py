"""Measures of torchmetrics and scikit-learn: those that are used wrongly are heard, all others are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stethoscope.facts.training import History
from stethoscope.observe.training.session import Session
from stethoscope.observe.training.taps import Taps

Data = list[tuple[Tensor, Tensor]]
Validate = Callable[[nn.Module, Data], None]


def heard(validate: Validate, outputs: int = 1, in_training: Callable[[Tensor, Tensor], None] | None = None) -> History:
    """Five epochs of three steps, each followed by a validation of three batches."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, outputs))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    session = Session()
    taps = Taps(session)
    taps.put_on()
    try:
        for _ in range(5):
            for x, y in batches(outputs):
                answer = model(x)
                loss = F.cross_entropy(answer, y) if outputs > 1 else F.mse_loss(answer.squeeze(1), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if in_training is not None:
                    in_training(answer.detach(), y)
            model.eval()
            with torch.no_grad():
                validate(model, batches(outputs))
            model.train()
    finally:
        taps.take_off()
    return session.history()


def batches(outputs: int, rows: int = 12) -> Data:
    """Three batches of noise."""
    return [
        (torch.randn(rows, 6), torch.randint(0, outputs, (rows,)) if outputs > 1 else torch.randn(rows))
        for _ in range(3)
    ]


def gathered(model: nn.Module, data: Data, classes: bool = False) -> tuple[Any, Any]:
    """Targets and answers of all batches as arrays."""
    said = [model(x).argmax(1) if classes else model(x).squeeze(1) for x, _ in data]
    return np.concatenate([y.numpy() for _, y in data]), np.concatenate([one.numpy() for one in said])


def test_answers_in_the_place_of_targets_are_heard() -> None:
    metrics = pytest.importorskip("sklearn.metrics")

    def validate(model: nn.Module, data: Data) -> None:
        truth, said = gathered(model, data)
        metrics.r2_score(said, truth)

    (measure,) = heard(validate).measures
    assert (measure.kind, measure.name, measure.times, measure.rows) == ("swapped", "r2_score", 5, 180)
    assert measure.site is not None
    assert __file__.endswith(measure.site.file)
    assert measure.told < measure.meant


def test_classes_in_the_place_of_targets_are_heard() -> None:
    metrics = pytest.importorskip("sklearn.metrics")

    def validate(model: nn.Module, data: Data) -> None:
        truth, said = gathered(model, data, classes=True)
        metrics.recall_score(said.tolist(), truth.tolist(), average="macro", zero_division=0)

    (measure,) = heard(validate, outputs=4).measures
    assert (measure.kind, measure.name) == ("swapped", "recall_score")


def test_sides_in_their_places_and_functions_without_sides_are_not() -> None:
    metrics = pytest.importorskip("sklearn.metrics")

    def validate(model: nn.Module, data: Data) -> None:
        truth, said = gathered(model, data)
        metrics.r2_score(truth, said)
        metrics.r2_score(said, said)
        metrics.mean_squared_error(said, truth)

    assert not heard(validate).measures


def test_what_is_never_reset_is_heard() -> None:
    metric = pytest.importorskip("torchmetrics").MeanSquaredError()

    def validate(model: nn.Module, data: Data) -> None:
        for x, y in data:
            metric.update(model(x).squeeze(1), y)
        metric.compute()

    (measure,) = heard(validate).measures
    assert (measure.kind, measure.name, measure.times) == ("not reset", "MeanSquaredError", 5)
    assert measure.passes == ((3, 9), (3, 12), (3, 15))


def test_what_is_reset_or_runs_on_in_training_or_on_purpose_is_not() -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    metric, running, best = torchmetrics.MeanSquaredError(), torchmetrics.MeanSquaredError(), torchmetrics.MinMetric()

    def validate(model: nn.Module, data: Data) -> None:
        for x, y in data[:2]:
            metric(model(x).squeeze(1), y)
        best.update(metric.compute())
        best.compute()
        metric.reset()

    def in_training(answer: Tensor, y: Tensor) -> None:
        running.update(answer.squeeze(1), y)
        running.compute()

    assert not heard(validate, in_training=in_training).measures

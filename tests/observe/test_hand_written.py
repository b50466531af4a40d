"""What is heard of a loss: written by hand, failing, with its softmax on the wrong axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stethoscope.facts.training import LossCall

Loss = Callable[[Tensor, Tensor], Tensor]


def _targets(x: Tensor, kind: str) -> Tensor:
    classes = x[:, :3].argmax(1)
    return {
        "classes": classes,
        "one hot": F.one_hot(classes, 3).float(),
        "yes or no": (x[:, :1] > 0).float(),
        "numbers": 3 * x[:, :1],
    }[kind]


def _dot(difference: Tensor) -> Tensor:
    return difference * difference


def _heard(listening: Any, loss: Loss, kind: str, *head: nn.Module, outputs: int = 3) -> LossCall:
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, outputs), *head)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with listening() as session:
        for _ in range(20):
            x = torch.randn(8, 4)
            optimizer.zero_grad()
            loss(model(x), _targets(x, kind)).backward()
            optimizer.step()
        (call,) = session.history().losses
    assert isinstance(call, LossCall)
    return call


@pytest.mark.parametrize(
    ("loss", "form"),
    [
        (lambda p, y: ((p - y) ** 2).mean(), "mse_loss"),
        (lambda p, y: (y - p).pow(2).mean(), "mse_loss"),
        (lambda p, y: _dot(p - y).mean(), "mse_loss"),
        (lambda p, y: (p - y).abs().mean(), "l1_loss"),
    ],
)
def test_a_difference_by_hand_is_told_with_its_targets(listening: Any, loss: Loss, form: str) -> None:
    by_hand = _heard(listening, loss, "numbers", outputs=1)
    torch.manual_seed(0)
    named = _heard(listening, lambda p, y: getattr(F, form)(p, y), "numbers", outputs=1)

    assert by_hand.computes == form
    assert by_hand.produced_by == "linear"
    assert by_hand.target_max == pytest.approx(named.target_max, rel=1e-4)
    assert by_hand.target_variance == pytest.approx(named.target_variance, rel=1e-4)
    assert by_hand.first_value == pytest.approx(named.first_value, rel=1e-4)


def test_a_sum_is_not_taken_for_a_mean(listening: Any) -> None:
    assert _heard(listening, lambda p, y: ((p - y) ** 2).sum(), "numbers", outputs=1).reduction == "other"


def test_targets_beyond_a_sigmoid_are_told_of_a_loss_by_hand(listening: Any) -> None:
    call = _heard(listening, lambda p, y: ((p - y) ** 2).mean(), "numbers", nn.Sigmoid(), outputs=1)

    assert call.produced_by == "sigmoid"
    assert call.target_outside > 0.5
    assert call.target_unreachable > 0.5


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        (lambda p, y: -(y * torch.log(p + 1e-8)).sum(1).mean(), "one hot"),
        (lambda p, y: -torch.log(p)[torch.arange(8), y].mean(), "classes"),
        (lambda p, y: -torch.log(p).gather(1, y[:, None]).mean(), "classes"),
    ],
)
def test_a_cross_entropy_by_hand_is_told(listening: Any, loss: Loss, kind: str) -> None:
    call = _heard(listening, loss, kind, nn.Softmax(1))

    assert call.computes == "categorical"
    assert call.produced_by == "softmax"
    assert call.rows_sum_to_one == 1
    assert call.reduction == "mean"
    assert call.chance < 1.1
    assert sum(call.late_truths) == 64


def test_a_binary_cross_entropy_by_hand_is_told(listening: Any) -> None:
    call = _heard(
        listening,
        lambda p, y: -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean(),
        "yes or no",
        nn.Sigmoid(),
        outputs=1,
    )

    assert call.computes == "binary_cross_entropy"
    assert (call.target_min, call.target_max) == (0, 1)
    assert call.chance == pytest.approx(0.69, abs=0.01)


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, y: -(p.log_softmax(1)[:, 0] * y[:, 0]).mean(),  # a policy gradient
        lambda p, y: p.log().sum() + (p * y).sum(),
        lambda p, y: (p * y).mean(),
        lambda p, y: ((p - y) ** 2).mean() + (p - y).abs().mean(),
    ],
)
def test_other_losses_by_hand_are_left_alone(listening: Any, loss: Loss) -> None:
    call = _heard(listening, loss, "numbers", nn.Softplus())

    assert call.computes == "backward"


def test_the_axis_of_a_softmax_is_read_off_the_graph(listening: Any) -> None:
    wrong = _heard(listening, lambda p, y: F.nll_loss(p, y), "classes", nn.LogSoftmax(0))
    right = _heard(listening, lambda p, y: F.nll_loss(p, y), "classes", nn.LogSoftmax(-1))

    assert (wrong.softmax_axis, wrong.softmax_shape, wrong.logs_sum_to_one) == (0, (8, 3), 0)
    assert (right.softmax_axis, right.softmax_shape, right.logs_sum_to_one) == (1, (8, 3), 1)
    assert wrong.columns_sum_to_one == 1


def test_a_clamp_does_not_hide_what_was_clamped(listening: Any) -> None:
    call = _heard(listening, lambda p, y: F.binary_cross_entropy(p.clamp(1e-6, 1 - 1e-6), y), "yes or no", outputs=1)

    assert (call.produced_by, call.clamped) == ("clamp", "linear")


def test_a_loss_that_raises_is_heard_and_raises_as_before(listening: Any) -> None:
    model = nn.Linear(4, 3)
    with listening() as session:
        with pytest.raises(IndexError, match="out of bounds"):
            F.cross_entropy(model(torch.randn(8, 4)), torch.full((8,), 3))
        (call,) = session.history().losses

    assert call.raised == "IndexError: Target 3 is out of bounds."
    assert call.target_max == 3


def test_guesses_are_counted_beside_the_targets(listening: Any) -> None:
    call = _heard(listening, lambda p, y: F.cross_entropy(p, y), "classes")

    assert sum(call.late_guesses) == sum(call.late_truths) == 64
    assert all(hits <= truths for hits, truths in zip(call.late_hits, call.late_truths, strict=True))
    assert call.late_steps == (12, 19)
    assert 1 / 3 <= call.late_top_truth < 0.8

"""The lab: what is captured of a run, what replays on copies show of it, and what stays as it was."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from stethoscope.core.treatment import (
    ClearGradients,
    Clip,
    ExchangeLoss,
    HoldLearningRate,
    KeepGradients,
    LargerBatches,
    NoDropout,
    NoMomentum,
    NoWeightDecay,
    OptimizeAllParameters,
    Rectify,
    Reinitialize,
    RemoveOutputActivation,
    ReshapeTarget,
    ReviveUnits,
    ScaleForReLU,
    ScaleLearningRate,
    ShuffleBatches,
    SmallerBatches,
    SoftmaxOverClasses,
    StandardizeInputs,
    StandardizeTargets,
    SwapLossArguments,
    TakeSteps,
    TrainAllParameters,
    TrainMode,
    Treatment,
)
from stethoscope.diagnosing.verdict import verdict_of
from stethoscope.observe.model.calls import Rewriting, off_the_batch
from stethoscope.observe.model.lab import lab_of

Batch = tuple[Tensor, Tensor]
DIGITS = load_digits()
IMAGES = torch.tensor((DIGITS.data - DIGITS.data.mean()) / DIGITS.data.std(), dtype=torch.float32)
LABELS = torch.tensor(DIGITS.target)
PATIENT_S = 600.0
"""No experiment ends for want of time, however busy the machine is, but where that is what is asked."""


def mlp(*last: nn.Module) -> nn.Module:
    """A small classifier of digits."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10), *last)


def sgd(model: nn.Module, rate: float = 0.1, **given: Any) -> torch.optim.Optimizer:
    """The plainest optimizer."""
    return torch.optim.SGD(model.parameters(), lr=rate, **given)


def batches(count: int = 24, size: int = 32) -> list[Batch]:
    """Digits in random order."""
    order = torch.randperm(len(LABELS))
    return [(IMAGES[order[i * size :][:size]], LABELS[order[i * size :][:size]]) for i in range(count)]


@dataclass
class Run:
    """A run that was heard, and its lab."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    session: Any
    lab: Any

    def verdict(self, *treatments: Treatment, longer: bool = False) -> str:
        """Of these treatments together."""
        return verdict_of(self.lab(treatments, longer)).verdict

    def why_not(self, *treatments: Treatment) -> str:
        """Why they could not be tried."""
        why: str = self.lab(treatments or (ScaleLearningRate(0.1),), False).why_not
        return why


Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], None]


def plain(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """The step that everybody writes."""
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


@pytest.fixture
def trained(listening: Any) -> Callable[..., Run]:
    """Train a model with a step for each batch, listened to."""

    def train(
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        step: Step = plain,
        data: list[Batch] | None = None,
        seconds: float = PATIENT_S,
        chance: float = float("nan"),
    ) -> Run:
        data = batches() if data is None else data
        with listening(capture=True) as session:
            session.steps.optimizer_made(optimizer, None)
            for x, y in data:
                step(model, optimizer, x, y)
        lab = lab_of(session.state, chance=chance, rates=[], seconds=seconds)
        return Run(model, optimizer, session, lab)

    return train


# True faults


def test_a_rate_that_is_too_high_is_cured_by_a_lower_one(trained: Any) -> None:
    model = mlp()
    assert trained(model, sgd(model, 30.0)).verdict(ScaleLearningRate(0.01)) == "cured"


def test_a_rate_that_is_too_low_is_cured_by_a_higher_one(trained: Any) -> None:
    model = mlp()
    assert trained(model, sgd(model, 1e-5)).verdict(ScaleLearningRate(1e4)) == "cured"


@pytest.mark.parametrize("where", ["a layer", "in forward", "in the loop"])
def test_a_softmax_is_left_out_wherever_it_is(trained: Any, where: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend = nn.Linear(64, 64)
            self.body = mlp(nn.Softmax(dim=1)) if where == "a layer" else mlp()

        def forward(self, x: Tensor) -> Tensor:
            scores = self.body(x + torch.softmax(self.attend(x), dim=1))
            return torch.softmax(scores, dim=1) if where == "in forward" else scores

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        output = model(x)
        F.cross_entropy(output.softmax(dim=1) if where == "in the loop" else output, y).backward()
        optimizer.step()

    model = Net()
    assert trained(model, sgd(model, 0.3), step).verdict(RemoveOutputActivation("softmax")) == "cured"


def test_old_gradients_are_cleared(trained: Any) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    model = mlp()
    assert trained(model, sgd(model), step).verdict(ClearGradients(), longer=True) == "cured"


def test_gradients_that_are_cleared_too_early_are_kept(trained: Any) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        F.cross_entropy(model(x), y).backward()
        optimizer.zero_grad()
        optimizer.step()

    model = mlp()
    assert trained(model, sgd(model), step).verdict(KeepGradients()) == "cured"


def test_a_step_that_is_missing_is_taken(trained: Any) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()

    model = mlp()
    assert trained(model, sgd(model), step).verdict(TakeSteps()) == "cured"


def test_a_target_of_another_shape_gets_the_outputs(trained: Any) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        F.mse_loss(model(x), x[:, 20] + x[:, 30]).backward()
        optimizer.step()

    model = nn.Linear(64, 1)
    assert trained(model, sgd(model, 0.01), step).verdict(ReshapeTarget()) == "cured"


def test_arguments_of_the_loss_change_places(trained: Any) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        F.kl_div(F.one_hot(y, 10).float(), model(x), reduction="batchmean").backward()
        optimizer.step()

    model = mlp(nn.LogSoftmax(dim=1))
    assert trained(model, sgd(model), step).verdict(SwapLossArguments()) == "cured"


def test_inputs_and_targets_are_standardized(trained: Any) -> None:
    scale = torch.logspace(0, 3, 64)
    model = mlp()
    run = trained(model, sgd(model), data=[(x * scale + 100, y) for x, y in batches()])
    assert run.verdict(StandardizeInputs()) == "cured"

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        F.mse_loss(model(x)[:, 0], 1e4 + 1e3 * y.float()).backward()
        optimizer.step()

    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    assert trained(model, sgd(model), step, chance=8.3e6).verdict(StandardizeTargets()) == "cured"


def test_batches_in_the_order_of_their_labels_are_shuffled(trained: Any) -> None:
    order = torch.argsort(LABELS)
    data = [(IMAGES[rows], LABELS[rows]) for rows in order.split(120)]
    model = mlp()
    assert trained(model, sgd(model), data=data).verdict(ShuffleBatches()) == "cured"


def test_large_batches_are_cut_and_a_step_is_taken_for_each_piece(trained: Any) -> None:
    data = [(IMAGES[:512], LABELS[:512])] * 4
    model = mlp()
    assert trained(model, sgd(model, 0.02), data=data).verdict(SmallerBatches(32)) == "cured"
    model = mlp()
    assert trained(model, sgd(model, 0.02)).why_not(SmallerBatches(256)) == "the batches are not larger"


def test_gradients_of_tiny_batches_are_averaged(trained: Any) -> None:
    data = batches(64, 1)
    model = mlp()
    assert trained(model, sgd(model, 0.7), data=data).verdict(LargerBatches(8)) == "cured"
    model = mlp()
    few = trained(model, sgd(model, 0.1), data=batches(4))
    assert few.why_not(LargerBatches(8)) == "too few batches were captured"


def test_parameters_that_nobody_holds_are_given_to_the_optimizer(trained: Any) -> None:
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    assert trained(model, optimizer).verdict(OptimizeAllParameters()) == "cured"


def test_a_model_in_eval_mode_trains_in_train_mode(trained: Any) -> None:
    layers = [part for _ in range(6) for part in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(64, 10)).eval()
    assert trained(model, sgd(model, 0.05)).verdict(TrainMode()) == "cured"


def test_a_deep_stack_at_a_default_scale_is_drawn_at_one_that_suits_it(trained: Any) -> None:
    layers = [part for _ in range(10) for part in (nn.Linear(64, 64), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    run = trained(model, sgd(model, 0.05))
    assert (run.verdict(Reinitialize()), run.verdict(ScaleForReLU())) == ("no effect", "cured")


def test_bad_weights_are_drawn_anew(trained: Any) -> None:
    model = mlp()
    nn.init.constant_(model[0].bias, -100)
    assert trained(model, sgd(model)).verdict(Reinitialize()) == "cured"


def test_a_softmax_over_the_batch_is_taken_over_the_classes(trained: Any) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        F.nll_loss(model(x), y).backward()
        optimizer.step()

    model = mlp(nn.LogSoftmax(dim=0))
    assert trained(model, sgd(model, 0.3), step).verdict(SoftmaxOverClasses()) == "cured"


def test_a_softmax_over_the_batch_inside_of_the_model_is_turned(trained: Any) -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.body, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(64 * torch.softmax(8 * self.gate(x), 0) * self.body(x))

    model = Gated()
    run = trained(model, sgd(model, 0.1))
    assert run.lab((SoftmaxOverClasses(),), False).why_not == ""
    x = torch.randn(4, 3)
    over_classes, over_samples = torch.softmax(x, -1), torch.softmax(x, 0)
    with Rewriting(off_the_batch(("softmax",))):
        assert torch.equal(torch.softmax(x, 0), over_classes)
        assert torch.equal(x.softmax(dim=-1), over_classes)
    assert not torch.equal(over_samples, over_classes)
    model = mlp()
    assert "no softmax over the samples" in trained(model, sgd(model)).why_not(SoftmaxOverClasses())


def test_saturating_activations_are_replaced_but_for_the_last(trained: Any) -> None:
    layers = [part for _ in range(6) for part in (nn.Linear(64, 64), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    assert trained(model, sgd(model, 0.3)).verdict(Rectify(), longer=True) in ("cured", "helped")

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        F.mse_loss(model(x).sigmoid(), F.one_hot(y, 10).float()).backward()
        optimizer.step()

    model = nn.Sequential(*copy.deepcopy(layers), *copy.deepcopy(layers), nn.Linear(64, 10))
    run = trained(model, sgd(model, 0.05))
    assert (run.verdict(Rectify()), run.verdict(Rectify(draws=True))) == ("no effect", "cured")

    model = mlp()
    assert trained(model, sgd(model), step).why_not(Rectify()) == "no sigmoid or tanh is called between layers"


def test_dead_units_are_revived(trained: Any) -> None:
    model = mlp()
    nn.init.constant_(model[0].bias, -100)
    run = trained(model, sgd(model))
    assert run.verdict(ReviveUnits()) == "cured"
    model = mlp()
    assert trained(model, sgd(model)).why_not(ReviveUnits()) == "no unit is dead at the first captured step"


def test_a_rate_that_falls_is_held(listening: Any) -> None:
    model, data = mlp(), batches()
    optimizer = sgd(model, 0.3)
    with listening(capture=True) as session:
        for x, y in data:
            plain(model, optimizer, x, y)
            optimizer.param_groups[0]["lr"] *= 0.3
    lab = lab_of(session.state, chance=2.3, rates=[0.3 * 0.3**n for n in range(24)], seconds=PATIENT_S)
    assert verdict_of(lab((HoldLearningRate(),), False)).verdict == "cured"


@pytest.mark.parametrize("kind", ["of torch's, from 0", "of torch's, from little", "by hand, from 0", "one cycle"])
def test_a_rate_is_told_as_what_its_warm_up_leads_up_to(listening: Any, kind: str) -> None:
    model, data = mlp(), batches()
    optimizer = sgd(model, 30.0)
    least = 0.02 if kind == "of torch's, from little" else 0.0
    rates: list[float] = []
    with listening(capture=True) as session:
        session.steps.optimizer_made(optimizer, None)
        if kind == "one cycle":
            schedule: Any = torch.optim.lr_scheduler.OneCycleLR(optimizer, 30.0, total_steps=24, cycle_momentum=False)
        elif kind != "by hand, from 0":
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(least, min(1.0, step / 8)))
        for number, (x, y) in enumerate(data):
            if kind == "by hand, from 0":
                optimizer.param_groups[0]["lr"] = 30.0 * min(1.0, number / 8)
            rates.append(float(optimizer.param_groups[0]["lr"]))
            plain(model, optimizer, x, y)
            if kind != "by hand, from 0":
                schedule.step()
    lab = lab_of(session.state, chance=2.3, rates=rates, seconds=PATIENT_S)
    trial = lab((ScaleLearningRate(0.01),), False)
    assert trial.words == "learning rate 0.3 instead of 30 after the warm-up"
    assert verdict_of(trial).verdict == "cured"


def test_no_multiple_of_a_rate_of_0_is_tried(trained: Any) -> None:
    model = mlp()
    assert "is 0" in trained(model, sgd(model, 0.0)).why_not(ScaleLearningRate(10))


def test_clipping_dropout_decay_and_momentum_are_taken_away(trained: Any) -> None:
    def clipped(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-4)
        optimizer.step()

    model = mlp()
    assert trained(model, sgd(model), clipped).verdict(Clip(None)) == "cured"
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.98), nn.Linear(32, 10))
    assert trained(model, sgd(model)).verdict(NoDropout()) in ("cured", "helped")
    model = mlp()
    assert trained(model, sgd(model, weight_decay=5.0)).verdict(NoWeightDecay()) == "cured"
    model = mlp()
    assert trained(model, sgd(model, 0.5, momentum=0.99)).verdict(NoMomentum()) == "cured"


def test_another_loss_is_judged_by_its_mistakes(trained: Any) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        F.mse_loss(model(x), F.one_hot(y, 10).float()).backward()
        optimizer.step()

    model = mlp()
    run = trained(model, sgd(model, 0.02), step)
    assert run.lab((ExchangeLoss("cross_entropy"),), False).measure == "share of wrong answers"
    assert run.verdict(ExchangeLoss("cross_entropy")) == "helped"


def test_a_model_that_returns_its_loss_is_replayed(trained: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            scores = self.body(x)
            return scores, F.cross_entropy(scores, y)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        (model(x, y)[1] / 2).backward()
        optimizer.step()

    model = Net()
    run = trained(model, sgd(model, 60.0), step)
    assert run.verdict(ScaleLearningRate(0.01)) == "cured"
    assert run.why_not(ReshapeTarget()) == "the model computes its loss itself"


# What is not so


@pytest.mark.parametrize(
    "treatment",
    [ScaleLearningRate(0.1), StandardizeInputs(), NoWeightDecay(), NoDropout(), Clip(1.0)],
    ids=lambda treatment: type(treatment).__name__,
)
def test_a_wrong_diagnosis_has_no_effect(trained: Any, treatment: Treatment) -> None:
    model = mlp()
    data = [(x, torch.randint(0, 10, y.shape)) for x, y in batches()]  # labels that mean nothing
    assert trained(model, sgd(model, 1e-3), data=data).verdict(treatment) in ("no effect", "not possible")


def test_a_cure_for_something_else_has_no_effect(trained: Any) -> None:
    model = mlp(nn.Softmax(dim=1))
    run = trained(model, sgd(model, 1e-6))
    assert run.verdict(RemoveOutputActivation("softmax")) == "no effect"
    assert run.verdict(RemoveOutputActivation("softmax"), ScaleLearningRate(3e5)) == "cured"


def test_a_healthy_run_needs_no_cure(trained: Any) -> None:
    model = mlp()
    proof = verdict_of(trained(model, sgd(model, 0.3)).lab((ClearGradients(),), False))
    assert (proof.verdict, proof.why) == ("not possible", "gradients are cleared already")


# What cannot be tried


def _closure(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    def evaluate() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    optimizer.step(evaluate)


def test_a_closure_that_is_called_once_is_replayed(trained: Any) -> None:
    model = mlp()
    assert trained(model, sgd(model, 30.0), _closure).verdict(ScaleLearningRate(0.01)) == "cured"
    model = mlp()
    run = trained(model, torch.optim.LBFGS(model.parameters(), max_iter=3), _closure)
    assert "closure several times" in run.why_not()


def test_one_value_of_each_row_is_picked_again(trained: Any) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        values = model(x).gather(1, y[:, None]).squeeze(1)
        F.mse_loss(values, 3.0 + y.float()).backward()
        optimizer.step()

    model = mlp(nn.Sigmoid())
    assert trained(model, sgd(model, 0.02), step).verdict(RemoveOutputActivation("sigmoid")) == "cured"


def test_a_frozen_network_is_trained_as_a_whole(trained: Any) -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2), nn.ReLU(), nn.Linear(2, 10))
    model[:3].requires_grad_(False)
    optimizer = torch.optim.SGD(model[4].parameters(), lr=0.3)
    assert trained(model, optimizer).verdict(TrainAllParameters()) in ("cured", "helped")


def test_a_loss_that_is_written_out_is_replayed(trained: Any) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        ((model(x)[:, 0] - y / 9) ** 2).sum().backward()
        optimizer.step()

    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    run = trained(model, sgd(model, 1e-8), step)
    assert run.verdict(ScaleLearningRate(1e5)) == "cured"


def _by_hand(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    (model(x)[:, 0] - y).abs().pow(1.7).mean().backward()
    optimizer.step()


def _two_losses(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    output = model(x)
    (F.cross_entropy(output, y) + F.multi_margin_loss(output, y)).backward()
    optimizer.step()


def _penalty(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    (F.cross_entropy(model(x), y) + sum(p.square().sum() for p in model.parameters())).backward()
    optimizer.step()


def _unknown_way(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x) / 7 + 1, y).backward()
    optimizer.step()


def _two_calls(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x) + model(-x), y).backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (_by_hand, "one loss function"),
        (_two_losses, "put together from several"),
        (_penalty, "more than the value of one loss function"),
        (_unknown_way, "in a way that is not known"),
        (_two_calls, "called several times"),
    ],
)
def test_what_cannot_be_taken_again_says_why(trained: Any, step: Step, why: str) -> None:
    model = mlp()
    assert why in trained(model, sgd(model, 0.01), step).why_not()


def test_a_model_whose_code_reaches_outside_of_it_is_left_alone(trained: Any) -> None:
    body = mlp()
    model = mlp()
    model.forward = lambda x: body(x)  # a copy of it would still train this very body
    run = trained(model, torch.optim.SGD([*model.parameters(), *body.parameters()], lr=0.1))
    before = [p.grad.clone() for p in body.parameters()]

    assert "does not hold" in run.why_not()
    assert all(torch.equal(p.grad, was) for p, was in zip(body.parameters(), before, strict=True))


def test_two_models_in_one_step_are_not_replayed(trained: Any) -> None:
    front, model = nn.Linear(64, 64), mlp()

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        plain(nn.Sequential(front, model), optimizer, x, y)
        F.cross_entropy(model(front(x)), y).backward()

    assert trained(model, sgd(model), step).why_not()


def test_nothing_is_tried_when_the_time_is_over(trained: Any) -> None:
    model = mlp()
    run = trained(model, sgd(model), seconds=0.0)
    began = time.perf_counter()

    assert run.why_not()
    assert time.perf_counter() - began < 1


def test_slow_models_end_in_time(trained: Any) -> None:
    class Slow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.pause = mlp(), 0.0

        def forward(self, x: Tensor) -> Tensor:
            time.sleep(self.pause)
            output: Tensor = self.body(x)
            return output

    model = Slow()
    run = trained(model, sgd(model, 30.0), seconds=1.0)
    run.session.state.capture.original[0].pause = 0.02
    began = time.perf_counter()

    assert "too long" in run.why_not()
    assert time.perf_counter() - began < 2


def test_who_cannot_wait_gets_the_report_without_proof(trained: Any) -> None:
    class Impatient(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.waits = mlp(), True

        def forward(self, x: Tensor) -> Tensor:
            if not self.waits:
                raise KeyboardInterrupt
            output: Tensor = self.body(x)
            return output

    model = Impatient()
    run = trained(model, sgd(model))
    run.session.state.capture.original[0].waits = False

    assert run.why_not() == "experiments were interrupted"


def test_large_batches_are_not_copied(trained: Any) -> None:
    model = nn.Linear(1 << 19, 2)
    data = [(torch.zeros(9, 1 << 19), torch.zeros(9, dtype=torch.long))] * 3
    assert "a batch takes 18 MB" in trained(model, sgd(model), data=data).why_not()


# What stays as it was


def test_the_users_model_optimizer_and_random_states_stay(trained: Any) -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Dropout(0.3), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=10.0)
    run = trained(model, optimizer)
    weights = copy.deepcopy(model.state_dict())
    moments = copy.deepcopy(optimizer.state_dict())
    gradients = [p.grad.clone() for p in model.parameters()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()

    assert run.verdict(ScaleLearningRate(1e-3)) == "cured"

    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert str(optimizer.state_dict()) == str(moments)
    assert all(torch.equal(p.grad, was) for p, was in zip(model.parameters(), gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()


def test_the_listener_does_not_hear_the_lab(trained: Any) -> None:
    model = mlp()
    run = trained(model, sgd(model, 30.0))
    steps = run.session.state.steps
    run.verdict(ScaleLearningRate(0.01))

    assert run.session.state.steps == steps == 24
    assert len(run.session.state.optimizers) == 1


def test_what_the_models_code_prints_is_not_printed_again(trained: Any, capsys: Any) -> None:
    class Loud(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor) -> Tensor:
            print("forward")
            output: Tensor = self.body(x)
            return output

    model = Loud()
    run = trained(model, sgd(model, 30.0))
    capsys.readouterr()
    run.verdict(ScaleLearningRate(0.01))

    assert capsys.readouterr().out == ""


def test_hooks_of_the_user_are_not_called_on_copies(trained: Any) -> None:
    heard: list[int] = []
    model = mlp()
    model[0].register_forward_hook(lambda *_: heard.append(1))
    run = trained(model, sgd(model, 30.0))
    count = len(heard)

    assert run.verdict(ScaleLearningRate(0.01)) == "cured"
    assert len(heard) == count


def test_batches_are_few_spread_over_the_run_and_copies(trained: Any) -> None:
    model = mlp()
    data = batches(48)
    run = trained(model, sgd(model), data=data)
    kept = [step.number for step in run.session.state.capture.steps]

    assert 8 <= len(kept) <= 16
    assert kept[0] == 0
    assert kept[-1] > 40
    addresses = {x.data_ptr() for x, _ in data}
    assert not addresses & {step.passes[0].args[0].data_ptr() for step in run.session.state.capture.steps}


def test_the_same_experiment_gives_the_same_numbers(trained: Any) -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 10))
    run = trained(model, sgd(model, 30.0))
    again = lab_of(run.session.state, chance=float("nan"), rates=[], seconds=PATIENT_S)

    assert run.lab((ScaleLearningRate(0.01),), False).after == again((ScaleLearningRate(0.01),), False).after

"""Experiments that train copies: memorising, the range test, one step, yardsticks, the input."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethoscope.observe.preflight.battery import battery, examine
from stethoscope.observe.preflight.given import given
from stethoscope.observe.preflight.inputs import input_use
from stethoscope.observe.preflight.memorising import memorise
from stethoscope.observe.preflight.room import room_of
from stethoscope.observe.preflight.subject import CannotMake, Subject
from stethoscope.observe.preflight.training import cost_of, effect_of_a_step, modes_of, range_test
from stethoscope.observe.preflight.yardstick import yardstick

SOON = time.perf_counter() + 1e6
DRAW = torch.Generator().manual_seed(0)
CENTRES = 3 * torch.randn(3, 10, generator=DRAW)
Y = torch.arange(256) % 3
X = CENTRES[Y] + torch.randn(256, 10, generator=DRAW)


def net(*last: nn.Module, width: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, width), *last)


def subject(model: nn.Module | None = None, loss: Any = F.cross_entropy, y: Tensor = Y, **optimizer: Any) -> Subject:
    model = model or net()
    own = torch.optim.SGD(model.parameters(), **optimizer) if optimizer else None
    return given(model, loss, [(X[i : i + 32], y[i : i + 32]) for i in range(0, 256, 32)], own).subject()


@pytest.mark.parametrize("count", [1, 2, 16])
def test_a_sound_net_learns_samples_by_heart(count: int) -> None:
    memory = memorise(subject(), count, SOON)
    assert memory.learned
    assert memory.right == 1.0


def test_a_bad_rate_of_the_script_is_not_held_against_the_model() -> None:
    memory = memorise(subject(lr=1e-9), 2, SOON)
    assert memory.learned
    assert memory.by.startswith("Adam")


def test_the_lowest_loss_of_the_optimizers_is_kept_where_the_first_one_breaks_down() -> None:
    memory = memorise(subject(net(nn.Softmax(dim=1)), lr=1e38), 2, SOON)
    assert math.isfinite(memory.end)


def test_an_epoch_is_as_many_steps_as_its_samples_fill() -> None:
    cost = cost_of(replace(subject(), samples=320))
    assert cost.epoch_seconds == pytest.approx(10 * cost.step_seconds)


def test_a_rate_that_is_still_0_does_not_keep_steps_from_being_timed() -> None:
    assert cost_of(subject(lr=0.0)).step_seconds > 0
    assert room_of(subject(lr=0.0), SOON).step_bytes > 0


def test_a_softmax_before_the_loss_keeps_it_from_coming_low() -> None:
    memory = memorise(subject(net(nn.Softmax(dim=1))), 2, SOON)
    assert not memory.learned
    assert memory.end > 0.5


def test_soft_targets_have_a_floor() -> None:
    target = torch.full((256, 3), 0.1) + 0.7 * F.one_hot(Y, 3)
    memory = memorise(subject(y=target), 2, SOON)
    assert memory.floor == pytest.approx(-(0.8 * math.log(0.8) + 0.2 * math.log(0.1)), rel=1e-3)
    assert memory.learned


def test_soft_answers_of_yes_and_no_have_a_floor_too() -> None:
    target = 0.2 + 0.6 * F.one_hot(Y, 3).float()
    memory = memorise(subject(loss=F.binary_cross_entropy_with_logits, y=target), 2, SOON)
    assert memory.floor == pytest.approx(-(0.8 * math.log(0.8) + 0.2 * math.log(0.2)), rel=1e-3)


def test_weight_decay_is_off_while_samples_are_learned() -> None:
    memory = memorise(subject(lr=0.1, weight_decay=5.0), 2, SOON)
    assert memory.learned
    assert memory.by == "the script's optimizer"


def test_a_random_model_and_an_unknown_loss_are_not_judged() -> None:
    class Noise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.randn_like(x)

    with pytest.raises(CannotMake, match="differs from one forward pass"):
        memorise(subject(net(Noise())), 2, SOON)
    with pytest.raises(CannotMake, match="lowest value"):
        memorise(subject(loss=lambda out, y: out.square().mean()), 2, SOON)


def test_what_was_not_tried_for_long_enough_is_not_held_against_the_model() -> None:
    softmax = subject(net(nn.Softmax(dim=1)), lr=1e-9)
    with pytest.raises(CannotMake, match="there was time for"):
        memorise(softmax, 2, time.perf_counter() + 0.02)
    assert not memorise(softmax, 2, SOON).learned


def test_a_rate_that_is_still_0_takes_no_time_from_other_optimizers() -> None:
    assert memorise(subject(lr=0.0), 2, SOON).by == "Adam, lr=0.001"
    assert memorise(subject(net(nn.Softmax(dim=1)), lr=0.0), 2, SOON).by.startswith("Adam")


def test_a_model_that_is_frozen_for_the_most_part_is_not_judged_by_what_is_left() -> None:
    model = net(nn.Softmax(dim=1))
    model[0].requires_grad_(False)
    with pytest.raises(CannotMake, match="frozen"):
        memorise(subject(model), 2, SOON)


def test_the_range_test_finds_where_the_loss_falls_and_where_it_rises() -> None:
    test = range_test(subject(net(width=1), F.mse_loss, (X @ CENTRES[0])[:, None] / 10, lr=0.01), SOON)
    assert test.present == 0.01
    assert 1e-3 < test.suggested < 1
    assert test.diverges > test.suggested


def test_one_step_moves_what_the_optimizer_holds() -> None:
    model = net()
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    effect = effect_of_a_step(given(model, F.cross_entropy, (X, Y), optimizer).subject())

    assert effect.unmoved == ("0.weight", "0.bias")
    assert effect.no_gradient == ()
    assert effect.after < effect.before


def test_simple_models_are_asked_for_rows_that_they_have_not_seen() -> None:
    found = yardstick(subject(), SOON)
    assert found.guess == pytest.approx(1 / 3, abs=0.1)
    assert min(found.neighbours, found.linear, found.one_hidden) > 0.9

    torch.manual_seed(1)
    lost = yardstick(subject(y=Y[torch.randperm(256)]), SOON)
    assert max(lost.neighbours, lost.linear, lost.one_hidden) < 0.6


def test_simple_models_of_numbers_explain_their_variance() -> None:
    found = yardstick(subject(net(width=1), F.mse_loss, (X @ CENTRES[0])[:, None]), SOON)
    assert not found.classes
    assert found.guess == pytest.approx(0, abs=0.1)
    assert found.linear > 0.95


def test_repeated_rows_count_once() -> None:
    rows = X[:40].repeat(4, 1)
    batches = [(rows[i : i + 32], Y[:40].repeat(4)[i : i + 32]) for i in range(0, 160, 32)]
    with pytest.raises(CannotMake, match="40 different samples"):
        yardstick(given(net(), F.cross_entropy, batches, None).subject(), SOON)


def test_an_input_that_is_overwritten_is_ignored() -> None:
    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(10, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.zeros_like(x))

    assert not input_use(subject(Blind()), SOON).depends
    assert input_use(subject(), SOON).depends


def test_columns_that_move_nothing_are_counted() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(x[:, :5])

    use = input_use(subject(Half()), SOON)
    assert (use.features, use.unused) == (10, (5, 6, 7, 8, 9))


def test_copies_learn_more_with_the_input_than_without() -> None:
    use = input_use(subject(), SOON)
    assert use.unchanged < 0.7 * use.blanked
    assert use.permuted > use.unchanged


def test_dropout_shows_in_the_difference_of_modes() -> None:
    assert modes_of(subject()) == 0.0
    assert modes_of(subject(net(nn.Dropout(0.5)))) > 0.1


def test_the_noise_scale_is_small_for_clear_data_and_large_for_noise() -> None:
    clear = cost_of(subject(loss=F.mse_loss, model=net(), y=CENTRES[Y][:, :3])).noise_scale
    torch.manual_seed(0)
    noisy = cost_of(subject(loss=F.mse_loss, model=net(), y=torch.randn(256, 3))).noise_scale
    assert clear < 100
    assert not noisy < 5 * clear


def test_the_battery_leaves_the_model_and_random_states_alone() -> None:
    one = subject()
    before, state = {k: v.clone() for k, v in one.model.state_dict().items()}, torch.get_rng_state()
    told: list[str] = []
    preflight = examine(one, "default", progress=told.append)

    assert all(torch.equal(before[k], v) for k, v in one.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert told == [trial.title for trial in battery("default")]
    assert [each.why_not for each in preflight.experiments if each.why_not] == [
        "the output has no position for each position of the input"
    ]


def test_an_experiment_that_fails_does_not_end_the_others() -> None:
    class Fragile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net()

        def forward(self, x: Tensor) -> Tensor:
            assert len(x) > 20, "needs a whole batch"
            return self.inner(x)

    preflight = examine(subject(Fragile()), "quick")
    failed = [each for each in preflight.experiments if each.why_not.startswith("it failed (AssertionError")]
    assert failed
    assert preflight.structure is not None
    assert preflight.repeats is not None


def test_time_that_is_over_is_said() -> None:
    preflight = examine(subject(), "default", seconds=1e-9)
    assert {each.why_not for each in preflight.experiments} == {"the time for experiments was over"}

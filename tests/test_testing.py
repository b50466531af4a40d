"""The assertions for a user's own tests: each passes on a sound model, and fails on a faulty one with a reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stethoscope import testing
from stethoscope.core.errors import UsageError

X, Y = torch.randn(12, 6, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
TOKENS = torch.randint(11, (4, 9), generator=torch.Generator().manual_seed(0))


def sound() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Dropout(0.2), nn.Linear(32, 3))


class Odd(nn.Module):
    """A network with one thing wrong, which is told by name."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fault = fault
        self.first, self.last = nn.Linear(6, 32), nn.Linear(32, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.first(x))
        if self.fault == "cut":
            h = h.detach()
        elif self.fault == "mixed":
            h = h - h.mean(0)
        elif self.fault == "noise":
            h = h + torch.tensor(np.random.default_rng().normal(size=h.shape), dtype=h.dtype)
        elif self.fault == "dropout in eval mode":
            h = F.dropout(h, 0.5)
        elif self.fault == "counts":
            self.calls += 1
        out = self.last(h)
        return {"bounded": 0.1 * torch.sin(out), "huge": 1000 * out, "zero": out * 0}.get(self.fault, out)


class Speech(nn.Module):
    """A small language model, causal or not."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.causal = causal
        self.embed, self.out = nn.Embedding(11, 16), nn.Linear(16, 11)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1]) if self.causal else None
        return self.out(self.block(self.embed(tokens), src_mask=mask))


def over_tokens(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * (s + x * s * (1 - s))


class Wrong(Swish):
    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        return 1.001 * Swish.backward(ctx, grad)


def test_a_model_that_learns_two_samples_learns() -> None:
    testing.assert_learns(sound(), nn.CrossEntropyLoss(), (X, Y))


def test_a_bounded_output_does_not_learn_two_samples() -> None:
    with pytest.raises(AssertionError, match=r"cannot be memorised(.|\n)*healthy"):
        testing.assert_learns(Odd("bounded"), F.cross_entropy, (X, Y))


def test_a_first_loss_near_a_guess_is_at_chance() -> None:
    testing.assert_loss_at_chance(sound(), nn.CrossEntropyLoss(), (X, Y))


def test_a_first_loss_far_above_a_guess_is_not() -> None:
    with pytest.raises(AssertionError, match=r"a guess gives 1\.099"):
        testing.assert_loss_at_chance(Odd("huge"), nn.CrossEntropyLoss(), (X, Y))


def test_a_loss_of_ones_own_needs_the_value_of_a_guess() -> None:
    with pytest.raises(UsageError, match="pass `chance`"):
        testing.assert_loss_at_chance(sound(), lambda out, y: F.cross_entropy(out, y), (X, Y))
    testing.assert_loss_at_chance(sound(), lambda out, y: F.cross_entropy(out, y), (X, Y), chance=1.1)


def test_gradients_flow_through_a_sound_model() -> None:
    testing.assert_gradients_flow(sound(), nn.CrossEntropyLoss(), (X, Y))


@pytest.mark.parametrize(("fault", "word"), [("cut", "receive no gradient: `first.weight`"), ("zero", "gradient of 0")])
def test_gradients_that_do_not_flow_are_named(fault: str, word: str) -> None:
    with pytest.raises(AssertionError, match=word):
        testing.assert_gradients_flow(Odd(fault), nn.CrossEntropyLoss(), (X, Y))


def test_a_right_backward_pass_is_correct_and_one_off_by_a_thousandth_is_not() -> None:
    testing.assert_gradients_correct(Swish, X.clone().requires_grad_())
    with pytest.raises(AssertionError, match=r"argument 0 of `Wrong` is off by 0\.001"):
        testing.assert_gradients_correct(Wrong, X.clone().requires_grad_())


def test_the_functions_inside_of_a_model_are_tested_too() -> None:
    class Net(nn.Module):
        def __init__(self, activation: type[torch.autograd.Function]) -> None:
            super().__init__()
            self.first, self.last, self.activation = nn.Linear(6, 8), nn.Linear(8, 3), activation

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.activation.apply(self.first(x)))

    testing.assert_gradients_correct(Net(Swish), loss=nn.CrossEntropyLoss(), batch=(X, Y))
    with pytest.raises(AssertionError, match="`Wrong`"):
        testing.assert_gradients_correct(Net(Wrong), loss=nn.CrossEntropyLoss(), batch=(X, Y))


def test_samples_are_kept_apart_or_the_place_where_they_meet_is_said() -> None:
    testing.assert_batch_independent(sound(), nn.CrossEntropyLoss(), (X, Y))
    with pytest.raises(AssertionError, match="samples of a batch are mixed"):
        testing.assert_batch_independent(Odd("mixed"), nn.CrossEntropyLoss(), (X, Y))


def test_a_causal_model_is_causal_and_another_one_is_not() -> None:
    testing.assert_causal(Speech(causal=True), over_tokens, (TOKENS, TOKENS))
    with pytest.raises(AssertionError, match="later positions in `block"):
        testing.assert_causal(Speech(causal=False), over_tokens, (TOKENS, TOKENS))


def test_a_parameter_that_no_optimizer_holds_does_not_train() -> None:
    model = sound()
    testing.assert_all_parameters_train(model, nn.CrossEntropyLoss(), (X, Y))
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    with pytest.raises(AssertionError, match=r"`3\.weight`, `3\.bias`"):
        testing.assert_all_parameters_train(model, nn.CrossEntropyLoss(), (X, Y), optimizer)


def test_a_generator_of_its_own_is_not_deterministic() -> None:
    testing.assert_deterministic(sound(), nn.CrossEntropyLoss(), (X, Y))
    with pytest.raises(AssertionError, match="differ in their output"):
        testing.assert_deterministic(Odd("noise"), nn.CrossEntropyLoss(), (X, Y))


@pytest.mark.parametrize("fault", ["dropout in eval mode", "counts"])
def test_eval_mode_that_draws_or_writes_is_not_pure(fault: str) -> None:
    testing.assert_eval_mode_pure(sound(), nn.CrossEntropyLoss(), (X, Y))
    with pytest.raises(AssertionError, match="in eval mode changes"):
        testing.assert_eval_mode_pure(Odd(fault), nn.CrossEntropyLoss(), (X, Y))


def test_the_model_and_the_random_states_stay_as_they_are() -> None:
    model = sound()
    weights, state = model[0].weight.detach().clone(), torch.get_rng_state()
    testing.assert_learns(model, nn.CrossEntropyLoss(), (X, Y))
    testing.assert_deterministic(model, nn.CrossEntropyLoss(), (X, Y))
    testing.assert_loss_at_chance(model, nn.CrossEntropyLoss(), (X, Y))

    assert torch.equal(model[0].weight, weights)
    assert model[0].weight.grad is None
    assert torch.equal(torch.get_rng_state(), state)

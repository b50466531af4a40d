"""Gradients beside central differences: slips of a thousandth are found, correct operations pass, kinks are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stethoscope.facts.model import GradientTest
from stethoscope.observe.preflight.given import given
from stethoscope.observe.preflight.gradients import check_function, check_functions, check_model
from stethoscope.observe.preflight.subject import CannotMake

ENOUGH = 2e-4
"""The limit of the rule `gradient-mismatch`."""
Function = type[torch.autograd.Function]


def own(forward: Callable[..., Tensor], backward: Callable[..., Any], slip: float = 0.0, which: int = 0) -> Function:
    """A function with a backward pass by hand, of which one gradient is off by a share."""

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Tensor:
            ctx.save_for_backward(*args)
            return forward(*args)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            found = backward(grad, *ctx.saved_tensors)
            found = list(found) if isinstance(found, tuple) else [found]
            found[which] = found[which] * (1 + slip)
            return tuple(found)

    return Own


def _softmax_backward(g: Tensor, x: Tensor) -> Tensor:
    s = x.softmax(-1)
    return s * (g - (g * s).sum(-1, keepdim=True))


def _norm_backward(g: Tensor, x: Tensor) -> Tensor:
    d = x - x.mean(-1, keepdim=True)
    s = (d.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    n = d / s
    return (g - g.mean(-1, keepdim=True) - n * (g * n).mean(-1, keepdim=True)) / s


FUNCTIONS: dict[str, tuple[Callable[..., Tensor], Callable[..., Any], int]] = {
    "square": (lambda x: x * x, lambda g, x: 2 * g * x, 1),
    "cube": (lambda x: x**3, lambda g, x: 3 * g * x * x, 1),
    "exp": (torch.exp, lambda g, x: g * x.exp(), 1),
    "tanh": (torch.tanh, lambda g, x: g * (1 - x.tanh() ** 2), 1),
    "sigmoid": (torch.sigmoid, lambda g, x: g * x.sigmoid() * (1 - x.sigmoid()), 1),
    "swish": (lambda x: x * x.sigmoid(), lambda g, x: g * (x.sigmoid() + x * x.sigmoid() * (1 - x.sigmoid())), 1),
    "relu": (torch.relu, lambda g, x: g * (x > 0), 1),
    "leaky relu": (lambda x: torch.where(x > 0, x, 0.1 * x), lambda g, x: g * torch.where(x > 0, 1.0, 0.1).to(x), 1),
    "softplus": (F.softplus, lambda g, x: g * x.sigmoid(), 1),
    "sine": (torch.sin, lambda g, x: g * x.cos(), 1),
    "absolute value": (torch.abs, lambda g, x: g * x.sign(), 1),
    "clamp": (lambda x: x.clamp(-1, 1), lambda g, x: g * ((x > -1) & (x < 1)), 1),
    "softmax": (lambda x: x.softmax(-1), _softmax_backward, 1),
    "log-softmax": (lambda x: x.log_softmax(-1), lambda g, x: g - x.softmax(-1) * g.sum(-1, keepdim=True), 1),
    "layer norm": (lambda x: F.layer_norm(x, x.shape[-1:]), _norm_backward, 1),
    "mean": (lambda x: x.mean(0), lambda g, x: g.expand_as(x) / x.shape[0], 1),
    "product": (lambda x, y: x * y, lambda g, x, y: (g * y, g * x), 2),
    "quotient": (lambda x, y: x / (3 + y * y), lambda g, x, y: (g / (3 + y * y), -g * x * 2 * y / (3 + y * y) ** 2), 2),
    "matrix product": (lambda x, y: x @ y.T, lambda g, x, y: (g @ y, g.T @ x), 2),
    "linear map with a bias": (lambda x, b: 2 * x + b[0], lambda g, x, b: (2 * g, _first_row(g.sum(0), b)), 2),
}


def _first_row(row: Tensor, like: Tensor) -> Tensor:
    whole = torch.zeros_like(like)
    whole[0] = row
    return whole


def _arguments(count: int) -> tuple[Tensor, ...]:
    draw = torch.Generator().manual_seed(0)
    return tuple(torch.randn(5, 7, generator=draw).requires_grad_() for _ in range(count))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_right_backward_pass_agrees(name: str) -> None:
    forward, backward, count = FUNCTIONS[name]
    test = check_function(own(forward, backward), _arguments(count), None)

    assert test is not None
    assert test.tested
    assert test.error < ENOUGH


@pytest.mark.parametrize("slip", [1e-3, -1e-3])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_that_is_off_by_a_thousandth_is_found_with_its_argument(name: str, slip: float) -> None:
    forward, backward, count = FUNCTIONS[name]
    test = check_function(own(forward, backward, slip, count - 1), _arguments(count), None)

    assert test is not None
    assert not test.design
    assert test.error == pytest.approx(1e-3, rel=0.1)
    assert test.argument == count - 1


def test_a_straight_through_estimator_is_one_by_design() -> None:
    test = check_function(own(torch.round, lambda g, x: g), _arguments(1), None)
    assert test is not None
    assert test.design == "straight-through"


def test_gradient_reversal_is_one_by_design() -> None:
    test = check_function(own(lambda x: x.clone(), lambda g, x: -0.5 * g), _arguments(1), None)
    assert test is not None
    assert test.design == "identity"


class Around(nn.Module):
    """An operation between two linear maps."""

    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.operation = nn.Linear(6, 12), operation

    def forward(self, x: Tensor) -> Tensor:
        return self.operation(self.first(x))


def _module(module: nn.Module, *shape: int) -> Callable[[Tensor], Tensor]:
    """A layer, in double precision as soon as its input is."""
    return lambda h: module.to(h.dtype)(h.reshape(h.shape[0], *shape) if shape else h)


OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **{
        name: getattr(F, name)
        for name in ("relu", "gelu", "silu", "elu", "selu", "celu", "softplus", "mish", "tanhshrink", "hardswish",
                     "hardtanh", "relu6", "leaky_relu", "logsigmoid", "softsign", "hardsigmoid")
    },
    **{name: getattr(torch, name) for name in ("sin", "cos", "exp", "tanh", "sigmoid", "atan", "erf", "square", "abs")},
    "softmax": lambda h: h.softmax(-1),
    "log_softmax": lambda h: h.log_softmax(-1),
    "logsumexp": lambda h: h.logsumexp(-1),
    "root": lambda h: (h.square() + 1).sqrt(),
    "logarithm": lambda h: (h.square() + 1).log(),
    "power": lambda h: (h.square() + 1) ** 1.7,
    "quotient": lambda h: h / (1 + h.square()),
    "outer product": lambda h: torch.einsum("bi,bj->bij", h, h),
    "batched product": lambda h: h.view(-1, 3, 4) @ h.view(-1, 4, 3),
    "maximum": lambda h: h.max(-1).values,
    "minimum": lambda h: h.min(0).values,
    "sort": lambda h: h.sort(-1).values,
    "cumulative sum": lambda h: h.cumsum(-1),
    "cumulative product": lambda h: (1 + 0.1 * h).cumprod(-1),
    "norm": lambda h: h.norm(dim=-1),
    "normalize": lambda h: F.normalize(h, dim=-1),
    "cosine similarity": lambda h: F.cosine_similarity(h[:, :6], h[:, 6:]),
    "standard deviation": lambda h: h.std(-1),
    "where": lambda h: torch.where(h > 0, h, 0.2 * h.sin()),
    "gather": lambda h: h.gather(1, torch.arange(len(h))[:, None] % 12),
    "concatenate": lambda h: torch.cat([h, h.square()], -1),
    "roll": lambda h: h.roll(1, -1) * h,
    "pad": lambda h: F.pad(h, (2, 2)).square(),
    "layer norm": lambda h: F.layer_norm(h, (12,)),
    "group norm": lambda h: F.group_norm(h.view(-1, 4, 3), 2),
    "instance norm": lambda h: F.instance_norm(h.view(-1, 3, 4)),
    "batch norm": _module(nn.BatchNorm1d(12)),
    "linear": _module(nn.Linear(12, 5)),
    "bilinear": lambda h: F.bilinear(h[:, :6], h[:, 6:], torch.ones(2, 6, 6, dtype=h.dtype)),
    "convolution 1d": _module(nn.Conv1d(3, 4, 3, padding=1), 3, 4),
    "convolution 2d": _module(nn.Conv2d(3, 4, 2), 3, 2, 2),
    "transposed convolution": _module(nn.ConvTranspose2d(3, 2, 2), 3, 2, 2),
    "average pooling": lambda h: F.avg_pool1d(h.view(-1, 3, 4), 2),
    "max pooling": lambda h: F.max_pool1d(h.view(-1, 3, 4), 2),
    "adaptive pooling": lambda h: F.adaptive_avg_pool1d(h.view(-1, 3, 4), 3),
    "interpolate": lambda h: F.interpolate(h.view(-1, 3, 4), scale_factor=2.0, mode="linear"),
    "lstm": lambda h: nn.LSTM(4, 5, batch_first=True, dtype=h.dtype)(h.view(-1, 3, 4))[0],
    "gru": lambda h: nn.GRU(4, 5, batch_first=True, dtype=h.dtype)(h.view(-1, 3, 4))[0],
    "attention": lambda h: F.scaled_dot_product_attention(*(h.view(-1, 3, 4) * s for s in (1, 2, 3))),
    "cross-entropy": lambda h: F.cross_entropy(h, torch.arange(len(h)) % 12),
    "solve": lambda h: torch.linalg.solve(torch.eye(4, dtype=h.dtype) * 5 + h[:4, :4], h[:4, 4:8]),
    "determinant": lambda h: torch.det(torch.eye(4, dtype=h.dtype) * 5 + h[:4, :4]),
}  # fmt: skip


def _checked(operation: Callable[[Tensor], Tensor]) -> GradientTest:
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    taken = given(Around(operation), lambda out, y: out.square().mean(), (x, x), None)
    return check_model(taken.subject())


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_of_torchs_pass(name: str) -> None:
    test = _checked(OPERATIONS[name])

    assert test.tested
    assert test.error < ENOUGH


def test_there_are_sixty_operations_and_twenty_functions() -> None:
    assert len(OPERATIONS) >= 60
    assert len(FUNCTIONS) >= 20


def test_a_kink_at_which_all_units_stand_is_not_taken_for_a_slip() -> None:
    model = Around(lambda h: torch.relu(h) + 1)
    with torch.no_grad():  # relu(0): the slope is 0 on one side and 1 on the other, and the gradient one of them
        model.first.weight.zero_()
        model.first.bias.zero_()
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    test = check_model(given(model, lambda out, y: out.square().mean(), (x, x), None).subject())

    assert test.kinks
    assert not test.tested


def test_what_is_taken_out_of_the_graph_counts_as_a_constant() -> None:
    for stopped in (
        lambda h: h + (h.round() - h).detach(),
        lambda h: h * h.data.exp(),
        lambda h: h * _without_gradients(h),
    ):
        test = _checked(stopped)
        assert test.tested
        assert test.error < ENOUGH


def _without_gradients(h: Tensor) -> Tensor:
    with torch.no_grad():
        return h.exp().sum(-1, keepdim=True)


def test_a_function_is_known_under_another_name_of_its_apply() -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return grad * 2 * x**2

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.cube = nn.Linear(4, 3), Cube.apply

        def forward(self, x: Tensor) -> Tensor:
            return self.cube(self.inner(x))

    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    (test,) = check_functions(given(Net(), nn.MSELoss(), (x, x[:, :3]), None).subject())
    assert test.what == "Cube"
    assert test.error > 0.3


def test_a_factor_that_is_1_is_no_identity_by_design() -> None:
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
            ctx.save_for_backward(x, factor)
            return x * factor

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            x, factor = ctx.saved_tensors
            return grad * factor, (grad * x).mean(0)

    test = check_function(Scale, (torch.randn(5, 3, requires_grad=True), torch.ones(3, requires_grad=True)), None)
    assert test is not None
    assert (test.design, test.argument) == ("", 1)


def test_rows_of_an_embedding_that_pad_have_no_gradient_on_purpose() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embed = nn.Embedding(9, 6, padding_idx=0)
            with torch.no_grad():
                self.embed.weight[0] = 1.0

        def forward(self, tokens: Tensor) -> Tensor:
            return self.embed(tokens).tanh().mean(1)

    tokens = torch.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6], [7, 8, 0]])
    test = check_model(given(Net(), lambda out, y: out.square().mean(), (tokens, tokens), None).subject())

    assert test.tested
    assert test.error < ENOUGH


def test_a_wrong_gradient_deep_inside_shows_in_the_whole_model() -> None:
    wrong = own(torch.tanh, lambda g, x: g * (1 - x.tanh() ** 2), 0.05)
    test = _checked(lambda h: wrong.apply(h))

    assert test.error > ENOUGH
    assert math.isclose(test.analytic, 1.05 * test.numeric, rel_tol=1e-3)


def test_a_loss_that_is_computed_in_single_precision_is_not_measured_in_double() -> None:
    """As `ForCausalLMLoss` of Transformers does: scores are cast, and their loss is divided by a count afterwards."""

    class Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).float().double()

    torch.manual_seed(0)
    taken = given(Scores(), lambda out, y: F.cross_entropy(out, y), (torch.randn(8, 6), torch.arange(8) % 3), None)

    with pytest.raises(CannotMake, match="single precision"):
        check_model(taken.subject())


def test_a_loss_of_nearly_nothing_is_no_slip() -> None:
    """Unscaled inputs make outputs of hundreds, and a loss that is the rounding of their differences."""
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    x = torch.tensor([[300.0, 200.0, 100.0], [250.0, 300.0, 150.0], [400.0, 100.0, 200.0], [350.0, 220.0, 180.0]])
    y = net(x).argmax(1)
    with torch.no_grad():
        margin = (net(x).gather(1, y[:, None]) - net(x).gather(1, 1 - y[:, None])).min()
        net.weight *= 33 / margin
        net.bias *= 33 / margin
    test = check_model(given(net, lambda out, y: F.cross_entropy(out, y), (x, y), None).subject())

    assert test.tested
    assert test.error < ENOUGH

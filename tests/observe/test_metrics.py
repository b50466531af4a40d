"""What a script measures by itself: comparisons that are no accuracy are heard, all others are not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stethoscope.facts.training import History
from stethoscope.observe.training.session import Session
from stethoscope.observe.training.taps import Taps

Measure = Callable[[Tensor, Tensor], Tensor]


def heard(measure: Measure, outputs: int = 5, rows: int = 12) -> History:
    """Five steps, each followed by a pass that is measured like this."""
    torch.manual_seed(0)
    model = nn.Linear(6, outputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    session = Session()
    taps = Taps(session)
    taps.put_on()
    try:
        for _ in range(5):
            x, y = torch.randn(rows, 6), torch.randint(0, max(2, outputs), (rows,))
            answer = model(x)
            loss = F.cross_entropy(answer, y) if outputs > 1 else F.mse_loss(answer, y.float()[:, None])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                measure(model(x), y)
    finally:
        taps.take_off()
    return session.history()


@pytest.mark.parametrize(
    ("measure", "outputs", "kind"),
    [
        (lambda out, y: out.argmax(1, keepdim=True).eq(y).sum(), 5, "pairs"),
        (lambda out, y: ((out.sigmoid() > 0.5).float() == y).float().mean(), 1, "pairs"),
        (lambda out, y: torch.eq(y, (out > 0).long()).sum(), 1, "pairs"),
        (lambda out, y: (torch.argmax(out, dim=0) == y[:5]).float().mean(), 5, "axis"),
        (lambda out, y: (out.softmax(1).max(0).indices == y[:5]).float().mean(), 5, "axis"),
        (lambda out, y: (torch.max(out, 0)[1][:4] == y[:4]).float().mean(), 5, "axis"),
        (lambda out, y: (out.argmax() == y).float().mean(), 5, "axis"),
    ],
)  # fmt: skip
def test_a_comparison_that_is_no_accuracy_is_heard(measure: Measure, outputs: int, kind: str) -> None:
    (comparison,) = heard(measure, outputs).comparisons
    assert comparison.kind == kind
    assert comparison.times == 5
    assert comparison.site is not None
    assert __file__.endswith(comparison.site.file)


@pytest.mark.parametrize(
    ("measure", "outputs", "rows"),
    [
        (lambda out, y: (out.argmax(1) == y).float().mean(), 5, 12),
        (lambda out, y: (out.argmax(1, keepdim=True) == y[:, None]).float().mean(), 5, 12),
        (lambda out, y: ((out > 0).squeeze(1) == y).float().mean(), 1, 12),
        (lambda out, y: y[:, None] == y, 5, 12),  # which samples have the same label
        (lambda out, y: out.argmax(1)[:, None] == out.argmax(1), 5, 12),
        (lambda out, y: out.argmax(1)[:, None] == torch.arange(5), 5, 5),  # one-hot
        (lambda out, y: out.argmax(0) == torch.arange(5), 5, 5),  # pairs, found from both sides
        (lambda out, y: out.argmax(0), 5, 12),  # the most typical sample of each class
        (lambda out, y: out.argmax(1) == 3, 5, 12),
        (lambda out, y: out.max() == out, 5, 12),
    ],
)
def test_other_comparisons_are_not(measure: Measure, outputs: int, rows: int) -> None:
    assert not heard(measure, outputs, rows).comparisons


def test_everything_is_as_before_afterwards() -> None:
    inherited = {name: name in vars(Tensor) for name in ("argmax", "max", "eq", "__eq__")}
    functions = torch.argmax, torch.max, torch.eq
    heard(lambda out, y: out.argmax(1) == y)
    assert {name: name in vars(Tensor) for name in inherited} == inherited
    assert (torch.argmax, torch.max, torch.eq) == functions
    assert (torch.ones(2) == None) is False  # noqa: E711


def test_a_kind_of_tensor_that_looks_functions_up_is_left_alone() -> None:
    # In a process of its own: other tests make such tensors, too.
    program = """
from torch import Tensor
from stethoscope.observe.training.metric_taps import has_other_tensors
class Spread(Tensor):
    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise NotImplementedError
print(has_other_tensors())
class Noted(Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return super().__torch_function__(func, types, args, kwargs)
print(has_other_tensors())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "True"]

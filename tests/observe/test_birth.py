"""Where a value that is no number came from: operation, line and module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stethoscope.facts.training import Birth


class _Net(nn.Module):
    """A linear layer and an operation that breaks once its input is what `trap` makes of it."""

    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return self.operation(self.inner(x))


OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "log": lambda h: torch.log(h * 0 + 1 - (h.detach().abs() > 50).float()),
    "div": lambda h: h / (h.detach().abs() < 50).float(),
    "exp": lambda h: torch.exp(h),
    "sqrt": lambda h: torch.sqrt(50 - h.abs()),
}


def _birth(listening: Any, operation: Callable[[Tensor], Tensor], poison: Tensor) -> Birth | None:
    model = _Net(operation)
    with listening() as session:
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
        for step in range(6):
            x = poison if step == 4 else torch.randn(2, 3) * 0.1
            optimizer.zero_grad()
            model(x).mean().backward()
            optimizer.step()
        birth: Birth | None = session.history().birth
    return birth


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_operation_its_line_and_its_module_are_named(listening: Any, name: str) -> None:
    birth = _birth(listening, OPERATIONS[name], torch.full((2, 3), 3000.0))

    assert birth is not None
    assert (birth.step, birth.where, birth.operation, birth.certain) == (4, "forward", name, True)
    assert birth.site is not None
    assert birth.site.file.endswith("test_birth.py")
    assert f'"{name}"' in birth.site.text
    assert birth.detail


def test_a_batch_that_holds_nan_is_named_before_any_operation(listening: Any) -> None:
    birth = _birth(listening, OPERATIONS["log"], torch.tensor([[1.0, float("nan"), 1.0]]))

    assert birth is not None
    assert birth.where == "input"
    assert birth.detail.startswith("1 of 3")


def test_weights_that_an_update_broke_are_told_from_a_forward_fault(listening: Any) -> None:
    model = nn.Linear(3, 1)
    with listening() as session:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(6):
            optimizer.zero_grad()
            model(torch.ones(2, 3)).sum().backward()
            if step == 3:
                model.weight.grad.fill_(float("nan"))
            optimizer.step()
        birth = session.history().birth

    assert birth is not None
    assert birth.step == 4
    assert birth.where in ("parameter", "backward")


def test_a_healthy_run_has_no_birth(listening: Any) -> None:
    assert _birth(listening, OPERATIONS["exp"], torch.zeros(2, 3)) is None


def test_the_rows_of_the_batch_are_named(listening: Any) -> None:
    poison = torch.tensor([[0.1, 0.1, 0.1], [3000.0, 3000.0, 3000.0]])
    birth = _birth(listening, OPERATIONS["div"], poison)

    assert birth is not None
    assert (birth.rows, birth.number_type) == ((1,), "float32")


def test_overflow_in_half_precision_is_told_by_its_type(listening: Any) -> None:
    birth = _birth(listening, lambda h: torch.exp(h.half()).float(), torch.full((2, 3), 30.0))

    assert birth is not None
    assert (birth.operation, birth.number_type) == ("exp", "float16")


def test_a_result_of_one_axis_is_read_too(listening: Any) -> None:
    birth = _birth(listening, lambda h: torch.log(50 - h[:, 0].abs()), torch.full((2, 3), 3000.0))

    assert birth is not None
    assert (birth.where, birth.operation, birth.rows) == ("forward", "log", (0, 1))

"""Steps that come from JAX, whose losses may still be on their way when a step returns."""

from __future__ import annotations

from typing import Any

import numpy as np

from stethoscope.observe.arrays.session import BLOCK, ArraySession


class Loss:
    """A number that notes when it is read."""

    size = 1

    def __init__(self, step: int, read: list[int]) -> None:
        self._step, self._read = step, read

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self._read.append(self._step)
        return np.array(1.0 / (1 + self._step))


def test_the_newest_losses_are_not_waited_for_and_none_is_lost() -> None:
    session, read = ArraySession(), list[int]()
    for step in range(BLOCK):
        session.stepped(Loss(step, read), None, None)

    assert read == list(range(BLOCK // 2))
    assert session.history().curves[0].steps.tolist() == list(range(BLOCK))

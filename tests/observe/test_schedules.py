"""What is heard of learning-rate schedules, and of each loss function's own value."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

STEPS_PER_EPOCH = 5


def _epochs(session: Any, epochs: int) -> Any:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    for _ in range(epochs):
        for _ in range(STEPS_PER_EPOCH):
            x = torch.randn(8, 4)
            optimizer.zero_grad()
            loss = 3 * F.cross_entropy(model(x), x[:, :3].argmax(1)) + 1.0
            loss.backward()
            optimizer.step()
        schedule.step()
    return session.history()


def test_a_schedule_is_known_by_its_settings_and_its_calls(listening: Any) -> None:
    with listening() as session:
        [schedule] = _epochs(session, 20).loop.schedules

    assert (schedule.kind, schedule.settings["step_size"], schedule.settings["gamma"]) == ("StepLR", 2, 0.5)
    assert schedule.calls == 20
    assert schedule.first_calls == tuple(range(5, 41, 5))
    assert schedule.last_call == 100
    assert schedule.site is not None
    assert schedule.site.text == "schedule.step()"


def test_a_loss_function_is_heard_beside_what_is_made_of_it(listening: Any) -> None:
    with listening() as session:
        history = _epochs(session, 4)

    [loss] = history.losses
    whole = history.curve("loss")
    assert whole is not None
    assert loss.seen_steps.tolist() == list(range(20))
    np.testing.assert_allclose(3 * loss.seen_values + 1, whole.values, rtol=1e-6)

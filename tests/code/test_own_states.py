"""States that are kept and may be no weights that change: nothing is said of them by default."""

from __future__ import annotations

import pytest

from code_programs import SHOWN, how_sure
from stethoscope.rules.loop.checkpoint_aliased import CheckpointAliased

KEPT = """
    def train(model, data, optimizer, score, teacher, tracker):
        best = 0
        for p in teacher.parameters():
            p.requires_grad = False
        for epoch in range(10):
            for x, y in data:
                optimizer.zero_grad()
                F.mse_loss(model(x), teacher(x)).backward()
                optimizer.step()
                # BETWEEN
            accuracy = score(model)
            if accuracy > best:
                best = accuracy
                state = model.state_dict()
        torch.save(state, "best.pt")
"""
HANDED = """
    import copy
    import torch.nn.functional as F

    class Stop:
        def __init__(self):
            self.least, self.state = 9.0, None

        def __call__(self, loss, model):
            if loss < self.least:
                self.least = loss
                self.state = model.state_dict()

        def restore(self, model):
            model.load_state_dict(self.state)

    def train(model, data, optimizer, validate):
        stop = Stop()
        for epoch in range(10):
            for x, y in data:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            stop(validate(model), copy.deepcopy(model))
        stop.restore(model)
"""


@pytest.mark.parametrize("owner", ["tracker", "teacher", "data"])
def test_a_state_of_what_is_no_model_or_does_not_change_is_possible_at_most(owner: str) -> None:
    text = KEPT.replace("state = model", f"state = {owner}")
    assert -1 < how_sure(CheckpointAliased, text) < SHOWN
    assert how_sure(CheckpointAliased, KEPT) >= SHOWN


@pytest.mark.parametrize("between", ["update_ema(model, teacher)", "teacher.load_state_dict(model.state_dict())"])
def test_a_frozen_model_that_is_written_to_changes(between: str) -> None:
    text = KEPT.replace("state = model", "state = teacher").replace("# BETWEEN", between)
    assert how_sure(CheckpointAliased, text) >= SHOWN


def test_what_is_used_as_a_model_is_one_by_any_name() -> None:
    text = KEPT.replace("state = model", "state = tracker")
    assert how_sure(CheckpointAliased, text.replace("# BETWEEN", "tracker.train()")) >= SHOWN


def test_copies_that_are_handed_over_stay_as_they_are() -> None:
    assert -1 < how_sure(CheckpointAliased, HANDED) < SHOWN
    assert how_sure(CheckpointAliased, HANDED.replace("copy.deepcopy(model)", "model")) >= SHOWN


def test_what_ends_a_loop_or_is_saved_at_once_is_no_fault_that_is_sure() -> None:
    ending = KEPT.replace("for epoch in range(10):", "done = False\n        while not done:").replace(
        "best = accuracy", "ENDS = True"
    )
    assert how_sure(CheckpointAliased, ending.replace("ENDS", "done")) == -1
    assert how_sure(CheckpointAliased, ending.replace("ENDS", "better")) >= SHOWN
    saved = KEPT.replace("state = model.state_dict()", "state = model.state_dict(); torch.save(KEPT, 'now.pt')")
    saved = saved.replace("; ", "\n                ")
    assert -1 < how_sure(CheckpointAliased, saved.replace("KEPT", "state")) < SHOWN
    assert how_sure(CheckpointAliased, saved.replace("KEPT", "data")) >= SHOWN

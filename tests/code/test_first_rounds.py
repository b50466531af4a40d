"""Trainings that end the program in their first round, as a look at one batch that was left there does."""

from __future__ import annotations

import pytest

from code_programs import IMPORTS, SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad
from stethoscope.rules.loop.training_in_eval_mode import TrainingInEvalMode
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph
from stethoscope.rules.parameters.dropout_without_effect import DropoutWithoutEffect

SCRIPT = """
import sys
from torch.utils.data import DataLoader
from data import train_set, test_set

def evaluate():
    model.eval()
    right = 0
    for x, y in DataLoader(test_set):
        right += model(x).argmax(1).eq(y).sum().item()
    return right

model = nn.Sequential(nn.Linear(3, 9), nn.Dropout(), nn.Linear(9, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
if __name__ == "__main__":
    model.train()
    for epoch in range(9):
        for x, y in DataLoader(train_set, shuffle=True):
            CLEARED
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            LOOKED
        print(evaluate())
"""
CLEARED = "optimizer.zero_grad()"
ENDS = ["exit()", "quit()", "sys.exit(0)", "with torch.no_grad(): exit()", "print(evaluate()); exit()"]
GOES_ON = ["if epoch: exit()", "print('exit()')", "if epoch: continue\n            exit()"]


def _sure(rule: type[Rule], looked: str, cleared: str = CLEARED) -> int:
    return how_sure(rule, IMPORTS + SCRIPT.replace("LOOKED", looked).replace("CLEARED", cleared))


@pytest.mark.parametrize("looked", ENDS)
def test_what_one_round_does_to_the_next_does_no_harm_where_there_is_none(looked: str) -> None:
    assert _sure(MissingZeroGrad, looked, "pass") < SHOWN
    assert _sure(TrainingInEvalMode, looked) < SHOWN


@pytest.mark.parametrize("looked", GOES_ON)
def test_a_loop_that_may_go_on_has_a_next_round(looked: str) -> None:
    assert _sure(MissingZeroGrad, looked, "pass") >= SHOWN
    assert _sure(TrainingInEvalMode, looked) >= SHOWN


@pytest.mark.parametrize("looked", ENDS[:4])
def test_a_function_of_which_only_what_is_not_reached_speaks(looked: str) -> None:
    assert _sure(ValidationBuildsGraph, looked) < SHOWN


@pytest.mark.parametrize("looked", [*GOES_ON, ENDS[4]])
def test_a_function_of_which_something_else_speaks(looked: str) -> None:
    assert _sure(ValidationBuildsGraph, looked) >= SHOWN


def test_what_stands_in_another_branch_is_reached() -> None:
    first, last = "    for epoch", "        print(evaluate())\n"
    text = IMPORTS + SCRIPT.replace("CLEARED", CLEARED).replace("LOOKED", "exit()")
    text = text.replace(first, "    if epochs:\n      for epoch").replace(last, "    print(evaluate())\n")
    assert how_sure(ValidationBuildsGraph, text.replace("from data import", "from data import epochs,")) >= SHOWN


FORWARD = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells = nn.LSTM(3, 3, dropout=0.5)

    def forward(self, x):
        x = self.cells(x)[0]
        END
        return x
"""


@pytest.mark.parametrize("end", ["exit()", "print(x); quit()"])
def test_a_network_that_ends_the_program(end: str) -> None:
    assert how_sure(DropoutWithoutEffect, IMPORTS + FORWARD.replace("END", end)) < SHOWN
    assert how_sure(DropoutWithoutEffect, IMPORTS + FORWARD.replace("END", f"if not len(x): {end}")) >= SHOWN

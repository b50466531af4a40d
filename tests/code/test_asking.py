"""What a file is not asked, since it cannot answer: speed that nobody sees in the findings."""

from __future__ import annotations

from pathlib import Path

import pytest

from code_programs import code_of
from stethoscope.diagnosing.review import review
from stethoscope.observe.code import project
from stethoscope.observe.code.project import Project

MODELS = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)
            self.drop = nn.Dropout(0.1)

        def forward(self, x):
            return self.drop(torch.softmax(self.fc(x), 1))

    def net():
        return Net()
"""
TRAINING = """
    def train(model, optimizer, loader):
        for x, y in loader:
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()

    def count(model):
        return sum(one.numel() for one in model.parameters())
"""


def test_models_alone_are_not_asked_what_happens_in_which_order() -> None:
    code = code_of(MODELS)
    review(code)
    assert "events" not in code.memo

    code = code_of(TRAINING)
    review(code)
    assert "events" in code.memo


def test_functions_that_hold_a_call_are_told_by_its_name() -> None:
    code = code_of(TRAINING)
    assert [code.functions[number].name for number in code.functions_with(".step", ".backward")] == ["train"]
    assert code.functions_with(".eval") == []


def test_comments_of_what_is_imported_are_taken_away_only_where_a_word_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    real = project.uncommented
    monkeypatch.setattr(project, "uncommented", lambda lines: taken.append(1) or real(lines))
    (tmp_path / "steps.py").write_text("def go(loss):\n    loss.backward()  # and then zero_grad()\n")
    (tmp_path / "train.py").write_text("import steps\n\nsteps.go(model(x).backward())\n")
    linked = Project().read(tmp_path / "train.py", "train.py").linked

    assert not linked.say("set_epoch")
    assert not taken
    assert not linked.say("zero_grad"), "it is a comment"
    assert linked.say(".backward(")
    assert len(taken) == 1

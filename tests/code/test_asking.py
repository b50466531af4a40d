"""What a file is not asked, since it cannot answer: speed that nobody sees in the findings."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from code_programs import code_of
from stethoscope.diagnosing.review import review
from stethoscope.facts.code import At, Code
from stethoscope.facts.uses import times_said
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


SAYING = {
    "alone": "self.fc",
    "in a call": "x = self.fc(self.fc(x))",
    "as the beginning of a longer name": "self.fc.weight + self.fc.bias",
    "as a part of other words": "self.fc2, myself.fc, self.fcs, _self.fc_, seĺf.fc, self.fcé",
    "of something else": "other.self.fc",
    "after a number": "1self.fc 1.self.fc",
    "in two lines": "self\\\n    .fc\nself.fc\n",
    "in a comment": "# self.fc",
    "not at all": "",
}


@pytest.mark.parametrize("text", SAYING.values(), ids=SAYING)
def test_how_often_a_text_says_a_name_agrees_with_a_list_of_all_names(text: str) -> None:
    names = re.findall(r"(?<![\w.])[^\W\d]\w*(?:\.\w+)*", text.partition("#")[0])
    for asked in ("self", "self.fc", "self.fc.weight", "fc"):
        listed = sum(name == asked or name.startswith(f"{asked}.") for name in names)
        assert times_said(Code("a.py", lines=tuple(text.split("\n"))), asked) == listed


def test_a_stretch_is_asked_for_itself() -> None:
    code = code_of("self.a = 1\nself.b = self.a  # self.b\n")
    lines = len(code.lines) - 2
    assert times_said(code, "self.a") == 2
    assert times_said(code, "self.a", At(lines + 1, 0, lines + 1, 10)) == 1


def test_lint_imports_no_rule_that_reads_no_code_and_does_not_tidy_up_before_it_ends(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import torch\n\nloss.backward()\n")
    script = """
import gc, sys
sys.argv = ["stethoscope", "lint", "train.py", "--no-cache"]
from stethoscope.cli.main import main
try:
    main()
finally:
    print([name for name in sys.modules if name.endswith(("dying_relu", "missing_zero_grad", "diagnosing.prove"))])
    print("kept from the collector:", gc.get_freeze_count() > 10_000)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == [
        "['stethoscope.rules.loop.missing_zero_grad']", "kept from the collector: True",
    ]  # fmt: skip


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

"""What the bench of recall takes for a fault: an edit that ends in an error, or that changes nothing, is none."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
EVALUATION = """
    def evaluate(model, loader):
        model.eval()
        found = []
        with torch.no_grad():
            for x, y in loader:
                scores = model(x)
                INSIDE
                total += loss(scores, y).item()
        BEHIND
        return found
"""
LISTED = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
            DONE

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x
"""


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], int]:
    """How many faults of a kind a module of the bench makes of a text."""
    monkeypatch.syspath_prepend(str(BENCH))

    def number(module: str, kind: str, text: str) -> int:
        script = import_module("injecting").Script
        text = textwrap.dedent(text)
        return len(list(getattr(import_module(module), kind)(script(text, ast.parse(text)))))

    return number


@pytest.mark.parametrize(
    ("inside", "behind", "faults"),
    [
        ("found.append(scores.argmax(1).cpu().numpy())", "pass", 1),
        ("found.append(scores.detach().cpu().numpy())", "pass", 1),
        ("found.append(y.numpy())", "pass", 1),
        ("found.append(scores)", "found = torch.cat(found).max(1)[0].tolist()", 1),
        ("found.append(scores.cpu().numpy())", "pass", 0),
        ("found.append(torch.sigmoid(scores).cpu().numpy())", "pass", 0),
        ("found.append(np.array(scores[0]))", "pass", 0),
        ("best = scores if y is None else scores[0]; found.append(best.numpy())", "pass", 0),
        ("found.append(scores)", "found = torch.cat(found).numpy()", 0),
        ("found += [one.cpu().numpy() for _, one in enumerate(scores)]", "pass", 0),
        ("found += [one.cpu().numpy() for _, one in enumerate(y)]", "pass", 1),
    ],
)
def test_an_answer_that_becomes_an_array_is_no_silent_fault(
    count: Callable[[str, str, str], int], inside: str, behind: str, faults: int
) -> None:
    text = EVALUATION.replace("INSIDE", inside).replace("BEHIND", behind)
    assert count("injections", "no_grad_removed", text) == faults


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (LISTED.replace("DONE", "pass"), 1),
        (LISTED.replace("DONE", "self.layers = nn.ModuleList(self.layers)"), 0),
        (LISTED.replace("DONE", "self.layers = nn.Sequential(*self.layers)"), 0),
        (LISTED.replace("DONE", "pass").replace("in self.layers", "in self.others"), 0),
        (LISTED.replace("DONE", "pass").replace("nn.Linear(3, 3)", "nn.Upsample(3)"), 0),
        (LISTED.replace("DONE", "self.layers.apply(first)"), 0),  # no list has that: it fails, and says so
        (LISTED.replace("DONE", "pass") + "\n    optimizer = SGD([*Net().layers.parameters()])\n", 0),
        (LISTED.replace("DONE", "pass") + "\n    optimizer = SGD([*Net().layers[0].parameters()])\n", 1),
    ],
)
def test_a_list_that_is_registered_after_all_or_does_nothing_is_no_fault(
    count: Callable[[str, str, str], int], text: str, faults: int
) -> None:
    assert count("injections_parts", "module_list_removed", text) == faults


ONE_STEP = """
    def demo(model, x, y):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        FIRST
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
"""
FILLED_IN = """
    optimizer = None
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
"""
TOLD = """
    sampler = DistributedSampler(data)
    loader = DataLoader(data, sampler=sampler)
    for number, (x, y) in enumerate(loader):
        sampler.set_epoch(number)
        F.mse_loss(model(x), y).backward()
        optimizer.step()
"""
IN_EPOCHS = """
    sampler = DistributedSampler(data)
    for epoch in range(9):
        sampler.set_epoch(epoch)
        for x, y in DataLoader(data, sampler=sampler):
            F.mse_loss(model(x), y).backward()
            optimizer.step()
"""
FEATURES = """
    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(*vgg19(weights="DEFAULT").features[:18], PART)

        def forward(self, x):
            return self.layers(x)

    class Maker(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

    maker, features = Maker(), None
    features = Features()
    features.eval()
    for x, y in loader:
        F.l1_loss(features(maker(x)), features(y)).backward()
        optimizer.step()
"""
STRANGERS = """
    class Shown(BASE):
        def __init__(self):
            super().__init__()
            self.layers = [1, 2]

        def forward(self, x):
            return x * self.layers[0]

    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, 3)])
"""


@pytest.mark.parametrize(
    ("kind", "text", "faults"),
    [
        ("zero_grad_removed", ONE_STEP.replace("FIRST", "pass"), 0),
        ("zero_grad_removed", ONE_STEP.replace("optimizer = torch", "other = torch").replace("FIRST", "pass"), 1),
        ("step_removed", FILLED_IN, 0),
        ("step_removed", FILLED_IN.replace("None", "torch.optim.SGD(model.parameters(), lr=0.1)"), 1),
        ("set_epoch_removed", TOLD, 0),
        ("set_epoch_removed", IN_EPOCHS, 1),
        ("eval_removed", FEATURES.replace("PART", "nn.ReLU()"), 0),
        ("eval_removed", FEATURES.replace("PART", "nn.Dropout(0.5)"), 1),
        ("eval_removed", FEATURES.replace("PART", "nn.ReLU()").replace("= Features()", "= Features(maker)"), 1),
    ],
)
def test_what_changes_nothing_is_no_fault(
    count: Callable[[str, str, str], int], kind: str, text: str, faults: int
) -> None:
    assert count("injections", kind, text) == faults


@pytest.mark.parametrize(("base", "faults"), [("nn.Module", 0), ("Listed", 1)])
def test_a_list_that_only_a_stranger_reads_does_nothing(
    count: Callable[[str, str, str], int], base: str, faults: int
) -> None:
    assert count("injections_parts", "module_list_removed", STRANGERS.replace("BASE", base)) == faults

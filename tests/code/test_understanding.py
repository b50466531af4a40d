"""What is read out of forms: kinds of things, layers and outputs, loops, evaluations."""

from __future__ import annotations

import pytest

from code_programs import code_of
from stethoscope.facts.code import Code, Name, Value
from stethoscope.facts.evaluations import evaluations_of
from stethoscope.facts.layers import has_modes, output_of
from stethoscope.facts.loops import Loop, loops_of
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import Thing
from stethoscope.observe.code.gather import facts_of
from stethoscope.observe.code.reading import Source

NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out(x)

"""


def shown(code: Code) -> Value:
    """What `show` is called with."""
    return next(c.arguments[0] for c in code.calls if isinstance(c.receiver, Name) and c.receiver.name == "show")


def thing(text: str) -> Thing:
    """What is shown."""
    code = code_of(text)
    return thing_of(code, shown(code))


def kinds(loop: Loop) -> list[str]:
    return [event.kind for event in loop.events if event.kind != "forward"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("show(torch.optim.Adam(p))", "optimizer"),
        ("o = torch.optim.Adam(p)\nshow(torch.optim.lr_scheduler.StepLR(o, 3))", "scheduler"),
        ("show(nn.Linear(1, 2).to(device))", "module"),
        ("m = nn.Linear(1, 2)\nm = m.cuda()\nm = nn.DataParallel(m)\nm = torch.compile(m)\nshow(m)", "module"),
        ("show(nn.CrossEntropyLoss())", "loss"),
        ("show(DataLoader(d))", "loader"),
        ("m = nn.Linear(1, 2)\nshow(m(x).argmax(1) == y)", "tensor"),
        ("m = nn.Linear(1, 2)\nshow(m(x).sum().item())", "number"),
        ("def make():\n    return torch.optim.SGD(p)\nshow(make())", "optimizer"),
        ("def make():\n    return nn.Linear(1, 2), torch.optim.SGD(p)\nm, o = make()\nshow(o)", "optimizer"),
        ("m = nn.Linear(1, 2) if a else nn.Conv2d(1, 2, 3)\nshow(m)", "module"),
        ("m = nn.Linear(1, 2) if a else load()\nshow(m)", "unknown"),
        ("show(list(nn.Linear(1, 2).parameters()))", "parameters"),
        (NET + "show(Net())", "module"),
        (NET + "show(Net().out)", "module"),
        ("class Mine(torch.optim.Optimizer): pass\nshow(Mine(p))", "optimizer"),
        ("def f(o: torch.optim.Optimizer):\n    show(o)", "optimizer"),
        ("def f(o):\n    show(o)\nf(torch.optim.SGD(p))", "optimizer"),
        ("def f(o):\n    show(o)\nf(torch.optim.SGD(p))\nf(3)", "unknown"),
        ("for x, y in DataLoader(d):\n    show(x)", "tensor"),
        ("x = x\nshow(x)", "unknown"),
    ],
)
def test_things_are_known_by_what_made_them(text: str, kind: str) -> None:
    assert thing(text).kind == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("show(F.softmax(x, 1).view(-1).to(d))", "softmax"),
        ("show(nn.Sequential(nn.Linear(1, 2), nn.Sigmoid(), nn.Flatten())(x))", "sigmoid"),
        ("show(nn.Sequential(nn.Linear(1, 2), nn.Dropout())(x))", "linear"),
        ("show(F.softmax(x, 1) * 2)", "unknown"),
        (NET + "show(Net()(x))", "linear"),
        ("def f(x):\n    return x.sigmoid()\nshow(f(x))", "sigmoid"),
        ("y = F.relu(x) if a else F.relu(z)\nshow(y)", "relu"),
        ("y = F.relu(x) if a else x.tanh()\nshow(y)", "unknown"),
    ],
)
def test_an_output_is_known_by_the_last_operation(text: str, kind: str) -> None:
    code = code_of(text)
    assert output_of(code, shown(code)).kind == kind


@pytest.mark.parametrize(
    ("text", "acts"),
    [
        ("show(nn.Sequential(nn.Linear(1, 2), nn.Dropout()))", True),
        ("show(nn.Sequential(nn.Linear(1, 2), nn.ReLU()))", False),
        ("import torchvision\nshow(torchvision.models.resnet18())", True),
        ("class N(nn.Module):\n    def forward(self, x):\n        return x if self.training else -x\nshow(N())", True),
        ("class N(nn.Module):\n    def forward(self, x):\n        return self.part(x, self.training)\nshow(N())", None),
        ("class N(nn.Module):\n    def forward(self, x):\n        return self.drop(x, self.training)\nshow(N())", True),
        ("import elsewhere\nshow(elsewhere.Net())", None),
    ],
)
def test_modes_matter_where_something_acts_on_them(text: str, acts: bool | None) -> None:
    assert has_modes(thing(text)) is acts


@pytest.mark.parametrize(
    ("stars", "name"),
    [
        ("from utils import *\nprint(torch)\n", "torch.nn.Linear"),
        ("from utils import *\n", "utils.nn.Linear"),
        ("from paddle import *\nprint(torch)\n", "paddle.nn.Linear"),
        ("from utils import *\nfrom parts import nn\nprint(torch)\n", "parts.nn.Linear"),
    ],
)
def test_a_module_of_the_project_may_hand_on_what_everybody_calls_so(stars: str, name: str) -> None:
    code = facts_of(Source("train.py", f"{stars}show(nn.Linear(1, 2))\n"))
    assert any(call.name == name for call in code.calls)


def test_a_loop_is_the_order_of_what_it_does() -> None:
    (loop,) = loops_of(
        code_of("""
        def train(model, loader, optimizer, scheduler):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
                optimizer.step()
                scheduler.step()
        """)
    )
    assert kinds(loop) == ["zero", "backward", "clip", "step", "schedule"]


def test_a_step_function_belongs_to_the_loop_that_calls_it_also_from_another_file() -> None:
    (loop,) = loops_of(
        code_of("""
        # file: steps.py
        def step(model, optimizer, x):
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()
        # file: train.py
        import torch
        from steps import step

        model = torch.nn.Linear(3, 1)
        adam = torch.optim.Adam(model.parameters())
        for x in torch.load("data"):
            step(model, adam, x)
        """)
    )
    assert kinds(loop) == ["zero", "backward", "step"]
    assert loop.of("step")[0].thing.kind == "optimizer"
    assert loop.of("step")[0].outer_name == "adam"


def test_several_backward_passes_for_one_step_are_one_loop() -> None:
    (loop,) = loops_of(
        code_of("""
        def train(model, parts, optimizer):
            for part in parts:
                optimizer.zero_grad()
                for x in part:
                    model(x).sum().backward()
                optimizer.step()
        """)
    )
    assert kinds(loop) == ["zero", "backward", "step"]


def test_what_is_not_understood_says_why() -> None:
    (loop,) = loops_of(
        code_of("""
        from elsewhere import improve

        def train(model, loader, optimizer):
            for x in loader:
                model(x).sum().backward()
                improve(optimizer)
        """)
    )
    assert loop.unclear == "`elsewhere.improve` is given the optimizer, and is not in this project's files"


def test_an_evaluation_is_a_loop_that_calls_a_model_and_never_goes_backward() -> None:
    (found,) = evaluations_of(
        code_of("""
        model = nn.Linear(3, 1)
        adam = torch.optim.Adam(model.parameters())
        for epoch in range(3):
            for x in torch.load("data"):
                model(x).sum().backward()
                adam.step()
            with torch.no_grad():
                for x in torch.load("test"):
                    print(model(x).sum().item())
        """)
    )
    assert (found.is_loop, found.without_graph, found.is_read, found.is_fed) == (True, True, True, True)


def test_a_parameter_is_a_model_where_others_of_its_name_in_the_file_are() -> None:
    (found,) = evaluations_of(
        code_of("""
        def train(model, loader, optimizer):
            model.train()
            for x in loader:
                model(x).sum().backward()
                optimizer.step()

        def evaluate(model, loader):
            with torch.no_grad():
                for x in loader:
                    print(model(x).sum().item())

        def convert(vocabulary, words):
            for word in words:
                print(vocabulary(word).item())
        """)
    )
    assert (found.forward.name, found.is_fed, found.is_read) == ("model", True, True)


def test_what_goes_backward_after_its_loop_is_no_evaluation() -> None:
    assert not evaluations_of(
        code_of("""
        def train(model, steps, optimizer):
            model.train()
            total = 0
            for x in steps:
                total = total + model(x).sum()
            total.backward()
            optimizer.step()
        """)
    )


def test_a_loop_that_makes_its_model_goes_over_models() -> None:
    (found,) = evaluations_of(
        code_of("""
        for name in ("small", "large"):
            model = nn.Linear(3, 1)
            model.load_state_dict(torch.load(name))
            model.eval()
            print(model(torch.ones(1, 3)).item())
            for limit in range(3):
                for x in torch.load("test"):
                    print(model(x).sum().item() > limit)
        """)
    )
    assert (found.at.line, found.is_loop, found.is_fed) == (10, True, True)


def test_a_loop_that_leaves_in_its_first_round_is_none() -> None:
    (found,) = evaluations_of(
        code_of("""
        model = nn.Linear(3, 1)
        model.eval()
        with torch.no_grad():
            for x in torch.load("test"):
                print(model(x).sum().item())
                break
        """)
    )
    assert not found.is_loop


def test_what_an_object_of_another_file_steps_is_looked_up_there() -> None:
    (loop,) = loops_of(
        code_of("""
        # file: trainer.py
        import torch

        class Trainer:
            def update(self, model, x):
                first, second, third, fourth = x
                self.loss = model(first).sum() + model(second).sum() + model(third).sum() + model(fourth).sum()
                self.optimizer = torch.optim.Adam(model.parameters())
                self.loss.backward()
                self.optimizer.step()
        # file: train.py
        from trainer import Trainer

        for _ in range(9):
            Trainer().update(None, None)
        """)
    )
    assert kinds(loop) == ["backward", "step"]
    assert loop.of("step")[0].thing.name == "torch.optim.Adam"


def test_what_is_switched_off_by_a_constant_is_not_there() -> None:
    text = """
model = nn.Linear(3, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in torch.load("data"):
    if 0:
        optimizer.zero_grad()
    if True:
        F.cross_entropy(model(x), y).backward()
    else:
        show(x)
    optimizer.step()
"""
    (loop,) = loops_of(code_of(text))
    assert kinds(loop) == ["backward", "step"]
    assert not any(event.in_branch for event in loop.of("backward"))
    assert not code_of(text).calls_of("()")[1:], "only the model is called"

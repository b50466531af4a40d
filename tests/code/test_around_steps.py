"""Steps and clearings that stand around a loop, or under other names: nothing is said by default, and of the faulty
twin it is.
"""

from __future__ import annotations

import textwrap

import pytest

from code_programs import IMPORTS, SHOWN, how_sure
from stethoscope.core.rule import Rule
from stethoscope.rules.loop.missing_backward import MissingBackward
from stethoscope.rules.loop.missing_optimizer_step import MissingOptimizerStep
from stethoscope.rules.loop.missing_zero_grad import MissingZeroGrad

UNCLEARED = """
    def fit(model, loader, x, y, parts):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            print(loss.item())
        return model
"""
WITHIN = """
    from contextlib import contextmanager

    class Stepping:
        def __init__(self, optimizer):
            self.optimizer = optimizer

        def __enter__(self):
            self.optimizer.zero_grad()

        def __exit__(self, *error):
            pass

    @contextmanager
    def stepping(optimizer):
        yield
        optimizer.zero_grad()

    @contextmanager
    def looking(optimizer):
        yield
        print(optimizer)

    def fit(model, loader):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            with CONTEXT(optimizer):
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
"""
TAKEN = """
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def rounds(loader):
        for x, y in loader:
            FIRST
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            SECOND
            yield loss.item()

    for value in rounds(torch.load("data")):
        print(value)
        LAST
"""
UNSTEPPED = """
    from updates import descend, log_model, plot_grad_flow
    from nets import Net

    def fit(loader, channel):
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            print(loss.item())
            LAST
"""
UNFILLED = """
    from elsewhere import LocalRule, SNES, solve, show

    def fit(net, loader, weights, tools, outer):
        optimizer = MADE
        rule = LocalRule(OF)
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            out = net(x)
            loss = F.mse_loss(out, y)
            BETWEEN
            optimizer.step()
            print(loss.item())
"""
FILLED = UNFILLED.replace("MADE", "torch.optim.SGD(weights, lr=0.1)").replace("OF", "net")
HALVES = """
    def fit(model, master, loader, grad_buffer, counts):
        optimizer = torch.optim.SGD(master.parameters(), lr=0.1)
        for i, (x, y) in enumerate(loader):
            # FIRST
            F.cross_entropy(model(x), y).backward()
            for m, p in zip(master.parameters(), model.parameters()):
                COPIED
            STEPPED
            # END
"""
GIVEN = """
    import torch
    import torch.nn.functional as F
    import threading
    from rules import Rule

    class Trainer:
        def __init__(self, model, updater, bar):
            self.model, self.updater, self.bar = model, updater, bar
            self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def fit(self, loader, cluster, timer):
            optimizer = self.optimizer
            rule = Rule(MADE)
            threading.Thread(target=print, args=(APART, loader)).start()
            for x, y in loader:
                self.optimizer.zero_grad()
                loss = F.cross_entropy(self.model(x), y)
                loss.backward()
                print(loss.item())
                LAST
"""
STEPPED = GIVEN.replace("APART", "loader").replace("MADE", "self.model.parameters()")
LOOPED = HALVES.replace("STEPPED", "optimizer.step()").replace("COPIED", "print(m, p)")
CASES: dict[str, tuple[type[Rule], str, str, str, str]] = {
    "a return at the end of the first round": (
        MissingZeroGrad, UNCLEARED, "print(loss.item())", "return loss.item()",
        "if y is None: return loss.item()",
    ),
    "one thing to go over": (MissingZeroGrad, UNCLEARED, "in loader", "in [(x, y)]", "in [(x, y), (y, x)]"),
    "parts that are not known": (MissingZeroGrad, UNCLEARED, "in loader", "in [(x, y)]", "in [*parts]"),
    "parameters of each round": (
        MissingZeroGrad, UNCLEARED, "print(loss.item())", "optimizer.param_groups[0]['params'] = [parts.pop()]",
        "optimizer.param_groups[0]['lr'] = 0.1",
    ),
    "on purpose": (
        MissingZeroGrad, UNCLEARED, "print(loss.item())", "pass  # no zero_grad on purpose",
        "pass  # a print on purpose",
    ),
    "on purpose, in two lines": (
        MissingZeroGrad, UNCLEARED, "optimizer.step()",
        "# gradients are kept\n        # deliberately\n        optimizer.step()",
        "optimizer.step()\n        # values are kept\n        # deliberately",
    ),
    "an object that clears as it is entered": (MissingZeroGrad, WITHIN, "CONTEXT", "Stepping", "looking"),
    "a context that clears as it is left": (MissingZeroGrad, WITHIN, "CONTEXT", "stepping", "looking"),
    "who takes the loss clears": (
        MissingZeroGrad, TAKEN.replace("FIRST", "pass").replace("SECOND", "optimizer.step()"),
        "LAST", "optimizer.zero_grad()", "pass",
    ),
    "who takes the loss steps": (
        MissingOptimizerStep, TAKEN.replace("FIRST", "optimizer.zero_grad()").replace("SECOND", "pass"),
        "yield loss.item()", "yield loss.item()", "print(loss.item())",
    ),
    "a function that may descend": (MissingOptimizerStep, UNSTEPPED, "LAST", "descend(model, 0.1)", "log_model(model)"),
    "a function that may descend, now and then": (
        MissingOptimizerStep, UNSTEPPED, "LAST", "descend(model.parameters(), 0.1)",
        "if y is None: descend(model, 0.1)",
    ),
    "a method of the model": (MissingOptimizerStep, UNSTEPPED, "LAST", "model.update(0.1)", "model.to('cpu')"),
    "weights from elsewhere": (
        MissingOptimizerStep, UNSTEPPED, "LAST", "model.load_state_dict(channel.pull())", "channel.load_state_dict({})",
    ),
    "gradients that are plotted": (
        MissingOptimizerStep, UNSTEPPED, "LAST", "plot_grad_flow(model.named_parameters())", "plot_grad_flow(loader)",
    ),
    "gradients that are copied": (
        MissingZeroGrad, HALVES.replace("STEPPED", "optimizer.step()"), "COPIED", "m.grad = p.grad",
        "m.grad = m.grad / 2",
    ),
    "a buffer of gradients": (
        MissingZeroGrad, LOOPED, "# FIRST", "grad_buffer.zero_()", "counts.zero_()",
    ),
    "something that may clear": (MissingZeroGrad, LOOPED, "# END", "model.wipe()", "model.cpu()"),
    "a step in the last round": (
        MissingZeroGrad, HALVES.replace("COPIED", "print(m, p)"), "STEPPED",
        "if i == len(loader) - 1: optimizer.step()", "if i == len(loader) - x: optimizer.step()",
    ),
    "something that is kept and may step": (
        MissingOptimizerStep, STEPPED, "LAST", "self.updater()", "self.bar.update()",
    ),
    "something that is given and may step": (
        MissingOptimizerStep, STEPPED, "LAST", "cluster.commit()", "timer.update()",
    ),
    "something that was made of weights": (
        MissingOptimizerStep, GIVEN.replace("APART", "loader").replace("LAST", "rule.update()"), "MADE",
        "self.model.parameters()", "loader",
    ),
    "weights that are written at once": (
        MissingOptimizerStep, STEPPED, "LAST", "torch.nn.utils.vector_to_parameters(x, self.model.parameters())",
        "torch.nn.utils.parameters_to_vector(self.model.parameters())",
    ),
    "an optimizer in a thread": (
        MissingOptimizerStep, GIVEN.replace("MADE", "3").replace("LAST", "timer.wait()"), "APART", "self.optimizer",
        "self.bar",
    ),
    "an object that is made of the model": (
        MissingBackward, FILLED, "BETWEEN", "rule.assign(y)", "tools.assign(y)",
    ),
    "an object that is made of a number": (
        MissingBackward, UNFILLED.replace("MADE", "torch.optim.SGD(weights)").replace("BETWEEN", "rule.assign(y)"),
        "OF", "net", "3",
    ),
    "what gets the answer": (MissingBackward, FILLED, "BETWEEN", "tools.assign(out, y)", "tools.update(out, y)"),
    "what gets the weights": (
        MissingBackward, FILLED, "BETWEEN", "solve(weights, 5, outer)", "show(weights, 5, outer)",
    ),
    "an optimizer that is told": (
        MissingBackward, UNFILLED.replace("MADE", "SNES(net.parameters())").replace("OF", "3"),
        "BETWEEN", "optimizer.report(loss.item())", "optimizer.set_lr(loss.item())",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_stands_around_a_step_may_do_the_rest_of_it(name: str) -> None:
    rule, text, place, healthy, faulty = CASES[name]
    text = textwrap.dedent(text)
    text = text.replace("LAST", "pass") if place != "LAST" else text
    assert place in text
    assert how_sure(rule, IMPORTS + text.replace(place, healthy)) < SHOWN
    assert how_sure(rule, IMPORTS + text.replace(place, faulty)) >= SHOWN

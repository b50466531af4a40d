"""Loops that switch a model to eval mode and train on in it: what is told, and what is left alone."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import code_of
from stethoscope.rules.loop.training_in_eval_mode import TrainingInEvalMode

TRAIN = """
    def train(model, data, optimizer):
        for x, y in data:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
"""
EVALUATE = """
    def evaluate(model, data):
        model.eval()
        with torch.no_grad():
            return sum((model(x).argmax(1) == y).sum().item() for x, y in data)
"""
ROUNDS = """
    def fit(model, data, test, optimizer, options, rank=0):
        best = 0
        for epoch in range(options.epochs):
            train(model, data, optimizer)
"""


def told(text: str) -> list[str]:
    """The titles of what is said of a text."""
    return [one.title for one in TrainingInEvalMode().in_code(code_of(text)) if hasattr(one, "title")]


def rounds(body: str) -> str:
    """A training whose rounds end like this."""
    return TRAIN + EVALUATE + ROUNDS + textwrap.indent(textwrap.dedent(body), " " * 12)


def test_the_round_from_which_a_model_trains_in_eval_mode() -> None:
    text = TrainingInEvalMode.bad_code["evaluation first"]
    assert told(text) == ["`model` trains in eval mode from the first round on"]
    behind = rounds("print(evaluate(model, test))\n")
    assert told(behind) == ["`model` trains in eval mode from the second round on"]


def test_a_network_that_was_in_eval_mode_since_it_was_made() -> None:
    text = TrainingInEvalMode.good_code[
        "gradients that rank what is pruned, of a network in eval mode since it was made"
    ]
    assert not told(text)
    assert told(text.replace(".eval().cuda()", ".cuda()"))


@pytest.mark.parametrize(
    "asked",
    [
        "if options.validate:",
        "if rank == 0 and test is not None:",
        "if not options.fast or options['validate'] is None:",
    ],
)
def test_an_option_that_asks_for_an_evaluation_in_each_round(asked: str) -> None:
    is_key = "[" in asked  # what a key stands for may be written anywhere
    assert bool(told(rounds(f"{asked}\n    print(evaluate(model, test))\n"))) is not is_key


def test_an_option_within_what_is_done_every_so_often() -> None:
    assert told(rounds("if epoch % 2 == 0:\n    if rank == 0:\n        print(evaluate(model, test))\n"))
    assert not told(rounds("if epoch % 2 == 0:\n    if rank == 0:\n        print(evaluate(model, test))\n    break\n"))
    assert not told(rounds("if epoch > 2:\n    if rank == 0:\n        print(evaluate(model, test))\n"))


@pytest.mark.parametrize(
    "body",
    [
        "if options.only_test:\n    print(evaluate(model, test))\n    break\n",
        "if epoch == options.last:\n    print(evaluate(model, test))\n",
        "if options.freeze:\n    model.eval()\n",
        "if options.done:\n    print(evaluate(model, test))\noptions.done = True\n",
        "options = options.next()\nif options.validate:\n    print(evaluate(model, test))\n",
        "if data.is_over():\n    print(evaluate(model, test))\n",
    ],
)
def test_a_condition_that_may_hold_once_or_mean_what_it_does(body: str) -> None:
    assert not told(rounds(body))


def test_training_and_evaluation_of_which_an_option_chooses_one() -> None:
    one = """
    def fit(model, data, test, optimizer, options):
        for epoch in range(options.epochs):
            if options.evaluate:
                print(evaluate(model, test))
            else:
                train(model, data, optimizer)
    """
    assert not told(TRAIN + EVALUATE + one)


def test_what_is_done_whenever_the_best_is_beaten() -> None:
    body = "loss = torch.load('loss')\nif best is None or loss < best:\n    model.eval()\n    print(model(test))\n"
    assert told(rounds(f"{body}    best = loss\n"))
    assert not told(rounds(f"{body}    best = loss\n    break\n"))
    assert not told(rounds(body))


def test_a_model_that_a_method_hands_on() -> None:
    trainer = """
    class Trainer:
        def __init__(self, model, data, optimizer):
            self.model, self.data, self.optimizer = model, data, optimizer

        def predict(self, network, x):
            return network(x)

        def epoch(self):
            for x, y in self.data:
                self.optimizer.zero_grad()
                F.cross_entropy(self.predict(self.model, x), y).backward()
                self.optimizer.step()

        def validate(self):
            self.model.eval()
            with torch.no_grad():
                print([self.predict(self.model, x).argmax(1) for x, _ in self.data])

        def fit(self):
            for epoch in range(5):
                self.epoch()
                self.validate()
    """
    assert told(trainer)


@pytest.mark.parametrize(
    "wrapped", ["network = nn.DataParallel(network)", "network = nn.SyncBatchNorm.convert_sync_batchnorm(network)"]
)
def test_a_model_that_is_known_by_its_wrapper(wrapped: str) -> None:
    body = f"""
    def fit(make, optimizer, data, test):
        network = make()
        {wrapped}
        for step, (x, y) in enumerate(data):
            optimizer.zero_grad()
            F.cross_entropy(network(x), y).backward()
            optimizer.step()
            if step % 100 == 0:
                print(evaluate(network, test))
    """
    assert told(EVALUATE + body)


@pytest.mark.parametrize(
    ("made", "is_told"),
    [
        ("wrap(model)", True),
        ("nn.DataParallel(model)", True),
        ("model.cuda()", True),
        ("make()", False),
        ("Net(model)", False),
    ],
)
def test_a_model_that_is_wrapped_again_in_each_round(made: str, is_told: bool) -> None:
    body = f"""
    class Net(nn.Module):
        def __init__(self, old):
            super().__init__()
            self.old, self.drop = old, nn.Dropout()

    def fit(model, data, test, options):
        optimizer = torch.optim.Adam(model.parameters())
        for epoch in range(5):
            if options.parallel:
                model = {made}
            for x, y in data:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            evaluate(model, test)
    """
    assert bool(told(EVALUATE + body)) is is_told


def test_an_evaluation_that_unwraps_what_it_is_given() -> None:
    evaluate = """
    def evaluate(model, data):
        if isinstance(model, nn.DataParallel):
            model = model.module
        model.eval()
        return [model(x).argmax(1) for x, _ in data]
    """
    body = "print(evaluate(model, test))\n"
    assert told(TRAIN + evaluate + ROUNDS + textwrap.indent(body, " " * 12))

"""Samples that an evaluation never sees, since the last batch is dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import Call, Code
from stethoscope.facts.evaluations import Evaluation, evaluations_of
from stethoscope.facts.loops import loops_of
from stethoscope.facts.origins import thing_of
from stethoscope.facts.things import followed, iterated, literal
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code


class LastBatchDroppedInEvaluation(Rule):
    """A loader that only evaluates drops its last batch, so some samples are never scored.

    ## What it sees
    A `DataLoader` with `drop_last=True` that an evaluation goes over and no training loop does.
    ## Why it hurts
    Up to a batch of samples is left out of the score; where the loader does not shuffle, always the same ones, often
    those of the last classes. A test set smaller than one batch gives no score at all.
    ## How to fix it
    Leave `drop_last` out for validation and test.
    ## When it is not a fault
    A model that takes one batch size only, batches of one sample, a set that the batches fill, or a loader that trains
    as well. As far as the code shows them the last three are not reported, and the rule speaks with `--all` only.
    ## Sources
    PyTorch documentation, `torch.utils.data.DataLoader`: `drop_last`.
    """

    severity = Severity.WARNING

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow the loaders of evaluations, and leave out those that train."""
        if not file.says("drop_last"):
            return
        trained = {_loader(file, loop.code, loop.context) for loop in loops_of(file)}
        told = set()
        for evaluation in evaluations_of(file):
            if not evaluation.is_loop or not evaluation.is_fed or not evaluation.is_read:
                continue
            made = _loader(file, evaluation.code, evaluation.context)
            if made is None or made in trained or made.number in told or made.is_open:
                continue
            if file.matches(CUT, evaluation.at) or _is_even(file, made):
                continue  # the last batch is not reached, or it is full
            if literal(file, made.keyword("drop_last")) is True:
                told.add(made.number)
                yield self._read(file, made, evaluation)

    def _read(self, file: Code, made: Call, evaluation: Evaluation) -> Finding:
        return self.finding(
            "the evaluation drops its last batch",
            sureness=Sureness.POSSIBLE,  # a batch is often full, or has to be, and the code does not show it
            place=place_in(file, made.at),
            evidence=[
                Evidence(
                    f"samples that the loop on {line_of(file, evaluation.at)} may leave out",
                    "up to a batch less 1",
                    "0",
                )
            ],
            cause="With `drop_last=True` the samples that do not fill a batch are never scored.",
            fixes=["Score all of them:\n" + code("DataLoader(test_data, batch_size=64)")],
            unless="the model takes one batch size only.",
            chain=[
                Link(place_in(file, made.at), "the loader drops its last batch"),
                Link(place_in(file, evaluation.at), "the evaluation goes over it"),
            ],
        )

    bad_code = {
        "a test": """
            def test(model, data):
                loader = DataLoader(data, batch_size=64, drop_last=True)  # bad
                model.eval()
                correct = 0
                with torch.no_grad():
                    for x, y in loader:
                        correct += (model(x).argmax(1) == y).sum().item()
                return correct / len(data)
            """,
    }
    good_code = {
        "in training": """
            def run(model, data, optimizer):
                loader = DataLoader(data, batch_size=64, drop_last=True)
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                with torch.no_grad():
                    print(sum((model(x).argmax(1) == y).sum().item() for x, y in loader))
                    for x, y in loader:
                        print((model(x).argmax(1) == y).sum().item())
            """,
        "a few batches": """
            def score(model, data):
                loader = DataLoader(data, batch_size=32, drop_last=True)
                model.eval()
                with torch.no_grad():
                    for number, (x, y) in enumerate(loader):
                        if number >= 100:
                            break
                        print((model(x).argmax(1) == y).sum().item())
            """,
        "batches of one": """
            def score(model, data):
                loader = DataLoader(data, batch_size=1, drop_last=True)
                model.eval()
                with torch.no_grad():
                    for x, y in loader:
                        print((model(x).argmax(1) == y).sum().item())
            """,
        "as many samples as were asked for": """
            from project import Sequences

            def score(model):
                loader = DataLoader(Sequences("data", limit=100), batch_size=4, drop_last=True)
                model.eval()
                with torch.no_grad():
                    for x, y in loader:
                        print((model(x).argmax(1) == y).sum().item())
            """,
        "batches that fill the set": """
            from torchvision import datasets

            model = nn.Linear(784, 10)
            test = datasets.MNIST("data", train=False)
            loader = DataLoader(test, batch_size=100, drop_last=True)
            model.eval()
            with torch.no_grad():
                for x, y in loader:
                    print((model(x).argmax(1) == y).sum().item())
            """,
        "all of a test": """
            def test(model, data):
                train = DataLoader(data, batch_size=64, drop_last=True)
                loader = DataLoader(data, batch_size=64, drop_last=False)
                model.eval()
                with torch.no_grad():
                    for x, y in loader:
                        print((model(x).argmax(1) == y).sum().item())
                return train
            """,
    }


CUT = re.compile(r"\bbreak\b")
ROUND = re.compile(r"torchvision\.datasets\.(?:\w+\.)?(?:MNIST|FashionMNIST|KMNIST|CIFAR100?)")
"""Sets whose parts all have a multiple of 10,000 samples."""


def _is_even(file: Code, made: Call) -> bool:
    """Whether the batches of a loader fill its set: batches of one sample, or a set of a size that is known."""
    given = made.argument(1, "batch_size")
    size = 1 if given is None else literal(file, given)
    if not isinstance(size, int) or size < 1:
        return False
    data, _ = followed(file, made.argument(0, "dataset"))
    if size == 1 or not isinstance(data, Call):
        return size == 1
    said = [literal(file, one) for one in (*data.arguments, *(value for _, value in data.keywords))]
    counts = [one for one in said if isinstance(one, int) and not isinstance(one, bool) and one >= 2 * size]
    return any(one % size == 0 for one in (*counts, *([10_000] if ROUND.fullmatch(data.name) else [])))


def _loader(file: Code, home: Code, context: int) -> Call | None:
    """The construction of the loader that a loop of this file goes over."""
    if home is not file:
        return None
    source, _ = iterated(file, file.contexts[context].value)
    loader = thing_of(file, source)
    known = loader.kind == "loader" and loader.made_in is file
    return loader.made if known else None

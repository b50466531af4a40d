"""Which evaluations are shown by default: those that measure a data set, and not what else is done with answers."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import code_of
from stethoscope.core.finding import Finding
from stethoscope.core.review import Level
from stethoscope.diagnosing.review import review
from stethoscope.rules.loop.validation_builds_graph import ValidationBuildsGraph

MEASURED = {
    "a loss, summed": """
        def evaluate(model, test_loader):
            model.eval()
            total = 0.0
            for x, y in test_loader:
                total += F.cross_entropy(model(x), y).item()
            return total / len(test_loader)
        """,
    "a loss, summed without +=": """
        def evaluate(model, test_loader):
            model.eval()
            total = 0.0
            for x, y in test_loader:
                loss = F.cross_entropy(model(x), y)
                total = total + loss.item()
            return total
        """,
    "the number that are right": """
        def evaluate(model, data):
            model.eval()
            right = 0
            for i, (x, y) in enumerate(data):
                _, guess = torch.max(model(x), 1)
                right += (guess == y).sum()
            return right
        """,
    "a meter": """
        def evaluate(model, val_set, meter):
            model.eval()
            for x, y in val_set:
                loss = F.cross_entropy(model(x), y)
                meter.update(loss.item(), len(x))
        """,
    "predictions, in a list": """
        def evaluate(model, batches):
            model.eval()
            guesses = []
            for x, _ in batches:
                scores = model(x)
                guesses.append(scores.argmax(1).tolist())
            return guesses
        """,
    "predictions, joined": """
        def evaluate(model, valid_dl):
            model.eval()
            guesses = torch.zeros(0)
            for x, _ in valid_dl:
                guesses = torch.cat([guesses, model(x).argmax(1).cpu()])
            return guesses
        """,
    "one after the other, of a batch": """
        def evaluate(model, test_loader):
            model.eval()
            right = 0
            for x, y in test_loader:
                for guess, label in zip(model(x).argmax(1).tolist(), y.tolist()):
                    if guess == label:
                        right += int(guess == label)
            return right
        """,
    "a loader that is called by no such name": """
        source = DataLoader(torch.load("rows"), batch_size=8)
        model = nn.Linear(3, 2)
        model.eval()
        right = 0
        for x, y in source:
            right += (model(x).argmax(1) == y).sum().item()
        """,
    "beside parameters that are counted": """
        def count(model):
            return sum(p.numel() for p in model.parameters() if p.requires_grad)

        def evaluate(model, test_loader):
            model.eval()
            right = 0
            for x, y in test_loader:
                right += (model(x).argmax(1) == y).sum().item()
            return right
        """,
    "boxes, by an evaluator": """
        def evaluate(model, test_loader, coco_evaluator):
            model.eval()
            for images, targets in test_loader:
                found = []
                for number, (boxes, labels) in enumerate(model(images)):
                    found.append({"boxes": boxes, "labels": labels})
                coco_evaluator.update({target["id"]: out for target, out in zip(targets, found)})
            coco_evaluator.accumulate()
        """,
    "in a class whose base is seen": """
        class Runner(nn.Module):
            def evaluate(self, model, test_loader):
                model.eval()
                right = 0
                for x, y in test_loader:
                    right += (model(x).argmax(1) == y).sum().item()
                return right
        """,
}

LOOKED_AT = {
    "pictures that are drawn": """
        def draw(generator, test_loader):
            generator.eval()
            for x in test_loader:
                show(generator(x).detach().cpu().numpy())
        """,
    "rows of one batch": """
        def score(model, picture):
            model.eval()
            found = []
            for row in picture:
                found.append(model(row).detach().cpu().numpy())
            return found
        """,
    "the batches are counted": """
        def walk(model, test_loader):
            model.eval()
            seen = 0
            for x, y in test_loader:
                print(model(x).argmax(1).tolist())
                seen += len(x)
            return seen
        """,
    "what is summed may go backward elsewhere": """
        def total_loss(model, test_loader):
            model.eval()
            total = 0.0
            for x, y in test_loader:
                total += F.cross_entropy(model(x), y)
                print(y.tolist())
            return total
        """,
    "rows that are cut out by hand": """
        def evaluate(model, rows, labels):
            model.eval()
            right = 0
            for start in range(0, len(rows), 64):
                x, y = rows[start : start + 64], labels[start : start + 64]
                right += (model(x).argmax(1) == y).sum().item()
            return right
        """,
    "rounds of a decoder": """
        def decode(model, x, steps):
            model.eval()
            found = []
            for step in range(steps):
                x = model(x[step])
                found.append(x.argmax(1).item())
            return found
        """,
    "the latest of something": """
        def score(model, latest):
            model.eval()
            found = []
            for x in latest:
                found.append(model(x).argmax(1).item())
            return found
        """,
    "pictures, kept by a writer": """
        def draw(model, test_loader, writer):
            model.eval()
            for images, targets in test_loader:
                found = []
                for number, (boxes, labels) in enumerate(model(images)):
                    found.append({"boxes": boxes, "labels": labels})
                writer.put({target["id"]: out for target, out in zip(targets, found)})
        """,
    "beside parameters that are counted, and switched": """
        def count(model):
            return sum(p.numel() for p in model.parameters() if p.requires_grad)

        def only_head(model):
            model.body.weight.requires_grad = False

        def evaluate(model, test_loader):
            model.eval()
            right = 0
            for x, y in test_loader:
                right += (model(x).argmax(1) == y).sum().item()
            return right
        """,
    "beside an attack": """
        def evaluate(model, test_loader):
            model.eval()
            right = 0
            for x, y in test_loader:
                right += (model(x).argmax(1) == y).sum().item()
            return right

        def fgsm_of(x, slope):
            return x + 0.1 * slope.sign()
        """,
    "beside parameters that are frozen": """
        def freeze(model):
            for parameter in model.parameters():
                parameter.requires_grad = False

        def evaluate(model, test_loader):
            model.eval()
            right = 0
            for x, y in test_loader:
                right += (model(x).argmax(1) == y).sum().item()
            return right
        """,
    "a method whose caller is in a base that is not seen": """
        import torch
        from framework import Trainer

        class Own(Trainer):
            def evaluate(self, model, test_loader):
                model.eval()
                right = 0
                for x, y in test_loader:
                    right += (model(x).argmax(1) == y).sum().item()
                return right
        """,
}


TRAINS = """
def train(model, train_loader, optimizer):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

"""


@pytest.mark.parametrize("name", MEASURED)
def test_a_measure_of_a_data_set_is_shown_of_a_model_that_is_trained(name: str) -> None:
    (found,) = _told(TRAINS + textwrap.dedent(MEASURED[name]))
    assert Level().shows(found)


@pytest.mark.parametrize("name", [name for name in MEASURED if name != "a loader that is called by no such name"])
def test_what_comes_from_elsewhere_may_be_asked_without_a_graph(name: str) -> None:
    (found,) = _told(MEASURED[name])
    assert not Level().shows(found)


@pytest.mark.parametrize("name", LOOKED_AT)
def test_whatever_else_is_done_with_answers_is_possible_at_most(name: str) -> None:
    (found,) = _told(TRAINS + textwrap.dedent(LOOKED_AT[name]))
    assert Level(possible=True).shows(found)
    assert not Level().shows(found)


def _told(text: str) -> tuple[Finding, ...]:
    return review(code_of(text), rules=[ValidationBuildsGraph]).findings

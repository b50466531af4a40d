"""Validation that builds graphs which nobody uses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.by_hand import ENTERED
from stethoscope.facts.certain_graphs import builds_for_certain, would_fail_with_graph
from stethoscope.facts.code import Code, Site
from stethoscope.facts.evaluations import Evaluation, evaluations_of, is_switched, trained_models
from stethoscope.facts.freezing import builds_no_graph, is_made_frozen
from stethoscope.facts.gradient_words import is_hooked_elsewhere, may_differentiate
from stethoscope.facts.loops import loops_of, training_functions
from stethoscope.facts.measures import are_gradients_switched, may_run_under_a_framework, measures_data
from stethoscope.facts.old_torch import knows_volatile
from stethoscope.facts.origins import thing_of
from stethoscope.facts.reached import Reach, reach_of
from stethoscope.facts.training import History, ValidationPass
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.quieting import without_graph
from stethoscope.rules.sites import at, code, place_at


def _run(*steps: int, **facts: Any) -> History:
    usual: dict[str, Any] = {"forwards": 10, "in_train_mode": 0, "graphs": 10, "loss_calls": 10, "samples": 640}
    site = Site("train.py", 30, "", "output = model(x)")
    return History(steps=200, validation=tuple(ValidationPass(step, site=site, **(usual | facts)) for step in steps))


class ValidationBuildsGraph(Rule):
    """Validation runs with gradients on, and builds graphs that nobody uses.

    ## What it sees
    Forward passes in eval mode whose outputs have a graph and on which neither a backward pass nor
    `torch.autograd.grad` follows, again and again.
    ## Why it hurts
    With gradients on, every layer keeps its inputs for a backward pass that never comes. Validation takes several
    times the memory, so that it may run out of it at batch sizes that `no_grad` would hold, and it takes more time.
    ## How to fix it
    Put the validation loop into `with torch.no_grad():`, or decorate its function with `@torch.no_grad()`.
    ## When it is not a fault
    The numbers are right either way. A single pass at the end costs next to nothing: a run is not told of it, nor of
    a loop that one answer ends; passes that choose actions or make samples, without a loss, are a note at most. In
    code it is likely where a loop over the batches of a data set sums or collects what it measures: a loss, the number
    that are right, predictions; of a model that the file trains, or whose layers are seen; where a way leads there from
    the file's own lines or from a training, through contexts and decorators that are known, or where nobody calls the
    function in a file that trains and never says `no_grad`. All else is possible at most: samples that are drawn, a few
    rounds, rows of one batch, answers that are yielded, handed on or returned with their graph, whatever stands in a
    file that takes derivatives of answers, freezes parameters, attacks or prunes; where a `forward` puts hooks on
    tensors, or all who repeat it do so without a graph; and where somebody else put the model into eval mode: another
    method, or nobody in a file that only measures. Answers that become arrays as they are have no graph: not told.
    ## Sources
    PyTorch documentation, "Autograd mechanics", section "No-grad Mode"; "Frequently Asked Questions", "My model
    reports cuda runtime error(2): out of memory".
    """

    severity = Severity.WARNING
    reads = ("validation",)

    passes = Limit(3, unit="validation passes", why="one or two passes, as after training, waste little")
    forwards = Limit(
        2, unit="forward passes with a graph in each", why="a single one holds no more than a training step does"
    )
    gap = Limit(
        4, unit="steps from one pass to the next", why="a forward pass beside each step belongs to the training itself"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Count the passes that built graphs."""
        if not seen.validation:
            yield self.cannot_tell("no validation data passed through the model")
            return
        found = [p for p in seen.validation if p.graphs >= self.forwards and not p.differentiated]
        if len(found) < self.passes:
            return
        steps = np.unique([p.step for p in found])
        if len(steps) < self.passes or float(np.median(np.diff(steps))) < self.gap:
            return
        yield self._report(seen, found)

    def _report(self, seen: History, found: Sequence[ValidationPass]) -> Finding:
        forwards = sum(p.graphs for p in found)
        return self.finding(
            f"{len(found)} validation passes build graphs that nobody uses",
            severity=Severity.WARNING if any(p.loss_calls for p in found) else Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=place_at(found[-1].site, steps=(found[0].step, found[-1].step)),
            evidence=[
                Evidence(
                    "forward passes in eval mode with a graph and no backward pass after them",
                    f"{forwards:,} in {len(found)} passes",
                    "0",
                )
            ],
            cause=f"Gradients are on at {at(found[-1].site)}, so each layer keeps its inputs for a backward pass that "
            "never comes: memory for nothing, and time.",
            fixes=["Switch gradients off round validation:\n" + code("with torch.no_grad():", "    validate(model)")],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for loops that evaluate a model in eval mode, read the answers, and keep the graph of each."""
        if (not file.calls_of(".eval") and not loops_of(file)) or not file.says("torch", "lightning", "fastai"):
            return
        is_off = file.says("set_grad_enabled") and file.matches(SWITCHED_OFF)
        if knows_volatile(file) or is_off or file.linked.match(OFF_AT_IMPORT, "set_grad_enabled"):
            return  # of a torch in which such inputs built no graph, or without graphs from there on
        _, trained = trained_models(file)
        for found in evaluations_of(file):
            is_apart = (
                found.is_read and found.forward.name in trained and found.function not in training_functions(file)
            )
            is_evaluation = found.is_loop and (
                (is_switched(found) and (found.is_read or found.is_fed)) or (is_apart and found.is_fed)
            )
            is_test = not is_evaluation and _only_tests(file, found)
            if found.without_graph or found.is_hidden or not (is_evaluation or is_test) or found.is_once:
                continue
            if _acts(file, found):
                continue  # one observation at a time: its graph costs next to nothing
            if is_made_frozen(found.forward.thing) or builds_no_graph(file, found.forward.subject):
                continue  # no graph is built where nothing wants a gradient
            if would_fail_with_graph(found):
                continue
            around = file.functions[found.function].at if found.function else found.at
            if file.matches(GRADIENTS, around) or file.matches(FORCES):
                continue
            quiet = file.says("no_grad", "inference_mode")
            # What is given back to callers that are not seen may be used, or asked for without a graph.
            is_seen = found.callers_known or not (quiet or may_run_under_a_framework(found))
            is_alone = not (may_differentiate(file) or are_gradients_switched(file) or file.matches(ENTERED))
            is_shown = (
                is_seen and is_alone and not found.is_small and measures_data(found) and builds_for_certain(found)
            ) and not (is_test or is_hooked_elsewhere(file))
            yield self._read(file, found, Sureness.LIKELY if is_shown else Sureness.POSSIBLE)

    def _read(self, file: Code, found: Evaluation, sureness: Sureness) -> Finding:
        name = found.forward.name or "the model"
        each = "for each batch" if found.is_fed else "in each round"  # as of a decoder, step by step
        is_reached = reach_of(file, found.forward.context) is Reach.TRAINING
        return self.finding(
            fitting(f"`{name}` is evaluated with a graph {each}", f"evaluation builds a graph {each}"),
            sureness=sureness,
            place=place_in(file, found.forward.at),
            evidence=[
                Evidence(
                    f"`torch.no_grad()` around the loop on {line_of(file, found.at)}",
                    0,
                    1,
                    "read here and at its callers",
                ),
            ],
            cause="Answers that are only read are computed as if they were to be trained on: activations are kept "
            "for a backward pass that never comes, which takes memory and time.",
            fixes=[
                Fix(
                    "Evaluate without a graph:\n" + code("with torch.no_grad():", "    ..."),
                    edits=without_graph(file, found),
                )
            ],
            unless="" if is_reached else "a caller that is not in this file switches gradients off.",
        )

    bad = Examples(
        lambda: {
            "three epochs": _run(22, 44, 66),
            "four steps apart": _run(4, 8, 12),
            "two forwards in each": _run(22, 44, 66, 88, forwards=2, graphs=2, loss_calls=2),
            "accuracy alone": _run(22, 44, 66, loss_calls=0),
        }
    )
    good = Examples(
        lambda: {
            "without gradients": _run(22, 44, 66, graphs=0),
            "two passes": _run(100, 200),
            "one forward in each": _run(22, 44, 66, 88, forwards=1, graphs=1, loss_calls=1),
            "derivatives of the outputs are taken": _run(22, 44, 66, differentiated=True),
            "every third step": _run(3, 6, 9, 12),
            "several at the end": _run(200, 200, 200),
        }
    )
    bad_code = {
        "a model of its own, behind self": """
            class Trainer:
                def __init__(self, build):
                    self.model = build()
                    self.optimizer = torch.optim.Adam(self.model.parameters())

                def evaluate(self, loader):
                    self.model.eval()
                    right = 0
                    for x, y in loader:
                        right += (self.model(x).argmax(1) == y).sum().item()  # bad
                    return right
            """,
        "an evaluation": """
            def evaluate(model, loader):
                model.eval()
                right = 0
                for x, y in loader:
                    scores = model(x)  # bad
                    right += (scores.argmax(1) == y).sum().item()
                return right
            """,
        "answers that are drawn, with `--all` only": """
            def draw(generator, codes):
                generator.eval()
                for z in codes:
                    show(generator(z).detach())  # bad
            """,
        "a network whose parameters are switched off where it is asked, with `--all` only": """
            class Features(nn.Module):
                def __init__(self, body, requires_grad=False):
                    super().__init__()
                    self.body = body
                    for parameter in self.parameters():
                        parameter.requires_grad = requires_grad

                def forward(self, x):
                    return self.body(x)

            def features_of(model, loader):
                model.eval()
                found = []
                for x in loader:
                    found.append(model(x).cpu().data.numpy())  # bad
                return found

            def main(body, loader):
                model = Features(body, requires_grad=True)
                print(features_of(model, loader))
            """,
        "at module level": """
            model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 2))
            model.eval()
            losses = []
            for x, y in torch.load("data"):
                losses.append(F.cross_entropy(model(x), y).item())  # bad
            """,
    }
    good_code = {
        "a model that differentiates by itself": """
            def infer(model, data):
                model.eval()
                found = []
                for batch in data:
                    out = model(batch).detach().cpu()
                    found.append(out["pred_forces"].numpy())
                return found
            """,
        "under a decorator of the project's own": """
            from project import quiet

            @quiet()
            def evaluate(model, data):
                model.eval()
                return accuracy(model(x).argmax(1) == y for x, y in data)

            @quiet()
            def total(model, data):
                model.eval()
                found = 0
                for x, y in data:
                    found += F.mse_loss(model(x), y).item()
                return found

            total(nn.Linear(3, 2), torch.load("data"))
            """,
        "without a graph, of a torch that is imported in a way of its own": """
            from project import optional

            torch = optional("torch")

            def total(model, data):
                model.eval()
                found = 0
                with torch.no_grad():
                    for x, y in data:
                        found += F.mse_loss(model(x), y).item()
                return found
            """,
        "in a context of its own, which is given the model": """
            def validate(model, data, eval_mode):
                with eval_mode(model):
                    model.eval()
                    return sum(F.mse_loss(model(x), y).item() for x, y in data)

            def both(model, data, eval_mode):
                total = 0
                with eval_mode(model):
                    for x, y in data:
                        total += F.mse_loss(model(x), y).item()
                return total
            """,
        "without a graph, by another name": """
            from project import lazily

            def predict(model, loader):
                model.eval()
                found = []
                without = lazily("torch.no_grad")
                torchNoGrad = without
                with torchNoGrad():
                    for x in loader:
                        found.append(model(x).detach())
                return found
            """,
        "of a torch that knew volatile inputs": """
            from torch.autograd import Variable

            def generate(model, hidden, words):
                model.eval()
                x = Variable(torch.rand(1, 1), volatile=True)
                for i in range(words):
                    output, hidden = model(x, hidden)
                    x.data.fill_(output.data.argmax().item())
                    print(output.data.max().item())
            """,
        "of a torch that knew volatile inputs, by a switch": """
            from torch.autograd import Variable

            def prepared(x, switch=False):
                return Variable(torch.tensor(x), volatile=switch)

            def evaluate(model, rows):
                model.eval()
                found = []
                for row in rows:
                    found.append(model(prepared(row, True)).cpu().data.numpy())
                return found
            """,
        "a network that switches its parameters off as it is made": """
            class Features(nn.Module):
                def __init__(self, body, requires_grad=False):
                    super().__init__()
                    self.body = body
                    for parameter in self.parameters():
                        parameter.requires_grad = requires_grad

                def forward(self, x):
                    return self.body(x)

            def features_of(model, loader):
                model.eval()
                found = []
                for x in loader:
                    found.append(model(x).cpu().data.numpy())
                return found

            def main(body, loader):
                model = Features(body)
                print(features_of(model, loader))
            """,
        "an averaged copy, switched off by what makes it": """
            def build(classes, averaged=False):
                model = nn.Sequential(nn.Linear(3, 9), nn.Dropout(), nn.Linear(9, classes))
                if averaged:
                    for parameter in model.parameters():
                        parameter.detach_()
                return model

            def right(model, loader):
                model.eval()
                for x, y in loader:
                    print((model(x).argmax(1) == y).sum().item())

            def main(loader):
                teacher = nn.DataParallel(build(2, averaged=True)).cuda()
                print(right(teacher, loader))
            """,
        "one answer of each of several models": """
            for name in ("small", "large"):
                model = nn.Linear(3, 2)
                model.load_state_dict(torch.load(name))
                model.eval()
                print(model(torch.ones(1, 3)).detach().numpy())
            """,
        "actions, one after the other": """
            def play(model, environment):
                model.eval()
                seen, rewards = environment.reset(), []
                while len(rewards) < 100:
                    action = model(torch.tensor(seen)).argmax(dim=1).cpu().numpy()
                    seen, reward, ended, _ = environment.step(action)
                    rewards.append(reward)
                return rewards
            """,
        "without a graph": """
            def evaluate(model, loader):
                model.eval()
                right = 0
                with torch.no_grad():
                    for x, y in loader:
                        right += (model(x).argmax(1) == y).sum().item()
                return right
            """,
        "a decorated function": """
            @torch.inference_mode()
            def evaluate(model, loader):
                model.eval()
                return [model(x).argmax(1).tolist() for x, _ in loader]
            """,
        "switched off by who calls it": """
            def evaluate(model, loader):
                model.eval()
                right = 0
                for x, y in loader:
                    right += (model(x).argmax(1) == y).sum().item()
                return right

            def main(model, loader):
                with torch.no_grad():
                    print(evaluate(model, loader))
            """,
        "an attack": """
            def attack(model, loader):
                model.eval()
                right = 0
                for x, y in loader:
                    x.requires_grad = True
                    scores = model(x)
                    F.cross_entropy(scores, y).backward()
                    right += (model(x + x.grad.sign()).argmax(1) == y).sum().item()
                return right
            """,
        "it trains": """
            def train(model, loader, optimizer):
                model.train()
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    print(loss.item())
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32)
        images = (images - images.mean()) / images.std()
        labels = torch.tensor(data.target)
        order = torch.randperm(len(images))
        train, held_out = order[:1000], order[1000:]
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def validate():
            model.eval()
            loss = 0.0
            for rows in held_out.split(100):
                loss += nn.functional.cross_entropy(model(images[rows]), labels[rows]).item() / 8
            return loss

        for epoch in range(10):
            model.train()
            for rows in train[torch.randperm(len(train))].split(50):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
            score = validate()  # fix: score = torch.no_grad()(validate)()
            print(f"epoch {epoch}: loss {score:.4f}")
        """)


GRADIENTS = re.compile(
    r"autograd|requires_grad|\.grad\b|retain_grad|jacobian|grad_cam|set_grad_enabled|volatile|vjp|GradientTape"
)
"""Words of a function that wants gradients of its own: a tape is TensorFlow's."""
SWITCHED_OFF = re.compile(r"^\s*torch\.(?:autograd\.|_C\.)?_?set_grad_enabled\(\s*(?:mode\s*=\s*)?False\s*\)", re.M)
"""A statement, and no context: no graph is built from there on."""
OFF_AT_IMPORT = re.compile(r"^torch\.(?:autograd\.|_C\.)?_?set_grad_enabled\(\s*(?:mode\s*=\s*)?False\s*\)", re.M)
"""The same at the top of a file that this one imports."""
FORCES = re.compile(r"\bforces\b|_forces?\b|\.FORCE\b|hessian|\bvirial\b", re.I)
"""Words of a file whose models may differentiate inside of `forward`: forces are derivatives of an energy."""


def _only_tests(file: Code, found: Evaluation) -> bool:
    """Whether a file that trains nothing measures a model over a data set, whoever put it into eval mode."""
    return found.is_loop and not trained_models(file)[1] and not training_functions(file) and measures_data(found)


def _acts(file: Code, found: Evaluation) -> bool:
    """Whether its answers are actions: something else than an optimizer or a scheduler makes a step with them."""
    return any(
        call.arguments
        and found.context in file.numbers_around(call.context)
        and thing_of(file, call.receiver).kind not in ("optimizer", "scheduler")
        for call in file.calls_of(".step")
    )

"""Gradients that are never cleared between steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Edit, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import ClearGradients
from stethoscope.facts.by_hand import is_handled_by_hand
from stethoscope.facts.code import At, Code, Site
from stethoscope.facts.events import Event, events_of
from stethoscope.facts.handed import is_cleared_in_helper, is_surely_stepped
from stethoscope.facts.loops import Loop, loops_of
from stethoscope.facts.own_clearing import left_to_nobody, parts_of
from stethoscope.facts.stepping import is_cleared_apart, is_made_each_round, is_made_here
from stethoscope.facts.training import History, Optimizer
from stethoscope.facts.uncleared import is_helper, is_of_another_kind, is_of_nothing, is_single, step_left_out
from stethoscope.rules.lines import fitting, insertion, line_of, place_in, way_to, where, where_event
from stethoscope.rules.sites import at, code, place_at, receiver


def _run(**facts: Any) -> History:
    return History(steps=200, optimizers=(Optimizer("SGD", **facts),))


class MissingZeroGrad(Rule):
    """Gradients of earlier steps are never cleared between optimizer steps.

    ## What it sees
    The gradients that an optimizer finds at a step, compared with those it left behind at the step before:
    they are the same numbers with new ones added.
    ## Why it hurts
    `backward()` adds to `.grad`. Without clearing, step 100 moves along the sum of 100 gradients, most of
    them computed for weights of long ago: steps grow and their direction goes stale, as with a momentum of
    1.
    ## How to fix it
    Clear the gradients once for each step, before `backward()`: `optimizer.zero_grad()`.
    ## When it is not a fault
    Gradient accumulation: several backward passes for one step, cleared after the step. That is not
    reported, since nothing is carried over from one step to the next. Code is possible at most where a function only
    clears, no batches are drawn, hooks are called, a class of the project clears in its `step`, or the file clears
    other optimizers alone.
    ## Sources
    PyTorch documentation, "Zeroing out gradients in PyTorch", and `torch.Tensor.backward` ("accumulates
    gradients in the leaves").
    """

    explains = (
        "collapsed-predictions",
        "dying-relu",
        "exploding-gradients",
        "learning-rate-too-high",
        "loss-not-finite",
        "numerical-instability",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "loss-oscillating",
        "loss-spike",
        "too-few-epochs",
        "saturated-activations",
        "no-gain-over-baseline",
        "momentum-too-high",
    )
    reads = ("loop",)
    treatments = (ClearGradients(),)

    fewest_steps = Limit(3, unit="steps", why="one step may keep its gradients on purpose")
    share = Limit(0.5, unit="share of compared steps", why="now and then is a choice")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Count the steps at which old gradients were still there."""
        for optimizer in seen.optimizers:
            if optimizer.compared == 0:
                yield self.cannot_tell(f"no two steps of {optimizer.kind} in a row were watched")
            elif (
                optimizer.not_cleared >= self.fewest_steps and optimizer.not_cleared >= self.share * optimizer.compared
            ):
                yield self._report(optimizer, seen)

    def _report(self, optimizer: Optimizer, seen: History) -> Finding:
        name = receiver(optimizer.step_site, "step", "optimizer")
        carried = f"{optimizer.not_cleared} of {optimizer.compared} steps"
        if optimizer.clear_site:
            title = f"gradients outlive their step at {carried}"
            clearing = Evidence("gradients are cleared at", at(optimizer.clear_site), "before each step")
        else:
            title = f"gradients are never cleared: {carried} reused old ones"
            clearing = Evidence("calls that clear gradients", 0, "1 for each step")
        return self.finding(
            title,
            sureness=Sureness.CERTAIN,
            place=place_at(optimizer.step_site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"watched steps of {optimizer.kind} whose gradients still held those of the step before",
                    carried,
                    "0",
                    "compared number by number",
                ),
                clearing,
            ],
            cause="`backward()` adds to the gradients that are there, so each step moves along the sum of "
            "all gradients since they were last cleared.",
            fixes=["Clear them once for each step, before the backward pass:\n" + code(f"{name}.zero_grad()")],
            unless="old gradients are meant to add up over steps.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for loops that go backward and step, and clear nowhere on the way."""
        if file.says(*_HOOKS):
            return  # gradients may be cleared in one
        told: set[At] = set()
        for loop in loops_of(file):
            steps = loop.of("step")
            if loop.unclear or not steps:
                continue
            if loop.of("zero"):
                left = step_left_out(file, loop) or left_to_nobody(file, loop)
                if left is not None:  # the others are cleared: read in examples so far
                    told.add(left.at)
                    yield self._read(file, loop, Sureness.POSSIBLE, left)
                continue
            if _is_none_of_ours(file, loop):
                continue
            left = left_to_nobody(file, loop) if not loop.is_loop and file.says("zero_grad") else None
            sureness = self._how_sure(file, loop, left)
            if sureness is not None:
                told.update(one.at for one in steps)
                yield self._read(file, loop, sureness, left)
        for part in parts_of(file):
            left = left_to_nobody(file, part)
            if left is None or left.at in told or _is_none_of_ours(file, part) or is_handled_by_hand(file, part):
                continue
            if not is_single(file, part) and not is_helper(file, part):
                yield self._read(file, part, Sureness.POSSIBLE, left)

    def _how_sure(self, file: Code, loop: Loop, left: Event | None) -> Sureness | None:
        """Certain where the loop and the making of its optimizer are seen; gradients may be cleared elsewhere else."""
        step = loop.of("step")[0]
        elsewhere = file.says("zero_grad")
        if is_cleared_apart(file, step.name) or is_handled_by_hand(file, loop):
            return Sureness.POSSIBLE
        if not loop.is_loop:  # its caller may clear
            if is_single(file, loop) or is_helper(file, loop):
                return None
            return Sureness.POSSIBLE if not elsewhere or left is not None else None
        if elsewhere and any(_is_around(file, loop, event) for event in events_of(file, loop.function)):
            return Sureness.POSSIBLE  # once an epoch: rarely meant, but it may be
        if not is_made_here(file, step) and is_cleared_in_helper(file):
            return Sureness.POSSIBLE
        return Sureness.CERTAIN if is_surely_stepped(file, loop.context, step) else Sureness.POSSIBLE

    def _read(self, file: Code, loop: Loop, sureness: Sureness, left: Event | None = None) -> Finding:
        step, backward = left or loop.of("step")[0], loop.of("backward")[-1 if left else 0]
        name = step.name or "the optimizer"
        what = "loop" if loop.is_loop else "function"
        place = line_of(file, loop.at) if step.code is file else where(file, loop.at)
        return self.finding(
            fitting(
                f"`{name}` steps in a {what} that never clears {'its ' if left else ''}gradients",
                f"a {what} steps and never clears gradients",
            ),
            sureness=sureness,
            place=place_in(step.code, step.at),
            evidence=[
                Evidence(f"in the {what} at {place}, backward passes", len(loop.of("backward")), "1 or more"),
                Evidence(
                    f"calls that clear gradients{f' of `{name}`' if left else ''}",
                    0,
                    "1 for each step",
                    "read in the code, through what it calls",
                ),
            ],
            cause="`backward()` adds to the gradients that are there, so each step moves along the sum of all "
            "gradients so far.",
            fixes=[_clearing(file, step, name)],
            unless="something clears them that cannot be seen from this file.",
            chain=[
                *way_to(file, step, "steps"),
                *way_to(file, backward, f"gradients are added here, at {where_event(file, backward)}"),
            ],
        )

    bad = Examples(
        lambda: {
            "never cleared": _run(compared=8, not_cleared=8, step_site=Site("train.py", 21, "", "opt.step()")),
            "cleared once an epoch only": _run(
                compared=8, not_cleared=4, clear_site=Site("train.py", 15, "", "opt.zero_grad()")
            ),
            "a run of four steps": _run(compared=3, not_cleared=3),
            "the second of two optimizers": History(
                steps=50,
                optimizers=(Optimizer("Adam", compared=8), Optimizer("SGD", compared=8, not_cleared=8)),
            ),
        }
    )
    good = Examples(
        lambda: {
            "cleared each time": _run(compared=8),
            "kept at two steps of three": _run(compared=3, not_cleared=2),
            "a restart kept them now and then": _run(compared=59, not_cleared=29),
            "one step only": _run(watched=1),
            "accumulation over four backward passes": _run(compared=8, backward_with_gradient=36),
        }
    )
    bad_code = {
        "an optimizer that another file makes": """
            # file: making.py
            import torch
            from torch import nn

            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.first = nn.Linear(3, 3)
                    self.second = nn.Linear(3, 2)

                def optimizer(self, rate):
                    groups = [{"params": [one for one in self.parameters() if one.dim() > 1]}]
                    if rate > 1:
                        for group in groups:
                            if group:
                                return torch.optim.SGD(groups, lr=rate)
                    return torch.optim.SGD(groups, lr=rate)
            # file: train.py
            import torch
            from torch.nn import functional as F
            from making import Net

            model = Net()
            optimizer = model.optimizer(0.1)
            for x, y in torch.load("data"):
                F.cross_entropy(model(x), y).backward()
                optimizer.step()  # bad
            """,
        "nothing clears": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()  # bad
            """,
        "a step function, called from a loop": """
            model = nn.Linear(3, 2)
            opt = torch.optim.SGD(model.parameters(), lr=0.1)

            def step(x, y):
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                opt.step()  # bad

            for x, y in torch.load("data"):
                step(x, y)
            """,
        "a method, called from a loop of another": """
            class Trainer:
                def __init__(self, model):
                    self.model = model
                    self.optimizer = torch.optim.Adam(model.parameters())

                def update(self, x, y):
                    loss = F.mse_loss(self.model(x), y)
                    loss.backward()
                    self.optimizer.step()  # bad

                def fit(self, loader):
                    for x, y in loader:
                        self.update(x, y)
            """,
        "through a gradient scaler": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            scaler = torch.amp.GradScaler()
            for x, y in torch.load("data"):
                scaler.scale(F.cross_entropy(model(x), y)).backward()
                scaler.step(optimizer)  # bad
                scaler.update()
            """,
    }
    good_code = {
        "the model clears as it is called": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.last = nn.Linear(3, 1)

                def forward(self, x):
                    self.zero_grad()
                    return self.last(x)

            def train(loader):
                model = Net()
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in loader:
                    loss = F.mse_loss(model(x), y)
                    loss.backward()
                    optimizer.step()
            """,
        "replaced by zeros": """
            from torch.autograd import Variable

            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                F.mse_loss(model(x), y).backward()
                optimizer.step()
                for p in model.parameters():
                    p.grad = Variable(p.grad.data.new().resize_as_(p.grad.data).zero_())
            """,
        "cleared by a library": """
            from pyro.infer.util import zero_grads

            def train(model, loader, optimizer):
                for x, y in loader:
                    zero_grads(model.parameters())
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "one step, with an optimizer of its own": """
            def test_step(model, x):
                optimizer = make_optimizer(model)
                model(x).sum().backward()
                optimizer.step()
            """,
        "a helper that is given the loss and the optimizer": """
            class Scaled:
                def __call__(self, loss, optimizer):
                    self.scaler.scale(loss).backward()
                    self.scaler.step(optimizer)
                    self.scaler.update()
            """,
        "cleared": """
            def train(model, loader, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "a parameter that is stepped to draw a schedule": """
            weight = torch.nn.Parameter(torch.zeros(1))
            optimizer = torch.optim.SGD([weight], lr=5)
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
            rates = []
            for step in range(100):
                weight.sum().backward()
                optimizer.step()
                rates.append(optimizer.param_groups[0]["lr"])
                scheduler.step()
            """,
        "cleared by a helper of the file": """
            def clear(things):
                for parameter in things:
                    parameter.grad = None

            def train(model, loader, optimizer):
                for x, y in loader:
                    clear(model.parameters())
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "cleared by a helper that is not seen": """
            def train(model, loader, optimizer, reset_grad):
                for x, y in loader:
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                    reset_grad()
            """,
        "accumulated, cleared with the step": """
            def train(model, loader, optimizer):
                for i, (x, y) in enumerate(loader):
                    F.cross_entropy(model(x), y).backward()
                    if i % 4 == 3:
                        optimizer.step()
                        optimizer.zero_grad()
            """,
        "an engine of its own": """
            def train(model_engine, loader):
                for x, y in loader:
                    loss = F.cross_entropy(model_engine(x), y)
                    model_engine.backward(loss)
                    model_engine.step()
            """,
        "an optimizer for each round": """
            def attack(model, images):
                for image in images:
                    noise = torch.zeros_like(image, requires_grad=True)
                    optimizer = torch.optim.Adam([noise])
                    model(image + noise).sum().backward()
                    optimizer.step()
            """,
        "a wrapper that clears": """
            class Noam:
                def __init__(self, optimizer):
                    self.optimizer = optimizer

                def step(self):
                    self.optimizer.step()
                    self.optimizer.zero_grad()

            model = nn.Linear(3, 2)
            optimizer = Noam(torch.optim.Adam(model.parameters()))
            for x, y in torch.load("data"):
                F.mse_loss(model(x), y).backward()
                optimizer.step()
            """,
        "a closure": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.LBFGS(model.parameters())

            def closure():
                optimizer.zero_grad()
                loss = model(torch.ones(3)).sum()
                loss.backward()
                return loss

            for epoch in range(5):
                optimizer.step(closure)
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
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(8):
            for x, y in loader:
                loss = nn.functional.cross_entropy(model(x), y)
                # add: optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


_HOOKS = ("step_post_hook", "step_pre_hook", "post_accumulate_grad_hook")
"""Functions that are called at a step or at a gradient, wherever they stand."""


def _is_none_of_ours(file: Code, loop: Loop) -> bool:
    """Whether nothing is carried over from a step to the next, or no optimizer of torch's steps."""
    return is_made_each_round(file, loop, loop.of("step")[0]) or is_of_another_kind(file, loop) or is_of_nothing(loop)


def _clearing(file: Code, step: Event, name: str) -> Fix:
    """The line that clears gradients: where it can be put into the text, it is told where."""
    edits = _cleared_behind(file, step)
    if not edits:
        return Fix("Clear them once for each step, before the backward pass:\n" + code(f"{name}.zero_grad()"))
    lines = code(f"{name}.step()", f"{name}.zero_grad()")
    return Fix("Clear them once for each step, right behind it:\n" + lines, edits=edits)


def _cleared_behind(file: Code, step: Event) -> tuple[Edit, ...]:
    """A line that clears gradients, behind a step that has its line for itself."""
    line = file.lines[step.at.line - 1] if step.code is file else ""
    if not step.name or line.partition("#")[0].strip() != f"{step.name}.step()":
        return ()
    indent = line[: len(line) - len(line.lstrip())]
    end = len(line.encode("utf-8", "surrogatepass"))
    return (insertion(file, step.at.line, end, f"\n{indent}{step.name}.zero_grad()"),)


def _is_around(file: Code, loop: Loop, event: Event) -> bool:
    """Whether gradients are cleared beside a loop, in the loops around it at most: not in another training."""
    loops = {n for n in file.numbers_around(event.outer_context) if file.contexts[n].kind in ("for", "while")}
    return event.kind == "zero" and loops <= set(file.numbers_around(loop.context))

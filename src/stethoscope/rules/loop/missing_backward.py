"""An optimizer that steps although nothing was backpropagated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import Backpropagate
from stethoscope.facts.code import NOWHERE, Call, Code, Item, Site
from stethoscope.facts.events import NO_GRAD, Event, events_of, is_named_as_optimizer, is_under, name_of
from stethoscope.facts.gradients_around import has_gradients
from stethoscope.facts.handed import is_surely_loss, is_surely_stepped
from stethoscope.facts.hidden_backward import (
    asked_without_backward,
    cleared_right_before,
    given_without_backward,
    may_go_backward,
    round_of,
)
from stethoscope.facts.loss_calls import LossUse, losses_of
from stethoscope.facts.loss_of_round import is_given_by_model, is_given_loss, loss_in
from stethoscope.facts.lost_losses import lost_loss, may_else
from stethoscope.facts.moved import may_fill
from stethoscope.facts.other_rounds import cleared_before, losses_of_passes, passes_of_others
from stethoscope.facts.training import History, Loop, LossCall, Optimizer
from stethoscope.facts.tried import is_trial
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import at, code, place_at, receiver


def _run(backward_calls: int = 0, **facts: Any) -> History:
    return History(steps=200, optimizers=(Optimizer("SGD", **facts),), loop=Loop(backward_calls=backward_calls))


PIPELINES = ("torch.distributed.pipelining", "torch.distributed.pipeline", "pippy")
"""What trains a model that is cut into stages."""


class MissingBackward(Rule):
    """The optimizer steps but nothing was backpropagated.

    ## What it sees
    Steps before which no backward pass ran and no gradient changed.
    ## Why it hurts
    Without `backward()` there is no gradient, and `step()` leaves every weight as it is. Nothing fails: the
    loss is printed, and stays what it was.
    ## How to fix it
    Call `loss.backward()` between computing the loss and `optimizer.step()`.
    ## When it is not a fault
    Gradients that are written by hand or by `torch.autograd.grad` change, so steps that use them are not
    counted. A single step before training, as some schedules ask for, is not reported. Code is possible at most where
    the loss is none of torch's, not handed over as one and not given by a network of the project, unless gradients are
    cleared right before the step; where nothing says that one of torch's optimizers steps; and where a model is asked
    and no loss is seen in a file that never says backward, or a function is handed a loss that it does not use, in such
    a file. A variable called `loss` is one where all that goes into it
    is seen, or is called a loss as well and read as a number. Possible at most, too, is a step beside a backward pass
    that another optimizer steps for, and one whose loss is told by nothing but its name, and goes nowhere.
    ## Sources
    PyTorch documentation, "Optimizing Model Parameters".
    """

    explains = (
        "collapsed-predictions",
        "learning-rate-too-low",
        "frozen-parameters",
        "no-gain-over-baseline",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "disconnected-parameters",
    )
    reads = ("loop",)
    treatments = (Backpropagate(),)

    fewest_steps = Limit(3, unit="steps", why="a step or two before training quieten a schedule's warning")
    share = Limit(0.5, unit="share of watched steps", why="an idle step now and then may be a skipped batch")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Count the steps without a backward pass."""
        for optimizer in seen.optimizers:
            idle = optimizer.without_backward
            if optimizer.watched == 0:
                yield self.cannot_tell(f"no step of {optimizer.kind} was watched")
            elif idle >= self.fewest_steps and idle >= self.share * optimizer.watched:
                yield self._report(optimizer, seen)

    def _report(self, optimizer: Optimizer, seen: History) -> Finding:
        name = receiver(optimizer.step_site, "step", "optimizer")
        loss = seen.main_loss()
        idle = f"{optimizer.without_backward} of {optimizer.watched}"
        computed = [Evidence("loss computed at", at(loss.site), "followed by backward()")] if loss else []
        return self.finding(
            f"{idle} steps of {optimizer.kind} have no backward pass before them",
            sureness=Sureness.CERTAIN,
            place=place_at(optimizer.step_site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence("watched steps before which no backward pass ran and no gradient changed", idle, "0"),
                Evidence("calls of backward() in the whole run", seen.loop.backward_calls, "1 or more a step"),
                *computed,
            ],
            cause="A step moves weights along their gradients, and only a backward pass makes gradients.",
            fixes=["Compute the gradients before the step:\n" + code("loss.backward()", f"{name}.step()")],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for a loop that computes a loss and steps, and where nothing goes backward."""
        if not file.calls_of(".step") or any(name.startswith(PIPELINES) for name, _, _ in file.imports):
            return  # the schedule of a pipeline goes backward by itself, in its `step()`
        losses = losses_of(file)
        told = set()
        for index in file.functions_with(".step", ".optimizer_step"):
            for event in events_of(file, index):
                if event.via or event.code is not file or event.at in told or not _is_step(event):
                    continue
                cleared = cleared_right_before(file, index, event)
                alone = not passes_of_others(file, index, event)
                home = round_of(file, index, event)
                if cleared is not None:
                    told.add(event.at)
                    made = loss_in(file, index, home, losses) if home != NOWHERE else None
                    is_seen = made is not None or (home != NOWHERE and is_given_loss(file, home))
                    is_known = alone and is_seen and _is_trained(file, home, event, made)
                    yield self._straight(file, event, cleared, Sureness.CERTAIN if is_known else Sureness.POSSIBLE)
                    continue
                if home == NOWHERE or has_gradients(file, index, home, event):
                    continue
                others = passes_of_others(file, index, event)
                besides = losses_of_passes(file, others)
                known = loss_in(file, index, home, losses, besides)
                loss = known or lost_loss(file, index, home, event, besides)
                given = event.call is not None and event.call.receiver is event.subject and bool(event.call.arguments)
                asked = asked_without_backward(file, index, home, event) if loss is None and not given else None
                if asked is not None:
                    told.add(event.at)
                    yield self._never(file, event, asked)
                elif loss is None and not given and given_without_backward(file, index, home, event):
                    told.add(event.at)
                    yield self._given(file, event)
                if others and may_else(file, home, event, _first_of(file, index, event)):
                    continue
                if loss is None or given or may_go_backward(file, index, home, loss, event):
                    continue
                told.add(event.at)
                is_known = alone and known is loss and _is_known(file, home, event, loss, losses)
                yield self._read(file, event, loss, Sureness.CERTAIN if is_known else Sureness.POSSIBLE)

    def _straight(self, file: Code, event: Event, cleared: Event, sureness: Sureness) -> Finding:
        return self.finding(
            fitting(f"`{event.name}` steps right after gradients are cleared", "an optimizer steps without gradients"),
            sureness=sureness,
            place=place_in(file, event.at),
            evidence=[
                Evidence(
                    f"calls of `backward()` between {line_of(file, cleared.at)}, which clears gradients, and the step",
                    0,
                    "1 or more",
                    "read in the code, through what it calls",
                )
            ],
            cause="The gradients are cleared and none are computed: the optimizer finds none and changes nothing.",
            fixes=["Go backward before the step:\n" + code("loss.backward()", f"{event.name}.step()")],
        )

    def _read(self, file: Code, event: Event, loss: Call, sureness: Sureness) -> Finding:
        what = f"calls of `backward()` for the loss on {line_of(file, loss.at)}"
        seen = Evidence(what, 0, "1 for each step", "read in the code, through what it calls")
        return self._nothing(file, event, seen, "The loss is computed and no gradient of it", sureness)

    def _never(self, file: Code, event: Event, asked: Call) -> Finding:
        what = f"words of gradients in the file, whose model answers on {line_of(file, asked.at)}"
        seen = Evidence(what, 0, "a backward pass for each step", "read in this file and those that it imports")
        return self._nothing(file, event, seen, "The model answers and no gradient is computed", Sureness.POSSIBLE)

    def _given(self, file: Code, event: Event) -> Finding:
        seen = Evidence("uses of the loss that the function is given", 0, "a backward pass", "read in the code")
        return self._nothing(file, event, seen, "The loss is given and no gradient of it computed", Sureness.POSSIBLE)

    def _nothing(self, file: Code, event: Event, seen: Evidence, what: str, sureness: Sureness) -> Finding:
        return self.finding(
            fitting(f"`{event.name}` steps, and nothing goes backward", "an optimizer steps, nothing goes backward"),
            sureness=sureness,
            place=place_in(file, event.at),
            evidence=[seen],
            cause=f"{what}: the optimizer finds none and changes nothing.",
            fixes=["Go backward before the step:\n" + code("loss.backward()", f"{event.name}.step()")],
        )

    bad = Examples(
        lambda: {
            "no backward pass at all": History(
                steps=200,
                optimizers=(
                    Optimizer(
                        "SGD",
                        watched=9,
                        without_backward=9,
                        without_gradient=9,
                        step_site=Site("train.py", 21, "train", "opt.step()"),
                    ),
                ),
                losses=(LossCall("cross_entropy", Site("train.py", 20, "train"), training_calls=9),),
            ),
            "three of six steps": _run(backward_calls=100, watched=6, without_backward=3),
        }
    )
    good = Examples(
        lambda: {
            "one backward pass a step": _run(backward_calls=200, watched=9),
            "two steps before training": _run(watched=2, without_backward=2),
            "skipped batches": _run(backward_calls=120, watched=100, without_backward=49),
            "gradients written by hand": _run(watched=9),
            "nothing watched": _run(),
        }
    )
    bad_code = {
        "gradients would be made equal in the last round only": """
            def fit(model, data, scaler, optimizer, rounds, ctx):
                for step, (x, y) in enumerate(data):
                    model.require_backward_grad_sync = step % rounds == 0
                    with ctx:
                        loss = F.cross_entropy(model(x), y) / rounds
                    scaler.step(optimizer)  # bad
                    scaler.update()
                    optimizer.zero_grad()
                    print(loss.item())
            """,
        "gradients that are no numbers would be made zero": """
            def fit(model, data, optimizer):
                for x, y in data:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    for parameter in model.parameters():
                        if parameter.grad is not None:
                            parameter.grad[torch.isnan(parameter.grad)] = 0
                    optimizer.step()  # bad
            """,
        "accelerate collects, and an average follows": """
            class Trainer:
                def fit(self, model, data):
                    model.train()
                    for x, y in data:
                        with self.accelerator.accumulate(model):
                            loss = F.cross_entropy(model(x), y)
                            self.optimizer.step()  # bad
                            self.optimizer.zero_grad()
                            self.ema(model)
            """,
        "the model's own loss": """
            def fit(model, data, optimizer):
                model.train()
                for batch in data:
                    outputs = model(**batch)
                    loss = outputs.loss
                    optimizer.step()  # bad
                    optimizer.zero_grad()
            """,
        "a loss of one's own": """
            def train(model, loader, optimizer, criterion):
                model.train()
                total = 0
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(x), y)
                    optimizer.step()  # bad
                    total += loss.item()
            """,
        "cleared, and stepped": """
            class Agent(nn.Module):
                def learn(self):
                    for state, action, gain in self.memory:
                        gains = self.net(state).log_softmax(1)[:, action] * gain
                        self.optimizer.zero_grad()
                        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
                        self.optimizer.step()  # bad
            """,
        "a model that gives its losses": """
            def fit(model, data, optimizer):
                model.train()
                for x, y in data:
                    first, second = model(x, y)
                    loss = first + 0.1 * second
                    optimizer.step()  # bad
                    optimizer.zero_grad()
                    print(loss.item())
            """,
        "gradients are plotted": """
            def fit(model, data, optimizer, criterion, writer):
                model.train()
                for step, (x, y) in enumerate(data):
                    model.zero_grad()
                    loss = criterion(model(x), y) / 2
                    for name, parameter in model.named_parameters():
                        writer.add_histogram(name, parameter.grad, step)
                    optimizer.step()  # bad
                    print(loss.item())
            """,
        "no backward": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y)
                optimizer.step()  # bad
            """,
    }
    good_code = {
        "gradients of one's own": """
            def fit(model, data, optimizer, direction):
                for x, y in data:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    for parameter in model.parameters():
                        parameter.grad[:] = direction(parameter, loss)
                    optimizer.step()
            """,
        "states are made, for each optimizer": """
            def prepare(optimizers, model):
                print(model(torch.ones(1, 3)))
                for optimizer in optimizers:
                    optimizer.zero_grad()
                    optimizer.step()
            """,
        "an agent that learns by itself": """
            def fit(agent, env, optimizer):
                for episode in range(100):
                    optimizer.zero_grad()
                    agent.learn(env)
                    optimizer.step()
            """,
        "a schedule is drawn": """
            def rate_of(optimizer):
                return optimizer.param_groups[0]["lr"]

            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
            for epoch in range(100):
                optimizer.zero_grad()
                optimizer.step()
                scheduler.step()
                print(epoch, rate_of(optimizer))
            """,
        "in a method that computes losses piece by piece": """
            class Trainer:
                def __init__(self, model, losses, optimizer):
                    self.model, self.losses, self.optimizer = model, losses, optimizer

                def fit(self, data):
                    for x, y in data:
                        self.model.zero_grad()
                        found = self.losses.compute_losses(self.model(x), y)
                        self.optimizer.step()
                        self.seen.update(found)
            """,
        "in a loss that does all of it": """
            def fit(model, data, optimizer, compute):
                for x, y in data:
                    model.zero_grad()
                    compute(model(x), y)
                    optimizer.step()
            """,
        "in what the loss is given to": """
            def fit(model, data, optimizer, accelerate):
                for x, y in data:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    accelerate(loss)
                    optimizer.step()
            """,
        "in another method": """
            class Trainer:
                def __init__(self, model):
                    self.model = model
                    self.optimizer = torch.optim.Adam(model.parameters())

                def run(self, loss):
                    loss.backward()

                def fit(self, data):
                    for x, y in data:
                        self.optimizer.zero_grad()
                        self.run(F.cross_entropy(self.model(x), y))
                        self.optimizer.step()
            """,
        "backward": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
        "a step to settle the schedule": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            optimizer.step()
            """,
        "gradients that are set by hand": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            for gradients in torch.load("data"):
                for parameter, gradient in zip(model.parameters(), gradients):
                    parameter.grad = gradient
                optimizer.step()
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
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                # add: loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _is_step(event: Event) -> bool:
    """Whether something steps an optimizer, or what is called one, or one of several: `self.optimizers[player]`."""
    if event.kind == "step":
        return event.thing.kind == "optimizer" or is_named_as_optimizer(event.name)
    one = event.subject
    return (
        event.kind == "unknown step" and isinstance(one, Item) and is_named_as_optimizer(name_of(event.code, one.value))
    )


def _first_of(file: Code, index: int, step: Event) -> int:
    """The call, by its number, with which a round begins for an optimizer: that clears what it steps for."""
    cleared = cleared_before(file, index, step)
    return cleared.call.number if cleared is not None and cleared.call is not None else 0


def _is_known(file: Code, home: int, step: Event, loss: Call, losses: tuple[LossUse, ...]) -> bool:
    """Whether a step is surely an optimizer's, and the loss beside it surely a loss: torch's, handed over as one, or
    given by a model that is seen.
    """
    is_loss = any(one.call is loss for one in losses) or is_surely_loss(file, loss) or is_given_by_model(file, loss)
    return is_loss and _is_trained(file, home, step, loss)


def _is_trained(file: Code, home: int, step: Event, loss: Call | None) -> bool:
    """Whether a step is surely an optimizer's, of a training whose loss this is, and no trial."""
    if is_trial(file, home, [loss] if loss is not None else []) or may_fill(file, home, step):
        return False
    place = loss.context if loss is not None else step.context
    return not is_under(file, place, *NO_GRAD) and is_surely_stepped(file, home, step)

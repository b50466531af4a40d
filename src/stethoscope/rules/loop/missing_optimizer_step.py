"""Gradients that no optimizer ever applies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import TakeSteps
from stethoscope.facts.by_hand import is_tried_or_sent
from stethoscope.facts.code import At, Code, Site
from stethoscope.facts.events import Event, events_of
from stethoscope.facts.left_rounds import left_rounds
from stethoscope.facts.let_go import leaves_nothing
from stethoscope.facts.loops import backward_calls, loops_of
from stethoscope.facts.stepping import is_stepped_behind
from stethoscope.facts.training import History, Loop, Optimizer
from stethoscope.facts.unstepped import (
    cleared_in,
    end_of_round,
    is_left_there,
    is_meant,
    is_round,
    kept_unstepped,
    never_named,
    unused_in,
)
from stethoscope.facts.wanted import is_wanted
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.lines import where as where_at
from stethoscope.rules.sites import at, code, place_at


def _run(finished: bool = True, **facts: Any) -> History:
    return History(optimizers=(Optimizer("SGD", num_parameters=4, **facts),), finished=finished)


class MissingOptimizerStep(Rule):
    """Gradients are computed but no optimizer ever applies them.

    ## What it sees
    An optimizer that was made and never stepped, backward passes that brought gradients to its parameters,
    and weights that are still what they were at the start.
    ## Why it hurts
    `backward()` only fills `.grad`. Without `step()` no weight moves, and the loss stays what it was.
    ## How to fix it
    Call `optimizer.step()` after `backward()`.
    ## When it is not a fault
    Gradient accumulation: several backward passes belong to one step, so a run that is still going on must
    have made many passes before this is said. Weights updated by hand move, and steps left out by a gradient scaler
    are counted as such; neither is reported. Code is possible at most without a loop over batches, with hooks, with a
    step behind the loop, where only names tell that what stands behind the backward pass does not step, or where only
    what the steps cost counts: nobody reads a loss or an answer and the model is let go, or the targets are drawn by
    chance and the function takes its time, or looks for what fits into memory; where no target is given, nobody reads
    the loss, and no model is kept or judged; and of an optimizer that is only given, or kept, and never named again.
    ## Sources
    PyTorch documentation, "Optimizing Model Parameters".
    """

    explains = (
        "collapsed-predictions", "learning-rate-too-low", "loss-not-decreasing", "cannot-overfit-batch",
        "attention-collapse", "underfitting", "frozen-parameters", "no-gain-over-baseline", "missing-zero-grad",
    )  # fmt: skip
    reads = ("loop",)
    treatments = (TakeSteps(),)

    fewest_passes = Limit(8, unit="backward passes", why="a short run may end before its first step")
    passes_while_running = Limit(256, unit="backward passes", why="more than are accumulated for one step in practice")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Look for optimizers with gradients, without a step, with weights that stood still."""
        if not seen.optimizers:
            yield self.cannot_tell("no optimizer was made")
        needed = self.fewest_passes if seen.finished else self.passes_while_running
        for optimizer in seen.optimizers:
            if optimizer.steps or optimizer.skipped_steps or optimizer.backwards_since_step < needed:
                continue
            if optimizer.parameters_moved is None:
                yield self.cannot_tell(f"the weights of {optimizer.kind} were not looked at")
            elif not optimizer.parameters_moved:
                yield self._report(optimizer, seen)

    def _report(self, optimizer: Optimizer, seen: History) -> Finding:
        passes = optimizer.backwards_since_step
        # Of several optimizers, it is not known which backward pass is whose.
        site = seen.loop.backward_sites[0] if seen.loop.backward_sites and len(seen.optimizers) == 1 else None
        line = optimizer.site.text if optimizer.site else ""
        made = re.findall(rf"([A-Za-z_][\w.]*)\s*=\s*[\w.]*{optimizer.kind}\(", line)
        name = made[0] if len(made) == 1 else "optimizer"
        named = f"`{name}`" if len(made) == 1 else optimizer.kind
        title = f"{passes} backward passes and no step: {named} moved no weight"
        return self.finding(
            title if len(title) <= 72 else f"{passes} backward passes and no step: {optimizer.kind} moved no weight",
            sureness=Sureness.CERTAIN,
            place=place_at(site or optimizer.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"steps of {optimizer.kind}, made at {at(optimizer.site)}",
                    f"0 in {passes} backward passes",
                    "1 after each backward pass, or after each group of them",
                ),
                Evidence("tensors whose weights changed since the start", 0, optimizer.num_parameters, "sampled"),
            ],
            cause="The backward passes fill the gradients, and nothing applies them to the weights.",
            fixes=["Step after its backward pass:\n" + code("loss.backward()", f"{name}.step()")],
            unless="the gradients themselves are what the script is after.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for a loop that goes backward for an optimizer, and never steps it."""
        told: set[At] = set()
        for loop in loops_of(file):
            if loop.unclear or loop.of("step", "unknown step"):
                continue
            backward = loop.of("backward")[0]
            cleared = next((event for event in loop.of("zero") if is_left_there(file, loop, event)), None)
            if cleared is not None and (loop.is_loop or is_round(loop)):
                told.add(backward.at)
                what = f"calls of `{cleared.name}.step()` in the {'loop' if loop.is_loop else 'function'}"
                doubtful = is_tried_or_sent(file, loop) or leaves_nothing(file, loop, cleared.thing.made)
                doubtful = doubtful or is_stepped_behind(file, loop, cleared.name)
                is_shown = is_meant(file, loop, cleared) and is_wanted(file, loop) and not doubtful
                sureness = Sureness.CERTAIN if is_shown else Sureness.POSSIBLE
                yield self._read(file, backward, cleared.name, what, sureness)
                continue
            made = next(unused_in(file, loop), None)
            name = made.name if made is not None else never_named(file, loop)
            if name:
                told.add(backward.at)
                is_sure = made is not None and is_wanted(file, loop) and not leaves_nothing(file, loop, made.value)
                line = f"lines that name `{name}` again"
                if made is not None:
                    is_here = backward.code is file
                    line = f"on {line_of(file, made.at)}" if is_here else f"at {where_at(file, made.at)}"
                    line = f"steps of the optimizer that is made {line}"
                sureness = Sureness.CERTAIN if is_sure else Sureness.POSSIBLE
                yield self._read(file, backward, name, line, sureness)
        for index in sorted({file.function_at(call.context) for call in backward_calls(file)}):
            kept = kept_unstepped(file, index) if index and file.functions[index].name != "<lambda>" else None
            backward_of = [event for event in events_of(file, index) if event.kind == "backward" and not event.via]
            if kept is not None and backward_of and backward_of[0].at not in told:
                what = f"steps of the optimizer that is kept on {line_of(file, kept.at)}"
                told.add(backward_of[0].at)
                yield self._read(file, backward_of[0], kept.name, what, Sureness.POSSIBLE)
            end = end_of_round(file, index)
            if end is not None and not told & {one.at for one in backward_of}:
                what = f"steps between the backward pass and {end[1]}"
                yield self._read(file, end[0], cleared_in(file, index), what, Sureness.POSSIBLE)
                continue
            for event, name in left_rounds(file, index, told):
                yield self._read(file, event, name, f"calls of `{name}.step()` for it", Sureness.POSSIBLE)

    def _read(self, file: Code, backward: Event, name: str, what: str, sureness: Sureness) -> Finding:
        return self.finding(
            fitting(f"`{name}` has gradients, and never steps", "an optimizer has gradients, and never steps"),
            sureness=sureness,
            place=place_in(backward.code, backward.at),
            evidence=[Evidence(what, 0, "1 for each backward pass", "read in this file and those that it imports")],
            cause="Gradients are computed and nothing applies them: the weights stay as they were drawn.",
            fixes=["Step after the backward pass:\n" + code("loss.backward()", f"{name}.step()")],
            unless="the gradients themselves are what the script is after.",
        )

    bad = Examples(
        lambda: {
            "never stepped": History(
                optimizers=(
                    Optimizer(
                        "Adam",
                        Site("train.py", 9, "", "opt = torch.optim.Adam(model.parameters())"),
                        num_parameters=6,
                        backwards_since_step=400,
                        parameters_moved=False,
                    ),
                ),
                loop=Loop(backward_calls=400, backward_sites=(Site("train.py", 20, "", "loss.backward()"),)),
            ),
            "eight passes in a finished run": _run(backwards_since_step=8, parameters_moved=False),
            "many passes in a run that goes on": _run(False, backwards_since_step=256, parameters_moved=False),
        }
    )
    good = Examples(
        lambda: {
            "steps each time": _run(steps=100, backwards_since_step=0, parameters_moved=True),
            "accumulates when the run ends": _run(steps=3, backwards_since_step=31, parameters_moved=True),
            "seven passes": _run(backwards_since_step=7, parameters_moved=False),
            "accumulates still": _run(False, backwards_since_step=255, parameters_moved=False),
            "moved by hand": _run(backwards_since_step=400, parameters_moved=True),
            "skipped by a gradient scaler": _run(backwards_since_step=9, skipped_steps=9, parameters_moved=False),
            "weights not looked at": _run(backwards_since_step=400),
        }
    )
    bad_code = {
        "a schedule goes on behind the backward pass": """
            def fit(model, data, optimizers, schedulers, rounds):
                for x, y in data:
                    F.cross_entropy(model(x), y).backward()  # bad
                    for parameter in model.parameters():
                        parameter.grad /= rounds
                    for opt, sched in zip(optimizers, schedulers):
                        sched.step()
                    model.zero_grad(set_to_none=True)
            """,
        "a scaler looks back at a step": """
            class Scaling:
                def __init__(self):
                    self._scaler = torch.cuda.amp.GradScaler()

                def __call__(self, loss, optimizer, parameters):
                    self._scaler.scale(loss).backward()  # bad
                    self._scaler.unscale_(optimizer)
                    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                    self._scaler.update()
            """,
        "clipped, and cleared": """
            class Hook(OptimizerHook):
                def after_train_iter(self, runner):
                    runner.outputs["loss"].backward()  # bad
                    if self.every_n_iters(runner, self.interval):
                        self.clip_grads(runner.model.parameters())
                        runner.optimizer.zero_grad()
            """,
        "gradients that are no numbers are made zero": """
            def fit(model, data, optimizer):
                for x, y in data:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()  # bad
                    for parameter in model.parameters():
                        if torch.isnan(parameter.grad).any():
                            parameter.grad[torch.isnan(parameter.grad)] = 0
            """,
        "a copy of it steps": """
            import higher

            def fit(net, data):
                opt = torch.optim.SGD(net.parameters(), lr=0.1)
                for x, y in data:
                    with higher.innerloop_ctx(net, opt) as (inner, inner_opt):
                        inner_opt.step(F.cross_entropy(inner(x), y))
                    opt.zero_grad()
                    F.cross_entropy(net(x), y).backward()  # bad
            """,
        "a profiler steps, and the optimizer scales": """
            def fit(model, data, optimizer, torch_profiler):
                for x, y in data:
                    optimizer.zero_grad()
                    optimizer.backward(F.cross_entropy(model(x), y))  # bad
                    optimizer.synchronize()
                    torch_profiler.step()
            """,
        "one round, with an optimizer of its own": """
            def demonstrate(rank):
                model = nn.Linear(3, 2)
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                optimizer.zero_grad()
                model(torch.randn(4, 3)).sum().backward()  # bad
                print(rank)
            """,
        "rates are set, gradients are plotted": """
            def set_rate(optimizer, rate):
                for group in optimizer.param_groups:
                    group["lr"] = rate

            def fit(model, data, writer):
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for epoch in range(9):
                    set_rate(optimizer, 0.1 / (1 + epoch))
                    for x, y in data:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()  # bad
                        writer.add_histogram("gradient", model.weight.grad, epoch)
            """,
        "an agent that keeps its optimizer": """
            class Agent:
                def __init__(self, net):
                    self.net = net
                    self.optimizer = torch.optim.Adam(net.parameters())

                def learn(self, states, gains):
                    self.net.zero_grad()
                    F.mse_loss(self.net(states), gains).backward()  # bad

            agent = Agent(nn.Linear(4, 2))
            for episode in range(100):
                state, done = env.reset(), False
                while not done:
                    state, gain, done = env.step(agent.net(state).argmax())
                    agent.learn(state, gain)
            """,
        "a round that ends with its schedule": """
            def update(model, batch, opt, sch):
                x, y = batch
                opt.zero_grad()
                F.cross_entropy(model(x), y).backward()  # bad
                if sch:
                    sch.step()
            """,
        "two models, one of them without a step": """
            def fit(first, second, data, first_optimizer, second_optimizer):
                for step, (x, y) in enumerate(data):
                    first_optimizer.zero_grad()
                    loss = F.cross_entropy(first(x), y)
                    loss.backward()
                    first_optimizer.step()
                for step, (x, y) in enumerate(data):
                    second_optimizer.zero_grad()
                    loss = F.cross_entropy(second(x), y)
                    loss.backward()  # bad
                    print(f"step {step}")
            """,
        "unscaled, and clipped": """
            def fit(model, data, scaler):
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for x, y in data:
                    optimizer.zero_grad()
                    scaler.scale(F.cross_entropy(model(x), y)).backward()  # bad
                    scaler.unscale_(optimizer)
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    scaler.update()
            """,
        "a function that is named like a step": """
            def forward_step(model, batch):
                x, y = batch
                return F.cross_entropy(model(x), y)

            def fit(model, data):
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for batch in data:
                    optimizer.zero_grad()
                    forward_step(model, batch).backward()  # bad
            """,
        "no step": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()  # bad
            """,
    }
    good_code = {
        "something else stands between a backward pass and its schedule": """
            def fit(model, data, learner, scheduler):
                for x, y in data:
                    F.cross_entropy(model(x), y).backward()
                    learner.improve()
                    scheduler.step()
            """,
        "weights change as their gradients come": """
            def fit(model, data, optimizers, scheduler):
                for p in model.parameters():
                    p.register_post_accumulate_grad_hook(lambda p: optimizers[p].apply())
                for x, y in data:
                    F.cross_entropy(model(x), y).backward()
                    scheduler.step()
            """,
        "a function of the file that steps": """
            def apply_step(model, held):
                held.optimizer.step()

            def fit(model, data, held):
                held.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for x, y in data:
                    held.optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    apply_step(model, held)
            """,
        "a function of the file that changes weights": """
            def take_step(model, rate):
                for p in model.parameters():
                    p.data.add_(p.grad, alpha=-rate)

            def fit(model, data):
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for x, y in data:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    take_step(model, 0.1)
            """,
        "gradients are applied by hand": """
            def fit(model, data):
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for x, y in data:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    for p in model.parameters():
                        p.data -= 0.1 * p.grad
            """,
        "kept for who steps": """
            class Agent:
                def __init__(self, net):
                    self.net = net
                    self.optimizer = torch.optim.Adam(net.parameters())

                def learn(self, states, gains):
                    self.optimizer.zero_grad()
                    F.mse_loss(self.net(states), gains).backward()

            def fit(agent, data):
                for states, gains in data:
                    agent.learn(states, gains)
                    agent.optimizer.step()
            """,
        "a function that computes gradients": """
            def gradients(model, batch, optimizer):
                x, y = batch
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
            """,
        "several backward passes for a step": """
            def fit(model, data, optimizer):
                for batches in data:
                    optimizer.zero_grad()
                    for x, y in batches:
                        F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "a step of one's own": """
            def fit(model, data, optimizer, take_step):
                for x, y in data:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    take_step(model)
            """,
        "the gradients are wanted": """
            def fisher(model, data, optimizer):
                for x, y in data:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    print(model.weight.grad)
            """,
        "the gradients are wanted by a method": """
            class Projecting:
                def gather(self, losses):
                    found = []
                    for loss in losses:
                        self.optimizer.zero_grad()
                        loss.backward(retain_graph=True)
                        found.append(self.read())
                    return found

                def read(self):
                    return [p.grad.clone() for group in self.optimizer.param_groups for p in group["params"]]
            """,
        "how much fits the memory": """
            def probe(model, batch, state):
                size = 64
                while True:
                    try:
                        for loss in model.losses(batch[:size]):
                            loss.backward()
                        for optimizer in state.optimizers:
                            optimizer.zero_grad()
                    except RuntimeError:
                        size //= 2
                        continue
                    return size
            """,
        "handed on": """
            from elsewhere import train
            import torch

            model = torch.nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            train(model, optimizer)
            for x in torch.load("data"):
                model(x).sum().backward()
            """,
        "no optimizer": """
            model = nn.Linear(3, 2)
            for x in torch.load("data"):
                model(x).sum().backward()
                print(model.weight.grad)
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
                loss.backward()
                # add: optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)

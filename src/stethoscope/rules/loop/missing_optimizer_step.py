"""Gradients that no optimizer ever applies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import TakeSteps
from stethoscope.facts.code import At, Binding, Code, Constant, Site, Value
from stethoscope.facts.events import Event, events_of, is_named_as_optimizer, name_of
from stethoscope.facts.gradient_words import are_gradients_wanted, reads_gradients
from stethoscope.facts.idle import is_idle, leaves_alone
from stethoscope.facts.loops import Loop as Repeated
from stethoscope.facts.loops import backward_calls, loops_of
from stethoscope.facts.origins import called, thing_of
from stethoscope.facts.stepping import MAY_STEP, is_stepping, may_step, outermost_loop, sets_rates
from stethoscope.facts.training import History, Loop, Optimizer
from stethoscope.rules.lines import fitting, line_of, place_in
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
    have made many passes before this is said. Weights updated by hand move, and steps left out by a
    gradient scaler are counted as such; neither is reported.
    ## Sources
    PyTorch documentation, "Optimizing Model Parameters".
    """

    explains = (
        "collapsed-predictions",
        "learning-rate-too-low",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "frozen-parameters",
        "no-gain-over-baseline",
        "missing-zero-grad",
    )
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
            cleared = next((event for event in loop.of("zero") if _is_left_there(file, loop, event)), None)
            where = "loop" if loop.is_loop else "function"
            if cleared is not None and (loop.is_loop or _is_round(loop)):
                is_known = cleared.thing.kind == "optimizer" and loop.is_loop
                told.add(backward.at)
                what = f"calls of `{cleared.name}.step()` in the {where}"
                sureness = Sureness.CERTAIN if is_known else Sureness.LIKELY
                yield self._read(file, backward, cleared.name, what, sureness)
                continue
            for made in _unused(file, loop):
                told.add(backward.at)
                what = f"steps of the optimizer that is made on {line_of(file, made.at)}"
                yield self._read(file, backward, made.name, what, Sureness.CERTAIN)
                break
        for index in sorted({file.function_at(call.context) for call in backward_calls(file)}):
            kept = _kept(file, index) if index and file.functions[index].name != "<lambda>" else None
            backward_of = [event for event in events_of(file, index) if event.kind == "backward" and not event.via]
            if kept is not None and backward_of and backward_of[0].at not in told:
                what = f"steps of the optimizer that is kept on {line_of(file, kept.at)}"
                yield self._read(file, backward_of[0], kept.name, what, Sureness.LIKELY)

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


def _is_left_there(file: Code, loop: Repeated, cleared: Event) -> bool:
    """Whether the optimizer that a loop clears is used for nothing else there: it is cleared, and does not step."""
    home = loop.at if loop.is_loop else file.functions[loop.function].at
    is_optimizer = cleared.thing.kind == "optimizer" or (
        cleared.thing.kind in ("unknown", "instance") and is_named_as_optimizer(cleared.name)
    )
    name = cleared.outer_name
    if not is_optimizer or not name or cleared.code is not file or are_gradients_wanted(file, home):
        return False
    outer = outermost_loop(file, loop.context)
    asked = file.contexts[outer].value if file.contexts[outer].kind == "while" else None
    if isinstance(asked, Constant) and all(one.at.line < cleared.at.line for one in loop.of("backward")):
        return False  # tried until it succeeds, and thrown away
    if may_step(file, loop):
        return False
    for call in file.calls[slice(*file.functions[loop.function].calls)]:
        if outer not in file.numbers_around(call.context) or thing_of(file, call.receiver).kind == "scheduler":
            continue
        if any(here.kind == "if" and _says_none(file, here.value, name) for here in file.around(call.context)):
            continue  # what is done where there is no optimizer
        values = (*call.arguments, *(value for _, value in call.keywords))
        reads = called(file, call).function if call.receiver is not None else None
        if reads is not None and reads_gradients(file, reads.at):
            return False
        if any(name_of(file, value) == name and not leaves_alone(file, call, value) for value in values):
            if sets_rates(file, call):
                continue
            return False
        if name_of(file, call.receiver) == name and call.name not in _HARMLESS and not _RATES.search(call.name):
            return False
    return True


_HARMLESS = frozenset({".zero_grad", ".state_dict", ".load_state_dict", ".add_param_group"})
_RATES = re.compile(r"learning_?rate|_lr|lr_")


def _says_none(file: Code, asked: Value | None, name: str) -> bool:
    return asked is not None and file.text(asked.at) in (f"{name} is None", f"not {name}")


def _is_round(loop: Repeated) -> bool:
    """Whether a function is one round of a training: it clears, goes backward, and advances a schedule after that."""
    backward = loop.of("backward")[0]
    return any(
        not event.via and event.code is loop.code and event.at.line > backward.at.line for event in loop.of("schedule")
    )


def _unused(file: Code, loop: Repeated) -> Iterator[Binding]:
    """The optimizers that are made beside a loop that goes backward, and that nothing steps anywhere."""
    if not loop.is_loop or may_step(file, loop) or are_gradients_wanted(file, loop.at):
        return
    for binding in file.bindings:
        is_beside = file.function_at(binding.context) == loop.function and "." not in binding.name
        if is_beside and _is_made(file, binding) and is_idle(file, binding):
            yield binding


def _is_own(file: Code, index: int, name: str) -> bool:
    """Whether a function has a variable of that name itself."""
    return any(one.name == name and one.how != "merge" for one in file.bindings[slice(*file.functions[index].bindings)])


def _is_made(file: Code, binding: Binding) -> bool:
    return binding.how == "assign" and not binding.item and thing_of(file, binding.value).kind == "optimizer"


def _kept(file: Code, index: int) -> Binding | None:
    """An optimizer that an object or the module keeps, and that nothing steps, where this method of its class, or a
    function that clears it, goes backward: one that is made there, or one that is handed over and that it clears.
    """
    events = [event for event in events_of(file, index) if not event.via]
    if not any(event.kind == "backward" for event in events) or are_gradients_wanted(file, file.functions[index].at):
        return None
    if any(event.kind in MAY_STEP for event in events_of(file, index)):
        return None
    calls = file.calls[slice(*file.functions[index].calls)]
    if any(is_stepping(file, call) for call in calls):
        return None
    cleared = {event.name for event in events if event.kind == "zero"}
    for binding in file.bindings:
        home = file.function_at(binding.context)
        if not binding.name.startswith("self."):
            is_global = home == 0 and binding.name in cleared and _is_made(file, binding)
            if is_global and not _is_own(file, index, binding.name) and is_idle(file, binding):
                return binding
            continue
        if file.class_of(home) != file.class_of(index):
            continue
        is_cleared = binding.name in cleared and is_named_as_optimizer(binding.name) and binding.how == "assign"
        is_handed = is_cleared and thing_of(file, binding.value).kind == "unknown"
        if (is_handed or (cleared and _is_made(file, binding))) and is_idle(file, binding):
            return binding
    return None

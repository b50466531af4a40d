"""A graph that is cut between the loss and the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Call, Code, Site, Value
from stethoscope.facts.cuts import (
    NUMBERS,
    asks_elsewhere,
    cut_before,
    cut_by,
    decision_of,
    holds_an_answer,
    is_made_anew,
)
from stethoscope.facts.events import Event
from stethoscope.facts.flow import Backward
from stethoscope.facts.loops import loops_of
from stethoscope.facts.loss_calls import losses_of
from stethoscope.facts.progress import progress_of
from stethoscope.facts.things import followed
from stethoscope.facts.training import History, Layer, Loop, Optimizer, Parameter
from stethoscope.rules import lines
from stethoscope.rules.cutting import cause_of, fixes_for, line_of, where_it_ends, words_for
from stethoscope.rules.learning import loss_evidence
from stethoscope.rules.sites import at, code, place_at, receiver

_DETACHED = Site("train.py", 18, "", "out = model(x).detach()")


def _run(backward: Backward, steps: int = 200, ended_by: str = "", **optimizer: object) -> History:
    """A run of a network of one layer, whose loss is backpropagated from one line."""
    held = Optimizer("SGD", steps=steps, watched=min(steps, 50), num_parameters=1, parameters_moved=False)
    site = Site("train.py", 20, "", "loss.backward()")
    return History(
        steps=steps,
        ended_by=ended_by,
        finished=not ended_by,
        layers=(Layer("0", "Linear", order=0, parameters=(0,), made_graph=True),),
        parameters=(Parameter("0.weight", (8, 8), layer=0, optimizer=0, in_graph=False, received_gradient=False),),
        optimizers=(replace(held, **optimizer),),  # type: ignore[arg-type]
        loop=Loop(backward_calls=max(steps, 1), backwards=(replace(backward, site=backward.site or site),)),
    )


def _partial(cut_sites: Sequence[Site] = (_DETACHED,), trained: int = 1, **of_first: object) -> History:
    """An encoder of one layer and a head of one; the graph of the loss reaches the head alone."""
    seen = _run(Backward(watched=50, graphs=2, cut_sites=tuple(cut_sites)), backward_with_gradient=50)
    encoder = replace(seen.layers[0], **{k: v for k, v in of_first.items() if hasattr(Layer, k)})  # type: ignore[arg-type]
    weight = replace(seen.parameters[0], **{k: v for k, v in of_first.items() if not hasattr(Layer, k)})  # type: ignore[arg-type]
    return replace(
        seen,
        layers=(encoder, Layer("1", "Linear", order=trained, parameters=(1,), made_graph=True)),
        parameters=(weight, Parameter("1.weight", (8, 2), True, 1, 0, True, True)),
    )


class LossDetached(Rule):
    """The graph from the loss back to the parameters is cut, so they get no gradient.

    ## What it sees
    The tensor that `backward()` is called on, and its graph: a loss that requires no gradient, one that was made to
    require it by hand, a graph that reaches no parameter, or one that misses layers that ran and that the optimizer
    holds. The line is the one between the model's call and `backward()` that hands on values without their graph.
    ## Why it hurts
    `.detach()`, `.data`, `.item()`, `.numpy()`, `torch.tensor(...)`, `argmax` and `no_grad` give values without the
    operations that made them. Gradients end there: everything before that line keeps its first random weights.
    `requires_grad_(True)` on the loss hides the error message and changes nothing else.
    ## How to fix it
    Compute the loss from what the model returned, without leaving torch and without `.detach()`. Use such values for
    printing and for metrics only.
    ## When it is not a fault
    A part that is held still on purpose (a target network, a pretrained encoder). It reads better, and costs less, to
    leave such a part out of the optimizer; then it is not reported. Gradients for the input alone are not reported. In
    code a loss of decisions or of a copy is possible at most: it may be a measure. So is one cut off before it is
    scaled or in one branch, and where something else is asked for gradients.
    ## Sources
    PyTorch documentation, "Autograd mechanics" and `torch.Tensor.detach`.
    """

    explains = (
        "forward-crash",
        "learning-rate-too-low",
        "missing-backward",
        "vanishing-gradients",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "collapsed-predictions",
        "no-gain-over-baseline",
        "frozen-parameters",
        "disconnected-parameters",
        "parameters-not-in-optimizer",
    )
    reads = ("loop", "gradients")

    share = Limit(0.5, unit="share of watched backward passes", why="a rare batch without a loss term has no graph")
    fewest_steps = Limit(3, unit="steps", why="a step or two may be a trial before training")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each line that backpropagates; then the layers that no graph reaches."""
        if not any(each.watched for each in seen.loop.backwards):
            yield self.cannot_tell("no backward pass was watched")
            return
        found = False
        for backward in seen.loop.backwards:
            if self._is_refused(backward, seen):
                found = True
                yield self._refused(backward, seen)
            elif self._is_cut(backward, seen):
                found = True
                yield self._cut(backward, seen)
        if not found:
            yield from self._partly_cut(seen)

    def _is_refused(self, backward: Backward, seen: History) -> bool:
        """Whether torch refused the loss, and that ended the run or happens most of the time.

        A network that is frozen as a whole has no graph either: there the way to the parameters is not cut.
        """
        if not backward.without_graph or not any(p.trainable for p in seen.parameters):
            return False
        return bool(seen.ended_by) or backward.without_graph >= self.share * backward.watched

    def _is_cut(self, backward: Backward, seen: History) -> bool:
        """Whether steps are made on graphs in which there is nothing to train."""
        steps = sum(o.steps for o in seen.optimizers)
        if steps < self.fewest_steps:
            return False
        if backward.from_leaf >= self.share * backward.watched > 0:
            return True
        idle = not any(o.backward_with_gradient or o.parameters_moved for o in seen.optimizers)
        return idle and 0 < backward.graphs == backward.unreached

    def _refused(self, backward: Backward, seen: History) -> Finding:
        name = receiver(backward.site, "backward", "loss")
        last = seen.steps
        return self.finding(
            f"`{name}` has no graph, so `{name}.backward()` fails"[:72],
            sureness=Sureness.CERTAIN,
            place=place_at(line_of(backward), steps=(last, last)),
            evidence=[
                Evidence(
                    f"losses that require no gradient, at {at(backward.site)}",
                    f"{backward.without_graph} of {backward.watched} watched",
                    "0",
                ),
                *where_it_ends(backward),
            ],
            cause=cause_of(backward) + " torch has nothing to backpropagate through, and raises a RuntimeError.",
            fixes=fixes_for(backward, name),
        )

    def _cut(self, backward: Backward, seen: History) -> Finding:
        name = receiver(backward.site, "backward", "loss")
        leaf = backward.from_leaf > 0
        held = sum(o.num_parameters for o in seen.optimizers)
        progress = progress_of(seen)
        what = "losses that no operation made" if leaf else "graphs of the loss that reach no parameter"
        count = (backward.from_leaf, backward.watched) if leaf else (backward.unreached, backward.graphs)
        return self.finding(
            f"`{name}` is cut off from the model: none of {held} tensors gets a gradient"[:72],
            sureness=Sureness.CERTAIN,
            place=place_at(line_of(backward), steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(f"{what}, at {at(backward.site)}", f"{count[0]} of {count[1]} watched", "0"),
                *where_it_ends(backward),
                *([loss_evidence(seen, progress)] if progress.known else []),
            ],
            cause=cause_of(backward)
            + (" `requires_grad` on what comes after it only silences the error." if leaf else "")
            + " The optimizer steps without gradients, and nothing trains.",
            fixes=fixes_for(backward, name),
        )

    def _partly_cut(self, seen: History) -> Iterator[Finding]:
        backward = next((b for b in seen.loop.backwards if b.cut_sites and b.graphs > b.unreached), None)
        reached = [p.layer for p in seen.parameters if p.in_graph and p.optimizer >= 0 and p.layer >= 0]
        if backward is None or not reached:
            return
        last = max(seen.layers[layer].order for layer in reached)
        lost = [i for i, p in enumerate(seen.parameters) if _is_lost(i, p, seen) and seen.layers[p.layer].order < last]
        if lost:
            yield self._lost(backward, lost, seen)

    def _lost(self, backward: Backward, lost: Sequence[int], seen: History) -> Finding:
        parameters = [seen.parameters[i] for i in lost]
        first = seen.layers[parameters[0].layer]
        held = sum(p.optimizer >= 0 for p in seen.parameters)
        layers = len({p.layer for p in parameters})
        which = f"`{first.name}` gets" if layers == 1 else f"{layers} layers from `{first.name}` on get"
        if len(which) > 30:
            which = f"{layers} layers get" if layers > 1 else "a layer gets"
        progress = progress_of(seen)
        return self.finding(
            f"{which} no gradient: the graph is cut behind it"
            if layers == 1
            else f"{which} no gradient: the graph is cut behind them",
            severity=Severity.WARNING if progress.learns_well else Severity.ERROR,
            sureness=Sureness.CERTAIN,
            place=place_at(
                backward.cut_sites[0],
                steps=(0, max(seen.steps - 1, 0)),
                module=first.name,
                parameter=parameters[0].name,
            ),
            evidence=[
                Evidence(
                    "tensors of layers that ran, in the optimizer, that no graph of the loss reaches",
                    f"{len(parameters)} of {held}, from `{parameters[0].name}` to `{parameters[-1].name}`",
                    "0",
                    "graphs read at the first steps; no gradient at any look after that",
                ),
                *where_it_ends(backward),
            ],
            cause=f"{words_for(backward.cut_sites[0])} hands on values without their graph, so these layers keep the "
            "weights that they started with.",
            fixes=fixes_for(backward, receiver(backward.site, "backward", "loss")),
            unless="these layers are meant to stay as they are; leaving them out of the optimizer says so.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for a backward pass from a tensor that was made anew, and for losses of decisions."""
        for loop in loops_of(file):
            for event in loop.of("backward"):
                made, _ = followed(event.code, event.subject)
                if event.code is file and isinstance(made, Call) and is_made_anew(file, made):
                    yield self._read_anew(file, event, made)
                elif event.code is file and made is not None and (how := cut_by(file, event, made)):
                    sure = Sureness.POSSIBLE if asks_elsewhere(file, event) else Sureness.CERTAIN
                    yield self._read_detached(file, event, made, how, sure)
                elif event.code is file and (before := cut_before(file, event)) is not None:
                    yield self._read_detached(file, event, *before, Sureness.POSSIBLE)
        for loss in losses_of(file):
            made, _ = followed(file, loss.given)
            decision = decision_of(file, made)
            if isinstance(made, Call) and is_made_anew(file, made) and holds_an_answer(file, made.argument(0)):
                yield self._read_cut(file, loss.call, made)
            if decision and loops_of(file):
                yield self._read_decision(file, loss.call, loss.function, decision)

    def _read_anew(self, file: Code, event: Event, made: Call) -> Finding:
        name = event.name if len(event.name) < 20 else "loss"
        return self.finding(
            f"`{name}` is a new tensor, cut off from the model"[:72],
            sureness=Sureness.POSSIBLE,
            place=lines.place_in(file, made.at),
            evidence=[
                Evidence(
                    f"what `backward()` on {lines.line_of(file, event.at)} starts from",
                    f"`{made.name.rpartition('.')[2]}(..., requires_grad=True)`", "what the loss function returned",
                )
            ],
            cause="A tensor made from values has no graph: `requires_grad=True` silences the error, and no parameter "
            "gets a gradient.",
            fixes=["Go backward from the loss itself:\n" + code("loss = criterion(output, target)", "loss.backward()")],
            chain=lines.way_to(file, event, "goes backward from it"),
        )  # fmt: skip

    def _read_detached(self, file: Code, event: Event, made: Value, how: str, sure: Sureness) -> Finding:
        name = event.name if len(event.name) < 20 else "the loss"
        is_number = how in NUMBERS
        return self.finding(
            lines.fitting(f"`{name}` is cut off by `{how}` before it goes backward", f"`{how}` before `backward()`"),
            sureness=sure,
            place=lines.place_in(file, made.at),
            evidence=[
                Evidence(
                    f"what `backward()` on {lines.line_of(file, event.at)} starts from",
                    f"what `{how}` gives: {'a number' if is_number else 'a tensor without a graph'}",
                    "what the loss function returned",
                )
            ],
            cause=f"`{how}` ends the graph, so no parameter gets a gradient: `backward()` "
            + ("is not there at all." if is_number else "has nowhere to go."),
            fixes=[f"Go backward from the loss itself, and use `{how}` only where it is printed or added up."],
            chain=lines.way_to(file, event, "goes backward from it"),
        )

    def _read_cut(self, file: Code, call: Call, made: Call) -> Finding:
        return self.finding(
            "the loss is computed from a copy of the model's answer",
            sureness=Sureness.POSSIBLE,
            place=lines.place_in(file, made.at),
            evidence=[
                Evidence(
                    f"first argument of the loss on {lines.line_of(file, call.at)}",
                    f"`{made.name.rpartition('.')[2]}(..., requires_grad=True)`",
                    "what the model returned",
                )
            ],
            cause="A tensor made from values has no graph: gradients end at the copy, and no parameter gets one.",
            fixes=["Give the loss what the model returned:\n" + code("loss = criterion(model(x), target)")],
        )

    def _read_decision(self, file: Code, call: Call, function: str, decision: str) -> Finding:
        return self.finding(
            f"`{function}` is given a decision (`{decision}`), which has no gradient"[:72],
            sureness=Sureness.POSSIBLE,
            place=lines.place_in(file, call.at),
            evidence=[
                Evidence(
                    f"first argument on {lines.line_of(file, call.at)}",
                    f"what `{decision}` gives",
                    "the model's scores",
                )
            ],
            cause=f"`{decision}` jumps between whole numbers: its gradient is zero or not defined, and nothing "
            "before it learns.",
            fixes=[
                "Give the loss the scores, and keep decisions for metrics:\n" + code("loss = criterion(scores, target)")
            ],
        )

    bad = Examples(
        lambda: {
            "refused at the first step": _run(
                Backward(watched=1, without_graph=1, cut="after the model", cut_sites=(_DETACHED,)),
                steps=0,
                ended_by="RuntimeError",
            ),
            "refused after an epoch: gradients stayed off": _run(
                Backward(watched=51, without_graph=1, cut="gradients off"), ended_by="RuntimeError"
            ),
            "refused, and the error is caught": _run(Backward(watched=50, without_graph=25)),
            "cut in the forward function": _run(
                Backward(watched=1, without_graph=1, cut="inside the model"), steps=0, ended_by="RuntimeError"
            ),
            "made to require a gradient": _run(
                Backward(watched=50, from_leaf=25, cut="after the model", cut_sites=(_DETACHED,)), steps=3
            ),
            "an input made to require one": _run(Backward(watched=50, graphs=2, unreached=2)),
            "an encoder cut off": _partial(),
            "an encoder cut off by hand": _partial((Site("train.py", 9, "forward", "h = self.encoder(x).data"),)),
        }
    )
    good = Examples(
        lambda: {
            "reaches the parameters": _run(Backward(watched=50, graphs=2), backward_with_gradient=50),
            "one refused in a run that goes on": _run(Backward(watched=50, without_graph=24)),
            "frozen as a whole": replace(
                _run(Backward(watched=1, without_graph=1), ended_by="RuntimeError"),
                parameters=(Parameter("0.weight", (8, 8), trainable=False, layer=0),),
            ),
            "a few leaves": _run(Backward(watched=50, from_leaf=24)),
            "two trial steps": _run(Backward(watched=2, from_leaf=2), steps=2),
            "gradients for the input": _run(Backward(watched=50, graphs=2, unreached=2), backward_with_gradient=50),
            "checkpointing, which hides the parameters": _run(
                Backward(watched=50, graphs=2, unreached=2), parameters_moved=True
            ),
            "an encoder that nothing in the source cuts off": _partial(()),
            "an encoder that the optimizer does not hold": _partial(optimizer=-1),
            "a frozen encoder": _partial(trainable=False),
            "a pretrained encoder": _partial(loaded=True),
            "an encoder that trained at another time": _partial(received_gradient=True),
            "a second head that is not used": _partial(order=2),
            "never called": _partial(order=-1),
        }
    )
    bad_code = {
        "detached": """
            def train(model, data, optimizer):
                for x, y in data:
                    optimizer.zero_grad()
                    loss = F.mse_loss(model(x), y).detach()  # bad
                    loss.backward()
                    optimizer.step()
            """,
        "a new tensor": """
            def train(model, data, optimizer):
                for x, y in data:
                    optimizer.zero_grad()
                    loss = F.mse_loss(model(x), y)
                    loss = torch.tensor(loss.item(), requires_grad=True)  # bad
                    loss.backward()
                    optimizer.step()
            """,
        "a copy of the answer": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                scores = torch.tensor(model(x).tolist(), requires_grad=True)  # bad
                F.cross_entropy(scores, y).backward()
                optimizer.step()
            """,
        "a decision": """
            def train(model, data, optimizer):
                for x, y in data:
                    optimizer.zero_grad()
                    guess = model(x).argmax(dim=1)
                    loss = F.mse_loss(guess.float(), y)  # bad
                    loss.requires_grad_()
                    loss.backward()
                    optimizer.step()
            """,
    }
    good_code = {
        "detached, and asked for gradients": """
            def train(model, data, optimizer):
                for x, y in data:
                    loss = F.mse_loss(model(x), y).detach()
                    loss.requires_grad = True
                    loss.backward()
            """,
        "a number after it went backward": """
            def train(model, data, optimizer):
                for x, y in data:
                    optimizer.zero_grad()
                    loss = F.mse_loss(model(x), y)
                    loss.backward()
                    optimizer.step()
                    loss = loss.item()
            """,
        "the loss itself": """
            def train(model, data, optimizer):
                for x, y in data:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(model(x), y)
                    loss.backward()
                    optimizer.step()
                    print((model(x).argmax(1) == y).float().mean())
            """,
        "a gradient for an input": """
            def attack(model, data):
                for x in data:
                    noise = torch.tensor(x, requires_grad=True)
                    model(noise).sum().backward()
                    print(noise.grad)
            """,
        "a target that is a decision": """
            def train(model, data, optimizer):
                for x in data:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), model(x).argmax(1)).backward()
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
                scores = torch.tensor(model(x).tolist(), requires_grad=True)  # fix: scores = model(x)
                loss = nn.functional.cross_entropy(scores, y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _is_lost(index: int, parameter: Parameter, seen: History) -> bool:
    """Whether a parameter of a layer that ran could be trained, should be, and was never reached."""
    if parameter.optimizer < 0 or not parameter.trainable or parameter.in_graph or parameter.shared_with:
        return False
    if parameter.received_gradient is not False or parameter.layer < 0:
        return False
    layer = seen.layers[parameter.layer]
    if layer.order < 0 or layer.loaded:
        return False
    if index >= seen.telemetry.parameters.shape[1]:
        return True
    gradients = seen.telemetry.parameter("gradient_rms")[:, index]
    return not bool(np.any(gradients[np.isfinite(gradients)] > 0))

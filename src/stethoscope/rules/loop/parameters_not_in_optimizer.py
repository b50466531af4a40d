"""Trainable parameters that receive gradients and belong to no optimizer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import OptimizeAllParameters
from stethoscope.facts.code import Code, Site
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import History, Layer, Model, Optimizer, Parameter, Stray
from stethoscope.rules.examples import falling, run
from stethoscope.rules.owning import exchanged
from stethoscope.rules.sites import at, code, place_at

MOSTLY = 0.5
"""Share of the values in weights that must be as torch drew them: of some kinds, and of a few values, none can tell."""


def _network(held: str, shapes: Sequence[tuple[int, ...]] = ((8, 8),) * 4, unreached: int = 0) -> History:
    """A chain of layers with one parameter each: `+` in the optimizer, `-` in none."""
    parameters = tuple(
        Parameter(f"net.{i}.weight", shape, layer=i, optimizer=0 if mark == "+" else -1, in_graph=True)
        for i, (mark, shape) in enumerate(zip(held, shapes, strict=True))
    )
    trained = sum(p.count for p in parameters if p.optimizer == 0)
    return History(
        steps=200,
        models=(Model("Net", optimized_share=trained / sum(p.count for p in parameters)),),
        layers=tuple(Layer(f"net.{i}", "Linear", order=i, parameters=(i,)) for i in range(len(held))),
        parameters=parameters,
        optimizers=(
            Optimizer(
                "Adam",
                Site("train.py", 12, "", "opt = torch.optim.Adam(net.body.parameters())"),
                num_parameters=held.count("+") + unreached,
                steps=200,
                parameters_never_reached=unreached,
            ),
        ),
    )


def _two_models(
    training_forwards: int = 40, of_encoder: int = 40, *, loaded: bool = False, order: int = 2, **of_head: int
) -> History:
    """An encoder that an optimizer holds, and a head in a module of its own that none holds."""
    seen = _network("+-", ((8, 8), (8, 2)))
    encoder, head = seen.layers
    return replace(
        seen,
        models=(
            Model("Encoder", optimized_share=1.0, training_forwards=of_encoder),
            Model("Head", training_forwards=training_forwards, **of_head),  # type: ignore[arg-type]
        ),
        layers=(replace(encoder, order=1), replace(head, model=1, order=order, loaded=loaded)),
    )


def _drawn(history: History, end: float, **changes: object) -> History:
    """Left out as torch drew them, in a run whose loss fell from 2.3 to `end`."""
    learning = run(falling(2.3, end))
    seen = replace(history, steps=learning.steps, losses=learning.losses, curves=learning.curves)
    return _changed(seen, **({"as_drawn": True} | changes))


def _changed(history: History, **changes: object) -> History:
    parameters = tuple(replace(p, **changes) if p.optimizer < 0 else p for p in history.parameters)  # type: ignore[arg-type]
    return replace(history, parameters=parameters)


class ParametersNotInOptimizer(Rule):
    """Trainable parameters that receive gradients belong to no optimizer.

    ## What it sees
    Parameters that the graph of the training loss reaches, that no optimizer holds, and that do not change.
    Layers in a plain list of a module, which `parameters()` does not find, and layers put into a model later.
    Of those in the model four patterns count: layers behind trained ones (a head left out, or a layer replaced after
    the optimizer was made), a module of its own that always runs behind the trained one, in train mode and with fresh
    weights, a whole model none of whose parameters is held while an optimizer holds tensors that no graph reaches
    (the model was rebuilt, or copied, after the optimizer was made), and, in a run that comes half of the way only,
    layers in front whose weights are still as torch drew them.
    In code: a model or a layer that is constructed anew between the making of its optimizer and that one's steps.
    ## Why it hurts
    These layers keep the random numbers that they started with, while everything before them is trained to
    make up for it. Nothing fails.
    ## How to fix it
    Make the optimizer after the model is complete, from `model.parameters()`.
    ## When it is not a fault
    A part that is meant to stay as it is: a pretrained backbone in front of a new head, a teacher, a
    perceptual loss, a large model beside small adapters. None of these is reported. It reads better, and
    saves memory, to say so with `requires_grad_(False)`.
    ## Sources
    PyTorch documentation, `torch.optim`, "Constructing it": an optimizer updates the tensors that it was
    given.
    """

    explains = (
        "collapsed-predictions",
        "learning-rate-too-low",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "too-few-epochs",
        "frozen-parameters",
        "no-gain-over-baseline",
    )
    reads = ("loop",)
    treatments = (OptimizeAllParameters(),)
    on_trial = True

    unreached_share = Limit(0.9, unit="share of the optimizer's tensors", why="a few may wait for a rare branch")
    most_left_behind = Limit(
        0.99,
        unit="share of the model's elements",
        why="so little trained is an adapter or a prompt, on purpose",
    )
    most_left_between = Limit(
        0.5, unit="share of the model's elements", why="training the smaller part of all layers is a method"
    )

    together = Limit(
        0.9,
        unit="training forwards / those of the trained model",
        why="a part of one network runs as often as the rest of it",
    )
    gain = Limit(
        0.6,
        unit="share of the way from guessing to a loss of 0",
        why="random features in front of a trained layer take it half of the way; where more is reached they suffice",
    )
    fewest_forwards = Limit(8, unit="watched training forwards", why="a probe or two trains nothing")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each model by where its left-out parameters lie."""
        if not any(p.in_graph or p.received_gradient for p in seen.parameters):
            yield self.cannot_tell("no graph of a training loss was read")
            return
        for stray in seen.strays:
            # A list of one is how a network is kept out of `parameters()` on purpose.
            if (stray.elements > 1 or not stray.container) and any(o.steps for o in seen.optimizers):
                yield self._unknown(stray, seen)
        unreached = sum(o.parameters_never_reached for o in seen.optimizers)
        for number, model in enumerate(seen.models):
            of_model = [
                i for i, p in enumerate(seen.parameters) if p.layer >= 0 and seen.layers[p.layer].model == number
            ]
            left = [seen.parameters[i] for i in of_model if _is_left_out(i, seen)]
            trained = [seen.parameters[i] for i in of_model if seen.parameters[i].optimizer >= 0]
            if not left:
                continue
            if not trained:
                rebuilt_for = self._abandoned(seen.optimizers)
                if rebuilt_for:
                    yield self._rebuilt(model, left, rebuilt_for)
                elif self._is_missing_part(number, left, seen):
                    bad = Severity.WARNING if progress_of(seen).learns_well else Severity.ERROR
                    yield self._left_out(left, [p for p in seen.parameters if p.optimizer >= 0], bad, 0, seen)
                continue
            severity = self._weigh(left, trained, unreached, seen)
            if severity is not None:
                yield self._left_out(left, trained, severity, unreached, seen)

    def _abandoned(self, optimizers: Sequence[Optimizer]) -> Optimizer | None:
        """An optimizer (nearly) all of whose tensors no graph reaches."""
        return next(
            (
                o
                for o in optimizers
                if o.num_parameters and o.parameters_never_reached >= self.unreached_share * o.num_parameters
            ),
            None,
        )

    def _is_missing_part(self, number: int, left: Sequence[Parameter], seen: History) -> bool:
        """Whether a model of its own, none of which is held, is part of what trains.

        It runs in train mode whenever the trained model does, behind layers of it, and began with weights of its own:
        a teacher, a perceptual loss or any other pretrained network has loaded its weights, or is in eval mode.
        """
        model = seen.models[number]
        trained = [p for p in seen.parameters if p.optimizer >= 0 and p.layer >= 0 and p.in_graph]
        partners = {seen.layers[p.layer].model for p in trained}
        steps = max((seen.models[i].training_forwards for i in partners if i < len(seen.models)), default=0)
        if model.training_forwards_in_eval or not self.fewest_forwards <= model.training_forwards:
            return False
        if not self.together <= model.training_forwards / max(steps, 1) <= 2 - self.together:
            return False
        layers = [seen.layers[p.layer] for p in left]
        first_trained = min(seen.layers[p.layer].order for p in trained)
        behind = not any(layer.loaded or layer.order < first_trained for layer in layers)
        return behind or self._is_missed(left, seen)

    def _is_missed(self, left: Sequence[Parameter], seen: History) -> bool:
        """Whether these are random numbers, and the run would need them trained: it comes half of the way only.

        Weights that were trained before, loaded or copied lie otherwise: a backbone, or the model beside its adapters.
        """
        weights = [p for p in left if len(p.shape) >= 2]
        drawn = [p for p in weights if p.as_drawn and not seen.layers[p.layer].loaded]
        return bool(drawn) and _count(drawn) >= MOSTLY * _count(weights) and progress_of(seen).gain < self.gain

    def _weigh(
        self, left: Sequence[Parameter], trained: Sequence[Parameter], unreached: int, seen: History
    ) -> Severity | None:
        """How bad it is that these are left out; None when it looks meant."""
        left_at = [seen.layers[p.layer].order for p in left]
        trained_at = [seen.layers[p.layer].order for p in trained]
        share = _count(left) / (_count(left) + _count(trained))
        if -1 in left_at:
            return None
        missed = None
        if self._is_missed(left, seen):
            missed = Severity.ERROR if progress_of(seen).is_stuck else Severity.WARNING
        if max(left_at) < min(trained_at):
            return missed  # nearest the input: a backbone that is kept as it is, or one that should have been trained
        if unreached >= len(left):
            return Severity.ERROR  # the optimizer holds as many tensors of layers that are gone
        if min(left_at) > max(trained_at):
            return Severity.ERROR if share <= self.most_left_behind else missed
        return Severity.WARNING if share <= self.most_left_between else missed

    def _left_out(
        self,
        left: Sequence[Parameter],
        trained: Sequence[Parameter],
        severity: Severity,
        unreached: int,
        seen: History,
    ) -> Finding:
        first = seen.layers[left[0].layer]
        optimizer = next((o for o in seen.optimizers if o.site), None)
        made = optimizer.site if optimizer else None
        layers = len({p.layer for p in left})
        title = f"`{first.name}` is in no optimizer: {_count(left):,} trainable values stay random"
        if layers > 1 or len(title) > 72:
            title = f"{layers} layers are in no optimizer: {_count(left):,} values stay as they are"
        replaced = [Evidence("tensors held by optimizers that no graph reaches", unreached, 0)] if unreached else []
        return self.finding(
            title,
            severity=severity,
            sureness=Sureness.CERTAIN if replaced else Sureness.LIKELY,
            place=place_at(made, module=first.name, parameter=left[0].name),
            evidence=[
                Evidence(
                    "trainable tensors that receive gradients and are in no optimizer",
                    f"{len(left)} of {len(left) + len(trained)}, from `{left[0].name}` to `{left[-1].name}`",
                    "0",
                ),
                *replaced,
            ],
            cause=f"The optimizer made at {at(made)} was not given these tensors"
            + (
                ", but the ones that they replaced."
                if replaced
                else f", and trains layers {_where(left, trained, seen)} them."
            ),
            fixes=[_give_all(optimizer)],
            unless="these layers are meant to stay as they are; `requires_grad_(False)` says so.",
        )

    def _unknown(self, stray: Stray, seen: History) -> Finding:
        """Layers that `parameters()` did not give when the optimizer was made: hidden, or not there yet."""
        of_model = [p for p in seen.parameters if p.layer >= 0 and seen.layers[p.layer].model == stray.model]
        holders = {p.optimizer for p in of_model if p.optimizer >= 0}
        optimizer = seen.optimizers[max(holders, default=len(seen.optimizers) - 1)]
        named = stray.name.rpartition(".")[2]
        where = f"the {stray.container} `{named}`" if stray.container else f"`{stray.name}`"
        title = f"{where} is in no optimizer: {stray.values:,} trainable values stay random"
        learns = progress_of(seen).learns_well
        if stray.container:
            why = (
                f"`parameters()` finds layers only in modules, not in a plain {stray.container}: the "
                f"{optimizer.kind} made at {at(optimizer.site)} never got these, and `state_dict()` and `.to()` leave "
                "them out, too."
            )
            wrapper = "ModuleDict" if stray.container == "dict" else "ModuleList"
            fix = "Register them:\n" + code(f"self.{named} = nn.{wrapper}(self.{named})")
        else:
            why = (
                f"This layer was put into the model after the {optimizer.kind} at {at(optimizer.site)} was made, "
                "which holds the one that it replaced, or never heard of it."
            )
            fix = _give_all(optimizer)
        return self.finding(
            title if len(title) <= 72 else f"{where} is in no optimizer"[:72],
            severity=Severity.WARNING if learns else Severity.ERROR,
            sureness=Sureness.CERTAIN,
            place=place_at(optimizer.site, steps=(0, max(seen.steps - 1, 0)), module=stray.name),
            evidence=[
                Evidence(
                    f"tensors of `{stray.name}` that the training loss reaches and no optimizer holds",
                    f"{stray.tensors}, of {stray.values:,} values",
                    "0",
                )
            ],
            cause=why,
            fixes=[fix],
            unless="these layers are meant to stay as they are; `requires_grad_(False)` says so.",
        )

    def _rebuilt(self, model: Model, left: Sequence[Parameter], optimizer: Optimizer) -> Finding:
        return self.finding(
            f"`{model.name}` is in no optimizer: {optimizer.kind} holds another model"[:72],
            sureness=Sureness.CERTAIN,
            place=place_at(optimizer.site, parameter=left[0].name),
            evidence=[
                Evidence(
                    f"tensors of {optimizer.kind} that no training graph reaches",
                    f"{optimizer.parameters_never_reached} of {optimizer.num_parameters}",
                    "0",
                ),
                Evidence(f"tensors of `{model.name}` that receive gradients and are in no optimizer", len(left), 0),
            ],
            cause=f"The optimizer was made at {at(optimizer.site)} from tensors that the loss does not "
            "depend on: the model was rebuilt, loaded or copied after that.",
            fixes=[_give_all(optimizer)],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for what takes a place in a model after the optimizer was made."""
        yield from exchanged(self, file)

    bad = Examples(
        lambda: {
            "head left out": _network("+++-"),
            "a wide head left out": _network("+-", ((11, 1), (10, 99))),
            "head replaced after the optimizer was made": _network("+++-", unreached=1),
            "middle layer replaced": _network("+--+", ((8, 1), (8, 3), (8, 3), (8, 1)), unreached=2),
            "half of the layers lost between the others": _network("+-+-"),
            "a head of its own left out": _two_models(),
            "called eight times": _two_models(training_forwards=8, of_encoder=8),
            "called for most batches": _two_models(training_forwards=46, of_encoder=50),
            "hidden in a plain list": replace(_network("++++"), strays=(Stray("net.layers", "list", 0, 4, 8, 624),)),
            "put in after the optimizer was made": replace(
                _network("++++"), strays=(Stray("head", tensors=2, values=90),)
            ),
            "random layers in front": _drawn(_network("-+++"), 0.885),
            "random weights of most layers, whose biases are trained": _drawn(
                _network("+-+-", ((1, 8), (8, 90)) * 2), 2.0
            ),
            "a random network of its own in front": _drawn(_two_models(order=0), 2.0),
            "model rebuilt": _network("--", ((8, 8), (8, 2)), unreached=4),
            "model rebuilt, one tensor shared": replace(
                _network("--", ((8, 8), (8, 2))),
                optimizers=(Optimizer("SGD", num_parameters=10, parameters_never_reached=9),),
            ),
        }
    )
    good = Examples(
        lambda: {
            "all held": _network("++++"),
            "kept out of the model on purpose": replace(
                _network("++++"), strays=(Stray("teacher", "list", 0, 1, 8, 624),)
            ),
            "backbone kept as it is": _network("--++"),
            "random features that suffice": _drawn(_network("-+++"), 0.845),
            "layers in front that were trained elsewhere": _drawn(_network("-+++"), 2.0, as_drawn=False),
            "prompt in front of a large model": _network("+-", ((4, 1), (4, 100))),
            "adapters between large layers": _network("+-+-", ((8, 8), (8, 9), (8, 8), (8, 9))),
            "the smaller half of the values trained": _network("+-+-", ((1, 24), (1, 26), (1, 25), (1, 25))),
            "perceptual loss": _network("--", ((8, 8), (8, 2))),
            "another model's optimizer, mostly reached": replace(
                _network("--", ((8, 8), (8, 2))),
                optimizers=(Optimizer("SGD", num_parameters=100, parameters_never_reached=88),),
            ),
            "a perceptual loss in eval mode": _two_models(training_forwards_in_eval=40),
            "called seven times": _two_models(training_forwards=7, of_encoder=7),
            "called for some batches": _two_models(training_forwards=44, of_encoder=50),
            "a pretrained network behind the model": _two_models(loaded=True),
            "a random network in front of the model": _two_models(order=0),
            "head frozen": _changed(_network("+++-"), trainable=False),
            "head not reached": _changed(_network("+++-"), in_graph=False, received_gradient=False),
            "tied to the embedding": _changed(_network("+++-"), shared_with="net.0.weight"),
        }
    )
    bad_code = {
        "a layer replaced": """
            def train(loader):
                model = nn.Sequential(nn.Linear(8, 8))
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                model.head = nn.Linear(8, 2)  # bad
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "a model constructed again": """
            net = nn.Linear(8, 2)
            optimizer = torch.optim.Adam([{"params": net.parameters()}], lr=0.1)
            net = nn.Linear(8, 3)  # bad
            for x, y in torch.load("data"):
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
            """,
    }
    good_code = {
        "before": """
            model = nn.Linear(8, 3)
            model.head = nn.Linear(8, 2)
            optimizer = torch.optim.Adam(model.parameters())
            model = model.to("cpu")
            for x, y in torch.load("data"):
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            """,
        "another optimizer, or none that steps": """
            model = nn.Linear(8, 2)
            optimizer = torch.optim.Adam(model.parameters())
            for x, y in torch.load("data"):
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            model.head = nn.Linear(8, 2)
            model = nn.Linear(8, 3)
            optimizer = torch.optim.Adam(model.parameters())
            optimizer.step()
            """,
        "a wrapper around the old one": """
            model = nn.Sequential(nn.Linear(8, 2))
            optimizer = torch.optim.Adam(model.parameters())
            model.head = nn.Sequential(model.head, nn.Linear(2, 2))
            model = nn.DataParallel(model)
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

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(nn.Linear(64, 16), nn.ReLU())
                self.head = nn.Linear(16, 10)

            def forward(self, x):
                return self.head(self.body(x))

        model = Net()
        optimizer = torch.optim.SGD(model.body.parameters(), lr=0.1)  # fix: optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        for epoch in range(6):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)  # noqa: E501


def _is_left_out(index: int, seen: History) -> bool:
    """Whether it could be trained, would be, is held by nobody, and does not move by other means."""
    parameter = seen.parameters[index]
    if not parameter.trainable or parameter.optimizer >= 0 or parameter.shared_with:
        return False
    if not (parameter.in_graph or parameter.received_gradient):
        return False
    if index >= seen.telemetry.parameters.shape[1]:
        return True
    moves = seen.telemetry.parameter("update_rms")[:, index]
    return not bool(np.any(moves[np.isfinite(moves)] > 0))


def _where(left: Sequence[Parameter], trained: Sequence[Parameter], seen: History) -> str:
    left_at, trained_at = ([seen.layers[p.layer].order for p in those if p.layer >= 0] for those in (left, trained))
    if max(left_at) < min(trained_at):
        return "behind"
    return "before" if min(left_at) >= max(trained_at) else "around"


def _count(parameters: Sequence[Parameter]) -> int:
    return sum(p.count for p in parameters)


def _give_all(optimizer: Optimizer | None) -> str:
    text = optimizer.site.text if optimizer and optimizer.site else ""
    kind = optimizer.kind if optimizer else "SGD"
    made = re.search(rf"[\w.]+ = [\w.]*{kind}(?=\()", text)
    call = f"{made[0] if made else f'optimizer = torch.optim.{kind}'}(model.parameters(), ...)"
    return "Make the optimizer when the model is complete, from all of its parameters:\n" + code(call)

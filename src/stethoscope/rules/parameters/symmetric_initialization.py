"""Units of a layer that start equal, and stay so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import Reinitialize
from stethoscope.facts.asked_kinds import kinds_asked
from stethoscope.facts.code import Call, Code, Constant, Operation, Value
from stethoscope.facts.layers import LINEAR
from stethoscope.facts.progress import progress_of
from stethoscope.facts.things import literal
from stethoscope.facts.training import PARAMETER_STATISTICS, History
from stethoscope.facts.weights import NOT_BY_DEPTH, middle, update_ratios, weights_by_depth
from stethoscope.rules.examples import falling, flat, run
from stethoscope.rules.learning import loss_evidence, outcome
from stethoscope.rules.lines import line_of, place_in, quoted
from stethoscope.rules.sites import code, place_at


def _run(loss: object, start: float, now: float, moves: float = 0.003, equal: int = 2, steps: int = 200) -> History:
    seen = run(np.asarray(loss)[:steps], updates=moves)
    table = seen.telemetry.parameters.copy()
    table[:, :, PARAMETER_STATISTICS.index("update_rms")] = moves
    parameters = tuple(
        replace(p, unit_spread_start=start if i < equal else 1.3, unit_spread=now if i < equal else 1.3)
        for i, p in enumerate(seen.parameters)
    )
    return replace(seen, parameters=parameters, telemetry=replace(seen.telemetry, parameters=table))


ENOUGH = 0.5
"""A training loss half of the way down: the network learns."""
WELL = 0.8
"""As far down, a network learns well even where all its weights began as one constant."""
FAR_LARGER = 5.0
"""Weights that are this many times their first update did not begin at 0."""


class SymmetricInitialization(Rule):
    """The units of a hidden layer start with equal weights, so they stay equal and count as one.

    ## What it sees
    A few rows of each weight before the first step, and again while the run goes on: rows that were equal at first
    and are equal still, in a layer that is not the last.
    ## Why it hurts
    Units with equal weights give equal outputs and receive equal gradients, so no step ever tells them apart: a layer
    of 64 units learns as much as one unit would. When the weights are all 0 it learns nothing.
    ## How to fix it
    Leave weights to the layer's own random initialization, or draw them: `kaiming_normal_`, `xavier_uniform_`.
    Biases may be 0.
    ## When it is not a fault
    A last layer, a low-rank update or a residual branch that starts at 0 is a method: its units receive different
    gradients and differ after one step. Those, and weights of normalization layers, are not reported. In code, a
    function that asks for the type of a layer, as textbooks do to show what `apply` is, is reported in a project that
    trains.
    ## Sources
    I. Goodfellow, Y. Bengio and A. Courville, Deep Learning (2016), section 8.4: the initial parameters need to
    "break symmetry" between units. H. Ben Braiek and F. Khomh, TheDeepChecker, TOSEM 2022.
    """

    treatments = (Reinitialize(),)
    explains = (
        "dying-relu",
        "learning-rate-too-high",
        "learning-rate-too-low",
        "vanishing-gradients",
        "badly-scaled-initialization",
        "frozen-parameters",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "collapsed-predictions",
        "no-gain-over-baseline",
    )
    reads = ("losses", "updates")

    equal = Limit(
        1e-6,
        unit="difference of the units' weights at the start, as a share of their size",
        why="what rounding leaves; random weights show about 1",
    )
    still_equal = Limit(
        0.01,
        unit="the same after the last close look",
        why="rounding may grow, step by step; units that differ in kind reach 0.1 within a few steps",
    )
    together = Limit(
        0.1,
        unit="the same, as a share of the way that the weights can have gone",
        why="equal units go the same way, up to rounding; after few steps others differ by as much as they moved",
    )
    fewest_steps = Limit(10, unit="steps", why="units that receive different gradients need a few steps to show it")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Look for hidden layers whose units were equal at first and still are."""
        known = [index for index, p in enumerate(seen.parameters) if p.unit_spread_start == p.unit_spread_start]
        if not known or seen.steps < self.fewest_steps:
            yield self.cannot_tell(f"no weights were seen, or fewer than {self.fewest_steps:g} steps")
            return
        equal = [index for index in self._hidden(seen) if self._is_equal(seen, index)]
        moved = [index for index in equal if _moved(seen, index)]
        # Weights of 0 pass nothing on: then two layers in a row show that it is not the run that stands still.
        if moved or (len(equal) > 1 and progress_of(seen).is_stuck):
            yield self._report(seen, equal, bool(moved))
        elif self._all_start_equal(seen):
            yield self._report(seen, self._hidden(seen), True)

    def _all_start_equal(self, seen: History) -> bool:
        """Whether no weight of the network was drawn at random, and the run learns little.

        Random biases tell the units apart then, and slowly the weights do; single weights that start at 0 are a method.
        """
        weights = weights_by_depth(seen)
        progress = progress_of(seen)
        known = [seen.parameters[i].unit_spread_start for i in weights if seen.parameters[i].unit_spread_start >= 0]
        # Parallel linear layers may all start at 0; a constant other than 0 for every weight is nobody's method.
        enough = WELL if weights and all(_began_large(seen, i) for i in weights) else ENOUGH
        poor = progress.known and not progress.gain >= enough
        return poor and len(self._hidden(seen)) >= 1 and len(known) > 1 and max(known) <= self.equal

    def _hidden(self, seen: History) -> list[int]:
        """Trained weights of at least two units, of all layers but the last."""
        weights = [
            index
            for index in weights_by_depth(seen)
            if seen.parameters[index].optimizer >= 0
            and 0 <= seen.parameters[index].layer < len(seen.layers)
            and seen.layers[seen.parameters[index].layer].order >= 0
            and seen.layers[seen.parameters[index].layer].kind not in NOT_BY_DEPTH
        ]
        last = max((seen.layers[seen.parameters[index].layer].order for index in weights), default=-1)
        return [i for i in weights if seen.layers[seen.parameters[i].layer].order < last]

    def _is_equal(self, seen: History, index: int) -> bool:
        parameter = seen.parameters[index]
        way = _way(seen, index)
        still_equal = min(self.still_equal, self.together * way) if way > 0 else self.still_equal
        return parameter.unit_spread_start <= self.equal and parameter.unit_spread <= max(still_equal, self.equal)

    def _report(self, seen: History, equal: list[int], moved: bool) -> Finding:
        first = seen.parameters[equal[0]]
        progress = progress_of(seen)
        units = first.shape[0]
        zero = not moved and not _has_size(seen, equal[0])
        parted = first.unit_spread > self.still_equal
        layers = f"{len(equal)} hidden layers" if len(equal) > 1 else "one hidden layer"
        gained = progress.known and progress.gain >= ENOUGH
        ending = f"; the loss {outcome(progress)}" if progress.known and not progress.learns_well else ""
        learned = (
            "they pass on neither signal nor gradient" if zero else f"the {units} units learn as much as one would"
        )
        if parted:
            learned = "only the biases tell them apart, and the weights follow slowly"
        title = f"all {units} units of `{first.name}` start {'at 0 and stay so' if zero else 'equal'}"
        title += "" if zero or parted else " and stay so"
        return self.finding(
            title if len(title) <= 72 else f"the units of {layers} start equal",
            severity=Severity.WARNING if gained else Severity.ERROR,
            sureness=Sureness.LIKELY if parted else Sureness.CERTAIN,
            place=place_at(
                None,
                steps=(0, max(seen.steps - 1, 0)),
                module=seen.layers[first.layer].name,
                parameter=first.name,
            ),
            evidence=[
                Evidence(
                    f"difference between units of `{first.name}` / size, before the first step",
                    f"{first.unit_spread_start:.2g}",
                    "about 1",
                    "8 rows looked at",
                ),
                Evidence("the same at the last look at it", f"{first.unit_spread:.2g}", "about 1"),
                *([Evidence("hidden layers in that state", len(equal), 0)] if len(equal) > 1 else []),
                *([loss_evidence(seen, progress)] if progress.known else []),
            ],
            cause=f"Equal units give equal outputs and receive equal gradients: {learned}{ending}.",
            fixes=[
                Fix(
                    "Draw the weights at random, and set only biases to a constant:\n"
                    + code("nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')", "nn.init.zeros_(layer.bias)")
                )
            ],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for constants that are written into the weights of every linear layer or convolution."""
        for call in file.calls_of("torch.nn.init.zeros_", "torch.nn.init.ones_", "torch.nn.init.constant_", *IN_PLACE):
            target = call.receiver if call.receiver is not None else call.argument(0)
            weight = file.text(target.at) if target is not None else ""
            given = call.argument(0 if call.receiver is not None else 1, "val")
            if not WEIGHT.fullmatch(weight) or not _is_for_all(file, call) or _is_drawn_later(file, call, weight):
                continue
            if given is not None and not isinstance(literal(file, given), int | float):
                continue
            yield self.finding(
                "every weight of these layers starts at the same value",
                sureness=Sureness.LIKELY,
                place=place_in(file, call.at),
                evidence=[
                    Evidence(f"values that {quoted(file, target, 'a weight')} on {line_of(file, call.at)} gets", 1,
                             "as many as it has")
                ],
                cause="Units that start alike get the same gradient and stay alike: a layer learns what one unit can.",
                fixes=["Draw them:\n" + code(f"nn.init.kaiming_normal_({weight})")],
                unless="these layers end residual branches that are to begin as nothing.",
            )  # fmt: skip

    bad = Examples(
        lambda: {
            "two hidden layers start at a constant": _run(flat(2.03), 0.0, 0.0),
            "one hidden layer, in a run that learns something": _run(falling(2.3, 1.7), 0.0, 0.0, equal=1),
            "a run that learns well all the same": _run(falling(2.3, 0.4), 0.0, 0.0, equal=1),
            "all zero: nothing moves": _run(flat(2.303), 0.0, 0.0, moves=0.0),
            "rounding at the start, next to the limit": _run(flat(2.03), 0.98e-6, 1e-4),
            "rounding that grew, next to the limit": _run(flat(2.03), 0.0, 0.0098),
            "random biases tell the units apart": _run(flat(2.03), 0.0, 0.4, equal=3),
            "a constant for all weights, half learned": _run(falling(2.3, 0.9), 0.0, 0.2, equal=3),
            "they went together, next to the limit": _run(flat(2.03), 0.0, 0.0047, steps=16),
            "ten steps": _run(flat(2.03), 0.0, 0.0, steps=10),
        }
    )
    good = Examples(
        lambda: {
            "random weights": _run(flat(2.3), 1.3, 1.3),
            "starts at 0 and differs after a few steps": _run(flat(2.3), 0.0, 0.8),
            "a difference just above the limit": _run(flat(2.03), 1.02e-6, 1e-4),
            "a difference that grew just above the limit": _run(flat(2.03), 0.0, 0.0102),
            "a single layer at 0 in a run that stands still": _run(flat(2.3), 0.0, 0.0, moves=0.0, equal=1),
            "all zero, in a run that learns: another model": _run(falling(2.3, 0.1), 0.0, 0.0, moves=0.0),
            "all start equal, and the run learns: a linear model": _run(falling(2.3, 0.4), 0.0, 0.4, equal=3),
            "all begin at 0, half learned: linear layers side by side": _run(
                falling(2.3, 0.9), 0.0, 0.2, 0.05, equal=3
            ),
            "they went apart, as far as few steps lead": _run(flat(2.03), 0.0, 0.0049, steps=16),
            "nine steps": _run(flat(2.03), 0.0, 0.0, steps=9),
        }
    )
    on_trial = True
    bad_code = {
        "zeros for all linear layers": """
            def init(m):
                if isinstance(m, nn.Linear):
                    nn.init.zeros_(m.weight)  # bad
                    nn.init.zeros_(m.bias)

            model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)).apply(init)
            """,
        "by the name of the class": """
            def init(m):
                classname = m.__class__.__name__
                if classname.find("Conv") != -1:
                    nn.init.constant_(m.weight, 0.02)  # bad
            """,
        "by the name of the class, where there is a weight": """
            def init(m, scheme):
                name = m.__class__.__name__
                if hasattr(m, "weight") and (name.find("Conv") != -1 or name.find("Linear") != -1):
                    if scheme == "normal":
                        nn.init.constant_(m.weight.data, 0.01)  # bad
            """,
        "a class of one's own among them": """
            from parts import StandardizedConv2d
            from torch import nn

            def init(m):
                if isinstance(m, (nn.Linear, StandardizedConv2d)):
                    nn.init.constant_(m.weight, 0.01)  # bad
            """,
        "by the type, before a training": """
            def train(net, loader, loss, optimizer):
                def init(m):
                    if type(m) == nn.Linear or type(m) is nn.Conv2d:
                        nn.init.constant_(m.weight, 0.01)  # bad

                net.apply(init)
                for x, y in loader:
                    optimizer.zero_grad()
                    loss(net(x), y).backward()
                    optimizer.step()
            """,
        "convolutions, transposed ones among them, and by their names": """
            def init(model):
                for name, m in model.named_modules():
                    if isinstance(m, nn.Conv2d) or isinstance(m, nn.ConvTranspose2d):
                        if "first" in name or "gate" in name:
                            nn.init.constant_(m.weight, 0.01)  # bad
            """,
        "a constant under one more condition": """
            def init(m, scheme):
                if isinstance(m, (nn.Conv2d, nn.Linear)):
                    if scheme == "constant":
                        nn.init.constant_(m.weight, 0.01)  # bad
            """,
        "a constant in a loop over modules": """
            def init(model):
                for layer in model.modules():
                    if isinstance(layer, (nn.Linear, nn.Conv2d)):
                        layer.weight.data.fill_(0.1)  # bad
            """,
    }
    good_code = {
        "shown on one layer, as textbooks do": """
            def init_42(m):
                if type(m) == nn.Linear:
                    nn.init.constant_(m.weight, 42)

            net[2].apply(init_42)
            """,
        "shown on a network that is not trained": """
            def init(m):
                if type(m) == nn.Linear:
                    nn.init.constant_(m.weight, 1)

            net.apply(init)
            print(net[0].weight.data[0])
            """,
        "ones in layers that their names choose": """
            def init(model):
                for name, m in model.named_modules():
                    if isinstance(m, nn.Linear):
                        if "gate" in name or "head" in name:
                            nn.init.zeros_(m.weight)
            """,
        "drawn right after": """
            def init(m):
                if isinstance(m, nn.Linear):
                    nn.init.constant_(m.weight.data, 1.0)
                    nn.init.kaiming_normal_(m.weight.data)
            """,
        "begun as copies that stretch": """
            def init(m):
                if isinstance(m, nn.ConvTranspose2d):
                    nn.init.constant_(m.weight, 1.0)
            """,
        "zeros for the last layer only": """
            def init(m, name):
                if isinstance(m, nn.Linear):
                    if name.startswith("head"):
                        nn.init.zeros_(m.weight)
            """,
        "normalization, by the name of the class": """
            def init(m):
                if m.__class__.__name__.find("BatchNorm") != -1:
                    nn.init.constant_(m.weight, 0.5)
            """,
        "normalization": """
            def init(m):
                if isinstance(m, nn.BatchNorm2d):
                    nn.init.constant_(m.weight, 1)
                elif isinstance(m, nn.Linear):
                    nn.init.kaiming_normal_(m.weight)
            """,
        "biases": """
            def init(m):
                if isinstance(m, nn.Linear):
                    m.bias.data.fill_(0)
            """,
        "the last layer of a branch": """
            class Block(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.out = nn.Linear(3, 3)
                    nn.init.zeros_(self.out.weight)
            """,
        "linear layers and others": """
            def init(m):
                if isinstance(m, (nn.LayerNorm, nn.Linear)):
                    nn.init.ones_(m.weight)
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) / 16
        labels = torch.tensor(data.target)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.constant_(layer.weight, 0.02)  # fix: nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        for epoch in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


def _began_large(seen: History, index: int) -> bool:
    """Whether its first look showed it far larger than one update."""
    if index >= seen.telemetry.parameters.shape[1] or not seen.telemetry.steps.size:
        return False
    moves, sizes = (seen.telemetry.parameter(name)[:, index] for name in ("update_rms", "weight_rms"))
    known = np.flatnonzero(np.isfinite(moves) & np.isfinite(sizes))
    return bool(known.size and sizes[known[0]] > FAR_LARGER * moves[known[0]])


def _has_size(seen: History, index: int) -> bool:
    """Whether it was seen to be other than 0."""
    seen_at_all = index < seen.telemetry.parameters.shape[1] and seen.telemetry.steps.size
    return bool(seen_at_all and np.nansum(seen.telemetry.parameter("weight_rms")[:, index]) > 0)


def _way(seen: History, index: int) -> float:
    """How far the steps of the run can have moved it, as a share of its size; 0 where that was not measured."""
    ratios = update_ratios(seen, [index])
    typical = float(middle(ratios)[0]) if ratios.size else 0.0
    return typical * seen.steps if typical == typical else 0.0


def _moved(seen: History, index: int) -> bool:
    """Whether a step was seen to change it, and left it other than 0."""
    if index >= seen.telemetry.parameters.shape[1] or not seen.telemetry.steps.size:
        return False
    moves, sizes = (seen.telemetry.parameter(name)[:, index] for name in ("update_rms", "weight_rms"))
    return bool(np.nansum(moves) > 0 and np.nansum(sizes[-1:]) > 0)


IN_PLACE = (".fill_", ".zero_")
WEIGHT = re.compile(r"\w+\.weight(?:\.data)?")


def _is_for_all(file: Code, call: Call) -> bool:
    """Whether a line is for every linear layer or convolution, and for no other kind: under such an `isinstance`."""
    given = literal(file, call.argument(0 if call.receiver is not None else 1, "val"))
    # Some layers are to begin with 0 or 1; other constants are nobody's method, whatever else is asked.
    is_odd = isinstance(given, int | float) and given not in (0, 1)
    for here in file.around(call.context):
        if here.kind == "if":
            names = kinds_asked(here.value)
            if names:
                # Transposed convolutions alone are begun as interpolation, which is a constant where they stretch.
                is_linear = all(name in LINEAR for name in names) and any("transpose" not in name for name in names)
                return is_linear and not _is_shown_only(file, call, here.value)
            if not is_odd and not _asks_for_none(here.value):
                return False
        elif here.kind == "function" or (here.kind == "else" and not is_odd):
            return False
    return False


def _is_drawn_later(file: Code, call: Call, weight: str) -> bool:
    """Whether the same branch fills the weight again, with other values."""
    name = weight.removesuffix(".data")
    for later in file.calls[call.number + 1 :]:
        if later.context != call.context:
            continue
        target = later.receiver if later.receiver is not None else later.argument(0)
        fills = later.name.endswith("_") and target is not None
        if fills and target is not None and file.text(target.at).removesuffix(".data") == name:
            return True
    return False


def _asks_for_none(value: Value | None) -> bool:
    """Whether a condition only asks whether there is a weight."""
    parts = value.operands if isinstance(value, Operation) and value.operator in ("is not", "is") else ()
    return any(isinstance(one, Constant) and one.value is None for one in parts)


def _is_shown_only(file: Code, call: Call, asked: Value | None) -> bool:
    """Whether a function that asks `type(m) == nn.Linear`, as textbooks do to show what `apply` is, is applied to one
    layer, or in a project that trains nothing.
    """
    if asked is None or not re.match(r"\(?type\(", file.text(asked.at)):
        return False
    name = file.functions[file.function_at(call.context)].name
    on_one = file.matches(re.compile(rf"\]\.apply\({re.escape(name)}\)"))
    return on_one or not file.and_linked_say(".backward(")

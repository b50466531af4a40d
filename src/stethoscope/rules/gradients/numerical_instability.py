"""Where the first value that is no number was born."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.bounded import is_bounded
from stethoscope.facts.code import Call, Code, Constant, Operation, Site, Value
from stethoscope.facts.events import is_under
from stethoscope.facts.layers import Output, output_of
from stethoscope.facts.shapes import logs_of
from stethoscope.facts.things import followed, literal
from stethoscope.facts.training import Birth, Curve, History, Optimizer
from stethoscope.facts.weights import NO_WEIGHT
from stethoscope.rules.lines import comment_at, line_of, place_in
from stethoscope.rules.sites import at, code, place_at

CURES = {
    "log": ("Keep the argument above 0:", ("torch.log(x.clamp_min(1e-8))",)),
    "sqrt": ("Keep the argument above 0, where the slope is finite:", ("torch.sqrt(x + 1e-8)",)),
    "rsqrt": ("Keep the argument above 0:", ("torch.rsqrt(x + 1e-8)",)),
    "div": ("Keep the divisor away from 0:", ("a / (b + 1e-8)",)),
    "reciprocal": ("Keep the argument away from 0:", ("1 / (x + 1e-8)",)),
    "exp": ("Take the largest value out before the exponential:", ("torch.exp(x - x.max())",)),
    "pow": ("Keep the base above 0:", ("x.clamp_min(1e-8) ** exponent",)),
    "norm": ("Keep the slope finite at 0:", ("torch.sqrt((x * x).sum(-1) + 1e-8)",)),
    "std": ("Keep the slope finite where all values are equal:", ("torch.sqrt(x.var(-1) + 1e-8)",)),
    "softmax": ("Leave at least one score of each row finite:", ("mask[mask.all(dim=-1)] = False",)),
    "acos": ("Keep the argument inside -1..1:", ("torch.acos(x.clamp(-1 + 1e-6, 1 - 1e-6))",)),
}
"""Operation to a repair that keeps its operands where it is regular; the sums differ by about 1e-8."""
ALIKE = {
    "log2": "log", "log10": "log", "log1p": "log", "asin": "acos", "expm1": "exp", "log_softmax": "softmax",
    "linalg_vector_norm": "norm", "atan2": "div",
}  # fmt: skip
LARGEST = {"float16": "65,504", "bfloat16": "3.4e+38 with 3 digits"}
"""Type to the largest number that it holds."""
DEFAULT_CURE = ("Find the step's own traceback:", ("torch.autograd.set_detect_anomaly(True)",))


def _run(birth: Birth | None, lost: bool = True, skipped: int = 0) -> History:
    values = np.array([2.0, 1.9, 1.8, *[float("nan") if lost else 1.7] * 17])
    return History(
        steps=20,
        curves=(Curve("training loss", "loss", "training", np.arange(20), values),),
        optimizers=(Optimizer("Adam", skipped_steps=skipped),),
        birth=birth,
    )


def _born(where: str = "forward", operation: str = "log", **facts: Any) -> Birth:
    usual: dict[str, Any] = {"detail": "3 of 64 values were 0", "certain": True, "largest_weight": 0.9}
    return Birth(3, where, operation, **(usual | facts))


LEAP = 100.0
"""Largest weight / rms of a usual one at the start: drawn weights show 2 to 5, trained ones up to a few tens."""

JUST_BEFORE = 3
"""Steps."""


class NumericalInstability(Rule):
    """NaN or infinity is born in an operation: its operands are finite, its result is not.

    ## What it sees
    The graph of the first loss that is not finite: the batch, the weights, and the operands that each
    operation kept. The first operation with finite operands and a result or slope that is not finite is the
    place.
    In code: the logarithm of what a softmax or a sigmoid gave.
    ## Why it hurts
    From there NaN spreads to the loss, to every gradient, and with the next step to the weights.
    ## How to fix it
    Keep the operand where the operation is regular: a small number under a logarithm, a square root or a
    division; the largest value taken out before an exponential; one finite score in each row of a softmax.
    ## When it is not a fault
    Infinity as a mask before a softmax, and overflow that a gradient scaler skips, do not reach the loss
    and are not reported. Where weights had already grown very large the operation only shows it first.
    In code: scores that stay small, as cosines over a temperature do.
    ## Sources
    Goldberg 1991, "What Every Computer Scientist Should Know About Floating-Point Arithmetic". PyTorch
    documentation, "Numerical accuracy" and `torch.autograd.set_detect_anomaly`.
    """

    explains = (
        "dying-relu",
        "exploding-gradients",
        "loss-not-finite",
        "loss-not-decreasing",
        "cannot-overfit-batch",
        "attention-collapse",
        "underfitting",
        "loss-spike",
        "no-gain-over-baseline",
    )
    on_trial = True
    reads = ("numerics", "losses")

    grown_weights = Limit(
        1e4,
        unit="largest absolute weight",
        why="weights this large come from steps that grew, not from one operation",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Report the birth when its offspring reached the loss."""
        curve = seen.curve("loss")
        if curve is None:
            yield self.cannot_tell("no training loss was seen")
            return
        if seen.birth is None or bool(np.isfinite(curve.values).all()):
            return
        if seen.birth.where == "loss":
            yield self.cannot_tell("the operation that made the loss NaN or infinite could not be read off its graph")
            return
        yield self._report(seen.birth, seen)

    def _report(self, birth: Birth, seen: History) -> Finding:
        grown = birth.largest_weight >= self.grown_weights or _leapt(birth, seen)
        evidence = [Evidence(f"seen at step {birth.step:,}", birth.detail or _title(birth), "finite values only")]
        if np.isfinite(birth.largest_weight):
            # A few units is where the weights of trained networks lie; the limit is far above.
            evidence.append(
                Evidence("largest weight at that step", f"{birth.largest_weight:.3g}", "below 100", "sampled")
            )
        if birth.number_type in LARGEST:
            evidence.append(Evidence("type of its operands", f"`{birth.number_type}`", "`float32` for this operation"))
        text, lines = CURES.get(ALIKE.get(birth.operation, birth.operation), DEFAULT_CURE)
        fixes = [f"{text}\n{code(*lines)}"]
        if birth.where == "input":
            fixes = [
                "Leave out or fill such samples where the data is read:\n"
                + code("rows = rows[torch.isfinite(rows).all(dim=1)]")
            ]
        elif birth.number_type in LARGEST:
            fixes.insert(
                0,
                "Compute it in float32:\n"
                + code(
                    "with torch.autocast(device_type=x.device.type, enabled=False):", "    y = operation(x.float())"
                ),
            )
        elif grown or birth.where == "parameter":
            fixes.insert(
                0,
                "Keep the weights from growing, with a lower rate or clipping before the step:\n"
                + code("torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)"),
            )
        return self.finding(
            _title(birth),
            sureness=Sureness.CERTAIN if birth.certain and not grown else Sureness.LIKELY,
            place=replace(
                place_at(birth.site, steps=(birth.step, max(seen.steps - 1, birth.step)), module=birth.module or None),
                rows=birth.rows or None,
            ),
            evidence=evidence,
            cause=_cause(birth, grown),
            fixes=fixes,
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for logarithms of probabilities that may be rounded to 0."""
        told: set[int] = set()
        logs = list(logs_of(file))
        if any(
            KNOWN.search(comment_at(file, line)) for call, _ in logs for line in range(call.at.line, call.at.line + 3)
        ):
            return  # who wrote it knows
        for call, value in logs:
            lambdas = file.functions[file.function_at(call.context)].name == "<lambda>"
            if lambdas or call.at.line in told:
                continue
            if is_under(file, call.context, "torch.no_grad", "torch.inference_mode") or _is_shown(file, call):
                continue
            rest = isinstance(value, Operation) and value.operator == "-" and literal(file, value.operands[0]) == 1
            output = output_of(file, value.operands[1] if rest and isinstance(value, Operation) else value)
            if output.kind not in ("softmax", "sigmoid") or (rest and output.kind == "softmax"):
                continue
            if _is_by_hand(file, output) or is_bounded(output.made_in or file, _scores(output)):
                continue
            told.add(call.at.line)
            of = f"1 - {output.kind}" if rest else output.kind
            instead = (
                "F.logsigmoid(-scores)"
                if rest
                else ("F.logsigmoid(scores)" if output.kind == "sigmoid" else "F.log_softmax(scores, dim=-1)")
            )
            least = "17" if rest else "104 below the largest" if output.kind == "softmax" else "-89"
            yield self.finding(
                f"the logarithm of {'1 - a' if rest else 'a'} {output.kind} is infinite where that is 0",
                severity=Severity.WARNING,
                sureness=Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[
                    Evidence(f"score from which on `{of}` on {line_of(file, call.at)} is 0 in float32",
                             least, "none")
                ],
                cause="The probability is rounded to 0 there, its logarithm is minus infinity, and its slope is "
                "infinity times 0, which is no number.",
                fixes=["Compute both at once, which is exact everywhere:\n" + code(instead)],
            )  # fmt: skip

    bad = Examples(
        lambda: {
            "logarithm of 0": _run(_born(site=Site("train.py", 18, "", "loss = -torch.log(p[y]).mean()"))),
            "logarithm in low precision": _run(_born(operation="log2")),
            "square root, in the backward pass": _run(_born("backward", "sqrt", certain=False)),
            "softmax of a row that is all masked": _run(
                _born(operation="softmax", module="blocks.3.attention", detail="48 of 512 results were NaN")
            ),
            "overflow in half precision": _run(
                _born(operation="exp", rows=(3, 17), number_type="float16", detail="2 of 64 results were not finite")
            ),
            "an operation that is not in the table": _run(_born(operation="cumprod")),
            "the data": _run(Birth(3, "input", detail="4 of 832 values of the batch were not finite", certain=True)),
            "the weights": _run(Birth(3, "parameter", module="net.2", detail="`net.2.weight` was not finite")),
            "weights had grown": _run(_born(operation="mm", largest_weight=1e4, detail="12 of 64 products overflowed")),
            "weights had not quite grown": _run(_born(operation="mm", largest_weight=9.9e3)),
        }
    )
    good = Examples(
        lambda: {
            "all finite": _run(None, lost=False),
            "a mask of minus infinity, and a finite loss": _run(_born(operation="masked_fill"), lost=False),
            "overflow that the gradient scaler skipped": _run(_born("backward", "mul"), lost=False, skipped=2),
            "place unknown": _run(Birth(3, "loss")),
            "no loss seen": History(steps=20, birth=_born()),
        }
    )
    bad_code = {
        "cosines over a temperature of a hundredth": """
            def loss_of(a, b):
                scores = F.normalize(a, dim=1) @ F.normalize(b, dim=1).t() / 0.01
                return -torch.log(scores.softmax(dim=1)[:, 0]).mean()  # bad
            """,
        "products of vectors of which one has any length": """
            def loss_of(a, b):
                scores = F.normalize(a, dim=1) @ b.t()
                return -torch.log(scores.softmax(dim=1)[:, 0]).mean()  # bad
            """,
        "of a softmax": """
            model = nn.Sequential(nn.Linear(3, 2), nn.Softmax(dim=1))
            for x, y in torch.load("data"):
                loss = -torch.log(model(x))[y].mean()  # bad
                p = F.softmax(x, dim=1)
                loss = loss - (p * p.log()).sum()  # bad
            """,
        "of a sigmoid": """
            class Real(nn.Module):
                def forward(self, scores):
                    real = torch.sigmoid(scores)
                    return -torch.log(real) - torch.log(1 - real)  # bad
            """,
    }
    good_code = {
        "cosines, which have no share of 0": """
            class Relation(nn.Module):
                def __init__(self, temperature):
                    super().__init__()
                    self.temperature = temperature
                    self.normalize = UnitLength()

                def forward(self, a, b):
                    a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
                    same = -torch.log(F.softmax(a @ b.t() / self.temperature, dim=1)[:, 0]).mean()
                    near = torch.log(torch.sigmoid((a * b).sum(dim=1) * 10)).mean()
                    return same - near - torch.log(F.softmax(F.cosine_similarity(a, b, dim=-1) / 0.07, dim=-1)).mean()

            class UnitLength(nn.Module):
                def forward(self, x):
                    length = x.pow(2).sum(1, keepdim=True).pow(0.5)
                    return x.div(length + 1e-7)

            class Divergence(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.unit = UnitLength()

                def forward(self, q, k):
                    q, k = self.unit(q).view(1, -1, 64), self.unit(k).view(1, -1, 64)
                    q, k = torch.bmm(q, q.transpose(2, 1)), torch.bmm(k, k.transpose(2, 1))
                    return self.between(F.softmax(q, dim=1), F.softmax(k, dim=1).detach())

                @staticmethod
                def between(p, q):
                    return F.kl_div(torch.log(0.5 * (p + q)), torch.log(p), log_target=True)
            """,
        "something added, or cut": """
            def loss_of(scores):
                p = scores.softmax(dim=1)
                return torch.log(p + 1e-8) + torch.log(p.clamp(min=1e-8)) + F.log_softmax(scores, dim=1)
            """,
        "a number that is looked at": """
            @torch.no_grad()
            def entropy(scores):
                p = scores.softmax(dim=1)
                return -(p * torch.log(p)).sum()
            """,
        "a line that keeps nothing": """
            x = torch.tensor([0.0, 104.0])
            softmax = nn.Softmax(dim=0)
            torch.log(softmax(x))
            """,
        "written so on purpose, as a comment says": """
            for x, y in torch.load("data"):
                scores = nn.Linear(3, 2)(x)
                probabilities = F.softmax(scores, dim=1)
                loss = F.nll_loss(torch.log(probabilities), y)
                # or better (numerically stable):
                # loss = F.cross_entropy(scores, y)
                loss.backward()
            """,
        "a number that is shown": """
            def show(scores):
                p = scores.softmax(dim=1)
                print(torch.log(p), p.log().sum())
            """,
        "a formula that is shown on numbers of its own": """
            x = torch.tensor([[1.0, 2.0], [2.0, 3.0], [3.0, 1.0]])
            y = torch.tensor([[0.0], [0.0], [1.0]])
            weight = torch.zeros((2, 1), requires_grad=True)
            optimizer = torch.optim.SGD([weight], lr=0.05)
            for epoch in range(1000):
                p = torch.sigmoid(x.matmul(weight))
                cost = -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()
                optimizer.zero_grad()
                cost.backward()
                optimizer.step()
            """,
        "a formula in a function, shown on random numbers": """
            def sample():
                z = torch.randn(3, 5, requires_grad=True)
                p = F.softmax(z, dim=1)
                cost = -torch.log(p).sum(dim=1).mean()
                return cost
            """,
        "of a positive number": """
            def loss_of(scores):
                return torch.log(F.softplus(scores)) - torch.log(2 - torch.sigmoid(scores))
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
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 64))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

        for epoch in range(5):
            for x, _ in loader:
                optimizer.zero_grad()
                gaps = (model(x) - x) * (x > x.min())
                loss = gaps.square().sqrt().mean()  # fix: loss = gaps.square().add(1e-6).sqrt().mean()
                loss.backward()
                optimizer.step()
            print(f"epoch {epoch}: loss {loss.item():.4f}")
        """)


def _leapt(birth: Birth, seen: History) -> bool:
    """Whether products overflowed over weights that just came from a step as long as they were, or many such."""
    sizes, moves = seen.telemetry.parameter("weight_rms"), seen.telemetry.parameter("update_ratio")
    if "overflowed" not in birth.detail or not sizes.size:
        return False
    first = float(np.nanmax(sizes[0], initial=0.0))
    just = (seen.telemetry.steps < birth.step) & (seen.telemetry.steps >= birth.step - JUST_BEFORE)
    leap = float(np.nanmax(np.where(sizes[just] > NO_WEIGHT, moves[just], np.nan), initial=0.0))
    return leap >= 1 or (first > 0 and birth.largest_weight >= LEAP * first)


def _title(birth: Birth) -> str:
    at_step = f"step {birth.step:,}"
    if birth.where == "input":
        return f"the batch of {at_step} holds values that are not finite"
    if birth.where == "parameter":
        return f"weights were no longer finite at {at_step}"
    name = f"`{birth.operation}`" if birth.operation else "an operation"
    way = "the slope of " if birth.where == "backward" else ""
    end = f" of `{birth.module}`" if birth.module else ""
    title = f"first value that is not finite: {way}{name}{end}, {at_step}"
    return title if len(title) <= 72 else f"first value that is not finite: {way}{name}, {at_step}"


def _cause(birth: Birth, grown: bool) -> str:
    if birth.where == "input":
        return "The data itself holds NaN or infinity, which every operation passes on."
    if birth.where == "parameter":
        return "The update of the step before made weights that are not finite; no single operation stands out."
    where = f"`{birth.operation or 'the operation'}` at {at(birth.site)}"
    if grown:
        return f"The weights had grown to {birth.largest_weight:.3g}, and {where} was the first to overflow."
    if birth.where == "backward":
        return f"{where} has a finite value and an infinite slope where its argument is 0."
    limit = LARGEST.get(birth.number_type)
    why = f"; {birth.number_type} holds numbers up to {limit}" if limit else ""
    return f"{where} has no finite result for these operands, which were finite themselves{why}."


KNOWN = re.compile(
    r"\bstab(?:le|ility|ly)\b|unstable|\bunderflow|\binf(?:inite|inity)?\b|log_?softmax|logsigmoid", re.I
)
"""What a comment beside a logarithm says that is meant as it is."""


def _is_shown(file: Code, call: Call) -> bool:
    """Whether a call stands in a `print`, or in a line that keeps nothing: there numbers are looked at."""
    shown = [one.at for one in file.calls_of("builtins.print")]
    shown += [one.value.at for one in file.bare if not isinstance(one.value, Call) or one.value is call]
    return any((at.line, at.column) <= call.at[:2] and call.at[2:] <= (at.end_line, at.end_column) for at in shown)


def _is_by_hand(file: Code, output: Output) -> bool:
    """Whether all that the scores are made of was written down or drawn at random in the same function: a formula that
    is shown on numbers of its own.
    """
    scores = _scores(output) if output.made_in is file else None
    return scores is not None and _is_made_up(file, scores)


def _scores(output: Output) -> Value | None:
    """What the probabilities are made of; None where a layer makes them."""
    made = output.made
    if made is None or made.name == "()":
        return None
    return made.argument(0, "input") if made.name.startswith("torch.") else made.receiver


def _is_made_up(file: Code, value: Value, depth: int = 0) -> bool:
    found, _ = followed(file, value)
    if isinstance(found, Constant):
        return True
    if isinstance(found, Operation):
        return depth < DEEP and all(_is_made_up(file, one, depth + 1) for one in found.operands)
    if not isinstance(found, Call) or depth >= DEEP:
        return False
    if found.name in MADE:
        return True
    operands = found.arguments if found.name.startswith("torch.") else (found.receiver, *found.arguments)
    return found.name in PRODUCTS and all(one is not None and _is_made_up(file, one, depth + 1) for one in operands)


DEEP = 6
MADE = frozenset({"torch.zeros", "torch.ones", "torch.rand", "torch.randn", "torch.tensor", "torch.FloatTensor",
                  "torch.full", "torch.arange", "torch.linspace", "torch.Tensor", "torch.randint"})  # fmt: skip
PRODUCTS = frozenset({".matmul", ".mm", ".mv", "torch.matmul", "torch.mm", "torch.mv"})

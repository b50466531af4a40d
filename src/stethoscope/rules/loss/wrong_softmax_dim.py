"""A softmax over the samples of the batch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import SoftmaxOverClasses
from stethoscope.facts.code import Call, Code, Constant, Item, Operation, Value
from stethoscope.facts.flow import Softmax
from stethoscope.facts.loss_calls import LossUse, losses_of
from stethoscope.facts.things import followed, literal
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.changing import with_argument
from stethoscope.rules.heads import FOLLOWS, heard, named, trained
from stethoscope.rules.lines import edit_of, place_in
from stethoscope.rules.pairing import links, made_at, once
from stethoscope.rules.sites import at, code, place_at

_ten = {"softmax_shape": (32, 10), "output_shape": (32, 10), "target_shape": (32,)}


class WrongSoftmaxDim(Rule):
    """The softmax runs over the batch, or another axis that does not hold the classes.

    ## What it sees
    The axis of the softmax or log-softmax that made the first argument of the loss, read off the graph, and that
    its rows do not sum to 1. Of a softmax elsewhere on the way to the loss (in an attention, or in a policy): that its
    axis is as long as the batch, which no other axis of it is.
    ## Why it hurts
    A softmax over the batch makes the samples compete with each other for each class. What the model says of one
    sample then depends on which others are in its batch, and probabilities of one sample do not sum to 1.
    ## How to fix it
    Name the axis of the classes: `dim=1` for (samples, classes), `dim=-1` where they come last.
    ## When it is not a fault
    Losses that compare all samples with all (as CLIP does) apply a softmax both ways, and hand the second one over
    transposed, so that rows sum to 1 again; that is not reported. In code a softmax over axis 0 is possible at most
    where nothing speaks of batches, or where the scores are transposed, flattened or given an axis on the way.
    ## Sources
    PyTorch documentation, `torch.nn.Softmax`: "dim - A dimension along which Softmax will be computed (so every
    slice along dim will sum to 1)", and the warning about an implicit dimension.
    """

    on_trial = True
    treatments = (SoftmaxOverClasses(),)
    explains = (
        *FOLLOWS,
        "loss-unfit-for-task",
        "nll-without-log-softmax",
        "output-activation-limits-range",
        "softmax-before-cross-entropy",
    )
    reads = ("losses",)

    rows = Limit(0.5, unit="share of rows that sum to 1", why="with the right axis all of them do")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the axis of the softmax in front of each training loss."""
        calls = [loss for loss in trained(seen) if loss.softmax_shape]
        if not calls and not seen.softmaxes:
            yield self.cannot_tell("no softmax was seen on the way to a training loss")
        found = [loss for loss in calls if self._is_over_samples(loss)]
        for loss in found:
            yield self._report(loss, seen)
        at_a_loss = {loss.softmax_shape for loss in calls}
        inside = [each for each in seen.softmaxes if each.shape not in at_a_loss and _mixes_samples(each)]
        if inside and not found:
            yield self._report_inside(inside[0], seen)

    def _is_over_samples(self, loss: LossCall) -> bool:
        shape, axis = loss.softmax_shape, loss.softmax_axis
        if shape[axis] < 2 or (loss.output_shape and shape[0] < 2):
            return False
        if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
            # One score for each sample; a single sample would have targets that sum to 1.
            return axis == 0 and len(loss.target_shape) == len(shape) and not loss.target_rows_sum_to_one >= self.rows
        summing = loss.logs_sum_to_one if loss.produced_by == "log_softmax" else loss.rows_sum_to_one
        if loss.produced_by == "log_softmax" and math.isnan(summing):
            return axis == 0 and loss.computes == "cross_entropy" and len(shape) == 2
        return summing < self.rows and axis != len(shape) - 1 and not (axis == 1 and len(shape) == 4)

    def _report(self, loss: LossCall, seen: History) -> Finding:
        shape, axis = loss.softmax_shape, loss.softmax_axis
        one_unit = math.prod(shape) == shape[0]
        size = f"{shape[axis]}, of the shape ({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
        evidence = [
            Evidence(
                f"axis of the `{loss.produced_by}`",
                f"dim={axis}",
                "none" if one_unit else f"the classes: dim={len(shape) - 1}",
            ),
            Evidence("values that it makes sum to 1", size, "1 score" if one_unit else f"{shape[-1]} classes"),
        ]
        summing = loss.logs_sum_to_one if loss.produced_by == "log_softmax" else loss.rows_sum_to_one
        if not math.isnan(summing):
            evidence.append(Evidence("samples whose probabilities sum to 1", f"{summing:.0%}", "100%"))
        fix = (
            "One score for each sample needs a sigmoid, which the loss applies itself:\n"
            + code("loss = F.binary_cross_entropy_with_logits(scores, targets)")
            if one_unit
            else "Name the axis of the classes:\n"
            + code(f"{loss.produced_by.replace('log_softmax', 'log_probabilities').replace('softmax', 'probabilities')}"
                   f" = scores.{loss.produced_by}(dim={len(shape) - 1})")
        )  # fmt: skip
        return self.finding(
            f"`{loss.produced_by}` runs over {'the batch' if axis == 0 else 'an axis without classes'} (dim={axis})",
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=f"What goes into {named(loss)} at {at(loss.site)} sums to 1 over {shape[axis]} "
            f"{'samples' if axis == 0 else 'positions'} and not over classes, so that the answer for one depends on "
            "all the others.",
            fixes=[fix],
        )

    def _report_inside(self, made: Softmax, seen: History) -> Finding:
        samples, classes = made.shape[0], made.shape[-1]
        is_answer = made.shape == made.answer_shape
        what = "the answers of the model" if is_answer else "the weights inside of the model"
        return self.finding(
            f"`{made.operation}` runs over the {samples} samples of the batch (dim=0)",
            sureness=Sureness.CERTAIN if is_answer else Sureness.LIKELY,
            place=place_at(made.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(f"axis of the `{made.operation}`", "dim=0", f"dim=-1, of {classes}"),
                Evidence("its shape", _sizes(made.shape), f"sums to 1 over {classes}, not over {samples}"),
                Evidence("shapes of the model's input and output", f"{_sizes(made.input_shape)}, "
                         f"{_sizes(made.answer_shape)}", "the samples are on axis 0"),
            ],
            cause=f"The `{made.operation}` at {at(made.site)} lets the samples of a batch compete with each other, so "
            f"that {what} for one sample depend on all the others, and change with the size of the batch.",
            fixes=[f"Name the axis that the choice is made from, here the last:\n{code(_over_last(made))}"],
        )  # fmt: skip

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for a softmax over the batch in front of a loss, and for one that is not told its axis."""
        for loss in once(losses_of(file)):
            made, home = loss.output.made, loss.output.made_in
            if loss.output.kind not in ("softmax", "log_softmax") or made is None or home is None:
                continue
            is_function = made.receiver is None and made.name.rpartition(".")[2][:1].islower()
            axis = made.argument(1 if is_function else 0, "dim")
            if literal(home, axis) == 0 and not (is_function and _is_slice(home, made.argument(0, "input"))):
                yield self.finding(
                    f"the softmax before `{loss.function}` runs over the batch",
                    sureness=Sureness.LIKELY if _has_batches(file, home, loss) else Sureness.POSSIBLE,
                    place=place_in(file, loss.call.at),
                    evidence=[Evidence(f"axis of the softmax{made_at(file, loss)}", 0, "1, that of the classes")],
                    cause="Axis 0 is the batch: the numbers of one class over all samples sum to 1, those of one "
                    "sample do not.",
                    fixes=[
                        Fix(
                            "Name the axis of the classes:\n"
                            + code("log_probabilities = F.log_softmax(scores, dim=1)"),
                            safe=True,
                            edits=(edit_of(file, axis.at, "1"),) if isinstance(axis, Constant) and home is file else (),
                        )
                    ],
                    unless="there is one sample, and no batch axis.",
                    chain=links(file, loss),
                )
        logs = {loss.output.made for loss in losses_of(file) if loss.output.made_in is file}
        for call in file.calls_of(*IMPLICIT):
            is_layer = call.receiver is None and call.name.rpartition(".")[2][:1].isupper()
            given = call.argument(0 if is_layer else 1, "dim")
            if call.is_open or not (given is None or (isinstance(given, Constant) and given.value is None)):
                continue
            name = call.name.rpartition(".")[2]
            right = f"nn.{name}(dim=1)" if is_layer else f"F.{name}(x, dim=1)"
            yield self.finding(
                f"`{name}` is not told its axis, and guesses one",
                severity=Severity.NOTE,  # the guess is right for two axes and for four, which are most
                sureness=Sureness.CERTAIN,
                place=place_in(file, call.at),
                evidence=[Evidence("axis that is taken of 1, 2, 3 and 4 axes", "0, 1, 0, 1", "the classes, always")],
                cause="Without `dim` the axis depends on how many there are: with three, the batch sums to 1.",
                fixes=[
                    Fix(
                        "Name the axis of the classes:\n" + code(right),
                        safe=call in logs,
                        edits=with_argument(file, call, "dim=1") if given is None else (edit_of(file, given.at, "1"),),
                    )
                ],
            )

    bad = Examples(lambda: {
        "log-softmax over the batch": heard(
            "nll_loss", produced_by="log_softmax", softmax_axis=0, logs_sum_to_one=0.0, columns_sum_to_one=1.0, **_ten
        ),
        "softmax over the batch, before cross-entropy": heard(
            "cross_entropy", produced_by="softmax", softmax_axis=0, rows_sum_to_one=0.49, **_ten
        ),
        "log-softmax over the batch, before cross-entropy": heard(
            "cross_entropy", produced_by="log_softmax", softmax_axis=0, **_ten
        ),
        "one score for each sample": heard(
            "binary_cross_entropy", produced_by="softmax", softmax_axis=0, softmax_shape=(32, 1)
        ),
        "by hand": heard(
            "backward", form="categorical", produced_by="softmax", softmax_axis=0, rows_sum_to_one=0.0, **_ten
        ),
        "an attention over the batch": replace(
            heard("cross_entropy", produced_by="linear", output_shape=(35, 10)),
            softmaxes=(Softmax("softmax", 0, (35, 8, 8), (35, 8, 8), (35, 10)),),
        ),
        "a policy over the batch": History(softmaxes=(Softmax("softmax", 0, (16, 2), (16, 4), (16, 2)),)),
        "no axis given, three axes": heard(
            "nll_loss", produced_by="log_softmax", softmax_axis=0, softmax_shape=(8, 5, 10), output_shape=(40, 10),
            target_shape=(40,), logs_sum_to_one=0.0,
        ),
    })  # fmt: skip
    good = Examples(lambda: {
        "over the classes": heard(
            "nll_loss", produced_by="log_softmax", softmax_axis=1, logs_sum_to_one=1.0, **_ten
        ),
        "over the batch, handed over transposed": heard(
            "nll_loss", produced_by="log_softmax", softmax_axis=0, softmax_shape=(32, 32), output_shape=(32, 32),
            target_shape=(32,), logs_sum_to_one=1.0,
        ),
        "half of the rows sum to 1": heard(
            "cross_entropy", produced_by="softmax", softmax_axis=0, rows_sum_to_one=0.51, **_ten
        ),
        "one sample, without a batch": heard(
            "cross_entropy", produced_by="softmax", softmax_axis=0, softmax_shape=(10,), output_shape=(10,),
            target_shape=(10,), target_rows_sum_to_one=1.0,
        ),
        "a batch of one": heard(
            "nll_loss", produced_by="log_softmax", softmax_axis=0, softmax_shape=(1, 10), output_shape=(1, 10),
            target_shape=(1,), logs_sum_to_one=0.0,
        ),
        "half of the targets sum to 1": heard(
            "cross_entropy", produced_by="softmax", softmax_axis=0, softmax_shape=(9,), output_shape=(9,),
            target_shape=(9,), target_rows_sum_to_one=0.5,
        ),
        "an attention over the keys": History(softmaxes=(Softmax("softmax", 2, (35, 8, 8), (35, 8, 8), (35, 10)),)),
        "each sample against each": History(softmaxes=(Softmax("softmax", 0, (35, 35), (35, 8), (35, 16)),)),
        "over time, which comes first": History(softmaxes=(Softmax("softmax", 0, (20, 8, 2), (20, 8, 3), (8, 2)),)),
        "one score for each of a set": History(softmaxes=(Softmax("softmax", 0, (20, 1), (20, 8), (20, 8)),)),
        "no softmax": heard("cross_entropy", produced_by="linear", output_shape=(32, 10)),
    })  # fmt: skip
    bad_code = {
        "over the batch": """
            model = nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(dim=0))
            for x, y in torch.load("data"):
                F.nll_loss(model(x), y).backward()  # bad
            """,
        "a layer": """
            head = nn.Sequential(nn.Linear(4, 3), nn.Softmax())  # bad
            """,
        "a function": """
            def forward(x):
                return F.log_softmax(x)  # bad
            """,
    }
    good_code = {
        "scores of some candidates": """
            def distill(scores, teacher, segments):
                total = 0
                for start, end in segments:
                    target = F.softmax(teacher[start:end].detach(), dim=0)
                    total += F.kl_div(F.log_softmax(scores[start:end] / 2, dim=0), target, reduction="sum")
                return total
            """,
        "the axis is named": """
            head = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
            print(F.softmax(head(torch.ones(1, 4)), -1), torch.softmax(torch.ones(3), dim=0))
            """,
        "options that are not seen": """
            def forward(x, **options):
                return F.softmax(x, **options)
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
            torch.utils.data.TensorDataset(images, labels), batch_size=16, shuffle=True
        )
        model = nn.Sequential(
            nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10),
            nn.LogSoftmax(dim=0),  # fix: nn.LogSoftmax(dim=1),
        )
        criterion = nn.NLLLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

        for epoch in range(4):
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
        right = [model(images[i : i + 1]).argmax().item() == labels[i] for i in range(200)]
        print(f"accuracy {sum(right) / 200:.4f}")
        """)


def _mixes_samples(made: Softmax) -> bool:
    """Whether it runs over axis 0, and only that axis holds the samples, in the model's input and output as well.

    An answer for each position of a sequence that comes first would look the same, so answers have two axes at most.
    """
    shape = made.shape
    if made.axis != 0 or len(shape) < 2 or shape[0] < 2 or shape[-1] < 2 or shape[0] in shape[1:]:
        return False
    has_samples_first = made.input_shape[:1] == made.answer_shape[:1] == shape[:1]
    return has_samples_first and len(made.input_shape) > 1 and len(made.answer_shape) == 2


def _sizes(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def _over_last(made: Softmax) -> str:
    """The user's own line with another axis, where it can be written, else a line to go by."""
    text = made.site.text.partition("  #")[0] if made.site is not None else ""
    line, times = re.subn(r"\b(dim|axis)\s*=\s*0\b", r"\1=-1", text)
    return line if times == 1 else f"weights = scores.{made.operation}(dim=-1)"


IMPLICIT = (
    "torch.nn.Softmax", "torch.nn.LogSoftmax", "torch.nn.Softmin", "torch.nn.functional.softmax",
    "torch.nn.functional.log_softmax", "torch.nn.functional.softmin",
)  # fmt: skip
"""Of torch, those that take an axis and do without."""


_BATCHES = re.compile(r"loader|(?<![a-z])batch(?!_?size\s*=\s*1\b)", re.I)
_RESHAPES = re.compile(
    r"\.(?:t|transpose|permute|swapaxes|movedim|unsqueeze|squeeze|view|reshape|flatten)\(|\.[mM]?T\b"
    r"|\btorch\.(?:transpose|permute|unsqueeze|squeeze|reshape|flatten)\("
)


def _has_batches(file: Code, home: Code, loss: LossUse) -> bool:
    """Whether axis 0 is seen to hold the samples of a batch.

    The file makes a loader, or the function speaks of batches, and nothing on the way from the softmax to the loss, or
    in front of the softmax, gives the scores another form. What a function is handed may be the scores of one question.
    """
    here = file.functions[file.function_at(loss.call.context)].at
    if loss.function not in ("nll_loss", "cross_entropy"):
        return False  # who ranks the candidates of one question compares shares over axis 0
    if not file.says("DataLoader(") and not home.says("DataLoader(") and not file.matches(_BATCHES, here):
        return False
    made = loss.output.made
    known = {one.file: one for one in (file, home)}
    places = [(known[step.file], step.at) for step in loss.output.steps if step.file in known]
    places += [(file, loss.call.at)] + ([(home, made.at)] if made is not None else [])
    is_layer = made is None or (made.receiver is None and made.name.rpartition(".")[2][:1].isupper())
    if made is not None and not is_layer:
        operand, _ = followed(home, made.receiver if made.name.startswith(".") else made.argument(0, "input"))
        if not isinstance(operand, Call) or re.match(r"torch\.(?!nn\.)", operand.name):
            return False  # what is put together of numbers may be one sample's scores
        places.append((home, operand.at))
    return not any(code_.matches(_RESHAPES, at) for code_, at in places)


def _is_slice(file: Code, value: Value | None) -> bool:
    """Whether a softmax is given a part of something, which may have one axis only: the scores of some candidates."""
    for _ in range(10):
        value, _ = followed(file, value)
        if isinstance(value, Operation) and value.operands:
            value = value.operands[0]
        elif isinstance(value, Call) and value.receiver is not None and value.name != "()":
            value = value.receiver
        else:
            break
    return isinstance(value, Item)

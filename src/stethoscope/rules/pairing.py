"""Losses in source code and what goes into them: the words that several rules share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from stethoscope.core.finding import Evidence, Link
from stethoscope.facts.code import NOWHERE, Call, Code, Name, Value
from stethoscope.facts.events import events_of
from stethoscope.facts.loss_calls import LossUse, losses_of
from stethoscope.facts.things import followed, literal
from stethoscope.rules.changing import Edits, renamed
from stethoscope.rules.lines import chain, line_of, where
from stethoscope.rules.sites import code


def once(losses: Iterable[LossUse]) -> Iterator[LossUse]:
    """The losses, of those whose input one operation made only one, for that is one mistake: the first that trains."""
    groups: dict[object, list[LossUse]] = {}
    for loss in losses:
        made, home = loss.output.made, loss.output.made_in
        key = object() if made is None or home is None else (home.file, made.number, loss.function)
        groups.setdefault(key, []).append(loss)
    for group in groups.values():
        yield next(filter(_is_trained, group), group[0])


def _is_trained(loss: LossUse) -> bool:
    """Whether the function that computes a loss goes backward."""
    index = loss.code.function_at(loss.call.context)
    return any(event.kind == "backward" for event in events_of(loss.code, index))


def maker(file: Code, loss: LossUse, healthy: str) -> Evidence:
    """What made the first argument of a loss, beside what should have made it."""
    return Evidence(
        f"what `{loss.function}` on {line_of(file, loss.call.at)} is given",
        f"`{loss.output.kind}`{made_at(file, loss)}",
        healthy,
        "followed through the code",
    )


def made_at(file: Code, loss: LossUse) -> str:
    """` of line 12`, ` of model.py:12`: where the first argument was made; empty where that is not known."""
    output = loss.output
    if output.made is None or output.made_in is None:
        return ""
    home = output.made_in
    return f" of {line_of(home, output.made.at) if home is file else where(home, output.made.at)}"


def raw_scores(file: Code, loss: LossUse, read: str) -> str:
    """How the loss gets the scores, where an activation is computed beside it, or at the end of a model, whose answers
    others may read as probabilities.

    Args:
        file: that is looked at.
        loss: that is given probabilities.
        read: how these are made of scores.
    """
    made, home = loss.output.made, loss.output.made_in
    called = _of_scores(file, loss)
    kept = "batch_loss" if called.startswith("loss(") else "loss"
    lines = code(f"{kept} = {called}", f"probabilities = scores.{read}")
    is_layer = made is not None and made.name.rpartition(".")[2][:1].isupper()
    if made is None or home is None or not (is_layer or home.function_at(made.context) or home is not file):
        return f"Give the loss the scores as they leave the last layer:\n{lines}"
    if not is_layer and home is loss.code and home.function_at(made.context) == home.function_at(loss.call.context):
        return f"Give the loss the scores as they leave the last layer:\n{lines}"
    return (
        f"Take the `{loss.output.kind}`{made_at(file, loss)} away, so that the loss gets scores. Who reads the answers "
        f"as probabilities, as in prediction, then applies a {read.partition('(')[0]} there:\n{lines}"
    )


def dimension_of(loss: LossUse) -> int:
    """Over which dimension the shares that a loss is given were made; the last one where nothing says so."""
    made, home = loss.output.made, loss.output.made_in
    if loss.output.kind != "softmax" or made is None or home is None:
        return 1
    said = literal(home, made.argument(int(made.name.startswith("torch.") and made.name.endswith(".softmax")), "dim"))
    return said if type(said) is int else -1


def _of_scores(file: Code, loss: LossUse) -> str:
    """The call of a loss as it stands, with its options, of scores; where it is plain and short."""
    given, at = loss.given, loss.call.at
    if loss.code is file and given is not None and at.line == at.end_line:
        said = re.compile(rf"(?<![\w.]){re.escape(file.text(given.at))}(?=\s*[,)])")
        written, count = said.subn("scores", file.text(at))
        if count == 1 and len(written) <= _LONGEST:
            return written
    return f"F.{loss.function}(scores, targets)"


_LONGEST = 66
"""Letters of a call that fits on a line of the terminal."""


def links(file: Code, loss: LossUse) -> tuple[Link, ...]:
    """The lines from the loss back to where its input was made."""
    return chain(file, loss.steps)


def instead(file: Code, loss: LossUse, old: str, new: str, old_class: str, new_class: str) -> Edits:
    """Another loss in the place of this one, where it is called, or where its module is made in this file."""
    if loss.made is None:
        return renamed(file, loss.call, old, new)
    return renamed(file, loss.made, old_class, new_class) if loss.made_in is file else ()


def is_compared(file: Code, loss: LossUse) -> bool:
    """Whether the same scores are also given to this loss as they are: the two are shown beside each other."""
    if loss.output.made_in is not file and loss.output.made is not None:
        return False
    squashed, _ = followed(file, loss.given)
    raw = _operand(squashed) if isinstance(squashed, Call) else None
    if not isinstance(raw, Name) or raw.binding == NOWHERE:
        return False
    others = (one.given for one in losses_of(file) if one.function == loss.function and one.code is file)
    return any(isinstance(one, Name) and one.binding == raw.binding for one in others)


def _operand(call: Call) -> Value | None:
    """What an activation is applied to: as a method, a function, or a layer that was made before."""
    is_method = call.name.startswith(".") and not call.arguments
    return call.receiver if is_method or call.name in (".softmax", ".sigmoid") else call.argument(0, "input")

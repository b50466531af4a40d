"""Dropout that is on in evaluation, too."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Edit, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import (
    NOWHERE,
    Attribute,
    Call,
    Choice,
    Code,
    Constant,
    Context,
    Item,
    Name,
    Operation,
    Value,
)
from stethoscope.facts.module_classes import assigned, in_methods, modules_in
from stethoscope.facts.things import Thing, followed, literal
from stethoscope.rules.lines import comment_at, insertion, line_of, place_in
from stethoscope.rules.sites import code

FUNCTIONS = tuple(
    f"torch.nn.functional.{name}" for name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout")
)


_ADVERSARIAL = re.compile(r"discriminator|critic(?!al)|generator", re.I)
"""Classes of networks of which one judges the other while it trains, and nobody evaluates it; dropout may be the noise
of the other.
"""


class DropoutAlwaysOn(Rule):
    """Dropout is applied by a function or a fresh layer that does not know about eval mode.

    ## What it sees
    In `forward` of a module `F.dropout` is called without `training=`, whose default is True; or an `nn.Dropout` is
    constructed and called on the spot, which is always in train mode.
    ## Why it hurts
    `model.eval()` does not reach it: answers are noisy in validation and in production, and worse than the model is.
    ## How to fix it
    `F.dropout(x, p, training=self.training)`, or an `nn.Dropout` that is made in `__init__`.
    ## When it is not a fault
    Monte-Carlo dropout: say so with `training=True`, which is not reported. A call under `if self.training:` is not
    reported either, nor one beside such a block that returns or drops. Beside one that does neither, or under a switch
    where another dropout of the function is told the mode, it is possible at most. So it is in a discriminator, which
    is seldom evaluated, and in a generator, whose noise it may be.
    ## Sources
    PyTorch documentation, `torch.nn.functional.dropout` ("training: apply dropout if True. Default: True").
    """

    on_trial = True
    explains = ("train-eval-mismatch",)

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for dropout in `forward` that no mode reaches."""
        for thing in modules_in(file):
            if any(other.name == thing.name for other in file.classes[thing.number + 1 :]):
                continue  # a draft, which the notebook or file replaces further down
            for method, call in in_methods(file, thing, *FUNCTIONS, "()"):
                if method == "__init__":
                    continue
                if call.name in FUNCTIONS and not call.is_open and call.argument(2, "training") is None:
                    is_told = _is_told_beside(file, call)
                    if _is_guarded(file, call, is_told=is_told):
                        continue
                    share = call.argument(1, "p")
                    if literal(file, share) not in (0, 0.0):
                        right = f"F.{call.name.rpartition('.')[2]}(x, p, training=self.training)"
                        is_meant = _is_off(file, thing, share) or _ADVERSARIAL.search(thing.name) is not None
                        is_meant = is_meant or bool(_modes(file, call)) or _is_guarded(file, call)
                        sureness = Sureness.POSSIBLE if is_meant else Sureness.CERTAIN
                        yield self._read(file, call, right, _told(file, call), sureness)
                elif call.name == "()" and method == "forward":
                    made, way = followed(file, call.receiver)
                    is_fresh = isinstance(made, Call) and made.name.startswith("torch.nn.Dropout")
                    is_kept = any("." in binding.name for binding in way)
                    if isinstance(made, Call) and is_fresh and not is_kept and not _is_guarded(file, call):
                        yield self._read(file, made, "self.dropout = nn.Dropout(p)   # in __init__")

    def _read(
        self, file: Code, call: Call, right: str, edits: tuple[Edit, ...] = (), sureness: Sureness = Sureness.CERTAIN
    ) -> Finding:
        name = call.name.rpartition(".")[2]
        return self.finding(
            f"`{name}` stays on in eval mode",
            sureness=sureness,
            place=place_in(file, call.at),
            evidence=[
                Evidence(
                    f"modes in which the dropout on {line_of(file, call.at)} acts", "2: train and eval", "1: train"
                )
            ],
            cause="It is not told the mode, and drops units by default: `model.eval()` does not switch it off.",
            fixes=[Fix("Let the model's mode decide:\n" + code(right), safe=True, edits=edits)],
            unless="answers are meant to vary, as in Monte-Carlo dropout: `training=True` says so.",
        )

    bad_code = {
        "where the share is above 0": """
            class Net(nn.Module):
                def forward(self, x):
                    if self.p is not None and self.p > 0.0:
                        x = F.dropout(x, p=self.p)  # bad
                    return x
            """,
        "one of several that is told no mode, behind a switch, with `--all` only": """
            class Net(nn.Module):
                def forward(self, x, switch):
                    if switch:
                        x = F.dropout(x, p=self.rate)  # bad
                    return F.dropout(self.layer(x), p=self.rate, training=self.training)
            """,
        "beside what only training needs, with `--all` only": """
            class Net(nn.Module):
                def forward(self, x):
                    if self.training:
                        x = self.augment(x)
                    return F.dropout(self.layer(x), p=0.2)  # bad
            """,
        "where the share is above 0, as a number": """
            class Net(nn.Module):
                def forward(self, x):
                    if self.rate:
                        x = F.dropout(x, p=float(self.rate))  # bad
                    return self.layer(x)
            """,
        "a share that is 0 unless someone says otherwise, with `--all` only": """
            class Net(nn.Module):
                def __init__(self, width, dropout=0.0):
                    super().__init__()
                    self.layer = nn.Linear(width, width)
                    self.dropout = dropout

                def forward(self, x):
                    return F.dropout(self.layer(x), p=self.dropout)  # bad
            """,
        "a function": """
            class Net(nn.Module):
                def forward(self, x):
                    return F.dropout(F.relu(x), p=0.3)  # bad
            """,
        "a layer made on the spot": """
            class Net(nn.Module):
                def forward(self, x):
                    return nn.Dropout(0.5)(x)  # bad
            """,
    }
    good_code = {
        "a share that the mode chooses": """
            class Net(nn.Module):
                def forward(self, x):
                    share = 0.0
                    if self.training:
                        share = self.rate * 0.5
                    return F.dropout(x, share)
            """,
        "behind a switch that is handed in": """
            class Net(nn.Module):
                def forward(self, inputs):
                    x, switch = inputs
                    if self.p > 0 and switch:
                        x = F.dropout(x, self.p)
                    return x
            """,
        "meant, as a comment says": """
            class Prenet(nn.Module):
                def forward(self, x):
                    # this part stays non deterministic
                    return F.dropout(x, 0.5)
            """,
        "told the mode": """
            class Net(nn.Module):
                def forward(self, x):
                    return F.dropout(x, 0.3, self.training) + F.dropout(x, training=self.training)
            """,
        "drawn in eval mode, too": """
            class Net(nn.Module):
                def forward(self, x):
                    if self.training:
                        return self.layer(F.dropout(x, p=0.2))
                    return torch.stack([self.layer(F.dropout(x, p=0.2)) for _ in range(10)]).mean(0)
            """,
        "a draft": """
            class Net(nn.Module):
                def forward(self, x):
                    return F.dropout(x)

            print(Net())

            class Net(nn.Module):
                def forward(self, x):
                    return F.dropout(x, training=self.training)
            """,
        "under a condition": """
            class Net(nn.Module):
                def forward(self, x):
                    if self.training:
                        x = F.dropout(x, 0.3)
                    return x
            """,
        "on purpose": """
            class Net(nn.Module):
                def forward(self, x):
                    return F.dropout(x, 0.3, training=True)
            """,
        "a layer of the model": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.dropout = nn.Dropout(0.3)

                def forward(self, x):
                    return self.dropout(x)
            """,
    }


def _told(file: Code, call: Call) -> tuple[Edit, ...]:
    """The argument that is missing, in a method whose first parameter is `self`."""
    function = file.functions[file.function_at(call.context)]
    inside = file.lines[call.at.end_line - 1].encode("utf-8", "surrogatepass")[: call.at.end_column - 1].rstrip()
    if not function.parameters or function.parameters[0].name != "self" or not inside:
        return ()
    comma = " " if inside.endswith(b",") else ", "
    return (insertion(file, call.at.end_line, call.at.end_column - 1, f"{comma}training=self.training"),)


def _is_off(file: Code, thing: Thing, share: Value | None) -> bool:
    """Whether the share that is dropped is a parameter that is 0 unless someone says otherwise."""
    if share is None:
        return False
    name = file.text(share.at).removeprefix("self.")
    given = [binding.value for attribute, binding in assigned(file, thing) if attribute == name] or [share]
    found = [followed(file, one)[0] for one in given]
    return all(
        isinstance(one, Name)
        and one.binding != NOWHERE
        and file.bindings[one.binding].how == "argument"
        and literal(file, file.bindings[one.binding].value) in (0, 0.0)
        for one in found
    )


def _modes(file: Code, call: Call) -> list[Context]:
    """The blocks of the function that ask for the mode."""
    function = file.functions[file.function_at(call.context)]
    return [
        here
        for here in file.contexts[function.context :]
        if here.kind == "if" and here.value is not None and "self.training" in file.text(here.value.at)
        and here.at.line >= function.at.line and here.at.end_line <= function.at.end_line
    ]  # fmt: skip


_DECIDES = re.compile(r"\breturn\b|\braise\b|drop\w*\(|[Dd]ropout\w*\(")
"""What a block does that asks for the mode because of dropout: nothing else tells that both modes are thought of."""


def _is_told_beside(file: Code, call: Call) -> bool:
    """Whether another dropout of the same function is told the mode, so that this one is not meant to act in both."""
    first, last = file.functions[file.function_at(call.context)].calls
    told = (one.argument(2, "training") for one in file.calls[first:last] if one.name in FUNCTIONS)
    return any(one is not None and file.text(one.at) == "self.training" for one in told)


def _is_guarded(file: Code, call: Call, *, is_told: bool = False) -> bool:
    """Whether a call is under a condition that may ask for the mode, or a comment says that it is meant; with `is_told`
    whether that is so although another dropout is told the mode.
    """
    blocks = ["\n".join(file.lines[here.at.line - 1 : here.at.end_line]) for here in _modes(file, call)]
    if not is_told and any(map(_DECIDES.search, blocks)):
        return True  # both modes are thought of
    share = call.argument(1, "p")
    if share is not None:
        chosen, _ = followed(file, share)
        set_to = re.compile(rf"(?<![\w.]){re.escape(file.text(share.at))}\s*=(?!=)")
        if any(map(set_to.search, blocks)) or (chosen is not None and "self.training" in file.text(chosen.at)):
            return True  # the share is chosen by the mode
    for here in file.around(call.context):
        asked = here.value if here.kind in ("if", "else") else None
        is_switched = any(_is_switch(file, one, call) for one in _truths(asked)) if asked and not is_told else False
        if asked and ("train" in file.text(asked.at) or is_switched):
            return True
        if here.kind == "function":
            break
    return isinstance(call.argument(0), Constant) or MEANT.search(comment_at(file, call.at.line)) is not None


MEANT = re.compile(r"determinis|stochastic|random|always|inference|test.time|eval|monte|bayes|on purpose|meant", re.I)


def _truths(condition: Value) -> Iterator[Value]:
    """What is true or false in a condition by itself: `switch` of `p > 0 and not switch`."""
    if isinstance(condition, Operation) and condition.operator in ("and", "or", "not"):
        for one in condition.operands:
            yield from _truths(one)
    elif isinstance(condition, Choice):
        for one in condition.options:
            yield from _truths(one)
    elif isinstance(condition, Name | Attribute | Item):
        yield condition


def _is_switch(file: Code, value: Value, call: Call) -> bool:
    """Whether it is something else than the share that is dropped, or the layer that drops."""
    text = file.text(value.at)
    given = [*call.arguments, *(one for _, one in call.keywords), *([call.receiver] if call.receiver else [])]
    given += [inner for one in given if isinstance(one, Call) for inner in one.arguments]  # `p=float(self.rate)`
    return all(file.text(one.at) != text for one in given)

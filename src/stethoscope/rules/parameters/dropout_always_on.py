"""Dropout that is on in evaluation, too."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Edit, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.code import NOWHERE, Attribute, Call, Choice, Code, Constant, Item, Name, Operation, Value
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
    reported either. In a discriminator, which is seldom evaluated, and in a generator, whose noise it may be, it is
    possible at most.
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
                    if _is_guarded(file, call):
                        continue
                    share = call.argument(1, "p")
                    if literal(file, share) not in (0, 0.0):
                        right = f"F.{call.name.rpartition('.')[2]}(x, p, training=self.training)"
                        is_meant = _is_off(file, thing, share) or _ADVERSARIAL.search(thing.name) is not None
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


def _is_guarded(file: Code, call: Call) -> bool:
    """Whether a call is under a condition that may ask for the mode, or a comment says that it is meant."""
    function = file.functions[file.function_at(call.context)]
    if any(
        here.kind == "if" and here.value is not None and "self.training" in file.text(here.value.at)
        for here in file.contexts[function.context :]
        if here.at.line >= function.at.line and here.at.end_line <= function.at.end_line
    ):
        return True  # both modes are thought of
    for here in file.around(call.context):
        asked = here.value if here.kind in ("if", "else") else None
        if asked and ("train" in file.text(asked.at) or any(_is_switch(file, one, call) for one in _truths(asked))):
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
    given = (*call.arguments, *(one for _, one in call.keywords), *([call.receiver] if call.receiver else []))
    return all(file.text(one.at) != text for one in given)

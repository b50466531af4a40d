"""An attribute that is set on a model, a parameter or an optimizer, and that torch never reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Rule
from stethoscope.facts.attributes import attributes_set, owner_of, part_of_model
from stethoscope.facts.code import Attribute, Binding, Call, Code, Constant, Name
from stethoscope.facts.expressions import values_of
from stethoscope.facts.frozen_anyway import is_harmless, is_parameter
from stethoscope.facts.likely_modules import is_known_module
from stethoscope.facts.named_models import is_hinted, is_part_or_model, keeps_models
from stethoscope.facts.origins import is_module, lineage, thing_of
from stethoscope.facts.things import Thing
from stethoscope.rules.lines import fitting, line_of, place_in
from stethoscope.rules.sites import code

MISSPELLED = (
    "require_grad", "require_grads", "requires_grads", "required_grad", "requires_gradient", "requires_gradients",
    "requiresgrad", "require_gradient",
)  # fmt: skip
RATES = ("lr", "learning_rate", "weight_decay", "momentum", "betas")


class _Case(NamedTuple):
    words: str
    cause: str
    advice: str
    line: str


class AttributeWithoutEffect(Rule):
    """An attribute is set that torch never reads: nothing is frozen, and no rate changes.

    ## What it sees
    `model.requires_grad = False` on a module, `parameter.require_grad = False` and its like, and `optimizer.lr = 0.01`
    on an optimizer of torch's.
    ## Why it hurts
    Python makes a new attribute of that name, and there is no error. A module has no `requires_grad`, only its
    parameters have; an optimizer reads its rate from `param_groups`. Layers that were to be frozen go on training.
    ## How to fix it
    `model.requires_grad_(False)`, with its underscore and a call; `group["lr"] = 0.01` for each group.
    ## When it is not a fault
    A class that defines the attribute itself, but for a network that switches itself off so and never asks for it, or a
    project that asks its modules for it. That is not reported. A tensor
    that somebody made asks for no gradient unless it is told to: a misspelled `False` there is possible at most, and so
    is a module without parameters, one whose parameters are switched in the same block, which nothing runs, or only
    under `no_grad` or with its answers cut off, or that no optimizer has, and a `True` where nothing is frozen or that
    each round takes back; an option that is what it was, and a module that only its name tells. A run shows which
    parameters move: see `frozen-parameters`.
    ## Sources
    PyTorch documentation, `torch.nn.Module.requires_grad_` and `torch.optim.Optimizer.param_groups`; rule TOR002 of
    TorchFix.
    """

    on_trial = True

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at what the attributes of these names are set on."""
        for number, binding in attributes_set(file, *MISSPELLED, *RATES, "requires_grad"):
            path, _, last = binding.name.rpartition(".")
            owner = owner_of(file, number)
            thing = part_of_model(file, owner)
            used = thing.kind == "unknown" and is_hinted(file, owner)
            plainly = used and "." not in path  # what a class keeps may be another thing in another method
            part = thing.kind == "unknown" and last == "requires_grad" and not plainly and is_part_or_model(file, owner)
            # Its class holds no layers that are seen, but weights of its own, or what it uses as a model.
            part = part or (path == "self" and thing.kind == "module" and not _keeps_layers(thing))
            part = part or (last == "requires_grad" and thing.kind == "instance" and is_known_module(thing))
            hinted = part or used
            if (hinted or thing.kind == "module") and _is_told_apart(file, binding, path):
                continue
            if (
                last in MISSPELLED
                and thing.kind not in ("tensor", "module")
                and not (hinted or is_parameter(file, owner))
            ):
                continue  # an option of somebody's, or the tensor of another library
            meant = Thing("module") if hinted else thing
            case = _case(path, last, meant, binding)
            is_own = _is_its_own(thing, last) and not _freezes_itself(file, thing, binding)
            if case is None or is_own or _is_in_handler(file, binding):
                continue
            if (
                (thing.kind == "instance" and not hinted)
                or _is_read(file, binding.name)
                or _is_asked_of_modules(file, last)
            ):
                continue  # a class of the project's own, which may have it, or who sets it reads it
            yield self.finding(
                fitting(f"`{binding.name}` is set, and torch never reads it", f"`.{last}` is never read by torch"),
                severity=Severity.WARNING if thing.kind == "tensor" else Severity.ERROR,
                sureness=Sureness.POSSIBLE
                if part or is_harmless(file, meant, binding)
                else _how_sure(thing, binding, hinted),
                place=place_in(file, binding.at),
                evidence=[Evidence(f"{case.words} that {line_of(file, binding.at)} changes", 0, "all that are meant")],
                cause=case.cause,
                fixes=[f"{case.advice}:\n" + code(*case.line.split("\n"))],
            )

    bad_code = {
        "of a module": """
            from torchvision.models import resnet18

            model = resnet18(weights="DEFAULT")
            model.requires_grad = False  # bad
            model.fc = nn.Linear(512, 2)

            import torch.nn as nn
            """,
        "of layers, one after the other": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Sequential(nn.Linear(3, 3), nn.ReLU())

                def freeze(self):
                    self.body.requires_grad = False  # bad
                    for layer in self.body.children():
                        layer.requires_grad = False  # bad
                    for name, layer in self.named_modules():
                        layer.requires_grad = False  # bad
            """,
        "of what is used as a model": """
            def main(make):
                teacher = make()
                teacher.eval()
                teacher.requires_grad = False  # bad
                return teacher
            """,
        "of parts that are named as such": """
            def freeze(make):
                model = make()
                model.eval()
                model.features.requires_grad = False  # bad

            class Distiller(nn.Module):
                def __init__(self, teacher):
                    super().__init__()
                    self.teacher = teacher
                    self.teacher.requires_grad = False  # bad
            """,
        "of what is named as a model, or as parts of one": """
            import torch

            def freeze(model):
                model.requires_grad = False  # bad

            def make(kind, other):
                if kind == "small":
                    encoder = other.Small()
                else:
                    encoder = other.Large()
                encoder.requires_grad = False  # bad
                for layer in [encoder.conv1, encoder.bn1]:
                    layer.requires_grad = False  # bad
                return encoder
            """,
        "of the layers in lists": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.convs = nn.ModuleList([nn.Conv2d(3, 3, 3)])
                    self.norms = nn.ModuleList([nn.BatchNorm2d(3)])

                def freeze(self):
                    for layer in self.convs:
                        layer.requires_grad = False  # bad
                    for layers in [self.convs, self.norms]:
                        for layer in layers:
                            layer.requires_grad = False  # bad
            """,
        "of a model on top of a library's": """
            from torch import nn
            from transformers import PreTrainedModel

            class Net(PreTrainedModel):
                def __init__(self, config):
                    super().__init__(config)
                    self.body = nn.Linear(3, 3)

                def freeze(self):
                    self.requires_grad = False  # bad

                def forward(self, x):
                    return self.body(x)
            """,
        "misspelled": """
            model = nn.Linear(3, 2)
            for parameter in model.parameters():
                parameter.require_grad = False  # bad
            """,
        "of an optimizer": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(10):
                optimizer.lr = 0.1 / (1 + epoch)  # bad
            """,
    }
    good_code = {
        "of what may be tensors": """
            class Attack(nn.Module):
                def step(self, batch):
                    batch.features.requires_grad = True
                    self.embedding.requires_grad = True
                    self.net(batch).backward()
            """,
        "of what a loop, a table or a layer's weight gives, by any name": """
            import torch

            def freeze(model, table, asked):
                for layer in model.parameters():
                    layer.requires_grad = False
                head = model.layer.weight
                head.requires_grad = False
                encoder = table["scale"]
                encoder.requires_grad = False
                for layer in [model.conv1, model.scale]:
                    layer.requires_grad = False

            class Wrapped(torch.nn.Module):
                def freeze(self, module):
                    if isinstance(module, torch.nn.Parameter):
                        module.requires_grad = False
            """,
        "of parameters": """
            model = nn.Linear(3, 2)
            for parameter in model.parameters():
                parameter.requires_grad = False
            for name, parameter in model.named_parameters():
                parameter.requires_grad = "bias" in name
            model.weight.requires_grad = False
            """,
        "what is a parameter or a module, as asked": """
            def unlock(parts):
                for part in parts:
                    if isinstance(part, nn.Parameter):
                        part.requires_grad = True
                    else:
                        for parameter in part.parameters():
                            parameter.requires_grad = True
            """,
        "what has no parameters, and raised": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.body = nn.Linear(3, 3)
                    self.token = nn.Parameter(torch.zeros(3))

                def freeze(self):
                    for part in [self.body, self.token]:
                        try:
                            for parameter in part.parameters():
                                parameter.requires_grad = False
                        except AttributeError:
                            part.requires_grad = False
            """,
        "a class that reads it": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.requires_grad = False

            net = Net()
            net.requires_grad = True
            """,
        "an optimizer of another library": """
            import keras

            def lower(model, config):
                model.optimizer.lr = 0.1
                config.optimizer.lr = 0.1
                optimizer = keras.optimizers.SGD(0.1)
                optimizer.learning_rate = 0.01
            """,
        "the groups of an optimizer": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for group in optimizer.param_groups:
                group["lr"] = 0.01
            """,
        "a tensor": """
            image = torch.rand(3, 8, 8)
            image.requires_grad = True
            """,
    }


def _case(path: str, last: str, thing: Thing, binding: Binding) -> _Case | None:
    """What is wrong, if anything is."""
    value = binding.value
    truth = isinstance(value, Constant) and isinstance(value.value, bool)
    switch = str(value.value) if isinstance(value, Constant) and isinstance(value.value, bool) else "False"
    if last in RATES:
        if thing.kind != "optimizer" or not thing.name.startswith("torch.optim."):
            return None
        key = "lr" if last == "learning_rate" else last
        return _Case(
            "groups of parameters",
            "An optimizer reads its options from `param_groups`, which this line does not touch.",
            "Set it in each group",
            f'for group in {path}.param_groups:\n    group["{key}"] = ...',
        )
    if last in MISSPELLED and truth:
        return _Case(
            "parameters",
            f"The attribute is called `requires_grad`; `{last}` is a new one that nothing reads.",
            "Write it as torch does",
            f"{path}.requires_grad = {switch}",
        )
    if last in MISSPELLED or thing.kind != "module" or not truth:
        return None
    return _Case(
        "parameters",
        "A module has no `requires_grad`: only its parameters have. The line makes a new attribute that nothing reads.",
        "Switch all of its parameters",
        f"{path}.requires_grad_({switch})",
    )


def _how_sure(thing: Thing, binding: Binding, hinted: bool) -> Sureness:
    """A tensor that is no parameter asks for no gradient by itself: nothing is worse where it was to be told so."""
    if thing.name == "torch.optim.Optimizer":
        return Sureness.POSSIBLE  # one of a class of its own, by its annotation
    is_switched_off = isinstance(binding.value, Constant) and binding.value.value is False
    if thing.kind == "tensor" and is_switched_off and not thing.name.endswith("Parameter"):
        return Sureness.POSSIBLE
    return Sureness.LIKELY if hinted else Sureness.CERTAIN


def _is_asked_of_modules(file: Code, name: str) -> bool:
    """Whether the project asks modules for the attribute: by its name, in a class that has a setter, or of what a loop
    over modules gives.
    """
    if file.and_linked_say(f"{name}.setter", f'getattr(module, "{name}"') or file.matches(_asking_for(name)):
        return True
    reads = (one for one in values_of(file) if type(one) is Attribute and one.name == name)
    return any(part_of_model(file, one.value).kind == "module" for one in reads)


def _asking_for(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?:get|has)attr\([\w.\[\]]+,\s*['\"]{name}['\"]")


def _is_its_own(thing: Thing, name: str) -> bool:
    """Whether a class of the project has such an attribute itself, or takes attributes in a way of its own."""
    for home, cls in lineage(thing):
        if name in cls.methods or "__setattr__" in cls.methods:
            return True
        if any(_inside(home, cls.context, number) for number in cls.attributes.get(name, ())):
            return True
    return False


def _freezes_itself(file: Code, thing: Thing, binding: Binding) -> bool:
    """Whether a module whose layers are seen switches itself off, and keeps nothing else under that name: it is no
    option that somebody may ask for.
    """
    path, _, last = binding.name.rpartition(".")
    ways = [home.bindings[n].value for home, cls in lineage(thing) for n in cls.attributes.get(last, ()) if n >= 0]
    switched_off = all(isinstance(one, Constant) and one.value is False for one in ways)
    is_asked = file.matches(re.compile(rf"(?<!param)(?<!parameter)(?<![\W_]p)\.{last}\b(?!\s*=(?!=))"))
    return (
        path == "self"
        and (bool(is_module(thing)) or is_known_module(thing))
        and switched_off
        and not is_asked
        and (_keeps_layers(thing) or keeps_models(thing))
    )


def _keeps_layers(thing: Thing) -> bool:
    """Whether a module is seen to keep layers, or sequences that something is added to."""
    return any(
        thing_of(home, home.bindings[number].value).kind == "module"
        for home, cls in lineage(thing)
        for numbers in cls.attributes.values()
        for number in numbers
        if number >= 0
    )


def _is_read(file: Code, name: str) -> bool:
    """Whether a file reads what it sets: `for group in groups: group["lr"] = optimizer.lr`."""
    return file.matches(re.compile(rf"(?<![\w.]){re.escape(name)}\b(?!\s*(?:[-+*/]?=(?!=)|,))"))


def _inside(code: Code, context: int, number: int) -> bool:
    """Whether a binding is made in the body of a class or in its methods."""
    return context in code.numbers_around(code.bindings[number].context)


def _is_in_handler(file: Code, binding: Binding) -> bool:
    """Whether a line is only reached where something raised: what raised may be no module."""
    return any(here.kind == "except" for here in file.around(binding.context))


def _is_told_apart(file: Code, binding: Binding, name: str) -> bool:
    """Whether a line stands under a question for the class of a variable: it need not be a module there."""
    asked = (here.value for here in file.around(binding.context) if here.kind in ("if", "else"))
    return any(
        isinstance(value, Call) and value.name == "builtins.isinstance" and isinstance(value.argument(0), Name)
        and file.text(value.arguments[0].at) == name
        for value in asked
    )  # fmt: skip

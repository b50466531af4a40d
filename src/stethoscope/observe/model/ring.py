"""The captured steps of a run, as one file that experiments can be repeated from: tensors, and JSON that says what
they are.

A model's class is code, and code is never written down: the file holds what a model of the same script is given.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.facts.run import RING_FORMAT, RING_OUTLINE
from stethoscope.observe.model.capture import Capture
from stethoscope.observe.model.ingredients import OWN_LOSS, Pass, Step, View
from stethoscope.observe.model.keras_copy import KerasSteps
from stethoscope.observe.model.lab import recipe_of
from stethoscope.observe.model.recipe import Recipe
from stethoscope.observe.model.values import CannotKeep, Packer, unpacked
from stethoscope.observe.sources import sources_of
from stethoscope.observe.training.losses import FUNCTIONS
from stethoscope.observe.training.state import State

OF_LOOP = ("clears", "clears_before_step", "backpropagates", "takes_steps", "clip", "rates", "begins")
"""What a recipe holds beside its steps before anything is changed in it."""
MODEL, GRADIENT = "model/", "gradient/"


class DoesNotFit(Exception):
    """The model or the optimizer is another one than was recorded; the message is a clause that says where."""


@dataclass(frozen=True)
class Ring:
    """What is written."""

    tensors: dict[str, Tensor]
    outline: dict[str, Any]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())

    def write(self, path: Path) -> None:
        """Write one file of safetensors; its metadata is the outline."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        try:
            save_file(_apart(self.tensors), path, {RING_OUTLINE: json.dumps(self.outline, allow_nan=False)})
        except SafetensorError as error:  # a disk that is full, for one
            raise OSError(str(error)) from error


def ring_of(state: State, *, chance: float, rates: Sequence[float], script: str, began: float, began_at: float) -> Ring:
    """What was captured of a run that has ended.

    Args:
        chance: value of the run's loss for the best guess that ignores the input; NaN when unknown.
        rates: the learning rate of each of the run's first steps.
        script: path of the run's script.
        began: when listening began, on the clock of `time.perf_counter`.
        began_at: the same, on that of `time.time`.

    Raises: CannotKeep when it cannot be repeated.
    """
    recipe = recipe_of(state, rates)
    if isinstance(recipe, str):
        raise CannotKeep(recipe)
    capture = state.capture
    assert capture is not None
    assert capture.original is not None
    model, optimizer = capture.original
    if isinstance(optimizer, KerasSteps):
        raise CannotKeep("steps of Keras models are not written down")
    packer = Packer(next(model.parameters()).device)
    outline = {
        "format": RING_FORMAT,
        "code": sources_of(model, script, began_at),
        "seconds": round(capture.copied_when - began, 1),
        "copied_at": capture.copied_at,
        "chance": packer.pack(chance),
        "model": {
            "kind": type(model).__qualname__,
            "shapes": {name: list(tensor.shape) for name, tensor in _tensors_of(model)},
            "in eval mode": [name for name, part in model.named_modules() if not part.training],
        },
        "optimizer": _optimizer(model, optimizer, packer),
        "loop": {name: packer.pack(getattr(recipe, name)) for name in OF_LOOP},
        "steps": [_step(step, packer) for step in recipe.steps],
    }
    tensors = {f"{MODEL}{name}": tensor for name, tensor in _tensors_of(model)}
    if not recipe.clears:  # those of the first step are still there when it is taken again
        tensors |= {f"{GRADIENT}{n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    tensors |= packer.tensors
    return Ring({name: tensor.detach() for name, tensor in tensors.items()}, outline)


def _tensors_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _optimizer(model: nn.Module, optimizer: Any, packer: Packer) -> dict[str, Any]:
    """Its groups, each with the names of its parameters (empty for those of no model), and what it remembers."""
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    groups, memories = [], []
    for group in optimizer.param_groups:
        held = group["params"]
        options = {key: value for key, value in group.items() if key not in ("params", "param_names")}
        groups.append(
            {
                "params": [names.get(id(tensor), "") for tensor in held],
                "others": packer.pack([tensor for tensor in held if id(tensor) not in names]),
                "options": packer.pack(options),
            }
        )
        memories += [packer.pack(dict(optimizer.state.get(tensor, {}))) for tensor in held]
    return {"kind": type(optimizer).__qualname__, "groups": groups, "memories": memories}


def _step(step: Step, packer: Packer) -> dict[str, Any]:
    passes = [
        {entry.name: packer.pack(getattr(each, entry.name)) for entry in fields(Pass) if entry.name != "view"}
        | {"view": None if each.view is None else packer.pack(asdict(each.view))}
        for each in step.passes
    ]
    return {"number": step.number, "clip": packer.pack(step.clip), "passes": passes}


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous, in main memory, and none a part of another: what the format asks for."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        own = tensor.cpu().contiguous()
        memory = own.untyped_storage()
        if memory.data_ptr() in seen or memory.nbytes() != own.numel() * own.element_size():
            own = own.clone()
        seen.add(own.untyped_storage().data_ptr())
        result[name] = own
    return result


# Back again


class Seeker(Capture):
    """Captures a model and its optimizer when they are about to take their first step, and ends the script there."""

    def copy_originals(self, model: Any, optimizer: Any, optimizers: list[Any], number: int) -> None:
        """Copy them; the script is left as by `sys.exit(0)`."""
        super().copy_originals(model, optimizer, optimizers, number)
        raise SystemExit(0)


def restore(outline: Mapping[str, Any], tensors: dict[str, Tensor], capture: Capture) -> tuple[Recipe, float]:
    """Give copies of a fresh model and its optimizer what was recorded; gives what the loop did, and the loss of the
    best guess.

    Raises: DoesNotFit when they are other ones than were recorded; ValueError or KeyError for a broken file.
    """
    assert capture.original is not None
    model, optimizer = capture.original
    device = next(model.parameters()).device
    _fill_model(model, outline["model"], tensors)
    _fill_optimizer(model, optimizer, outline["optimizer"], tensors)
    capture.steps = [_step_of(step, tensors, device) for step in outline["steps"]]
    capture.copied_at = outline["copied_at"]
    told = outline["loop"]  # of an older version that did not know all of this
    loop = {name: unpacked(told[name], tensors, device) for name in OF_LOOP if name in told}
    return Recipe(tuple(capture.steps), **loop), unpacked(outline["chance"], tensors, device)


def _fill_model(model: nn.Module, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    if type(model).__qualname__ != told["kind"]:
        raise DoesNotFit(f"it trains a `{type(model).__qualname__}` where it trained a `{told['kind']}`")
    own, shapes = dict(_tensors_of(model)), told["shapes"]
    for name in sorted(own.keys() ^ shapes.keys()):
        raise DoesNotFit(f"its model {'has' if name in own else 'lacks'} `{name}`, and was recorded the other way")
    for name, tensor in own.items():
        if list(tensor.shape) != shapes[name]:
            raise DoesNotFit(f"`{name}` has the shape {tuple(tensor.shape)} and was recorded as {tuple(shapes[name])}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[MODEL + name])
    for name, parameter in model.named_parameters():
        gradient = tensors.get(GRADIENT + name)
        parameter.grad = None if gradient is None else gradient.to(parameter.device)
    in_eval_mode = set(told["in eval mode"])
    for name, part in model.named_modules():
        part.training = name not in in_eval_mode


def _fill_optimizer(model: nn.Module, optimizer: Any, told: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    kind = type(optimizer).__qualname__
    if kind != told["kind"]:
        raise DoesNotFit(f"its optimizer is {kind} and was {told['kind']}")
    device = next(model.parameters()).device
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    held = [[names.get(id(tensor), "") for tensor in group["params"]] for group in optimizer.param_groups]
    if held != [group["params"] for group in told["groups"]]:
        raise DoesNotFit(f"{kind} holds other parameters than were recorded")
    memories = iter(told["memories"])
    for group, was in zip(optimizer.param_groups, told["groups"], strict=True):
        others = [tensor for tensor in group["params"] if id(tensor) not in names]
        with torch.no_grad():
            for tensor, value in zip(others, unpacked(was["others"], tensors, device), strict=True):
                tensor.copy_(value)
        group.update(unpacked(was["options"], tensors, device))
        for tensor in group["params"]:
            memory = unpacked(next(memories), tensors, device)
            if memory:
                optimizer.state[tensor] = memory
            else:
                optimizer.state.pop(tensor, None)


def _step_of(data: Mapping[str, Any], tensors: dict[str, Tensor], device: torch.device) -> Step:
    passes = []
    for each in data["passes"]:
        given = {name: unpacked(value, tensors, device) for name, value in each.items()}
        if given["function"] not in FUNCTIONS and given["function"] != OWN_LOSS:
            raise ValueError(f"{given['function']} is no loss")
        passes.append(replace(Pass(**given), view=None if given["view"] is None else View(**given["view"])))
    return Step(data["number"], passes, unpacked(data["clip"], tensors, device))

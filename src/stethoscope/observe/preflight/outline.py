"""What is known of a model that cannot be copied: its structure, followed by a pass that computes no values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from stethoscope.core.errors import UsageError
from stethoscope.core.text import byte_size
from stethoscope.facts.model import Crash, Experiment, Preflight, Structure
from stethoscope.observe.model.apart import apart
from stethoscope.observe.model.hollow import Hollow, hollow
from stethoscope.observe.model.ingredients import tensors_in
from stethoscope.observe.preflight.battery import not_possible
from stethoscope.observe.preflight.crash import crash_of
from stethoscope.observe.preflight.remedies import of_layer
from stethoscope.observe.preflight.structure import Trace, read_structure, structure_said
from stethoscope.observe.training.sites import site_of, spot

FAILED = "not all shapes, since a part of it fails without values"
STRUCTURE = tuple(each.name for each in fields(Structure))
ASKS_FOR_VALUES = ("DataDependentOutputException", "DynamicOutputShapeException")
UNKNOWN = ("UnsupportedOperatorException", "UnsupportedFakeTensorException", "NotImplementedError")
NO_VALUES = (".numpy() is not supported", "data pointer", "FakeTensor", "fake tensor", "device meta")
STRICT = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.RNNBase)
"""Layers that take no other type than that of their weights, which torch does not notice where there are no values."""


@dataclass(frozen=True)
class Outlined:
    """What a pass without values shows."""

    structure: Structure
    crash: Crash | None = None
    lost: str = ""
    """Why the model could not be followed to its loss, as a clause."""


def outlined(empty: Hollow, batch: Any, loss: Callable[[nn.Module, Any], Any]) -> Outlined:
    """Follow a batch through a model without values.

    Args:
        empty: the model.
        batch: anything with tensors; it is emptied.
        loss: of the model and that batch.
    """
    trace = Trace(empty.model)
    lost, crash, result = "", None, None
    types = [part.register_forward_pre_hook(_types_of(name), with_kwargs=True) for name, part in _strict(empty.model)]
    try:
        with apart(), empty.working(), trace:
            result = loss(empty.model, empty.emptied(batch))
    except _WrongType as wrong:
        crash = wrong.crash
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        lost = _why_lost(error)
        crash = None if lost else crash_of(error, always=True)
    for handle in types:
        handle.remove()
    structure = read_structure(empty.model, trace, result if isinstance(result, Tensor) else None, set(empty.held))
    return Outlined(structure, crash, lost)


def preflight_of(shown: Outlined, profile: str, why: str, *, simplify: bool = False) -> Preflight:
    """What could be made of the experiments: the structure, and why not the others."""
    plain = not_possible(profile, why, simplify=simplify)
    said, good = structure_said(shown.structure)
    said += f", {byte_size(sum(part.parameter_bytes for part in shown.structure.parts))} of weights and buffers; "
    said += shown.lost or ("it fails on the batch" if shown.crash else "shapes of a pass without values")
    first = Experiment("structure", plain.experiments[0].title, said, good=good and shown.crash is None)
    return replace(plain, structure=shown.structure, crash=shown.crash, experiments=(first, *plain.experiments[1:]))


def outline(model: nn.Module, batch: Any, loss: Callable[[nn.Module, Any], Any], optimizer: Any) -> Outlined:
    """The same from the model itself; the device `meta` is named where its parameters are there."""
    shown = outlined(hollow(model, [optimizer] if optimizer is not None else []), batch, loss)
    away = {name for name, part in model.named_modules() if any(t.is_meta for t in part.parameters())}
    parts = tuple(replace(part, device="meta") if part.name in away else part for part in shown.structure.parts)
    if all(part.device == "meta" for part in parts if part.parameters):
        parts = tuple(replace(part, device="meta" if part.device else "") for part in parts)
    return replace(shown, structure=replace(shown.structure, parts=parts))


def outline_of_calls(calls: Mapping[str, tuple[Hollow, tuple[Any, ...], dict[str, Any]]]) -> Outlined:
    """The same of a script's models, by name, and the arguments of a call of each."""
    found: list[Outlined] = []
    for name, (empty, args, kwargs) in calls.items():
        shown = outlined(empty, (args, kwargs), _sum_of_outputs)
        # It runs in the script, so that what it raises here is for want of values.
        shown = replace(shown, crash=None, lost=shown.lost or (FAILED if shown.crash is not None else ""))
        found.append(shown if len(calls) == 1 else replace(shown, structure=_prefixed(shown.structure, name)))
    return Outlined(
        Structure(*(tuple(chain(*(getattr(each.structure, part) for each in found))) for part in STRUCTURE)),
        lost=next((each.lost for each in found if each.lost), ""),
    )


def _sum_of_outputs(model: nn.Module, given: Any) -> Tensor | None:
    """In the place of a loss: its graph is that of all outputs."""
    args, kwargs = given
    outputs = [t.sum() for _, t in tensors_in(model(*args, **kwargs)) if t.requires_grad]
    return torch.stack([t.double() for t in outputs]).sum() if outputs else None


def _prefixed(one: Structure, name: str) -> Structure:
    """With the model's name before those of its parts."""

    def path(part: str) -> str:
        return f"{name}.{part}" if part else name

    return Structure(
        tuple(replace(each, name=path(each.name), also=tuple(map(path, each.also))) for each in one.parts),
        tuple(replace(each, first=path(each.first), second=path(each.second)) for each in one.links),
        tuple(replace(each, first=path(each.first), second=path(each.second)) for each in one.dropped_norms),
        tuple(replace(each, owner=path(each.owner)) for each in one.hidden),
        tuple(replace(each, container=path(each.container)) for each in one.repeated),
    )


def _why_lost(error: BaseException) -> str:
    """Why a pass ended that could not compute without values; empty where the model itself is at fault."""
    kind = type(error).__name__
    if kind in ASKS_FOR_VALUES or any(words in str(error) for words in NO_VALUES):
        return "not all shapes, since its code asks for the values of tensors"
    if kind in UNKNOWN:
        return "not all shapes, since an operation of it is not known without values"
    return ""


class _WrongType(Exception):
    """A layer was given another type than it takes."""

    def __init__(self, crash: Crash) -> None:
        super().__init__(crash.message)
        self.crash = crash


def _strict(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, part) for name, part in model.named_modules() if isinstance(part, STRICT)]


def _types_of(name: str) -> Any:
    def types(part: nn.Module, args: Any, kwargs: Any) -> None:
        given = [tensor for _, tensor in tensors_in((args, kwargs))][:1]
        weight = next(iter(part.parameters(recurse=False)), None)
        if not given or weight is None or given[0].dtype == weight.dtype or torch.is_autocast_enabled("cpu"):
            return
        came, takes = (str(t.dtype).removeprefix("torch.") for t in (given[0], weight))
        message = f"the input is {came}, and the weights are {takes}"
        remedy = of_layer(part, given, "x", in_list=False)
        raise _WrongType(
            Crash(
                "RuntimeError", message, name, type(part).__name__, site_of(spot(2)), (tuple(given[0].shape),), (came,),
                remedy.expected, remedy.fix, "layer", remedy.why,
            )
        )  # fmt: skip

    return types

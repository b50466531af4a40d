"""Exceptions of torch's outside of layers and losses that are known by their words: backward passes, saved weights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

from torch import Tensor, nn

from stethoscope.facts.model import Crash
from stethoscope.observe.training.naming import holds_itself

OF_GRADIENTS = {
    "does not require grad": "The loss does not depend on any parameter by a way that has gradients: look for "
    "`detach`, `item`, `no_grad`, `argmax`, or a tensor that is built anew.",
    "modified by an inplace operation": "A value that the backward pass needs was changed in place after it was used: "
    "look for `+=`, `x[...] = ...`, and methods whose name ends in `_`, and write `x = x + ...` there.",
    "second time": "The graph of an earlier backward pass is part of this loss, and was freed: detach what is kept "
    "from one step to the next, and compute the loss anew for each step.",
    "only for scalar outputs": "The loss is no single number: take its mean.",
    "Found dtype": "Two numeric types meet in the loss: give the target the type of the output.",
}
"""What the errors of a backward pass mean, by some of their words."""
OF_GRADIENTS_CHANGED = {
    "modified by an inplace operation": "x = x + y  # in place of x += y",
    "second time": "state = state.detach()  # what is kept from one step to the next",
    "only for scalar outputs": "loss = loss.mean()",
    "Found dtype": "target = target.to(output.dtype)",
}
"""What is changed for that, as code; nothing where that depends on what was meant."""
OF_TENSORS = {
    "leaf Variable that requires grad is being used in an in-place operation": (
        "A tensor that gradients are asked for, such as a weight, is changed in place while they are recorded.",
        "with torch.no_grad():\n    weight.mul_(0.5)  # whatever changes it",
    ),
    "Can't call numpy() on Tensor that requires grad": (
        "The tensor is part of the graph of a loss, and NumPy knows of none.",
        ".detach().cpu().numpy()  # in place of .numpy()",
    ),
    "device type tensor to numpy": (
        "The tensor is on a device whose memory NumPy cannot read.",
        ".detach().cpu().numpy()  # in place of .numpy()",
    ),
    "optimizer got an empty parameter list": (
        (
            "What the optimizer is given holds no parameter: a generator, as `parameters()` is one, gives them "
            "once, and layers in a plain list or dict are no part of a module (`nn.ModuleList`, `nn.ModuleDict`)."
        ),
        "",
    ),
}
"""Cause and change for errors that any line may meet, by some of their words."""
_CHANGED = re.compile(r"Tensor \[([\d, ]*)\]\], which is output \d+ of (\w+?)(?:Backward\d*)?,")
_SIZES = re.compile(r"size mismatch for ([\w.]+): copying a param with shape torch\.Size\(\[([\d, ]*)\]\) from "
                    r"checkpoint, the shape in current model is torch\.Size\(\[([\d, ]*)\]\)")  # fmt: skip
TURNED = ("AsStrided", "T", "Permute", "Transpose")
"""Views by which a product takes a weight, as a backward pass names them."""
WRAPPED = ("module.", "_orig_mod.")
"""What DDP and `torch.compile` put in front of the names of what they wrap."""
NESTED = ("state_dict", "model_state_dict", "model", "net", "weights")
"""Where a checkpoint keeps a model's state, beside the epoch and the optimizer's."""


def of_gradients(message: str, shapes: Sequence[tuple[int, ...]]) -> tuple[str, str]:
    """Cause and change of a failed backward pass.

    Args:
        message: of the exception, whole.
        shapes: of the parameters that are known.
    """
    changed = _CHANGED.search(message)
    if changed is not None:
        shape, made = tuple(int(size) for size in changed[1].split(",") if size.strip()), changed[2]
        if made in TURNED and shape and (shape in shapes or shape[::-1] in shapes):
            why = f"A weight of shape {shape} or {shape[::-1]}, needed by the backward pass, was changed since the "
            fix = "first_loss.backward(retain_graph=True)\nsecond_loss.backward()  # both, and only then\n"
            fix += "first_optimizer.step()\nsecond_optimizer.step()"
            return f"{why}forward pass: an optimizer's `step()` ran between the two.", fix
        if made not in TURNED:
            why = (
                f"What `{made.lower()}` gave, {shape}, is needed by the backward pass, and was changed in place after "
            )
            why += "it: look for `+=`, `x[...] = ...`, and methods whose name ends in `_`."
            return why, OF_GRADIENTS_CHANGED["modified by an inplace operation"]
    return _by_words(message, OF_GRADIENTS), _by_words(message, OF_GRADIENTS_CHANGED)


def _by_words(message: str, said: Mapping[str, str]) -> str:
    return next((text for words, text in said.items() if words in message), "")


def of_words(plain: Crash, error: BaseException, frames: Sequence[FrameType], message: str) -> Crash | None:
    """What is known of an exception that came from no forward pass, loss or backward pass; None for nothing.

    Args:
        plain: what any exception says.
        error: itself.
        frames: of its traceback.
        message: whole.
    """
    if isinstance(error, RecursionError):
        return _of_cycle(plain, frames)
    for frame in frames:
        home, name = str(frame.f_globals.get("__name__")), frame.f_code.co_name
        known = frame.f_locals
        if home == "torch.nn.modules.module" and name == "load_state_dict" and frame is frames[-1]:
            return _of_state(plain, known.get("self"), known.get("state_dict"), message)
        if (
            home.startswith("torch.optim")
            and isinstance(error, TypeError)
            and isinstance(known.get("params"), nn.Module)
        ):
            kind = type(known.get("self")).__name__
            why = f"It is given a `{type(known['params']).__name__}` itself: an optimizer takes parameters."
            return replace(plain, during="use", kind=kind, why=why, fix=f"torch.optim.{kind}(model.parameters(), ...)")
    why, fix = of_tensors(message)
    return replace(plain, during="use", why=why, fix=fix) if why else None


def of_tensors(message: str) -> tuple[str, str]:
    """Cause and change of an error that any line may meet; empty where it is none of those."""
    return next((found for words, found in OF_TENSORS.items() if words in message), ("", ""))


def _of_cycle(plain: Crash, frames: Sequence[FrameType]) -> Crash | None:
    """A walk through a model that never ends, since a part of it holds the model."""
    for frame in frames:
        part = frame.f_locals.get("self")
        if str(frame.f_globals.get("__name__")) == "torch.nn.modules.module" and isinstance(part, nn.Module):
            path = holds_itself(part)
            if not path:
                return None
            name = path.rpartition(".")[2]
            why = f"`{path}` holds itself: `train`, `eval`, `to` and `state_dict` go through its parts with no "
            why += "end."
            fix = f'self.__dict__["{name}"] = {name}  # a reference, and no part'
            return replace(plain, during="use", kind=type(part).__name__, why=why, fix=fix)
    return None


def _of_state(plain: Crash, model: Any, state: Any, message: str) -> Crash | None:
    """Saved weights that do not fit the model they are loaded into."""
    if not isinstance(model, nn.Module) or not isinstance(state, Mapping) or not state:
        return None
    crash = replace(plain, during="use", kind=type(model).__name__)
    own, saved = dict.fromkeys(model.state_dict()), [str(name) for name in state]
    for prefix in WRAPPED:
        if all(name.startswith(prefix) for name in saved) and not any(name.startswith(prefix) for name in own):
            why = (
                f"All saved names begin with `{prefix}`, put there by a wrapper (DDP, `torch.compile`), those of this "
            )
            fix = f"state = {{name.removeprefix({prefix!r}): value for name, value in state.items()}}"
            return replace(crash, why=f"{why}model do not.", fix=fix)
    inner = next((name for name in NESTED if isinstance(state.get(name), Mapping)), "")
    if inner and set(map(str, state[inner])) & set(own):
        why = f"It is given a whole checkpoint; the model's state is its `{inner}`."
        return replace(crash, why=why, fix=f"model.load_state_dict(checkpoint[{inner!r}])")
    sizes = _SIZES.findall(message)
    if sizes:
        name, came, wanted = sizes[0]
        more = f", and {len(sizes) - 1} more" if len(sizes) > 1 else ""
        shape, fits = (tuple(int(size) for size in text.split(",") if size.strip()) for text in (came, wanted))
        dtype = str(state[name].dtype).removeprefix("torch.") if isinstance(state.get(name), Tensor) else ""
        why = f"`{name}` was saved as {shape}, and is {fits} in this model{more}: the model was built with other sizes."
        return replace(crash, why=why, expected=f"{fits}", input_shapes=(shape,), input_dtypes=(dtype,))
    return None

"""Every name of every part of a model: also of one that stands at several places, or that contains itself."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn import Parameter

ENDLESS = "a call that never ends: torch's `train()` and `eval()` are such where a part of the model holds the model"
"""What a `RecursionError` of an experiment means, as a clause."""


def every_name(module: nn.Module, path: str = "", above: tuple[nn.Module, ...] = ()) -> Iterator[tuple[str, nn.Module]]:
    """As `named_modules(remove_duplicate=False)`, which never ends where a part holds what holds it.

    A part that stands above itself is not walked into again: what is below it has its shorter names already.
    """
    yield path, module
    above = (*above, module)
    for name, part in module._modules.items():
        if part is not None and not any(part is one for one in above):
            yield from every_name(part, f"{path}.{name}" if path else name, above)


def every_parameter(module: nn.Module) -> Iterator[tuple[str, Parameter]]:
    """As `named_parameters(remove_duplicate=False)`, for such models, too."""
    for path, part in every_name(module):
        for name, parameter in part._parameters.items():
            if parameter is not None:
                yield f"{path}.{name}" if path else name, parameter


def written(module: nn.Module, most: int) -> str:
    """The model's structure as it prints itself; empty where it contains itself, and so cannot."""
    try:
        return repr(module)[:most]
    except RecursionError:
        return ""


def holds_itself(module: nn.Module) -> str:
    """Path of a part that is a model which holds it; empty where there is none."""
    waiting: list[tuple[str, nn.Module, tuple[nn.Module, ...]]] = [("", module, ())]
    done: set[int] = set()
    while waiting:
        path, part, above = waiting.pop()
        if any(part is one for one in above):
            return path
        if id(part) not in done:
            done.add(id(part))
            waiting += [
                (f"{path}.{name}" if path else name, each, (*above, part))
                for name, each in part._modules.items()
                if each is not None
            ]
    return ""

"""Full names: what imports mean, one spelling for what can be imported from several places, and `import *`."""

from __future__ import annotations

import builtins
import re
from functools import lru_cache

BUILTINS = frozenset(dir(builtins))

_SPELLINGS = (
    (re.compile(r"torch\.nn\.modules\.\w+\."), "torch.nn."),
    (re.compile(r"torch\.optim\.(?!lr_scheduler|swa_utils)[a-z]\w*\.(?=[A-Z])"), "torch.optim."),
    (re.compile(r"torch\.utils\.data\.(?:dataloader|dataset|sampler|distributed)\."), "torch.utils.data."),
    (re.compile(r"torch\.nn\.parameter\."), "torch.nn."),
    (re.compile(r"torch\.nn\.parallel\.(?:distributed|data_parallel)\."), "torch.nn.parallel."),
    (re.compile(r"torch\.nn\.utils\.clip_grad\."), "torch.nn.utils."),
    (re.compile(r"torch\.autograd\.(?:grad_mode|variable)\."), "torch.autograd."),
    (re.compile(r"torch\._C\._nn\."), "torch.nn.functional."),
    (re.compile(r"tensorflow\.(?:python\.)?(?:compat\.v\d\.)?keras\."), "keras."),
    (re.compile(r"tf_keras\."), "keras."),
    (re.compile(r"pytorch_lightning\b"), "lightning.pytorch"),
    (re.compile(r"lightning\.pytorch\.(?:core\.)?(?:module\.)?LightningModule"), "lightning.LightningModule"),
    (re.compile(r"lightning\.pytorch\.core\.lightning\.LightningModule"), "lightning.LightningModule"),
)
_EXACT = {
    "torch.nn.DataParallel": "torch.nn.parallel.DataParallel",
    "torch.no_grad": "torch.no_grad",
    "torch.autograd.no_grad": "torch.no_grad",
    "torch.autograd.inference_mode": "torch.inference_mode",
    "torch.autograd.enable_grad": "torch.enable_grad",
    "torch.autograd.set_grad_enabled": "torch.set_grad_enabled",
    "torch.special.softmax": "torch.softmax",
    "torch.special.log_softmax": "torch.log_softmax",
    "torch.special.expit": "torch.sigmoid",
    "torch.nn.functional.sigmoid": "torch.sigmoid",
    "torch.nn.functional.tanh": "torch.tanh",
}
_FIRST = frozenset({"torch", "tensorflow", "tf_keras", "pytorch_lightning", "lightning"})

STARS = {
    "torch.nn.functional": re.compile(r"[a-z]\w*"),
    "torch.nn": re.compile(r"[A-Z]\w*|functional|init|utils|parallel"),
    "torch.optim": re.compile(r"[A-Z]\w*|lr_scheduler"),
    "torch.optim.lr_scheduler": re.compile(r"[A-Z]\w*"),
    "torch.utils.data": re.compile(r"[A-Z]\w*|random_split"),
    "torch": re.compile(r"nn|optim|[a-z]\w*|Tensor"),
    "keras": re.compile(r"[A-Z]\w*|layers|models|losses|optimizers"),
    "keras.layers": re.compile(r"[A-Z]\w*"),
    "keras.models": re.compile(r"[A-Z]\w*|load_model"),
}
"""Packages of which everything may have been imported, and which names are then taken to be theirs."""
_HANDED_ON = {"torch": "torch", "nn": "torch.nn", "F": "torch.nn.functional", "optim": "torch.optim", "np": "numpy",
              "pd": "pandas"}  # fmt: skip
"""What modules that are meant for `import *` hand on: those of fastai, and `utils.py` of many a program for torch."""
_OF_OTHERS = frozenset({"chainer", "cupy", "flax", "jax", "jittor", "keras", "mindspore", "mlx", "mxnet", "oneflow",
                        "paddle", "pyspark", "sympy", "tensorflow", "tinygrad"})  # fmt: skip
"""Packages that have an `nn`, an `F` or an `optim` of their own."""


@lru_cache(maxsize=20_000)
def canonical(name: str) -> str:
    """The one spelling of a full name: `torch.optim.adam.Adam` is `torch.optim.Adam`."""
    if name.split(".", 1)[0] not in _FIRST:
        return name
    for pattern, spelling in _SPELLINGS:
        name, changed = pattern.subn(spelling, name, count=1) if pattern.match(name) else (name, 0)
        if changed:
            break
    return _EXACT.get(name, name)


def absolute(module: str | None, level: int, package: str) -> str:
    """The full name of a module that is imported from a file of a package: `from ..data import x`.

    Args:
        module: what stands behind the dots.
        level: how many dots there are.
        package: the dotted name of the file's own package; empty at the top.
    """
    if not level:
        return module or ""
    parts = package.split(".") if package else []
    kept = parts[: len(parts) - (level - 1)] if level > 1 else parts
    return ".".join([*kept, module] if module else kept)


def from_star(name: str, stars: tuple[str, ...], *, says_torch: bool = False) -> str:
    """The full name of something that nothing in the file defines, where modules were imported by `*`.

    Of the known packages the last that has such a name; else the last of the others. In a file that speaks of torch
    `nn`, `F` and `optim` are what everybody calls so.
    """
    for star in reversed(stars):
        pattern = STARS.get(star)
        if pattern is not None and pattern.fullmatch(name):
            return canonical(f"{star}.{name}")
        if name in _HANDED_ON and star.partition(".")[0] == "fastai":
            return _HANDED_ON[name]
    if says_torch and name in _HANDED_ON and not _OF_OTHERS & {star.partition(".")[0] for star in stars}:
        return _HANDED_ON[name]
    return next((f"{star}.{name}" for star in reversed(stars) if star not in STARS), "")

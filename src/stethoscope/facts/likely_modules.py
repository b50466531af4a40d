"""Classes that are modules by all that they show, where the class that they inherit from is not seen."""

from __future__ import annotations

import re

from stethoscope.facts.code import Class, Code
from stethoscope.facts.origins import bases, is_module, lineage
from stethoscope.facts.things import Thing

_OF_OTHERS = re.compile(
    r"(?:keras|tensorflow|tf_keras|flax|haiku|jax|equinox|paddle|mxnet|mindspore|jittor|oneflow|tinygrad|mlx|chainer|onnx"
    r"|torch\.autograd|torch\.utils|torch\.optim|pydantic|enum)(?:\.|$)|.*(?:Dataset|Trainer|Config|Function|Callback)$"
)
"""What is no module of torch's, whatever a class on top of it holds."""
_TORCH = re.compile(r"torch(?:\.nn(?:\..*)?)?")
_KNOWN = re.compile(
    r"(?:transformers\.(?:\w+\.)*\w*PreTrainedModel|diffusers\.(?:\w+\.)*ModelMixin|torch_geometric\.nn\.(?:\w+\.)*[A-Z]\w*"
    r"|(?:mmcv\.runner|mmengine\.model|mmcv\.runner\.base_module|mmengine\.model\.base_module)\.BaseModule"
    r"|fairseq\.models\.(?:\w+\.)*Fairseq(?:Incremental)?(?:Encoder|Decoder|Model|LanguageModel|EncoderDecoderModel)"
    r"|detectron2\.modeling\.(?:backbone\.(?:backbone\.)?)?Backbone"
    r"|(?:pytorch_lightning|lightning\.pytorch)\.(?:core\.(?:\w+\.)?)?LightningModule)"
)
"""Classes of libraries that are modules of torch's, and register nothing that a list holds."""
_BEGINS = re.compile(r"\bsuper\([\w\s,.]*\)\.__init__\(|\b[A-Z][\w.]*\.__init__\(\s*self\b")


def likely_modules_in(code: Code) -> tuple[Thing, ...]:
    """The classes of a file that are likely modules, and not certainly."""
    if "likely modules" not in code.memo:
        things = (Thing("class", cls.name, code, number) for number, cls in enumerate(code.classes))
        code.memo["likely modules"] = tuple(thing for thing in things if is_likely_module(thing))
    found: tuple[Thing, ...] = code.memo["likely modules"]
    return found


def is_likely_module(thing: Thing) -> bool:
    """Whether a class inherits from one that is not seen, lets it begin, and defines what runs a module of torch's."""
    if thing.cls is None or thing.code is None or is_module(thing) is not None:
        return False
    if any(_OF_OTHERS.match(name) for name in bases(thing)):
        return False
    seen = tuple(lineage(thing))
    runs = any("forward" in cls.methods for _, cls in seen)
    return runs and any(_uses_torch(home) and _begins(home, cls) for home, cls in seen)


def is_known_module(thing: Thing) -> bool:
    """Whether a likely module is one after all: it inherits from a class of a library that is known to be a module."""
    return any(_KNOWN.fullmatch(name) for name in bases(thing))


def _uses_torch(code: Code) -> bool:
    names = (name for name in code.names.values() if isinstance(name, str))
    return any(_TORCH.fullmatch(name) for name in names)


def _begins(code: Code, cls: Class) -> bool:
    """Whether the constructor of a class calls that of the class above, as a module has to before it holds layers."""
    number = cls.methods.get("__init__")
    return number is not None and code.matches(_BEGINS, code.functions[number].at)

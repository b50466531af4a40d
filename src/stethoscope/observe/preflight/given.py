"""A few training steps of a copy, from a model, a loss and data that somebody hands over."""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from stethoscope.core.errors import UsageError
from stethoscope.core.text import byte_size
from stethoscope.observe.model.apart import apart
from stethoscope.observe.model.capture import ROOM_FOR_COPIES
from stethoscope.observe.model.copies import copy_of
from stethoscope.observe.model.free_memory import free_memory
from stethoscope.observe.model.ingredients import GIVEN_LOSS, OWN_LOSS, Pass, Step, View, mapped, tensors_in
from stethoscope.observe.model.recipe import Recipe, clones
from stethoscope.observe.preflight.subject import Subject
from stethoscope.observe.preflight.training import needs_closure
from stethoscope.observe.training.keras_layers import is_keras
from stethoscope.observe.training.sites import is_users, shorten

MOST_BATCHES = 64
MOST_DRAWN_BYTES = 1 << 30
MOST_DRAWING_S = 5.0
"""No further batches are drawn after so much: two steps show most of what there is to see."""
MOST_MESSAGE = 200
USUAL_RATE = 1e-3
SPARSE_RATE = 0.1
TARGETS = ("labels", "label", "target", "targets", "y")
Loss = Callable[..., Tensor]


Taken = tuple[tuple[Any, ...], dict[str, Any], Any]
"""Arguments, keyword arguments and target."""


class _WithItsLoss(nn.Module):  # type: ignore[misc]
    """A model whose loss is computed by a closure of the model and a batch."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Any) -> Tensor:
        """The loss of a batch."""
        return self.loss(self.model, batch)


@dataclass(frozen=True)
class Given:
    """What was handed over, ready to train: copies, and the batches that were drawn."""

    model: nn.Module
    optimizer: Any
    loss: Loss | None
    """Of output and target; None where the model returns its loss."""
    batches: tuple[Taken, ...]
    """Arguments, keyword arguments and target of each forward pass."""
    path_of_loss: tuple[Any, ...] = ()
    """Where in what the model returns its loss stands."""
    lost_hooks: bool = False
    """Whether the model has forward hooks, which the copies do not."""

    def before_training(self) -> Callable[[], Subject]:
        """What gives the subject of experiments, also after the rehearsal."""
        subject = self.subject()
        return lambda: subject

    def rehearse(self) -> None:
        """Train the copy for a step on each batch, as a plain loop does."""
        asks = needs_closure(self.optimizer)
        for taken in self.batches:
            if asks:
                self.optimizer.step(lambda taken=taken: self._gradients(taken))
            else:
                self._gradients(taken)
                self.optimizer.step()

    def _gradients(self, taken: Taken) -> Tensor:
        self.optimizer.zero_grad()
        loss = loss_of_taken(self.loss, self.model, clones(taken))
        if not isinstance(loss, Tensor):
            raise UsageError(f"the loss should be a tensor, and is {kind_of(loss)}: do not call `.item()` in it")
        loss = loss if loss.dim() == 0 else loss.mean()
        loss.backward()
        return loss

    def subject(self) -> Subject:
        """The same without anything that was heard: the loss is any function."""
        function, options = (OWN_LOSS, {}) if self.loss is None else known_loss(self.loss)
        view = View((), "as it is", ())
        if self.loss is None and self.batches:
            view = View(self.path_of_loss, "as it is", ())
        steps = tuple(
            Step(number, [Pass(args, kwargs, True, True, function, options, target, False, view, factor=1.0)])
            for number, (args, kwargs, target) in enumerate(self.batches)
        )
        return Subject(*copy_of(self.model, self.optimizer), Recipe(steps=steps))


MODULES = {
    nn.CrossEntropyLoss: ("cross_entropy", ("weight", "ignore_index", "reduction", "label_smoothing")),
    nn.NLLLoss: ("nll_loss", ("weight", "ignore_index", "reduction")),
    nn.BCELoss: ("binary_cross_entropy", ("weight", "reduction")),
    nn.BCEWithLogitsLoss: ("binary_cross_entropy_with_logits", ("weight", "reduction", "pos_weight")),
    nn.MSELoss: ("mse_loss", ("reduction",)),
    nn.L1Loss: ("l1_loss", ("reduction",)),
    nn.SmoothL1Loss: ("smooth_l1_loss", ("reduction", "beta")),
    nn.HuberLoss: ("huber_loss", ("reduction", "delta")),
}
"""Loss modules, the functions that they call, and with what."""


def known_loss(loss: Loss) -> tuple[str, dict[str, Any]]:
    """Name and options of a loss of torch's, or any function as an option."""
    if type(loss) in MODULES:
        function, names = MODULES[type(loss)]
        return function, {name: getattr(loss, name) for name in names}
    name = getattr(loss, "__name__", "")
    if getattr(torch.nn.functional, name, None) is loss:
        return name, {}
    return GIVEN_LOSS, {"loss": loss}


def given(model: Any, loss: Any, data: Any, optimizer: Any, *, most: int = MOST_BATCHES) -> Given:
    """Copies of what was handed over, with at most 64 batches.

    Args:
        model: a module; in a batch of a mapping its keys are the keyword arguments.
        loss: a function of output and target, a function of model and batch, or None where the model returns it.
        data: a batch, or anything that gives batches: (input, target), (input, input, ..., target), or a mapping.
        optimizer: an optimizer of that model; Adam with a rate of 0.001 when None.
        most: batches that are drawn at most.

    Raises: UsageError when something of it is of another kind.
    """
    whole, own_loss, batches = drawn_from(model, loss, data, optimizer, most=most)
    if any(p.is_meta for p in whole.parameters()):
        raise UsageError("parameters of the model are on the device `meta` and hold no values: load them first")
    new, again = _copied(whole, optimizer, batches[0])
    path = _path_of_loss(new, batches[0]) if loss is None else ()
    return Given(new, again, copy.deepcopy(own_loss), tuple(batches), path, _hooks(whole) > _hooks(new))


def drawn_from(
    model: Any, loss: Any, data: Any, optimizer: Any, *, most: int = MOST_BATCHES
) -> tuple[nn.Module, Loss | None, list[Taken]]:
    """The model itself, the loss of its output (None where the model returns it), and at most so many batches.

    A model whose loss is a closure of the model and a batch is given back together with that.

    Raises: UsageError when something of it is of another kind.
    """
    model = getattr(model, "_orig_mod", model)  # what `torch.compile` gave: copies are not compiled each by itself
    _check_kinds(model, loss, optimizer)
    drawn = draw(data, model, loss, most)
    closure = loss is not None and takes_model(loss)
    batches = [((batch,), {}, None) if closure else _taken_apart(batch, model, loss is None) for batch in drawn]
    return _WithItsLoss(model, loss) if closure else model, None if closure else loss, batches


def loss_of_taken(loss: Loss | None, model: nn.Module, taken: Taken) -> Tensor:
    """The loss of what was drawn. Raises: UsageError when the model is to return it, and does not."""
    args, kwargs, target = taken
    output = model(*args, **kwargs)
    return _returned_loss(output) if loss is None else as_heard(loss)(output, target)


def as_heard(loss: Loss) -> Loss:
    """A function of `torch.nn.functional`, looked up by its name: what was taken from there before is not heard."""
    if isinstance(loss, functools.partial):
        return functools.partial(as_heard(loss.func), *loss.args, **loss.keywords)
    if getattr(loss, "__module__", "") != "torch.nn.functional":
        return loss
    found: Loss = getattr(torch.nn.functional, loss.__name__, loss)
    return found


def why_not_copied(model: Any) -> str:
    """Why no copies of a model can be trained, as a clause; empty when they can, or it is no model."""
    if not isinstance(model, nn.Module) or is_keras(model):
        return ""
    tensors = [*model.parameters(), *model.buffers()]
    if any(tensor.is_meta for tensor in tensors):
        return "parameters of the model are on the device `meta` and hold no values"
    known = [tensor for tensor in tensors if not nn.parameter.is_lazy(tensor)]
    size = sum(tensor.numel() * tensor.element_size() for tensor in known)
    free = free_memory(known[0].device) if known else None
    if free is not None and ROOM_FOR_COPIES * size > free:
        return (
            f"the model takes {byte_size(size)}, copies that are trained {ROOM_FOR_COPIES} times as much, and "
            f"{byte_size(free)} are free"
        )
    return ""


def _hooks(model: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())


def _check_kinds(model: Any, loss: Any, optimizer: Any) -> None:
    """Raises: UsageError for what is no model, loss or optimizer."""
    if not isinstance(model, nn.Module):
        raise UsageError(f"check() takes a torch.nn.Module as its model, and got {kind_of(model)}")
    if any(isinstance(part, torch.jit.ScriptModule) for part in model.modules()):
        raise UsageError("the model was compiled by torch.jit and cannot be copied: check the module it was made of")
    if loss is not None and (not callable(loss) or isinstance(loss, type)):
        raise UsageError(f"check() takes a function or a loss module as its loss, and got {kind_of(loss)}")
    if optimizer is not None and not hasattr(optimizer, "param_groups"):
        raise UsageError(f"check() takes a torch.optim.Optimizer as its optimizer, and got {kind_of(optimizer)}")


def kind_of(thing: Any) -> str:
    """What something is, in words."""
    if isinstance(thing, type):
        return f"the class {thing.__name__} itself: make one of it, `{thing.__name__}(...)`"
    return type(thing).__name__


def _copied(whole: nn.Module, optimizer: Any, batch: Taken) -> tuple[nn.Module, Any]:
    """Copies of model and optimizer, with lazy parameters made by a batch. Raises: UsageError when there are none."""
    lazy = any(nn.parameter.is_lazy(p) for p in whole.parameters())
    try:
        with apart():
            new, again = copy_of(whole, optimizer if optimizer is not None or lazy else _usual(whole))
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"experiments are made on copies, and {_uncopied(whole)} cannot be copied: {error}") from error
    if lazy:
        with apart(), torch.no_grad():
            try:
                new(*clones(batch[0]), **clones(batch[1]))
            except Exception as error:
                raise UsageError(f"the lazy parameters cannot be made by the first batch: {error}") from error
    return new, again if again is not None else _usual(new)


def _uncopied(whole: nn.Module) -> str:
    """Which attribute keeps a model from being copied."""
    for name, part in whole.named_modules():
        for attribute, value in vars(part).items():
            if attribute in ("_parameters", "_buffers", "_modules") or isinstance(value, nn.Module):
                continue
            try:
                copy.deepcopy(value)
            except Exception:
                return f"`{name.removeprefix('model.')}{'.' if name else ''}{attribute}` of the model"
    return "the model"


def _usual(model: nn.Module) -> Any:
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise UsageError("the model has no trainable parameter, so there is nothing to check")
    if any(isinstance(m, nn.Embedding | nn.EmbeddingBag) and m.sparse for m in model.modules()):
        return torch.optim.SGD(trained, lr=SPARSE_RATE)  # Adam takes no sparse gradients
    return torch.optim.Adam(trained, lr=USUAL_RATE)


def draw(data: Any, model: nn.Module, loss: Any, most: int) -> list[Any]:
    """At most so many batches. Raises: UsageError when there are none."""
    drawn: list[Any] = []
    held, began = 0, time.perf_counter()
    with apart():
        try:
            for batch in itertools.islice(_batches(data, model, loss), most):
                drawn.append(mapped(batch, _alone))
                held += sum(t.numel() * t.element_size() for _, t in tensors_in(batch))
                if held > MOST_DRAWN_BYTES or time.perf_counter() - began > MOST_DRAWING_S:
                    break
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"the data raised {in_words(error)}, when batch {len(drawn) + 1} was drawn") from error
    if not drawn:
        raise UsageError("check() was given no batch: the data is empty")
    for number, batch in enumerate(drawn):
        tensors = [tensor for _, tensor in tensors_in(dict(batch) if isinstance(batch, Mapping) else batch)]
        if tensors and not any(tensor.numel() for tensor in tensors):
            raise UsageError(f"batch {number + 1} of the data holds no sample")
        if not tensors and not (loss is not None and takes_model(loss)):
            parts = (
                batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else [batch]
            )
            kinds = " and ".join(dict.fromkeys(type(part).__name__ for part in parts))
            raise UsageError(
                f"a batch should hold tensors, and holds {kinds}: convert them with `torch.as_tensor` as training does"
            )
        _refuse_samples(data, batch, loss)
    return drawn


def _refuse_samples(data: Any, batch: Any, loss: Any) -> None:
    """A data set gives single samples where a loader gives batches; losses of torch's take no plain numbers."""
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        return
    target = batch[-1]
    of_torch = type(loss).__module__.startswith("torch.nn") or getattr(loss, "__module__", "") == "torch.nn.functional"
    is_number = isinstance(target, int | float)
    is_single = is_number or (isinstance(target, Tensor) and not target.dim())
    if (isinstance(data, IterableDataset) and is_single) or (of_torch and is_number):
        raise UsageError(WRAP)


def _alone(leaf: Any) -> Any:
    """A copy of a tensor without the graph behind it, which asks for gradients if the tensor did."""
    return leaf.detach().clone().requires_grad_(leaf.requires_grad) if isinstance(leaf, Tensor) else leaf


WRAP = "the data is a data set, which gives single samples: pass `DataLoader(dataset, batch_size=32, shuffle=True)`"


def in_words(error: BaseException) -> str:
    """Type, message and line of an exception of the user's code."""
    place = ""
    tb = error.__traceback__
    while tb is not None:
        if is_users(tb.tb_frame.f_code):
            place = f" ({shorten(tb.tb_frame.f_code.co_filename)}:{tb.tb_lineno})"
        tb = tb.tb_next
    message = " ".join(str(error).split())[:MOST_MESSAGE]
    return f"{type(error).__name__}{': ' if message else ''}{message}{place}"


def _batches(data: Any, model: nn.Module, loss: Any) -> Iterable[Any]:
    if isinstance(data, Tensor | Mapping) or (_is_dataclass(data) and not isinstance(data, Iterator)):
        return [data]
    if isinstance(data, tuple | list) and is_batch(data, model, loss):
        return [data]
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        raise UsageError(WRAP)
    if isinstance(data, Iterable):
        return data
    raise UsageError(f"check() takes a batch or a loader as its data, and got {kind_of(data)}")


def _is_dataclass(value: Any) -> bool:
    return hasattr(value, "__dataclass_fields__") and not isinstance(value, type)


def is_batch(data: Any, model: nn.Module, loss: Any) -> bool:
    """Whether a tuple or list is one batch, and not several."""
    if not data:
        return False
    first = data[0]
    if isinstance(first, tuple | list | Mapping) or _is_dataclass(first):
        # ((x, mask), y) is one batch: its parts differ; [(x, y), (x, y)] are two.
        return len(data) > 1 and isinstance(data[-1], Tensor) and not isinstance(first, Tensor)
    alike = all(isinstance(part, Tensor) and part.shape == first.shape and part.dtype == first.dtype for part in data)
    if not isinstance(data, list) or not alike or not isinstance(first, Tensor):
        return isinstance(first, Tensor | int | float | str) or hasattr(first, "__array__")
    # A list of tensors that are all alike: a batch only if the model takes so many.
    return len(data) > 1 and not (loss is not None and takes_model(loss)) and accepts(model, len(data) - 1)


def accepts(model: nn.Module, count: int, names: Iterable[str] = ()) -> bool:
    """Whether the model's `forward` takes so many arguments, and those with these names."""
    try:
        forward: Any = model.call if is_keras(model) else model.forward
        inspect.signature(forward).bind(*range(count), **dict.fromkeys(names))
    except TypeError:
        return False
    except ValueError:
        pass
    return True


def takes_model(loss: Any) -> bool:
    """Whether a function asks for a model and a batch."""
    if isinstance(loss, nn.Module):
        return False
    try:
        names = list(inspect.signature(loss).parameters)
    except (TypeError, ValueError):
        return False
    return bool(names) and names[0] in ("model", "net", "network", "module")


def _taken_apart(batch: Any, model: nn.Module, has_own_loss: bool) -> Taken:
    """What the model and the loss are given of a batch."""
    if _is_dataclass(batch) and not isinstance(batch, Mapping):
        if accepts(model, 1) and has_own_loss:
            return (batch,), {}, None
        batch = dict(vars(batch))
    if isinstance(batch, Mapping):
        kwargs = dict(batch)
        if has_own_loss:
            return _fitting(model, kwargs, None)
        for name in TARGETS:
            if name in kwargs:
                target = kwargs.pop(name)
                return _fitting(model, kwargs, target)
        raise UsageError(
            f"a batch has the keys {', '.join(map(str, kwargs))}; one of them should be `labels` or `target`"
        )
    if has_own_loss:
        args = (batch,) if isinstance(batch, Tensor) else tuple(batch)
        if not accepts(model, len(args)):
            raise UsageError(
                f"no loss was given, so that the model is called with all {len(args)} parts of a batch to return its "
                f"loss; `{type(model).__name__}.forward` does not take as many: pass a loss function"
            )
        return args, {}, None
    if isinstance(batch, Tensor):
        return (batch,), {}, batch
    if not isinstance(batch, tuple | list) or not batch:
        raise UsageError(f"a batch should be (input, target), and is {kind_of(batch)}")
    *inputs, target = batch
    return (tuple(inputs) or (target,)), {}, target


def _fitting(model: nn.Module, kwargs: dict[str, Any], target: Any) -> Taken:
    """The parts of a mapping as the model's parameters; where it has no such ones, its only part, or all as one."""
    if accepts(model, 0, map(str, kwargs)):
        return (), kwargs, target
    if accepts(model, 1):
        return (next(iter(kwargs.values())) if len(kwargs) == 1 else kwargs,), {}, target
    return (), kwargs, target


def _returned_loss(output: Any) -> Tensor:
    numbers = [t for _, t in tensors_in(output) if t.numel() == 1 and t.is_floating_point()]
    if not numbers:
        raise UsageError("no loss was given, and the model returns none: pass a loss function")
    return numbers[0].reshape(())


def _path_of_loss(model: nn.Module, batch: Taken) -> tuple[Any, ...]:
    args, kwargs, _ = batch
    try:
        with apart():
            output = copy.deepcopy(model)(*clones(args), **clones(kwargs))
    except (Exception, SystemExit):  # the rehearsal fails likewise, and says so
        return ()
    paths = [path for path, t in tensors_in(output) if t.numel() == 1 and t.is_floating_point()]
    return paths[0] if paths else ()

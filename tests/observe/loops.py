"""Small training loops, right and wrong, each in a few lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loop = Callable[[nn.Module, torch.optim.Optimizer, Iterator[tuple[Tensor, Tensor]], int], None]


def make_loop(name: str, steps: int) -> nn.Module:
    """Build a model and train it for some steps with the loop of this name."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    kind = torch.optim.LBFGS if name == "closure" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=0.1)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield torch.randn(8, 4), torch.randint(0, 2, (8,))

    LOOPS[name](model, optimizer, batches(), steps)
    return model


def _plain(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: Iterator[tuple[Tensor, Tensor]], steps: int
) -> None:
    for _ in range(steps):
        x, y = next(data)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


def _loop(
    before: Callable[[nn.Module, torch.optim.Optimizer], None] = lambda m, o: None,
    between: Callable[[nn.Module, torch.optim.Optimizer], None] = lambda m, o: None,
    after: Callable[[nn.Module, torch.optim.Optimizer], None] = lambda m, o: None,
    backwards: int = 1,
    step: bool = True,
) -> Loop:
    def run(
        model: nn.Module, optimizer: torch.optim.Optimizer, data: Iterator[tuple[Tensor, Tensor]], steps: int
    ) -> None:
        for _ in range(steps):
            before(model, optimizer)
            for _ in range(backwards):
                x, y = next(data)
                F.cross_entropy(model(x), y).backward()
            between(model, optimizer)
            if step:
                optimizer.step()
            after(model, optimizer)

    return run


def _clear(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()


def _clip(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)


def _to_none(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for parameter in model.parameters():
        parameter.grad = None


def _old_style(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.data.zero_()


def _closure(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: Iterator[tuple[Tensor, Tensor]], steps: int
) -> None:
    x, y = next(data)

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(evaluate)


def _scaled(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: Iterator[tuple[Tensor, Tensor]], steps: int
) -> None:
    scaler = torch.amp.GradScaler("cpu")
    for _ in range(steps):
        x, y = next(data)
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(model(x), y)).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()


def _sharpness_aware(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: Iterator[tuple[Tensor, Tensor]], steps: int
) -> None:
    for _ in range(steps):
        x, y = next(data)
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            moves = [0.05 * p.grad for p in model.parameters() if p.grad is not None]
            for p, move in zip(model.parameters(), moves, strict=True):
                p.add_(move)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for p, move in zip(model.parameters(), moves, strict=True):
                p.sub_(move)
        optimizer.step()
        optimizer.zero_grad()


def _two_optimizers(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: Iterator[tuple[Tensor, Tensor]], steps: int
) -> None:
    """As in a GAN: the second one's loss also leaves gradients in the first one's parameters."""
    front = nn.Linear(4, 4)
    other = torch.optim.SGD(front.parameters(), lr=0.1)
    for _ in range(steps):
        x, y = next(data)
        optimizer.zero_grad()
        F.cross_entropy(model(front(x).detach()), y).backward()
        optimizer.step()
        other.zero_grad()
        F.cross_entropy(model(front(x)), y).backward()
        other.step()


def _frozen(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: Iterator[tuple[Tensor, Tensor]], steps: int
) -> None:
    next(iter(model.children())).requires_grad_(False)
    _plain(model, optimizer, data, steps)


def _assigned(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: Iterator[tuple[Tensor, Tensor]], steps: int
) -> None:
    parameters = list(model.parameters())
    for _ in range(steps):
        x, y = next(data)
        for p, gradient in zip(parameters, torch.autograd.grad(F.cross_entropy(model(x), y), parameters), strict=True):
            p.grad = gradient
        optimizer.step()


LOOPS: dict[str, Loop] = {
    "plain": _plain,
    "zero_grad after the step": _loop(after=_clear),
    "zero_grad with zeros": _loop(before=lambda m, o: o.zero_grad(set_to_none=False)),
    "model.zero_grad": _loop(before=lambda m, o: m.zero_grad()),
    "grad = None by hand": _loop(before=_to_none),
    "p.grad.data.zero_()": _loop(before=_old_style),
    "accumulation of 3": _loop(before=_clear, backwards=3),
    "clipping": _loop(before=_clear, between=_clip),
    "closure": _closure,
    "two backward passes": _loop(before=_clear, backwards=2),
    "gradient scaler": _scaled,
    "sharpness-aware": _sharpness_aware,
    "two optimizers": _two_optimizers,
    "frozen layer": _frozen,
    "gradient assigned by hand": _assigned,
    "never cleared": _loop(),
    "never cleared, accumulation of 2": _loop(backwards=2),
    "never cleared, clipped": _loop(between=_clip),
    "cleared before the step": _loop(between=_clear),
    "no backward": _loop(backwards=0),
    "no step": _loop(before=_clear, step=False),
}

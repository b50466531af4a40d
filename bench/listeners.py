"""What a training step is listened to with: nothing, Stethoscope, and what people use today."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from workloads import Workload

import stethoscope

AfterStep = Callable[[int, torch.Tensor], None]
"""Called after each step with its number and its loss."""

LONGEST_OPENING = 1000
"""Steps after which a block begins even if no look has been taken within the budget."""


class Listener:
    """A way to listen; `on` is the time during which it does."""

    def __init__(self, name: str, needs: str = "") -> None:
        self.name = name
        self.needs = needs
        self.estimates: list[float] = []
        """What it says of its own cost, a share for each block."""

    @property
    def is_missing(self) -> bool:
        """Whether the package that it needs is not installed."""
        return bool(self.needs) and find_spec(self.needs) is None

    @contextmanager
    def on(self, work: Workload) -> Iterator[AfterStep]:
        """Listen to a workload that runs inside."""
        yield nothing


def nothing(step: int, loss: torch.Tensor) -> None:
    """After a step: nothing."""


class Stethoscope(Listener):
    """`stethoscope.watch`, with a run folder, timed after its opening."""

    def __init__(self, name: str, every: int) -> None:
        super().__init__(name)
        self.every = every

    @contextmanager
    def on(self, work: Workload) -> Iterator[AfterStep]:
        with tempfile.TemporaryDirectory() as folder:
            handle = stethoscope.watch(work.model, work.optimizer, every=self.every, store=folder)
            _run_through_opening(handle, work)
            yield nothing
            handle.stop()
            self.estimates.append(handle.history.sampling.estimated_cost)


def _run_through_opening(handle: stethoscope.Watch, work: Workload) -> None:
    """Step until looks come as the budget has them, then a part of a gap, so that a block begins anywhere in one."""
    for step in range(LONGEST_OPENING):
        work.step()
        if step % 50 == 49:
            sampling = handle.history.sampling
            if sampling.every or sampling.looks > sampling.burst_looks:
                break
    looks = handle.history.telemetry.steps
    for _ in range(random.randrange(int(looks[-1] - looks[-2]) if len(looks) > 1 else 1)):
        work.step()


class Histograms(Listener):
    """TensorBoard histograms of all weights and gradients."""

    def __init__(self, every: int) -> None:
        super().__init__(f"TensorBoard histograms, {'each step' if every == 1 else f'every {every}'}", "tensorboard")
        self.every = every

    @contextmanager
    def on(self, work: Workload) -> Iterator[AfterStep]:
        from torch.utils.tensorboard import SummaryWriter

        with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:

            def write(step: int, loss: torch.Tensor) -> None:
                if step % self.every == 0:
                    for name, parameter in work.model.named_parameters():
                        writer.add_histogram(name, parameter, step)
                        if parameter.grad is not None:
                            writer.add_histogram(f"{name}.grad", parameter.grad, step)

            yield write


class WandbWatch(Listener):
    """`wandb.watch(log="all")` offline, with the loss logged at every step."""

    def __init__(self, every: int) -> None:
        super().__init__(f"wandb.watch(log='all', log_freq={every}), offline", "wandb")
        self.every = every

    @contextmanager
    def on(self, work: Workload) -> Iterator[AfterStep]:
        import wandb

        os.environ.setdefault("WANDB_SILENT", "true")
        with tempfile.TemporaryDirectory() as folder:
            run = wandb.init(mode="offline", dir=folder, project="overhead", reinit="finish_previous")
            run.watch(work.model, log="all", log_freq=self.every)
            yield lambda step, loss: run.log({"loss": loss.item()})
            run.unwatch(work.model)
            run.finish()


class AnomalyMode(Listener):
    """`torch.autograd.set_detect_anomaly(True)`."""

    @contextmanager
    def on(self, work: Workload) -> Iterator[AfterStep]:
        with torch.autograd.set_detect_anomaly(True):
            yield nothing


class ItemHooks(Listener):
    """Hooks on every layer and parameter that call `.item()`, as debugging advice has them."""

    @contextmanager
    def on(self, work: Workload) -> Iterator[AfterStep]:
        kept: list[float] = []

        def look(module: object, args: object, output: object) -> None:
            if isinstance(output, torch.Tensor):
                kept.extend((output.mean().item(), output.std().item(), output.abs().max().item()))

        leaves = [module for module in work.model.modules() if not list(module.children())]
        hooks = [leaf.register_forward_hook(look) for leaf in leaves]

        def norms(step: int, loss: torch.Tensor) -> None:
            kept.extend(p.grad.norm().item() for p in work.model.parameters() if p.grad is not None)
            kept.clear()

        yield norms
        for hook in hooks:
            hook.remove()


def listeners() -> list[Listener]:
    """All of them; the bare loop is first."""
    return [
        Listener("nothing"),
        Stethoscope("stethoscope, default (1 %)", every=0),
        Stethoscope("stethoscope --every 1", every=1),
        Histograms(every=1),
        Histograms(every=50),
        WandbWatch(every=50),
        AnomalyMode("anomaly mode"),
        ItemHooks(".item() hooks"),
    ]

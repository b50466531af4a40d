"""What a run was made of, as torch knows it: models, optimizers, loaders, seed, results."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, SequentialSampler

from stethoscope.facts.results import results_of as results_of
from stethoscope.observe.training.naming import written
from stethoscope.observe.training.session import Session
from stethoscope.observe.training.sites import called_from_keras, spot
from stethoscope.observe.training.state import State
from stethoscope.observe.training.workers import draws_of

if TYPE_CHECKING:
    from stethoscope.observe.arrays.session import ArraySession

UNSET_SEED = 67280421310721
"""The seed that torch starts with when nobody sets one (`default_rng_seed_val` in ATen)."""
MOST_LOADERS = 20
MOST_WRITTEN = 20_000
"""Characters of a model's structure that are kept."""
_COUNTED = (DistributedSampler, RandomSampler, SequentialSampler)
"""Samplers of torch's that say how much they draw; asking another one may do anything."""


class LoaderTap:
    """Notes the settings of each data loader when it is first iterated."""

    def __init__(self) -> None:
        self.loaders: list[dict[str, Any]] = []
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()
        self._original: Callable[..., Any] | None = None
        self._tapped: Callable[..., Any] | None = None

    def put_on(self, session: Session) -> None:
        """Start noting."""
        original = DataLoader.__iter__
        guard = session.state.guard("data loaders")
        note, begins = guard(self._iterated), guard(functools.partial(_begins, session.state))
        workers = session.state.guard("workers of data loaders")(
            functools.partial(_workers, session.state, weakref.WeakSet())
        )

        @functools.wraps(original)
        def tapped(loader: Any) -> Any:
            note(loader)
            begins(loader)
            workers(loader)
            return original(loader)

        self._original, self._tapped = original, tapped
        DataLoader.__iter__ = tapped

    def take_off(self) -> None:
        """Put the original back."""
        if self._original is not None and DataLoader.__iter__ is self._tapped:
            DataLoader.__iter__ = self._original

    def _iterated(self, loader: Any) -> None:
        if loader in self._known or len(self.loaders) >= MOST_LOADERS or called_from_keras():
            return  # Keras's own loaders say nothing: what is asked of `fit` is kept with the run
        self._known.add(loader)
        shuffle = _shuffles(loader)
        length = len(loader.dataset) if hasattr(loader.dataset, "__len__") else None
        self.loaders.append(
            {
                "dataset": type(loader.dataset).__name__,
                "samples": length,
                "batch_size": loader.batch_size,
                "shuffle": shuffle if shuffle is not None else type(loader.sampler).__name__,
                "workers": loader.num_workers,
                "drop_last": loader.drop_last,
            }
        )


def _shuffles(loader: Any) -> bool | None:
    """Whether a loader draws its samples in random order; None where a sampler of another kind decides."""
    sampler = loader.sampler
    return True if isinstance(sampler, RandomSampler) else False if isinstance(sampler, SequentialSampler) else None


def _begins(state: State, loader: Any) -> None:
    """A loader begins: what becomes of its first batches is worth a look."""
    if state.epoch_batches < 0 and isinstance(loader.sampler, _COUNTED):
        state.epoch_batches = _batches_of(loader)
    if state.streams.begins(loader.dataset, spot(3), _shuffles(loader), _order(loader)):
        state.attend()


def _batches_of(loader: Any) -> int:
    """How many batches an epoch has; -1 where a sampler of batches does not say."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return -1


def _order(loader: Any) -> tuple[int, int] | None:
    """Seed and epoch from which a distributed sampler draws its order; None where no such one does."""
    sampler = loader.sampler
    if not isinstance(sampler, DistributedSampler) or not sampler.shuffle:
        return None
    return sampler.seed, sampler.epoch


def _workers(state: State, known: weakref.WeakSet[Any], loader: Any) -> None:
    """The first time that a loader begins: do its workers draw the same random numbers?"""
    if loader not in known and len(state.worker_draws) < MOST_LOADERS:
        known.add(loader)
        state.worker_draws += draws_of(loader, state.streams.now, spot(3))


def models_of(session: Session | ArraySession) -> tuple[dict[str, Any], ...]:
    """Name, structure and parameter counts of each model; the structure is the module's own text."""
    described = []
    for entry, fact in zip(session.state.book.models, session.state.book.model_facts(), strict=True):
        module = entry.module()
        described.append(
            {
                "name": fact.name,
                "parameters": fact.num_parameters,
                "trainable": fact.num_trainable,
                "structure": written(module, MOST_WRITTEN) if module is not None else "",
            }
        )
    return tuple(described)


def optimizers_of(session: Session | ArraySession) -> tuple[dict[str, Any], ...]:
    """Class and settings of each optimizer."""
    return tuple(
        {"kind": entry.kind, "groups": [dict(group) for group in entry.groups]} for entry in session.state.optimizers
    )


def torch_seed() -> int | None:
    """The seed that the script gave torch, or None."""
    seed = torch.initial_seed()
    return None if seed == UNSET_SEED else seed

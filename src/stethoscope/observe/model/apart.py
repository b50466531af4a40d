"""Keeps experiments apart from the user's process: its random states, its output, its gradient mode."""

from __future__ import annotations

import contextlib
import io
import random
import sys
import warnings
from collections.abc import Iterator

import torch
from torch import nn

from stethoscope.observe.model.keras_copy import KerasCopy
from stethoscope.observe.model.recipe import DROPOUTS


@contextlib.contextmanager
def measuring(model: nn.Module) -> Iterator[None]:
    """No gradients, and no dropout."""
    changed = [part for part in model.modules() if isinstance(part, DROPOUTS) and part.training]
    for part in changed:
        part.training = False
    dropout = 0.0
    if isinstance(model, KerasCopy):
        dropout, model.dropout = model.dropout, 0.0
    try:
        with torch.no_grad():
            yield
    finally:
        if isinstance(model, KerasCopy):
            model.dropout = dropout
        for part in changed:
            part.training = True


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Random states are put back, gradients are on, and what the model's code prints or warns of is not shown."""
    numpy = sys.modules.get("numpy")
    states = (random.getstate(), torch.get_rng_state(), numpy.random.get_state() if numpy else None)
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    try:
        with (
            torch.enable_grad(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(states[0])
        torch.set_rng_state(states[1])
        if numpy is not None and states[2] is not None:
            numpy.random.set_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


def seed(number: int) -> None:
    """The same random numbers for both arms of a pair."""
    random.seed(number)
    torch.manual_seed(number)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(number)

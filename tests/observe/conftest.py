"""A session on this very process, with its taps put on for a test and taken off after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from stethoscope.observe.model.capture import Capture
from stethoscope.observe.training.session import Session
from stethoscope.observe.training.taps import Taps

Listening = Callable[..., Any]


@contextmanager
def listened(*, capture: bool = False, **options: Any) -> Iterator[Session]:
    """A session that hears everything inside the block, and captures steps if asked to."""
    session = Session(capture=Capture() if capture else None, **options)
    taps = Taps(session)
    taps.put_on()
    try:
        yield session
    finally:
        taps.take_off()


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def listening() -> Listening:
    """`with listening(every=1) as session:`."""
    return listened

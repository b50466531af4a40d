"""What holds for every test: it leaves nothing behind in the process that the next one runs in."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator, Iterator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays until the end: to look for circles in it is a quarter of the collecting."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_sessionfinish() -> None:
    """What is frozen when Python ends is told as leaked by modules in C++."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _nothing_stays_compiled() -> Iterator[None]:
    """A model that was compiled in this process would change how every later one is listened to."""
    yield
    compiler = sys.modules.get("torch._dynamo.eval_frame")
    if getattr(compiler, "cached_backends", None):
        sys.modules["torch"].compiler.reset()
        gc.collect()

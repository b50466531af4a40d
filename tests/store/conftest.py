"""A small run to write and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from stethoscope.facts.code import Site
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import Batches, Curve, History, Layer, Optimizer, Parameter
from stethoscope.store.writer import RunWriter

Start = Callable[..., RunWriter]


@pytest.fixture
def history() -> History:
    return History(
        steps=3,
        finished=False,
        layers=(Layer("net.0", "Linear", order=0, output_shape=(8, 4)),),
        parameters=(Parameter("net.0.weight", (4, 2), layer=0),),
        optimizers=(Optimizer("SGD", site=Site("train.py", 7), groups=({"lr": 0.1, "nesterov": False},)),),
        curves=(Curve("training loss", "loss", "training"),),
        batches=Batches(steps=np.array([0, 2])),
    )


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Begins runs, and ends them when the test is over."""
    begun: list[RunWriter] = []

    def create(store: Path = tmp_path / "runs", **settings: object) -> RunWriter:
        writer = RunWriter.create(store, RunRecord(command=("train.py",)), **settings)  # type: ignore[arg-type]
        begun.append(writer)
        return writer

    yield create
    for writer in begun:
        writer.close()

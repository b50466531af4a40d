"""What a loader's workers are found to draw from; no worker is started."""

from __future__ import annotations

import functools
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, get_worker_info

from stethoscope.observe.training.workers import draws_of

RNG = np.random.default_rng(0)


class Data(Dataset[Any]):
    def __init__(self, transform: Any = None, rng: Any = None) -> None:
        self.transform, self.rng = transform, rng

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return self.transform(index) if self.transform else index


class Draws(Data):
    def __getitem__(self, index: int) -> Any:
        return self.helper(index)

    def helper(self, index: int) -> Any:
        return self.rng.random() + index


class Reseeds(Draws):
    def set_epoch(self, epoch: int) -> None:
        self.rng = np.random.default_rng(epoch)


class AsksTheWorker(Draws):
    def __getitem__(self, index: int) -> Any:
        info = get_worker_info()
        return self.rng.random() + (info.id if info else 0)


class Jitter:
    def __init__(self) -> None:
        self.source = random.Random(0)

    def __call__(self, x: int) -> float:
        return x + self.source.random()


class Chain:
    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)

    def __call__(self, x: Any) -> Any:
        for step in self.steps:
            x = step(x)
        return x


def from_the_module(x: int) -> float:
    return x + RNG.random()


def from_numpy(x: int) -> float:
    return x + np.random.uniform()


def from_torch(x: int) -> torch.Tensor:
    return x + torch.randn(1)


def same_for_all(worker: int) -> None:
    np.random.seed(0)


def set_seed(seed: int) -> None:
    np.random.seed(seed)
    random.seed(seed)


def same_by_a_helper(worker: int) -> None:
    set_seed(42)


def by_number(worker: int) -> None:
    np.random.seed(worker)


def by_torch(worker: int) -> None:
    np.random.seed(torch.initial_seed() % 2**32)


def renew(worker: int) -> None:
    info = get_worker_info()
    info.dataset.rng = np.random.default_rng(info.seed)  # type: ignore[union-attr]


def found(data: Any, workers: int = 2, **settings: Any) -> list[tuple[str, str, str, str]]:
    loader: DataLoader[Any] = DataLoader(data, num_workers=workers, **settings)
    return [(each.how, each.kind, each.owner, each.name) for each in draws_of(loader, 0, None)]


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_generator_of_the_data_set_is_found_behind_helpers_and_subsets() -> None:
    expected = [("generator", "numpy.random.Generator", "Draws", "rng")]
    assert found(Draws(rng=generator())) == expected
    assert found(Subset(Draws(rng=generator()), [0, 1])) == expected
    assert found(Draws(rng=torch.Generator()))[0][1] == "torch.Generator"
    assert found(Draws(rng=np.random.RandomState(0)))[0][1] == "numpy.random.RandomState"


def test_the_line_that_draws_is_named() -> None:
    (fact,) = draws_of(DataLoader(Draws(rng=generator()), num_workers=2), 0, None)
    assert fact.drawn_at is not None
    assert "self.rng.random()" in fact.drawn_at.text


def test_generators_of_transforms_modules_and_closures_are_found() -> None:
    rng = generator()
    assert found(Data(Chain(Jitter()))) == [("generator", "random.Random", "Jitter", "source")]
    assert found(Data(from_the_module)) == [("generator", "numpy.random.Generator", "", "RNG")]
    assert found(Data(lambda x: x + rng.random())) == [("generator", "numpy.random.Generator", "", "rng")]
    assert found(Data(), collate_fn=lambda rows: rng.random())[0][3] == "rng"


def test_a_worker_init_that_seeds_all_alike_is_found_where_a_sample_is_drawn() -> None:
    assert found(Data(from_numpy), worker_init_fn=same_for_all) == [("seeding", "numpy.random", "", "same_for_all")]
    assert found(Data(from_numpy), worker_init_fn=same_by_a_helper)[0][0] == "seeding"
    assert found(Data(from_numpy), worker_init_fn=lambda worker: np.random.seed(3))[0][0] == "seeding"
    assert found(Data(from_torch), worker_init_fn=lambda worker: torch.manual_seed(3))[0][1] == "torch"


@pytest.mark.parametrize(
    ("data", "settings"),
    [
        pytest.param(Data(from_numpy), {}, id="the global generator"),
        pytest.param(Data(rng=generator()), {}, id="a generator that makes no sample"),
        pytest.param(Draws(rng=np.random.mtrand._rand), {}, id="the global generator by another name"),
        pytest.param(Draws(rng=random.SystemRandom()), {}, id="the system's randomness"),
        pytest.param(Draws(rng=generator()), {"workers": 1}, id="one worker"),
        pytest.param(Draws(rng=generator()), {"workers": 0}, id="no worker"),
        pytest.param(Draws(rng=generator()), {"worker_init_fn": renew}, id="made anew in each worker"),
        pytest.param(Reseeds(rng=generator()), {}, id="made anew by a method"),
        pytest.param(AsksTheWorker(rng=generator()), {}, id="knows its worker"),
        pytest.param(Data(from_numpy), {"worker_init_fn": by_number}, id="seeded by number"),
        pytest.param(Data(from_numpy), {"worker_init_fn": by_torch}, id="seeded by torch"),
        pytest.param(Data(from_numpy), {"worker_init_fn": functools.partial(by_number)}, id="a partial"),
        pytest.param(Data(from_torch), {"worker_init_fn": same_for_all}, id="another library is seeded"),
        pytest.param([1, 2, 3], {}, id="a list"),
    ],
)
def test_healthy_loaders_are_not_named(data: Any, settings: dict[str, Any]) -> None:
    assert found(data, **settings) == []


def test_no_random_number_is_drawn_and_nothing_of_the_users_is_called() -> None:
    rng = generator()
    before = (torch.get_rng_state(), str(rng.bit_generator.state), random.getstate())
    draws_of(DataLoader(Draws(rng=rng), num_workers=2), 0, None)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (str(rng.bit_generator.state), random.getstate()) == before[1:]

"""Distributed samplers that are followed from the loop to where they are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from code_programs import code_of
from stethoscope.core.settings import Settings
from stethoscope.linting import lint
from stethoscope.rules.data.distributed_sampler_epoch import DistributedSamplerEpoch

IMPORTS = """
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler
from tqdm import tqdm
import torch.nn.functional as F
"""
STEP = """
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
"""


def is_told(text: str) -> bool:
    """Whether a sampler of a text is named."""
    return any(hasattr(one, "title") for one in DistributedSamplerEpoch().in_code(code_of(IMPORTS + text)))


@pytest.mark.parametrize(
    ("train", "test", "told"), [("True", "False", True), ("False", "False", False), ("shuffled", "False", False)]
)
def test_a_function_that_makes_loaders_for_several_uses(train: str, test: str, told: bool) -> None:
    text = f"""
def loader_of(data, shuffle):
    return DataLoader(data, batch_size=32, sampler=DistributedSampler(data, shuffle=shuffle))

def main(model, data, held_out, optimizer, shuffled):
    loader, other = loader_of(data, {train}), loader_of(held_out, {test})
    for epoch in range(10):
            for x, y in loader:{STEP}
"""
    assert is_told(text) is told


@pytest.mark.parametrize(("asked", "told"), [('mode == "train"', True), ('mode == "test"', False), ("mode", False)])
def test_a_sampler_that_shuffles_for_training(asked: str, told: bool) -> None:
    text = f"""
def main(model, data, optimizer, mode):
    loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data, shuffle={asked}))
    for epoch in range(10):
            for x, y in loader:{STEP}
"""
    assert is_told(text) is told


@pytest.mark.parametrize(("key", "told"), [('"train"', True), ("phase", True), ('"test"', False)])
def test_loaders_in_a_dict(key: str, told: bool) -> None:
    text = f"""
def main(model, data, held_out, optimizer, phase):
    loaders = {{
        "train": DataLoader(data, batch_size=32, sampler=DistributedSampler(data)),
        "test": DataLoader(held_out, batch_size=32),
    }}
    for epoch in range(10):
            for x, y in loaders[{key}]:{STEP}
"""
    assert is_told(text) is told


def test_a_loader_that_gets_a_bar_of_progress() -> None:
    text = f"""
class Trainer:
    def __init__(self, data):
        self.loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data))

    def epoch(self, model, optimizer, rank):
            if rank == 0:
                self.loader = tqdm(self.loader)
            for x, y in self.loader:{STEP}

    def fit(self, model, optimizer, rank):
        for epoch in range(10):
            self.epoch(model, optimizer, rank)
"""
    assert is_told(text)


DATA = """
from torch.utils.data import DataLoader, DistributedSampler

def loaders(data, held_out):
    sampler = DistributedSampler(data)
    return DataLoader(data, batch_size=32, sampler=sampler), DataLoader(held_out, batch_size=32), sampler
"""
TRAIN = f"""
import torch.nn.functional as F
from data import loaders

def train(model, loader, optimizer):
            for x, y in loader:{STEP}

def main(model, data, held_out, optimizer):
    loader, other, sampler = loaders(data, held_out)
    for epoch in range(10):
        train(model, loader, optimizer)
"""


@pytest.mark.parametrize(
    ("there", "here", "told"),
    [
        ("", "", True),
        ("", "        sampler.set_epoch(epoch)\n", False),
        ("def tell(loader, epoch): loader.sampler.set_epoch(epoch)", "", False),
    ],
)
def test_loaders_that_another_file_of_the_project_makes(
    there: str, here: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.py").write_text(DATA + there, "utf-8")
    (tmp_path / "train.py").write_text(TRAIN + here, "utf-8")
    monkeypatch.chdir(tmp_path)

    findings = lint(".", settings=Settings(), processes=1).findings

    places = [(one.place.file, one.chain[0].place.file) for one in findings if one.rule == DistributedSamplerEpoch.name]
    assert places == ([("train.py", "data.py")] if told else [])

"""The fix of a sampler that is never told the epoch stands where these are counted, with the names of that place."""

from __future__ import annotations

import pytest

from code_programs import IMPORTS, code_of
from stethoscope.core.finding import Finding
from stethoscope.rules.data.distributed_sampler_epoch import DistributedSamplerEpoch

EPOCH = """
def train_one_epoch(model, batches, optimizer):
    for x, y in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

def train(model, loader, optimizer):
    for number in range(9):
        train_one_epoch(model, loader, optimizer)
"""
MAIN = """
from torch.utils.data.distributed import DistributedSampler

def loader_of(data):
    sampler = DistributedSampler(data)
    return DataLoader(data, batch_size=32, sampler=sampler)

def main(model, data, optimizer):
    train(model, loader_of(data), optimizer)
"""


def _fix(text: str) -> str:
    (found,) = (one for one in DistributedSamplerEpoch().in_code(code_of(text)) if isinstance(one, Finding))
    return found.fixes[0].text


def test_a_loader_has_the_name_by_which_it_is_handed_over() -> None:
    assert _fix(IMPORTS + EPOCH + MAIN) == (
        "Tell it in each round of the loop over the epochs on line 13:\n    loader.sampler.set_epoch(number)"
    )


def test_the_file_is_named_that_counts_the_epochs() -> None:
    files = f"# file: engine.py\n{IMPORTS}{EPOCH}\n# file: main.py\n{IMPORTS}from engine import train\n{MAIN}"
    assert _fix(files) == (
        "Tell it in each round of the loop over the epochs on engine.py:13:\n    loader.sampler.set_epoch(number)"
    )


@pytest.mark.parametrize("given", ["model, loader, optimizer", "model, optimizer=optimizer, batches=loader"])
def test_by_place_or_by_keyword(given: str) -> None:
    assert "loader.sampler.set_epoch" in _fix(
        IMPORTS + EPOCH.replace("model, loader, optimizer)\n", f"{given})\n") + MAIN
    )

"""Distributed samplers behind functions, classes and steps that are seen in part, and how they are to be told."""

from __future__ import annotations

import textwrap

import pytest

from code_programs import SHOWN, code_of, how_sure
from stethoscope.core.finding import Finding, Sureness
from stethoscope.rules.data.distributed_sampler_epoch import DistributedSamplerEpoch

IMPORTS = """
from torch.utils.data import DataLoader, RandomSampler
from torch.utils.data.distributed import DistributedSampler
import torch.nn.functional as F

"""
STEP = "optimizer.zero_grad(); F.cross_entropy(model(x), y).backward(); optimizer.step()"
POSSIBLE = Sureness.POSSIBLE.strength


def sure(text: str) -> int:
    """How sure the rule is of a program."""
    return how_sure(DistributedSamplerEpoch, IMPORTS + textwrap.dedent(text).replace("STEP", STEP))


BEHIND = {
    "a function that gives loaders on two ways": (
        """
        def loader_of(data, several, in_order):
            if several:
                sampler = DistributedSampler(data, shuffle=True)
                return DataLoader(data, sampler=sampler)
            else:
                return DataLoader(data, shuffle=True)

        def main(model, data, optimizer, several):
            loader = loader_of(data, several, False)
            for epoch in range(9):
                for x, y in loader: STEP
        """,
        "sampler = DistributedSampler(data, shuffle=True)",
        "sampler = DistributedSampler(data, shuffle=False)",
    ),
    "a function that gives samplers": (
        """
        def sampler_of(data, several):
            if not several:
                return RandomSampler(data)
            return DistributedSampler(data)

        def main(model, data, optimizer, several):
            loader = DataLoader(data, sampler=sampler_of(data, several))
            for epoch in range(9):
                for x, y in loader: STEP
        """,
        "return DistributedSampler(data)",
        "return RandomSampler(data)",
    ),
    "a step that is not seen, which is given the loss and the optimizer": (
        """
        def train(model, loader, optimizer, scaler):
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                scaler(loss, optimizer, parameters=model.parameters())

        def main(model, data, optimizer, scaler):
            loader = DataLoader(data, sampler=DistributedSampler(data))
            for epoch in range(9):
                train(model, loader, optimizer, scaler)
        """,
        "scaler(loss, optimizer, parameters=model.parameters())",
        "print(loss.item())",
    ),
    "a function with a loop of its own that goes backward as well": (
        """
        def penalize(parts):
            for one in parts:
                one.penalty().backward()

        def main(model, data, optimizer):
            loader = DataLoader(data, sampler=DistributedSampler(data))
            for epoch in range(9):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    penalize(model.parts)
                    optimizer.step()
        """,
        "optimizer.zero_grad()",
        "optimizer.zero_grad(); loader.sampler.set_epoch(epoch)",
    ),
    "a loader of the project's own class": (
        """
        class Loader(DataLoader):
            def __iter__(self):
                return iter(list(super().__iter__()))

        def main(model, data, optimizer):
            loader = Loader(data, sampler=DistributedSampler(data))
            for epoch in range(9):
                for x, y in loader: STEP
        """,
        "return iter(list(super().__iter__()))",
        "self.sampler.set_epoch(0); return iter(list(super().__iter__()))",
    ),
    "an attribute that gets a part of what a function gives": (
        """
        class Trainer:
            def __init__(self, model, loader, optimizer):
                self.model, self.optimizer = model, optimizer
                self.loader = loader
                if optimizer:
                    self.loader, self.sampler = self.spread(loader)

            def spread(self, loader):
                sampler = DistributedSampler(loader.dataset)
                return DataLoader(loader.dataset, sampler=sampler), sampler

            def epoch(self):
                model, optimizer = self.model, self.optimizer
                for x, y in self.loader: STEP

            def fit(self):
                for epoch in range(9):
                    self.epoch()
        """,
        "DistributedSampler(loader.dataset)",
        "DistributedSampler(loader.dataset, shuffle=False)",
    ),
    "shuffled unless somebody says otherwise": (
        """
        def fit(model, data, optimizer, shuffle=True):
            loader = DataLoader(data, sampler=DistributedSampler(data, shuffle=shuffle))
            for epoch in range(9):
                for x, y in loader: STEP
        """,
        "shuffle=True",
        "shuffle=False",
    ),
}


@pytest.mark.parametrize("name", BEHIND)
def test_a_sampler_is_found_behind_what_is_seen_in_part_and_not_where_it_is_told(name: str) -> None:
    text, faulty, healthy = BEHIND[name]

    assert faulty in text
    assert sure(text.replace(faulty, healthy)) < POSSIBLE < SHOWN <= sure(text)


UNSEEN = {
    "an option that is not seen": ("DataLoader(data, sampler=DistributedSampler(data, shuffle=options.shuffle))"),
    "a loader of another package": "fast.FastLoader(data, sampler=DistributedSampler(data))",
}


@pytest.mark.parametrize(("shuffle", "shown"), [("False", False), ("sampler is None", True)])
def test_who_goes_in_order_in_one_process_may_want_it_in_many(shuffle: str, shown: bool) -> None:
    text = f"""
        def main(model, data, optimizer, several):
            if several:
                sampler = DistributedSampler(data)
            else:
                sampler = None
            loader = DataLoader(data, sampler=sampler, shuffle={shuffle})
            for epoch in range(9):
                for x, y in loader: STEP
        """

    assert (sure(text) >= SHOWN) is shown
    assert sure(text) >= POSSIBLE


@pytest.mark.parametrize("name", UNSEEN)
def test_what_is_not_seen_to_shuffle_or_not_to_be_told_is_possible_at_most(name: str) -> None:
    text = f"""
        import fast

        def main(model, data, optimizer, options):
            loader = {UNSEEN[name]}
            for epoch in range(9):
                for x, y in loader: STEP
        """

    assert sure(text) == POSSIBLE
    assert sure(text.replace("for x, y", "loader.sampler.set_epoch(epoch)\n                for x, y")) < POSSIBLE


def test_torch_by_way_of_a_file_of_which_all_names_are_taken() -> None:
    text = f"""
        # file: tools.py
        import torch
        # file: train.py
        from tools import *
        import torch.nn.functional as F

        def main(model, data, optimizer):
            batches = torch.utils.data.BatchSampler(torch.utils.data.distributed.DistributedSampler(data), 4, True)
            loader = torch.utils.data.DataLoader(data, batch_sampler=batches)
            for epoch in range(9):
                for x, y in loader: {STEP}
        """
    told = text.replace("for x, y", "batches.sampler.set_epoch(epoch)\n                for x, y")

    assert how_sure(DistributedSamplerEpoch, text) >= SHOWN
    assert how_sure(DistributedSamplerEpoch, told) < POSSIBLE


GUARD = "if isinstance(sampler, DistributedSampler):\n        sampler.set_epoch(epoch)"
BOTH = "sampler = DistributedSampler(data) if several else RandomSampler(data)"
BRANCH = """if several:
        sampler = DistributedSampler(data)
    else:
        sampler = None"""
TOLD = {
    "by its name": ("sampler = DistributedSampler(data)", "for i in range(9)", "    sampler.set_epoch(i)"),
    "one of two": (BOTH, "for epoch in range(9)", f"    {GUARD}"),
    "made in a branch": (BRANCH, "for epoch in range(9)", f"    {GUARD}"),
    "thrown away": (
        "sampler = DistributedSampler(data)",
        "for _ in range(first, 9)",
        "    for epoch in range(first, 9):\n        sampler.set_epoch(epoch)",
    ),
    "of a bar of progress": (
        "sampler = DistributedSampler(data)", "for _ in tqdm(range(9))",
        "    for epoch in tqdm(range(9)):\n        sampler.set_epoch(epoch)",
    ),
    "of a bar that counts": (
        "rounds = trange(first, 9)\n    sampler = DistributedSampler(data)", "for _ in rounds",
        "    for epoch in rounds:\n        sampler.set_epoch(epoch)",
    ),
    "one of two, thrown away": (
        BOTH, "for _ in range(9)",
        f"    for epoch in range(9):\n        {GUARD}".replace("\n        s", "\n            s"),
    ),
    "not counted": ("sampler = DistributedSampler(data)", "while first", "    sampler.set_epoch(epoch)"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_the_fix_names_the_number_of_the_epoch_and_asks_which_sampler_it_is(name: str) -> None:
    made, head, lines = TOLD[name]
    text = f"""{IMPORTS}
from tqdm import tqdm, trange

def main(model, data, optimizer, several, first):
    {made}
    loader = DataLoader(data, sampler=sampler)
    {head}:
        for x, y in loader: {STEP}
"""

    found = [one for one in DistributedSamplerEpoch().in_code(code_of(text)) if isinstance(one, Finding)]

    assert [one.fixes[0].text.split(":\n", 1)[1] for one in found] == [lines]

"""A distributed sampler that is never told the epoch."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Call, Code, Site
from stethoscope.facts.flow import Stream
from stethoscope.facts.loops import Loop
from stethoscope.facts.loops_elsewhere import loops_elsewhere
from stethoscope.facts.rounds import rounds_of
from stethoscope.facts.sample_order import draws_its_samples
from stethoscope.facts.samplers import (
    Made,
    distributed_sampler,
    is_for_one_process,
    is_handed_again,
    is_made_again,
    is_of_new_data,
    is_refused,
    is_repeated,
    is_switched_off,
    is_vague,
    sampler_handed,
)
from stethoscope.facts.told_elsewhere import is_told_in, is_told_or_done_otherwise
from stethoscope.facts.training import History
from stethoscope.rules.lines import place_in, where
from stethoscope.rules.sites import code, place_at
from stethoscope.rules.telling import telling

_STEPS = re.compile(r"step\w*\(|optim", re.I)
"""Words of a loop that trains, also by a function that is not seen."""
_TELL_IT = "Tell it in each epoch, where there is one:\n"
_LEAVE_IT = "Leave the sampler away, so that the one process goes over all samples, and shuffle:\n"


def _drawn(times: int, orders: int, use: str = "training") -> History:
    """A run whose sampler drew so many times, so many different orders."""
    stream = Stream(0, use, samples=1400, loader_site=Site("train.py", 20), drawn=times, orders=orders)
    return History(steps=200, streams=(stream,))


class DistributedSamplerEpoch(Rule):
    """A `DistributedSampler` is not told the epoch, and gives the same order in each.

    ## What it sees
    A training loop inside of another, over a loader with a `DistributedSampler` that shuffles, and no `set_epoch` in
    this file nor in those that it imports; also where the inner loop stands in an imported file that is handed the
    loader, or hands a loss and the optimizer to something that is not seen. In a run: a loader whose sampler draws the
    same order each time it begins.
    ## Why it hurts
    The sampler seeds its shuffling with the epoch's number, which stays 0: all epochs go through the same batches in
    the same order, on the same workers.
    ## How to fix it
    `sampler.set_epoch(epoch)` at the begin of each epoch, behind `if isinstance(sampler, DistributedSampler):` where it
    may be another one. With `nn.DataParallel` one process trains, which such a sampler gives its share of the data
    only: there, leave it away.
    ## When it is not a fault
    A sampler with `shuffle=False`, or one epoch only; a seed for each epoch; Accelerate or Fabric, which tell the
    sampler by themselves; a sampler on a way of a function that the call which gives the loader does not take, by its
    constants: `load(data, spread=False)`. None of these is reported. A program of one process, which such a sampler
    refuses, is possible at most, as is a loop that hands its number and the loader to something unseen, or changes its
    data, a sampler that is made only where a parameter asks for it, which no call gives, one of which it is not seen
    whether it shuffles, a data set that draws its samples itself and goes by no index, and a loader of another package,
    which may tell it by itself.
    ## Sources
    PyTorch documentation, `torch.utils.data.distributed.DistributedSampler`: "Otherwise, the same ordering will be
    always used".
    """

    severity = Severity.WARNING
    reads = ("loop",)

    fewest = Limit(3, unit="passes over the data", why="a run may be tried on twice the same order")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Count the orders that were drawn."""
        drawn = [stream for stream in seen.streams if stream.use == "training" and stream.drawn]
        if not drawn:
            yield self.cannot_tell("no distributed sampler that shuffles was seen")
        for stream in drawn:
            if stream.drawn < self.fewest or stream.orders > 1:
                continue
            yield self.finding(
                f"the distributed sampler gave the same order in {stream.drawn} epochs",
                sureness=Sureness.CERTAIN,
                place=place_at(stream.loader_site),
                evidence=[
                    Evidence(
                        "different orders of the training data",
                        f"{stream.orders} in {stream.drawn} epochs",
                        "one for each epoch",
                        "the seed and the epoch that it draws from",
                    )
                ],
                cause="It shuffles by the epoch's number, which it was never told: every epoch has the same order.",
                fixes=[_TELL_IT + code("distributed_sampler.set_epoch(epoch)")],
            )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow the loader of each training loop to its sampler."""
        is_there = file.and_linked_say("DistributedSampler")
        if not is_there or is_told_in(file):
            return
        told = set()
        for loop, by, (home, sampler) in _repeated(file):
            if sampler.at in told or (home is not file and is_told_in(home)):
                continue
            if sampler.argument(4, "seed") is not None and is_made_again((home, sampler)):
                continue  # each epoch has a sampler with another seed
            told.add(sampler.at)
            cause = "It shuffles by the epoch's number, which stays 0: every epoch has the same order."
            fix = telling(file, loop, (home, sampler), by)
            if is_for_one_process(file, (home, sampler)):
                cause += (
                    " And `nn.DataParallel` trains in one process, which gets this sampler's share of the data alone."
                )
                fix = _LEAVE_IT + code("DataLoader(..., shuffle=True)")
            yield self.finding(
                "the distributed sampler is never told the epoch",
                sureness=Sureness.POSSIBLE if _is_doubtful(file, loop, (home, sampler)) else Sureness.CERTAIN,
                place=place_in(file, sampler.at if home is file else loop.at if by is None else by.at),
                evidence=[
                    Evidence(f"calls of `set_epoch` for the loop at {where(loop.code, loop.at)}", 0, "1 an epoch")
                ],
                cause=cause,
                fixes=[fix],
                chain=[
                    Link(place_in(home, sampler.at), "the sampler is made"),
                    Link(place_in(loop.code, loop.at), "the loop goes over its loader, again in each epoch"),
                ],
            )

    bad = Examples(lambda: {"three epochs of one order": _drawn(3, 1), "told nothing in ten": _drawn(10, 1)})
    good = Examples(
        lambda: {
            "told": _drawn(10, 10),
            "told now and then": _drawn(10, 2),
            "twice the same": _drawn(2, 1),
            "no such sampler": _drawn(0, 0),
            "validated only": _drawn(10, 1, use="validation"),
        }
    )
    bug = Bug(
        """
        import torch
        from sklearn.datasets import load_digits
        from torch import nn
        from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

        torch.manual_seed(SEED)
        raw = load_digits()
        x = torch.tensor(raw.data / 16, dtype=torch.float32)
        y = torch.tensor(raw.target)
        data = TensorDataset(x[:1400], y[:1400])
        sampler = DistributedSampler(data, num_replicas=1, rank=0, seed=SEED)
        loader = DataLoader(data, batch_size=32, sampler=sampler)
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(8):
            # add: sampler.set_epoch(epoch)
            for images, labels in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
        with torch.no_grad():
            print((model(x[1400:]).argmax(1) == y[1400:]).float().mean())
        """
    )
    bad_code = {
        "never told": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def main(model, data, optimizer):
                sampler = DistributedSampler(data)  # bad
                loader = DataLoader(data, batch_size=32, sampler=sampler)
                for epoch in range(10):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "a function that makes the loader, a class that trains": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            class Trainer:
                def __init__(self, model, loader, optimizer):
                    self.model, self.loader, self.optimizer = model, loader, optimizer

                def step(self, x, y):
                    self.optimizer.zero_grad()
                    F.cross_entropy(self.model(x), y).backward()
                    self.optimizer.step()

                def epoch(self):
                    for x, y in self.loader:
                        self.step(x, y)

                def train(self, epochs):
                    for epoch in range(epochs):
                        self.epoch()

            def loader_of(data):
                return DataLoader(data, batch_size=32, sampler=DistributedSampler(data))  # bad

            def main(model, data, optimizer):
                Trainer(model, loader_of(data), optimizer).train(10)
            """,
        "an iterator that begins anew": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def main(model, data, optimizer, steps):
                sampler = DistributedSampler(data)  # bad
                loader = DataLoader(data, batch_size=32, sampler=sampler)
                batches = iter(loader)
                for step in range(steps):
                    try:
                        x, y = next(batches)
                    except StopIteration:
                        batches = iter(loader)
                        x, y = next(batches)
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "an iterator of each epoch": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def main(model, data, optimizer):
                loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data))  # bad
                for epoch in range(10):
                    batches = iter(loader)
                    for step in range(len(loader)):
                        x, y = next(batches)
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "a class that says what it is given": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            class Trainer:
                def __init__(self, model, loader: DataLoader, optimizer: torch.optim.Optimizer):
                    self.model, self.loader, self.optimizer = model, loader, optimizer

                def train(self, epochs):
                    for epoch in range(epochs):
                        for x, y in self.loader:
                            self.optimizer.zero_grad()
                            F.cross_entropy(self.model(x), y).backward()
                            self.optimizer.step()

            def main(model, data, optimizer):
                sampler = DistributedSampler(data)  # bad
                loader = DataLoader(data, batch_size=32, sampler=sampler)
                Trainer(model, loader, optimizer).train(10)
            """,
        "a bar of progress, and functions that make samplers and loaders": """
            from torch.utils.data import DataLoader, WeightedRandomSampler
            from torch.utils.data.distributed import DistributedSampler
            from tqdm import tqdm
            import torch.nn.functional as F

            def samplers(args, data, held_out, weights):
                if args.distributed:
                    first, second = DistributedSampler(data), DistributedSampler(held_out)  # bad
                else:
                    first, second = WeightedRandomSampler(weights, len(data)), None
                return first, second

            def loaders(data, held_out, first, second):
                return DataLoader(data, sampler=first), DataLoader(held_out, sampler=second)

            def main(args, model, data, held_out, weights, optimizer):
                first, second = samplers(args, data, held_out, weights)
                loader, other = loaders(data, held_out, first, second)
                for epoch in range(args.epochs):
                    batches = tqdm(enumerate(loader)) if args.verbose else enumerate(loader)
                    for step, (x, y) in batches:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "one of two samplers, and a function that trains": """
            from torch.utils.data import DataLoader, RandomSampler
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def train(loader, model, optimizer):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()

            def main(args, model, data, optimizer):
                if args.distributed:
                    sampler = DistributedSampler(data)  # bad
                else:
                    sampler = None
                loader = DataLoader(data, batch_size=32, shuffle=sampler is None, sampler=sampler)
                for epoch in range(args.epochs):
                    train(loader, model, optimizer)
            """,
        "options in a dict": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def main(model, data, optimizer, epochs):
                sampler = DistributedSampler(data)  # bad
                options = {"batch_size": 32, "sampler": sampler}
                options.update({"num_workers": 2, "shuffle": False})
                loader = DataLoader(data, **options)
                for epoch in range(epochs):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "a sampler of batches": """
            from torch.utils.data import BatchSampler, DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def main(model, data, optimizer, epochs):
                sampler = DistributedSampler(data)  # bad
                loader = DataLoader(data, batch_sampler=BatchSampler(sampler, 32, drop_last=True))
                for epoch in range(epochs):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "one of two kinds of loaders": """
            from nvidia.dali.plugin.pytorch import DALIClassificationIterator
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def main(model, data, optimizer, pipe, epochs):
                if pipe is None:
                    sampler = DistributedSampler(data)  # bad
                    loader = DataLoader(data, batch_size=32, sampler=sampler)
                else:
                    loader = DALIClassificationIterator(pipe)
                for epoch in range(epochs):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "asked whether it could be told": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def main(model, data, optimizer, epochs):
                sampler = DistributedSampler(data)  # bad
                print("shuffles anew:", hasattr(sampler, "set_epoch"))
                loader = DataLoader(data, batch_size=32, sampler=sampler)
                for epoch in range(epochs):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
    }
    good_code = {
        "told": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def main(model, data, optimizer):
                sampler = DistributedSampler(data)
                loader = DataLoader(data, batch_size=32, sampler=sampler)
                for epoch in range(10):
                    sampler.set_epoch(epoch)
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "told by its name": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def main(model, data, optimizer):
                options = {"batch_size": 32, "sampler": DistributedSampler(data)}
                loader = DataLoader(data, **options)
                for epoch in range(10):
                    tell = getattr(loader.sampler, "set_epoch", None)
                    if tell is not None:
                        tell(epoch)
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "options without order": """
            from torch.utils.data import BatchSampler, DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def main(model, data, optimizer):
                batches = BatchSampler(DistributedSampler(data, shuffle=False), 32, False)
                options = dict(batch_sampler=batches, num_workers=2)
                loader = DataLoader(data, **options)
                for epoch in range(10):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
        "an iterator of one epoch": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def main(model, data, optimizer):
                loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data))
                batches = iter(loader)
                for step in range(len(loader)):
                    x, y = next(batches)
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "one epoch, or no shuffling": """
            from torch.utils.data import DataLoader
            from torch.utils.data.distributed import DistributedSampler
            import torch.nn.functional as F

            def once(model, data, optimizer):
                loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data))
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()

            def ordered(model, data, optimizer):
                loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data, shuffle=False))
                for epoch in range(10):
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(model(x), y).backward()
                        optimizer.step()
            """,
    }


def _is_doubtful(file: Code, loop: Loop, made: Made) -> bool:
    """Whether it may be no training of several processes and epochs, or something unseen may tell the epoch."""
    is_off = is_refused(file, made) or is_switched_off(file, made)
    is_drawn = draws_its_samples(made[0], made[1].argument(0, "dataset"))
    return is_off or is_drawn or is_vague(made) or is_told_or_done_otherwise(file, loop, made[1])


def _repeated(file: Code) -> Iterator[tuple[Loop, Call | None, Made]]:
    """The training loops that go over their data again and again, one of another file with the call of this file which
    hands it its data, and the distributed sampler of these.
    """
    for loop in rounds_of(file):
        made = distributed_sampler(file, loop) if _may_step(loop) else None
        if made is not None and is_repeated(file, loop) and not is_of_new_data(file, loop, made):
            yield loop, None, made
    for handed in loops_elsewhere(file):
        made = sampler_handed(file, handed) if _may_step(handed.loop) else None
        if made is not None and is_handed_again(file, handed, made):
            yield handed.loop, handed.call, made


def _may_step(loop: Loop) -> bool:
    """Whether anything is trained: who only takes gradients, as to rank what is pruned, needs no other order."""
    return bool(loop.of("step", "other")) or loop.code.matches(_STEPS, loop.at)

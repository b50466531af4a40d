"""Workers of one distributed training that all go through the whole data set."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Link, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Call, Code
from stethoscope.facts.loops import Loop, loops_of
from stethoscope.facts.origins import bases, thing_of
from stethoscope.facts.ranks import RankSummary
from stethoscope.facts.things import iterated
from stethoscope.facts.training import Batches, History, Model
from stethoscope.rules.examples import falling, run
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code, place_at

_WRAPS = ("torch.nn.parallel.DistributedDataParallel", "apex.parallel.DistributedDataParallel")
_SHARED = re.compile(
    r"[Ss]ampler|shard|split_by|split_between|\.prepare\(|\brank *:|rank\]|[/%]+ *\(?\w*world_size|partition"
    r"|[Ii]terable"
)
"""Words of data that is dealt out to the workers in some other way."""
_DEAL_OUT = "Deal the samples out:\n" + code(
    "sampler = torch.utils.data.DistributedSampler(data)", "loader = DataLoader(data, batch_size=32, sampler=sampler)"
)
_OWN_ORDER = ("sampler", "batch_sampler")


def _two(looks: int = 20, different: int = 20, equal: int = 20, kind: str = "Net", wrapper: str = "") -> History:
    """Two processes with so many different batches, the first few of which are equal in both."""
    steps = np.arange(looks)
    marks = steps % different + 1
    mine = Batches(steps, np.full(looks, 32), marks)
    theirs = Batches(steps, np.full(looks, 32), np.where(steps < equal, marks, -marks))
    model = Model("Net", kind, wrapper=wrapper or ("DistributedDataParallel" if kind == "Net" else ""))
    seen = replace(run(falling(2.3, 0.3)), process_group=2, models=(model,), batches=mine)
    return replace(seen, ranks=(RankSummary(1, 200, batches=theirs),))


class MissingDistributedSampler(Rule):
    """A model is trained by several processes, and each of them goes through all of the data.

    ## What it sees
    `DistributedDataParallel`, and a training loop over a `DataLoader` without a sampler, in a file that deals its data
    out in no other way. In a run: processes whose batches are the same ones, step for step, where a wrapper averages
    their gradients.
    ## Why it hurts
    Every process loads every sample: eight of them do the work of one pass eight times, and where they are seeded
    alike all compute the same gradients. An epoch is not what it is called, and the learning rate is tuned to the
    wrong number of steps.
    ## How to fix it
    `DataLoader(data, sampler=DistributedSampler(data))`, and `sampler.set_epoch(epoch)` in each epoch.
    ## When it is not a fault
    Data that each process makes for itself, or that is cut by rank before. Where the file says so, it is not reported.
    ## Sources
    PyTorch tutorial, "Getting Started with Distributed Data Parallel"; `torch.utils.data.distributed`.
    """

    on_trial = True
    severity = Severity.WARNING
    reads = ("batches",)

    fewest_looks = Limit(10, unit="steps looked at in all", why="a first batch may be used to try the model")
    fewest_batches = Limit(5, unit="different batches", why="who trains on one batch only may want to")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare the batches of all processes."""
        averaged = any(m.wrapper == "DistributedDataParallel" or m.kind.startswith("FSDP") for m in seen.models)
        if seen.process_group < 2 or not averaged or not seen.ranks:
            yield self.cannot_tell("no gradients are averaged over processes by a wrapper of torch's")
            return
        all_batches = [seen.batches, *(rank.batches for rank in seen.ranks)]
        steps = reduce(np.intersect1d, [batches.steps for batches in all_batches])
        if steps.size < self.fewest_looks:
            yield self.cannot_tell(f"fewer than {self.fewest_looks:g} batches were looked at in all processes")
            return
        marks = [batches.fingerprints[np.searchsorted(batches.steps, steps)] for batches in all_batches]
        if len(np.unique(marks[0])) < self.fewest_batches or not all((mark == marks[0]).all() for mark in marks):
            return
        streams = [stream.loader_site for stream in seen.streams if stream.use == "training" and stream.loader_site]
        yield self.finding(
            f"all {len(marks)} processes train on the same batches",
            sureness=Sureness.CERTAIN,
            place=place_at(streams[0] if streams else seen.models[0].call_site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "batches that are equal in all processes",
                    f"{steps.size} of {steps.size}",
                    "0",
                    "a checksum of each batch, at steps that were looked at in all",
                )
            ],
            cause="Their random numbers are seeded alike and no sampler deals the data out: all compute the same "
            "gradients, whose average is that of one process.",
            fixes=[_DEAL_OUT],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the loaders of training loops in files that train with several processes."""
        wraps = file.calls_of(*_WRAPS)
        if not wraps or file.matches(_SHARED) or file.linked.match(_SHARED):
            return
        told = set()
        for loop in loops_of(file):
            made = _plain_loader(file, loop)
            if made is not None and made.number not in told:
                told.add(made.number)
                yield self._read(file, loop, made, wraps[0])

    def _read(self, file: Code, loop: Loop, made: Call, wrap: Call) -> Finding:
        return self.finding(
            "each process goes through all of the data",
            sureness=Sureness.LIKELY,
            place=place_in(file, made.at),
            evidence=[
                Evidence(
                    f"samplers that deal out the data of the loop on {line_of(file, loop.at)}", 0, "1",
                )
            ],
            cause="The loader knows nothing of the other processes: each of them loads every sample.",
            fixes=[_DEAL_OUT],
            unless="each process makes or reads data of its own.",
            chain=[
                Link(place_in(file, wrap.at), "the model is trained by several processes"),
                Link(place_in(file, made.at), "the loader gives all samples to each"),
                Link(place_in(file, loop.at), "the training loop goes over it"),
            ],
        )  # fmt: skip

    bad = Examples(
        lambda: {
            "the same batches": _two(),
            "spread by FSDP2": _two(kind="FSDPNet"),
            "ten looks": _two(looks=10),
            "five batches in turn": _two(different=5),
        }
    )
    good = Examples(
        lambda: {
            "batches of one's own": _two(equal=0),
            "the first ones only": _two(equal=19),
            "nine looks": _two(looks=9),
            "one batch again and again": _two(different=4),
            "each for itself": _two(wrapper="compiled"),
        }
    )
    bad_code = {
        "all of it": """
            def main(data):
                torch.distributed.init_process_group("nccl")
                model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).cuda())
                loader = DataLoader(data, batch_size=32, shuffle=True)  # bad
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
    }
    good_code = {
        "dealt out": """
            from torch.utils.data.distributed import DistributedSampler

            def main(data):
                model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).cuda())
                loader = DataLoader(data, batch_size=32, sampler=DistributedSampler(data))
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "cut by rank": """
            def main(data, rank, world_size):
                model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).cuda())
                loader = DataLoader(data[rank::world_size], batch_size=32)
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "one process": """
            def main(data):
                model = nn.DataParallel(nn.Linear(3, 2).cuda())
                loader = DataLoader(data, batch_size=32)
                optimizer = torch.optim.Adam(model.parameters())
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
    }
    bug = Bug("""
        # torchrun --nproc_per_node 2 train.py
        import torch
        import torch.distributed as dist
        from sklearn.datasets import load_digits
        from torch import nn
        from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

        dist.init_process_group("gloo")
        torch.manual_seed(SEED)
        raw = load_digits()
        data = TensorDataset(torch.tensor((raw.data - 4.9) / 6.0, dtype=torch.float32), torch.tensor(raw.target))
        sampler = None  # fix: sampler = DistributedSampler(data)
        loader = DataLoader(data, batch_size=25, shuffle=sampler is None, sampler=sampler)
        model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

        for epoch in range(4):
            if sampler is not None:
                sampler.set_epoch(epoch)
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        if dist.get_rank() == 0:
            print(f"loss {loss.item():.4f}")
        dist.barrier()
        del model
        dist.destroy_process_group()
        """)


def _plain_loader(file: Code, loop: Loop) -> Call | None:
    """The construction of the loader that a training loop goes over, where it gives all samples."""
    source, _ = iterated(file, file.contexts[loop.context].value)
    loader = thing_of(file, source)
    made = loader.made
    if loader.kind != "loader" or made is None or loader.made_in is not file or made.is_open:
        return None
    if made.name != "torch.utils.data.DataLoader" or any(made.keyword(name) for name in _OWN_ORDER):
        return None
    data = thing_of(file, made.argument(0, "dataset"))
    unknown = any("Iterable" in name or name == "?" for name in bases(data))
    return None if unknown or len(made.arguments) > 3 or not loop.of("step") else made

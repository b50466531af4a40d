"""Batches of different sizes in the processes of a distributed run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.ranks import RankSummary
from stethoscope.facts.training import Batches, History, Integers, Model
from stethoscope.rules.examples import falling, run
from stethoscope.rules.sites import code, place_at

_WRAPPED = Model("Net", wrapper="DistributedDataParallel")


def _sizes(sizes: Integers) -> Batches:
    return Batches(np.arange(sizes.size), sizes, samples=sizes)


def _two(larger: int, smaller: int, looks: int = 20, swapped: int = 0, model: Model = _WRAPPED) -> History:
    """Two processes with batches of these sizes; the other way round in some steps."""
    turned = np.arange(looks) < swapped
    mine, theirs = np.where(turned, smaller, larger), np.where(turned, larger, smaller)
    other = RankSummary(1, 200, batches=_sizes(theirs))
    return replace(run(falling(2.3, 0.3)), process_group=2, models=(model,), batches=_sizes(mine), ranks=(other,))


class UnequalRankBatches(Rule):
    """The processes of a distributed run train on batches of different sizes, which count alike.

    ## What it sees
    The number of samples in the batch of each process, at steps at which all were looked at, where a wrapper averages
    the gradients.
    ## Why it hurts
    The loss of a process is the mean over its batch, and the gradients are averaged over the processes: a sample of a
    small batch counts as many times more as that batch is smaller. What one process holds is learned at the cost of
    the rest, and the one with the larger batches keeps the others waiting.
    ## How to fix it
    Give all processes the same batch size (`DistributedSampler` deals out equal shares), or weigh each loss by the
    share of the samples that its process has.
    ## When it is not a fault
    Losses that are weighed so already, as for machines of different speed.
    ## Sources
    PyTorch documentation, `DistributedDataParallel`: "the gradients between different nodes are averaged".
    """

    severity = Severity.WARNING
    reads = ("loop", "batches")

    ratio = Limit(1.25, unit="times the samples", why="buckets of texts of like length differ by less")
    steadiness = Limit(0.9, unit="of the looks", why="sizes that vary by chance do so in turn")
    fewest_looks = Limit(10, unit="steps looked at in both", why="fewer may be the ends of short epochs")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare the batches of each other process with those of process 0."""
        averaged = any(model.wrapper == "DistributedDataParallel" for model in seen.models)
        if seen.process_group < 2 or not (averaged or any(p.sharded for p in seen.parameters)):
            yield self.cannot_tell("no gradients are averaged over processes by a wrapper of torch's")
            return
        worst: tuple[float, int, float, float, int] | None = None
        for rank in seen.ranks:
            steps, mine, theirs = np.intersect1d(seen.batches.steps, rank.batches.steps, return_indices=True)
            if steps.size < self.fewest_looks or max(mine) >= _samples(seen.batches).size:
                continue
            here, there = _samples(seen.batches)[mine], _samples(rank.batches)[theirs]
            larger, smaller = np.median(np.maximum(here, there)), np.median(np.minimum(here, there))
            steady = max(np.mean(here > there), np.mean(here < there))
            if smaller > 0 and steady >= self.steadiness and (worst is None or larger / smaller > worst[0]):
                sizes = float(np.median(here)), float(np.median(there))
                worst = float(larger / smaller), rank.rank, *sizes, int(steps.size)
        if worst is not None and worst[0] >= self.ratio:
            yield self._report(seen, *worst)

    def _report(self, seen: History, ratio: float, rank: int, here: float, there: float, looks: int) -> Finding:
        streams = [stream.loader_site for stream in seen.streams if stream.use == "training" and stream.loader_site]
        model = seen.models[0].call_site if seen.models else None
        small = rank if there < here else 0
        return self.finding(
            f"processes 0 and {rank} train on batches of {here:.0f} and {there:.0f} samples",
            sureness=Sureness.LIKELY,
            place=place_at(streams[0] if streams else model, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"samples in the batches of processes 0 and {rank}",
                    f"{here:.0f} and {there:.0f}",
                    "equal",
                    f"median of {looks} steps that were looked at in both",
                )
            ],
            cause="Each loss is the mean over its batch, and the gradients of the processes are averaged: a sample of "
            f"process {small} counts {ratio:.3g} times as much as one of the other.",
            fixes=[
                "Deal the data out in equal shares:\n"
                + code(
                    "sampler = DistributedSampler(data)", "loader = DataLoader(data, batch_size=32, sampler=sampler)"
                ),
                "Or weigh each loss by the share of the samples:\n"
                + code(
                    "total = torch.tensor(float(len(x)))",
                    "dist.all_reduce(total)",
                    "loss = loss * len(x) * dist.get_world_size() / total",
                ),
            ],
            unless="each loss is weighed by the size of its batch.",
        )

    bad = Examples(
        lambda: {
            "four times": _two(64, 16),
            "the other way round": _two(16, 64),
            "a ratio next to the limit": _two(126, 100),
            "ten looks": _two(64, 16, looks=10),
            "nearly always": _two(64, 16, looks=40, swapped=3),
        }
    )
    good = Examples(
        lambda: {
            "equal": _two(32, 32),
            "a ratio just below the limit": _two(124, 100),
            "nine looks": _two(64, 16, looks=9),
            "in turn": _two(64, 16, looks=40, swapped=5),
            "each for itself": _two(64, 16, model=Model("Net")),
        }
    )
    bug = Bug("""
        # torchrun --nproc_per_node 2 train.py
        import torch
        import torch.distributed as dist
        from sklearn.datasets import load_digits
        from torch import nn

        dist.init_process_group("gloo")
        rank, ranks = dist.get_rank(), dist.get_world_size()
        torch.manual_seed(SEED)
        raw = load_digits()
        images = torch.tensor((raw.data - 4.9) / 6.0, dtype=torch.float32)
        labels = torch.tensor(raw.target)
        order = torch.randperm(len(images))
        val, train = order[:400], order[400:1360]
        mine = train[:160] if rank == 0 else train[160:]  # fix: mine = train.chunk(ranks)[rank]
        model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

        for epoch in range(10):
            for batch in mine[torch.randperm(len(mine))].chunk(20):  # equally many steps in each process
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            right = (model.module(images[val]).argmax(1) == labels[val]).float().mean()
        if rank == 0:
            print(f"accuracy on new digits {right:.3f}")
        dist.barrier()
        del model
        dist.destroy_process_group()
        """)


def _samples(batches: Batches) -> Integers:
    return batches.samples if batches.samples.size == batches.steps.size else batches.sizes

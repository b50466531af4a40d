"""One process of a distributed run that all others wait for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from typing import NamedTuple

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.ranks import RankSummary, Standing, StepTimes
from stethoscope.facts.training import Doubles, History
from stethoscope.rules.examples import falling, run
from stethoscope.rules.sites import code, place_at

WARM = 3
"""Steps that are left out: caches fill, workers start."""
FED, FORWARD = "fed", "forward"
"""What takes the time: all that comes before the model has its batch, or the forward pass."""


def _two(slow: float, *, looks: int = 20, fed: bool = True, whole: float = 0.1, other: float = 0.0) -> History:
    """Two processes in steps of 0.1 s; this part of the step is spent by process 1 before it has its batch."""
    steps = np.arange(WARM, WARM + looks)
    begin = np.full(looks, 0.002)
    late = begin + slow * whole
    mine = StepTimes(steps, begin, begin + 0.01, np.full(looks, whole))
    theirs = StepTimes(steps, late if fed else begin, late + 0.01, np.full(looks, whole * (1 + other)))
    return replace(run(falling(2.3, 0.3)), process_group=2, times=mine, ranks=(RankSummary(1, 200, times=theirs),))


def _now_and_then(late: float) -> History:
    """Process 1 is late in this share of the looks."""
    seen = _two(0.6, looks=40)
    other = seen.ranks[0].times
    few = np.arange(40) < late * 40
    times = replace(other, fed=np.where(few, other.fed, 0.001), backward=np.where(few, other.backward, 0.011))
    return replace(seen, ranks=(RankSummary(1, 200, times=times),))


class Late(NamedTuple):
    """The process that is late."""

    rank: int
    what: str
    lost: float
    """Seconds a step, median, that all others wait for it."""
    whole: float
    """Seconds of a step, median."""
    own: float
    """Seconds from the step before until it is there."""
    others: float
    """The same of the slowest of the others."""
    looks: int


class SlowRank(Rule):
    """One process of a distributed run is slower than all others, which wait for it in every step.

    ## What it sees
    When in a step each process has its batch, and when it begins its backward pass, at steps at which all were looked
    at. Where gradients are exchanged, whole steps last equally long everywhere; what differs is who waits.
    ## Why it hurts
    The whole group is as fast as its slowest process, and what is paid for the others is lost.
    ## How to fix it
    See what this process does and the others do not: a slower disk, a larger share of the data, printing, saving or
    evaluating in every step under `if rank == 0`.
    ## When it is not a fault
    A machine that is slower, and cannot be replaced: then give it smaller batches, and weigh their loss.
    ## Sources
    PyTorch tutorial, "Getting Started with Distributed Data Parallel", "Skewed Processing Speeds": "the constructor,
    the forward pass, and the backward pass are distributed synchronization points".
    """

    severity = Severity.WARNING
    reads = ("loop",)

    fewest_looks = Limit(10, unit="steps looked at in all", why="fewer may all be those of a start")
    share = Limit(0.3, unit="of the time of a step", why="less is what machines differ by anyway")
    fewest_seconds = Limit(0.005, unit="seconds a step", why="shorter waits are the operating system's")
    steadiness = Limit(0.9, unit="of the looks", why="who is late only now and then saves, evaluates or is unlucky")
    together = Limit(
        0.25, unit="difference of whole steps, as a share", why="processes that do not wait for each other drift apart"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare the clocks of all processes."""
        if seen.process_group < 2 or not seen.ranks:
            yield self.cannot_tell("no other process of a group was recorded")
            return
        if any(standing.failed for standing in seen.standings):
            yield self.cannot_tell("the run ended in an exchange that failed, before which clocks say little")
            return
        late = self._latest(seen)
        if late is None:
            yield self.cannot_tell(f"fewer than {self.fewest_looks:g} steps were looked at in all processes")
        elif late.lost >= max(self.fewest_seconds, self.share * late.whole):
            yield self._report(seen, late)

    def _latest(self, seen: History) -> Late | None:
        """The process for which the others wait longest; with a loss of 0 where there is none."""
        clocks = [(0, seen.times), *((rank.rank, rank.times) for rank in seen.ranks)]
        steps = reduce(np.intersect1d, [times.steps[times.steps >= WARM] for _, times in clocks])
        if steps.size < self.fewest_looks:
            return None
        rows = [np.searchsorted(times.steps, steps) for _, times in clocks]
        whole = np.array([times.whole[row] for (_, times), row in zip(clocks, rows, strict=True)])
        typical = np.median(whole, axis=1)
        none = Late(0, FED, 0.0, float(typical[0]), 0.0, 0.0, steps.size)
        if np.ptp(typical) > self.together * typical.min():
            return none
        found = [none]
        for what in (FED, FORWARD):
            field = "fed" if what == FED else "backward"
            when = np.array([getattr(times, field)[row] for (_, times), row in zip(clocks, rows, strict=True)])
            index = int(np.argmax(np.median(when, axis=1)))
            ahead = np.delete(when, index, axis=0).max(axis=0)
            wait: Doubles = when[index] - ahead
            if np.mean(wait > 0) < self.steadiness:
                continue
            own, others = float(np.median(when[index])), float(np.median(ahead))
            late = Late(clocks[index][0], what, float(np.median(wait)), none.whole, own, others, steps.size)
            found.append(late)
        return max(found, key=lambda late: (late.lost >= self.share * late.whole, late.what == FED, late.lost))

    def _report(self, seen: History, late: Late) -> Finding:
        streams = [stream.loader_site for stream in seen.streams if stream.use == "training" and stream.loader_site]
        model = seen.models[0].call_site if seen.models else None
        is_fed = late.what == FED
        until = "until the model has its batch" if is_fed else "until the backward pass begins"
        cause = (
            "It is late with its batch: it loads more slowly than the others, or does more between two steps."
            if is_fed
            else "It has its batch in time, and its forward pass takes longer: a larger batch, or a slower machine."
        )
        return self.finding(
            f"process {late.rank} is late in each step: the others wait {late.lost / late.whole:.0%} of it",
            sureness=Sureness.LIKELY,
            place=place_at((streams[0] if streams and is_fed else None) or model, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"time from a step {until}, process {late.rank}",
                    f"{1e3 * late.own:.3g} ms",
                    f"{1e3 * late.others:.3g} ms, the slowest of the others",
                    f"median of {late.looks} steps that were looked at in all",
                ),
                Evidence("a whole step, in all of them", f"{1e3 * late.whole:.3g} ms", "without the wait "
                         f"{1e3 * (late.whole - late.lost):.3g} ms"),
            ],
            cause=cause,
            fixes=[
                "See where that process spends it, without training:\n"
                + code("began = time.perf_counter()", "batch = next(batches)", "print(time.perf_counter() - began)")
                if is_fed
                else "Print what each process is given:\n" + code("print(rank, x.shape, x.device)"),
                "Move what one process does alone (printing, saving, evaluating) out of the step.",
            ],
            unless="its machine is slower and shall take part all the same.",
        )  # fmt: skip

    bad = Examples(
        lambda: {
            "late with its batch": _two(0.6),
            "a wait next to the limit": _two(0.306),
            "a slow forward pass": _two(0.5, fed=False),
            "ten looks": _two(0.5, looks=10),
            "late in nearly all steps": _now_and_then(0.925),
            "steps of a few milliseconds": _two(0.51, whole=0.01),
            "whole steps that differ a little": _two(0.6, other=0.245),
        }
    )
    good = Examples(
        lambda: {
            "together": _two(0.0),
            "a wait just below the limit": _two(0.294),
            "nine looks": _two(0.5, looks=9),
            "late now and then": _now_and_then(0.875),
            "very short waits": _two(0.49, whole=0.01),
            "processes that do not wait for each other": _two(0.6, other=0.255),
            "alone": replace(_two(0.6), process_group=1),
            "ended in an exchange that failed": replace(_two(0.6), standings=(Standing(0, failed="Timed out"),)),
        }
    )
    bug = Bug("""
        # torchrun --nproc_per_node 2 train.py
        import time

        import torch
        import torch.distributed as dist
        from sklearn.datasets import load_digits
        from torch import nn
        from torch.utils.data import DataLoader, Dataset, DistributedSampler

        dist.init_process_group("gloo")
        rank = dist.get_rank()
        torch.manual_seed(SEED)
        raw = load_digits()
        images = torch.tensor((raw.data - 4.9) / 6.0, dtype=torch.float32)
        labels = torch.tensor(raw.target)


        class Digits(Dataset):
            def __len__(self):
                return 1000

            def __getitem__(self, i):
                time.sleep(0.002 if rank == 1 else 0)  # fix: time.sleep(0)
                return images[i], labels[i]


        data = Digits()
        sampler = DistributedSampler(data)
        loader = DataLoader(data, batch_size=25, sampler=sampler)
        model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

        for epoch in range(4):
            sampler.set_epoch(epoch)
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        if rank == 0:
            print(f"loss {loss.item():.4f}")
        dist.barrier()
        del model
        dist.destroy_process_group()
        """)

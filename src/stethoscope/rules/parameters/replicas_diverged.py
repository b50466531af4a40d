"""Copies of a model in several processes that no longer agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.ranks import Copy, RankSummary, copy_of
from stethoscope.facts.training import PARAMETER_STATISTICS, Floats, History
from stethoscope.rules.examples import falling, run
from stethoscope.rules.sites import code, place_at, receiver

ROUNDING = 1e-5
"""Differences below this share of a number are rounding."""


def _two(apart: float, *, start: float = 0.0, gradients: float = 0.3, looks: int = 12, **facts: Any) -> History:
    """Two processes whose weights differ by these shares at the end and at the start, and their gradients likewise."""
    seen = run(falling(2.3, 0.3), **facts)
    table = seen.telemetry.parameters.copy()
    seen = replace(
        seen,
        process_group=2,
        telemetry=replace(seen.telemetry, steps=seen.telemetry.steps[:looks], parameters=table[:looks]),
    )
    other = copy_of(seen)
    shares = np.linspace(start, apart, looks, dtype=np.float32)[:, None]
    far = replace(
        other, weight_rms=other.weight_rms * (1 + shares), gradient_rms=other.gradient_rms * np.float32(1 + gradients)
    )
    return replace(seen, ranks=(RankSummary(1, 200, copy=far),))


def _with(seen: History, **changes: Any) -> History:
    """The same, with the other process's copy changed."""
    return replace(seen, ranks=(replace(seen.ranks[0], copy=replace(seen.ranks[0].copy, **changes)),))


def _shared(seen: History, number: int) -> History:
    """The same, with one parameter that is equal in both processes."""
    column = seen.telemetry.parameters[:, number, PARAMETER_STATISTICS.index("weight_rms")]
    weights = seen.ranks[0].copy.weight_rms.copy()
    weights[:, number] = column
    return _with(seen, weight_rms=weights)


class Apart(NamedTuple):
    """How far the copy in another process is from that of process 0."""

    rank: int
    looks: int
    """Steps at which both were looked at."""
    step: int
    """The last of them."""
    start: Floats
    """(parameters,): difference of the weights at the first of them, as a share."""
    end: Floats
    """At the last."""
    gradients: Floats
    """(looks, parameters)"""
    largest: str
    """Name of the parameter that differs most."""
    here: float
    there: float


class ReplicasDiverged(Rule):
    """The copies of a model in the processes of a distributed run have different weights.

    ## What it sees
    The size of each parameter and of its gradient in each process, at steps at which both were looked at, where the
    processes form a group and train parameters of the same names and shapes with the same optimizer settings.
    ## Why it hurts
    Each process then trains a model of its own on its share of the data. Only one of them is saved or measured, and
    the rest of the data and of the work is lost. Where gradients are averaged but the weights began apart, each
    copy follows gradients that belong to other weights.
    ## How to fix it
    Wrap the model in `DistributedDataParallel` before training, and call the wrapper: it sends the weights of
    process 0 to all and averages the gradients.
    ## When it is not a fault
    Models that shall differ: an ensemble, folds, federated or local training that averages the weights now and then.
    Parts of one model (experts, shards) share some parameters or begin apart, and are not judged.
    ## Sources
    PyTorch documentation, `DistributedDataParallel`: "the gradients from each node are averaged"; S. Li et al.,
    "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", VLDB 2020.
    """

    severity = Severity.ERROR
    explains = ("overfitting",)
    reads = ("updates", "gradients")

    apart = Limit(1e-3, unit="difference as a share of the weights", why="100 times what rounding leaves in float32")
    fewest_looks = Limit(
        5, unit="steps looked at in both", why="a first step or two may come before the first exchange"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Compare each other process with process 0; the one that is farthest off is told."""
        compared = [_compare(copy_of(seen), rank) for rank in seen.ranks] if seen.process_group > 1 else []
        pairs = [pair for pair in compared if pair is not None and pair.looks >= self.fewest_looks]
        if not pairs:
            yield self.cannot_tell("no two processes of a group were seen training the same parameters")
            return
        worst = max(pairs, key=lambda pair: float(np.median(pair.end)))
        if np.median(worst.end) <= self.apart:
            return
        if np.median(worst.start) > self.apart and (worst.gradients < ROUNDING).all():
            yield self._report(worst, seen, began_apart=True)
        elif (worst.start < ROUNDING).all() and (worst.end > ROUNDING).all() and _own_gradients(worst):
            yield self._report(worst, seen, began_apart=False)

    def _report(self, pair: Apart, seen: History, *, began_apart: bool) -> Finding:
        evidence = [
            Evidence(
                f"weights that differ between processes 0 and {pair.rank}, step {pair.step}",
                f"{float(np.median(pair.end)):.2%} (median parameter)",
                "0%",
            ),
            Evidence(f"size of `{pair.largest}` in both", f"{pair.here:.4g} and {pair.there:.4g}", "equal"),
            Evidence(
                f"gradients that differ, {pair.looks} looks", f"{float(np.median(pair.gradients)):.2%}", "0%: averaged"
            ),
        ]
        optimizer = seen.optimizers[0] if seen.optimizers else None
        model = seen.models[0].name if seen.models else "the model"
        name = receiver(optimizer.site if optimizer else None, "parameters", "model")
        if began_apart:
            cause = (
                f"The gradients of {model} are averaged over {seen.process_group} processes, but its copies began with "
                "different weights, and stay as far apart."
            )
        else:
            cause = (
                f"The copies of {model} began with equal weights in {seen.process_group} processes, and each is moved "
                "by the gradients of its own data alone: they are not averaged."
            )
        wrapped = [f"wrapped = nn.parallel.DistributedDataParallel({name})", "outputs = wrapped(inputs)"]
        if began_apart:
            fix = "Send the weights of process 0 to all before training:\n" + code(
                f"for tensor in {name}.state_dict().values():", "    torch.distributed.broadcast(tensor, src=0)"
            )
        else:
            fix = "Wrap the model, and call the wrapper in training:\n" + code(*wrapped)
        return self.finding(
            f"the model's copies in {seen.process_group} processes "
            + ("began with different weights" if began_apart else "drift apart"),
            severity=Severity.ERROR if began_apart else Severity.WARNING,
            sureness=Sureness.CERTAIN if began_apart else Sureness.LIKELY,
            place=place_at(
                (optimizer.step_site or optimizer.site) if optimizer else None,
                steps=(0, pair.step),
                parameter=pair.largest,
            ),
            evidence=evidence,
            cause=cause,
            fixes=[fix],
            unless=""
            if began_apart
            else "each process shall train a model of its own (ensemble, folds, local training)",
        )

    bad = Examples(
        lambda: {
            "gradients of one's own": _two(0.02),
            "a little apart": _two(0.00103),
            "five looks": _two(0.02, looks=5),
            "equal gradients, other weights": _two(0.03, start=0.03, gradients=0.0),
            "a little apart from the start": _two(0.00103, start=0.00103, gradients=0.0),
        }
    )
    good = Examples(
        lambda: {
            "equal copies": _two(0.0, gradients=0.0),
            "nearly equal": _two(0.00097),
            "four looks": _two(0.02, looks=4),
            "different models from the start": _two(0.03, start=0.03),
            "no group": replace(_two(0.02), process_group=0),
            "another learning rate": _with(_two(0.02), optimizers=("SGD [('lr', 0.2)]",)),
            "other names": _with(_two(0.02), names=("a", "b", "c")),
            "other shapes": _with(_two(0.02), shapes=((64, 64), (64, 64), (32, 64))),
            "experts beside a shared layer": _shared(_two(0.02), 0),
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
        data = load_digits()
        images = torch.tensor((data.data - 4.9) / 6.0, dtype=torch.float32)
        labels = torch.tensor(data.target)
        order = torch.randperm(len(images))
        val, train = order[:400], order[400:]
        mine = train[labels[train].argsort()].chunk(ranks)[rank]
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        trained = model  # fix: trained = nn.parallel.DistributedDataParallel(model)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(8):
            for batch in mine[torch.randperm(len(mine))].split(50):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(trained(images[batch]), labels[batch])
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            right = (model(images[val]).argmax(1) == labels[val]).float().mean()
        if rank == 0:
            print(f"accuracy on new digits {right:.3f}")
        dist.barrier()
        del trained
        dist.destroy_process_group()
        """)


def _compare(here: Copy, rank: RankSummary) -> Apart | None:
    """Two copies at the steps at which both were looked at; None where they are not of one kind."""
    there = rank.copy
    if not here.names or (here.names, here.shapes, here.optimizers) != (there.names, there.shapes, there.optimizers):
        return None
    both, mine, other = np.intersect1d(here.steps, there.steps, return_indices=True)
    if not both.size:
        return None
    weights, weights_there = here.weight_rms[mine], there.weight_rms[other]
    moved, moved_there = here.gradient_rms[mine], there.gradient_rms[other]
    known = np.isfinite(weights[[0, -1]]).all(0) & np.isfinite(weights_there[[0, -1]]).all(0)
    known &= (np.nan_to_num(moved).max(0) > 0) & (np.nan_to_num(moved_there).max(0) > 0)
    if not known.any():
        return None
    apart = _share(weights[:, known], weights_there[:, known])
    most = int(np.argmax(apart[-1]))
    number = int(np.flatnonzero(known)[most])
    return Apart(
        rank.rank,
        int(both.size),
        int(both[-1]),
        apart[0],
        apart[-1],
        np.nan_to_num(_share(moved[:, known], moved_there[:, known])),
        here.names[number],
        float(weights[-1, number]),
        float(weights_there[-1, number]),
    )


def _share(one: Floats, other: Floats) -> Floats:
    """Difference as a share of the larger; 0 where both are 0."""
    size = np.maximum(np.abs(one), np.abs(other))
    share: Floats = np.divide(np.abs(one - other), size, out=np.zeros_like(one), where=size > 0)
    return share


def _own_gradients(pair: Apart) -> bool:
    """Whether gradients differ at nearly all looks, in the median parameter: they are exchanged at none of them."""
    return bool(np.mean(np.median(pair.gradients, axis=1) > ROUNDING) > 0.9)

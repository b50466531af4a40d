"""How much longer a training step takes at each door when it is listened to: a Markdown table of ratios.

    python bench/doors.py --overhead                          all doors, some seven minutes
    python bench/doors.py --overhead keras_fit --rounds 3     this one

Each door has a process (two for those of two ranks), with one thread. In each round a block of steps runs bare, one is
listened to as `stethoscope run` would with its defaults, and one more is bare: the ratio is that of the middle one to
the mean of its neighbours, since a machine's speed drifts. The second bare block by the first is the noise floor. A
quick step is one that nothing slows down: the tenth percentile of all steps of all rounds, listened to by bare ones.
Of a machine that others share it is the steadiest figure; the few steps that are looked at have no part in it, their
price is in the own estimate. The clock is the CPU time of the training thread. A block that is listened to begins after
its opening, the first fifty steps or more, in which nearly all are looked at.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import io
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from door_loops import LOOPS, TWO_RANKS, hush, run
from numpy.typing import NDArray
from overhead import keep_freed_memory

import stethoscope

WARM_UP = 30
QUICK = 10
"""Percentile of the steps' times at which one is called quick."""
FEWEST_STEPS = 150
"""Of a block: looks are tens of steps apart."""
LONGEST_OPENING = 1000
OPENING_OF_RANKS = 300
"""The same in all processes, which wait for each other."""


def main(names: Sequence[str], rounds: int, seconds: float) -> None:
    """Measure these doors, and print a row of each."""
    print("| door | a step | CPU time, ratio | quartiles | noise floor | quick step | wall time | its own estimate |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name in names:
        missing = [package for package in LOOPS[name][1] if importlib.util.find_spec(package) is None]
        if missing:
            print(f"| {name} | left out: {', '.join(missing)} not installed | | | | | | |", flush=True)
            continue
        print(row_of(name, measured(name, rounds, seconds)), flush=True)


def measured(name: str, rounds: int, seconds: float) -> dict[str, list[float]]:
    """What a process of its own measured; see `measure`."""
    ranks = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"] if name in TWO_RANKS else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, *ranks, __file__, name, str(rounds), str(seconds)],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    told = [line for line in done.stdout.splitlines() if line.startswith('{"bare"')]
    if not told:
        raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, list[float]] = json.loads(told[-1])
    return found


def row_of(name: str, found: dict[str, list[float]]) -> str:
    """A line of the table."""
    low, middle, high = np.percentile(found["ratio"], [25, 50, 75])
    floor, quick, wall, own = (np.median(found[each]) for each in ("floor", "quick", "wall", "own"))
    return (
        f"| {name} | {1e3 * np.median(found['bare']):.2f} ms | {middle:.3f} | {low:.3f}-{high:.3f} | {floor:.3f} | "
        f"{quick:.3f} | {wall:.3f} | {1 + own:.3f} |"
    )


def measure(name: str, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Ratios of each round, and seconds of a bare step."""
    trial = run(name, 50, lambda number: number >= WARM_UP)
    steps = max(FEWEST_STEPS, int(seconds / trial.cpu))
    if name in TWO_RANKS:
        steps = agreed(steps)
    found: dict[str, list[float]] = {
        "bare": [], "ratio": [], "floor": [], "wall": [], "own": [],
    }  # fmt: skip
    bare_steps, listened_steps = [], []
    listened(name, 20)  # what is imported for the first listening
    for _ in range(rounds):
        before = run(name, steps, lambda number: number >= WARM_UP)
        between, own = listened(name, steps)
        after = run(name, steps, lambda number: number >= WARM_UP)
        found["bare"].append((before.cpu + after.cpu) / 2)
        found["ratio"].append(between.cpu / found["bare"][-1])
        found["floor"].append(after.cpu / before.cpu)
        found["wall"].append(between.wall / ((before.wall + after.wall) / 2))
        found["own"].append(own)
        bare_steps += [before.each, after.each]
        listened_steps.append(between.each)
    found["quick"] = [_quick(listened_steps) / _quick(bare_steps)]
    return found


def _quick(blocks: Sequence[NDArray[np.float64]]) -> float:
    return float(np.percentile(np.concatenate(blocks), QUICK))


def listened(name: str, steps: int) -> tuple[Any, float]:
    """A block that is listened to, and what it says of its own cost."""
    start: list[int] = []

    def is_warm(number: int) -> bool:
        """After the opening, and a part of a gap between looks, so that a block begins anywhere in one."""
        if name in TWO_RANKS:
            return number >= OPENING_OF_RANKS
        if not start and number and number % 50 == 0:
            sampling = handle.history.sampling
            if sampling.looks > sampling.burst_looks or number >= LONGEST_OPENING:
                looks = handle.history.telemetry.steps
                start.append(number + random.randrange(int(looks[-1] - looks[-2]) if len(looks) > 1 else 1))
        return bool(start) and number >= start[0]

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        handle = stethoscope.watch(store=folder, proof=False)
        tape = run(name, steps, is_warm)
        handle.stop()
        own = handle.history.sampling.estimated_cost
    gc.collect()
    return tape, own


def agreed(steps: int) -> int:
    """The smallest of all ranks'."""
    fewest = torch.tensor(steps)
    torch.distributed.all_reduce(fewest, torch.distributed.ReduceOp.MIN)
    return int(fewest)


def in_own_process(name: str, rounds: int, seconds: float) -> None:
    """Measure, and tell it on standard output."""
    torch.set_num_threads(1)
    random.seed(0)
    hush()
    keep_freed_memory()
    if name in TWO_RANKS:
        torch.distributed.init_process_group("gloo")
    found = measure(name, rounds, seconds)
    if not (name in TWO_RANKS and torch.distributed.get_rank()):
        print(json.dumps(found), flush=True)
    if name in TWO_RANKS:
        torch.distributed.barrier()
        sys.stdout.flush()
        os._exit(0)  # gloo's threads abort now and then where a process ends as usual


def parsed() -> argparse.Namespace:
    """A door, its rounds and the seconds of a block."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("door", choices=LOOPS)
    parser.add_argument("rounds", type=int)
    parser.add_argument("seconds", type=float)
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    asked = parsed()
    in_own_process(asked.door, asked.rounds, asked.seconds)

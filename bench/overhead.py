"""How much longer a training step takes when it is listened to: a Markdown table of ratios.

    python bench/overhead.py                    all of it, about ten minutes
    python bench/overhead.py --only MLP --rounds 3 --without-peers

One process, one thread. In each round every listener runs a block of steps, in an order shuffled anew, and the bare
loop follows at once: a block's time per step is divided by that of the bare block behind it, since a machine's speed
drifts by more than a hundredth within a minute. The bare loop behind itself is the noise floor. A ratio is the median
over the rounds, with its quartiles. The clock is the CPU time of the training thread; wall-clock ratios stand beside
it. Stethoscope is timed after its opening, the first fifty steps or more, in which it looks at nearly all of them.

The C library is told to keep what is freed (for the timings, not for the measure of memory): whether it gives 30 MB of
activations back after each step and has the kernel clear them again is chance, and worth 7 % of a step of the CNN.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from listeners import Listener, Stethoscope, listeners
from workloads import WORKLOADS, Workload, workload

SLOWEST = 4
"""Every listener's block has as many steps as the bare loop's, unless that would take this many times as long."""
MEMORY_STEPS_S = 6.0
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of `mallopt`, as malloc.h numbers them."""
COMPILED = ("MLP", "transformer")
"""Workloads that are also compiled: the others take minutes to compile."""


class StepTime(NamedTuple):
    """Seconds per step over one block."""

    cpu: float
    wall: float


class Timed(NamedTuple):
    """A block, and the block of the bare loop behind it."""

    block: StepTime
    bare: StepTime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=WORKLOADS, help="one workload")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a block of the bare loop")
    parser.add_argument("--without-peers", action="store_true", help="Stethoscope and the bare loop only")
    parser.add_argument("--memory-of", nargs=2, metavar=("WORKLOAD", "LISTENER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(0)
    if options.memory_of:
        print(*memory_mb(*options.memory_of))
        return
    keep_freed_memory()
    names = [options.only] if options.only else list(WORKLOADS)
    present = [one for one in listeners() if not one.is_missing]
    if options.without_peers:
        present = [one for one in present if type(one) in (Listener, Stethoscope)]
    for missing in (one for one in listeners() if one.is_missing):
        print(f"left out: {missing.name} (`{missing.needs}` is not installed)\n")
    for name in names:
        print_table(name, present, options.rounds, options.seconds)
    print_memory(names)
    print_compiled([name for name in names if name in COMPILED], options.rounds, options.seconds)


def keep_freed_memory() -> None:
    """Have freed memory stay with this process, in the same heap for all sizes. Nothing where there is no glibc."""
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    library.mallopt(M_TRIM_THRESHOLD, 1 << 30)
    library.mallopt(M_MMAP_MAX, 0)


def measure(work: Workload, present: list[Listener], rounds: int, seconds: float) -> dict[str, list[Timed]]:
    """Step times of each listener, a pair of blocks for each round."""
    times = defaultdict(list)
    bare = steps_within(work, present[0], seconds)
    steps = {one.name: min(bare, steps_within(work, one, SLOWEST * seconds)) for one in present}
    for _ in range(rounds):
        for one in random.sample(present, len(present)):
            times[one.name].append(Timed(block(work, one, steps[one.name]), block(work, present[0], bare)))
    return times


def steps_within(work: Workload, listener: Listener, seconds: float) -> int:
    """How many steps fill a block; also warms up what is used for the first time. Never fewer than four."""
    trial = block(work, listener, 10)
    listener.estimates.clear()
    return max(4, int(seconds / trial.cpu))


def block(work: Workload, listener: Listener, steps: int) -> StepTime:
    """Time per step over so many steps."""
    with listener.on(work) as after_step:
        for step in range(3):
            after_step(step, work.step())
        cpu, wall = time.thread_time(), time.perf_counter()
        for step in range(3, steps + 3):
            after_step(step, work.step())
        return StepTime((time.thread_time() - cpu) / steps, (time.perf_counter() - wall) / steps)


def print_table(name: str, present: list[Listener], rounds: int, seconds: float) -> None:
    """The ratios of one workload."""
    work = workload(name)
    times = measure(work, present, rounds, seconds)
    bare = [each.bare.cpu for timed in times.values() for each in timed]
    count = sum(p.numel() for p in work.model.parameters())
    print(f"### {name}: {1e3 * float(np.median(bare)):.2f} ms a step, {count:,} parameters\n")
    print("| listened to with | step time, ratio (CPU) | quartiles | wall | its own estimate |")
    print("|---|--:|--:|--:|--:|")
    for one in present:
        middle, low, high = ratios(times[one.name], "cpu")
        wall, _, _ = ratios(times[one.name], "wall")
        own = f"{1 + np.median(one.estimates):.3f}" if one.estimates else ""
        one.estimates.clear()
        label = "nothing, again (noise floor)" if one is present[0] else one.name
        print(f"| {label} | {middle:.3f} | {low:.3f}-{high:.3f} | {wall:.3f} | {own} |")
    print(flush=True)


def ratios(times: list[Timed], clock: str) -> tuple[float, float, float]:
    """Median and quartiles of the ratio to the bare block behind each."""
    each = [getattr(timed.block, clock) / getattr(timed.bare, clock) for timed in times]
    low, middle, high = np.percentile(each, [25, 50, 75])
    return float(middle), float(low), float(high)


def print_memory(names: list[str]) -> None:
    """Memory beyond that of the bare loop, each in a process of its own: held at the end, and at the peak."""
    print("### Memory beyond that of the bare loop, MB: held (peak)\n")
    watched = [one.name for one in listeners() if isinstance(one, Stethoscope)]
    print(f"| | {' | '.join(watched)} |\n|---|{'--:|' * len(watched)}")
    for name in names:
        bare, *others = (_in_own_process(name, listener) for listener in ("nothing", *watched))
        cells = (f"{held - bare[0]:.1f} ({peak - bare[1]:.1f})" for held, peak in others)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print()


def _in_own_process(name: str, listener: str) -> tuple[float, float]:
    command = [sys.executable, __file__, "--memory-of", name, listener]
    held, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(held), float(peak)


def memory_mb(name: str, listener_name: str) -> tuple[float, float]:
    """Resident memory of this process after some seconds of training, and at its peak. Linux with glibc only.

    Held is what is left when the C library has given back what is free: between the buffers of a large model it keeps
    half as much again as is in use, more or less of it by chance.
    """
    listener = next(one for one in listeners() if one.name == listener_name)
    work = workload(name)
    with listener.on(work) as after_step:
        began, step = time.perf_counter(), 0
        while time.perf_counter() - began < MEMORY_STEPS_S:
            after_step(step, work.step())
            step += 1
        peak = _resident_mb("VmHWM")
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        return _resident_mb("VmRSS"), peak


def _resident_mb(which: str) -> float:
    status = Path("/proc/self/status").read_text()
    (size,) = (line.split()[1] for line in status.splitlines() if line.startswith(which))
    return int(size) / 1e3


def print_compiled(names: list[str], rounds: int, seconds: float) -> None:
    """Ratios under `torch.compile`, and the graphs and breaks that it counts with and without us."""
    from torch._dynamo.utils import counters

    if not names:
        return
    backend = "inductor"
    print(f"### Under torch.compile ({backend})\n")
    print("| | default | --every 1 | graphs without, with | graph breaks without, with |\n|---|--:|--:|--:|--:|")
    bare, *watched = (one for one in listeners() if one.name == "nothing" or isinstance(one, Stethoscope))
    for name in names:
        graphs, breaks = [], []
        for listener in (bare, *watched):
            torch.compiler.reset()
            counters.clear()
            work = workload(name, compiled=backend)
            block(work, listener, 4)
            graphs.append(counters["stats"]["unique_graphs"])
            breaks.append(sum(counters["graph_break"].values()))
        torch.compiler.reset()
        times = measure(workload(name, compiled=backend), [bare, *watched], rounds, seconds)
        cells = [f"{ratios(times[one.name], 'cpu')[0]:.3f}" for one in watched]
        counts = [f"{each[0]}, {max(each[1:])}" for each in (graphs, breaks)]
        print(f"| {name} | {' | '.join(cells + counts)} |", flush=True)


if __name__ == "__main__":
    main()

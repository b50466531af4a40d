"""How much longer a training step takes at each door when it is listened to: a Markdown table of ratios.

    python bench/doors.py --overhead                          all doors, some five minutes
    python bench/doors.py --overhead keras_fit --pairs 30     this one

Each door has a process (two for those of two ranks), with one thread, and one training that is listened to as
`stethoscope run` would with its defaults. After its opening, the first fifty steps or more, in which nearly all are
looked at, short stretches of steps take turns: one with our taps on torch, one without. A stretch that is listened to
is compared with the mean of its two neighbours, since a machine's speed drifts.

An ordinary step is the median of a stretch: what is paid at every step. Its ratio is the median over all pairs, with
half the width of its 95 % interval (McGill, Tukey and Larsen 1978); the same of bare stretches with their bare
neighbours is the noise floor. The few steps that are looked at have their price in the own estimate, which is that of
`stethoscope run`'s report. `all steps` is the time of all that is listened to by all that is bare, looks and a
machine's interruptions included. The clock is the CPU time of the training thread; with JAX and TensorFlow, which
compute in threads of their own, that of the process.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import array_loops
import numpy as np
import torch
from door_loops import LOOPS, READS_TOKENS, TWO_RANKS, Clock, Tape, hush, run
from numpy.typing import NDArray
from overhead import keep_freed_memory

import stethoscope

NEEDED = {name: packages for name, (_, packages) in (*LOOPS.items(), *array_loops.LOOPS.items())}
"""The packages of each door."""
STEPS = 40
"""Of a stretch: short, since a machine's speed drifts within seconds."""
WARM_UP = 30
LONGEST_OPENING = 1000
OPENING_OF_RANKS = 300
"""The same in all processes, which wait for each other."""
NOTCH = 1.57
"""Half the width of the 95 % interval of a median, in interquartile ranges by the root of the number of values."""


def main(names: Sequence[str], pairs: int) -> None:
    """Measure these doors, and print a row of each."""
    print("| door | a step | an ordinary step, ratio | noise floor | its own estimate of looks | all steps |")
    print("|---|--:|--:|--:|--:|--:|")
    for name in names:
        missing = [package for package in NEEDED[name] if importlib.util.find_spec(package) is None]
        if missing:
            print(f"| {name} | left out: {', '.join(missing)} not installed | | | | |", flush=True)
            continue
        print(row_of(name, measured(name, pairs)), flush=True)


def measured(name: str, pairs: int) -> dict[str, Any]:
    """What a process of its own measured; see `measure`."""
    ranks = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"] if name in TWO_RANKS else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "KERAS_BACKEND": "torch", **array_loops.ONE_THREAD}
    done = subprocess.run(
        [sys.executable, *ranks, __file__, name, str(pairs)],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    told = [line for line in done.stdout.splitlines() if line.startswith('{"bare"')]
    if not told:
        raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(told[-1])
    return found


def row_of(name: str, found: dict[str, Any]) -> str:
    """A line of the table."""
    ordinary, floor = (with_interval(np.array(found[each])) for each in ("ordinary", "floor"))
    bare, looks = f"{1e3 * found['bare']:.2f} ms", f"{1 + found['own']:.3f}"
    return f"| {name} | {bare} | {ordinary} | {floor} | {looks} | {found['all']:.3f} |"


def with_interval(ratios: NDArray[np.float64]) -> str:
    """Their median, and half of the width of its 95 % interval."""
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    return f"{middle:.3f} ± {NOTCH * (high - low) / np.sqrt(len(ratios)):.3f}"


def measure(name: str, pairs: int) -> dict[str, Any]:
    """Ratios of each pair, and seconds of a bare step."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        if name in array_loops.LOOPS:
            return measure_arrays(name, pairs)
        handle = stethoscope.watch(store=folder, proof=False)
        turns = Turns(handle, name in TWO_RANKS)
        clock = Clock(turns.is_warm, turns.take, 2 * pairs + 1, STEPS)
        run(name, Tape(clock, name in READS_TOKENS))
        return ratios(clock.times, handle)


def measure_arrays(name: str, pairs: int) -> dict[str, Any]:
    """The same where torch does not train."""
    patient = array_loops.LOOPS[name][0]()
    clock = Clock(
        lambda number: is_past_opening(number, patient.heard), lambda stretch: patient.listen(stretch % 2 == 1),
        2 * pairs + 1, STEPS, time.process_time,
    )  # fmt: skip
    array_loops.run(patient, clock)
    found = ratios(clock.times, patient.heard())
    patient.heard().stop()
    return found


def ratios(times: NDArray[np.float64], handle: stethoscope.Watch) -> dict[str, Any]:
    """Of stretches that are bare and listened to by turns."""
    typical = np.median(times, axis=1)
    bare, listened = typical[::2], typical[1::2]
    return {
        "bare": float(np.median(bare)),
        "ordinary": list(2 * listened / (bare[:-1] + bare[1:])),
        "floor": list(2 * bare[1:-1] / (bare[:-2] + bare[2:])),
        "all": float(times[1::2].mean() / times[::2].mean()),
        "own": handle.history.sampling.estimated_cost,
    }


def is_past_opening(number: int, heard: Callable[[], stethoscope.Watch]) -> bool:
    """Whether nearly all steps were looked at so far, and no longer are; asked now and then, since it costs."""
    if number < WARM_UP or number % 50:
        return False
    sampling = heard().history.sampling
    return sampling.looks > sampling.burst_looks or number >= LONGEST_OPENING


class Turns:
    """Takes the taps off torch and puts them on again, turn by turn; the first stretch is bare."""

    def __init__(self, handle: stethoscope.Watch, of_ranks: bool) -> None:
        self._handle, self._of_ranks = handle, of_ranks
        self._recording = handle._recording

    def is_warm(self, number: int) -> bool:
        """After the opening."""
        if self._of_ranks:
            return number >= OPENING_OF_RANKS
        return is_past_opening(number, lambda: self._handle)

    def take(self, stretch: int) -> None:
        """Every second stretch is listened to."""
        taps = self._recording._taps
        assert taps is not None
        if stretch % 2:
            taps.put_on()
        else:
            taps.take_off(finish=False)


def in_own_process(name: str, pairs: int) -> None:
    """Measure, and tell it on standard output."""
    torch.set_num_threads(1)
    hush()
    keep_freed_memory()
    if name in TWO_RANKS:
        torch.distributed.init_process_group("gloo")
    found = measure(name, pairs)
    if not (name in TWO_RANKS and torch.distributed.get_rank()):
        print(json.dumps(found), flush=True)
    if name in TWO_RANKS:
        torch.distributed.barrier()
        sys.stdout.flush()
        os._exit(0)  # gloo's threads abort now and then where a process ends as usual


def parsed() -> argparse.Namespace:
    """A door, and the number of pairs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("door", choices=NEEDED)
    parser.add_argument("pairs", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    asked = parsed()
    in_own_process(asked.door, asked.pairs)

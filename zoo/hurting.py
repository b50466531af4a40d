"""Whether a fault really hurts: plain training, without us, of the faulty program and of its twin.

Each program runs in a forked child, so torch is imported once.
"""

from __future__ import annotations

import math
import os
import runpy
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from collection import Pair, Program

PATIENCE_S = 240
SMALLEST_GAP = 0.05
"""At every seed the twin must be better by this share of the larger of the two values, without sign."""


@dataclass(frozen=True)
class Outcome:
    """What a plain run printed last, and how long it took."""

    value: float = math.nan
    higher_is_better: bool = True
    failure: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Hurt:
    """Faulty program and twin over the seeds."""

    faulty: tuple[Outcome, ...]
    twin: tuple[Outcome, ...]

    @property
    def verdict(self) -> str:
        """`hurts`, or why it cannot be said."""
        for what, outcomes in (("faulty", self.faulty), ("twin", self.twin)):
            if failures := [each.failure for each in outcomes if each.failure]:
                return f"{what}: {failures[0]}"
        if not all(math.isfinite(each.value) for each in self.twin):
            return "the twin's metric is not finite"
        sign = 1 if self.twin[0].higher_is_better else -1
        for bad, good in zip(self.faulty, self.twin, strict=True):
            gap = sign * (good.value - bad.value)  # no number where the faulty value is none: that hurts
            if gap <= 0:
                return "the twin is not better at every seed"
            if gap < SMALLEST_GAP * max(abs(good.value), abs(bad.value)):
                return "the twin is hardly better"
        return "hurts"


def hurt_all(pairs: list[Pair], seeds: int, jobs: int) -> list[Hurt]:
    """Train every pair at every seed, without us."""
    warm_up()
    work = [(program, seed) for pair in pairs for program in (pair.faulty, pair.twin) for seed in range(seeds)]
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        outcomes = list(pool.map(lambda job: train(*job), work))
    step = 2 * seeds
    return [
        Hurt(tuple(outcomes[at : at + seeds]), tuple(outcomes[at + seeds : at + step]))
        for at in range(0, len(outcomes), step)
    ]


def warm_up() -> None:
    """Import before forking, once for all, what a child would import; a first step imports a good part of torch."""
    import sklearn.datasets
    import sklearn.model_selection
    import sklearn.preprocessing  # noqa: F401
    import torch

    torch.set_num_threads(1)
    layer = torch.nn.Linear(1, 1)
    layer(torch.ones(1, 1)).sum().backward()
    torch.optim.Adam(layer.parameters()).step()


def train(program: Program, seed: int) -> Outcome:
    """Run one program by itself in a forked child; the metric is its last printed line."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / f"{program.name.replace('-', '_')}.py"
        script.write_text(program.text(seed), "utf-8")
        output = Path(folder) / "output.txt"
        child = os.fork()
        if not child:
            _in_child(script, output, seed)
        _, status, used = os.wait4(child, 0)
        text = output.read_text("utf-8", errors="replace") if output.exists() else ""
        return outcome_of(text, os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime)


def _in_child(script: Path, output: Path, seed: int) -> None:
    code = 1
    try:
        signal.alarm(PATIENCE_S)
        os.environ["SEED"] = str(seed)
        os.chdir(script.parent)
        handle = os.open(output, os.O_CREAT | os.O_WRONLY)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.argv = [str(script)]
        runpy.run_path(str(script), run_name="__main__")
        code = 0
    except BaseException as error:  # the child must end here, whatever happened
        code = 0 if isinstance(error, SystemExit) and not error.code else 1
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def outcome_of(text: str, code: int, seconds: float) -> Outcome:
    """The metric from what was printed."""
    lines = text.strip().splitlines() or [""]
    if code:
        return Outcome(failure=f"exit code {code}: {lines[-1][:120]}", seconds=seconds)
    words = lines[-1].split()
    if len(words) != 4 or words[0] != "metric" or words[3] not in ("higher", "lower"):
        return Outcome(failure=f"its last line is no metric: {lines[-1][:80]}", seconds=seconds)
    return Outcome(float(words[2]), words[3] == "higher", seconds=seconds)

"""Run every rule's bug program, its repaired twin, and every healthy program under `stethoscope run`, and count.

    python zoo/run.py                        everything, three seeds each
    python zoo/run.py --seeds 1 --only gan   what has `gan` in its name, once

A rule is *named first* when its finding leads the report of its bug program, *named* when it is found at all or
folded under its cause, and its twin is *silent* when the rule says nothing about the repaired program. A healthy
program is *clean* when nothing graver than a note is found. Exit code 1 when a rule is not named, a twin is not
silent, a healthy program is not clean, or a program fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stethoscope.rules import all_rules

HEALTHY = Path(__file__).parent / "programs" / "healthy"
PATIENCE_S = 180


@dataclass(frozen=True)
class Heard:
    """What was said about one program at one seed."""

    failure: str = ""
    """Last line of the program's own error; empty when it ended well."""
    said: tuple[tuple[str, str], ...] = ()
    """(severity, rule) of the findings, most important first."""
    folded: tuple[str, ...] = ()
    """Rules folded under them."""

    @property
    def first(self) -> str:
        """The rule that leads the report; empty without findings."""
        return self.said[0][1] if self.said else ""

    @property
    def alarms(self) -> tuple[str, ...]:
        """Rules graver than a note."""
        return tuple(rule for severity, rule in self.said if severity != "note")

    def names(self, rule: str) -> bool:
        """Whether the rule spoke, folded or not."""
        return rule in self.folded or any(rule == spoken for _, spoken in self.said)


@dataclass(frozen=True)
class Program:
    """A program of the zoo and how to get its text at a seed."""

    name: str
    text: Callable[[int], str]


@dataclass
class Tally:
    """What was heard of one program over the seeds."""

    heard: list[Heard] = field(default_factory=list)

    def count(self, is_so: Callable[[Heard], bool]) -> int:
        """At how many seeds it was so."""
        return sum(map(is_so, self.heard))


def main() -> int:
    """Run what was asked for and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="run each program with seeds 0 to N - 1")
    parser.add_argument("--only", default="", metavar="NAME", help="programs with NAME in their name")
    options = parser.parse_args()
    rules = [rule for rule in all_rules() if hasattr(rule, "bug") and options.only in rule.name]
    faulty = [Program(rule.name, rule.bug.faulty) for rule in rules]
    twins = [Program(rule.name, rule.bug.fixed) for rule in rules]
    healthy = [_healthy(path) for path in sorted(HEALTHY.glob("*.py")) if options.only in path.stem]

    heard = listen_to_all([*faulty, *twins, *healthy], options.seeds)
    bugs, repaired = heard[: len(rules)], heard[len(rules) : 2 * len(rules)]
    wrong = print_rules([rule.name for rule in rules], bugs, repaired, options.seeds) if rules else 0
    if healthy:
        wrong += print_healthy([program.name for program in healthy], heard[2 * len(rules) :])
    return min(wrong, 1)


def _healthy(path: Path) -> Program:
    text = path.read_text("utf-8")
    return Program(path.stem, lambda seed: text)


def listen_to_all(programs: list[Program], seeds: int) -> list[Tally]:
    """Run each program at each seed, two at a time, with a dot for each that is done."""
    jobs = [(number, seed) for number in range(len(programs)) for seed in range(seeds)]
    tallies = [Tally() for _ in programs]
    with ThreadPoolExecutor(max_workers=2) as pool:
        for (number, _), heard in zip(jobs, pool.map(lambda job: listen(programs[job[0]], job[1]), jobs), strict=True):
            tallies[number].heard.append(heard)
            print("F" if heard.failure else ".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return tallies


def listen(program: Program, seed: int) -> Heard:
    """Run one program under the real command, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / f"{program.name.replace('-', '_')}.py"
        script.write_text(program.text(seed), "utf-8")
        report = Path(folder) / "findings.json"
        environment = {**os.environ, "SEED": str(seed), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "stethoscope", "run", "--json", str(report), script.name]
        try:
            ended = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
            )
        except subprocess.TimeoutExpired:
            return Heard(failure=f"did not end within {PATIENCE_S} s")
        if not report.exists():
            return Heard(failure=(ended.stderr.strip().splitlines() or ["no report"])[-1])
        findings = json.loads(report.read_text("utf-8"))["findings"]
        failure = f"exit code {ended.returncode}" if ended.returncode else ""
        said = tuple((each["severity"], each["rule"]) for each in findings)
        return Heard(failure, said, tuple(rule for each in findings for rule in each["explains"]))


def print_rules(names: list[str], bugs: list[Tally], twins: list[Tally], seeds: int) -> int:
    """A row for each rule; returns how many were not named, not silent, or failed."""
    print(f"{'rule':36}{'named first':>12}{'named':>7}{'twin silent':>13}   instead, or failed")
    wrong = 0
    totals = np.zeros(3, int)
    for name, bug, twin in zip(names, bugs, twins, strict=True):
        counts = np.array([
            bug.count(lambda heard, name=name: heard.first == name),
            bug.count(lambda heard, name=name: heard.names(name)),
            twin.count(lambda heard, name=name: not heard.failure and not heard.names(name)),
        ])  # fmt: skip
        totals += counts
        wrong += int(min(counts[1:]) < seeds)
        astray = [heard.failure or heard.first or "nothing" for heard in bug.heard if heard.first != name]
        astray += [f"twin: {each}" for heard in twin.heard for each in heard.alarms or (heard.failure,) if each]
        print(f"{name:36}{counts[0]:>12}{counts[1]:>7}{counts[2]:>13}   {', '.join(unique(astray))}")
    of = len(names) * seeds
    for what, total in zip(("named first", "named", "twin silent"), totals, strict=True):
        low, high = wilson_interval(int(total), of)
        print(f"{what}: {total} of {of} ({total / of:.1%}, 95 % interval {low:.1%} to {high:.1%})")
    return wrong


def print_healthy(names: list[str], tallies: list[Tally]) -> int:
    """A row for each healthy program at which something was said; returns how many were not clean."""
    print(f"\n{'healthy program':36}   errors and warnings (notes in brackets), or failed")
    runs = alarmed = wrong = 0
    for name, tally in zip(names, tallies, strict=True):
        alarms = [heard.failure or rule for heard in tally.heard for rule in heard.alarms or (heard.failure,)]
        notes = [f"({rule})" for heard in tally.heard for severity, rule in heard.said if severity == "note"]
        runs += len(tally.heard)
        bad = tally.count(lambda heard: bool(heard.alarms or heard.failure))
        alarmed += bad
        wrong += bool(bad)
        if said := unique([*alarms, *notes]):
            print(f"{name:36}   {', '.join(said)}")
    low, high = wilson_interval(alarmed, runs)
    print(f"runs with a false alarm: {alarmed} of {runs} ({alarmed / runs:.1%}, 95 % interval {low:.1%} to {high:.1%})")
    return wrong


def unique(texts: Iterable[str]) -> list[str]:
    """Each text once, in order, with the number of times it came when it was more than one."""
    kept = [text for text in texts if text]
    return [text + (f" x{kept.count(text)}" if kept.count(text) > 1 else "") for text in dict.fromkeys(kept)]


def wilson_interval(hits: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Interval for a share, 0..1, at 95 % for the given `z`. Source: Wilson 1927, JASA 22, p. 209."""
    if not trials:
        return 0.0, 1.0
    share = hits / trials
    middle = share + z * z / (2 * trials)
    spread = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return float(max(0.0, (middle - spread) / scale)), float(min(1.0, (middle + spread) / scale))


if __name__ == "__main__":
    sys.exit(main())

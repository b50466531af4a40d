"""Run programs under the real command, `stethoscope run --json` or `check`, and keep what was said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collection import Program

from stethoscope.rules import all_rules

PATIENCE_S = 300
TORCHRUN = "# torchrun --nproc_per_node 2"
"""Begins a program that runs in two processes."""
LAUNCH = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2")
BEFORE_TRAINING = {
    "parameters-not-in-optimizer", "parameters-in-two-optimizers",
    "loss-detached", "softmax-before-cross-entropy", "sigmoid-before-bce-with-logits",
    "nll-without-log-softmax", "bce-without-sigmoid", "cross-entropy-without-softmax", "wrong-softmax-dim",
    "loss-unfit-for-task", "output-activation-limits-range", "target-shape-broadcast", "loss-arguments-swapped",
    "loss-not-at-chance", "loss-terms-imbalanced", "regularization-dominates-loss", "padding-in-loss",
    "numerical-instability", "gradient-mismatch", "saturated-activations", "saturating-activation-stack",
    "missing-nonlinearity", "symmetric-initialization", "badly-scaled-initialization", "disconnected-parameters",
    "unregistered-modules", "frozen-parameters", "shared-submodule-unintended", "dropout-before-batch-norm",
    "batch-norm-tiny-batch", "learning-rate-too-high", "learning-rate-too-low", "unnormalized-input",
    "unnormalized-target", "label-out-of-range", "collapsed-predictions", "future-leakage", "batch-leakage",
    "input-ignored", "cannot-overfit-batch", "aspect-breaks-training", "nondeterministic", "forward-crash",
}  # fmt: skip
"""Faults that can be seen before training: what is left of those that the catalogue marks with `check` shows itself
only while the network trains (a schedule, a decay, dropout that is too strong, statistics that never settle)."""
CURED = ("cured", "helped")
TREATED = {rule.name for rule in all_rules() if rule.treatments}
"""Rules whose findings can be tried on copies."""


@dataclass(frozen=True)
class Said:
    """One finding."""

    severity: str
    rule: str
    folded: tuple[str, ...] = ()
    """Rules folded under it."""
    proof: str = ""
    """Verdict of the experiment on a copy; empty where there was none."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its rule and what is folded under it."""
        return (self.rule, *self.folded)


@dataclass(frozen=True)
class Heard:
    """What was said about one program at one seed, most important first."""

    failure: str = ""
    """Last line of the program's own error; empty when it ended well."""
    said: tuple[Said, ...] = ()
    announced: tuple[str, ...] = ()
    """Rules that spoke while the program trained."""

    @property
    def first(self) -> str:
        """The rule that leads the report; empty without findings."""
        return self.said[0].rule if self.said else ""

    @property
    def alarms(self) -> tuple[str, ...]:
        """Rules graver than a note."""
        return tuple(each.rule for each in self.said if each.severity != "note")

    def names(self, rules: Sequence[str], first: int | None = None) -> bool:
        """Whether one of the rules spoke, folded or not, among the first so many findings, by more than a note."""
        return any(rule in each.names for each in self.said[:first] if each.severity != "note" for rule in rules)

    def leads(self, rules: Sequence[str]) -> bool:
        """Whether one of the rules leads the report as the cause itself."""
        return self.first in rules

    def may_prove(self, rules: Sequence[str]) -> bool:
        """Whether one of the first findings is of one of the rules, and that has a treatment."""
        return any(each.rule in rules and each.rule in TREATED for each in self.said[:3])

    def proves(self, rules: Sequence[str]) -> bool:
        """Whether a leading finding of one of the rules was proven by a cure on a copy."""
        return any(each.rule in rules and each.proof in CURED for each in self.said[:3])


@dataclass
class Tally:
    """What was heard of one program over the seeds."""

    heard: list[Heard] = field(default_factory=list)

    def count(self, is_so: Callable[[Heard], bool]) -> int:
        """At how many seeds it was so."""
        return sum(map(is_so, self.heard))


def listen_to_all(
    programs: Sequence[Program], seeds: int, jobs: int, keep: Path | None = None, verb: str = "run"
) -> list[Tally]:
    """Run each program at each seed, with a dot for each that is done; what each printed is kept in a folder."""
    work = [(number, seed) for number in range(len(programs)) for seed in range(seeds)]
    tallies = [Tally() for _ in programs]
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        for (number, _), heard in zip(
            work, pool.map(lambda job: listen(programs[job[0]], job[1], keep, verb), work), strict=True
        ):
            tallies[number].heard.append(heard)
            print("F" if heard.failure else ".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return tallies


def listen(program: Program, seed: int, keep: Path | None = None, verb: str = "run") -> Heard:
    """Run one program in an empty folder; its findings, and what it printed with them, may be kept in another.

    What is in that folder already is not run again, so that an evaluation of an hour can be taken up where it ended.
    """
    kept = None if keep is None else keep / f"{program.name}-{seed}.json"
    if kept is not None and kept.exists():
        return _heard(kept.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / f"{program.name.replace('-', '_')}.py"
        script.write_text(program.text(seed), "utf-8")
        report = Path(folder) / "findings.json"
        environment = {**os.environ, "SEED": str(seed), "OMP_NUM_THREADS": "1"}
        launch = ["-m", *LAUNCH] if program.text(seed).startswith(TORCHRUN) else []
        command = [sys.executable, *launch, "-m", "stethoscope", *verb.split(), "--json", str(report), script.name]
        try:
            ended = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
            )
        except subprocess.TimeoutExpired:
            return Heard(failure=f"did not end within {PATIENCE_S} s")
        found = report.read_text("utf-8") if report.exists() else ""
        if kept is not None:
            kept.with_suffix(".txt").write_text(ended.stdout + ended.stderr, "utf-8")
            if found:
                kept.write_text(found, "utf-8")
        if not found:
            return Heard(failure=(ended.stderr.strip().splitlines() or ["no report"])[-1][:160])
        return _heard(found)


def _heard(report: str) -> Heard:
    document = json.loads(report)
    code = document["run"]["exit_code"]
    announced = tuple(each["rule"] for each in document["summary"]["announced"])
    return Heard(f"exit code {code}" if code else "", tuple(map(_said, document["findings"])), announced)


def _said(finding: dict[str, Any]) -> Said:
    proof = finding.get("proof") or {}
    return Said(finding["severity"], finding["rule"], tuple(finding["explains"]), proof.get("verdict") or "")

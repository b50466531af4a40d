"""What differs between two recorded runs, and what it did to their curves."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import Curve, Doubles
from stethoscope.store.reader import Run

SHOWN_LINES = 6
"""Lines of a model's structure that are shown for each run; the rest is counted."""
FINAL_SHARE = 10
"""The end of a training curve is the median of its last tenth, so that one batch decides nothing."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same in two runs."""

    subject: str
    """A part of the record: `command`, `arguments`, `optimizers`, `models`, `loaders`, `data`, `seeds`,
    `git`, `packages`, `python`, `hardware` or `environment`."""
    name: str
    """What of it, such as `lr`; empty when the subject is one thing."""
    a: str
    """Its value in the first run; empty when it has none."""
    b: str


@dataclass(frozen=True)
class CurveComparison:
    """The same curve in two runs. NaN where a run never had a finite value."""

    name: str
    lower_is_better: bool
    first_difference: int | None
    """First step at which the two are not the same number; None when they agree as long as both go on."""
    final_a: float
    """Median of the last tenth in training, last value in validation."""
    final_b: float
    best_a: float
    best_b: float
    target: float
    """The best value of the run whose best is worse: both have reached it."""
    steps_a: int | None
    """Step at which the first run reached the target."""
    steps_b: int | None


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side."""

    a: RunRecord
    b: RunRecord
    differences: tuple[Difference, ...]
    """Grouped by subject, those that change results most directly first."""
    curves: tuple[CurveComparison, ...]
    """Losses and accuracies that both runs have."""
    only_a: tuple[str, ...] = ()
    """Losses and accuracies that only the first run has."""
    only_b: tuple[str, ...] = ()


def compare(a: Run, b: Run) -> Comparison:
    """Put two runs side by side.

    Values are compared as they were recorded: equal seeds on equal machines give curves that agree to the
    last bit, so the first difference is where the runs parted.
    """
    curves_a, curves_b = _judged(a), _judged(b)
    both = [name for name in curves_a if name in curves_b]
    return Comparison(
        a=a.record,
        b=b.record,
        differences=tuple(_differences(a.record, b.record)),
        curves=tuple(_compare_curves(curves_a[name], curves_b[name]) for name in both),
        only_a=tuple(name for name in curves_a if name not in curves_b),
        only_b=tuple(name for name in curves_b if name not in curves_a),
    )


def _differences(a: RunRecord, b: RunRecord) -> Iterator[Difference]:
    described_a, described_b = _described(a), _described(b)
    for subject, values_a in described_a.items():
        values_b = described_b[subject]
        for name in [*values_a, *(name for name in values_b if name not in values_a)]:
            before, after = values_a.get(name, ""), values_b.get(name, "")
            if before == after:
                continue
            if "\n" in before + after:
                before, after = _parted(before, after)
            yield Difference(subject, name, before, after)


def _described(record: RunRecord) -> dict[str, dict[str, str]]:
    """What may differ, by subject, as names and texts."""
    return {
        "command": {"": " ".join(record.command), "directory": record.directory},
        "arguments": _flat(record.arguments),
        "optimizers": _flat(record.optimizers),
        "models": _flat(record.models),
        "loaders": _flat(record.loaders),
        "data": {"fingerprint": record.data_fingerprint},
        "seeds": _flat(record.seeds),
        "git": _flat({**record.git, "commit": str(record.git.get("commit", ""))[:12]}),
        "packages": _flat(record.packages),
        "python": {"": record.python},
        "hardware": _flat(record.hardware) | {"processes": str(record.world_size)},
        "environment": _flat(record.environment),
    }


def differing(records: Sequence[RunRecord]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """What is not the same in all runs: subject, name, and its value in each of them; long texts are shortened."""
    described = [_described(record) for record in records]
    for subject in described[0] if described else ():
        if subject == "packages":
            continue  # hundreds of them, and two runs side by side show them
        names = dict.fromkeys(name for one in described for name in one[subject])
        for name in names:
            values = tuple(one[subject].get(name, "") for one in described)
            if len(set(values)) > 1 and not any("\n" in value for value in values):
                yield subject, name, values


def settings_of(record: RunRecord) -> Iterator[tuple[str, str, str]]:
    """What was set for a run: subject (`argument`, `optimizer`, `loader`, `seed`), name and value as text."""
    for subject, value in (
        ("argument", record.arguments),
        ("optimizer", record.optimizers),
        ("loader", record.loaders),
        ("seed", record.seeds),
    ):
        for name, text in _flat(value).items():
            yield subject, name, text


def _flat(value: Any, path: tuple[str, ...] = ()) -> dict[str, str]:
    """Nested settings as `groups.1.lr` to text; the number is left out where a list has one entry."""
    if isinstance(value, Mapping):
        parts = [(str(key), entry) for key, entry in value.items()]
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping | list | tuple) for v in value):
        parts = [("" if len(value) == 1 else str(number), entry) for number, entry in enumerate(value)]
    else:
        name = ".".join(part for part in path if part)
        return {name: value if isinstance(value, str) else repr(value)}
    return {name: text for key, entry in parts for name, text in _flat(entry, (*path, key)).items()}


def _parted(before: str, after: str) -> tuple[str, str]:
    """The lines that only one of two long texts has."""
    gone, new = [], []
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))
    for line in lines[2:]:  # below the two names of files
        if line.startswith("-"):
            gone.append(line[1:])
        elif line.startswith("+"):
            new.append(line[1:])
    return _shortened(gone), _shortened(new)


def _shortened(lines: list[str]) -> str:
    more = len(lines) - SHOWN_LINES
    return "\n".join([*lines[:SHOWN_LINES], *([f"and {more} more lines"] if more > 0 else [])])


def _judged(run: Run) -> dict[str, Curve]:
    """Curves of which it is known what is better."""
    return {curve.name: curve for curve in run.history.curves if curve.kind in ("loss", "accuracy")}


def _compare_curves(a: Curve, b: Curve) -> CurveComparison:
    lower = a.kind == "loss"
    best_a, best_b = _best(a, lower), _best(b, lower)
    target = float(max(best_a, best_b) if lower else min(best_a, best_b))
    if np.isnan(best_a) or np.isnan(best_b):
        target = float("nan")
    return CurveComparison(
        name=a.name,
        lower_is_better=lower,
        first_difference=_first_difference(a, b),
        final_a=_final(a),
        final_b=_final(b),
        best_a=best_a,
        best_b=best_b,
        target=target,
        steps_a=_reached(a, target, lower),
        steps_b=_reached(b, target, lower),
    )


def _first_difference(a: Curve, b: Curve) -> int | None:
    shared = slice(min(a.values.size, b.values.size))
    values_a, values_b = a.values[shared], b.values[shared]
    same = (values_a == values_b) | (np.isnan(values_a) & np.isnan(values_b))
    apart = np.flatnonzero(~same | (a.steps[shared] != b.steps[shared]))
    return int(min(a.steps[apart[0]], b.steps[apart[0]])) if apart.size else None


def _final(curve: Curve) -> float:
    if not curve.values.size:
        return float("nan")
    count = max(1, curve.values.size // FINAL_SHARE) if curve.phase == "training" else 1
    return float(np.median(curve.values[-count:]))


def _best(curve: Curve, lower: bool) -> float:
    finite: Doubles = curve.values[np.isfinite(curve.values)]
    if not finite.size:
        return float("nan")
    return float(finite.min() if lower else finite.max())


def _reached(curve: Curve, target: float, lower: bool) -> int | None:
    there = np.flatnonzero(curve.values <= target if lower else curve.values >= target)
    return int(curve.steps[there[0]]) if there.size else None

"""What a logged curve is, by the words of its name: a loss, an accuracy, a rate; in training or in validation.

Names are all that a log holds of it. Where they leave open which of several losses is the one that is minimized, none
is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

VALIDATION = {"val", "valid", "validation", "eval", "evaluation", "test", "testing", "dev", "heldout", "holdout"}
TRAINING = {"train", "training", "trn"}
PHASES = VALIDATION | TRAINING
LOSS = {"loss", "losses", "nll", "cost", "xent", "bce", "crossentropy"}
ACCURACY = {"acc", "accuracy", "top1"}
RATE = {"lr"}
BY_STEP = {"step", "steps", "batch", "iteration", "iterations", "iter", "vs"}
BY_EPOCH = {"epoch", "epochs"}
PLAIN = PHASES | BY_STEP | BY_EPOCH | {
    "total", "mean", "avg", "average", "running", "per", "by", "metrics", "metric", "scalars", "logs", "log", "main",
    "overall", "all", "global", "the", "curve", "curves", "trainer", "history",
}  # fmt: skip
"""Words that say nothing of which loss it is."""
OTHER_MEANING = {
    "scale", "scaler", "weight", "weights", "grad", "norm", "ratio", "lambda", "coef", "time", "best", "min",
}  # fmt: skip
"""With one of these it is no loss: `loss_scale`, `best_loss`."""
REWARDS = {"reward", "rewards", "episode", "rollout", "rew", "ep"}
"""Learning from rewards: its losses are not meant to fall."""


@dataclass(frozen=True)
class Meaning:
    """Of one name."""

    kind: str
    """`loss`, `accuracy`, `learning rate`, `norm`, or `other`."""
    phase: str
    rest: frozenset[str]
    """Words that tell it from others of its kind."""
    words: frozenset[str]


def words_of(name: str) -> frozenset[str]:
    """`valLoss/epoch_1` as `val`, `loss`, `epoch`, `1`."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return frozenset(re.findall(r"[a-z]+1?|[0-9]+", parted))


def meaning(name: str) -> Meaning:
    """What a name says."""
    words = words_of(name)
    phase = "validation" if words & VALIDATION else "training"
    kind, own = "other", frozenset[str]()
    if words & OTHER_MEANING:
        kind, own = ("norm", words) if {"grad", "norm"} <= words else ("other", own)
    elif words & LOSS or {"cross", "entropy"} <= words:
        kind, own = "loss", frozenset(LOSS | ({"cross", "entropy"} if not words & LOSS else set()))
    elif words & ACCURACY:
        kind, own = "accuracy", frozenset(ACCURACY)
    elif words & RATE or {"learning", "rate"} <= words:
        kind, own = "learning rate", words
    return Meaning(kind, phase, words - own - PLAIN, words)


def learns_from_rewards(names: Iterable[str]) -> bool:
    """Whether rewards are logged."""
    return any(words_of(name) & REWARDS for name in names)


def main_names(sizes: Mapping[str, int]) -> dict[tuple[str, str], str]:
    """Of each kind and phase the name of the curve that stands for it; none where that is open.

    Args:
        sizes: points of each curve.
    """
    found: dict[tuple[str, str], list[tuple[str, Meaning]]] = {}
    for name in sizes:
        said = meaning(name)
        if said.kind != "other":
            found.setdefault((said.kind, said.phase), []).append((name, said))
    chosen = {}
    for (kind, phase), alike in found.items():
        plain = [entry for entry in alike if not entry[1].rest]
        # Which of several losses is the one that is minimized is not for us to guess; of rates any one will do.
        few = plain or (alike if len(alike) == 1 or kind in ("learning rate", "norm") else [])
        if few:
            chosen[kind, phase] = max(few, key=lambda entry: (_fits(entry[1]), sizes[entry[0]]))[0]
    return chosen


def _fits(said: Meaning) -> int:
    """Validation by epochs is a point a pass; where both phases have a name for it, that of the phase is meant."""
    if said.phase == "validation":
        by_pass = 2 if said.words & BY_EPOCH and not said.words & BY_STEP else 0
        return by_pass - (1 if said.words & BY_STEP else 0) - (1 if said.words & {"test", "testing"} else 0)
    return 0

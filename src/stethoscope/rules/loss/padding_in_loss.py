"""Padded positions that count in the loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Link, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Code, Site
from stethoscope.facts.loss_calls import losses_of
from stethoscope.facts.padding import IGNORED, next_tokens, padded_from
from stethoscope.facts.samples import Tokens
from stethoscope.facts.things import literal
from stethoscope.facts.training import Curve, History
from stethoscope.rules.examples import with_curve
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import at, code, place_at

SAME_LOSS = 1e-3
"""A backpropagated loss this close to the mean over all positions, at nine steps of ten, is that mean."""
FEWEST_VALUES = 10
"""Losses that must have one and the same ratio to that mean to be a multiple of it, such as a sum."""

_padded = Tokens(
    function="cross_entropy", site=Site("train.py", 40, "", "loss = F.cross_entropy(scores, y)"), batches=40,
    positions=20_000, classes=60, padding_token=0, padded=9_000, padded_counted=9_000, padded_target=0,
    padded_target_share=1.0, lengths=12,
)  # fmt: skip


def _run(**facts: Any) -> History:
    return History(steps=200, tokens=(replace(_padded, **facts),))


def _each(factor: Any) -> History:
    """A loss for each position; what is backpropagated is the mean over all, times a factor."""
    means = np.linspace(2.0, 0.5, 100)
    seen = _run(whole_steps=np.arange(100), whole_means=means)
    return with_curve(seen, Curve("training loss", "loss", "training", np.arange(100), factor * means))


def _masked() -> History:
    """A loss for each position, averaged over those that a mask keeps: padding is easier by and by."""
    return _each(np.linspace(1.2, 2.4, 100))


def _summed(lengths: Any) -> History:
    """A loss for each position, summed over the positions of a row."""
    seen = _each(lengths)
    return replace(seen, tokens=(replace(seen.tokens[0], whole_lengths=lengths),))


class PaddingInLoss(Rule):
    """Positions that only fill up shorter rows count in the loss as if they were data.

    ## What it sees
    Input tokens: one of them stands at the ends of rows (or at their starts), of many lengths, and nowhere else; or
    inputs of numbers, which are all 0 there, or the same, or the last ones again. The targets there are one and the
    same class, or numbers that do not change, and the loss does not leave them out. Of a loss for each position, also
    of one written out by hand, the mean over all positions or their sum is what is backpropagated.
    In code: targets that `pad_sequence` has filled up, in a cross-entropy that is not told what to leave out.
    ## Why it hurts
    To answer "padding" after padding is learned in a few steps. The loss then looks low, most of the gradient's
    positions say nothing, and losses of batches with rows of other lengths cannot be compared. An accuracy over all
    positions is too high as well.
    ## How to fix it
    Tell the loss which class to leave out, or give padded targets the class -100, which it leaves out by default. Where
    targets are numbers, average over the positions that a mask keeps.
    ## When it is not a fault
    A class that means "nothing more comes" and is meant to be learned, when it stands once at the end of a row.
    ## Sources
    PyTorch documentation, `torch.nn.CrossEntropyLoss`: `ignore_index`.
    """

    on_trial = True
    severity = Severity.WARNING
    explains = ("collapsed-predictions",)
    reads = ("losses", "samples")

    share = Limit(0.2, unit="share of the positions", why="less padding shifts the loss by less than its noise")
    elsewhere = Limit(
        0.01, unit="times it stands elsewhere / times at an end", why="a token that also means something is no padding"
    )
    one_target = Limit(
        0.99, unit="share of the most frequent target there", why="targets that differ are answers and no padding"
    )
    counted = Limit(0.95, unit="share of the padded positions that count", why="the first end mark of a row may count")
    lengths = Limit(3, unit="different row lengths", why="an end that is always the same may be part of the task")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each loss with a target for each token."""
        if not seen.tokens:
            yield self.cannot_tell("no loss with a target for each input token was seen")
        for tokens in seen.tokens:
            if (
                _is_averaged(seen, tokens)
                and tokens.padded >= self.share * tokens.positions > 0
                and tokens.padding_elsewhere <= self.elsewhere * tokens.padded
                and tokens.padded_counted >= self.counted * tokens.padded
                and tokens.padded_target_share >= self.one_target
                and tokens.lengths >= self.lengths
            ):
                yield self._report(seen, tokens)

    def _report(self, seen: History, tokens: Tokens) -> Finding:
        share = tokens.padded_counted / tokens.positions
        target = tokens.padded_target
        what = f"target {target}" if tokens.classes else "a target of 0" if target == 0 else "the same target"
        filled = (tokens.filled_with or "zeros") if tokens.of_numbers else f"token {tokens.padding_token}"
        where = "from the start of the row" if tokens.padded_first else "to the end of the row"
        return self.finding(
            f"{share:.0%} of the positions in {_called(tokens)} are padding",
            place=place_at(tokens.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"positions filled with {filled} {where}",
                    f"{tokens.padded:,} of {tokens.positions:,}",
                    "left out of the loss",
                    f"{tokens.batches} batches, rows of {tokens.lengths} lengths",
                ),
                Evidence(
                    f"of these, counted with {what}",
                    f"{tokens.padded_counted * tokens.padded_target_share:,.0f}",
                    "0",
                ),
            ],
            cause=f"The loss at {at(tokens.site)} averages over all positions, so {share:.0%} of it measures how well "
            "padding is told from data, which is soon learned.",
            fixes=[Fix("Leave the padding out:\n" + _fix(seen, tokens))],
            unless=f"{what} at the end of a row is something to be learned.",
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow the targets of each loss of classes back to where they were filled up."""
        for loss in losses_of(file):
            if loss.function not in ("cross_entropy", "nll_loss") or loss.call.is_open or len(loss.call.arguments) > 2:
                continue
            told = (loss.option(name) is not None for name in ("ignore_index", "weight"))
            if any(told) or literal(file, loss.option("reduction")) == "none":
                continue
            padded = padded_from(file, loss.target) or next_tokens(file, loss.given, loss.target)
            if padded is None or padded[1] == IGNORED or (loss.made is not None and loss.made.is_open):
                continue
            call, number = padded
            yield self.finding(
                f"targets are filled up with {number}, and `{loss.function}` counts them",
                sureness=Sureness.CERTAIN,
                place=place_in(file, loss.call.at),
                evidence=[Evidence(f"class that rows are filled up with, by {line_of(file, call.at)}", number,
                                   "left out, by `ignore_index`")],
                cause="Positions that only fill up shorter rows are answers to be learned: the easiest of all, and the "
                "most frequent.",
                fixes=["Leave them out:\n" + code(f"F.cross_entropy(scores, targets, ignore_index={number})"),
                       "Or fill up with what is left out anyway:\n" + code("pad_sequence(rows, padding_value=-100)")],
                chain=[Link(place_in(file, loss.call.at), "the loss counts all positions"),
                       Link(place_in(file, call.at), "says what fills them up")],
            )  # fmt: skip

    bad = Examples(
        lambda: {
            "nearly half of the positions": _run(),
            "a share next to the limit": _run(padded=4_100, padded_counted=4_100),
            "seen elsewhere now and then": _run(padding_elsewhere=88),
            "targets there are nearly all one class": _run(padded_target_share=0.993),
            "some of it is left out": _run(padded_counted=8_700),
            "three lengths": _run(lengths=3),
            "series filled with zeros": _run(function="mse_loss", of_numbers=True, classes=0, padding_token=0),
            "a loss for each position, averaged over all": _each(1.0),
            "a loss for each position, added up": _each(30.0),
            "a loss for each position, added up for each row": _summed(np.arange(20, 120)),
            "padded at the start": _run(padded_first=True),
            "the last numbers again": _run(of_numbers=True, classes=0, filled_with="the last numbers again"),
        }
    )
    good = Examples(
        lambda: {
            "left out of the loss": _run(padded_counted=0, padded_target=-1, padded_target_share=float("nan")),
            "a share just below the limit": _run(padded=3_900, padded_counted=3_900),
            "seen elsewhere a little more often": _run(padding_elsewhere=92),
            "a space, which means something": _run(padding_token=1, padded=486, padding_elsewhere=4_769),
            "targets there differ": _run(padded_target_share=0.985),
            "more of it is left out": _run(padded_counted=8_400),
            "two lengths": _run(lengths=2),
            "a loss for each position, averaged over a part": _masked(),
            "no padding": _run(padded=0, padded_counted=0, padding_token=-1, lengths=1),
        }
    )
    bad_code = {
        "through a loader": """
            from torch.nn.utils.rnn import pad_sequence
            import torch.nn.functional as F
            from torch.utils.data import DataLoader

            def collate(rows):
                inputs = pad_sequence([row[0] for row in rows], batch_first=True)
                return inputs, pad_sequence([row[1] for row in rows], batch_first=True)

            def train(model, data):
                for x, y in DataLoader(data, collate_fn=collate):
                    F.cross_entropy(model(x).flatten(0, 1), y.view(-1)).backward()  # bad
            """,
        "a padding index": """
            from torch import nn

            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.letters = nn.Embedding(28, 32, padding_idx=0)
                    self.out = nn.Linear(32, 28)

                def forward(self, x):
                    return self.out(self.letters(x))

            def train(rows):
                model, criterion = Net(), nn.CrossEntropyLoss()
                scores = model(rows[:, :-1])
                criterion(scores.flatten(0, 1), rows[:, 1:].reshape(-1)).backward()  # bad
            """,
        "the next token": """
            from torch.nn.utils.rnn import pad_sequence
            from torch import nn

            def train(model, rows):
                criterion = nn.CrossEntropyLoss()
                x = pad_sequence(rows, batch_first=True, padding_value=3)
                criterion(model(x[:, :-1]).transpose(1, 2), x[:, 1:]).backward()  # bad
            """,
    }
    good_code = {
        "left out": """
            from torch.nn.utils.rnn import pad_sequence
            from torch import nn
            import torch.nn.functional as F

            def train(model, rows, mask):
                criterion = nn.CrossEntropyLoss(ignore_index=3)
                x = pad_sequence(rows, batch_first=True, padding_value=3)
                criterion(model(x[:, :-1]).transpose(1, 2), x[:, 1:]).backward()
                F.cross_entropy(model(x)[mask], x[mask]).backward()
                y = pad_sequence(rows, batch_first=True, padding_value=-100)
                F.cross_entropy(model(x), y).backward()
                (F.cross_entropy(model(x), x, reduction="none") * mask).mean().backward()
            """,
        "one class for each row": """
            from torch.nn.utils.rnn import pad_sequence
            import torch.nn.functional as F

            def train(model, rows, labels):
                F.cross_entropy(model(pad_sequence(rows)), labels).backward()
            """,
    }
    bug = Bug("""
        import re

        import torch
        from sklearn.datasets import load_breast_cancer, load_digits, load_wine
        from torch import nn

        torch.manual_seed(SEED)
        text = load_digits().DESCR + load_wine().DESCR + load_breast_cancer().DESCR
        words = sorted(set(re.findall(r"[a-z]{3,16}", text.lower())))
        rows = torch.zeros(len(words), 18, dtype=torch.long)
        for number, word in enumerate(words):
            rows[number, : len(word) + 1] = torch.tensor([27] + [ord(letter) - 96 for letter in word])
        rows = rows[torch.randperm(len(rows))]

        class Speller(nn.Module):
            def __init__(self):
                super().__init__()
                self.letters = nn.Embedding(28, 32, padding_idx=0)
                self.memory = nn.GRU(32, 64, batch_first=True)
                self.out = nn.Linear(64, 28)

            def forward(self, x):
                return self.out(self.memory(self.letters(x))[0])

        model = Speller()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        criterion = nn.CrossEntropyLoss()  # fix: criterion = nn.CrossEntropyLoss(ignore_index=0)

        for epoch in range(10):
            for batch in rows.split(32):
                scores = model(batch[:, :-1])
                loss = criterion(scores.flatten(0, 1), batch[:, 1:].flatten())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        print(f"loss {loss.item():.4f}")
        """)


def _is_averaged(seen: History, tokens: Tokens) -> bool:
    """Whether what is backpropagated is a mean over all positions; a loss for each may have been masked."""
    if not tokens.whole_steps.size:
        return True
    curve = seen.curve("loss")
    if curve is None:
        return False
    _, mine, theirs = np.intersect1d(tokens.whole_steps, curve.steps, return_indices=True)
    means, values = tokens.whole_means[mine], curve.values[theirs]
    if _are_the_same(values, means):
        return True
    lengths = tokens.whole_lengths[mine] if tokens.whole_lengths.size else np.ones(means.size)
    if means.size < FEWEST_VALUES or not (np.isfinite(values).all() and (means != 0).all()):
        return False
    ratios = (values / means, values / (means * lengths))
    return any(_are_the_same(ratio, np.full(ratio.size, np.median(ratio))) for ratio in ratios)


def _are_the_same(values: Any, others: Any) -> bool:
    """Whether nine of ten are, but for rounding."""
    return bool(values.size and np.mean(np.abs(values - others) <= SAME_LOSS * np.abs(others)) >= 0.9)


def _called(tokens: Tokens) -> str:
    """The loss in words."""
    return "the loss" if tokens.function == "backward" else f"`{tokens.function}`"


def _fix(seen: History, tokens: Tokens) -> str:
    """Code that leaves padded positions out of this loss."""
    if seen.framework == "keras":
        return code("layers.Embedding(tokens, width, mask_zero=True)")
    kept = f"(x != {tokens.padding_token})"
    if tokens.of_numbers:
        is_zero = tokens.filled_with in ("", "zeros")
        kept = "(x != 0).any(dim=-1)" if is_zero else "(torch.arange(x.shape[1]) < lengths.unsqueeze(1))"
    if tokens.whole_steps.size:
        return code(f"mask = {kept}.float()", "loss = (losses * mask).sum() / mask.sum()")
    if tokens.classes and not tokens.of_numbers:
        return code(f"loss = F.{tokens.function}(scores, targets, ignore_index={tokens.padded_target})")
    return code(f"mask = {kept}", f"loss = F.{tokens.function}(output[mask], target[mask])")

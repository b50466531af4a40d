"""A language model that is asked for the token after the next one, since its labels were shifted twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Site
from stethoscope.facts.samples import Tokens
from stethoscope.facts.training import History
from stethoscope.rules.examples import falling, run
from stethoscope.rules.sites import at, code, place_at

FEWEST_BATCHES = 3
FEWEST_CLASSES = 5

_twice = Tokens(
    function="cross_entropy", site=Site("train.py", 40, "", "loss = model(ids, labels=labels).loss"), batches=40,
    positions=20_000, classes=60, same_share=0.06, next_share=1.0, first_next_share=0.05,
    first_second_share=1.0,
)  # fmt: skip


def _run(*others: Tokens, **facts: Any) -> History:
    return replace(run(falling(3.0, 2.0), chance=3.0), tokens=(replace(_twice, **facts), *others))


class LabelsShiftedTwice(Rule):
    """Labels of a language model were shifted twice: a position is asked for the token after the next.

    ## What it sees
    Input tokens beside the targets that the loss is given in the end, wherever it is computed: nearly each target is
    the input two positions later, and only by chance the next one.
    ## Why it hurts
    The network learns to leave a token out. Its loss falls, somewhat less far, and what it generates skips every other
    word.
    ## How to fix it
    Shift once. The causal models of Transformers shift the labels themselves: give them the input tokens as labels.
    ## When it is not a fault
    A model that predicts the token after the next one on purpose; where another loss beside it asks for the next one,
    nothing is said.
    ## Sources
    Hugging Face, "Causal language modeling" (documentation of Transformers): labels are shifted inside the model.
    """

    severity = Severity.WARNING
    explains = ("no-gain-over-baseline", "underfitting", "loss-not-decreasing")
    reads = ("losses", "samples")

    second = Limit(
        0.98,
        unit="share of targets that are the input two positions later",
        why="all of them are, but for marks at the ends of texts",
    )
    following = Limit(
        0.5,
        unit="share of targets that are the next input as well",
        why="in text a tenth; where most are, tokens repeat, and both shifts look the same",
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each loss with a target for each token."""
        judged = [t for t in seen.tokens if t.batches >= FEWEST_BATCHES and t.classes >= FEWEST_CLASSES]
        if not judged:
            yield self.cannot_tell("no loss with a target for each input token was seen")
        if any(tokens.first_next_share >= self.second for tokens in judged):
            return
        for tokens in judged:
            if tokens.first_second_share >= self.second and tokens.first_next_share < self.following:
                yield self._report(seen, tokens)

    def _report(self, seen: History, tokens: Tokens) -> Finding:
        return self.finding(
            "labels are shifted twice: targets are the tokens after the next ones",
            sureness=Sureness.LIKELY,
            place=place_at(tokens.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "targets equal to the input two positions later",
                    f"{tokens.first_second_share:.1%}",
                    "as rare as repeated tokens",
                    f"{tokens.positions:,} positions of {tokens.batches} batches",
                ),
                Evidence(
                    "targets equal to the next input", f"{tokens.first_next_share:.1%}", "100 %, of a language model"
                ),
            ],
            cause=f"What the loss at {at(tokens.site)} compares in the end was shifted where the labels were made, and "
            "once more in the model, which shifts them itself.",
            fixes=[
                Fix(
                    "Give a causal model of Transformers the tokens as they are:\n"
                    + code("outputs = model(input_ids=ids, labels=ids)")
                ),
                Fix("Or shift once, and compute the loss yourself:\n"
                    + code("x, y = tokens[:, :-1], tokens[:, 1:]",
                           "loss = F.cross_entropy(model(x).logits.flatten(0, 1), y.flatten())")),
            ],
            unless="the model is meant to predict two tokens ahead.",
        )  # fmt: skip

    bad = Examples(
        lambda: {
            "shifted twice": _run(),
            "some targets are end marks": _run(first_second_share=0.985),
            "tokens repeat": _run(first_next_share=0.49),
            "beside a loss of labels": _run(replace(_twice, first_second_share=0.05, classes=2)),
        }
    )
    good = Examples(
        lambda: {
            "shifted once": _run(first_next_share=1.0, first_second_share=0.05),
            "all tokens are the same": _run(first_next_share=0.51),
            "too few are": _run(first_second_share=0.975),
            "a second head that looks two ahead": _run(replace(_twice, first_next_share=1.0, first_second_share=0.05)),
            "two classes": _run(classes=2),
            "two batches": _run(batches=2),
            "a tagger": _run(first_second_share=0.1),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_breast_cancer, load_digits, load_wine
        from torch import nn

        torch.manual_seed(SEED)
        text = load_digits().DESCR + load_wine().DESCR + load_breast_cancer().DESCR
        letters = sorted(set(text))
        data = torch.tensor([letters.index(letter) for letter in text])
        length = 24

        class Writer(nn.Module):
            def __init__(self):
                super().__init__()
                self.token = nn.Embedding(len(letters), 32)
                self.layer = nn.GRU(32, 64, batch_first=True)
                self.out = nn.Linear(64, len(letters))

            def forward(self, ids, labels):
                scores = self.out(self.layer(self.token(ids))[0])
                return scores, nn.functional.cross_entropy(scores[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

        model = Writer()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for step in range(300):
            starts = torch.randint(len(data) - length - 1, (32,))
            rows = torch.stack([data[start : start + length + 1] for start in starts])
            ids = rows[:, :-1]
            labels = rows[:, 1:]  # fix: labels = ids
            scores, loss = model(ids, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        following = nn.functional.cross_entropy(scores[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        print(f"loss of the next letter {following.item():.4f}")
        """)

"""Positions of a sequence that see what they are asked to predict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Plot, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.code import Site
from stethoscope.facts.model import Causality
from stethoscope.facts.progress import progress_of
from stethoscope.facts.samples import Tokens
from stethoscope.facts.training import Doubles, History
from stethoscope.rules.examples import falling, flat, run, tried
from stethoscope.rules.learning import loss_evidence
from stethoscope.rules.sites import at, code, place_at

FEWEST_BATCHES = 3
FEWEST_CLASSES = 5
LAST_LOOKS = 4

_shifted = Tokens(
    function="cross_entropy", site=Site("train.py", 40, "", "loss = F.cross_entropy(scores, y)"), batches=40,
    positions=20_000, classes=60, same_share=0.05, next_share=1.0,
)  # fmt: skip


def _run(loss: Doubles, **facts: Any) -> History:
    return replace(run(loss, chance=3.0), tokens=(replace(_shifted, **facts),))


def _apart(last: float, before: float, looks: int = 20) -> dict[str, Doubles]:
    """Losses at the last position and before it, apart from half of the looks on."""
    half = looks // 2
    both = np.linspace(3.0, last, half)
    return {
        "last_losses": np.concatenate([both, np.full(looks - half, last)]),
        "other_losses": np.concatenate([both, np.full(looks - half, before)]),
    }


def _ahead(causality: Causality, **facts: Any) -> History:
    """The first steps of a language model, and what its outputs were seen to depend on."""
    return replace(tried(causality=causality), tokens=(replace(_shifted, **facts),))


class FutureLeakage(Rule):
    """Each position of a sequence sees the token that it is asked for.

    ## What it sees
    Input tokens beside targets. Either the targets are the inputs themselves, not shifted by one; or they are the
    next tokens, and the loss at the last position, whose target is nowhere in the input, stays high while it falls
    at the positions before it: those look one place ahead.
    ## Why it hurts
    The network copies and models nothing. Its loss and perplexity look excellent, and what it generates is noise,
    since nothing can be copied from a future that does not exist yet.
    ## How to fix it
    Shift the targets by one; give attention a causal mask; use no bidirectional recurrence.
    ## When it is not a fault
    Masked language models and taggers, whose targets are not the next tokens. An autoencoder over tokens, whose
    targets are the inputs on purpose.
    ## Sources
    A. Vaswani et al., "Attention Is All You Need", NIPS 2017, section 3.2.3 (masking of later positions).
    """

    explains = ("overfitting",)
    reads = ("losses", "samples")

    same = Limit(
        0.98, unit="share of targets that are the input at their place", why="denoising and masking change a tenth"
    )
    following = Limit(0.98, unit="share of targets that are the next input", why="a language model's all are")
    copied = Limit(
        0.2,
        unit="loss at the end / loss of guessing",
        why="an identity is learned to the end",
    )
    apart = Limit(
        0.5,
        unit="loss before the last position / loss at the last one",
        why="without a look ahead both have the same context and the same loss, within a tenth",
    )
    nats = Limit(0.3, unit="nats between the two", why="near 0 a ratio is noise")
    fewest_looks = Limit(8, unit="batches whose last positions were read", why="one position of a batch is noisy")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each loss with a target for each token."""
        judged = [t for t in seen.tokens if t.batches >= FEWEST_BATCHES and t.classes >= FEWEST_CLASSES]
        if not judged:
            yield self.cannot_tell("no loss with a target for each input token was seen")
        for tokens in judged:
            if tokens.same_share >= self.same:
                progress = progress_of(seen)
                if progress.known and progress.end < self.copied * progress.reference:
                    yield self._not_shifted(seen, tokens)
            elif tokens.next_share >= self.following and tokens.last_losses.size >= self.fewest_looks:
                last, before = _late(tokens.last_losses), _late(tokens.other_losses)
                if before < self.apart * last and last - before > self.nats:
                    yield self._looks_ahead(seen, tokens, last, before)

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge a language model by what its outputs depend on."""
        seen_ahead = seen.preflight.causality
        if seen_ahead is None:
            yield self.cannot_tell(seen.preflight.why_not("causality"))
            return
        judged = [t for t in seen.tokens if t.classes >= FEWEST_CLASSES and t.next_share >= self.following]
        if judged and seen_ahead.later:
            yield self._depends(judged[0], seen_ahead)

    def _depends(self, tokens: Tokens, ahead: Causality) -> Finding:
        where = f"`{ahead.module}`" if ahead.module else "the model"
        title = f"{where} lets positions see later ones"
        return self.finding(
            title if len(title) <= 72 else "the model lets positions see later ones",
            sureness=Sureness.CERTAIN,
            place=place_at(ahead.site or tokens.site, module=ahead.module or None),
            evidence=[
                Evidence(
                    "pairs of positions of which the later one moves the earlier output",
                    f"{ahead.later} of {ahead.pairs}",
                    0,
                    f"by gradients, in eval mode, over {ahead.positions} positions",
                ),
                Evidence("targets equal to the next input", f"{tokens.next_share:.1%}", "100 %, of a language model"),
            ],
            cause="Every target but the last is also an input, one place later, and nothing keeps a position from "
            "seeing it there.",
            fixes=[
                Fix(
                    "Give attention a causal mask:\n"
                    + code(
                        "mask = nn.Transformer.generate_square_subsequent_mask(x.size(1))",
                        "h = self.encoder(h, mask=mask, is_causal=True)",
                    )
                ),
                Fix("Or use no bidirectional recurrence, and pad convolutions on the left only."),
            ],
            unless="the model is not meant to generate.",
        )

    def _not_shifted(self, seen: History, tokens: Tokens) -> Finding:
        return self.finding(
            f"targets are the inputs themselves at {tokens.same_share:.0%} of the positions",
            place=place_at(tokens.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "targets equal to the input at the same position",
                    f"{tokens.same_share:.1%}",
                    "as rare as repeated tokens",
                    f"{tokens.positions:,} positions of {tokens.batches} batches",
                ),
                Evidence("targets equal to the next input", f"{tokens.next_share:.1%}", "100 %, of a language model"),
                loss_evidence(seen, progress_of(seen)),
            ],
            cause=f"The loss at {at(tokens.site)} asks each position for the token that it was given, so copying it is "
            "the whole task.",
            fixes=[Fix("Shift the targets by one:\n" + code("x, y = tokens[:, :-1], tokens[:, 1:]"))],
            unless="the model is an autoencoder, or tags each token with itself on purpose.",
        )

    def _looks_ahead(self, seen: History, tokens: Tokens, last: float, before: float) -> Finding:
        looks = tuple(float(i) for i in range(tokens.other_losses.size))
        plot = Plot(looks, tuple(map(float, tokens.other_losses)), "loss before the last position, by batch looked at")
        return self.finding(
            f"positions see the next token: loss {before:.2g}, but {last:.2g} at the last",
            severity=Severity.ERROR,
            place=place_at(tokens.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "loss at the positions before the last one",
                    f"{before:.3g}",
                    f"about {last:.3g}, as at the last",
                    f"nats, median of the last eighth of {tokens.last_losses.size} batches",
                    plot,
                ),
                Evidence("loss at the last position, whose target is not in the input", f"{last:.3g}", "the same"),
                Evidence("targets equal to the next input", f"{tokens.next_share:.1%}", "100 %, of a language model"),
            ],
            cause="Every target but the last is also an input, one place later, and the network reads it there: "
            "nothing keeps a position from seeing later ones.",
            fixes=[
                Fix(
                    "Hide later positions from attention:\n"
                    + code(
                        "mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])",
                        "hidden = encoder(x, mask=mask, is_causal=True)",
                    )
                ),
                Fix(
                    "With attention of its own:\n" + code("F.scaled_dot_product_attention(q, k, v, is_causal=True)"),
                ),
                "Recurrent layers read in one direction only: `nn.LSTM(..., bidirectional=False)`.",
            ],
        )

    bad = Examples(
        lambda: {
            "depends on later positions": _ahead(Causality(32, 28, 28, 28, "encoder", "TransformerEncoder")),
            "a few of them, in the model's own code": _ahead(Causality(32, 2, 28, 28)),
            "targets are not shifted": _run(falling(3.0, 0.01), same_share=1.0, next_share=0.05),
            "as few equal ones as can tell": _run(falling(3.0, 0.01), same_share=0.985),
            "copied, next to the limit": _run(falling(3.0, 0.545), same_share=1.0),
            "no causal mask": _run(falling(3.0, 0.1), **_apart(2.4, 0.05)),
            "some targets are end marks": _run(falling(3.0, 0.1), next_share=0.985, **_apart(2.4, 0.05)),
            "a ratio next to the limit": _run(falling(3.0, 1.0), **_apart(2.4, 1.17)),
            "a difference next to the limit": _run(falling(3.0, 0.1), **_apart(0.41, 0.1)),
            "eight looks": _run(falling(3.0, 0.1), **_apart(2.4, 0.05, 8)),
        }
    )
    good = Examples(
        lambda: {
            "depends on earlier positions": _ahead(Causality(32, 0, 28, 28)),
            "a tagger that looks both ways": _ahead(Causality(32, 28, 28, 28), next_share=0.1),
            "a causal model": _run(falling(3.0, 1.6), **_apart(1.7, 1.6)),
            "a causal model that has learned its text by heart": _run(falling(3.0, 0.02), **_apart(0.02, 0.02)),
            "the ends of rows are hard": _run(falling(3.0, 1.5), **_apart(2.4, 1.23)),
            "too small a difference": _run(falling(3.0, 0.1), **_apart(0.39, 0.1)),
            "seven looks": _run(falling(3.0, 0.1), **_apart(2.4, 0.05, 7)),
            "masked tokens only": _run(falling(3.0, 0.5), same_share=0.1, next_share=0.05, **_apart(2.4, 0.05)),
            "a denoising model": _run(falling(3.0, 0.5), same_share=0.975, next_share=0.05),
            "a bottleneck that copies with difficulty": _run(falling(3.0, 0.575), same_share=1.0),
            "nothing learned": _run(flat(3.0), same_share=1.0),
            "too few targets are next inputs": _run(falling(3.0, 0.1), next_share=0.975, **_apart(2.4, 0.05)),
            "two classes": _run(falling(0.7, 0.01), same_share=1.0, classes=2),
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
                self.token, self.place = nn.Embedding(len(letters), 48), nn.Embedding(length, 48)
                layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, batch_first=True)
                self.layers = nn.TransformerEncoder(layer, 2)
                self.out = nn.Linear(48, len(letters))

            def forward(self, x):
                mask = nn.Transformer.generate_square_subsequent_mask(length)
                hidden = self.token(x) + self.place.weight
                return self.out(self.layers(hidden))  # fix: return self.out(self.layers(hidden, mask=mask))

        model = Writer()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

        for step in range(300):
            starts = torch.randint(len(data) - length - 1, (32,))
            rows = torch.stack([data[start : start + length + 1] for start in starts])
            scores = model(rows[:, :-1])
            loss = nn.functional.cross_entropy(scores.flatten(0, 1), rows[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"loss at the last letter {nn.functional.cross_entropy(scores[:, -1], rows[:, -1]).item():.4f}")
        """)


def _late(losses: Doubles) -> float:
    """Median of the last eighth: a network looks ahead only once it has learned to."""
    return float(np.median(losses[-max(LAST_LOOKS, losses.size // 8) :]))

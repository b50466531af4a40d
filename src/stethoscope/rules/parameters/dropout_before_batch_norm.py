"""Dropout that feeds batch normalization."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Rule
from stethoscope.facts.code import Code
from stethoscope.facts.layers import chain_of
from stethoscope.facts.model import Link, Structure
from stethoscope.facts.origins import thing_of
from stethoscope.facts.training import History
from stethoscope.rules.examples import tried
from stethoscope.rules.lines import line_of, place_in
from stethoscope.rules.sites import code, place_at


def _run(*links: Link) -> History:
    return tried(structure=Structure(dropped_norms=links))


_link = Link("drop", "norm", ("Dropout", "BatchNorm1d"), (0, 64, 64))


class DropoutBeforeBatchNorm(Rule):
    """Dropout right before batch normalization: statistics differ between training and evaluation.

    ## What it sees
    What a dropout layer returns goes into batch normalization as it is.
    ## Why it hurts
    Dropout keeps the mean of what passes and raises its variance, by 1 / (1 - p), in training only. Batch
    normalization learns that variance, and in evaluation divides by it what has the smaller one: every feature comes
    out too small, and accuracy falls as soon as the model is evaluated.
    ## How to fix it
    Put dropout behind the batch normalization and its activation, best only before the last layer.
    ## When it is not a fault
    A rate so small that it does not matter, or a model that is always used in train mode.
    ## Sources
    X. Li et al., "Understanding the Disharmony between Dropout and Batch Normalization by Variance Shift", CVPR 2019.
    """

    severity = Severity.WARNING
    explains = ("train-eval-mismatch", "overfitting")

    def before_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the links from dropout to batch normalization."""
        structure = seen.preflight.structure
        if structure is None:
            yield self.cannot_tell(seen.preflight.why_not("structure"))
        elif structure.dropped_norms:
            yield self._report(structure.dropped_norms)

    def _report(self, links: tuple[Link, ...]) -> Finding:
        first = links[0]
        title = f"dropout `{first.first}` feeds batch normalization `{first.second}`"
        return self.finding(
            title if len(title) <= 72 else f"dropout feeds batch normalization, {len(links)} times",
            sureness=Sureness.CERTAIN,
            place=place_at(first.site, module=first.second),
            evidence=[
                Evidence("dropout layers whose output is normalized over the batch", len(links), 0),
                Evidence("order", ", ".join(first.kinds), ", activation, ".join(reversed(first.kinds))),
            ],
            cause="In training the variance that batch normalization sees holds the noise of the dropout; in "
            "evaluation the noise is gone, and the running variance is too large for what arrives.",
            fixes=[
                "Let dropout come last:\n"
                + code(f"nn.{first.kinds[1]}({first.widths[1]}), nn.ReLU(), nn.{first.kinds[0]}(p)"),
            ],
            unless="the model is never evaluated.",
        )  # fmt: skip

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for dropout right before batch normalization in a `Sequential`."""
        for call in file.calls_of("torch.nn.Sequential"):
            layers = chain_of(thing_of(file, call)) or []
            for first, second in pairwise(layers):
                if first.kind.startswith("dropout") and second.kind.startswith("batchnorm") and first.call is not None:
                    yield self.finding(
                        "dropout feeds batch normalization",
                        sureness=Sureness.POSSIBLE,
                        place=place_in(file, first.call.at),
                        evidence=[
                            Evidence(
                                f"what stands between the dropout on {line_of(file, first.call.at)} and the next layer",
                                "0 layers",
                                "a layer and an activation",
                            ),
                        ],
                        cause="Dropout raises the variance in training only, and batch normalization learns that: in "
                        "evaluation every feature comes out too small.",
                        fixes=["Put dropout behind:\n" + code("nn.BatchNorm1d(n), nn.ReLU(), nn.Dropout(p)")],
                    )  # fmt: skip

    bad = Examples(
        lambda: {
            "once": _run(_link),
            "in pictures": _run(Link("a", "b", ("Dropout2d", "BatchNorm2d"), (0, 32, 32)), _link),
            "long names": _run(
                Link("features.block3.dropout.inner", "features.block3.norm.inner.bn", ("Dropout", "BatchNorm1d"))
            ),
        }
    )
    good = Examples(lambda: {"none": _run(), "not read": tried()})
    bad_code = {
        "right before": """
            model = nn.Sequential(
                nn.Linear(4, 64),
                nn.ReLU(),
                nn.Dropout(0.5),  # bad
                nn.BatchNorm1d(64),
            )
            """,
    }
    good_code = {
        "behind": """
            model = nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 2))
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32) / 16
        labels = torch.tensor(data.target)
        norm, dropout = nn.BatchNorm1d(64), nn.Dropout(0.7)
        middle = [dropout, norm, nn.ReLU()]  # fix: middle = [norm, nn.ReLU(), dropout]
        model = nn.Sequential(nn.Linear(64, 64), *middle, nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        for epoch in range(10):
            model.train()
            for rows in torch.randperm(1500).split(64):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
                loss.backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            print(f"loss {nn.functional.cross_entropy(model(images[1500:]), labels[1500:]).item():.4f}")
        """)

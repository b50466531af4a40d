"""One answer for every input."""

from __future__ import annotations

import math
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Kind, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.examples import falling, flat
from stethoscope.rules.heads import REGRESSION, heard, trained
from stethoscope.rules.learning import loss_evidence
from stethoscope.rules.sites import at, code, place_at

_ten = {"output_shape": (64, 10), "chance": 2.3, "late_truths": (12, *[13] * 9), "late_top_truth": 0.2}
_two = {"output_shape": (32, 2), "chance": 0.5, "late_top_guess": 1.0}


class CollapsedPredictions(Rule):
    """The model gives the same class, or the same value, for every input, while the targets vary.

    ## What it sees
    The classes that the model answered with at the last watched calls of its loss, beside the true ones; or, for
    numbers, how far outputs spread over the samples of a batch, beside the spread of the targets. Only in a run
    that does not learn.
    ## Why it hurts
    The answer does not depend on the input: the network has learned the most frequent class, or the mean, and
    nothing else.
    ## How to fix it
    This is what a fault looks like from outside: dead units, a rate too high, inputs on a wrong scale, a loss that
    does not fit, labels that have lost their inputs. Those are looked for, and named above this where found.
    ## When it is not a fault
    At the very start every network is like this. Only the later part of a run is judged.
    ## Sources
    E. Schoop et al., UMLAUT, CHI 2021. The best answer that ignores the input is the most frequent class for a
    cross-entropy, the mean for a squared error.
    """

    kind = Kind.SYMPTOM
    severity = Severity.WARNING
    reads = ("losses",)

    one = Limit(0.99, unit="share of answers that are one class", why="weak networks still differ here and there")
    most_frequent = Limit(
        0.8, unit="share of the most frequent true class", why="where one class is nearly all, it is a fair answer"
    )
    fewest = Limit(64, unit="answers looked at", why="a few samples may well be alike")
    spread = Limit(
        0.02, unit="spread of outputs / spread of targets", why="weak regressions explain 1 % of the variance: 0.1"
    )
    late = Limit(0.3, unit="share of the run", why="answers from before are those of an untrained network")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge the late answers of each training loss."""
        progress = progress_of(seen)
        calls = [loss for loss in trained(seen) if loss.late_steps[1] >= self.late * seen.steps]
        if not calls or not progress.known:
            yield self.cannot_tell("the run was too short, or no loss was seen with its prediction and target")
            return
        if progress.learns_well or progress.ended_nonfinite:
            return
        tests = seen.preflight.memory
        if seen.preflight.is_check and not any(not (test.learned or test.falling) for test in tests):
            return  # early answers are often all the same; they stay so where no samples can be learned by heart
        for loss in calls:
            if self._one_class(loss):
                yield self._report_class(loss, seen)
            elif loss.computes in REGRESSION and loss.late_output_spread < self.spread * loss.late_target_spread:
                yield self._report_value(loss, seen)

    def _one_class(self, loss: LossCall) -> bool:
        if sum(loss.late_truths) < self.fewest:
            return False
        # Batch by batch: a bias that swings from class to class collapses all of a batch to one of them.
        return loss.late_top_guess >= self.one and loss.late_top_truth <= self.most_frequent

    def _report_class(self, loss: LossCall, seen: History) -> Finding:
        total = sum(loss.late_truths)
        answer = loss.late_guesses.index(max(loss.late_guesses))
        always = loss.late_guesses[answer] >= self.one * total
        title = f"the model answers class {answer} for {loss.late_guesses[answer] / total:.0%} of the samples"
        return self.finding(
            title if always else "the model answers one and the same class for all of a batch",
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=loss.late_steps),
            evidence=[
                Evidence(
                    f"samples with the most frequent answer of their batch, {total:,} at steps {loss.late_steps[0]} "
                    f"to {loss.late_steps[1]}",
                    f"{loss.late_top_guess:.1%}",
                    f"about {loss.late_top_truth:.1%}, as of the labels",
                ),
                loss_evidence(seen, progress_of(seen)),
            ],
            cause="The answer does not depend on the input: the network has learned one class, and nothing else.",
            fixes=[
                "Look at what reaches the last layer; where it is the same for all samples, go back layer by layer:\n"
                + code("print(model(x).std(dim=0))  # spread of each output over the samples")
            ],
        )

    def _report_value(self, loss: LossCall, seen: History) -> Finding:
        ratio = loss.late_output_spread / loss.late_target_spread
        return self.finding(
            "the model gives nearly the same value for every input",
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=loss.late_steps),
            evidence=[
                Evidence(
                    f"spread of the outputs over a batch, steps {loss.late_steps[0]} to {loss.late_steps[1]}",
                    f"{loss.late_output_spread:.2g}",
                    f"up to {loss.late_target_spread:.2g}: that of the targets",
                ),
                Evidence("spread of outputs / spread of targets", f"{ratio:.1g}", "0.1 to 1"),
                loss_evidence(seen, progress_of(seen)),
            ],
            cause=f"The outputs at {at(loss.site)} hardly differ from sample to sample, so that the loss stays at what "
            "one number for all inputs gives.",
            fixes=[
                "Look at what reaches the last layer; where it is the same for all samples, go back layer by layer:\n"
                + code("print(model(x).std(dim=0))  # spread of each output over the samples")
            ],
        )

    bad = Examples(lambda: {
        "one of ten classes": heard(
            "cross_entropy", flat(2.31), late_guesses=(0, 129, *[0] * 8), late_top_guess=1.0, **_ten
        ),
        "another one in each batch": heard(
            "cross_entropy", flat(2.31), late_guesses=(64, 65, *[0] * 8), late_top_guess=0.991, **_ten
        ),
        "64 answers": heard(
            "cross_entropy", flat(0.7), late_guesses=(64, 0), late_truths=(30, 34), late_top_truth=0.55, **_two
        ),
        "a class that is four in five": heard(
            "cross_entropy", flat(0.5), late_guesses=(200, 0), late_truths=(158, 42), late_top_truth=0.79, **_two
        ),
        "one value": heard("mse_loss", flat(1.0), chance=1.0, late_output_spread=1e-6, late_target_spread=1.0),
        "a spread next to the limit": heard(
            "l1_loss", flat(1.0), late_output_spread=0.0195, late_target_spread=1.0
        ),
        "not quite late": heard(
            "mse_loss", flat(1.0), chance=1.0, late_output_spread=1e-6, late_target_spread=1.0, late_steps=(9, 61)
        ),
    })  # fmt: skip
    good = Examples(
        lambda: {
            "answers that vary": heard(
                "cross_entropy", flat(2.31), late_guesses=(12, *[13] * 9), late_top_guess=0.2, **_ten
            ),
            "one class for most": heard(
                "cross_entropy", flat(2.31), late_guesses=(0, 126, 3, *[0] * 7), late_top_guess=0.977, **_ten
            ),
            "a run that learns well": heard(
                "cross_entropy", falling(2.3, 0.2), late_guesses=(0, 129, *[0] * 8), late_top_guess=1.0, **_ten
            ),
            "63 answers": heard(
                "cross_entropy", flat(0.7), late_guesses=(63, 0), late_truths=(30, 33), late_top_truth=0.55, **_two
            ),
            "a class that is nearly all": heard(
                "cross_entropy", flat(0.5), late_guesses=(200, 0), late_truths=(162, 38), late_top_truth=0.81, **_two
            ),
            "a weak regression": heard("l1_loss", flat(1.0), late_output_spread=0.0205, late_target_spread=1.0),
            "looked at in the beginning only": heard(
                "mse_loss", flat(1.0), chance=1.0, late_output_spread=1e-6, late_target_spread=1.0, late_steps=(9, 59)
            ),
            "too short": heard(
                "cross_entropy", flat(2.31, 12), late_guesses=(0, 129, *[0] * 8), late_top_guess=1.0, **_ten
            ),
            "nothing spreads": heard("mse_loss", flat(1.0), late_output_spread=0.0, late_target_spread=math.nan),
        }
    )
    bug = Bug("""
        import torch
        from sklearn.datasets import load_digits
        from torch import nn

        torch.manual_seed(SEED)
        data = load_digits()
        images = torch.tensor(data.data, dtype=torch.float32)
        images = (images - images.mean()) / images.std()
        labels = torch.tensor(data.target)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True
        )
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        nn.init.constant_(model[2].bias, -20.0)  # fix:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

        for epoch in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)

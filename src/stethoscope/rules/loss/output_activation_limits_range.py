"""A last activation that cannot produce the targets."""

from __future__ import annotations

import math
from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import RemoveOutputActivation
from stethoscope.facts.code import Code
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.examples import falling, flat
from stethoscope.rules.head_reading import limited
from stethoscope.rules.heads import FOLLOWS, REGRESSION, heard, maker_evidence, named, span, trained, width
from stethoscope.rules.learning import loss_evidence
from stethoscope.rules.sites import at, code, place_at

RANGES = {
    "relu": "0 and above",
    "softplus": "0 and above",
    "exp": "0 and above",
    "sigmoid": "0 to 1",
    "hardsigmoid": "0 to 1",
    "softmax": "0 to 1",
    "tanh": "-1 to 1",
    "log_softmax": "0 and below",
    "log_sigmoid": "0 and below",
}
POSITIVE = ("relu", "softplus", "exp", "abs")
NEGATIVE = ("log_softmax", "log_sigmoid")
WITH_LOGITS = "binary_cross_entropy_with_logits"
BINARY = ("binary_cross_entropy", WITH_LOGITS)


_labels = {"output_shape": (32, 6), "produced_by": "softmax", "softmax_axis": 1, "softmax_shape": (32, 6)}


class OutputActivationLimitsRange(Rule):
    """The last activation of the network cannot produce the values that the targets have.

    ## What it sees
    The operation that made the first argument of the loss, read off the graph, beside the range of the targets:
    for a regression the part of the targets' variance that lies outside of what a ReLU, sigmoid, tanh or softmax
    can give; for a loss that expects raw scores a tanh or a ReLU in front of it, and for one that expects the
    logarithm of a rate what is never negative; a softmax over labels that may hold together; and a last ReLU that
    gives 0 for every sample. In code: a ReLU or a tanh as the last thing before a loss of classes.
    ## Why it hurts
    A target of 150 cannot be reached by a sigmoid, nor a negative one by a ReLU. The error stays, the activation
    is driven to its limit, and at its limit no gradient passes any more.
    ## How to fix it
    End the network with a linear layer, or bring the targets into the range of the activation.
    ## When it is not a fault
    Where a few targets lie a little outside (less than 5 % of their variance), nothing is said.
    ## Sources
    Arithmetic: the mean squared distance from the targets to the nearest value that the activation can give is the
    least squared error that any weights reach. E. Schoop et al., UMLAUT, CHI 2021 (output activation).
    """

    severity = Severity.ERROR
    on_trial = True
    treatments = tuple(map(RemoveOutputActivation, ("relu", "sigmoid", "tanh", "softmax")))
    explains = (*FOLLOWS, "loss-unfit-for-task")
    reads = ("losses",)

    unreachable = Limit(
        0.05,
        unit="share of the targets' variance",
        why="outliers and rounding take less; a wrong last activation takes a third and more",
    )
    together = Limit(0.5, unit="share of target rows that sum to 1", why="of exclusive classes all of them do")
    dead = Limit(0.98, unit="share of outputs that are exactly 0", why="a ReLU that works gives other values, too")
    came = Limit(20.0, unit="late labels of a class that is never answered", why="a rare class may be missed by chance")
    scores_dead = Limit(
        0.5, unit="share of scores that are exactly 0", why="half of all scores without a gradient, in a stuck run"
    )

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge what made the first argument of each training loss."""
        calls = trained(seen)
        if not calls:
            yield self.cannot_tell("no loss function was seen with its prediction and target")
        progress = progress_of(seen)
        for loss in calls:
            if loss.computes in REGRESSION:
                if loss.target_unreachable >= self.unreachable:
                    yield self._out_of_reach(loss, seen)
                elif loss.produced_by == "relu" and self._is_dead(loss) and loss.late_target_spread > 0:
                    yield self._dead(loss, seen)
            elif _limits_rates(loss):
                yield self._no_low_rates(loss, seen)
            elif self._shares_out(loss):
                yield self._competing(loss, seen)
            elif _limits_scores(loss):
                yield self._no_scores(loss, seen)
            elif (
                loss.computes == "cross_entropy"
                and loss.produced_by == "relu"
                and loss.late_zero_share >= self.scores_dead
                and progress.known
                and (not progress.learns_well or self._never_answers(loss))
            ):
                yield self._dead(loss, seen)

    def _never_answers(self, loss: LossCall) -> bool:
        """Whether a class that came often was never the answer: its ReLU gives 0 for all."""
        pairs = zip(loss.late_truths, loss.late_guesses, strict=False)
        return any(truths >= self.came and not guesses for truths, guesses in pairs)

    def _shares_out(self, loss: LossCall) -> bool:
        """Whether a softmax makes labels compete of which several, or none, hold at once."""
        of_labels = loss.computes in BINARY and loss.produced_by == "softmax" and width(loss) > 1
        return of_labels and loss.target_rows_sum_to_one < self.together and loss.softmax_axis == 1

    def _competing(self, loss: LossCall, seen: History) -> Finding:
        return self.finding(
            f"a last `softmax` shares 1 out among {width(loss)} labels that may hold together",
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                maker_evidence(loss, "`sigmoid`"),
                Evidence("target rows that sum to 1", f"{loss.target_rows_sum_to_one:.0%}", "100%, before a softmax"),
                loss_evidence(seen, progress_of(seen)),
            ],
            cause=f"{named(loss).capitalize()} at {at(loss.site)} asks of each label whether it holds. A softmax makes "
            "the answers of a sample sum to 1: with two labels right, neither can be sure.",
            fixes=[
                "Let each label have a sigmoid of its own, which this loss applies itself:\n"
                + code("loss = F.binary_cross_entropy_with_logits(scores, targets)  # no softmax before it")
            ],
        )

    def _no_low_rates(self, loss: LossCall, seen: History) -> Finding:
        return self.finding(
            f"a last `{loss.produced_by}` keeps the rates of `{loss.function}` above 1"[:72],
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                maker_evidence(loss, "a linear layer"),
                Evidence("least rate that can be said", "1", "0", "exp(0)"),
                Evidence("mean of the counts", f"{loss.target_mean:.3g}", "above 1, for rates above 1"),
            ],
            cause=f"`{loss.function}` at {at(loss.site)} takes what it is given for the logarithm of the rate, which a "
            f"`{loss.produced_by}` keeps from being negative.",
            fixes=[
                "Say that the network gives the rate itself:\n"
                + code(f"loss = F.{loss.function}(rates, counts, log_input=False)"),
                "Or let it give the logarithm, from its last linear layer:\n"
                + code(f"loss = F.{loss.function}(log_rates, counts)"),
            ],
        )

    def _is_dead(self, loss: LossCall) -> bool:
        return loss.late_zero_share >= self.dead and loss.watched >= 3

    def _out_of_reach(self, loss: LossCall, seen: History) -> Finding:
        can = RANGES.get(loss.produced_by, span(loss.output_min, loss.output_max))
        never = (
            f"{loss.target_outside:.0%} of the targets" if loss.target_outside < 0.995 else "the targets, all of them"
        )
        title = f"a last `{loss.produced_by}` cannot produce {never}"
        return self.finding(
            title if loss.produced_by in RANGES else f"the outputs are limited to less than {never}"[:72],
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(f"targets; `{loss.produced_by}` gives {can}", span(loss.target_min, loss.target_max), can),
                Evidence(
                    "squared error that no weights can remove, by the variance of the targets",
                    f"{loss.target_unreachable:.2g}",
                    "0",
                    "distance of each target from the nearest possible output",
                ),
                loss_evidence(seen, progress_of(seen)),
            ],
            cause=f"{named(loss).capitalize()} at {at(loss.site)} compares targets of "
            f"{span(loss.target_min, loss.target_max)} with the output of a `{loss.produced_by}`, which gives {can}.",
            fixes=[
                "End the network with its last linear layer, for a target of any size:\n"
                + code("model = nn.Sequential(..., nn.Linear(hidden, outputs))  # no activation behind it"),
                "Or scale the targets into the range of the activation, and scale predictions back:\n"
                + code("low, high = y_train.min(), y_train.max()", "y_scaled = (y - low) / (high - low)"),
            ],
        )

    def _no_scores(self, loss: LossCall, seen: History) -> Finding:
        binary = loss.computes == WITH_LOGITS
        if loss.produced_by == "tanh":
            classes = 2 if binary else loss.output_shape[1]
            floor = math.log1p(1 / math.e) if binary else math.log1p((classes - 1) * math.exp(-2))
            least = Evidence("least loss, when every answer is right", f"{floor:.3f}", "0", "scores of -1 and 1")
            why = "A tanh gives -1 to 1, so that no answer can be sure."
        elif loss.produced_by in NEGATIVE:
            least = Evidence("least loss of a positive sample", f"{math.log(2):.3f}", "0", "log(2): the sigmoid of 0")
            why = f"A `{loss.produced_by}` gives no positive score, so that no probability above 0.5 can be said."
        else:
            least = Evidence("least loss of a negative sample", f"{math.log(2):.3f}", "0", "log(2): the sigmoid of 0")
            why = f"A `{loss.produced_by}` gives no negative score, so that no probability below 0.5 can be said."
        title = f"a last `{loss.produced_by}` limits the scores of `{loss.function}`"
        return self.finding(
            title if len(title) <= 72 else f"a last `{loss.produced_by}` limits the scores that the loss is given",
            sureness=Sureness.CERTAIN,
            severity=Severity.WARNING if loss.produced_by == "tanh" else Severity.ERROR,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[maker_evidence(loss, "a linear layer"), least],
            cause=f"`{loss.function}` at {at(loss.site)} expects raw scores, negative and positive. {why}",
            fixes=[
                "Give the loss the scores as they leave the last linear layer:\n"
                + code(f"loss = F.{loss.function}(scores, targets)")
            ],
        )

    def _dead(self, loss: LossCall, seen: History) -> Finding:
        return self.finding(
            f"the last ReLU gives 0 for {math.floor(100 * loss.late_zero_share)} % of the outputs",
            sureness=Sureness.LIKELY,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"outputs that are exactly 0, steps {loss.late_steps[0]} to {loss.late_steps[1]}",
                    f"{loss.late_zero_share:.1%}",
                    "none: a last linear layer has no zeros",
                ),
                loss_evidence(seen, progress_of(seen)),
            ],
            cause=f"Behind the last layer stands a ReLU. Where it gives 0 it passes no gradient back, so that "
            f"{named(loss)} cannot lift those outputs again.",
            fixes=[
                "End the network with its last linear layer:\n"
                + code("model = nn.Sequential(..., nn.Linear(hidden, outputs))  # no ReLU behind it")
            ],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for activations in front of losses that expect scores, or probabilities."""
        yield from limited(self, file)

    bad = Examples(lambda: {
        "a softmax over labels that hold together": heard(
            "binary_cross_entropy", target_rows_sum_to_one=0.48, **_labels
        ),
        "a softplus for the logarithm of a rate": heard(
            "poisson_nll_loss", expects="logarithms", produced_by="softplus", target_mean=0.4
        ),
        "a sigmoid and targets up to 300": heard(
            "mse_loss", flat(2e4), produced_by="sigmoid", target_min=25.0, target_max=346.0, target_unreachable=4.9,
            target_outside=1.0,
        ),
        "a ReLU and standardised targets": heard(
            "smooth_l1_loss", falling(1.0, 0.4), produced_by="relu", target_min=-2.1, target_max=2.9,
            target_unreachable=0.51, target_outside=0.52,
        ),
        "a share next to the limit": heard(
            "mse_loss", falling(1.0, 0.1), produced_by="tanh", target_min=-1.8, target_max=1.7,
            target_unreachable=0.052, target_outside=0.2,
        ),
        "a squared error by hand": heard(
            "backward", form="mse_loss", produced_by="tanh", target_min=-9.0, target_max=9.0, target_unreachable=0.8,
            target_outside=0.9,
        ),
        "a ReLU before the binary loss with logits": heard(WITH_LOGITS, flat(0.69), produced_by="relu"),
        "a log-softmax before the binary loss with logits": heard(
            WITH_LOGITS, output_shape=(32, 10), produced_by="log_softmax"
        ),
        "a tanh before cross-entropy": heard("cross_entropy", produced_by="tanh", output_shape=(32, 10)),
        "a last ReLU that has died": heard(
            "mse_loss", produced_by="relu", target_unreachable=0.0, late_zero_share=0.985, late_target_spread=1.0
        ),
        "a class that a ReLU has killed, others learning well": heard(
            "cross_entropy", falling(2.3, 0.7), output_shape=(32, 3), produced_by="relu", late_zero_share=0.51,
            late_truths=(30, 30, 20), late_guesses=(40, 40, 0),
        ),
        "scores that a ReLU has killed, stuck": heard(
            "cross_entropy", flat(2.3), output_shape=(32, 10), produced_by="relu", late_zero_share=0.51
        ),
    })  # fmt: skip
    good = Examples(
        lambda: {
            "a softmax and targets with a single 1": heard(
                "binary_cross_entropy", target_rows_sum_to_one=1.0, **_labels
            ),
            "a softmax, and half of the targets sum to 1": heard(
                "binary_cross_entropy", target_rows_sum_to_one=0.51, **_labels
            ),
            "a softplus for a rate": heard(
                "poisson_nll_loss", expects="values", produced_by="softplus", target_mean=0.4
            ),
            "a sigmoid and targets of 0 to 1": heard(
                "mse_loss", produced_by="sigmoid", target_min=0.0, target_max=1.0, target_unreachable=0.0
            ),
            "a few targets a little outside": heard(
                "mse_loss", produced_by="tanh", target_min=-1.8, target_max=1.7, target_unreachable=0.0485
            ),
            "a linear layer": heard("mse_loss", produced_by="linear", target_min=-1.8, target_max=1.7),
            "raw scores": heard("cross_entropy", produced_by="linear", output_shape=(32, 10)),
            "a ReLU of which a part is 0": heard(
                "mse_loss", produced_by="relu", target_unreachable=0.0, late_zero_share=0.94, late_target_spread=1.0
            ),
            "scores of which a ReLU has killed less than half": heard(
                "cross_entropy", flat(2.3), output_shape=(32, 10), produced_by="relu", late_zero_share=0.49
            ),
            "scores behind a ReLU, a class not answered yet": heard(
                "cross_entropy",
                falling(2.3, 0.1),
                output_shape=(32, 3),
                produced_by="relu",
                late_zero_share=0.6,
                late_truths=(30, 30, 19),
                late_guesses=(40, 39, 0),
            ),
            "scores behind a ReLU, learning well": heard(
                "cross_entropy", falling(2.3, 0.1), output_shape=(32, 10), produced_by="relu", late_zero_share=0.6
            ),
            "only validated that way": heard("mse_loss", training_calls=0, target_unreachable=0.9, produced_by="relu"),
        }
    )
    bad_code = {
        "a last ReLU": """
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.fc = nn.Linear(8, 3)

                def forward(self, x):
                    return F.relu(self.fc(x))

            model = Net()
            for x, y in torch.load("data"):
                F.cross_entropy(model(x), y).backward()  # bad
            """,
        "a last tanh": """
            model = nn.Sequential(nn.Linear(8, 1), nn.Tanh())
            criterion = nn.BCEWithLogitsLoss()
            for x, y in torch.load("data"):
                criterion(model(x), y).backward()  # bad
            """,
        "targets with a mean of 0": """
            model = nn.Sequential(nn.Linear(8, 1), nn.ReLU())
            x, y = torch.load("data")
            y = (y - y.mean()) / y.std()
            F.mse_loss(model(x), y).backward()  # bad
            """,
        "in Keras": """
            from keras import Sequential
            from keras.layers import Dense

            model = Sequential([Dense(8, activation="relu"), Dense(1, activation="tanh")])
            model.compile("adam", loss="binary_crossentropy")  # bad
            """,
    }
    good_code = {
        "a linear last layer": """
            model = nn.Sequential(nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 3))
            for x, y in torch.load("data"):
                F.cross_entropy(model(x), y).backward()
            """,
        "a tanh that is scaled": """
            model = nn.Sequential(nn.Linear(8, 3), nn.Tanh())
            for x, y in torch.load("data"):
                F.cross_entropy(10 * model(x), y).backward()
            """,
        "positive numbers": """
            model = nn.Sequential(nn.Linear(8, 1), nn.ReLU())
            for x, y in torch.load("data"):
                F.mse_loss(model(x), y).backward()
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_diabetes
        from torch import nn

        torch.manual_seed(SEED)
        data = load_diabetes()
        rows = torch.tensor(data.data, dtype=torch.float32)
        rows = (rows - rows.mean(dim=0)) / rows.std(dim=0)
        targets = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)
        targets = (targets - targets.mean()) / targets.std()
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(rows, targets), batch_size=32, shuffle=True
        )
        model = nn.Sequential(
            nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1),
            nn.ReLU(),  # fix:
        )
        criterion = nn.MSELoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02)

        for epoch in range(15):
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {criterion(model(rows), targets).item():.4f}")
        """)


def _limits_scores(loss: LossCall) -> bool:
    """Whether a loss that expects raw scores is given what cannot be negative, or is never large."""
    if loss.computes == WITH_LOGITS:
        return loss.produced_by in (*POSITIVE, *NEGATIVE, "tanh")
    return loss.computes == "cross_entropy" and loss.produced_by == "tanh" and len(loss.output_shape) > 1


def _limits_rates(loss: LossCall) -> bool:
    """Whether the logarithm of a rate cannot be negative, although there is less than one count on average."""
    by_log = loss.function == "poisson_nll_loss" and loss.expects == "logarithms"
    return by_log and loss.produced_by in (*POSITIVE, "sigmoid") and loss.target_mean < 1

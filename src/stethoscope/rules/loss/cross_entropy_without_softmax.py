"""Raw scores in front of a categorical loss that expects probabilities, of Keras's or written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stethoscope.core.finding import CannotTell, Evidence, Finding, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import FitHead
from stethoscope.facts.code import Code, Site
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.examples import falling, run
from stethoscope.rules.heads import FOLLOWS, heard, maker_evidence, span, trained, width
from stethoscope.rules.keras_heads import CATEGORICAL, raw_scores
from stethoscope.rules.sites import at, code, place_at

FUNCTION = "categorical_crossentropy"
SIGMOIDS = ("sigmoid", "hardsigmoid")


def _run(**facts: Any) -> History:
    usual: dict[str, Any] = {
        "called": "sparse_categorical_crossentropy", "expects": "probabilities", "training_calls": 9, "watched": 9,
        "output_shape": (32, 10), "target_shape": (32,), "target_is_integer": True, "produced_by": "linear",
        "rows_sum_to_one": 0.0, "output_min": -2.3, "output_max": 3.1,
    }  # fmt: skip
    return History(steps=200, framework="keras", losses=(LossCall(FUNCTION, **(usual | facts)),))


_ten = {"form": "categorical", "output_shape": (32, 10), "target_shape": (32, 10)}


class CrossEntropyWithoutSoftmax(Rule):
    """Raw scores go into a categorical loss that takes logarithms of probabilities.

    ## What it sees
    What reaches a categorical cross-entropy of Keras that was not told `from_logits=True`: values below 0, or rows out
    of a relu that do not sum to 1. And a loss written out by hand, `-(y * log(p))` or `-log(p)` at the true class, read
    off its graph, whose `p` does not sum to 1 over the classes.
    ## Why it hurts
    The loss divides each row by its sum, cuts the result to 0..1 and takes the logarithm. A score below 0 is cut to
    1e-7: it costs 16.1 and has no gradient. A row whose sum is below 0 has all its signs turned round, and a row of
    zeros gives NaN. A loss by hand looks at the true class only and relies on the softmax to push the others down:
    without one it falls without end as all outputs grow, whatever the input is.
    ## How to fix it
    End the network in `softmax`, or keep the scores and tell the loss with `from_logits=True`; in PyTorch, give the
    scores to `cross_entropy`, which applies the softmax itself, safely.
    ## When it is not a fault
    Positive values that do not sum to 1 are divided by their sum in Keras, which is a choice: they are not reported.
    Weighted log-likelihoods of other things than classes (policy gradients, densities) have no targets of a single 1,
    and are not looked at.
    ## Sources
    Keras documentation, `SparseCategoricalCrossentropy`, argument `from_logits`: "By default, we assume that `y_pred`
    encodes a probability distribution". The cut is at `keras.config.epsilon()`.
    """

    on_trial = True
    severity = Severity.ERROR
    treatments = (FitHead("cross_entropy"),)
    explains = (*FOLLOWS, "unnormalized-input")
    reads = ("losses",)

    below = Limit(-0.01, unit="smallest output", why="rounding can leave a probability a hair below 0, not a hundredth")
    rows = Limit(
        0.5, unit="share of a relu's rows that sum to 1", why="of probabilities all do, of scores next to none"
    )
    summing = Limit(0.5, unit="share of rows that sum to 1", why="probabilities do so in every row")
    one_hot = Limit(0.98, unit="share of target rows with a single 1", why="other weights are no classes")
    fewest_calls = Limit(3, unit="watched calls", why="one odd batch is no rule")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each categorical loss that expects probabilities."""
        calls = [loss for loss in seen.losses if loss.function == FUNCTION and loss.training_calls]
        by_hand = [loss for loss in trained(seen, "categorical") if width(loss) > 1]
        if not calls and not by_hand:
            yield self.cannot_tell("no categorical loss expects probabilities")
        for loss in by_hand:
            classes = loss.target_is_integer or loss.target_rows_one_hot >= self.one_hot
            raw = loss.rows_sum_to_one < self.summing and loss.produced_by not in (*SIGMOIDS, "softmax")
            if raw and classes and loss.watched >= self.fewest_calls:
                yield self._by_hand(loss, seen)
        for loss in calls:
            if loss.expects != "probabilities" or loss.watched < self.fewest_calls:
                continue
            negative = loss.output_min < self.below
            if negative or (loss.produced_by == "relu" and loss.rows_sum_to_one < self.rows):
                yield self._report(loss, seen, negative)

    def _report(self, loss: LossCall, seen: History, negative: bool) -> Finding:
        learns = progress_of(seen).learns_well
        made = f"`{loss.produced_by}`" if loss.produced_by else "unknown"
        cut = "a score below 0 is cut to 1e-7 and has no gradient" if negative else "a row of zeros gives NaN"
        return self.finding(
            f"`{loss.shown}` takes probabilities, gets raw scores",
            severity=Severity.WARNING if learns else Severity.ERROR,
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"outputs that reach the loss, {loss.watched} calls watched",
                    f"{loss.output_min:.3g} to {loss.output_max:.3g}",
                    "0 to 1",
                ),
                Evidence("rows of them that sum to 1", f"{loss.rows_sum_to_one:.0%}", "100%"),
                Evidence("operation before the loss", made, "`softmax`"),
            ],
            cause=f"Without `from_logits=True`, `{loss.shown}` at {at(loss.site)} divides each row by its sum and "
            f"takes the logarithm; {cut}.",
            fixes=[
                "End the network in softmax:\n"
                + code(
                    f'layers.Dense({loss.output_shape[1] if len(loss.output_shape) > 1 else 10}, activation="softmax")'
                ),
                "Or keep the scores, and say so to the loss:\n" + code(f"loss={_class_of(loss)}(from_logits=True)"),
            ],
        )

    def _by_hand(self, loss: LossCall, seen: History) -> Finding:
        evidence = [
            Evidence("rows of the outputs that sum to 1", f"{loss.rows_sum_to_one:.0%}", "100%"),
            Evidence("values whose logarithm is taken", span(loss.output_min, loss.output_max), "0 to 1"),
        ]
        if loss.produced_by:
            evidence.append(maker_evidence(loss, "`softmax`"))
        return self.finding(
            "a cross-entropy by hand is given scores, not probabilities",
            sureness=Sureness.CERTAIN,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=f"The loss that is backpropagated at {at(loss.site)} takes the logarithm of the true class's output. "
            "No softmax makes the classes share a sum of 1, so that raising all outputs lowers the loss without end.",
            fixes=[
                "Give the scores, as they leave the last linear layer, to the function that applies the softmax:\n"
                + code("loss = F.cross_entropy(scores, labels)")
            ],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look at the last layer of each Keras model beside the loss that it is compiled with."""
        yield from raw_scores(self, file, CATEGORICAL, "softmax")

    bad = Examples(
        lambda: {
            "a linear head": _run(
                site=Site("train.py", 20, "", 'model.compile("adam", "sparse_categorical_crossentropy")')
            ),
            "a relu head": _run(produced_by="relu", output_min=0.0, output_max=4.0, called="categorical_crossentropy"),
            "a relu head next to the limit": _run(produced_by="relu", output_min=0.0, rows_sum_to_one=0.49),
            "a tanh head": _run(produced_by="tanh", output_min=-0.97, output_max=0.97),
            "scores next to the limit, three calls": _run(output_min=-0.0102, output_max=0.4, watched=3),
            "learns in spite of it": replace(_run(), curves=run(falling(2.3, 0.2)).curves, steps=200),
            "by hand: positive scores": heard(
                "backward",
                **_ten,
                produced_by="softplus",
                rows_sum_to_one=0.0,
                target_rows_one_hot=1.0,
                output_min=0.1,
                output_max=40.0,
            ),
            "by hand: indices, next to the limits": heard(
                "backward",
                **_ten,
                rows_sum_to_one=0.49,
                target_is_integer=True,
                watched=3,
                output_min=0.1,
                output_max=4.0,
            ),
            "by hand: nearly all rows with a single 1": heard(
                "backward", **_ten, rows_sum_to_one=0.0, target_rows_one_hot=0.99, output_min=0.1, output_max=4.0
            ),
        }
    )
    good = Examples(
        lambda: {
            "by hand: a softmax": heard(
                "backward", **_ten, produced_by="softmax", rows_sum_to_one=1.0, target_rows_one_hot=1.0
            ),
            "by hand: half of the rows": heard("backward", **_ten, rows_sum_to_one=0.51, target_rows_one_hot=1.0),
            "by hand: weights of several classes": heard(
                "backward", **_ten, rows_sum_to_one=0.0, target_rows_one_hot=0.96
            ),
            "by hand: two calls": heard("backward", **_ten, rows_sum_to_one=0.0, target_rows_one_hot=1.0, watched=2),
            "by hand: sigmoids, which are a matter of their own": heard(
                "backward", **_ten, produced_by="sigmoid", rows_sum_to_one=0.0, target_rows_one_hot=1.0
            ),
            "softmax": _run(produced_by="softmax", output_min=0.0, output_max=0.99, rows_sum_to_one=1.0),
            "softmax, rounded": _run(produced_by="softmax", output_min=-0.0098, output_max=1.0, rows_sum_to_one=1.0),
            "a relu head whose rows sum to 1": _run(produced_by="relu", output_min=0.0, rows_sum_to_one=1.0),
            "a relu head, half of whose rows do": _run(produced_by="relu", output_min=0.0, rows_sum_to_one=0.51),
            "positive values by hand": _run(produced_by="exp", output_min=0.01, output_max=5.0),
            "two calls": _run(watched=2),
            "logits, and the loss knows": replace(
                _run(), losses=(replace(_run().losses[0], function="cross_entropy", expects="logits"),)
            ),
            "only validated that way": _run(training_calls=0, evaluation_calls=9),
        }
    )
    bad_code = {
        "a last layer without activation": """
            from tensorflow import keras
            from tensorflow.keras import layers

            model = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(10)])
            model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")  # bad
            """,
        "a functional Keras model": """
            import tensorflow as tf

            inputs = tf.keras.Input((8,))
            x = tf.keras.layers.Dense(32, activation="relu")(inputs)
            outputs = tf.keras.layers.Dense(10)(x)
            model = tf.keras.Model(inputs, outputs)
            model.compile("adam", "sparse_categorical_crossentropy")  # bad
            """,
        "layers added one by one": """
            from keras.layers import Dense
            from keras.models import Sequential

            def build(classes):
                model = Sequential()
                model.add(Dense(32, activation="relu"))
                model.add(Dense(classes))
                model.compile(loss="categorical_crossentropy", optimizer="adam")  # bad
                return model
            """,
    }
    good_code = {
        "a sketch, without data": """
            import keras
            from keras import layers

            def example():
                rows = ...
                model = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(10)])
                model.compile("adam", loss="sparse_categorical_crossentropy")
                model.fit(rows)
            """,
        "scores, and a loss that knows": """
            from tensorflow import keras
            from tensorflow.keras import layers

            model = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(10)])
            model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
            """,
        "probabilities": """
            from tensorflow import keras
            from tensorflow.keras import layers

            model = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(10, activation="softmax")])
            model.compile(optimizer="adam", loss="categorical_crossentropy")
            """,
        "an activation that is added": """
            from keras.layers import Activation, Dense
            from keras.models import Sequential

            model = Sequential()
            model.add(Dense(10))
            model.add(Activation("softmax"))
            model.compile(loss="categorical_crossentropy", optimizer="adam")
            """,
        "a last layer under a condition": """
            from keras.layers import Dense
            from keras.models import Sequential

            def build(head):
                model = Sequential([Dense(10)])
                if head:
                    model.add(Dense(10, activation="softmax"))
                model.compile(loss="categorical_crossentropy", optimizer="adam")
            """,
    }
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
        model = nn.Sequential(
            nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10),
            nn.Softplus(),  # fix: nn.Softmax(dim=1),
        )
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        for epoch in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                one_hot = nn.functional.one_hot(y, 10).float()
                loss = -(one_hot * torch.log(model(x) + 1e-8)).sum(dim=1).mean()
                loss.backward()
                optimizer.step()
        print(f"accuracy {(model(images).argmax(dim=1) == labels).float().mean().item():.4f}")
        """)


def _class_of(loss: LossCall) -> str:
    sparse = "Sparse" if loss.called.startswith("sparse") else ""
    return f"keras.losses.{sparse}CategoricalCrossentropy"

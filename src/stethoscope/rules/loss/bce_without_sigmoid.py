"""Raw scores in a binary loss that expects probabilities."""

from __future__ import annotations

from collections.abc import Iterator

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import ExchangeLoss
from stethoscope.facts.code import Code
from stethoscope.facts.loss_calls import losses_of
from stethoscope.facts.training import History, LossCall
from stethoscope.rules.heads import FOLLOWS, heard, maker_evidence, named, span, trained
from stethoscope.rules.keras_heads import BINARY, raw_scores
from stethoscope.rules.lines import place_in
from stethoscope.rules.pairing import instead, links, maker, once
from stethoscope.rules.sites import at, code, place_at

FUNCTION = "binary_cross_entropy"
RAW = ("linear", "add", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "embedding")
"""Operations whose results are no probabilities."""
UNBOUNDED = tuple(operation for operation in RAW if operation not in ("linear", "add", "embedding"))
"""Those that never give probabilities; sums and products of probabilities may be probabilities again."""


class BceWithoutSigmoid(Rule):
    """Raw scores go into the binary cross-entropy, which expects probabilities.

    ## What it sees
    Values outside of 0..1, which Keras cuts off and about which torch raises an error; a last layer whose raw
    result is cut to 0..1 by a clamp; a ReLU or tanh in the place of the sigmoid. Of a loss written out by hand the
    same is read off its graph.
    ## Why it hurts
    The logarithm of a negative number is no number. A clamp hides that: outside of its ends it passes no gradient,
    so that exactly those samples which are most wrong are never corrected.
    ## How to fix it
    Use `binary_cross_entropy_with_logits` on the raw scores, which is also the exact way to compute it.
    ## When it is not a fault
    A clamp of probabilities (1e-7 to 1 - 1e-7, behind a sigmoid) is good practice and not reported.
    ## Sources
    PyTorch documentation, `torch.nn.BCELoss` ("measures the Binary Cross Entropy between the target and the input
    probabilities") and `torch.nn.BCEWithLogitsLoss`.
    """

    on_trial = True
    treatments = (ExchangeLoss("binary_cross_entropy_with_logits"),)
    explains = (*FOLLOWS, "output-activation-limits-range", "forward-crash")
    reads = ("losses",)

    fewest_calls = Limit(3, unit="watched calls", why="one batch of an untrained model may be odd")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each binary cross-entropy of probabilities that training goes through."""
        calls = trained(seen, FUNCTION)
        if not calls:
            yield self.cannot_tell("the training loss is no binary cross-entropy of probabilities")
        for loss in calls:
            outside = loss.output_min < -1e-6 or loss.output_max > 1 + 1e-6
            clamped = loss.clamped in RAW and loss.watched >= self.fewest_calls
            # Of torch's function a call that was not refused had its values within 0..1; Keras cuts them off.
            if (outside and (loss.raised or loss.form or loss.called)) or clamped:
                yield self._report(loss, seen, Sureness.CERTAIN)
            elif loss.produced_by in UNBOUNDED and loss.watched >= self.fewest_calls:
                yield self._report(loss, seen, Sureness.LIKELY)

    def _report(self, loss: LossCall, seen: History, sureness: Sureness) -> Finding:
        made_by = loss.clamped or loss.produced_by
        evidence = [Evidence("outputs that went into the loss", span(loss.output_min, loss.output_max), "0 to 1")]
        if made_by:
            evidence.insert(0, maker_evidence(loss, "`sigmoid`"))
        if loss.clamped:
            evidence.append(
                Evidence(f"what is clamped, {loss.training_calls} calls watched", f"`{loss.clamped}`", "`sigmoid`")
            )
        if loss.raised:
            evidence.append(Evidence(f"raised at watched call {loss.training_calls}", f"`{loss.raised}`", "no error"))
        if loss.called:
            why = "Keras cuts them to 0..1, and passes no gradient for those that it cuts: the worst ones."
        elif loss.clamped:
            why = "A clamp cuts them to 0..1, and passes no gradient for the samples that it cuts: the worst ones."
        else:
            why = "Outside of 0..1 its logarithms are no numbers."
        return self.finding(
            "raw scores go into a binary cross-entropy of probabilities",
            sureness=sureness,
            place=place_at(loss.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=evidence,
            cause=f"{named(loss).capitalize()} at {at(loss.site)} expects probabilities, and no sigmoid made what it "
            f"is given. {why}",
            fixes=[
                "Give the scores, as they leave the last linear layer, to the loss that applies the sigmoid itself:\n"
                + code("loss = F.binary_cross_entropy_with_logits(scores, targets)", "probabilities = scores.sigmoid()")
            ],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Follow what each loss on probabilities is given back to the operation that made it."""
        yield from raw_scores(self, file, BINARY, "sigmoid")
        for loss in once(losses_of(file)):
            kind = loss.output.kind
            if loss.function != "binary_cross_entropy" or kind not in (
                "linear",
                "tanh",
                "relu",
                "leaky_relu",
                "log_softmax",
            ):
                continue
            what = "raw scores go" if kind == "linear" else f"{kind} goes"
            yield self.finding(
                f"{what} into `binary_cross_entropy`, which takes probabilities",
                sureness=Sureness.CERTAIN,
                place=place_in(file, loss.call.at),
                evidence=[maker(file, loss, "`sigmoid`"), Evidence("values that this loss accepts", "all", "0 to 1")],
                cause="`binary_cross_entropy` takes the logarithm of what it is given: values outside of 0 to 1 are an "
                "error, and inside they are no probabilities.",
                fixes=[
                    Fix(
                        "Use the loss that applies the sigmoid itself:\n"
                        + code("loss = F.binary_cross_entropy_with_logits(scores, targets)"),
                        edits=instead(
                            file, loss, loss.function, f"{loss.function}_with_logits", "BCELoss", "BCEWithLogitsLoss"
                        )
                        if kind == "linear"
                        else (),
                    )
                ],
                chain=links(file, loss),
            )

    bad = Examples(lambda: {
        "torch raised": heard(
            FUNCTION,
            [],
            training_calls=1,
            watched=1,
            produced_by="linear",
            output_min=-0.15,
            output_max=0.23,
            raised="RuntimeError: all elements of input should be between 0 and 1",
        ),
        "a clamp of a linear layer": heard(
            FUNCTION, produced_by="clamp", clamped="linear", output_min=1e-6, output_max=1.0
        ),
        "the same, three calls": heard(
            FUNCTION, produced_by="clamp", clamped="linear", output_min=1e-6, output_max=1.0, watched=3
        ),
        "a tanh": heard(FUNCTION, produced_by="tanh", output_min=0.02, output_max=0.9),
        "Keras's, of a layer without activation": heard(
            FUNCTION, called="binary_crossentropy", produced_by="linear", output_min=-2.5, output_max=5.4
        ),
        "by hand, on scores": heard(
            "backward", form=FUNCTION, produced_by="linear", output_min=-2.0, output_max=3.0
        ),
    })  # fmt: skip
    good = Examples(lambda: {
        "a sigmoid": heard(FUNCTION, produced_by="sigmoid", output_min=0.02, output_max=0.99),
        "a clamp of a sigmoid": heard(
            FUNCTION, produced_by="clamp", clamped="sigmoid", output_min=1e-6, output_max=1.0
        ),
        "a clamp, two calls": heard(
            FUNCTION, produced_by="clamp", clamped="linear", output_min=1e-6, output_max=1.0, watched=2
        ),
        "a mixture of probabilities": heard(FUNCTION, produced_by="linear", output_min=0.1, output_max=0.8),
        "raw scores and the loss for them": heard(
            "binary_cross_entropy_with_logits", produced_by="linear", output_min=-3.0, output_max=3.0
        ),
        "raised for another reason": heard(
            FUNCTION, [], watched=1, output_min=0.1, output_max=0.8, raised="ValueError: sizes differ"
        ),
    })  # fmt: skip
    bad_code = {
        "Keras, a last layer without activation": """
            from tensorflow import keras
            from tensorflow.keras import layers

            model = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(1)])
            model.compile(optimizer="adam", loss="binary_crossentropy")  # bad
            """,
        "raw scores": """
            model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
            criterion = nn.BCELoss()
            for x, y in torch.load("data"):
                criterion(model(x).squeeze(1), y).backward()  # bad
            """,
        "a tanh": """
            def loss(model, x, y):
                return F.binary_cross_entropy(torch.tanh(model(x)), y)  # bad
            """,
    }
    good_code = {
        "Keras, scores, and a loss that knows": """
            from tensorflow import keras
            from tensorflow.keras import layers

            model = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(1)])
            model.compile(optimizer="adam", loss=keras.losses.BinaryCrossentropy(from_logits=True))
            """,
        "probabilities": """
            model = nn.Sequential(nn.Linear(30, 1), nn.Sigmoid())
            for x, y in torch.load("data"):
                F.binary_cross_entropy(model(x).squeeze(1), y).backward()
            """,
        "a sigmoid at the call": """
            model = nn.Linear(30, 1)
            for x, y in torch.load("data"):
                F.binary_cross_entropy(model(x).sigmoid(), y).backward()
            """,
    }
    bug = Bug("""
        import torch
        from sklearn.datasets import load_breast_cancer
        from torch import nn

        torch.manual_seed(SEED)
        data = load_breast_cancer()
        rows = torch.tensor(data.data, dtype=torch.float32)
        rows = (rows - rows.mean(dim=0)) / rows.std(dim=0)
        labels = torch.tensor(data.target, dtype=torch.float32).unsqueeze(1)
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(rows, labels), batch_size=32, shuffle=True
        )
        model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
        criterion = nn.BCELoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def probabilities(x):
            return model(x).clamp(1e-6, 1 - 1e-6)  # fix: return model(x).sigmoid().clamp(1e-6, 1 - 1e-6)

        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(probabilities(x), y)
                loss.backward()
                optimizer.step()
        print(f"loss {criterion(probabilities(rows), labels).item():.4f}")
        """)

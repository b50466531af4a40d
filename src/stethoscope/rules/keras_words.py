"""Findings about a Keras run in Keras's words: rules judge facts, whatever framework they come from.

One table for all rules, so that no rule has to know two frameworks. A rule that is not in it keeps its own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from stethoscope.core.finding import Evidence, Finding, Fix
from stethoscope.facts.code import Site
from stethoscope.facts.training import History
from stethoscope.rules.sites import code, place_at

LONGEST_TITLE = 72


def in_keras_words(finding: Finding, seen: History) -> Finding:
    """The finding with the losses' Keras names and, where the table has them, fixes for Keras."""
    write = FIXES.get(finding.rule)
    title = named(finding.title, seen)
    finding = replace(
        finding,
        title=title if len(title) <= LONGEST_TITLE else finding.title,
        cause=named(CAUSES.get(finding.rule, finding.cause), seen),
        evidence=tuple(replace(each, what=named(each.what, seen)) for each in finding.evidence),
    )
    unshuffled = next((fit for fit in seen.fits if not fit.shuffle and fit.site is not None), None)
    if finding.rule == "unshuffled-data" and unshuffled is not None:
        finding = replace(finding, place=place_at(unshuffled.site, steps=finding.place.steps))
    if finding.rule == "training-in-eval-mode":
        finding = replace(finding, evidence=_without_eval_call(finding.evidence))
    return finding if write is None else replace(finding, fixes=tuple(write(finding, seen)))


def named(text: str, seen: History) -> str:
    """Loss functions by the names that the script has for them."""
    for loss in seen.losses:
        if loss.called:
            text = text.replace(f"`{loss.function}`", f"`{loss.called}`")
    return text


def _without_eval_call(evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
    return tuple(each for each in evidence if ".eval()" not in each.what)


def _layer(seen: History, *, last: bool = True) -> str:
    """The last (or first) layer with weights, as it could be written: `layers.Dense(10`."""
    with_weights = [layer for layer in seen.layers if layer.parameters and layer.order >= 0]
    if not with_weights:
        return "layers.Dense(1"
    layer = max(with_weights, key=lambda each: each.order) if last else min(with_weights, key=lambda each: each.order)
    return f"layers.{layer.kind}({layer.output_shape[-1] if layer.output_shape else 1}"


def _without_activation(finding: Finding, seen: History) -> list[Fix]:
    loss = next((loss for loss in seen.losses if loss.expects == "logits"), None)
    called = loss.called if loss is not None and loss.called else "sparse_categorical_crossentropy"
    head = code(_layer(seen) + ")   # no activation")
    return [
        Fix(f"Take the activation off the last layer, since the loss has `from_logits=True`:\n{head}"),
        Fix("Or keep it, and let the loss expect probabilities:\n" + code(f'loss="{called}"')),
    ]


def _other_rate(finding: Finding, seen: History) -> list[Fix]:
    """The rate that the rule advises, written into the line that makes the optimizer."""
    advised = re.search(r"\blr=([\d.e+-]+)", finding.fixes[0].text)
    optimizer = next((each for each in seen.optimizers if each.steps), None)
    if advised is None or optimizer is None:
        return list(finding.fixes)
    line, rate = _rewritten(optimizer.site, optimizer.kind, advised[1])
    first = finding.fixes[0].text.split("\n")[0]
    found = [Fix(f"{first}\n{code(line)}", edit=line if rate else None)]
    if finding.rule == "learning-rate-too-high":
        warmup = code(
            "rate = keras.optimizers.schedules.CosineDecay(",
            f"    0.0, decay_steps=10_000, warmup_target={advised[1]}, warmup_steps=500",
            ")",
        )
        found.append(Fix(f"Or reach it slowly, with a warm-up:\n{warmup}"))
    return found


def _rewritten(site: Site | None, kind: str, rate: str) -> tuple[str, bool]:
    """The user's line with another rate in it, and whether that was possible."""
    text = site.text if site is not None else ""
    for pattern, new in (
        (r"\b(learning_rate|lr)\s*=\s*[\d.]+(?:e[+-]?\d+)?", rf"\g<1>={rate}"),
        (rf"\b{kind}\(\s*[\d.]+(?:e[+-]?\d+)?", f"{kind}({rate}"),
        (r"""(["'])""" + kind.lower() + r"\1", f"keras.optimizers.{kind}(learning_rate={rate})"),
    ):
        line, times = re.subn(pattern, new, text, count=1)
        if times:
            return line, True
    return f"keras.optimizers.{kind}(learning_rate={rate})", False


def _scaled(finding: Finding, seen: History) -> list[Fix]:
    inputs = next(iter(seen.inputs), None)
    if inputs is not None and len(inputs.shape) == 4 and inputs.smallest >= 0 and inputs.largest <= 255:
        return [Fix("Bring bytes to 0..1, in the first layer of the model:\n" + code("layers.Rescaling(1 / 255)"))]
    return [
        Fix(
            "Let the model standardize its inputs, with the numbers of the training set:\n"
            + code("normalize = layers.Normalization()", "normalize.adapt(x_train)")
            + "\nand put `normalize` first among the layers."
        ),
        Fix(
            "Or do so before `fit`:\n"
            + code(
                "mean, std = x_train.mean(axis=0), x_train.std(axis=0) + 1e-8",
                "x_train, x_test = (x_train - mean) / std, (x_test - mean) / std",
            )
        ),
    ]


def _shuffled(finding: Finding, seen: History) -> list[Fix]:
    if any(not fit.shuffle for fit in seen.fits):
        return [Fix("Let `fit` shuffle, as it does unless told otherwise:\n" + code("model.fit(x, y, shuffle=True)"))]
    return [
        Fix(
            "Shuffle the rows before they are cut into batches:\n"
            + code("order = np.random.permutation(len(x))", "x, y = x[order], y[order]")
        )
    ]


def _stopped_early(finding: Finding, seen: History) -> list[Fix]:
    stop = code(
        "stop = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)",
        "model.fit(x, y, validation_data=(x_val, y_val), callbacks=[stop])",
    )
    return [
        Fix(f"Stop at the best epoch, and go back to its weights:\n{stop}"),
        Fix("Or hold the network back, with dropout between its layers:\n" + code("layers.Dropout(0.3)")),
    ]


def _kept_alive(finding: Finding, seen: History) -> list[Fix]:
    return [
        Fix(
            "Lower the learning rate, or let the optimizer clip:\n"
            + code("keras.optimizers.Adam(learning_rate=1e-4, clipnorm=1.0)")
        ),
        Fix(
            "Let a small gradient through, so that units come back:\n"
            + code('layers.Dense(64, activation="leaky_relu")')
        ),
    ]


def _let_gradients_through(finding: Finding, seen: History) -> list[Fix]:
    return [
        Fix("Use relu between the layers:\n" + code('layers.Dense(64, activation="relu")')),
        Fix("Or normalize after each hidden layer:\n" + code("layers.BatchNormalization()")),
    ]


def _clipped(finding: Finding, seen: History) -> list[Fix]:
    kind = next((each.kind for each in seen.optimizers if each.steps), "Adam")
    return [
        Fix(
            "Let the optimizer clip the gradients:\n"
            + code(f"keras.optimizers.{kind}(learning_rate=1e-3, clipnorm=1.0)")
        )
    ]


def _in_training(finding: Finding, seen: History) -> list[Fix]:
    return [
        Fix(
            "Say that this is training, in the loop:\n"
            + code("y_pred = model(x, training=True)")
            + "\nand, in a model of one's own, hand it on:\n"
            + code("def call(self, x, training=False):", "    x = self.dropout(x, training=training)")
        )
    ]


def _found(finding: Finding, seen: History) -> list[Fix]:
    return [
        Fix(
            "Stop at the first such loss, and look at its batch:\n"
            + code("callbacks=[keras.callbacks.TerminateOnNaN()]")
        ),
        Fix(
            "Let the optimizer clip the gradients:\n" + code("keras.optimizers.Adam(learning_rate=1e-4, clipnorm=1.0)")
        ),
    ]


def _same_shape(finding: Finding, seen: History) -> list[Fix]:
    return [Fix("Give the targets the shape of the outputs:\n" + code("y = y.reshape(-1, 1)"))]


def _with_sigmoid(finding: Finding, seen: History) -> list[Fix]:
    return [
        Fix("End the network in a sigmoid:\n" + code(_layer(seen) + ', activation="sigmoid")')),
        Fix(
            "Or keep the scores, and say so to the loss:\n"
            + code("loss=keras.losses.BinaryCrossentropy(from_logits=True)")
        ),
    ]


def _kept_apart(finding: Finding, seen: History) -> list[Fix]:
    return [
        Fix(
            "Keep axis 0 for the samples; exchange axes by name, and reshape behind it only:\n"
            + code("x = ops.transpose(x, (0, 2, 1))  # not ops.reshape", "weights = ops.softmax(scores, axis=-1)")
        )
    ]


def _followed(finding: Finding, seen: History) -> list[Fix]:
    by_hand = code("out = model(x[:1])", "print(out, y[:1], loss(y[:1], out))")
    return [Fix(f"Follow one sample by hand:\n{by_hand}"), *finding.fixes[1:]]


FIXES: dict[str, Callable[[Finding, History], list[Fix]]] = {
    "batch-leakage": _kept_apart,
    "bce-without-sigmoid": _with_sigmoid,
    "cannot-overfit-batch": _followed,
    "dying-relu": _kept_alive,
    "exploding-gradients": _clipped,
    "learning-rate-too-high": _other_rate,
    "learning-rate-too-low": _other_rate,
    "loss-not-finite": _found,
    "overfitting": _stopped_early,
    "sigmoid-before-bce-with-logits": _without_activation,
    "softmax-before-cross-entropy": _without_activation,
    "target-shape-broadcast": _same_shape,
    "training-in-eval-mode": _in_training,
    "unnormalized-input": _scaled,
    "unshuffled-data": _shuffled,
    "vanishing-gradients": _let_gradients_through,
}
"""By the rule's name; also of rules that this version may lack."""

CAUSES = {
    "softmax-before-cross-entropy": "With `from_logits=True` the loss applies softmax itself, and the last layer has "
    "made probabilities already.",
    "sigmoid-before-bce-with-logits": "With `from_logits=True` the loss applies the sigmoid itself, and the last layer "
    "has applied it already.",
    "training-in-eval-mode": "Keras takes a call without `training=True` for evaluation: dropout drops nothing, and "
    "batch normalization uses running statistics that do not follow the weights.",
}
"""Causes that speak of torch otherwise."""

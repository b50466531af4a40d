"""Findings about a step of JAX in its words, as `keras_words` has them for Keras: one table for all rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stethoscope.core.finding import Evidence, Finding, Fix
from stethoscope.facts.training import History
from stethoscope.rules.keras_words import LONGEST_TITLE, named
from stethoscope.rules.sites import code


def in_jax_words(finding: Finding, seen: History) -> Finding:
    """The finding with the losses' names in Optax and, where the table has them, a title and fixes for JAX."""
    title = named(finding.title, seen)
    cause = named(CAUSES.get(finding.rule, finding.cause), seen)
    evidence = tuple(replace(each, what=named(each.what, seen)) for each in finding.evidence)
    if finding.rule == "missing-optimizer-step":
        title = f"{seen.steps:,} steps began from the same weights: no update is kept"
        weights = len(seen.parameters)
        evidence = (Evidence("weights that differ between what the first step and a later one were given", 0, weights),)
    write = FIXES.get(finding.rule)
    return replace(
        finding,
        title=title if len(title) <= LONGEST_TITLE else finding.title,
        cause=cause,
        evidence=evidence,
        fixes=finding.fixes if write is None else tuple(write(finding, seen)),
    )


def _optimizer(seen: History) -> str:
    kind = seen.optimizers[0].kind if seen.optimizers else ""
    return kind if kind and kind != "step" else "adam"


def _with_scores(finding: Finding, seen: History) -> list[Fix]:
    called = next((loss.called for loss in seen.losses if loss.called), "softmax_cross_entropy")
    return [
        Fix(
            "Give the loss the scores as they leave the last layer:\n"
            + code(f"loss = optax.{called}(scores, labels).mean()", "probabilities = jax.nn.softmax(scores)")
        )
    ]


def _with_sigmoid_scores(finding: Finding, seen: History) -> list[Fix]:
    return [
        Fix(
            "Give the loss the scores, without a sigmoid:\n"
            + code("loss = optax.sigmoid_binary_cross_entropy(scores, labels).mean()")
        )
    ]


def _kept(finding: Finding, seen: History) -> list[Fix]:
    return [
        Fix("Carry on with what the step returns:\n" + code("params, state, loss = train_step(params, state, batch)")),
        Fix("With Flax NNX, apply the gradients inside of the step:\n" + code("optimizer.update(model, grads)")),
    ]  # fmt: skip


def _other_rate(finding: Finding, seen: History) -> list[Fix]:
    kind = _optimizer(seen)
    lower = finding.rule.endswith("high")
    usual = ("1e-2" if lower else "1e-1") if kind == "sgd" else ("1e-3" if lower else "3e-3")
    words = "Divide the learning rate by 10 until the loss falls" if lower else "Raise the learning rate"
    fixes = [Fix(f"{words}:\n" + code(f"optax.{kind}({usual})"))]
    if lower:
        fixes.append(
            Fix(
                "Or reach it slowly, with a warm-up:\n"
                + code(
                    f"rate = optax.warmup_cosine_decay_schedule(0.0, {usual}, warmup_steps=500, decay_steps=10_000)",
                    f"optax.{kind}(rate)",
                )
            )
        )
    return fixes


def _clipped(finding: Finding, seen: History) -> list[Fix]:
    kind = _optimizer(seen)
    return [Fix("Clip the gradients:\n" + code(f"optax.chain(optax.clip_by_global_norm(1.0), optax.{kind}(1e-3))"))]


def _found(finding: Finding, seen: History) -> list[Fix]:
    return [
        Fix("Let JAX stop where the first such value arises:\n" + code('jax.config.update("jax_debug_nans", True)')),
        *_clipped(finding, seen),
    ]


def _scaled(finding: Finding, seen: History) -> list[Fix]:
    return [
        Fix(
            "Standardize with the numbers of the training set:\n"
            + code(
                "mean, std = x_train.mean(axis=0), x_train.std(axis=0) + 1e-8",
                "x_train, x_test = (x_train - mean) / std, (x_test - mean) / std",
            )
        )
    ]


def _paired(finding: Finding, seen: History) -> list[Fix]:
    return [
        Fix(
            "Reorder inputs and labels by the same indices:\n"
            + code("order = rng.permutation(len(inputs))", "inputs, labels = inputs[order], labels[order]")
        ),
        Fix("Look at some pairs, right before training:\n" + code("print(inputs[:5], labels[:5])")),
    ]


def _same_shape(finding: Finding, seen: History) -> list[Fix]:
    return [Fix("Give the targets the shape of the outputs:\n" + code("targets = targets.reshape(outputs.shape)"))]


def _kept_alive(finding: Finding, seen: History) -> list[Fix]:
    return [
        Fix("Begin with biases of 0 and weights of He's scale, and lower the learning rate:\n"
            + code("jax.nn.initializers.he_normal()")),
        Fix("Or let a small gradient through, so that units come back:\n" + code("x = jax.nn.leaky_relu(x)")),
    ]  # fmt: skip


def _shuffled(finding: Finding, seen: History) -> list[Fix]:
    return [
        Fix(
            "Shuffle the rows before they are cut into batches, anew in each epoch:\n"
            + code("order = rng.permutation(len(x))", "x, y = x[order], y[order]")
        )
    ]


FIXES: dict[str, Callable[[Finding, History], list[Fix]]] = {
    "dying-relu": _kept_alive,
    "exploding-gradients": _clipped,
    "labels-unrelated-to-inputs": _paired,
    "learning-rate-too-high": _other_rate,
    "learning-rate-too-low": _other_rate,
    "loss-not-finite": _found,
    "missing-optimizer-step": _kept,
    "sigmoid-before-bce-with-logits": _with_sigmoid_scores,
    "softmax-before-cross-entropy": _with_scores,
    "target-shape-broadcast": _same_shape,
    "unclipped-gradients": _clipped,
    "unnormalized-input": _scaled,
    "unshuffled-data": _shuffled,
}
"""By the rule's name."""

CAUSES = {
    "missing-optimizer-step": "A step of JAX changes nothing that it is given: it returns new weights, or changes a "
    "model of NNX by `optimizer.update`. Each step was given the weights that the first one was given.",
    "frozen-parameters": "They are given to each step, and come out of it as they were.",
}
"""Causes that speak of torch otherwise."""

"""What a network should do, as assertions for a test suite of one's own.

    from stethoscope.testing import assert_learns

    def test_the_net_can_learn():
        assert_learns(Net(), nn.CrossEntropyLoss(), (x, y))

Each makes one experiment on copies, takes seconds at most, and fails with a message that reads as a finding: what was
seen beside what is healthy, why, and what to change. The model, its optimizer and all random states stay as they are.

The arguments are those of `stethoscope.check`: a `torch.nn.Module`; a loss that is called as `loss(output, target)`, or
as `loss(model, batch)`, or None where the model returns its loss; a batch `(input, ..., target)` or a mapping, or a
loader, of which the first batch counts; an optimizer, Adam with a rate of 0.001 when None. Or a Keras model, on the
torch backend: then losses and optimizers of Keras's and their names are taken, too, None stands for those of `compile`,
and arrays are cut into batches of 32, of which the first counts.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stethoscope.core.errors import MissingPiece, UsageError
from stethoscope.facts.model import Experiment, Preflight
from stethoscope.facts.training import History

if TYPE_CHECKING:
    from stethoscope.core.finding import Finding
    from stethoscope.observe.preflight.subject import Subject

__all__ = [
    "assert_all_parameters_train",
    "assert_batch_independent",
    "assert_causal",
    "assert_deterministic",
    "assert_eval_mode_pure",
    "assert_gradients_correct",
    "assert_gradients_flow",
    "assert_learns",
    "assert_loss_at_chance",
]

PATIENCE_S = 60.0
"""Time for one experiment."""
AROUND_CHANCE = (0.5, 1.5)
"""Healthy first losses, as shares of that of a guess: outputs of an untrained network are small, and near a guess."""


def assert_learns(model: Any, loss: Any, batch: Any, optimizer: Any = None, *, samples: int = 2) -> None:
    """The model can learn so many samples of the batch by heart, with its own optimizer or another one.

    Raises:
        AssertionError: it cannot.
        UsageError: something is not of the kind that it should be, or the lowest value of the loss is not known.
    """
    from stethoscope.observe.preflight.memorising import memorise

    subject = _subject(model, loss, batch, optimizer)
    memory = _made(lambda: memorise(subject, min(samples, max(1, subject.rows)), time.perf_counter() + PATIENCE_S))
    _fail_on("cannot-overfit-batch", model, memory=(memory,))
    if not memory.learned:
        raise AssertionError(
            f"{memory.samples} samples cannot be memorised: the loss is {memory.start:.3g} before and still "
            f"{memory.end:.3g} after {memory.steps} steps"
        )


def assert_loss_at_chance(model: Any, loss: Any, batch: Any, *, chance: float | None = None) -> None:
    """The first loss is about what a guess gives: ln C for C classes, ln 2 for a binary loss, the mean square of the
    target for a squared one.

    Args:
        model: see above.
        loss: see above.
        batch: see above.
        chance: what a guess gives, where it is another loss.

    Raises:
        AssertionError: it is less than half of that, or more than one and a half times.
        UsageError: what a guess gives is not known; pass `chance`.
    """
    from stethoscope.observe.preflight.training import chance_of, start_of

    subject = _subject(model, loss, batch, None)
    guess = _made(lambda: chance_of(subject)) if chance is None else chance
    if not math.isfinite(guess):
        raise UsageError("what a guess would give is not known for this loss: pass `chance`")
    value = _made(lambda: start_of(subject)).value
    low, high = AROUND_CHANCE
    if not low * guess <= value <= high * guess:
        raise AssertionError(
            f"the first loss is {value:.4g}, and a guess gives {guess:.4g} (healthy: {low * guess:.3g} to "
            f"{high * guess:.3g}).\nCheck that the loss fits what the last layer gives (logits or probabilities), that "
            "its reduction is `mean`, and that the last layer's weights are small at the start."
        )


def assert_gradients_flow(model: Any, loss: Any, batch: Any) -> None:
    """Every trainable parameter receives a gradient that is a number and not all zero.

    Raises: AssertionError naming those that do not.
    """
    from stethoscope.observe.preflight.training import gradients_of

    flow = _made(lambda: gradients_of(_subject(model, loss, batch, None)))
    cuts = "`stop_gradient`, `argmax`" if _is_keras(model) else "`detach`, `no_grad`, `argmax`"
    cut = f"the loss does not depend on them: look for {cuts}, or a layer that is never called"
    for names, what, why in (
        (flow.missing, "receive no gradient", cut),
        (flow.nonfinite, "receive a gradient that is not a number", "look for a logarithm, a root or a division at 0"),
        (flow.zero, "receive a gradient of 0", "look for dead or saturated units behind them, and for factors of 0"),
    ):
        if names:
            listed = ", ".join(f"`{name}`" for name in names[:8]) + (", ..." if len(names) > 8 else "")
            raise AssertionError(f"{len(names)} of {flow.count} trainable parameters {what}: {listed}.\nWhy: {why}.")


def assert_gradients_correct(
    function: Any, *inputs: Any, loss: Any = None, batch: Any = None, tolerance: float = 1e-4
) -> None:
    """A backward pass agrees with central differences in double precision.

    Called as `assert_gradients_correct(Swish, x)` with an `autograd.Function` and its arguments, or as
    `assert_gradients_correct(model, loss=..., batch=...)`: then each function of its own, and the model as a whole.

    Raises: AssertionError with the relative error, and the argument whose gradient is off.
    """
    from stethoscope.observe.preflight import gradients

    if batch is None:
        if not hasattr(function, "apply") or not isinstance(function, type):
            raise UsageError(
                "without a batch, assert_gradients_correct() takes an autograd.Function and its arguments; a model is "
                "tested by `assert_gradients_correct(model, loss=loss, batch=batch)`"
            )
        test = _made(lambda: gradients.check_function(function, inputs, None))
        tests = [] if test is None else [test]
        if not tests:
            raise UsageError("no argument of the function asks for a gradient: set `requires_grad=True` on one")
    else:
        subject = _subject(function, loss, batch, None)
        tests = [*_made(lambda: gradients.check_functions(subject)), _made(lambda: gradients.check_model(subject))]
    for test in tests:
        if test.tested and not test.design and test.error > tolerance:
            where = f"argument {test.argument} of `{test.what}`" if test.argument >= 0 else test.what
            raise AssertionError(
                f"the gradient of {where} is off by {test.error:.2g} of its size: the backward pass gives a slope of "
                f"{test.analytic:.6g}, central differences one of {test.numeric:.6g} ({test.precision}, largest of "
                f"{test.tested} directions)"
            )


def assert_batch_independent(model: Any, loss: Any, batch: Any) -> None:
    """In eval mode, no sample's output depends on the other samples of its batch.

    Raises: AssertionError naming the module in which they meet.
    """
    from stethoscope.observe.preflight.mixing import mixing_of

    subject = _subject(model, loss, batch, None)
    mixing = _made(lambda: mixing_of(subject))
    _fail_on("batch-leakage", model, mixing=mixing)
    if mixing.mixed:
        raise AssertionError(f"later rows of the batch depend on earlier ones ({mixing.mixed} of {mixing.pairs} pairs)")


def assert_causal(model: Any, loss: Any, batch: Any) -> None:
    """In eval mode, no position's output depends on later positions. Axis 1 counts positions.

    Raises: AssertionError naming the module that looks ahead.
    """
    from stethoscope.observe.preflight.mixing import causality_of

    subject = _subject(model, loss, batch, None)
    ahead = _made(lambda: causality_of(subject))
    if ahead.later:
        where = f" in `{ahead.module}` ({ahead.kind})" if ahead.module else ""
        raise AssertionError(
            f"outputs depend on later positions{where}: {ahead.later} of {ahead.pairs} pairs.\nGive attention a causal "
            "mask, use no bidirectional recurrence, and pad convolutions on the left only."
        )


def assert_all_parameters_train(model: Any, loss: Any, batch: Any, optimizer: Any = None) -> None:
    """One optimizer step changes every trainable parameter.

    Raises: AssertionError naming those that it leaves as they are.
    """
    from stethoscope.observe.preflight.training import effect_of_a_step

    effect = _made(lambda: effect_of_a_step(_subject(model, loss, batch, optimizer)))
    if effect.unmoved:
        listed = ", ".join(f"`{name}`" for name in effect.unmoved[:8]) + (", ..." if len(effect.unmoved) > 8 else "")
        why = (
            "they receive no gradient" if len(effect.no_gradient) == len(effect.unmoved) else
            "no optimizer holds them, their gradient is 0, or the rate is"
        )  # fmt: skip
        raise AssertionError(
            f"a step leaves {len(effect.unmoved)} trainable parameters as they are: {listed}.\nWhy: {why}."
        )


def assert_deterministic(model: Any, loss: Any, batch: Any, optimizer: Any = None) -> None:
    """Two training steps from one seed give the same numbers, bit for bit.

    Raises: AssertionError saying what differs, and by how much.
    """
    from stethoscope.observe.preflight.training import repeats

    _fail_on("nondeterministic", model, repeats=_made(lambda: repeats(_subject(model, loss, batch, optimizer))))


def assert_eval_mode_pure(model: Any, loss: Any, batch: Any) -> None:
    """In eval mode a forward pass draws no random numbers and changes nothing of the model: two of them are the same.

    Raises: AssertionError saying what differs.
    """
    from stethoscope.observe.preflight.training import purity_of

    if changed := _made(lambda: purity_of(_subject(model, loss, batch, None))):
        how = (
            "Let `call` take `training`, and draw random numbers or assign variables only where it is true: "
            "`def call(self, x, training=False)`."
            if _is_keras(model) else
            "Check `self.training` before drawing random numbers or writing to a buffer, and give functional dropout "
            "`training=self.training`."
        )  # fmt: skip
        raise AssertionError(f"a forward pass in eval mode changes {changed}.\n{how}")


def _subject(model: Any, loss: Any, batch: Any, optimizer: Any) -> Subject:
    try:
        from stethoscope.observe.preflight.handed_over import handed_over
    except ImportError as error:
        raise MissingPiece("these tests need PyTorch; install it with `pip install torch`") from error
    return handed_over(model, loss, batch, optimizer, most=1).subject()


def _made(experiment: Callable[[], Any]) -> Any:
    """What an experiment shows. Raises: UsageError saying why it cannot be made."""
    from stethoscope.observe.model.apart import apart
    from stethoscope.observe.preflight.subject import CannotMake

    try:
        with apart():
            return experiment()
    except CannotMake as reason:
        raise UsageError(f"this cannot be tested: {reason}") from None


def _fail_on(rule: str, model: Any, **shown: Any) -> None:
    """Raises: AssertionError with what the rule says of what was shown."""
    from stethoscope.diagnosing.run import diagnose
    from stethoscope.diagnosing.select import select

    preflight = Preflight(experiments=(Experiment(rule, rule, "made"),), **shown)
    history = History(preflight=preflight, framework="keras" if _is_keras(model) else "torch")
    findings = diagnose(history, rules=select([rule])).findings
    if findings:
        raise AssertionError(_text(findings[0]))


def _is_keras(model: Any) -> bool:
    from stethoscope.observe.training.keras_layers import is_keras

    return is_keras(model)


def _text(finding: Finding) -> str:
    from stethoscope.render.terminal import print_finding

    text = io.StringIO()
    print_finding(finding, text)
    return text.getvalue().strip("\n")

"""The battery: which experiments are made, in which order, and what each of them says in a line."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from stethoscope.core.text import amount, byte_size, number
from stethoscope.facts.model import Experiment, Preflight
from stethoscope.observe.model.apart import apart
from stethoscope.observe.model.recipe import CannotTry
from stethoscope.observe.preflight.gradients import check_functions, check_model
from stethoscope.observe.preflight.inputs import input_use
from stethoscope.observe.preflight.memorising import memorise
from stethoscope.observe.preflight.mixing import causality_of, mixing_of
from stethoscope.observe.preflight.room import room_of
from stethoscope.observe.preflight.simplifying import simplify as build_up
from stethoscope.observe.preflight.structure import structure_of, structure_said
from stethoscope.observe.preflight.subject import CannotMake, Subject
from stethoscope.observe.preflight.training import cost_of, effect_of_a_step, modes_of, range_test, repeats, start_of
from stethoscope.observe.preflight.yardstick import yardstick
from stethoscope.observe.training.naming import ENDLESS

SECONDS = {"quick": 6.0, "default": 60.0, "thorough": 600.0}
"""Time for all experiments of a profile together."""
AGREES = 1e-4
"""Relative error of a gradient in double precision that is none (`torch.autograd.gradcheck` asks for 1e-3)."""
EXACT = 1e-12
"""Relative error below which there is nothing to tell of it."""
HARDLY = 1.01
"""Times its loss from which on a step has made a batch worse, and is not only too small to show."""
FAR = 3.0
"""Times the loss of guessing from which on an untrained network is worse than it should be."""

KNOWN = {
    "use_reentrant": "the model computes parts anew in its backward pass (reentrant checkpoints)",
    "modified by an inplace operation": "a value that the backward pass needs is changed in place",
    "not enough memory": "there is too little memory for another copy",
    "out of memory": "there is too little memory for another copy",
    "does not support sparse gradients": "its optimizer takes no sparse gradients",
    "derivative for": "an operation of the model has no such derivative",
    "ScriptModules": "the model was compiled by torch.jit",
    "cannot pickle": "the model cannot be copied",
    "maximum recursion depth": ENDLESS,
}
"""What torch's errors mean, by some of their words."""

_clock = time.perf_counter
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """An experiment that can be made."""

    name: str
    """Field of the `Preflight` that it fills in."""
    title: str
    make: Callable[[Subject, float], Any]
    """Given the subject and the moment at which time is up."""
    says: Callable[[Any], tuple[str, bool]]
    """A line about the result, and whether that is as it should be."""
    from_profile: str = "quick"
    seconds: float = 0.0
    """What is asked for by name has so much time beyond that of all together."""
    many: bool = False
    """Whether results of several such experiments are gathered in one field."""


def battery(profile: str, *, simplify: bool = False) -> list[Trial]:
    """The experiments of a profile, in order; the one that builds the model up again only where it is asked for."""
    order = list(SECONDS)
    trials = [trial for trial in _TRIALS if order.index(trial.from_profile) <= order.index(profile)]
    return [*trials, _SIMPLIFY] if simplify else trials


def examine(
    subject: Subject, profile: str, *, seconds: float = 0.0, simplify: bool = False, progress: Progress | None = None
) -> Preflight:
    """Make the experiments of a profile on copies of a subject. Random states are put back; nothing is raised.

    Args:
        subject: the model, its optimizer, and a few batches.
        profile: `quick`, `default`, or `thorough`.
        seconds: for all experiments together; those of the profile when 0.
        simplify: build the model up again from its smallest version, too.
        progress: told the title of each experiment before it begins.
    """
    until = _clock() + (seconds or SECONDS[profile])
    fields: dict[str, Any] = {}
    done: list[Experiment] = []
    for trial in battery(profile, simplify=simplify):
        if progress is not None:
            progress(trial.title)
        began = _clock()
        experiment = Experiment(trial.name, trial.title)
        trial_until = until + trial.seconds
        if began > trial_until:
            done.append(replace(experiment, why_not="the time for experiments was over"))
            continue
        try:
            with apart():
                result = trial.make(subject, trial_until)
        except (CannotMake, CannotTry) as reason:
            done.append(replace(experiment, why_not=str(reason), seconds=_clock() - began))
            continue
        except Exception as error:  # a model may do anything; the other experiments go on
            done.append(replace(experiment, why_not=_why_failed(error), seconds=_clock() - began))
            continue
        said, good = trial.says(result)
        done.append(replace(experiment, said=said, good=good, seconds=_clock() - began))
        if trial.many:
            fields[trial.name] = (*fields.get(trial.name, ()), *(result if isinstance(result, list) else [result]))
        else:
            fields[trial.name] = result
    return Preflight(experiments=tuple(done), **fields)


def _why_failed(error: Exception) -> str:
    """Why an experiment failed, as a clause: in words where it is known what an error means."""
    text = " ".join(str(error).split())
    for words, why in KNOWN.items():
        if words in text:
            return why
    return f"it failed ({type(error).__name__}: {text[:160]})"


def not_possible(profile: str, why: str, *, simplify: bool = False) -> Preflight:
    """The experiments of a profile, none of which could be made."""
    trials = battery(profile, simplify=simplify)
    return Preflight(experiments=tuple(Experiment(t.name, t.title, why_not=why) for t in trials))


def _say_start(one: Any) -> tuple[str, bool]:
    if one.value != one.value:
        return "the loss is not a number", False
    words = f"{number(float(f'{one.value:.3g}'))} before the first step"
    if not one.chance > 0:  # a batch of one class, or a loss without such a value
        return words, True
    words += f", {number(float(f'{one.chance:.3g}'))} for a guess"
    return words, not one.value > FAR * one.chance


def _say_memory(one: Any) -> tuple[str, bool]:
    right = f", {one.right:.0%} right" if one.right == one.right else ""
    by = "" if one.by == "the script's optimizer" else f" with {one.by}"
    if one.learned:
        return f"loss {number(one.start)} to {number(one.end)} in {amount(one.steps, 'step')}{by}{right}", True
    state = "and falling still at" if one.falling else "still"
    return f"loss {number(one.start)}, {state} {number(one.end)} after {amount(one.steps, 'step')}{right}", one.falling


def _say_functions(tests: Any) -> tuple[str, bool]:
    if not tests:
        return "no function has a backward pass of its own", True
    off = [test for test in tests if not test.design and test.error > AGREES]
    if off:
        return f"`{off[0].what}` is off by {number(off[0].error)}", False
    return f"{amount(len(tests), 'function')} with a backward pass of their own agree", True


def _say_gradient(test: Any) -> tuple[str, bool]:
    if not test.tested:
        return "no smooth direction was found", True
    if test.error < EXACT:
        return "equals central differences", True
    good = not test.error > AGREES
    return f"{'equals' if good else 'differs from'} central differences to {test.error:.1g}", good


def _say_mixing(one: Any) -> tuple[str, bool]:
    if not one.mixed:
        return f"each of {one.samples} outputs depends on its own sample only", True
    where = f", first in `{one.module}`" if one.module else ""
    return f"{one.mixed} of {one.pairs} pairs of samples depend on each other{where}", one.one_way


def _say_causality(one: Any) -> tuple[str, bool]:
    if not one.later:
        return "no position's output depends on later ones", True
    where = f", first in `{one.module}`" if one.module else ""
    return f"outputs depend on later positions ({one.later} of {one.pairs} pairs){where}", True


def _say_input(one: Any) -> tuple[str, bool]:
    if not one.depends:
        return "the output is the same whatever the input", False
    words = "the output moves with the input"
    if one.unused:
        words += f", but not with {len(one.unused)} of {one.features} columns"
    if one.unchanged == one.unchanged and one.blanked == one.blanked:
        words += f"; {one.steps} steps bring the loss to {number(one.unchanged)}, blind ones to {number(one.blanked)}"
    return words, True


def _say_effect(one: Any) -> tuple[str, bool]:
    moved = "every parameter moves" if not one.unmoved else f"{amount(len(one.unmoved), 'parameter')} did not move"
    size = f" by {one.ratio:.1g} of its size" if one.ratio == one.ratio and not one.unmoved else ""
    fell = f"; the same batch's loss {number(one.before)} to {number(one.after)}"
    return moved + size + fell, not one.no_gradient and not one.after > HARDLY * one.before


def _say_range(one: Any) -> tuple[str, bool]:
    falls = [f"falls fastest at {one.suggested:.1g}"] if one.suggested == one.suggested else []
    rises = [f"rises from {one.diverges:.1g}"] if one.diverges == one.diverges else []
    words = f"present rate {one.present:g}"
    if falls or rises:
        words += f"; the loss {' and '.join([*falls, *rises])}"
    return words, not one.present >= one.diverges


def _say_modes(difference: Any) -> tuple[str, bool]:
    if not difference:
        return "outputs in train and in eval mode are the same", True
    return f"outputs in eval mode differ by {difference:.1g} of their size", True


def _say_yardstick(one: Any) -> tuple[str, bool]:
    def share(value: float) -> str:
        return f"{value:.0%}" if one.classes else f"{value:.2f}"

    what = "right" if one.classes else "of the variance"
    words = f"guessing gets {share(one.guess)} {what}, " if one.classes else ""
    words += f"neighbours {share(one.neighbours)}, a linear model {share(one.linear)}, one hidden layer "
    return f"{words}{share(one.one_hidden)}{'' if one.classes else ' ' + what} on rows held out", True


def _say_repeats(one: Any) -> tuple[str, bool]:
    if one.same:
        return "two steps from one seed are the same, bit for bit", True
    return f"from one seed the {one.what} differ by {one.difference:.1g}", False


def _say_cost(one: Any) -> tuple[str, bool]:
    words = f"{_seconds(one.step_seconds)} a step" + (f" of {amount(one.batch, 'sample')}" if one.batch else "")
    if one.epoch_seconds == one.epoch_seconds:
        words += f", {_seconds(one.epoch_seconds)} an epoch"
    if one.clip_norm == one.clip_norm:
        bites = "clipped at" if one.gradient_norm > one.clip_norm else "below the clip at"
        words += f"; gradient norm {one.gradient_norm:.2g}, {bites} {one.clip_norm:g}"
    words += f"; {byte_size(one.graph_bytes)} kept for the backward pass"
    if math.isfinite(one.noise_scale):
        words += f"; noise is as large as the gradient at {amount(max(1, round(one.noise_scale)), 'sample')}"
    return words, True


def _say_room(one: Any) -> tuple[str, bool]:
    words = f"{byte_size(one.step_bytes)} a step" + (f" of {amount(one.batch, 'sample')}" if one.batch else "")
    if one.grows_faster:
        return f"{words}; memory grows faster than the batch does", True
    if one.sample_bytes == one.sample_bytes:
        words += f", {byte_size(one.sample_bytes)} for each further one"
    if (most := one.largest_batch) is not None:
        fit = f"all {one.samples:,}" if most >= one.samples > 0 else f"about {int(float(f'{most:.2g}')):,}"
        words += f"; {fit} fit in the {byte_size(one.free_bytes)} that are free"
    elif one.free_bytes != one.free_bytes:
        words += f"; how much is free on `{one.device}` is not known"
    return words, True


def _say_simplified(one: Any) -> tuple[str, bool]:
    if not one.smallest_works:
        return "not even the smallest version learns a few batches by heart", True
    if one.works:
        return "the whole learns a few batches by heart: nothing to take off", True
    broken = [aspect.name for aspect in one.aspects if aspect.breaks]
    if not broken:
        return "the smallest version learns a few batches, the whole does not; no single aspect is to blame", True
    return f"copies stop learning with {' and with '.join(broken)}", False


def _seconds(seconds: float) -> str:
    if seconds >= 1:
        return f"{number(float(f'{seconds:.2g}'))} s"
    return f"{number(float(f'{1e3 * seconds:.2g}'))} ms"


def _memory_of(count: int, profile: str) -> Trial:
    title = f"memorise {amount(count, 'sample')}"
    return Trial("memory", title, lambda s, until: memorise(s, count, until), _say_memory, profile, many=True)


_TRIALS = (
    Trial("structure", "read the structure", lambda s, _: structure_of(s), structure_said),
    Trial("start", "confirm the loss", lambda s, _: start_of(s), _say_start),
    Trial("effect", "take one step", lambda s, _: effect_of_a_step(s), _say_effect),
    Trial("repeats", "repeat it", lambda s, _: repeats(s), _say_repeats),
    Trial("modes", "leave train mode", lambda s, _: modes_of(s), _say_modes),
    Trial("gradients", "check own functions", lambda s, _: check_functions(s), _say_functions, many=True),
    Trial("mixing", "keep samples apart", lambda s, _: mixing_of(s), _say_mixing),
    Trial("causality", "keep positions in order", lambda s, _: causality_of(s), _say_causality),
    _memory_of(1, "quick"),
    Trial("gradients", "check the gradient", lambda s, until: check_model(s, until), _say_gradient, many=True),
    _memory_of(2, "default"),
    _memory_of(16, "default"),
    Trial("input_use", "blank the input", input_use, _say_input, "default"),
    Trial("yardstick", "ask simpler models", yardstick, _say_yardstick, "default"),
    Trial("range_test", "vary the learning rate", range_test, _say_range, "default"),
    Trial("cost", "time and noise", lambda s, _: cost_of(s), _say_cost, "default"),
    Trial("room", "weigh a step", room_of, _say_room, "default"),
)
_SIMPLIFY = Trial("simplified", "build it up", build_up, _say_simplified, seconds=SECONDS["default"])

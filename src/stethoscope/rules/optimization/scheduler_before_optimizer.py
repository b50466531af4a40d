"""A schedule stepped in the wrong place: before the optimizer, per batch where it counts epochs, or the reverse."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stethoscope.core.finding import CannotTell, Evidence, Finding, Fix, Link, Severity, Sureness
from stethoscope.core.rule import Bug, Examples, Limit, Rule
from stethoscope.core.treatment import HoldLearningRate
from stethoscope.facts.code import NOWHERE, Code, Site
from stethoscope.facts.events import Event, events_of, is_in_loop
from stethoscope.facts.old_torch import may_step_schedules_first, schedules_step_first
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import Batches, Curve, History, Loop, Schedule
from stethoscope.rules.examples import falling, flat, run, with_curve
from stethoscope.rules.learning import loss_evidence, outcome, small_plot
from stethoscope.rules.lines import fitting, line_of, place_in, quoted, way_to, where_event
from stethoscope.rules.rhythm import LOOPS, Rhythm, may_schedule, moved_after, shown, wrong_rhythms
from stethoscope.rules.sites import at, code, place_at, receiver

LENGTHS = ("total_steps", "T_max", "total_iters")
"""Settings that say how many times a schedule will be stepped."""
COUNTING_EPOCHS = ("StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingLR", "PolynomialLR", "LinearLR")
"""Schedules whose documentation steps them once an epoch."""


def _scheduled(
    loss: ArrayLike,
    rates: ArrayLike,
    kind: str = "StepLR",
    settings: dict[str, Any] | None = None,
    *,
    every: int = 1,
    before: bool = False,
    batches: ArrayLike = (),
) -> History:
    """A run whose schedule was stepped after (or before) each `every` steps."""
    values = np.asarray(rates, np.float64)
    steps = values.size
    calls = tuple(range(0, steps, every)) if before else tuple(range(every, steps + 1, every))
    site = Site("train.py", 24, "", "schedule.step()")
    schedule = Schedule(kind, site, settings or {"step_size": 3, "gamma": 0.5}, len(calls), calls[:8], calls[-1])
    made = with_curve(
        run(loss, updates=0.001), Curve("learning rate", "learning rate", "training", np.arange(steps), values)
    )
    prints = np.asarray(batches, np.int64)
    return replace(
        made,
        loop=Loop(schedules=(schedule,), scheduler_site=site, scheduler_kinds=(kind,)),
        batches=Batches(np.arange(prints.size), np.full(prints.size, 32), prints),
    )


def _steps_down(last: float = 1e-20, steps: int = 200, alive: int = 40) -> ArrayLike:
    """A rate that falls evenly, on a logarithmic scale, to 1/100 at step `alive`, and no lower than `last`."""
    return 0.1 * np.maximum(last, 0.01 ** (np.arange(steps) / alive))


class SchedulerBeforeOptimizer(Rule):
    """The learning-rate schedule is stepped at the wrong place of the loop.

    ## What it sees
    When the schedule was stepped, counted in optimizer steps, beside its own settings and the rate that came of it:
    stepped after every batch until the rate was gone within a part of the run; stepped once an epoch though its
    length is the number of batches; or stepped before the first `optimizer.step()`.
    ## Why it hurts
    A schedule that counts epochs and is stepped per batch runs through in the first epochs, and the rest of the run
    changes nothing. One that counts batches and is stepped per epoch never leaves its first phase. One that is
    stepped before the optimizer skips its first value.
    ## How to fix it
    Step it once in each unit that it counts: after the batches of an epoch, or after each `optimizer.step()`.
    ## When it is not a fault
    Schedules that count batches (`OneCycleLR`, warm-ups) belong after every batch. Training on the whole data set at
    once has one batch an epoch, and is not reported. Before torch 1.1 (May 2019) schedules stepped first: code in which
    nothing is of a later torch (`AdamW`, `autocast`, `torch.utils.tensorboard`, `get_last_lr()`, ...), that asks a
    schedule for `get_lr()` or draws with `tensorboardX`, may be of that time; others step first on purpose, with the
    warning suppressed. In code it is possible at most.
    ## Sources
    PyTorch documentation, "How to adjust learning rate": the order since 1.1.0, and the unit of each schedule.
    """

    treatments = (HoldLearningRate(),)
    explains = (
        "learning-rate-decayed-away", "learning-rate-too-low", "loss-not-decreasing", "cannot-overfit-batch",
        "attention-collapse", "underfitting", "too-few-epochs", "frozen-parameters", "collapsed-predictions",
        "no-gain-over-baseline",
    )  # fmt: skip
    reads = ("loop", "losses", "batches")

    nothing = Limit(
        0.011, unit="learning rate / its highest value", why="two cuts by 10: little is learned from there on"
    )
    too_soon = Limit(
        0.5,
        unit="share of the run",
        why="a schedule in the right unit ends near the end of the run, not before its half",
    )
    match = Limit(
        0.1,
        unit="relative difference of the schedule's length and the optimizer's steps",
        why="a length computed from the loader's is off by a last batch per epoch at most",
    )
    fewest_calls = Limit(3, unit="calls of the schedule", why="the first two calls do not show a rhythm")

    def in_training(self, seen: History) -> Iterator[Finding | CannotTell]:
        """Judge each schedule."""
        if not seen.loop.schedules:
            yield self.cannot_tell("no schedule was stepped")
        for schedule in seen.loop.schedules:
            if schedule.calls < self.fewest_calls:
                yield self.cannot_tell(f"the schedule was stepped fewer than {self.fewest_calls:g} times")
            elif (length := self._length_in_batches(schedule, seen)) is not None:
                yield self._per_epoch(schedule, seen, length)
            elif (gone := self._gone_at(schedule, seen)) is not None:
                yield self._per_batch(schedule, seen, gone)
            elif _is_first(schedule, seen):
                yield self._too_early(schedule, seen)

    def _length_in_batches(self, schedule: Schedule, seen: History) -> float | None:
        """The schedule's length, when it is the number of batches though the schedule is stepped far less often."""
        for name in LENGTHS:
            length = schedule.settings.get(name)
            if isinstance(length, int | float) and seen.finished and not seen.ended_by:
                is_batches = abs(length - seen.steps) <= self.match * seen.steps
                if is_batches and schedule.calls * 2 <= length and _interval(schedule) >= 2:
                    return float(length)
        return None

    def _gone_at(self, schedule: Schedule, seen: History) -> int | None:
        """The step at which a schedule that is stepped per batch had used up the rate, when that was too soon."""
        rates, progress = seen.curve("learning rate"), progress_of(seen)
        is_off = schedule.kind not in COUNTING_EPOCHS or _interval(schedule) != 1 or _is_one_batch(seen)
        if rates is None or is_off or not progress.known or progress.learns_well:
            return None
        highest = float(rates.values.max())
        gone = rates.steps[rates.values < self.nothing * highest]
        return int(gone[0]) if gone.size and gone[0] <= self.too_soon * seen.steps else None

    def _per_epoch(self, schedule: Schedule, seen: History, length: float) -> Finding:
        name, site = receiver(schedule.site, "step", "schedule"), schedule.site
        rates = seen.curve("learning rate")
        return self.finding(
            f"`{schedule.kind}` counts {length:,.0f} batches but is stepped once an epoch",
            severity=Severity.WARNING,
            place=place_at(site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "calls of the schedule in the run",
                    f"{schedule.calls:,} (one in {_interval(schedule):,} optimizer steps)",
                    f"{length:,.0f}, its own length",
                    plot=small_plot(rates, "learning rate") if rates is not None else None,
                ),
                Evidence("optimizer steps", f"{seen.steps:,}", f"{schedule.calls:,}, if the schedule counted epochs"),
            ],
            cause=f"The schedule was made for one call per batch; called at {at(site)} it got through "
            f"{schedule.calls / length:.1%} of its course.",
            fixes=["Step it after each batch:\n" + code("    optimizer.step()", f"    {name}.step()")],
            unless="the run was to be continued many times longer.",
        )

    def _per_batch(self, schedule: Schedule, seen: History, gone: int) -> Finding:
        name, site = receiver(schedule.site, "step", "schedule"), schedule.site
        rates, progress = seen.curve("learning rate"), progress_of(seen)
        assert rates is not None
        settings = ", ".join(f"{k}={shown(v)}" for k, v in schedule.settings.items() if k in (*LENGTHS, *DECAY))
        return self.finding(
            f"`{schedule.kind}` is stepped every batch: the rate is gone by step {gone:,}",
            severity=Severity.ERROR if progress.is_stuck else Severity.WARNING,
            place=place_at(site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    f"learning rate at step {gone:,} of {seen.steps:,}, as a share of its highest",
                    f"below {self.nothing:.2g}",
                    "above that until near the end",
                    plot=small_plot(rates, "learning rate", log=True),
                ),
                Evidence("calls of the schedule", f"{schedule.calls:,}, one each optimizer step", "one each epoch"),
                loss_evidence(seen, progress),
            ],
            cause=f"`{schedule.kind}({settings})` counts calls, and {at(site)} calls it after every batch as if a "
            f"batch were an epoch; the loss {outcome(progress)}.",
            fixes=[
                "Step it once an epoch, outside of the loop over the batches:\n"
                + code("for epoch in range(epochs):", "    for x, y in loader:", "        ...", f"    {name}.step()")
            ],
        )

    def _too_early(self, schedule: Schedule, seen: History) -> Finding:
        name = receiver(schedule.site, "step", "schedule")
        return self.finding(
            f"`{schedule.kind}` is stepped before the optimizer",
            severity=Severity.NOTE,
            sureness=Sureness.CERTAIN,
            place=place_at(schedule.site, steps=(0, max(seen.steps - 1, 0))),
            evidence=[
                Evidence(
                    "optimizer steps done before the schedule's first call", "0", f"{max(1, _interval(schedule)):,}"
                )
            ],
            cause=f"The call at {at(schedule.site)} moves the schedule on before any step was made with its first "
            "value, so that value is never used and all others come one call early.",
            fixes=[f"Step it after the optimizer:\n{code('optimizer.step()', f'{name}.step()')}"],
        )

    def in_code(self, file: Code) -> Iterator[Finding | CannotTell]:
        """Look for loops in which the schedule comes before the optimizer's first step, or counts something else."""
        told = set()
        for rhythm in wrong_rhythms(file) if file.says("lr_scheduler") else ():
            if rhythm.event.code is file and rhythm.event.at not in told:
                told.add(rhythm.event.at)
                yield self._out_of_rhythm(file, rhythm)
        if not may_schedule(file) or schedules_step_first(file):
            return
        for index in range(len(file.functions)):
            events = events_of(file, index)
            for place, event in enumerate(events):
                if event.kind != "schedule" or event.thing.kind != "scheduler" or event.hinted or event.in_branch:
                    continue
                given = event.call is not None and (event.call.arguments or event.call.keywords)
                around = file.numbers_around(event.outer_context)
                loop = next((number for number in around if file.contexts[number].kind in LOOPS), NOWHERE)
                if given or loop == NOWHERE or event.at in told or event.code is not file:
                    continue  # a schedule that is told its epoch is not advanced by the call
                if any(one.kind in ("step", "unknown step", "other") for one in events[:place]):
                    continue
                step = next((one for one in events[place:] if one.kind == "step" and is_in_loop(file, one, loop)), None)
                if step is not None:
                    told.add(event.at)
                    yield self._read(file, event, step, may_step_schedules_first(file, event))

    def _out_of_rhythm(self, file: Code, rhythm: Rhythm) -> Finding:
        kind, each = rhythm.made.name.rpartition(".")[2], rhythm.stepped
        other = "epoch" if each == "batch" else "batch"
        units = "epochs" if each == "batch" else "batches"
        name = rhythm.event.name or "scheduler"
        line = "for epoch in range(epochs):", "    for x, y in loader:", "        optimizer.step()"
        return self.finding(
            f"`{kind}` counts {units} and is stepped each {each}",
            severity=Severity.WARNING,
            sureness=Sureness.POSSIBLE,  # none was met in other people's code yet
            place=place_in(file, rhythm.event.at),
            evidence=[
                Evidence(
                    f"calls of the schedule that is made on {line_of(file, rhythm.made.at)}",
                    f"1 for each {each}",
                    f"1 for each {other}",
                    f"its length is {quoted(file, rhythm.length, 'given')}",
                )
            ],
            cause="Stepped each batch, it has gone through its course after a few epochs at most."
            if each == "batch"
            else "Stepped once an epoch, it gets through a small part of its course: the rate hardly changes.",
            fixes=[
                f"Step it once for each {other}:\n"
                + code(*line, f"{'        ' if other == 'batch' else '    '}{name}.step()")
            ],
            chain=[
                Link(place_in(file, rhythm.made.at), f"the schedule is made, in {units}"),
                Link(place_in(file, file.contexts[rhythm.epochs].at), "the loop over epochs"),
                *way_to(file, rhythm.event, "the schedule is stepped"),
            ],
        )

    def _read(self, file: Code, schedule: Event, step: Event, is_old: bool) -> Finding:
        name = schedule.name or "the schedule"
        return self.finding(
            fitting(f"`{name}` steps before the optimizer does", "the schedule steps before the optimizer does"),
            severity=Severity.WARNING,
            sureness=Sureness.POSSIBLE,  # of 15 that were read in other people's code 5 were old, or meant
            place=place_in(file, schedule.at),
            evidence=[
                Evidence(
                    "order of the calls in a round",
                    f"schedule ({where_event(file, schedule)}), optimizer ({where_event(file, step)})",
                    "optimizer, schedule",
                )
            ],
            cause="The first step is taken with the second learning rate: the first one of the schedule is never used.",
            fixes=[
                Fix(
                    "Step the schedule behind the optimizer:\n" + code("optimizer.step()", f"{name}.step()"),
                    edits=moved_after(file, schedule, step),
                )
            ],
            unless="it runs in a torch before 1.1, in which schedules stepped first." if is_old else "",
            chain=[*way_to(file, schedule, "steps first"), *way_to(file, step, "steps after it")],
        )

    bad = Examples(
        lambda: {
            "StepLR after every batch": _scheduled(flat(2.2), _steps_down()),
            "gone at half of the run": _scheduled(flat(2.2), _steps_down(alive=98)),
            "down to a hundredth": _scheduled(flat(2.2), _steps_down(last=0.0107)),
            "OneCycleLR once an epoch": _scheduled(
                falling(2.3, 0.3), np.linspace(0.004, 0.006, 200), "OneCycleLR", {"total_steps": 200}, every=25
            ),
            "a length that is nearly the batches": _scheduled(
                falling(2.3, 0.3), np.linspace(0.1, 0.09, 200), "CosineAnnealingLR", {"T_max": 220}, every=25
            ),
            "before the first step": _scheduled(
                falling(2.3, 0.3), np.linspace(0.1, 0.05, 200), "LambdaLR", {}, every=25, before=True
            ),
            "before the first step, three calls": _scheduled(
                falling(2.3, 0.3, 60), np.linspace(0.1, 0.05, 60), "LambdaLR", {}, every=20, before=True
            ),
        }
    )
    good = Examples(
        lambda: {
            "StepLR once an epoch": _scheduled(flat(2.2), _steps_down(), every=25),
            "a warm-up after every batch": _scheduled(falling(2.3, 0.2), np.linspace(0, 0.1, 200), "LambdaLR", {}),
            "OneCycleLR after every batch": _scheduled(
                falling(2.3, 0.2), _steps_down(1e-4), "OneCycleLR", {"total_steps": 200}
            ),
            "per batch, and learns well": _scheduled(falling(2.3, 0.2), _steps_down()),
            "per batch, gone after half of the run": _scheduled(flat(2.2), _steps_down(alive=103)),
            "per batch, and low at most": _scheduled(flat(2.2), _steps_down(last=0.0113)),
            "the whole data set in each step": _scheduled(flat(2.2), _steps_down(), batches=[7] * 20),
            "a length of its own": _scheduled(
                falling(2.3, 0.3), np.linspace(0.1, 0.09, 200), "CosineAnnealingLR", {"T_max": 221}, every=25
            ),
            "two calls": _scheduled(
                falling(2.3, 0.3, 60), np.linspace(0.1, 0.05, 60), "LambdaLR", {}, every=30, before=True
            ),
            "no schedule": run(flat(2.3)),
        }
    )
    bad_code = {
        "batches, once an epoch": """
            model = nn.Linear(3, 2)
            loader = DataLoader(torch.load("data"), shuffle=True)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=30, steps_per_epoch=len(loader))
            for epoch in range(30):
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                scheduler.step()  # bad
            """,
        "epochs, each batch": """
            from torch.optim.lr_scheduler import CosineAnnealingLR
            import torch

            def train(model, loader, optimizer, scheduler):
                for x in loader:
                    optimizer.zero_grad()
                    model(x).sum().backward()
                    optimizer.step()
                    scheduler.step()  # bad

            def main(model, loader, args):
                optimizer = torch.optim.Adam(model.parameters())
                scheduler = CosineAnnealingLR(optimizer, T_max=args.epochs)
                for epoch in range(args.epochs):
                    train(model, loader, optimizer, scheduler)
            """,
        "at the top of an epoch": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
            for epoch in range(30):
                scheduler.step()  # bad
                for x, y in torch.load("data"):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
            """,
        "in the same round": """
            from torch.optim.lr_scheduler import CosineAnnealingLR
            import torch

            def train(model, loader):
                optimizer = torch.optim.Adam(model.parameters())
                schedule = CosineAnnealingLR(optimizer, 100)
                for x in loader:
                    optimizer.zero_grad()
                    model(x).sum().backward()
                    schedule.step()  # bad
                    optimizer.step()
            """,
    }
    good_code = {
        "each in its rhythm": """
            from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
            import torch

            def main(model, loader, args):
                optimizer = torch.optim.Adam(model.parameters())
                slow = CosineAnnealingLR(optimizer, T_max=args.epochs)
                fast = OneCycleLR(optimizer, 0.1, epochs=args.epochs, steps_per_epoch=len(loader))
                cosine = CosineAnnealingLR(optimizer, args.epochs * len(loader))
                for epoch in range(args.epochs):
                    for x in loader:
                        optimizer.zero_grad()
                        model(x).sum().backward()
                        optimizer.step()
                        fast.step()
                        cosine.step()
                    slow.step()
            """,
        "behind": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
            for epoch in range(30):
                for x, y in torch.load("data"):
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                scheduler.step()
            """,
        "of a torch in which schedules stepped first": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
            for x, y in torch.load("data"):
                scheduler.step()
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                print(loss.data[0])
            """,
        "told which epoch it is, and from the second epoch on": """
            model = nn.Linear(3, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            told = torch.optim.lr_scheduler.StepLR(optimizer, 10)
            later = torch.optim.lr_scheduler.StepLR(optimizer, 10)
            for epoch in range(30):
                told.step(epoch)
                if epoch > 0:
                    later.step()
                optimizer.zero_grad()
                model(torch.load("data")).sum().backward()
                optimizer.step()
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
        model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.StepLR(opt, step_size=3, gamma=0.5)

        for epoch in range(8):
            for x, y in loader:
                opt.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                opt.step()
                schedule.step()  # fix:
            # add: schedule.step()
        print(f"loss {nn.functional.cross_entropy(model(images), labels).item():.4f}")
        """)


DECAY = ("step_size", "gamma", "milestones", "power", "start_factor", "end_factor")
"""Further settings that are shown."""


def _interval(schedule: Schedule) -> int:
    """Optimizer steps between two calls of the schedule, as a median; 0 when it was called once."""
    gaps = np.diff(schedule.first_calls)
    return math.ceil(float(np.median(gaps))) if gaps.size else 0


def _is_one_batch(seen: History) -> bool:
    """Whether all batches that were looked at are the same: then a step is an epoch."""
    prints = seen.batches.fingerprints
    return bool(prints.size >= 2 and np.unique(prints).size == 1)


def _is_first(schedule: Schedule, seen: History) -> bool:
    """Whether the schedule moves on ahead of the optimizer: once before the first step, and not after the last."""
    skipped = any(optimizer.skipped_steps for optimizer in seen.optimizers)
    is_ahead = schedule.first_calls[:1] == (0,) and 0 not in schedule.first_calls[1:]
    return is_ahead and schedule.last_call < seen.steps and not skipped

"""Checks a model before it trains: a script's, or one that is handed over. Wires the rooms up, decides nothing."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from stethoscope import displaying as displaying
from stethoscope.core.display import Shown
from stethoscope.core.errors import MissingPiece, UsageError
from stethoscope.core.settings import Settings, read_settings
from stethoscope.facts.run import RunRecord

if TYPE_CHECKING:
    from stethoscope.api import Ran
    from stethoscope.core.finding import Diagnosis, Finding
    from stethoscope.experiments import Checks
    from stethoscope.facts.model import Experiment, Preflight
    from stethoscope.facts.training import History
    from stethoscope.recording import Recording

STEPS = 64
"""Steps that are taken, at most: fewer do not show a penalty or a rate that keeps a small network from learning."""
SECONDS = {"quick": 1.0, "default": 5.0, "thorough": 30.0}
"""Time after the first step within which they are taken."""


@dataclass(frozen=True)
class Checked(Shown):
    """What a check found."""

    diagnosis: Diagnosis
    history: History
    record: RunRecord
    took: float
    """Seconds."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Most important first."""
        return self.diagnosis.findings

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """What was tried, and what each showed."""
        return self.history.preflight.experiments

    @property
    def ok(self) -> bool:
        """Whether there is no error and no warning."""
        return not any(finding.severity.gravity > 1 for finding in self.findings)

    def show(self, stream: TextIO) -> None:
        """Print what was found, with colours on a terminal."""
        from stethoscope.render.terminal import print_diagnosis

        print_diagnosis(self.diagnosis, self.history, stream=stream, took=self.took)

    def __str__(self) -> str:
        text = io.StringIO()
        self.show(text)
        return text.getvalue()

    def html(self) -> str:
        """The report as one HTML page."""
        from stethoscope.render.html import to_html

        return to_html(self.diagnosis, self.record, self.history)

    def json(self) -> dict[str, Any]:
        """The findings in the form of `--json`."""
        from stethoscope.render.json import to_json

        return to_json(self.diagnosis, self.record, self.history)


def check(
    model: Any,
    loss: Any,
    data: Any,
    optimizer: Any = None,
    *,
    profile: str = "default",
    simplify: bool = False,
    settings: Settings | None = None,
    progress: Callable[[str], None] | None = None,
) -> Checked:
    """Experiment on copies of an untrained model, and say what will keep it from learning.

    The model, its optimizer and all random states stay as they are; of the data at most 64 batches are drawn.

    Args:
        model: a `torch.nn.Module`, or a Keras model on the torch backend: then losses and optimizers of Keras's and
            their names are taken, too, None stands for those of `compile`, and arrays are data.
        loss: called as `loss(output, target)`, or as `loss(model, batch)` where its first parameter is called `model`;
            None where the model returns its loss.
        data: a batch, or anything that gives batches when it is iterated: `(input, target)`, `(input, input, ...,
            target)`, or a mapping of keyword arguments with the target under `labels` or `target`.
        optimizer: of that model; Adam with a rate of 0.001 when None.
        profile: `quick` (under 10 s for a small network), `default`, or `thorough`.
        simplify: where copies do not learn, build them up again from the smallest version that does.
        settings: limits and allowed rules; those of the nearest `pyproject.toml` when None.
        progress: told what is being tried.

    Raises:
        UsageError: something is not of the kind that it should be.
        MissingPiece: torch is not installed.
    """
    if profile not in SECONDS:
        raise UsageError(f"there is no profile {profile!r}: choose {', '.join(SECONDS)}")
    try:
        from stethoscope.observe.preflight.given import in_words, why_not_copied
        from stethoscope.observe.preflight.handed_over import handed_over
    except ImportError as error:
        raise MissingPiece("checking needs PyTorch; install it with `pip install torch`") from error
    from stethoscope.experiments import Checks
    from stethoscope.observe.model.apart import apart
    from stethoscope.observe.training.steps import EnoughSteps
    from stethoscope.recording import Recording

    settings = settings or read_settings(Path.cwd())
    record = RunRecord(command=tuple(sys.argv), directory=os.getcwd())
    if why := why_not_copied(model):
        checks = Checks(profile, SECONDS[profile], progress, simplify)
        recording = Recording(settings, record, store=None, checks=checks, live=False)
        recording.preflight = _outline(model, loss, data, optimizer, checks, why)
        return _finished(recording, "check")
    taken = handed_over(model, loss, data, optimizer)
    checks = Checks(profile, SECONDS[profile], progress, simplify, taken.before_training())
    recording = Recording(settings, record, store=None, only=[taken.model], checks=checks, live=False)
    ended_by = ""
    if progress is not None:
        progress("train a copy for a few steps")
    with apart():
        recording.listen_to_torch()
        try:
            with contextlib.suppress(EnoughSteps):
                taken.rehearse()
        except UsageError:
            raise
        except (Exception, SystemExit) as error:  # what the user's model raises is what there is to say
            if taken.lost_hooks:
                raise UsageError(
                    f"a copy of the model raises {in_words(error)}; copies are without the forward hooks that the "
                    "model has, and these may be what keeps it from that"
                ) from error
            ended_by = type(error).__name__
            recording.explain(error, always=True)
        finally:
            recording.stop()
    return _finished(recording, ended_by or "check")


def _finished(recording: Recording, ended_by: str) -> Checked:
    diagnosis, history = recording.finish(exit_code=None, ended_by=ended_by)
    return Checked(diagnosis, history, recording.record, recording.took)


def _outline(model: Any, loss: Any, data: Any, optimizer: Any, checks: Checks, why: str) -> Preflight:
    """What can be said of a model that cannot be copied: its structure."""
    from stethoscope.observe.preflight.given import drawn_from, loss_of_taken
    from stethoscope.observe.preflight.outline import outline, preflight_of

    whole, own_loss, (batch, *_) = drawn_from(model, loss, data, optimizer, most=1)
    if checks.progress is not None:
        checks.progress("read the structure")
    shown = outline(whole, batch, lambda copy, taken: loss_of_taken(own_loss, copy, taken), optimizer)
    return preflight_of(shown, checks.profile, why, simplify=checks.simplify)


def check_script(
    target: str,
    args: Sequence[str],
    *,
    module: bool,
    settings: Settings,
    profile: str,
    simplify: bool = False,
    json: Path | None = None,
    html: Path | None = None,
    junit: Path | None = None,
    github: Path | None = None,
    quiet: bool = False,
) -> Ran:
    """Run a script for its first steps, and experiment on copies of what it trains.

    Raises: UsageError when there is no such script.
    """
    from stethoscope.api import run
    from stethoscope.experiments import Checks

    with told(quiet) as progress:
        checks = Checks(profile, SECONDS[profile], progress, simplify)
        return run(
            target, args, module=module, settings=settings, json=json, html=html, junit=junit, github=github,
            max_steps=STEPS, checks=checks, quiet=quiet,
        )  # fmt: skip


def check_function(
    name: str, *, settings: Settings, profile: str, simplify: bool = False, quiet: bool = False
) -> Checked:
    """Check what a function returns: `(model, loss, data)` or `(model, loss, data, optimizer)`.

    Args:
        name: `package.module:function`.
        settings: limits and allowed rules.
        profile: `quick`, `default`, or `thorough`.
        simplify: see `check`.
        quiet: show no progress.

    Raises: UsageError when there is no such function, or it returns something else.
    """
    where, _, function = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(where)
    except ImportError as error:
        raise UsageError(f"cannot import {where!r}: {error}") from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"{where!r} cannot be imported, since it raises {_in_words(error)}") from error
    make = getattr(module, function, None)
    if not callable(make):
        raise UsageError(f"{where} has no function {function!r}")
    try:
        made = make()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{name} raises {_in_words(error)}") from error
    if not isinstance(made, tuple | list) or not 3 <= len(made) <= 4:
        raise UsageError(f"{name} should return (model, loss, data) or (model, loss, data, optimizer)")
    with told(quiet) as progress:
        return check(*made, profile=profile, simplify=simplify, settings=settings, progress=progress)


def _in_words(error: BaseException) -> str:
    try:
        from stethoscope.observe.preflight.given import in_words
    except Exception:  # torch cannot be imported, and that may be what the user's code says
        return f"{type(error).__name__}: {error}"
    return in_words(error)


@contextlib.contextmanager
def told(quiet: bool) -> Iterator[Callable[[str], None] | None]:
    """Shows on a terminal what is being tried."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from stethoscope.render.rich_parts import Console

    status = Console(stderr=True).status("checking")
    shown: list[bool] = []

    def progress(title: str) -> None:
        if not shown:
            shown.append(True)
            status.start()
        status.update(f"checking: {title}" if title else "judging")

    try:
        yield progress
    finally:
        status.stop()

"""What a recording gives to experiments when it has ended: a lab for now, and a ring to repeat them from later."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stethoscope.core.treatment import Lab
from stethoscope.facts.model import Preflight
from stethoscope.facts.progress import progress_of
from stethoscope.facts.training import History
from stethoscope.store.folder import RING

if TYPE_CHECKING:
    from stethoscope.observe.training.session import Session
    from stethoscope.recording import Recording
    from stethoscope.store.writer import RunWriter

PROOF_S = 20.0
PROOF_SHARE = 0.1
"""Experiments may take this long, or this share of the training time where that is longer."""
QUICK_S = 3.0
QUICK_SHARE = 0.05
"""The experiments that every run has may take this long, or this share of the training time where that is less."""
ROOM = 1 << 30
MODEL_ROOM = 2 << 30
"""Bytes of batches, and of a model, that are copied where nothing else is to be done than to check them."""


@dataclass(frozen=True)
class Checks:
    """Which experiments are made before training."""

    profile: str = "default"
    """`quick`, `default`, or `thorough`."""
    seconds: float = 5.0
    """Time after the first step within which further ones are taken, for their batches."""
    progress: Callable[[str], None] | None = None
    """Told what is being tried."""
    simplify: bool = False
    """Whether a model that does not learn is built up again from its smallest version."""
    given: Callable[[], Any] | None = None
    """Makes the subject where the steps that were taken cannot be taken again."""

    @staticmethod
    def room() -> dict[str, int]:
        """What may be copied."""
        return {"most_bytes": ROOM, "most_model_bytes": MODEL_ROOM}


def preflight_for(recording: Recording, history: History, checks: Checks | None, ended_by: str) -> Preflight:
    """What experiments show of the model as it was before its first step: few at the end of any run, all in a check."""
    made = _preflight(recording, history, checks, ended_by)
    if checks is None or recording.session is None or recording.session.state.terms is None or not made.experiments:
        return replace(made, is_check=checks is not None)
    from stethoscope.observe.preflight.parting import with_terms

    return with_terms(replace(made, is_check=True), recording.session.state.terms)


def _preflight(recording: Recording, history: History, checks: Checks | None, ended_by: str) -> Preflight:
    if recording.preflight is not None:
        return recording.preflight
    if recording.crash is not None:
        return Preflight(crash=recording.crash)
    if recording.session is None or not recording.captures or recording.session.state.capture is None:
        return Preflight()
    if ended_by == "KeyboardInterrupt" or not has_trained(history):
        return Preflight()
    from stethoscope.observe.preflight.battery import examine, not_possible
    from stethoscope.observe.preflight.subject import subject_of

    profile = checks.profile if checks is not None else "quick"
    simplify = checks is not None and checks.simplify
    trained = time.perf_counter() - recording.began
    try:
        subject = subject_of(recording.session.state, chance=progress_of(history).chance, rates=_first_rates(history))
        if isinstance(subject, str) and checks is not None and checks.given is not None:
            subject = checks.given()
        if isinstance(subject, str) and (calls := recording.session.state.capture.outlines):
            from stethoscope.observe.preflight.outline import outline_of_calls, preflight_of

            return preflight_of(outline_of_calls(calls), profile, subject, simplify=simplify)
        if isinstance(subject, str):
            return not_possible(profile, subject, simplify=simplify)
        return examine(
            replace(subject, samples=_samples(recording)),
            profile,
            seconds=0.0 if checks is not None else min(QUICK_S, QUICK_SHARE * trained),
            simplify=simplify,
            progress=checks.progress if checks is not None else None,
        )
    except Exception as error:  # a failing experiment must not cost the report
        return not_possible(profile, f"it failed ({type(error).__name__}: {str(error)[:100]})")


def has_trained(history: History) -> bool:
    """Whether a backward pass or an optimizer step was heard."""
    return bool(history.loop.backward_calls or any(optimizer.steps for optimizer in history.optimizers))


def _samples(recording: Recording) -> int:
    """Of the first loader, which most likely is that of training; 0 when there was none."""
    loaders = recording.loaders
    return int(loaders[0].get("samples") or 0) if loaders else 0


def lab_for(recording: Recording, history: History) -> Lab | None:
    """Experiments on copies; None when there shall be none, or nothing was heard."""
    if recording.session is None or not recording.proves:
        return None
    from stethoscope.observe.arrays.session import ArraySession
    from stethoscope.observe.model.lab import lab_of

    chance, trained = progress_of(history).chance, time.perf_counter() - recording.began
    seconds = max(PROOF_S, PROOF_SHARE * trained)
    if isinstance(recording.session, ArraySession):
        return None if recording.session.lab is None else recording.session.lab(chance, seconds)
    return lab_of(recording.session.state, chance=chance, rates=_first_rates(history), seconds=seconds)


def keep_ring(recording: Recording, history: History) -> str:
    """Have the captured steps written into the run's folder; gives why they are not, as a clause."""
    if recording.writer is None or recording.launch.rank:
        return ""
    if recording.session is None:
        return "nothing was heard"
    if recording.launch.world_size > 1:
        return "it was trained by several processes"
    if not recording.proves:
        return "experiments were off (`--no-proof`, or `proof = false`)"
    if not recording.record.script:
        return "it was recorded by `watch`, inside of a program that cannot be started again from here"
    if not recording.settings.ring_mb:
        return "`ring-mb` is 0"
    try:
        return _write(recording, recording.writer, recording.session, history)  # type: ignore[arg-type]
    except Exception as error:  # whatever it is, the run has ended well
        return f"they could not be written down ({type(error).__name__}: {str(error)[:100]})"


def _write(recording: Recording, writer: RunWriter, session: Session, history: History) -> str:
    from stethoscope.observe.model.ring import ring_of
    from stethoscope.observe.model.values import CannotKeep

    try:
        ring = ring_of(
            session.state,
            chance=progress_of(history).chance,
            rates=_first_rates(history),
            script=recording.record.script,
            began=recording.began,
            began_at=recording.began_at,
        )
    except CannotKeep as reason:
        return str(reason)
    most = recording.settings.ring_mb
    if ring.size > most * 1e6:
        return f"they take {ring.size / 1e6:.3g} MB, and `ring-mb` allows for {most:g}"
    writer.file(RING, ring.write)
    return ""


def _first_rates(history: History) -> list[float]:
    """The learning rate of each of the first steps; empty when it is not known."""
    from stethoscope.observe.model.lab import MOST_STEPS

    rate = history.curve("learning rate")
    if rate is None or not rate.values.size:
        return []
    return [float(value) for value in rate.values[np.searchsorted(rate.steps, range(MOST_STEPS), "right") - 1]]

"""Repeats an experiment on a recorded run: its script makes the model anew, and all else comes from the run's folder.

A model's class is code of the user's, and nothing is ever unpickled. So the script is started again, as the run
started it, and ended when model and optimizer are about to take the first step that was captured.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stethoscope.core.errors import BadFile, UsageError
from stethoscope.core.finding import Proof
from stethoscope.core.rule import Rule
from stethoscope.core.settings import Settings
from stethoscope.diagnosing.prove import best
from stethoscope.diagnosing.verdict import NOT_POSSIBLE
from stethoscope.facts.run import RunRecord
from stethoscope.observe import script as scripts
from stethoscope.observe.arrival import Arrival
from stethoscope.observe.sources import changed
from stethoscope.store.folder import RING
from stethoscope.store.ring import read_outline

if TYPE_CHECKING:
    from stethoscope.observe.model.ring import Seeker
    from stethoscope.recording import Recording

MORE_STEPS = 64
"""A script that has taken so many steps more than the run had when it was captured is ended, found or not."""


@dataclass(frozen=True)
class Proven:
    """What came of it."""

    proof: Proof
    interrupted: bool = False
    """Whether Ctrl-C ended the script."""


def prove(folder: Path, record: RunRecord, rule: type[Rule], *, seconds: float) -> Proven:
    """Try a rule's treatments on copies of a recorded run, as at its end.

    Starts the run's script in this process, in the run's directory; what it prints goes to standard error. A process
    does this once.

    Args:
        folder: the run's.
        record: what the run was.
        rule: whose treatments are tried.
        seconds: time for all experiments together.

    Raises:
        UsageError: nothing can be tried for this rule, or the script is no longer the one that ran.
        BadFile: the run kept no captured steps, or they cannot be read.
    """
    if not rule.treatments:
        raise UsageError(
            f"nothing can be tried on a copy for `{rule.name}`; `stethoscope explain {rule.name}` says how to check it"
        )
    folder = folder.absolute()
    outline = read_outline(folder, record)
    if path := changed(outline["code"]):
        raise UsageError(_has_changed(path, record))
    script = _script_of(record)
    _announce(record, outline["seconds"])
    with _printing_to_stderr():
        seeker, outcome = _sought(script, outline["copied_at"] + MORE_STEPS)
    if outcome.interrupted or seeker is None or seeker.original is None:
        words = " or ".join(each.words() for each in rule.treatments)
        return Proven(Proof(words, None, None, NOT_POSSIBLE, why=_why_not(outcome, seeker)), outcome.interrupted)
    return Proven(_experiment(folder, outline, seeker, rule, seconds, record))


def _experiment(
    folder: Path, outline: dict[str, Any], seeker: Seeker, rule: type[Rule], seconds: float, record: RunRecord
) -> Proof:
    from safetensors.torch import load_file

    from stethoscope.observe.model.lab import Bench
    from stethoscope.observe.model.ring import DoesNotFit, restore

    try:
        recipe, chance = restore(outline, load_file(folder / RING), seeker)
    except DoesNotFit as where:
        raise UsageError(f"{_name(record)} makes something else than it did in the run: {where}") from where
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(f"{folder / RING} is damaged ({error}): record the run again") from error
    return best(rule.treatments, Bench(seeker, recipe, chance, seconds))[0]


def _script_of(record: RunRecord) -> scripts.Script:
    """The run's script, ready to run in the run's directory, which is gone to."""
    try:
        os.chdir(record.directory)
    except OSError as error:
        raise UsageError(f"the run's directory {record.directory} cannot be entered: {error.strerror}") from error
    return scripts.prepare(record.module or record.command[0], record.command[1:], as_module=bool(record.module))


def _sought(script: scripts.Script, most_steps: int) -> tuple[Seeker | None, scripts.Outcome]:
    """Run the script until model and optimizer are found."""
    listening: list[Recording] = []
    arrival = Arrival("torch", lambda: listening.append(_listen(most_steps)))
    arrival.wait()
    try:
        outcome = scripts.run(script)
    finally:
        arrival.forget()
        for each in listening:
            each.stop()
    session = listening[0].session if listening else None
    return None if session is None else session.state.capture, outcome  # type: ignore[return-value]  # see _listen


def _listen(most_steps: int) -> Recording:
    from stethoscope.observe.model.ring import Seeker
    from stethoscope.recording import Recording

    recording = Recording(Settings(), RunRecord(), store=None, max_steps=most_steps, live=False)
    recording.listen_to_torch()
    if recording.session is not None:
        recording.session.state.capture = Seeker()
    return recording


def _announce(record: RunRecord, took: float) -> None:
    command = shlex.join([*(["-m", record.module] if record.module else record.command[:1]), *record.command[1:]])
    print(
        f"stethoscope: starting `{command}` again in {record.directory}, to make its model anew. It is ended before "
        f"the first step that was captured, which came {took:.1f} s after torch was imported; what it does until "
        "then, and when it is left, it does again.",
        file=sys.stderr,
        flush=True,
    )


@contextlib.contextmanager
def _printing_to_stderr() -> Iterator[None]:
    """Standard output is for our own JSON."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError, OSError):
            sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


def _why_not(outcome: scripts.Outcome, seeker: Seeker | None) -> str:
    if outcome.ended_by:
        return f"the script ended with {outcome.ended_by} before the step that was captured"
    if seeker is not None and seeker.reasons:
        return f"no step could be captured this time: {seeker.reasons.most_common(1)[0][0]}"
    return f"the script ended (exit code {outcome.exit_code}) before the step that was captured"


def _has_changed(path: str, record: RunRecord) -> str:
    commit = str(record.git.get("commit", ""))[:10]
    version = f"put back the version that ran (commit {commit})" if commit else "put back the version that ran"
    gone = "has changed since the run began" if os.path.exists(path) else "is gone"
    return f"{path} {gone}, so the model that was trained cannot be made anew: {version}, or record the run again"


def _name(record: RunRecord) -> str:
    return record.module or Path(record.script).name

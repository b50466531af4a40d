"""The Python interface: `run`, `watch`, `diagnose`, `load_run`, `compare`. Wires the rooms up, decides nothing."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

# Only what needs no numpy: a script must find the process as Python would have started it, and the threads of numerical
# libraries are fixed when they are first imported. The rest is imported when the script has imported torch, or ended.
from stethoscope import displaying as displaying
from stethoscope.core.display import Shown
from stethoscope.core.errors import MissingPiece
from stethoscope.core.settings import Settings, read_settings
from stethoscope.facts.run import RunRecord
from stethoscope.observe import script as scripts
from stethoscope.observe.arguments import ArgumentTap
from stethoscope.observe.arrival import Arrival
from stethoscope.observe.environment import describe_environment

if TYPE_CHECKING:
    from stethoscope.core.finding import Diagnosis, Finding
    from stethoscope.experiments import Checks
    from stethoscope.facts.training import History
    from stethoscope.recording import Recording
    from stethoscope.store.comparing import Comparison
    from stethoscope.store.reader import Run

__all__ = ["Ran", "Watch", "compare", "diagnose", "load_run", "run", "watch"]


@dataclass(frozen=True)
class Ran(Shown):
    """What came of running a script."""

    exit_code: int
    """The script's own, or 1 when `fail_on` asked for it."""
    interrupted: bool
    """Whether Ctrl-C ended it."""
    findings: tuple[Finding, ...]
    history: History | None
    """What was heard; None when that failed."""
    record: RunRecord
    path: Path | None
    """The run's folder; None when none could be made."""
    diagnosis: Diagnosis | None = None
    """All that was said; None when that failed, and in the processes beside the first."""


def run(
    target: str | Path,
    args: Sequence[str] = (),
    *,
    module: bool = False,
    settings: Settings | None = None,
    json: Path | None = None,
    html: Path | None = None,
    junit: Path | None = None,
    github: Path | None = None,
    max_steps: int = 0,
    checks: Checks | None = None,
    quiet: bool = False,
) -> Ran:
    """Run an unmodified script in this process, listen to what trains in it, and say what is wrong.

    The script gets its own `__main__`; its output, exit code and tracebacks are as without us. Findings go to
    standard error and into the run's folder. A process runs one script: call it once.

    Args:
        target: the script's path, or a module's name with `module`.
        args: what the script finds in `sys.argv[1:]`.
        module: run as `python -m target`.
        settings: budget, store, limits; those of the nearest `pyproject.toml` when None.
        json: also write the findings there as JSON; `-` is standard output.
        html: also write the report there.
        junit: also write the findings there as JUnit's XML; `-` is standard output.
        github: also write them there as commands that GitHub shows beside the lines.
        max_steps: end the run after this many optimizer steps when above 0.
        checks: experiments to make on the untrained model; the quickest ones when None.
        quiet: print nothing.

    Raises:
        UsageError: there is no such script, or the settings name what does not exist.
    """
    directory = Path.cwd()
    settings = settings or read_settings(directory)
    if settings.only or settings.without or settings.limits or settings.allow:
        _check(settings)
    script = scripts.prepare(str(target), args, as_module=module)
    record = replace(describe_environment(directory), command=script.argv, script=script.file, directory=str(directory))
    record = replace(record, module=str(target) if module else "", max_steps=max_steps)
    arguments = ArgumentTap()
    recordings: list[Recording] = []

    def begin() -> Recording:
        from stethoscope.diagnosing.suppress import allowed_in_script
        from stethoscope.recording import Recording

        recording = Recording(
            settings,
            record,
            store=directory / settings.store,  # the script may leave the directory
            arguments=arguments,
            suppressions=allowed_in_script(_text_of(script.file), script.file),
            max_steps=max_steps,
            checks=checks,
            live=not quiet and checks is None,
        )
        recording.open_store()
        recordings.append(recording)
        _of_run[:] = [Overheard(recording)]
        return recording

    def leaving(error: BaseException) -> None:
        for recording in recordings:
            recording.leaving(error)

    json, html, junit, github = (
        p if p is None or str(p) == "-" else directory / p for p in (json, html, junit, github)
    )
    owner = os.getpid()
    arguments.put_on()
    arrival = Arrival("torch", lambda: _begin_listening(begin))
    arrival.wait()
    outcome = scripts.run(script, leaving)
    arrival.forget()
    _of_run.clear()
    if os.getpid() != owner:  # a forked child that returned from the script has nothing to report
        return Ran(outcome.exit_code, outcome.interrupted, (), None, record, None)
    try:
        recording = recordings[0] if recordings else begin()
        recording.explain(outcome.error)
        diagnosis, history = recording.finish(exit_code=outcome.exit_code, ended_by=outcome.ended_by)
        write_also(diagnosis, recording.record, history, json, html, junit, github)
        if not quiet and recording.launch.rank == 0:
            _tell(recording, diagnosis, history)
    except Exception as error:  # the script has run: its exit code stays its own
        print(f"stethoscope: the diagnosis failed because of a fault of ours ({error!r})", file=sys.stderr)
        return Ran(outcome.exit_code, outcome.interrupted, (), None, record, None)
    exit_code = outcome.exit_code or exit_code_for(diagnosis, settings.fail_on)
    told = diagnosis if recording.launch.rank == 0 else None
    return Ran(exit_code, outcome.interrupted, diagnosis.findings, history, recording.record, recording.path, told)


def _check(settings: Settings) -> None:
    """Say now, and not after an hour of training, that a rule or a limit does not exist."""
    from stethoscope.diagnosing.select import read_limits, select
    from stethoscope.diagnosing.suppress import allowed_in_settings

    select(settings.only, settings.without)
    read_limits(settings.limits)
    allowed_in_settings(settings.allow)


def _begin_listening(begin: Callable[[], Recording]) -> None:
    """Called inside of the script's `import torch`: whatever goes wrong here must not go wrong there."""
    try:
        begin().listen_to_torch()
    except Exception as error:
        print(f"stethoscope: listening could not begin ({error!r}); the script runs on, unheard", file=sys.stderr)


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _tell(recording: Recording, diagnosis: Diagnosis, history: History) -> None:
    from stethoscope.render.terminal import print_diagnosis

    path = recording.path
    report = path / "report.html" if path is not None else None
    print_diagnosis(
        diagnosis,
        history,
        stream=sys.stderr,
        report=report if report is not None and report.exists() else None,
        run=path,
        took=recording.took,
    )


def write_also(
    diagnosis: Diagnosis,
    record: RunRecord,
    history: History,
    json: Path | None,
    html: Path | None,
    junit: Path | None = None,
    github: Path | None = None,
) -> None:
    """Write the findings to other files as well; what cannot be written is said."""
    from stethoscope.render.html import to_html
    from stethoscope.render.json import json_text, to_json

    wanted: list[tuple[Path, str]] = []
    if json is not None:
        wanted.append((json, json_text(to_json(diagnosis, record, history))))
    if html is not None:
        wanted.append((html, to_html(diagnosis, record, history)))
    if junit is not None:
        from stethoscope.render.junit import to_junit

        wanted.append((junit, to_junit(diagnosis, Path(record.script).name or "stethoscope")))
    if github is not None:
        from stethoscope.render.annotations import diagnosis_github

        wanted.append((github, diagnosis_github(diagnosis, Path(record.directory))))
    for path, text in wanted:
        if str(path) == "-":
            sys.stdout.write(text)
            continue
        try:
            path.write_text(text, "utf-8")
        except OSError as error:
            print(f"stethoscope: cannot write {path}: {error.strerror}; the run folder has it too", file=sys.stderr)


def exit_code_for(diagnosis: Diagnosis, fail_on: str) -> int:
    from stethoscope.core.finding import Severity

    if not fail_on:
        return 0
    worst = diagnosis.worst()
    return int(worst is not None and worst.gravity >= Severity(fail_on).gravity)


class Watch(Shown):
    """Listens to models and optimizers from inside a program or a notebook.

    Example:
        >>> with stethoscope.watch(model, optimizer) as run:
        ...     train(model, optimizer)
        >>> run.findings
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._told = False

    @property
    def history(self) -> History:
        """Everything heard so far."""
        finished = self._recording._finished
        return finished[1] if finished else self._recording.history(finished=False)

    @property
    def diagnosis(self) -> Diagnosis:
        """What the rules say about it now."""
        finished = self._recording._finished
        return finished[0] if finished else self._recording.judge(self.history)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings so far, most important first."""
        return self.diagnosis.findings

    @property
    def path(self) -> Path | None:
        """The run's folder; None without a store."""
        return self._recording.path

    def follow(self, follower: Callable[[History, Diagnosis], None]) -> None:
        """Let this be told, now and then while it trains, of what is known so far."""
        self._recording.follower = follower

    def stop(self) -> None:
        """Stop listening; what was heard stays."""
        self._recording.finish(exit_code=None)
        atexit.unregister(self._at_exit)

    def report(self) -> None:
        """Print the diagnosis as it stands; the processes beside the first of a distributed run stay silent."""
        self._told = True
        if self._recording.launch.rank == 0:
            _tell(self._recording, self.diagnosis, self.history)

    def html(self) -> str:
        """The report as one HTML page."""
        from stethoscope.render.html import to_html

        return to_html(self.diagnosis, self._recording.record, self.history)

    def show(self, stream: TextIO) -> None:
        """Print the diagnosis there, as it stands."""
        from stethoscope.render.terminal import print_diagnosis

        self._told = True
        print_diagnosis(self.diagnosis, self.history, stream=stream, run=self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._recording.explain(error)
        self._recording.finish(exit_code=None, ended_by=kind.__name__ if kind else "")
        atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        """A script that never asked still gets the diagnosis."""
        if self._recording.is_mine:
            self._recording.finish(exit_code=None)
            if not self._told:
                self.report()


class Overheard(Watch):
    """What `stethoscope run` hears in this process, for a program that asks to be watched as well.

    It is ended and reported by that run alone.
    """

    def stop(self) -> None:
        """The run goes on."""

    def report(self) -> None:
        """The run reports at its end."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """The run goes on."""


_of_run: list[Overheard] = []
"""What `run` hears in this process, while it runs a script."""


def _overheard() -> Overheard | None:
    """What `run` hears here; None where nothing listens. Said once."""
    heard = next((each for each in _of_run if each._recording.listens), None)
    if heard is not None and not heard._told:
        heard._told = True
        print(
            "stethoscope: `stethoscope run` listens to this program already; its own call of stethoscope stands back",
            file=sys.stderr,
        )
    return heard


def watch(
    *things: object,
    every: int = 0,
    budget: float | None = None,
    store: str | Path | None = None,
    proof: bool | None = None,
    settings: Settings | None = None,
) -> Watch:
    """Listen to models and optimizers from here on.

    One line is enough: the diagnosis is printed when the program ends, or whenever `report()` is called. Under
    `stethoscope run`, which hears them already, this gives what the run hears and leaves the report to it.

    Args:
        things: models and optimizers; with no model among them, every model that is called is listened to.
        every: look at every N-th step instead of keeping a budget, when above 0.
        budget: share of the training time that listening may take, 0..1; 0.01 when None.
        store: folder to keep the run in; None keeps it in memory only.
        proof: try cures on copies when the watching ends, for at most 20 s or a tenth of the training time; as the
            settings say when None.
        settings: limits and allowed rules; those of the nearest `pyproject.toml` when None.

    Raises:
        UsageError: something else than a model or an optimizer was given.
        MissingPiece: torch is not installed.
    """
    try:
        from stethoscope.observe.training.things import sorted_things
    except ImportError as error:
        raise MissingPiece("watching needs PyTorch; install it with `pip install torch`") from error
    models, optimizers = sorted_things(things)
    if (overheard := _overheard()) is not None:
        return overheard
    directory = Path.cwd()
    settings = settings or read_settings(directory)
    settings = replace(
        settings,
        every=every or settings.every,
        budget=settings.budget if budget is None else budget,
        proof=settings.proof if proof is None else proof,
    )
    record = RunRecord(command=tuple(sys.argv), directory=str(directory))
    if store is not None:
        record = replace(describe_environment(directory), command=tuple(sys.argv), directory=str(directory))
    from stethoscope.recording import Recording

    recording = Recording(settings, record, store=None if store is None else Path(store), only=models or None)
    recording.open_store()
    recording.listen_to_torch()
    for optimizer in optimizers if recording.session is not None else ():
        recording.session.steps.optimizer_made(optimizer, None)  # type: ignore[union-attr]
    handle = Watch(recording)
    atexit.register(handle._at_exit)
    return handle


def load_run(path: str | Path) -> Run:
    """Read a recorded run: its record, its history, and its curves as tidy arrays.

    Args:
        path: the run's folder; or a run's id, its beginning, or `last`, in `./runs`.

    Raises:
        BadFile: there is no such run, or it cannot be read.
    """
    from stethoscope.store import reader

    if os.path.isdir(path):
        return reader.load_run(path)
    return reader.load_run(reader.find_run(Path(read_settings(Path.cwd()).store), str(path)))


def diagnose(run: Run | str | Path, *, settings: Settings | None = None) -> Diagnosis:
    """Judge a recorded run again, without torch, by the rules of today.

    Raises:
        BadFile: there is no such run, or it cannot be read.
    """
    from stethoscope.diagnosing.run import diagnose as judge
    from stethoscope.diagnosing.select import read_limits, select
    from stethoscope.diagnosing.suppress import allowed_in_script, allowed_in_settings

    loaded = load_run(run) if isinstance(run, str | Path) else run
    settings = settings or read_settings(Path.cwd())
    return judge(
        loaded.history,
        rules=select(settings.only, settings.without),
        overrides=read_limits(settings.limits),
        code=loaded.code if settings.code else (),
        suppressions=allowed_in_settings(settings.allow)
        | allowed_in_script(_text_of(loaded.record.script), loaded.record.script),
    )


def compare(a: Run | str | Path, b: Run | str | Path) -> Comparison:
    """What differs between two recorded runs, and what it did to their curves.

    Raises:
        BadFile: one of them does not exist or cannot be read.
    """
    from stethoscope.store.comparing import compare as compare_runs

    first, second = (load_run(r) if isinstance(r, str | Path) else r for r in (a, b))
    return compare_runs(first, second)

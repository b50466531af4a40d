"""One recording: the listener, the taps, the run folder and the record of what the run was, as one thing."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stethoscope.core.finding import Diagnosis, Finding
from stethoscope.core.rule import Rule
from stethoscope.core.settings import Settings
from stethoscope.core.treatment import Lab
from stethoscope.diagnosing.live import Live, in_a_line
from stethoscope.diagnosing.run import diagnose
from stethoscope.diagnosing.select import needed_parts, read_limits, select
from stethoscope.diagnosing.suppress import Suppressions, allowed_in_settings
from stethoscope.experiments import Checks, has_trained, keep_ring, lab_for, preflight_for
from stethoscope.facts.data import Data
from stethoscope.facts.learning import Learning
from stethoscope.facts.model import Crash, Preflight
from stethoscope.facts.run import RunRecord
from stethoscope.facts.training import History, RankSummary
from stethoscope.observe.arguments import ArgumentTap
from stethoscope.observe.environment import describe_hardware
from stethoscope.render.html import to_html
from stethoscope.render.json import json_text, to_json, tool_version
from stethoscope.rules import all_rules
from stethoscope.store.folder import CODE
from stethoscope.store.packing import pack
from stethoscope.store.writer import RunWriter

if TYPE_CHECKING:
    from stethoscope.observe.arrays.session import ArraySession
    from stethoscope.observe.training.session import Session
    from stethoscope.stalling import StallWatch

RANKS_WAIT_S = 5.0
"""How long rank 0 waits for the others to finish writing before it reports."""
LEARNING_S = 5.0
LEARNING_SHARE = 0.03
LEAST_LEARNING_S = 0.3
"""Asking how rows were learned may take this long, or this share of the training time where that is less, and never
less than the last."""


@dataclass(frozen=True)
class Launch:
    """This process's place in a distributed launch, from the variables that torchrun sets."""

    rank: int = 0
    world_size: int = 1
    group: str = ""

    @classmethod
    def of_environment(cls) -> Launch:
        """One process alone when nothing is set."""
        try:
            rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        except ValueError:
            return cls()
        if size <= 1:
            return cls()
        names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID")
        known = [os.environ.get(name, "") for name in names]
        same_host = str(os.getppid()) if os.environ.get("LOCAL_WORLD_SIZE") == str(size) else ""
        return cls(rank, size, "-".join([*known, same_host]))


class Recording:
    """Listens to what trains in this process until it is told to stop, then judges.

    Args:
        settings: budget, limits, what is allowed, where runs are kept.
        record: what is known of the run before it starts.
        store: folder of all runs; None keeps nothing on disk.
        only: models to listen to; all that are called when None.
        arguments: what the script was asked to do, where that is listened to already.
        max_steps: ends the run after this many steps when above 0.
        checks: which experiments are made on the untrained model, and how long it may train for them; None for few.
        live: say on standard error, while training goes on, what is already sure.
    """

    def __init__(
        self,
        settings: Settings,
        record: RunRecord,
        *,
        store: Path | None,
        only: Iterable[Any] | None = None,
        arguments: ArgumentTap | None = None,
        suppressions: Suppressions | None = None,
        max_steps: int = 0,
        checks: Checks | None = None,
        live: bool = True,
    ) -> None:
        self.settings = settings
        self.rules: tuple[type[Rule], ...] = select(settings.only, settings.without)
        self.limits = read_limits(settings.limits)
        self.suppressions = allowed_in_settings(settings.allow) | (suppressions or Suppressions())
        self.launch = Launch.of_environment()
        self.session: Session | ArraySession | None = None
        self.record = replace(
            record,
            started=datetime.now().astimezone().isoformat(timespec="seconds"),
            tool={"name": "stethoscope", "version": tool_version()},
        )
        self.writer: RunWriter | None = None
        self.code: tuple[Finding, ...] = ()
        """What was found by reading the files that ran."""
        self.took = 0.0
        self.follower: Callable[[History, Diagnosis], None] | None = None
        """Told now and then, while it trains, of what is known so far."""
        self.crash: Crash | None = None
        """What the model or its loss failed on."""
        self.preflight: Preflight | None = None
        """What was tried before training, where there is nothing to listen to."""
        self._store = store
        self._only = None if only is None else list(only)
        self._max_steps = max_steps
        self._checks = checks
        self.live = Live() if live and self.launch.rank == 0 else None
        self._arguments = arguments or ArgumentTap()
        self._taps: Any = None
        self._loaders: Any = None
        self._stalls: StallWatch | None = None
        self._owner = os.getpid()
        self._finished: tuple[Diagnosis, History] | None = None
        self.began = time.perf_counter()
        self.began_at = time.time()
        """The same moment, on two clocks."""

    @property
    def proves(self) -> bool:
        """Whether there may be something to prove by experiment."""
        return self.settings.proof and self.launch.world_size == 1 and any(rule.treatments for rule in self.rules)

    @property
    def captures(self) -> bool:
        """Whether steps are copied for experiments."""
        return self.proves or (self._checks is not None and self.launch.world_size == 1)

    @property
    def listens(self) -> bool:
        """Whether it hears what trains in this process now."""
        return self.session is not None and self._finished is None and self.is_mine

    @property
    def path(self) -> Path | None:
        """The run's folder; None when there is none."""
        return self.writer.path if self.writer is not None else None

    @property
    def loaders(self) -> list[dict[str, Any]]:
        """The data loaders that were iterated, in order."""
        return list(self._loaders.loaders) if self._loaders is not None else []

    @property
    def is_mine(self) -> bool:
        """False in a forked child, which has nothing to report."""
        return os.getpid() == self._owner

    def open_store(self) -> None:
        """Make the run's folder."""
        if self._store is not None:
            launch = self.launch
            self.writer = RunWriter.create(
                self._store, self.record, rank=launch.rank, world_size=launch.world_size, group=launch.group
            )
            self.record = replace(self.record, id=self.writer.id, world_size=launch.world_size)

    def listen_to_torch(self) -> None:
        """Put the taps on. Called when torch has been imported; a fault of ours is told once and training goes on."""
        try:
            from stethoscope.observe.model.capture import Capture
            from stethoscope.observe.model.snapshots import Snapshots
            from stethoscope.observe.training.session import Session
            from stethoscope.observe.training.taps import Taps
            from stethoscope.observe.training.terms import Terms
            from stethoscope.observe.training.tracking import LoaderTap

            checks = self._checks
            capture = Capture(**checks.room(), outlines=True) if checks is not None else Capture()
            session = self.session = Session(
                budget=self.settings.budget,
                every=self.settings.every,
                parts=needed_parts(self.rules),
                only=self._only,
                max_steps=self._max_steps,
                max_seconds=checks.seconds if checks is not None else 0.0,
                sink=self.writer,
                verdict=self._announce if self.live is not None else None,
                capture=capture if self.captures else None,
            )
            if checks is not None:
                session.state.terms = Terms()
            elif self.captures:
                capture.snapshots = Snapshots(session.state.row_numbers)
            self._taps, self._loaders = Taps(session), LoaderTap()
            all_rules()  # found now, so that no verdict has to wait for them
            self._taps.put_on()
            self._loaders.put_on(session)
            os.register_at_fork(after_in_child=self._leave_child)
            if self.launch.world_size > 1:
                from stethoscope.stalling import watch_for_stalls

                self._stalls = watch_for_stalls(self, session)
        except Exception as error:
            self.stop()
            self.session = None
            print(
                f"stethoscope: cannot listen to this version of torch ({type(error).__name__}: {error}); "
                "the script runs on, unheard",
                file=sys.stderr,
            )

    def listen_to_arrays(self, framework: str) -> ArraySession:
        """Listen to what somebody tells, who stands in a loop of another framework's."""
        from stethoscope.observe.arrays.session import ArraySession

        session = ArraySession(
            budget=self.settings.budget,
            every=self.settings.every,
            parts=needed_parts(self.rules),
            sink=self.writer,
            verdict=self._announce if self.live is not None else None,
            framework=framework,
        )
        self.session = session
        all_rules()
        return session

    def _leave_child(self) -> None:
        """A forked child (a loader's worker) is not listened to."""
        if self._taps is not None:
            self.session.state.sink = None  # type: ignore[union-attr]
            self._taps.take_off(finish=False)

    def stop(self) -> None:
        """Take all taps off."""
        self._arguments.take_off()
        if self._taps is not None:
            self._taps.take_off()
            self._loaders.take_off()
        elif self.session is not None:
            self.session.end()

    def history(self, *, finished: bool = True, ended_by: str = "") -> History:
        """Everything heard so far."""
        if self.session is None:
            return History(finished=finished, ended_by=ended_by)
        return self.session.history(finished=finished, ended_by=ended_by)

    def _announce(self, history: History) -> None:
        """Say what is sure by now, a line for each finding."""
        if self.live is not None and self.is_mine:
            diagnosis = self.judge(history)
            for one in self.live.news(diagnosis, history.steps):
                print(in_a_line(one), file=sys.stderr, flush=True)
            if self.follower is not None:
                self.follower(history, diagnosis)

    def judge(self, history: History, lab: Lab | None = None) -> Diagnosis:
        """What the rules say, and what the lab can prove of it; nothing, and why, when nothing trained."""
        if not has_trained(history) and not history.preflight.made and not any(loss.raised for loss in history.losses):
            return Diagnosis((), (), (), notices=(self._why_nothing_was_heard(history),))
        found = diagnose(
            history, rules=self.rules, overrides=self.limits, suppressions=self.suppressions, lab=lab, code=self.code
        )
        notices = list(found.notices)
        if self.writer is not None and self.writer.trouble:
            notices.append(self.writer.trouble)
        announced = tuple(self.live.announced) if self.live is not None else ()
        return replace(found, notices=tuple(notices), announced=announced)

    def _why_nothing_was_heard(self, history: History) -> str:
        """One sentence for a script that trains nothing here."""
        keras = sys.modules.get("keras")
        if keras is not None and keras.backend.backend() != "torch":
            return (
                f"Keras runs on {keras.backend.backend()} here; on other backends than torch, give "
                "`stethoscope.adapters.keras.Callback()` to `fit`, which listens there"
            )
        if "jax" in sys.modules and not history.models and not history.ended_by:
            return (
                "nothing of torch trained here; a step of JAX is listened to through "
                "`train_step = stethoscope.watch_jax(train_step)`"
            )
        if self.session is None and not history.ended_by:
            return (
                "the script imported no torch, so there was no training to listen to; what runs in other processes "
                "is not heard"
            )
        seen = f"forward passes of {history.models[0].name} were seen, but " if history.models else ""
        if history.ended_by and history.ended_by != "check":
            return (
                f"{seen}the script ended with {history.ended_by} before any backward pass or optimizer step, so there "
                "is nothing to judge"
            )
        return (
            f"{seen}no backward pass and no optimizer step ran in this process, so there is nothing to judge; "
            "what runs in processes that the script starts is not heard"
        )

    def leaving(self, error: BaseException) -> None:
        """This is about to end the script: how its process stood is known, and nothing later tells of it."""
        if self._stalls is not None:
            self._stalls.leaving(error)

    def explain(self, error: BaseException | None, *, always: bool = False) -> None:
        """The run was ended by this: where a model or its loss raised it, or `always`, that is a finding."""
        if error is not None and self.session is not None:
            from stethoscope.observe.preflight.crash import crash_of

            with contextlib.suppress(Exception):  # a tensor on a device that has failed cannot be read any more
                self.crash = crash_of(error, always=always, book=self.session.state.book)
            if self._stalls is not None:
                self._stalls.failed(error)

    def finish(self, *, exit_code: int | None = 0, ended_by: str = "") -> tuple[Diagnosis, History]:
        """Stop, judge, and write everything that the run folder still lacks. The second call gives the same."""
        if self._finished is not None:
            return self._finished
        began = time.perf_counter()
        if self._stalls is not None:
            self._stalls.end(ended_by)
        self.stop()
        history = self.history(finished=not ended_by, ended_by=ended_by)
        history = replace(history, preflight=preflight_for(self, history, self._checks, ended_by), fed=self._fed())
        history = replace(history, learning=self._learning(ended_by))
        self.record = self._final_record(history, exit_code, ended_by)
        if self.writer is not None:
            if self.session is not None:
                self.session.send()
            self.writer.facts(history)
            if self.launch.rank == 0 and self.launch.world_size > 1:
                ranks = self._other_ranks()
                standings = self._stalls.others(ranks, ended_by) if self._stalls is not None else ()
                history = replace(history, ranks=ranks, standings=standings)
        self.code = self._read_code()
        diagnosis = self.judge(history, None if ended_by == "KeyboardInterrupt" else lab_for(self, history))
        self.record = replace(self.record, no_ring=keep_ring(self, history))
        if self.session is not None:
            self.session.state.capture = None  # gives the memory back
        if self.writer is not None:
            diagnosis = self._write(self.writer, diagnosis, history)
        self.took = time.perf_counter() - began
        if self._stalls is not None:
            self._stalls.linger()
        self._finished = (diagnosis, history)
        return self._finished

    def _fed(self) -> Data | None:
        """The rows that were copied for experiments, as a data set; None where they are none."""
        capture = self.session.state.capture if self.session is not None else None
        if capture is None:
            return None
        try:
            from stethoscope.observe.data.flowing import fed_of

            return fed_of(capture.steps)
        except Exception:  # what was heard is worth more than a further look at the rows
            return None

    def _learning(self, ended_by: str) -> Learning:
        """How rows were learned, asked of copies with the weights of several steps."""
        capture = self.session.state.capture if self.session is not None else None
        if capture is None or capture.snapshots is None:
            return Learning(why="no weights were kept")
        try:
            from stethoscope.observe.model.learning import learning_of

            trained = time.perf_counter() - self.began
            most = LEAST_LEARNING_S if ended_by == "KeyboardInterrupt" else LEARNING_S
            return learning_of(capture, seconds=min(most, max(LEAST_LEARNING_S, LEARNING_SHARE * trained)))
        except KeyboardInterrupt:  # who cannot wait gets the report as it is
            return Learning(why="it was broken off")
        except Exception as error:  # what was heard is worth more than what copies would show
            return Learning(why=f"copies of the model failed ({type(error).__name__}: {str(error)[:100]})")

    def _read_code(self) -> tuple[Finding, ...]:
        """What is found by reading the script, and the files of its project that it has imported."""
        if not self.settings.code or not self.record.script or self.launch.rank != 0 or self.session is None:
            return ()
        try:
            from stethoscope.linting import lint_executed
            from stethoscope.observe.training.sites import users_files

            found = lint_executed(users_files(self.record.script), Path(self.record.directory), self.settings)
        except Exception:  # what was heard is worth more than what could have been read
            return ()
        if self.writer is not None and found:
            self.writer.text(CODE, json.dumps(pack(found)))
        return found

    def _write(self, writer: RunWriter, diagnosis: Diagnosis, history: History) -> Diagnosis:
        """Complete the run's folder; what goes wrong is a notice of the diagnosis that is given back."""
        notices = list(diagnosis.notices)
        texts: dict[str, Callable[[], str]] = {
            "findings.json": lambda: json_text(to_json(diagnosis, self.record, history)),
            "report.html": lambda: to_html(diagnosis, self.record, history),
        }
        for name, render in texts.items() if self.launch.rank == 0 else ():
            try:
                writer.text(name, render())
            except Exception as error:  # a fault of ours in a picture must not cost the diagnosis
                fault = f"{type(error).__name__}: {error}"
                notices.append(f"{name} could not be made because of a fault in stethoscope ({fault})")
        writer.record(self.record)
        writer.close()
        if writer.trouble and writer.trouble not in notices:
            notices.append(writer.trouble)
        return replace(diagnosis, notices=tuple(notices))

    def _final_record(self, history: History, exit_code: int | None, ended_by: str) -> RunRecord:
        state = "interrupted" if ended_by == "KeyboardInterrupt" else "failed" if exit_code else "finished"
        record = replace(
            self.record,
            ended=datetime.now().astimezone().isoformat(timespec="seconds"),
            state=state,
            exit_code=exit_code,
            arguments=self._arguments.arguments,
            seeds=dict(self._arguments.seeds),
            steps=history.steps,
        )
        if "torch" in sys.modules:  # it knows of accelerators, and of its threads
            record = replace(record, hardware=describe_hardware())
        if self.session is None:
            return record
        from stethoscope.observe.training import tracking

        seed = tracking.torch_seed()
        return replace(
            record,
            seeds={**record.seeds, **({"torch": seed} if seed is not None else {})},
            models=tracking.models_of(self.session),
            optimizers=tracking.optimizers_of(self.session),
            loaders=tuple(self.loaders),
            data_fingerprint=f"{self.session.state.batches.checksum:08x}" if history.batches.steps.size else "",
            results=tracking.results_of(history),
        )

    def _other_ranks(self) -> tuple[RankSummary, ...]:
        """What the other ranks have recorded; they are given a few seconds to end."""
        from stethoscope.store.reader import read_ranks

        assert self.writer is not None
        if self.writer.path is None:
            return ()
        self.writer.flush(wait_s=2.0)
        until = time.monotonic() + RANKS_WAIT_S
        while True:
            ranks = read_ranks(self.writer.path)
            running = len(ranks) < self.launch.world_size - 1 or any(r.state == "running" for r in ranks)
            if not running or time.monotonic() > until:
                return ranks
            time.sleep(0.1)

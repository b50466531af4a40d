"""Watches over a process of a distributed run for the case that it waits for ever: what is said then, and kept.

A thread beside the training looks once a second where the main thread stands. Where no step has ended for a while that
is written into the run's folder, which all processes share; process 0 reads what the others have written, and says it
once. Nothing is exchanged between the processes by other means, and nothing of the training is touched.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from stethoscope.core.errors import BadFile
from stethoscope.core.finding import Announcement, Finding
from stethoscope.diagnosing.run import diagnose
from stethoscope.facts.ranks import RankSummary, Standing
from stethoscope.facts.training import History
from stethoscope.render.html import to_html
from stethoscope.render.json import json_text, to_json
from stethoscope.render.terminal import print_finding
from stethoscope.rules.loop.stalled_rank import StalledRank
from stethoscope.store.folder import FINDINGS
from stethoscope.store.reader import load_run, read_record
from stethoscope.store.standings import read_standings, remove_standing, write_standing

if TYPE_CHECKING:
    from stethoscope.observe.training.session import Session
    from stethoscope.recording import Recording

REPORT = "report.html"
PAUSE_S = 1.0
"""Time between two looks."""
NOTED_S = 2.0
"""A process that has waited this long, and longer than any step took, is written down."""

LINGER_S = 5.0
"""A process whose exchange has failed waits this long for the report of process 0."""


def watch_for_stalls(recording: Recording, session: Session) -> StallWatch | None:
    """Begin to look, where there are several processes with a folder to share; a fault of ours costs no more."""
    if recording.path is None:
        return None
    try:
        watch = StallWatch(recording, session)
        watch.start()
    except Exception as error:
        session.state.notices.append(f"nobody looks for processes that wait for ever ({error!r})")
        return None
    return watch


class StallWatch:
    """The thread of one process."""

    def __init__(self, recording: Recording, session: Session) -> None:
        from stethoscope.observe.training.standing import Lookout

        self._recording = recording
        self._state = session.state
        self._lookout = Lookout(recording.launch.rank, session.state)
        self._stop = threading.Event()
        self._written = False
        self._said = False
        self._interrupted = False
        self._failed: Standing | None = None
        self._size = recording.launch.world_size
        self._thread = threading.Thread(target=self._work, name="stethoscope-stalls", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def leaving(self, error: BaseException) -> None:
        """The script is being left: a look at who shows its traceback, or cleans up, would tell of another place."""
        from stethoscope.observe.training.standing import is_interruption

        self._stop.set()
        self._interrupted = is_interruption(error)

    def failed(self, error: BaseException) -> None:
        """This has ended the script."""
        from stethoscope.observe.training.standing import standing_at

        self._failed = standing_at(error, self._recording.launch.rank, self._state)

    def end(self, ended_by: str) -> None:
        """The script of this process has ended: it takes part in no exchange any more.

        One that was interrupted while it stood still is remembered as it stood.
        """
        self._stop.set()
        self._thread.join(5 * PAUSE_S)
        path, rank = self._recording.path, self._recording.launch.rank
        if path is None:
            return
        if ended_by == "KeyboardInterrupt" or self._interrupted:
            return
        steps = self._state.steps
        last = next((each for each in read_standings(path) if each.rank == rank and each.steps == steps), None)
        mine = self._failed or last or Standing(rank, steps, batches=self._state.epoch_batches)
        if last is not None:
            mine = replace(mine, waited=last.waited, held=last.held, longest=last.longest)
        with suppress(OSError):  # the writer says what is wrong with the disk
            write_standing(path, replace(mine, ended=True))

    def linger(self) -> None:
        """Process 0 is given time for its report: launchers end all processes when one has failed."""
        path, until = self._recording.path, time.monotonic() + LINGER_S
        if self._failed is None or path is None or not self._recording.launch.rank:
            return
        while time.monotonic() < until:
            with suppress(BadFile):
                if read_record(path).state != "running":
                    return
            time.sleep(0.1)

    def others(self, ranks: tuple[RankSummary, ...], ended_by: str) -> tuple[Standing, ...]:
        """Where the processes stood when process 0 ended; where all have ended well that is forgotten."""
        path = self._recording.path
        if path is None:
            return ()
        ended_well = not ended_by and not self._interrupted
        if ended_well and all(each.state == "finished" for each in ranks) and len(ranks) == self._size - 1:
            found = read_standings(path)
            for standing in found:
                remove_standing(path, standing.rank)
            return found
        return read_standings(path)

    def _work(self) -> None:
        while not self._stop.wait(PAUSE_S):
            try:
                self._look()
            except Exception as error:  # a fault of ours ends the looking, and nothing else
                self._state.notices.append(f"nobody looks for processes that wait for ever any more ({error!r})")
                return

    def _look(self) -> None:
        path = self._recording.path
        if path is None or self._state.off:
            return
        mine = self._lookout.look()
        if mine.waited < NOTED_S or mine.waited < mine.longest:
            if self._written:
                remove_standing(path, mine.rank)
                self._written = False
            return
        # Asked after the look: who handles Ctrl-C saves and cleans up, and stood elsewhere when it came.
        if self._stop.is_set() or (self._written and self._lookout.is_interrupted()):
            return
        write_standing(path, mine)
        self._written = True
        if mine.rank == 0 and not self._said:
            self._judge(mine)

    def _judge(self, mine: Standing) -> None:
        """Say it, once, and write the report as it would be now: who waits for ever does not reach another one."""
        recording = self._recording
        assert recording.path is not None
        if StalledRank not in recording.rules:
            return
        others = tuple(each for each in read_standings(recording.path) if each.rank != mine.rank)
        seen = History(
            steps=mine.steps, finished=False, process_group=recording.launch.world_size, standings=(mine, *others)
        )
        found = diagnose(seen, rules=(StalledRank,), overrides=recording.limits, suppressions=recording.suppressions)
        if found.findings and not self._stop.is_set():
            self._said = True
            self._say(found.findings[0], mine.steps)

    def _say(self, finding: Finding, step: int) -> None:
        recording, writer = self._recording, self._recording.writer
        assert writer is not None
        assert writer.path is not None
        if recording.live is not None:
            recording.live.announced.append(Announcement(finding.rule, step, finding.title, finding.place.source))
            print_finding(finding, sys.stderr)
        writer.flush(wait_s=2.0)
        run = load_run(writer.path)  # what was written down: the listening itself is left alone
        diagnosis = recording.judge(run.history)
        writer.text(FINDINGS, json_text(to_json(diagnosis, recording.record, run.history)))
        writer.text(REPORT, to_html(diagnosis, recording.record, run.history))
        writer.flush(wait_s=2.0)
        if recording.live is not None:
            print(f"stethoscope: what was heard so far is in {writer.path / REPORT}", file=sys.stderr, flush=True)
